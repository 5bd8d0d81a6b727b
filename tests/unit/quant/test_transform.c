/* Transforms: the formulas of the papers, what a search gains, refusals, memory. Exactness:
 * test_transform_archs.c. */
#include "quant/transform_internal.h"
#include "quant/transformed.h"

#include <math.h>
#include <stdio.h>

#include "support/arch_cases.h"

static struct nb_error err;

static struct nb_model *open_model(const char *path)
{
    struct nb_model *m;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    return m;
}

static struct nb_view *view_of(const struct nb_model *m)
{
    struct nb_view *v;
    assert_ok(nb_view_create(&v, m, NULL, &err), &err);
    return v;
}

static const struct nb_site *site_of(const struct nb_view *v, enum nb_site_kind kind)
{
    size_t n;
    const struct nb_site *s = nb_view_sites(v, &n);
    for (size_t k = 0; k < n; k++)
        if (s[k].kind == kind)
            return &s[k];
    fail_msg("no site of kind %d", (int)kind);
    return NULL;
}

/* All of a weight, malloc-ed. */
static float *read_all(struct nb_view *v, size_t i)
{
    const struct nb_shape *s = &nb_view_model(v)->w.items[i].t.shape;
    const size_t n = nb_shape_rows(s) * nb_shape_cols(s);
    float *x = malloc(n * sizeof *x);
    void *scratch = malloc(nb_view_scratch(v, i) + 1);
    assert_true(x != NULL && scratch != NULL);
    assert_ok(nb_view_hold(v, i, NULL, &err), &err);
    nb_view_read_rows(v, i, 0, nb_shape_rows(s), x, scratch);
    nb_view_release(v, i);
    free(scratch);
    return x;
}

/* Inputs of unequal size, two in a hundred much larger, as language models have them; the same for all sites. */
static double magnitude(size_t j, enum nb_site_stat which)
{
    const double x = exp2((double)(j * 37 % 101) / 20.0 - 2.5) * (j % 50 == 7 ? 20.0 : 1.0);
    return which == NB_STAT_AMAX ? 5.0 * x : (which == NB_STAT_RMS ? 1.3 * x : x);
}

static const double *stat(void *ctx, const struct nb_site *site, enum nb_site_stat which)
{
    static double x[8192];
    const unsigned *known = ctx;
    if (known != NULL && !(*known >> which & 1U))
        return NULL;
    assert_true(site->n_mat * site->n <= NB_COUNTOF(x));
    for (size_t j = 0; j < site->n_mat * site->n; j++)
        x[j] = magnitude(j % site->n, which);
    return x;
}

static struct nb_transform_report apply(struct nb_view *v, const char *name,
                                        const struct nb_transform_job *job)
{
    struct nb_transform_report r;
    assert_non_null(nb_transform_find(name));
    assert_ok(nb_transform_find(name)->apply(v, job, &r, &err), &err);
    return r;
}

/* ---- formulas ---- */

/* norm 1 / s and q's columns times s, s from the paper's formula. */
static void test_smooth(void **state)
{
    (void)state;
    struct nb_model *m = open_model(nbtest_model("tiny-7m"));
    struct nb_view *v = view_of(m), *plain = view_of(m);
    const struct nb_site *site = site_of(plain, NB_SITE_ATTN_IN);
    const size_t n = site->n;
    double *w = calloc(n, sizeof *w);
    assert_non_null(w);
    for (size_t r = 0; r < site->n_readers; r++) {
        float *x = read_all(plain, site->readers[r]);
        const size_t rows = nb_shape_rows(&m->w.items[site->readers[r]].t.shape);
        for (size_t k = 0; k < rows * n; k++)
            w[k % n] = fmax(w[k % n], fabs((double)x[k]));
        free(x);
    }
    const struct nb_transform_job job = {.stat = stat, .alpha = 0.75};
    const struct nb_transform_report r = apply(v, "smooth", &job);
    assert_int_equal(r.n_sites, 2 * m->w.hp.n_layers);
    assert_close(r.parameter_mean, 0.75, 1e-12);
    float *before = read_all(plain, site->readers[0]), *after = read_all(v, site->readers[0]);
    float *g = read_all(plain, site->producer), *h = read_all(v, site->producer);
    for (size_t j = 0; j < n; j++) {
        const double s = pow(magnitude(j, NB_STAT_AMAX), 0.75) / pow(w[j], 0.25);
        assert_close((double)after[j], (double)before[j] * s, 1e-6 * fabs((double)before[j]) * s);
        assert_close((double)h[j], (double)g[j] / s, 1e-6 * fabs((double)g[j]) / s);
    }
    assert_true(nb_view_changes(v, site->producer));
    assert_string_equal(nb_view_type(v, site->producer)->name, "f32");
    assert_ptr_equal(nb_view_type(v, site->readers[0]), m->w.items[site->readers[0]].t.type);
    free(before), free(after), free(g), free(h), free(w);
    nb_view_destroy(v);
    nb_view_destroy(plain);
    nb_model_close(m);
}

