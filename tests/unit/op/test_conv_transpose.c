/* Transposed convolutions: the chain of fma that the operator promises, bit for bit, however channels lie, weights are
 * held and many threads there are. */
#include "plain_node.h"

struct kase {
    uint64_t n, c, m, groups;
    int64_t in[2], kernel[2], stride[2], dilation[2], pads[4], size[2];
};

static const struct kase kases[] = {
    {2, 5, 3, 1, {4, 7}, {2, 2}, {2, 2}, {1, 1}, {0}, {8, 14}}, /* positions apart */
    {1, 24, 1, 1, {3, 101}, {2, 2}, {2, 2}, {1, 1}, {0}, {6, 202}},
    {2, 3, 2, 1, {4, 5}, {2, 2}, {2, 2}, {1, 1}, {0}, {8, 10}}, /* and few: all rows together */
    {1, 7, 13, 1, {5, 6}, {3, 2}, {3, 2}, {1, 1}, {0}, {15, 12}},
    {1, 6, 18, 1, {4, 5}, {1, 1}, {1, 1}, {1, 1}, {0}, {4, 5}},
    {1, 5, 3, 1, {4, 7}, {2, 2}, {2, 2}, {1, 1}, {0}, {8, 13}},
    {1, 5, 17, 1, {6, 5}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {11, 9}}, /* they overlap */
    {2, 6, 8, 2, {4, 4}, {2, 2}, {2, 2}, {1, 1}, {0}, {8, 8}},
    {1, 4, 6, 2, {5, 4}, {3, 2}, {1, 3}, {2, 1}, {0, 1, 0, 0}, {9, 10}},
};

/* The element of channel c and pixel (y, x) of an image of c_all channels. */
static size_t place(bool last, uint64_t n, uint64_t c, uint64_t c_all, const int64_t *dims,
                    int64_t y, int64_t x)
{
    const size_t pixel = (size_t)(y * dims[1] + x), pixels = (size_t)(dims[0] * dims[1]);
    return last ? ((size_t)n * pixels + pixel) * c_all + c
                : ((size_t)n * c_all + c) * pixels + pixel;
}

struct arrays {
    const float *x, *w, *bias;
    bool last;
};

/* The input of dimension i that position t gives to output `at`; -1: none. */
static int64_t input(const struct kase *k, size_t i, int64_t at, int64_t t)
{
    const int64_t v = at + k->pads[i] - t * k->dilation[i];
    return v < 0 || v % k->stride[i] != 0 || v / k->stride[i] >= k->in[i] ? -1 : v / k->stride[i];
}

static float chain(const struct kase *k, const struct arrays *a, uint64_t n, uint64_t m, int64_t y,
                   int64_t x)
{
    const uint64_t cg = k->c / k->groups, mg = k->m / k->groups;
    float s = a->bias ? a->bias[m] : 0.0F;
    for (int64_t t = 0; t < k->kernel[0] * k->kernel[1]; t++) {
        const int64_t iy = input(k, 0, y, t / k->kernel[1]), ix = input(k, 1, x, t % k->kernel[1]);
        for (uint64_t i = m / mg * cg; iy >= 0 && ix >= 0 && i < (m / mg + 1) * cg; i++)
            s = fmaf(
                a->x[place(a->last, n, i, k->c, k->in, iy, ix)],
                a->w[(i * mg + m % mg) * (uint64_t)(k->kernel[0] * k->kernel[1]) + (uint64_t)t], s);
    }
    return s;
}

static void dims_of(uint64_t *dims, bool last, uint64_t n, uint64_t c, const int64_t *spatial)
{
    dims[0] = n;
    dims[last ? 3 : 1] = c;
    dims[last ? 1 : 2] = (uint64_t)spatial[0];
    dims[last ? 2 : 3] = (uint64_t)spatial[1];
}

static void check(const struct kase *k, bool last, bool constant)
{
    const uint64_t taps = (uint64_t)(k->kernel[0] * k->kernel[1]);
    const struct nb_attr attrs[] = {
        NB_ATTR_LIST("kernel", k->kernel, 2),      NB_ATTR_LIST("stride", k->stride, 2),
        NB_ATTR_LIST("dilation", k->dilation, 2),  NB_ATTR_LIST("pads", k->pads, 4),
        NB_ATTR_INT("groups", (int64_t)k->groups), NB_ATTR_INT("last", last),
        NB_ATTR_LIST("size", k->size, 2)};
    float *x = plain_floats((size_t)(k->n * k->c) * (size_t)(k->in[0] * k->in[1]), 1);
    float *w = plain_floats((size_t)(k->c * k->m / k->groups * taps), 2);
    float *bias = plain_floats((size_t)k->m, 3);
    const struct arrays a = {x, w, last ? bias : NULL, last};
    struct plain p = {
        .op = &nb_op_conv_transpose,
        .in = {{.type = NB_VALUE_F32, .rank = 4, .data = x},
               {NB_VALUE_F32,
                4,
                {k->c, k->m / k->groups, (uint64_t)k->kernel[0], (uint64_t)k->kernel[1]},
                w},
               {NB_VALUE_F32, 1, {k->m}, a.bias}},
        .attrs = attrs,
        .n_attrs = NB_COUNTOF(attrs),
        .constants = constant ? 2U : 0U};
    struct plain_out out;
    dims_of(p.in[0].dims, last, k->n, k->c, k->in);
    plain_run_both(&p, &out);
    const float *y = out.data[0];
    for (uint64_t n = 0; n < k->n; n++)
        for (uint64_t m = 0; m < k->m; m++)
            for (int64_t r = 0; r < k->size[0]; r++)
                for (int64_t i = 0; i < k->size[1]; i++)
                    assert_bits(y[place(last, n, m, k->m, k->size, r, i)],
                                chain(k, &a, n, m, r, i));
    plain_free(&out, &p);
    free(x);
    free(w);
    free(bias);
}

static void test_sums(void **state)
{
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(kases); i++)
        for (unsigned v = 0; v < 4; v++)
            check(&kases[i], v % 2 != 0, v / 2 != 0);
}

NB_TEST_MAIN(cmocka_unit_test(test_sums))
