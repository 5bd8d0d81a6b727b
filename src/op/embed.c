/* op/embed.c: rows of a table, whatever number format it is stored in.
 *
 * tokens (T) u32, table (n_vocab, n_embd) -> (T, n_embd). Tokens were checked against n_vocab before.
 */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *tokens = op_value(g, n->in[0]), *table = op_value(g, n->in[1]);
    if (tokens->type != NB_VALUE_U32 || tokens->rank != 1)
        return nb_graph_refuse(g, n, "input 0 must be a vector of token ids");
    if (table->kind != NB_VALUE_WEIGHT || table->rank != 2)
        return nb_graph_refuse(g, n, "input 1 must be a matrix of weights");
    op_like(out, tokens, NB_VALUE_F32, table->dim[1].n);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct nb_tensor *table = c->in[1]->tensor;
    const uint32_t *tokens = c->in[0]->data;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        nb_tensor_decode(table, tokens[t], 1, op_row(c->out[0], t));
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(c->out[0]->cols), rows, &call);
}

const struct nb_op nb_op_embed = {
    .name = "embed",
    .n_in_min = 2,
    .n_in = 2,
    .quantizable = 1,
    .shape = shape,
    .run = run,
};