/* After it rows of v and of up, and columns of output and down, have the same range. */
static void test_equalize(void **state)
{
    (void)state;
    struct nb_model *m = open_model(nbtest_model("tiny-7m"));
    struct nb_view *v = view_of(m);
    (void)apply(v, "equalize", &(struct nb_transform_job){.seed = 0});
    const enum nb_site_kind kinds[] = {NB_SITE_ATTN_OUT, NB_SITE_FFN_DOWN};
    for (size_t k = 0; k < NB_COUNTOF(kinds); k++) {
        const struct nb_site *s = site_of(v, kinds[k]);
        const size_t n_in = nb_shape_cols(&m->w.items[s->producer].t.shape);
        const size_t rows = nb_shape_rows(&m->w.items[s->readers[0]].t.shape);
        float *w1 = read_all(v, s->producer), *w2 = read_all(v, s->readers[0]);
        for (size_t i = 0; i < s->n_scales; i++) {
            double r1 = 0.0, r2 = 0.0;
            for (size_t j = 0; j < n_in; j++)
                r1 = fmax(r1, fabs((double)w1[(s->first_row + i) * n_in + j]));
            for (size_t j = 0; j < s->n; j++)
                for (size_t r = 0; nb_site_scale(s, j) == i && r < rows; r++)
                    r2 = fmax(r2, fabs((double)w2[r * s->n + j]));
            assert_close(r1, r2, 1e-6 * r1);
        }
        free(w1), free(w2);
    }
    const struct nb_transform_report r =
        apply(v, "equalize", &(struct nb_transform_job){.seed = 0});
    assert_close(r.parameter_max, 1.0, 1e-5); /* the fixed point */
    nb_view_destroy(v);
    nb_model_close(m);
}

/* ---- searches ---- */

struct measure {
    struct nb_site_rounding how;
    struct nb_coder_spec spec[NB_SITE_READERS];
    const double *h[1];
    double *matrix;
    size_t n;
};

/* H whose diagonal is that of stat and whose neighbours are correlated. */
static void measure_init(struct measure *q, const struct nb_coder_spec *spec, size_t n)
{
    q->n = n;
    q->matrix = calloc(n * n, sizeof *q->matrix);
    assert_non_null(q->matrix);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n && j < i + 4; j++)
            q->matrix[i * n + j] = 100.0 * magnitude(i, NB_STAT_RMS) * magnitude(j, NB_STAT_RMS) *
                                   pow(0.5, (double)(j - i));
    q->h[0] = q->matrix;
    for (size_t r = 0; r < NB_SITE_READERS; r++)
        q->spec[r] = *spec;
    q->how = (struct nb_site_rounding){
        .spec = q->spec, .h = q->h, .tokens = 100.0, .plain = true, .max_rows = 64};
}

static enum nb_status loss_of(void *ctx, struct nb_view *v, const struct nb_site *site,
                              const double *s, double *loss, struct nb_error *e)
{
    const struct measure *q = ctx;
    assert_int_equal(site->n, q->n);
    return nb_site_rtn_loss(v, site, &q->how, s, loss, e);
}

static double loss_at(struct measure *q, struct nb_view *v, const struct nb_site *site)
{
    double loss;
    assert_ok(loss_of(q, v, site, NULL, &loss, &err), &err);
    return loss;
}

/* Ratios measured as published, and the closed form: both lower the loss where inputs are unequal, and the
 * measured one is not worse than none. */
