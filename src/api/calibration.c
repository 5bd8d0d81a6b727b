/* api/calibration.c: see calibration.h. */
#include "api/calibration.h"

#include <math.h>
#include <string.h>

#include "calib/corpus.h"
#include "eval/eval.h"
#include "math/math.h"
#include "text/text.h"

#define TEXT_BYTES_MAX (UINT64_C(1) << 30)
#define TOKENS_DEFAULT 131072U
#define CTX_DEFAULT    1024U

/* Of a text's first impression: tokens of all texts together, a share of those that are calibrated on; of a piece of one
 * at least and at most. */
#define LOOK_SHARE 32U
#define LOOK_MIN   512U
#define LOOK_MAX   2048U
#define PIECE_MIN  64U
#define PIECE_MAX  256U
/* Bits per byte. Models know text of the kind they were made for with 0.5 to 1.3, the smallest too; other languages,
 * source and markup lie above 3 for a model of English prose: docs/calibrated.md. */
#define FOREIGN_BITS 2.0

/* Tokens of the texts, one after the other; text i is [start[i], start[i + 1]). */
static enum nb_status read_texts(struct nb_ids *ids, size_t *start, const struct nb_model *m,
                                 const struct nb_quant_options *o, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    enum nb_status st = NB_OK;
    start[0] = 0;
    for (size_t i = 0; i < o->n_calib_texts && st == NB_OK; i++) {
        struct nb_str text;
        nb_str_init(&text, a);
        st = nb_file_read_all(&text, o->calib_texts[i], TEXT_BYTES_MAX, err);
        if (st == NB_OK)
            st = nb_tokenizer_encode(m->tokenizer, ids, text.data != NULL ? text.data : "",
                                     text.len, 0, err);
        nb_str_fini(&text);
        start[i + 1] = ids->n;
    }
    return st;
}

