/* op/attention.c: attention of grouped query heads over the cache (Ainslie et al. 2023, GQA).
 *
 * q (T, heads * head_dim), states K, V (kv_heads, C, head_dim) -> (T, heads * head_dim). With a window
 * the states are rings (kv_heads, W, head_dim), position p at p mod W, W >= window + T - 1 or W = C.
 *   s_j = scale * q . k_j,  p = softmax(s),  y = sum p_j v_j     over all positions j the token sees
 * Attributes:
 *   heads, scale
 *   window   0: a token sees all positions up to its own; otherwise at most so many, itself and those
 *            just before (Beltagy et al. 2020)
 *   softcap  above 0: s_j = softcap * tanh(scale * q . k_j / softcap) (Gemma Team 2024)
 *   causal   0: every token sees all positions of the call, which starts at position 0 (Devlin et al.
 *            2019); no window then
 *
 * Per query row: each s_j is one canonical dot, the softmax one kernel call over the positions seen, and
 * y adds position after position with fma. So the bits do not depend on how tokens are grouped. What is
 * grouped is memory traffic: a task is one key head and the rows of some tokens in all its query heads;
 * these share each block of keys and values, which is decoded to floats once, if it is not stored as such.
 * Blocks that none of them sees are not touched. No online softmax: the scores of a task fit in scratch.
 */
#include "op/attention.h"

#define SCORES_ROWS 16U /* keys that their kernel transposes */
#define MANY_ROWS   12U /* query rows for which that pays    */

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *q = op_value(g, n->in[ATTENTION_Q]);
    const uint64_t heads = (uint64_t)n->attr[ATTENTION_HEADS].i;
    if (!op_is_f32_matrix(q) || n->attr[ATTENTION_HEADS].i < 1 || q->dim[1].n % heads != 0)
        return nb_graph_refuse(g, n, "input 0 must be a float matrix of %lld heads",
                               (long long)n->attr[ATTENTION_HEADS].i);
    for (uint32_t i = ATTENTION_K; i <= ATTENTION_V; i++) {
        const struct nb_value *s = op_value(g, n->in[i]);
        const enum nb_sym sym = n->attr[ATTENTION_WINDOW].i ? NB_SYM_WINDOW : NB_SYM_CACHE;
        if (s->kind != NB_VALUE_STATE || s->rank != 3 || s->dim[1].sym != sym ||
            s->dim[2].n != q->dim[1].n / heads || s->dim[0].n == 0 || heads % s->dim[0].n != 0)
            return nb_graph_refuse(g, n, "state %s does not fit %llu query heads", s->name,
                                   (unsigned long long)heads);
    }
    if (n->attr[ATTENTION_WINDOW].i < 0 || !(n->attr[ATTENTION_SOFTCAP].f >= 0.0))
        return nb_graph_refuse(g, n, "window %lld, softcap %g: neither may be below 0",
                               (long long)n->attr[ATTENTION_WINDOW].i,
                               n->attr[ATTENTION_SOFTCAP].f);
    if (n->attr[ATTENTION_WINDOW].i != 0 && n->attr[ATTENTION_CAUSAL].i == 0)
        return nb_graph_refuse(g, n, "a window needs causal attention");
    op_like(out, q, NB_VALUE_F32, q->dim[1].n);
    return true;
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    const struct attention_dims d = attention_dims(c);
    const uint64_t rows = d.tokens * d.group;
    uint64_t scores;
    *bytes = 0;
    return nb_mul_u64(&scores, rows, attention_row(&d, d.tokens)) &&
           op_add_bytes(bytes, scores, sizeof(float)) &&
           op_add_bytes(bytes, 2 * rows * d.head_dim, sizeof(float)) &&
           op_add_bytes(bytes, (ATTENTION_POSITIONS + SCORES_ROWS) * d.head_dim, sizeof(float));
}

