/* op/op_internal.h: what the operators share. */
#ifndef NB_OP_OP_INTERNAL_H
#define NB_OP_OP_INTERNAL_H

#include "graph/graph.h"
#include "numfmt/numfmt.h"

#include <string.h>

/* Elements one chunk of light work holds: less and handing it out costs more than doing it. */
#define OP_CHUNK_ELEMENTS 16384U

static inline const struct nb_value *op_value(const struct nb_graph *g, uint32_t id)
{
    return &g->values[id];
}

/* The last dimension. */
static inline struct nb_dim op_cols(const struct nb_value *v)
{
    return v->rank ? v->dim[v->rank - 1] : nb_dim_const(1);
}

static inline bool op_is_f32_matrix(const struct nb_value *v)
{
    return v->type == NB_VALUE_F32 && v->rank == 2 && v->dim[1].sym == NB_SYM_ONE;
}

/* Elements one after the other, without blocks: what operators of graphs from files work on. */
static inline bool op_is_plain(const struct nb_value *v)
{
    return nb_value_item_bytes(v->type) > 0;
}

/* Are zero points and bounds of 8-bit integers, n attributes whose last two are low <= high, bytes? false: refused. */
static inline bool op_bytes(struct nb_graph *g, const struct nb_node *node,
                            const struct nb_attr *attr, uint32_t n)
{
    bool fit = attr[n - 2].i <= attr[n - 1].i;
    for (uint32_t i = 0; i < n; i++)
        fit = fit && attr[i].i >= 0 && attr[i].i <= 255;
    return fit || nb_graph_refuse(g, node, "a zero point or a bound that is no byte");
}

/* out's rank and dimensions are those of a list. false: refused. */
static inline bool op_list_dims(struct nb_graph *g, const struct nb_node *n,
                                const struct nb_attr *dims, struct nb_value *out)
{
    uint64_t total = 1;
    if (dims->i < 0 || dims->i > NB_VALUE_DIMS)
        return nb_graph_refuse(g, n, "%lld dimensions; up to %d are possible", (long long)dims->i,
                               NB_VALUE_DIMS);
    out->rank = (uint32_t)dims->i;
    for (uint32_t i = 0; i < out->rank; i++) {
        if (dims->list[i] < 0 || !nb_mul_u64(&total, total, (uint64_t)dims->list[i]))
            return nb_graph_refuse(g, n, "dimension %u is %lld", i, (long long)dims->list[i]);
        out->dim[i] = nb_dim_const((uint64_t)dims->list[i]);
    }
    return true;
}

/* out has a's type and dimensions. */
static inline void op_copy_dims(struct nb_value *out, const struct nb_value *a,
                                enum nb_value_type type)
{
    out->type = type;
    out->rank = a->rank;
    memcpy(out->dim, a->dim, sizeof out->dim);
}

/* The dimension of a state that counts positions. */
static inline bool op_is_cache(struct nb_dim d)
{
    return d.n == 1 && (d.sym == NB_SYM_CACHE || d.sym == NB_SYM_WINDOW);
}

static inline bool op_is_act(int64_t act)
{
    return act >= NB_ACT_SILU && act <= NB_ACT_RELU2;
}

/* A matrix of the same rows as `like` and so many columns. */
static inline void op_like(struct nb_value *out, const struct nb_value *like,
                           enum nb_value_type type, uint64_t cols)
{
    out->type = type;
    out->rank = 2;
    out->dim[0] = like->dim[0];
    out->dim[1] = nb_dim_const(cols);
}

/* Items of `cols` elements in a chunk; depends on sizes alone. */
static inline size_t op_grain(uint64_t cols)
{
    return cols >= OP_CHUNK_ELEMENTS ? 1 : (size_t)(OP_CHUNK_ELEMENTS / (cols ? cols : 1));
}

static inline float *op_row(const struct nb_slot *s, size_t row)
{
    return (float *)s->data + row * s->cols;
}

static inline void *op_scratch(const struct nb_op_call *c, unsigned worker)
{
    return c->scratch + (size_t)worker * c->scratch_stride;
}

/* in[input] += out[0], element by element, and the same for a vector of out[0]'s columns, row after row; nothing
 * when nobody wants it. */
void nb_op_grad_pass(const struct nb_op_grad *g, uint32_t input);
void nb_op_grad_rows(const struct nb_op_grad *g, uint32_t input);

/* Adds n items of size bytes to *total, rounded up to whole cache lines. */
NB_CHECKED static inline bool op_add_bytes(size_t *total, uint64_t n, size_t size)
{
    uint64_t bytes;
    if (!nb_mul_u64(&bytes, n, size) || !nb_add_u64(&bytes, bytes, NB_ALIGN - 1))
        return false;
    bytes = bytes / NB_ALIGN * NB_ALIGN;
    return bytes <= SIZE_MAX && nb_add_size(total, *total, (size_t)bytes);
}

/* Takes what op_add_bytes counted. */
static inline void *op_take(uint8_t **at, size_t n, size_t size)
{
    void *p = *at;
    *at += (n * size + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
    return p;
}

#endif
