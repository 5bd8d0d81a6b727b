/* api/calibrate.c: nb_calibrate, nb_calibrate_merge: texts through a model, statistics to a file. */
#include "api/api.h"

#include <string.h>

#include "calib/calib.h"
#include "calib/corpus.h"
#include "calib/stats.h"
#include "text/text.h"

#define TEXT_BYTES_MAX (UINT64_C(1) << 30)
#define CTX_DEFAULT    512U

void nb_calibrate_options_init(struct nb_calibrate_options *o)
{
    *o = (struct nb_calibrate_options){.size = sizeof *o};
}

static enum nb_status find_format(enum nb_calib_format *out, const char *name, struct nb_error *err)
{
    char quote[64];
    *out = NB_CALIB_GGUF;
    if (name == NULL || strcmp(name, "gguf") == 0)
        return NB_OK;
    *out = NB_CALIB_DAT;
    if (strcmp(name, "dat") == 0)
        return NB_OK;
    NB_FAIL(err, NB_ERR_ARG, "format '%s': statistics are written as 'gguf' or 'dat'",
            nb_printable(quote, sizeof quote, name, strlen(name)));
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* The texts' tokens. Owns: ids, texts. */
struct reading {
    struct nb_ids ids;            /* of all texts, one after the other */
    struct nb_corpus_text *texts; /* (n_texts) in ids                  */
};

/* Appends the tokens of all texts; their names are kept. */
static enum nb_status read_texts(struct reading *r, struct nb_stats *s, const struct nb_model *m,
                                 const struct nb_calibrate_options *o, nb_context *ctx,
                                 struct nb_error *err)
{
    enum nb_status st = NB_OK;
    r->texts = nb_alloc_zero(&ctx->allocator, o->n_texts, sizeof *r->texts);
    if (r->texts == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu texts", o->n_texts);
    for (size_t i = 0; i < o->n_texts && st == NB_OK; i++) {
        const size_t begin = r->ids.n;
        struct nb_str text;
        nb_str_init(&text, &ctx->allocator);
        st = nb_file_read_all(&text, o->texts[i], TEXT_BYTES_MAX, err);
        const char *bytes = text.data != NULL ? text.data : "";
        if (st == NB_OK)
            st = nb_tokenizer_encode(m->tokenizer, &r->ids, bytes, text.len, 0, err);
        if (st == NB_OK)
            st = nb_stats_add_text(s, last_part(o->texts[i]), nb_hash_bytes(bytes, text.len), err);
        r->texts[i].n = r->ids.n - begin;
        nb_str_fini(&text);
    }
    size_t at = 0;
    for (size_t i = 0; i < o->n_texts && r->ids.n > 0; at += r->texts[i++].n)
        r->texts[i].tokens = (const uint32_t *)r->ids.data + at; /* ids are never negative */
    return st;
}

static enum nb_status run_texts(struct nb_stats *s, nb_context *ctx, struct nb_model *m,
                                const struct nb_calibrate_options *o, const struct reading *r,
                                struct nb_error *err)
{
    const struct nb_vocab *vocab = nb_tokenizer_vocab(m->tokenizer);
    const uint32_t ctx_tokens = o->ctx > 0 ? o->ctx : CTX_DEFAULT;
    const uint32_t held_every = o->hold_out != 0 ? NB_HELD_EVERY : 0;
    struct nb_window *windows = NULL;
    struct nb_collect_job job = {
        .w = &m->w,
        .tokens = (const uint32_t *)r->ids.data,
        .n_tokens = r->ids.n,
        .bos = vocab->add_bos ? vocab->bos : -1,
        .ctx = ctx_tokens,
        .chunks = o->chunks,
        .all_experts = o->all_experts != 0,
        .head = o->head != 0,
        .pool = ctx->pool,
        .progress = &ctx->progress,
        .texts = r->texts,
        .held_every = held_every,
    };
    if (o->tokens > 0) {
        const struct nb_corpus_plan plan = {r->texts, o->n_texts, ctx_tokens, o->tokens,
                                            held_every};
        NB_TRY(nb_corpus_windows(&windows, &job.n_windows, &plan, &ctx->allocator, err));
        job.windows = windows;
    }
    nb_stats_set_windows(s, ctx_tokens, held_every);
    const enum nb_status st = nb_stats_collect(s, &job, err);
    nb_free(&ctx->allocator, windows);
    return st;
}

static enum nb_status collect(struct nb_stats *s, nb_context *ctx, struct nb_model *m,
                              const struct nb_calibrate_options *o, struct nb_error *err)
{
    struct reading r = {.texts = NULL};
    struct nb_hash hash;
    if (m->tokenizer == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s has no tokenizer: no text can be run through it",
                m->path);
    if (o->stats != NULL) {
        NB_TRY(nb_model_hash(m, ctx->pool, &hash, err));
        nb_stats_set_model(s, hash);
    }
    nb_ids_init(&r.ids, &ctx->allocator);
    enum nb_status st = read_texts(&r, s, m, o, ctx, err);
    if (st == NB_OK)
        st = nb_model_settle(m, err);
    if (st == NB_OK)
        st = run_texts(s, ctx, m, o, &r, err);
    nb_ids_fini(&r.ids);
    nb_free(&ctx->allocator, r.texts);
    return st;
}

/* What a result owns. */
struct calibrate_owner {
    struct nb_allocator a;
    struct nb_expert_coverage *experts;
};

static uint32_t layer_of(const char *name)
{
    uint32_t layer = 0;
    for (const char *d = name + 4; *d >= '0' && *d <= '9' && layer < 1000000; d++)
        layer = 10 * layer + (uint32_t)(*d - '0');
    return layer;
}

/* Of the first entry of experts in each layer: the others have met the same tokens. */
static enum nb_status cover(struct calibrate_owner *q, const struct nb_calib *c,
                            struct nb_calibrate_result *r, struct nb_error *err)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct nb_moment *m = &c->items[i];
        struct nb_coverage v;
        if (m->n_mat < 2 || !nb_str_starts(m->name, "blk."))
            continue;
        const uint32_t layer = layer_of(m->name);
        if (r->n_experts > 0 && q->experts[r->n_experts - 1].layer == layer)
            continue;
        NB_TRY(nb_moment_coverage(m, &v, c->a, err));
        q->experts[r->n_experts++] = (struct nb_expert_coverage){.layer = layer,
                                                                 .experts = v.n_experts,
                                                                 .unseen = v.unseen,
                                                                 .few = v.few,
                                                                 .least = v.least,
                                                                 .median = v.median,
                                                                 .most = v.most};
    }
    return NB_OK;
}

