/* model/llama.c: Llama and what shares its shape (Llama 1-3, Mistral without a window).
 *
 * hparams in and out of config.json and GGUF metadata (docs/formats/gguf.md, 4.1), the table of
 * tensors (1.8). Rows of Q and K are interleaved pairs in GGUF files of this architecture (1.9).
 * Left out: mixtures of experts, sliding windows, partial rotation.
 */
#include "model/llama.h"
#include "model/model_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_LAYERS 4096
#define MAX_WIDTH  (1U << 20) /* n_embd, and n_heads * head_dim */
#define MAX_HEAD   65536      /* head_dim, given or worked out */

#define FIELD(member) offsetof(struct nb_hparams, member)
static const struct nb_hparam_field fields[] = {
    {"num_hidden_layers", "block_count", FIELD(n_layers), 1, MAX_LAYERS, false},
    {"hidden_size", "embedding_length", FIELD(n_embd), 1, MAX_WIDTH, false},
    {"intermediate_size", "feed_forward_length", FIELD(n_ff), 1, 1U << 24, false},
    {"num_attention_heads", "attention.head_count", FIELD(n_heads), 1, 65536, false},
    {"max_position_embeddings", "context_length", FIELD(n_ctx_train), 1, INT32_MAX, false},
};
/* Their defaults depend on those above. GGUF counts the tokens when vocab_size is absent. */
static const struct nb_hparam_field kv_heads = {
    "num_key_value_heads", "attention.head_count_kv", FIELD(n_kv_heads), 1, 65536, true};
static const struct nb_hparam_field head_dim = {
    "head_dim", "attention.key_length", FIELD(head_dim), 2, MAX_HEAD, true};
static const struct nb_hparam_field vocab = {"vocab_size", "vocab_size", FIELD(n_vocab), 1,
                                             1U << 24,     false};
static const struct nb_hparam_field vocab_gguf = {"vocab_size", "vocab_size", FIELD(n_vocab), 1,
                                                  1U << 24,     true};

/* ---- rules that hold wherever the numbers come from ---- */

/* head_dim 0: not given. where: "config.json" or "metadata". */
static enum nb_status settle(struct nb_hparams *hp, const char *where, struct nb_error *err)
{
    if (hp->n_heads % hp->n_kv_heads != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: %u attention heads are no multiple of %u key-value heads",
                where, hp->n_heads, hp->n_kv_heads);
    if (hp->head_dim == 0 && hp->n_embd % hp->n_heads != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: width %u is no multiple of %u attention heads", where,
                hp->n_embd, hp->n_heads);
    if (hp->head_dim == 0)
        hp->head_dim = hp->n_embd / hp->n_heads;
    if (hp->head_dim % 2 != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: head size %u is odd, rotation needs pairs", where,
                hp->head_dim);
    if (hp->head_dim > MAX_HEAD)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: head size %u is larger than %u", where, hp->head_dim,
                MAX_HEAD);
    if ((uint64_t)hp->n_heads * hp->head_dim > MAX_WIDTH)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: %u heads of %u are wider than %u", where, hp->n_heads,
                hp->head_dim, MAX_WIDTH);
    return NB_OK;
}

/* ---- config.json ---- */

