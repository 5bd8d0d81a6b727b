/* op/attention.c: causal attention of grouped query heads over the cache (Ainslie et al. 2023, GQA).
 *
 * q (T, heads * head_dim), states K, V (kv_heads, C, head_dim) -> (T, heads * head_dim).
 *   s_j = q . k_j for all positions j up to the token's own,  p = softmax(scale * s),  y = sum p_j v_j
 *
 * Per query row: each s_j is one canonical dot, the softmax one kernel call over all positions, and y
 * adds position after position with fma. So the bits do not depend on how tokens are grouped. What is
 * grouped is memory traffic: a task is one key head and the rows of some tokens in all its query heads;
 * these share each block of keys and values, which is decoded to floats once. No online softmax: the
 * scores of a task fit in scratch.
 */
#include "op/op_internal.h"

enum { HEADS, SCALE };
enum { IN_Q, IN_K, IN_V };

#define TASK_ROWS   48U /* query rows of a task, unless a group of heads is larger */
#define POSITIONS   64U /* keys or values decoded at once                          */
#define SCORE_ALIGN 16U /* floats */

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *q = op_value(g, n->in[IN_Q]);
    const uint64_t heads = (uint64_t)n->attr[HEADS].i;
    if (!op_is_f32_matrix(q) || n->attr[HEADS].i < 1 || q->dim[1].n % heads != 0)
        return nb_graph_refuse(g, n, "input 0 must be a float matrix of %lld heads",
                               (long long)n->attr[HEADS].i);
    for (uint32_t i = IN_K; i <= IN_V; i++) {
        const struct nb_value *s = op_value(g, n->in[i]);
        if (s->kind != NB_VALUE_STATE || s->rank != 3 || s->dim[2].n != q->dim[1].n / heads ||
            s->dim[0].n == 0 || heads % s->dim[0].n != 0)
            return nb_graph_refuse(g, n, "state %s does not fit %llu query heads", s->name,
                                   (unsigned long long)heads);
    }
    op_like(out, q, NB_VALUE_F32, q->dim[1].n);
    return true;
}

/* Sizes of a call. */
struct dims {
    size_t heads, kv_heads, group, head_dim, capacity;
    size_t tokens;       /* of a task */
    size_t score_stride; /* floats    */
};

static struct dims dims_of(const struct nb_op_call *c)
{
    struct dims d = {.heads = (size_t)c->node->attr[HEADS].i,
                     .head_dim = c->in[IN_K]->cols,
                     .capacity = c->sym[NB_SYM_CACHE]};
    d.kv_heads = c->in[IN_K]->rows / d.capacity;
    d.group = d.heads / d.kv_heads;
    d.tokens = NB_MAX(TASK_ROWS / d.group, 1);
    d.score_stride = (d.capacity + SCORE_ALIGN - 1) / SCORE_ALIGN * SCORE_ALIGN;
    return d;
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    const struct dims d = dims_of(c);
    const uint64_t rows = d.tokens * d.group;
    uint64_t scores;
    *bytes = 0;
    return nb_mul_u64(&scores, rows, d.score_stride) &&
           op_add_bytes(bytes, scores, sizeof(float)) &&
           op_add_bytes(bytes, 2 * rows * d.head_dim, sizeof(float)) &&
           op_add_bytes(bytes, POSITIONS * d.head_dim, sizeof(float));
}

/* One task under way. Row i is token t0 + i / group in head kv_head * group + i % group. */
struct task {
    const struct nb_op_call *c;
    struct dims d;
    size_t kv_head, t0, n_rows;
    size_t n_positions; /* of the last token */
    float *scores;      /* (rows, score_stride)   */
    float *q, *y;       /* (rows, head_dim)       */
    float *block;       /* (POSITIONS, head_dim)  */
};

static float *head_of(const struct nb_slot *s, const struct task *k, size_t row)
{
    return op_row(s, k->t0 + row / k->d.group) +
           (k->kv_head * k->d.group + row % k->d.group) * k->d.head_dim;
}

/* Positions the token of a row sees. */
static size_t seen_by(const struct task *k, size_t row)
{
    return (size_t)k->c->position + k->t0 + row / k->d.group + 1;
}

