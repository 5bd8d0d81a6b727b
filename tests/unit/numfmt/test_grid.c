/* numfmt/grid*: general grids: parts and sizes, encoding and reading back, training, errors of standard
 * sources against the table of known figures. */
#include "support/nbtest.h"

#include <math.h>

#include "numfmt/grid.h"

/* A tensor on a grid, encoded from x. Owns: records, side. */
struct coded {
    struct nb_shape shape;
    uint8_t *records, *side;
    struct nb_parts parts;
    struct nb_tensor t;
};

static void encode(struct coded *c, const struct nb_numfmt *f, const float *x,
                   const float *importance, uint64_t rows, uint64_t cols,
                   const struct nb_scale_options *how)
{
    const struct nb_allocator *a = nb_allocator_default();
    struct nb_error err;
    *c = (struct coded){.shape = nb_shape_2(rows, cols)};
    c->records = nb_alloc_zero(a, rows, nb_grid_row_bytes(f, cols));
    c->side = nb_alloc_zero(a, nb_grid_side_bytes(f, &c->shape) + 1, 1);
    assert_non_null(c->records);
    assert_non_null(c->side);
    if (nb_grid_needs_training(f)) {
        struct nb_grid_training *t;
        assert_ok(nb_grid_training_create(&t, f, &c->shape, how, a, &err), &err);
        assert_ok(nb_grid_train(t, x, importance, rows, &err), &err);
        assert_ok(nb_grid_training_finish(t, c->side, NULL, &err), &err);
        nb_grid_training_destroy(t);
    }
    const struct nb_grid_encode e = {.type = f,
                                     .shape = &c->shape,
                                     .how = how,
                                     .side = c->side,
                                     .importance = importance,
                                     .a = a};
    assert_ok(nb_grid_encode_rows(&e, c->records, x, 0, rows, &err), &err);
    c->parts = nb_grid_records(f, &c->shape, c->records, 0, c->side);
    c->t = (struct nb_tensor){.name = "x", .type = f, .shape = c->shape, .parts = &c->parts};
    assert_ok(nb_grid_check(&c->t, &err), &err);
}

static void drop(struct coded *c)
{
    nb_free(nb_allocator_default(), c->records);
    nb_free(nb_allocator_default(), c->side);
}

static float *gaussians(size_t n)
{
    struct nb_rng rng = {.seed = 7};
    float *x = nb_alloc(nb_allocator_default(), n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i += 2) { /* Box and Muller; the test may use libm */
        const double r = sqrt(-2.0 * log(1.0 - nb_rng_unit(&rng)));
        const double a = 6.283185307179586 * nb_rng_unit(&rng);
        x[i] = (float)(r * cos(a));
        x[i + 1] = (float)(r * sin(a));
    }
    return x;
}

static double mse(const struct nb_numfmt *f, const float *x, uint64_t rows, uint64_t cols,
                  const struct nb_scale_options *how)
{
    struct coded c = {.records = NULL};
    struct nb_error err;
    float *y = nb_alloc(nb_allocator_default(), rows * cols, sizeof *y);
    double sum = 0.0;
    if (f->kind == NB_NUMFMT_GRID) {
        encode(&c, f, x, NULL, rows, cols, how);
        nb_tensor_decode(&c.t, 0, rows, y);
    } else {
        c.records = nb_alloc(nb_allocator_default(), rows * cols / f->block, f->block_bytes);
        assert_ok(nb_numfmt_encode(f, c.records, x, NULL, rows * cols, &err), &err);
        nb_numfmt_decode(f, c.records, y, rows * cols);
    }
    for (size_t i = 0; i < rows * cols; i++)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    nb_free(nb_allocator_default(), y);
    drop(&c);
    return sum / (double)(rows * cols);
}

