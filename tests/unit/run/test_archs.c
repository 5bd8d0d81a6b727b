/* Every folder under tests/golden/archs (tests/golden/make_archs.py): tiny random models of each
 * architecture and each switch of its config, against what Hugging Face transformers computed from them in
 * float32. Logits of one call, of a token at a time and of uneven pieces; the same bits from the GGUF file
 * and the folder that nibble makes of it. */
#include <math.h>
#include <stdio.h>

#include "quant/quant.h"
#include "run/run.h"
#include "support/arch_cases.h"

#define TOLERANCE 1e-3 /* of the spread of the logits */

static struct nb_error err;

struct golden {
    char name[64], dir[512];
    struct nb_file *file;
    uint32_t *tokens; /* (n) */
    float *want;      /* (n, width) */
    size_t n, width;
    bool encoder; /* hidden states instead of logits */
    double spread;
};

/* ---- cases ---- */

static const struct nb_tensor *need(const struct nb_file *f, const char *name)
{
    const struct nb_tensor *t = nb_file_find(f, name);
    if (t == NULL)
        fail_msg("%s: no tensor '%s'", f->path, name);
    return t;
}

static void golden_init(struct golden *g, const char *name)
{
    char path[600];
    memset(g, 0, sizeof *g);
    (void)snprintf(g->name, sizeof g->name, "%s", name);
    (void)snprintf(g->dir, sizeof g->dir, "%s", arch_path(name, ""));
    (void)snprintf(path, sizeof path, "%s/golden.safetensors", g->dir);
    assert_ok(nb_file_open(&g->file, path, NULL, &err), &err);
    const struct nb_tensor *ids = need(g->file, "input_ids");
    g->encoder = nb_file_find(g->file, "hidden") != NULL;
    /* BitNet: activations stay floats */
    const bool alone = nb_file_find(g->file, "float_logits") != NULL;
    const struct nb_tensor *out =
        need(g->file, g->encoder ? "hidden" : (alone ? "float_logits" : "logits"));
    g->n = nb_shape_cols(&ids->shape);
    g->width = nb_shape_cols(&out->shape);
    assert_int_equal(nb_shape_rows(&out->shape), g->n);
    g->tokens = malloc(g->n * sizeof *g->tokens);
    g->want = malloc(g->n * g->width * sizeof *g->want);
    assert_true(g->tokens && g->want);
    for (size_t i = 0; i < g->n; i++)
        g->tokens[i] = nb_load_u32(ids->data + 4 * i);
    nb_numfmt_decode(out->type, out->data, g->want, g->n * g->width);
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < g->n * g->width; i++) {
        low = fmin(low, (double)g->want[i]);
        high = fmax(high, (double)g->want[i]);
    }
    g->spread = high - low;
}

static void golden_fini(struct golden *g)
{
    nb_file_close(g->file);
    free(g->tokens);
    free(g->want);
}

/* ---- running ---- */

/* The context is as long as the text, which is what transformers goes by in one call. calls: sizes of the
 * calls, 0 ends, the rest in one. malloc-ed, (n, width). */
static float *run_model(const struct golden *g, struct nb_model *m, const size_t *calls)
{
    struct nb_session *s;
    float *out = malloc(g->n * g->width * sizeof *out);
    const struct nb_session_options o = {
        .kv_type = &nb_numfmt_f32, .n_ctx = (uint32_t)g->n, .hidden = g->encoder};
    assert_non_null(out);
    assert_int_equal(g->encoder ? m->w.hp.n_embd : m->w.hp.n_vocab, g->width);
    assert_ok(nb_model_settle(m, &err), &err);
    assert_ok(nb_session_create(&s, &m->w, &o, NULL, &err), &err);
    for (size_t at = 0; at < g->n;) {
        size_t n = g->n - at;
        if (calls != NULL && *calls != 0)
            n = *calls < n ? *calls++ : n;
        assert_ok(nb_session_eval(s, g->tokens + at, n, out + at * g->width, 0, &err), &err);
        at += n;
    }
    nb_session_destroy(s);
    return out;
}

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static double compare(const struct golden *g, const float *got)
{
    double worst = 0.0;
    for (size_t i = 0; i < g->n * g->width; i++) {
        const double d = fabs((double)got[i] - (double)g->want[i]);
        worst = d > worst || isnan(d) ? d : worst;
    }
    if (!(worst <= TOLERANCE * g->spread))
        fail_msg("%s: differs by %g, %g of the spread", g->name, worst, worst / g->spread);
    for (size_t i = 0; i < g->n && !g->encoder; i++)
        if (argmax(got + i * g->width, g->width) != argmax(g->want + i * g->width, g->width))
            fail_msg("%s: another best token at %zu", g->name, i);
    return worst / g->spread;
}

