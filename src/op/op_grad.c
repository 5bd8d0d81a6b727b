/* op/op_grad.c: steps that gradients of several operators share. */
#include "op/op_internal.h"

struct pass {
    const struct nb_op_grad *g;
    float *to;
};

static void add_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct pass *p = ctx;
    (void)worker;
    p->g->call->kernels->add_f32(p->to + begin, p->to + begin, p->g->out[0] + begin, end - begin);
}

void nb_op_grad_pass(const struct nb_op_grad *g, uint32_t input)
{
    struct pass p = {g, g->in[input]};
    const struct nb_slot *y = g->call->out[0];
    if (p.to)
        nb_pool_for(g->call->pool, (size_t)(y->rows * y->cols), OP_CHUNK_ELEMENTS, add_part, &p);
}

/* Token after token. */
static void add_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct pass *p = ctx;
    const struct nb_slot *y = p->g->call->out[0];
    (void)worker;
    for (size_t t = 0; t < y->rows; t++)
        p->g->call->kernels->add_f32(p->to + begin, p->to + begin,
                                     p->g->out[0] + t * y->cols + begin, end - begin);
}

void nb_op_grad_rows(const struct nb_op_grad *g, uint32_t input)
{
    struct pass p = {g, g->in[input]};
    const struct nb_slot *y = g->call->out[0];
    if (p.to)
        nb_pool_for(g->call->pool, (size_t)y->cols, op_grain(y->rows), add_columns, &p);
}
