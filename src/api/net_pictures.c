/* api/net_pictures.c: pictures as samples of a net, and scale, mean and deviation of the numbers that it was trained on.
 *
 * Nothing is guessed but the order of dimensions, where only one of them can be that of channels. Pictures stay bytes
 * until they are used; (x * scale - mean) / std is rounded once.
 */
#include <math.h>
#include <string.h>

#include "api/net.h"
#include "image/image.h"

void nb_net_prepare_init(struct nb_net_prepare *p)
{
    *p = (struct nb_net_prepare){.size = sizeof *p, .scale = 1.0};
}

int32_t nb_is_pictures(const char *path)
{
    return path != NULL && (nb_image_is_named(path) || nb_path_is_dir(path));
}

/* ---- numbers ---- */

static bool does_something(const struct nb_net_prepare *p)
{
    return p != NULL && (p->scale != 1.0 || p->n_mean > 0 || p->n_std > 0);
}

static bool may_be_channels(int64_t n)
{
    return n == 1 || n == 3;
}

/* Dimension of the channels; -1: it is not clear. */
static int channel_dim(const struct nb_net_prepare *p, const int64_t *dims, size_t rank)
{
    if (rank != 4)
        return -1;
    if (p != NULL && p->layout != NULL)
        return nb_str_eq(p->layout, "nhwc") ? 3 : 1;
    return may_be_channels(dims[1]) ? 1 : may_be_channels(dims[3]) ? 3 : -1;
}

enum nb_status nb_net_channels_find(struct nb_net_channels *c, const struct nb_net_prepare *p,
                                    const char *input, const int64_t *dims, size_t rank,
                                    struct nb_error *err)
{
    *c = (struct nb_net_channels){.inner = 1, .n = 1};
    if (p != NULL && (p->size > sizeof *p || p->n_mean > 4 || p->n_std > 4))
        NB_FAIL(err, NB_ERR_ARG, "nb_net_prepare: a size that is not known, or too many numbers");
    if (p != NULL && p->layout != NULL && !nb_str_eq(p->layout, "nchw") &&
        !nb_str_eq(p->layout, "nhwc"))
        NB_FAIL(err, NB_ERR_ARG, "no layout '%s'; expected nchw or nhwc", p->layout);
    if (!does_something(p))
        return NB_OK;
    c->p = p;
    const uint32_t n = NB_MAX(p->n_mean, p->n_std);
    for (uint32_t i = 0; i < p->n_std; i++)
        if (!(p->std[i] > 0.0))
            NB_FAIL(err, NB_ERR_ARG, "a deviation of %g; expected one above 0", p->std[i]);
    if (n <= 1)
        return NB_OK;
    const int at = channel_dim(p, dims, rank);
    if (at < 0 || (p->n_mean > 1 && dims[at] != p->n_mean) ||
        (p->n_std > 1 && dims[at] != p->n_std))
        NB_FAIL(err, NB_ERR_ARG, "means or deviations of %u channels; input '%s' has %lld", n,
                input, at < 0 ? 0LL : (long long)dims[at]);
    c->n = (uint64_t)dims[at];
    for (size_t i = (size_t)at + 1; i < rank; i++)
        c->inner *= (uint64_t)dims[i];
    return NB_OK;
}

void nb_net_channels_apply(const struct nb_net_channels *c, double *x, uint64_t first, uint64_t n)
{
    const struct nb_net_prepare *p = c->p;
    for (uint64_t i = 0; i < n && p != NULL; i++) {
        const uint64_t k = (first + i) / c->inner % c->n;
        const double mean = p->n_mean > 0 ? p->mean[p->n_mean > 1 ? k : 0] : 0.0;
        const double std = p->n_std > 0 ? p->std[p->n_std > 1 ? k : 0] : 1.0;
        x[i] = (x[i] * p->scale - mean) / std;
    }
}

void nb_net_codes(void *dst, bool is_unsigned, const double *x, uint64_t n)
{
    const double low = is_unsigned ? 0.0 : -128.0, high = is_unsigned ? 255.0 : 127.0;
    for (uint64_t i = 0; i < n; i++) {
        const double q = rint(x[i]);
        ((uint8_t *)dst)[i] = (uint8_t)(int)(q >= low ? NB_MIN(q, high) : low);
    }
}

/* ---- pictures ---- */

/* What an input takes, and how it is brought there. */
struct target {
    uint32_t width, height;
    uint64_t channels, pixel_step, channel_step; /* elements between two */
    const struct nb_net_prepare *p;
    const struct nb_allocator *a;
};

