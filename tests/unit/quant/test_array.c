/* Arrays: the blocks are those of the format, figures are what they say, any number of threads, files. */
#include "container/container.h"
#include "quant/quant.h"
#include "support/nbtest.h"

#include <math.h>

static float *normals(uint64_t seed, size_t n)
{
    struct nb_rng rng = {.seed = seed};
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)nb_rng_normal(&rng);
    return x;
}

/* Every format that encodes, three dimensions, with and without importance: the bytes of encoding row
 * by row, and the error of decoding them. */
static void test_every_format(void **state)
{
    (void)state;
    size_t n_formats;
    const struct nb_numfmt *const *formats = nb_numfmt_all(&n_formats);
    const struct nb_shape shape = {.n = 3, .dim = {2, 9, 768}};
    const size_t cols = 768, rows = 18, n = rows * cols;
    float *x = normals(1, n), *w = normals(2, cols), *y = malloc(n * sizeof *y);
    for (size_t i = 0; i < cols; i++)
        w[i] = w[i] * w[i] + 0.01F;
    for (size_t i = 0; i < n_formats; i++) {
        for (int weighted = 0; weighted < 2 && formats[i]->encode != NULL; weighted++) {
            struct nb_array_job job = {.type = formats[i]->name,
                                       .x = x,
                                       .shape = shape,
                                       .importance = w,
                                       .n_importance = weighted ? cols : 0};
            struct nb_qarray *q;
            struct nb_array_error e;
            struct nb_error err;
            uint64_t bytes, row;
            assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
            assert_ok(nb_qarray_bytes(job.type, &shape, &bytes, &err), &err);
            assert_int_equal(q->bytes, bytes);
            assert_ok(nb_numfmt_row_bytes(formats[i], cols, &row, &err), &err);
            uint8_t *by_row = malloc(row);
            for (size_t r = 0; r < rows; r++) {
                assert_ok(nb_numfmt_encode(formats[i], by_row, x + r * cols, weighted ? w : NULL,
                                           cols, &err),
                          &err);
                assert_memory_equal(q->data + r * row, by_row, row);
            }
            free(by_row);
            double signal = 0.0, noise = 0.0, widest = 0.0;
            nb_qarray_decode(q, y, NULL);
            for (size_t k = 0; k < n; k++) {
                const double d = (double)x[k] - (double)y[k];
                signal += (double)x[k] * (double)x[k];
                noise += d * d;
                widest = fmax(widest, fabs(d));
            }
            assert_close(e.mse, noise / (double)n, 1e-12 * noise);
            assert_true(e.max_error == widest);
            if (noise > 0.0)
                assert_close(e.sqnr_db, 10.0 * log10(signal / noise), 1e-9);
            else
                assert_true(isinf(e.sqnr_db));
            nb_qarray_destroy(q);
        }
    }
    free(x);
    free(w);
    free(y);
}

/* Columns repeat over the rows: the same weights given for each number give the same bytes. */
static void test_importance_per_column_or_number(void **state)
{
    (void)state;
    const size_t cols = 256 * 3, n = cols * 40;
    float *x = normals(3, n), *w = malloc(n * sizeof *w);
    struct nb_qarray *q[2];
    struct nb_array_error e;
    struct nb_error err;
    struct nb_pool *pool;
    for (size_t i = 0; i < n; i++)
        w[i] = (float)(i % cols % 17) + 0.5F;
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    for (int k = 0; k < 2; k++) {
        const struct nb_array_job job = {.type = "q4_k",
                                         .x = x,
                                         .shape = nb_shape_2(40, cols),
                                         .importance = w,
                                         .n_importance = k == 0 ? cols : n,
                                         .pool = k == 0 ? NULL : pool};
        assert_ok(nb_qarray_create(&q[k], &job, &e, &err), &err);
    }
    assert_int_equal(q[0]->bytes, q[1]->bytes);
    assert_memory_equal(q[0]->data, q[1]->data, q[0]->bytes);
    nb_qarray_destroy(q[0]);
    nb_qarray_destroy(q[1]);
    nb_pool_destroy(pool);
    free(x);
    free(w);
}

