/* calib/acts.c: windows of hidden states in memory and, beyond a budget, on disk. */
#include "calib/acts.h"

#include <string.h>

/* Owns: values, spare, file. */
struct nb_acts {
    const struct nb_allocator *a;
    size_t n_windows, floats; /* of a window                                             */
    size_t ctx, width;
    size_t n_kept;       /* windows in memory: the first ones                            */
    float *values;       /* (n_kept, ctx, width), NULL: none                             */
    float *spare;        /* (ctx, width): a window from disk                             */
    struct nb_temp file; /* the others                                                   */
    bool on_disk;
};

/* Sizes of a store. */
struct sizes {
    size_t floats, kept; /* of a window; windows in memory */
    uint64_t window_bytes, kept_bytes, spilled_bytes;
};

static bool work_out(const struct nb_acts_options *o, struct sizes *z)
{
    size_t bytes;
    uint64_t all;
    if (!nb_mul_size(&z->floats, o->ctx, o->width) ||
        !nb_mul_size(&bytes, z->floats, sizeof(float)) || !nb_mul_u64(&all, bytes, o->n_windows) ||
        all > INT64_MAX || bytes > SIZE_MAX / 4)
        return false;
    const uint64_t most = NB_MIN(o->max_bytes, (uint64_t)SIZE_MAX / 2);
    z->window_bytes = bytes;
    z->kept = bytes == 0 || all <= most ? o->n_windows : (size_t)(most / bytes);
    z->kept_bytes = z->kept * z->window_bytes;
    z->spilled_bytes = all - z->kept_bytes;
    return true;
}

bool nb_acts_bytes(const struct nb_acts_options *o, uint64_t *all, uint64_t *in_memory)
{
    struct sizes z;
    if (!work_out(o, &z))
        return false;
    *all = z.kept_bytes + z.spilled_bytes;
    *in_memory = z.kept_bytes + z.window_bytes;
    return true;
}

static enum nb_status take_memory(struct nb_acts *s, const struct sizes *z, struct nb_error *err)
{
    s->spare = nb_alloc(s->a, z->floats, sizeof(float));
    if (s->spare == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a window of %zu hidden states", s->ctx);
    if (z->kept == 0)
        return NB_OK;
    s->values = nb_alloc(s->a, (size_t)z->kept_bytes, 1);
    if (s->values == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the hidden states of %zu windows: %llu bytes",
                z->kept, (unsigned long long)z->kept_bytes);
    return NB_OK;
}

enum nb_status nb_acts_create(struct nb_acts **out, const struct nb_acts_options *o,
                              const struct nb_allocator *a, struct nb_error *err)
{
    struct sizes z;
    *out = NULL;
    if (o->n_windows == 0 || o->ctx == 0 || o->width == 0 || !work_out(o, &z))
        NB_FAIL(err, NB_ERR_LIMIT, "hidden states of %zu windows of %zu tokens, %zu wide, %s",
                o->n_windows, o->ctx, o->width,
                o->n_windows && o->ctx && o->width ? "are too many" : "are none");
    struct nb_acts *s = nb_alloc_zero(a, 1, sizeof *s);
    if (s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for hidden states");
    s->a = a;
    s->file.fd = -1;
    s->n_windows = o->n_windows;
    s->ctx = o->ctx;
    s->width = o->width;
    s->floats = z.floats;
    s->n_kept = z.kept;
    enum nb_status st = take_memory(s, &z, err);
    if (st == NB_OK && z.spilled_bytes > 0) {
        st = nb_temp_create(&s->file, o->folder, z.spilled_bytes, a, err);
        s->on_disk = st == NB_OK;
    }
    if (st != NB_OK) {
        nb_acts_destroy(s);
        return st;
    }
    *out = s;
    return NB_OK;
}

void nb_acts_destroy(struct nb_acts *s)
{
    if (s == NULL)
        return;
    if (s->on_disk)
        nb_temp_close(&s->file);
    nb_free(s->a, s->values);
    nb_free(s->a, s->spare);
    nb_free(s->a, s);
}

uint64_t nb_acts_spilled_bytes(const struct nb_acts *s)
{
    return s->on_disk ? s->file.bytes : 0;
}

static float *kept(const struct nb_acts *s, size_t window)
{
    return window < s->n_kept ? s->values + window * s->floats : NULL;
}

static uint64_t place(const struct nb_acts *s, size_t window)
{
    return (uint64_t)(window - s->n_kept) * s->floats * sizeof(float);
}

static enum nb_status check_window(const struct nb_acts *s, size_t window, struct nb_error *err)
{
    if (window >= s->n_windows)
        NB_FAIL(err, NB_ERR_ARG, "hidden states of window %zu; there are %zu windows", window,
                s->n_windows);
    return NB_OK;
}

enum nb_status nb_acts_read(const struct nb_acts *s, size_t window, float *dst,
                            struct nb_error *err)
{
    NB_TRY(check_window(s, window, err));
    const float *x = kept(s, window);
    if (x == NULL)
        return nb_temp_read(&s->file, place(s, window), dst, s->floats * sizeof *dst, err);
    memcpy(dst, x, s->floats * sizeof *dst);
    return NB_OK;
}

enum nb_status nb_acts_write(struct nb_acts *s, size_t window, const float *src,
                             struct nb_error *err)
{
    NB_TRY(check_window(s, window, err));
    float *x = kept(s, window);
    if (x == NULL)
        return nb_temp_write(&s->file, place(s, window), src, s->floats * sizeof *src, err);
    if (x != src)
        memcpy(x, src, s->floats * sizeof *src);
    return NB_OK;
}

enum nb_status nb_acts_get(struct nb_acts *s, size_t window, float **x, struct nb_error *err)
{
    NB_TRY(check_window(s, window, err));
    *x = kept(s, window);
    if (*x != NULL)
        return NB_OK;
    *x = s->spare;
    return nb_acts_read(s, window, *x, err);
}

enum nb_status nb_acts_put(struct nb_acts *s, size_t window, const float *x, struct nb_error *err)
{
    return nb_acts_write(s, window, x, err);
}