static void test_awq_search(void **state)
{
    (void)state;
    struct nb_model *m = open_model(nbtest_model("tiny-7m"));
    const unsigned kinds = 1U << NB_SITE_ATTN_IN;
    /* Ranges as published: a search that does not know the inputs would clip what was scaled up. */
    const struct nb_scale_options how = {.method = NB_SCALE_ABSMAX};
    struct nb_coder_spec spec = {.type = nb_numfmt_find("int3_g128"), .how = &how};
    struct measure q;
    assert_non_null(spec.type);
    struct nb_view *plain = view_of(m), *measured = view_of(m), *free_form = view_of(m);
    const struct nb_site *site = site_of(plain, NB_SITE_ATTN_IN);
    measure_init(&q, &spec, site->n);
    const double before = loss_at(&q, plain, site);
    struct nb_transform_job job = {
        .stat = stat, .kinds = kinds, .loss = loss_of, .loss_ctx = &q, .n_ratios = 10};
    const struct nb_transform_report r = apply(measured, "awq", &job);
    assert_int_equal(r.n_sites + r.n_idle, m->w.hp.n_layers);
    assert_true(r.n_sites > 0 && r.parameter_min >= 0.1 && r.parameter_max <= 0.9);
    job.loss = NULL;
    job.bits = 3;
    const struct nb_transform_report f = apply(free_form, "awq", &job);
    print_message("loss %.4g; ratios measured %.2f, closed form %.3f\n", before, r.parameter_mean,
                  f.parameter_mean);
    assert_true(f.n_sites > 0);
    /* The scales of both, tried on the plain view. */
    for (int k = 0; k < 2; k++) {
        struct nb_view *v = k ? free_form : measured;
        float *a = read_all(plain, site->producer), *b = read_all(v, site->producer);
        double *s = malloc(site->n * sizeof *s), loss;
        assert_non_null(s);
        for (size_t j = 0; j < site->n; j++)
            s[j] = (double)a[j] / (double)b[j];
        assert_ok(loss_of(&q, plain, site, s, &loss, &err), &err);
        print_message("%s: %.4g\n", k ? "closed form" : "measured", loss);
        assert_true(loss < 0.9 * before);
        free(a), free(b), free(s);
    }
    free(q.matrix);
    nb_view_destroy(plain);
    nb_view_destroy(measured);
    nb_view_destroy(free_form);
    nb_model_close(m);
}

static void test_smooth_search(void **state)
{
    (void)state;
    struct nb_model *m = open_model(nbtest_model("tiny-7m"));
    struct nb_coder_spec spec = {.type = nb_numfmt_find("int4_g128")};
    struct measure q;
    struct nb_view *v = view_of(m);
    measure_init(&q, &spec, m->w.hp.n_embd);
    const struct nb_transform_job job = {.stat = stat, .loss = loss_of, .loss_ctx = &q};
    const struct nb_transform_report r = apply(v, "smooth", &job);
    assert_int_equal(r.n_sites + r.n_idle, 2 * m->w.hp.n_layers);
    assert_true(r.n_sites == 0 || (r.parameter_min >= 0.3 && r.parameter_max <= 0.95));
    free(q.matrix);
    nb_view_destroy(v);
    nb_model_close(m);
}

/* Under H = 1 the loss is the squared error of what nb_numfmt_encode would make of the rows. */
static void test_loss(void **state)
{
    (void)state;
    struct nb_model *m = open_model(nbtest_model("tiny-7m"));
    struct nb_view *v = view_of(m);
    const struct nb_site *site = site_of(v, NB_SITE_FFN_DOWN);
    const size_t n = site->n, rows = m->w.hp.n_embd;
    struct nb_coder_spec spec = {.type = nb_numfmt_find("q8_0")};
    struct measure q = {.n = n, .matrix = calloc(n * n, sizeof(double))};
    assert_non_null(q.matrix);
    for (size_t i = 0; i < n; i++)
        q.matrix[i * n + i] = 7.0;
    q.h[0] = q.matrix;
    q.how = (struct nb_site_rounding){.spec = &spec, .h = q.h, .tokens = 7.0, .plain = true};
    uint64_t bytes;
    assert_ok(nb_numfmt_bytes(spec.type, &m->w.items[site->readers[0]].t.shape, &bytes, &err),
              &err);
    float *w = read_all(v, site->readers[0]), *y = malloc(rows * n * sizeof *y);
    uint8_t *stored = malloc(bytes);
    assert_true(y != NULL && stored != NULL);
    assert_ok(nb_numfmt_encode(spec.type, stored, w, NULL, rows * n, &err), &err);
    nb_numfmt_decode(spec.type, stored, y, rows * n);
    double want = 0.0;
    for (size_t k = 0; k < rows * n; k++)
        want += pow((double)w[k] - (double)y[k], 2.0);
    assert_close(loss_at(&q, v, site), want, 1e-5 * want);
    free(w), free(y), free(stored), free(q.matrix);
    nb_view_destroy(v);
    nb_model_close(m);
}

