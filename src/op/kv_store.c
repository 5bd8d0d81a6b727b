/* op/kv_store.c: writes this call's keys and values into the cache.
 *
 * k, v (T, kv_heads * head_dim); states (kv_heads, C or W, head_dim): the positions of a head lie back
 * to back, as attention walks them; in a ring of W, position p at p mod W.
 */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    (void)out;
    for (uint32_t i = 0; i < 2; i++) {
        const struct nb_value *x = op_value(g, n->in[i]), *s = op_value(g, n->out[i]);
        if (!op_is_f32_matrix(x) || s->rank != 3 || !op_is_cache(s->dim[1]) ||
            s->dim[0].n * s->dim[2].n != x->dim[1].n)
            return nb_graph_refuse(g, n, "state %u must be (heads, C or W, head_dim) of input %u",
                                   i, i);
    }
    return true;
}

static void store_row(const struct nb_op_call *c, uint32_t which, size_t t)
{
    const struct nb_slot *state = c->out[which];
    const struct nb_numfmt *type = state->type;
    const size_t head_dim = state->cols, heads = c->in[which]->cols / head_dim;
    const size_t capacity = state->rows / heads, slot = (c->position + t) % capacity;
    const size_t row_bytes = head_dim / type->block * type->block_bytes;
    const float *x = op_row(c->in[which], t);
    for (size_t h = 0; h < heads; h++) {
        uint8_t *dst = (uint8_t *)state->data + (h * capacity + slot) * row_bytes;
        type->encode(dst, x + h * head_dim, NULL, head_dim);
    }
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        for (uint32_t which = 0; which < 2; which++)
            store_row(c, which, t);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->in[0]->rows, op_grain(2 * c->in[0]->cols), rows, &call);
}

/* What readers of the cache found goes to the row that was written there. */
static void grad_row(const struct nb_op_grad *g, uint32_t which, size_t t)
{
    const struct nb_slot *state = g->call->out[which];
    const size_t head_dim = state->cols, cols = g->call->in[which]->cols, heads = cols / head_dim;
    const size_t capacity = state->rows / heads, slot = (g->call->position + t) % capacity;
    float *dx = g->in[which] + t * cols;
    for (size_t h = 0; h < heads; h++)
        g->call->kernels->add_f32(dx + h * head_dim, dx + h * head_dim,
                                  g->out[which] + (h * capacity + slot) * head_dim, head_dim);
}

static void grad_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        for (uint32_t which = 0; which < 2; which++)
            if (g->in[which] && g->out[which])
                grad_row(g, which, t);
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *x = g->call->in[0];
    nb_pool_for(g->call->pool, x->rows, op_grain(2 * x->cols), grad_rows, &work);
}

const struct nb_op nb_op_kv_store = {
    .name = "kv_store",
    .n_in_min = 2,
    .n_in = 2,
    .n_state = 2,
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0 | 1U << 1,
    .grad = grad,
};