static void test_shapes_at_the_edge(void **state)
{
    (void)state;
    float x[32] = {1.0F};
    struct nb_qarray *q;
    struct nb_array_error e;
    struct nb_error err = {0};
    struct nb_array_job job = {.type = "q8_0", .x = x, .shape = nb_shape_1(32)};
    assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
    assert_int_equal(q->bytes, 34);
    nb_qarray_destroy(q);
    job.shape = nb_shape_2(0, 32); /* empty */
    assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
    assert_true(q->bytes == 0 && e.mse == 0.0 && isinf(e.sqnr_db));
    nb_qarray_destroy(q);
    job.shape = (struct nb_shape){.n = 0}; /* one number */
    job.type = "f16";
    assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
    assert_int_equal(q->bytes, 2);
    nb_qarray_destroy(q);
    job.type = "q8_0";
    assert_fails(nb_qarray_create(&q, &job, &e, &err), NB_ERR_FORMAT, &err, "the 32 in a q8_0");
    job.shape = nb_shape_2(UINT64_C(1) << 60, 32);
    assert_fails(nb_qarray_create(&q, &job, &e, &err), NB_ERR_FORMAT, &err, "more than 2^64");
}

static void check_file(const char *path, const struct nb_qarray *q, const struct nb_numfmt *type,
                       const void *data, size_t n)
{
    struct nb_file *f;
    struct nb_error err;
    assert_ok(nb_array_open(&f, path, NULL, &err), &err);
    assert_string_equal(f->tensors[0].name, "array");
    assert_ptr_equal(f->tensors[0].type, type);
    assert_true(nb_shape_eq(&f->tensors[0].shape, &q->shape));
    assert_int_equal(f->tensors[0].bytes, n);
    assert_memory_equal(f->tensors[0].data, data, n);
    nb_file_close(f);
}

static void test_files(void **state)
{
    (void)state;
    const size_t n = 700 * 512; /* more than one piece of an .npy */
    float *x = normals(4, n), *y = malloc(n * sizeof *y), *z;
    struct nb_qarray *q;
    struct nb_array_error e;
    struct nb_error err = {0};
    struct nb_file *f;
    struct nb_array_job job = {.type = "q4_0", .x = x, .shape = nb_shape_2(700, 512)};
    assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
    nb_qarray_decode(q, y, NULL);
    assert_ok(nb_qarray_save(q, nbtest_tmp("a.npy"), false, &err), &err);
    check_file(nbtest_tmp("a.npy"), q, &nb_numfmt_f32, y, n * sizeof *y);
    assert_ok(nb_qarray_save(q, nbtest_tmp("a.gguf"), false, &err), &err);
    check_file(nbtest_tmp("a.gguf"), q, &nb_numfmt_q4_0, q->data, q->bytes);
    assert_fails(nb_qarray_save(q, nbtest_tmp("a.npy"), false, &err), NB_ERR_EXISTS, &err, "a.npy");
    assert_ok(nb_qarray_save(q, nbtest_tmp("a.npy"), true, &err), &err);
    assert_fails(nb_qarray_save(q, nbtest_tmp("a.bin"), false, &err), NB_ERR_ARG, &err,
                 "ending in .npy");
    nb_qarray_destroy(q);
    /* Loading decodes whatever type the file has. */
    assert_ok(nb_array_open(&f, nbtest_tmp("a.gguf"), NULL, &err), &err);
    assert_ok(nb_array_load(f, &z, NULL, &err), &err);
    assert_memory_equal(z, y, n * sizeof *y);
    nb_free(NULL, z);
    nb_file_close(f);
    assert_fails(nb_array_open(&f, nbtest_model("tiny-7m/model.safetensors"), NULL, &err),
                 NB_ERR_UNSUPPORTED, &err, "a file of one array");
    free(x);
    free(y);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    struct nb_qarray *q;
    struct nb_array_error e;
    struct nb_error err;
    const struct nb_array_job job = {.type = "q4_k", .x = ctx, .shape = nb_shape_1(512), .a = a};
    NB_TRY(nb_qarray_create(&q, &job, &e, &err));
    const enum nb_status st = nb_qarray_save(q, nbtest_tmp("oom.npy"), true, &err);
    nb_qarray_destroy(q);
    return st;
}

static void test_memory_may_fail(void **state)
{
    (void)state;
    float *x = normals(5, 512);
    assert_true(nbtest_oom(oom_body, x) > 8);
    free(x);
}

NB_TEST_MAIN(cmocka_unit_test(test_every_format),
             cmocka_unit_test(test_importance_per_column_or_number),
             cmocka_unit_test(test_shapes_at_the_edge), cmocka_unit_test(test_files),
             cmocka_unit_test(test_memory_may_fail))
