/* Operators on quantized arrays against their definitions, position by position: the same bytes for any layout of
 * channels, with weights prepared or not, for any number of threads. */
#include "plain_node.h"

static uint8_t *bytes(size_t n, uint64_t seed)
{
    uint8_t *b = malloc(n + 1);
    assert_non_null(b);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        b[i] = (uint8_t)(seed >> 56);
    }
    return b;
}

static uint8_t code(double sum, float scale, int zero, int low, int high)
{
    const float v = (float)sum * scale;
    const float cut = v < (float)(low - zero)    ? (float)(low - zero)
                      : v > (float)(high - zero) ? (float)(high - zero)
                                                 : v;
    return (uint8_t)((int)rintf(cut) + zero);
}

/* ---- convolutions ---- */

struct shape {
    int64_t n, c, m, groups, in[2], kernel[2], stride[2], dilation[2], pads[4];
};

static const struct shape shapes[] = {
    {1, 3, 5, 1, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {2, 4, 17, 1, {6, 5}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}},
    {1, 5, 33, 1, {9, 9}, {1, 1}, {2, 2}, {1, 1}, {0, 0, 0, 0}},
    {2, 16, 70, 1, {8, 8}, {3, 3}, {2, 2}, {1, 1}, {0, 0, 1, 1}},
    {1, 6, 6, 6, {11, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {2, 130, 130, 130, {5, 5}, {5, 3}, {2, 1}, {1, 2}, {2, 2, 2, 2}},
    {1, 8, 12, 2, {6, 6}, {3, 2}, {1, 1}, {1, 1}, {1, 0, 1, 1}},
    {1, 7, 9, 1, {10, 12}, {2, 3}, {1, 2}, {3, 2}, {2, 1, 0, 3}},
    {1, 64, 130, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}},
    {3, 1, 1, 1, {4, 40}, {1, 10}, {1, 1}, {1, 1}, {0, 5, 0, 4}},
};

static int64_t outs(const struct shape *s, int i)
{
    return (s->in[i] + s->pads[i] + s->pads[2 + i] - s->dilation[i] * (s->kernel[i] - 1) - 1) /
               s->stride[i] +
           1;
}

static int64_t weighted_sum(const struct shape *s, const uint8_t *x, const int8_t *w, int64_t n,
                            int64_t m, int64_t oy, int64_t ox, int zero)
{
    const int64_t cg = s->c / s->groups, first = m / (s->m / s->groups) * cg;
    int64_t sum = 0;
    for (int64_t c = 0; c < cg; c++)
        for (int64_t ky = 0; ky < s->kernel[0]; ky++)
            for (int64_t kx = 0; kx < s->kernel[1]; kx++) {
                const int64_t y = oy * s->stride[0] + ky * s->dilation[0] - s->pads[0];
                const int64_t i = ox * s->stride[1] + kx * s->dilation[1] - s->pads[1];
                const bool in = y >= 0 && y < s->in[0] && i >= 0 && i < s->in[1];
                const int v = in ? x[((n * s->c + first + c) * s->in[0] + y) * s->in[1] + i] : zero;
                sum += (v - zero) * w[((m * cg + c) * s->kernel[0] + ky) * s->kernel[1] + kx];
            }
    return sum;
}

/* (n, c, pixels) as (n, pixels, c) */
static uint8_t *channels_last(const uint8_t *x, int64_t n, int64_t c, int64_t pixels)
{
    uint8_t *y = malloc((size_t)(n * c * pixels) + 1);
    assert_non_null(y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < c; j++)
            for (int64_t p = 0; p < pixels; p++)
                y[(i * pixels + p) * c + j] = x[(i * c + j) * pixels + p];
    return y;
}

static void check_conv(const struct shape *s, bool last, uint32_t constants)
{
    const int zero_x = 131, zero_y = 7, low = 3, high = 250;
    const int64_t pixels = s->in[0] * s->in[1], oh = outs(s, 0), ow = outs(s, 1);
    const size_t n_w = (size_t)(s->m * s->c / s->groups * s->kernel[0] * s->kernel[1]);
    uint8_t *x = bytes((size_t)(s->n * s->c * pixels), 1), *w = bytes(n_w, 2);
    uint8_t *x_last = channels_last(x, s->n, s->c, pixels);
    int32_t *bias = malloc((size_t)s->m * sizeof *bias);
    float *scale = malloc((size_t)s->m * sizeof *scale);
    struct plain_out out;
    for (int64_t m = 0; m < s->m; m++) {
        bias[m] = (int32_t)(m * 977 % 4001) - 2000;
        scale[m] = 0.001F * (float)(m % 5 + 1);
    }
    const struct nb_attr attrs[] = {NB_ATTR_LIST("kernel", s->kernel, 2),
                                    NB_ATTR_LIST("stride", s->stride, 2),
                                    NB_ATTR_LIST("dilation", s->dilation, 2),
                                    NB_ATTR_LIST("pads", s->pads, 4),
                                    NB_ATTR_INT("groups", s->groups),
                                    NB_ATTR_INT("last", last),
                                    NB_ATTR_INT("zero_x", zero_x),
                                    NB_ATTR_INT("zero_y", zero_y),
                                    NB_ATTR_INT("low", low),
                                    NB_ATTR_INT("high", high)};
    const uint64_t n = (uint64_t)s->n, c = (uint64_t)s->c, m = (uint64_t)s->m;
    const uint64_t h = (uint64_t)s->in[0], wd = (uint64_t)s->in[1];
    const struct plain p = {
        .op = &nb_op_conv_u8,
        .in = {{NB_VALUE_U8, 4, {n, last ? h : c, last ? wd : h, last ? c : wd}, last ? x_last : x},
               {NB_VALUE_I8,
                4,
                {m, c / (uint64_t)s->groups, (uint64_t)s->kernel[0], (uint64_t)s->kernel[1]},
                w},
               {NB_VALUE_I32, 1, {m}, bias},
               {NB_VALUE_F32, 1, {m}, scale}},
        .attrs = attrs,
        .n_attrs = NB_COUNTOF(attrs),
        .constants = constants};
    plain_run_both(&p, &out);
    const uint8_t *y = out.data[0];
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t j = 0; j < s->m; j++)
            for (int64_t k = 0; k < oh * ow; k++) {
                const int64_t sum =
                    weighted_sum(s, x, (const int8_t *)w, i, j, k / ow, k % ow, zero_x) + bias[j];
                assert_int_equal(
                    y[last ? (i * oh * ow + k) * s->m + j : (i * s->m + j) * oh * ow + k],
                    code((double)sum, scale[j], zero_y, low, high));
            }
    plain_free(&out, &p);
    free(x);
    free(x_last);
    free(w);
    free(bias);
    free(scale);
}

