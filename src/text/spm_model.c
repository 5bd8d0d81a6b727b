/* text/spm_model.c: tokenizer.model, SentencePiece's own file: a protocol buffer (sentencepiece_model.proto)
 * of pieces with scores and types, what trained them, and how text is normalized.
 *
 * Made into a plain description with what tokenizer_config.json and added_tokens.json add to it. Of the
 * proto only the fields below are read; unknown ones are passed over. Left out: models of words and of
 * characters, white space as a suffix, unescaped white space.
 */
#include "text/json_internal.h"

#include <string.h>

/* ---- protocol buffers: a message is a row of (field, value) ---- */
struct field {
    uint32_t number;
    uint64_t value;       /* of a varint or a 32-bit field */
    struct nb_text bytes; /* of a string, bytes or a message */
};

struct message {
    struct nb_text rest;
};

static bool varint(struct message *m, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && m->rest.n > 0; shift += 7) {
        const uint8_t b = (uint8_t)*m->rest.s++;
        m->rest.n--;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool take(struct message *m, uint64_t n, struct nb_text *out)
{
    if (n > m->rest.n)
        return false;
    *out = (struct nb_text){m->rest.s, (size_t)n};
    m->rest.s += n;
    m->rest.n -= (size_t)n;
    return true;
}

/* The next field. *more = false at the end. */
static enum nb_status next(struct message *m, struct field *f, bool *more, struct nb_error *err)
{
    uint64_t tag = 0, n = 0;
    *f = (struct field){0, 0, {NULL, 0}};
    *more = m->rest.n > 0;
    if (!*more)
        return NB_OK;
    bool ok = varint(m, &tag);
    f->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case 0:
        ok = ok && varint(m, &f->value);
        break;
    case 1:
        ok = ok && take(m, 8, &f->bytes);
        break;
    case 2:
        ok = ok && varint(m, &n) && take(m, n, &f->bytes);
        break;
    case 5:
        ok = ok && take(m, 4, &f->bytes);
        if (ok)
            f->value = nb_load_u32(f->bytes.s);
        break;
    default:
        ok = false;
    }
    if (!ok || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.model: no valid protocol buffer (field %u)",
                (unsigned)f->number);
    return NB_OK;
}

/* ---- the model ---- */
enum { /* fields of the proto, and values of model_type */
       MODEL_PIECES = 1,
       MODEL_TRAINER = 2,
       MODEL_NORMALIZER = 3,
       PIECE_TEXT = 1,
       PIECE_SCORE = 2,
       PIECE_TYPE = 3,
       TRAINER_TYPE = 3,
       TRAINER_SUFFIX = 24,
       TRAINER_BYTES = 35,
       TRAINER_UNK = 40,
       TRAINER_BOS = 41,
       TRAINER_EOS = 42,
       TRAINER_PAD = 43,
       NORMALIZER_MAP = 2,
       NORMALIZER_PREFIX = 3,
       NORMALIZER_SQUEEZE = 4,
       NORMALIZER_ESCAPE = 5,
       TYPE_UNIGRAM = 1,
       TYPE_BPE = 2
};

/* Owns: arena. The description while it grows; arrays have room for v.n tokens. */
struct reader {
    struct nb_arena arena;
    struct nb_vocab v;
    struct nb_text *tokens;
    int32_t *types;
    float *scores;
    uint8_t *flags;
    uint32_t n_pieces;
    uint64_t type;
    bool suffix, escape;
    struct nb_error *err;
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "tokenizer.model: out of memory");
}

