/* Transforms change no output: every folder under tests/golden/archs, in the runtime, before and after.
 * What an architecture cannot carry is refused, and says why. */
#include <math.h>
#include <stdio.h>

#include "quant/transformed.h"
#include "run/run.h"
#include "support/arch_cases.h"

#define TOLERANCE 1e-4 /* of the spread of the outputs */

static struct nb_error err;

struct subject {
    const char *name;
    struct nb_model *m;
    uint32_t *tokens; /* (n) */
    float *want;      /* (n, width) */
    size_t n, width;
    double spread;
};

/* ---- running ---- */

/* malloc-ed, (n, width). */
static float *run(const struct subject *s, const struct nb_weights *w)
{
    struct nb_session *session;
    const struct nb_session_options o = {
        .kv_type = &nb_numfmt_f32, .n_ctx = (uint32_t)s->n, .hidden = w->hp.encoder};
    float *out = malloc(s->n * s->width * sizeof *out);
    assert_non_null(out);
    assert_ok(nb_session_create(&session, w, &o, NULL, &err), &err);
    assert_ok(nb_session_eval(session, s->tokens, s->n, out, 0, &err), &err);
    nb_session_destroy(session);
    return out;
}

static void subject_init(struct subject *s, const char *name)
{
    struct nb_file *f;
    *s = (struct subject){.name = name};
    assert_ok(nb_file_open(&f, arch_path(name, "golden.safetensors"), NULL, &err), &err);
    const struct nb_tensor *ids = nb_file_find(f, "input_ids");
    assert_non_null(ids);
    s->n = nb_shape_cols(&ids->shape);
    s->tokens = malloc(s->n * sizeof *s->tokens);
    assert_non_null(s->tokens);
    for (size_t i = 0; i < s->n; i++)
        s->tokens[i] = nb_load_u32(ids->data + 4 * i);
    nb_file_close(f);
    assert_ok(nb_model_open(&s->m, arch_path(name, ""), NULL, NULL, &err), &err);
    assert_ok(nb_model_settle(s->m, &err), &err);
    s->width = s->m->w.hp.encoder ? s->m->w.hp.n_embd : s->m->w.hp.n_vocab;
    s->want = run(s, &s->m->w);
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < s->n * s->width; i++) {
        low = fmin(low, (double)s->want[i]);
        high = fmax(high, (double)s->want[i]);
    }
    s->spread = high - low;
}

static void subject_fini(struct subject *s)
{
    nb_model_close(s->m);
    free(s->tokens);
    free(s->want);
}

static struct nb_view *view_of(const struct subject *s)
{
    struct nb_view *v;
    assert_ok(nb_view_create(&v, s->m, NULL, &err), &err);
    return v;
}

/* Largest difference of the view's outputs, as a share of the spread. */
static double difference(const struct subject *s, struct nb_view *v)
{
    struct nb_view_copy *c;
    double worst = 0.0;
    assert_ok(nb_view_copy_create(&c, v, NB_VIEW_ALL, NULL, &err), &err);
    float *got = run(s, nb_view_copy_weights(c));
    for (size_t i = 0; i < s->n * s->width; i++) {
        const double d = fabs((double)got[i] - (double)s->want[i]);
        worst = d > worst || isnan(d) ? d : worst;
    }
    free(got);
    nb_view_copy_destroy(c);
    return worst / s->spread;
}

static double expect_same(const struct subject *s, struct nb_view *v, const char *what)
{
    const double d = difference(s, v);
    if (!(d <= TOLERANCE))
        fail_msg("%s: %s changes the output by %g of its spread", s->name, what, d);
    return d;
}

/* ---- what is done ---- */

/* Factors between 1/4 and 4 at every site that takes them; the others refuse with their reason. Returns how
 * many take them. */
static size_t scale_all(struct nb_view *v, uint64_t seed)
{
    struct nb_rng rng = {.seed = seed};
    size_t n, done = 0;
    const struct nb_site *sites = nb_view_sites(v, &n);
    for (size_t k = 0; k < n; k++) {
        const size_t n_s = sites[k].n_mat * sites[k].n_scales;
        double *s = malloc(n_s * sizeof *s);
        assert_non_null(s);
        for (size_t i = 0; i < n_s; i++)
            s[i] = exp2(4.0 * nb_rng_unit(&rng) - 2.0);
        if (sites[k].refusal[0] == '\0') {
            assert_ok(nb_view_scale(v, &sites[k], s, &err), &err);
            done++;
        } else {
            assert_fails(nb_view_scale(v, &sites[k], s, &err), NB_ERR_UNSUPPORTED, &err,
                         sites[k].refusal);
        }
        free(s);
    }
    return done;
}