static void test_conv(void **state)
{
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(shapes); i++)
        for (unsigned k = 0; k < 4; k++)
            check_conv(&shapes[i], k & 1, k & 2 ? 14 : 0);
}

static void test_conv_refused(void **state)
{
    (void)state;
    static const uint8_t x[8] = {0}, w[8] = {0};
    static const int64_t one[2] = {1, 1}, none[4] = {0};
    static const int32_t bias[2] = {0};
    static const float scale[2] = {1, 1};
    struct nb_attr attrs[] = {NB_ATTR_LIST("kernel", one, 2),
                              NB_ATTR_LIST("stride", one, 2),
                              NB_ATTR_LIST("dilation", one, 2),
                              NB_ATTR_LIST("pads", none, 4),
                              NB_ATTR_INT("groups", 1),
                              NB_ATTR_INT("last", 0),
                              NB_ATTR_INT("zero_x", 0),
                              NB_ATTR_INT("zero_y", 0),
                              NB_ATTR_INT("low", 0),
                              NB_ATTR_INT("high", 255)};
    struct plain p = {.op = &nb_op_conv_u8,
                      .in = {{NB_VALUE_U8, 4, {1, 2, 2, 2}, x},
                             {NB_VALUE_I8, 4, {2, 2, 1, 1}, w},
                             {NB_VALUE_I32, 1, {2}, bias},
                             {NB_VALUE_F32, 1, {1}, scale}},
                      .attrs = attrs,
                      .n_attrs = NB_COUNTOF(attrs)};
    plain_refused(&p, "a scale for each channel");
    p.in[3].dims[0] = 2;
    p.in[1].dims[1] = 1;
    plain_refused(&p, "weights of 1");
    p.in[1].dims[1] = 2;
    attrs[8].i = 256;
    plain_refused(&p, "no byte");
    attrs[8].i = 0;
    p.in[0].type = NB_VALUE_I8;
    plain_refused(&p, "uint8 and int8");
}

/* ---- the others ---- */

