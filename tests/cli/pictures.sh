# Pictures as inputs of nets: PNG and JPEG, folders, sizes, order of channels, scale, mean and deviation.
. "$NB_TESTS/support/cli-lib.bash"
cat >pixels.py <<'PY'
def pixel(x, y):
    return ((x * 37 + y * 11) % 256, (x * y * 5 + 3) % 256, (255 - x * 9 + y * 4) % 256)
PY
cat >make.py <<'PY'
# Nets that give what they get; pictures with every sort of pixel that a PNG may have.
import os, struct, zlib
from make_onnx import *
from pixels import pixel
for name, shape, kind in (("nchw", [1, 3, 8, 10], F32), ("nhwc", ["N", 8, 10, 3], F32), ("grey", [1, 1, 8, 10], F32),
                          ("open", [1, 3, "H", "W"], F32), ("codes", [1, 3, 8, 10], I8), ("bytes", [1, 3, 8, 10], U8)):
    net(name + ".onnx", [node("same", "Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, shape)])
net("two.onnx", [node("sum", "Add", ["x", "b"], ["y"])], [("x", F32, [1, 3, 8, 10]), ("b", F32, [1, 1])], [("y", F32, [1, 3, 8, 10])])

def png(path, width, height, kind, rows, extra=b""):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    data = zlib.compress(b"".join(b"\0" + r for r in rows))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)) + extra +
                chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return chunk

def rgb(width, height):
    return [bytes(c for x in range(width) for c in pixel(x, y)) for y in range(height)]

os.mkdir("images")
chunk = png("images/b.png", 23, 17, 2, rgb(23, 17))
png("images/C.PNG", 5, 31, 2, rgb(5, 31))
png("exact.png", 10, 8, 2, rgb(10, 8))
png("alpha.png", 10, 8, 6, [b"".join(bytes(pixel(x, y)) + bytes([x * 20]) for x in range(10)) for y in range(8)])
palette = bytes(c for i in range(80) for c in pixel(i % 10, i // 10))
png("palette.png", 10, 8, 3, [bytes(range(y * 10, y * 10 + 10)) for y in range(8)], chunk(b"PLTE", palette))
png("level.png", 10, 8, 0, [bytes(x * 25 for x in range(10)) for y in range(8)])
open("images/notes.txt", "w").write("no picture")
broken = open("exact.png", "rb").read()
open("broken.png", "wb").write(broken[:60])
open("text.png", "w").write("this is no picture")
npy("bytes.npy", "|u1", "(2, 3, 8, 10)", bytes(i % 251 for i in range(480)))
npy("b.npy", "<f4", "(1, 1)", struct.pack("<f", 0))
PY
PYTHONPATH=$NB_TESTS/support:. python3 -B make.py
"$NIBBLE" run nchw.onnx -i exact.png -q >out 2>err || {
    ! grep -q "was built without" err || exit 77
    fail "no picture is taken"
}
cat >check.py <<'PY'
# check.py FILE WIDTH HEIGHT NET [--resize N] [--bgr] [--scale X] [--mean M] [--std S]: is y.npy what the definition gives?
import struct, sys
from pixels import pixel

def read(path):
    data = open(path, "rb").read()
    n = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10:10 + n])
    return head["shape"], head["descr"], data[10 + n:]

def weights(old, new):
    scale = old / new
    wide = max(scale, 1.0)
    for i in range(new):
        c = (i + 0.5) * scale
        a, b = max(0, int(c - wide + 0.5)), min(old, int(c + wide + 0.5))
        t = [max(0.0, 1 - abs((k - c + 0.5) / wide)) for k in range(a, b)]
        yield a, [int(v / sum(t) * (1 << 22) + 0.5) for v in t]

def line(pixels, new):
    if len(pixels) == new:
        return pixels
    return [tuple(min(255, ((1 << 21) + sum(w * pixels[a + k][c] for k, w in enumerate(ws))) >> 22) for c in range(3))
            for a, ws in weights(len(pixels), new)]

def resize(rows, width, height):
    rows = [line(r, width) for r in rows]
    columns = [line([r[x] for r in rows], height) for x in range(width)]
    return [[c[y] for c in columns] for y in range(height)]

def main():
    args = sys.argv[1:]
    width, height, net = int(args[0]), int(args[1]), args[2]
    o = {k: args[args.index(k) + 1] for k in ("--resize", "--scale", "--mean", "--std") if k in args}
    rows = [[pixel(x, y) for x in range(width)] for y in range(height)]
    if "--resize" in o:
        n = int(o["--resize"])
        w, h = (n, n * height // width) if width <= height else (n * width // height, n)
        rows = resize(rows, w, h)
        left, top = round((w - 10) / 2), round((h - 8) / 2)
        rows = [r[left:left + 10] for r in rows[top:top + 8]]
    else:
        rows = resize(rows, 10, 8)
    if "--bgr" in args:
        rows = [[p[::-1] for p in r] for r in rows]
    if net == "grey":
        rows = [[((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 32768) >> 16,) for p in r] for r in rows]
    channels = len(rows[0][0])
    ratio = lambda t: float(t.split("/")[0]) / float((t.split("/") + ["1"])[1])
    per = lambda k, d: ([ratio(t) for t in o[k].split(",")] * 3)[:3] if k in o else [d] * 3
    mean, std, scale = per("--mean", 0.0), per("--std", 1.0), ratio(o.get("--scale", "1"))
    rows = [[[(p[c] * scale - mean[c]) / std[c] for c in range(channels)] for p in r] for r in rows]
    if net == "nhwc":
        flat = [v for r in rows for p in r for v in p]
    else:
        flat = [rows[y][x][c] for c in range(channels) for y in range(8) for x in range(10)]
    shape, descr, data = read("y.npy")
    kinds = {"<f4": "f", "|i1": "b", "|u1": "B"}
    if descr != "<f4":
        flat = [max(-128 if descr == "|i1" else 0, min(127 if descr == "|i1" else 255, round(v))) for v in flat]
    want = struct.pack("<%d%s" % (len(flat), kinds[descr]), *flat)
    if data != want:
        sys.exit("%s: other numbers than the definition gives" % args)

main()
PY
# same NET FILE WIDTH HEIGHT [OPTION...]
same() {
    local net=$1 file=$2 width=$3 height=$4
    shift 4
    expect 0 run "$net.onnx" -i "$file" -o y=y.npy --force -q "$@"
    python3 -B check.py "$width" "$height" "$net" "$@" || fail "$net $file $*"
}
for net in nchw nhwc grey; do
    same $net exact.png 10 8
    same $net images/b.png 23 17
    same $net images/C.PNG 5 31
    same $net images/b.png 23 17 --resize 12
    same $net images/C.PNG 5 31 --resize 11
    same $net images/b.png 23 17 --scale 1/255
    same $net images/b.png 23 17 --mean 127.5 --std 127.5
done
for net in nchw nhwc; do
    same $net alpha.png 10 8
    same $net palette.png 10 8
    same $net images/b.png 23 17 --bgr --scale 1/255 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
done
same codes images/b.png 23 17 --mean 128
same codes images/b.png 23 17 --scale 1.5 --mean 100.25
same bytes images/b.png 23 17
same bytes images/b.png 23 17 --scale 0.5
expect 0 run open.onnx -i images/b.png --dim H=8 --dim W=10 -o y=y.npy --force -q
python3 -B check.py 23 17 nchw || fail "open dimensions"
expect 0 run two.onnx -i x=images/b.png -i b=b.npy -o y=y.npy --force -q --scale 1/255
python3 -B check.py 23 17 nchw --scale 1/255 || fail "two inputs, one a picture"
expect 0 run grey.onnx -i level.png -q
# JPEG: the pixels of libjpeg-turbo's accurate transform, which Pillow gives too.
cat >wide.py <<'PY'
from make_onnx import *
net("wide.onnx", [node("same", "Identity", ["x"], ["y"])], [("x", F32, [1, 16, 24, 3])], [("y", F32, [1, 16, 24, 3])])
PY
PYTHONPATH=$NB_TESTS/support python3 -B wide.py
expect 0 run wide.onnx -i "$NB_TESTS/data/pictures/soft.jpg" -o y=y.npy --force -q
python3 - "$NB_TESTS/data/pictures/soft.rgb" <<'PY' || fail "other pixels of a JPEG"
import struct, sys
want = open(sys.argv[1], "rb").read()
sys.exit(open("y.npy", "rb").read()[-4 * len(want):] != struct.pack("<%df" % len(want), *want))
PY
# Folders, in the order of their names (C.PNG, b.png), everywhere.
expect 0 run nhwc.onnx -i images -o y=all.npy -q
for part in "0 C.PNG" "1 b.png"; do
    expect 0 run nhwc.onnx -i "images/${part#* }" -o y=y.npy --force -q
    python3 - "${part% *}" <<'PY' || fail "the folder's picture ${part#* }"
import sys
i, n = int(sys.argv[1]), 8 * 10 * 3 * 4
sys.exit(open("all.npy", "rb").read()[128:][i * n:i * n + n] != open("y.npy", "rb").read()[128:])
PY
done
expect 0 eval nhwc.onnx --input images --expected all.npy --json
json "d['samples'] == 2" "d['max_difference'] == 0"
expect 0 quantize nchw.onnx -o q.onnx --type f16 --calib images --mean 127.5 --std 127.5
expect 0 compare nchw.onnx q.onnx --input images --mean 127.5 --std 127.5 --json
json "d['samples'] == 2" "d['outputs'][0]['equal'] or d['outputs'][0]['sqnr_db'] > 60"
expect 0 bench nchw.onnx --input images/b.png --repeat 3
# Arrays of bytes too.
expect 0 compare nchw.onnx nchw.onnx --input bytes.npy --scale 1/255 --mean 0.5,0.25,0.125 --json
json "d['samples'] == 2" "d['outputs'][0]['equal']"
# What cannot be done.
no() { # CODE TEXT ARGUMENTS...
    local code=$1 text=$2
    shift 2
    expect "$code" run "$@" -q
    says err "$text"
}
no 3 "broken.png: a broken PNG picture" nchw.onnx -i broken.png
no 3 "text.png: neither a PNG nor a JPEG picture" nchw.onnx -i text.png
no 3 "cannot open 'gone.jpg'" nchw.onnx -i gone.jpg
mkdir empty
no 2 "empty: a folder without pictures; expected .png, .jpg or .jpeg" nchw.onnx -i empty
no 2 "height or width of input 'x' is open" open.onnx -i exact.png
no 2 "once its shorter side is 6; the input takes 10 x 8" nchw.onnx -i images/b.png --resize 6
no 2 "means or deviations of 2 channels; input 'x' has 3" nchw.onnx -i exact.png --mean 1,2
no 2 "--std 1,a: expected a number, or one for each of up to 4 channels" nchw.onnx -i exact.png --std 1,a
no 2 "a deviation of 0" nchw.onnx -i exact.png --std 0
no 2 "--scale x: expected a number" nchw.onnx -i exact.png --scale x
no 2 "no layout 'chwn'" nchw.onnx -i exact.png --layout chwn
no 2 "are for an --input" nchw.onnx --bgr
no 3 "images holds float32 [2, 3, 8, 10], but input 'x' takes float32 [1, 3, 8, 10]" nchw.onnx -i images
