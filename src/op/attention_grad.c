/* op/attention_grad.c: gradients of attention with respect to queries, keys and values.
 *
 *   s_j = scale q . k_j (or its softcap), p = softmax(s), y = sum p_j v_j, so that with dp_j = dy . v_j
 *   ds_j = p_j (dp_j - sum p dp) scale (1 - (s_j / cap)^2)
 *   dq += sum ds_j k_j,  dk_j += sum over queries ds_j q,  dv_j += sum over queries p_j dy
 *
 * The probabilities are made again, for a chunk of tokens at a time (as Dao et al. 2022 do): first tasks by
 * key head and a few tokens, which leave p and ds of the chunk behind them; then tasks by key head and
 * block of positions, which add what the chunk says of these keys and values. The order of every sum
 * follows from sizes alone. Calls start at position 0.
 */
#include "op/attention.h"

#define CHUNK_TOKENS 96U /* at least one task */

/* One gradient under way. Rows of p and ds: key head, token of the chunk, head of the group. */
struct work {
    const struct nb_op_grad *g;
    const struct nb_op_call *c;
    struct attention_dims d;
    size_t chunk, stride;       /* tokens of a chunk; floats of a row     */
    size_t t0, n;               /* the chunk: tokens t0 .. t0 + n - 1     */
    struct attention_span seen; /* by any token of the chunk              */
    float *p, *ds;              /* (kv_heads, chunk * group, stride), from position seen.first on */
};

/* A worker's memory. */
struct bench {
    float *q, *dy, *dq; /* (rows, head_dim)                      */
    float *block;       /* (ATTENTION_POSITIONS, head_dim)       */
    float *capped;      /* (stride) scores of a row, with a cap  */
};

static size_t chunk_of(const struct attention_dims *d)
{
    return NB_MAX(CHUNK_TOKENS / d->tokens, 1) * d->tokens;
}

bool nb_attention_grad_scratch(const struct nb_op_call *c, size_t *bytes)
{
    const struct attention_dims d = attention_dims(c);
    const uint64_t row = d.tokens * d.group;
    *bytes = 0;
    return op_add_bytes(bytes, 3 * row * d.head_dim, sizeof(float)) &&
           op_add_bytes(bytes, ATTENTION_POSITIONS * d.head_dim, sizeof(float)) &&
           op_add_bytes(bytes, attention_row(&d, chunk_of(&d)), sizeof(float));
}

bool nb_attention_grad_shared(const struct nb_op_call *c, size_t *bytes)
{
    const struct attention_dims d = attention_dims(c);
    const size_t chunk = chunk_of(&d);
    uint64_t n;
    *bytes = 0;
    return nb_mul_u64(&n, 2 * d.heads * chunk, attention_row(&d, chunk)) &&
           op_add_bytes(bytes, n, sizeof(float));
}

static struct bench bench_of(const struct work *w, unsigned worker)
{
    uint8_t *at = op_scratch(w->c, worker);
    const size_t n = w->d.tokens * w->d.group * w->d.head_dim;
    struct bench b = {.q = op_take(&at, 3 * n, sizeof(float))};
    b.dy = b.q + n;
    b.dq = b.dy + n;
    b.block = op_take(&at, ATTENTION_POSITIONS * w->d.head_dim, sizeof(float));
    b.capped = (void *)at;
    return b;
}

/* ---- by tokens ---- */

/* Some tokens of the chunk in one key head: row i is token t + i / group, head i % group of the group. */
struct task {
    size_t kv_head, t, n_rows;
    struct attention_span seen; /* by any of the tokens */
    float *p, *ds;              /* the first row's      */
};

static size_t head_at(const struct work *w, const struct task *k, size_t row)
{
    return (k->t + row / w->d.group) * w->d.heads * w->d.head_dim +
           (k->kv_head * w->d.group + row % w->d.group) * w->d.head_dim;
}

