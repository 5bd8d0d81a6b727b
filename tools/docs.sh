#!/bin/sh
# tools/docs.sh [NIBBLE [FOLDER]]: writes docs/cli.md and docs/man/*.scd from the command's option
# tables, into FOLDER (else docs/). tests/cli/docs.sh compares.
set -eu
cd "$(dirname "$0")/.."
nibble=${1:-build/nibble}
out=${2:-docs}
mkdir -p "$out/man"
"$nibble" help --markdown >"$out/cli.md"
"$nibble" help --man >"$out/man/nibble.1.scd"
for verb in $(sed -n 's/^NB_VERB(\(.*\))$/\1/p' cli/verbs.inc); do
    "$nibble" help --man "$verb" >"$out/man/nibble-$verb.1.scd"
done
