# embed: vectors, their similarity, comparison with another model, what is refused.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 embed "$MODEL" "a cat sat" "a cat was sitting" "shares fell" --json -t 1
json "d['width'] == 256" "d['pooling'] == 'last'" "len(d['embeddings']) == 3" \
    "all(abs(sum(x * x for x in v) - 1) < 1e-5 for v in d['embeddings'])"
cp out one
expect 0 embed "$MODEL" "a cat sat" "a cat was sitting" "shares fell" --json -t 3
cmp one out || fail "the numbers depend on the threads"
printf 'a cat sat\n\na cat was sitting\nshares fell\n' >texts
expect 0 embed "$MODEL" --input texts --json
cmp one out || fail "--input reads other texts"
expect 0 embed "$MODEL" -i texts --similarity --pooling mean --json
json "len(d['similarity']) == 3" "abs(d['similarity'][1][1] - 1) < 1e-6" "d['pooling'] == 'mean'" \
    "d['similarity'][0][1] > d['similarity'][0][2]"
"$NIBBLE" embed "$MODEL" -i - --raw --json <texts >out 2>err || fail "no vectors of standard input"
json "all(sum(x * x for x in v) > 2 for v in d['embeddings'])"
expect 0 quantize -q "$MODEL" q.gguf q8_0
printf 'a cat sat\ta cat was sitting\nshares fell\nshares rose\n' >pairs
expect 0 embed q.gguf --against "$MODEL" --pairs pairs --json
json "d['pairs'] == 2" "d['texts'] == 4" "d['cosine_min'] > 0.99" "d['error_max'] < 0.02" "d['spearman'] == 1"
expect 0 embed "$MODEL" --against "$MODEL" --pairs pairs --min-spearman 1 --json
json "d['error_max'] == 0" "d['cosine_min'] == 1"
expect 0 embed q.gguf --against "$MODEL" --pairs pairs
says out "2 pairs: similarity off by"
expect 2 embed "$MODEL"
says err "no text"
expect 2 embed "$MODEL" text --against "$MODEL"
expect 2 embed "$MODEL" text --pairs pairs
expect 2 embed "$MODEL" text --pooling max
says err "mean, cls or last"
expect 3 embed "$MODEL" --against "$MODEL" --pairs missing
: >empty
expect 2 embed "$MODEL" --against "$MODEL" --pairs empty
says err "no pair of texts"
