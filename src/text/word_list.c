/* text/word_list.c: vocab.txt of BERT: a token a line, the line's number its id. What tokenizer_config.json
 * says of capital letters and accents is heeded; the special tokens are those of BERT's paper.
 */
#include "text/json_internal.h"

#include <string.h>

static size_t line_bytes(const char *s, size_t n)
{
    const char *end = n == 0 ? NULL : memchr(s, '\n', n);
    return end == NULL ? n : (size_t)(end - s);
}

static uint32_t count_lines(const char *s, size_t n)
{
    size_t lines = 0;
    for (size_t at = 0; at < n; at += line_bytes(s + at, n - at) + 1)
        lines++;
    return (uint32_t)NB_MIN(lines, (size_t)NB_TEXT_MAX_IDS + 1);
}

/* Types and ids of the special tokens. */
static void note_special(struct nb_vocab *v, int32_t *types, int32_t id, struct nb_text t)
{
    static const struct {
        const char *text;
        size_t offset; /* of an int32_t in struct nb_vocab */
    } specials[] = {{"[CLS]", offsetof(struct nb_vocab, bos)},
                    {"[SEP]", offsetof(struct nb_vocab, sep)},
                    {"[UNK]", offsetof(struct nb_vocab, unk)},
                    {"[PAD]", offsetof(struct nb_vocab, pad)},
                    {"[MASK]", offsetof(struct nb_vocab, mask)}};
    for (size_t i = 0; i < NB_COUNTOF(specials); i++) {
        if (t.n != strlen(specials[i].text) || memcmp(t.s, specials[i].text, t.n) != 0)
            continue;
        memcpy((char *)v + specials[i].offset, &id, sizeof id);
        types[id] = nb_str_eq(specials[i].text, "[UNK]") ? NB_TOKEN_UNKNOWN : NB_TOKEN_CONTROL;
    }
}

static enum nb_status read_flags(struct nb_vocab *v, const nb_json *config, struct nb_error *err)
{
    const nb_json *lower = nb_json_get(config, "do_lower_case");
    const nb_json *accents = nb_json_get(config, "strip_accents");
    if (!nb_json_absent(lower) && !nb_json_bool(lower, &v->lowercase))
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer_config.json: do_lower_case: expected true or false");
    v->strip_accents = v->lowercase;
    if (!nb_json_absent(accents) && !nb_json_bool(accents, &v->strip_accents))
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer_config.json: strip_accents: expected true or false");
    return NB_OK;
}

static enum nb_status fill(struct nb_tokenizer **out, struct nb_text text, const nb_json *config,
                           struct nb_arena *arena, struct nb_error *err)
{
    struct nb_vocab v;
    nb_vocab_init(&v, NB_VOCAB_WORDPIECE, NULL);
    v.bos = v.sep = v.unk = v.pad = v.mask = -1;
    v.n = count_lines(text.s, text.n);
    if (v.n == 0 || v.n > NB_TEXT_MAX_IDS)
        NB_FAIL(err, NB_ERR_FORMAT, "vocab.txt: %u lines, expected 1 to %u", (unsigned)v.n,
                NB_TEXT_MAX_IDS);
    struct nb_text *tokens = nb_arena_alloc(arena, v.n, sizeof(*tokens));
    int32_t *types = nb_arena_alloc(arena, v.n, sizeof(*types));
    if (tokens == NULL || types == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "vocab.txt: out of memory");
    size_t at = 0;
    for (uint32_t i = 0; i < v.n; i++) {
        const size_t n = line_bytes(text.s + at, text.n - at);
        tokens[i] = (struct nb_text){text.s + at, n};
        if (n > 0 && text.s[at + n - 1] == '\r')
            tokens[i].n--;
        types[i] = NB_TOKEN_NORMAL;
        note_special(&v, types, (int32_t)i, tokens[i]);
        at += n + 1;
    }
    v.tokens = tokens;
    v.types = types;
    NB_TRY(read_flags(&v, config, err));
    v.add_bos = v.bos >= 0;
    v.add_eos = v.sep >= 0;
    return nb_tokenizer_from_vocab(out, &v, arena->a, err);
}

enum nb_status nb_tokenizer_from_word_list(struct nb_tokenizer **out, struct nb_text text,
                                           struct nb_text config_text, const struct nb_allocator *a,
                                           struct nb_error *err)
{
    struct nb_arena arena;
    nb_json *config = NULL;
    enum nb_status st = NB_OK;
    *out = NULL;
    nb_arena_init(&arena, a, 65536);
    if (config_text.s != NULL)
        st = nb_json_parse(&config, config_text.s, config_text.n, "tokenizer_config.json", err);
    if (st == NB_OK)
        st = fill(out, text, config, &arena, err);
    nb_json_free(config);
    nb_arena_fini(&arena);
    return st;
}
