/* Gradients through whole models against central differences, for every folder under tests/golden/archs and
 * models/tiny-7m; the same bits for any pool, for the whole and block by block; what is refused. */
#include <math.h>
#include <stdio.h>

#include "run/backward.h"
#include "support/arch_cases.h"
#include "support/tiny_llama.h"

#define N    23 /* tokens */
#define STEP 0x1p-10

static struct nb_error err;

/* sum c y of what a session gives, a scalar to differentiate. Owns: c, y. */
struct course {
    const struct nb_weights *w;
    struct nb_session *s;
    uint32_t tokens[N];
    size_t n_out;
    float *c, *y; /* (N, width) */
};

static struct nb_session_options options(unsigned gradients)
{
    return (struct nb_session_options){
        .n_ctx = N, .kv_type = &nb_numfmt_f32, .float_activations = true, .gradients = gradients};
}

static void randomize(float *x, size_t n, uint64_t seed, double scale)
{
    struct nb_rng rng = {.seed = seed};
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * nb_rng_normal(&rng));
}

static void course_init(struct course *k, const struct nb_weights *w,
                        const struct nb_session_options *o)
{
    *k = (struct course){.w = w};
    assert_ok(nb_session_create(&k->s, w, o, NULL, &err), &err);
    k->n_out = N * (size_t)nb_session_width(k->s);
    k->c = malloc(k->n_out * sizeof *k->c);
    k->y = malloc(k->n_out * sizeof *k->y);
    assert_true(k->c && k->y);
    randomize(k->c, k->n_out, 5, 1.0 / sqrt((double)k->n_out));
    for (size_t i = 0; i < N; i++)
        k->tokens[i] = (uint32_t)((i * i * 31 + i * 7 + 3) % w->hp.n_vocab);
}

static void course_fini(struct course *k)
{
    nb_session_destroy(k->s);
    free(k->c);
    free(k->y);
}

static double scalar(struct course *k)
{
    double sum = 0.0;
    nb_session_rewind(k->s, 0);
    assert_ok(nb_session_eval(k->s, k->tokens, N, k->y, 0, &err), &err);
    for (size_t i = 0; i < k->n_out; i++)
        sum += (double)k->c[i] * (double)k->y[i];
    return sum;
}

static void backward(struct course *k, nb_grad_tap_fn *tap, void *ctx)
{
    const struct nb_backward_args args = {.d_out = k->c, .tap = tap, .tap_ctx = ctx};
    (void)scalar(k);
    nb_session_clear_gradients(k->s);
    assert_ok(nb_session_backward(k->s, &args, &err), &err);
}

/* Moves every small weight along a random direction. Returns the derivative that the gradients give;
 * *norm: theirs. */
static double move(const struct course *k, uint64_t seed, double step, double *norm)
{
    struct nb_small_weight w;
    double slope = 0.0, square = 0.0;
    for (size_t i = 0; nb_session_small_weight(k->s, i, &w); i++) {
        float *u = malloc(w.n * sizeof *u);
        randomize(u, w.n, seed + i, 1.0);
        for (size_t j = 0; j < w.n; j++) {
            w.value[j] += (float)step * u[j];
            slope += (double)w.grad[j] * (double)u[j];
            square += (double)w.grad[j] * (double)w.grad[j];
        }
        free(u);
    }
    *norm = sqrt(square);
    return slope;
}

/* The worst error of the derivative, as a part of the gradient's norm. */
static double worst_error(struct course *k)
{
    double worst = 0.0, norm;
    backward(k, NULL, NULL);
    for (uint64_t d = 1; d <= 3; d++) {
        double side[2];
        const double want = move(k, 1000 * d, STEP, &norm);
        side[0] = scalar(k);
        (void)move(k, 1000 * d, -2.0 * STEP, &norm);
        side[1] = scalar(k);
        (void)move(k, 1000 * d, STEP, &norm);
        assert_true(norm > 0.0 && isfinite(norm));
        worst = fmax(worst, fabs((side[0] - side[1]) / (2.0 * STEP) - want) / norm);
    }
    return worst;
}

static void check_weights(const struct nb_weights *w, double tolerance)
{
    const struct nb_session_options o = options(NB_GRADIENTS_ACTIVATIONS | NB_GRADIENTS_WEIGHTS);
    struct course k;
    course_init(&k, w, &o);
    const double worst = worst_error(&k);
    if (!(worst <= tolerance))
        fail_msg("%s: a derivative is wrong by %.2e of the gradient's norm", w->hp.arch->name,
                 worst);
    course_fini(&k);
}

