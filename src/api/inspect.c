/* api/inspect.c: nb_inspect: what a model is, from headers alone. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

#include "text/chat.h"
#include "text/text.h"

#define META_ITEMS_SHOWN 8
#define META_TEXT_SHOWN  200

const char *nb_model_type_name(const struct nb_model *m)
{
    const struct nb_numfmt *best = NULL;
    uint64_t best_bytes = 0;
    for (size_t i = 0; i < m->w.n; i++) { /* at most a few types: quadratic is fine */
        if (!m->w.items[i].spec.quantizable || m->w.items[i].t.type == best)
            continue;
        uint64_t bytes = 0;
        for (size_t j = 0; j < m->w.n; j++)
            if (m->w.items[j].spec.quantizable && m->w.items[j].t.type == m->w.items[i].t.type)
                bytes += m->w.items[j].t.bytes;
        if (bytes > best_bytes) {
            best = m->w.items[i].t.type;
            best_bytes = bytes;
        }
    }
    return best != NULL ? best->name : "none";
}

void nb_model_bpw(const struct nb_model *m, double *all, double *layers)
{
    double bits[2] = {0}, count[2] = {0};
    for (size_t i = 0; i < m->w.n; i++) {
        uint64_t n;
        if (!nb_shape_count(&m->w.items[i].t.shape, &n))
            continue;
        const int in_block = m->w.items[i].spec.block >= 0;
        bits[in_block] += 8.0 * (double)m->w.items[i].t.bytes;
        count[in_block] += (double)n;
    }
    *all = count[0] + count[1] > 0 ? (bits[0] + bits[1]) / (count[0] + count[1]) : 0;
    *layers = count[1] > 0 ? bits[1] / count[1] : 0;
}

int32_t nb_model_runs(const struct nb_model *m)
{
    if (m->unknown)
        return NB_RUNS_NOT;
    return m->w.hp.encoder ? NB_RUNS_EMBEDS : NB_RUNS_TEXT;
}

static const char *group_name(enum nb_role role)
{
    static const char *const names[] = {
        [NB_ROLE_EMBED] = "embedding",     [NB_ROLE_HEAD] = "head",
        [NB_ROLE_NORM] = "norm",           [NB_ROLE_ATTN_Q] = "attention",
        [NB_ROLE_ATTN_K] = "attention",    [NB_ROLE_ATTN_V] = "attention",
        [NB_ROLE_ATTN_OUT] = "attention",  [NB_ROLE_FFN_GATE] = "feed-forward",
        [NB_ROLE_FFN_UP] = "feed-forward", [NB_ROLE_FFN_DOWN] = "feed-forward",
        [NB_ROLE_BIAS] = "bias",           [NB_ROLE_ROPE] = "other",
        [NB_ROLE_ATTN_QKV] = "attention",  [NB_ROLE_POSITION] = "embedding",
    };
    return (size_t)role < NB_COUNTOF(names) && names[role] != NULL ? names[role] : "other";
}

static void put_text(struct nb_str *s, struct nb_text t)
{
    char shown[META_TEXT_SHOWN];
    nb_str_puts(s, nb_printable(shown, sizeof shown, t.s, t.n));
}

static void put_item(struct nb_str *s, const struct nb_meta_kv *kv, uint64_t i)
{
    int64_t n;
    double f;
    if (kv->item == NB_META_STRING)
        put_text(s, ((const struct nb_text *)kv->v.items)[i]);
    else if (nb_meta_item_i64(kv, i, &n))
        nb_str_printf(s, "%lld", (long long)n);
    else if (nb_meta_item_f64(kv, i, &f))
        nb_str_printf(s, "%g", f);
}