/* Every matrix that sites name is read by one site, and quantizable matrices by exactly one. */
static void check_sites(const struct subject *s)
{
    struct nb_view *v = view_of(s);
    size_t n;
    const struct nb_site *sites = nb_view_sites(v, &n);
    for (size_t i = 0; i < s->m->w.n; i++) {
        const struct nb_tensor_spec *spec = &s->m->w.items[i].spec;
        const bool read = (spec->quantizable && spec->role != NB_ROLE_EMBED) ||
                          spec->role == NB_ROLE_ROUTER ||
                          (spec->role == NB_ROLE_EMBED && s->m->w.hp.tied && !s->m->w.hp.encoder);
        size_t count = 0;
        for (size_t k = 0; k < n; k++)
            for (size_t r = 0; r < sites[k].n_readers; r++)
                if (sites[k].readers[r] == i) {
                    assert_int_equal(sites[k].n, nb_shape_cols(&spec->shape));
                    count++;
                }
        if (count != (read ? 1U : 0U))
            fail_msg("%s: %zu sites read '%s'", s->name, count, spec->name);
    }
    nb_view_destroy(v);
}

/* A view without transforms is the model, bit for bit. */
static void check_identity(const struct subject *s)
{
    struct nb_view *v = view_of(s);
    for (size_t i = 0; i < s->m->w.n; i++) {
        const struct nb_tensor *t = &s->m->w.items[i].t;
        const size_t rows = nb_shape_rows(&t->shape), cols = nb_shape_cols(&t->shape);
        float *a = malloc(2 * rows * cols * sizeof *a), *b = a + rows * cols;
        assert_non_null(a);
        assert_false(nb_view_changes(v, i));
        assert_int_equal(nb_view_scratch(v, i), 0);
        nb_model_read_rows(s->m, i, 0, rows, a);
        nb_view_read_rows(v, i, 0, rows, b, NULL);
        assert_bits_array(a, b, rows * cols);
        free(a);
    }
    if (difference(s, v) != 0.0)
        fail_msg("%s: the identity changes the output", s->name);
    nb_view_destroy(v);
}

static double check_scaled(const struct subject *s)
{
    struct nb_view *v = view_of(s);
    const size_t done = scale_all(v, 7);
    if (done == 0)
        fail_msg("%s: no site takes scales", s->name);
    const double d = expect_same(s, v, "scaling");
    nb_view_destroy(v);
    return d;
}

/* Why the stream of an architecture cannot be rotated; NULL: it can. */
static const char *rotate_refusal(const struct nb_hparams *hp, bool uneven_tied)
{
    if (hp->norms & NB_NORM_SUM)
        return "norms with weights stand in the residual stream itself";
    if (hp->norms & NB_NORM_ATTN_POST)
        return "norms with weights stand between the layers that write the residual stream";
    return hp->tied && uneven_tied ? "the head is the embedding" : NULL;
}

static bool last_norm_is_uneven(const struct nb_model *m)
{
    const struct nb_weight *w = nb_weights_find(&m->w, "output_norm.weight");
    bool uneven = false;
    if (w == NULL)
        return false;
    float *x = malloc(m->w.hp.n_embd * sizeof *x);
    assert_non_null(x);
    nb_model_read_rows(m, (size_t)(w - m->w.items), 0, 1, x);
    for (size_t i = 1; i < m->w.hp.n_embd; i++)
        uneven |= x[i] != x[0];
    free(x);
    return uneven;
}

/* Refusals leave the view as it was. */
static void expect_untouched(const struct subject *s, const struct nb_view *v)
{
    for (size_t i = 0; i < s->m->w.n; i++)
        assert_false(nb_view_changes(v, i));
}

static double check_stream(const struct subject *s)
{
    const char *why = rotate_refusal(&s->m->w.hp, last_norm_is_uneven(s->m));
    const struct nb_transform_job job = {.seed = 3};
    struct nb_transform_report report;
    struct nb_view *v = view_of(s);
    double d = NAN;
    if (why != NULL) {
        assert_fails(nb_transform_find("rotate")->apply(v, &job, &report, &err), NB_ERR_UNSUPPORTED,
                     &err, why);
        expect_untouched(s, v);
    } else {
        assert_ok(nb_transform_find("rotate")->apply(v, &job, &report, &err), &err);
        d = expect_same(s, v, "rotating the stream");
    }
    nb_view_destroy(v);
    return d;
}

static double check_heads(const struct subject *s)
{
    const struct nb_transform_job job = {.seed = 4};
    struct nb_transform_report report;
    struct nb_view *v = view_of(s);
    double d = NAN;
    if (s->m->w.hp.norms & NB_NORM_SUB) {
        assert_fails(nb_transform_find("rotate_heads")->apply(v, &job, &report, &err),
                     NB_ERR_UNSUPPORTED, &err, "between the heads and the output layer");
        expect_untouched(s, v);
    } else {
        assert_ok(nb_transform_find("rotate_heads")->apply(v, &job, &report, &err), &err);
        assert_int_equal(report.n_sites, s->m->w.hp.n_layers);
        d = expect_same(s, v, "rotating heads");
    }
    nb_view_destroy(v);
    return d;
}

