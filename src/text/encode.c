/* text/encode.c: text to ids, in the order of Hugging Face tokenizers: added tokens in the raw text,
 * normalizer, added tokens in the normalized text, pre-tokenizer, model, template.
 */
#include "text/chat.h"
#include "text/text_internal.h"

#include <string.h>

void nb_ids_init(struct nb_ids *ids, const struct nb_allocator *a)
{
    *ids = (struct nb_ids){.a = a};
}

void nb_ids_fini(struct nb_ids *ids)
{
    nb_free(ids->a, ids->data);
    *ids = (struct nb_ids){.a = ids->a};
}

enum nb_status nb_ids_reserve(struct nb_ids *ids, size_t more, struct nb_error *err)
{
    size_t want, cap;
    if (ids->cap - ids->n >= more)
        return NB_OK;
    if (!nb_add_size(&want, ids->n, more) || !nb_add_size(&cap, want, want / 2 + 64))
        NB_FAIL(err, NB_ERR_NOMEM, "too many ids");
    int32_t *data = nb_alloc(ids->a, cap, sizeof(*data));
    if (data == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%zu ids: out of memory", want);
    if (ids->n != 0)
        memcpy(data, ids->data, ids->n * sizeof(*data));
    nb_free(ids->a, ids->data);
    ids->data = data;
    ids->cap = cap;
    return NB_OK;
}

enum nb_status nb_ids_push(struct nb_ids *ids, int32_t id, struct nb_error *err)
{
    NB_TRY(nb_ids_reserve(ids, 1, err));
    ids->data[ids->n++] = id;
    return NB_OK;
}

static enum nb_status words(struct nb_encoder *e, struct nb_text span, bool at_start)
{
    return nb_pretokenize(e, 0, span, at_start);
}

static enum nb_status normalized_span(struct nb_encoder *e, struct nb_text span, bool at_start)
{
    NB_TRY(nb_normalize(&e->tok->pipe, &span, span, &e->arena, e->run, e->err));
    return nb_added_split(&e->tok->normalized, e, span, at_start, words);
}

/* The template's runs and the messages' each on their own, specials in the template's only. */
static enum nb_status runs(struct nb_encoder *e, struct nb_text span, bool at_start)
{
    enum nb_status st = NB_OK;
    for (size_t i = 0, n; i < span.n && st == NB_OK; i += n) {
        const uint8_t *from = e->origins->from + (span.s - e->whole.s) + i;
        for (n = 1;
             i + n < span.n && (from[n] == NB_CHAT_TEMPLATE) == (from[0] == NB_CHAT_TEMPLATE);)
            n++;
        e->special = from[0] == NB_CHAT_TEMPLATE;
        st = normalized_span(e, (struct nb_text){span.s + i, n}, at_start && i == 0);
    }
    e->special = true;
    return st;
}

/* Tokens looked for in normalized text are out of reach of their origins there: a message that holds
 * one is cut inside it, so that it is none. */
static enum nb_status raw_span(struct nb_encoder *e, struct nb_text span, bool at_start)
{
    if (e->origins != NULL && e->tok->conjured)
        return runs(e, span, at_start);
    for (size_t cut; (cut = nb_added_forbidden(e, span)) > 0; at_start = false) {
        NB_TRY(normalized_span(e, (struct nb_text){span.s, cut}, at_start));
        span = (struct nb_text){span.s + cut, span.n - cut};
    }
    return normalized_span(e, span, at_start);
}

static bool has_gap(struct nb_text s)
{
    size_t len;
    for (size_t i = 0; i < s.n; i += len) {
        len = 1;
        if ((uint8_t)s.s[i] >= 0xe0 && nb_uc_in_gap(nb_utf8_take(s.s + i, s.n - i, &len)))
            return true;
    }
    return false;
}

/* Fits the cache to the text: a short text must not pay for clearing a large one. */
static enum nb_status open_encoder(struct nb_encoder *e, struct nb_text text)
{
    const struct nb_allocator *a = e->tok->a;
    nb_arena_init(&e->arena, a, 16 * 1024);
    e->heap.a = a;
    e->gap = has_gap(text);
    e->run = nb_regex_run_create(a);
    if (e->run == NULL)
        NB_FAIL(e->err, NB_ERR_NOMEM, "encoding %zu bytes: out of memory", text.n);
    if (text.n < 256)
        return NB_OK;
    size_t size = 64;
    while (size < text.n / 8 && size < 16384)
        size *= 2;
    e->cache = nb_alloc_zero(a, size, sizeof(*e->cache));
    if (e->cache == NULL)
        NB_FAIL(e->err, NB_ERR_NOMEM, "encoding %zu bytes: out of memory", text.n);
    e->cache_mask = size - 1;
    return NB_OK;
}

static void close_encoder(struct nb_encoder *e)
{
    const struct nb_allocator *a = e->tok->a;
    nb_free(a, e->cache);
    nb_free(a, e->syms);
    nb_free(a, e->ways);
    nb_free(a, e->heap.keys);
    nb_regex_run_destroy(e->run);
    nb_arena_fini(&e->arena);
}

static enum nb_status encode_valid(struct nb_encoder *e, struct nb_text text, unsigned flags)
{
    const struct nb_pipeline *p = &e->tok->pipe;
    for (size_t i = 0; (flags & NB_ENCODE_ADD) && i < p->n_prefix; i++)
        NB_TRY(nb_ids_push(e->ids, p->prefix[i], e->err));
    NB_TRY(nb_added_split(&e->tok->raw, e, text, true, raw_span));
    for (size_t i = 0; (flags & NB_ENCODE_ADD) && i < p->n_suffix; i++)
        NB_TRY(nb_ids_push(e->ids, p->suffix[i], e->err));
    return NB_OK;
}

enum nb_status nb_tokenizer_encode(const struct nb_tokenizer *tok, struct nb_ids *ids,
                                   const char *text, size_t n, unsigned flags, struct nb_error *err)
{
    struct nb_encoder e = {
        .tok = tok, .ids = ids, .err = err, .special = (flags & NB_ENCODE_SPECIAL) != 0};
    struct nb_text valid = {text, n};
    struct nb_str clean;
    size_t before = ids->n;
    if (n > NB_TEXT_MAX_BYTES)
        NB_FAIL(err, NB_ERR_LIMIT, "text of %zu bytes, at most %u are encoded in one call", n,
                NB_TEXT_MAX_BYTES);
    nb_str_init(&clean, tok->a);
    enum nb_status st = NB_OK;
    if (nb_utf8_valid_prefix(text, n) != n) {
        nb_utf8_sanitize(&clean, text, n);
        valid = (struct nb_text){clean.data, clean.len};
        st = nb_str_check(&clean, err);
    }
    if (st == NB_OK)
        st = open_encoder(&e, valid);
    if (st == NB_OK)
        st = encode_valid(&e, valid, flags);
    if (st != NB_OK)
        ids->n = before;
    close_encoder(&e);
    nb_str_fini(&clean);
    return st;
}

enum nb_status nb_tokenizer_encode_origins(const struct nb_tokenizer *tok, struct nb_ids *ids,
                                           struct nb_text text, const struct nb_origins *origins,
                                           struct nb_error *err)
{
    struct nb_encoder e = {
        .tok = tok, .ids = ids, .err = err, .special = true, .origins = origins, .whole = text};
    const size_t before = ids->n;
    if (text.n > NB_TEXT_MAX_BYTES)
        NB_FAIL(err, NB_ERR_LIMIT, "text of %zu bytes, at most %u are encoded in one call", text.n,
                NB_TEXT_MAX_BYTES);
    if (nb_utf8_valid_prefix(text.s, text.n) != text.n)
        NB_FAIL(err, NB_ERR_ARG, "a rendered conversation is not UTF-8");
    enum nb_status st = open_encoder(&e, text);
    if (st == NB_OK)
        st = encode_valid(&e, text, NB_ENCODE_SPECIAL);
    if (st != NB_OK)
        ids->n = before;
    close_encoder(&e);
    return st;
}
