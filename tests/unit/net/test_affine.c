/* The pass that takes constants for each channel into layers: nodes are gone, numbers stay the same but for rounding. */
#include <math.h>
#include <stdlib.h>

#include "net/passes.h"
#include "run/net.h"
#include "support/nbtest.h"

#define MOST 2048

static float numbers[MOST]; /* of the input and of constants */

static uint32_t node(struct nb_graph *g, const struct nb_op *op, const uint32_t *in, uint32_t n_in,
                     const struct nb_attr *attrs, size_t n_attrs)
{
    struct nb_node_args args = {.op = op, .attrs = attrs, .n_attrs = n_attrs, .block = NB_NO_BLOCK};
    for (uint32_t i = 0; i < n_in; i++)
        args.in[i] = in[i];
    return nb_graph_add(g, &args);
}

static uint32_t constant(struct nb_graph *g, uint32_t rank, const uint64_t *dims, size_t from)
{
    return nb_graph_const(g, NULL, NB_VALUE_F32, dims, rank, numbers + from);
}

static uint32_t binary(struct nb_graph *g, enum nb_binary op, uint32_t a, uint32_t b)
{
    const struct nb_attr attr = NB_ATTR_INT("op", op);
    return node(g, &nb_op_binary, (const uint32_t[]){a, b}, 2, &attr, 1);
}

static void start(struct nb_graph *g, uint32_t *x, uint32_t rank, const uint64_t *dims)
{
    struct nb_value v = {.name = "x",
                         .kind = NB_VALUE_INPUT,
                         .type = NB_VALUE_F32,
                         .rank = rank,
                         .block = NB_NO_BLOCK};
    for (uint32_t i = 0; i < rank; i++)
        v.dim[i] = nb_dim_const(dims[i]);
    for (size_t i = 0; i < MOST; i++)
        numbers[i] = (float)((int)(i * 7919 % 2001) - 1000) / 512.0F + 0.001F;
    nb_graph_init(g, NULL);
    *x = nb_graph_value(g, &v);
}

static size_t run(struct nb_graph *g, float *to)
{
    uint32_t input = nb_graph_find(g, "x"), output = nb_graph_find(g, "y");
    const void *in[1] = {numbers};
    void *out[1] = {to};
    struct nb_net_session *s;
    struct nb_pool *pool;
    struct nb_error err;
    const struct nb_net_ports ports = {g, &input, &output, 1, 1};
    assert_in_range(nb_value_count(&g->values[output]), 1, MOST);
    assert_ok(nb_pool_create(&pool, 2, NULL, &err), &err);
    assert_ok(nb_net_session_create(&s, &ports, pool, NULL, &err), &err);
    nb_net_session_run(s, in, out);
    nb_net_session_destroy(s);
    nb_pool_destroy(pool);
    return (size_t)nb_value_count(&g->values[output]);
}

/* y leaves; `nodes` are left of all. */
static void check(struct nb_graph *g, uint32_t y, size_t nodes)
{
    static float as_file[MOST], after[MOST];
    struct nb_graph to;
    struct nb_error err;
    nb_graph_output(g, y, "y");
    assert_ok(nb_graph_check(g, &err), &err);
    const size_t n = run(g, as_file);
    nb_graph_init(&to, NULL);
    assert_ok(nb_pass_affine(&to, g, &err), &err);
    assert_int_equal(to.n_nodes, nodes);
    assert_int_equal(run(&to, after), n);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(as_file[i] - after[i]) <= 1e-5F * (4.0F + fabsf(as_file[i])));
    nb_graph_fini(&to);
    nb_graph_fini(g);
}

/* Behind a layer: + c, * c, - c, / c, of which the first two are of channels. */
static uint32_t chain(struct nb_graph *g, uint32_t y, uint64_t channels)
{
    const uint64_t dims[] = {channels, 1, 1};
    y = binary(g, NB_BINARY_ADD, y, constant(g, 3, dims, 900));
    y = binary(g, NB_BINARY_MUL, constant(g, 3, dims, 930), y);
    y = binary(g, NB_BINARY_SUB, y, constant(g, 0, NULL, 960));
    return binary(g, NB_BINARY_DIV, y, constant(g, 0, NULL, 961));
}

