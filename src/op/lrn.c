/* op/lrn.c: response normalization over neighbouring channels (Krizhevsky et al. 2012, section 3.3; ONNX LRN).
 *
 * x (n, c, ..) f32 -> y = x / (bias + alpha / size * s)^beta, s the sum of squares of the channels from
 * (size - 1) / 2 before to size / 2 after, as far as there are any. attr size, alpha, beta, bias.
 *
 * In doubles, channels ascending, rounded once. A beta of 3/4, which all nets have, is two square roots.
 */
#include <math.h>

#include "op/op_internal.h"

#define BLOCK 256U

enum { SIZE, ALPHA, BETA, BIAS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (x->type != NB_VALUE_F32 || x->rank < 2)
        return nb_graph_refuse(g, n, "input 0 must be float32 with channels");
    if (n->attr[SIZE].i < 1)
        return nb_graph_refuse(g, n, "%lld channels", (long long)n->attr[SIZE].i);
    op_copy_dims(out, x, NB_VALUE_F32);
    return true;
}

struct work {
    const struct nb_attr *attr;
    const float *x;
    float *y;
    size_t channels, n; /* n: of a channel */
};

static double divisor(const struct nb_attr *attr, double sum)
{
    const double t = attr[BIAS].f + attr[ALPHA].f / (double)attr[SIZE].i * sum;
    if (attr[BETA].f != 0.75)
        return pow(t, attr[BETA].f);
    const double root = sqrt(t);
    return root * sqrt(root);
}

/* Elements i .. i + m - 1 of channel c, of the image at x. */
static void block(const struct work *w, const float *x, float *y, size_t c, size_t i, size_t m)
{
    const uint64_t size = (uint64_t)w->attr[SIZE].i;
    const uint64_t before = (size - 1) / 2, after = size - 1 - before;
    const size_t first = c > before ? c - (size_t)before : 0;
    const size_t last = w->channels - 1 - c > after ? c + (size_t)after : w->channels - 1;
    double sum[BLOCK] = {0.0};
    for (size_t k = first; k <= last; k++)
        for (size_t j = 0; j < m; j++) {
            const double v = (double)x[k * w->n + i + j];
            sum[j] += v * v;
        }
    for (size_t j = 0; j < m; j++)
        y[c * w->n + i + j] = (float)((double)x[c * w->n + i + j] / divisor(w->attr, sum[j]));
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const size_t per = (w->n + BLOCK - 1) / BLOCK;
    (void)worker;
    for (size_t k = begin; k < end; k++) {
        const size_t channel = k / per, i = k % per * BLOCK;
        const size_t image = channel / w->channels * w->channels * w->n;
        block(w, w->x + image, w->y + image, channel % w->channels, i,
              NB_MIN(w->n - i, (size_t)BLOCK));
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    struct work w = {.attr = c->node->attr,
                     .x = c->in[0]->data,
                     .y = c->out[0]->data,
                     .channels = (size_t)x->dim[1].n,
                     .n = 1};
    for (uint32_t i = 2; i < x->rank; i++)
        w.n *= (size_t)x->dim[i].n;
    if (nb_value_count(x) > 0)
        nb_pool_for(c->pool, (size_t)x->dim[0].n * w.channels * ((w.n + BLOCK - 1) / BLOCK),
                    op_grain((uint64_t)BLOCK * 8), part, &w);
}

const struct nb_op nb_op_lrn = {
    .name = "lrn",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[SIZE] = "size", [ALPHA] = "alpha", [BETA] = "beta", [BIAS] = "bias"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
