# quantize x.npy: an array of any shape into a number format.
. "$NB_TESTS/support/cli-lib.bash"
# npy FILE COLUMNS ROWS: f32, something like a wave.
npy() {
    python3 - "$@" <<'END'
import math, struct, sys
path, rows, cols = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
shape = "(%d, 1, %d)" % (rows, cols) if rows else "(%d,)" % cols
head = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n" % shape
n = max(rows, 1) * cols
data = struct.pack("<%df" % n, *(abs(math.sin(i * 0.37)) + 0.01 * (i % 7) for i in range(n)))
open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)
END
}
npy x.npy 6 512
npy w.npy 0 512
npy short.npy 6 500
expect 0 quantize x.npy --type q4_k
silent err
says out "x-q4_k.npy: 3072 numbers as q4_k" "4.500 bits per value" "SQNR" "mean squared error" "largest error"
expect 0 quantize x.npy -o y.npy --type Q4_K --json
json "d['out'] == 'y.npy'" "d['type'] == 'q4_k'" "d['bytes'] == 1728" "d['bpw'] == 4.5" "d['elements'] == 3072" \
    "20 < d['sqnr_db'] < 40" "0 < d['mse'] < 1e-3" "0 < d['max_error'] < 0.2" "d['file_bytes'] == 128 + 4 * 3072"
cmp x-q4_k.npy y.npy
NIBBLE_ISA=ref NIBBLE_THREADS=3 expect 0 quantize x.npy z.npy q4_k
cmp y.npy z.npy
# What was rounded once stays.
expect 0 quantize y.npy -o again.npy --type f32 --json
json "d['mse'] == 0" "d['sqnr_db'] is None" "d['bpw'] == 32"
cmp y.npy again.npy
expect 0 quantize x.npy -o w.out.npy --type q4_k --importance w.npy
cmp -s y.npy w.out.npy && fail "importance changes nothing"
expect 0 quantize x.npy -o y.gguf --type q6_k
[ "$(head -c 4 y.gguf)" = GGUF ] || fail "no GGUF file"
expect 0 quantize x.npy -o y.safetensors --type bf16
# General grids: in the .safetensors as parts.
expect 0 quantize x.npy -o g.npy --type int4_g64_asym --json
json "d['type'] == 'int4_g64_asym'" "4 < d['bpw'] < 5" "15 < d['sqnr_db'] < 40"
expect 0 quantize x.npy -o g.safetensors --type vq4_k16_t
grep -qa '"array.codes"' g.safetensors && grep -qa '"array.levels"' g.safetensors || fail "no parts"
grep -qa '"nibble.type.array":"vq4_k16_t"' g.safetensors && grep -qaF '"nibble.shape.array":"[6, 1, 512]"' g.safetensors ||
    fail "the parts do not say of what"
expect 3 quantize x.npy -o g.gguf --type int4_g64
says err "g.gguf: GGUF has no type for int4_g64"
# What cannot be done.
expect 1 quantize x.npy -o y.npy --type q4_k
says err "y.npy" "-f to overwrite"
expect 0 quantize -f x.npy -o y.npy --type q4_k
expect 3 quantize short.npy -o s.npy --type q4_k
says err "short.npy" "a row of 500 elements is no multiple of the 256 in a q4_k block"
expect 2 quantize x.npy -o s.npy
says err "--type"
expect 2 quantize x.npy -o s.npy --type q4_k --imatrix w.npy
says err "--importance"
expect 2 quantize x.npy -o s.npy --type q5_n
says err "there is no number format 'q5_n'"
expect 2 quantize x.npy -o s.bin --type q4_k
says err "s.bin" ".npy"
expect 2 quantize x.npy -o s.npy --type q4_k --importance short.npy
says err "3000 weights of importance" "each of 512 columns"
expect 2 quantize "$MODEL" -o s.gguf --importance w.npy
says err "--imatrix"
[ ! -e s.npy ] && [ ! -e s.gguf ]
