/* text/build.c: from a vocabulary and a pipeline to something that runs: indexes, matchers, decoded pieces. Everything in the tables comes from outside and is checked here once.
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
    nb_added_init(&tok->guarded, a);
    tok->bpe.a = a;
    tok->pieces_model.trie.a = a;
    tok->word = nb_bpe_word;
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
    for (size_t i = 0; i < tok->pipe.n_norm; i++)
        nb_regex_destroy(tok->pipe.norm[i].re);
    nb_trie_fini(&tok->pieces_model.trie);
    nb_bpe_fini(&tok->bpe);
    nb_added_fini(&tok->raw);
    nb_added_fini(&tok->normalized);
    nb_added_fini(&tok->guarded);
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

/* ---- decoded pieces ---- */
/* The token as it stands in text: an added one may be looked for, and is shown, normalized. */
static enum nb_status spelling(struct nb_tokenizer *tok, uint32_t i, struct nb_text *out,
                               struct nb_regex_run *run, struct nb_error *err)
{
    *out = tok->tokens[i];
    if (!nb_tok_is_added(tok->types[i]) || !(tok->flags[i] & NB_TOKEN_NORMALIZED))
        return NB_OK;
    return nb_normalize(&tok->pipe, out, *out, &tok->arena, run, err);
}

/* No space before English punctuation, as the WordPiece decoder has it, token by token. */
static enum nb_status clean_up(struct nb_tokenizer *tok, struct nb_text *t, struct nb_error *err)
{
    static const struct {
        struct nb_text from, to;
    } rules[] = {{NB_TEXT_LIT_INIT(" ."), NB_TEXT_LIT_INIT(".")},
                 {NB_TEXT_LIT_INIT(" ?"), NB_TEXT_LIT_INIT("?")},
                 {NB_TEXT_LIT_INIT(" !"), NB_TEXT_LIT_INIT("!")},
                 {NB_TEXT_LIT_INIT(" ,"), NB_TEXT_LIT_INIT(",")},
                 {NB_TEXT_LIT_INIT(" ' "), NB_TEXT_LIT_INIT("'")},
                 {NB_TEXT_LIT_INIT(" n't"), NB_TEXT_LIT_INIT("n't")},
                 {NB_TEXT_LIT_INIT(" 'm"), NB_TEXT_LIT_INIT("'m")},
                 {NB_TEXT_LIT_INIT(" do not"), NB_TEXT_LIT_INIT(" don't")},
                 {NB_TEXT_LIT_INIT(" 's"), NB_TEXT_LIT_INIT("'s")},
                 {NB_TEXT_LIT_INIT(" 've"), NB_TEXT_LIT_INIT("'ve")},
                 {NB_TEXT_LIT_INIT(" 're"), NB_TEXT_LIT_INIT("'re")}};
    for (size_t i = 0; i < NB_COUNTOF(rules); i++) {
        const struct nb_norm_step step = {
            .kind = NB_NORM_REPLACE, .pattern = rules[i].from, .content = rules[i].to};
        NB_TRY(nb_normalize_step(&step, t, *t, &tok->arena, NULL, err));
    }
    return NB_OK;
}

/* WordPiece: words bring a space along, which the first of a text drops. */
static enum nb_status wordpiece_piece(struct nb_tokenizer *tok, struct nb_text *out,
                                      struct nb_text t, struct nb_error *err)
{
    const struct nb_text prefix = tok->pipe.decoder.pattern;
    if (prefix.n != 0 && t.n >= prefix.n && memcmp(t.s, prefix.s, prefix.n) == 0) {
        *out = (struct nb_text){t.s + prefix.n, t.n - prefix.n};
        return NB_OK;
    }
    char *s = nb_arena_alloc(&tok->arena, t.n + 1, 1);
    if (s == NULL)
        return no_memory(err);
    s[0] = ' ';
    memcpy(s + 1, t.s, t.n);
    *out = (struct nb_text){s, t.n + 1};
    return tok->pipe.decoder.cleanup ? clean_up(tok, out, err) : NB_OK;
}

