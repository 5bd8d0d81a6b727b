/* ptq/equalize.c: cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721, section 4.1): two convolutions with
 * nothing but a Relu between them, whose channels' weights become alike.
 *
 * Channel i between them: row i of the first layer's weights, of largest magnitude r1, and column i of the second's, r2.
 *
 *   s = sqrt(r1 r2) / r2,   first: w / s, b / s,   second: w s      so that both have sqrt(r1 r2)
 *
 * What the net computes stays, since Relu(x / s) = Relu(x) / s. Pairs are gone through again until nothing changes, which
 * takes chains (convolution, depthwise, convolution) along.
 *
 * The paper's factor knows nothing of activations. A channel that says next to nothing, but has a bias, grows without
 * end and takes the grid from all others: no s is smaller than what makes the channel as large as the largest of its
 * value was over the samples. So no range of an activation grows.
 *
 * A Clip between them (Relu6), which a factor would move, is no obstacle: channels that reach its upper bound on some
 * sample keep s = 1, the others stay below it, before and after. (The paper replaces Relu6 by Relu.) Zeros around an
 * image stay zeros. Left out: the absorption of high biases, of which the bound on s is in the place.
 */
#include <math.h>
#include <string.h>

#include "math/math.h"
#include "ptq/ptq_internal.h"

#define SWEEPS 40
#define STILL  1e-3 /* of a factor's logarithm */

/* Borrows: all. Weights as (rows, per_row, window); of the second layer in groups. */
struct pair {
    const char *between; /* the value that the second reads */
    float *largest;      /* (channels) magnitudes over the samples, divided by the factors so far */
    float limit;         /* the largest of them at first */
    float bound;         /* of a Clip between; infinite without */
    bool *cut;           /* (channels) it reaches that bound */
    float *w1, *b1, *w2;
    size_t channels, per_row;                   /* of the first: rows, elements of each  */
    size_t rows2, per_channel, window, groups2; /* of the second: channels of a group    */
};

static bool own_domain(const struct nb_onnx_node *n, const char *op)
{
    return n->op_type != NULL && nb_str_eq(n->op_type, op) &&
           (n->domain == NULL || n->domain[0] == '\0' || nb_str_eq(n->domain, "ai.onnx"));
}

/* Floats that this node alone reads. */
static bool is_own(const struct nb_edit *e, const char *name)
{
    size_t reader;
    const struct nb_onnx_tensor *t = name[0] != '\0' ? nb_edit_tensor(e, name) : NULL;
    return t != NULL && t->type == NB_ONNX_FLOAT32 && t->n > 0 && t->data != NULL &&
           nb_edit_readers(e, name, &reader) == 1;
}

static bool is_layer(const struct nb_edit *e, const struct nb_onnx_node *n)
{
    return own_domain(n, "Conv") && n->n_inputs >= 2 && is_own(e, n->inputs[1]) &&
           nb_edit_tensor(e, n->inputs[1])->rank >= 3 &&
           (n->n_inputs < 3 || n->inputs[2][0] == '\0' || is_own(e, n->inputs[2]));
}

static bool one_float(const struct nb_edit *e, const struct nb_onnx_node *n, size_t i, float *x)
{
    const struct nb_onnx_tensor *t =
        n->n_inputs > i && n->inputs[i][0] != '\0' ? nb_edit_tensor(e, n->inputs[i]) : NULL;
    if (t == NULL || t->type != NB_ONNX_FLOAT32 || t->n != 1 || t->data == NULL)
        return false;
    memcpy(x, t->data, sizeof *x);
    return true;
}

/* From 0 to a bound. */
static bool is_clip(const struct nb_edit *e, const struct nb_onnx_node *n, float *bound)
{
    float low, high;
    if (!own_domain(n, "Clip") || !one_float(e, n, 1, &low) || !one_float(e, n, 2, &high) ||
        low != 0.0F || !(high > 0.0F))
        return false;
    *bound = fminf(*bound, high);
    return true;
}

/* Zeros around. */
static bool is_pad(const struct nb_edit *e, const struct nb_onnx_node *n)
{
    const struct nb_onnx_attr *mode = nb_onnx_find_attr(n, "mode");
    float x = 0.0F;
    return own_domain(n, "Pad") &&
           (mode == NULL || (mode->s.n == 8 && memcmp(mode->s.s, "constant", 8) == 0)) &&
           (n->n_inputs < 3 || n->inputs[2][0] == '\0' || one_float(e, n, 2, &x)) && x == 0.0F;
}

