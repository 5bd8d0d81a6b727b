/* api/calibration.c: see calibration.h. */
#include "api/calibration.h"

#include <string.h>

#include "calib/corpus.h"
#include "text/text.h"

#define TEXT_BYTES_MAX (UINT64_C(1) << 30)
#define TOKENS_DEFAULT 131072U
#define CTX_DEFAULT    1024U

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
    if (out->tokens == NULL || out->held == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu windows of text", n);
    for (size_t i = 0; i < n; i++) {
        uint32_t *to = out->tokens + i * ctx;
        memcpy(to, plan->texts[windows[i].text].tokens + windows[i].offset, ctx * sizeof *to);
        if (bos >= 0)
            to[0] = (uint32_t)bos;
        out->held[i] = windows[i].held_out;
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
    *w = (struct nb_text_windows){.a = w->a};
}
