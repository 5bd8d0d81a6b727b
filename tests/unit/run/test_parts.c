/* Parts of a model against the whole: embedding, block after block, tail, and two halves, give the same
 * bits; for every folder under tests/golden/archs and models/tiny-7m, floats and integer products, in one
 * call and in uneven ones. And what a tail without logits shows, what parts refuse, that none allocates. */
#include <stdio.h>

#include "quant/quant.h"
#include "run/run.h"
#include "run/stages.h"
#include "support/arch_cases.h"

static struct nb_error err;

/* Owns: x, whole. */
struct text {
    const struct nb_weights *w;
    uint32_t tokens[64];
    size_t n, width;
    bool floats;
    const size_t *calls; /* sizes, 0 ends, the rest in one; NULL: one call */
    float *whole;        /* (n, width) */
    float *x;            /* (n, the wider of n_embd and width) */
};

static struct nb_session *session(const struct text *t, struct nb_model_part part)
{
    struct nb_session *s;
    const struct nb_session_options o = {.n_ctx = (uint32_t)t->n,
                                         .n_batch = 11,
                                         .kv_type = &nb_numfmt_f32,
                                         .float_activations = t->floats,
                                         .part = part};
    assert_ok(nb_session_create(&s, t->w, &o, NULL, &err), &err);
    return s;
}

/* The rows of t->x through a part, call by call, in place where that is possible. */
static void through(struct text *t, struct nb_model_part part)
{
    struct nb_session *s = session(t, part);
    const size_t width = nb_session_width(s), embd = t->w->hp.n_embd;
    const size_t *calls = t->calls;
    float *out = width == embd ? t->x : calloc(t->n * width, sizeof *out);
    for (size_t at = 0; at < t->n;) {
        size_t n = t->n - at;
        if (calls != NULL && *calls != 0)
            n = *calls < n ? *calls++ : n;
        assert_ok(nb_session_eval_part(s, part.from_hidden ? t->x + at * embd : NULL,
                                       part.from_hidden ? NULL : t->tokens + at, n,
                                       out + at * width, &err),
                  &err);
        at += n;
    }
    assert_int_equal(nb_session_position(s), t->n);
    nb_session_destroy(s);
    if (out != t->x) {
        memcpy(t->x, out, t->n * width * sizeof *out);
        free(out);
    }
}

static void check_equal(const struct text *t, const char *what)
{
    if (memcmp(t->x, t->whole, t->n * t->width * sizeof *t->x) != 0)
        fail_msg("%s: %s, %s: other results than the whole", t->w->hp.arch->name,
                 t->floats ? "floats" : "integers", what);
}

/* A block piece by piece; with experts it is refused by name and run whole. */
static void in_pieces(struct text *t, uint32_t block)
{
    const struct nb_model_part part = {
        .from_hidden = true, .to_hidden = true, .first_block = block, .n_blocks = 1};
    const struct nb_session_options o = {.n_ctx = (uint32_t)t->n,
                                         .n_batch = (uint32_t)t->n,
                                         .kv_type = &nb_numfmt_f32,
                                         .float_activations = t->floats,
                                         .part = part};
    struct nb_session *s;
    struct nb_stages *stages;
    assert_ok(nb_session_create(&s, t->w, &o, NULL, &err), &err);
    const enum nb_status st = nb_stages_create(&stages, s, &err);
    if (st != NB_OK) {
        assert_int_equal(st, NB_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "experts"));
        nb_session_destroy(s);
        through(t, part);
        return;
    }
    const size_t n = nb_stages_count(stages), width = nb_stages_width(stages);
    float *window = calloc(t->n * width, sizeof *window);
    memcpy(window, t->x, t->n * t->w->hp.n_embd * sizeof *window);
    for (size_t i = 0; i < n; i++) {
        const struct nb_stage *stage = nb_stages_at(stages, i);
        assert_true(stage->x + stage->x_cols <= width);
        assert_true(stage->residual + stage->residual_cols <= width);
        assert_true((stage->n_readers > 0) == (i > 0));
        assert_ok(nb_stages_run(stages, i, t->n, window, &err), &err);
    }
    memcpy(t->x, window, t->n * t->w->hp.n_embd * sizeof *window);
    free(window);
    nb_stages_destroy(stages);
    nb_session_destroy(s);
}

static void check_pieces(struct text *t)
{
    const uint32_t n = t->w->hp.n_layers;
    through(t, (struct nb_model_part){.to_hidden = true});
    for (uint32_t b = 0; b < n; b++)
        in_pieces(t, b);
    through(t, (struct nb_model_part){.from_hidden = true, .first_block = n});
    check_equal(t, "piece by piece");
}