/* ---- rotations that keep the vector of ones ---- */

static void test_keeps_ones(void **state)
{
    static const size_t sizes[] = {2, 12, 20, 28, 64, 96, 104, 120, 768};
    (void)state;
    for (size_t k = 0; k < NB_COUNTOF(sizes); k++) {
        const size_t n = sizes[k];
        struct nb_rotation r = {.signs = NULL};
        double *x = malloc(n * sizeof *x), length = 0.0, sum = 0.0, most = 0.0;
        assert_non_null(x);
        assert_ok(nb_rotation_init(&r, n, 3, true, NULL, &err), &err);
        for (size_t i = 0; i < n; i++)
            x[i] = 1.0;
        nb_rotation_apply(&r, x, n);
        for (size_t i = 0; i < n; i++)
            assert_close(x[i], 1.0, 1e-12);
        for (size_t i = 0; i < n; i++)
            x[i] = i == n / 2 ? 1.0 : 0.0;
        nb_rotation_apply(&r, x, n); /* a row of R: of length and sum 1, and mixed */
        for (size_t i = 0; i < n; i++) {
            length += x[i] * x[i];
            sum += x[i];
            most = fmax(most, fabs(x[i]));
        }
        assert_close(length, 1.0, 1e-12);
        assert_close(sum, 1.0, 1e-12);
        if (n > 2 && !(most < 0.9))
            fail_msg("%zu: a row of the rotation has an element of %g", n, most);
        nb_rotation_fini(&r, NULL);
        free(x);
    }
}

/* ---- what is refused, what is unknown ---- */

static void expect_refused(const char *arch, const char *transform, const char *why)
{
    struct nb_model *m = open_model(arch_path(arch, ""));
    struct nb_view *v = view_of(m);
    const struct nb_transform_job job = {.stat = stat};
    struct nb_transform_report r;
    char text[256];
    (void)snprintf(text, sizeof text, "'%s' cannot be carried: %s", transform, why);
    assert_fails(nb_transform_find(transform)->apply(v, &job, &r, &err), NB_ERR_UNSUPPORTED, &err,
                 text);
    nb_view_destroy(v);
    nb_model_close(m);
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refused("olmo2", "smooth", "no norm stands between it and the residual stream");
    expect_refused("bert-cls", "smooth", "the norm before it is also what the residual sum");
    expect_refused("bert-cls", "rotate", "norms with weights stand in the residual stream itself");
    expect_refused("gemma2", "rotate", "norms with weights stand between the layers that write");
    expect_refused("llama-tied", "rotate", "the head is the embedding");
    expect_refused("bitnet", "equalize", "the model has no site for it");
}

/* down behind a GELU takes no scales, the other sites do. */
static void test_gelu(void **state)
{
    (void)state;
    struct nb_model *m = open_model(arch_path("gpt2", ""));
    struct nb_view *v = view_of(m);
    const struct nb_site *site = site_of(v, NB_SITE_FFN_DOWN);
    double one = 1.0;
    assert_non_null(strstr(site->refusal, "an activation that lets no factor pass"));
    assert_fails(nb_view_scale(v, site, &one, &err), NB_ERR_UNSUPPORTED, &err,
                 "'blk.0.ffn_down' cannot be scaled");
    const struct nb_transform_job job = {.stat = stat};
    const struct nb_transform_report r = apply(v, "awq", &job);
    assert_int_equal(r.n_refused, m->w.hp.n_layers);
    assert_string_equal(r.refusal, site->refusal);
    nb_view_destroy(v);
    nb_model_close(m);
}

