/* Logits of real models against Hugging Face transformers in float32: <model>/golden.safetensors holds
 * "input_ids" (64) and "logits" (64, n_vocab). NIBBLE_REF_MODEL names one more model folder. */
#include <math.h>
#include <stdio.h>

#include "dialect/dialect.h"
#include "run/run.h"
#include "support/nbtest.h"

static struct nb_error err;

static const struct nb_tensor *need(const struct nb_file *f, const char *name)
{
    const struct nb_tensor *t = nb_file_find(f, name);
    assert_non_null(t);
    return t;
}

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static void check_model(const char *dir)
{
    struct nb_model *m;
    struct nb_file *golden;
    struct nb_session *s;
    uint32_t tokens[64];
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/golden.safetensors", dir);
    assert_ok(nb_model_open(&m, dir, NULL, NULL, &err), &err);
    assert_ok(nb_file_open(&golden, path, NULL, &err), &err);
    const struct nb_tensor *ids = need(golden, "input_ids"), *logits = need(golden, "logits");
    const size_t v = m->w.hp.n_vocab;
    assert_int_equal(nb_shape_cols(&ids->shape), 64);
    assert_int_equal(nb_shape_rows(&logits->shape), 64);
    assert_int_equal(nb_shape_cols(&logits->shape), v);
    for (size_t i = 0; i < 64; i++)
        tokens[i] = nb_load_u32(ids->data + 4 * i);
    float *want = malloc(64 * v * sizeof *want), *got = malloc(64 * v * sizeof *got);
    assert_true(want && got);
    nb_numfmt_decode(logits->type, logits->data, want, 64 * v);
    const struct nb_session_options o = {.kv_type = &nb_numfmt_f32};
    assert_ok(nb_session_create(&s, &m->w, &o, NULL, &err), &err);
    assert_ok(nb_session_eval(s, tokens, 64, got, 0, &err), &err);
    double worst = 0.0;
    size_t top = 0;
    for (size_t i = 0; i < 64 * v; i++)
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
    for (size_t i = 0; i < 64; i++)
        top += argmax(got + i * v, v) == argmax(want + i * v, v);
    print_message("%s: largest difference %.2e, top-1 equal at %zu of 64\n", dir, worst, top);
    assert_true(worst <= 2e-3);
    assert_int_equal(top, 64);
    nb_session_destroy(s);
    nb_file_close(golden);
    nb_model_close(m);
    free(want);
    free(got);
}

static void test_bundled(void **state)
{
    (void)state;
    check_model(nbtest_model("tiny-7m"));
}

static void test_reference(void **state)
{
    (void)state;
    const char *dir = nb_env("NIBBLE_REF_MODEL");
    if (dir)
        check_model(dir);
    else
        skip();
}

NB_TEST_MAIN(cmocka_unit_test(test_bundled), cmocka_unit_test(test_reference))
