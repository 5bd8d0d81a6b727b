#!/bin/sh
# Each public header alone, as C99, C11 and C++; each room's door alone, as C11.
set -eu
cd "$(dirname "$0")/../.."
cxx="clang-19 -x c++"
command -v g++ >/dev/null && cxx="g++ -x c++"
rc=0
one() { # LABEL COMPILER... HEADER
    label=$1
    shift
    for last; do :; done
    "$@" || { echo "$label: $last does not stand alone"; rc=1; }
}
for h in include/nibble/*.h; do
    one C99 cc -std=c99 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude -x c "$h"
    one C11 cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude -x c "$h"
    one C++ $cxx -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude "$h"
done
for room in src/*/; do
    h=$room$(basename "$room").h
    [ ! -f "$h" ] || one C11 cc -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -fsyntax-only -Iinclude -Isrc -x c "$h"
done
exit $rc
