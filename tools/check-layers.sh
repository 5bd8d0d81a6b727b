#!/bin/sh
# Proves the layers of tools/layers.txt ("level room"): a file of src/<room> includes its own room and
# rooms of strictly lower levels; <room>_internal.h stays in its room; cli/ includes <nibble/...> and
# its own headers only. Prints each offending line.
set -eu
cd "$(dirname "$0")/.."
rc=0
find src -name '*.[ch]' -o -name '*.inc' | LC_ALL=C sort | xargs awk -v map=tools/layers.txt '
BEGIN { while ((getline l < map) > 0) { split(l, f, " "); lay[f[2]] = f[1] } }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, q, "\""); d = q[2]
    s = FILENAME; sub(/^src\//, "", s); sub(/\/.*/, "", s)
    if (!(s in lay)) { print FILENAME ": room " s " is not in " map; bad = 1; nextfile }
    if (d !~ /\//) next # a generated table or a file of the same folder
    internal = d ~ /_internal\.h$/
    sub(/\/.*/, "", d)
    where = FILENAME ":" FNR ": "
    if (!(d in lay)) { print where "unknown room " d; bad = 1 }
    else if (lay[d] > lay[s] || (lay[d] == lay[s] && d != s)) { print where s " may not include " d; bad = 1 }
    else if (internal && d != s) { print where "an internal header of " d; bad = 1 }
}
END { exit bad }' || rc=1
for f in $(find cli -name '*.[ch]' 2>/dev/null | LC_ALL=C sort); do
    if grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"[^"]*/' "$f" | grep -v '"cli/' |
        sed "s|^|$f:|" | grep .; then
        echo "$f: cli/ may include <nibble/...> and its own headers only"
        rc=1
    fi
done
exit $rc
