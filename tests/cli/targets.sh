# Targets: nothing is overwritten unasked, the source never, and a failure leaves nothing behind.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 convert -q "$MODEL" m.gguf
echo keep >there.gguf
expect 1 quantize m.gguf there.gguf q8_0
says err "there.gguf" "exist" "-f"
[ "$(cat there.gguf)" = keep ] || fail "there.gguf was touched"
expect 0 quantize m.gguf there.gguf q8_0 -f
[ "$(wc -c <there.gguf)" -gt 1000000 ] || fail "-f did not overwrite"
rm there.gguf

# The source is never the target: same name, another spelling, a link, a symbolic link.
before=$(cksum <m.gguf)
ln m.gguf hard.gguf
ln -s m.gguf soft.gguf
for target in m.gguf ./m.gguf "$PWD/m.gguf" hard.gguf soft.gguf; do
    code=0
    "$NIBBLE" quantize m.gguf "$target" q8_0 -f >out 2>err </dev/null || code=$?
    [ $code = 1 ] || [ $code = 2 ] || fail "target $target: exit status $code"
    [ -s err ] || fail "target $target: no message"
    [ "$(cksum <m.gguf)" = "$before" ] || fail "target $target: the source was changed"
done
cp -r "$MODEL" folder
expect 0 convert -q m.gguf other
code=0
"$NIBBLE" convert folder folder -f >out 2>err </dev/null || code=$?
[ $code = 1 ] || [ $code = 2 ] || fail "folder onto itself: exit status $code"
for f in "$MODEL"/*; do
    cmp "$f" "folder/$(basename "$f")"
done
rm -r folder other hard.gguf soft.gguf

# No such folder, a folder that is not writable, a name that is a folder.
expect 1 quantize m.gguf nowhere/q.gguf q8_0
says err nowhere
mkdir sub.gguf
code=0
"$NIBBLE" quantize m.gguf sub.gguf q8_0 -f >out 2>err </dev/null || code=$?
[ $code = 1 ] || fail "target is a folder: exit status $code"
rmdir sub.gguf
if [ "$(id -u)" != 0 ]; then
    mkdir locked
    chmod 555 locked
    expect 1 quantize m.gguf locked/q.gguf q8_0
    says err locked
    [ -z "$(ls -A locked)" ] || fail "something was left in locked"
    chmod 755 locked
    rmdir locked
fi
expect 1 quantize m.gguf /proc/q.gguf q8_0
says err "/proc"

# A disk that fills up: a limit on the size of files does as well.
code=0
(ulimit -f 1000; "$NIBBLE" quantize m.gguf big.gguf q8_0 >out 2>err </dev/null) || code=$?
[ $code = 1 ] || fail "file size limit: exit status $code"
[ -s err ] || fail "file size limit: no message"
only m.gguf

# A real full disk, where one can be made.
mkdir disk
if mount -t tmpfs -o size=2m none disk 2>/dev/null; then
    code=0
    "$NIBBLE" quantize m.gguf disk/q.gguf q8_0 >out 2>err </dev/null || code=$?
    left=$(ls -A disk)
    umount disk
    [ $code = 1 ] || fail "full disk: exit status $code"
    says err "disk"
    [ -z "$left" ] || fail "full disk: $left is left"
fi
# Standard output that cannot be written is a failure.
if [ -e /dev/full ]; then
    code=0
    "$NIBBLE" list types >/dev/full 2>err || code=$?
    [ $code = 1 ] || fail "/dev/full: exit status $code"
    says err "standard output"
fi
