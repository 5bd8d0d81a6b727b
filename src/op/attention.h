/* op/attention.h: what attention and its gradient share: sizes, and which positions a token sees. */
#ifndef NB_OP_ATTENTION_H
#define NB_OP_ATTENTION_H

#include "op/op_internal.h"

enum { ATTENTION_HEADS, ATTENTION_SCALE, ATTENTION_WINDOW, ATTENTION_SOFTCAP, ATTENTION_CAUSAL };
enum { ATTENTION_Q, ATTENTION_K, ATTENTION_V };

#define ATTENTION_TASK_ROWS 48U /* query rows of a task, unless a group of heads is larger */
#define ATTENTION_POSITIONS 64U /* keys or values met at once                              */
#define ATTENTION_ALIGN     16U /* floats */

/* Sizes of a call. */
struct attention_dims {
    size_t heads, kv_heads, group, head_dim;
    size_t capacity; /* positions that K and V hold     */
    size_t tokens;   /* of a task                       */
    size_t window;   /* no larger than the context      */
    size_t context;  /* positions there can be          */
};

/* Positions first .. end - 1. */
struct attention_span {
    size_t first, end;
};

static inline struct attention_dims attention_dims(const struct nb_op_call *c)
{
    struct attention_dims d = {.heads = (size_t)c->node->attr[ATTENTION_HEADS].i,
                               .head_dim = (size_t)c->in[ATTENTION_K]->cols,
                               .capacity = (size_t)c->sym[NB_SYM_CACHE],
                               .context = (size_t)c->sym[NB_SYM_CACHE]};
    const uint64_t window = (uint64_t)c->node->attr[ATTENTION_WINDOW].i;
    if (window)
        d.capacity = (size_t)c->sym[NB_SYM_WINDOW];
    d.kv_heads = (size_t)c->in[ATTENTION_K]->rows / d.capacity;
    d.group = d.heads / d.kv_heads;
    d.tokens = NB_MAX(ATTENTION_TASK_ROWS / d.group, 1);
    d.window = window == 0 ? d.context : (size_t)NB_MIN(window, d.context);
    return d;
}

/* Floats of a row of scores of n neighbouring tokens. */
static inline size_t attention_row(const struct attention_dims *d, size_t n)
{
    const size_t seen = NB_MIN(d->window + n - 1, d->context);
    return (seen + ATTENTION_ALIGN - 1) / ATTENTION_ALIGN * ATTENTION_ALIGN;
}

/* Positions that token t of the call sees. */
static inline struct attention_span attention_seen(const struct nb_op_call *c,
                                                   const struct attention_dims *d, size_t t)
{
    const size_t p = (size_t)c->position + t;
    if (c->node->attr[ATTENTION_CAUSAL].i == 0)
        return (struct attention_span){0, (size_t)(c->position + c->in[ATTENTION_Q]->rows)};
    return (struct attention_span){p + 1 > d->window ? p + 1 - d->window : 0, p + 1};
}

/* Keys or values (which) of n positions from `first` on as floats: where they lie if they are stored as such
 * and the ring does not wrap among them, decoded to memory (n, head_dim) otherwise. */
static inline const float *attention_rows(const struct nb_op_call *c,
                                          const struct attention_dims *d, uint32_t which,
                                          size_t kv_head, struct attention_span at, float *memory)
{
    const struct nb_slot *s = c->in[which];
    const size_t row_bytes = d->head_dim / s->type->block * s->type->block_bytes;
    const size_t n = at.end - at.first, slot = at.first % d->capacity;
    const size_t before_end = NB_MIN(n, d->capacity - slot);
    const uint8_t *src = (const uint8_t *)s->data + kv_head * d->capacity * row_bytes;
    if (s->type == &nb_numfmt_f32 && before_end == n)
        return (const float *)s->data + (kv_head * d->capacity + slot) * d->head_dim;
    s->type->decode(src + slot * row_bytes, memory, before_end * d->head_dim);
    if (before_end < n) /* the ring goes on at its beginning */
        s->type->decode(src, memory + before_end * d->head_dim, (n - before_end) * d->head_dim);
    return memory;
}

/* ---- attention_grad.c ---- */
bool nb_attention_grad_scratch(const struct nb_op_call *c, size_t *bytes);
bool nb_attention_grad_shared(const struct nb_op_call *c, size_t *bytes);
void nb_attention_grad(const struct nb_op_grad *g);

#endif
