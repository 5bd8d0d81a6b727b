/* op/window.c: sizes of what slides over an image, channels last and first. */
#include "op/window.h"

#include "op/walk.h"

#define MOST ((int64_t)1 << 31) /* of any of these numbers: products of two fit */

static bool copy_list(const struct nb_attr *a, int64_t n, int64_t least, int64_t *to)
{
    for (int64_t i = 0; a->i == n && i < n; i++) {
        if (a->list[i] < least || a->list[i] > MOST)
            return false;
        to[i] = a->list[i];
    }
    return a->i == n;
}

static void fill(struct nb_window *w)
{
    *w = (struct nb_window){.taps = 1, .pixels_in = 1, .pixels_out = 1};
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++)
        w->in[i] = w->out[i] = w->kernel[i] = w->stride[i] = w->dilation[i] = 1;
}

bool nb_window_read(struct nb_graph *g, const struct nb_node *n, const struct nb_value *x,
                    bool last, struct nb_window *w)
{
    const struct nb_attr *a = n->attr;
    int64_t pads[2 * NB_WINDOW_DIMS] = {0};
    fill(w);
    if (x->rank < 3 || x->rank > 2 + NB_WINDOW_DIMS)
        return nb_graph_refuse(g, n, "%u dimensions; 3 to 5 are possible", x->rank);
    const uint32_t dims = x->rank - 2, at = NB_WINDOW_DIMS - dims;
    if (!copy_list(&a[NB_WINDOW_KERNEL], dims, 1, w->kernel + at) ||
        !copy_list(&a[NB_WINDOW_STRIDE], dims, 1, w->stride + at) ||
        !copy_list(&a[NB_WINDOW_DILATION], dims, 1, w->dilation + at) ||
        !copy_list(&a[NB_WINDOW_PADS], 2 * (int64_t)dims, 0, pads))
        return nb_graph_refuse(g, n, "kernel, stride, dilation or pads of %u dimensions", dims);
    w->n = (int64_t)x->dim[0].n;
    w->c = (int64_t)x->dim[last ? x->rank - 1 : 1].n;
    w->last = last;
    for (uint32_t i = 0; i < dims; i++) {
        const uint64_t size = x->dim[i + (last ? 1 : 2)].n;
        if (size == 0 || size > (uint64_t)MOST)
            return nb_graph_refuse(g, n, "dimension %u has %llu elements", i,
                                   (unsigned long long)size);
        w->in[at + i] = (int64_t)size;
        w->begin[at + i] = pads[i];
        w->end[at + i] = pads[dims + i];
    }
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++) {
        w->taps *= w->kernel[i];
        w->pixels_in *= w->in[i];
        if (w->taps > MOST)
            return nb_graph_refuse(g, n, "a window of too many elements");
    }
    return true;
}

bool nb_window_slide(struct nb_graph *g, const struct nb_node *n, bool ceil, struct nb_window *w)
{
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++) {
        const int64_t room =
            w->in[i] + w->begin[i] + w->end[i] - (w->kernel[i] - 1) * w->dilation[i] - 1;
        if (room < 0)
            return nb_graph_refuse(g, n, "a window of %lld is larger than what it slides over",
                                   (long long)((w->kernel[i] - 1) * w->dilation[i] + 1));
        w->out[i] = room / w->stride[i] + 1;
        /* one more if anything is left, unless it would see nothing but padding */
        if (ceil && room % w->stride[i] != 0 && w->out[i] * w->stride[i] < w->in[i] + w->begin[i])
            w->out[i]++;
        w->pixels_out *= w->out[i];
    }
    return true;
}

bool nb_window_weights(struct nb_graph *g, const struct nb_node *n, const struct nb_window *w,
                       const struct nb_value *weights, int64_t groups, bool transposed)
{
    const struct nb_attr *kernel = &n->attr[NB_WINDOW_KERNEL];
    if ((int64_t)weights->rank != kernel->i + 2)
        return nb_graph_refuse(g, n, "x and its weights must have the same rank");
    const int64_t first = (int64_t)weights->dim[0].n, second = (int64_t)weights->dim[1].n;
    if (groups < 1 || w->c % groups != 0 || first % groups != 0 ||
        (transposed ? first != w->c : second != w->c / groups))
        return nb_graph_refuse(g, n, "%lld channels, weights of %lld, %lld groups", (long long)w->c,
                               (long long)(transposed ? first : second), (long long)groups);
    for (uint32_t i = 2; i < weights->rank; i++)
        if ((int64_t)weights->dim[i].n != kernel->list[i - 2])
            return nb_graph_refuse(g, n, "dimension %u of the weights is not the kernel's", i);
    return true;
}

void nb_window_dims(const struct nb_window *w, int64_t c, struct nb_value *out)
{
    const uint32_t dims = out->rank - 2, first = w->last ? 1 : 2;
    out->dim[0] = nb_dim_const((uint64_t)w->n);
    out->dim[w->last ? out->rank - 1 : 1] = nb_dim_const((uint64_t)c);
    for (uint32_t i = 0; i < dims; i++)
        out->dim[first + i] = nb_dim_const((uint64_t)w->out[NB_WINDOW_DIMS - dims + i]);
}

void nb_window_of(const struct nb_op_call *c, bool last, struct nb_window *w)
{
    const struct nb_value *x = c->in[0]->value, *y = c->out[0]->value;
    const bool ok = nb_window_read(NULL, c->node, x, last, w);
    const uint32_t dims = x->rank - 2;
    nb_assert(ok);
    (void)ok;
    for (uint32_t i = 0; i < dims; i++) {
        w->out[NB_WINDOW_DIMS - dims + i] = (int64_t)y->dim[i + (last ? 1 : 2)].n;
        w->pixels_out *= w->out[NB_WINDOW_DIMS - dims + i];
    }
}

struct nb_window_at nb_window_at(const struct nb_window *w, int64_t p)
{
    struct nb_window_at a;
    for (size_t i = NB_WINDOW_DIMS; i-- > 0; p /= w->out[i])
        a.at[i] = p % w->out[i] * w->stride[i] - w->begin[i];
    a.n = p;
    return a;
}

/* (n, a, b) -> (n, b, a) */
static void swap(float *y, const float *x, int64_t n, int64_t a, int64_t b, struct nb_pool *pool)
{
    const struct nb_value shape = {
        .type = NB_VALUE_F32,
        .rank = 3,
        .dim = {nb_dim_const((uint64_t)n), nb_dim_const((uint64_t)b), nb_dim_const((uint64_t)a)}};
    const int64_t stride[NB_VALUE_DIMS] = {a * b, 1, b};
    struct nb_walk w;
    nb_walk_init(&w, &shape);
    nb_walk_add_strides(&w, stride, 0);
    nb_walk_merge(&w);
    nb_walk_copy(&w, y, x, sizeof *y, pool);
}

void nb_window_to_last(float *y, const float *x, int64_t n, int64_t c, int64_t pixels,
                       struct nb_pool *pool)
{
    swap(y, x, n, c, pixels, pool);
}

void nb_window_to_first(float *y, const float *x, int64_t n, int64_t c, int64_t pixels,
                        struct nb_pool *pool)
{
    swap(y, x, n, pixels, c, pool);
}