static enum nb_status refuse_foreign(const struct nb_hparams *hp, const nb_json *config,
                                     struct nb_error *err)
{
    char quote[64];
    size_t n;
    int64_t window;
    const char *act = nb_json_string(nb_json_get(config, "hidden_act"), &n);
    if (act != NULL && strcmp(act, "silu") != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "config.json: hidden_act is '%s', expected 'silu'",
                nb_printable(quote, sizeof quote, act, n));
    if (nb_json_int(nb_json_get(config, "sliding_window"), &window) &&
        window < (int64_t)hp->n_ctx_train)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: sliding_window is %lld, smaller than the context of %u: windowed "
                "attention is not supported",
                (long long)window, hp->n_ctx_train);
    return NB_OK;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    bool attention_bias = false;
    memset(hp, 0, sizeof *hp);
    hp->arch = &nb_arch_llama;
    hp->norm_eps = 1e-6F;
    NB_TRY(nb_hparams_read_hf(hp, config, fields, NB_COUNTOF(fields), err));
    NB_TRY(nb_hparams_read_hf(hp, config, &vocab, 1, err));
    hp->n_kv_heads = hp->n_heads;
    NB_TRY(nb_hparams_read_hf(hp, config, &kv_heads, 1, err));
    NB_TRY(nb_hparams_read_hf(hp, config, &head_dim, 1, err));
    NB_TRY(settle(hp, "config.json", err));
    NB_TRY(nb_config_real(config, "rms_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "attention_bias", &attention_bias, err));
    NB_TRY(nb_config_bool(config, "mlp_bias", &hp->bias_mlp, err));
    hp->bias_q = hp->bias_k = hp->bias_v = hp->bias_o = attention_bias;
    NB_TRY(refuse_foreign(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static const char *text_of(bool b)
{
    return b ? "true" : "false";
}

/* config.json knows two switches for seven biases. */
static enum nb_status check_biases(const struct nb_hparams *hp, struct nb_error *err)
{
    if (hp->bias_q != hp->bias_k || hp->bias_q != hp->bias_v || hp->bias_q != hp->bias_o)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "biases of attention: q %s, k %s, v %s, output %s; config.json can only say all or "
                "none",
                text_of(hp->bias_q), text_of(hp->bias_k), text_of(hp->bias_v), text_of(hp->bias_o));
    return NB_OK;
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(check_biases(hp, err));
    nb_str_puts(s, "  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n");
    for (size_t i = 0; i < NB_COUNTOF(fields); i++) {
        uint32_t v;
        memcpy(&v, (const char *)hp + fields[i].offset, sizeof v);
        nb_str_printf(s, "  \"%s\": %u,\n", fields[i].hf, v);
    }
    nb_str_printf(s, "  \"num_key_value_heads\": %u,\n  \"head_dim\": %u,\n  \"vocab_size\": %u,\n",
                  hp->n_kv_heads, hp->head_dim, hp->n_vocab);
    nb_str_puts(s, "  \"rms_norm_eps\": ");
    nb_str_real(s, hp->norm_eps);
    nb_str_puts(s, ",\n");
    NB_TRY(nb_rope_to_hf(hp, s, err));
    nb_str_printf(s,
                  "  \"hidden_act\": \"silu\",\n  \"tie_word_embeddings\": %s,\n"
                  "  \"attention_bias\": %s,\n  \"mlp_bias\": %s,\n",
                  text_of(hp->tied), text_of(hp->bias_q), text_of(hp->bias_mlp));
    return NB_OK;
}

/* ---- GGUF ---- */

static enum nb_status refuse_experts(const struct nb_meta *meta, struct nb_error *err)
{
    uint32_t experts;
    if (nb_meta_u32(meta, "llama.expert_count", &experts) && experts > 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "metadata: llama.expert_count is %u: mixtures of experts are not supported",
                experts);
    return NB_OK;
}

static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    uint32_t value_length;
    memset(hp, 0, sizeof *hp);
    hp->arch = &nb_arch_llama;
    NB_TRY(nb_hparams_read_meta(hp, meta, fields, NB_COUNTOF(fields), err));
    NB_TRY(nb_hparams_read_meta(hp, meta, &vocab_gguf, 1, err));
    hp->n_kv_heads = hp->n_heads;
    NB_TRY(nb_hparams_read_meta(hp, meta, &kv_heads, 1, err));
    NB_TRY(nb_hparams_read_meta(hp, meta, &head_dim, 1, err));
    NB_TRY(settle(hp, "metadata", err));
    if (nb_meta_u32(meta, "llama.attention.value_length", &value_length) &&
        value_length != hp->head_dim)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "metadata: llama.attention.value_length is %u, expected the head size %u",
                value_length, hp->head_dim);
    NB_TRY(refuse_experts(meta, err));
    if (nb_meta_find(meta, "llama.attention.layer_norm_rms_epsilon") == NULL)
        NB_FAIL(err, NB_ERR_FORMAT,
                "metadata: llama.attention.layer_norm_rms_epsilon is missing, expected 0..1");
    NB_TRY(nb_meta_real(meta, "llama", "attention.layer_norm_rms_epsilon", 0.0, 1.0, &hp->norm_eps,
                        err));
    return nb_rope_from_meta(hp, meta, err);
}

static void detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx)
{
    hp->tied = !has(ctx, "output.weight");
    hp->bias_q = has(ctx, "blk.0.attn_q.bias");
    hp->bias_k = has(ctx, "blk.0.attn_k.bias");
    hp->bias_v = has(ctx, "blk.0.attn_v.bias");
    hp->bias_o = has(ctx, "blk.0.attn_output.bias");
    hp->bias_mlp = has(ctx, "blk.0.ffn_gate.bias");
    if (has(ctx, NB_ROPE_DIVISORS_NAME))
        hp->rope.scaling = NB_ROPE_LLAMA3;
}

