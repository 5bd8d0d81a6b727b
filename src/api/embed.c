/* api/embed.c: nb_embedder: a text to one vector, and what quantization does to the similarity of texts.
 *
 * The hidden states of a text are pooled: their mean, the first (CLS) or the last (Reimers and Gurevych
 * 2019, arXiv:1908.10084), then scaled to length 1. Sums in double, in order: the same bits everywhere.
 */
#include "api/api.h"

#include <math.h>
#include <string.h>

#include "text/text.h"

#define CONTEXT_DEFAULT_MAX 4096U
#define PAIRS_BYTES_MAX     (UINT64_C(1) << 28)

/* Owns: everything. */
struct nb_embedder {
    nb_context *ctx;
    struct nb_runner r;
    struct nb_ids ids;
    float *hidden; /* (n_ctx, width) */
    uint32_t n_ctx, width;
    enum nb_pooling pooling;
    bool raw;
};

static const char *const pooling_names[] = {
    [NB_POOLING_NONE] = "none",
    [NB_POOLING_MEAN] = "mean",
    [NB_POOLING_CLS] = "cls",
    [NB_POOLING_LAST] = "last",
};

void nb_embed_options_init(struct nb_embed_options *o)
{
    *o = (struct nb_embed_options){.size = sizeof *o};
}

static enum nb_status find_pooling(enum nb_pooling *out, const char *name,
                                   const struct nb_hparams *hp, struct nb_error *err)
{
    char quote[64];
    *out = hp->pooling;
    if (*out == NB_POOLING_NONE)
        *out = hp->encoder ? NB_POOLING_MEAN : NB_POOLING_LAST;
    if (name == NULL)
        return NB_OK;
    for (size_t i = NB_POOLING_MEAN; i < NB_COUNTOF(pooling_names); i++)
        if (strcmp(name, pooling_names[i]) == 0) {
            *out = (enum nb_pooling)i;
            return NB_OK;
        }
    NB_FAIL(err, NB_ERR_ARG, "pooling '%s': expected mean, cls or last",
            nb_printable(quote, sizeof quote, name, strlen(name)));
}

