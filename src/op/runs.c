/* op/runs.c: windows as runs of memory. */
#include "op/runs.h"

#include "base/bytes.h"

#define PIECE 16 /* pixels brought from channels first together */

/* Elements from the first to behind the last that windows see in dimension i. */
static int64_t seen(const struct nb_window *w, size_t i)
{
    return (w->out[i] - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* Would rounding runs up to fours leave x? */
static bool leaves(const struct nb_window *w, const struct nb_runs *r)
{
    int64_t end = r->image;
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++)
        end -= (w->in[i] - seen(w, i)) * r->row[i];
    return end + (NB_RUNS_OVER & -r->len) > r->image;
}

static void strides(const int64_t *dims, int64_t c, struct nb_runs *r)
{
    bool fits = true;
    r->image = c;
    for (size_t i = NB_WINDOW_DIMS; i-- > 0;) {
        r->row[i] = r->image;
        fits = fits && !__builtin_mul_overflow(r->image, dims[i], &r->image);
    }
    if (!fits) /* no memory holds it: nb_runs_image_bytes says so */
        r->image = INT64_MAX;
}

void nb_runs_of(const struct nb_window *w, int64_t groups, size_t size, struct nb_runs *r)
{
    const bool rows = groups == 1 && w->dilation[2] == 1, each = groups == NB_RUNS_EACH_CHANNEL;
    *r = (struct nb_runs){.size = size,
                          .n = rows ? w->taps / w->kernel[2] : w->taps,
                          .len = rows   ? w->kernel[2] * w->c
                                 : each ? w->c
                                        : w->c / groups,
                          .copy = !w->last && w->c > 1 && w->pixels_in > 1};
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++) {
        r->dims[i] = seen(w, i);
        r->copy = r->copy || w->begin[i] > 0 || r->dims[i] > w->in[i];
    }
    if (!r->copy) {
        strides(w->in, w->c, r);
        r->copy = size == 1 && !each && leaves(w, r);
    }
    if (r->copy)
        strides(r->dims, w->c, r);
}

uint64_t nb_runs_image_bytes(const struct nb_window *w, const struct nb_runs *r)
{
    uint64_t bytes;
    if (!r->copy)
        return 0;
    if (r->image == INT64_MAX || !nb_mul_u64(&bytes, (uint64_t)r->image, (uint64_t)w->n) ||
        !nb_mul_u64(&bytes, bytes, r->size) || !nb_add_u64(&bytes, bytes, NB_RUNS_OVER))
        return UINT64_MAX;
    return bytes;
}

void nb_runs_offsets(const struct nb_window *w, const struct nb_runs *r, size_t *offset)
{
    const int64_t taps = r->n / (w->kernel[0] * w->kernel[1]); /* 1: runs are rows */
    for (int64_t z = 0; z < w->kernel[0]; z++)
        for (int64_t y = 0; y < w->kernel[1]; y++)
            for (int64_t t = 0; t < taps; t++)
                *offset++ = (size_t)(z * w->dilation[0] * r->row[0] +
                                     y * w->dilation[1] * r->row[1] + t * w->dilation[2] * w->c);
}

/* ---- the copy ---- */

struct copy {
    const struct nb_window *w;
    const struct nb_runs *r;
    uint8_t *to;
    const void *x;
    uint8_t fill;
};

#define FROM_FIRST(T, name)                                                                        \
    /* n pixels (n, c) from (c, n), whose channels are `step` apart */                             \
    static void name(T *to, const T *x, int64_t n, int64_t c, int64_t step)                        \
    {                                                                                              \
        for (int64_t p0 = 0; p0 < n; p0 += PIECE)                                                  \
            for (int64_t i = 0; i < c; i++)                                                        \
                for (int64_t p = p0; p < NB_MIN(p0 + PIECE, n); p++)                               \
                    to[p * c + i] = x[i * step + p];                                               \
    }
FROM_FIRST(uint8_t, bytes_from_first)
FROM_FIRST(uint32_t, words_from_first)