static enum nb_status set_all(const struct nb_hparams *hp, struct nb_meta *meta)
{
    char key[NB_KEY_BYTES];
    for (size_t i = 0; i < NB_COUNTOF(fields); i++) {
        uint32_t v;
        memcpy(&v, (const char *)hp + fields[i].offset, sizeof v);
        NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, "llama", fields[i].suffix), v));
    }
    NB_TRY(nb_meta_set_u32(meta, "llama.vocab_size", hp->n_vocab));
    NB_TRY(nb_meta_set_u32(meta, "llama.attention.head_count_kv", hp->n_kv_heads));
    if ((uint64_t)hp->head_dim * hp->n_heads != hp->n_embd) {
        NB_TRY(nb_meta_set_u32(meta, "llama.attention.key_length", hp->head_dim));
        NB_TRY(nb_meta_set_u32(meta, "llama.attention.value_length", hp->head_dim));
    }
    NB_TRY(nb_meta_set_f32(meta, "llama.attention.layer_norm_rms_epsilon", hp->norm_eps));
    return nb_rope_to_meta(hp, meta);
}

static enum nb_status to_meta(const struct nb_hparams *hp, struct nb_meta *meta,
                              struct nb_error *err)
{
    const enum nb_status st = set_all(hp, meta);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for metadata");
    return NB_OK;
}

/* ---- tensors ---- */

struct emitter {
    const struct nb_hparams *hp;
    nb_spec_fn *emit;
    void *ctx;
    int32_t block;
};

/* A matrix (rows, cols), or a vector when cols == 0. hf is what follows "model.layers.N.". */
static enum nb_status emit(const struct emitter *e, const char *name, const char *hf,
                           enum nb_role role, uint64_t rows, uint64_t cols)
{
    struct nb_tensor_spec s = {.role = role, .block = e->block, .required = true};
    s.shape = cols == 0 ? nb_shape_1(rows) : nb_shape_2(rows, cols);
    s.quantizable = cols != 0;
    if (e->block < 0) {
        (void)snprintf(s.name, sizeof s.name, "%s", name);
        (void)snprintf(s.hf, sizeof s.hf, "%s", hf);
    } else {
        (void)snprintf(s.name, sizeof s.name, "blk.%d.%s", (int)e->block, name);
        (void)snprintf(s.hf, sizeof s.hf, "model.layers.%d.%s", (int)e->block, hf);
    }
    if (strstr(name, "attn_q.") != NULL)
        s.perm_heads = e->hp->n_heads;
    else if (strstr(name, "attn_k.") != NULL)
        s.perm_heads = e->hp->n_kv_heads;
    return e->emit(e->ctx, &s);
}

