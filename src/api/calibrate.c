/* api/calibrate.c: nb_calibrate, nb_calibrate_merge: texts through a model, statistics to a file. */
#include "api/api.h"

#include <string.h>

#include "calib/calib.h"
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

/* Appends the tokens of all texts; their names are kept. */
static enum nb_status read_texts(struct nb_ids *ids, struct nb_calib *c, const struct nb_model *m,
                                 const struct nb_calibrate_options *o, struct nb_error *err)
{
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < o->n_texts && st == NB_OK; i++) {
        const char *name = last_part(o->texts[i]);
        struct nb_str text;
        nb_str_init(&text, c->a);
        st = nb_file_read_all(&text, o->texts[i], TEXT_BYTES_MAX, err);
        if (st == NB_OK)
            st = nb_tokenizer_encode(m->tokenizer, ids, text.data != NULL ? text.data : "",
                                     text.len, 0, err);
        if (st == NB_OK)
            st = nb_calib_add_dataset(c, name, strlen(name), err);
        nb_str_fini(&text);
    }
    return st;
}

static enum nb_status collect(struct nb_calib *c, nb_context *ctx, struct nb_model *m,
                              const struct nb_calibrate_options *o, struct nb_error *err)
{
    struct nb_ids ids;
    if (m->tokenizer == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s has no tokenizer: no text can be run through it",
                m->path);
    nb_ids_init(&ids, &ctx->allocator);
    enum nb_status st = read_texts(&ids, c, m, o, err);
    if (st == NB_OK)
        st = nb_model_settle(m, err);
    if (st == NB_OK) {
        const struct nb_vocab *vocab = nb_tokenizer_vocab(m->tokenizer);
        const struct nb_collect_job job = {
            .w = &m->w,
            .tokens = (const uint32_t *)ids.data, /* ids of a text are never negative */
            .n_tokens = ids.n,
            .bos = vocab->add_bos ? vocab->bos : -1,
            .ctx = o->ctx > 0 ? o->ctx : CTX_DEFAULT,
            .chunks = o->chunks,
            .all_experts = o->all_experts != 0,
            .head = o->head != 0,
            .pool = ctx->pool,
            .progress = &ctx->progress,
        };
        st = nb_calib_collect(c, &job, err);
    }
    nb_ids_fini(&ids);
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

static enum nb_status finish(const struct nb_calib *c, const char *out,
                             const struct nb_calibrate_options *o, uint64_t begin_ns,
                             struct nb_calibrate_result *r, struct nb_error *err)
{
    struct nb_mapping map;
    enum nb_calib_format format;
    *r = (struct nb_calibrate_result){.ctx = c->chunk_size, .weights = c->n};
    r->chunks = (uint32_t)NB_MIN(c->chunk_count, (uint64_t)UINT32_MAX);
    r->tokens = c->chunk_count * c->chunk_size;
    r->seconds = (double)(nb_clock_ns() - begin_ns) * 1e-9;
    r->tok_per_s = r->seconds > 0.0 ? (double)r->tokens / r->seconds : 0.0;
    NB_TRY(find_format(&format, o->format, err));
    NB_TRY(cover_all(c, r, err));
    NB_TRY(nb_calib_write(c, out, format, o->overwrite ? NB_OUT_OVERWRITE : 0, &r->bytes, err));
    NB_TRY(nb_mapping_open(&map, out, err));
    nb_hash_hex(nb_hash_bytes(map.data, (size_t)map.size), r->hash);
    nb_mapping_close(&map);
    return NB_OK;
}

/* What can be known to fail fails before the work. */
static enum nb_status check(nb_context *ctx, const char *out,
                            const struct nb_calibrate_options *options,
                            const struct nb_calibrate_result *result,
                            struct nb_calibrate_options *o, struct nb_error *err)
{
    enum nb_calib_format format;
    nb_error_clear(err);
    nb_calibrate_options_init(o);
    if (ctx == NULL || out == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "calibrating needs a context, a target and a result");
    NB_TRY(nb_options_copy(o, sizeof *o, options, options != NULL ? options->size : 0,
                           "calibrate options", err));
    NB_TRY(find_format(&format, o->format, err));
    if (!o->overwrite && nb_path_exists(out))
        NB_FAIL(err, NB_ERR_EXISTS, "%s: exists already", out);
    return NB_OK;
}

enum nb_status nb_calibrate(nb_context *ctx, const char *path, const char *out,
                            const struct nb_calibrate_options *options,
                            struct nb_calibrate_result *result, struct nb_error *err)
{
    struct nb_calibrate_options o;
    struct nb_model *m = NULL;
    struct nb_calib *c = NULL;
    const uint64_t begin = nb_clock_ns();
    NB_TRY(check(ctx, out, options, result, &o, err));
    *result = (struct nb_calibrate_result){.tokens = 0};
    if (path == NULL || o.n_texts == 0)
        NB_FAIL(err, NB_ERR_ARG, "calibrating needs a model and a text to run through it");
    enum nb_status st = nb_model_open(&m, path, &ctx->allocator, &ctx->log, err);
    if (st == NB_OK)
        st = nb_calib_create(&c, &ctx->allocator, err);
    if (st == NB_OK)
        st = collect(c, ctx, m, &o, err);
    if (st == NB_OK)
        st = finish(c, out, &o, begin, result, err);
    if (st != NB_OK)
        nb_calibrate_result_free(result);
    nb_calib_destroy(c);
    nb_model_close(m);
    return st;
}

enum nb_status nb_calibrate_merge(nb_context *ctx, const char *const *files, size_t n_files,
                                  const char *out, const struct nb_calibrate_options *options,
                                  struct nb_calibrate_result *result, struct nb_error *err)
{
    struct nb_calibrate_options o;
    struct nb_calib *sum = NULL;
    const uint64_t begin = nb_clock_ns();
    NB_TRY(check(ctx, out, options, result, &o, err));
    *result = (struct nb_calibrate_result){.tokens = 0};
    if (files == NULL || n_files == 0)
        NB_FAIL(err, NB_ERR_ARG, "merging needs files of statistics");
    enum nb_status st = nb_calib_read(&sum, files[0], &ctx->allocator, err);
    for (size_t i = 1; i < n_files && st == NB_OK; i++) {
        struct nb_calib *next = NULL;
        st = nb_calib_read(&next, files[i], &ctx->allocator, err);
        if (st == NB_OK && (st = nb_calib_merge(sum, next, err)) != NB_OK)
            st = nb_error_prefix(err, st, "%s", files[i]);
        nb_calib_destroy(next);
    }
    if (st == NB_OK)
        st = finish(sum, out, &o, begin, result, err);
    if (st != NB_OK)
        nb_calibrate_result_free(result);
    nb_calib_destroy(sum);
    return st;
}
