/* Operators that move elements: the same bits for any pool, and what they refuse. */
#include <math.h>

#include "graph/graph.h"
#include "op/op.h"
#include "support/nbtest.h"

#define ROWS 301
#define COLS 97

static float x_data[ROWS * COLS];

static void set_up_data(void)
{
    for (size_t i = 0; i < NB_COUNTOF(x_data); i++)
        x_data[i] = sinf((float)i) * 3.0F;
}

static struct nb_value matrix(enum nb_value_type type, uint64_t rows, uint64_t cols)
{
    struct nb_value v = {.type = type, .rank = 2};
    v.dim[0] = nb_dim_const(rows);
    v.dim[1] = nb_dim_const(cols);
    return v;
}

/* A graph of constants folds, on one thread; the operator itself is then run on a pool. */
static void check_threads(const struct nb_op *op, const uint32_t *in, size_t n_in,
                          struct nb_graph *g, const struct nb_attr *attrs, size_t n_attrs)
{
    struct nb_node_args args = {.op = op, .attrs = attrs, .n_attrs = n_attrs, .block = NB_NO_BLOCK};
    struct nb_slot slots[4], to;
    struct nb_op_call c = {.kernels = nb_kernels_get(), .sym = {1, 1, 1, 1, 1}};
    struct nb_pool *pool;
    struct nb_error err;
    size_t own = 0, shared = 0;
    for (size_t i = 0; i < n_in; i++)
        args.in[i] = in[i];
    const uint32_t folded = nb_graph_add_folded(g, &args);
    assert_ok(nb_graph_check(g, &err), &err);
    assert_true(folded != 0 && g->values[folded].kind == NB_VALUE_CONST);
    assert_int_not_equal(nb_graph_add(g, &args), 0);
    const struct nb_node node = g->nodes[g->n_nodes - 1];
    const size_t n = (size_t)nb_value_count(&g->values[folded]);
    const size_t bytes = n * nb_value_item_bytes(g->values[folded].type);
    for (size_t i = 0; i < n_in; i++) {
        const struct nb_value *v = &g->values[in[i]];
        slots[i] = (struct nb_slot){.data = (void *)(uintptr_t)v->data, .value = v};
        assert_true(nb_value_extent(v, c.sym, &slots[i].rows, &slots[i].cols));
        c.in[i] = in[i] != 0 ? &slots[i] : NULL;
    }
    to = (struct nb_slot){.data = malloc(bytes), .value = &g->values[node.out[0]]};
    assert_true(nb_value_extent(to.value, c.sym, &to.rows, &to.cols));
    c.node = &node;
    c.out[0] = &to;
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    c.pool = pool;
    assert_true(!op->scratch_bytes || op->scratch_bytes(&c, &own));
    assert_true(!op->shared_bytes || op->shared_bytes(&c, &shared));
    c.scratch = malloc(3 * own + 1);
    c.scratch_stride = own;
    c.shared = malloc(shared + 1);
    op->run(&c);
    assert_memory_equal(to.data, g->values[folded].data, bytes);
    nb_pool_destroy(pool);
    free(to.data);
    free(c.scratch);
    free(c.shared);
}

static uint32_t x_of(struct nb_graph *g)
{
    return nb_graph_const(g, "x", NB_VALUE_F32, (uint64_t[]){ROWS, COLS}, 2, x_data);
}

static void test_pad(void **state)
{
    (void)state;
    static const int64_t begin[] = {-7, 11}, end[] = {350, -3};
    struct nb_graph g;
    nb_graph_init(&g, NULL);
    const uint32_t in[] = {x_of(&g)};
    for (int mode = 0; mode < NB_N_PAD; mode++) {
        const struct nb_attr attrs[] = {NB_ATTR_INT("mode", mode), NB_ATTR_LIST("begin", begin, 2),
                                        NB_ATTR_LIST("end", end, 2)};
        check_threads(&nb_op_pad, in, 1, &g, attrs, 3);
    }
    nb_graph_fini(&g);
}