static void test_gaussian(void **state)
{
    /* Errors on 2^20 unit Gaussians: figures of the literature and of earlier measurements; ours must lie
     * within 1 % or below. */
    static const struct {
        const char *type;
        enum nb_scale_method how;
        double mse;
    } table[] = {
        {"int4_g128", NB_SCALE_MSE, 0.00934},     {"int4_g128", NB_SCALE_EXACT, 0.00934},
        {"int4_g128_fz", NB_SCALE_MSE, 0.00865},  {"int3_g128", NB_SCALE_MSE, 0.0345},
        {"nf4_g64", NB_SCALE_ABSMAX, 0.00845},    {"nf4_g64", NB_SCALE_MSE, 0.00724},
        {"mxfp4_e2m1", NB_SCALE_ABSMAX, 0.01321}, {"mxfp4_e2m1", NB_SCALE_MSE, 0.01243},
        {"nvfp4_e2m1", NB_SCALE_MSE, 0.00659},    {"int2_t_fz", NB_SCALE_MSE, 0.118846},
        {"int3_t_fz", NB_SCALE_MSE, 0.037440},    {"int4_t_fz", NB_SCALE_MSE, 0.011543},
        {"cb2_t", NB_SCALE_MSE, 0.117482},        {"cb3_t", NB_SCALE_MSE, 0.034548},
        {"cb4_t", NB_SCALE_MSE, 0.009501},        {"binary_t", NB_SCALE_MSE, 0.363380},
        {"q8_0", NB_SCALE_MSE, 0.000024},         {"q6_k", NB_SCALE_MSE, 0.000276},
        {"q4_k", NB_SCALE_MSE, 0.00520},          {"q3_k", NB_SCALE_MSE, 0.02044},
        {"q2_k", NB_SCALE_MSE, 0.0694},           {"q4_0", NB_SCALE_MSE, 0.00654},
        {"iq4_nl", NB_SCALE_MSE, 0.00538},        {"mxfp4", NB_SCALE_MSE, 0.01243},
        {"nvfp4", NB_SCALE_MSE, 0.00659},
    };
    (void)state;
    if (getenv("NB_SLOW") != NULL)
        skip(); /* minutes, and the same bytes as on any machine */
    const size_t n = 1U << 20;
    float *x = gaussians(n);
    for (size_t i = 0; i < NB_COUNTOF(table); i++) {
        const struct nb_numfmt *f = nb_numfmt_find(table[i].type);
        assert_non_null(f);
        const struct nb_scale_options how = {.method = table[i].how};
        const double e = mse(f, x, 1024, n / 1024, &how);
        if (getenv("NB_PRINT") != NULL)
            print_message("%-14s %-10s %.6f, table %.6f (%+.2f %%)\n", table[i].type,
                          nb_scale_method_name(table[i].how), e, table[i].mse,
                          100.0 * (e / table[i].mse - 1.0));
        assert_true(e <= table[i].mse * 1.01);
    }
    nb_free(nb_allocator_default(), x);
}

/* ---- every grid ---- */

enum { ROWS = 130 };

/* Enough for a second tile. */
static uint64_t rows_for(const struct nb_numfmt *f)
{
    return f->grid->share == NB_SHARE_BLOCK ? ROWS : f->grid->elem->learned ? 20 : 2;
}

static uint64_t cols_for(const struct nb_numfmt *f)
{
    return 512 % f->grid->elem->dim == 0 ? 512 : 840;
}

static double noise(const float *x, const float *y, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sum;
}

static void values_of(const struct nb_numfmt *f, const float *x, float *y, uint64_t rows,
                      uint64_t cols)
{
    struct coded c;
    encode(&c, f, x, NULL, rows, cols, NULL);
    nb_tensor_decode(&c.t, 0, rows, y);
    for (size_t i = 0; i < rows * cols; i++)
        assert_true(y[i] - y[i] == 0.0F);
    drop(&c);
}

