/* text/write_json.c: a tokenizer.json that Hugging Face tokenizers loads with the same ids.
 *
 * Added tokens at the end of the ids stand in added_tokens only, as in files of Hugging Face; others are
 * in the model's vocabulary too, because the library numbers added tokens behind it.
 */
#include "text/text_internal.h"

static void put_text(struct nb_str *out, const char *key, struct nb_text t)
{
    nb_str_printf(out, "\"%s\":", key);
    nb_str_json(out, t.s, t.n);
}

static const char *yes(bool b)
{
    return b ? "true" : "false";
}

static void put_added(const struct nb_tokenizer *tok, struct nb_str *out)
{
    const char *comma = "";
    nb_str_puts(out, "\"added_tokens\":[");
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        uint8_t f = tok->flags[i];
        if (!nb_tok_is_added(tok->types[i]))
            continue;
        nb_str_printf(out, "%s\n{\"id\":%u,", comma, (unsigned)i);
        put_text(out, "content", tok->tokens[i]);
        nb_str_printf(
            out,
            ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":%s,\"special\":%s}",
            yes(f & NB_TOKEN_SINGLE_WORD), yes(f & NB_TOKEN_LSTRIP), yes(f & NB_TOKEN_RSTRIP),
            yes(f & NB_TOKEN_NORMALIZED), yes(tok->types[i] != NB_TOKEN_USER));
        comma = ",";
    }
    nb_str_puts(out, "],\n");
}

static void put_replace(struct nb_str *out, bool regex, struct nb_text pattern,
                        struct nb_text content)
{
    nb_str_puts(out, "{\"type\":\"Replace\",\"pattern\":{");
    put_text(out, regex ? "Regex" : "String", pattern);
    nb_str_puts(out, "},");
    put_text(out, "content", content);
    nb_str_puts(out, "}");
}

static void put_bert(struct nb_str *out, const struct nb_norm_step *s)
{
    nb_str_printf(out,
                  "{\"type\":\"BertNormalizer\",\"clean_text\":%s,\"handle_chinese_chars\":%s,"
                  "\"strip_accents\":%s,\"lowercase\":%s}",
                  yes(s->clean), yes(s->han), yes(s->accents), yes(s->lower));
}

