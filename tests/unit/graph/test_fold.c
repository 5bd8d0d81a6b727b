/* Nodes run while the graph is built, and nodes that nobody needs. */
#include "op/op.h"
#include "support/nbtest.h"

static struct nb_error err;

static uint32_t sum(struct nb_graph *g, uint32_t a, uint32_t b, bool fold)
{
    const struct nb_attr attr = NB_ATTR_INT("op", NB_BINARY_ADD);
    const struct nb_node_args args = {
        .op = &nb_op_binary, .in = {a, b}, .attrs = &attr, .n_attrs = 1, .block = NB_NO_BLOCK};
    return fold ? nb_graph_add_folded(g, &args) : nb_graph_add(g, &args);
}

static uint32_t input(struct nb_graph *g, const char *name, uint64_t n)
{
    return nb_graph_value(g, &(struct nb_value){.name = name,
                                                .kind = NB_VALUE_INPUT,
                                                .type = NB_VALUE_F32,
                                                .rank = 1,
                                                .dim = {nb_dim_const(n)},
                                                .block = NB_NO_BLOCK});
}

static void test_fold(void **state)
{
    static const float one[] = {1, 2, 3}, two[] = {10};
    (void)state;
    struct nb_graph g;
    nb_graph_init(&g, NULL);
    const uint32_t a = nb_graph_const(&g, "a", NB_VALUE_F32, (uint64_t[]){3}, 1, one);
    const uint32_t b = nb_graph_const(&g, "b", NB_VALUE_F32, (uint64_t[]){1}, 1, two);
    const uint32_t x = input(&g, "x", 3);
    const uint32_t c = sum(&g, a, b, true);
    assert_ok(nb_graph_check(&g, &err), &err);
    assert_int_equal(g.n_nodes, 0);
    assert_int_equal(g.values[c].kind, NB_VALUE_CONST);
    assert_int_equal(g.values[c].producer, 0);
    const float *data = g.values[c].data;
    assert_true(data[0] == 11 && data[1] == 12 && data[2] == 13);
    const uint32_t d = sum(&g, c, x, true); /* x is not known */
    assert_int_equal(g.n_nodes, 1);
    assert_int_equal(g.values[d].kind, NB_VALUE_ACTIVATION);
    nb_graph_fini(&g);
}

static void test_prune(void **state)
{
    (void)state;
    struct nb_graph g;
    nb_graph_init(&g, NULL);
    const uint32_t x = input(&g, "x", 3), y = input(&g, "y", 3);
    const uint32_t a = sum(&g, x, y, false), dead = sum(&g, a, y, false);
    const uint32_t more = sum(&g, dead, dead, false), z = sum(&g, a, x, false);
    nb_graph_output(&g, z, "z");
    assert_ok(nb_graph_prune(&g, &err), &err);
    assert_int_equal(g.n_nodes, 2);
    assert_int_equal(g.values[more].producer, 0);
    assert_int_equal(g.values[dead].producer, 0);
    assert_int_equal(g.values[a].producer, 1);
    assert_int_equal(g.values[z].producer, 2);
    assert_ok(nb_graph_sort(&g, &err), &err);
    nb_graph_fini(&g);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    static const float one[] = {1, 2, 3};
    struct nb_graph g;
    (void)ctx;
    nb_graph_init(&g, a);
    const uint32_t c = nb_graph_const(&g, "a", NB_VALUE_F32, (uint64_t[]){3}, 1, one);
    nb_graph_output(&g, sum(&g, sum(&g, c, c, true), input(&g, "x", 3), true), "y");
    enum nb_status st = nb_graph_check(&g, &err);
    if (st == NB_OK)
        st = nb_graph_prune(&g, &err);
    nb_graph_fini(&g);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(body, NULL) > 3);
}

NB_TEST_MAIN(cmocka_unit_test(test_fold), cmocka_unit_test(test_prune),
             cmocka_unit_test(test_memory))
