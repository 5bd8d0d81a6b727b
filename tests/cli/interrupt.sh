# A signal stops the work, and nothing is left behind.
. "$NB_TESTS/support/cli-lib.bash"
set -m # or a background job would ignore SIGINT
stop_with() { # SIGNAL CODE
    local code=0 i=0
    NIBBLE_ISA=ref "$NIBBLE" quantize "$MODEL" q.gguf q4_k_m -t 1 >out 2>err </dev/null &
    local pid=$!
    while kill -0 $pid 2>/dev/null && ! ls q.gguf*partial* >/dev/null 2>&1 && [ $i -lt 500 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill "-$1" $pid 2>/dev/null || true
    wait $pid || code=$?
    if [ $code = 0 ]; then # it was faster
        rm q.gguf
        return
    fi
    [ $code = "$2" ] || fail "after SIG$1 the exit status is $code, expected $2"
    says err "nothing was left behind"
    only ""
}
stop_with INT 130
stop_with TERM 143
