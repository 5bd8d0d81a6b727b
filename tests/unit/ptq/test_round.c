/* Weights of a convolution in groups: what its columns met, how they are rounded, what its bias owes. */
#include "ptq/ptq_internal.h"
#include "unit/ptq/small_net.h"

static struct nb_error err;

enum {
    GROUPS = 2,
    C = 3, /* of a group */
    M = 4, /* of a group */
    H = 6,
    W = 5,
    KH = 3,
    KW = 2,
    OH = 3, /* stride 2, one row above */
    OW = 4, /* dilation 2, one column behind */
    COLS = C * KH * KW,
    SAMPLES = 40,
    IN = GROUPS * C * H * W
};

static const char *const conv_in[] = {"x", "w"}, *const conv_out[] = {"y"};
static const int64_t pads[] = {1, 0, 0, 1}, strides[] = {2, 1}, dilations[] = {1, 2};
static const int64_t w_dims[] = {GROUPS * M, C, KH, KW};
static float w[GROUPS * M * COLS], samples[SAMPLES * IN];
static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES};

struct model {
    struct nb_onnx_attr attrs[4];
    struct nb_onnx_node conv;
    struct nb_onnx_tensor t;
    struct net_ports ports;
    struct nb_onnx_model m;
};

static struct nb_onnx_attr list(const char *name, const int64_t *ints, size_t n)
{
    return (struct nb_onnx_attr){.name = name, .type = NB_ONNX_ATTR_INTS, .ints = ints, .n = n};
}

static bool corners; /* a channel of zeros, one of one weight */

static void fill(void)
{
    struct nb_rng r = {.seed = 7};
    for (size_t i = 0; i < NB_COUNTOF(w); i++) /* rows of very different size */
        w[i] = (float)(nb_rng_unit(&r) - 0.5) * (1.0F + (float)(i / COLS));
    for (size_t i = 0; i < NB_COUNTOF(samples); i++) { /* neighbours are alike */
        const float u = (float)nb_rng_unit(&r);
        samples[i] = i % W == 0 ? u : 0.8F * samples[i - 1] + 0.2F * u;
    }
    for (size_t i = 0; i < 2 * COLS && corners; i++)
        w[i] = i == COLS ? 0.5F : 0.0F;
}

static void model_init(struct model *s)
{
    static const int64_t in_dims[] = {1, GROUPS * C, H, W};
    memset(s, 0, sizeof *s);
    fill();
    s->attrs[0] = list("pads", pads, 4);
    s->attrs[1] = list("strides", strides, 2);
    s->attrs[2] = list("dilations", dilations, 2);
    s->attrs[3] = (struct nb_onnx_attr){.name = "group", .type = NB_ONNX_ATTR_INT, .i = GROUPS};
    s->conv = net_node("conv", "Conv", conv_in, 2, conv_out);
    s->conv.attrs = s->attrs;
    s->conv.n_attrs = 4;
    s->t = net_floats("w", w_dims, 4, w);
    s->m = net_model(&s->ports, in_dims, 4, 13, &s->conv, 1, &s->t, 1);
}

/* What column j of a group meets at an output. */
static double meets(size_t sample, size_t group, size_t j, int oy, int ox)
{
    const int c = (int)(j / (KH * KW)), ky = (int)(j / KW % KH), kx = (int)(j % KW);
    const int iy = 2 * oy - 1 + ky, ix = ox + 2 * kx;
    if (iy < 0 || iy >= H || ix < 0 || ix >= W)
        return 0.0;
    return (
        double)samples[sample * IN + ((group * C + (size_t)c) * H + (size_t)iy) * W + (size_t)ix];
}

/* Everything up to the rounded weights. */
struct work {
    struct model s;
    struct nb_edit e;
    struct nb_net *net;
    struct nb_observed_net seen;
    struct nb_ptq_plan plan;
    struct nb_arena arena;
    struct nb_ptq_ground ground;
    struct nb_ptq_rounder k;
};

