/* op/norm.c: every row of x, all its dimensions from `axis` on, is shifted and scaled by numbers of its own (ONNX
 * LayerNormalization, InstanceNormalization, GroupNormalization, RMSNormalization, MeanVarianceNormalization,
 * LpNormalization; import reshapes and transposes).
 *
 * x f32 -> y of the same dimensions; scale, bias optional, of dimensions that broadcast to x's. attr kind: enum
 * nb_norm; axis: 0 .. rank; eps:
 *
 *   standard  (x - mean) / sqrt(mean of (x - mean)^2 + eps)
 *   rms       x / sqrt(mean of x^2 + eps)
 *   l1, l2    x / sum |x|,  x / sqrt(sum of x^2); a row of zeros stays one
 *
 * then times scale, plus bias, each rounded. Sums are of doubles in sixteen lanes, element i in lane i mod 16, and the
 * tree 8-4-2-1; a standard norm whose scale has an element for each of a row is the kernel's (layernorm_f32).
 *
 * moments: x -> mean, 1 / sqrt(var + eps) of the rows, of x's dimensions with 1 from axis on.
 */
#include <math.h>

#include "op/op.h"
#include "op/op_internal.h"
#include "op/walk.h"

#define LANES 16U

enum { AXIS, EPS, KIND };

static bool check(struct nb_graph *g, const struct nb_node *n)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (x->type != NB_VALUE_F32)
        return nb_graph_refuse(g, n, "only float32 is normalized");
    if (n->attr[AXIS].i < 0 || n->attr[AXIS].i > (int64_t)x->rank)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions", (long long)n->attr[AXIS].i,
                               x->rank);
    return true;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    struct nb_value both;
    if (!check(g, n))
        return false;
    if (n->attr[KIND].i < 0 || n->attr[KIND].i >= NB_N_NORM)
        return nb_graph_refuse(g, n, "no norm %lld", (long long)n->attr[KIND].i);
    for (uint32_t i = 1; i < 3 && n->in[i]; i++) {
        const struct nb_value *v = op_value(g, n->in[i]);
        if (v->type != NB_VALUE_F32 || !nb_binary_dims(x, v, &both) ||
            !nb_value_same_dims(&both, x))
            return nb_graph_refuse(g, n, "input %u does not broadcast to input 0", i);
    }
    op_copy_dims(out, x, NB_VALUE_F32);
    return true;
}

static uint64_t row_length(const struct nb_value *x, int64_t axis)
{
    uint64_t n = 1;
    for (uint32_t i = (uint32_t)axis; i < x->rank; i++)
        n *= x->dim[i].n;
    return n;
}

/* ---- sums of a row ---- */

enum sum { SUM, SUM_ABS, SUM_SQUARES };

static double tree(double *lane)
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static double term(float x, enum sum what, double mean)
{
    const double d = (double)x - mean;
    return what == SUM ? (double)x : what == SUM_ABS ? fabs((double)x) : d * d;
}

static double sum_row(const float *x, size_t n, enum sum what, double mean)
{
    double lane[LANES] = {0.0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += term(x[i + l], what, mean);
    for (size_t l = 0; i + l < n; l++)
        lane[l] += term(x[i + l], what, mean);
    return tree(lane);
}

struct moments {
    double mean, factor;
};

static struct moments moments_of(const float *x, size_t n, enum nb_norm kind, double eps)
{
    struct moments m = {0.0, 0.0};
    double sum;
    switch (kind) {
    case NB_NORM_STANDARD:
        m.mean = sum_row(x, n, SUM, 0.0) / (double)n;
        m.factor = 1.0 / sqrt(sum_row(x, n, SUM_SQUARES, m.mean) / (double)n + eps);
        break;
    case NB_NORM_RMS:
        m.factor = 1.0 / sqrt(sum_row(x, n, SUM_SQUARES, 0.0) / (double)n + eps);
        break;
    case NB_NORM_L1:
        sum = sum_row(x, n, SUM_ABS, 0.0);
        m.factor = sum == 0.0 ? 0.0 : 1.0 / sum;
        break;
    case NB_NORM_L2:
        sum = sqrt(sum_row(x, n, SUM_SQUARES, 0.0));
        m.factor = sum == 0.0 ? 0.0 : 1.0 / sum;
        break;
    case NB_N_NORM:
    default:
        break;
    }
    return m;
}

/* ---- rows ---- */

struct work {
    const struct nb_op_call *c;
    const struct nb_walk *w; /* arrays: x, scale, bias */
    const float *x, *scale, *bias;
    float *y;
    size_t n; /* of a row */
    enum nb_norm kind;
    double eps;
    struct moments m; /* of the row at hand */
};

/* Scale and bias over a run, after the row has been normalized. */
static void affine(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    const struct work *w = ctx;
    const uint32_t last = w->w->rank - 1;
    float *y = w->y + at[0];
    if (w->scale) {
        const float *s = w->scale + at[1];
        const int64_t step = w->w->stride[1][last];
        for (size_t i = 0; i < n; i++)
            y[i] *= s[(int64_t)i * step];
    }
    if (w->bias) {
        const float *b = w->bias + at[2];
        const int64_t step = w->w->stride[2][last];
        for (size_t i = 0; i < n; i++)
            y[i] += b[(int64_t)i * step];
    }
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct work w = *(const struct work *)ctx;
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        const float *x = w.x + r * w.n;
        float *y = w.y + r * w.n;
        const struct moments m = moments_of(x, w.n, w.kind, w.eps);
        for (size_t i = 0; i < w.n; i++)
            y[i] = (float)(((double)x[i] - m.mean) * m.factor);
        if (w.scale || w.bias)
            nb_walk_runs(w.w, r * w.n, (r + 1) * w.n, affine, &w);
    }
}

