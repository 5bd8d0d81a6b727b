/* text/text.h: text to token ids and back.
 *
 * Four kinds of vocabulary: byte-level BPE (GPT-2, Llama-3, Qwen2 and relatives), SentencePiece-BPE
 * with byte fallback (Llama-2, Mistral, Phi-3, Gemma), Unigram (T5, XLM-R) and WordPiece (BERT). Each comes from a Hugging Face tokenizer.json
 * or from a plain `struct nb_vocab`, which the dialect room fills from GGUF metadata; every tokenizer
 * can describe itself as a `struct nb_vocab` and write itself as a tokenizer.json.
 *
 * Ids equal those of Hugging Face `tokenizers`. Text given as bytes that are not UTF-8 is read as if
 * each maximal invalid subpart were U+FFFD (Python: bytes.decode("utf-8", "replace")).
 * A tokenizer is immutable: any number of threads may use one.
 */
#ifndef NB_TEXT_TEXT_H
#define NB_TEXT_TEXT_H

#include "base/base.h"

/* ---- what a vocabulary is ---- */
enum nb_vocab_kind {
    NB_VOCAB_BPE =
        1, /* byte-level: token texts in the GPT-2 alphabet ("Ġthe"); GGUF model "gpt2" */
    NB_VOCAB_SPM = 2, /* SentencePiece-BPE: "▁the", bytes as "<0x0A>"; GGUF model "llama"        */
    NB_VOCAB_UNIGRAM = 3, /* SentencePiece's unigram model: "▁the" with scores; GGUF model "t5"  */
    NB_VOCAB_WORDPIECE = 4 /* "the", "##ing" inside a word; GGUF model "bert" spells it otherwise */
};

enum nb_token_type { /* the values of tokenizer.ggml.token_type */
                     NB_TOKEN_NORMAL = 1,
                     NB_TOKEN_UNKNOWN = 2,
                     NB_TOKEN_CONTROL =
                         3, /* special: matched in text only with NB_ENCODE_SPECIAL, skipped on decoding */
                     NB_TOKEN_USER = 4, /* added, not special: always matched in text */
                     NB_TOKEN_UNUSED = 5,
                     NB_TOKEN_BYTE = 6
};

enum nb_token_flags {                      /* of added tokens; GGUF has no key for them */
                      NB_TOKEN_LSTRIP = 1, /* eats white space before it */
                      NB_TOKEN_RSTRIP = 2, /* eats white space behind it */
                      NB_TOKEN_NORMALIZED =
                          4, /* looked for in normalized text, not in the raw one */
                      NB_TOKEN_SINGLE_WORD = 8 /* matches only between non-word characters */
};

/* A plain description. Borrows everything: a caller that fills one keeps its arrays until
 * nb_tokenizer_from_vocab returns; one that comes from a tokenizer lives as long as the tokenizer.
 * Start with nb_vocab_init. */
struct nb_vocab {
    enum nb_vocab_kind kind;
    uint32_t n;                   /* tokens; ids are 0..n-1 */
    const struct nb_text *tokens; /* (n) no duplicates but among unused ones */
    const int32_t *types;         /* (n) enum nb_token_type, or NULL: all normal */
    const float *scores;          /* (n) or NULL; SPM merges by them when there are no merges;
                                     Unigram needs them */
    const uint8_t *flags;         /* (n) enum nb_token_flags, or NULL: none */
    const struct nb_text *merges; /* (n_merges) "left right", cut at the first space after byte 0 */
    size_t n_merges;
    const char *pre; /* BPE: as tokenizer.ggml.pre: "gpt-2", "llama-bpe", "qwen2"…;
                                     NULL: a pattern without a known name (GGUF cannot hold it);
                                     Unigram, WordPiece: NULL where GGUF cannot hold the pipeline */
    int32_t bos, eos, eot, unk, pad; /* ids; -1: none. WordPiece: bos is [CLS] */
    int32_t sep, mask;               /* [SEP], which ends a text of WordPiece; [MASK] */
    bool add_bos, add_eos;           /* WordPiece: add_eos adds sep */
    bool add_space_prefix;           /* SPM: ▁ before the text and behind each added token */
    bool space_prefix_first_only;    /* ▁ before the text only (Metaspace "first"; no GGUF key) */
    bool ignore_merges;              /* a word that is a token needs no merges */
    bool remove_extra_whitespaces;   /* Unigram: runs of white space are one space */
    bool byte_fallback;              /* Unigram: unknown characters as bytes, if all are tokens */
    bool lowercase, strip_accents;   /* WordPiece: as BertNormalizer does it */
    struct nb_text charsmap;      /* Unigram: SentencePiece's precompiled_charsmap; n == 0: none */
    struct nb_text chat_template; /* Jinja source; s == NULL: none */
};

