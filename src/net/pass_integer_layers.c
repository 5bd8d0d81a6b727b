/* net/pass_integer_layers.c: quantized layers with constant weights as sums of bytes (op/conv_u8.c).
 *
 * Weights are int8 around zero, or uint8 around 128, of one scale or one for each output channel; the file may move
 * them (transpose, reshape) on their way. A bias is int32 in units of sx * sw[m], or floats, which are rounded to
 * those. scale[m] = sx * sw[m] / sy, in single precision and in this order, as onnxruntime's QLinearConv has it.
 */
#include <math.h>
#include <string.h>

#include "net/pass_integer.h"

/* Weights as int8 in the new graph. value 0: they are something else. */
struct weights {
    uint32_t value;
    const float *scale;
    uint64_t n_scales;
    int64_t axis; /* dimension of the scales, if there are several */
};

/* Are all zero points `zero`? */
static bool zeros_are(const struct nb_value *zeros, int zero)
{
    for (uint64_t i = 0; i < nb_value_count(zeros); i++)
        if ((zeros->type == NB_VALUE_I8 ? ((const int8_t *)zeros->data)[i]
                                        : ((const uint8_t *)zeros->data)[i]) != zero)
            return false;
    return true;
}

/* uint8 around 128 as int8. */
static uint32_t less_128(struct nb_rewrite *r, const struct nb_value *v)
{
    const uint64_t n = nb_value_count(v);
    uint64_t dims[NB_VALUE_DIMS];
    void *data;
    for (uint32_t i = 0; i < v->rank; i++)
        dims[i] = v->dim[i].n;
    const uint32_t to = nb_rewrite_const(r, v->name, NB_VALUE_I8, dims, v->rank, &data);
    for (uint64_t i = 0; to != 0 && i < n; i++)
        ((int8_t *)data)[i] = (int8_t)(((const uint8_t *)v->data)[i] - 128);
    return to;
}

static struct weights stored(struct nb_rewrite *r, const struct nb_node *n)
{
    const struct nb_value *w = nb_rewrite_old(r, n->in[0]), *scale = nb_rewrite_old(r, n->in[1]);
    const struct nb_value *zero = n->in[2] ? nb_rewrite_old(r, n->in[2]) : NULL;
    struct weights out = {0};
    if (w->kind != NB_VALUE_CONST || !nb_value_is_const(scale, NB_VALUE_F32) || scale->rank > 1 ||
        nb_node_attr(n, "block")->i != 0 || (zero && zero->kind != NB_VALUE_CONST))
        return out;
    if (w->type == NB_VALUE_I8 && (!zero || zeros_are(zero, 0)))
        out.value = nb_rewrite_value(r, n->in[0]);
    else if (w->type == NB_VALUE_U8 && zero && zeros_are(zero, 128))
        out.value = less_128(r, w);
    out.scale = scale->data;
    out.n_scales = nb_value_count(scale);
    out.axis = nb_node_attr(n, "axis")->i;
    return out;
}

/* Where the dimension of the scales is behind a move; -1: nowhere. */
static int64_t moved_axis(const struct nb_value *from, const struct nb_value *to,
                          const struct nb_node *n, int64_t axis)
{
    uint64_t before = 1, at = 1;
    if (n->op == &nb_op_transpose) {
        for (int64_t i = 0; i < n->attr[0].i; i++)
            if (n->attr[0].list[i] == axis)
                return i;
        return -1;
    }
    for (int64_t i = 0; i < axis; i++)
        before *= from->dim[i].n;
    for (uint32_t i = 0; i<to->rank; i++, at *= i> 0 ? to->dim[i - 1].n : 1)
        if (at == before && to->dim[i].n == from->dim[axis].n)
            return i;
    return -1;
}

/* Dequantized constants, moved or not. */
static struct weights weights_of(struct nb_rewrite *r, uint32_t value, unsigned depth)
{
    const struct nb_node *n = nb_maker(r, value);
    struct weights w = {0};
    if (n == NULL || depth > 4)
        return w;
    if (n->op == &nb_op_dequantize_linear)
        return stored(r, n);
    if (n->op != &nb_op_transpose && n->op != &nb_op_reshape)
        return w;
    w = weights_of(r, n->in[0], depth + 1);
    if (w.value == 0)
        return w;
    w.axis = w.n_scales == 1
                 ? 0
                 : moved_axis(nb_rewrite_old(r, n->in[0]), nb_rewrite_old(r, value), n, w.axis);
    w.value = w.axis < 0 ? 0
                         : nb_rewrite_add(r, &(struct nb_node_args){.op = n->op,
                                                                    .in = {w.value},
                                                                    .attrs = n->attr,
                                                                    .n_attrs = nb_node_n_attrs(n)});
    return w;
}

