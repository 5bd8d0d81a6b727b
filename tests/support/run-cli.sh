#!/bin/sh
# run-cli.sh NIBBLE SCRIPT: runs tests/cli/<name>.sh with bash -e -u in an empty folder, $NIBBLE the
# command. Beside the script may lie <name>.exit (a number; else 0), <name>.stdout and <name>.stderr:
# the expected text, each line a shell pattern.
set -u
NIBBLE=$1
case $NIBBLE in /*) ;; *) NIBBLE=$PWD/${NIBBLE#./} ;; esac
script=$2
export NIBBLE
base=${script%.sh}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
if [ -n "${NB_EXE_WRAPPER:-}" ]; then # a command of another architecture
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$NB_EXE_WRAPPER" "$NIBBLE" >"$work/nibble"
    chmod +x "$work/nibble"
    NIBBLE=$work/nibble
fi
mkdir "$work/in" && cd "$work/in" || exit 1
bash -eu "$script" >"$work/stdout" 2>"$work/stderr" </dev/null
rc=$?
bad=0
want=0
[ -f "$base.exit" ] && want=$(cat "$base.exit")
[ "$rc" = "$want" ] || { echo "exit status $rc, expected $want"; bad=1; }

# Line by line: each expected line is a pattern.
matches() {
    exec 3<"$1" 4<"$2"
    while :; do
        IFS= read -r got <&3 && a=1 || a=0
        IFS= read -r pattern <&4 && b=1 || b=0
        [ $a$b = 00 ] && return 0
        [ $a$b = 11 ] || { echo "$3: more lines than expected, or fewer"; return 1; }
        # shellcheck disable=SC2254
        case $got in $pattern) ;; *) printf '%s: "%s" does not match "%s"\n' "$3" "$got" "$pattern"; return 1 ;; esac
    done
}
for stream in stdout stderr; do
    [ ! -f "$base.$stream" ] || matches "$work/$stream" "$base.$stream" $stream || bad=1
done
if [ $bad = 1 ]; then
    echo "--- stdout"; tail -n 40 "$work/stdout"
    echo "--- stderr"; tail -n 40 "$work/stderr"
fi
exit $bad
