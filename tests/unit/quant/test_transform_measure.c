/* AWQ as published: the measured loss of a site against the errors of its layers' outputs, token by token;
 * method awq's transform on every decoder, the same for any pool; what its plan says. */
#include <math.h>

#include "calibrated_case.h"
#include "quant/algo.h"
#include "quant/transformed.h"
#include "run/run.h"
#include "support/arch_cases.h"

#define CTX     24
#define WINDOWS 4

static struct nb_error err;
static uint32_t tokens[CTX * WINDOWS];
static const bool held[WINDOWS] = {false, true, false, false};

/* A plan with method awq and the job of its transform. Owns: m, recipe, plan. */
struct subject {
    struct nb_model *m;
    struct nb_windows windows;
    struct nb_recipe recipe;
    struct nb_quant_settings settings;
    struct nb_quant_plan *plan;
    struct nb_transformed_job job;
};

static void subject_init(struct subject *s, const char *path, const char *type)
{
    struct nb_rng rng = {.seed = 5};
    s->m = case_open(path);
    for (size_t i = 0; i < NB_COUNTOF(tokens); i++)
        tokens[i] = (uint32_t)(nb_rng_u64(&rng) % s->m->w.hp.n_vocab);
    s->windows = (struct nb_windows){.tokens = tokens, .held = held, .n = WINDOWS, .ctx = CTX};
    nb_recipe_init(&s->recipe, NULL);
    s->recipe.method = "awq";
    s->recipe.type = type;
    s->recipe.pure = true;
    s->settings = (struct nb_quant_settings){.out = nbtest_tmp(type[0] == 'q' ? "awq.gguf" : "awq"),
                                             .recipe = &s->recipe,
                                             .overwrite = true,
                                             .allow_requantize = true,
                                             .windows = &s->windows};
    assert_ok(nb_quant_plan_create(&s->plan, s->m, &s->settings, NULL, &err), &err);
    s->job = (struct nb_transformed_job){
        .model = s->m, .windows = &s->windows, .plan = s->plan, .folder = NULL};
}

static void subject_fini(struct subject *s)
{
    nb_quant_plan_destroy(s->plan);
    nb_recipe_fini(&s->recipe);
    nb_model_close(s->m);
}

/* ---- the loss ---- */

/* Sums |E x|^2 over the tokens of one layer. */
struct listener {
    const char *weight;
    const float *e; /* (rows, cols) */
    size_t rows, cols;
    double sum, tokens;
};

static void listen(void *ctx, const struct nb_tap *t)
{
    struct listener *l = ctx;
    if (strcmp(t->weight, l->weight) != 0)
        return;
    for (size_t i = 0; i < t->n_tokens; i++)
        for (size_t r = 0; r < l->rows; r++) {
            double y = 0.0;
            for (size_t j = 0; j < l->cols; j++)
                y += (double)l->e[r * l->cols + j] * (double)t->x[i * l->cols + j];
            l->sum += y * y;
        }
    l->tokens += (double)t->n_tokens;
}

static double heard(const struct subject *s, const struct nb_weight *w, const float *e)
{
    const struct nb_session_options o = {
        .n_ctx = CTX, .n_batch = CTX, .kv_type = &nb_numfmt_f32, .float_activations = true};
    struct listener l = {.weight = w->spec.name,
                         .e = e,
                         .rows = (size_t)nb_shape_rows(&w->t.shape),
                         .cols = (size_t)nb_shape_cols(&w->t.shape)};
    struct nb_session *session;
    assert_ok(nb_session_create(&session, &s->m->w, &o, NULL, &err), &err);
    nb_session_tap(session, listen, &l);
    for (size_t i = 0; i < WINDOWS; i++) {
        if (held[i])
            continue;
        (void)nb_session_rewind(session, 0);
        assert_ok(nb_session_eval(session, tokens + i * CTX, CTX, NULL, CTX, &err), &err);
    }
    nb_session_destroy(session);
    assert_true(l.tokens > 0.0);
    return l.sum / l.tokens;
}

/* What q4_0's own encoder does to the readers of a site. */
static double expected(const struct subject *s, const struct nb_site *site)
{
    double sum = 0.0;
    for (size_t k = 0; k < site->n_readers; k++) {
        const struct nb_weight *w = &s->m->w.items[site->readers[k]];
        const size_t n = (size_t)(nb_shape_rows(&w->t.shape) * nb_shape_cols(&w->t.shape));
        const struct nb_numfmt *type = s->plan->tensors[site->readers[k]].type;
        float *x = malloc(n * sizeof *x), *e = malloc(n * sizeof *e);
        uint8_t *stored = malloc(n * 2);
        assert_true(x != NULL && e != NULL && stored != NULL);
        assert_string_equal(type->name, "q4_0");
        nb_model_read_rows(s->m, site->readers[k], 0, nb_shape_rows(&w->t.shape), x);
        type->encode(stored, x, NULL, n);
        nb_numfmt_decode(type, stored, e, n);
        for (size_t i = 0; i < n; i++)
            e[i] -= x[i];
        sum += heard(s, w, e);
        free(x), free(e), free(stored);
    }
    return sum;
}