static void put_norm_step(struct nb_str *out, const struct nb_norm_step *s)
{
    static const char *const plain[] = {
        [NB_NORM_NFC] = "NFC",
        [NB_NORM_NFD] = "NFD",
        [NB_NORM_NFKC] = "NFKC",
        [NB_NORM_NFKD] = "NFKD",
        [NB_NORM_LOWERCASE] = "Lowercase",
        [NB_NORM_STRIP_ACCENTS] = "StripAccents",
        [NB_NORM_NMT] = "Nmt",
    };
    if (s->kind == NB_NORM_BERT) {
        put_bert(out, s);
    } else if (s->kind == NB_NORM_PREPEND) {
        nb_str_puts(out, "{\"type\":\"Prepend\",");
        put_text(out, "prepend", s->content);
        nb_str_puts(out, "}");
    } else if (s->kind == NB_NORM_REPLACE) {
        put_replace(out, s->regex, s->pattern, s->content);
    } else if (s->kind == NB_NORM_STRIP) {
        nb_str_printf(out, "{\"type\":\"Strip\",\"strip_left\":%s,\"strip_right\":%s}",
                      yes(s->left), yes(s->right));
    } else if (s->kind == NB_NORM_PRECOMPILED) {
        nb_str_puts(out, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
        nb_base64_encode(out, s->map.blob);
        nb_str_puts(out, "\"}");
    } else {
        nb_str_printf(out, "{\"type\":\"%s\"}", plain[s->kind]);
    }
}

static void put_normalizer(const struct nb_pipeline *p, struct nb_str *out)
{
    nb_str_puts(out, "\"normalizer\":");
    if (p->n_norm == 0)
        nb_str_puts(out, "null");
    if (p->n_norm > 1)
        nb_str_puts(out, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (size_t i = 0; i < p->n_norm; i++) {
        if (i > 0)
            nb_str_puts(out, ",");
        put_norm_step(out, &p->norm[i]);
    }
    nb_str_puts(out, p->n_norm > 1 ? "]},\n" : ",\n");
}

static void put_metaspace(struct nb_str *out, struct nb_text mark, enum nb_prepend prepend,
                          bool split)
{
    static const char *const names[] = {"never", "first", "always"};
    nb_str_puts(out, "{\"type\":\"Metaspace\",");
    put_text(out, "replacement", mark);
    nb_str_printf(out, ",\"prepend_scheme\":\"%s\",\"split\":%s}", names[prepend], yes(split));
}

static void put_pre_step(const struct nb_pre_step *s, struct nb_str *out)
{
    static const char *const behaviors[] = {"Isolated", "Removed", "MergedWithPrevious",
                                            "MergedWithNext", "Contiguous"};
    if (s->kind == NB_PRE_SPLIT) {
        nb_str_puts(out, "{\"type\":\"Split\",\"pattern\":{");
        put_text(out, s->literal ? "String" : "Regex", s->pattern);
        nb_str_printf(out, "},\"behavior\":\"%s\",\"invert\":%s}", behaviors[s->behavior],
                      yes(s->invert));
    } else if (s->kind == NB_PRE_DIGITS) {
        nb_str_printf(out, "{\"type\":\"Digits\",\"individual_digits\":%s}",
                      yes(s->behavior == NB_SPLIT_ISOLATED));
    } else if (s->kind == NB_PRE_BYTE_LEVEL) {
        nb_str_printf(out,
                      "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"trim_offsets\":true,"
                      "\"use_regex\":%s}",
                      yes(s->prepend != NB_PREPEND_NEVER), yes(s->use_regex));
    } else if (s->kind == NB_PRE_WHITESPACE) {
        nb_str_puts(out, "{\"type\":\"WhitespaceSplit\"}");
    } else if (s->kind == NB_PRE_PUNCTUATION) {
        nb_str_printf(out, "{\"type\":\"Punctuation\",\"behavior\":\"%s\"}",
                      behaviors[s->behavior]);
    } else {
        put_metaspace(out, s->replacement, s->prepend, s->use_regex);
    }
}

/* White space goes, then each punctuation mark for itself. */
static bool is_bert(const struct nb_pipeline *p)
{
    return p->n_pre == 2 && p->pre[0].kind == NB_PRE_WHITESPACE &&
           p->pre[1].kind == NB_PRE_PUNCTUATION && p->pre[1].behavior == NB_SPLIT_ISOLATED;
}

static void put_pre(const struct nb_pipeline *p, struct nb_str *out)
{
    nb_str_puts(out, "\"pre_tokenizer\":");
    if (is_bert(p)) {
        nb_str_puts(out, "{\"type\":\"BertPreTokenizer\"},\n");
        return;
    }
    if (p->n_pre == 0)
        nb_str_puts(out, "null");
    if (p->n_pre > 1)
        nb_str_puts(out, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (size_t i = 0; i < p->n_pre; i++) {
        if (i > 0)
            nb_str_puts(out, ",");
        put_pre_step(&p->pre[i], out);
    }
    nb_str_puts(out, p->n_pre > 1 ? "]},\n" : ",\n");
}

/* Each id of the template under its token's text. */
static void put_template_ids(const struct nb_tokenizer *tok, struct nb_str *out, const int32_t *ids,
                             size_t n, const char *sequence_first)
{
    for (size_t i = 0; i < n; i++) {
        nb_str_printf(out, "%s{\"SpecialToken\":{", i == 0 ? sequence_first : ",");
        put_text(out, "id", tok->tokens[ids[i]]);
        nb_str_puts(out, ",\"type_id\":0}}");
    }
}

static void put_template(const struct nb_tokenizer *tok, struct nb_str *out, bool pair)
{
    const struct nb_pipeline *p = &tok->pipe;
    nb_str_printf(out, "\"%s\":[", pair ? "pair" : "single");
    for (int k = 0; k < (pair ? 2 : 1); k++) {
        put_template_ids(tok, out, p->prefix, p->n_prefix, k == 0 ? "" : ",");
        nb_str_printf(out, "%s{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}",
                      k == 0 && p->n_prefix == 0 ? "" : ",", k == 0 ? "A" : "B", k);
        put_template_ids(tok, out, p->suffix, p->n_suffix, ",");
    }
    nb_str_puts(out, "],");
}

static void put_post(const struct nb_tokenizer *tok, struct nb_str *out)
{
    const struct nb_pipeline *p = &tok->pipe;
    nb_str_puts(out, "\"post_processor\":");
    if (p->n_prefix + p->n_suffix == 0) {
        nb_str_puts(out, "null,\n");
        return;
    }
    nb_str_puts(out, "{\"type\":\"TemplateProcessing\",");
    put_template(tok, out, false);
    put_template(tok, out, true);
    nb_str_puts(out, "\"special_tokens\":{");
    for (size_t i = 0, n = 0; i < p->n_prefix + p->n_suffix; i++) {
        int32_t id = i < p->n_prefix ? p->prefix[i] : p->suffix[i - p->n_prefix];
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen = seen || id == (k < p->n_prefix ? p->prefix[k] : p->suffix[k - p->n_prefix]);
        if (seen)
            continue;
        struct nb_text t = tok->tokens[id];
        nb_str_puts(out, n++ == 0 ? "" : ",");
        nb_str_json(out, t.s, t.n);
        nb_str_puts(out, ":{");
        put_text(out, "id", t);
        nb_str_printf(out, ",\"ids\":[%d],\"tokens\":[", id);
        nb_str_json(out, t.s, t.n);
        nb_str_puts(out, "]}");
    }
    nb_str_puts(out, "}},\n");
}

static void put_decoder(const struct nb_decoder *d, struct nb_str *out)
{
    nb_str_puts(out, "\"decoder\":");
    if (d->kind == NB_DECODER_NONE) {
        nb_str_puts(out, "null,\n");
    } else if (d->kind == NB_DECODER_BYTE_LEVEL) {
        nb_str_puts(out, "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
                         "\"use_regex\":true},\n");
    } else if (d->kind == NB_DECODER_WORDPIECE) {
        nb_str_puts(out, "{\"type\":\"WordPiece\",");
        put_text(out, "prefix", d->pattern);
        nb_str_printf(out, ",\"cleanup\":%s},\n", yes(d->cleanup));
    } else if (d->kind == NB_DECODER_METASPACE) {
        put_metaspace(out, d->pattern, d->prepend, true);
        nb_str_puts(out, ",\n");
    } else {
        nb_str_puts(out, "{\"type\":\"Sequence\",\"decoders\":[");
        if (d->pattern.n != 0) {
            put_replace(out, false, d->pattern, d->content);
            nb_str_puts(out, ",");
        }
        nb_str_printf(out, "%s{\"type\":\"Fuse\"}",
                      d->byte_fallback ? "{\"type\":\"ByteFallback\"}," : "");
        if (d->strip_start != 0) {
            nb_str_puts(out, ",{\"type\":\"Strip\",");
            put_text(out, "content", d->strip);
            nb_str_printf(out, ",\"start\":%u,\"stop\":0}", (unsigned)d->strip_start);
        }
        nb_str_puts(out, "]},\n");
    }
}

/* Tokens that the model's vocabulary needs: added ones at the end stand elsewhere. */
static uint32_t model_tokens(const struct nb_tokenizer *tok)
{
    uint32_t tail = tok->vocab.n;
    while (tail > 1 && nb_tok_is_added(tok->types[tail - 1]) && !tok->in_model[tail - 1])
        tail--;
    return tok->vocab.unk >= (int32_t)tail ? (uint32_t)tok->vocab.unk + 1 : tail;
}

static void put_ids(const struct nb_tokenizer *tok, uint32_t n, struct nb_str *out)
{
    for (uint32_t i = 0; i < n; i++) {
        nb_str_puts(out, i == 0 ? "\n" : ",\n");
        nb_str_json(out, tok->tokens[i].s, tok->tokens[i].n);
        nb_str_printf(out, ":%u", (unsigned)i);
    }
}

static void put_unigram(const struct nb_tokenizer *tok, struct nb_str *out)
{
    const struct nb_pieces *m = &tok->pieces_model;
    const uint32_t n = model_tokens(tok);
    nb_str_puts(out, "\"model\":{\"type\":\"Unigram\",\"unk_id\":");
    if (tok->vocab.unk >= 0)
        nb_str_printf(out, "%d", tok->vocab.unk);
    else
        nb_str_puts(out, "null");
    nb_str_puts(out, ",\n\"vocab\":[");
    for (uint32_t i = 0; i < n; i++) {
        nb_str_puts(out, i == 0 ? "\n[" : ",\n[");
        nb_str_json(out, tok->tokens[i].s, tok->tokens[i].n);
        nb_str_printf(out, ",%.17g]", tok->in_model[i] ? m->scores[i] : m->min_score);
    }
    nb_str_printf(out, "],\n\"byte_fallback\":%s}", yes(tok->bpe.byte_fallback));
}

static void put_wordpiece(const struct nb_tokenizer *tok, struct nb_str *out)
{
    const struct nb_pieces *m = &tok->pieces_model;
    nb_str_puts(out, "\"model\":{\"type\":\"WordPiece\",");
    put_text(out, "unk_token",
             tok->vocab.unk < 0 ? NB_TEXT_LIT("[UNK]") : tok->tokens[tok->vocab.unk]);
    nb_str_puts(out, ",");
    put_text(out, "continuing_subword_prefix", m->prefix);
    nb_str_printf(out, ",\"max_input_chars_per_word\":%u,\n\"vocab\":{", (unsigned)m->max_chars);
    put_ids(tok, model_tokens(tok), out);
    nb_str_puts(out, "}}");
}

static void put_bpe(const struct nb_tokenizer *tok, struct nb_str *out)
{
    const struct nb_bpe *b = &tok->bpe;
    uint32_t tail = model_tokens(tok);
    for (size_t i = 0; i < tok->n_merges; i++)
        tail = NB_MAX(
            tail, NB_MAX(tok->merges[i].id, NB_MAX(tok->merges[i].left, tok->merges[i].right)) + 1);
    nb_str_puts(out, "\"model\":{\"type\":\"BPE\",\"dropout\":null,");
    if (b->unk >= 0) {
        put_text(out, "unk_token", tok->tokens[b->unk]);
        if ((uint32_t)b->unk >= tail)
            tail = (uint32_t)b->unk + 1;
    } else {
        nb_str_puts(out, "\"unk_token\":null");
    }
    nb_str_printf(out,
                  ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":%s,"
                  "\"byte_fallback\":%s,\"ignore_merges\":%s,\n\"vocab\":{",
                  yes(b->fuse_unk), yes(b->byte_fallback), yes(b->ignore_merges));
    put_ids(tok, tail, out);
    nb_str_puts(out, "},\n\"merges\":[");
    for (size_t i = 0; i < tok->n_merges; i++) {
        struct nb_text l = tok->tokens[tok->merges[i].left], r = tok->tokens[tok->merges[i].right];
        nb_str_puts(out, i == 0 ? "\n[" : ",\n[");
        nb_str_json(out, l.s, l.n);
        nb_str_puts(out, ",");
        nb_str_json(out, r.s, r.n);
        nb_str_puts(out, "]");
    }
    nb_str_puts(out, "]}");
}

static void put_model(const struct nb_tokenizer *tok, struct nb_str *out)
{
    if (tok->vocab.kind == NB_VOCAB_UNIGRAM)
        put_unigram(tok, out);
    else if (tok->vocab.kind == NB_VOCAB_WORDPIECE)
        put_wordpiece(tok, out);
    else
        put_bpe(tok, out);
}

enum nb_status nb_tokenizer_write_json(const struct nb_tokenizer *tok, struct nb_str *out,
                                       struct nb_error *err)
{
    nb_str_puts(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
    put_added(tok, out);
    put_normalizer(&tok->pipe, out);
    put_pre(&tok->pipe, out);
    put_post(tok, out);
    put_decoder(&tok->pipe.decoder, out);
    put_model(tok, out);
    nb_str_puts(out, "}\n");
    return nb_str_check(out, err);
}
