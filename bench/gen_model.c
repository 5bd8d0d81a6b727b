/* bench/gen_model.c: writes a random f16 GGUF of Llama's shape, to measure speed and memory with.
 *
 *     bench-gen_model OUT.gguf [--seed N] [--layers N] [--embd N] [--ff N] [--heads N]
 *                              [--kv-heads N] [--head-dim N] [--vocab N] [--force]
 *
 * Without options: the shape of Llama-3.2-1B (16 layers of 2048, 1.24 G parameters, 2.5 GB). Weights
 * are Gaussian with sigma 0.02, norms are 1, and the same seed gives the same bytes everywhere. The
 * tokenizer is a byte-level BPE of the right size whose tokens are letters, pairs, triples and so on:
 * it encodes any text, into nothing that means anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/container.h"
#include "model/model.h"

#define SIGMA           0.02
#define TABLE_VALUES    65536
#define PIECE_VALUES    (1U << 20)
#define MIN_VOCAB       512
#define TOKEN_CONTROL   3 /* tokenizer.ggml.token_type */
#define FIRST_PRINTABLE '!'

struct gen {
    struct nb_hparams hp;
    uint64_t seed;
    const char *path;
    unsigned out_flags;
    struct nb_writer *w;
    uint16_t *table; /* (TABLE_VALUES) f16 values to draw from    */
    uint16_t *piece; /* (PIECE_VALUES) values on their way to disk */
};

/* ---- the tokenizer ---- */

/* Owns: everything. */
struct vocab {
    struct nb_arena arena;
    struct nb_text *tokens; /* (n) */
    int32_t *types;         /* (n) */
    struct nb_text *merges; /* (n_merges) */
    size_t n, n_merges;
};

/* GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and up. */
static uint32_t alphabet(uint32_t byte)
{
    static const struct {
        uint32_t lo, hi;
    } printable[] = {{33, 126}, {161, 172}, {174, 255}};
    uint32_t skipped = 0;
    for (uint32_t b = 0; b <= byte; b++) {
        bool is_printable = false;
        for (size_t i = 0; i < NB_COUNTOF(printable); i++)
            is_printable |= b >= printable[i].lo && b <= printable[i].hi;
        if (b == byte && is_printable)
            return byte;
        skipped += !is_printable;
    }
    return 0xFF + skipped;
}

static struct nb_text keep(struct vocab *v, const char *s)
{
    return (struct nb_text){nb_arena_strndup(&v->arena, s, strlen(s)), strlen(s)};
}

/* Letters, then whatever that gives, each take one more letter: "a" + "b", "ab" + "c". Enough for a
 * hundred thousand words of up to four letters. */
static void grow_words(struct vocab *v, size_t n_words)
{
    char text[64];
    for (size_t from = 'a' - FIRST_PRINTABLE; v->n < n_words; from++) {
        if (from == 'z' - FIRST_PRINTABLE + 1)
            from = 256; /* past the other bytes, to the first word */
        const char *left = v->tokens[from].s;
        for (char c = 'a'; c <= 'z' && v->n < n_words; c++) {
            snprintf(text, sizeof text, "%s%c", left, c);
            v->tokens[v->n++] = keep(v, text);
            snprintf(text, sizeof text, "%s %c", left, c);
            v->merges[v->n_merges++] = keep(v, text);
        }
    }
}

static size_t specials_of(size_t n)
{
    return NB_MIN(n / 16, (size_t)256);
}

static bool make_vocab(struct vocab *v, size_t n)
{
    char text[64];
    const size_t n_special = specials_of(n);
    nb_arena_init(&v->arena, NULL, 1 << 20);
    v->tokens = nb_arena_alloc(&v->arena, n, sizeof *v->tokens);
    v->merges = nb_arena_alloc(&v->arena, n, sizeof *v->merges);
    v->types = nb_arena_alloc(&v->arena, n, sizeof *v->types);
    if (v->tokens == NULL || v->merges == NULL || v->types == NULL)
        return false;
    /* In the order of GPT-2: '!' to '~' first, so that the letters are where grow_words looks. */
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t b = 0; b < 256; b++) {
            const uint32_t cp = alphabet(b);
            if ((cp == b) != (pass == 0))
                continue;
            text[nb_utf8_put(text, cp)] = '\0';
            v->tokens[v->n++] = keep(v, text);
        }
    }
    grow_words(v, n - n_special);
    for (size_t i = 0; i < n_special; i++) {
        snprintf(text, sizeof text, "<|reserved_special_token_%zu|>", i);
        v->tokens[v->n] = keep(v, i == 0 ? "<|begin_of_text|>" : i == 1 ? "<|end_of_text|>" : text);
        v->n++;
    }
    for (size_t i = 0; i < n; i++)
        v->types[i] = i < n - n_special ? 1 : TOKEN_CONTROL;
    for (size_t i = 0; i < n; i++)
        if (v->tokens[i].s == NULL || (i < v->n_merges && v->merges[i].s == NULL))
            return false;
    return true;
}

