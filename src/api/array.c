/* api/array.c: numbers in memory, or in an .npy file, into a number format and back. */
#include "api/api.h"

#include <string.h>

#include "container/container.h"
#include "quant/quant.h"

/* Owns: q. */
struct nb_array {
    struct nb_allocator a;
    struct nb_pool *pool; /* the context's */
    struct nb_qarray *q;
};

void nb_array_options_init(struct nb_array_options *o)
{
    *o = (struct nb_array_options){.size = sizeof *o};
}

static enum nb_status make_shape(struct nb_shape *s, const uint64_t *dims, uint32_t n_dims,
                                 struct nb_error *err)
{
    if (n_dims > NB_ARRAY_MAX_DIMS)
        NB_FAIL(err, NB_ERR_ARG, "%u dimensions, at most %d", n_dims, NB_ARRAY_MAX_DIMS);
    *s = (struct nb_shape){.n = n_dims};
    memcpy(s->dim, dims, n_dims * sizeof *dims);
    return NB_OK;
}

enum nb_status nb_array_bytes(const char *type, const uint64_t *dims, uint32_t n_dims,
                              uint64_t *bytes, struct nb_error *err)
{
    struct nb_shape shape;
    nb_error_clear(err);
    if (type == NULL || bytes == NULL || (dims == NULL && n_dims > 0))
        NB_FAIL(err, NB_ERR_ARG, "the size of an array needs a type and dimensions");
    NB_TRY(make_shape(&shape, dims, n_dims, err));
    return nb_qarray_bytes(type, &shape, bytes, err);
}

static void fill_stats(struct nb_array_stats *stats, const struct nb_qarray *q,
                       const struct nb_array_error *e)
{
    uint64_t n = 0;
    if (!nb_shape_count(&q->shape, &n))
        n = 0;
    *stats = (struct nb_array_stats){
        .type = q->type->name,
        .elements = n,
        .bytes = q->bytes,
        .bpw = n > 0 ? 8.0 * (double)q->bytes / (double)n : 0.0,
        .sqnr_db = e->sqnr_db,
        .mse = e->mse,
        .max_error = e->max_error,
    };
}

static enum nb_status read_options(struct nb_array_options *o,
                                   const struct nb_array_options *options, struct nb_error *err)
{
    nb_array_options_init(o);
    NB_TRY(nb_options_copy(o, sizeof *o, options, options != NULL ? options->size : 0,
                           "array options", err));
    if (o->type == NULL)
        NB_FAIL(err, NB_ERR_ARG, "an array needs a number format: set options.type");
    if (o->importance == NULL && o->n_importance > 0)
        NB_FAIL(err, NB_ERR_ARG, "n_importance is %llu, but importance is NULL",
                (unsigned long long)o->n_importance);
    return NB_OK;
}