/* A value as text: numbers in full, strings and arrays cut. */
static void put_value(struct nb_str *s, const struct nb_meta_kv *kv)
{
    switch (kv->type) {
    case NB_META_STRING:
        put_text(s, kv->v.text);
        return;
    case NB_META_ARRAY:
        nb_str_puts(s, "[");
        for (uint64_t i = 0; i < NB_MIN(kv->n, (uint64_t)META_ITEMS_SHOWN); i++) {
            nb_str_puts(s, i > 0 ? ", " : "");
            put_item(s, kv, i);
        }
        nb_str_puts(s, kv->n > META_ITEMS_SHOWN ? ", ..." : "");
        nb_str_printf(s, "] (%llu)", (unsigned long long)kv->n);
        return;
    case NB_META_BOOL:
        nb_str_puts(s, kv->v.u != 0 ? "true" : "false");
        return;
    case NB_META_F32:
    case NB_META_F64:
        nb_str_printf(s, "%.9g", kv->v.f);
        return;
    case NB_META_I8:
    case NB_META_I16:
    case NB_META_I32:
    case NB_META_I64:
        nb_str_printf(s, "%lld", (long long)kv->v.i);
        return;
    default:
        nb_str_printf(s, "%llu", (unsigned long long)kv->v.u);
    }
}

/* Owns: everything the public struct points to. */
struct info_owner {
    struct nb_allocator a;
    struct nb_arena arena;
};

static enum nb_status copy_meta(struct info_owner *o, struct nb_model_info *info,
                                const struct nb_meta *meta, struct nb_error *err)
{
    struct nb_meta_info *out = nb_arena_alloc(&o->arena, meta->n + 1, sizeof *out);
    struct nb_str value;
    enum nb_status st = NB_OK;
    nb_str_init(&value, &o->a);
    for (size_t i = 0; i < meta->n && out != NULL; i++) {
        nb_str_clear(&value);
        put_value(&value, &meta->kv[i]);
        NB_TRY_TO(out, nb_str_check(&value, err));
        out[i].key = nb_arena_strndup(&o->arena, meta->kv[i].key, strlen(meta->kv[i].key));
        out[i].value = nb_arena_strndup(&o->arena, value.len > 0 ? value.data : "", value.len);
        if (out[i].key == NULL || out[i].value == NULL)
            out = NULL;
    }
    if (out == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "no memory to describe the metadata");
    info->meta = out;
    info->n_meta = meta->n;
out:
    nb_str_fini(&value);
    return st;
}

