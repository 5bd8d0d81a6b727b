#!/bin/sh
# check_classify.sh CLASSIFY: the example runs a net of one node, written here byte for byte.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
classify() { ${NB_EXE_WRAPPER:-} "$1" "$2" "$3"; }
python3 - "$work" <<'END'
import struct, sys
def blob(field, v):
    v = v.encode() if isinstance(v, str) else v
    return bytes([field << 3 | 2, len(v)]) + v
def value(name):
    return blob(1, name) + blob(2, blob(1, b"\x08\x01" + blob(2, blob(1, blob(2, "N")))))
graph = blob(1, blob(1, "x") + blob(1, "x") + blob(2, "y") + blob(4, "Add")) + blob(2, "g") + blob(11, value("x")) + blob(12, value("y"))
open(sys.argv[1] + "/net.onnx", "wb").write(b"\x08\x08" + blob(7, graph) + blob(8, blob(1, "") + b"\x10\x0d"))
head = "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }\n"
open(sys.argv[1] + "/x.npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<5f", 1, 7, 3, 7, -2))
END
[ "$(classify "$1" "$work/net.onnx" "$work/x.npy" | tr '\n' ';')" = "1 14;3 14;2 6;" ]
! classify "$1" "$work/x.npy" "$work/x.npy" 2>/dev/null || exit 1
