/* ptq/moments.c: what the inputs of layers were, column by column of their matrices: means, squares, and all
 * products (second moments H, calib/hessian.h).
 *
 * Means are of every position of every sample, of the input as it was and as its grid makes it; padding counts as
 * the zeros that it is. Products are of some thousand positions, spread evenly: H has many more columns than a
 * window has news.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

enum { ROWS = 1024, LEAST_ROWS = 8192, ROWS_PER_COLUMN = 4 };

/* Owns: scratch. */
struct measuring {
    struct nb_ptq_moments *all; /* (n) */
    const struct nb_ptq_layer *layers;
    size_t n, n_samples;
    const struct nb_ptq_ground *ground;
    float *rounded; /* (most elements of an input) */
    float *rows;    /* (ROWS, most columns) */
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to measure the inputs of layers");
}

/* Positions of an output, over all of a batch. */
static size_t positions_of(const struct nb_ptq_layer *l)
{
    const struct nb_ptq_window *w = &l->window;
    return (size_t)w->batch * (l->conv ? (size_t)(w->out[0] * w->out[1]) : 1);
}

/* ---- as the grid makes it ---- */

static void on_grid(float *y, const float *x, size_t n, struct nb_ptq_grid g)
{
    const float low = (float)(g.low - g.zero), high = (float)(g.high - g.zero);
    for (size_t i = 0; i < n; i++) {
        float q = x[i] / g.scale;
        q = q < low ? low : (q > high ? high : q);
        q = q + 0x1.8p23F - 0x1.8p23F; /* to nearest, half to even */
        y[i] = q * g.scale;
    }
}

/* ---- sums ---- */

/* First and last output whose element k of the window lies in the input; none: *begin > *end - 1. */
static void reach(const struct nb_ptq_window *w, int d, int64_t k, int64_t *begin, int64_t *end)
{
    const int64_t off = k * w->dilation[d] - w->pad[d];
    *begin = off < 0 ? (-off + w->stride[d] - 1) / w->stride[d] : 0;
    *end = w->in[d] - off > 0 ? (w->in[d] - off + w->stride[d] - 1) / w->stride[d] : 0;
    *end = NB_MIN(*end, w->out[d]);
}

/* Of the elements that element (ky, kx) of a window meets in a plane. */
static void sum_plane(const struct nb_ptq_window *w, const float *x, int64_t ky, int64_t kx,
                      double *sum, double *square)
{
    int64_t y0, y1, x0, x1;
    reach(w, 0, ky, &y0, &y1);
    reach(w, 1, kx, &x0, &x1);
    for (int64_t oy = y0; oy < y1; oy++) {
        const int64_t iy = oy * w->stride[0] - w->pad[0] + ky * w->dilation[0];
        const float *row = x + iy * w->in[1] + kx * w->dilation[1] - w->pad[1];
        double s = 0.0, s2 = 0.0;
        for (int64_t ox = x0; ox < x1; ox++) {
            const double v = (double)row[ox * w->stride[1]];
            s += v;
            s2 += v * v;
        }
        *sum += s;
        if (square != NULL)
            *square += s2;
    }
}

static void sum_window(const struct nb_ptq_layer *l, const float *x, double *sum, double *square)
{
    const struct nb_ptq_window *w = &l->window;
    const size_t plane = (size_t)(w->in[0] * w->in[1]), all = l->groups * w->channels;
    for (size_t b = 0; b < w->batch; b++)
        for (size_t c = 0; c < all; c++) {
            size_t at =
                c * (size_t)(w->kernel[0] * w->kernel[1]); /* groups lie one behind the other */
            for (int64_t ky = 0; ky < w->kernel[0]; ky++)
                for (int64_t kx = 0; kx < w->kernel[1]; kx++, at++)
                    sum_plane(w, x + (b * all + c) * plane, ky, kx, &sum[at],
                              square != NULL ? &square[at] : NULL);
        }
}

static void sum_columns(const struct nb_ptq_layer *l, const float *x, double *sum, double *square)
{
    for (size_t b = 0; b < l->window.batch; b++)
        for (size_t j = 0; j < l->cols; j++) {
            const double v = (double)x[b * l->cols + j];
            sum[j] += v;
            if (square != NULL)
                square[j] += v * v;
        }
}

/* ---- products ---- */

/* The columns of a group at one position. */
static void gather(const struct nb_ptq_layer *l, size_t group, size_t position, const float *x,
                   float *row)
{
    const struct nb_ptq_window *w = &l->window;
    const int64_t area = w->out[0] * w->out[1];
    if (!l->conv) {
        memcpy(row, x + position * l->cols, l->cols * sizeof *row);
        return;
    }
    const size_t b = position / (size_t)area;
    const int64_t oy = (int64_t)position % area / w->out[1], ox = (int64_t)position % w->out[1];
    const size_t plane = (size_t)(w->in[0] * w->in[1]);
    const float *p = x + (b * l->groups + group) * w->channels * plane;
    for (size_t c = 0; c < w->channels; c++, p += plane)
        for (int64_t ky = 0; ky < w->kernel[0]; ky++) {
            const int64_t iy = oy * w->stride[0] - w->pad[0] + ky * w->dilation[0];
            for (int64_t kx = 0; kx < w->kernel[1]; kx++) {
                const int64_t ix = ox * w->stride[1] - w->pad[1] + kx * w->dilation[1];
                const bool in = iy >= 0 && iy < w->in[0] && ix >= 0 && ix < w->in[1];
                *row++ = in ? p[iy * w->in[1] + ix] : 0.0F;
            }
        }
}

