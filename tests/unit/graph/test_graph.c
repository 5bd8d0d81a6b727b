/* Building, ordering and asking a graph. */
#include "graph/graph.h"
#include "support/nbtest.h"

static struct nb_error err;

static uint32_t tokens_of(struct nb_graph *g)
{
    return nb_graph_value(g, &(struct nb_value){.name = "tokens",
                                                .kind = NB_VALUE_INPUT,
                                                .type = NB_VALUE_U32,
                                                .rank = 1,
                                                .dim = {{.n = 1, .sym = NB_SYM_TOKENS}},
                                                .block = NB_NO_BLOCK});
}

static uint32_t add(struct nb_graph *g, const struct nb_op *op, uint32_t a, uint32_t b,
                    int32_t block)
{
    return nb_graph_add(g, &(struct nb_node_args){.op = op, .in = {a, b}, .block = block});
}

/* embed, linear, add with itself */
struct small {
    struct nb_graph g;
    uint32_t tokens, table, w, x, y, z;
};

static void build(struct small *s, const struct nb_allocator *a)
{
    nb_graph_init(&s->g, a);
    s->tokens = tokens_of(&s->g);
    s->table = nb_graph_weight(&s->g, "table", 10, 64, NB_NO_BLOCK);
    s->w = nb_graph_weight(&s->g, "w", 32, 64, 0);
    s->x = add(&s->g, &nb_op_embed, s->tokens, s->table, NB_NO_BLOCK);
    s->y = add(&s->g, &nb_op_linear, s->x, s->w, 0);
    s->z = add(&s->g, &nb_op_add, s->y, s->y, 0);
    nb_graph_output(&s->g, s->z, "out");
}

static void test_build(void **state)
{
    (void)state;
    struct small s;
    build(&s, NULL);
    const struct nb_graph *g = &s.g;
    assert_ok(nb_graph_check(g, &err), &err);
    assert_int_equal(g->n_nodes, 3);
    assert_int_equal(g->n_blocks, 1);
    assert_int_equal(nb_graph_find(g, "w"), s.w);
    assert_int_equal(nb_graph_find(g, "out"), s.z);
    assert_int_equal(nb_graph_find(g, "none"), 0);
    assert_int_equal(nb_graph_weight(&s.g, "w", 32, 64, 0), s.w); /* a tied weight is one value */
    assert_int_equal(g->values[s.z].kind, NB_VALUE_OUTPUT);
    assert_int_equal(g->values[s.y].producer, 2);
    const uint64_t sym[NB_N_SYMS] = {1, 5, 100, 2};
    uint64_t rows, cols, bytes;
    assert_true(nb_value_extent(&g->values[s.y], sym, &rows, &cols));
    assert_int_equal(rows, 5);
    assert_int_equal(cols, 32);
    assert_true(nb_value_bytes(&g->values[s.y], sym, &bytes));
    assert_int_equal(bytes, 5 * 32 * 4);
    assert_false(nb_value_bytes(&g->values[s.w], sym, &bytes)); /* its format is not known here */
    const uint64_t huge[NB_N_SYMS] = {1, UINT64_MAX / 8, 1, 1};
    assert_false(nb_value_bytes(&g->values[s.y], huge, &bytes));
    nb_graph_fini(&s.g);
}

static void test_q8_bytes(void **state)
{
    (void)state;
    struct small s;
    build(&s, NULL);
    const uint32_t q = add(&s.g, &nb_op_quantize_q8, s.x, 0, 0);
    const uint64_t sym[NB_N_SYMS] = {1, 3, 1, 1};
    uint64_t bytes;
    assert_true(nb_value_bytes(&s.g.values[q], sym, &bytes));
    assert_int_equal(bytes, 3 * (64 + 2 * 4 + 4 * 2));
    _Alignas(8) uint8_t memory[240];
    const struct nb_slot slot = {.data = memory, .rows = 3, .cols = 64};
    const struct nb_q8 parts = nb_slot_q8(&slot);
    assert_ptr_equal(parts.q, memory);
    assert_ptr_equal(parts.d, memory + 192);
    assert_ptr_equal(parts.sum16, memory + 192 + 24);
    nb_graph_fini(&s.g);
}

