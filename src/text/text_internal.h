/* text/text_internal.h: the parts of a tokenizer, for this room alone.
 *
 * A tokenizer is a vocabulary (tokens, pair table) and a pipeline: normalizer steps, pre-tokenizer
 * steps, BPE, ids around the text, decoder. Both sources (tokenizer.json, nb_vocab) fill in the same
 * two things; what runs does not know where they came from.
 */
#ifndef NB_TEXT_INTERNAL_H
#define NB_TEXT_INTERNAL_H

#include "text/text.h"

#define NB_TEXT_MAX_STEPS       8          /* of a normalizer or pre-tokenizer sequence */
#define NB_TEXT_MAX_AFFIX       8          /* ids that a template puts before or behind a text */
#define NB_TEXT_MAX_IDS         (1u << 24) /* tokens of a vocabulary */
#define NB_TEXT_MAX_ADDED_BYTES 1024u /* of one added token: bounds the matcher's work per byte */
#define NB_TEXT_MAX_BYTES       (1u << 30) /* of a text in one call: positions are 32 bits wide */
#define NB_TEXT_WORDPIECE_CHARS 100u       /* of the longest word that BERT cuts */
#define NB_TEXT_NONE            UINT32_MAX

#define NB_TEXT_LIT_INIT(s)                                                                        \
    {                                                                                              \
        (s), sizeof(s) - 1                                                                         \
    }
#define NB_TEXT_LIT(s)     ((struct nb_text)NB_TEXT_LIT_INIT(s))
#define NB_TEXT_SPACE_MARK "\xe2\x96\x81" /* U+2581, SentencePiece's visible space */

/* ---- utf8.c ---- */
enum nb_utf8_kind {
    NB_UTF8_OK,
    NB_UTF8_BAD, /* the length is that of the maximal subpart (Unicode 15, 3.9, table 3-8) */
    NB_UTF8_CUT  /* right so far, but the text ends */
};
size_t nb_utf8_step(const char *s, size_t n, enum nb_utf8_kind *kind); /* n > 0; returns 1..4 */
/* Appends s to out, broken parts as U+FFFD; an unfinished character at the end waits in held. */
void nb_utf8_feed(struct nb_str *out, char *held, uint8_t *n_held, const char *s, size_t n);
size_t nb_utf8_valid_prefix(const char *s, size_t n); /* bytes before the first broken one */
/* Cuts one character off valid UTF-8. */
uint32_t nb_utf8_take(const char *s, size_t n, size_t *len);
extern const struct nb_text nb_utf8_replacement;

/* ---- byte_level.c: the 256 characters of GPT-2's byte alphabet ---- */
uint32_t nb_byte_to_char(uint8_t b);
int nb_char_to_byte(uint32_t cp); /* -1: not in the alphabet */
/* The bytes that a token text stands for; dst has room for n. false: some character is foreign. */
bool nb_byte_level_decode(char *dst, size_t *n_dst, const char *s, size_t n);

/* ---- unicode.c: utf8proc ---- */
bool nb_uc_in_gap(
    uint32_t cp); /* a code point whose class differs between PCRE2 and Hugging Face */
bool nb_uc_is_space(uint32_t cp); /* White_Space */
bool nb_uc_is_word(uint32_t cp);  /* \w of a Unicode regex */
/* A normal form of valid UTF-8: 0 is NFD. *out borrows s (when nothing changes) or the arena. */
enum nb_uc_form { NB_UC_COMPOSE = 1, NB_UC_COMPAT = 2 };
NB_CHECKED enum nb_status nb_uc_normal(struct nb_text *out, struct nb_text s, unsigned form,
                                       struct nb_arena *arena, struct nb_error *err);
struct nb_uc_gap {
    uint32_t first, last;
    char category[3];
};
extern const struct nb_uc_gap nb_uc_gaps[]; /* ends with first == 0 */

/* ---- unicode_class.c: classes of Hugging Face's normalizers ---- */
enum nb_uc_class { /* in the order of unicode_class.inc */
                   NB_UC_CONTROL,
                   NB_UC_NONSPACING,
                   NB_UC_MARK,
                   NB_UC_PUNCTUATION
};
bool nb_uc_is(uint32_t cp, enum nb_uc_class set);
bool nb_uc_is_han(uint32_t cp); /* characters that BERT cuts apart */
size_t nb_uc_lower(uint32_t cp, uint32_t out[2]);
bool nb_uc_is_whole(uint32_t cp, bool compat); /* not decomposed */

