/* Arrays: the blocks are those of the format, figures are what they say, any number of threads, files. */
#include "container/container.h"
#include "numfmt/grid.h"
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

/* Every format of blocks, three dimensions, with and without importance: the bytes of encoding row
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

/* Grids: what training and encoding by hand give, gathered into parts. */
static void test_grids(void **state)
{
    (void)state;
    static const char *const names[] = {"int4_g64",   "int4_g64_asym", "int8_c",   "int4_t",
                                        "nf4_g64_dq", "nvfp4_e2m1",    "cb4_t",    "cb4_c",
                                        "vq4_k256_t", "vq4_k256_c",    "int4_b128"};
    const struct nb_shape shape = {.n = 3, .dim = {2, 70, 256}};
    const size_t cols = 256, rows = 140, n = rows * cols;
    float *x = normals(6, n), *w = malloc(cols * sizeof *w), *y = malloc(n * sizeof *y),
          *z = malloc(n * sizeof *z);
    for (size_t i = 0; i < cols; i++)
        w[i] = (float)(i % 5) + 0.25F;
    for (size_t i = 0; i < NB_COUNTOF(names); i++) {
        const struct nb_numfmt *f = nb_numfmt_find(names[i]);
        assert_non_null(f);
        struct nb_array_job job = {
            .type = names[i], .x = x, .shape = shape, .importance = w, .n_importance = cols};
        struct nb_qarray *q;
        struct nb_array_error e;
        struct nb_error err;
        assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
        /* By hand. */
        const uint64_t record = nb_grid_row_bytes(f, cols), n_side = nb_grid_side_bytes(f, &shape);
        uint8_t *records = malloc(rows * record), *side = calloc(1, n_side + 1);
        if (nb_grid_needs_training(f)) {
            struct nb_grid_training *t;
            assert_ok(nb_grid_training_create(&t, f, &shape, NULL, NULL, &err), &err);
            assert_ok(nb_grid_train(t, x, w, rows, &err), &err);
            assert_ok(nb_grid_training_finish(t, side, NULL, &err), &err);
            nb_grid_training_destroy(t);
        }
        const struct nb_grid_encode g = {
            .type = f, .shape = &shape, .side = n_side > 0 ? side : NULL, .importance = w};
        assert_ok(nb_grid_encode_rows(&g, records, x, 0, rows, &err), &err);
        assert_int_equal(q->bytes, rows * record + n_side);
        const struct nb_parts parts = nb_grid_records(f, &shape, records, 0, side);
        const struct nb_tensor t = {.type = f, .shape = shape, .parts = &parts};
        nb_tensor_decode(&t, 0, rows, y);
        nb_qarray_decode(q, z, NULL);
        assert_memory_equal(y, z, n * sizeof *y);
        double noise = 0.0;
        for (size_t k = 0; k < n; k++)
            noise += ((double)x[k] - (double)z[k]) * ((double)x[k] - (double)z[k]);
        assert_close(e.mse, noise / (double)n, 1e-12 * noise);
        free(records);
        free(side);
        nb_qarray_destroy(q);
    }
    free(x);
    free(w);
    free(y);
    free(z);
}

/* Columns repeat over the rows: the same weights given for each number give the same bytes, as does
 * any number of threads. */
static void check_importance(const char *type)
{
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
        const struct nb_array_job job = {.type = type,
                                         .x = x,
                                         .shape = nb_shape_2(40, cols),
                                         .importance = w,
                                         .n_importance = k == 0 ? cols : n,
                                         .pool = k == 0 ? NULL : pool};
        assert_ok(nb_qarray_create(&q[k], &job, &e, &err), &err);
    }
    assert_int_equal(q[0]->bytes, q[1]->bytes);
    for (size_t p = 0; p < q[0]->n_parts; p++)
        assert_memory_equal(q[0]->part[p].data, q[1]->part[p].data, q[0]->part[p].bytes);
    nb_qarray_destroy(q[0]);
    nb_qarray_destroy(q[1]);
    nb_pool_destroy(pool);
    free(x);
    free(w);
}