static enum nb_status build_piece(struct nb_tokenizer *tok, uint32_t i, struct nb_regex_run *run,
                                  struct nb_error *err)
{
    const struct nb_decoder *d = &tok->pipe.decoder;
    struct nb_text t, *out = &tok->pieces[i];
    struct nb_norm_step marks = {
        .kind = NB_NORM_REPLACE, .pattern = d->pattern, .content = d->content};
    NB_TRY(spelling(tok, i, &t, run, err));
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
    if (d->kind == NB_DECODER_WORDPIECE)
        return wordpiece_piece(tok, out, t, err);
    int byte = d->byte_fallback ? nb_byte_token_value(t) : -1;
    if (byte >= 0) {
        char c = (char)byte;
        tok->is_byte[i] = 1;
        *out = nb_tok_copy(tok, (struct nb_text){&c, 1});
        return out->s == NULL ? no_memory(err) : NB_OK;
    }
    return nb_normalize_step(&marks, out, t, &tok->arena, run, err);
}

/* May the normalizer make t out of text that is not t? NFC makes ASCII of the signs for Kelvin, of the
 * Greek question mark and of a Greek accent, of nothing else. */
static bool may_conjure(const struct nb_pipeline *p, struct nb_text t)
{
    bool ascii_made = false;
    for (size_t i = 0; i < t.n; i++)
        ascii_made |= t.s[i] == 'K' || t.s[i] == ';' || t.s[i] == '`';
    for (size_t i = 0; i < p->n_norm; i++) {
        const enum nb_norm_kind kind = p->norm[i].kind;
        if (kind != NB_NORM_PREPEND && kind != NB_NORM_REPLACE &&
            (kind != NB_NORM_NFC || ascii_made))
            return true;
    }
    return false;
}

/* ---- added tokens, ends of generation ---- */
static enum nb_status build_added(struct nb_tokenizer *tok, struct nb_regex_run *run,
                                  struct nb_error *err)
{
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        bool normalized = (tok->flags[i] & NB_TOKEN_NORMALIZED) != 0;
        struct nb_text t;
        if (!nb_tok_is_added(tok->types[i]))
            continue;
        NB_TRY(spelling(tok, i, &t, run, err));
        NB_TRY(nb_added_put(normalized ? &tok->normalized : &tok->raw, t, (int32_t)i, err));
        if (!normalized)
            continue;
        NB_TRY(nb_added_put(&tok->guarded, tok->tokens[i], (int32_t)i, err));
        tok->conjured |= tok->types[i] != NB_TOKEN_USER && may_conjure(&tok->pipe, tok->tokens[i]);
    }
    NB_TRY(nb_added_seal(&tok->raw, err));
    NB_TRY(nb_added_seal(&tok->guarded, err));
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
    for (size_t i = 0; i < tok->pipe.n_norm; i++) {
        struct nb_norm_step *s = &tok->pipe.norm[i];
        if (s->kind == NB_NORM_REPLACE && s->regex)
            NB_TRY(nb_regex_create(&s->re, s->pattern, false, tok->a, err));
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

/* Everything that runs texts through the pipeline. */
static enum nb_status build_texts(struct nb_tokenizer *tok, struct nb_error *err)
{
    enum nb_status st = NB_OK;
    struct nb_regex_run *run = nb_regex_run_create(tok->a);
    if (run == NULL)
        return no_memory(err);
    for (uint32_t i = 0; i < tok->vocab.n && st == NB_OK; i++)
        st = build_piece(tok, i, run, err);
    if (st == NB_OK)
        st = build_added(tok, run, err);
    nb_regex_run_destroy(run);
    return st;
}

enum nb_status nb_tok_finish(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_vocab *v = &tok->vocab;
    NB_TRY(check_id(tok, v->bos, "bos", err));
    NB_TRY(check_id(tok, v->eos, "eos", err));
    NB_TRY(check_id(tok, v->eot, "eot", err));
    NB_TRY(check_id(tok, v->unk, "unknown", err));
    NB_TRY(check_id(tok, v->pad, "padding", err));
    NB_TRY(check_id(tok, v->sep, "separator", err));
    NB_TRY(check_id(tok, v->mask, "mask", err));
    NB_TRY(compile_steps(tok, err));
    NB_TRY(nb_tok_build_model(tok, err));
    NB_TRY(build_texts(tok, err));
    build_eog(tok);
    v->tokens = tok->tokens;
    v->types = tok->types;
    v->flags = tok->flags;
    v->scores = tok->scores;
    return NB_OK;
}