static void check_mean(bool last)
{
    const int64_t n = 2, c = 37, h = 6, w = 7, kernel[2] = {2, 3}, stride[2] = {2, 2},
                  one[2] = {1, 1}, none[4] = {0};
    uint8_t *x = bytes((size_t)(n * c * h * w), 5), *x_last = channels_last(x, n, c, h * w);
    const float scale = 0.7F;
    const struct nb_attr attrs[] = {
        NB_ATTR_LIST("kernel", kernel, 2), NB_ATTR_LIST("stride", stride, 2),
        NB_ATTR_LIST("dilation", one, 2),  NB_ATTR_LIST("pads", none, 4),
        NB_ATTR_INT("last", last),         NB_ATTR_INT("zero_x", 100),
        NB_ATTR_INT("zero_y", 120),        NB_ATTR_INT("low", 60),
        NB_ATTR_INT("high", 255),          NB_ATTR_REAL("scale", scale)};
    const uint64_t cu = (uint64_t)c, hu = (uint64_t)h, wu = (uint64_t)w;
    const struct plain p = {.op = &nb_op_mean_u8,
                            .in = {{NB_VALUE_U8,
                                    4,
                                    {2, last ? hu : cu, last ? wu : hu, last ? cu : wu},
                                    last ? x_last : x}},
                            .attrs = attrs,
                            .n_attrs = NB_COUNTOF(attrs)};
    struct plain_out out;
    plain_run_both(&p, &out);
    for (int64_t i = 0; i < n * c; i++)
        for (int64_t k = 0; k < 9; k++) {
            int sum = 0;
            for (int64_t t = 0; t < 6; t++)
                sum += x[(i * h + k / 3 * 2 + t / 3) * w + k % 3 * 2 + t % 3] - 100;
            assert_int_equal(
                ((uint8_t *)out.data[0])[last ? (i / c * 9 + k) * c + i % c : i * 9 + k],
                code(sum, scale / 6.0F, 120, 60, 255));
        }
    plain_free(&out, &p);
    free(x);
    free(x_last);
}

static void test_mean(void **state)
{
    (void)state;
    check_mean(false);
    check_mean(true);
}

/* Products of codes of any signs, with zero points of any shape, in batches. */
static void check_matmul(size_t m, size_t n, size_t k, unsigned kind)
{
    const bool signed_a = kind & 1, signed_b = kind & 2, many_b = kind & 4;
    uint8_t *a = bytes(2 * m * k, m + 1), *b = bytes(k * n, n + 2), *zb = bytes(n, 3);
    const uint8_t za = 137;
    const struct plain p = {
        .op = &nb_op_qmatmul,
        .in = {{signed_a ? NB_VALUE_I8 : NB_VALUE_U8, 3, {2, m, k}, a},
               {signed_a ? NB_VALUE_I8 : NB_VALUE_U8, 0, {0}, &za},
               {signed_b ? NB_VALUE_I8 : NB_VALUE_U8, 2, {k, n}, b},
               {signed_b ? NB_VALUE_I8 : NB_VALUE_U8, 1, {n}, many_b ? zb : NULL}},
        .constants = kind & 8 ? 4 : 0};
    struct plain_out out;
    plain_run_both(&p, &out);
    for (size_t r = 0; r < 2 * m; r++)
        for (size_t j = 0; j < n; j++) {
            int64_t sum = 0;
            const int z = signed_b ? (int8_t)zb[j] : zb[j];
            for (size_t i = 0; i < k; i++) {
                const uint8_t u = a[r * k + i], v = b[i * n + j];
                sum += (int64_t)((signed_a ? (int8_t)u - (int8_t)za : u - za)) *
                       ((signed_b ? (int8_t)v : v) - (many_b ? z : 0));
            }
            assert_int_equal(((int32_t *)out.data[0])[r * n + j], sum);
        }
    plain_free(&out, &p);
    free(a);
    free(b);
    free(zb);
}

static void test_matmul(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {
        {1, 1, 1}, {3, 17, 5}, {33, 40, 64}, {70, 3, 130}, {5, 100, 7}};
    for (size_t i = 0; i < NB_COUNTOF(sizes); i++)
        for (unsigned kind = 0; kind < 16; kind++)
            check_matmul(sizes[i][0], sizes[i][1], sizes[i][2], kind);
}

/* dims of a, b and the result. */
struct pair {
    uint32_t rank_a, rank_b, rank;
    uint64_t a[4], b[4], y[4];
};

static const struct pair pairs[] = {
    {1, 1, 1, {40003}, {40003}, {40003}},
    {4, 4, 4, {1, 37, 21, 24}, {1, 1, 1, 24}, {1, 37, 21, 24}}, /* rows of a */
    {4, 4, 4, {1, 1, 1, 5}, {1, 9, 7, 5}, {1, 9, 7, 5}},        /* of b, short ones */
    {4, 3, 4, {2, 6, 5, 67}, {6, 1, 1}, {2, 6, 5, 67}},         /* channels first */
    {4, 4, 4, {3, 4, 5, 16}, {3, 1, 1, 16}, {3, 4, 5, 16}},     /* other rows for each image */
    {2, 2, 2, {1, 700}, {3, 1}, {3, 700}},
    {2, 0, 2, {3, 333}, {0}, {3, 333}},
};