static void check_parts(struct text *t)
{
    const uint32_t n = t->w->hp.n_layers;
    through(t, (struct nb_model_part){.to_hidden = true});
    for (uint32_t b = 0; b < n; b++)
        through(t, (struct nb_model_part){
                       .from_hidden = true, .to_hidden = true, .first_block = b, .n_blocks = 1});
    through(t, (struct nb_model_part){.from_hidden = true, .first_block = n});
    check_equal(t, "block by block");
    through(t, (struct nb_model_part){.to_hidden = true, .n_blocks = n / 2});
    through(t, (struct nb_model_part){.from_hidden = true, .first_block = n / 2});
    check_equal(t, "in halves");
}

static void check_weights(const struct nb_weights *w, bool floats)
{
    static const size_t uneven[] = {3, 1, 9, 2, 0};
    struct text t = {.w = w, .n = 27, .floats = floats};
    const struct nb_session_options o = {
        .n_ctx = 27, .kv_type = &nb_numfmt_f32, .float_activations = floats};
    struct nb_session *s;
    for (size_t i = 0; i < t.n; i++)
        t.tokens[i] = (uint32_t)((i * i * 31 + i * 7 + 3) % w->hp.n_vocab);
    assert_ok(nb_session_create(&s, w, &o, NULL, &err), &err);
    t.width = nb_session_width(s);
    t.whole = malloc(t.n * t.width * sizeof *t.whole);
    t.x = malloc(t.n * NB_MAX(t.width, (size_t)w->hp.n_embd) * sizeof *t.x);
    assert_ok(nb_session_eval(s, t.tokens, t.n, t.whole, 0, &err), &err);
    nb_session_destroy(s);
    check_parts(&t);
    if (!w->hp.encoder)
        check_pieces(&t);
    t.calls = uneven;
    if (!w->hp.encoder) /* a text is one call */
        check_parts(&t);
    free(t.whole);
    free(t.x);
}

static void to_q8(struct nb_model *m, const char *out)
{
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nb_quant_report report = {0};
    nb_recipe_init(&r, NULL);
    r.type = "q8_0";
    const struct nb_quant_settings s = {.out = out, .recipe = &r, .overwrite = true};
    assert_ok(nb_quant_plan_create(&p, m, &s, NULL, &err), &err);
    assert_ok(nb_quant_run(p, &report, &err), &err);
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
}

static void check_model(const char *path)
{
    const char *gguf = nbtest_tmp("parts.gguf");
    struct nb_model *m, *q;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    to_q8(m, gguf);
    assert_ok(nb_model_settle(m, &err), &err);
    check_weights(&m->w, true);
    nb_model_close(m);
    assert_ok(nb_model_open(&q, gguf, NULL, NULL, &err), &err);
    check_weights(&q->w, true);
    check_weights(&q->w, false);
    nb_model_close(q);
}

static void check_case(void **state)
{
    const char *name = *state;
    if (!arch_is_refused(name))
        check_model(arch_path(name, ""));
}

/* ---- one model more closely ---- */

struct seen {
    float x[16 * 1024];
    size_t n, k, calls;
};

static void on_tap(void *ctx, const struct nb_tap *tap)
{
    struct seen *seen = ctx;
    seen->calls++;
    seen->n = tap->n_tokens;
    seen->k = tap->k;
    assert_true(tap->n_tokens * tap->k <= NB_COUNTOF(seen->x));
    memcpy(seen->x, tap->x, tap->n_tokens * tap->k * sizeof *tap->x);
}

/* Without memory for logits the tail ends at the head, which the tap sees: the states behind the norm. */
static void check_tail(const struct nb_weights *w)
{
    enum { N = 5 };
    const size_t embd = w->hp.n_embd;
    struct seen *seen = calloc(1, sizeof *seen);
    float *x = malloc(N * embd * sizeof *x), *y = malloc(N * embd * sizeof *y);
    struct text t = {.w = w, .n = N, .floats = true};
    const struct nb_model_part tail = {.from_hidden = true, .first_block = w->hp.n_layers};
    struct nb_model_part normed = tail;
    normed.hidden = true;
    for (size_t i = 0; i < N * embd; i++)
        x[i] = (float)(i % 17) - 8.0F;
    struct nb_session *s = session(&t, normed);
    assert_int_equal(nb_session_width(s), embd);
    assert_ok(nb_session_eval_part(s, x, NULL, N, y, &err), &err);
    nb_session_destroy(s);
    s = session(&t, tail);
    nb_session_tap(s, on_tap, seen);
    assert_ok(nb_session_eval_part(s, x, NULL, N, NULL, &err), &err);
    assert_int_equal(seen->calls, 1);
    assert_int_equal(seen->n, N);
    assert_int_equal(seen->k, embd);
    assert_bits_array(seen->x, y, N * embd);
    nb_session_destroy(s);
    free(seen), free(x), free(y);
}

