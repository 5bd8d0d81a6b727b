/* ptq/layers.c: layers with constant weights, as matrices: a row for each output channel, the columns of a group of
 * a convolution being its channels times its window (im2col).
 *
 * Of convolutions of three dimensions, of Gemm with a transposed input and of stacks of matrices the input's columns
 * are not known; their weights are rounded by themselves.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

static int64_t attr_int(const struct nb_onnx_node *n, const char *name, int64_t otherwise)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n, name);
    return a != NULL && a->type == NB_ONNX_ATTR_INT ? a->i : otherwise;
}

/* Item i of a list of integers. */
static int64_t attr_item(const struct nb_onnx_node *n, const char *name, size_t i,
                         int64_t otherwise)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n, name);
    return a != NULL && a->type == NB_ONNX_ATTR_INTS && i < a->n ? a->ints[i] : otherwise;
}

/* Dimension of a weight that counts output channels. */
static int64_t channel_axis(const struct nb_onnx_node *n, const struct nb_onnx_tensor *w)
{
    if (nb_str_eq(n->op_type, "Conv"))
        return 0;
    if (nb_str_eq(n->op_type, "Gemm"))
        return attr_int(n, "transB", 0) != 0 ? 0 : 1;
    return (int64_t)w->rank - 1;
}

static void cut(struct nb_ptq_layer *l)
{
    l->before = l->after = 1;
    for (size_t i = 0; i < l->w.rank; i++) {
        if ((int64_t)i < l->axis)
            l->before *= (uint64_t)l->w.dims[i];
        else if ((int64_t)i > l->axis)
            l->after *= (uint64_t)l->w.dims[i];
    }
    l->channels = (size_t)l->w.dims[l->axis];
    l->cols = (size_t)(l->before * l->after);
}

/* What lies before the first element of dimension d, for which `auto_pad` may ask. */
static int64_t pad_before(const struct nb_onnx_node *n, size_t d, size_t at,
                          const struct nb_ptq_window *w)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n, "auto_pad");
    const size_t len = a != NULL && a->type == NB_ONNX_ATTR_STRING ? a->s.n : 0;
    const bool upper = len == 10 && memcmp(a->s.s, "SAME_UPPER", len) == 0;
    const bool lower = len == 10 && memcmp(a->s.s, "SAME_LOWER", len) == 0;
    if (!upper && !lower)
        return attr_item(n, "pads", d, 0);
    const int64_t span =
        (w->out[at] - 1) * w->stride[at] + (w->kernel[at] - 1) * w->dilation[at] + 1;
    const int64_t total = NB_MAX(span - w->in[at], (int64_t)0);
    return upper ? total / 2 : total - total / 2;
}

/* A convolution of one or two dimensions; those of one have a first of 1. */
static bool find_window(struct nb_ptq_layer *l, const struct nb_onnx_node *n,
                        const struct nb_value *x, const struct nb_value *y)
{
    struct nb_ptq_window *w = &l->window;
    const size_t dims = l->w.rank - 2;
    if (l->w.rank < 3 || dims > 2 || x->rank != l->w.rank || y->rank != l->w.rank)
        return false;
    *w = (struct nb_ptq_window){
        .in = {1, 1}, .out = {1, 1}, .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    w->batch = x->dim[0].n;
    for (size_t d = 0; d < dims; d++) {
        const size_t at = d + 2 - dims;
        w->in[at] = (int64_t)x->dim[2 + d].n;
        w->out[at] = (int64_t)y->dim[2 + d].n;
        w->kernel[at] = l->w.dims[2 + d];
        w->stride[at] = attr_item(n, "strides", d, 1);
        w->dilation[at] = attr_item(n, "dilations", d, 1);
        w->pad[at] = pad_before(n, d, at, w);
    }
    const int64_t groups = attr_int(n, "group", 1);
    if (groups < 1 || (uint64_t)groups > l->channels || l->channels % (uint64_t)groups != 0 ||
        x->dim[1].n != (uint64_t)groups * (uint64_t)l->w.dims[1])
        return false;
    l->groups = (size_t)groups;
    w->channels = (size_t)l->w.dims[1];
    return true;
}

static bool find_matrix(struct nb_ptq_layer *l, const struct nb_onnx_node *n,
                        const struct nb_value *x)
{
    if (l->w.rank != 2 || attr_int(n, "transA", 0) != 0 || x->rank < 1 ||
        x->dim[x->rank - 1].n != l->cols)
        return false;
    l->window = (struct nb_ptq_window){.channels = l->cols, .batch = nb_value_count(x) / l->cols};
    return true;
}

bool nb_ptq_layer_find(struct nb_ptq_layer *l, const struct nb_edit *e, const struct nb_ptq_plan *p,
                       const struct nb_net *net, size_t node)
{
    const struct nb_onnx_node *n = &e->nodes[node];
    memset(l, 0, sizeof *l);
    if (p->kinds[node] != NB_PTQ_WEIGHTED || n->n_inputs < 2 || n->inputs[1][0] == '\0')
        return false;
    const struct nb_onnx_tensor *t = nb_edit_tensor(e, n->inputs[1]);
    if (t == NULL || t->type != NB_ONNX_FLOAT32 || t->n == 0 || t->data == NULL || t->rank < 1)
        return false;
    l->node = node;
    l->w = *t;
    l->axis = channel_axis(n, t);
    l->groups = 1;
    cut(l);
    l->x = nb_ptq_find(p, n->inputs[0]);
    const struct nb_ptq_tensor *y = nb_ptq_find(p, n->outputs[0]);
    if (l->x == NULL || y == NULL)
        return true;
    const struct nb_value *xv = &net->g.values[l->x->value], *yv = &net->g.values[y->value];
    l->known = nb_str_eq(n->op_type, "Conv") ? find_window(l, n, xv, yv) : find_matrix(l, n, xv);
    l->conv = nb_str_eq(n->op_type, "Conv");
    return true;
}

size_t nb_ptq_layer_at(const struct nb_ptq_layer *l, size_t channel, size_t col)
{
    return (size_t)((col / l->after * l->channels + channel) * l->after + col % l->after);
}
