/* The sampled Fisher matrix: against the expectation over every token that could be drawn, the same bits for
 * any pool, its parts against each other, and what is refused. */
#include "calib/fisher.h"
#include "run/backward.h"
#include "support/tiny_llama.h"

#define TOKENS 70
#define CTX    32
#define SHORT  4 /* tokens of the window that is enumerated */

static struct nb_error err;
static uint32_t tokens[TOKENS];

static struct nb_fisher_job job_of(const struct tiny *t)
{
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + 11) % t->w.hp.n_vocab;
    return (struct nb_fisher_job){.w = &t->w,
                                  .tokens = tokens,
                                  .n_tokens = TOKENS,
                                  .bos = 1,
                                  .ctx = CTX,
                                  .seed = 3,
                                  .what = NB_FISHER_FULL | NB_FISHER_NORMS};
}

static struct nb_fisher *collect(const struct nb_fisher_job *job)
{
    struct nb_fisher *f;
    assert_ok(nb_fisher_collect(&f, job, NULL, &err), &err);
    return f;
}

static void test_parts(void **state)
{
    struct tiny t;
    (void)state;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_q8_0);
    const struct nb_fisher_job job = job_of(&t);
    struct nb_fisher *f = collect(&job);
    assert_int_equal(f->n, 3 * 7);
    assert_int_equal(f->windows, 2); /* 70 tokens are two windows of 32 */
    assert_null(nb_fisher_find(f, "token_embd.weight"));
    const struct nb_fisher_layer *gate = nb_fisher_find(f, "blk.1.ffn_gate.weight");
    assert_non_null(gate);
    assert_int_equal(gate->n, t.w.hp.n_ff);
    assert_int_equal(gate->block, 1);
    for (size_t i = 0; i < f->n; i++) {
        const struct nb_fisher_layer *l = &f->layers[i];
        double trace = 0.0, norms = 0.0;
        assert_close(l->tokens, 2.0 * CTX, 0.0);
        assert_close(l->g->tokens, 2.0 * CTX, 0.0);
        for (size_t j = 0; j < l->n; j++) {
            trace += l->diag[j];
            assert_close(l->g->h[j * l->n + j], l->diag[j], 1e-5 * l->diag[j]);
        }
        for (size_t j = 0; j < 2 * CTX; j++)
            norms += (double)l->norms[j];
        assert_true(trace > 0.0);
        assert_close(norms, trace, 1e-5 * trace);
    }
    nb_fisher_destroy(f);
    tiny_fini(&t);
}

static void check_same(const struct nb_fisher *a, const struct nb_fisher *b, bool equal)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const size_t n = a->layers[i].n;
        assert_string_equal(a->layers[i].weight, b->layers[i].weight);
        const bool same =
            memcmp(a->layers[i].diag, b->layers[i].diag, n * sizeof(double)) == 0 &&
            memcmp(a->layers[i].g->h, b->layers[i].g->h, n * n * sizeof(double)) == 0 &&
            memcmp(a->layers[i].norms, b->layers[i].norms, a->windows * CTX * sizeof(float)) == 0;
        assert_int_equal(same, equal);
    }
}

static void test_bits(void **state)
{
    struct tiny t;
    (void)state;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f32);
    struct nb_fisher_job job = job_of(&t);
    job.draws = 2;
    struct nb_fisher *want = collect(&job);
    for (unsigned threads = 2; threads <= 7; threads += 5) {
        assert_ok(nb_pool_create(&job.pool, threads, NULL, &err), &err);
        struct nb_fisher *got = collect(&job);
        check_same(got, want, true);
        nb_fisher_destroy(got);
        nb_pool_destroy(job.pool);
        job.pool = NULL;
    }
    job.seed++;
    struct nb_fisher *other = collect(&job);
    check_same(other, want, false);
    nb_fisher_destroy(other);
    nb_fisher_destroy(want);
    tiny_fini(&t);
}

/* sum over positions s and tokens y of p_s(y) g g^T, g the gradient of -log p_s(y). */
struct expected {
    const char *weight;
    double p;
    double *g; /* (n, n) */
};

