/* api/net_feed.c: samples of a net's inputs, from .npy files and pictures: which shape each gives its input, how many
 * there are, and the numbers of one run in the type that the net takes.
 *
 * Nothing is guessed: no dimension is moved, nothing is scaled unless asked for. Numbers for an input of floats are
 * converted as they are; an input of integers takes its own type, or prepared numbers, rounded.
 */
#include "api/net.h"

#include <string.h>

#define NUMBERS 256 /* converted at once */

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory for samples of a net");
}

/* ---- numbers ---- */

static int32_t type_named(const char *name)
{
    for (int32_t t = 1; nb_onnx_type_info(t) != NULL; t++)
        if (nb_str_eq(nb_onnx_type_info(t)->name, name))
            return t;
    return NB_ONNX_UNDEFINED;
}

void nb_net_widen(double *dst, enum nb_value_type type, const void *src, size_t n)
{
#define WIDEN(kind, ctype)                                                                         \
    case kind:                                                                                     \
        for (size_t i = 0; i < n; i++)                                                             \
            dst[i] = (double)((const ctype *)src)[i];                                              \
        return;
    switch (type) {
        WIDEN(NB_VALUE_F32, float)
        WIDEN(NB_VALUE_F64, double)
        WIDEN(NB_VALUE_I64, int64_t)
        WIDEN(NB_VALUE_I32, int32_t)
        WIDEN(NB_VALUE_U32, uint32_t)
        WIDEN(NB_VALUE_I16, int16_t)
        WIDEN(NB_VALUE_U16, uint16_t)
        WIDEN(NB_VALUE_I8, int8_t)
        WIDEN(NB_VALUE_U8, uint8_t)
        WIDEN(NB_VALUE_BOOL, uint8_t)
    default:
        memset(dst, 0, n * sizeof *dst);
    }
#undef WIDEN
}

void nb_net_numbers(double *dst, const char *type, const void *data, uint64_t first, uint64_t n)
{
    const int32_t t = type_named(type);
    enum nb_value_type held;
    uint64_t wide[NUMBERS]; /* of any type, aligned */
    const uint64_t bits = t != NB_ONNX_UNDEFINED ? nb_onnx_type_info(t)->bits : 0;
    if (bits == 0 || !nb_net_type(t, &held)) {
        memset(dst, 0, (size_t)n * sizeof *dst);
        return;
    }
    for (uint64_t i = 0; i < n; i += NUMBERS) {
        const uint64_t k = NB_MIN(n - i, (uint64_t)NUMBERS);
        const struct nb_onnx_tensor part = {.type = t,
                                            .n = k,
                                            .data = (const uint8_t *)data + (first + i) * bits / 8,
                                            .bytes = (k * bits + 7) / 8};
        nb_net_decode(wide, &part);
        nb_net_widen(dst + i, held, wide, (size_t)k);
    }
}

/* ---- shapes ---- */

static const struct nb_net_samples *samples_of(const struct nb_net_feed_options *o,
                                               const char *input)
{
    for (size_t i = 0; i < o->n_samples; i++)
        if (o->samples[i].input == NULL || nb_str_eq(o->samples[i].input, input))
            return &o->samples[i];
    return NULL;
}

static bool is_fixed(const struct nb_net_feed_options *o, const char *input)
{
    for (size_t i = 0; i < o->n_fixed; i++)
        if (nb_str_eq(o->fixed[i].input, input))
            return true;
    return false;
}

static int64_t given_dim(const struct nb_net_feed_options *o, const struct nb_net_value *in,
                         size_t k)
{
    const char *name = in->dims[k] < 0 ? in->dim_names[k] : NULL;
    for (size_t i = 0; name != NULL && i < o->n_dims; i++)
        if (nb_str_eq(o->dims[i].name, name))
            return o->dims[i].n;
    return in->dims[k];
}