/* ---- regex.c: PCRE2 ---- */
struct nb_regex;
NB_CHECKED enum nb_status nb_regex_create(struct nb_regex **out, struct nb_text pattern,
                                          bool literal, const struct nb_allocator *a,
                                          struct nb_error *err);
void nb_regex_destroy(struct nb_regex *re);
struct nb_regex_run; /* what one thread needs to match */
struct nb_regex_run *nb_regex_run_create(const struct nb_allocator *a); /* NULL: no memory */
void nb_regex_run_destroy(struct nb_regex_run *run);
/* The first match at or behind `at` in valid UTF-8. *found = false: none. gap: the text holds code
 * points of nb_uc_gaps. */
struct nb_regex_match {
    size_t start, end;
    bool found;
};
NB_CHECKED enum nb_status nb_regex_find(const struct nb_regex *re, struct nb_regex_run *run,
                                        struct nb_text s, size_t at, bool gap,
                                        struct nb_regex_match *m, struct nb_error *err);

/* ---- pipeline ---- */
enum nb_norm_kind {
    NB_NORM_NFC,
    NB_NORM_NFD,
    NB_NORM_NFKC,
    NB_NORM_NFKD,
    NB_NORM_PREPEND,
    NB_NORM_REPLACE,
    NB_NORM_LOWERCASE,
    NB_NORM_STRIP,
    NB_NORM_STRIP_ACCENTS,
    NB_NORM_NMT,
    NB_NORM_BERT,
    NB_NORM_PRECOMPILED
};
/* charsmap.c. Borrows: the blob. */
struct nb_charsmap {
    struct nb_text blob, pool;
    uint32_t n_units; /* of the trie, behind the first four bytes of the blob */
};
/* Borrows: texts, from the tokenizer's arena or literals. Owns: re. */
struct nb_norm_step {
    enum nb_norm_kind kind;
    struct nb_text pattern, content;
    bool regex;                      /* replace: the pattern is a regular expression */
    struct nb_regex *re;             /* its program; NULL: a literal */
    struct nb_charsmap map;          /* precompiled */
    bool left, right;                /* strip */
    bool clean, han, accents, lower; /* BERT */
};

enum nb_pre_kind {
    NB_PRE_SPLIT,
    NB_PRE_DIGITS,
    NB_PRE_BYTE_LEVEL,
    NB_PRE_METASPACE,
    NB_PRE_WHITESPACE, /* cut at white space, which goes */
    NB_PRE_PUNCTUATION
};
enum nb_split_behavior {
    NB_SPLIT_ISOLATED,
    NB_SPLIT_REMOVED,
    NB_SPLIT_MERGED_PREVIOUS,
    NB_SPLIT_MERGED_NEXT,
    NB_SPLIT_CONTIGUOUS
};
enum nb_prepend { NB_PREPEND_NEVER, NB_PREPEND_FIRST, NB_PREPEND_ALWAYS };

/* Owns: re. A step changes the text (prefix, visible spaces), then cuts it. */
struct nb_pre_step {
    enum nb_pre_kind kind;
    struct nb_text pattern; /* split: regular expression or literal */
    bool literal, invert;
    enum nb_split_behavior behavior;
    bool use_regex;          /* byte level: cut by GPT-2's pattern; metaspace: cut before marks */
    enum nb_prepend prepend; /* byte level: a space; metaspace: the mark */
    struct nb_text replacement; /* metaspace */
    struct nb_regex *re;        /* NULL: no cutting, or by a class of characters */
};

enum nb_decoder_kind {
    NB_DECODER_NONE,       /* tokens with spaces between them */
    NB_DECODER_BYTE_LEVEL, /* bytes of all tokens, then UTF-8 */
    NB_DECODER_SPM,        /* Replace, ByteFallback, Fuse, Strip */
    NB_DECODER_METASPACE,
    NB_DECODER_WORDPIECE /* spaces between words, none before "##", clean-up of English */
};
struct nb_decoder {
    enum nb_decoder_kind kind;
    struct nb_text pattern, content; /* SPM: Replace; metaspace: mark, space; WordPiece: prefix */
    bool byte_fallback;
    bool cleanup;         /* WordPiece */
    struct nb_text strip; /* SPM: one character, taken off the start up to strip_start times */
    uint32_t strip_start;
    enum nb_prepend prepend; /* metaspace */
};

struct nb_pipeline {
    struct nb_norm_step norm[NB_TEXT_MAX_STEPS];
    struct nb_pre_step pre[NB_TEXT_MAX_STEPS];
    size_t n_norm, n_pre;
    bool byte_letters; /* steps behind the byte level cut its letters, not the text */
    struct nb_decoder decoder;
    int32_t prefix[NB_TEXT_MAX_AFFIX], suffix[NB_TEXT_MAX_AFFIX];
    size_t n_prefix, n_suffix;
};

