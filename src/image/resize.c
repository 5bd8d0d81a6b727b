/* image/resize.c: bilinear resizing that does not alias (a triangle filter, as wide as the scale asks for).
 *
 * Columns first, then rows, with bytes between, and weights of 22 bits behind the point: the arithmetic of Pillow's
 * resize, so that nets get the pixels that they were trained on.
 */
#include <string.h>

#include "image/image_internal.h"

#define BITS 22

/* What a new pixel is made of. */
struct span {
    uint32_t first, n;
    int32_t *weight; /* (n) */
};
/* Owns: spans, weights. */
struct filter {
    const struct nb_allocator *a;
    struct span *spans; /* (size) */
    int32_t *weights;   /* (size, widest) */
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to resize a picture");
}

static double triangle(double x)
{
    const double d = x < 0.0 ? -x : x;
    return d < 1.0 ? 1.0 - d : 0.0;
}

static int32_t to_fixed(double w)
{
    return (int32_t)(w * (double)(1 << BITS) + (w < 0.0 ? -0.5 : 0.5));
}

/* from pixels become to. scratch (widest) */
static void fill(struct filter *f, uint32_t from, uint32_t to, size_t widest, double *scratch)
{
    const double scale = (double)from / (double)to, wide = scale > 1.0 ? scale : 1.0;
    for (uint32_t i = 0; i < to; i++) {
        struct span *s = &f->spans[i];
        const double centre = ((double)i + 0.5) * scale;
        const double low = centre - wide + 0.5, high = centre + wide + 0.5;
        double sum = 0.0;
        s->first = low > 0.0 ? (uint32_t)low : 0;
        s->n = (high < (double)from ? (uint32_t)high : from) - s->first;
        s->weight = f->weights + (size_t)i * widest;
        for (uint32_t k = 0; k < s->n; k++) {
            scratch[k] = triangle(((double)(s->first + k) - centre + 0.5) / wide);
            sum += scratch[k];
        }
        for (uint32_t k = 0; k < s->n; k++)
            s->weight[k] = to_fixed(sum != 0.0 ? scratch[k] / sum : scratch[k]);
    }
}

static enum nb_status filter_init(struct filter *f, uint32_t from, uint32_t to,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    const double scale = (double)from / (double)to;
    const size_t widest = 2 * (size_t)(scale > 1.0 ? scale + 1.0 : 1.0) + 2;
    double *scratch = nb_alloc(a, widest, sizeof *scratch);
    *f = (struct filter){.a = a};
    f->spans = nb_alloc(a, to, sizeof *f->spans);
    f->weights = nb_alloc(a, (size_t)to * widest, sizeof *f->weights);
    const bool ok = scratch != NULL && f->spans != NULL && f->weights != NULL;
    if (ok)
        fill(f, from, to, widest, scratch);
    nb_free(a, scratch);
    return ok ? NB_OK : no_memory(err);
}

static void filter_fini(struct filter *f)
{
    if (f->a == NULL)
        return;
    nb_free(f->a, f->spans);
    nb_free(f->a, f->weights);
}

/* Three colours of one new pixel; step: bytes from one old pixel to the next. */
static void mix(uint8_t *dst, const struct span *s, const uint8_t *src, size_t step)
{
    int32_t sum[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
    src += s->first * step;
    for (uint32_t k = 0; k < s->n; k++, src += step)
        for (int c = 0; c < 3; c++)
            sum[c] += s->weight[k] * src[c];
    for (int c = 0; c < 3; c++) {
        const int32_t v = sum[c] >> BITS;
        dst[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static void columns(struct nb_image *out, const struct nb_image *in, const struct filter *f)
{
    for (uint32_t y = 0; y < in->height; y++)
        for (uint32_t x = 0; x < out->width; x++)
            mix(out->rgb + ((size_t)y * out->width + x) * 3, &f->spans[x],
                in->rgb + (size_t)y * in->width * 3, 3);
}

static void rows(struct nb_image *out, const struct nb_image *in, const struct filter *f)
{
    const size_t row = (size_t)in->width * 3;
    for (uint32_t y = 0; y < out->height; y++)
        for (size_t x = 0; x < in->width; x++)
            mix(out->rgb + y * row + 3 * x, &f->spans[y], in->rgb + 3 * x, row);
}

/* One direction. */
static enum nb_status pass(struct nb_image *out, const struct nb_image *in, uint32_t size,
                           bool wide, struct nb_error *err)
{
    struct filter f;
    *out = (struct nb_image){.a = in->a};
    enum nb_status st = filter_init(&f, wide ? in->width : in->height, size, in->a, err);
    if (st == NB_OK)
        st = nb_image_room(out, wide ? size : in->width, wide ? in->height : size, err);
    if (st == NB_OK && wide)
        columns(out, in, &f);
    else if (st == NB_OK)
        rows(out, in, &f);
    filter_fini(&f);
    return st;
}

enum nb_status nb_image_resize(struct nb_image *out, const struct nb_image *in, uint32_t width,
                               uint32_t height, struct nb_error *err)
{
    struct nb_image half = {.a = in->a};
    const struct nb_image *from = in;
    *out = (struct nb_image){.a = in->a};
    if (width == 0 || height == 0)
        NB_FAIL(err, NB_ERR_ARG, "a picture of %u x %u pixels", width, height);
    enum nb_status st = NB_OK;
    if (width != in->width) {
        st = pass(&half, in, width, true, err);
        from = &half;
    }
    if (st == NB_OK && height != from->height)
        st = pass(out, from, height, false, err);
    else if (st == NB_OK) {
        st = nb_image_room(out, width, height, err);
        if (st == NB_OK)
            memcpy(out->rgb, from->rgb, (size_t)width * height * 3);
    }
    nb_image_fini(&half);
    if (st != NB_OK)
        nb_image_fini(out);
    return st;
}