/* The input's dimensions, open ones filled: the first with 1, others from the array, whose last dimensions they are. */
static enum nb_status find_shape(struct nb_net_feed *f, const struct nb_net_feed_options *o,
                                 const struct nb_net_value *in, struct nb_net_feed_input *to,
                                 struct nb_error *err)
{
    const struct nb_npy *npy = &to->npy;
    const size_t rank = in->rank >= 0 ? (size_t)in->rank : npy->rank;
    const bool counts = npy->rank == rank; /* dimension 0 is that of samples */
    int64_t *dims = nb_arena_alloc(&f->arena, rank + 1, sizeof *dims);
    if (dims == NULL)
        return no_memory(err);
    if (npy->rank == 0 || (!counts && npy->rank != rank + 1))
        NB_FAIL(err, NB_ERR_ARG, "samples of input '%s' have %u dimensions, expected %zu or %zu",
                in->name, npy->rank, rank, rank + 1);
    to->n_elements = 1;
    to->batch = 1;
    for (size_t i = 0; i < rank; i++) {
        const int64_t have = npy->dims[npy->rank - rank + i];
        const int64_t want = in->rank >= 0 ? given_dim(o, in, i) : -1;
        const bool first = counts && i == 0;
        dims[i] = want >= 0 ? want : first ? 1 : have;
        if (!first && have != dims[i])
            NB_FAIL(err, NB_ERR_ARG, "dimension %zu of input '%s' is %lld, of its samples %lld", i,
                    in->name, (long long)dims[i], (long long)have);
        if (first && (dims[i] < 1 || have % dims[i] != 0))
            NB_FAIL(err, NB_ERR_ARG, "%lld samples of input '%s', which takes %lld at once",
                    (long long)have, in->name, (long long)dims[i]);
        to->n_elements *= (uint64_t)dims[i];
        if (first)
            to->batch = dims[i];
    }
    f->shapes[f->n_inputs] =
        (struct nb_executor_shape){.input = in->name, .dims = dims, .rank = (uint32_t)rank};
    return NB_OK;
}

static enum nb_status read_pictures(struct nb_net_feed_input *to, nb_context *ctx,
                                    const struct nb_net_feed_options *o,
                                    const struct nb_net_value *in, const struct nb_net_samples *s,
                                    struct nb_error *err)
{
    int64_t dims[NB_NET_MAX_DIMS];
    const size_t rank = in->rank >= 0 && in->rank <= NB_NET_MAX_DIMS ? (size_t)in->rank : 0;
    for (size_t i = 0; i < rank; i++)
        dims[i] = given_dim(o, in, i);
    return nb_net_pictures_read(&to->npy, ctx, s, in->name, dims, rank, err);
}

static enum nb_status read_input(struct nb_net_feed *f, nb_context *ctx,
                                 const struct nb_net_feed_options *o, const struct nb_net_value *in,
                                 struct nb_error *err)
{
    const struct nb_net_samples *s = samples_of(o, in->name);
    struct nb_net_feed_input *to = &f->inputs[f->n_inputs];
    if (s == NULL)
        NB_FAIL(err, NB_ERR_ARG, "input '%s' has no samples; give some, or fix it to a value",
                in->name);
    to->name = in->name;
    to->path = s->path;
    NB_TRY(nb_is_pictures(s->path) ? read_pictures(to, ctx, o, in, s, err)
                                   : nb_npy_read(ctx, s->path, &to->npy, err));
    enum nb_status st = find_shape(f, o, in, to, err);
    if (st == NB_OK) {
        const struct nb_executor_shape *shape = &f->shapes[f->n_inputs];
        st = nb_net_channels_find(&to->channels, s->prepare, in->name, shape->dims, shape->rank,
                                  err);
    }
    f->n_inputs++;
    if (st != NB_OK)
        return st;
    const uint64_t n = to->n_elements > 0 ? to->npy.elements / to->n_elements : 0;
    if (n == 0 || (f->n_runs != 0 && n != f->n_runs))
        NB_FAIL(err, NB_ERR_ARG, "%s: %llu samples of input '%s', expected %llu", s->path,
                (unsigned long long)n, in->name, (unsigned long long)f->n_runs);
    f->n_runs = n;
    f->batch = f->n_inputs == 1 ? to->batch : f->batch;
    return NB_OK;
}

/* ---- the whole ---- */

static enum nb_status begin(struct nb_net_feed *f, nb_context *ctx, const char *path,
                            struct nb_error *err)
{
    *f = (struct nb_net_feed){.batch = 1};
    nb_arena_init(&f->arena, &ctx->allocator, 0);
    NB_TRY(nb_inspect_net(ctx, path, &f->info, err));
    f->inputs = nb_arena_alloc(&f->arena, f->info.n_inputs + 1, sizeof *f->inputs);
    f->shapes = nb_arena_alloc(&f->arena, f->info.n_inputs + 1, sizeof *f->shapes);
    return f->inputs != NULL && f->shapes != NULL ? NB_OK : no_memory(err);
}