/* Names of pictures below a path; one file is a folder of itself. */
static enum nb_status list_pictures(const char *const **names, size_t *n, const char *path,
                                    struct nb_arena *arena, struct nb_error *err)
{
    size_t all, kept = 0;
    if (!nb_path_is_dir(path)) {
        const char **one = nb_arena_alloc(arena, 1, sizeof *one);
        if (one == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for pictures");
        *one = NULL;
        *names = one;
        *n = 1;
        return NB_OK;
    }
    NB_TRY(nb_folder_read(names, &all, path, arena, err));
    const char **list = nb_arena_alloc(arena, all + 1, sizeof *list);
    if (list == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for pictures");
    for (size_t i = 0; i < all; i++)
        if (nb_image_is_named((*names)[i]))
            list[kept++] = (*names)[i];
    if (kept == 0)
        NB_FAIL(err, NB_ERR_ARG, "%s: a folder without pictures; expected .png, .jpg or .jpeg",
                path);
    *names = list;
    *n = kept;
    return NB_OK;
}

/* The shorter side becomes p->resize, the other keeps its proportion, rounded down. */
static void size_of(const struct target *t, const struct nb_image *m, uint32_t *w, uint32_t *h)
{
    const uint64_t side = t->p != NULL ? t->p->resize : 0;
    *w = t->width;
    *h = t->height;
    if (side == 0)
        return;
    *w = (uint32_t)(m->width <= m->height ? side : side * m->width / m->height);
    *h = (uint32_t)(m->width <= m->height ? side * m->height / m->width : side);
}

/* Half of what is too much, a half to even, as torchvision's CenterCrop has it. */
static uint32_t margin(uint32_t have, uint32_t want)
{
    return (uint32_t)rint((have - want) / 2.0);
}

static uint8_t grey(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595U + rgb[1] * 38470U + rgb[2] * 7471U + 32768U) >> 16);
}

static void place(uint8_t *dst, const struct target *t, const struct nb_image *m)
{
    const uint32_t left = margin(m->width, t->width), top = margin(m->height, t->height);
    const bool bgr = t->p != NULL && t->p->bgr != 0;
    for (uint32_t y = 0; y < t->height; y++)
        for (uint32_t x = 0; x < t->width; x++) {
            const uint8_t *rgb = m->rgb + 3 * ((size_t)(top + y) * m->width + left + x);
            uint8_t *to = dst + ((size_t)y * t->width + x) * t->pixel_step;
            for (uint64_t c = 0; c < t->channels; c++)
                to[c * t->channel_step] = t->channels == 1 ? grey(rgb) : rgb[bgr ? 2 - c : c];
        }
}

static enum nb_status read_picture(uint8_t *dst, const struct target *t, const char *path,
                                   struct nb_error *err)
{
    struct nb_image m, sized;
    uint32_t w, h;
    NB_TRY(nb_image_read(&m, path, t->a, err));
    size_of(t, &m, &w, &h);
    enum nb_status st = NB_OK;
    if (w < t->width || h < t->height)
        st = NB_ERROR(err, NB_ERR_ARG,
                      "%s: %u x %u pixels once its shorter side is %u; the input takes %u x %u",
                      path, w, h, t->p->resize, t->width, t->height);
    else
        st = nb_image_resize(&sized, &m, w, h, err);
    nb_image_fini(&m);
    if (st != NB_OK)
        return st;
    place(dst, t, &sized);
    nb_image_fini(&sized);
    return NB_OK;
}

static enum nb_status find_target(struct target *t, int64_t *shape, const char *input,
                                  const int64_t *dims, size_t rank, struct nb_error *err)
{
    const int at = channel_dim(t->p, dims, rank);
    if (at < 0 || !may_be_channels(dims[at]))
        NB_FAIL(err, NB_ERR_ARG,
                "input '%s' takes no pictures: expected four dimensions, 1 or 3 channels in the "
                "second or the last",
                input);
    const int64_t h = dims[at == 1 ? 2 : 1], w = dims[at == 1 ? 3 : 2];
    if (h < 1 || w < 1 || h > INT32_MAX || w > INT32_MAX)
        NB_FAIL(err, NB_ERR_ARG,
                "height or width of input '%s' is open: pictures do not say it, give it a size",
                input);
    t->height = (uint32_t)h;
    t->width = (uint32_t)w;
    t->channels = (uint64_t)dims[at];
    t->pixel_step = at == 1 ? 1 : t->channels;
    t->channel_step = at == 1 ? (uint64_t)h * (uint64_t)w : 1;
    memcpy(shape, dims, 4 * sizeof *shape);
    return NB_OK;
}

