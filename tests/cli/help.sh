# Help: short on one screen, complete in full, generated from the tables; documentation is current.
. "$NB_TESTS/support/cli-lib.bash"
verbs=$(sed -n 's/^NB_VERB(\(.*\))$/\1/p' "$NB_ROOT/cli/verbs.inc")

expect 2
says err "usage: nibble VERB"
expect 0 --help
silent err
expect 0 --version
says out "nibble "
for verb in $verbs; do
    expect 0 help
    says out "  $verb "
    expect 0 "$verb" -h
    says out "usage: nibble $verb"
    [ "$(wc -l <out)" -le 24 ] || fail "$verb -h has $(wc -l <out) lines, a screen has 24"
    expect 0 "$verb" --help
    silent err
    says out "Examples:" "Exit status:" "--threads" "--json" "--[no-]progress" "--quiet"
    ! grep -nE ' $' out || fail "$verb --help: trailing space"
    # Every option of the source is in --help and in the man page.
    options=$(sed -n 's/.*{\.name = "\([a-z-]*\)".*/\1/p' "$NB_ROOT/cli/verb_$verb.c" "$NB_ROOT/cli/options.c")
    case $verb in plan) options="$options $(sed -n 's/.*{\.name = "\([a-z-]*\)".*/\1/p' "$NB_ROOT/cli/verb_quantize.c")" ;; esac
    for o in $options; do
        [ "$o" = h ] && continue
        grep -qE -e "--(\[no-\])?$o( |\$)" out || fail "$verb --help lacks --$o"
        grep -qE -e "\*--(\[no-\])?$o\*" "$NB_ROOT/docs/man/nibble-$verb.1.scd" || fail "nibble-$verb(1) lacks --$o"
    done
    cp out full
    expect 0 help "$verb"
    cmp -s out full || fail "nibble help $verb differs from nibble $verb --help"
done

"$NB_ROOT/tools/docs.sh" "$NIBBLE" "$PWD/docs"
diff -r "$PWD/docs/man" "$NB_ROOT/docs/man" || fail "man pages are old: run tools/docs.sh"
diff docs/formats.md "$NB_ROOT/docs/formats.md" || fail "docs/formats.md is old: run tools/docs.sh"
diff docs/cli.md "$NB_ROOT/docs/cli.md" || fail "docs/cli.md is old: run tools/docs.sh"