static void test_order(void **state)
{
    (void)state;
    struct small s;
    build(&s, NULL);
    /* a node added last that an early one needs: it moves to just before its reader */
    const uint32_t q = add(&s.g, &nb_op_quantize_q8, s.x, 0, 0);
    s.g.nodes[1].in[3] = q;
    assert_ok(nb_graph_sort(&s.g, &err), &err);
    const uint32_t want[] = {0, 3, 1, 2};
    assert_memory_equal(s.g.order, want, sizeof want);
    struct nb_life life[16];
    assert_true(s.g.n_values <= 16);
    nb_graph_lives(&s.g, life);
    assert_int_equal(life[s.x].first, 0);
    assert_int_equal(life[s.x].last, 2);
    assert_int_equal(life[q].first, 1);
    assert_int_equal(life[q].last, 2);
    assert_int_equal(life[s.z].first, 3);
    assert_int_equal(life[s.z].last, 3);
    struct nb_str text;
    nb_str_init(&text, NULL);
    nb_graph_dump(&s.g, &text);
    assert_ok(nb_str_check(&text, &err), &err);
    assert_string_equal(text.data,
                        "0 embed v4 (T, 64) <- tokens (T), table (10, 64)\n"
                        "3 blk.0 quantize_q8 v7 (T, 64) <- v4 (T, 64)\n"
                        "1 blk.0 linear v5 (T, 32) <- v4 (T, 64), w (32, 64), v7 (T, 64)\n"
                        "2 blk.0 add out (T, 32) <- v5 (T, 32), v5 (T, 32)\n");
    nb_str_fini(&text);
    s.g.nodes[0].in[0] = s.z; /* now everything waits for everything */
    assert_fails(nb_graph_sort(&s.g, &err), NB_ERR_FORMAT, &err, "depends on itself");
    nb_graph_fini(&s.g);
}

/* A chain of a hundred thousand nodes given backwards needs no deep stack. */
static void test_long_chain(void **state)
{
    (void)state;
    enum { LENGTH = 100000 };
    struct nb_graph g;
    nb_graph_init(&g, NULL);
    const uint32_t tokens = tokens_of(&g), table = nb_graph_weight(&g, "t", 4, 8, NB_NO_BLOCK);
    const uint32_t x = add(&g, &nb_op_embed, tokens, table, NB_NO_BLOCK);
    for (uint32_t i = 0; i < LENGTH; i++)
        (void)add(&g, &nb_op_add, x, x, NB_NO_BLOCK);
    for (uint32_t i = 1; i < LENGTH; i++) /* node i reads node i + 1 */
        g.nodes[i].in[0] = g.nodes[i + 1].out[0];
    assert_ok(nb_graph_sort(&g, &err), &err);
    assert_int_equal(g.order[0], 0);
    assert_int_equal(g.order[1], LENGTH);
    assert_int_equal(g.order[LENGTH], 1);
    nb_graph_fini(&g);
}