static void on_tap(void *ctx, const struct nb_grad_tap *tap)
{
    struct expected *e = ctx;
    const size_t n = tap->n_rows;
    if (strcmp(tap->weight, e->weight) != 0)
        return;
    for (size_t t = 0; t < tap->n_tokens; t++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++)
                e->g[i * n + j] += e->p * (double)tap->dy[t * n + i] * (double)tap->dy[t * n + j];
}

static void enumerate(const struct tiny *t, struct expected *e)
{
    const struct nb_session_options o = {.n_ctx = SHORT,
                                         .kv_type = &nb_numfmt_f32,
                                         .float_activations = true,
                                         .gradients = NB_GRADIENTS_ACTIVATIONS};
    const size_t v = t->w.hp.n_vocab;
    struct nb_session *s;
    float *p = malloc(2 * SHORT * v * sizeof *p), *d = p + SHORT * v;
    assert_ok(nb_session_create(&s, &t->w, &o, NULL, &err), &err);
    assert_ok(nb_session_eval(s, tokens, SHORT, p, 0, &err), &err);
    for (size_t i = 0; i < SHORT; i++)
        nb_kernels_get()->softmax_f32(p + i * v, v, 1.0F);
    for (size_t i = 0; i < SHORT; i++)
        for (size_t y = 0; y < v; y++) {
            const struct nb_backward_args args = {.d_out = d, .tap = on_tap, .tap_ctx = e};
            memset(d, 0, SHORT * v * sizeof *d);
            memcpy(d + i * v, p + i * v, v * sizeof *d);
            d[i * v + y] -= 1.0F;
            e->p = (double)p[i * v + y];
            assert_ok(nb_session_backward(s, &args, &err), &err);
        }
    nb_session_destroy(s);
    free(p);
}

/* Draws come close to what every token, weighed by its probability, gives. */
static void test_expectation(void **state)
{
    enum { DRAWS = 4000, KV = 64 };
    struct tiny t;
    (void)state;
    if (getenv("NB_SLOW") != NULL) /* statistics of many draws, minutes there */
        skip();
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f32);
    struct nb_fisher_job job = job_of(&t);
    struct expected e = {.weight = "blk.1.attn_k.weight", .g = calloc(KV * KV, sizeof *e.g)};
    job.bos = -1;
    job.ctx = SHORT;
    job.chunks = 1;
    job.draws = DRAWS;
    struct nb_fisher *f = collect(&job);
    const struct nb_fisher_layer *l = nb_fisher_find(f, e.weight);
    assert_int_equal(l->n, KV);
    enumerate(&t, &e);
    double error = 0.0, size = 0.0, trace = 0.0, want = 0.0;
    for (size_t i = 0; i < KV; i++) {
        trace += l->diag[i] / (double)DRAWS;
        want += e.g[i * KV + i];
        for (size_t j = i; j < KV; j++) {
            const double d = l->g->h[i * KV + j] / (double)DRAWS - e.g[i * KV + j];
            error += d * d;
            size += e.g[i * KV + j] * e.g[i * KV + j];
        }
    }
    print_message("error of %d draws: %.3f of the matrix, trace %.4g against %.4g\n", DRAWS,
                  sqrt(error / size), trace, want);
    assert_true(sqrt(error / size) < 0.05);
    assert_close(trace, want, 0.03 * want);
    nb_fisher_destroy(f);
    free(e.g);
    tiny_fini(&t);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    struct nb_fisher *f = NULL;
    struct nb_error e;
    const enum nb_status st = nb_fisher_collect(&f, ctx, a, &e);
    nb_fisher_destroy(f);
    return st;
}

static void test_refused(void **state)
{
    struct tiny t;
    struct nb_fisher *f;
    (void)state;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f32);
    struct nb_fisher_job job = job_of(&t);
    assert_true(nbtest_oom(body, &job) > 20);
    job.n_blocks = 1;
    job.first_block = 2;
    f = collect(&job);
    assert_int_equal(f->n, 7);
    assert_int_equal(f->layers[0].block, 2);
    nb_fisher_destroy(f);
    job.n_tokens = CTX - 1;
    assert_fails(nb_fisher_collect(&f, &job, NULL, &err), NB_ERR_ARG, &err,
                 "fewer than one window of 32");
    assert_null(f);
    tiny_fini(&t);
}

NB_TEST_MAIN(cmocka_unit_test(test_parts), cmocka_unit_test(test_bits),
             cmocka_unit_test(test_expectation), cmocka_unit_test(test_refused))
