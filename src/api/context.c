/* api/context.c: threads, memory and messages; options structs that may grow. */
#include "api/api.h"

#include <string.h>

#include "kernels/kernels.h"

enum nb_status nb_options_copy(void *dst, size_t known, const void *src, uint32_t given,
                               const char *what, struct nb_error *err)
{
    if (src == NULL)
        return NB_OK;
    if (given < sizeof(uint32_t))
        NB_FAIL(err, NB_ERR_ARG, "%s: size is %u; call the options' init function first", what,
                given);
    for (size_t i = known; i < given; i++)
        if (((const uint8_t *)src)[i] != 0)
            NB_FAIL(err, NB_ERR_VERSION, "%s: byte %zu is set, but this library knows %zu bytes",
                    what, i, known);
    memcpy(dst, src, NB_MIN(known, (size_t)given));
    return NB_OK;
}

void nb_context_options_init(struct nb_context_options *o)
{
    *o = (struct nb_context_options){.size = sizeof *o};
}

enum nb_status nb_context_create(nb_context **out, const struct nb_context_options *options,
                                 struct nb_error *err)
{
    struct nb_context_options o;
    nb_error_clear(err);
    nb_context_options_init(&o);
    NB_TRY(nb_options_copy(&o, sizeof o, options, options != NULL ? options->size : 0,
                           "context options", err));
    if ((o.allocator.alloc == NULL) != (o.allocator.free == NULL))
        NB_FAIL(err, NB_ERR_ARG, "an allocator needs both alloc and free");
    const struct nb_allocator *a =
        o.allocator.alloc != NULL ? &o.allocator : nb_allocator_default();
    nb_context *ctx = nb_alloc_zero(a, 1, sizeof *ctx);
    if (ctx == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a context");
    *ctx = (nb_context){.allocator = *a, .log = o.log, .progress = o.progress};
    const enum nb_status st = nb_pool_create(&ctx->pool, o.threads, &ctx->allocator, err);
    if (st != NB_OK) {
        nb_free(a, ctx);
        return st;
    }
    const char *cap = nb_env("NIBBLE_ISA");
    unsigned flags;
    if (cap != NULL && !nb_isa_check(cap, &flags))
        nb_log_msg(&ctx->log, NB_LOG_WARN, "NIBBLE_ISA=%s is not a level this build knows; ignored",
                   cap);
    nb_log_msg(&ctx->log, NB_LOG_DEBUG, "nibble %s, %s of %s, %u threads", nb_version(),
               nb_isa_name(nb_isa_used()), nb_isa_name(nb_isa_have()), nb_pool_threads(ctx->pool));
    *out = ctx;
    return NB_OK;
}

void nb_context_destroy(nb_context *ctx)
{
    if (ctx == NULL)
        return;
    nb_pool_destroy(ctx->pool);
    const struct nb_allocator a = ctx->allocator;
    nb_free(&a, ctx);
}

uint32_t nb_context_threads(const nb_context *ctx)
{
    return nb_pool_threads(ctx->pool);
}

enum nb_status nb_kv_type_find(const struct nb_numfmt **out, const char *name, struct nb_error *err)
{
    const struct nb_numfmt *f = nb_numfmt_find(name != NULL ? name : "f16");
    if (f != &nb_numfmt_f16 && f != &nb_numfmt_f32)
        NB_FAIL(err, NB_ERR_ARG, "KV cache type '%s' is not one of f16, f32", name);
    *out = f;
    return NB_OK;
}

enum nb_status nb_open_session(struct nb_session **out, struct nb_model *m,
                               const struct nb_session_options *o, const struct nb_allocator *a,
                               struct nb_error *err)
{
    *out = NULL;
    if (m->w.hp.encoder && !o->hidden)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "%s: %s is an encoder: it predicts no text, it gives embeddings (nibble embed)",
                m->path, m->w.hp.arch->name);
    NB_TRY(nb_model_settle(m, err));
    return nb_session_create(out, &m->w, o, a, err);
}

enum nb_status nb_runner_open(struct nb_runner *r, nb_context *ctx, const char *path,
                              const struct nb_session_options *o, struct nb_error *err)
{
    struct nb_session_options options = *o;
    options.pool = ctx->pool;
    *r = (struct nb_runner){NULL, NULL};
    NB_TRY(nb_model_open(&r->model, path, &ctx->allocator, &ctx->log, err));
    const enum nb_status st =
        nb_open_session(&r->session, r->model, &options, &ctx->allocator, err);
    if (st != NB_OK)
        nb_runner_close(r);
    return st;
}

void nb_runner_close(struct nb_runner *r)
{
    nb_session_destroy(r->session);
    nb_model_close(r->model);
    *r = (struct nb_runner){NULL, NULL};
}
