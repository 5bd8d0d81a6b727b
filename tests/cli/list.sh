# list: names for people, and as JSON.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 list
says out types formats architectures containers kernels q4_k_m q8_0 llama gguf safetensors
for kind in types formats grids architectures containers kernels methods transforms; do
    expect 0 list $kind
    [ -s out ] || fail "list $kind is empty"
    expect 0 list $kind --json
    json "len(d['$kind']) > 0" "all(x['name'] for x in d['$kind'])"
done
expect 0 list formats --json
json "{x['name']: x['bits_per_weight'] for x in d['formats']}['q4_k'] == 4.5"

expect 0 list formats
says out q4_k "llama.cpp" "d f16 2"
expect 0 list grids
says out int4_g128_asym nvfp4_e2m1 "codes | scales | zeros"

expect 0 list methods
says out rtn hqq adaround
expect 0 list transforms
says out smooth awq equalize rotate

# docs/models.md has a line for each architecture
expect 0 list architectures --json
python3 - "$NB_ROOT/docs/models.md" <<'PY' || fail "docs/models.md lacks an architecture"
import json, sys
page = open(sys.argv[1], encoding="utf-8").read()
names = {x["name"] for x in json.load(open("out"))["architectures"]}
missing = [n for n in names if f"| `{n}`" not in page]
sys.exit(f"missing: {missing}" if missing else 0)
PY