static void work_init(struct work *k, const struct nb_ptq_options *o)
{
    memset(k, 0, sizeof *k);
    model_init(&k->s);
    nb_arena_init(&k->arena, NULL, 0);
    assert_ok(nb_edit_init(&k->e, &k->s.m, NULL, &err), &err);
    assert_ok(nb_net_import(&k->net, &k->s.m, NULL, NULL, &err), &err);
    assert_ok(nb_ptq_observe(&k->seen, k->net, &data, false, NULL, NULL, &err), &err);
    assert_ok(nb_ptq_plan(&k->plan, &k->e, k->net, &k->seen, o, NULL, &err), &err);
    k->ground = (struct nb_ptq_ground){.net = k->net, .data = &data};
    k->k = (struct nb_ptq_rounder){.o = o, .ground = &k->ground, .arena = &k->arena};
    assert_ok(nb_ptq_round(&k->k, &k->e, &k->plan, &err), &err);
}

static void work_fini(struct work *k)
{
    nb_ptq_plan_fini(&k->plan);
    nb_observed_net_fini(&k->seen);
    nb_net_close(k->net);
    nb_edit_fini(&k->e);
    nb_arena_fini(&k->arena);
}

static void test_moments(void **state)
{
    (void)state;
    const struct nb_ptq_options o = {.profile = NB_PTQ_ORT_CPU};
    struct work k;
    struct nb_ptq_moments m;
    work_init(&k, &o);
    assert_int_equal(k.k.n_layers, 1);
    const struct nb_ptq_layer *l = &k.k.layers[0];
    assert_true(l->known);
    assert_int_equal(l->groups, GROUPS);
    assert_int_equal(l->cols, COLS);
    memset(&m, 0, sizeof m);
    m.grid = nb_ptq_grid_of(&k.plan, l->x, &o);
    assert_ok(nb_ptq_measure_inputs(&m, l, 1, true, &k.ground, &err), &err);
    assert_close(m.positions, SAMPLES * OH * OW, 0.0);
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t j = 0; j < COLS; j++) {
            double sum = 0.0, square = 0.0, product = 0.0, rounded = 0.0;
            for (size_t s = 0; s < SAMPLES; s++)
                for (int oy = 0; oy < OH; oy++)
                    for (int ox = 0; ox < OW; ox++) {
                        const double x = meets(s, g, j, oy, ox);
                        sum += x;
                        square += x * x;
                        product += x * meets(s, g, 0, oy, ox);
                        rounded += nearbyint(x / (double)m.grid.scale) * (double)m.grid.scale;
                    }
            assert_close(m.sum[g * COLS + j], sum, 1e-6 * sum + 1e-9);
            assert_close(m.square[g * COLS + j], square, 1e-6 * square + 1e-9);
            assert_close(m.rounded_sum[g * COLS + j], rounded, 1e-4 * sum + 1e-9);
            assert_close(*nb_hessian_at(m.h[g], 0, j), product, 1e-5 * product + 1e-9);
            assert_close(*nb_hessian_at(m.h[g], j, j), square, 1e-5 * square + 1e-9);
        }
    nb_ptq_moments_fini(&m, l, NULL);
    work_fini(&k);
}

/* Sums over all samples of the error of a channel's output, the input on its grid: of it and of its square. */
static double error_of(const struct work *k, const struct nb_ptq_rounded *r, size_t channel,
                       struct nb_ptq_grid g, double *square)
{
    const double scale = (double)r->scales[r->n_scales == 1 ? 0 : channel];
    double sum = 0.0;
    (void)k;
    *square = 0.0;
    for (size_t s = 0; s < SAMPLES; s++)
        for (int oy = 0; oy < OH; oy++)
            for (int ox = 0; ox < OW; ox++) {
                double e = 0.0, weights = 0.0;
                for (size_t j = 0; j < COLS; j++) {
                    const double x = meets(s, channel / M, j, oy, ox);
                    const double q = (double)r->q[channel * COLS + j] * scale;
                    e += (double)w[channel * COLS + j] * x -
                         q * nearbyint(x / (double)g.scale) * (double)g.scale;
                    weights += ((double)w[channel * COLS + j] - q) * x;
                }
                sum += e;
                *square += weights * weights;
            }
    return sum;
}