static enum nb_status add_products(struct measuring *m, size_t i, const float *x,
                                   struct nb_error *err)
{
    const struct nb_ptq_layer *l = &m->layers[i];
    struct nb_ptq_moments *to = &m->all[i];
    const size_t positions = positions_of(l);
    const size_t wanted = NB_MAX((size_t)LEAST_ROWS, ROWS_PER_COLUMN * l->cols);
    const size_t step = NB_MAX(positions * m->n_samples / wanted, (size_t)1);
    for (size_t g = 0; g < l->groups; g++) {
        size_t n = 0;
        for (size_t p = to->n_seen * 7 % step; p < positions; p += step) {
            gather(l, g, p, x, m->rows + n++ * l->cols);
            if (n == ROWS) {
                NB_TRY(nb_hessian_add(to->h[g], m->rows, n, m->ground->pool, err));
                n = 0;
            }
        }
        if (n > 0)
            NB_TRY(nb_hessian_add(to->h[g], m->rows, n, m->ground->pool, err));
    }
    return NB_OK;
}

/* ---- the pass ---- */

static enum nb_status see(void *ctx, uint32_t value, const void *data, size_t n,
                          struct nb_error *err)
{
    struct measuring *m = ctx;
    const float *x = data;
    for (size_t i = 0; i < m->n; i++) {
        const struct nb_ptq_layer *l = &m->layers[i];
        struct nb_ptq_moments *to = &m->all[i];
        if (!l->known || l->x->value != value)
            continue;
        on_grid(m->rounded, x, n, to->grid);
        if (l->conv) {
            sum_window(l, x, to->sum, to->square);
            sum_window(l, m->rounded, to->rounded_sum, NULL);
        } else {
            sum_columns(l, x, to->sum, to->square);
            sum_columns(l, m->rounded, to->rounded_sum, NULL);
        }
        if (to->h != NULL)
            NB_TRY(add_products(m, i, x, err));
        to->positions += (double)positions_of(l);
        to->n_seen++;
    }
    return NB_OK;
}

uint64_t nb_ptq_moments_bytes(const struct nb_ptq_layer *l)
{
    return l->known ? (uint64_t)l->groups * nb_hessian_bytes(l->cols) : 0;
}

static enum nb_status moments_init(struct nb_ptq_moments *m, const struct nb_ptq_layer *l,
                                   bool products, const struct nb_allocator *a,
                                   struct nb_error *err)
{
    const size_t n = l->groups * l->cols;
    if (!l->known)
        return NB_OK;
    m->sum = nb_alloc_zero(a, 3 * n, sizeof *m->sum);
    if (m->sum == NULL)
        return no_memory(err);
    m->square = m->sum + n;
    m->rounded_sum = m->sum + 2 * n;
    if (!products)
        return NB_OK;
    m->h = nb_alloc_zero(a, l->groups, sizeof(struct nb_hessian *));
    if (m->h == NULL)
        return no_memory(err);
    for (size_t g = 0; g < l->groups; g++)
        NB_TRY(nb_hessian_create(&m->h[g], l->cols, a, err));
    return NB_OK;
}

void nb_ptq_moments_fini(struct nb_ptq_moments *m, const struct nb_ptq_layer *l,
                         const struct nb_allocator *a)
{
    for (size_t g = 0; m->h != NULL && g < l->groups; g++)
        nb_hessian_destroy(m->h[g]);
    nb_free(a, m->h);
    nb_free(a, m->sum);
    m->h = NULL;
    m->sum = NULL;
}

static enum nb_status measure(struct measuring *m, bool products, struct nb_error *err)
{
    const struct nb_allocator *a = m->ground->a;
    size_t most = 0, cols = 0;
    bool any = false;
    for (size_t i = 0; i < m->n; i++) {
        const struct nb_ptq_layer *l = &m->layers[i];
        NB_TRY(moments_init(&m->all[i], l, products, a, err));
        if (!l->known)
            continue;
        most = NB_MAX(most, (size_t)nb_value_count(&m->ground->net->g.values[l->x->value]));
        cols = NB_MAX(cols, l->cols);
        any = true;
    }
    m->rounded = nb_alloc(a, most + 1, sizeof *m->rounded);
    m->rows = nb_alloc(a, cols + 1, ROWS * sizeof *m->rows);
    if (m->rounded == NULL || m->rows == NULL)
        return no_memory(err);
    const struct nb_ptq_ground *g = m->ground;
    return any ? nb_ptq_run_samples(g->net, g->data, see, m, g->pool, g->a, err) : NB_OK;
}

enum nb_status nb_ptq_measure_inputs(struct nb_ptq_moments *all, const struct nb_ptq_layer *layers,
                                     size_t n, bool products, const struct nb_ptq_ground *ground,
                                     struct nb_error *err)
{
    struct measuring m = {.all = all,
                          .layers = layers,
                          .n = n,
                          .n_samples = ground->data->n_samples,
                          .ground = ground};
    const enum nb_status st = measure(&m, products, err);
    nb_free(ground->a, m.rounded);
    nb_free(ground->a, m.rows);
    return st;
}
