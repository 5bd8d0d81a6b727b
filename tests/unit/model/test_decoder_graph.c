/* The graph of the Llama family reads exactly the tensors that the architecture says it has. */
#include "model/model.h"
#include "support/nbtest.h"

static struct nb_error err;

struct count {
    const struct nb_graph *g;
    size_t n;
};

static enum nb_status on_tensor(void *ctx, const struct nb_tensor_spec *spec)
{
    struct count *c = ctx;
    if (spec->role == NB_ROLE_ROPE || !spec->required)
        return NB_OK;
    const uint32_t id = nb_graph_find(c->g, spec->name);
    if (id == 0)
        print_message("%s is not in the graph\n", spec->name);
    assert_int_not_equal(id, 0);
    const struct nb_value *v = &c->g->values[id];
    assert_int_equal(v->kind, NB_VALUE_WEIGHT);
    assert_int_equal(v->rank, spec->shape.n);
    assert_int_equal(v->block, spec->block);
    for (uint32_t i = 0; i < v->rank; i++)
        assert_int_equal(v->dim[i].n, spec->shape.dim[i]);
    c->n++;
    return NB_OK;
}

static void check(const struct nb_hparams *hp)
{
    struct nb_graph g;
    size_t weights = 0;
    nb_graph_init(&g, NULL);
    assert_ok(nb_arch_build(hp, false, &g, &err), &err);
    assert_ok(nb_graph_sort(&g, &err), &err);
    assert_int_equal(g.n_blocks, hp->n_layers);
    assert_int_equal(g.n_nodes, 2 + 16 * hp->n_layers + 3);
    struct count c = {.g = &g};
    assert_ok(nb_arch_tensors(hp, on_tensor, &c), &err);
    for (size_t i = 1; i < g.n_values; i++)
        weights += g.values[i].kind == NB_VALUE_WEIGHT;
    assert_int_equal(c.n, weights);
    nb_graph_fini(&g);
}

static void test_tensors(void **state)
{
    (void)state;
    struct nb_hparams hp = {.arch = nb_arch_by_name("llama"),
                            .n_layers = 3,
                            .n_embd = 64,
                            .n_ff = 96,
                            .n_heads = 4,
                            .n_kv_heads = 2,
                            .head_dim = 32,
                            .rope.dim = 32,
                            .n_vocab = 100,
                            .n_ctx_train = 64,
                            .norm_eps = 1e-5F,
                            .norms = NB_NORM_ATTN | NB_NORM_FFN,
                            .gated = true,
                            .embd_scale = 1,
                            .residual_scale = 1,
                            .logit_scale = 1,
                            .rope.base = 10000.0F,
                            .tied = true};
    assert_non_null(hp.arch);
    check(&hp);
    hp.tied = false;
    check(&hp);
    hp.bias_q = hp.bias_k = hp.bias_v = true;
    check(&hp);
    hp.bias_o = hp.bias_mlp = true;
    check(&hp);
}

static void test_refusals(void **state)
{
    (void)state;
    struct nb_hparams hp = {.arch = nb_arch_by_name("llama"),
                            .n_layers = 1,
                            .n_embd = 64,
                            .n_ff = 96,
                            .n_heads = 4,
                            .n_kv_heads = 3,
                            .head_dim = 32,
                            .rope.dim = 32,
                            .n_vocab = 100};
    struct nb_graph g;
    nb_graph_init(&g, NULL);
    assert_fails(nb_arch_build(&hp, false, &g, &err), NB_ERR_FORMAT, &err, "no multiple of 3");
    hp.n_kv_heads = 2;
    hp.rope.dim = 31;
    assert_fails(nb_arch_build(&hp, false, &g, &err), NB_ERR_FORMAT, &err, "31 rotated");
    hp.rope.dim = 34;
    assert_fails(nb_arch_build(&hp, false, &g, &err), NB_ERR_FORMAT, &err, "34 rotated");
    hp.rope.dim = 32;
    hp.n_ff = 0;
    assert_fails(nb_arch_build(&hp, false, &g, &err), NB_ERR_FORMAT, &err, "may be 0");
    nb_graph_fini(&g);
}

NB_TEST_MAIN(cmocka_unit_test(test_tensors), cmocka_unit_test(test_refusals))