static enum nb_status read_trainer(struct reader *r, struct nb_text bytes)
{
    struct message m = {bytes};
    struct field f;
    bool more;
    for (;;) {
        NB_TRY(next(&m, &f, &more, r->err));
        if (!more)
            return NB_OK;
        const int32_t id = f.value < NB_TEXT_MAX_IDS ? (int32_t)f.value : -1; /* -1: none */
        if (f.number == TRAINER_TYPE)
            r->type = f.value;
        else if (f.number == TRAINER_SUFFIX)
            r->suffix = f.value != 0;
        else if (f.number == TRAINER_BYTES)
            r->v.byte_fallback = f.value != 0;
        else if (f.number == TRAINER_UNK)
            r->v.unk = id;
        else if (f.number == TRAINER_BOS)
            r->v.bos = id;
        else if (f.number == TRAINER_EOS)
            r->v.eos = id;
        else if (f.number == TRAINER_PAD)
            r->v.pad = id;
    }
}

static enum nb_status read_normalizer(struct reader *r, struct nb_text bytes)
{
    struct message m = {bytes};
    struct field f;
    bool more;
    for (;;) {
        NB_TRY(next(&m, &f, &more, r->err));
        if (!more)
            return NB_OK;
        if (f.number == NORMALIZER_MAP)
            r->v.charsmap = f.bytes;
        else if (f.number == NORMALIZER_PREFIX)
            r->v.add_space_prefix = f.value != 0;
        else if (f.number == NORMALIZER_SQUEEZE)
            r->v.remove_extra_whitespaces = f.value != 0;
        else if (f.number == NORMALIZER_ESCAPE)
            r->escape = f.value != 0;
    }
}

/* Everything but the pieces, which are counted. */
static enum nb_status read_specs(struct reader *r, struct nb_text model)
{
    struct message m = {model};
    struct field f;
    bool more;
    r->type = TYPE_UNIGRAM;
    r->escape = true;
    r->v = (struct nb_vocab){.unk = 0,
                             .bos = 1,
                             .eos = 2,
                             .eot = -1,
                             .pad = -1,
                             .sep = -1,
                             .mask = -1,
                             .add_space_prefix = true,
                             .remove_extra_whitespaces = true};
    for (;;) {
        NB_TRY(next(&m, &f, &more, r->err));
        if (!more)
            break;
        if (f.number == MODEL_PIECES)
            r->n_pieces++; /* each takes two bytes at least: no overflow below 8 GiB */
        else if (f.number == MODEL_TRAINER)
            NB_TRY(read_trainer(r, f.bytes));
        else if (f.number == MODEL_NORMALIZER)
            NB_TRY(read_normalizer(r, f.bytes));
    }
    if (r->type != TYPE_UNIGRAM && r->type != TYPE_BPE)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "tokenizer.model: model type %llu is not supported, Unigram (1) and BPE (2) are",
                (unsigned long long)r->type);
    if (r->suffix || !r->escape)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED, "tokenizer.model: %s is not supported",
                r->suffix ? "white space as a suffix" : "white space that is not escaped");
    if (r->n_pieces == 0 || r->n_pieces > NB_TEXT_MAX_IDS)
        NB_FAIL(r->err, NB_ERR_FORMAT, "tokenizer.model: %u pieces, expected 1 to %u",
                (unsigned)r->n_pieces, NB_TEXT_MAX_IDS);
    r->v.kind = r->type == TYPE_BPE ? NB_VOCAB_SPM : NB_VOCAB_UNIGRAM;
    r->v.add_bos = r->v.kind == NB_VOCAB_SPM;
    r->v.add_eos = !r->v.add_bos;
    return NB_OK;
}

static enum nb_status read_piece(struct reader *r, uint32_t i, struct nb_text bytes)
{
    struct message m = {bytes};
    struct field f;
    bool more;
    r->types[i] = NB_TOKEN_NORMAL;
    for (;;) {
        NB_TRY(next(&m, &f, &more, r->err));
        if (!more)
            return NB_OK;
        if (f.number == PIECE_TEXT)
            r->tokens[i] = f.bytes;
        else if (f.number == PIECE_SCORE)
            memcpy(&r->scores[i], &(uint32_t){(uint32_t)f.value}, sizeof(float));
        else if (f.number == PIECE_TYPE)
            r->types[i] =
                f.value >= NB_TOKEN_NORMAL && f.value <= NB_TOKEN_BYTE ? (int32_t)f.value : 0;
        if (r->types[i] == 0)
            NB_FAIL(r->err, NB_ERR_FORMAT, "tokenizer.model: piece %u has type %llu", (unsigned)i,
                    (unsigned long long)f.value);
    }
}

