#!/bin/sh
# The symbols of libnibble against docs/exports.txt, and against the headers: what is declared NB_API
# is exported, nothing else is. tools/check-exports.sh [BUILD] [--update]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
list=$(mktemp)
trap 'rm -f "$list"' EXIT
nm -D --defined-only "$build/libnibble.so" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort >"$list"
if [ "${2:-}" = --update ]; then
    cp "$list" docs/exports.txt
    exit 0
fi
rc=0
diff docs/exports.txt "$list" || {
    echo "docs/exports.txt and the library differ (- documented, + exported): tools/check-exports.sh $build --update"
    rc=1
}
# "NB_API ... name(" may be broken over lines.
cat include/nibble/*.h | tr '\n' ' ' | grep -oE 'NB_API [^;]*;' | grep -oE 'nb_[a-z0-9_]+\(' | tr -d '(' |
    LC_ALL=C sort -u | comm -3 - "$list" | sed 's/^\t\(.*\)/exported, not declared: \1/; t; s/^/declared, not exported: /' |
    grep . && rc=1
exit $rc
