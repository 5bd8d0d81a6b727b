/* api/inspect_stats.c: nb_inspect_stats: what a file of statistics, or an imatrix, knows. */
#include "api/api.h"

#include <string.h>

#include "calib/calib.h"
#include "calib/stats.h"
#include "container/container.h"

#define PIVOTS_MAX 8192 /* columns: more take minutes and gigabytes */

/* Owns: everything the public struct points to. */
struct stats_owner {
    struct nb_allocator a;
    struct nb_arena arena;
    struct nb_stats *stats;
};

void nb_stats_info_free(struct nb_stats_info *info)
{
    struct stats_owner *o = info->owner;
    if (o != NULL) {
        const struct nb_allocator a = o->a;
        nb_stats_destroy(o->stats);
        nb_arena_fini(&o->arena);
        nb_free(&a, o);
    }
    *info = (struct nb_stats_info){.path = NULL};
}

/* Is it ours to read? What is wrong with another file is for others to say. */
static enum nb_status is_importance(bool *is, const char *path, const struct nb_allocator *a,
                                    struct nb_error *err)
{
    struct nb_file *f;
    struct nb_text type;
    *is = false;
    const enum nb_status st =
        nb_path_is_dir(path) ? NB_ERR_UNSUPPORTED : nb_file_open(&f, path, a, err);
    if (st == NB_ERR_NOMEM)
        return st;
    nb_error_clear(err);
    if (st != NB_OK)
        return NB_OK;
    *is = f->container == &nb_container_gguf && nb_meta_text(&f->meta, "general.type", &type) &&
          type.n == 7 && memcmp(type.s, "imatrix", 7) == 0;
    nb_file_close(f);
    return NB_OK;
}

static enum nb_status read_any(struct stats_owner *o, const char *path, struct nb_error *err)
{
    struct nb_calib *c;
    bool is;
    NB_TRY(nb_stats_probe(&is, path, &o->a, err));
    if (is)
        return nb_stats_read(&o->stats, path, &o->a, err);
    NB_TRY(nb_calib_read(&c, path, &o->a, err));
    const enum nb_status st = nb_stats_from_calib(&o->stats, c, &o->a, err);
    nb_calib_destroy(c);
    return st;
}

static enum nb_status fill_edges(struct stats_owner *o, struct nb_stats_info *info,
                                 struct nb_pool *pool, struct nb_error *err)
{
    const size_t n = nb_stats_n_edges(o->stats);
    struct nb_stats_edge_info *edges = nb_arena_alloc(&o->arena, n, sizeof *edges);
    if (edges == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu entries", n);
    for (size_t i = 0; i < n; i++) {
        struct nb_stats_summary s;
        NB_TRY(nb_stats_summarize(o->stats, i, false, pool, &s, err));
        if (s.cols <= PIVOTS_MAX)
            NB_TRY(nb_stats_summarize(o->stats, i, true, pool, &s, err));
        edges[i] = (struct nb_stats_edge_info){.weight = s.weight,
                                               .n_weights = s.n_weights,
                                               .experts = s.n_mat,
                                               .columns = s.cols,
                                               .tokens = s.tokens,
                                               .held = s.held,
                                               .least = s.least,
                                               .most = s.most,
                                               .lo = s.lo,
                                               .hi = s.hi,
                                               .rms = s.rms,
                                               .outlier = s.outlier,
                                               .top = s.top,
                                               .gain_db = s.gain_db};
    }
    info->edges = edges;
    info->n_edges = n;
    return NB_OK;
}

static enum nb_status fill(struct stats_owner *o, struct nb_stats_info *info, const char *path,
                           nb_context *ctx, struct nb_error *err)
{
    char kinds[NB_STATS_KINDS_BYTES];
    const struct nb_stats_source *s = nb_stats_source(o->stats);
    const char **texts = nb_arena_alloc(&o->arena, s->n_texts + 1, sizeof *texts);
    nb_stats_kinds_text(nb_stats_kinds(o->stats), kinds);
    info->path = nb_arena_strndup(&o->arena, path, strlen(path));
    info->stats = nb_arena_strndup(&o->arena, kinds, strlen(kinds));
    if (texts == NULL || info->path == NULL || info->stats == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to describe %s", path);
    for (size_t i = 0; i < s->n_texts; i++)
        texts[i] = s->texts[i].name;
    info->texts = texts;
    info->n_texts = s->n_texts;
    info->model_hash = s->model[0] != '\0' ? s->model : NULL;
    info->chunks = s->windows[NB_STATS_TRAIN];
    info->held_chunks = s->windows[NB_STATS_HELD];
    info->ctx = s->ctx;
    info->all_experts = s->all_experts;
    NB_TRY(nb_path_size(path, &info->file_bytes, err));
    return fill_edges(o, info, ctx->pool, err);
}

enum nb_status nb_inspect_stats(nb_context *ctx, const char *path, struct nb_stats_info *info,
                                struct nb_error *err)
{
    nb_error_clear(err);
    if (ctx == NULL || path == NULL || info == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_inspect_stats needs a context, a file and a result");
    *info = (struct nb_stats_info){.path = NULL};
    bool is;
    NB_TRY(is_importance(&is, path, &ctx->allocator, err));
    if (!is)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: neither statistics nor an imatrix in GGUF", path);
    struct stats_owner *o = nb_alloc_zero(&ctx->allocator, 1, sizeof *o);
    if (o == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to describe %s", path);
    o->a = ctx->allocator;
    nb_arena_init(&o->arena, &o->a, 16384);
    info->owner = o;
    enum nb_status st = read_any(o, path, err);
    if (st == NB_OK)
        st = fill(o, info, path, ctx, err);
    if (st != NB_OK)
        nb_stats_info_free(info);
    return st;
}