static void kernel_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    for (size_t r = begin; r < end; r++)
        w->c->kernels->layernorm_f32(w->y + r * w->n, w->x + r * w->n, w->scale, w->bias, w->n,
                                     (float)w->eps);
}

/* Does v have the dimensions from axis on, and nothing else? */
static bool is_row(const struct nb_value *v, const struct nb_value *x, int64_t axis)
{
    const uint32_t n = x->rank - (uint32_t)axis;
    if (nb_value_count(v) != row_length(x, axis) || v->rank < n)
        return false;
    for (uint32_t i = 1; i <= n; i++)
        if (v->dim[v->rank - i].n != x->dim[x->rank - i].n)
            return false;
    return true;
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const struct nb_slot *scale = c->in[1], *bias = c->in[2];
    const int64_t axis = c->node->attr[AXIS].i;
    struct nb_walk walk;
    struct work w = {.c = c,
                     .w = &walk,
                     .x = c->in[0]->data,
                     .scale = scale ? scale->data : NULL,
                     .bias = bias ? bias->data : NULL,
                     .y = c->out[0]->data,
                     .n = (size_t)row_length(x, axis),
                     .kind = (enum nb_norm)c->node->attr[KIND].i,
                     .eps = c->node->attr[EPS].f};
    if (nb_value_count(x) == 0)
        return;
    nb_walk_init(&walk, x);
    nb_walk_add(&walk, x);
    nb_walk_add(&walk, scale ? scale->value : x);
    nb_walk_add(&walk, bias ? bias->value : x);
    nb_walk_merge(&walk);
    const bool kernel = w.kind == NB_NORM_STANDARD && scale && is_row(scale->value, x, axis) &&
                        (!bias || is_row(bias->value, x, axis));
    nb_pool_for(c->pool, (size_t)(nb_value_count(x) / w.n), op_grain(w.n),
                kernel ? kernel_rows : rows, &w);
}

const struct nb_op nb_op_norm = {
    .name = "norm",
    .n_in_min = 1,
    .n_in = 3,
    .attrs = {[AXIS] = "axis", [EPS] = "eps", [KIND] = "kind"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};

/* ---- moments alone ---- */

static bool moments_shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    if (!check(g, n))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        const struct nb_value *x = op_value(g, n->in[0]);
        op_copy_dims(&out[i], x, NB_VALUE_F32);
        for (uint32_t d = (uint32_t)n->attr[AXIS].i; d < x->rank; d++)
            out[i].dim[d] = nb_dim_const(1);
    }
    return true;
}

static void moments_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        const struct moments m = moments_of(w->x + r * w->n, w->n, NB_NORM_STANDARD, w->eps);
        ((float *)w->c->out[0]->data)[r] = (float)m.mean;
        ((float *)w->c->out[1]->data)[r] = (float)m.factor;
    }
}

static void moments_run(const struct nb_op_call *c)
{
    struct work w = {.c = c,
                     .x = c->in[0]->data,
                     .n = (size_t)row_length(c->in[0]->value, c->node->attr[AXIS].i),
                     .eps = c->node->attr[EPS].f};
    nb_pool_for(c->pool, (size_t)nb_value_count(c->out[0]->value), op_grain(w.n), moments_rows, &w);
}

const struct nb_op nb_op_moments = {
    .name = "moments",
    .n_in_min = 1,
    .n_in = 1,
    .n_out = 2,
    .attrs = {[AXIS] = "axis", [EPS] = "eps"},
    .quantizable = -1,
    .folds = true,
    .shape = moments_shape,
    .run = moments_run,
};