/* ---- bias and scales ---- */

static float weight_scale(const struct weights *w, uint64_t m)
{
    return w->scale[w->n_scales == 1 ? 0 : m];
}

/* Are these integers in units of sx * sw? */
static bool has_units(const struct nb_rewrite *r, const struct nb_node *dq, const struct weights *w,
                      float sx, uint64_t n)
{
    const struct nb_value *s = nb_rewrite_old(r, dq->in[1]);
    const uint64_t count = nb_value_count(s);
    if (!nb_value_is_const(nb_rewrite_old(r, dq->in[0]), NB_VALUE_I32) ||
        !nb_value_is_const(s, NB_VALUE_F32) || nb_value_count(nb_rewrite_old(r, dq->in[0])) != n ||
        (count != 1 && count != n) ||
        (dq->in[2] && (!nb_value_is_const(nb_rewrite_old(r, dq->in[2]), NB_VALUE_I32) ||
                       *(const int32_t *)nb_rewrite_old(r, dq->in[2])->data != 0)))
        return false;
    for (uint64_t m = 0; m < n; m++) {
        const double unit = (double)sx * (double)weight_scale(w, m);
        if (fabs((double)((const float *)s->data)[count == 1 ? 0 : m] - unit) > 1e-5 * unit)
            return false;
    }
    return true;
}

/* (n) integers of a bias: none, integers of these units, or floats. false: it is something else, or too large. */
static bool read_bias(const struct nb_rewrite *r, uint32_t bias, const struct weights *w, float sx,
                      uint64_t n, int32_t *to)
{
    const struct nb_node *dq = nb_maker(r, bias);
    const struct nb_value *b = bias ? nb_rewrite_old(r, bias) : NULL;
    memset(to, 0, n * sizeof *to);
    if (b == NULL)
        return true;
    if (dq != NULL && dq->op == &nb_op_dequantize_linear && has_units(r, dq, w, sx, n)) {
        memcpy(to, nb_rewrite_old(r, dq->in[0])->data, n * sizeof *to);
        return true;
    }
    if (!nb_value_is_const(b, NB_VALUE_F32) || nb_value_count(b) != n)
        return false;
    for (uint64_t m = 0; m < n; m++) {
        const double v =
            rint((double)((const float *)b->data)[m] / ((double)sx * (double)weight_scale(w, m)));
        if (!(fabs(v) < 2147483648.0))
            return false;
        to[m] = (int32_t)v;
    }
    return true;
}

/* Constants of the new graph: the bias, the scales. false: not in integers (or no memory: the graph's status). */
static bool constants(struct nb_rewrite *r, uint32_t bias, const struct weights *w,
                      const struct nb_byte_grid *x, const struct nb_byte_grid *to, uint64_t n,
                      uint32_t out[2])
{
    void *b, *s;
    if ((w->n_scales != 1 && w->n_scales != n) || n == 0)
        return false;
    out[0] = nb_rewrite_const(r, NULL, NB_VALUE_I32, &n, 1, &b);
    out[1] = nb_rewrite_const(r, NULL, NB_VALUE_F32, &n, 1, &s);
    if (out[0] == 0 || out[1] == 0 || !read_bias(r, bias, w, x->scale, n, b))
        return false;
    for (uint64_t m = 0; m < n; m++) {
        const float scale = x->scale * weight_scale(w, m) / to->scale;
        if (!isfinite(scale))
            return false;
        ((float *)s)[m] = scale;
    }
    return true;
}

/* ---- the layers ---- */

