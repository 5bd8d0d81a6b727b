# Wrong usage: exit status 2, one line that names what is meant, and where to look.
. "$NB_TESTS/support/cli-lib.bash"
wrong() { # TEXT ARGUMENTS...
    local text=$1
    shift
    expect 2 "$@"
    says err "nibble: " "$text" "try 'nibble"
    silent out
    [ "$(wc -l <err)" = 2 ] || fail "more than two lines"
}
wrong "the nearest is 'quantize'" quantise x
wrong "unknown verb 'xyzzy'" xyzzy
wrong "a verb comes first" --json
wrong "missing argument: nibble quantize MODEL" quantize
wrong "one argument too many" inspect a b
wrong "missing argument: nibble convert" convert a
wrong "missing argument: nibble compare" compare a
wrong "unknown option '--treads'; the nearest is '--threads'" quantize m --treads 2
wrong "unknown option '-Z'" quantize m -Z
wrong "unknown option '--zzzzzzzz'" eval m --zzzzzzzz
wrong "is ambiguous" quantize m --t q4_0
wrong "needs an argument: TYPE" quantize m --type
wrong "takes no argument" quantize m --json=yes
wrong "'x' is not a whole number" inspect m --threads x
wrong "'-1' is not a whole number" inspect m --threads=-1
wrong "'4294967296' is not a whole number" eval m --ctx 4294967296
wrong "not a size like 3GiB" quantize m --max-ram 3X
wrong "not a size like 3GiB" quantize m --max-ram 99999999999999999999999
wrong "not a number that is not negative" eval m --max-kld=-1
wrong "not a number that is not negative" eval m --max-kld nan
wrong "the nearest is 'q4_k_m'" quantize m --type q4_k_n
wrong "the nearest is 'q6_k'" quantize m --tensor-type 'attn=q6_j'
wrong "is not REGEX=TYPE" quantize m --tensor-type q4_k
wrong "two outputs" quantize m a.gguf -o b.gguf
wrong "two types" quantize m a.gguf q4_0 --type q8_0
wrong "cannot go to standard output" quantize m -o -
wrong "--recipe says all types" quantize m --recipe r.json --type q4_0
wrong "--max-kld needs --against" eval m --text t --max-kld 1
wrong "exclude each other" run m -p a -f b
wrong "--stop needs some text" run m -p a --stop ""
wrong "nothing to list" list colours
wrong "an empty argument" inspect ""
NIBBLE_THREADS=many wrong "NIBBLE_THREADS is 'many'" inspect m
# Options and arguments in any order; prefixes; "--" ends options.
expect 3 inspect --json -- --no-such-model
says err "no-such-model"
only ""