/* ---- families.c: pre-tokenizers that have a name in GGUF ---- */
struct nb_family {
    const char *name;
    const char *splits[6]; /* isolated, one after the other; then the byte level */
    bool byte_level_regex; /* the byte level cuts by GPT-2's pattern */
    bool nfc, ignore_merges, add_bos;
};
extern const char nb_gpt2_pattern[];
const struct nb_family *nb_family_find(const char *name); /* also by alias; NULL: unknown */
void nb_family_pipeline(const struct nb_family *f,
                        struct nb_pipeline *p); /* no regex compiled yet */
/* The name under which GGUF knows these steps; NULL: none. */
const char *nb_family_name(const struct nb_pipeline *p, bool ignore_merges);

/* ---- heap.c: a min-heap of 64-bit keys ---- */
struct nb_heap {
    const struct nb_allocator *a;
    uint64_t *keys;
    size_t n, cap;
};
NB_CHECKED bool nb_heap_push(struct nb_heap *h, uint64_t key);
uint64_t nb_heap_pop(struct nb_heap *h); /* n > 0 */

/* ---- bpe.c ---- */
struct nb_pair {
    uint64_t key; /* left id << 32 | right id; NB_PAIR_EMPTY: free */
    uint32_t rank, id;
};
#define NB_PAIR_EMPTY UINT64_MAX

/* Owns: pairs, words. The rest is borrowed from the tokenizer. */
struct nb_bpe {
    const struct nb_allocator *a;
    struct nb_pair *pairs; /* (mask + 1), open addressing */
    size_t mask, n_pairs;
    struct nb_map words;      /* ignore_merges: bytes of a word -> id */
    int32_t byte_id[256];     /* byte level: token of a byte; else of an ASCII character; -1 */
    int32_t fallback_id[256]; /* "<0xHH>" or -1 */
    uint64_t *seams; /* bit set of pairs of characters inside merged tokens; NULL: do not cut */
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    int32_t unk;
};
struct nb_tokenizer;
NB_CHECKED enum nb_status nb_bpe_reserve(struct nb_bpe *b, size_t n_pairs);
NB_CHECKED enum nb_status nb_bpe_put(struct nb_bpe *b, uint32_t left, uint32_t right, uint32_t rank,
                                     uint32_t id); /* a later one replaces an earlier one */
NB_CHECKED enum nb_status nb_bpe_note_seams(struct nb_bpe *b, struct nb_text token);
void nb_bpe_fini(struct nb_bpe *b);
/* Bytes of `word` up to a place where it can be cut without changing ids; 0: none. */
size_t nb_bpe_seam(const struct nb_tokenizer *tok, struct nb_text word);

/* ---- words.c: from words to ids, by whatever model ---- */
struct nb_encoder;
typedef enum nb_status nb_word_fn(struct nb_encoder *e, struct nb_text word);
/* One pre-tokenized piece of text; words seen before in the call are copied. */
NB_CHECKED enum nb_status nb_words_text(struct nb_encoder *e, struct nb_text text);
NB_CHECKED enum nb_status nb_words_one(struct nb_encoder *e, struct nb_text word);
nb_word_fn nb_bpe_word, nb_unigram_word, nb_wordpiece_word;

/* ---- trie.c ---- */
struct nb_trie_edge {
    uint64_t key; /* 0: free */
    int32_t id;   /* of the token that ends here; -1: none */
};
/* Owns: edges. */
struct nb_trie {
    const struct nb_allocator *a;
    struct nb_trie_edge *edges; /* (mask + 1) */
    size_t mask;
};
NB_CHECKED enum nb_status nb_trie_reserve(struct nb_trie *t, size_t n_bytes); /* of all tokens */
void nb_trie_fini(struct nb_trie *t);
void nb_trie_put(struct nb_trie *t, struct nb_text token, int32_t id);
/* From a node (0: the root) along a byte; NB_TEXT_NONE: no such token. */
uint32_t nb_trie_step(const struct nb_trie *t, uint32_t node, uint8_t byte);
int32_t nb_trie_id(const struct nb_trie *t, uint32_t node); /* -1: no token ends here */

/* What unigram.c and wordpiece.c look in. Owns: trie. */
struct nb_pieces {
    struct nb_trie trie;
    double *scores; /* (vocab.n) unigram */
    double min_score;
    struct nb_text prefix; /* WordPiece: of tokens inside a word, "##" */
    uint32_t inside;       /* the trie's node behind the prefix; NB_TEXT_NONE: no such token */
    uint32_t max_chars;    /* WordPiece: longer words are unknown */
};