/* One task under way. Row i is token t0 + i / group in head kv_head * group + i % group. */
struct task {
    const struct nb_op_call *c;
    struct attention_dims d;
    size_t score_stride; /* floats */
    size_t kv_head, t0, n_rows;
    struct attention_span any, all; /* positions that some row, that every row sees (maybe none) */
    float *scores;                  /* (rows, score_stride), from position any.first on */
    float *q, *y;                   /* (rows, head_dim)       */
    float *block;                   /* (ATTENTION_POSITIONS, head_dim)  */
    float *turned;                  /* (SCORES_ROWS, head_dim)          */
};

static float *head_of(const struct nb_slot *s, const struct task *k, size_t row)
{
    return op_row(s, k->t0 + row / k->d.group) +
           (k->kv_head * k->d.group + row % k->d.group) * k->d.head_dim;
}

static struct attention_span seen_by(const struct task *k, size_t row)
{
    return attention_seen(k->c, &k->d, k->t0 + row / k->d.group);
}

static float *scores_of(const struct task *k, size_t row, size_t position)
{
    return k->scores + row * k->score_stride + (position - k->any.first);
}

static const float *rows_of(const struct task *k, uint32_t which, size_t first, size_t n)
{
    return attention_rows(k->c, &k->d, which, k->kv_head, (struct attention_span){first, first + n},
                          k->block);
}

static void score(const struct task *k)
{
    for (size_t i = 0; i < k->n_rows; i++)
        memcpy(k->q + i * k->d.head_dim, head_of(k->c->in[ATTENTION_Q], k, i),
               k->d.head_dim * sizeof *k->q);
    const struct nb_kernels *kernels = k->c->kernels;
    const size_t hd = k->d.head_dim;
    for (size_t p = k->any.first; p < k->any.end; p += ATTENTION_POSITIONS) {
        const size_t n = NB_MIN(ATTENTION_POSITIONS, k->any.end - p);
        const float *keys = rows_of(k, ATTENTION_K, p, n);
        float *scores = scores_of(k, 0, p);
        if (k->n_rows >= MANY_ROWS)
            kernels->scores_f32_f32_f32(scores, k->score_stride, keys, n, k->q, hd, k->n_rows, hd,
                                        k->turned);
        else
            kernels->gemm_f32_f32_f32(scores, k->score_stride, keys, n, k->q, hd, k->n_rows, hd);
    }
}

static void normalize(const struct task *k)
{
    const double scale = k->c->node->attr[ATTENTION_SCALE].f,
                 cap = k->c->node->attr[ATTENTION_SOFTCAP].f;
    for (size_t i = 0; i < k->n_rows; i++) {
        const struct attention_span seen = seen_by(k, i);
        const size_t n = seen.end - seen.first;
        float *s = scores_of(k, i, seen.first);
        if (cap > 0.0)
            k->c->kernels->softcap_f32(s, s, n, (float)(scale / cap), (float)cap);
        k->c->kernels->softmax_f32(s, n, cap > 0.0 ? 1.0F : (float)scale);
    }
}

/* Adds the values that row i sees of positions first .. end - 1; v: those of position p and on. */
static void weigh_row(const struct task *k, size_t i, const float *v, size_t p,
                      struct attention_span want)
{
    const size_t hd = k->d.head_dim;
    const struct attention_span seen = seen_by(k, i);
    const size_t first = NB_MAX(want.first, seen.first), end = NB_MIN(want.end, seen.end);
    if (first < end)
        k->c->kernels->wsum_f32_f32_f32(&(struct nb_wsum){.y = k->y + i * hd,
                                                          .p = scores_of(k, i, first),
                                                          .p_step = 1,
                                                          .v = v + (first - p) * hd,
                                                          .v_stride = hd,
                                                          .n_rows = 1,
                                                          .n = end - first,
                                                          .d = hd});
}

/* Positions that all rows see: the four-row kernel; those that only some see, before and after: row by
 * row. */
