/* tests/support/tiny_llama.h: a random decoder in memory, and a plain double-precision forward pass. */
#ifndef TINY_LLAMA_H
#define TINY_LLAMA_H

#include <math.h>
#include <stdio.h>

#include "model/model.h"
#include "nbtest.h"
#include "run/run.h"

#define TINY_ITEMS 128

/* Owns: everything. */
struct tiny {
    struct nb_arena arena;
    struct nb_arch arch;
    struct nb_map names;
    struct nb_weight items[TINY_ITEMS];
    struct nb_weights w;
    struct nb_rng rng;
    const struct nb_numfmt *type; /* of matrices */
    bool packed;                  /* matrices are random codes: no encoder has a say in them */
};

/* 3 layers, 4 query heads on 2 key heads, a head larger than n_embd / n_heads. */
static inline struct nb_hparams tiny_hparams(void)
{
    return (struct nb_hparams){.n_layers = 3,
                               .n_embd = 64,
                               .n_ff = 96,
                               .n_heads = 4,
                               .n_kv_heads = 2,
                               .head_dim = 32,
                               .n_vocab = 107,
                               .n_ctx_train = 96,
                               .norm_eps = 1e-5F,
                               .norms = NB_NORM_ATTN | NB_NORM_FFN,
                               .gated = true,
                               .embd_scale = 1,
                               .residual_scale = 1,
                               .logit_scale = 1,
                               .rope.base = 10000.0F,
                               .rope.dim = 32,
                               .tied = true};
}

/* One block of random codes on a grid of plausible size; scale: of the values wanted. */
static inline void tiny_pack_block(struct tiny *t, uint8_t *dst, double scale)
{
    const struct nb_numfmt *f = t->type;
    const bool two_levels = f->block != f->sub;
    struct nb_grid g = {0};
    int8_t codes[NB_NUMFMT_MAX_BLOCK];
    g.d = nb_f16_to_f32(nb_f32_to_f16((float)(scale / f->code_max / (two_levels ? 12 : 1))));
    g.dmin = nb_f16_to_f32(nb_f32_to_f16(g.d * (float)(f->code_max / 2)));
    for (uint32_t s = 0; s < NB_NUMFMT_MAX_SUBS; s++) {
        g.scale_code[s] = (int16_t)(8 + nb_rng_u64(&t->rng) % 8);
        g.min_code[s] = (int16_t)(8 + nb_rng_u64(&t->rng) % 8);
    }
    for (uint32_t i = 0; i < f->block; i++) {
        const uint64_t n = (uint64_t)(f->code_max - f->code_min + 1);
        codes[i] = (int8_t)(f->code_min + (int32_t)(nb_rng_u64(&t->rng) % n));
    }
    f->pack(dst, &g, codes);
}

static inline void tiny_tensor(struct tiny *t, const char *name, uint64_t rows, uint64_t cols,
                               double scale, double shift)
{
    const size_t n = (size_t)((rows ? rows : 1) * cols);
    const struct nb_numfmt *type = rows ? t->type : &nb_numfmt_f32;
    struct nb_weight *item = &t->items[t->w.n];
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(shift + scale * nb_rng_normal(&t->rng));
    assert_true(t->w.n < TINY_ITEMS);
    assert_true(strlen(name) < sizeof item->spec.name);
    memcpy(item->spec.name, name, strlen(name) + 1);
    item->t.name = item->spec.name;
    item->t.type = type;
    item->t.shape = rows ? nb_shape_2(rows, cols) : nb_shape_1(cols);
    assert_ok(nb_numfmt_bytes(type, &item->t.shape, &item->t.bytes, NULL), NULL);
    uint8_t *data = nb_arena_alloc(&t->arena, (size_t)item->t.bytes, 1);
    assert_non_null(data);
    if (t->packed && rows && type->pack)
        for (size_t b = 0; b < n / type->block; b++)
            tiny_pack_block(t, data + b * type->block_bytes, 2.0 * scale);
    else
        assert_ok(nb_numfmt_encode(type, data, x, NULL, n, NULL), NULL);
    item->t.data = data;
    assert_ok(nb_map_put(&t->names, item->spec.name, strlen(item->spec.name), t->w.n), NULL);
    t->w.n++;
    free(x);
}