static enum nb_status copy_tensors(struct info_owner *o, struct nb_model_info *info,
                                   const struct nb_weights *w, struct nb_error *err)
{
    struct nb_tensor_info *out = nb_arena_alloc(&o->arena, w->n, sizeof *out);
    for (size_t i = 0; i < w->n && out != NULL; i++) {
        const struct nb_tensor *t = &w->items[i].t;
        out[i] = (struct nb_tensor_info){
            .name =
                nb_arena_strndup(&o->arena, w->items[i].spec.name, strlen(w->items[i].spec.name)),
            .type = t->type->name,
            .n_dims = t->shape.n,
            .bytes = t->bytes,
            .group = group_name(w->items[i].spec.role),
        };
        memcpy(out[i].dims, t->shape.dim, sizeof out[i].dims);
        uint64_t n;
        if (nb_shape_count(&t->shape, &n))
            info->parameters += n;
        info->tensor_bytes += t->bytes;
        if (out[i].name == NULL)
            out = NULL;
    }
    if (out == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to describe %zu tensors", w->n);
    info->tensors = out;
    info->n_tensors = w->n;
    return NB_OK;
}

static const char *copy_meta_text(struct info_owner *o, const struct nb_meta *meta, const char *key)
{
    struct nb_text t;
    return nb_meta_text(meta, key, &t) ? nb_arena_strndup(&o->arena, t.s, t.n) : NULL;
}

static const char *describe_tokenizer(struct info_owner *o, const struct nb_tokenizer *tok)
{
    if (tok == NULL)
        return NULL;
    static const char *const kinds[] = {[NB_VOCAB_SPM] = "SentencePiece BPE",
                                        [NB_VOCAB_UNIGRAM] = "Unigram",
                                        [NB_VOCAB_WORDPIECE] = "WordPiece"};
    const struct nb_vocab *v = nb_tokenizer_vocab(tok);
    if (v->kind != NB_VOCAB_BPE)
        return nb_arena_printf(&o->arena, "%s, %u tokens", kinds[v->kind], v->n);
    return nb_arena_printf(&o->arena, "byte-level BPE (%s), %u tokens",
                           v->pre != NULL ? v->pre : "own pattern", v->n);
}

static enum nb_status fill_info(struct info_owner *o, struct nb_model_info *info, nb_context *ctx,
                                const struct nb_model *m, unsigned flags, struct nb_error *err)
{
    const struct nb_hparams *hp = &m->w.hp;
    info->path = nb_arena_strndup(&o->arena, m->path, strlen(m->path));
    info->dialect = m->dialect->name;
    info->architecture = nb_arena_strndup(&o->arena, hp->arch->name, strlen(hp->arch->name));
    info->runs = nb_model_runs(m);
    info->name = copy_meta_text(o, &m->meta, "general.name");
    info->recipe = copy_meta_text(o, &m->meta, "nibble.recipe");
    info->tokenizer = describe_tokenizer(o, m->tokenizer);
    if (m->chat_template != NULL) {
        info->chat = nb_chat_family(m->chat_template, strlen(m->chat_template));
        info->chat = info->chat != NULL ? info->chat : "unknown family";
    }
    info->n_layers = hp->n_layers;
    info->n_embd = hp->n_embd;
    info->n_ff = hp->n_ff;
    info->n_heads = hp->n_heads;
    info->n_kv_heads = hp->n_kv_heads;
    info->n_experts = hp->n_experts;
    info->n_experts_used = hp->n_experts_used;
    info->head_dim = hp->head_dim;
    info->n_vocab = hp->n_vocab;
    info->n_ctx = hp->n_ctx_train;
    info->file_bytes = m->file_bytes;
    nb_model_bpw(m, &info->bits_per_weight, &info->bits_per_weight_layers);
    NB_TRY(copy_tensors(o, info, &m->w, err));
    NB_TRY(copy_meta(o, info, &m->meta, err));
    if (flags & NB_INSPECT_HASH) {
        struct nb_hash hash;
        char hex[NB_HASH_HEX_BYTES];
        NB_TRY(nb_model_hash(m, ctx->pool, &hash, err));
        nb_hash_hex(hash, hex);
        info->hash = nb_arena_strndup(&o->arena, hex, NB_HASH_HEX_BYTES - 1);
    }
    if (info->path == NULL || ((flags & NB_INSPECT_HASH) != 0 && info->hash == NULL))
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to describe %s", m->path);
    return NB_OK;
}

enum nb_status nb_inspect(nb_context *ctx, const char *path, unsigned flags,
                          struct nb_model_info *info, struct nb_error *err)
{
    struct nb_model *m = NULL;
    nb_error_clear(err);
    if (ctx == NULL || path == NULL || info == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_inspect needs a context, a model and a result");
    *info = (struct nb_model_info){.path = NULL};
    struct info_owner *o = nb_alloc_zero(&ctx->allocator, 1, sizeof *o);
    if (o == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to describe %s", path);
    o->a = ctx->allocator;
    nb_arena_init(&o->arena, &o->a, 16384);
    info->owner = o;
    enum nb_status st = nb_model_open_any(&m, path, &ctx->allocator, &ctx->log, err);
    if (st == NB_OK)
        st = fill_info(o, info, ctx, m, flags, err);
    nb_model_close(m);
    if (st != NB_OK)
        nb_model_info_free(info);
    return st;
}

void nb_model_info_free(struct nb_model_info *info)
{
    struct info_owner *o = info->owner;
    if (o != NULL) {
        const struct nb_allocator a = o->a;
        nb_arena_fini(&o->arena);
        nb_free(&a, o);
    }
    *info = (struct nb_model_info){.path = NULL};
}