static void set_options(struct nb_net_feed *f, const struct nb_net_feed_options *o, size_t n_shapes)
{
    nb_executor_options_init(&f->options);
    f->options.shapes = f->shapes;
    f->options.n_shapes = n_shapes;
    f->options.dims = o->dims;
    f->options.n_dims = o->n_dims;
    f->options.fixed = o->fixed;
    f->options.n_fixed = o->n_fixed;
}

enum nb_status nb_net_feed_read(struct nb_net_feed *f, nb_context *ctx, const char *path,
                                const struct nb_net_feed_options *o, struct nb_error *err)
{
    NB_TRY(begin(f, ctx, path, err));
    for (size_t i = 0; i < f->info.n_inputs; i++)
        if (!is_fixed(o, f->info.inputs[i].name))
            NB_TRY(read_input(f, ctx, o, &f->info.inputs[i], err));
    if (o->n_samples > f->n_inputs)
        NB_FAIL(err, NB_ERR_ARG, "samples for %zu inputs, the net has %zu that want some",
                o->n_samples, f->n_inputs);
    set_options(f, o, f->n_inputs);
    return NB_OK;
}

enum nb_status nb_net_feed_suppose(struct nb_net_feed *f, nb_context *ctx, const char *path,
                                   const struct nb_net_feed_options *o, struct nb_error *err)
{
    size_t n = 0;
    NB_TRY(begin(f, ctx, path, err));
    for (size_t i = 0; i < f->info.n_inputs; i++) {
        const struct nb_net_value *in = &f->info.inputs[i];
        if (is_fixed(o, in->name) || in->rank < 0)
            continue;
        int64_t *dims = nb_arena_alloc(&f->arena, (size_t)in->rank + 1, sizeof *dims);
        if (dims == NULL)
            return no_memory(err);
        for (size_t k = 0; k < (size_t)in->rank; k++) {
            dims[k] = given_dim(o, in, k);
            if (dims[k] < 0 && k > 0)
                NB_FAIL(err, NB_ERR_ARG,
                        "dimension %zu of input '%s' is open: give it a size, or samples", k,
                        in->name);
            if (dims[k] < 0)
                dims[k] = 1;
        }
        f->shapes[n++] =
            (struct nb_executor_shape){.input = in->name, .dims = dims, .rank = (uint32_t)in->rank};
    }
    set_options(f, o, n);
    return NB_OK;
}

void nb_net_feed_fini(struct nb_net_feed *f)
{
    for (size_t i = 0; i < f->n_inputs; i++)
        nb_npy_free(&f->inputs[i].npy);
    nb_net_info_free(&f->info);
    nb_arena_fini(&f->arena);
}

void nb_net_feed_numbers(const struct nb_net_feed *f, size_t i, uint64_t run, double *dst)
{
    const struct nb_net_feed_input *in = &f->inputs[i];
    nb_net_numbers(dst, in->npy.type, in->npy.data, run * in->n_elements, in->n_elements);
    nb_net_channels_apply(&in->channels, dst, run * in->n_elements, in->n_elements);
}

enum nb_status nb_net_feed_floats(struct nb_net_feed *f, size_t i, const float **out,
                                  struct nb_error *err)
{
    const struct nb_npy *npy = &f->inputs[i].npy;
    double part[NUMBERS];
    if (nb_str_eq(npy->type, "float32") && f->inputs[i].channels.p == NULL) {
        *out = npy->data;
        return NB_OK;
    }
    float *x = nb_arena_alloc(&f->arena, (size_t)npy->elements + 1, sizeof *x);
    if (x == NULL)
        return no_memory(err);
    for (uint64_t k = 0; k < npy->elements; k += NUMBERS) {
        const uint64_t n = NB_MIN(npy->elements - k, (uint64_t)NUMBERS);
        nb_net_numbers(part, npy->type, npy->data, k, n);
        nb_net_channels_apply(&f->inputs[i].channels, part, k, n);
        for (uint64_t e = 0; e < n; e++)
            x[k + e] = (float)part[e];
    }
    *out = x;
    return NB_OK;
}
