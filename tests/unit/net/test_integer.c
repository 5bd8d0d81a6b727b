/* The integer pass: each pattern runs on bytes afterwards, and gives the codes of the file's floats, but for sums that fall
 * between two. What it cannot do stays as it was. */
#include <math.h>
#include <stdlib.h>

#include "net/passes.h"
#include "run/net.h"
#include "support/nbtest.h"

#define N_CODES 1024

struct built {
    struct nb_graph g;
    enum nb_value_type type; /* of activations */
};

/* ---- building ---- */

static uint32_t constant(struct built *b, enum nb_value_type type, uint32_t rank,
                         const uint64_t *dims, const void *data)
{
    return nb_graph_const(&b->g, NULL, type, dims, rank, data);
}

static uint32_t node(struct built *b, const struct nb_op *op, const uint32_t *in, uint32_t n_in,
                     const struct nb_attr *attrs, size_t n_attrs)
{
    struct nb_node_args args = {.op = op, .attrs = attrs, .n_attrs = n_attrs, .block = NB_NO_BLOCK};
    for (uint32_t i = 0; i < n_in; i++)
        args.in[i] = in[i];
    return nb_graph_add(&b->g, &args);
}

static const float scales[] = {0.05F, 0.02F, 0.1F, 0.0071F, 1.0F / 256.0F};
static const int8_t zeros[] = {-3, 0, 17, -128};

static uint32_t zero(struct built *b, size_t z)
{
    static const uint8_t unsigned_zeros[] = {125, 128, 145, 0};
    return b->type == NB_VALUE_U8 ? constant(b, NB_VALUE_U8, 0, NULL, &unsigned_zeros[z])
                                  : constant(b, NB_VALUE_I8, 0, NULL, &zeros[z]);
}

static uint32_t dequantize(struct built *b, uint32_t x, size_t scale, size_t z)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", 0), NB_ATTR_INT("block", 0)};
    const uint32_t in[] = {x, constant(b, NB_VALUE_F32, 0, NULL, &scales[scale]), zero(b, z)};
    return node(b, &nb_op_dequantize_linear, in, 3, attrs, 2);
}

static uint32_t quantize(struct built *b, uint32_t x, size_t scale, size_t z)
{
    const int low = b->type == NB_VALUE_U8 ? 0 : -128;
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("type", b->type), NB_ATTR_INT("low", low), NB_ATTR_INT("high", low + 255),
        NB_ATTR_INT("axis", 0),       NB_ATTR_INT("block", 0), NB_ATTR_INT("multiply", 0),
    };
    const uint32_t in[] = {x, constant(b, NB_VALUE_F32, 0, NULL, &scales[scale]), zero(b, z)};
    return node(b, &nb_op_quantize_linear, in, 3, attrs, NB_COUNTOF(attrs));
}

static uint32_t input(struct built *b, const char *name, uint32_t rank, const uint64_t *dims)
{
    struct nb_value v = {
        .name = name, .kind = NB_VALUE_INPUT, .type = b->type, .rank = rank, .block = NB_NO_BLOCK};
    for (uint32_t i = 0; i < rank; i++)
        v.dim[i] = nb_dim_const(dims[i]);
    return nb_graph_value(&b->g, &v);
}

/* Codes of weights, a scale for each of dimension `axis`. */
static uint32_t weights(struct built *b, uint32_t rank, const uint64_t *dims, int64_t axis,
                        const int8_t *zero_point)
{
    static int8_t codes[4096];
    static float scale[64];
    static int8_t none[64];
    const uint64_t n = dims[axis];
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_INT("block", 0)};
    for (int i = 0; i < 4096; i++)
        codes[i] = (int8_t)(i * 89 % 255 - 127);
    for (int i = 0; i < 64; i++)
        scale[i] = 0.001F + 0.0002F * (float)i;
    const uint32_t in[] = {constant(b, NB_VALUE_I8, rank, dims, codes),
                           constant(b, NB_VALUE_F32, 1, &n, scale),
                           constant(b, NB_VALUE_I8, 1, &n, zero_point ? zero_point : none)};
    return node(b, &nb_op_dequantize_linear, in, 3, attrs, 2);
}

static uint32_t unary(struct built *b, enum nb_unary op, uint32_t x, double alpha, double beta)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("op", op), NB_ATTR_REAL("alpha", alpha),
                                    NB_ATTR_REAL("beta", beta)};
    return node(b, &nb_op_unary, &x, 1, attrs, 3);
}

static uint32_t transpose(struct built *b, uint32_t x, const int64_t *perm, size_t n)
{
    const struct nb_attr attr = NB_ATTR_LIST("perm", perm, n);
    return node(b, &nb_op_transpose, &x, 1, &attr, 1);
}

