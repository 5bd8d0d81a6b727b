#!/bin/sh
# check.sh PALETTE MAKE_PICTURE: the examples run, and do what they say.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
palette() { ${NB_EXE_WRAPPER:-} "$1" "$2" "$3" "$4" ${5:-} >"$work/out"; }
python3 "$2" "$work/in.ppm" 96 64
last=0
for k in 16 64 256; do
    palette "$1" $k "$work/in.ppm" "$work/$k.ppm"
    # As many lines as colours, in a file of the same size that has no more of them.
    [ "$(grep -c '^#' "$work/out")" -le $k ]
    [ "$(wc -c <"$work/$k.ppm")" = "$(wc -c <"$work/in.ppm")" ]
    python3 - "$work" $k <<'END'
import sys
work, k = sys.argv[1], int(sys.argv[2])
def pixels(name):
    data = open("%s/%s.ppm" % (work, name), "rb").read()[-96 * 64 * 3:]
    return [data[i:i + 3] for i in range(0, len(data), 3)]
a, b = pixels("in"), pixels(k)
assert len(set(b)) <= k < len(set(a)), "%d colours" % len(set(b))
mse = sum((x - y) ** 2 for p, q in zip(a, b) for x, y in zip(p, q)) / (3 * len(a))
said = float([l for l in open(work + "/out") if "mean squared" in l][0].split("error ")[1].split(",")[0])
assert abs(mse - said) < 0.4, "mean squared error %g, said %g" % (mse, said)  # colours are rounded to bytes
END
    psnr=$(sed -n 's/.*PSNR \([0-9]*\)\..*/\1/p' "$work/out")
    [ "$psnr" -gt $((last + 3)) ]
    last=$psnr
done
palette "$1" 16 "$work/in.ppm" "$work/luma.ppm" luma
! cmp -s "$work/luma.ppm" "$work/16.ppm" || exit 1
# What cannot be read is said.
head -c 500 "$work/in.ppm" >"$work/short.ppm"
! palette "$1" 16 "$work/short.ppm" "$work/no.ppm" 2>/dev/null || exit 1
[ ! -e "$work/no.ppm" ]
