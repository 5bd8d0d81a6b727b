/* Sums and comparisons of two arrays, and the choice between two, however their dimensions broadcast. */
#include "plain_node.h"

enum { ROWS = 3, COLS = 19, MOST = ROWS * COLS };

/* Dimensions of an array beside others of (ROWS, COLS). */
static const uint64_t dims_of[][2] = {{ROWS, COLS}, {ROWS, 1}, {1, COLS}, {1, 1}};

static size_t at(size_t kind, size_t i)
{
    const size_t row = dims_of[kind][0] == 1 ? 0 : i / COLS;
    const size_t col = dims_of[kind][1] == 1 ? 0 : i % COLS;
    return row * (size_t)dims_of[kind][1] + col;
}

static struct plain_in in(enum nb_value_type type, size_t kind, const void *data)
{
    struct plain_in p = {.type = type, .rank = 2, .data = data};
    memcpy(p.dims, dims_of[kind], sizeof dims_of[kind]);
    return p;
}

/* Elements of y for these kinds. */
static size_t count(const struct plain_out *out)
{
    return (size_t)nb_value_count(&out->value[0]);
}

/* Element i of y, of these kinds, as an element of (ROWS, COLS). */
static size_t wide(const struct plain_out *out, size_t i)
{
    const size_t cols = (size_t)out->value[0].dim[1].n;
    return i / cols * COLS + i % cols;
}

static void test_binary(void **state)
{
    (void)state;
    int64_t a[MOST], b[MOST];
    float x[MOST], z[MOST];
    for (size_t i = 0; i < MOST; i++) {
        a[i] = (int64_t)(i * 7 % 5) - ((int64_t)1 << 40);
        b[i] = (int64_t)(i * 3 % 5) - ((int64_t)1 << 40);
        x[i] = (float)(i * 7 % 5) * 0.5F;
        z[i] = (float)(i * 3 % 5) * 0.25F;
    }
    for (size_t k = 0; k < NB_COUNTOF(dims_of) * NB_COUNTOF(dims_of); k++) {
        const size_t ka = k % NB_COUNTOF(dims_of), kb = k / NB_COUNTOF(dims_of);
        const struct nb_attr eq = NB_ATTR_INT("op", NB_BINARY_EQ),
                             sub = NB_ATTR_INT("op", NB_BINARY_SUB);
        struct plain p = {.op = &nb_op_binary,
                          .in = {in(NB_VALUE_I64, ka, a), in(NB_VALUE_I64, kb, b)},
                          .attrs = &eq,
                          .n_attrs = 1};
        struct plain_out out;
        plain_run_both(&p, &out);
        const uint8_t *same = out.data[0];
        for (size_t i = 0; i < count(&out); i++)
            assert_int_equal(same[i], a[at(ka, wide(&out, i))] == b[at(kb, wide(&out, i))]);
        plain_free(&out, &p);
        p.in[0] = in(NB_VALUE_F32, ka, x);
        p.in[1] = in(NB_VALUE_F32, kb, z);
        p.attrs = &sub;
        plain_run_both(&p, &out);
        const float *y = out.data[0];
        for (size_t i = 0; i < count(&out); i++)
            assert_bits(y[i], x[at(ka, wide(&out, i))] - z[at(kb, wide(&out, i))]);
        plain_free(&out, &p);
    }
}

static void test_where(void **state)
{
    (void)state;
    uint8_t c[MOST], x[MOST], y[MOST];
    float xf[MOST], yf[MOST];
    const size_t n = NB_COUNTOF(dims_of);
    for (size_t i = 0; i < MOST; i++) {
        c[i] = i * 5 % 3 == 1;
        x[i] = (uint8_t)i;
        y[i] = (uint8_t)(200 - i);
        xf[i] = (float)i;
        yf[i] = -(float)i - 1.0F;
    }
    for (size_t k = 0; k < n * n * n; k++) {
        const size_t kc = k % n, kx = k / n % n, ky = k / n / n;
        struct plain p = {
            .op = &nb_op_where,
            .in = {in(NB_VALUE_BOOL, kc, c), in(NB_VALUE_F32, kx, xf), in(NB_VALUE_F32, ky, yf)}};
        struct plain_out out;
        plain_run_both(&p, &out);
        const float *to = out.data[0];
        for (size_t i = 0; i < count(&out); i++) {
            const size_t j = wide(&out, i);
            assert_bits(to[i], c[at(kc, j)] ? xf[at(kx, j)] : yf[at(ky, j)]);
        }
        plain_free(&out, &p);
        p.in[1] = in(NB_VALUE_U8, kx, x);
        p.in[2] = in(NB_VALUE_U8, ky, y);
        plain_run_both(&p, &out);
        const uint8_t *bytes = out.data[0];
        for (size_t i = 0; i < count(&out); i++) {
            const size_t j = wide(&out, i);
            assert_int_equal(bytes[i], c[at(kc, j)] ? x[at(kx, j)] : y[at(ky, j)]);
        }
        plain_free(&out, &p);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_binary), cmocka_unit_test(test_where))
