/* text/decode.c: ids to text, whole or as a stream, as the decoders of Hugging Face tokenizers do it:
 * ByteLevel (all bytes, then UTF-8 with U+FFFD for each maximal broken subpart), Replace + ByteFallback +
 * Fuse + Strip (a run of byte tokens is UTF-8 or one U+FFFD per byte), Metaspace.
 */
#include "text/text_internal.h"

#include <string.h>

static bool left_out(const struct nb_tokenizer *tok, int32_t id, unsigned flags)
{
    if (id < 0 || (uint32_t)id >= tok->vocab.n)
        return true;
    if (tok->types[id] == NB_TOKEN_UNUSED && !tok->in_model[id])
        return true;
    return (flags & NB_DECODE_SKIP_SPECIAL) && nb_tokenizer_is_special(tok, id);
}

static void put_replacements(struct nb_str *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        nb_str_append(out, nb_utf8_replacement.s, nb_utf8_replacement.n);
}

static void cut(struct nb_str *out, size_t len)
{
    out->len = len;
    out->data[len] = '\0';
}

void nb_detok_init(struct nb_detok *d, const struct nb_tokenizer *tok, unsigned flags)
{
    *d = (struct nb_detok){.tok = tok, .flags = flags};
}

void nb_detok_continue(struct nb_detok *d)
{
    d->started = true;
}

/* The text of the first token: without its leading space, or without any mark (Metaspace). */
static struct nb_text first_piece(const struct nb_decoder *d, struct nb_text piece)
{
    if (d->kind == NB_DECODER_SPM) {
        for (uint32_t i = 0; i < d->strip_start && d->strip.n != 0 && piece.n >= d->strip.n &&
                             memcmp(piece.s, d->strip.s, d->strip.n) == 0;
             i++) {
            piece.s += d->strip.n;
            piece.n -= d->strip.n;
        }
    }
    return piece;
}

/* WordPiece: a word without its space; what continues one stays as it is spelled. */
static struct nb_text first_word(const struct nb_decoder *d, struct nb_text token,
                                 struct nb_text piece)
{
    if (d->pattern.n != 0 && token.n >= d->pattern.n &&
        memcmp(token.s, d->pattern.s, d->pattern.n) == 0)
        return token;
    if (piece.n != 0 && piece.s[0] == ' ')
        return (struct nb_text){piece.s + 1, piece.n - 1};
    return piece;
}

static void push_first_metaspace(struct nb_str *out, const struct nb_decoder *d,
                                 struct nb_text token)
{
    for (size_t i = 0; i < token.n;) {
        bool mark = d->pattern.n != 0 && token.n - i >= d->pattern.n &&
                    memcmp(token.s + i, d->pattern.s, d->pattern.n) == 0;
        if (!mark)
            nb_str_append(out, token.s + i, 1);
        i += mark ? d->pattern.n : 1;
    }
}

static void push_byte_level(struct nb_detok *d, struct nb_str *out, struct nb_text piece)
{
    nb_utf8_feed(out, d->held, &d->n_held, piece.s, piece.n);
}

/* SPM: bytes wait until they make a character; text in between shows that they never will. */
static void push_spm(struct nb_detok *d, struct nb_str *out, struct nb_text piece, bool is_byte)
{
    enum nb_utf8_kind kind;
    if (!is_byte) {
        put_replacements(out, d->n_held);
        d->n_held = 0;
        nb_str_append(out, piece.s, piece.n);
        return;
    }
    d->held[d->n_held] = piece.s[0];
    d->n_held = (uint8_t)(d->n_held + 1);
    size_t len = nb_utf8_step(d->held, d->n_held, &kind);
    if (kind == NB_UTF8_CUT)
        return;
    if (kind == NB_UTF8_OK) {
        nb_str_append(out, d->held, len);
        d->n_held = 0;
        return;
    }
    size_t keep = d->n_held > len ? 1 : 0; /* the byte that broke it may begin a character */
    put_replacements(out, len);
    d->n_held = 0;
    if (keep)
        push_spm(d, out, piece, true);
}

static void push_one(struct nb_detok *d, struct nb_str *out, int32_t id)
{
    const struct nb_tokenizer *tok = d->tok;
    const struct nb_decoder *dec = &tok->pipe.decoder;
    struct nb_text piece = tok->pieces[id];
    bool first = !d->started;
    d->started = true;
    if (dec->kind == NB_DECODER_BYTE_LEVEL) {
        push_byte_level(d, out, piece);
    } else if (dec->kind == NB_DECODER_NONE) {
        nb_str_append(out, " ", first ? 0 : 1);
        nb_utf8_sanitize(out, piece.s, piece.n);
    } else if (dec->kind == NB_DECODER_WORDPIECE) {
        if (first)
            piece = first_word(dec, tok->tokens[id], piece);
        nb_str_append(out, piece.s, piece.n);
    } else if (dec->kind == NB_DECODER_METASPACE && first && dec->prepend != NB_PREPEND_NEVER) {
        push_first_metaspace(out, dec, tok->tokens[id]);
    } else {
        if (first)
            piece = first_piece(dec, piece);
        if (piece.n != 0)
            push_spm(d, out, piece, tok->is_byte[id] != 0);
    }
}

void nb_detok_push(struct nb_detok *d, struct nb_str *out, int32_t id)
{
    if (!left_out(d->tok, id, d->flags))
        push_one(d, out, id);
}

void nb_detok_flush(struct nb_detok *d, struct nb_str *out)
{
    if (d->n_held != 0) /* byte level: what waits is one maximal subpart */
        put_replacements(out, d->tok->pipe.decoder.kind == NB_DECODER_BYTE_LEVEL ? 1 : d->n_held);
    d->n_held = 0;
}

/* The run of byte tokens that begins at ids[i]: characters, or one U+FFFD per byte. Returns its end. */
static size_t byte_run(const struct nb_tokenizer *tok, struct nb_str *out, const int32_t *ids,
                       size_t i, size_t n, unsigned flags)
{
    size_t begin = i, start = out->len, bytes = 0;
    for (; i < n && (left_out(tok, ids[i], flags) || tok->is_byte[ids[i]]); i++)
        if (!left_out(tok, ids[i], flags)) {
            nb_str_append(out, tok->pieces[ids[i]].s, 1);
            bytes++;
        }
    if (out->failed ||
        nb_utf8_valid_prefix(out->data + start, out->len - start) == out->len - start)
        return i;
    cut(out, start);
    put_replacements(out, bytes);
    return i > begin ? i : begin + 1;
}

enum nb_status nb_tokenizer_decode(const struct nb_tokenizer *tok, struct nb_str *out,
                                   const int32_t *ids, size_t n, unsigned flags,
                                   struct nb_error *err)
{
    const struct nb_decoder *dec = &tok->pipe.decoder;
    struct nb_detok d;
    nb_detok_init(&d, tok, flags);
    for (size_t i = 0; i < n;) {
        bool skip = left_out(tok, ids[i], flags);
        if (!skip && dec->kind == NB_DECODER_SPM && tok->is_byte[ids[i]]) {
            size_t start = out->len;
            i = byte_run(tok, out, ids, i, n, flags);
            if (!d.started && !out->failed && out->len > start) {
                struct nb_text rest =
                    first_piece(dec, (struct nb_text){out->data + start, out->len - start});
                memmove(out->data + start, rest.s, rest.n);
                cut(out, start + rest.n);
            }
            d.started = true;
            continue;
        }
        if (!skip)
            push_one(&d, out, ids[i]);
        i++;
    }
    nb_detok_flush(&d, out);
    return nb_str_check(out, err);
}