static void test_arguments(void **state)
{
    (void)state;
    struct nb_model *m = open_model(nbtest_model("tiny-7m"));
    struct nb_view *v = view_of(m);
    struct nb_transform_report r;
    unsigned known = 0;
    struct nb_transform_job job = {.stat = stat, .stat_ctx = &known};
    assert_fails(nb_transform_find("awq")->apply(v, &job, &r, &err), NB_ERR_ARG, &err,
                 "'awq' needs statistics of the inputs");
    job.alpha = 1.5;
    assert_fails(nb_transform_find("smooth")->apply(v, &job, &r, &err), NB_ERR_ARG, &err,
                 "alpha is 1.5");
    known = 1U << NB_STAT_RMS; /* enough for awq, not for smooth */
    job.alpha = 0.0;
    assert_fails(nb_transform_find("smooth")->apply(v, &job, &r, &err), NB_ERR_ARG, &err,
                 "'smooth' needs statistics");
    assert_int_equal(apply(v, "awq", &job).n_unknown, 0);
    assert_null(nb_transform_find("shrink"));
    const struct nb_site *site = site_of(v, NB_SITE_ATTN_IN);
    double *s = malloc(site->n * sizeof *s);
    assert_non_null(s);
    for (size_t j = 0; j < site->n; j++)
        s[j] = j == 3 ? 0.0 : 1.0;
    assert_fails(nb_view_scale(v, site, s, &err), NB_ERR_NUMERIC, &err,
                 "'blk.0.attn_q': scale 3 is 0");
    assert_ok(nb_view_rotate_heads(v, 1, &err), &err);
    assert_fails(nb_view_rotate_heads(v, 1, &err), NB_ERR_ARG, &err, "rotated already");
    free(s);
    nb_view_destroy(v);
    nb_model_close(m);
}

static void test_names(void **state)
{
    (void)state;
    struct nb_model *m = open_model(nbtest_model("tiny-7m"));
    struct nb_transformed *t;
    struct nb_transformed_job job = {.model = m, .names = "equalize,shrink"};
    assert_ok(nb_transforms_check(NULL, &err), &err);
    assert_ok(nb_transforms_check(" rotate , awq", &err), &err);
    assert_fails(nb_transforms_check("a,b", &err), NB_ERR_ARG, &err, "'a' is no transform");
    assert_fails(nb_transforms_check("awq,awq,awq,awq,awq,awq,awq,awq,awq", &err), NB_ERR_ARG, &err,
                 "more than 8");
    assert_fails(nb_transformed_open(&t, &job, &err), NB_ERR_ARG, &err, "'shrink'");
    job.names = "equalize,awq";
    assert_fails(nb_transformed_open(&t, &job, &err), NB_ERR_ARG, &err,
                 "transform 'awq' looks at inputs: it needs a calibration text");
    job.names = "";
    assert_ok(nb_transformed_open(&t, &job, &err), &err);
    assert_ptr_equal(nb_transformed_model(t), m);
    nb_transformed_close(t);
    nb_model_close(m);
}

/* ---- a tied head whose last norm is the same for all columns ---- */

static void test_tied_even_norm(void **state)
{
    (void)state;
    struct nb_model *m = open_model(arch_path("llama-tied", ""));
    const struct nb_weight *w = nb_weights_find(&m->w, "output_norm.weight");
    assert_non_null(w);
    float *even = malloc(m->w.hp.n_embd * sizeof *even);
    assert_non_null(even);
    for (size_t k = 0; k < m->w.hp.n_embd; k++)
        even[k] = 1.5F;
    struct nb_weight *item = &m->items[w - m->w.items]; /* this test's own model */
    item->t.type = &nb_numfmt_f32;
    item->t.data = (const uint8_t *)even;
    item->t.bytes = m->w.hp.n_embd * sizeof *even;
    struct nb_view *v = view_of(m);
    assert_ok(nb_view_rotate_stream(v, 11, &err), &err);
    assert_false(nb_view_changes(v, (size_t)(w - m->w.items)));
    float *a, *b = read_all(v, (size_t)(nb_weights_find(&m->w, "token_embd.weight") - m->w.items));
    struct nb_view *plain = view_of(m);
    a = read_all(plain, (size_t)(nb_weights_find(&m->w, "token_embd.weight") - m->w.items));
    for (size_t t = 0; t < m->w.hp.n_vocab; t++) { /* lengths and products of embeddings stay */
        double before = 0.0, after = 0.0;
        for (size_t k = 0; k < m->w.hp.n_embd; k++) {
            before += (double)a[t * m->w.hp.n_embd + k] * (double)a[k];
            after += (double)b[t * m->w.hp.n_embd + k] * (double)b[k];
        }
        assert_close(before, after, 1e-5);
    }
    free(a), free(b), free(even);
    nb_view_destroy(plain);
    nb_view_destroy(v);
    nb_model_close(m);
}