enum nb_status nb_array_quantize(nb_array **out, nb_context *ctx, const struct nb_array_view *view,
                                 const struct nb_array_options *options,
                                 struct nb_array_stats *stats, struct nb_error *err)
{
    struct nb_array_options o;
    struct nb_array_error e;
    nb_error_clear(err);
    if (out == NULL || ctx == NULL || view == NULL || view->x == NULL)
        NB_FAIL(err, NB_ERR_ARG, "quantizing an array needs a context, numbers and a result");
    NB_TRY(read_options(&o, options, err));
    struct nb_array_job job = {.type = o.type,
                               .x = view->x,
                               .importance = o.importance,
                               .n_importance = o.n_importance,
                               .pool = ctx->pool,
                               .a = &ctx->allocator};
    NB_TRY(make_shape(&job.shape, view->dims, view->n_dims, err));
    nb_array *q = nb_alloc_zero(&ctx->allocator, 1, sizeof *q);
    if (q == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for an array");
    *q = (nb_array){.a = ctx->allocator, .pool = ctx->pool};
    const enum nb_status st = nb_qarray_create(&q->q, &job, &e, err);
    if (st != NB_OK) {
        nb_array_destroy(q);
        return st;
    }
    if (stats != NULL)
        fill_stats(stats, q->q, &e);
    *out = q;
    return NB_OK;
}

void nb_array_dequantize(const nb_array *q, float *y)
{
    nb_qarray_decode(q->q, y, q->pool);
}

enum nb_status nb_array_part(const nb_array *q, size_t i, struct nb_array_part *part)
{
    if (q == NULL || part == NULL)
        return NB_ERR_ARG;
    if (i >= q->q->n_parts)
        return NB_ERR_NOT_FOUND;
    const struct nb_qarray_part *p = &q->q->part[i];
    *part = (struct nb_array_part){.name = p->name,
                                   .type = p->type->name,
                                   .n_dims = p->shape.n,
                                   .data = p->data,
                                   .bytes = p->bytes};
    memcpy(part->dims, p->shape.dim, sizeof part->dims);
    return NB_OK;
}

void nb_array_info(const nb_array *q, struct nb_array_part *whole)
{
    *whole = (struct nb_array_part){.name = NB_NPY_NAME,
                                    .type = q->q->type->name,
                                    .n_dims = q->q->shape.n,
                                    .bytes = q->q->bytes};
    memcpy(whole->dims, q->q->shape.dim, sizeof whole->dims);
}

enum nb_status nb_array_read(nb_array **out, nb_context *ctx, const char *path,
                             struct nb_error *err)
{
    nb_error_clear(err);
    if (out == NULL || ctx == NULL || path == NULL)
        NB_FAIL(err, NB_ERR_ARG, "reading an array needs a context, a path and a result");
    nb_array *q = nb_alloc_zero(&ctx->allocator, 1, sizeof *q);
    if (q == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for an array");
    *q = (nb_array){.a = ctx->allocator, .pool = ctx->pool};
    const enum nb_status st = nb_qarray_read(&q->q, path, &ctx->allocator, err);
    if (st != NB_OK) {
        nb_array_destroy(q);
        return st;
    }
    *out = q;
    return NB_OK;
}

enum nb_status nb_array_save(const nb_array *q, const char *path, int32_t overwrite,
                             struct nb_error *err)
{
    nb_error_clear(err);
    if (q == NULL || path == NULL)
        NB_FAIL(err, NB_ERR_ARG, "saving an array needs an array and a path");
    return nb_qarray_save(q->q, path, overwrite != 0, err);
}

void nb_array_destroy(nb_array *q)
{
    if (q == NULL)
        return;
    const struct nb_allocator a = q->a;
    nb_qarray_destroy(q->q);
    nb_free(&a, q);
}

/* Owns: all, for the length of a call. */
struct array_call {
    struct nb_file *in, *importance;
    float *x, *w;
    nb_array *q;
};

static enum nb_status run_files(struct array_call *c, nb_context *ctx,
                                const struct nb_array_files *files, struct nb_array_options *o,
                                struct nb_array_stats *stats, struct nb_error *err)
{
    const struct nb_allocator *a = &ctx->allocator;
    uint64_t bytes;
    NB_TRY(nb_array_check_target(files->out, err));
    if (!files->overwrite && nb_path_exists(files->out))
        NB_FAIL(err, NB_ERR_EXISTS, "%s exists", files->out);
    NB_TRY(nb_array_open(&c->in, files->in, a, err));
    const struct nb_shape *shape = &c->in->tensors[0].shape;
    enum nb_status st = nb_qarray_bytes(o->type, shape, &bytes, err); /* before anything is read */
    if (st != NB_OK)
        return nb_error_prefix(err, st, "%s", files->in);
    NB_TRY(nb_array_load(c->in, &c->x, a, err));
    if (files->importance != NULL) {
        NB_TRY(nb_array_open(&c->importance, files->importance, a, err));
        NB_TRY(nb_array_load(c->importance, &c->w, a, err));
        o->importance = c->w;
        if (!nb_shape_count(&c->importance->tensors[0].shape, &o->n_importance))
            o->n_importance = 0;
    }
    struct nb_array_view view = {.x = c->x, .n_dims = shape->n};
    memcpy(view.dims, shape->dim, sizeof view.dims);
    st = nb_array_quantize(&c->q, ctx, &view, o, stats, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "%s", files->in);
    return nb_array_save(c->q, files->out, files->overwrite, err);
}

enum nb_status nb_array_quantize_file(nb_context *ctx, const struct nb_array_files *files,
                                      const struct nb_array_options *options,
                                      struct nb_array_stats *stats, struct nb_error *err)
{
    struct nb_array_options o;
    struct array_call c = {.in = NULL};
    nb_error_clear(err);
    if (ctx == NULL || files == NULL || files->in == NULL || files->out == NULL)
        NB_FAIL(err, NB_ERR_ARG, "quantizing a file needs a context, a file and a target");
    NB_TRY(read_options(&o, options, err));
    if (files->importance != NULL && o.importance != NULL)
        NB_FAIL(err, NB_ERR_ARG, "importance twice: as a file and as numbers");
    const enum nb_status st = run_files(&c, ctx, files, &o, stats, err);
    nb_array_destroy(c.q);
    nb_free(&ctx->allocator, c.x);
    nb_free(&ctx->allocator, c.w);
    nb_file_close(c.in);
    nb_file_close(c.importance);
    return st;
}
