# Bad input: exit status 3, a message that names the file, nothing left behind.
. "$NB_TESTS/support/cli-lib.bash"
bad() { # FILE: every verb that reads it refuses it
    local f=$1
    for verb in "inspect $f" "plan $f" "quantize $f out.gguf q8_0 --allow-requantize" "run $f -p a -n 1"; do
        # shellcheck disable=SC2086
        expect 3 $verb
        says err "nibble: "
        silent out
    done
    [ ! -e out.gguf ] && [ ! -e out.gguf.partial ] || fail "$f: something is left"
}
bad missing.gguf
says err missing.gguf
mkdir empty
bad empty
: >zero.gguf
bad zero.gguf
echo "not a model" >text.gguf
bad text.gguf
head -c 4096 /dev/zero >zeros.safetensors
bad zeros.safetensors

expect 0 convert -q "$MODEL" m.gguf
size=$(wc -c <m.gguf)
for n in 3 8 23 24 100 5000 $((size / 2)) $((size - 1)); do
    head -c "$n" m.gguf >cut.gguf
    bad cut.gguf
    says err cut.gguf
done

# A folder with a part missing or cut.
for n in 7 100 4000 $((13644224 / 2)) 13644223; do
    rm -rf folder
    mkdir folder
    cp "$MODEL"/*.json folder
    head -c "$n" "$MODEL/model.safetensors" >folder/model.safetensors
    bad folder
done
cp "$MODEL/model.safetensors" folder
rm folder/config.json
bad folder
says err config.json
echo '{"architectures": ["LlamaForCausalLM"], "hidden_size": ' >folder/config.json
bad folder
sed 's/LlamaForCausalLM/NoSuchNetwork/; s/"llama"/"nosuch"/' "$MODEL/config.json" >folder/config.json
for verb in plan quantize run; do # inspect shows its tensors
    expect 3 $verb folder
    says err NoSuchNetwork
    silent out
done
says err NoSuchNetwork
sed 's/"num_hidden_layers": 6/"num_hidden_layers": 7/' "$MODEL/config.json" >folder/config.json
bad folder
sed 's/"hidden_size": 256/"hidden_size": 512/' "$MODEL/config.json" >folder/config.json
bad folder

# NaN and infinity in the weights.
cp "$MODEL/config.json" folder
for value in '\300\177' '\200\177'; do # bf16 NaN, infinity
    cp "$MODEL/model.safetensors" folder/model.safetensors
    printf "$value" | dd of=folder/model.safetensors bs=1 seek=10000000 conv=notrunc status=none
    expect 3 quantize folder nan.gguf q4_k_m
    says err "nibble: " "damaged"
    only empty zero.gguf text.gguf zeros.safetensors m.gguf cut.gguf folder
done
# Terminal escapes in a file do not reach the terminal.
expect 3 inspect $'x\033[31m.gguf'
! grep -q $'\033' err || fail "an escape character came through"