static enum nb_status read_pieces(struct reader *r, struct nb_text model)
{
    struct message m = {model};
    struct field f;
    bool more = true;
    r->tokens = nb_arena_alloc(&r->arena, r->v.n, sizeof(*r->tokens));
    r->types = nb_arena_alloc(&r->arena, r->v.n, sizeof(*r->types));
    r->scores = nb_arena_alloc(&r->arena, r->v.n, sizeof(*r->scores));
    r->flags = nb_arena_alloc(&r->arena, r->v.n, sizeof(*r->flags));
    if (r->tokens == NULL || r->types == NULL || r->scores == NULL || r->flags == NULL)
        return no_memory(r->err);
    for (uint32_t i = 0; i < r->v.n; i++)
        r->types[i] = NB_TOKEN_UNUSED;
    for (uint32_t i = 0; i < r->n_pieces && more;) {
        NB_TRY(next(&m, &f, &more, r->err));
        if (f.number == MODEL_PIECES)
            NB_TRY(read_piece(r, i++, f.bytes));
    }
    return NB_OK;
}

/* ---- what the other files add ---- */
struct addition {
    int64_t id;
    struct nb_text text;
    bool special;
    uint8_t flags;
};

static enum nb_status flag_of(uint8_t *flags, enum nb_token_flags flag, const nb_json *v,
                              const char *key, struct nb_error *err)
{
    bool on;
    NB_TRY(nb_json_flag(&on, v, key, err));
    *flags = (uint8_t)(*flags | (on ? (unsigned)flag : 0u));
    return NB_OK;
}

/* "32000": {"content": "<|x|>", "special": true}, or "<|x|>": 32000. */
static enum nb_status read_addition(struct addition *a, void *it, struct nb_error *err)
{
    const nb_json *v = nb_json_value(it);
    size_t n;
    const char *key = nb_json_key(it, &n);
    *a = (struct addition){.text = {key, n}, .special = true};
    if (nb_json_type(v) != NB_JSON_OBJECT)
        return nb_json_token_id(v, &a->id, key, n, err);
    a->text.s = nb_json_string(nb_json_get(v, "content"), &a->text.n);
    if (a->text.s == NULL || !nb_parse_i64(key, &a->id) || a->id < 0 ||
        a->id >= (int64_t)NB_TEXT_MAX_IDS)
        NB_FAIL(err, NB_ERR_FORMAT, "added_tokens_decoder: expected an id and a content");
    NB_TRY(nb_json_flag(&a->special, v, "special", err));
    NB_TRY(flag_of(&a->flags, NB_TOKEN_LSTRIP, v, "lstrip", err));
    NB_TRY(flag_of(&a->flags, NB_TOKEN_RSTRIP, v, "rstrip", err));
    NB_TRY(flag_of(&a->flags, NB_TOKEN_NORMALIZED, v, "normalized", err));
    return flag_of(&a->flags, NB_TOKEN_SINGLE_WORD, v, "single_word", err);
}

/* apply == false: only makes room. */
static enum nb_status each_addition(struct reader *r, const nb_json *object, bool apply)
{
    struct addition a;
    for (void *it = nb_json_iter(object); it != NULL; it = nb_json_next(object, it)) {
        NB_TRY(read_addition(&a, it, r->err));
        if (!apply) {
            if (a.id >= (int64_t)r->n_pieces + 65536) /* mostly holes: an attack */
                NB_FAIL(r->err, NB_ERR_FORMAT, "added token %lld, but there are only %u pieces",
                        (long long)a.id, (unsigned)r->n_pieces);
            r->v.n = NB_MAX(r->v.n, (uint32_t)a.id + 1);
            continue;
        }
        if (r->types[a.id] == NB_TOKEN_UNKNOWN) /* stays what it is */
            continue;
        r->tokens[a.id] = a.text;
        r->types[a.id] = a.special ? NB_TOKEN_CONTROL : NB_TOKEN_USER;
        r->flags[a.id] = a.flags;
    }
    return NB_OK;
}

