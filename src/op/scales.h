/* op/scales.h: scales and zero points of an array: one of all, one for each place in a dimension, or one for each
 * block of `block` places there (ONNX QuantizeLinear, opset 21).
 */
#ifndef NB_OP_SCALES_H
#define NB_OP_SCALES_H

#include "op/op_internal.h"

/* An array of (outer, n, inner) and where the scales of its rows of `inner` elements lie. */
struct op_scales {
    size_t outer, n, inner;
    size_t block, n_blocks; /* block 0: of no use */
    bool single;
};

/* false: s has not the dimensions of scales of x. */
static inline bool op_scales_of(struct op_scales *out, const struct nb_value *x,
                                const struct nb_value *s, int64_t axis, int64_t block)
{
    *out = (struct op_scales){.outer = 1, .n = 1, .inner = 1};
    if (block == 0 && s->rank <= 1 && nb_value_count(s) == 1) {
        out->single = true;
        out->inner = (size_t)nb_value_count(x);
        out->outer = 0; /* rows are made as it suits */
        return true;
    }
    if (axis < 0 || axis >= (int64_t)x->rank || block < 0)
        return false;
    for (uint32_t i = 0; i < x->rank; i++)
        *(i < (uint32_t)axis   ? &out->outer
          : i > (uint32_t)axis ? &out->inner
                               : &out->n) *= (size_t)x->dim[i].n;
    if (block == 0)
        return s->rank == 1 && s->dim[0].n == x->dim[axis].n;
    if (s->rank != x->rank)
        return false;
    out->block = (size_t)block;
    out->n_blocks = (size_t)s->dim[axis].n;
    for (uint32_t i = 0; i < x->rank; i++)
        if (i == (uint32_t)axis
                ? s->dim[i].n != (x->dim[i].n + (uint64_t)block - 1) / (uint64_t)block
                : s->dim[i].n != x->dim[i].n)
            return false;
    return true;
}

/* Of a row: the first one's scale, and how far the next one's is. */
static inline size_t op_scale_at(const struct op_scales *s, size_t row, size_t *step)
{
    *step = s->block > 0;
    if (s->single)
        return 0;
    if (s->block == 0)
        return row % s->n;
    return (row / s->n * s->n_blocks + row % s->n / s->block) * s->inner;
}

/* Calls fn for parts of rows: a single scale has rows of one element. */
static inline void op_scales_for(const struct op_scales *s, struct nb_pool *pool, nb_pool_fn *fn,
                                 void *ctx)
{
    if (s->single)
        nb_pool_for(pool, s->inner, OP_CHUNK_ELEMENTS, fn, ctx);
    else
        nb_pool_for(pool, s->outer * s->n, op_grain(s->inner), fn, ctx);
}

#endif