static enum nb_status set_vocab(struct nb_meta *m, size_t n)
{
    struct vocab v = {0};
    enum nb_status st = NB_ERR_NOMEM;
    if (!make_vocab(&v, n))
        goto done;
    const uint32_t bos = (uint32_t)(n - specials_of(n));
    NB_TRY_TO(done, nb_meta_set_text(m, "tokenizer.ggml.model", "gpt2", 4));
    NB_TRY_TO(done, nb_meta_set_text(m, "tokenizer.ggml.pre", "llama-bpe", 9));
    NB_TRY_TO(done, nb_meta_set_texts(m, "tokenizer.ggml.tokens", v.tokens, n));
    NB_TRY_TO(done, nb_meta_set_array(m, "tokenizer.ggml.token_type", NB_META_I32, v.types, n));
    NB_TRY_TO(done, nb_meta_set_texts(m, "tokenizer.ggml.merges", v.merges, v.n_merges));
    NB_TRY_TO(done, nb_meta_set_u32(m, "tokenizer.ggml.bos_token_id", bos));
    NB_TRY_TO(done, nb_meta_set_u32(m, "tokenizer.ggml.eos_token_id", bos + 1));
    st = nb_meta_set_bool(m, "tokenizer.ggml.add_bos_token", true);
done:
    nb_arena_fini(&v.arena);
    return st;
}

/* ---- weights ---- */

/* 32768 draws and their negatives: the mean is exactly 0. Looking a value up costs a nanosecond,
 * drawing it anew would cost twenty. */
static void fill_table(struct gen *g)
{
    struct nb_rng rng = {.seed = g->seed};
    for (size_t i = 0; i < TABLE_VALUES; i += 2) {
        g->table[i] = nb_f32_to_f16((float)(nb_rng_normal(&rng) * SIGMA));
        g->table[i + 1] = g->table[i] ^ 0x8000U;
    }
}

static enum nb_status write_random(struct gen *g, uint64_t stream, uint64_t n, struct nb_error *err)
{
    struct nb_rng rng = {.seed = g->seed + (stream + 1) * UINT64_C(0x9e3779b97f4a7c15)};
    for (uint64_t left = n; left > 0;) {
        const size_t k = (size_t)NB_MIN(left, (uint64_t)PIECE_VALUES);
        for (size_t i = 0; i < k; i += 4) {
            const uint64_t r = nb_rng_u64(&rng);
            for (size_t j = 0; j < 4 && i + j < k; j++)
                g->piece[i + j] = g->table[(r >> (16 * j)) & (TABLE_VALUES - 1)];
        }
        NB_TRY(nb_writer_append(g->w, g->piece, k * sizeof *g->piece, err));
        left -= k;
    }
    return NB_OK;
}