/* The layer that alone reads what node i makes, with a Relu, a Clip or zeros around it between or not; SIZE_MAX: none. */
static size_t next_layer(const struct nb_edit *e, size_t i, float *bound)
{
    size_t reader;
    if (nb_edit_readers(e, e->nodes[i].outputs[0], &reader) != 1 || reader == SIZE_MAX)
        return SIZE_MAX;
    const struct nb_onnx_node *n = &e->nodes[reader];
    if (own_domain(n, "Relu") || is_clip(e, n, bound) || is_pad(e, n))
        return next_layer(e, reader, bound);
    return is_layer(e, n) && nb_str_eq(n->inputs[0], e->nodes[i].outputs[0]) ? reader : SIZE_MAX;
}

/* A copy of an initializer that may be changed; the edit's tensor is this from now on. */
static float *own_floats(struct nb_edit *e, const char *name)
{
    const size_t i = (size_t)(nb_edit_tensor(e, name) - e->tensors);
    float *w = nb_arena_alloc(&e->arena, (size_t)e->tensors[i].n, sizeof *w);
    if (w == NULL)
        return NULL;
    memcpy(w, e->tensors[i].data, (size_t)e->tensors[i].n * sizeof *w);
    e->tensors[i].data = (const void *)w;
    return w;
}

static enum nb_status find_pair(struct nb_edit *e, float **weights, size_t first, size_t second,
                                struct pair *p, bool *found, struct nb_error *err)
{
    const struct nb_onnx_node *a = &e->nodes[first], *b = &e->nodes[second];
    const struct nb_onnx_tensor *ta = nb_edit_tensor(e, a->inputs[1]);
    const struct nb_onnx_tensor *tb = nb_edit_tensor(e, b->inputs[1]);
    const struct nb_onnx_attr *g = nb_onnx_find_attr(b, "group");
    const int64_t groups = g != NULL && g->type == NB_ONNX_ATTR_INT ? g->i : 1;
    *found = groups >= 1 && tb->dims[0] % groups == 0 && ta->dims[0] == tb->dims[1] * groups;
    if (!*found)
        return NB_OK;
    *p = (struct pair){.between = b->inputs[0],
                       .largest = nb_arena_alloc(&e->arena, (size_t)ta->dims[0], sizeof(float)),
                       .cut = nb_arena_alloc(&e->arena, (size_t)ta->dims[0], sizeof(bool)),
                       .channels = (size_t)ta->dims[0],
                       .per_row = (size_t)(ta->n / (uint64_t)ta->dims[0]),
                       .rows2 = (size_t)tb->dims[0],
                       .per_channel = (size_t)tb->dims[1],
                       .window = (size_t)(tb->n / (uint64_t)(tb->dims[0] * tb->dims[1])),
                       .groups2 = (size_t)groups};
    const bool has_bias = a->n_inputs > 2 && a->inputs[2][0] != '\0';
    for (int k = 0; k < 2; k++) {
        const size_t node = k == 0 ? first : second;
        if (weights[node] == NULL)
            weights[node] = own_floats(e, e->nodes[node].inputs[1]);
    }
    p->w1 = weights[first];
    p->w2 = weights[second];
    p->b1 = has_bias ? own_floats(e, a->inputs[2]) : NULL;
    if (p->largest == NULL || p->cut == NULL || p->w1 == NULL || p->w2 == NULL ||
        (has_bias && p->b1 == NULL))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to equalize a net");
    return NB_OK;
}

/* Column i of the second layer: n pieces of `window` floats, stride apart. */
static float *column(const struct pair *p, size_t i, size_t *n)
{
    const size_t rows = p->rows2 / p->groups2;
    *n = rows;
    return p->w2 + (i / p->per_channel * rows * p->per_channel + i % p->per_channel) * p->window;
}

static double most(const float *x, size_t n)
{
    float m = 0.0F;
    for (size_t i = 0; i < n; i++)
        m = fmaxf(m, fabsf(x[i]));
    return (double)m;
}

static void scale(float *x, size_t n, double s)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)x[i] * s);
}