/* All empty, with the values that a GGUF loader assumes when a key is absent (SPM: bos 1, eos 2,
 * unk 0, add_bos, space prefix; BPE: what `pre` implies; Unigram: eos 1, unk 2, pad 0; WordPiece: the ids
 * of BERT). pre may be NULL. */
void nb_vocab_init(struct nb_vocab *v, enum nb_vocab_kind kind, const char *pre);
bool nb_pretokenizer_known(const char *pre); /* a name that nb_tokenizer_from_vocab understands */

/* ---- making one ---- */
struct nb_tokenizer;

/* text: tokenizer.json. config: tokenizer_config.json (bos, eos, pad, add_bos, chat template), or NULL.
 * What nibble cannot do is refused by name: NB_ERR_UNSUPPORTED; what is malformed: NB_ERR_FORMAT. */
NB_CHECKED enum nb_status nb_tokenizer_from_json(struct nb_tokenizer **out, const char *text,
                                                 size_t n, const char *config, size_t n_config,
                                                 const struct nb_allocator *a,
                                                 struct nb_error *err);
/* tokenizer.model of SentencePiece, and beside it tokenizer_config.json and added_tokens.json, which may be
 * absent (s == NULL). */
struct nb_spm_files {
    struct nb_text model, config, added;
};
NB_CHECKED enum nb_status nb_tokenizer_from_spm(struct nb_tokenizer **out,
                                                const struct nb_spm_files *files,
                                                const struct nb_allocator *a, struct nb_error *err);
/* vocab.txt of BERT; config: tokenizer_config.json, or s == NULL. */
NB_CHECKED enum nb_status nb_tokenizer_from_word_list(struct nb_tokenizer **out,
                                                      struct nb_text text, struct nb_text config,
                                                      const struct nb_allocator *a,
                                                      struct nb_error *err);
/* Copies all it needs. */
NB_CHECKED enum nb_status nb_tokenizer_from_vocab(struct nb_tokenizer **out,
                                                  const struct nb_vocab *v,
                                                  const struct nb_allocator *a,
                                                  struct nb_error *err);
void nb_tokenizer_destroy(struct nb_tokenizer *tok); /* NULL is fine */

/* Complete enough to write GGUF. Holes in the ids are "[PAD<id>]", unused; scores are always there
 * for SPM (minus the rank of the merge where the source had merges) and Unigram. */
const struct nb_vocab *nb_tokenizer_vocab(const struct nb_tokenizer *tok);
/* A tokenizer.json that Hugging Face tokenizers loads with the same ids. From a score-driven vocabulary
 * the merges are every split of every token, in order of score. */
NB_CHECKED enum nb_status nb_tokenizer_write_json(const struct nb_tokenizer *tok,
                                                  struct nb_str *out, struct nb_error *err);

