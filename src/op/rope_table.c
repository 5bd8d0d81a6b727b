/* op/rope_table.c: cosines and sines of this call's positions, once for all layers (Su et al. 2021).
 *
 * tokens (T), frequencies (pairs) f64 -> (T, 2 pairs) f32: the cosines of a position, then its sines, all
 * times the attribute `scale` (the attention factor of yarn and longrope; the session sets it).
 * In double, from our own sine and cosine, then rounded once: the same bits on every machine.
 */
#include "op/op_internal.h"

#include "math/math.h"

enum { SCALE };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *tokens = op_value(g, n->in[0]), *freq = op_value(g, n->in[1]);
    if (tokens->rank != 1)
        return nb_graph_refuse(g, n, "input 0 must be the vector of tokens");
    if (freq->type != NB_VALUE_F64 || freq->rank != 1)
        return nb_graph_refuse(g, n, "input 1 must be a vector of frequencies");
    op_like(out, tokens, NB_VALUE_F32, 2 * freq->dim[0].n);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const double *freq = c->in[1]->data, scale = c->node->attr[SCALE].f;
    const size_t pairs = c->in[1]->cols;
    (void)worker;
    for (size_t t = begin; t < end; t++) {
        float *row = op_row(c->out[0], t);
        for (size_t i = 0; i < pairs; i++) {
            const double angle = (double)(c->position + t) * freq[i];
            row[i] = (float)(nb_cos(angle) * scale);
            row[pairs + i] = (float)(nb_sin(angle) * scale);
        }
    }
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    /* a sine costs about 32 light operations */
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(32 * c->out[0]->cols), rows, &call);
}

const struct nb_op nb_op_rope_table = {
    .name = "rope_table",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[SCALE] = "scale"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
};