static void test_loss(void **state)
{
    struct subject s;
    struct nb_view *v;
    struct nb_site_loss *loss;
    size_t n;
    (void)state;
    subject_init(&s, nbtest_model("tiny-7m"), "q4_0");
    assert_ok(nb_model_settle(s.m, &err), &err);
    assert_ok(nb_view_create(&v, s.m, NULL, &err), &err);
    assert_ok(nb_site_loss_create(&loss, v, &s.job, &err), &err);
    const struct nb_site *sites = nb_view_sites(v, &n);
    for (size_t i = 0; i < n; i++) {
        double got;
        if (sites[i].block != 0 && sites[i].block != 3)
            continue;
        assert_ok(nb_site_loss_measure(loss, v, &sites[i], NULL, &got, &err), &err);
        const double want = expected(&s, &sites[i]);
        assert_true(got > 0.0);
        assert_close(got, want, 1e-4 * want);
    }
    double got; /* back to a block that has gone by */
    assert_fails(nb_site_loss_measure(loss, v, &sites[0], NULL, &got, &err), NB_ERR_INTERNAL, &err,
                 "sites of block 0 after those of block 3");
    nb_site_loss_destroy(loss);
    nb_view_destroy(v);
    subject_fini(&s);
}

/* ---- the transform ---- */

static struct nb_hash hash_of(const struct nb_model *m)
{
    struct nb_hash all = {0, 0};
    for (size_t i = 0; i < m->w.n; i++) {
        const struct nb_shape *shape = &m->w.items[i].t.shape;
        const size_t n = (size_t)(nb_shape_rows(shape) * nb_shape_cols(shape));
        float *x = malloc(n * sizeof *x);
        assert_non_null(x);
        nb_model_read_rows(m, i, 0, nb_shape_rows(shape), x);
        const struct nb_hash part[2] = {all, nb_hash_bytes(x, n * sizeof *x)};
        all = nb_hash_bytes(part, sizeof part);
        free(x);
    }
    return all;
}

static struct nb_hash transformed_hash(struct subject *s, unsigned threads)
{
    struct nb_transformed *t;
    assert_ok(nb_pool_create(&s->job.pool, threads, NULL, &err), &err);
    assert_ok(nb_transformed_open(&t, &s->job, &err), &err);
    assert_ptr_not_equal(nb_transformed_model(t), s->m);
    const struct nb_hash h = hash_of(nb_transformed_model(t));
    nb_transformed_close(t);
    nb_pool_destroy(s->job.pool);
    s->job.pool = NULL;
    return h;
}

/* Dense, with experts, a shared expert, attention and feed-forward on one norm, fused weights; a format whose
 * rows share a scale. */
static void test_transform(void **state)
{
    static const struct {
        const char *arch, *type;
    } cases[] = {{"llama", "q4_0"},    {"mixtral", "q4_0"}, {"qwen2-moe", "q4_0"},
                 {"gpt-neox", "q4_0"}, {"phi3", "q4_0"},    {"llama", "int4_t"}};
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct subject s;
        subject_init(&s, arch_path(cases[i].arch, ""), cases[i].type);
        assert_ok(nb_model_settle(s.m, &err), &err);
        const struct nb_hash before = hash_of(s.m), one = transformed_hash(&s, 1);
        const struct nb_hash three = transformed_hash(&s, 3);
        assert_memory_equal(&one, &three, sizeof one);
        assert_memory_not_equal(&one, &before, sizeof one);
        subject_fini(&s);
    }
}

/* ---- the plan ---- */

static void test_plan(void **state)
{
    struct subject s;
    struct nb_quant_plan *other;
    struct nb_arena arena;
    struct nb_site *sites;
    size_t n;
    (void)state;
    subject_init(&s, nbtest_model("tiny-7m"), "q4_0");
    assert_true(s.plan->float_prefix && s.plan->mismatch == 0.0);
    nb_arena_init(&arena, NULL, 0);
    assert_ok(nb_sites_list(&s.m->w, &sites, &n, &arena, &err), &err);
    const uint64_t measure = nb_site_loss_bytes(s.plan, sites, n);
    const uint64_t h = (3 * 256 * 256 + 768 * 768) * sizeof(double), x = 256 * sizeof(float);
    assert_int_equal(measure, h + CTX * x + NB_COUNTOF(tokens) * x);
    assert_true(s.plan->calibrated.peak_bytes > measure);
    nb_arena_fini(&arena);
    s.recipe.mismatch = 1.0;
    assert_fails(nb_quant_plan_create(&other, s.m, &s.settings, NULL, &err), NB_ERR_ARG, &err,
                 "method 'awq' is as published");
    s.recipe.mismatch = (double)NAN;
    s.recipe.method = "kgptq";
    assert_ok(nb_quant_plan_create(&other, s.m, &s.settings, NULL, &err), &err);
    assert_true(!other->float_prefix && other->mismatch == 1.0);
    nb_quant_plan_destroy(other);
    subject_fini(&s);
}

static enum nb_status open_once(void *ctx, const struct nb_allocator *a)
{
    struct subject *s = ctx;
    struct nb_transformed *t;
    struct nb_error e;
    s->job.a = a;
    const enum nb_status st = nb_transformed_open(&t, &s->job, &e);
    if (st == NB_OK)
        nb_transformed_close(t);
    return st;
}

static void test_memory(void **state)
{
    struct subject s;
    (void)state;
    subject_init(&s, arch_path("llama", ""), "q4_0");
    assert_ok(nb_model_settle(s.m, &err), &err);
    s.job.options.n_ratios = 2;
    s.job.options.kinds = 1U << NB_SITE_ATTN_OUT;
    assert_true(nbtest_oom(open_once, &s) > 20);
    subject_fini(&s);
}

NB_TEST_MAIN(cmocka_unit_test(test_loss), cmocka_unit_test(test_transform),
             cmocka_unit_test(test_plan), cmocka_unit_test(test_memory))