static enum nb_status find_token(struct reader *r, int32_t *id, const nb_json *config,
                                 const char *key)
{
    const nb_json *v = nb_json_get(config, key);
    char name[60];
    size_t n;
    if (nb_json_type(v) == NB_JSON_OBJECT)
        v = nb_json_get(v, "content");
    const char *s = nb_json_string(v, &n);
    if (s == NULL)
        return NB_OK;
    for (uint32_t i = 0; i < r->v.n; i++)
        if (r->tokens[i].n == n && memcmp(r->tokens[i].s, s, n) == 0) {
            *id = (int32_t)i;
            return NB_OK;
        }
    NB_FAIL(r->err, NB_ERR_FORMAT,
            "tokenizer_config.json: %s is '%s', which is not in the vocabulary", key,
            nb_printable(name, sizeof(name), s, n));
}

static enum nb_status read_config(struct reader *r, const nb_json *config)
{
    struct nb_vocab *v = &r->v;
    bool legacy = true;
    NB_TRY(find_token(r, &v->bos, config, "bos_token"));
    NB_TRY(find_token(r, &v->eos, config, "eos_token"));
    NB_TRY(find_token(r, &v->pad, config, "pad_token"));
    NB_TRY(find_token(r, &v->unk, config, "unk_token"));
    (void)nb_json_bool(nb_json_get(config, "add_bos_token"), &v->add_bos);
    (void)nb_json_bool(nb_json_get(config, "add_eos_token"), &v->add_eos);
    (void)nb_json_bool(nb_json_get(config, "add_prefix_space"), &v->add_space_prefix);
    (void)nb_json_bool(nb_json_get(config, "legacy"), &legacy);
    v->space_prefix_first_only = !legacy;
    const nb_json *chat = nb_json_get(config, "chat_template");
    v->chat_template.s = nb_json_string(chat, &v->chat_template.n);
    return NB_OK;
}

static enum nb_status fill(struct reader *r, struct nb_text model, const nb_json *config,
                           const nb_json *added)
{
    const nb_json *decoder = nb_json_get(config, "added_tokens_decoder");
    NB_TRY(read_specs(r, model));
    r->v.n = r->n_pieces;
    NB_TRY(each_addition(r, added, false));
    NB_TRY(each_addition(r, decoder, false));
    NB_TRY(read_pieces(r, model));
    NB_TRY(each_addition(r, added, true));
    NB_TRY(each_addition(r, decoder, true));
    NB_TRY(read_config(r, config));
    r->v.tokens = r->tokens;
    r->v.types = r->types;
    r->v.scores = r->scores;
    r->v.flags = r->flags;
    r->v.add_bos = r->v.add_bos && r->v.bos >= 0;
    r->v.add_eos = r->v.add_eos && r->v.eos >= 0;
    return NB_OK;
}

enum nb_status nb_tokenizer_from_spm(struct nb_tokenizer **out, const struct nb_spm_files *files,
                                     const struct nb_allocator *a, struct nb_error *err)
{
    struct reader r = {.err = err};
    nb_json *config = NULL, *added = NULL;
    enum nb_status st;
    *out = NULL;
    nb_arena_init(&r.arena, a, 65536);
    if (files->config.s != NULL)
        NB_TRY_TO(done, nb_json_parse(&config, files->config.s, files->config.n,
                                      "tokenizer_config.json", err));
    if (files->added.s != NULL)
        NB_TRY_TO(done,
                  nb_json_parse(&added, files->added.s, files->added.n, "added_tokens.json", err));
    NB_TRY_TO(done, fill(&r, files->model, config, added));
    st = nb_tokenizer_from_vocab(out, &r.v, a, err);
done:
    nb_json_free(config);
    nb_json_free(added);
    nb_arena_fini(&r.arena);
    return st;
}
