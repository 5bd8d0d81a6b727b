/* Rounding by importance: what is weighed, what is said, that it helps where it should. */
#include "unit/quant/quant_case.h"

#include <math.h>

static struct nb_error err;

/* Importance of the bundled model's first block: the first half of the columns matters. */
static struct nb_calib *make(const struct nb_model *m, const char *part)
{
    struct nb_calib *c;
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    for (size_t i = 0; i < m->w.n; i++) {
        const struct nb_weight *w = &m->w.items[i];
        struct nb_moment *e;
        const size_t cols = (size_t)nb_shape_cols(&w->t.shape);
        if (!w->spec.quantizable || strstr(w->spec.name, part) == NULL)
            continue;
        assert_ok(nb_calib_add(c, w->spec.name, 1, cols, &e, &err), &err);
        e->count[0] = 10.0;
        for (size_t j = 0; j < cols; j++)
            e->sum[j] = j % 2 ? 10.0 : 4000.0;
    }
    assert_ok(nb_calib_add_dataset(c, "prose.txt", 9, &err), &err);
    c->chunk_count = 3;
    return c;
}

static enum nb_status plan(struct nb_quant_plan **p, const struct nb_model *m,
                           const struct nb_recipe *r, const struct nb_calib *c,
                           const struct nb_log *log)
{
    const struct nb_quant_settings s = {.out = nbtest_tmp("x.gguf"),
                                        .recipe = r,
                                        .overwrite = true,
                                        .imatrix = c,
                                        .imatrix_name = "stats.gguf",
                                        .log = log};
    return nb_quant_plan_create(p, m, &s, NULL, &err);
}

/* Sum of squared errors of the even or the odd columns of a tensor of the output. */
static double error_of(const struct nb_model *m, const char *name, size_t odd)
{
    struct nb_model *q = case_open(nbtest_tmp("x.gguf"));
    double sum = 0.0;
    for (size_t i = 0; i < m->w.n; i++) {
        if (strcmp(m->w.items[i].spec.name, name) != 0)
            continue;
        const uint64_t rows = nb_shape_rows(&m->w.items[i].t.shape);
        const size_t cols = (size_t)nb_shape_cols(&m->w.items[i].t.shape);
        float *x = malloc(2 * cols * sizeof *x);
        assert_non_null(x);
        for (uint64_t row = 0; row < rows; row++) {
            nb_model_read_rows(m, i, row, 1, x);
            nb_model_read_rows(q, i, row, 1, x + cols);
            for (size_t j = odd; j < cols; j += 2)
                sum += pow((double)x[j] - (double)x[cols + j], 2.0);
        }
        free(x);
    }
    nb_model_close(q);
    return sum;
}

static void test_weighed(void **state)
{
    (void)state;
    struct nb_model *m = case_open(nbtest_model("tiny-7m")), *q;
    struct nb_calib *c = make(m, "blk.0.");
    struct nb_quant_report report = {.snr_db = NULL};
    struct nb_quant_plan *p;
    struct nb_recipe r;
    struct nb_text text;
    double error[2][2];
    uint32_t v;
    nb_recipe_init(&r, NULL);
    for (int with = 0; with < 2; with++) {
        assert_ok(plan(&p, m, &r, with ? c : NULL, NULL), &err);
        assert_ok(nb_quant_run(p, &report, &err), &err);
        for (size_t odd = 0; odd < 2; odd++)
            error[with][odd] = error_of(m, "blk.0.ffn_up.weight", odd);
        assert_int_equal(p->n_weighted, with ? 7 : 0);
        assert_int_equal(p->n_weighted + p->n_unweighted, 6 * 7 + 1);
        assert_true((case_tensor(p, "blk.0.ffn_up.weight")->importance != NULL) == (with == 1));
        assert_null(case_tensor(p, "blk.1.ffn_up.weight")->importance);
        assert_null(case_tensor(p, "blk.0.attn_norm.weight")->importance);
        nb_quant_plan_destroy(p);
    }
    assert_true(error[1][0] < 0.9 * error[0][0]); /* the columns that matter gain */
    assert_true(error[1][1] > error[0][1]);
    q = case_open(nbtest_tmp("x.gguf"));
    assert_true(nb_meta_text(&q->meta, "quantize.imatrix.file", &text));
    assert_memory_equal(text.s, "stats.gguf", text.n);
    assert_true(nb_meta_text(&q->meta, "quantize.imatrix.dataset", &text));
    assert_memory_equal(text.s, "prose.txt", text.n);
    assert_true(nb_meta_u32(&q->meta, "quantize.imatrix.entries_count", &v) && v == 7);
    assert_true(nb_meta_u32(&q->meta, "quantize.imatrix.chunks_count", &v) && v == 3);
    nb_model_close(q);
    nb_recipe_fini(&r);
    nb_calib_destroy(c);
    nb_model_close(m);
}