/* ---- the same bits however it is read; a name for what was done ---- */

static void test_bits(void **state)
{
    (void)state;
    struct nb_model *m = open_model(arch_path("llama", ""));
    struct nb_view *v = view_of(m), *again = view_of(m);
    struct nb_pool *pool;
    struct nb_hash a, b, none;
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    assert_ok(nb_view_hash(v, &none, &err), &err);
    const struct nb_transform_job job = {.stat = stat, .seed = 9},
                                  other = {.stat = stat, .pool = pool};
    (void)apply(v, "rotate", &job);
    (void)apply(again, "rotate", &job);
    (void)apply(v, "awq", &job);
    (void)apply(again, "awq", &other);
    assert_ok(nb_view_hash(v, &a, &err), &err);
    assert_ok(nb_view_hash(again, &b, &err), &err);
    assert_true(a.lo == b.lo && a.hi == b.hi && a.lo != none.lo);
    for (size_t i = 0; i < m->w.n; i++) {
        const struct nb_shape *s = &m->w.items[i].t.shape;
        const size_t rows = nb_shape_rows(s), cols = nb_shape_cols(s);
        float *x = read_all(v, i), *y = malloc(rows * cols * sizeof *y);
        void *scratch = malloc(nb_view_scratch(again, i) + 1);
        assert_true(y != NULL && scratch != NULL);
        assert_ok(nb_view_hold(again, i, pool, &err), &err);
        assert_true((nb_view_hold_bytes(again, i) > 0) ==
                    (m->w.items[i].spec.role == NB_ROLE_ATTN_OUT ||
                     m->w.items[i].spec.role == NB_ROLE_FFN_DOWN ||
                     m->w.items[i].spec.role == NB_ROLE_ATTN_V));
        for (size_t r = 0; r < rows; r++)
            nb_view_read_rows(again, i, r, 1, y + r * cols, scratch);
        nb_view_release(again, i);
        assert_bits_array(x, y, rows * cols);
        free(x), free(y), free(scratch);
    }
    nb_pool_destroy(pool);
    nb_view_destroy(v);
    nb_view_destroy(again);
    nb_model_close(m);
}

static enum nb_status everything(void *ctx, const struct nb_allocator *a)
{
    const struct nb_model *m = ctx;
    const struct nb_transform_job job = {.stat = stat, .n_ratios = 3};
    struct nb_transform_report r;
    struct nb_view_copy *c = NULL;
    struct nb_view *v;
    struct nb_hash h;
    NB_TRY(nb_view_create(&v, m, a, NULL));
    enum nb_status st = nb_transform_find("rotate")->apply(v, &job, &r, NULL);
    for (int k = 0; k < 3 && st == NB_OK; k++)
        st = nb_transform_find(k == 0 ? "awq" : (k == 1 ? "smooth" : "equalize"))
                 ->apply(v, &job, &r, NULL);
    if (st == NB_OK)
        st = nb_view_hash(v, &h, NULL);
    if (st == NB_OK)
        st = nb_view_copy_create(&c, v, NB_VIEW_ALL, NULL, NULL);
    nb_view_copy_destroy(c);
    nb_view_destroy(v);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    struct nb_model *m = open_model(arch_path("phi", "")); /* layer norms, biases */
    assert_true(nbtest_oom(everything, m) > 20);
    nb_model_close(m);
}

NB_TEST_MAIN(cmocka_unit_test(test_smooth), cmocka_unit_test(test_equalize),
             cmocka_unit_test(test_awq_search), cmocka_unit_test(test_smooth_search),
             cmocka_unit_test(test_loss), cmocka_unit_test(test_keeps_ones),
             cmocka_unit_test(test_refusals), cmocka_unit_test(test_gelu),
             cmocka_unit_test(test_arguments), cmocka_unit_test(test_names),
             cmocka_unit_test(test_tied_even_norm), cmocka_unit_test(test_bits),
             cmocka_unit_test(test_memory))
