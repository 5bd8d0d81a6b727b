#!/bin/sh
# tools/docs.sh [NIBBLE [FOLDER]]: writes docs/cli.md, docs/man/*.scd and docs/formats.md from the command's
# option tables and its list of number formats, into FOLDER (else docs/). tests/cli/docs.sh compares.
set -eu
cd "$(dirname "$0")/.."
nibble=${1:-build/nibble}
out=${2:-docs}
mkdir -p "$out/man"
"$nibble" help --markdown >"$out/cli.md"
"$nibble" list formats --markdown >"$out/formats.md"
"$nibble" help --man >"$out/man/nibble.1.scd"
for verb in $(sed -n 's/^NB_VERB(\(.*\))$/\1/p' cli/verbs.inc); do
    "$nibble" help --man "$verb" >"$out/man/nibble-$verb.1.scd"
done