static void check_sizes(const struct nb_numfmt *f, uint64_t rows, uint64_t cols)
{
    struct nb_error err;
    const struct nb_shape shape = nb_shape_2(rows, cols);
    uint64_t per_row = 0, side = 0, bytes = 0;
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part p = nb_grid_part(f, &shape, (enum nb_part)i);
        uint64_t stored = 0;
        if (p.type == NULL)
            continue;
        assert_ok(nb_numfmt_bytes(p.type, &p.shape, &stored, &err), &err);
        assert_int_equal(stored, p.bytes);
        assert_int_equal(p.per_row ? p.row_bytes * rows : 0, p.per_row ? p.bytes : 0);
        per_row += p.per_row ? p.bytes : 0;
        side += p.per_row ? 0 : p.bytes;
    }
    assert_ok(nb_numfmt_bytes(f, &shape, &bytes, &err), &err);
    assert_int_equal(bytes, per_row);
    assert_int_equal(side, nb_grid_side_bytes(f, &shape));
}

/* Whole-number rows are the decoded rows. */
static void check_expand(const struct coded *c)
{
    static int8_t codes[840];
    static float scale[840], min[840], row[840];
    const struct nb_numfmt *f = c->t.type;
    const size_t cols = (size_t)nb_shape_cols(&c->shape);
    if (!nb_numfmt_expands(f))
        return;
    nb_tensor_expand(&c->t, 1, codes, scale, min);
    nb_tensor_decode(&c->t, 1, 1, row);
    for (size_t i = 0; i < cols; i++) {
        const size_t s = i / f->expand_sub;
        const float v = scale[s] * (float)codes[i] + (f->has_min ? min[s] : 0.0F);
        assert_close((double)v, (double)row[i], 1e-5 * fabs((double)scale[s]) * 512.0);
    }
}

/* Row by row and all at once: the same records. */
static void check_rows(const struct nb_numfmt *f, const struct coded *c, const float *x)
{
    const size_t cols = (size_t)nb_shape_cols(&c->shape);
    const size_t record = (size_t)nb_grid_row_bytes(f, cols);
    struct nb_error err;
    uint8_t *one = nb_alloc_zero(nb_allocator_default(), record, 1);
    const struct nb_grid_encode e = {
        .type = f, .shape = &c->shape, .side = c->side, .a = nb_allocator_default()};
    for (uint64_t r = 0; r < rows_for(f); r += 43) {
        assert_ok(nb_grid_encode_rows(&e, one, x + r * cols, r, 1, &err), &err);
        assert_memory_equal(one, c->records + r * record, record);
    }
    nb_free(nb_allocator_default(), one);
}

static void check_grid(const struct nb_numfmt *f, const float *x, float *y, float *z)
{
    const uint64_t cols = cols_for(f), rows = rows_for(f);
    const size_t n = (size_t)(rows * cols);
    struct coded c;
    check_sizes(f, rows, cols);
    encode(&c, f, x, NULL, rows, cols, NULL);
    check_expand(&c);
    check_rows(f, &c, x);
    nb_tensor_decode(&c.t, 0, rows, y);
    drop(&c);
    const double first = noise(x, y, n);
    values_of(f, y, z, rows, cols);
    const double again = noise(y, z, n);
    if (getenv("NB_PRINT") != NULL && again > 0.005 * first)
        print_message("%s: %.4f of the error again\n", f->name, again / first);
    /* Two parameters are found on a lattice, and stored in half precision or on 8 bits. Codebooks of vectors
     * are trained anew, to a local optimum; rows of their own scale are other rows then: no bound. */
    const bool two = f->has_min || f->grid->scale == NB_SCALE_U8;
    const double share = f->grid->elem->dim > 1 ? 0.35 : two ? 0.05 : 0.02;
    const bool other = f->grid->elem->dim > 1 && f->grid->scale != NB_SCALE_NONE;
    if (!other && again > share * first)
        fail_msg("%s: %.3f of the error again", f->name, again / first);
    for (size_t i = 0; i < n; i++) /* a power of two more changes nothing but the scale ... */
        z[i] = 8.0F * x[i];
    values_of(f, z, z, rows, cols);
    const bool halves = f->grid->elem->learned; /* ... but for levels in f16 close to zero */
    for (size_t i = 0; i < n; i++)
        if (fabsf(z[i] - 8.0F * y[i]) > (halves ? 0x1p-21F : 0.0F))
            fail_msg("%s: %zu: %g, 8 times %g expected", f->name, i, (double)z[i], (double)y[i]);
}

