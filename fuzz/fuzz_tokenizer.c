/* fuzz/fuzz_tokenizer.c: any bytes as a tokenizer.json, then, behind a zero byte, a
 * tokenizer_config.json; as a tokenizer.model if they begin with a field of one. What loads encodes and decodes texts, streams them, describes itself as a plain
 * vocabulary and as a tokenizer.json, and both give a tokenizer again. */
#include <stdlib.h>
#include <string.h>

#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TAIL_BYTES 256 /* of the input, encoded as text */

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof literal - 1                                                                \
    }
static const struct nb_text samples[] = {
    TEXT(""),
    TEXT("Hello world, it's 12345 o'clock.\n\n  fine  "),
    TEXT("\xc3\xa9t\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80 \xff\xc3"),
    TEXT("<|endoftext|><s>[INST] a</s><unk>\xe2\x96\x81"),
};

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* The ids, one by one, against all at once. */
static void stream(const struct nb_tokenizer *tok, const struct nb_ids *ids)
{
    struct nb_str text;
    struct nb_detok d;
    nb_str_init(&text, NULL);
    nb_detok_init(&d, tok, 0);
    for (size_t i = 0; i < ids->n; i++)
        nb_detok_push(&d, &text, ids->data[i]);
    nb_detok_flush(&d, &text);
    nb_str_fini(&text);
}

static void walk_text(const struct nb_tokenizer *tok, struct nb_text t, unsigned flags)
{
    struct nb_ids ids;
    struct nb_str text;
    struct nb_error err = {0};
    nb_ids_init(&ids, NULL);
    nb_str_init(&text, NULL);
    if (nb_tokenizer_encode(tok, &ids, t.s, t.n, flags, &err) == NB_OK) {
        for (size_t i = 0; i < ids.n; i++) {
            require(ids.data[i] >= 0 && (uint32_t)ids.data[i] < nb_tokenizer_n_vocab(tok));
            (void)nb_tokenizer_piece(tok, ids.data[i]);
            (void)nb_tokenizer_is_eog(tok, ids.data[i]);
        }
        require(nb_tokenizer_decode(tok, &text, ids.data, ids.n, flags & 1, &err) == NB_OK);
        stream(tok, &ids);
    } else {
        require(ids.n == 0 && err.message[0] != '\0');
    }
    for (size_t i = 0; i < text.len;) { /* what comes out is UTF-8 */
        uint32_t cp;
        const size_t n = nb_utf8_next(text.data + i, text.len - i, &cp);
        require(n > 0);
        i += n;
    }
    nb_str_fini(&text);
    nb_ids_fini(&ids);
}

static void walk(const struct nb_tokenizer *tok, struct nb_text tail)
{
    static const int32_t ids[] = {0, 1, 5, -1, INT32_MAX, INT32_MIN, 3};
    struct nb_str text;
    struct nb_error err = {0};
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        walk_text(tok, samples[i], i % 2 == 0 ? 0 : NB_ENCODE_SPECIAL | NB_ENCODE_ADD);
    walk_text(tok, tail, NB_ENCODE_SPECIAL);
    nb_str_init(&text, NULL);
    require(nb_tokenizer_decode(tok, &text, ids, NB_COUNTOF(ids), 0, &err) == NB_OK);
    nb_str_fini(&text);
}

/* Out as a vocabulary and as JSON, and in again. Not every tokenizer can be written; none may break. */
static void copies(const struct nb_tokenizer *tok, struct nb_text tail)
{
    struct nb_tokenizer *again;
    struct nb_str json;
    struct nb_error err = {0};
    if (nb_tokenizer_from_vocab(&again, nb_tokenizer_vocab(tok), NULL, &err) == NB_OK) {
        walk(again, tail);
        nb_tokenizer_destroy(again);
    }
    nb_str_init(&json, NULL);
    if (nb_tokenizer_write_json(tok, &json, &err) == NB_OK &&
        nb_tokenizer_from_json(&again, json.data, json.len, NULL, 0, NULL, &err) == NB_OK) {
        walk(again, tail);
        nb_tokenizer_destroy(again);
    }
    nb_str_fini(&json);
}

/* Pieces, trainer or normalizer first; no JSON text begins so. */
static bool is_spm(const uint8_t *data, size_t size)
{
    return size > 1 && (data[0] == 0x0a || data[0] == 0x12 || data[0] == 0x1a) && data[1] != '{';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nb_tokenizer *tok;
    struct nb_error err = {0};
    const char *text = (const char *)data;
    const char *zero = size == 0 ? NULL : memchr(text, 0, size);
    const size_t n = zero == NULL ? size : (size_t)(zero - text);
    const char *config = zero == NULL ? NULL : zero + 1;
    const struct nb_text tail = {text + (size > TAIL_BYTES ? size - TAIL_BYTES : 0),
                                 NB_MIN(size, (size_t)TAIL_BYTES)};
    const struct nb_spm_files files = {{text, size}, {NULL, 0}, {NULL, 0}};
    const enum nb_status st =
        is_spm(data, size) ? nb_tokenizer_from_spm(&tok, &files, NULL, &err)
                           : nb_tokenizer_from_json(&tok, text, n, config,
                                                    config == NULL ? 0 : size - n - 1, NULL, &err);
    if (st != NB_OK) {
        require(err.status == st && err.message[0] != '\0');
        return 0;
    }
    walk(tok, tail);
    copies(tok, tail);
    nb_tokenizer_destroy(tok);
    return 0;
}