/* ---- using one ---- */
/* Owns: data. A growing array of ids. */
struct nb_ids {
    const struct nb_allocator *a;
    int32_t *data; /* (n) */
    size_t n, cap;
};
void nb_ids_init(struct nb_ids *ids, const struct nb_allocator *a);
void nb_ids_fini(struct nb_ids *ids);
NB_CHECKED enum nb_status nb_ids_push(struct nb_ids *ids, int32_t id, struct nb_error *err);

enum nb_encode_flags {
    NB_ENCODE_SPECIAL = 1, /* control tokens written in the text become their ids */
    NB_ENCODE_ADD = 2      /* add bos and eos as the model wants them */
};
/* Appends to ids; on failure ids is as it was. */
NB_CHECKED enum nb_status nb_tokenizer_encode(const struct nb_tokenizer *tok, struct nb_ids *ids,
                                              const char *text, size_t n, unsigned flags,
                                              struct nb_error *err);

enum nb_decode_flags { NB_DECODE_SKIP_SPECIAL = 1 };
/* Appends valid UTF-8; broken bytes become U+FFFD as Hugging Face does it. Ids without a token are
 * left out. Fails for lack of memory only. */
NB_CHECKED enum nb_status nb_tokenizer_decode(const struct nb_tokenizer *tok, struct nb_str *out,
                                              const int32_t *ids, size_t n, unsigned flags,
                                              struct nb_error *err);

uint32_t nb_tokenizer_n_vocab(const struct nb_tokenizer *tok);        /* highest id + 1 */
bool nb_tokenizer_is_eog(const struct nb_tokenizer *tok, int32_t id); /* generation ends here */
bool nb_tokenizer_is_special(const struct nb_tokenizer *tok, int32_t id);
/* -1: no token has exactly this text (its own spelling: "Ġthe", "<|eot_id|>"). */
int32_t nb_tokenizer_find(const struct nb_tokenizer *tok, const char *text, size_t n);
/* The raw bytes that a token stands for (" the", half a character…), borrowed from the tokenizer;
 * n == 0 for an id without a token. The leading space of a text is not dropped here. */
struct nb_text nb_tokenizer_piece(const struct nb_tokenizer *tok, int32_t id);

/* ---- streaming ----
 * Whole characters come out as soon as they are complete. The sum of all pushes and the flush is what
 * nb_tokenizer_decode gives (but where byte tokens of SPM do not make UTF-8: decode turns every byte of
 * such a run into U+FFFD, a stream keeps the characters that were complete). Caller's storage; copy to
 * fork. Borrows: tok. */
struct nb_detok {
    const struct nb_tokenizer *tok;
    unsigned flags; /* enum nb_decode_flags */
    bool started;   /* a token has been seen: a leading space is text from now on */
    uint8_t n_held; /* bytes of an incomplete character */
    char held[8];
};
void nb_detok_init(struct nb_detok *d, const struct nb_tokenizer *tok, unsigned flags);
/* Marks the start as passed: for a stream that continues a prompt, where a leading space is text. */
void nb_detok_continue(struct nb_detok *d);
void nb_detok_push(struct nb_detok *d, struct nb_str *out, int32_t id); /* appends to out */
void nb_detok_flush(struct nb_detok *d, struct nb_str *out);            /* the rest as U+FFFD */

/* ---- patterns: a user's regular expression (PCRE2) over short names ---- */
struct nb_pattern;
NB_CHECKED enum nb_status nb_pattern_create(struct nb_pattern **out, const char *pattern, size_t n,
                                            const struct nb_allocator *a, struct nb_error *err);
void nb_pattern_destroy(struct nb_pattern *p); /* NULL is fine */
/* Does it match anywhere in text (UTF-8)? Not for two threads at once. */
NB_CHECKED enum nb_status nb_pattern_search(const struct nb_pattern *p, const char *text, size_t n,
                                            bool *found, struct nb_error *err);

/* ---- bytes ---- */
/* Appends text with each maximal invalid subpart replaced by U+FFFD. */
void nb_utf8_sanitize(struct nb_str *out, const char *text, size_t n);

#endif