static void test_conv(void **state)
{
    (void)state;
    static const int64_t kernel[] = {3, 2}, one[] = {1, 1}, pads[] = {1, 0, 1, 1};
    const uint64_t image[] = {2, 4, 5, 6}, dims[] = {6, 2, 3, 2}, m = 6;
    const struct nb_attr attrs[] = {
        NB_ATTR_LIST("kernel", kernel, 2), NB_ATTR_LIST("stride", one, 2),
        NB_ATTR_LIST("dilation", one, 2),  NB_ATTR_LIST("pads", pads, 4),
        NB_ATTR_INT("groups", 2),          NB_ATTR_INT("last", 0),
        NB_ATTR_INT("act", NB_CONV_NONE),  NB_ATTR_REAL("low", 0.0),
        NB_ATTR_REAL("high", 0.0)};
    for (int bias = 0; bias < 2; bias++) {
        struct nb_graph g;
        uint32_t x;
        start(&g, &x, 4, image);
        const uint32_t in[] = {x, constant(&g, 4, dims, 100), constant(&g, 1, &m, 500)};
        const uint32_t y = node(&g, &nb_op_conv, in, bias ? 3 : 2, attrs, NB_COUNTOF(attrs));
        check(&g, chain(&g, y, m), 1);
    }
}

/* Its weights have the channels of a group behind those of the input. */
static void test_transposed(void **state)
{
    (void)state;
    static const int64_t kernel[] = {2, 3}, stride[] = {2, 1}, one[] = {1, 1}, none[4] = {0},
                         size[] = {6, 6};
    const uint64_t image[] = {1, 4, 3, 4}, m = 6;
    for (int64_t groups = 1; groups <= 2; groups++)
        for (int bias = 0; bias < 2; bias++) {
            const uint64_t dims[] = {4, m / (uint64_t)groups, 2, 3};
            const struct nb_attr attrs[] = {
                NB_ATTR_LIST("kernel", kernel, 2), NB_ATTR_LIST("stride", stride, 2),
                NB_ATTR_LIST("dilation", one, 2),  NB_ATTR_LIST("pads", none, 4),
                NB_ATTR_INT("groups", groups),     NB_ATTR_INT("last", 0),
                NB_ATTR_LIST("size", size, 2)};
            struct nb_graph g;
            uint32_t x;
            start(&g, &x, 4, image);
            const uint32_t in[] = {x, constant(&g, 4, dims, 100), constant(&g, 1, &m, 500)};
            const uint32_t y =
                node(&g, &nb_op_conv_transpose, in, bias ? 3 : 2, attrs, NB_COUNTOF(attrs));
            check(&g, chain(&g, y, m), 1);
        }
}

/* x + x g is one product of the large array; not where g is as large, or the product has another reader. */
static void test_gate(void **state)
{
    (void)state;
    const uint64_t image[] = {2, 3, 4, 5}, one_each[] = {3, 1, 1};
    for (int side = 0; side < 2; side++) {
        struct nb_graph g;
        uint32_t x;
        start(&g, &x, 4, image);
        const uint32_t c = constant(&g, 3, one_each, 700);
        const uint32_t p = binary(&g, NB_BINARY_MUL, side ? c : x, side ? x : c);
        check(&g, binary(&g, NB_BINARY_ADD, side ? x : p, side ? p : x), 1);
    }
    struct nb_graph g;
    uint32_t x;
    start(&g, &x, 4, image);
    const uint32_t p = binary(&g, NB_BINARY_MUL, x, constant(&g, 4, image, 700));
    check(&g, binary(&g, NB_BINARY_ADD, p, x), 2);
    start(&g, &x, 4, image);
    const uint32_t q = binary(&g, NB_BINARY_MUL, x, constant(&g, 3, one_each, 700));
    const uint32_t s = binary(&g, NB_BINARY_ADD, q, x);
    check(&g, binary(&g, NB_BINARY_SUB, s, q), 3);
}

NB_TEST_MAIN(cmocka_unit_test(test_conv), cmocka_unit_test(test_transposed),
             cmocka_unit_test(test_gate))