/* Scales, rotations, scales. */
static double check_all(const struct subject *s)
{
    struct nb_view *v = view_of(s);
    (void)scale_all(v, 8);
    enum nb_status st = nb_view_rotate_heads(v, 5, &err);
    assert_true(st == NB_OK || st == NB_ERR_UNSUPPORTED);
    st = nb_view_rotate_stream(v, 6, &err);
    assert_true(st == NB_OK || st == NB_ERR_UNSUPPORTED);
    (void)scale_all(v, 9);
    const double d = expect_same(s, v, "all together");
    nb_view_destroy(v);
    return d;
}

/* Inputs of very unequal size. */
static const double *stat(void *ctx, const struct nb_site *site, enum nb_site_stat which)
{
    static double x[4096];
    struct nb_rng rng = {.seed = (uint64_t)site->kind + 10U * (uint64_t)(site->block + 1)};
    const size_t n = site->n_mat * site->n;
    (void)ctx;
    assert_true(n <= NB_COUNTOF(x));
    for (size_t i = 0; i < n; i++)
        x[i] = exp2(6.0 * nb_rng_unit(&rng) - 3.0) * (which == NB_STAT_AMAX ? 4.0 : 1.0);
    x[0] = 0.0; /* an input that is always 0 */
    return x;
}

/* Every registered transform: the same output, or a reason. Returns how many were applied. */
static int check_registry(const struct subject *s)
{
    size_t n;
    int applied = 0;
    const struct nb_transform *const *all = nb_transform_all(&n);
    for (size_t i = 0; i < n; i++) {
        const struct nb_transform_job job = {.stat = stat, .seed = 1};
        struct nb_transform_report report;
        struct nb_view *v = view_of(s);
        const enum nb_status st = all[i]->apply(v, &job, &report, &err);
        if (st == NB_OK) {
            (void)expect_same(s, v, all[i]->name);
            assert_true(report.n_sites + report.n_idle > 0);
            assert_int_equal(report.n_unknown, 0);
            applied++;
        } else {
            assert_int_equal(st, NB_ERR_UNSUPPORTED);
            assert_non_null(strstr(err.message, "' cannot be carried: "));
            expect_untouched(s, v);
        }
        nb_view_destroy(v);
    }
    return applied;
}

/* The same by name, inputs looked at in a run over text, the result a model like an opened one. */
static double check_transformed(const struct subject *s)
{
    const bool held[] = {false};
    const struct nb_windows text = {
        .tokens = s->tokens, .held = held, .n = 1, .ctx = (uint32_t)s->n};
    const struct nb_transformed_job job = {
        .model = s->m, .names = "equalize, awq", .windows = &text};
    struct nb_transformed *t;
    double worst = 0.0;
    const enum nb_status st = nb_transformed_open(&t, &job, &err);
    if (st == NB_ERR_UNSUPPORTED || s->m->w.hp.encoder) /* which is not run a window at a time */
        return st == NB_OK ? (nb_transformed_close(t), NAN) : NAN;
    assert_ok(st, &err);
    struct nb_model *m = nb_transformed_model(t);
    assert_ptr_not_equal(m, s->m);
    float *got = run(s, &m->w);
    for (size_t i = 0; i < s->n * s->width; i++)
        worst = fmax(worst, fabs((double)got[i] - (double)s->want[i]));
    free(got);
    for (size_t i = 0; i < m->w.n; i++) { /* its rows are there for others to read */
        const size_t cols = nb_shape_cols(&m->w.items[i].t.shape);
        float *x = malloc(cols * sizeof *x);
        assert_non_null(x);
        nb_model_read_rows(m, i, 0, 1, x);
        nb_model_drop_rows(m, i, 0, 1);
        free(x);
    }
    nb_transformed_close(t);
    if (!(worst <= TOLERANCE * s->spread))
        fail_msg("%s: %s changes the output by %g of its spread", s->name, job.names,
                 worst / s->spread);
    return worst / s->spread;
}

static void check_case(void **state)
{
    struct subject s;
    if (arch_is_refused(*state))
        return;
    subject_init(&s, *state);
    check_sites(&s);
    check_identity(&s);
    const double scaled = check_scaled(&s), stream = check_stream(&s), heads = check_heads(&s);
    const double all = check_all(&s);
    const int applied = check_registry(&s);
    print_message(
        "%s: of the spread: scaled %.1e, stream %.1e, heads %.1e, all %.1e, by name %.1e; "
        "%d of the registered transforms applied\n",
        s.name, scaled, stream, heads, all, check_transformed(&s), applied);
    subject_fini(&s);
}

int main(void)
{
    return arch_run("transforms", check_case);
}
