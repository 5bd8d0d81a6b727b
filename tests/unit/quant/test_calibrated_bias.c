/* Biases of calibrated layers: what rounding W to Q adds to the output on average is taken off, for inputs that
 * can be worked out by hand: the first block's, a norm of embeddings. */
#include "calibrated_case.h"
#include "support/arch_cases.h"

#include <math.h>

static struct nb_error err;

static float *read_all(const struct nb_model *m, const char *name, size_t *rows, size_t *cols)
{
    const struct nb_weight *w = nb_weights_find(&m->w, name);
    assert_non_null(w);
    *rows = (size_t)nb_shape_rows(&w->t.shape);
    *cols = (size_t)nb_shape_cols(&w->t.shape);
    float *x = calloc(*rows * *cols, sizeof *x);
    assert_non_null(x);
    nb_model_read_rows(m, (size_t)(w - m->w.items), 0, *rows, x);
    return x;
}

/* Mean over the tokens of case_calibrate that are not held out. */
static double *mean_input(const struct nb_model *m, size_t n)
{
    size_t vocab, cols, one, same;
    float *e = read_all(m, "token_embd.weight", &vocab, &cols);
    float *g = read_all(m, "blk.0.attn_norm.weight", &one, &same);
    double *mean = calloc(n, sizeof *mean);
    struct nb_rng rng = {.seed = 11};
    assert_int_equal(cols, n);
    assert_int_equal(same, n);
    for (size_t i = 0; i < CASE_WINDOWS * CASE_CTX; i++) {
        const float *x = e + nb_rng_u64(&rng) % vocab * n;
        double square = 0.0;
        if (i / CASE_CTX == 3)
            continue;
        for (size_t j = 0; j < n; j++)
            square += (double)x[j] * (double)x[j];
        const double scale = 1.0 / sqrt(square / (double)n + (double)m->w.hp.norm_eps);
        for (size_t j = 0; j < n; j++)
            mean[j] += (double)x[j] * (double)g[j] * scale / ((CASE_WINDOWS - 1) * CASE_CTX);
    }
    free(e);
    free(g);
    return mean;
}

/* Is the bias of a layer on this input what it shall be? */
static void check_layer(const struct nb_model *was, const struct nb_model *is, const char *layer,
                        const double *mean, size_t n)
{
    char weight[64], bias[64];
    size_t rows, cols, one, width;
    (void)snprintf(weight, sizeof weight, "%s.weight", layer);
    (void)snprintf(bias, sizeof bias, "%s.bias", layer);
    float *w = read_all(was, weight, &rows, &cols), *q = read_all(is, weight, &rows, &cols);
    float *b = read_all(was, bias, &one, &width), *c = read_all(is, bias, &one, &width);
    double moved = 0.0;
    assert_int_equal(width, rows);
    assert_int_equal(cols, n);
    for (size_t r = 0; r < rows; r++) {
        double want = (double)b[r];
        for (size_t j = 0; j < n; j++)
            want += ((double)w[r * n + j] - (double)q[r * n + j]) * mean[j];
        moved = fmax(moved, fabs(want - (double)b[r]));
        assert_close((double)c[r], want, 1e-5);
    }
    assert_true(moved > 1e-3); /* else this tests nothing */
    free(w);
    free(q);
    free(b);
    free(c);
}

static void test_first_block(void **state)
{
    (void)state;
    static const char *const layers[] = {"blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v"};
    const char *out = nbtest_tmp("bias.gguf");
    struct nb_model *m;
    assert_ok(nb_model_open(&m, arch_path("llama-bias", ""), NULL, NULL, &err), &err);
    double *mean = mean_input(m, m->w.hp.n_embd);
    for (int mismatch = 0; mismatch < 2; mismatch++) { /* the two streams are still one there */
        struct calibrated_case c = {.type = "q4_0", .no_mismatch = mismatch == 0};
        assert_ok(case_calibrate(&c, m, out, &err), &err);
        struct nb_model *again = case_open(out);
        for (size_t i = 0; i < NB_COUNTOF(layers); i++)
            check_layer(m, again, layers[i], mean, m->w.hp.n_embd);
        nb_model_close(again);
    }
    free(mean);
    nb_model_close(m);
}

/* A published recipe leaves them as they are. */
static void test_published(void **state)
{
    (void)state;
    const char *out = nbtest_tmp("published.gguf");
    struct calibrated_case c = {.type = "q4_0", .method = "gptq"};
    struct nb_model *m;
    size_t rows, n;
    assert_ok(nb_model_open(&m, arch_path("llama-bias", ""), NULL, NULL, &err), &err);
    assert_ok(case_calibrate(&c, m, out, &err), &err);
    struct nb_model *again = case_open(out);
    float *was = read_all(m, "blk.0.attn_q.bias", &rows, &n);
    float *is = read_all(again, "blk.0.attn_q.bias", &rows, &n);
    assert_memory_equal(was, is, n * sizeof *is);
    free(was);
    free(is);
    nb_model_close(again);
    nb_model_close(m);
}

NB_TEST_MAIN(cmocka_unit_test(test_first_block), cmocka_unit_test(test_published))