static void check_rule(enum nb_ptq_weights rule, bool per_tensor, double *noise)
{
    const struct nb_ptq_options o = {
        .weights = rule, .per_tensor = per_tensor, .bias_correct = true};
    struct work k;
    work_init(&k, &o);
    const struct nb_ptq_rounded *r = &k.k.rounded[0];
    const struct nb_ptq_grid g = nb_ptq_grid_of(&k.plan, k.k.layers[0].x, &o);
    assert_int_equal(r->n_scales, per_tensor ? 1 : GROUPS * M);
    assert_int_equal(r->axis, per_tensor ? -1 : 0);
    *noise = 0.0;
    for (size_t c = 0; c < GROUPS * M; c++) {
        double square;
        const double mean = error_of(&k, r, c, g, &square) / (SAMPLES * OH * OW);
        assert_close(r->shift[c], mean, 1e-6);
        assert_true(r->scales[per_tensor ? 0 : c] > 0.0F);
        *noise += square;
    }
    work_fini(&k);
}

static void test_rules(void **state)
{
    (void)state;
    double noise[2][NB_N_PTQ_WEIGHTS];
    for (int t = 0; t < 2; t++)
        for (int r = 0; r < NB_N_PTQ_WEIGHTS; r++) {
            check_rule((enum nb_ptq_weights)r, t == 1, &noise[t][r]);
            print_message("%s, %s: %g\n", nb_ptq_weights_name((enum nb_ptq_weights)r),
                          t == 1 ? "one scale" : "a scale for each channel", noise[t][r]);
        }
    for (int t = 0; t < 2; t++) {
        assert_true(noise[t][NB_PTQ_WEIGHTS_MSE] < 1.02 * noise[t][NB_PTQ_RTN]);
        assert_true(noise[t][NB_PTQ_GPTQ] < 0.7 * noise[t][NB_PTQ_RTN]);
        assert_true(noise[t][NB_PTQ_ADAROUND] < 0.9 * noise[t][NB_PTQ_RTN]);
    }
    assert_true(noise[0][NB_PTQ_RTN] < 0.7 * noise[1][NB_PTQ_RTN]);
}

static void test_corners(void **state)
{
    (void)state;
    corners = true;
    for (int rule = 0; rule < NB_N_PTQ_WEIGHTS; rule++) {
        const struct nb_ptq_options o = {.weights = (enum nb_ptq_weights)rule};
        struct work k;
        work_init(&k, &o);
        const struct nb_ptq_rounded *r = &k.k.rounded[0];
        assert_null(r->shift);
        assert_true(r->scales[0] > 0.0F && r->scales[1] > 0.0F);
        for (size_t j = 0; j < 2 * COLS; j++)
            assert_close((double)r->scales[j / COLS] * r->q[j], (double)w[j], 1e-6);
        work_fini(&k);
    }
    corners = false;
}

static enum nb_status make_as(struct nb_ptq **p, struct model *s, enum nb_ptq_weights rule,
                              const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {
        .weights = rule, .bias_correct = true, .per_tensor = rule == NB_PTQ_RTN};
    NB_TRY(nb_ptq_create(p, &s->m, NULL, &o, &data, NULL, a, &err));
    assert_int_equal(nb_ptq_report(*p)->n_quantized, 1);
    return NB_OK;
}

static enum nb_status make_rtn(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    return make_as(p, ctx, NB_PTQ_RTN, a);
}

static enum nb_status make_gptq(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    return make_as(p, ctx, NB_PTQ_GPTQ, a);
}

static void test_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s);
    const size_t rtn = net_oom(make_rtn, &s), gptq = net_oom(make_gptq, &s);
    print_message("%zu, %zu allocations\n", rtn, gptq);
    assert_true(rtn > 30 && gptq > 30 && rtn + gptq > 60);
}

static int stop(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)what;
    (void)total;
    *(int *)ctx += strcmp(unit, "samples") == 0;
    return done == 3;
}

static void test_cancelled(void **state)
{
    (void)state;
    int calls = 0;
    const struct nb_progress progress = {&calls, stop};
    const struct nb_ptq_data watched = {
        .inputs = inputs, .n_samples = SAMPLES, .progress = &progress};
    const struct nb_ptq_options o = {.profile = NB_PTQ_ORT_CPU};
    struct nb_ptq *p;
    struct model s;
    model_init(&s);
    assert_fails(nb_ptq_create(&p, &s.m, NULL, &o, &watched, NULL, NULL, &err), NB_ERR_CANCELLED,
                 &err, "cancelled");
    assert_int_equal(calls, 4);
}

NB_TEST_MAIN(cmocka_unit_test(test_moments), cmocka_unit_test(test_rules),
             cmocka_unit_test(test_corners), cmocka_unit_test(test_memory),
             cmocka_unit_test(test_cancelled))