static void check_case(void **state)
{
    const char *name = *state;
    struct nb_model *m;
    struct nb_session *s;
    const struct nb_session_options o = options(NB_GRADIENTS_ACTIVATIONS);
    if (arch_is_refused(name))
        return;
    assert_ok(nb_model_open(&m, arch_path(name, ""), NULL, NULL, &err), &err);
    assert_ok(nb_model_settle(m, &err), &err);
    if (m->w.hp.n_experts > 0)
        assert_fails(nb_session_create(&s, &m->w, &o, NULL, &err), NB_ERR_UNSUPPORTED, &err,
                     "no gradient for the operator 'expert_");
    else
        check_weights(&m->w, 2e-3);
    nb_model_close(m);
}

/* ---- one model more closely ---- */

struct taps {
    uint64_t hash;
    size_t n;
    bool inputs;
    char last[64];
};

static void on_tap(void *ctx, const struct nb_grad_tap *tap)
{
    struct taps *t = ctx;
    const size_t bytes = tap->n_tokens * tap->n_rows * sizeof *tap->dy;
    t->hash = nb_fnv1a64(tap->weight, strlen(tap->weight), t->hash);
    t->hash = nb_fnv1a64(tap->dy, bytes, t->hash);
    t->n++;
    assert_true((tap->x != NULL) == t->inputs);
    if (tap->x)
        t->hash = nb_fnv1a64(tap->x, tap->n_tokens * tap->k * sizeof *tap->x, t->hash);
    (void)snprintf(t->last, sizeof t->last, "%s", tap->weight);
}

static struct taps taps_of(const struct nb_weights *w, unsigned threads, unsigned gradients)
{
    struct nb_session_options o = options(gradients);
    struct taps t = {.hash = NB_FNV_SEED, .inputs = (gradients & NB_GRADIENTS_INPUTS) != 0};
    struct nb_small_weight small;
    struct course k;
    if (threads > 1)
        assert_ok(nb_pool_create(&o.pool, threads, NULL, &err), &err);
    course_init(&k, w, &o);
    backward(&k, NULL, NULL);
    nb_session_clear_gradients(k.s);
    const struct nb_backward_args again = {.d_out = k.c, .tap = on_tap, .tap_ctx = &t};
    assert_ok(nb_session_backward(k.s, &again, &err), &err); /* of the same evaluation */
    for (size_t i = 0; nb_session_small_weight(k.s, i, &small); i++)
        if (small.grad)
            t.hash = nb_fnv1a64(small.grad, small.n * sizeof *small.grad, t.hash);
    course_fini(&k);
    nb_pool_destroy(o.pool);
    return t;
}

static void check_bits(const struct nb_weights *w)
{
    const unsigned all = NB_GRADIENTS_ACTIVATIONS | NB_GRADIENTS_WEIGHTS | NB_GRADIENTS_INPUTS;
    const struct taps want = taps_of(w, 1, all);
    assert_int_equal(want.n, 7 * w->hp.n_layers + 1);
    assert_string_equal(want.last, "blk.0.attn_q.weight");
    for (unsigned threads = 2; threads <= 7; threads += 5)
        assert_int_equal(taps_of(w, threads, all).hash, want.hash);
    const struct taps alone = taps_of(w, 1, NB_GRADIENTS_ACTIVATIONS);
    assert_int_equal(alone.n, want.n);
    assert_int_not_equal(alone.hash, want.hash); /* fewer things are hashed */
    assert_int_equal(taps_of(w, 2, NB_GRADIENTS_ACTIVATIONS).hash, alone.hash);
    struct nb_session_options o = options(NB_GRADIENTS_ACTIVATIONS);
    struct taps once = {.hash = NB_FNV_SEED};
    struct course k;
    course_init(&k, w, &o);
    backward(&k, on_tap, &once);
    assert_int_equal(once.hash, alone.hash);
    course_fini(&k);
}