/* Experts in one tensor are each rounded by what they saw, wherever chunks of rows are cut. */
static void test_experts(void **state)
{
    (void)state;
    static const char name[] = "blk.0.ffn_up_exps.weight";
    enum { E = 8, COLS = 32, ROWS = 32 };
    struct nb_model *m = case_open(nbtest_root("tests/golden/archs/qwen3-moe")), *q;
    struct nb_quant_report report = {.snr_db = NULL};
    struct nb_quant_plan *p;
    struct nb_calib *c;
    struct nb_moment *e;
    struct nb_recipe r;
    size_t i = 0;
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    assert_ok(nb_calib_add(c, name, E, COLS, &e, &err), &err);
    for (size_t k = 0; k < E * COLS; k++)
        e->sum[k] = k % 7 == k / COLS % 7 ? 4000.0 : 10.0;
    for (size_t k = 0; k < E; k++)
        e->count[k] = k == 3 ? 0.0 : 100.0; /* one has seen nothing */
    nb_recipe_init(&r, NULL);
    r.type = "q4_0";
    assert_ok(plan(&p, m, &r, c, NULL), &err);
    assert_non_null(case_tensor(p, name)->importance);
    assert_ok(nb_quant_run(p, &report, &err), &err);
    nb_quant_plan_destroy(p);
    q = case_open(nbtest_tmp("x.gguf"));
    while (strcmp(m->w.items[i].spec.name, name) != 0)
        i++;
    for (size_t row = 0; row < E * ROWS; row++) {
        float x[COLS], w[COLS];
        uint8_t want[COLS];
        nb_model_read_rows(m, i, row, 1, x);
        nb_moment_means(e, row / ROWS * COLS, COLS, w);
        const struct nb_numfmt *f = q->w.items[i].t.type;
        assert_string_equal(f->name, "q4_0");
        assert_ok(nb_numfmt_encode(f, want, x, w, COLS, &err), &err);
        assert_memory_equal(nb_model_row(q, i, row), want, f->block_bytes);
    }
    nb_model_close(q);
    nb_recipe_fini(&r);
    nb_calib_destroy(c);
    nb_model_close(m);
}

static void on_log(void *ctx, enum nb_log_level level, const char *message)
{
    char *last = ctx;
    (void)snprintf(last, 400, "%d %s", (int)level, message);
}

static void test_said(void **state)
{
    (void)state;
    struct nb_model *m = case_open(nbtest_model("tiny-7m"));
    struct nb_calib *c = make(m, "ffn");
    struct nb_quant_plan *p;
    struct nb_recipe r;
    char last[400] = "";
    const struct nb_log log = {.ctx = last, .level = NB_LOG_INFO, .fn = on_log};
    nb_recipe_init(&r, NULL);
    assert_ok(plan(&p, m, &r, c, &log), &err);
    assert_string_equal(last, "2 25 tensors have no entry in the imatrix, 18 have");
    nb_quant_plan_destroy(p);
    last[0] = '\0';
    assert_ok(plan(&p, m, &r, NULL, &log), &err);
    assert_string_equal(last, "");
    nb_quant_plan_destroy(p);
    r.type = "tq2_0";
    assert_ok(plan(&p, m, &r, NULL, &log), &err);
    assert_non_null(strstr(last, "1 42 tensors get less than 3 bits a weight without importance"));
    assert_non_null(strstr(last, "nibble calibrate"));
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
    nb_calib_destroy(c);
    nb_model_close(m);
}

static void test_refused(void **state)
{
    (void)state;
    struct nb_model *m = case_open(nbtest_model("tiny-7m"));
    struct nb_calib *c = make(m, "ffn"), *foreign;
    struct nb_moment *e;
    struct nb_quant_plan *p;
    struct nb_recipe r;
    char hex[NB_HASH_HEX_BYTES];
    nb_recipe_init(&r, NULL);
    assert_ok(nb_calib_create(&foreign, NULL, &err), &err);
    assert_ok(nb_calib_add(foreign, "encoder.weight", 1, 7, &e, &err), &err);
    assert_fails(plan(&p, m, &r, foreign, NULL), NB_ERR_ARG, &err, "its first is 'encoder.weight'");
    assert_ok(nb_calib_add(foreign, "blk.1.attn_q.weight", 1, 7, &e, &err), &err);
    assert_fails(plan(&p, m, &r, foreign, NULL), NB_ERR_FORMAT, &err,
                 "tensor 'blk.1.attn_q.weight' is [256, 256], its importance has 1 x 7 columns");
    r.imatrix = "00000000000000000000000000000001";
    assert_fails(plan(&p, m, &r, c, NULL), NB_ERR_ARG, &err, "importance of hash 0000");
    assert_fails(plan(&p, m, &r, NULL, NULL), NB_ERR_ARG, &err, "given is none");
    r.imatrix = nb_hash_hex(c->hash, hex);
    assert_ok(plan(&p, m, &r, c, NULL), &err);
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
    nb_calib_destroy(foreign);
    nb_calib_destroy(c);
    nb_model_close(m);
}

NB_TEST_MAIN(cmocka_unit_test(test_weighed), cmocka_unit_test(test_experts),
             cmocka_unit_test(test_said), cmocka_unit_test(test_refused))