static inline void tiny_linear(struct tiny *t, const char *stem, uint64_t rows, uint64_t cols,
                               bool bias)
{
    char name[NB_NAME_BYTES + 16];
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    tiny_tensor(t, name, rows, cols, 1.5 / sqrt((double)cols), 0.0);
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    if (bias)
        tiny_tensor(t, name, 0, rows, 0.3, 0.0);
}

static inline void tiny_block(struct tiny *t, uint32_t i)
{
    const struct nb_hparams *hp = &t->w.hp;
    const uint64_t q = (uint64_t)hp->n_heads * hp->head_dim,
                   kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    char s[NB_NAME_BYTES];
#define TINY_NAME(what) ((void)snprintf(s, sizeof s, "blk.%u." what, i), s)
    tiny_tensor(t, TINY_NAME("attn_norm.weight"), 0, hp->n_embd, 0.2, 1.0);
    tiny_linear(t, TINY_NAME("attn_q"), q, hp->n_embd, hp->bias_q);
    tiny_linear(t, TINY_NAME("attn_k"), kv, hp->n_embd, hp->bias_k);
    tiny_linear(t, TINY_NAME("attn_v"), kv, hp->n_embd, hp->bias_v);
    tiny_linear(t, TINY_NAME("attn_output"), hp->n_embd, q, hp->bias_o);
    tiny_tensor(t, TINY_NAME("ffn_norm.weight"), 0, hp->n_embd, 0.2, 1.0);
    tiny_linear(t, TINY_NAME("ffn_gate"), hp->n_ff, hp->n_embd, hp->bias_mlp);
    tiny_linear(t, TINY_NAME("ffn_up"), hp->n_ff, hp->n_embd, hp->bias_mlp);
    tiny_linear(t, TINY_NAME("ffn_down"), hp->n_embd, hp->n_ff, hp->bias_mlp);
#undef TINY_NAME
}

/* Matrices are stored as `type`; rows of Q and K are interleaved pairs. The struct must not move. */
static inline void tiny_init_packed(struct tiny *t, struct nb_hparams hp,
                                    const struct nb_numfmt *type, bool packed)
{
    memset(t, 0, sizeof *t);
    t->packed = packed;
    nb_arena_init(&t->arena, NULL, 1U << 20);
    nb_map_init(&t->names, NULL);
    t->arch = (struct nb_arch){.name = "tiny"};
    t->type = type;
    t->rng.seed = 7;
    hp.arch = &t->arch;
    t->w = (struct nb_weights){.hp = hp, .items = t->items, .names = &t->names};
    tiny_tensor(t, "token_embd.weight", hp.n_vocab, hp.n_embd, 0.5, 0.0);
    for (uint32_t i = 0; i < hp.n_layers; i++)
        tiny_block(t, i);
    tiny_tensor(t, "output_norm.weight", 0, hp.n_embd, 0.2, 1.0);
    if (!hp.tied)
        tiny_linear(t, "output", hp.n_vocab, hp.n_embd, false);
    if (hp.positions)
        tiny_tensor(t, "position_embd.weight", hp.n_ctx_train, hp.n_embd, 0.5, 0.0);
}

static inline void tiny_init(struct tiny *t, struct nb_hparams hp, const struct nb_numfmt *type)
{
    tiny_init_packed(t, hp, type, false);
}

static inline void tiny_fini(struct tiny *t)
{
    nb_map_fini(&t->names);
    nb_arena_fini(&t->arena);
}

/* Q and K as a Hugging Face file has them: hf[h * hd + j * hd / 2 + i] = gguf[h * hd + 2i + j]. */
static inline void tiny_to_halves(struct tiny *t)
{
    const size_t hd = t->w.hp.head_dim;
    t->w.rope_halves = true;
    for (size_t n = 0; n < t->w.n; n++) {
        struct nb_tensor *x = &t->items[n].t;
        if (!strstr(x->name, "attn_q.") && !strstr(x->name, "attn_k."))
            continue;
        const size_t rows = (size_t)x->shape.dim[0], row_bytes = (size_t)x->bytes / rows;
        uint8_t *copy = nb_arena_alloc(&t->arena, rows, row_bytes);
        assert_non_null(copy);
        for (size_t r = 0; r < rows; r++) {
            const size_t h = r / hd, i = (r % hd) / 2, j = r % 2;
            memcpy(copy + (h * hd + j * hd / 2 + i) * row_bytes, x->data + r * row_bytes,
                   row_bytes);
        }
        x->data = copy;
    }
}