static void test_importance_per_column_or_number(void **state)
{
    (void)state;
    check_importance("q4_k");
    check_importance("int4_g64");
    check_importance("cb4_g128");
    check_importance("vq2_k64_t");
    check_importance("nvfp4_e2m1");
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
    job.type = "cb4_t";
    assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
    assert_true(e.mse == 0.0);
    nb_qarray_decode(q, x, NULL);
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
    check_file(nbtest_tmp("a.gguf"), q, &nb_numfmt_q4_0, q->part[0].data, q->part[0].bytes);
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

struct oom {
    const char *type;
    const float *x;
};

/* There and back: what was saved is read as it was; a file that says other things is refused. */
static void test_saved_arrays_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *type, *file;
    } cases[] = {{"q4_k", "s.gguf"},
                 {"f16", "s.npy"},
                 {"bf16", "s.safetensors"},
                 {"int4_g64_asym", "s.safetensors"},
                 {"cb4_t", "s.safetensors"},
                 {"vq4_k16_c", "s.safetensors"},
                 {"nvfp4_e2m1", "s.safetensors"}};
    const size_t n = 6 * 256;
    float *x = normals(7, n), *y = malloc(n * sizeof *y), *z = malloc(n * sizeof *z);
    struct nb_error err = {0};
    struct nb_qarray *q, *back;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_array_error e;
        const struct nb_array_job job = {
            .type = cases[i].type, .x = x, .shape = {.n = 3, .dim = {2, 3, 256}}};
        assert_ok(nb_qarray_create(&q, &job, &e, &err), &err);
        assert_ok(nb_qarray_save(q, nbtest_tmp(cases[i].file), true, &err), &err);
        assert_ok(nb_qarray_read(&back, nbtest_tmp(cases[i].file), NULL, &err), &err);
        assert_true(nb_shape_eq(&back->shape, &job.shape));
        if (strcmp(cases[i].file, "s.npy") != 0) {
            assert_ptr_equal(back->type, q->type);
            assert_int_equal(back->bytes, q->bytes);
        }
        nb_qarray_decode(q, y, NULL);
        nb_qarray_decode(back, z, NULL);
        assert_memory_equal(y, z, n * sizeof *y);
        nb_qarray_destroy(q);
        nb_qarray_destroy(back);
    }
    /* The last file with one thing changed at a time; same lengths, so that it stays well-formed. */
    static const struct {
        const char *from, *to, *message;
    } broken[] = {{"nvfp4_e2m1\"", "nvfp5_e2m1\"", "no general grid"},
                  {"[2, 3, 256]", "[2, 3, 2x6]", "like \"[2, 256]\""},
                  {"[2, 3, 256]", "[2, 3, 255]", "no multiple of the 16"},
                  {"[2, 3, 256]", "[2, 4, 256]", "expected [8, 128] of u8"},
                  {"[2, 3, 256]", "[2, 3 ,256]", "like \"[2, 256]\""},
                  {"[2, 3, 256]", "[2, 999264]", "bytes, the file has"},
                  {"array.scale2", "array.scaleX", "'array.scale2' is missing"}};
    for (size_t i = 0; i < NB_COUNTOF(broken); i++) {
        size_t size;
        char *data = (char *)nbtest_read(nbtest_tmp("s.safetensors"), &size);
        const size_t m = strlen(broken[i].from);
        size_t at = 0;
        while (at + m < size && memcmp(data + at, broken[i].from, m) != 0)
            at++;
        assert_true(at + m < size);
        memcpy(data + at, broken[i].to, m);
        nbtest_write(nbtest_tmp("broken.safetensors"), data, size);
        free(data);
        const enum nb_status st =
            nb_qarray_read(&back, nbtest_tmp("broken.safetensors"), NULL, &err);
        assert_true(st == NB_ERR_FORMAT || st == NB_ERR_UNSUPPORTED);
        if (strstr(err.message, broken[i].message) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, broken[i].message);
        assert_null(back);
    }
    free(x);
    free(y);
    free(z);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    struct nb_qarray *q;
    struct nb_array_error e;
    struct nb_error err;
    const struct oom *o = ctx;
    const struct nb_array_job job = {.type = o->type, .x = o->x, .shape = nb_shape_1(512), .a = a};
    NB_TRY(nb_qarray_create(&q, &job, &e, &err));
    const char *path = nbtest_tmp(q->n_parts > 1 ? "oom.safetensors" : "oom.npy");
    const enum nb_status st = nb_qarray_save(q, path, true, &err);
    nb_qarray_destroy(q);
    if (st != NB_OK)
        return st;
    NB_TRY(nb_qarray_read(&q, path, a, &err));
    nb_qarray_destroy(q);
    return NB_OK;
}

static void test_memory_may_fail(void **state)
{
    (void)state;
    float *x = normals(5, 512);
    static const char *const types[] = {"q4_k", "int4_g64", "cb4_t", "vq2_k16_t"};
    for (size_t i = 0; i < NB_COUNTOF(types); i++)
        assert_true(nbtest_oom(oom_body, &(struct oom){types[i], x}) > 8);
    free(x);
}

NB_TEST_MAIN(cmocka_unit_test(test_every_format), cmocka_unit_test(test_grids),
             cmocka_unit_test(test_importance_per_column_or_number),
             cmocka_unit_test(test_shapes_at_the_edge), cmocka_unit_test(test_files),
             cmocka_unit_test(test_saved_arrays_come_back), cmocka_unit_test(test_memory_may_fail))
