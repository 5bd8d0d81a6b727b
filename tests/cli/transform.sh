# quantize --transform: the same model, whoever reads it; what cannot be carried; the recipe says it.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 quantize "$MODEL" same.gguf f32 --transform rotate_heads,equalize --dump-recipe recipe.json
grep -qF '"transforms":"rotate_heads,equalize"' recipe.json || fail "the recipe does not name its transforms"
expect 0 eval same.gguf --text "$TEXT" --against "$MODEL" --chunks 1 --max-kld 0.000001 --float-activations
# Nothing is left beside the output; threads and the recipe make the same bytes.
only same.gguf recipe.json
expect 0 quantize "$MODEL" again.gguf --recipe recipe.json -t 3
cmp same.gguf again.gguf
rm -- *.gguf

expect 3 quantize "$MODEL" x.gguf q4_0 --transform rotate
says err "'rotate' cannot be carried: the head is the embedding" "2097152 weights"
expect 2 quantize "$MODEL" x.gguf q4_0 --transform shrink
says err "'shrink' is no transform" "nibble list transforms"
expect 2 quantize "$MODEL" x.gguf q4_0 --transform awq
says err "transform 'awq' looks at inputs: it needs a calibration text"
only recipe.json