/* 3 elements reflected beyond their length, cut first. */
static void test_pad_values(void **state)
{
    (void)state;
    static const float data[] = {9, 1, 2, 3}, want[] = {2, 1, 2, 3, 2, 1, 2, 3};
    static const int64_t begin[] = {-1}, front[] = {1}, end[] = {4}, none[] = {0};
    struct nb_graph g;
    nb_graph_init(&g, NULL);
    uint32_t v = nb_graph_const(&g, "x", NB_VALUE_F32, (uint64_t[]){4}, 1, data);
    for (int i = 0; i < 2; i++) {
        const struct nb_attr attrs[] = {NB_ATTR_INT("mode", NB_PAD_REFLECT),
                                        NB_ATTR_LIST("begin", i == 0 ? begin : front, 1),
                                        NB_ATTR_LIST("end", i == 0 ? none : end, 1)};
        v = nb_graph_add_folded(
            &g,
            &(struct nb_node_args){
                .op = &nb_op_pad, .in = {v}, .attrs = attrs, .n_attrs = 3, .block = NB_NO_BLOCK});
    }
    assert_int_equal(nb_value_count(&g.values[v]), 8);
    assert_bits_array(g.values[v].data, want, 8);
    nb_graph_fini(&g);
}

static void test_resize(void **state)
{
    (void)state;
    static const int64_t dims[] = {413, 61};
    static const double scales[] = {413.0 / ROWS, 61.0 / COLS};
    struct nb_graph g;
    nb_graph_init(&g, NULL);
    const uint32_t in[] = {x_of(&g),
                           nb_graph_const(&g, "scales", NB_VALUE_F64, (uint64_t[]){2}, 1, scales)};
    for (int mode = 0; mode < 2 * NB_N_RESIZE; mode++) {
        const struct nb_attr attrs[] = {NB_ATTR_INT("mode", mode / 2),
                                        NB_ATTR_INT("place", NB_PLACE_HALF_PIXEL),
                                        NB_ATTR_INT("round", NB_ROUND_PREFER_FLOOR),
                                        NB_ATTR_LIST("dims", dims, 2),
                                        NB_ATTR_INT("exclude", 0),
                                        NB_ATTR_INT("antialias", mode % 2),
                                        NB_ATTR_REAL("cubic_a", -0.75),
                                        NB_ATTR_REAL("beyond", 0.0),
                                        NB_ATTR_INT("last", 0)};
        check_threads(&nb_op_resize, in, 2, &g, attrs, NB_COUNTOF(attrs));
    }
    nb_graph_fini(&g);
}

static void test_refusals(void **state)
{
    (void)state;
    static const int64_t begin[] = {-ROWS, 0}, end[] = {-1, 0};
    const struct nb_attr pads[] = {NB_ATTR_INT("mode", 0), NB_ATTR_LIST("begin", begin, 2),
                                   NB_ATTR_LIST("end", end, 2)};
    const struct nb_attr axis[] = {NB_ATTR_INT("axis", 2)};
    const struct nb_node_args cases[] = {
        {.op = &nb_op_pad, .attrs = pads, .n_attrs = 3, .block = NB_NO_BLOCK},
        {.op = &nb_op_gather_elements, .attrs = axis, .n_attrs = 1, .block = NB_NO_BLOCK},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_node_args args = cases[i];
        struct nb_value index = matrix(NB_VALUE_I64, ROWS, COLS);
        struct nb_graph g;
        struct nb_error err;
        nb_graph_init(&g, NULL);
        index.name = "index";
        index.kind = NB_VALUE_INPUT;
        args.in[0] = x_of(&g);
        args.in[1] = i > 0 ? nb_graph_value(&g, &index) : 0;
        assert_int_equal(nb_graph_add(&g, &args), 0);
        assert_true(nb_graph_check(&g, &err) != NB_OK);
        nb_graph_fini(&g);
    }
}

static int set_up(void **state)
{
    (void)state;
    set_up_data();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pad), cmocka_unit_test(test_pad_values),
        cmocka_unit_test(test_resize), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
