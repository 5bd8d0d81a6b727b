/* Convolutions: the chain of fma that the operator promises, bit for bit, however channels lie, weights are held and
 * many threads there are. */
#include "plain_node.h"

#define DIMS 3

struct kase {
    uint64_t n, c, m, groups, dims; /* dims: spatial */
    int64_t in[DIMS], kernel[DIMS], stride[DIMS], dilation[DIMS], pads[2 * DIMS];
};

/* sizes that no tile, panel or vector divides */
static const struct kase kases[] = {
    {1, 3, 16, 1, 2, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {2, 5, 24, 1, 2, {8, 7}, {3, 2}, {2, 1}, {1, 1}, {1, 0, 0, 1}},
    {1, 16, 37, 1, 2, {7, 9}, {1, 1}, {1, 1}, {1, 1}, {0}},
    {3, 7, 6, 1, 2, {9, 9}, {1, 1}, {2, 3}, {1, 1}, {0}},
    {1, 40, 150, 1, 2, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0}}, /* one pixel */
    {1, 33, 70, 1, 2, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {0}},
    {1, 4, 9, 1, 2, {13, 12}, {3, 3}, {2, 1}, {2, 3}, {2, 3, 2, 3}},
    {2, 12, 20, 4, 2, {6, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, /* groups */
    {1, 6, 12, 6, 2, {8, 5}, {2, 2}, {1, 1}, {1, 2}, {0, 0, 1, 1}},
    {1, 24, 24, 24, 2, {10, 13}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, /* each channel */
    {2, 41, 41, 41, 2, {11, 6}, {5, 3}, {2, 2}, {1, 1}, {2, 1, 2, 0}},
    {1, 3, 3, 3, 2, {20, 20}, {3, 3}, {1, 1}, {2, 2}, {0}},
    {2, 9, 18, 1, 1, {129}, {3}, {1}, {1}, {0, 0}}, /* one dimension */
    {1, 1, 130, 1, 1, {300}, {64}, {16}, {1}, {0, 20}},
    {1, 8, 8, 8, 1, {50}, {7}, {1}, {3}, {9, 9}},
    {1, 4, 10, 2, 3, {4, 5, 6}, {2, 3, 2}, {1, 2, 1}, {2, 1, 1}, {1, 0, 1, 0, 2, 0}}, /* three */
    {1, 2, 4, 1, 2, {2, 3}, {2, 2}, {1, 1}, {1, 1}, {3, 3, 3, 3}}, /* some see but pads */
};

/* images with pads of a megabyte: strips of output rows */
static const struct kase large[] = {
    {2, 24, 24, 24, 2, {113, 121}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {1, 40, 40, 40, 2, {83, 86}, {5, 5}, {2, 2}, {1, 1}, {2, 2, 1, 1}},
    {2, 16, 9, 1, 2, {131, 127}, {3, 3}, {2, 1}, {1, 1}, {0, 1, 1, 0}},
    {1, 32, 8, 4, 2, {95, 97}, {3, 2}, {1, 3}, {2, 1}, {2, 0, 2, 1}},
};

struct array {
    uint64_t dims[5];
    size_t count;
    float *x;
};

static size_t product(const uint64_t *dims, uint64_t n)
{
    size_t p = 1;
    for (uint64_t i = 0; i < n; i++)
        p *= (size_t)dims[i];
    return p;
}

/* (n, c, spatial), or (n, spatial, c) if last. */
static void shape(struct array *a, const struct kase *k, uint64_t c, const int64_t *spatial,
                  bool last)
{
    a->dims[0] = k->n;
    a->dims[last ? k->dims + 1 : 1] = c;
    for (uint64_t i = 0; i < k->dims; i++)
        a->dims[i + (last ? 1 : 2)] = (uint64_t)spatial[i];
    a->count = product(a->dims, k->dims + 2);
}

/* The place of pixel p of channel c. */
static size_t place(const struct array *a, const struct kase *k, bool last, size_t n, size_t c,
                    size_t p)
{
    const size_t pixels = product(a->dims + (last ? 1 : 2), k->dims);
    const size_t all = (size_t)a->dims[last ? k->dims + 1 : 1];
    return last ? (n * pixels + p) * all + c : (n * all + c) * pixels + p;
}

/* The pixel that tap `tap` of output `at` sees; false: padding. */
static bool seen(const struct kase *k, const int64_t *out, size_t at, size_t tap, size_t *pixel)
{
    size_t step = 1;
    *pixel = 0;
    for (size_t i = (size_t)k->dims; i-- > 0;) {
        const int64_t p = (int64_t)at % out[i] * k->stride[i] - k->pads[i] +
                          (int64_t)tap % k->kernel[i] * k->dilation[i];
        if (p < 0 || p >= k->in[i])
            return false;
        *pixel += (size_t)p * step;
        step *= (size_t)k->in[i];
        at /= (size_t)out[i];
        tap /= (size_t)k->kernel[i];
    }
    return true;
}

struct parts {
    struct array x, w, y;
    const float *bias, *add;
    bool last;
};

/* The sum of output channel m and pixel p, as op/conv.c says. */
static float chain(const struct kase *k, const struct parts *s, const int64_t *out, size_t n,
                   size_t m, size_t p)
{
    const size_t c_group = (size_t)(k->c / k->groups), m_group = (size_t)(k->m / k->groups);
    const size_t taps = product(s->w.dims + 2, k->dims);
    float sum = s->bias ? s->bias[m] : 0.0F;
    for (size_t t = 0; t < taps; t++)
        for (size_t i = 0; i < c_group; i++) {
            size_t pixel;
            const bool in = seen(k, out, p, t, &pixel);
            const float x =
                in ? s->x.x[place(&s->x, k, s->last, n, m / m_group * c_group + i, pixel)] : 0.0F;
            sum = fmaf(x, s->w.x[(m * c_group + i) * taps + t], sum);
        }
    return sum;
}

static float follow(float s, int64_t act)
{
    if (act == NB_CONV_CLIP)
        s = s < -0.25F ? -0.25F : s > 0.5F ? 0.5F : s;
    if (act == NB_CONV_HARDSWISH) {
        const float a = s * (1.0F / 6.0F) + 0.5F;
        s *= a < 0.0F ? 0.0F : a > 1.0F ? 1.0F : a;
    }
    return s;
}

static void check_values(const struct kase *k, const struct parts *s, const int64_t *out,
                         const float *y, int64_t act)
{
    const size_t pixels = product(s->y.dims + (s->last ? 1 : 2), k->dims);
    for (size_t n = 0; n < k->n; n++)
        for (size_t m = 0; m < k->m; m++)
            for (size_t p = 0; p < pixels; p++) {
                const size_t at = place(&s->y, k, s->last, n, m, p);
                float want = chain(k, s, out, n, m, p);
                if (s->add)
                    want += s->add[at];
                if (act == NB_CONV_SILU)
                    assert_close((double)y[at], (double)want / (1.0 + exp(-(double)want)), 1e-6);
                else
                    assert_bits(y[at], follow(want, act));
            }
}

static void check(const struct kase *k, bool last, bool known, int64_t act, bool more)
{
    const struct nb_attr attrs[] = {NB_ATTR_LIST("kernel", k->kernel, k->dims),
                                    NB_ATTR_LIST("stride", k->stride, k->dims),
                                    NB_ATTR_LIST("dilation", k->dilation, k->dims),
                                    NB_ATTR_LIST("pads", k->pads, 2 * k->dims),
                                    NB_ATTR_INT("groups", (int64_t)k->groups),
                                    NB_ATTR_INT("last", last),
                                    NB_ATTR_INT("act", act),
                                    NB_ATTR_REAL("low", -0.25),
                                    NB_ATTR_REAL("high", 0.5)};
    const uint32_t rank = (uint32_t)k->dims + 2;
    struct parts s = {.last = last};
    int64_t out[DIMS];
    struct plain_out have;
    for (size_t i = 0; i < k->dims; i++) {
        out[i] = (k->in[i] + k->pads[i] + k->pads[k->dims + i] -
                  (k->kernel[i] - 1) * k->dilation[i] - 1) /
                     k->stride[i] +
                 1;
        s.w.dims[i + 2] = (uint64_t)k->kernel[i];
    }
    shape(&s.x, k, k->c, k->in, last);
    shape(&s.y, k, k->m, out, last);
    s.w.dims[0] = k->m;
    s.w.dims[1] = k->c / k->groups;
    s.w.count = product(s.w.dims, rank);
    s.x.x = plain_floats(s.x.count, 1);
    s.w.x = plain_floats(s.w.count, 2);
    float *bias = plain_floats((size_t)k->m, 3), *add = plain_floats(s.y.count, 4);
    struct plain p = {.op = &nb_op_conv,
                      .attrs = attrs,
                      .n_attrs = NB_COUNTOF(attrs),
                      .constants = known ? 2U : 0U};
    p.in[0] = (struct plain_in){.type = NB_VALUE_F32, .rank = rank, .data = s.x.x};
    p.in[1] = (struct plain_in){.type = NB_VALUE_F32, .rank = rank, .data = s.w.x};
    memcpy(p.in[0].dims, s.x.dims, sizeof s.x.dims);
    memcpy(p.in[1].dims, s.w.dims, sizeof s.w.dims);
    if (more) {
        s.bias = bias;
        s.add = add;
        p.in[2] = (struct plain_in){.type = NB_VALUE_F32, .rank = 1, .dims = {k->m}, .data = bias};
        p.in[3] = (struct plain_in){.type = NB_VALUE_F32, .rank = rank, .data = add};
        memcpy(p.in[3].dims, s.y.dims, sizeof s.y.dims);
    }
    plain_run_both(&p, &have);
    check_values(k, &s, out, have.data[0], act);
    plain_free(&have, &p);
    free(s.x.x);
    free(s.w.x);
    free(bias);
    free(add);
}

static void test_sums(void **state)
{
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(kases); i++)
        for (unsigned v = 0; v < 4; v++)
            check(&kases[i], v % 2 != 0, v / 2 != 0, NB_CONV_NONE, v == 1 || v == 2);
}

static void test_what_follows(void **state)
{
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(kases); i++)
        for (int64_t act = NB_CONV_CLIP; act <= NB_CONV_SILU; act++)
            check(&kases[i], (i + (size_t)act) % 2 == 0, true, act, act != NB_CONV_HARDSWISH);
}

static void test_strips(void **state)
{
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(large); i++) {
        check(&large[i], i % 2 != 0, true, NB_CONV_NONE, false);
        check(&large[i], i % 2 == 0, i % 2 == 0, NB_CONV_CLIP, true);
    }
}

/* What is not a number passes through sums and bounds. */
static void test_nan(void **state)
{
    (void)state;
    static const float x[4] = {1.0F, NAN, 2.0F, -3.0F}, w[1] = {1.0F};
    static const int64_t one[2] = {1, 1}, pads[4] = {0};
    const struct nb_attr attrs[] = {NB_ATTR_LIST("kernel", one, 2),
                                    NB_ATTR_LIST("stride", one, 2),
                                    NB_ATTR_LIST("dilation", one, 2),
                                    NB_ATTR_LIST("pads", pads, 4),
                                    NB_ATTR_INT("groups", 1),
                                    NB_ATTR_INT("last", 0),
                                    NB_ATTR_INT("act", NB_CONV_CLIP),
                                    NB_ATTR_REAL("low", 0.0),
                                    NB_ATTR_REAL("high", (double)INFINITY)};
    const struct plain p = {
        .op = &nb_op_conv,
        .in = {{NB_VALUE_F32, 4, {1, 1, 2, 2}, x}, {NB_VALUE_F32, 4, {1, 1, 1, 1}, w}},
        .attrs = attrs,
        .n_attrs = NB_COUNTOF(attrs)};
    struct plain_out out;
    plain_run_both(&p, &out);
    const float *y = out.data[0];
    assert_bits(y[0], 1.0F);
    assert_true(y[1] != y[1]);
    assert_bits(y[2], 2.0F);
    assert_bits(y[3], 0.0F);
    plain_free(&out, &p);
}

NB_TEST_MAIN(cmocka_unit_test(test_sums), cmocka_unit_test(test_what_follows),
             cmocka_unit_test(test_nan), cmocka_unit_test(test_strips))
