/* model/gpt2.c: GPT-2 (Radford et al. 2019): learned positions, layer norms and biases everywhere, q, k, v in
 * one matrix. Checkpoints hold matrices of attention and feed-forward transposed, under names with or
 * without "transformer." in front; the first ones keep the causal mask among the weights.
 *
 * Refused: the switches that scale attention by layer or not at all.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->norm = NB_NORM_LAYER;
    hp->norm_eps = 1e-5F;
    hp->norm_bias = hp->positions = hp->fused_qkv = hp->tied = true;
    hp->bias_q = hp->bias_o = hp->bias_mlp = true;
    hp->act = NB_ACT_GELU_TANH;
    hp->gated = false;
}

static enum nb_status refuse_scalings(const nb_json *config, struct nb_error *err)
{
    bool plain = true, by_layer = false;
    NB_TRY(nb_config_bool(config, "scale_attn_weights", &plain, err));
    NB_TRY(nb_config_bool(config, "scale_attn_by_inverse_layer_idx", &by_layer, err));
    if (!plain)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "config.json: scale_attn_weights is false, expected true");
    if (by_layer)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: scale_attn_by_inverse_layer_idx is true, expected false");
    return NB_OK;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    int64_t width;
    NB_TRY(refuse_scalings(config, err));
    if (nb_json_int(nb_json_get(config, "n_embd"), &width) && width > 0 && width <= INT32_MAX / 8)
        hp->n_ff = 4 * (uint32_t)width; /* where n_inner is null */
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "layer_norm_epsilon", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    return nb_act_read_hf(hp, config, "activation_function", err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_sizes_sayable(hp, err));
    nb_sizes_to_hf(hp, "GPT2LMHeadModel", "gpt2", s);
    nb_config_put_real(s, "layer_norm_epsilon", hp->norm_eps);
    nb_str_printf(s, "  \"activation_function\": \"%s\",\n",
                  hp->act == NB_ACT_GELU_TANH ? "gelu_new" : nb_act_hf_name(hp->act));
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return NB_OK;
}

#define LAYER "transformer.h.{}."
static const struct nb_hf_name hf_names[] = {
    {"token_embd", "transformer.wte", NB_HF_PLAIN},
    {"position_embd", "transformer.wpe", NB_HF_PLAIN},
    {"output_norm", "transformer.ln_f", NB_HF_PLAIN},
    {"attn_norm", LAYER "ln_1", NB_HF_PLAIN},
    {"attn_qkv", LAYER "attn.c_attn", NB_HF_TRANSPOSED},
    {"attn_output", LAYER "attn.c_proj", NB_HF_TRANSPOSED},
    {"ffn_norm", LAYER "ln_2", NB_HF_PLAIN},
    {"ffn_up", LAYER "mlp.c_fc", NB_HF_TRANSPOSED},
    {"ffn_down", LAYER "mlp.c_proj", NB_HF_TRANSPOSED},
    {NULL, NULL, NB_HF_PLAIN},
};
static const struct nb_hf_key hf_keys[] = {
    {"num_hidden_layers", "n_layer"},
    {"hidden_size", "n_embd"},
    {"intermediate_size", "n_inner"},
    {"num_attention_heads", "n_head"},
    {"num_key_value_heads", NULL},
    {"head_dim", NULL},
    {"max_position_embeddings", "n_positions"},
    {NULL, NULL},
};
static const char *const hf_classes[] = {"GPT2LMHeadModel", NULL};
static const char *const hf_roots[] = {"transformer.", "", NULL};
static const char *const ignored[] = {".attn.bias", ".attn.masked_bias", NULL};

const struct nb_arch nb_arch_gpt2 = {
    .name = "gpt2",
    .summary = "GPT-2: learned positions, layer norms, fused q, k, v",
    .hf_classes = hf_classes,
    .ignored = ignored,
    .hf_roots = hf_roots,
    .hf_names = hf_names,
    .hf_keys = hf_keys,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