/* A row of x: n pixels of image `image`, from pixel `from` on. */
static void copy_pixels(const struct copy *k, uint8_t *to, int64_t image, int64_t from, int64_t n)
{
    const struct nb_window *w = k->w;
    const size_t size = k->r->size;
    const int64_t first = image * w->pixels_in * w->c;
    if (w->last)
        memcpy(to, (const uint8_t *)k->x + (size_t)(first + from * w->c) * size,
               (size_t)(n * w->c) * size);
    else if (size == 1)
        bytes_from_first(to, (const uint8_t *)k->x + first + from, n, w->c, w->pixels_in);
    else
        words_from_first((void *)to, (const uint32_t *)k->x + first + from, n, w->c, w->pixels_in);
}

/* Row i of the copy. */
static void copy_row(const struct copy *k, uint8_t *to, size_t i)
{
    const struct nb_window *w = k->w;
    const struct nb_runs *r = k->r;
    const size_t pixel = (size_t)w->c * r->size, row = (size_t)r->dims[2] * pixel;
    const int64_t left = NB_MIN(w->begin[2], r->dims[2]);
    const int64_t n = NB_MIN(w->in[2], r->dims[2] - left);
    const int64_t y = (int64_t)i % r->dims[1] - w->begin[1];
    const int64_t z = (int64_t)i / r->dims[1] % r->dims[0] - w->begin[0];
    const int64_t image = (int64_t)i / r->dims[1] / r->dims[0];
    const bool in = y >= 0 && y < w->in[1] && z >= 0 && z < w->in[0];
    const size_t before = in ? (size_t)left * pixel : row, middle = in ? (size_t)n * pixel : 0;
    memset(to, k->fill, before);
    if (in)
        copy_pixels(k, to + before, image, (z * w->in[1] + y) * w->in[2], n);
    memset(to + before + middle, k->fill, row - before - middle);
}

static void copy_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct copy *k = ctx;
    const size_t row = (size_t)(k->r->dims[2] * k->w->c) * k->r->size;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        copy_row(k, k->to + i * row, i);
}

void nb_runs_copy(const struct nb_window *w, const struct nb_runs *r, void *to, const void *x,
                  uint8_t fill, struct nb_pool *pool)
{
    struct copy k = {w, r, to, x, fill};
    const size_t n = (size_t)(w->n * r->dims[0] * r->dims[1]);
    nb_pool_for(pool, n, op_grain((uint64_t)(r->dims[2] * w->c)), copy_rows, &k);
    memset(k.to + n * (size_t)(r->dims[2] * w->c) * r->size, fill, NB_RUNS_OVER);
}

void nb_runs_copy_rows(const struct nb_window *w, const struct nb_runs *r, void *to, const void *x,
                       uint8_t fill, int64_t first, int64_t n)
{
    const struct copy k = {w, r, to, x, fill};
    const size_t row = (size_t)(r->dims[2] * w->c) * r->size;
    for (int64_t i = 0; i < n; i++)
        copy_row(&k, k.to + (size_t)i * row, (size_t)(first + i));
}

/* ---- windows ---- */

void nb_runs_point(const struct nb_window *w, const struct nb_runs *r, const void *image,
                   int64_t from, int64_t n, int64_t group, const void **at)
{
    const uint8_t *base = (const uint8_t *)image + (size_t)(group * r->len) * r->size;
    int64_t x = from % w->out[2], y = from / w->out[2] % w->out[1];
    int64_t z = from / w->out[2] / w->out[1] % w->out[0];
    int64_t i = from / w->out[2] / w->out[1] / w->out[0];
    while (n > 0) {
        const int64_t row =
            i * r->image + z * w->stride[0] * r->row[0] + y * w->stride[1] * r->row[1];
        const size_t step = (size_t)(w->stride[2] * w->c) * r->size;
        const uint8_t *p = base + (size_t)row * r->size + (size_t)x * step;
        const int64_t end = NB_MIN(w->out[2], x + n);
        n -= end - x;
        for (; x < end; x++, p += step)
            *at++ = p;
        x = 0;
        y = y + 1 < w->out[1] ? y + 1 : 0;
        z = y > 0 ? z : z + 1 < w->out[0] ? z + 1 : 0;
        i += y == 0 && z == 0;
    }
}