static enum nb_status emit_attention(const struct emitter *e)
{
    const struct nb_hparams *hp = e->hp;
    const uint64_t embd = hp->n_embd, q = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    NB_TRY(emit(e, "attn_norm.weight", "input_layernorm.weight", NB_ROLE_NORM, embd, 0));
    NB_TRY(emit(e, "attn_q.weight", "self_attn.q_proj.weight", NB_ROLE_ATTN_Q, q, embd));
    if (hp->bias_q)
        NB_TRY(emit(e, "attn_q.bias", "self_attn.q_proj.bias", NB_ROLE_BIAS, q, 0));
    NB_TRY(emit(e, "attn_k.weight", "self_attn.k_proj.weight", NB_ROLE_ATTN_K, kv, embd));
    if (hp->bias_k)
        NB_TRY(emit(e, "attn_k.bias", "self_attn.k_proj.bias", NB_ROLE_BIAS, kv, 0));
    NB_TRY(emit(e, "attn_v.weight", "self_attn.v_proj.weight", NB_ROLE_ATTN_V, kv, embd));
    if (hp->bias_v)
        NB_TRY(emit(e, "attn_v.bias", "self_attn.v_proj.bias", NB_ROLE_BIAS, kv, 0));
    NB_TRY(emit(e, "attn_output.weight", "self_attn.o_proj.weight", NB_ROLE_ATTN_OUT, embd, q));
    if (hp->bias_o)
        NB_TRY(emit(e, "attn_output.bias", "self_attn.o_proj.bias", NB_ROLE_BIAS, embd, 0));
    return NB_OK;
}

static enum nb_status emit_ffn(const struct emitter *e)
{
    const uint64_t embd = e->hp->n_embd, ff = e->hp->n_ff;
    const bool bias = e->hp->bias_mlp;
    NB_TRY(emit(e, "ffn_norm.weight", "post_attention_layernorm.weight", NB_ROLE_NORM, embd, 0));
    NB_TRY(emit(e, "ffn_gate.weight", "mlp.gate_proj.weight", NB_ROLE_FFN_GATE, ff, embd));
    if (bias)
        NB_TRY(emit(e, "ffn_gate.bias", "mlp.gate_proj.bias", NB_ROLE_BIAS, ff, 0));
    NB_TRY(emit(e, "ffn_up.weight", "mlp.up_proj.weight", NB_ROLE_FFN_UP, ff, embd));
    if (bias)
        NB_TRY(emit(e, "ffn_up.bias", "mlp.up_proj.bias", NB_ROLE_BIAS, ff, 0));
    NB_TRY(emit(e, "ffn_down.weight", "mlp.down_proj.weight", NB_ROLE_FFN_DOWN, embd, ff));
    if (bias)
        NB_TRY(emit(e, "ffn_down.bias", "mlp.down_proj.bias", NB_ROLE_BIAS, embd, 0));
    return NB_OK;
}

static enum nb_status tensors(const struct nb_hparams *hp, nb_spec_fn *fn, void *ctx)
{
    struct emitter e = {.hp = hp, .emit = fn, .ctx = ctx, .block = -1};
    if (hp->rope.scaling == NB_ROPE_LLAMA3)
        NB_TRY(emit(&e, NB_ROPE_DIVISORS_NAME, "", NB_ROLE_ROPE, hp->rope.dim / 2, 0));
    NB_TRY(emit(&e, "token_embd.weight", "model.embed_tokens.weight", NB_ROLE_EMBED, hp->n_vocab,
                hp->n_embd));
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        e.block = (int32_t)i;
        NB_TRY(emit_attention(&e));
        NB_TRY(emit_ffn(&e));
    }
    e.block = -1;
    NB_TRY(emit(&e, "output_norm.weight", "model.norm.weight", NB_ROLE_NORM, hp->n_embd, 0));
    if (!hp->tied)
        NB_TRY(emit(&e, "output.weight", "lm_head.weight", NB_ROLE_HEAD, hp->n_vocab, hp->n_embd));
    return NB_OK;
}

static const char *const hf_classes[] = {"LlamaForCausalLM", "MistralForCausalLM", NULL};
static const char *const ignored[] = {".rotary_emb.inv_freq", ".masked_bias", NULL};

const struct nb_arch nb_arch_llama = {
    .name = "llama",
    .summary = "Llama 1 to 3, Mistral: grouped query attention, SwiGLU, RMS norm",
    .hf_classes = hf_classes,
    .ignored = ignored,
    .rope_halves_gguf = false,
    .from_hf = from_hf,
    .from_meta = from_meta,
    .detect = detect,
    .to_meta = to_meta,
    .to_hf = to_hf,
    .tensors = tensors,
    .build = nb_llama_build,
};