static void test_refusals(void **state)
{
    (void)state;
    struct small s;
    build(&s, NULL);
    assert_int_equal(add(&s.g, &nb_op_linear, s.z, s.w, 0), 0); /* 32 columns, 64 wanted */
    assert_fails(nb_graph_check(&s.g, &err), NB_ERR_INTERNAL, &err,
                 "weight w does not have 32 columns");
    assert_int_equal(add(&s.g, &nb_op_add, s.z, s.z, 0), 0); /* a failed graph stays failed */
    assert_fails(nb_graph_sort(&s.g, &err), NB_ERR_INTERNAL, &err, "node 3 (linear)");
    nb_graph_fini(&s.g);

    build(&s, NULL);
    assert_int_equal(add(&s.g, &nb_op_add, s.z, 0, 0), 0);
    assert_fails(nb_graph_check(&s.g, &err), NB_ERR_INTERNAL, &err, "input 1 is missing");
    nb_graph_fini(&s.g);

    build(&s, NULL);
    assert_int_equal(add(&s.g, &nb_op_tail, s.z, s.z, 0), 0);
    assert_fails(nb_graph_check(&s.g, &err), NB_ERR_INTERNAL, &err, "input 1 is one too many");
    nb_graph_fini(&s.g);

    build(&s, NULL);
    assert_int_equal(add(&s.g, &nb_op_add, s.z, 99, 0), 0);
    assert_fails(nb_graph_check(&s.g, &err), NB_ERR_INTERNAL, &err, "input 1 is no value");
    nb_graph_fini(&s.g);

    build(&s, NULL);
    const uint32_t norm = nb_graph_weight(&s.g, "norm", 0, 32, 0);
    assert_int_equal(add(&s.g, &nb_op_rms_norm, s.z, norm, 0), 0);
    assert_fails(nb_graph_check(&s.g, &err), NB_ERR_INTERNAL, &err, "attribute 'eps' is missing");
    nb_graph_fini(&s.g);
}

static void test_attributes(void **state)
{
    (void)state;
    struct small s;
    build(&s, NULL);
    const uint32_t table = nb_graph_add(
        &s.g, &(struct nb_node_args){
                  .op = &nb_op_rope_table,
                  .in = {s.tokens, nb_graph_value(&s.g, &(struct nb_value){.name = "freqs",
                                                                           .kind = NB_VALUE_INPUT,
                                                                           .type = NB_VALUE_F64,
                                                                           .rank = 1,
                                                                           .dim = {{.n = 4}}})},
                  .attrs = &(struct nb_attr)NB_ATTR_REAL("scale", 1),
                  .n_attrs = 1,
                  .block = NB_NO_BLOCK});
    const struct nb_attr attrs[] = {NB_ATTR_INT("halves", 0), NB_ATTR_INT("heads", 2)};
    const uint32_t y = nb_graph_add(
        &s.g, &(struct nb_node_args){
                  .op = &nb_op_rope, .in = {s.x, table}, .attrs = attrs, .n_attrs = 2, .block = 1});
    assert_ok(nb_graph_check(&s.g, &err), &err);
    assert_int_equal(s.g.n_blocks, 2);
    const struct nb_node *n = &s.g.nodes[s.g.values[y].producer - 1];
    assert_string_equal(n->attr[0].name, "heads"); /* the operator's order, not the caller's */
    assert_int_equal(n->attr[0].i, 2);
    nb_graph_set_int(&s.g, "halves", 1);
    assert_int_equal(n->attr[1].i, 1);
    const struct nb_attr unknown[] = {NB_ATTR_INT("halves", 0), NB_ATTR_INT("heads", 2),
                                      NB_ATTR_INT("hands", 2)};
    assert_int_equal(nb_graph_add(&s.g, &(struct nb_node_args){.op = &nb_op_rope,
                                                               .in = {s.x, table},
                                                               .attrs = unknown,
                                                               .n_attrs = 3}),
                     0);
    assert_fails(nb_graph_check(&s.g, &err), NB_ERR_INTERNAL, &err, "3 attributes given, 2 known");
    nb_graph_fini(&s.g);
}

static enum nb_status build_once(void *ctx, const struct nb_allocator *a)
{
    struct small s;
    (void)ctx;
    build(&s, a);
    enum nb_status st = nb_graph_check(&s.g, &err);
    if (st == NB_OK)
        st = nb_graph_sort(&s.g, &err);
    nb_graph_fini(&s.g);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(build_once, NULL) >= 6);
}

NB_TEST_MAIN(cmocka_unit_test(test_build), cmocka_unit_test(test_q8_bytes),
             cmocka_unit_test(test_order), cmocka_unit_test(test_long_chain),
             cmocka_unit_test(test_refusals), cmocka_unit_test(test_attributes),
             cmocka_unit_test(test_out_of_memory))