/* Where element i of the result reads an array. */
static size_t place_of(size_t i, uint32_t rank, const uint64_t *y, uint32_t rank_x,
                       const uint64_t *x)
{
    size_t at = 0, step = 1;
    for (uint32_t k = 1; k <= rank; k++) {
        const size_t index = i % (size_t)y[rank - k];
        i /= (size_t)y[rank - k];
        if (k <= rank_x && x[rank_x - k] > 1) {
            at += index * step;
            step *= (size_t)x[rank_x - k];
        }
    }
    return at;
}

static size_t count_of(uint32_t rank, const uint64_t *dims)
{
    size_t n = 1;
    for (uint32_t i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    return n;
}

static void check_binary(const struct pair *t, enum nb_binary op)
{
    const size_t n = count_of(t->rank, t->y);
    uint8_t *a = bytes(count_of(t->rank_a, t->a), 8), *b = bytes(count_of(t->rank_b, t->b), 9);
    const struct nb_attr attrs[] = {NB_ATTR_INT("op", op),           NB_ATTR_REAL("scale_a", 0.03F),
                                    NB_ATTR_REAL("scale_b", 0.011F), NB_ATTR_REAL("scale_y", 0.04F),
                                    NB_ATTR_INT("zero_a", 128),      NB_ATTR_INT("zero_b", 3),
                                    NB_ATTR_INT("zero_y", 90),       NB_ATTR_INT("low", 20),
                                    NB_ATTR_INT("high", 200)};
    struct plain p = {.op = &nb_op_binary_u8,
                      .in = {{.type = NB_VALUE_U8, .rank = t->rank_a, .data = a},
                             {.type = NB_VALUE_U8, .rank = t->rank_b, .data = b}},
                      .attrs = attrs,
                      .n_attrs = NB_COUNTOF(attrs)};
    struct plain_out out;
    memcpy(p.in[0].dims, t->a, sizeof t->a);
    memcpy(p.in[1].dims, t->b, sizeof t->b);
    plain_run_both(&p, &out);
    assert_int_equal(nb_value_count(&out.value[0]), n);
    for (size_t i = 0; i < n; i++) {
        const float fa = (float)(a[place_of(i, t->rank, t->y, t->rank_a, t->a)] - 128) * 0.03F;
        const float fb = (float)(b[place_of(i, t->rank, t->y, t->rank_b, t->b)] - 3) * 0.011F;
        const float s = op == NB_BINARY_ADD ? fa + fb : fa * fb, v = s / 0.04F;
        assert_int_equal(((uint8_t *)out.data[0])[i], code((double)v, 1.0F, 90, 20, 200));
    }
    plain_free(&out, &p);
    free(a);
    free(b);
}

static void test_binary(void **state)
{
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(pairs); i++) {
        check_binary(&pairs[i], NB_BINARY_ADD);
        check_binary(&pairs[i], NB_BINARY_MUL);
    }
}

static void test_binary_refused(void **state)
{
    (void)state;
    static const uint8_t x[8] = {0};
    struct nb_attr attrs[] = {NB_ATTR_INT("op", NB_BINARY_SUB), NB_ATTR_REAL("scale_a", 1.0),
                              NB_ATTR_REAL("scale_b", 1.0),     NB_ATTR_REAL("scale_y", 1.0),
                              NB_ATTR_INT("zero_a", 0),         NB_ATTR_INT("zero_b", 0),
                              NB_ATTR_INT("zero_y", 0),         NB_ATTR_INT("low", 0),
                              NB_ATTR_INT("high", 255)};
    struct plain p = {.op = &nb_op_binary_u8,
                      .in = {{NB_VALUE_U8, 1, {4}, x}, {NB_VALUE_U8, 1, {4}, x}},
                      .attrs = attrs,
                      .n_attrs = NB_COUNTOF(attrs)};
    plain_refused(&p, "no operation");
    attrs[0].i = NB_BINARY_MUL;
    p.in[1].dims[0] = 3;
    plain_refused(&p, "dimensions broadcast");
    p.in[1].dims[0] = 4;
    attrs[8].i = 256;
    plain_refused(&p, "no byte");
}

static void test_table(void **state)
{
    (void)state;
    enum { N = 20011 };
    uint8_t *x = bytes(N, 10), table[256];
    struct plain_out out;
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i * 7 + 3);
    struct plain p = {.op = &nb_op_table_u8,
                      .in = {{NB_VALUE_I8, 1, {N}, x}, {NB_VALUE_U8, 1, {256}, table}}};
    plain_run_both(&p, &out);
    assert_int_equal(out.value[0].type, NB_VALUE_U8);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(((uint8_t *)out.data[0])[i], table[x[i]]);
    plain_free(&out, &p);
    p.in[1].dims[0] = 255;
    plain_refused(&p, "a table of 256");
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),   cmocka_unit_test(test_conv_refused),
        cmocka_unit_test(test_mean),   cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_binary), cmocka_unit_test(test_binary_refused),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