static enum nb_status open_model(nb_embedder *e, const char *path, const struct nb_embed_options *o,
                                 struct nb_error *err)
{
    const struct nb_allocator *a = &e->ctx->allocator;
    struct nb_session_options so = {.hidden = true, .pool = e->ctx->pool};
    NB_TRY(nb_model_open(&e->r.model, path, a, &e->ctx->log, err));
    const struct nb_model *m = e->r.model;
    if (m->tokenizer == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: no usable tokenizer, so no text can be embedded%s%s",
                path, m->tokenizer_problem[0] != '\0' ? ": " : "", m->tokenizer_problem);
    NB_TRY(find_pooling(&e->pooling, o->pooling, &m->w.hp, err));
    so.n_ctx = NB_MIN(m->w.hp.n_ctx_train, o->ctx > 0 ? o->ctx : CONTEXT_DEFAULT_MAX);
    e->n_ctx = so.n_ctx;
    e->raw = o->raw != 0;
    NB_TRY(nb_open_session(&e->r.session, e->r.model, &so, a, err));
    e->width = nb_session_width(e->r.session);
    e->hidden = nb_alloc(a, (size_t)e->n_ctx * e->width, sizeof *e->hidden);
    if (e->hidden == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the hidden states of %u tokens", e->n_ctx);
    return NB_OK;
}

enum nb_status nb_embedder_create(nb_embedder **out, nb_context *ctx, const char *model,
                                  const struct nb_embed_options *options, struct nb_error *err)
{
    struct nb_embed_options o;
    nb_error_clear(err);
    if (out == NULL || ctx == NULL || model == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_embedder_create needs a context and a model");
    *out = NULL;
    nb_embed_options_init(&o);
    NB_TRY(nb_options_copy(&o, sizeof o, options, options != NULL ? options->size : 0,
                           "embed options", err));
    nb_embedder *e = nb_alloc_zero(&ctx->allocator, 1, sizeof *e);
    if (e == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for an embedder");
    e->ctx = ctx;
    nb_ids_init(&e->ids, &ctx->allocator);
    const enum nb_status st = open_model(e, model, &o, err);
    if (st != NB_OK) {
        nb_embedder_destroy(e);
        return st;
    }
    *out = e;
    return NB_OK;
}

void nb_embedder_destroy(nb_embedder *e)
{
    if (e == NULL)
        return;
    nb_runner_close(&e->r);
    nb_ids_fini(&e->ids);
    nb_free(&e->ctx->allocator, e->hidden);
    nb_free(&e->ctx->allocator, e);
}

uint32_t nb_embedder_width(const nb_embedder *e)
{
    return e->width;
}

const char *nb_embedder_pooling(const nb_embedder *e)
{
    return pooling_names[e->pooling];
}

static void pool(const nb_embedder *e, size_t n, float *out)
{
    const float *h = e->hidden;
    const size_t first = e->pooling == NB_POOLING_LAST ? n - 1 : 0;
    const size_t count = e->pooling == NB_POOLING_MEAN ? n : 1;
    double length = 0.0;
    for (size_t i = 0; i < e->width; i++) {
        double sum = 0.0;
        for (size_t t = first; t < first + count; t++)
            sum += (double)h[t * e->width + i];
        out[i] = (float)(sum / (double)count);
        length += (double)out[i] * (double)out[i];
    }
    if (e->raw || !(length > 0.0))
        return;
    for (size_t i = 0; i < e->width; i++)
        out[i] = (float)((double)out[i] / sqrt(length));
}

enum nb_status nb_embedder_embed(nb_embedder *e, const char *text, size_t n, float *out,
                                 uint32_t *n_tokens, struct nb_error *err)
{
    nb_error_clear(err);
    if (e == NULL || text == NULL || out == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_embedder_embed needs an embedder, a text and memory");
    e->ids.n = 0;
    NB_TRY(nb_tokenizer_encode(e->r.model->tokenizer, &e->ids, text, n, NB_ENCODE_ADD, err));
    size_t used = e->ids.n;
    if (used == 0)
        NB_FAIL(err, NB_ERR_ARG, "a text without tokens has no embedding");
    if (used > e->n_ctx) {
        nb_log_msg(&e->ctx->log, NB_LOG_WARN,
                   "a text of %zu tokens is cut to %u, which is what the model reads", used,
                   e->n_ctx);
        e->ids.data[e->n_ctx - 1] = e->ids.data[used - 1];
        used = e->n_ctx;
    }
    nb_session_rewind(e->r.session, 0);
    NB_TRY(nb_session_eval(e->r.session, (const uint32_t *)e->ids.data, used, e->hidden, 0, err));
    pool(e, used, out);
    if (n_tokens != NULL)
        *n_tokens = (uint32_t)used;
    return NB_OK;
}

/* ---- two models on pairs of texts ---- */

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0.0 && bb > 0.0 ? ab / sqrt(aa * bb) : 0.0;
}

/* One pair's similarity with either model. */
struct pair {
    double ref, got;
};

/* Owns: all. */
struct comparison {
    const struct nb_allocator *a;
    nb_embedder *ref, *model;
    float *x[2], *y[2]; /* embeddings of a pair: reference's, model's */
    struct pair *pairs;
    size_t n, cap;
    struct nb_embed_compare_result *r;
    double cosine_sum;
    const struct nb_progress *progress;
};

static enum nb_status embed_both(struct comparison *c, int side, struct nb_text t,
                                 struct nb_error *err)
{
    NB_TRY(nb_embedder_embed(c->ref, t.s, t.n, c->x[side], NULL, err));
    NB_TRY(nb_embedder_embed(c->model, t.s, t.n, c->y[side], NULL, err));
    const double same = cosine(c->x[side], c->y[side], c->ref->width);
    c->r->texts++;
    c->cosine_sum += same;
    c->r->cosine_min = NB_MIN(c->r->cosine_min, same);
    return NB_OK;
}

static enum nb_status add_pair(struct comparison *c, struct nb_text first, struct nb_text second,
                               struct nb_error *err)
{
    const size_t n = c->ref->width;
    NB_TRY(embed_both(c, 0, first, err));
    NB_TRY(embed_both(c, 1, second, err));
    if (!nb_grow(c->a, &c->pairs, &c->cap, c->n, sizeof *c->pairs))
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu pairs", c->n + 1);
    c->pairs[c->n++] = (struct pair){cosine(c->x[0], c->x[1], n), cosine(c->y[0], c->y[1], n)};
    return NB_OK;
}

/* "a\tb" is a pair, "a\nb" another. */
static enum nb_status read_pairs(struct comparison *c, const struct nb_str *text,
                                 struct nb_error *err)
{
    struct nb_text held = {NULL, 0};
    size_t at = 0;
    while (at < text->len) {
        const char *line = text->data + at;
        const char *end = memchr(line, '\n', text->len - at);
        size_t n = end != NULL ? (size_t)(end - line) : text->len - at;
        at += n + 1;
        if (n > 0 && line[n - 1] == '\r')
            n--;
        const char *tab = n > 0 ? memchr(line, '\t', n) : NULL;
        if (n == 0)
            continue;
        const uint64_t before = (uint64_t)(line - text->data);
        if (c->progress->fn != NULL &&
            c->progress->fn(c->progress->ctx, "comparing", before, text->len, "bytes") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "comparison cancelled");
        if (tab != NULL) {
            const size_t k = (size_t)(tab - line);
            NB_TRY(
                add_pair(c, (struct nb_text){line, k}, (struct nb_text){tab + 1, n - k - 1}, err));
        } else if (held.s == NULL) {
            held = (struct nb_text){line, n};
        } else {
            NB_TRY(add_pair(c, held, (struct nb_text){line, n}, err));
            held.s = NULL;
        }
    }
    if (c->n == 0)
        NB_FAIL(err, NB_ERR_ARG, "no pair of texts: expected \"first<tab>second\" on a line");
    return NB_OK;
}

/* Rank of v among all, ties by their mean. */
static double rank(const struct pair *p, size_t n, double v, bool got)
{
    size_t below = 0, equal = 0;
    for (size_t i = 0; i < n; i++) {
        const double w = got ? p[i].got : p[i].ref;
        below += w < v;
        equal += w == v;
    }
    return (double)below + ((double)equal - 1.0) / 2.0;
}

/* Spearman 1904: the correlation of ranks; 1 for fewer than two different values. */
static double spearman(const struct pair *p, size_t n)
{
    const double mean = ((double)n - 1.0) / 2.0;
    double xy = 0.0, xx = 0.0, yy = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double x = rank(p, n, p[i].ref, false) - mean, y = rank(p, n, p[i].got, true) - mean;
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    return xx > 0.0 && yy > 0.0 ? xy / sqrt(xx * yy) : 1.0;
}

static void summarize(struct comparison *c)
{
    struct nb_embed_compare_result *r = c->r;
    r->pairs = c->n;
    r->cosine_mean = c->cosine_sum / (double)r->texts;
    for (size_t i = 0; i < c->n; i++) {
        const double d = fabs(c->pairs[i].ref - c->pairs[i].got);
        r->error_mean += d / (double)c->n;
        r->error_max = NB_MAX(r->error_max, d);
        r->reference_mean += c->pairs[i].ref / (double)c->n;
    }
    r->spearman = spearman(c->pairs, c->n);
}

static enum nb_status compare(struct comparison *c, const char *path, struct nb_error *err)
{
    struct nb_str text;
    const size_t n = c->ref->width;
    if (c->model->width != n)
        NB_FAIL(err, NB_ERR_ARG, "embeddings of %zu and of %u numbers: not the same model", n,
                c->model->width);
    for (int i = 0; i < 2; i++) {
        c->x[i] = nb_alloc(c->a, n, sizeof(float));
        c->y[i] = nb_alloc(c->a, n, sizeof(float));
        if (c->x[i] == NULL || c->y[i] == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "no memory for embeddings");
    }
    nb_str_init(&text, c->a);
    enum nb_status st = nb_file_read_all(&text, path, PAIRS_BYTES_MAX, err);
    if (st == NB_OK && (st = read_pairs(c, &text, err)) != NB_OK)
        st = nb_error_prefix(err, st, "%s", path);
    nb_str_fini(&text);
    if (st == NB_OK)
        summarize(c);
    return st;
}

enum nb_status nb_embed_compare(nb_context *ctx, const char *reference, const char *model,
                                const char *pairs, const struct nb_embed_options *o,
                                struct nb_embed_compare_result *result, struct nb_error *err)
{
    nb_error_clear(err);
    if (ctx == NULL || reference == NULL || model == NULL || pairs == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_embed_compare needs two models, pairs of texts and a result");
    struct comparison c = {.a = &ctx->allocator, .r = result, .progress = &ctx->progress};
    *result = (struct nb_embed_compare_result){.cosine_min = 1.0};
    enum nb_status st = nb_embedder_create(&c.ref, ctx, reference, o, err);
    if (st == NB_OK)
        st = nb_embedder_create(&c.model, ctx, model, o, err);
    if (st == NB_OK)
        st = compare(&c, pairs, err);
    for (int i = 0; i < 2; i++) {
        nb_free(c.a, c.x[i]);
        nb_free(c.a, c.y[i]);
    }
    nb_free(c.a, c.pairs);
    nb_embedder_destroy(c.ref);
    nb_embedder_destroy(c.model);
    return st;
}