static uint32_t conv(struct built *b, uint32_t x, uint32_t w, uint32_t bias, int64_t groups)
{
    static const int64_t kernel[2] = {3, 3}, one[2] = {1, 1}, pads[4] = {1, 1, 1, 1};
    const struct nb_attr attrs[] = {
        NB_ATTR_LIST("kernel", kernel, 2), NB_ATTR_LIST("stride", one, 2),
        NB_ATTR_LIST("dilation", one, 2),  NB_ATTR_LIST("pads", pads, 4),
        NB_ATTR_INT("groups", groups),     NB_ATTR_INT("last", 0),
        NB_ATTR_INT("act", NB_CONV_NONE),  NB_ATTR_REAL("low", 0.0),
        NB_ATTR_REAL("high", 0.0)};
    const uint32_t in[] = {x, w, bias};
    return node(b, &nb_op_conv, in, 3, attrs, NB_COUNTOF(attrs));
}

static uint32_t matmul(struct built *b, uint32_t x, uint32_t w, bool trans_b)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("trans_a", 0), NB_ATTR_INT("trans_b", trans_b),
                                    NB_ATTR_REAL("alpha", 1.0), NB_ATTR_REAL("beta", 1.0)};
    const uint32_t in[] = {x, w};
    return node(b, &nb_op_matmul, in, 2, attrs, NB_COUNTOF(attrs));
}

static uint32_t binary(struct built *b, enum nb_binary op, uint32_t x, uint32_t y)
{
    const struct nb_attr attr = NB_ATTR_INT("op", op);
    const uint32_t in[] = {x, y};
    return node(b, &nb_op_binary, in, 2, &attr, 1);
}

static uint32_t add(struct built *b, uint32_t x, uint32_t y)
{
    return binary(b, NB_BINARY_ADD, x, y);
}

/* ---- running ---- */

static size_t count_of(const struct nb_graph *g, const struct nb_op *op)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

/* Codes of the graph's only output, `to` has room for N_CODES. */
static size_t run(struct nb_graph *g, uint8_t *to)
{
    uint32_t inputs[4], output = 0;
    size_t n_inputs = 0;
    static uint8_t codes[2][8192];
    const void *data[4] = {codes[0], codes[1]};
    void *out[1] = {to};
    struct nb_net_session *s;
    struct nb_pool *pool;
    struct nb_error err;
    for (uint32_t v = 1; v < g->n_values; v++) {
        if (g->values[v].kind == NB_VALUE_INPUT)
            inputs[n_inputs++] = v;
        else if (g->values[v].kind == NB_VALUE_OUTPUT)
            output = v;
    }
    for (size_t i = 0; i < sizeof codes[0]; i++) {
        codes[0][i] = (uint8_t)(i * 167 + i / 256);
        codes[1][i] = (uint8_t)(i * 41 + 9);
    }
    const uint64_t n = nb_value_count(&g->values[output]);
    assert_in_range(n, 1, N_CODES);
    const struct nb_net_ports ports = {
        .g = g, .inputs = inputs, .outputs = &output, .n_inputs = n_inputs, .n_outputs = 1};
    assert_ok(nb_pool_create(&pool, 2, NULL, &err), &err);
    assert_ok(nb_net_session_create(&s, &ports, pool, NULL, &err), &err);
    nb_net_session_run(s, data, out);
    nb_net_session_destroy(s);
    nb_pool_destroy(pool);
    return (size_t)n;
}

/* y leaves; afterwards there is `count` of op and, unless it is 0, no product in floats. Codes differ by `most`. */
static void check(struct built *b, uint32_t y, const struct nb_op *op, size_t count, int most)
{
    uint8_t as_file[N_CODES], bytes[N_CODES];
    struct nb_graph to;
    struct nb_error err;
    const bool is_signed = b->g.values[y].type == NB_VALUE_I8;
    nb_graph_output(&b->g, y, "y");
    assert_ok(nb_graph_check(&b->g, &err), &err);
    const size_t n = run(&b->g, as_file);
    nb_graph_init(&to, NULL);
    assert_ok(nb_pass_integer(&to, &b->g, &err), &err);
    assert_int_equal(count_of(&to, op), count);
    if (count > 0)
        assert_int_equal(count_of(&to, &nb_op_conv) + count_of(&to, &nb_op_matmul) +
                             count_of(&to, &nb_op_quantize_linear),
                         0);
    assert_int_equal(run(&to, bytes), n);
    size_t differ = 0;
    for (size_t i = 0; i < n; i++) {
        const int d = is_signed ? (int8_t)as_file[i] - (int8_t)bytes[i] : as_file[i] - bytes[i];
        assert_in_range(d + most, 0, 2 * most);
        differ += d != 0;
    }
    assert_true(differ * 50 <= n);
    nb_graph_fini(&to);
    nb_graph_fini(&b->g);
}

