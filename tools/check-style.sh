#!/bin/sh
# House style that a machine can see. tools/check-style.sh [BUILD]: with a build folder also the names
# of the symbols. Prints each finding; exit 1 if there is one.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
bad=0
fail() {
    bad=1
    sed 's/^/style: /'
}
ours=$(git ls-files '*.c' '*.h' '*.inc' | grep -E '^(src|include|cli|tests|bench|fuzz|gen)/' || true)
text=$(git ls-files '*.c' '*.h' '*.inc' '*.sh' '*.py' '*.build' Makefile .ci/run)
lib=$(echo "$ours" | grep -E '^(src|cli)/.*\.[ch]$' || true)

# Tabs and trailing space (a Makefile needs its tabs).
for f in $text; do
    [ "$f" = Makefile ] || grep -nP '\t' "$f" /dev/null | sed 's/$/  <- tab/' || true
    grep -nE ' +$' "$f" /dev/null | sed 's/$/ <- trailing space/' || true
done >/tmp/style.$$
[ -s /tmp/style.$$ ] && fail </tmp/style.$$

# Length: 800 lines, tables (.inc) excepted.
for f in $(echo "$ours" | grep -v '\.inc$'); do
    n=$(wc -l <"$f")
    [ "$n" -le 800 ] || echo "$f: $n lines; a file stops at 800"
done >/tmp/style.$$
[ -s /tmp/style.$$ ] && fail </tmp/style.$$

# Functions of libc that have no place here; memory, processes and printing outside base/ and cli/.
banned='sprintf|vsprintf|strcpy|strcat|strncpy|strtok|gets|atoi|atol|atof|sscanf|strtol|strtoll|alloca|setjmp|longjmp|rand|srand'
for f in $lib; do
    grep -nE "(^|[^_[:alnum:]>.])($banned)[[:space:]]*\\(" "$f" /dev/null | grep -vE ':[0-9]+: \* |//' || true
done >/tmp/style.$$
[ -s /tmp/style.$$ ] && fail </tmp/style.$$
outside='malloc|calloc|realloc|free|printf|puts|fprintf|fopen|open|exit|_exit|abort|getenv|pthread_[a-np-z][a-z_]*|clock_gettime|time'
for f in $(echo "$lib" | grep '^src/' | grep -v '^src/base/'); do
    grep -nE "(^|[^_[:alnum:]>.*])($outside)[[:space:]]*\\(" "$f" /dev/null |
        grep -vE ':[0-9]+: +\*|:[0-9]+:.*(/\*|//).*\(|->|^[^:]*:[0-9]+:[a-z].*\*?\(' || true
done | sed 's/$/  <- through base\/ only/' >/tmp/style.$$
[ -s /tmp/style.$$ ] && fail </tmp/style.$$

# One file per format: nobody switches over them.
for f in $lib; do
    grep -nE 'case NB_(NUMFMT|ALGO|ARCH|CONTAINER)_' "$f" /dev/null || true
done | sed 's/$/  <- ask the descriptor/' >/tmp/style.$$
[ -s /tmp/style.$$ ] && fail </tmp/style.$$

# No typedef of a struct inside src/ (handles of other libraries and functions excepted).
for f in $(echo "$lib" | grep '^src/'); do
    grep -nE '^typedef (struct|union) nb_' "$f" /dev/null || true
done | sed 's/$/  <- no typedef of structs in src/' >/tmp/style.$$
[ -s /tmp/style.$$ ] && fail </tmp/style.$$

# Layout. Tables and templates (.inc, .tmpl.h) are laid out by hand.
if command -v clang-format-14 >/dev/null; then
    for f in $(echo "$ours" | grep -vE '\.inc$|\.tmpl\.h$'); do
        clang-format-14 --style=file "$f" | diff -q - "$f" >/dev/null || echo "$f: run tools/format.sh"
    done >/tmp/style.$$
    [ -s /tmp/style.$$ ] && fail </tmp/style.$$
fi

# Every symbol that a static link could clash with begins with nb_.
if [ -f "$build/libnibble_core.a" ]; then
    nm --defined-only -g "$build/libnibble_core.a" 2>/dev/null |
        awk 'NF == 3 && $3 !~ /^(nb_|__odr_asan|__asan|__start_|__stop_)/ { print $3 ": an exported symbol without nb_" }' |
        sort -u >/tmp/style.$$
    [ -s /tmp/style.$$ ] && fail </tmp/style.$$
fi
rm -f /tmp/style.$$
exit $bad