/* ---- the plain forward pass ---- */

static inline const float *tiny_decoded(const struct tiny *t, const char *name, size_t *rows)
{
    const struct nb_weight *item = nb_weights_find(&t->w, name);
    if (!item)
        return NULL;
    const size_t n = (size_t)(nb_shape_rows(&item->t.shape) * nb_shape_cols(&item->t.shape));
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    nb_numfmt_decode(item->t.type, item->t.data, x, n);
    *rows = item->t.shape.n == 2 ? (size_t)item->t.shape.dim[0] : 1;
    return x;
}

/* y = W x + b for one token; stem without ".weight". */
static inline void tiny_apply(const struct tiny *t, double *y, const char *stem, const double *x,
                              size_t k)
{
    char name[NB_NAME_BYTES + 16];
    size_t rows = 0, one = 0;
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    const float *w = tiny_decoded(t, name, &rows);
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    const float *b = tiny_decoded(t, name, &one);
    for (size_t r = 0; r < rows; r++) {
        double s = b ? (double)b[r] : 0.0;
        for (size_t i = 0; i < k; i++)
            s += (double)w[r * k + i] * x[i];
        y[r] = s;
    }
    free((void *)(uintptr_t)w);
    free((void *)(uintptr_t)b);
}

static inline void tiny_norm(const struct tiny *t, double *y, const char *name, const double *x)
{
    const size_t n = t->w.hp.n_embd;
    size_t one;
    double ss = 0.0;
    const float *w = tiny_decoded(t, name, &one);
    for (size_t i = 0; i < n; i++)
        ss += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / sqrt(ss / (double)n + (double)t->w.hp.norm_eps) * (double)w[i];
    free((void *)(uintptr_t)w);
}

/* Interleaved pairs. The rules of scaling have their own test; here they reach every head. */
static inline void tiny_rotate(const struct tiny *t, double *x, size_t heads, size_t position)
{
    const struct nb_hparams *hp = &t->w.hp;
    const double scale = nb_rope_table_scale(&hp->rope, hp->n_ctx_train);
    double freq[256];
    nb_rope_frequencies(&hp->rope, hp->n_ctx_train, freq);
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < hp->rope.dim / 2; i++) {
            const double a = (double)position * freq[i];
            double *p = x + h * hp->head_dim + 2 * i;
            const double x0 = p[0], x1 = p[1];
            p[0] = scale * (x0 * cos(a) - x1 * sin(a));
            p[1] = scale * (x0 * sin(a) + x1 * cos(a));
        }
}

/* One query head over positions 0..last. k, v: (positions, kv_dim), already at the head's column. */
static inline void tiny_attend(double *y, const double *q, const double *k, const double *v,
                               size_t stride, size_t last, size_t hd)
{
    double *p = malloc((last + 1) * sizeof *p), sum = 0.0;
    assert_non_null(p);
    memset(y, 0, hd * sizeof *y);
    for (size_t j = 0; j <= last; j++) {
        double s = 0.0;
        for (size_t d = 0; d < hd; d++)
            s += q[d] * k[j * stride + d];
        p[j] = exp(s / sqrt((double)hd));
        sum += p[j];
    }
    for (size_t j = 0; j <= last; j++)
        for (size_t d = 0; d < hd; d++)
            y[d] += p[j] / sum * v[j * stride + d];
    free(p);
}

struct tiny_ref {
    const struct tiny *t;
    double *k, *v; /* (layers, n, kv_dim) */
    size_t n;
};