/* The seed of a part and what it gives back: dx from dy for states h (N, n_embd), in place of dy. */
static void part_backward(const struct nb_weights *w, struct nb_model_part part, const float *h,
                          const float *d_out, float *d_hidden, struct taps *t)
{
    struct nb_session_options o = options(NB_GRADIENTS_ACTIVATIONS);
    struct nb_session *s;
    o.part = part;
    assert_ok(nb_session_create(&s, w, &o, NULL, &err), &err);
    float *y = malloc(N * (size_t)nb_session_width(s) * sizeof *y);
    assert_ok(nb_session_eval_part(s, h, NULL, N, y, &err), &err);
    const struct nb_backward_args args = {
        .d_out = d_out, .d_hidden = d_hidden, .tap = on_tap, .tap_ctx = t};
    assert_ok(nb_session_backward(s, &args, &err), &err);
    nb_session_destroy(s);
    free(y);
}

/* Hidden states before every block, (n_layers + 1, N, n_embd). malloc-ed. */
static float *all_hidden(const struct nb_weights *w, const uint32_t *tokens)
{
    const size_t size = N * (size_t)w->hp.n_embd;
    float *h = malloc((w->hp.n_layers + 1) * size * sizeof *h);
    for (uint32_t b = 0; b <= w->hp.n_layers; b++) {
        struct nb_session_options o = options(0);
        struct nb_session *s;
        o.part = (struct nb_model_part){.from_hidden = b > 0,
                                        .to_hidden = true,
                                        .first_block = b ? b - 1 : 0,
                                        .n_blocks = b ? 1 : 0};
        assert_ok(nb_session_create(&s, w, &o, NULL, &err), &err);
        assert_ok(nb_session_eval_part(s, b ? h + (b - 1) * size : NULL, b ? NULL : tokens, N,
                                       h + b * size, &err),
                  &err);
        nb_session_destroy(s);
    }
    return h;
}

/* From the tail back to the embedding, a session a block: the bits of the whole. */
static void check_parts(const struct nb_weights *w)
{
    const struct taps want = taps_of(w, 1, NB_GRADIENTS_ACTIVATIONS);
    const struct nb_session_options o = options(NB_GRADIENTS_ACTIVATIONS);
    const size_t size = N * (size_t)w->hp.n_embd;
    struct taps got = {.hash = NB_FNV_SEED};
    struct course k;
    course_init(&k, w, &o); /* for its tokens and its c */
    float *h = all_hidden(w, k.tokens), *d = malloc(2 * size * sizeof *d);
    const float *d_out = k.c;
    for (uint32_t b = w->hp.n_layers + 1; b-- > 0;) {
        const bool tail = b == w->hp.n_layers;
        const struct nb_model_part part = {
            .from_hidden = true, .to_hidden = !tail, .first_block = b, .n_blocks = tail ? 0 : 1};
        float *d_hidden = d + (b % 2) * size;
        part_backward(w, part, h + b * size, d_out, b ? d_hidden : NULL, &got);
        d_out = d_hidden;
    }
    assert_int_equal(got.n, want.n);
    assert_int_equal(got.hash, want.hash);
    free(h), free(d);
    course_fini(&k);
}

/* The derivative along random directions of the states a block reads. */
static void check_hidden(const struct nb_weights *w)
{
    const size_t size = N * (size_t)w->hp.n_embd;
    struct nb_session_options o = options(NB_GRADIENTS_ACTIVATIONS);
    float *h = malloc(5 * size * sizeof *h), *c = h + size, *d = c + size, *u = d + size;
    float *y = u + size;
    struct nb_session *s;
    o.part = (struct nb_model_part){
        .from_hidden = true, .to_hidden = true, .first_block = 1, .n_blocks = 2};
    assert_ok(nb_session_create(&s, w, &o, NULL, &err), &err);
    randomize(h, size, 1, 1.0);
    randomize(c, size, 2, 1.0);
    assert_ok(nb_session_eval_part(s, h, NULL, N, y, &err), &err);
    const struct nb_backward_args args = {.d_out = c, .d_hidden = d};
    assert_ok(nb_session_backward(s, &args, &err), &err);
    for (uint64_t seed = 3; seed < 6; seed++) {
        double side[2] = {0.0, 0.0}, slope = 0.0, norm = 0.0;
        randomize(u, size, seed, 1.0);
        for (int i = 0; i < 2; i++) {
            for (size_t j = 0; j < size; j++)
                h[j] += (float)((i ? -2.0 : 1.0) * STEP) * u[j];
            nb_session_rewind(s, 0);
            assert_ok(nb_session_eval_part(s, h, NULL, N, y, &err), &err);
            for (size_t j = 0; j < size; j++)
                side[i] += (double)c[j] * (double)y[j];
        }
        for (size_t j = 0; j < size; j++) {
            h[j] += (float)STEP * u[j];
            slope += (double)d[j] * (double)u[j];
            norm += (double)d[j] * (double)d[j];
        }
        assert_close((side[0] - side[1]) / (2.0 * STEP), slope, 2e-3 * sqrt(norm));
    }
    nb_session_destroy(s);
    free(h);
}