static enum nb_status read_all(struct nb_npy *out, nb_context *ctx, const struct target *t,
                               const char *path, const char *const *names, size_t n, uint8_t *data,
                               struct nb_error *err)
{
    const struct nb_progress *progress = &ctx->progress;
    for (size_t i = 0; i < n; i++) {
        if (progress->fn != NULL &&
            progress->fn(progress->ctx, "reading pictures", i, n, "pictures") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "reading pictures was cancelled");
        char *joined = names[i] != NULL ? nb_path_join(t->a, path, names[i]) : NULL;
        if (names[i] != NULL && joined == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for pictures");
        const enum nb_status st =
            read_picture(data + i * (out->bytes / n), t, joined != NULL ? joined : path, err);
        nb_free(t->a, joined);
        NB_TRY(st);
    }
    return NB_OK;
}

enum nb_status nb_net_pictures_read(struct nb_npy *out, nb_context *ctx,
                                    const struct nb_net_samples *s, const char *input,
                                    const int64_t *dims, size_t rank, struct nb_error *err)
{
    struct target t = {.p = s->prepare, .a = &ctx->allocator};
    struct nb_arena arena;
    const char *const *names;
    int64_t shape[4];
    size_t n = 1;
    void *data;
    NB_TRY(find_target(&t, shape, input, dims, rank, err));
    nb_arena_init(&arena, &ctx->allocator, 0);
    enum nb_status st = list_pictures(&names, &n, s->path, &arena, err);
    if (st == NB_OK) {
        shape[0] = (int64_t)n;
        st = nb_npy_room(ctx, out, "uint8", shape, 4, &data, err);
    }
    if (st == NB_OK) {
        st = read_all(out, ctx, &t, s->path, names, n, data, err);
        if (st != NB_OK)
            nb_npy_free(out);
    }
    nb_arena_fini(&arena);
    return st;
}

/* ---- for who runs the net himself ---- */

#define NUMBERS 256 /* converted at once */

static enum nb_status convert(nb_context *ctx, const struct nb_net_value *in,
                              const struct nb_net_channels *c, struct nb_npy *npy,
                              struct nb_error *err)
{
    const bool is_float = nb_str_eq(in->type, "float32"), u8 = nb_str_eq(in->type, "uint8");
    struct nb_npy made;
    double x[NUMBERS];
    void *data;
    if (!is_float && !u8 && !nb_str_eq(in->type, "int8"))
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "input '%s' takes %s; numbers are prepared for float32, uint8 and int8", in->name,
                in->type != NULL ? in->type : "no tensor");
    NB_TRY(nb_npy_room(ctx, &made, in->type, npy->dims, npy->rank, &data, err));
    for (uint64_t i = 0; i < npy->elements; i += NUMBERS) {
        const uint64_t n = NB_MIN(npy->elements - i, (uint64_t)NUMBERS);
        nb_net_numbers(x, npy->type, npy->data, i, n);
        nb_net_channels_apply(c, x, i, n);
        for (uint64_t k = 0; k < n && is_float; k++)
            ((float *)data)[i + k] = (float)x[k];
        if (!is_float)
            nb_net_codes((uint8_t *)data + i, u8, x, n);
    }
    nb_npy_free(npy);
    *npy = made;
    return NB_OK;
}

enum nb_status nb_net_samples_read(nb_context *ctx, const struct nb_net_value *in,
                                   const struct nb_net_samples *s,
                                   const struct nb_executor_dim *dims, size_t n_dims,
                                   struct nb_npy *out, struct nb_error *err)
{
    int64_t shape[NB_NET_MAX_DIMS] = {0};
    struct nb_net_channels c;
    nb_error_clear(err);
    if (ctx == NULL || in == NULL || s == NULL || s->path == NULL || out == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_net_samples_read: an argument is NULL");
    *out = (struct nb_npy){.type = NULL};
    const size_t rank = in->rank < 0 || in->rank > NB_NET_MAX_DIMS ? 0 : (size_t)in->rank;
    for (size_t i = 0; i < rank; i++) {
        shape[i] = in->dims[i];
        for (size_t k = 0; k < n_dims && shape[i] < 0 && in->dim_names[i] != NULL; k++)
            if (nb_str_eq(dims[k].name, in->dim_names[i]))
                shape[i] = dims[k].n;
    }
    const bool pictures = nb_is_pictures(s->path) != 0;
    if (pictures)
        NB_TRY(nb_net_pictures_read(out, ctx, s, in->name, shape, rank, err));
    else
        NB_TRY(nb_npy_read(ctx, s->path, out, err));
    if (!pictures && rank > 0 && out->rank == rank) /* open sizes are the array's */
        memcpy(shape, out->dims, rank * sizeof *shape);
    enum nb_status st = nb_net_channels_find(&c, s->prepare, in->name, shape, rank, err);
    if (st == NB_OK && (c.p != NULL || (pictures && !nb_str_eq(in->type, "uint8"))))
        st = convert(ctx, in, &c, out, err);
    if (st != NB_OK)
        nb_npy_free(out);
    return st;
}