/* ---- charsmap.c ---- */
NB_CHECKED enum nb_status nb_charsmap_open(struct nb_charsmap *m, struct nb_text blob,
                                           struct nb_error *err);
NB_CHECKED enum nb_status nb_charsmap_apply(const struct nb_charsmap *m, struct nb_text *out,
                                            struct nb_text s, struct nb_arena *arena,
                                            struct nb_error *err);
NB_CHECKED enum nb_status nb_base64_decode(struct nb_text *out, struct nb_text s,
                                           struct nb_arena *arena, struct nb_error *err);
void nb_base64_encode(struct nb_str *out, struct nb_text s);

/* ---- added.c: tokens looked for in text before anything else ---- */
struct nb_added {
    struct nb_text text;
    int32_t id;
};
/* Owns: items, sorted by bytes. */
struct nb_added_set {
    const struct nb_allocator *a;
    struct nb_added *items;
    size_t n, cap;
    uint32_t first[257]; /* items[first[c] .. first[c + 1]) begin with byte c */
};
void nb_added_init(struct nb_added_set *s, const struct nb_allocator *a);
void nb_added_fini(struct nb_added_set *s);
NB_CHECKED enum nb_status nb_added_put(struct nb_added_set *s, struct nb_text text, int32_t id,
                                       struct nb_error *err);
NB_CHECKED enum nb_status nb_added_seal(struct nb_added_set *s, struct nb_error *err);
typedef enum nb_status (*nb_span_fn)(struct nb_encoder *e, struct nb_text span, bool at_start);
/* Cuts text at its added tokens: pushes their ids, hands what lies between to fn. */
NB_CHECKED enum nb_status nb_added_split(const struct nb_added_set *s, struct nb_encoder *e,
                                         struct nb_text text, bool at_start, nb_span_fn fn);

/* Behind the first character of a token of tok->guarded in the span that its writer may not write; 0:
 * there is none. */
size_t nb_added_forbidden(const struct nb_encoder *e, struct nb_text span);

/* ---- the tokenizer ---- */
struct nb_merge {
    uint32_t left, right, id, rank; /* ids; equal ranks: the leftmost pair of a word first */
};

/* Owns: everything. */
struct nb_tokenizer {
    const struct nb_allocator *a;
    struct nb_arena arena; /* texts, arrays of the vocabulary */
    struct nb_vocab vocab;
    struct nb_text *tokens;  /* (vocab.n), what vocab.tokens points to */
    int32_t *types;          /* (vocab.n) */
    uint8_t *flags;          /* (vocab.n) */
    float *scores;           /* (vocab.n) or NULL */
    struct nb_text *pieces;  /* (vocab.n) decoded bytes */
    uint8_t *is_byte;        /* (vocab.n) SPM: decodes to a raw byte */
    uint8_t *in_model;       /* (vocab.n) the model may produce it */
    struct nb_merge *merges; /* (n_merges) in order of rank; on the heap */
    size_t n_merges, cap_merges;
    bool from_scores;  /* merges were made from scores */
    struct nb_map ids; /* token text -> id */
    struct nb_pipeline pipe;
    struct nb_bpe bpe;
    struct nb_pieces pieces_model; /* unigram, WordPiece */
    nb_word_fn *word;              /* the model */
    struct nb_added_set raw, normalized;
    struct nb_added_set guarded; /* those of normalized, as they are spelled */
    bool conjured;               /* the normalizer may make a special token out of other text */
    int32_t eog[16];
    size_t n_eog;
};

/* ---- build.c: from filled-in tables to something that runs ---- */
/* Allocates the arrays of n tokens, all unused without a text. */
NB_CHECKED enum nb_status nb_tok_create(struct nb_tokenizer **out, uint32_t n,
                                        const struct nb_allocator *a, struct nb_error *err);
/* Names holes, fills tok->ids; needs tokens and types. */
NB_CHECKED enum nb_status nb_tok_index(struct nb_tokenizer *tok, struct nb_error *err);
/* build_model.c: what the model looks in. */
NB_CHECKED enum nb_status nb_tok_build_model(struct nb_tokenizer *tok, struct nb_error *err);
/* Builds the model, matchers, pieces; needs everything else. */
NB_CHECKED enum nb_status nb_tok_finish(struct nb_tokenizer *tok, struct nb_error *err);
/* Every split of every token, best score first. */
NB_CHECKED enum nb_status nb_tok_merges_from_scores(struct nb_tokenizer *tok, struct nb_error *err);
NB_CHECKED enum nb_status nb_tok_add_merge(struct nb_tokenizer *tok, struct nb_text left,
                                           struct nb_text right, struct nb_error *err);
