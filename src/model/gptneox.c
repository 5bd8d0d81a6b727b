/* model/gptneox.c: GPT-NeoX, Pythia (Black et al. 2022, arXiv:2204.06745): attention and feed-forward read
 * the same sum, a quarter of each head turns, q, k, v lie in one matrix head by head.
 *
 * Checkpoints say which GELU; GGUF files do not, and other engines take the tanh form for it. Here an
 * unsaid one is the exact one, which the models were trained with.
 */
#include "model/model_internal.h"

static const struct nb_rope_rules rope = {
    .base_key = "rotary_emb_base", .part_key = "rotary_pct", .part = 0.25, .partial = true};

static void init(struct nb_hparams *hp)
{
    hp->norm = NB_NORM_LAYER;
    hp->norm_eps = 1e-5F;
    hp->norm_bias = hp->fused_qkv = hp->parallel = true;
    hp->bias_q = hp->bias_o = hp->bias_mlp = true;
    hp->act = NB_ACT_GELU;
    hp->gated = false;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "layer_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "use_parallel_residual", &hp->parallel, err));
    NB_TRY(nb_config_bool(config, "attention_bias", &hp->bias_q, err));
    hp->bias_o = hp->bias_q;
    NB_TRY(nb_act_read_hf(hp, config, "hidden_act", err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_sizes_sayable(hp, err));
    nb_sizes_to_hf(hp, "GPTNeoXForCausalLM", "gpt_neox", s);
    nb_config_put_real(s, "layer_norm_eps", hp->norm_eps);
    nb_str_printf(s, "  \"hidden_act\": \"%s\",\n", nb_act_hf_name(hp->act));
    nb_config_put_bool(s, "use_parallel_residual", hp->parallel);
    nb_config_put_bool(s, "attention_bias", hp->bias_q);
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return nb_rope_to_hf(hp, s, err);
}

static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    static const char key[] = "gptneox.use_parallel_residual";
    if (nb_meta_find(meta, key) != NULL && !nb_meta_bool(meta, key, &hp->parallel))
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is not true or false", key);
    return NB_OK;
}

static enum nb_status to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    return nb_meta_set_bool(meta, "gptneox.use_parallel_residual", hp->parallel);
}

#define LAYER "gpt_neox.layers.{}."
static const struct nb_hf_name hf_names[] = {
    {"token_embd", "gpt_neox.embed_in", NB_HF_PLAIN},
    {"output_norm", "gpt_neox.final_layer_norm", NB_HF_PLAIN},
    {"output", "embed_out", NB_HF_PLAIN},
    {"attn_norm", LAYER "input_layernorm", NB_HF_PLAIN},
    {"attn_qkv", LAYER "attention.query_key_value", NB_HF_QKV},
    {"attn_output", LAYER "attention.dense", NB_HF_PLAIN},
    {"ffn_norm", LAYER "post_attention_layernorm", NB_HF_PLAIN},
    {"ffn_up", LAYER "mlp.dense_h_to_4h", NB_HF_PLAIN},
    {"ffn_down", LAYER "mlp.dense_4h_to_h", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const struct nb_hf_key hf_keys[] = {
    {"num_key_value_heads", NULL},
    {"head_dim", NULL},
    {NULL, NULL},
};
static const char *const hf_classes[] = {"GPTNeoXForCausalLM", NULL};
static const char *const ignored[] = {".attention.bias", ".attention.masked_bias",
                                      ".rotary_emb.inv_freq", NULL};

const struct nb_arch nb_arch_gptneox = {
    .name = "gptneox",
    .summary = "GPT-NeoX, Pythia: parallel residual, a part of each head turns",
    .hf_classes = hf_classes,
    .ignored = ignored,
    .hf_names = hf_names,
    .hf_keys = hf_keys,
    .rope_halves_gguf = true,
    .rope = &rope,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = from_meta,
    .to_meta = to_meta,
};
