/* op/embed_position.c: learned embeddings of positions (Devlin et al. 2019; Radford et al. 2019).
 *
 * tokens (T) u32, only counted; table (positions, n), in whatever number format -> (T, n): the rows of
 * this call's positions. A session is not given more positions than the table has rows.
 */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *tokens = op_value(g, n->in[0]), *table = op_value(g, n->in[1]);
    if (tokens->rank != 1)
        return nb_graph_refuse(g, n, "input 0 must be the vector of tokens");
    if (table->kind != NB_VALUE_WEIGHT || table->rank != 2)
        return nb_graph_refuse(g, n, "input 1 must be a matrix of weights");
    op_like(out, tokens, NB_VALUE_F32, table->dim[1].n);
    return true;
}

static uint64_t positions(const struct nb_graph *g, const struct nb_node *n)
{
    return op_value(g, n->in[1])->dim[0].n;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        nb_tensor_decode(c->in[1]->tensor, c->position + t, 1, op_row(c->out[0], t));
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(c->out[0]->cols), rows, &call);
}

const struct nb_op nb_op_embed_position = {
    .name = "embed_position",
    .n_in_min = 2,
    .n_in = 2,
    .quantizable = -1,
    .shape = shape,
    .positions = positions,
    .run = run,
};