/* p = q . k, ds = dy . v for all positions that a token of the task sees. */
static void products(const struct work *w, const struct task *k, const struct bench *b)
{
    const size_t hd = w->d.head_dim;
    const float *q = w->c->in[ATTENTION_Q]->data;
    for (size_t i = 0; i < k->n_rows; i++) {
        memcpy(b->q + i * hd, q + head_at(w, k, i), hd * sizeof *q);
        memcpy(b->dy + i * hd, w->g->out[0] + head_at(w, k, i), hd * sizeof *q);
    }
    for (size_t at = k->seen.first; at < k->seen.end; at += ATTENTION_POSITIONS) {
        const size_t n = NB_MIN(ATTENTION_POSITIONS, k->seen.end - at), i = at - w->seen.first;
        const struct attention_span span = {at, at + n};
        const float *x = attention_rows(w->c, &w->d, ATTENTION_K, k->kv_head, span, b->block);
        w->c->kernels->gemm_f32_f32_f32(k->p + i, w->stride, x, n, b->q, hd, k->n_rows, hd);
        x = attention_rows(w->c, &w->d, ATTENTION_V, k->kv_head, span, b->block);
        w->c->kernels->gemm_f32_f32_f32(k->ds + i, w->stride, x, n, b->dy, hd, k->n_rows, hd);
    }
}

/* One row over the n positions that it sees: p from products to probabilities, ds from dy . v to what the
 * name says. */
static void differentiate(const struct work *w, float *p, float *ds, size_t n, float *capped)
{
    const double scale = w->c->node->attr[ATTENTION_SCALE].f;
    const double cap = w->c->node->attr[ATTENTION_SOFTCAP].f;
    const struct nb_kernels *kernels = w->c->kernels;
    if (cap > 0.0) {
        kernels->softcap_f32(p, p, n, (float)(scale / cap), (float)cap);
        memcpy(capped, p, n * sizeof *p);
    }
    kernels->softmax_f32(p, n, cap > 0.0 ? 1.0F : (float)scale);
    const float mean = kernels->dot_f32_f32(p, ds, n), factor = (float)scale;
    const float inverse = cap > 0.0 ? (float)(1.0 / cap) : 0.0F;
    for (size_t j = 0; j < n; j++)
        ds[j] = p[j] * (ds[j] - mean) * factor;
    for (size_t j = 0; cap > 0.0 && j < n; j++)
        ds[j] *= 1.0F - (capped[j] * inverse) * (capped[j] * inverse);
}

/* Zeros where a row does not see: sums walk all positions of the chunk. */
static void settle(const struct work *w, float *row, struct attention_span seen)
{
    memset(row, 0, (seen.first - w->seen.first) * sizeof *row);
    memset(row + (seen.end - w->seen.first), 0, (w->seen.end - seen.end) * sizeof *row);
}

static void rows(const struct work *w, const struct task *k, const struct bench *b)
{
    for (size_t i = 0; i < k->n_rows; i++) {
        const struct attention_span seen = attention_seen(w->c, &w->d, k->t + i / w->d.group);
        const size_t first = seen.first - w->seen.first;
        float *p = k->p + i * w->stride, *ds = k->ds + i * w->stride;
        settle(w, p, seen);
        settle(w, ds, seen);
        differentiate(w, p + first, ds + first, seen.end - seen.first, b->capped);
    }
}

static void queries(const struct work *w, const struct task *k, const struct bench *b)
{
    const size_t hd = w->d.head_dim;
    memset(b->dq, 0, k->n_rows * hd * sizeof *b->dq);
    for (size_t at = k->seen.first; at < k->seen.end; at += ATTENTION_POSITIONS) {
        const size_t n = NB_MIN(ATTENTION_POSITIONS, k->seen.end - at);
        const struct attention_span span = {at, at + n};
        const float *x = attention_rows(w->c, &w->d, ATTENTION_K, k->kv_head, span, b->block);
        w->c->kernels->wsum_f32_f32_f32(&(struct nb_wsum){.y = b->dq,
                                                          .p = k->ds + (at - w->seen.first),
                                                          .v = x,
                                                          .y_stride = hd,
                                                          .p_stride = w->stride,
                                                          .p_step = 1,
                                                          .v_stride = hd,
                                                          .n_rows = k->n_rows,
                                                          .n = n,
                                                          .d = hd});
    }
    for (size_t i = 0; i < k->n_rows; i++) {
        float *dq = w->g->in[ATTENTION_Q] + head_at(w, k, i);
        w->c->kernels->add_f32(dq, dq, b->dq + i * hd, hd);
    }
}

