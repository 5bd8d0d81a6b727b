# cli-lib.bash: what the scripts of tests/cli share. The command under test is $NIBBLE; its output is
# left in the files out and err.
MODEL=$NB_MODELS/tiny-7m
TEXT=$NB_DATA/evaluation.txt

fail() {
    echo "FAILED: $*" >&2
    [ ! -f out ] || { echo "--- out"; tail -n 20 out; } >&2
    [ ! -f err ] || { echo "--- err"; tail -n 20 err; } >&2
    exit 1
}

# expect CODE ARGUMENTS...: runs the command and wants this exit status.
expect() {
    local want=$1 got=0
    shift
    "$NIBBLE" "$@" >out 2>err </dev/null || got=$?
    [ "$got" = "$want" ] || fail "nibble $*: exit status $got, expected $want"
}

# says FILE TEXT...: each text stands in the file.
says() {
    local file=$1 text
    shift
    for text; do
        grep -qF -e "$text" "$file" || fail "no '$text' in $file"
    done
}

silent() {
    [ ! -s "$1" ] || fail "$1 is not empty"
}

# json EXPRESSION...: out is strict JSON (no NaN), and each Python expression over d is true.
json() {
    python3 - "$@" <<'EOF' || fail "JSON: $*"
import json, sys

def refuse(name):
    raise ValueError(name + " is not JSON")

with open("out", encoding="utf-8") as f:
    d = json.load(f, parse_constant=refuse)
for e in sys.argv[1:]:
    if not eval(e):
        sys.exit("not true: " + e)
EOF
}

# only NAME...: the folder holds these names (and out, err), nothing else.
only() {
    local want got
    want=$(printf '%s\n' "$@" | sort)
    got=$(ls -A | grep -vxE 'out|err' | sort || true)
    [ "$want" = "$got" ] || fail "the folder holds: $(echo $got); expected: $*"
}