static void test_every_grid(void **state)
{
    (void)state;
    size_t n;
    const struct nb_numfmt *const *all = nb_grid_all(&n);
    float *x = gaussians(ROWS * 840);
    float *y = gaussians(ROWS * 840);
    float *z = gaussians(ROWS * 840);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(nb_numfmt_find(all[i]->name), all[i]);
        if (getenv("NB_SLOW") == NULL || i % 4 == 0) /* minutes; a fourth has every kind */
            check_grid(all[i], x, y, z);
    }
    nb_free(nb_allocator_default(), x);
    nb_free(nb_allocator_default(), y);
    nb_free(nb_allocator_default(), z);
}

/* Zeros, one large value among zeros, the smallest floats, values all alike. */
static void test_odd_values(void **state)
{
    static float x[840], y[840];
    (void)state;
    size_t n;
    const struct nb_numfmt *const *all = nb_grid_all(&n);
    for (size_t k = 0; k < n; k++) {
        const struct nb_element *e = all[k]->grid->elem;
        if (e->bits > 8) /* long, and nothing that the smaller books would not show */
            continue;
        const uint64_t cols = cols_for(all[k]);
        memset(x, 0, sizeof x);
        values_of(all[k], x, y, 1, cols);
        for (size_t i = 0; i < cols; i++)
            assert_true(y[i] == 0.0F);
        x[5] = -3.0F;
        values_of(all[k], x, y, 1, cols);
        const bool has_zero = strcmp(e->name, "binary") != 0 && !nb_str_starts(e->name, "log2");
        if (has_zero)
            assert_close((double)y[5], -3.0, 0.2);
        for (size_t i = 0; i < cols; i++)
            x[i] = i % 2 == 0 ? 1e-40F : -1e-45F;
        values_of(all[k], x, y, 1, cols);
        for (size_t i = 0; i < cols; i++)
            x[i] = 0.37F;
        values_of(all[k], x, y, 1, cols);
        if (getenv("NB_PRINT") != NULL && fabs((double)y[0] - 0.37) > 0.37 * 0.08)
            print_message("%s: 0.37 becomes %g\n", all[k]->name, (double)y[0]);
        for (size_t i = 0; i < cols; i++)
            assert_close((double)y[i], 0.37, 0.37 * 0.08);
    }
}

static void test_refused(void **state)
{
    static float x[512];
    static uint8_t record[1024];
    (void)state;
    struct nb_error err;
    const struct nb_shape shape = nb_shape_2(1, 512);
    const struct nb_grid_encode e = {
        .type = nb_numfmt_find("int4_g64"), .shape = &shape, .a = nb_allocator_default()};
    x[300] = NAN;
    assert_fails(nb_grid_encode_rows(&e, record, x, 0, 1, &err), NB_ERR_NUMERIC, &err, "300");
    x[300] = -INFINITY;
    assert_fails(nb_grid_encode_rows(&e, record, x, 0, 1, &err), NB_ERR_NUMERIC, &err, "infinite");
    uint64_t bytes;
    assert_fails(nb_numfmt_row_bytes(e.type, 500, &bytes, &err), NB_ERR_FORMAT, &err, "500");
    assert_fails(nb_numfmt_row_bytes(nb_numfmt_find("vq3_k16_t"), 500, &bytes, &err), NB_ERR_FORMAT,
                 &err, "500");
}

NB_TEST_MAIN(cmocka_unit_test(test_gaussian), cmocka_unit_test(test_every_grid),
             cmocka_unit_test(test_odd_values), cmocka_unit_test(test_refused))