/* How far the farthest factor was from 1: of its logarithm. */
static double equalize(const struct pair *p)
{
    const size_t stride = p->per_channel * p->window;
    const bool all = isinf(p->bound); /* else some stay, and must not vanish beside the others */
    const double most1 = all ? INFINITY : most(p->w1, p->channels * p->per_row);
    const double most2 = all ? INFINITY : most(p->w2, p->rows2 * stride);
    const double most_bias =
        p->b1 != NULL ? NB_MAX(most(p->b1, p->channels), (double)p->limit) : 0.0;
    double farthest = 0.0;
    for (size_t i = 0; i < p->channels; i++) {
        size_t n;
        float *col = column(p, i, &n);
        const double r1 = most(p->w1 + i * p->per_row, p->per_row);
        double r2 = 0.0;
        for (size_t k = 0; k < n; k++)
            r2 = NB_MAX(r2, most(col + k * stride, p->window));
        if (!(r1 > 1e-20) || !(r2 > 1e-20)) /* a channel that is not there */
            continue;
        if (!(p->largest[i] > 0.0F) || p->cut[i]) /* what is never there would grow without end */
            continue;
        double s = NB_MAX(sqrt(r1 / r2), (double)p->largest[i] / (double)p->limit);
        s = NB_MIN(NB_MAX(s, r1 / most1), NB_MAX(most2 / r2, 1.0));
        if (p->b1 != NULL) /* which has to fit into an integer with a scale for all channels */
            s = NB_MAX(s, fabs((double)p->b1[i]) / most_bias);
        p->largest[i] = (float)((double)p->largest[i] / s);
        scale(p->w1 + i * p->per_row, p->per_row, 1.0 / s);
        if (p->b1 != NULL)
            scale(p->b1 + i, 1, 1.0 / s);
        for (size_t k = 0; k < n; k++)
            scale(col + k * stride, p->window, s);
        farthest = NB_MAX(farthest, fabs(nb_log(s)));
    }
    return farthest;
}

/* ---- all pairs ---- */

static enum nb_status find_largest(struct nb_edit *e, struct pair *pairs, size_t n,
                                   const struct nb_net_options *options,
                                   const struct nb_ptq_data *data, struct nb_pool *pool,
                                   struct nb_error *err)
{
    struct nb_channels *list = nb_arena_alloc(&e->arena, n, sizeof *list);
    if (list == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to equalize a net");
    for (size_t i = 0; i < n; i++)
        list[i] = (struct nb_channels){
            .name = pairs[i].between, .n = pairs[i].channels, .largest = pairs[i].largest};
    NB_TRY(nb_ptq_find_largest(e, list, n, options, data, pool, err));
    for (size_t i = 0; i < n; i++) {
        pairs[i].limit = (float)most(pairs[i].largest, pairs[i].channels);
        for (size_t c = 0; c < pairs[i].channels; c++)
            pairs[i].cut[c] = pairs[i].largest[c] >= pairs[i].bound;
    }
    return NB_OK;
}

enum nb_status nb_ptq_equalize(struct nb_edit *e, const struct nb_net_options *options,
                               const struct nb_ptq_data *data, struct nb_pool *pool,
                               size_t *n_pairs, struct nb_error *err)
{
    struct pair *pairs = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *pairs);
    float **weights = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *weights); /* of nodes */
    *n_pairs = 0;
    if (pairs == NULL || weights == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to equalize a net");
    for (size_t i = 0; i < e->n_nodes; i++) {
        bool found = false;
        if (!is_layer(e, &e->nodes[i]))
            continue;
        float bound = INFINITY;
        const size_t next = next_layer(e, i, &bound);
        if (next != SIZE_MAX)
            NB_TRY(find_pair(e, weights, i, next, &pairs[*n_pairs], &found, err));
        pairs[*n_pairs].bound = bound;
        *n_pairs += found;
    }
    if (*n_pairs > 0)
        NB_TRY(find_largest(e, pairs, *n_pairs, options, data, pool, err));
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double farthest = 0.0;
        for (size_t i = 0; i < *n_pairs; i++)
            farthest = NB_MAX(farthest, equalize(&pairs[i]));
        if (farthest < STILL)
            break;
    }
    return NB_OK;
}