/* describe.c: vocab.merges and, for SPM, scores from the merges; before nb_tok_finish. */
NB_CHECKED enum nb_status nb_tok_describe_merges(struct nb_tokenizer *tok, struct nb_error *err);
bool nb_tok_is_added(int32_t type); /* matched in text before BPE */
/* The token of a byte, "<0x0A>" -> 10; -1: no such form. */
int nb_byte_token_value(struct nb_text t);
struct nb_text nb_tok_copy(struct nb_tokenizer *tok, struct nb_text t); /* s == NULL: no memory */

/* vocab_pieces.c: Unigram and WordPiece of a plain description, and back; vocab.pre stays NULL where
 * the description cannot say what the pipeline does. */
NB_CHECKED enum nb_status nb_tok_pieces_from_vocab(struct nb_tokenizer *tok,
                                                   const struct nb_vocab *v, struct nb_error *err);
/* Adds the normalizer step. */
NB_CHECKED enum nb_status nb_tok_copy_charsmap(struct nb_tokenizer *tok, struct nb_text blob,
                                               struct nb_error *err);
void nb_tok_describe_pieces(struct nb_tokenizer *tok);

/* ---- json_model.c, json_pipeline.c: reading tokenizer.json ---- */
NB_CHECKED enum nb_status nb_json_read_pipeline(struct nb_tokenizer *tok, const nb_json *root,
                                                struct nb_error *err);
/* Text of a string value, copied; what: for the message. */
NB_CHECKED enum nb_status nb_json_copy_text(struct nb_tokenizer *tok, struct nb_text *out,
                                            const nb_json *v, const char *what,
                                            struct nb_error *err);

/* ---- encode.c ---- */
struct nb_sym {
    int32_t id;
    uint32_t rank, merged; /* of the pair with the next symbol; rank NB_TEXT_NONE: no merge */
    uint32_t prev, next;
};
struct nb_way { /* unigram: the best way to a byte */
    double score;
    uint32_t from; /* where its last token begins; NB_TEXT_NONE: no way */
    int32_t id;
};
struct nb_cached { /* a word seen before in this call: its ids are in the output already */
    const char *s;
    uint32_t len, n_ids;
    size_t at;
};
/* One call of encode. Owns: arena, run, syms, heap, cache. */
struct nb_encoder {
    const struct nb_tokenizer *tok;
    struct nb_ids *ids;
    struct nb_error *err;
    struct nb_arena arena; /* rewritten text; stays where it is until the call ends */
    struct nb_regex_run *run;
    struct nb_sym *syms; /* (cap_syms) */
    size_t cap_syms;
    struct nb_way *ways; /* (cap_ways) */
    size_t cap_ways;
    struct nb_heap heap;
    struct nb_cached *cache; /* (cache_mask + 1) or NULL */
    size_t cache_mask;
    bool special, gap;
    const struct nb_origins *origins; /* NULL: all of the text may hold special tokens */
    struct nb_text whole;             /* what origins->from goes with */
};
/* Who wrote a text. Borrows: both. */
struct nb_origins {
    const uint8_t *from;  /* (n) enum nb_chat_origin */
    struct nb_text marks; /* added tokens that stand in here are marks of the conversation */
};
/* Special tokens and marks become ids only where the template wrote them. text: valid UTF-8. */
NB_CHECKED enum nb_status nb_tokenizer_encode_origins(const struct nb_tokenizer *tok,
                                                      struct nb_ids *ids, struct nb_text text,
                                                      const struct nb_origins *origins,
                                                      struct nb_error *err);
NB_CHECKED enum nb_status nb_ids_reserve(struct nb_ids *ids, size_t more, struct nb_error *err);
/* Applies the normalizer. *out borrows s or the arena. */
NB_CHECKED enum nb_status nb_normalize(const struct nb_pipeline *p, struct nb_text *out,
                                       struct nb_text s, struct nb_arena *arena,
                                       struct nb_regex_run *run, struct nb_error *err);
/* run: may be NULL where no step has a pattern. */
NB_CHECKED enum nb_status nb_normalize_step(const struct nb_norm_step *step, struct nb_text *out,
                                            struct nb_text s, struct nb_arena *arena,
                                            struct nb_regex_run *run, struct nb_error *err);
/* Cuts a normalized span into words and hands each to the model. */
NB_CHECKED enum nb_status nb_pretokenize(struct nb_encoder *e, size_t step, struct nb_text s,
                                         bool at_start);

#endif
