/* bench/backward.c: what the way back costs beside the way there.
 *
 *   bench-backward MODEL [THREADS] [TOKENS]
 *
 * Evaluates a window of TOKENS (512) and walks it back, with all rows of logits, best of 5; the forward alone
 * is timed in a session without gradients too.
 */
#include "base/pool.h"
#include "base/sys.h"
#include "dialect/dialect.h"
#include "run/backward.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 5 };

static void check(enum nb_status st, const struct nb_error *err)
{
    if (st == NB_OK)
        return;
    fprintf(stderr, "bench-backward: %s\n", err->message);
    exit(1);
}

static double ms_since(uint64_t start)
{
    return (double)(nb_clock_ns() - start) * 1e-6;
}

struct times {
    double forward, backward;
    uint64_t bytes;
};

static struct times measure(const struct nb_weights *w, struct nb_session_options o, uint32_t n)
{
    struct times t = {1e30, 1e30, 0};
    struct nb_session *s;
    struct nb_error err;
    struct nb_session_memory memory;
    check(nb_session_create(&s, w, &o, NULL, &err), &err);
    const size_t size = (size_t)n * nb_session_width(s);
    uint32_t *tokens = calloc(n, sizeof *tokens);
    float *logits = calloc(2 * size, sizeof *logits), *d = logits + size;
    if (!tokens || !logits)
        exit(1);
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (i * i * 31 + i * 7 + 3) % w->hp.n_vocab;
    for (size_t i = 0; i < size; i++)
        d[i] = (float)(i % 7) * 1e-3F;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = nb_clock_ns();
        nb_session_rewind(s, 0);
        check(nb_session_eval(s, tokens, n, logits, 0, &err), &err);
        t.forward = NB_MIN(t.forward, ms_since(start));
        start = nb_clock_ns();
        if (o.gradients)
            check(nb_session_backward(s, &(struct nb_backward_args){.d_out = d}, &err), &err);
        t.backward = NB_MIN(t.backward, ms_since(start));
    }
    nb_session_memory(s, &memory);
    t.bytes = memory.activation_bytes + memory.kv_bytes + memory.scratch_bytes;
    nb_session_destroy(s);
    free(tokens);
    free(logits);
    return t;
}

int main(int argc, char **argv)
{
    struct nb_error err;
    struct nb_model *m;
    const unsigned threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    const uint32_t n = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 512;
    if (argc < 2 || n == 0)
        return 2;
    struct nb_session_options o = {
        .n_ctx = n, .n_batch = n, .kv_type = &nb_numfmt_f32, .float_activations = true};
    check(nb_model_open(&m, argv[1], NULL, NULL, &err), &err);
    check(nb_pool_create(&o.pool, threads, NULL, &err), &err);
    const struct times plain = measure(&m->w, o, n);
    o.gradients = NB_GRADIENTS_ACTIVATIONS;
    const struct times both = measure(&m->w, o, n);
    printf("%u tokens, %u threads: forward %.0f ms (%.1f MB); kept for gradients: forward %.0f ms, "
           "backward %.0f ms (%.1f MB): %.2f times the forward\n",
           n, threads, plain.forward, (double)plain.bytes * 1e-6, both.forward, both.backward,
           (double)both.bytes * 1e-6, both.backward / both.forward);
    nb_pool_destroy(o.pool);
    nb_model_close(m);
    return 0;
}