static enum nb_status write_f32(struct gen *g, const struct nb_tensor *t, struct nb_error *err)
{
    const size_t n = (size_t)(t->bytes / sizeof(float));
    float *x = nb_alloc(NULL, n, sizeof *x);
    if (x == NULL)
        return NB_ERROR(err, NB_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        x[i] = 1.0f;
    if (strcmp(t->name, NB_ROPE_DIVISORS_NAME) == 0)
        nb_rope_divisors(&g->hp, x);
    const enum nb_status st = nb_writer_append(g->w, x, n * sizeof *x, err);
    nb_free(NULL, x);
    return st;
}

/* ---- the file ---- */

static enum nb_status declare(void *ctx, const struct nb_tensor_spec *spec)
{
    struct gen *g = ctx;
    return nb_writer_add(g->w, spec->name, spec->quantizable ? &nb_numfmt_f16 : &nb_numfmt_f32,
                         &spec->shape, NULL);
}

static enum nb_status set_meta(const struct gen *g, struct nb_meta *m, struct nb_error *err)
{
    static const char name[] = "random weights of Llama's shape";
    NB_TRY(nb_meta_set_text(m, "general.architecture", g->hp.arch->name, strlen(g->hp.arch->name)));
    NB_TRY(nb_arch_to_meta(&g->hp, m, err));
    NB_TRY(nb_meta_set_text(m, "general.type", "model", 5));
    NB_TRY(nb_meta_set_text(m, "general.name", name, sizeof name - 1));
    NB_TRY(nb_meta_set_u32(m, "general.file_type", (uint32_t)nb_numfmt_f16.gguf_ftype));
    return set_vocab(m, g->hp.n_vocab);
}

static enum nb_status generate(struct gen *g, struct nb_error *err)
{
    struct nb_meta meta;
    enum nb_status st;
    nb_meta_init(&meta, NULL);
    NB_TRY_TO(done, nb_writer_create(&g->w, &nb_container_gguf, NULL, err));
    NB_TRY_TO(done, set_meta(g, &meta, err));
    NB_TRY_TO(done, nb_arch_tensors(&g->hp, declare, g));
    NB_TRY_TO(done, nb_writer_begin(g->w, g->path, g->out_flags, &meta, err));
    for (size_t i = 0; i < g->w->n_tensors; i++) {
        const struct nb_tensor *t = &g->w->tensors[i];
        if (t->type == &nb_numfmt_f16)
            NB_TRY_TO(done, write_random(g, i, t->bytes / sizeof *g->piece, err));
        else
            NB_TRY_TO(done, write_f32(g, t, err));
    }
    st = nb_writer_commit(g->w, err);
done:
    nb_writer_destroy(g->w);
    nb_meta_fini(&meta);
    return st;
}

/* ---- the command line ---- */

static bool parse(struct gen *g, int argc, char **argv)
{
    struct nb_hparams *hp = &g->hp;
    const struct {
        const char *name;
        uint32_t *value;
    } sizes[] = {
        {"--layers", &hp->n_layers}, {"--embd", &hp->n_embd},         {"--ff", &hp->n_ff},
        {"--heads", &hp->n_heads},   {"--kv-heads", &hp->n_kv_heads}, {"--head-dim", &hp->head_dim},
        {"--vocab", &hp->n_vocab}};
    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        uint64_t v;
        if (strcmp(argv[i], "--force") == 0) {
            g->out_flags = NB_OUT_OVERWRITE;
            continue;
        }
        if (argv[i][0] != '-' && g->path == NULL) {
            g->path = argv[i];
            continue;
        }
        while (k < NB_COUNTOF(sizes) && strcmp(argv[i], sizes[k].name) != 0)
            k++;
        if (i + 1 == argc || !nb_parse_u64(argv[i + 1], &v) || v > UINT32_MAX)
            return false;
        if (k < NB_COUNTOF(sizes))
            *sizes[k].value = (uint32_t)v;
        else if (strcmp(argv[i], "--seed") == 0)
            g->seed = v;
        else
            return false;
        i++;
    }
    hp->rope.dim = hp->head_dim;
    return g->path != NULL && hp->n_vocab >= MIN_VOCAB && hp->n_vocab <= 400000;
}

int main(int argc, char **argv)
{
    struct nb_error err = {0};
    struct gen g = {.seed = 1};
    g.hp = (struct nb_hparams){.arch = nb_arch_by_name("llama"),
                               .n_layers = 16,
                               .n_embd = 2048,
                               .n_ff = 8192,
                               .n_heads = 32,
                               .n_kv_heads = 8,
                               .head_dim = 64,
                               .n_vocab = 128256,
                               .n_ctx_train = 131072,
                               .norm_eps = 1e-5f,
                               .norms = NB_NORM_ATTN | NB_NORM_FFN,
                               .gated = true,
                               .embd_scale = 1,
                               .residual_scale = 1,
                               .logit_scale = 1,
                               .rope.base = 500000.0f,
                               .rope.scaling = NB_ROPE_LLAMA3,
                               .rope.factor = 32.0f,
                               .rope.low_freq = 1.0f,
                               .rope.high_freq = 4.0f,
                               .rope.ctx_orig = 8192,
                               .tied = true};
    if (!parse(&g, argc, argv)) {
        fprintf(stderr,
                "usage: bench-gen_model OUT.gguf [--seed N] [--layers N] [--embd N] [--ff N] "
                "[--heads N] [--kv-heads N] [--head-dim N] [--vocab N] [--force]\n");
        return 2;
    }
    g.table = nb_alloc(NULL, TABLE_VALUES, sizeof *g.table);
    g.piece = nb_alloc(NULL, PIECE_VALUES, sizeof *g.piece);
    if (g.table == NULL || g.piece == NULL)
        return 1;
    fill_table(&g);
    const enum nb_status st = generate(&g, &err);
    if (st != NB_OK)
        fprintf(stderr, "bench-gen_model: %s: %s\n", nb_status_name(st), err.message);
    nb_free(NULL, g.table);
    nb_free(NULL, g.piece);
    return st == NB_OK ? 0 : 1;
}
