#!/bin/sh
# Lays out C files as .clang-format says: those given, or all that differ from origin/main.
set -eu
cd "$(git rev-parse --show-toplevel)"
[ $# -gt 0 ] || set -- $(git diff --name-only --diff-filter=d origin/main -- '*.c' '*.h'; git ls-files -o --exclude-standard '*.c' '*.h')
for f; do
    case $f in *.tmpl.h) ;; *) clang-format-14 -i --style=file "$f" ;; esac
done