static enum nb_status copy(struct nb_text_windows *out, const struct nb_corpus_plan *plan,
                           const struct nb_window *windows, int64_t bos, struct nb_error *err)
{
    const size_t ctx = out->w.ctx, n = out->w.n;
    out->tokens = nb_alloc(out->a, n * ctx, sizeof *out->tokens);
    out->held = nb_alloc(out->a, n, sizeof *out->held);
    out->text = nb_alloc(out->a, n, sizeof *out->text);
    if (out->tokens == NULL || out->held == NULL || out->text == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu windows of text", n);
    for (size_t i = 0; i < n; i++) {
        uint32_t *to = out->tokens + i * ctx;
        memcpy(to, plan->texts[windows[i].text].tokens + windows[i].offset, ctx * sizeof *to);
        if (bos >= 0)
            to[0] = (uint32_t)bos;
        out->held[i] = windows[i].held_out;
        out->text[i] = windows[i].text;
    }
    out->w.tokens = out->tokens;
    out->w.held = out->held;
    return NB_OK;
}

static enum nb_status cut(struct nb_text_windows *out, const struct nb_corpus_plan *plan,
                          int64_t bos, struct nb_error *err)
{
    struct nb_window *windows;
    out->w.ctx = plan->ctx;
    NB_TRY(nb_corpus_windows(&windows, &out->w.n, plan, out->a, err));
    const enum nb_status st = copy(out, plan, windows, bos, err);
    nb_free(out->a, windows);
    return st;
}

static uint32_t context(const struct nb_model *m, const struct nb_quant_options *o)
{
    const uint32_t trained = m->w.hp.n_ctx_train;
    if (o->calib_ctx > 0)
        return o->calib_ctx;
    return trained > 0 ? NB_MIN(trained, CTX_DEFAULT) : CTX_DEFAULT;
}

static enum nb_status make(struct nb_text_windows *out, const struct nb_model *m,
                           const struct nb_quant_options *o, struct nb_ids *ids,
                           struct nb_corpus_text *texts, size_t *start, struct nb_error *err)
{
    const struct nb_vocab *vocab = nb_tokenizer_vocab(m->tokenizer);
    NB_TRY(read_texts(ids, start, m, o, out->a, err));
    memset(texts, 0, o->n_calib_texts * sizeof *texts);
    for (size_t i = 0; i < o->n_calib_texts && ids->n > 0; i++) /* ids are never negative */
        texts[i] = (struct nb_corpus_text){(const uint32_t *)ids->data + start[i],
                                           start[i + 1] - start[i]};
    const struct nb_corpus_plan plan = {.texts = texts,
                                        .n_texts = o->n_calib_texts,
                                        .ctx = context(m, o),
                                        .budget =
                                            o->calib_tokens > 0 ? o->calib_tokens : TOKENS_DEFAULT,
                                        .held_every = NB_HELD_EVERY};
    return cut(out, &plan, vocab->add_bos ? vocab->bos : -1, err);
}

enum nb_status nb_text_windows_read(struct nb_text_windows *out, const struct nb_model *m,
                                    const struct nb_quant_options *o, const struct nb_allocator *a,
                                    struct nb_error *err)
{
    struct nb_ids ids;
    *out = (struct nb_text_windows){.a = a};
    if (m->tokenizer == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s has no tokenizer: no text can be run through it",
                m->path);
    nb_ids_init(&ids, a);
    struct nb_corpus_text *texts = nb_alloc(a, o->n_calib_texts, sizeof *texts);
    size_t *start = nb_alloc(a, o->n_calib_texts + 1, sizeof *start);
    const enum nb_status st = texts != NULL && start != NULL
                                  ? make(out, m, o, &ids, texts, start, err)
                                  : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for texts");
    nb_free(a, texts);
    nb_free(a, start);
    nb_ids_fini(&ids);
    if (st != NB_OK)
        nb_text_windows_fini(out);
    return st;
}

void nb_text_windows_fini(struct nb_text_windows *w)
{
    nb_free(w->a, w->tokens);
    nb_free(w->a, w->held);
    nb_free(w->a, w->text);
    *w = (struct nb_text_windows){.a = w->a};
}

/* ---- is the text what the model was made for? ---- */

/* Pieces of windows, [n] of them in the order of the texts. Owns: tokens, text. */
struct look {
    uint32_t *tokens; /* (n, piece) */
    size_t *text;     /* (n)        */
    size_t n;
    uint32_t piece;
};

/* The begin of some windows of each text, spread evenly over it. */
static enum nb_status take_pieces(struct look *l, const struct nb_text_windows *w, size_t n_texts,
                                  struct nb_error *err)
{
    const size_t all = NB_MIN(NB_MAX(w->w.n * w->w.ctx / LOOK_SHARE, LOOK_MIN), LOOK_MAX);
    const size_t most = NB_MAX(all / n_texts, PIECE_MIN);
    l->piece = (uint32_t)NB_MIN(NB_MIN(most, PIECE_MAX), w->w.ctx);
    const size_t each = NB_MAX(most / l->piece, 1);
    l->tokens = nb_alloc(w->a, w->w.n * l->piece, sizeof *l->tokens);
    l->text = nb_alloc(w->a, w->w.n, sizeof *l->text);
    if (l->tokens == NULL || l->text == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a look at the text");
    for (size_t first = 0, end; first < w->w.n; first = end) {
        for (end = first + 1; end < w->w.n && w->text[end] == w->text[first];)
            end++;
        const size_t n = NB_MIN(each, end - first);
        for (size_t k = 0; k < n; k++, l->n++) {
            const size_t at = first + (2 * k + 1) * (end - first) / (2 * n);
            memcpy(l->tokens + l->n * l->piece, w->w.tokens + at * w->w.ctx,
                   l->piece * sizeof *l->tokens);
            l->text[l->n] = w->text[first];
        }
    }
    return NB_OK;
}

static double bits_per_byte(const struct nb_text_bits *b)
{
    return b->bytes > 0 ? b->nats / nb_log(2.0) / (double)b->bytes : (double)NAN;
}

static void judge(struct nb_quant_text *t, nb_context *ctx)
{
    t->foreign = t->bits_per_byte > FOREIGN_BITS;
    if (t->foreign)
        nb_log_msg(
            &ctx->log, NB_LOG_WARN,
            "calibration text '%s': the float model needs %.2f bits per byte for it, for text of "
            "the "
            "kind it was made for it would be below %.1f: another language or domain, or a model "
            "without training; weights are rounded for this text, so give one that is like the "
            "model's use",
            t->path, t->bits_per_byte, FOREIGN_BITS);
}

/* Of all pieces, into figures by text. */
static void sum_up(const struct look *l, const struct nb_text_bits *bits, nb_context *ctx,
                   struct nb_quant_text *texts, size_t n_texts, double *all)
{
    struct nb_text_bits whole = {0.0, 0};
    for (size_t t = 0, i = 0; t < n_texts; t++) {
        struct nb_text_bits sum = {0.0, 0};
        for (; i < l->n && l->text[i] == t; i++) {
            sum.nats += bits[i].nats;
            sum.bytes += bits[i].bytes;
        }
        whole.nats += sum.nats;
        whole.bytes += sum.bytes;
        texts[t].bits_per_byte = bits_per_byte(&sum);
        judge(&texts[t], ctx);
    }
    *all = bits_per_byte(&whole);
}

static enum nb_status look_at(const struct look *l, const struct nb_model *m, nb_context *ctx,
                              const struct nb_quant_options *o, struct nb_quant_text *texts,
                              double *all, struct nb_error *err)
{
    const struct nb_text_bits_job job = {.model = m,
                                         .tokens = l->tokens,
                                         .n = l->n,
                                         .ctx = l->piece,
                                         .pool = ctx->pool,
                                         .progress = &ctx->progress,
                                         .a = &ctx->allocator};
    uint64_t bytes;
    if (!nb_text_bits_bytes(&job, &bytes) || (o->max_ram > 0 && bytes > o->max_ram)) {
        nb_log_msg(
            &ctx->log, NB_LOG_INFO,
            "whether the model knows the calibration text is not measured: the budget is too "
            "small for that");
        return NB_OK;
    }
    struct nb_text_bits *bits = nb_alloc(&ctx->allocator, l->n, sizeof *bits);
    if (bits == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a text");
    const enum nb_status st = nb_text_bits_run(bits, &job, err);
    if (st == NB_OK)
        sum_up(l, bits, ctx, texts, o->n_calib_texts, all);
    nb_free(&ctx->allocator, bits);
    return st;
}

enum nb_status nb_text_windows_measure(const struct nb_text_windows *w, const struct nb_model *m,
                                       nb_context *ctx, const struct nb_quant_options *o,
                                       struct nb_quant_text *texts, double *all,
                                       struct nb_error *err)
{
    struct look l = {.n = 0};
    *all = (double)NAN;
    for (size_t i = 0; i < o->n_calib_texts; i++)
        texts[i].bits_per_byte = (double)NAN;
    if (w->w.ctx < 4)
        return NB_OK; /* nothing can be said */
    enum nb_status st = take_pieces(&l, w, o->n_calib_texts, err);
    if (st == NB_OK)
        st = look_at(&l, m, ctx, o, texts, all, err);
    nb_free(w->a, l.tokens);
    nb_free(w->a, l.text);
    return st;
}
