/* op/max_pool_index.c: the largest element a window sees, and where it is (ONNX MaxPool with Indices).
 *
 * x (N, C, spatial), floats -> y, and the index of each in x, row-major; of equal ones the first. attrs kernel,
 * stride, dilation, pads (those before, then those behind), ceil: a last window may stick out, columns: indices in an
 * image count its first spatial dimension fastest. A window without elements gives -infinity and the image's first.
 * Slow: nets that run are content with op/pool.c.
 */
#include <math.h>

#include "op/window.h"

enum { CEIL = NB_WINDOW_ATTRS, COLUMNS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    struct nb_window w;
    if (x->type != NB_VALUE_F32)
        return nb_graph_refuse(g, n, "input 0 must be floats");
    if (!nb_window_read(g, n, x, false, &w) || !nb_window_slide(g, n, n->attr[CEIL].i != 0, &w))
        return false;
    for (size_t i = 0; i < 2; i++) {
        out[i].type = i == 0 ? NB_VALUE_F32 : NB_VALUE_I64;
        out[i].rank = x->rank;
        nb_window_dims(&w, w.c, &out[i]);
    }
    return true;
}

static void run(const struct nb_op_call *c)
{
    const bool columns = c->node->attr[COLUMNS].i != 0;
    const float *x = c->in[0]->data;
    float *y = c->out[0]->data;
    int64_t *index = c->out[1]->data;
    struct nb_window w;
    nb_window_of(c, false, &w);
    for (int64_t p = 0; p < w.n * w.c * w.pixels_out; p++) {
        const struct nb_window_at a = nb_window_at(&w, p);
        const int64_t base = a.n * w.pixels_in;
        y[p] = -INFINITY;
        index[p] = base;
        for (int64_t t = 0; t < w.taps; t++) {
            const int64_t k2 = w.kernel[2], k1 = w.kernel[1];
            const int64_t d0 = a.at[0] + t / k2 / k1 * w.dilation[0];
            const int64_t d1 = a.at[1] + t / k2 % k1 * w.dilation[1];
            const int64_t d2 = a.at[2] + t % k2 * w.dilation[2];
            if (d0 < 0 || d0 >= w.in[0] || d1 < 0 || d1 >= w.in[1] || d2 < 0 || d2 >= w.in[2])
                continue;
            const float v = x[base + (d0 * w.in[1] + d1) * w.in[2] + d2];
            if (!(v > y[p] || (v != v && y[p] == y[p])))
                continue;
            y[p] = v;
            index[p] = base + (columns ? (d2 * w.in[1] + d1) * w.in[0] + d0
                                       : (d0 * w.in[1] + d1) * w.in[2] + d2);
        }
    }
}

const struct nb_op nb_op_max_pool_index = {
    .name = "max_pool_index",
    .n_in_min = 1,
    .n_in = 1,
    .n_out = 2,
    .attrs = {"kernel", "stride", "dilation", "pads", "ceil", "columns"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
