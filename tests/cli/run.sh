# run: the same text from the same seed; where it ends; stop texts across tokens; bad prompts.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 run "$MODEL" -p "The sea was" -n 24 --temp 0
[ -s out ] || fail "no text"
says err "tok/s"
cp out greedy
expect 0 run "$MODEL" -p "The sea was" -n 24 --temp 0 -t 1 -q
cmp out greedy
silent err
printf 'The sea was' >prompt.txt
expect 0 run "$MODEL" -f prompt.txt -n 24 --temp 0
cmp out greedy
"$NIBBLE" run "$MODEL" -n 24 --temp 0 <prompt.txt >out 2>err
cmp out greedy
expect 0 run "$MODEL" -p "The sea was" -n 24 --temp 0 --echo
[ "$(cat out)" = "The sea was$(cat greedy)" ] || fail "--echo"
expect 0 run "$MODEL" -p "The sea was" -n 24 --temp 0 --json
json "d['tokens'] == 24" "len(d['token_ids']) == 24" "d['text'] + '\n' == open('greedy', encoding='utf-8').read()" \
    "d['end'] == 'tokens'" "d['prompt_tokens'] > 1" "d['decode_tok_s'] > 0"
# Sampling: a seed decides.
expect 0 run "$MODEL" -p "The sea was" -n 24 -s 7
cp out seven
expect 0 run "$MODEL" -p "The sea was" -n 24 --seed 7
cmp out seven
expect 0 run "$MODEL" -p "The sea was" -n 24 --seed 8 --top-k 100 --top-p 1 --min-p 0 --temp 1.5
! cmp -s out seven || fail "another seed, the same text"
expect 0 run "$MODEL" -p "The sea was" -n 24 --temp 0 --repeat-penalty 1.5 --repeat-last 32
! cmp -s out greedy || fail "the repeat penalty changes nothing"
# A stop text that begins and ends inside tokens: the text is cut right before it.
stop=$(python3 - <<'EOF'
t = open("greedy", encoding="utf-8").read()
print(t[len(t) // 2 - 4:len(t) // 2 + 5], end="")
EOF
)
expect 0 run "$MODEL" -p "The sea was" -n 24 --temp 0 --stop "no such text" --stop "$stop"
says err "ended: stop"
STOP=$stop python3 - <<'EOF'
import os
whole = open("greedy", encoding="utf-8").read()
got = open("out", encoding="utf-8").read()
assert got[:-1] == whole[:whole.index(os.environ["STOP"])], (got, whole)
EOF
# Held-back text that is no stop text after all comes out.
expect 0 run "$MODEL" -p "The sea was" -n 24 --temp 0 --stop "$stop never"
cmp out greedy
# The context ends generation; a prompt that does not fit is refused.
expect 0 run "$MODEL" -p "The sea was" -n 0 --ctx 16 --temp 0
says err "context full"
expect 1 run "$MODEL" -f "$TEXT" --ctx 64
says err "64"
expect 3 run "$MODEL" -f missing.txt
expect 0 run "$MODEL" -p "" -n 4
# Broken UTF-8 and special tokens in a prompt.
printf 'abc\377\300def' >broken.txt
expect 0 run "$MODEL" -f broken.txt -n 4
expect 0 run "$MODEL" -p "<|endoftext|>The" -n 2 --json --temp 0
json "d['prompt_tokens'] <= 3"
expect 0 run "$MODEL" -p "<|endoftext|>The" -n 2 --json --temp 0 --no-special
json "d['prompt_tokens'] > 3"