static void start(struct built *b, bool is_signed)
{
    *b = (struct built){.type = is_signed ? NB_VALUE_I8 : NB_VALUE_U8};
    nb_graph_init(&b->g, NULL);
}

/* ---- the patterns ---- */

static const uint64_t image[] = {1, 4, 6, 7}, w_full[] = {8, 4, 3, 3}, w_each[] = {4, 1, 3, 3};

static void test_conv(void **state)
{
    (void)state;
    static const float bias[8] = {0.5F, -1, 2, 0, 0.125F, 3, -2, 1};
    const uint64_t n = 8;
    for (int sign = 0; sign < 2; sign++) {
        struct built b;
        start(&b, sign);
        uint32_t x = dequantize(&b, input(&b, "x", 4, image), 0, 0);
        uint32_t y = conv(&b, x, weights(&b, 4, w_full, 0, NULL),
                          constant(&b, NB_VALUE_F32, 1, &n, bias), 1);
        check(&b, quantize(&b, unary(&b, NB_UNARY_RELU, y, 0, 0), 2, 2), &nb_op_conv_u8, 1, 1);
        start(&b, sign);
        x = dequantize(&b, input(&b, "x", 4, image), 0, 1);
        y = conv(&b, x, weights(&b, 4, w_each, 0, NULL), 0, 4);
        y = unary(&b, NB_UNARY_CLIP, y, -0.5, 1.5);
        check(&b, quantize(&b, y, 1, 1), &nb_op_conv_u8, 1, 1);
    }
}

/* As nets come from tools that work with channels last. */
static void test_moved(void **state)
{
    (void)state;
    static const int64_t first[] = {0, 3, 1, 2}, last[] = {0, 2, 3, 1}, oihw[] = {3, 2, 0, 1};
    const uint64_t nhwc[] = {1, 6, 7, 4}, hwio[] = {3, 3, 4, 8};
    for (int sign = 0; sign < 2; sign++) {
        struct built b;
        start(&b, sign);
        const uint32_t x = transpose(&b, dequantize(&b, input(&b, "x", 4, nhwc), 0, 0), first, 4);
        const uint32_t w = transpose(&b, weights(&b, 4, hwio, 3, NULL), oihw, 4);
        const uint32_t y = transpose(&b, conv(&b, x, w, 0, 1), last, 4);
        check(&b, quantize(&b, y, 2, 0), &nb_op_conv_u8, 1, 1);
    }
}

static void test_matmul(void **state)
{
    (void)state;
    static const float bias[8] = {0.5F, -1, 2, 0, 0.125F, 3, -2, 1};
    const uint64_t rows[] = {3, 5, 32}, kn[] = {32, 8}, nk[] = {8, 32}, n = 8;
    for (int t = 0; t < 2; t++) {
        struct built b;
        start(&b, t);
        const uint32_t x = dequantize(&b, input(&b, "x", 3, rows), 0, 0);
        const uint32_t w = weights(&b, 2, t ? nk : kn, t ? 0 : 1, NULL);
        const uint32_t y = add(&b, matmul(&b, x, w, t), constant(&b, NB_VALUE_F32, 1, &n, bias));
        check(&b, quantize(&b, y, 2, 1), &nb_op_conv_u8, 1, 1);
    }
}

static void test_sum_and_tables(void **state)
{
    (void)state;
    const uint64_t dims[] = {1, 4, 6, 7};
    for (int sign = 0; sign < 2; sign++) {
        struct built b;
        start(&b, sign);
        const uint32_t x = dequantize(&b, input(&b, "x", 4, dims), 0, 0);
        const uint32_t z = dequantize(&b, input(&b, "z", 4, dims), 1, 2);
        check(&b, quantize(&b, unary(&b, NB_UNARY_RELU, add(&b, x, z), 0, 0), 2, 1),
              &nb_op_binary_u8, 1, 0);
        start(&b, sign);
        const uint32_t s =
            unary(&b, NB_UNARY_SIGMOID, dequantize(&b, input(&b, "x", 4, dims), 0, 0), 0, 0);
        /* signed: the sign goes and comes back by tables, too */
        check(&b, quantize(&b, s, 4, 3), &nb_op_table_u8, sign ? 3 : 1, 0);
    }
}