static void check_refusals(const struct nb_weights *w)
{
    const uint32_t n = w->hp.n_layers;
    const struct {
        struct nb_model_part part;
        const char *message;
    } bad[] = {{{.first_block = 1}, "a part from block 1 on needs hidden states"},
               {{.from_hidden = true, .to_hidden = true}, "no blocks"},
               {{.from_hidden = true, .first_block = n + 1}, "blocks from block"},
               {{.from_hidden = true, .to_hidden = true, .first_block = 1, .n_blocks = n},
                "blocks from block 1 on; the model has"}};
    struct nb_session *s;
    for (size_t i = 0; i < NB_COUNTOF(bad); i++) {
        const struct nb_session_options o = {.n_ctx = 8, .part = bad[i].part};
        assert_fails(nb_session_create(&s, w, &o, NULL, &err), NB_ERR_ARG, &err, bad[i].message);
    }
    struct text t = {.w = w, .n = 4};
    float *x = calloc(5 * (size_t)w->hp.n_embd, sizeof *x);
    s = session(&t, (struct nb_model_part){.from_hidden = true, .to_hidden = true, .n_blocks = 1});
    assert_fails(nb_session_eval(s, t.tokens, 1, x, 0, &err), NB_ERR_ARG, &err, "hidden states");
    assert_fails(nb_session_eval_part(s, NULL, t.tokens, 1, x, &err), NB_ERR_ARG, &err,
                 "takes hidden states");
    assert_fails(nb_session_eval_part(s, x, t.tokens, 1, x, &err), NB_ERR_ARG, &err,
                 "and nothing else");
    assert_fails(nb_session_eval_part(s, x, NULL, 1, NULL, &err), NB_ERR_ARG, &err, "no memory");
    assert_fails(nb_session_eval_part(s, x, NULL, 5, x, &err), NB_ERR_LIMIT, &err, "context of 4");
    assert_int_equal(nb_session_position(s), 0);
    nb_session_destroy(s);
    s = session(&t, (struct nb_model_part){.to_hidden = true, .n_blocks = 1});
    assert_fails(nb_session_eval_part(s, x, NULL, 1, x, &err), NB_ERR_ARG, &err, "takes tokens");
    assert_fails(nb_session_eval(s, t.tokens, 2, x, 1, &err), NB_ERR_ARG, &err, "a part");
    assert_ok(nb_session_eval(s, t.tokens, 2, x, 0, &err), &err);
    nb_session_destroy(s);
    free(x);
}

/* A part has the weights and the cache of its blocks alone, and its calls allocate nothing. */
static void check_memory(const struct nb_weights *w)
{
    struct nbtest_alloc counter;
    struct nb_session_memory whole, part;
    struct nb_session *s;
    struct text t = {.w = w, .n = 8};
    float *x = calloc(8 * (size_t)w->hp.n_embd, sizeof *x);
    s = session(&t, (struct nb_model_part){.first_block = 0});
    nb_session_memory(s, &whole);
    nb_session_destroy(s);
    nbtest_alloc_init(&counter, 0);
    const struct nb_session_options o = {.n_ctx = 8,
                                         .kv_type = &nb_numfmt_f32,
                                         .part = {.from_hidden = true,
                                                  .to_hidden = true,
                                                  .first_block = w->hp.n_layers - 1,
                                                  .n_blocks = 1}};
    assert_ok(nb_session_create(&s, w, &o, &counter.a, &err), &err);
    nb_session_memory(s, &part);
    assert_int_equal(part.kv_bytes * w->hp.n_layers, whole.kv_bytes);
    assert_true(part.weight_bytes * w->hp.n_layers < whole.weight_bytes);
    const size_t before = counter.n_allocs;
    assert_ok(nb_session_eval_part(s, x, NULL, 8, x, &err), &err);
    assert_int_equal(nb_session_rewind(s, 0), 0);
    assert_ok(nb_session_eval_part(s, x, NULL, 7, x, &err), &err);
    assert_int_equal(counter.n_allocs, before);
    nb_session_destroy(s);
    assert_int_equal(counter.live, 0);
    free(x);
}

static void check_tiny(void **state)
{
    struct nb_model *m;
    (void)state;
    check_model(nbtest_model("tiny-7m"));
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    check_tail(&m->w);
    check_refusals(&m->w);
    check_memory(&m->w);
    nb_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tiny[] = {cmocka_unit_test(check_tiny)};
    const int failed = cmocka_run_group_tests(tiny, NULL, NULL);
    return failed != 0 ? failed : arch_run("parts", check_case);
}