static enum nb_status cover_all(const struct nb_calib *c, struct nb_calibrate_result *r,
                                struct nb_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->items[i].n_mat > 1;
    if (n == 0)
        return NB_OK;
    struct calibrate_owner *q = nb_alloc_zero(c->a, 1, sizeof *q);
    if (q != NULL) {
        q->a = *c->a;
        q->experts = nb_alloc(c->a, n, sizeof *q->experts);
        r->owner = q;
        r->experts = q->experts;
    }
    if (q == NULL || q->experts == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu entries", n);
    return cover(q, c, r, err);
}

void nb_calibrate_result_free(struct nb_calibrate_result *r)
{
    struct calibrate_owner *q = r->owner;
    if (q != NULL) {
        const struct nb_allocator a = q->a;
        nb_free(&a, q->experts);
        nb_free(&a, q);
    }
    r->owner = NULL;
    r->experts = NULL;
    r->n_experts = 0;
}

/* Writes s where the user asked for statistics, else c, which is its importance. */
static enum nb_status finish(const struct nb_calib *c, const struct nb_stats *s, const char *out,
                             const struct nb_calibrate_options *o, uint64_t begin_ns,
                             struct nb_calibrate_result *r, struct nb_error *err)
{
    const unsigned flags = o->overwrite ? NB_OUT_OVERWRITE : 0;
    struct nb_mapping map;
    enum nb_calib_format format;
    *r = (struct nb_calibrate_result){.ctx = c->chunk_size, .weights = c->n};
    r->chunks = (uint32_t)NB_MIN(c->chunk_count, (uint64_t)UINT32_MAX);
    if (s != NULL)
        r->held_chunks = (uint32_t)NB_MIN(nb_stats_source(s)->windows[NB_STATS_HELD], UINT32_MAX);
    r->tokens = c->chunk_count * c->chunk_size;
    r->seconds = (double)(nb_clock_ns() - begin_ns) * 1e-9;
    r->tok_per_s = r->seconds > 0.0 ? (double)r->tokens / r->seconds : 0.0;
    NB_TRY(find_format(&format, o->format, err));
    NB_TRY(cover_all(c, r, err));
    if (o->stats != NULL && s != NULL) {
        nb_stats_kinds_text(nb_stats_kinds(s), r->stats);
        NB_TRY(nb_stats_write(s, out, flags, &r->bytes, err));
    } else {
        NB_TRY(nb_calib_write(c, out, format, flags, &r->bytes, err));
    }
    NB_TRY(nb_mapping_open(&map, out, err));
    nb_hash_hex(nb_hash_bytes(map.data, (size_t)map.size), r->hash);
    nb_mapping_close(&map);
    return NB_OK;
}

/* What can be known to fail fails before the work. */
static enum nb_status check(nb_context *ctx, const char *out,
                            const struct nb_calibrate_options *options,
                            const struct nb_calibrate_result *result,
                            struct nb_calibrate_options *o, unsigned *kinds, struct nb_error *err)
{
    enum nb_calib_format format;
    nb_error_clear(err);
    nb_calibrate_options_init(o);
    if (ctx == NULL || out == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "calibrating needs a context, a target and a result");
    NB_TRY(nb_options_copy(o, sizeof *o, options, options != NULL ? options->size : 0,
                           "calibrate options", err));
    NB_TRY(find_format(&format, o->format, err));
    *kinds = 0;
    if (o->stats != NULL)
        NB_TRY(nb_stats_parse_kinds(kinds, o->stats, err));
    *kinds |= NB_STAT_BIT(moments);
    if (o->stats != NULL && format != NB_CALIB_GGUF)
        NB_FAIL(err, NB_ERR_ARG, "a .dat file holds importance alone; statistics need 'gguf'");
    if (!o->overwrite && nb_path_exists(out))
        NB_FAIL(err, NB_ERR_EXISTS, "%s: exists already", out);
    return NB_OK;
}

static enum nb_status make_stats(struct nb_stats **s, nb_context *ctx,
                                 const struct nb_calibrate_options *o, unsigned kinds,
                                 struct nb_error *err)
{
    const struct nb_stats_options so = {
        .kinds = kinds,
        .held_out = o->hold_out != 0 && (kinds & NB_STAT_BIT(hessian)) != 0,
        .all_experts = o->all_experts != 0,
        .max_bytes = o->max_ram > 0 ? o->max_ram : nb_ram_available_bytes() / 8 * 7,
        .pool = ctx->pool};
    if (o->tokens > 0 && o->chunks > 0)
        NB_FAIL(err, NB_ERR_ARG, "tokens and chunks both say how much is run; give one of them");
    return nb_stats_create(s, &so, &ctx->allocator, err);
}

enum nb_status nb_calibrate(nb_context *ctx, const char *path, const char *out,
                            const struct nb_calibrate_options *options,
                            struct nb_calibrate_result *result, struct nb_error *err)
{
    struct nb_calibrate_options o;
    struct nb_model *m = NULL;
    struct nb_calib *c = NULL;
    struct nb_stats *s = NULL;
    unsigned kinds;
    const uint64_t begin = nb_clock_ns();
    NB_TRY(check(ctx, out, options, result, &o, &kinds, err));
    *result = (struct nb_calibrate_result){.tokens = 0};
    if (path == NULL || o.n_texts == 0)
        NB_FAIL(err, NB_ERR_ARG, "calibrating needs a model and a text to run through it");
    enum nb_status st = make_stats(&s, ctx, &o, kinds, err);
    if (st == NB_OK)
        st = nb_model_open(&m, path, &ctx->allocator, &ctx->log, err);
    if (st == NB_OK)
        st = collect(s, ctx, m, &o, err);
    if (st == NB_OK)
        st = nb_calib_create(&c, &ctx->allocator, err);
    if (st == NB_OK)
        st = nb_stats_moments(s, c, err);
    if (st == NB_OK)
        st = finish(c, s, out, &o, begin, result, err);
    if (st != NB_OK)
        nb_calibrate_result_free(result);
    nb_calib_destroy(c);
    nb_stats_destroy(s);
    nb_model_close(m);
    return st;
}

/* ---- merging ---- */

static enum nb_status merge_imatrix(struct nb_calib **sum, nb_context *ctx,
                                    const char *const *files, size_t n, struct nb_error *err)
{
    enum nb_status st = nb_calib_read(sum, files[0], &ctx->allocator, err);
    for (size_t i = 1; i < n && st == NB_OK; i++) {
        struct nb_calib *next = NULL;
        st = nb_calib_read(&next, files[i], &ctx->allocator, err);
        if (st == NB_OK && (st = nb_calib_merge(*sum, next, err)) != NB_OK)
            st = nb_error_prefix(err, st, "%s", files[i]);
        nb_calib_destroy(next);
    }
    return st;
}

static enum nb_status read_stats(struct nb_stats **s, nb_context *ctx, const char *file,
                                 unsigned kinds, bool all, struct nb_error *err)
{
    char text[NB_STATS_KINDS_BYTES];
    bool is;
    *s = NULL;
    NB_TRY(nb_stats_probe(&is, file, &ctx->allocator, err));
    if (!is)
        NB_FAIL(err, NB_ERR_FORMAT,
                "%s: no file of statistics; what an imatrix holds is merged without stats", file);
    NB_TRY(nb_stats_read(s, file, &ctx->allocator, err));
    const unsigned missing = kinds & ~nb_stats_kinds(*s);
    if (missing != 0 && !all) {
        nb_stats_destroy(*s);
        *s = NULL;
        NB_FAIL(err, NB_ERR_FORMAT, "%s: it does not hold %s", file,
                nb_stats_kinds_text(missing, text));
    }
    nb_stats_keep(*s, kinds);
    return NB_OK;
}

static enum nb_status merge_stats(struct nb_stats **sum, nb_context *ctx, const char *const *files,
                                  size_t n, unsigned kinds, bool all, struct nb_error *err)
{
    enum nb_status st = read_stats(sum, ctx, files[0], kinds, all, err);
    for (size_t i = 1; i < n && st == NB_OK; i++) {
        struct nb_stats *next = NULL;
        st = read_stats(&next, ctx, files[i], kinds, all, err);
        if (st == NB_OK && (st = nb_stats_merge(*sum, next, err)) != NB_OK)
            st = nb_error_prefix(err, st, "%s", files[i]);
        nb_stats_destroy(next);
    }
    return st;
}

enum nb_status nb_calibrate_merge(nb_context *ctx, const char *const *files, size_t n_files,
                                  const char *out, const struct nb_calibrate_options *options,
                                  struct nb_calibrate_result *result, struct nb_error *err)
{
    struct nb_calibrate_options o;
    struct nb_calib *sum = NULL;
    struct nb_stats *s = NULL;
    unsigned kinds;
    enum nb_status st;
    const uint64_t begin = nb_clock_ns();
    NB_TRY(check(ctx, out, options, result, &o, &kinds, err));
    *result = (struct nb_calibrate_result){.tokens = 0};
    if (files == NULL || n_files == 0)
        NB_FAIL(err, NB_ERR_ARG, "merging needs files of statistics");
    if (o.stats == NULL) {
        st = merge_imatrix(&sum, ctx, files, n_files, err);
    } else {
        st = merge_stats(&s, ctx, files, n_files, kinds, strcmp(o.stats, "all") == 0, err);
        if (st == NB_OK)
            st = nb_calib_create(&sum, &ctx->allocator, err);
        if (st == NB_OK)
            st = nb_stats_moments(s, sum, err);
    }
    if (st == NB_OK)
        st = finish(sum, s, out, &o, begin, result, err);
    if (st != NB_OK)
        nb_calibrate_result_free(result);
    nb_calib_destroy(sum);
    nb_stats_destroy(s);
    return st;
}