static void check_refusals(const struct nb_weights *w)
{
    struct nb_session_options o = options(0);
    struct course k;
    course_init(&k, w, &o);
    struct nb_backward_args args = {.d_out = k.c};
    (void)scalar(&k);
    assert_fails(nb_session_backward(k.s, &args, &err), NB_ERR_ARG, &err, "not made for them");
    course_fini(&k);
    o = options(NB_GRADIENTS_ACTIVATIONS);
    course_init(&k, w, &o);
    assert_fails(nb_session_backward(k.s, &args, &err), NB_ERR_ARG, &err, "one whole window");
    args.d_out = k.c;
    assert_ok(nb_session_eval(k.s, k.tokens, 5, k.y, 0, &err), &err);
    assert_ok(nb_session_backward(k.s, &args, &err), &err); /* a shorter window */
    assert_ok(nb_session_eval(k.s, k.tokens, 5, k.y, 0, &err), &err);
    assert_fails(nb_session_backward(k.s, &args, &err), NB_ERR_ARG, &err, "from position 0 on");
    nb_session_rewind(k.s, 0);
    assert_ok(nb_session_eval(k.s, k.tokens, 5, k.y, 1, &err), &err);
    assert_fails(nb_session_backward(k.s, &args, &err), NB_ERR_ARG, &err, "all its rows");
    args.d_hidden = k.y;
    (void)scalar(&k);
    assert_fails(nb_session_backward(k.s, &args, &err), NB_ERR_ARG, &err, "tokens came in");
    course_fini(&k);
}

/* All memory is planned: the way back allocates nothing. */
static void check_memory(const struct nb_weights *w)
{
    struct nbtest_alloc counter;
    const struct nb_session_options o = options(NB_GRADIENTS_WEIGHTS);
    struct course k;
    course_init(&k, w, &o);
    nb_session_destroy(k.s);
    nbtest_alloc_init(&counter, 0);
    assert_ok(nb_session_create(&k.s, w, &o, &counter.a, &err), &err);
    const size_t before = counter.n_allocs;
    backward(&k, NULL, NULL);
    assert_int_equal(counter.n_allocs, before);
    course_fini(&k);
    assert_int_equal(counter.live, 0);
}

/* Gradients of a small model in several formats, as they are on every machine, ISA and compiler. */
static void test_golden_bits(void **state)
{
    static const char *const formats[] = {"f32", "q8_0", "q4_k"};
    const unsigned all = NB_GRADIENTS_ACTIVATIONS | NB_GRADIENTS_WEIGHTS | NB_GRADIENTS_INPUTS;
    uint64_t hash = 0;
    (void)state;
    for (size_t f = 0; f < NB_COUNTOF(formats); f++) {
        struct nb_hparams hp = tiny_hparams();
        struct tiny t;
        hp.n_embd = hp.n_ff = 256;
        hp.head_dim = hp.rope.dim = 64;
        tiny_init_packed(&t, hp, nb_numfmt_find(formats[f]), true);
        hash = hash * 31 + taps_of(&t.w, 1, all).hash;
        tiny_fini(&t);
    }
    assert_int_equal(hash, UINT64_C(0x5d8dc612adf81fb0));
}

static void check_tiny(void **state)
{
    struct nb_model *m;
    (void)state;
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    check_weights(&m->w, 1e-3);
    check_bits(&m->w);
    check_parts(&m->w);
    check_hidden(&m->w);
    check_refusals(&m->w);
    check_memory(&m->w);
    nb_model_close(m);
}

/* Emulated: the bits alone; the derivatives behind them are those of the real machine. */
int main(void)
{
    const struct CMUnitTest bits[] = {cmocka_unit_test(test_golden_bits)};
    const struct CMUnitTest tiny[] = {cmocka_unit_test(check_tiny)};
    int failed = cmocka_run_group_tests(bits, NULL, NULL);
    if (failed != 0 || nb_env("NB_EMULATED") != NULL)
        return failed;
    failed = cmocka_run_group_tests(tiny, NULL, NULL);
    return failed != 0 ? failed : arch_run("backward", check_case);
}