static void decode_block(const struct task *k, uint32_t which, size_t first, size_t n)
{
    const struct nb_slot *s = k->c->in[which];
    const size_t row_bytes = k->d.head_dim / s->type->block * s->type->block_bytes;
    const uint8_t *src = s->data;
    s->type->decode(src + (k->kv_head * k->d.capacity + first) * row_bytes, k->block,
                    n * k->d.head_dim);
}

static void score(const struct task *k)
{
    for (size_t i = 0; i < k->n_rows; i++)
        memcpy(k->q + i * k->d.head_dim, head_of(k->c->in[IN_Q], k, i),
               k->d.head_dim * sizeof *k->q);
    for (size_t p = 0; p < k->n_positions; p += POSITIONS) {
        const size_t n = NB_MIN(POSITIONS, k->n_positions - p);
        decode_block(k, IN_K, p, n);
        k->c->kernels->gemm_f32_f32_f32(k->scores + p, k->d.score_stride, k->block, n, k->q,
                                        k->d.head_dim, k->n_rows, k->d.head_dim);
    }
}

/* Positions that all rows see: the four-row kernel; those that only the later ones see: row by row. */
static void weigh(const struct task *k)
{
    const size_t hd = k->d.head_dim, stride = k->d.score_stride, common = seen_by(k, 0);
    memset(k->y, 0, k->n_rows * hd * sizeof *k->y);
    for (size_t p = 0; p < k->n_positions; p += POSITIONS) {
        const size_t n = NB_MIN(POSITIONS, k->n_positions - p);
        const size_t shared = common > p ? NB_MIN(n, common - p) : 0;
        decode_block(k, IN_V, p, n);
        k->c->kernels->wsum_f32_f32_f32(k->y, k->scores + p, stride, k->n_rows, k->block, shared,
                                        hd);
        for (size_t i = 0; shared < n && i < k->n_rows; i++) {
            const size_t first = p + shared, seen = NB_MIN(seen_by(k, i), p + n);
            if (seen > first)
                k->c->kernels->wsum_f32_f32_f32(k->y + i * hd, k->scores + i * stride + first,
                                                stride, 1, k->block + shared * hd, seen - first,
                                                hd);
        }
    }
    for (size_t i = 0; i < k->n_rows; i++)
        memcpy(head_of(k->c->out[0], k, i), k->y + i * hd, hd * sizeof *k->y);
}

static void run_task(const struct task *k)
{
    score(k);
    const float scale = (float)k->c->node->attr[SCALE].f;
    for (size_t i = 0; i < k->n_rows; i++)
        k->c->kernels->softmax_f32(k->scores + i * k->d.score_stride, seen_by(k, i), scale);
    weigh(k);
}

static void tasks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct dims d = dims_of(c);
    const size_t n_t = c->in[IN_Q]->rows, blocks = (n_t + d.tokens - 1) / d.tokens;
    uint8_t *at = op_scratch(c, worker);
    struct task k = {.c = c, .d = d};
    k.scores = op_take(&at, d.tokens * d.group * d.score_stride, sizeof(float));
    k.q = op_take(&at, 2 * d.tokens * d.group * d.head_dim, sizeof(float));
    k.y = k.q + d.tokens * d.group * d.head_dim;
    k.block = op_take(&at, POSITIONS * d.head_dim, sizeof(float));
    for (size_t i = begin; i < end; i++) {
        const size_t block = blocks - 1 - i / d.kv_heads; /* the longest first */
        const size_t n = NB_MIN(d.tokens, n_t - block * d.tokens);
        k.kv_head = i % d.kv_heads;
        k.t0 = block * d.tokens;
        k.n_rows = n * d.group;
        k.n_positions = (size_t)c->position + k.t0 + n;
        run_task(&k);
    }
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    const struct dims d = dims_of(c);
    const size_t n_t = c->in[IN_Q]->rows;
    nb_pool_for(c->pool, (n_t + d.tokens - 1) / d.tokens * d.kv_heads, 1, tasks, &call);
}

const struct nb_op nb_op_attention = {
    .name = "attention",
    .n_in_min = 3,
    .n_in = 3,
    .attrs = {[HEADS] = "heads", [SCALE] = "scale"},
    .quantizable = -1,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