/* A gate for each channel, of either side; a row and a column: the bits of the file's floats. */
static void test_broadcast(void **state)
{
    (void)state;
    const uint64_t gate[] = {1, 4, 1, 1}, row[] = {1, 24}, column[] = {24, 1};
    for (int sign = 0; sign < 2; sign++)
        for (int side = 0; side < 2; side++) {
            struct built b;
            start(&b, sign);
            const uint32_t x = dequantize(&b, input(&b, "x", 4, image), 0, 0);
            const uint32_t g = dequantize(&b, input(&b, "z", 4, gate), 4, 3);
            const uint32_t y = binary(&b, NB_BINARY_MUL, side ? g : x, side ? x : g);
            check(&b, quantize(&b, y, 1, 1), &nb_op_binary_u8, 1, 0);
            start(&b, sign);
            const uint32_t r = dequantize(&b, input(&b, "x", 2, row), 0, 0);
            const uint32_t c = dequantize(&b, input(&b, "z", 2, column), 1, 2);
            check(&b, quantize(&b, add(&b, side ? r : c, side ? c : r), 2, 2), &nb_op_binary_u8, 1,
                  0);
        }
}

static void test_means(void **state)
{
    (void)state;
    static const int64_t kernel[2] = {6, 7}, one[2] = {1, 1}, pads[4] = {0}, axes[] = {1, 2};
    const uint64_t nhwc[] = {1, 6, 7, 4};
    const struct nb_attr pool[] = {NB_ATTR_LIST("kernel", kernel, 2),
                                   NB_ATTR_LIST("stride", one, 2),
                                   NB_ATTR_LIST("dilation", one, 2),
                                   NB_ATTR_LIST("pads", pads, 4),
                                   NB_ATTR_INT("kind", NB_POOL_MEAN),
                                   NB_ATTR_INT("ceil", 0),
                                   NB_ATTR_INT("count_pad", 0),
                                   NB_ATTR_INT("p", 2),
                                   NB_ATTR_INT("last", 0)};
    const struct nb_attr reduce[] = {NB_ATTR_INT("op", NB_REDUCE_MEAN),
                                     NB_ATTR_LIST("axes", axes, 2), NB_ATTR_INT("keepdims", 0)};
    struct built b;
    start(&b, false);
    uint32_t x = dequantize(&b, input(&b, "x", 4, image), 0, 0);
    check(&b, quantize(&b, node(&b, &nb_op_pool, &x, 1, pool, NB_COUNTOF(pool)), 3, 1),
          &nb_op_mean_u8, 1, 1);
    start(&b, true);
    x = dequantize(&b, input(&b, "x", 4, nhwc), 0, 0);
    check(&b, quantize(&b, node(&b, &nb_op_reduce, &x, 1, reduce, NB_COUNTOF(reduce)), 3, 1),
          &nb_op_mean_u8, 1, 1);
}

/* Concat of two grids, pads: what is written into them is on the grid. */
static void test_moves(void **state)
{
    (void)state;
    static const int64_t begin[] = {0, 0, 1, 2}, end[] = {0, 0, 0, 1};
    static const float border = -0.7F;
    const struct nb_attr axis = NB_ATTR_INT("axis", 1);
    const struct nb_attr pads[] = {NB_ATTR_INT("mode", NB_PAD_CONSTANT),
                                   NB_ATTR_LIST("begin", begin, 4), NB_ATTR_LIST("end", end, 4)};
    struct built b;
    start(&b, false);
    const uint32_t both[] = {dequantize(&b, input(&b, "x", 4, image), 0, 0),
                             dequantize(&b, input(&b, "z", 4, image), 1, 1)};
    const uint32_t x = node(&b, &nb_op_concat, both, 2, &axis, 1);
    const uint32_t in[] = {x, constant(&b, NB_VALUE_F32, 0, NULL, &border)};
    check(&b, quantize(&b, node(&b, &nb_op_pad, in, 2, pads, 3), 2, 0), &nb_op_table_u8, 2, 0);
}

/* A zero point of weights, a difference: floats. */
static void test_left(void **state)
{
    (void)state;
    const uint64_t row[] = {1, 24}, column[] = {24, 1};
    static const int8_t zero_points[64] = {1};
    struct built b;
    start(&b, false);
    const uint32_t x = dequantize(&b, input(&b, "x", 4, image), 0, 0);
    const uint32_t y = conv(&b, x, weights(&b, 4, w_full, 0, zero_points), 0, 1);
    check(&b, quantize(&b, y, 2, 2), &nb_op_conv_u8, 0, 0);
    start(&b, false);
    const uint32_t r = dequantize(&b, input(&b, "x", 2, row), 0, 0);
    const uint32_t c = dequantize(&b, input(&b, "z", 2, column), 0, 0);
    check(&b, quantize(&b, binary(&b, NB_BINARY_SUB, r, c), 2, 2), &nb_op_binary_u8, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),      cmocka_unit_test(test_moved),
        cmocka_unit_test(test_matmul),    cmocka_unit_test(test_sum_and_tables),
        cmocka_unit_test(test_means),     cmocka_unit_test(test_moves),
        cmocka_unit_test(test_broadcast), cmocka_unit_test(test_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
