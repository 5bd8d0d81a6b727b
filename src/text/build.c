/* text/build.c: from a vocabulary and a pipeline to something that runs: indexes, pair table, matchers,
 * decoded pieces. Everything in the tables comes from outside and is checked here once.
 */
#include "text/text_internal.h"

#include <string.h>

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "tokenizer: out of memory");
}

bool nb_tok_is_added(int32_t type)
{
    return type == NB_TOKEN_CONTROL || type == NB_TOKEN_USER || type == NB_TOKEN_UNKNOWN;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int nb_byte_token_value(struct nb_text t)
{
    if (t.n != 6 || memcmp(t.s, "<0x", 3) != 0 || t.s[5] != '>')
        return -1;
    int hi = hex_digit(t.s[3]), lo = hex_digit(t.s[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

struct nb_text nb_tok_copy(struct nb_tokenizer *tok, struct nb_text t)
{
    char *s = nb_arena_alloc(&tok->arena, t.n + 1, 1); /* zeroed: terminated */
    if (s != NULL && t.n != 0)
        memcpy(s, t.s, t.n);
    return (struct nb_text){s, s == NULL ? 0 : t.n};
}

enum nb_status nb_tok_create(struct nb_tokenizer **out, uint32_t n, const struct nb_allocator *a,
                             struct nb_error *err)
{
    *out = NULL;
    if (n == 0 || n > NB_TEXT_MAX_IDS)
        NB_FAIL(err, n == 0 ? NB_ERR_FORMAT : NB_ERR_LIMIT,
                "vocabulary of %u tokens, expected 1 to %u", (unsigned)n, NB_TEXT_MAX_IDS);
    struct nb_tokenizer *tok = nb_alloc_zero(a, 1, sizeof(*tok));
    if (tok == NULL)
        return no_memory(err);
    tok->a = a;
    nb_arena_init(&tok->arena, a, 64 * 1024);
    nb_map_init(&tok->ids, a);
    nb_map_init(&tok->bpe.words, a);
    nb_added_init(&tok->raw, a);
    nb_added_init(&tok->normalized, a);
    tok->bpe.a = a;
    tok->vocab.n = n;
    tok->tokens = nb_arena_alloc(&tok->arena, n, sizeof(*tok->tokens));
    tok->types = nb_arena_alloc(&tok->arena, n, sizeof(*tok->types));
    tok->flags = nb_arena_alloc(&tok->arena, n, sizeof(*tok->flags));
    tok->in_model = nb_arena_alloc(&tok->arena, n, sizeof(*tok->in_model));
    tok->is_byte = nb_arena_alloc(&tok->arena, n, sizeof(*tok->is_byte));
    tok->pieces = nb_arena_alloc(&tok->arena, n, sizeof(*tok->pieces));
    if (tok->tokens == NULL || tok->types == NULL || tok->flags == NULL || tok->in_model == NULL ||
        tok->is_byte == NULL || tok->pieces == NULL) {
        nb_tokenizer_destroy(tok);
        return no_memory(err);
    }
    for (uint32_t i = 0; i < n; i++)
        tok->types[i] = NB_TOKEN_UNUSED;
    *out = tok;
    return NB_OK;
}

void nb_tokenizer_destroy(struct nb_tokenizer *tok)
{
    if (tok == NULL)
        return;
    for (size_t i = 0; i < tok->pipe.n_pre; i++)
        nb_regex_destroy(tok->pipe.pre[i].re);
    nb_bpe_fini(&tok->bpe);
    nb_added_fini(&tok->raw);
    nb_added_fini(&tok->normalized);
    nb_map_fini(&tok->ids);
    nb_free(tok->a, tok->merges);
    nb_arena_fini(&tok->arena);
    nb_free(tok->a, tok);
}

/* ---- token text -> id ---- */
static enum nb_status index_token(struct nb_tokenizer *tok, uint32_t i, struct nb_error *err)
{
    char name[80];
    uint64_t other = 0;
    struct nb_text t = tok->tokens[i];
    if (nb_utf8_valid_prefix(t.s, t.n) != t.n)
        NB_FAIL(err, NB_ERR_FORMAT, "token %u, '%s', is not UTF-8", (unsigned)i,
                nb_printable(name, sizeof(name), t.s, t.n));
    enum nb_status st = nb_map_put(&tok->ids, t.s, t.n, i);
    if (st != NB_ERR_EXISTS)
        return st == NB_OK ? NB_OK : no_memory(err);
    if (tok->types[i] == NB_TOKEN_UNUSED)
        return NB_OK;
    (void)nb_map_get(&tok->ids, t.s, t.n, &other);
    NB_FAIL(err, NB_ERR_FORMAT, "tokens %u and %u are both '%s'", (unsigned)other, (unsigned)i,
            nb_printable(name, sizeof(name), t.s, t.n));
}

enum nb_status nb_tok_index(struct nb_tokenizer *tok, struct nb_error *err)
{
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        if (tok->tokens[i].s != NULL && tok->tokens[i].n != 0)
            continue;
        char *name = nb_arena_printf(&tok->arena, "[PAD%u]", (unsigned)i);
        if (name == NULL)
            return no_memory(err);
        tok->tokens[i] = (struct nb_text){name, strlen(name)};
        tok->types[i] = NB_TOKEN_UNUSED;
        tok->in_model[i] = 0;
    }
    for (uint32_t i = 0; i < tok->vocab.n; i++)
        if (tok->types[i] != NB_TOKEN_UNUSED)
            NB_TRY(index_token(tok, i, err));
    for (uint32_t i = 0; i < tok->vocab.n; i++)
        if (tok->types[i] == NB_TOKEN_UNUSED)
            NB_TRY(index_token(tok, i, err));
    return NB_OK;
}

/* ---- BPE tables ---- */
static int32_t model_id(const struct nb_tokenizer *tok, const char *s, size_t n)
{
    uint64_t id;
    return nb_map_get(&tok->ids, s, n, &id) && tok->in_model[id] ? (int32_t)id : -1;
}

static void fill_byte_ids(struct nb_tokenizer *tok)
{
    static const char hex[] = "0123456789ABCDEF";
    struct nb_bpe *b = &tok->bpe;
    for (unsigned i = 0; i < 256; i++) {
        char c[4], form[] = "<0x00>";
        size_t n = nb_utf8_put(c, b->byte_level ? nb_byte_to_char((uint8_t)i) : i);
        b->byte_id[i] = b->byte_level || i < 0x80 ? model_id(tok, c, n) : -1;
        form[3] = hex[i >> 4];
        form[4] = hex[i & 15];
        b->fallback_id[i] = model_id(tok, form, 6);
    }
}

/* Words may be cut at seams if the text comes whole and no merge has a side that is not plain text. */
static bool may_cut(const struct nb_tokenizer *tok)
{
    if (tok->bpe.byte_level || tok->bpe.ignore_merges)
        return false;
    for (size_t i = 0; i < tok->n_merges; i++) {
        const struct nb_merge *m = &tok->merges[i];
        if ((int32_t)m->left == tok->bpe.unk || (int32_t)m->right == tok->bpe.unk ||
            nb_byte_token_value(tok->tokens[m->left]) >= 0 ||
            nb_byte_token_value(tok->tokens[m->right]) >= 0)
            return false;
    }
    return true;
}

static enum nb_status fill_words(struct nb_tokenizer *tok, struct nb_error *err)
{
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        struct nb_text t = tok->tokens[i];
        if (!tok->in_model[i])
            continue;
        if (tok->bpe.byte_level) {
            char *bytes = nb_arena_alloc(&tok->arena, t.n, 1);
            if (bytes == NULL)
                return no_memory(err);
            if (!nb_byte_level_decode(bytes, &t.n, t.s, t.n))
                continue; /* no word can spell it */
            t.s = bytes;
        }
        enum nb_status st = nb_map_put(&tok->bpe.words, t.s, t.n, i);
        if (st != NB_OK && st != NB_ERR_EXISTS)
            return no_memory(err);
    }
    return NB_OK;
}

static enum nb_status build_bpe(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_bpe *b = &tok->bpe;
    fill_byte_ids(tok);
    if (nb_bpe_reserve(b, tok->n_merges + 1) != NB_OK)
        return no_memory(err);
    for (size_t i = 0; i < tok->n_merges; i++) {
        const struct nb_merge *m = &tok->merges[i];
        if (nb_bpe_put(b, m->left, m->right, m->rank, m->id) != NB_OK)
            return no_memory(err);
    }
    if (may_cut(tok)) {
        if (nb_bpe_note_seams(b, (struct nb_text){NULL, 0}) != NB_OK)
            return no_memory(err);
        for (size_t i = 0; i < tok->n_merges; i++)
            if (nb_bpe_note_seams(b, tok->tokens[tok->merges[i].id]) != NB_OK)
                return no_memory(err);
    }
    return b->ignore_merges ? fill_words(tok, err) : NB_OK;
}

/* ---- decoded pieces ---- */
/* The token as it stands in text: an added one may be looked for, and is shown, normalized. */
static enum nb_status spelling(struct nb_tokenizer *tok, uint32_t i, struct nb_text *out,
                               struct nb_error *err)
{
    *out = tok->tokens[i];
    if (!nb_tok_is_added(tok->types[i]) || !(tok->flags[i] & NB_TOKEN_NORMALIZED))
        return NB_OK;
    return nb_normalize(&tok->pipe, out, *out, &tok->arena, err);
}

static enum nb_status build_piece(struct nb_tokenizer *tok, uint32_t i, struct nb_error *err)
{
    const struct nb_decoder *d = &tok->pipe.decoder;
    struct nb_text t, *out = &tok->pieces[i];
    struct nb_norm_step marks = {NB_NORM_REPLACE, d->pattern, d->content};
    NB_TRY(spelling(tok, i, &t, err));
    *out = t;
    if (tok->types[i] == NB_TOKEN_UNUSED && !tok->in_model[i]) { /* a hole says nothing */
        *out = (struct nb_text){"", 0};
        return NB_OK;
    }
    if (d->kind == NB_DECODER_BYTE_LEVEL) {
        char *bytes = nb_arena_alloc(&tok->arena, t.n, 1);
        if (bytes == NULL)
            return no_memory(err);
        if (nb_byte_level_decode(bytes, &out->n, t.s, t.n))
            out->s = bytes;
        return NB_OK;
    }
    if (d->kind == NB_DECODER_NONE)
        return NB_OK;
    int byte = d->byte_fallback ? nb_byte_token_value(t) : -1;
    if (byte >= 0) {
        char c = (char)byte;
        tok->is_byte[i] = 1;
        *out = nb_tok_copy(tok, (struct nb_text){&c, 1});
        return out->s == NULL ? no_memory(err) : NB_OK;
    }
    return nb_normalize_step(&marks, out, t, &tok->arena, err);
}

/* ---- added tokens, ends of generation ---- */
static enum nb_status build_added(struct nb_tokenizer *tok, struct nb_error *err)
{
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        bool normalized = (tok->flags[i] & NB_TOKEN_NORMALIZED) != 0;
        struct nb_text t;
        if (!nb_tok_is_added(tok->types[i]))
            continue;
        NB_TRY(spelling(tok, i, &t, err));
        NB_TRY(nb_added_put(normalized ? &tok->normalized : &tok->raw, t, (int32_t)i, err));
    }
    NB_TRY(nb_added_seal(&tok->raw, err));
    return nb_added_seal(&tok->normalized, err);
}

static void add_eog(struct nb_tokenizer *tok, int32_t id)
{
    if (id >= 0 && !nb_tokenizer_is_eog(tok, id) && tok->n_eog < NB_COUNTOF(tok->eog))
        tok->eog[tok->n_eog++] = id;
}

static void build_eog(struct nb_tokenizer *tok)
{
    static const char *const turns[] = {"<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>",
                                        "<EOT>"};
    static const char *const ends[] = {"<|eom_id|>", "<|end_of_text|>", "<|endoftext|>"};
    struct nb_vocab *v = &tok->vocab;
    for (size_t i = 0; i < NB_COUNTOF(turns); i++) {
        int32_t id = nb_tokenizer_find(tok, turns[i], strlen(turns[i]));
        if (id < 0 || !nb_tok_is_added(tok->types[id]))
            continue;
        if (v->eot < 0 && id != v->eos)
            v->eot = id;
        add_eog(tok, id);
    }
    for (size_t i = 0; i < NB_COUNTOF(ends); i++) {
        int32_t id = nb_tokenizer_find(tok, ends[i], strlen(ends[i]));
        if (id >= 0 && nb_tok_is_added(tok->types[id]))
            add_eog(tok, id);
    }
    add_eog(tok, v->eos);
    add_eog(tok, v->eot);
}

static enum nb_status compile_steps(struct nb_tokenizer *tok, struct nb_error *err)
{
    for (size_t i = 0; i < tok->pipe.n_pre; i++) {
        struct nb_pre_step *s = &tok->pipe.pre[i];
        struct nb_text pattern = s->pattern;
        bool literal = s->literal;
        if (s->kind == NB_PRE_DIGITS)
            pattern = NB_TEXT_LIT("\\p{N}");
        if (s->kind == NB_PRE_BYTE_LEVEL)
            pattern = (struct nb_text){nb_gpt2_pattern, strlen(nb_gpt2_pattern)};
        if (s->kind == NB_PRE_METASPACE) {
            pattern = s->replacement;
            literal = true;
            s->behavior = NB_SPLIT_MERGED_NEXT;
        }
        if (s->use_regex || s->kind == NB_PRE_SPLIT || s->kind == NB_PRE_DIGITS)
            NB_TRY(nb_regex_create(&s->re, pattern, literal, tok->a, err));
    }
    return NB_OK;
}

static enum nb_status check_id(const struct nb_tokenizer *tok, int32_t id, const char *what,
                               struct nb_error *err)
{
    if (id >= -1 && (id < 0 || (uint32_t)id < tok->vocab.n))
        return NB_OK;
    NB_FAIL(err, NB_ERR_FORMAT, "%s token is %d, the vocabulary has %u tokens", what, id,
            (unsigned)tok->vocab.n);
}

enum nb_status nb_tok_finish(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_vocab *v = &tok->vocab;
    NB_TRY(check_id(tok, v->bos, "bos", err));
    NB_TRY(check_id(tok, v->eos, "eos", err));
    NB_TRY(check_id(tok, v->eot, "eot", err));
    NB_TRY(check_id(tok, v->unk, "unknown", err));
    NB_TRY(check_id(tok, v->pad, "padding", err));
    NB_TRY(compile_steps(tok, err));
    NB_TRY(build_bpe(tok, err));
    for (uint32_t i = 0; i < v->n; i++)
        NB_TRY(build_piece(tok, i, err));
    NB_TRY(build_added(tok, err));
    build_eog(tok);
    v->tokens = tok->tokens;
    v->types = tok->types;
    v->flags = tok->flags;
    v->scores = tok->scores;
    return NB_OK;
}