static void by_tokens(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct bench b = bench_of(w, worker);
    for (size_t i = begin; i < end; i++) {
        struct task k = {.kv_head = i % w->d.kv_heads};
        const size_t t = i / w->d.kv_heads * w->d.tokens, n = NB_MIN(w->d.tokens, w->n - t);
        const size_t row = (k.kv_head * w->chunk + t) * w->d.group;
        k.t = w->t0 + t;
        k.n_rows = n * w->d.group;
        k.seen.first = attention_seen(w->c, &w->d, k.t).first;
        k.seen.end = attention_seen(w->c, &w->d, k.t + n - 1).end;
        k.p = w->p + row * w->stride;
        k.ds = w->ds + row * w->stride;
        products(w, &k, &b);
        rows(w, &k, &b);
        if (w->g->in[ATTENTION_Q])
            queries(w, &k, &b);
    }
}

/* ---- by positions ---- */

/* to[j] += sum over the chunk's rows of weights[row, j] from[row], for n positions from `at` on: head after
 * head of the group, token after token. */
static void collect(const struct work *w, float *to, const float *weights, const float *from,
                    size_t kv_head, struct attention_span at)
{
    const size_t hd = w->d.head_dim, cols = w->d.heads * hd, group = w->d.group;
    const float *row =
        weights + kv_head * w->chunk * group * w->stride + (at.first - w->seen.first);
    for (size_t h = 0; h < group; h++)
        w->c->kernels->wsum_f32_f32_f32(
            &(struct nb_wsum){.y = to + (kv_head * w->d.capacity + at.first) * hd,
                              .p = row + h * w->stride,
                              .v = from + w->t0 * cols + (kv_head * group + h) * hd,
                              .y_stride = hd,
                              .p_stride = 1,
                              .p_step = group * w->stride,
                              .v_stride = cols,
                              .n_rows = at.end - at.first,
                              .n = w->n,
                              .d = hd});
}

static void by_positions(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    float *dk = w->g->in[ATTENTION_K], *dv = w->g->in[ATTENTION_V];
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t first = w->seen.first + i / w->d.kv_heads * ATTENTION_POSITIONS;
        const struct attention_span at = {first, NB_MIN(first + ATTENTION_POSITIONS, w->seen.end)};
        if (dk)
            collect(w, dk, w->ds, w->c->in[ATTENTION_Q]->data, i % w->d.kv_heads, at);
        if (dv)
            collect(w, dv, w->p, w->g->out[0], i % w->d.kv_heads, at);
    }
}

void nb_attention_grad(const struct nb_op_grad *g)
{
    struct work w = {.g = g, .c = g->call, .d = attention_dims(g->call), .p = g->call->shared};
    const size_t n_tokens = (size_t)g->call->in[ATTENTION_Q]->rows;
    w.chunk = chunk_of(&w.d);
    w.stride = attention_row(&w.d, w.chunk);
    w.ds = w.p + w.d.heads * w.chunk * w.stride;
    for (w.t0 = 0; w.t0 < n_tokens; w.t0 += w.chunk) {
        w.n = NB_MIN(w.chunk, n_tokens - w.t0);
        w.seen.first = attention_seen(w.c, &w.d, w.t0).first;
        w.seen.end = attention_seen(w.c, &w.d, w.t0 + w.n - 1).end;
        const size_t blocks =
            (w.seen.end - w.seen.first + ATTENTION_POSITIONS - 1) / ATTENTION_POSITIONS;
        nb_pool_for(w.c->pool, (w.n + w.d.tokens - 1) / w.d.tokens * w.d.kv_heads, 1, by_tokens,
                    &w);
        nb_pool_for(w.c->pool, blocks * w.d.kv_heads, 1, by_positions, &w);
    }
}