static void weigh(const struct task *k)
{
    const size_t hd = k->d.head_dim;
    memset(k->y, 0, k->n_rows * hd * sizeof *k->y);
    for (size_t p = k->any.first; p < k->any.end; p += ATTENTION_POSITIONS) {
        const size_t end = NB_MIN(p + ATTENTION_POSITIONS, k->any.end);
        const size_t from = NB_MIN(NB_MAX(k->all.first, p), end);
        const size_t to = NB_MAX(NB_MIN(k->all.end, end), from);
        const float *v = rows_of(k, ATTENTION_V, p, end - p);
        for (size_t i = 0; p < from && i < k->n_rows; i++)
            weigh_row(k, i, v, p, (struct attention_span){p, from});
        if (from < to)
            k->c->kernels->wsum_f32_f32_f32(&(struct nb_wsum){.y = k->y,
                                                              .p = scores_of(k, 0, from),
                                                              .v = v + (from - p) * hd,
                                                              .y_stride = hd,
                                                              .p_stride = k->score_stride,
                                                              .p_step = 1,
                                                              .v_stride = hd,
                                                              .n_rows = k->n_rows,
                                                              .n = to - from,
                                                              .d = hd});
        for (size_t i = 0; to < end && i < k->n_rows; i++)
            weigh_row(k, i, v, p, (struct attention_span){to, end});
    }
    for (size_t i = 0; i < k->n_rows; i++)
        memcpy(head_of(k->c->out[0], k, i), k->y + i * hd, hd * sizeof *k->y);
}

static void run_task(struct task *k)
{
    const struct attention_span first = seen_by(k, 0), last = seen_by(k, k->n_rows - 1);
    k->any = (struct attention_span){first.first, last.end};
    k->all = (struct attention_span){last.first, first.end};
    score(k);
    normalize(k);
    weigh(k);
}

static void tasks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct attention_dims d = attention_dims(c);
    const size_t n_t = c->in[ATTENTION_Q]->rows, blocks = (n_t + d.tokens - 1) / d.tokens;
    uint8_t *at = op_scratch(c, worker);
    struct task k = {.c = c, .d = d, .score_stride = attention_row(&d, d.tokens)};
    k.scores = op_take(&at, d.tokens * d.group * k.score_stride, sizeof(float));
    k.q = op_take(&at, 2 * d.tokens * d.group * d.head_dim, sizeof(float));
    k.y = k.q + d.tokens * d.group * d.head_dim;
    k.block = op_take(&at, ATTENTION_POSITIONS * d.head_dim, sizeof(float));
    k.turned = op_take(&at, SCORES_ROWS * d.head_dim, sizeof(float));
    for (size_t i = begin; i < end; i++) {
        const size_t block = blocks - 1 - i / d.kv_heads; /* the longest first */
        const size_t n = NB_MIN(d.tokens, n_t - block * d.tokens);
        k.kv_head = i % d.kv_heads;
        k.t0 = block * d.tokens;
        k.n_rows = n * d.group;
        run_task(&k);
    }
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    const struct attention_dims d = attention_dims(c);
    const size_t n_t = c->in[ATTENTION_Q]->rows;
    nb_pool_for(c->pool, (n_t + d.tokens - 1) / d.tokens * d.kv_heads, 1, tasks, &call);
}

const struct nb_op nb_op_attention = {
    .name = "attention",
    .n_in_min = 3,
    .n_in = 3,
    .attrs = {[ATTENTION_HEADS] = "heads",
              [ATTENTION_SCALE] = "scale",
              [ATTENTION_WINDOW] = "window",
              [ATTENTION_SOFTCAP] = "softcap",
              [ATTENTION_CAUSAL] = "causal"},
    .quantizable = -1,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .run = run,
    .grad_to = 1U << ATTENTION_Q | 1U << ATTENTION_K | 1U << ATTENTION_V,
    .grad_reads = 1U << ATTENTION_Q | 1U << ATTENTION_K | 1U << ATTENTION_V,
    .grad_scratch_bytes = nb_attention_grad_scratch,
    .grad_shared_bytes = nb_attention_grad_shared,
    .grad = nb_attention_grad,
};