uint32_t nb_conv_bytes(struct nb_rewrite *r, const struct nb_node *n, const struct nb_byte_grid *to)
{
    const struct nb_bytes x = nb_bytes_of(r, n->in[0]);
    uint32_t more[2];
    if (x.value == 0 || n->in[3] != 0 || nb_node_attr(n, "act")->i != NB_CONV_NONE)
        return 0;
    const struct weights w = weights_of(r, n->in[1], 0);
    if (w.value == 0 || (w.n_scales > 1 && w.axis != 0) ||
        !constants(r, n->in[2], &w, &x.grid, to, nb_rewrite_old(r, n->in[1])->dim[0].n, more))
        return 0;
    const struct nb_attr attrs[] = {
        *nb_node_attr(n, "kernel"),         *nb_node_attr(n, "stride"),
        *nb_node_attr(n, "dilation"),       *nb_node_attr(n, "pads"),
        *nb_node_attr(n, "groups"),         *nb_node_attr(n, "last"),
        NB_ATTR_INT("zero_x", x.grid.zero), NB_ATTR_INT("zero_y", to->zero),
        NB_ATTR_INT("low", to->low),        NB_ATTR_INT("high", to->high)};
    return nb_rewrite_add(r, &(struct nb_node_args){.op = &nb_op_conv_u8,
                                                    .in = {x.value, w.value, more[0], more[1]},
                                                    .attrs = attrs,
                                                    .n_attrs = NB_COUNTOF(attrs)});
}

/* (k, n) as (n, k, 1). */
static uint32_t columns_first(struct nb_rewrite *r, uint32_t w, bool swap, int64_t n, int64_t k)
{
    static const int64_t perm[2] = {1, 0};
    if (swap)
        w = nb_rewrite_transpose(r, w, perm, 2, NULL);
    return nb_rewrite_reshape(r, w, (int64_t[]){n, k, 1}, 3);
}

/* Rows are the places of a convolution over one dimension, of one place each. */
static uint32_t rows_product(struct nb_rewrite *r, const struct nb_bytes *x, uint32_t w,
                             const uint32_t more[2], const struct nb_value *y, int64_t k,
                             const struct nb_byte_grid *to)
{
    static const int64_t one = 1, none[2] = {0, 0};
    const int64_t cols = (int64_t)y->dim[y->rank - 1].n;
    const int64_t rows = (int64_t)nb_value_count(y) / NB_MAX(cols, (int64_t)1);
    const uint32_t in = nb_rewrite_reshape(r, x->value, (int64_t[]){1, rows, k}, 3);
    int64_t dims[NB_VALUE_DIMS];
    for (uint32_t i = 0; i < y->rank; i++)
        dims[i] = (int64_t)y->dim[i].n;
    const struct nb_attr attrs[] = {NB_ATTR_LIST("kernel", &one, 1),
                                    NB_ATTR_LIST("stride", &one, 1),
                                    NB_ATTR_LIST("dilation", &one, 1),
                                    NB_ATTR_LIST("pads", none, 2),
                                    NB_ATTR_INT("groups", 1),
                                    NB_ATTR_INT("last", 1),
                                    NB_ATTR_INT("zero_x", x->grid.zero),
                                    NB_ATTR_INT("zero_y", to->zero),
                                    NB_ATTR_INT("low", to->low),
                                    NB_ATTR_INT("high", to->high)};
    const uint32_t made = nb_rewrite_add(r, &(struct nb_node_args){.op = &nb_op_conv_u8,
                                                                   .in = {in, w, more[0], more[1]},
                                                                   .attrs = attrs,
                                                                   .n_attrs = NB_COUNTOF(attrs)});
    return nb_rewrite_reshape(r, made, dims, y->rank);
}

uint32_t nb_matmul_bytes(struct nb_rewrite *r, const struct nb_node *n, uint32_t bias,
                         const struct nb_byte_grid *to)
{
    const struct nb_bytes x = nb_bytes_of(r, n->in[0]);
    const struct nb_value *b = nb_rewrite_old(r, n->in[1]), *y = nb_rewrite_old(r, n->out[0]);
    const bool trans_b = nb_node_attr(n, "trans_b")->i != 0;
    uint32_t more[2];
    if (x.value == 0 || b->rank != 2 || nb_value_count(y) == 0 ||
        nb_node_attr(n, "trans_a")->i != 0 || nb_node_attr(n, "alpha")->f != 1.0 ||
        (n->in[2] && nb_node_attr(n, "beta")->f != 1.0))
        return 0;
    const struct weights w = weights_of(r, n->in[1], 0);
    const uint64_t cols = b->dim[trans_b ? 0 : 1].n, k = b->dim[trans_b ? 1 : 0].n;
    if (w.value == 0 || (w.n_scales > 1 && w.axis != (trans_b ? 0 : 1)) ||
        !constants(r, n->in[2] ? n->in[2] : bias, &w, &x.grid, to, cols, more))
        return 0;
    return rows_product(r, &x, columns_first(r, w.value, !trans_b, (int64_t)cols, (int64_t)k), more,
                        y, (int64_t)k, to);
}
