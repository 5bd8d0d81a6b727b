/* op/top_k.c: which experts a token goes to, and how much each of them counts (Shazeer et al. 2017; Fedus,
 * Zoph and Shazeer 2022).
 *
 * logits (T, E) -> weights (T, k) f32, ids (T, k) u32, the heaviest first, of equals the lower number.
 * Attributes: gate (enum nb_gate): softmax over all E, or a sigmoid of each; normalize: the weights of the
 * chosen are divided by their sum (after a softmax that is the softmax of the chosen alone); k; used <= k: so
 * many have a weight, the others are named but count 0, which shows experts what they would not see.
 * Left out: groups of experts, biases that move the choice alone (DeepSeek-V3).
 */
#include "op/op_internal.h"

enum { K, USED, GATE, NORMALIZE };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t k = n->attr[K].i, used = n->attr[USED].i, gate = n->attr[GATE].i;
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (k < 1 || (uint64_t)k > x->dim[1].n || used < 1 || used > k)
        return nb_graph_refuse(g, n, "%lld experts of %lld used, out of %llu", (long long)used,
                               (long long)k, (unsigned long long)x->dim[1].n);
    if (gate != NB_GATE_SOFTMAX && gate != NB_GATE_SIGMOID)
        return nb_graph_refuse(g, n, "gate %lld is none", (long long)gate);
    op_like(&out[0], x, NB_VALUE_F32, (uint64_t)k);
    op_like(&out[1], x, NB_VALUE_U32, (uint64_t)k);
    return true;
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return op_add_bytes(bytes, c->in[0]->cols, sizeof(float));
}

/* The logits become weights of all experts. */
static void weigh(const struct nb_op_call *c, float *w, size_t n)
{
    if (c->node->attr[GATE].i == NB_GATE_SOFTMAX) {
        c->kernels->softmax_f32(w, n, 1.0F);
        return;
    }
    for (size_t i = 0; i < n; i++) { /* e^x / (e^x + e^0) */
        float pair[2] = {w[i], 0.0F};
        c->kernels->softmax_f32(pair, 2, 1.0F);
        w[i] = pair[0];
    }
}

#define TAKEN (-1.0F) /* weights are not negative */

/* The number of the largest, which is taken. A NaN is as good as any: it will show. */
static uint32_t take_largest(float *w, size_t n, float *weight)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (!(w[i] < 0.0F) && (best == n || w[i] > w[best]))
            best = i;
    *weight = w[best];
    w[best] = TAKEN;
    return (uint32_t)best;
}

static void choose(const struct nb_op_call *c, size_t t, float *w)
{
    const size_t n = c->in[0]->cols, k = c->out[0]->cols, used = (size_t)c->node->attr[USED].i;
    float *weights = op_row(c->out[0], t), sum = 0.0F;
    uint32_t *ids = (uint32_t *)c->out[1]->data + t * k;
    memcpy(w, op_row(c->in[0], t), n * sizeof *w);
    weigh(c, w, n);
    for (size_t j = 0; j < k; j++) {
        ids[j] = take_largest(w, n, &weights[j]);
        if (j < used)
            sum += weights[j];
        else
            weights[j] = 0.0F;
    }
    for (size_t j = 0; c->node->attr[NORMALIZE].i && j < used; j++)
        weights[j] /= sum;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    for (size_t t = begin; t < end; t++)
        choose(c, t, op_scratch(c, worker));
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(c->in[0]->cols * c->out[0]->cols), rows, &call);
}

const struct nb_op nb_op_top_k = {
    .name = "top_k",
    .n_in_min = 1,
    .n_in = 1,
    .n_out = 2,
    .attrs = {[K] = "k", [USED] = "used", [GATE] = "gate", [NORMALIZE] = "normalize"},
    .quantizable = -1,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