static void expect_bits(const struct golden *g, const float *a, const float *b, const char *what)
{
    double worst = 0.0;
    if (memcmp(a, b, g->n * g->width * sizeof *a) == 0)
        return;
    for (size_t i = 0; i < g->n * g->width; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    fail_msg("%s: other logits %s, by %g of the spread", g->name, what, worst / g->spread);
}

static float *run_path(const struct golden *g, const char *path)
{
    struct nb_model *m;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    float *out = run_model(g, m, NULL);
    nb_model_close(m);
    return out;
}

static enum nb_status convert(struct nb_model *m, const char *type, const char *out)
{
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nb_quant_report report = {0};
    nb_recipe_init(&r, NULL);
    r.type = type;
    const struct nb_quant_settings s = {.out = out, .recipe = &r, .overwrite = true};
    enum nb_status st = nb_quant_plan_create(&p, m, &s, NULL, &err);
    if (st == NB_OK) {
        st = nb_quant_run(p, &report, &err);
        nb_quant_plan_destroy(p);
    }
    nb_recipe_fini(&r);
    return st;
}

static void check_folder(const struct golden *g, struct nb_model *m, const float *logits,
                         const char *what)
{
    const char *dir = nbtest_tmp("arch");
    assert_ok(convert(m, "keep", dir), &err);
    float *got = run_path(g, dir);
    expect_bits(g, got, logits, what);
    free(got);
}

/* To GGUF, from there to a folder, and to a folder: all say what the checkpoint says. */
static void check_converted(const struct golden *g, struct nb_model *m, const float *logits)
{
    const char *gguf = nbtest_tmp("arch.gguf");
    struct nb_model *again;
    assert_ok(convert(m, "keep", gguf), &err);
    assert_ok(nb_model_open(&again, gguf, NULL, NULL, &err), &err);
    float *got = run_model(g, again, NULL);
    expect_bits(g, got, logits, "from its GGUF file");
    free(got);
    check_folder(g, again, logits, "from the folder made of its GGUF file");
    nb_model_close(again);
    check_folder(g, m, logits, "from a folder of nibble's");
}

/* Blocks of 8 bits in every matrix, and integer products: near the float logits, and no nearer than that. */
static double check_quantized(const struct golden *g, struct nb_model *m, const float *logits)
{
    const char *gguf = nbtest_tmp("arch8.gguf");
    double square = 0.0;
    assert_ok(convert(m, "q8_0", gguf), &err);
    float *got = run_path(g, gguf);
    for (size_t i = 0; i < g->n * g->width; i++) {
        const double d = (double)got[i] - (double)logits[i];
        square += d * d;
    }
    free(got);
    const double error = sqrt(square / (double)(g->n * g->width)) / g->spread;
    if (!(error > 0.0 && error < 0.02))
        fail_msg("%s: q8_0 is off by %g of the spread", g->name, error);
    return error;
}

static void check_pieces(const struct golden *g, struct nb_model *m, const float *all)
{
    static const size_t ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0};
    static const size_t uneven[] = {3, 1, 9, 2, 0};
    assert_true(g->n <= NB_COUNTOF(ones));
    float *got = run_model(g, m, ones);
    (void)compare(g, got);
    expect_bits(g, got, all, "a token at a time");
    free(got);
    got = run_model(g, m, uneven);
    expect_bits(g, got, all, "in uneven pieces");
    free(got);
}

static void check_case(void **state)
{
    const char *name = *state;
    struct golden g;
    struct nb_model *m;
    if (arch_is_refused(name))
        return;
    golden_init(&g, name);
    assert_ok(nb_model_open(&m, g.dir, NULL, NULL, &err), &err);
    float *all = run_model(&g, m, NULL);
    const double worst = compare(&g, all);
    if (!g.encoder) /* whose tokens see those that follow */
        check_pieces(&g, m, all);
    check_converted(&g, m, all);
    const double q8 = check_quantized(&g, m, all);
    print_message("%s: %s, differs by %.1e of the spread, in q8_0 by %.1e (root mean square)\n",
                  name, m->w.hp.arch->name, worst, q8);
    free(all);
    nb_model_close(m);
    golden_fini(&g);
}

int main(void)
{
    return arch_run("golden", check_case);
}