static inline void tiny_ref_attention(struct tiny_ref *r, double *h, uint32_t layer, size_t pos)
{
    const struct nb_hparams *hp = &r->t->w.hp;
    const size_t q_dim = (size_t)hp->n_heads * hp->head_dim,
                 kv = (size_t)hp->n_kv_heads * hp->head_dim;
    const size_t hd = hp->head_dim, group = hp->n_heads / hp->n_kv_heads;
    double *x = malloc((2 * q_dim + 2 * hp->n_embd) * sizeof *x), *q = x + hp->n_embd;
    double *y = q + q_dim, *o = y + q_dim;
    double *k = r->k + (layer * r->n) * kv, *v = r->v + (layer * r->n) * kv;
    char s[NB_NAME_BYTES];
#define TINY_NAME(what) ((void)snprintf(s, sizeof s, "blk.%u." what, layer), s)
    tiny_norm(r->t, x, TINY_NAME("attn_norm.weight"), h);
    tiny_apply(r->t, q, TINY_NAME("attn_q"), x, hp->n_embd);
    tiny_apply(r->t, k + pos * kv, TINY_NAME("attn_k"), x, hp->n_embd);
    tiny_apply(r->t, v + pos * kv, TINY_NAME("attn_v"), x, hp->n_embd);
    tiny_rotate(r->t, q, hp->n_heads, pos);
    tiny_rotate(r->t, k + pos * kv, hp->n_kv_heads, pos);
    const bool windowed = hp->window > 0 && nb_layers_has(&hp->windowed, layer);
    const size_t first = windowed && pos + 1 > hp->window ? pos + 1 - hp->window : 0;
    for (size_t i = 0; i < hp->n_heads; i++) {
        const size_t at = first * kv + i / group * hd;
        tiny_attend(y + i * hd, q + i * hd, k + at, v + at, kv, pos - first, hd);
    }
    tiny_apply(r->t, o, TINY_NAME("attn_output"), y, q_dim);
    for (size_t i = 0; i < hp->n_embd; i++)
        h[i] += o[i];
    free(x);
}

static inline void tiny_ref_mlp(const struct tiny_ref *r, double *h, uint32_t layer)
{
    const struct nb_hparams *hp = &r->t->w.hp;
    double *x = malloc((2 * hp->n_embd + 2 * hp->n_ff) * sizeof *x), *g = x + hp->n_embd;
    double *u = g + hp->n_ff, *o = u + hp->n_ff;
    char s[NB_NAME_BYTES];
    tiny_norm(r->t, x, TINY_NAME("ffn_norm.weight"), h);
    tiny_apply(r->t, g, TINY_NAME("ffn_gate"), x, hp->n_embd);
    tiny_apply(r->t, u, TINY_NAME("ffn_up"), x, hp->n_embd);
    for (size_t i = 0; i < hp->n_ff; i++)
        g[i] = g[i] / (1.0 + exp(-g[i])) * u[i];
    tiny_apply(r->t, o, TINY_NAME("ffn_down"), g, hp->n_ff);
    for (size_t i = 0; i < hp->n_embd; i++)
        h[i] += o[i];
    free(x);
#undef TINY_NAME
}

/* logits (n, n_vocab) */
static inline void tiny_reference(const struct tiny *t, const uint32_t *tokens, size_t n,
                                  double *logits)
{
    const struct nb_hparams *hp = &t->w.hp;
    const size_t kv = (size_t)hp->n_kv_heads * hp->head_dim, e = hp->n_embd;
    struct tiny_ref r = {.t = t, .n = n};
    size_t rows;
    const float *embd = tiny_decoded(t, "token_embd.weight", &rows);
    const float *position = tiny_decoded(t, "position_embd.weight", &rows);
    double *h = malloc(2 * e * sizeof *h);
    r.k = malloc(hp->n_layers * n * kv * sizeof *r.k);
    r.v = malloc(hp->n_layers * n * kv * sizeof *r.v);
    for (size_t pos = 0; pos < n; pos++) {
        for (size_t i = 0; i < e; i++)
            h[i] = (double)embd[tokens[pos] * e + i] +
                   (position ? (double)position[pos * e + i] : 0.0);
        for (uint32_t layer = 0; layer < hp->n_layers; layer++) {
            tiny_ref_attention(&r, h, layer, pos);
            tiny_ref_mlp(&r, h, layer);
        }
        tiny_norm(t, h + e, "output_norm.weight", h);
        tiny_apply(t, logits + pos * hp->n_vocab, hp->tied ? "token_embd" : "output", h + e, e);
    }
    free(r.k);
    free(r.v);
    free(h);
    free((void *)(uintptr_t)embd);
    free((void *)(uintptr_t)position);
}

#endif
