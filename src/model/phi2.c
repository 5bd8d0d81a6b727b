/* model/phi2.c: Phi-1, Phi-1.5, Phi-2 (Li et al. 2023, arXiv:2309.05463): attention and feed-forward read the
 * same norm, half of each head turns, biases everywhere, the head's too.
 *
 * Refused: qk_layernorm, which no published model has.
 */
#include "model/model_internal.h"

static const struct nb_rope_rules rope = {.part = 0.5, .partial = true};

static void init(struct nb_hparams *hp)
{
    hp->norm = NB_NORM_LAYER;
    hp->norm_eps = 1e-5F;
    hp->norms = NB_NORM_ATTN;
    hp->norm_bias = hp->parallel = true;
    hp->bias_q = hp->bias_k = hp->bias_v = hp->bias_o = hp->bias_mlp = hp->bias_head = true;
    hp->act = NB_ACT_GELU_TANH;
    hp->gated = false;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    bool qk_norm = false;
    NB_TRY(nb_config_bool(config, "qk_layernorm", &qk_norm, err));
    if (qk_norm)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "config.json: qk_layernorm is true, expected false");
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "layer_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_act_read_hf(hp, config, "hidden_act", err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_biases_alike(hp, true, err));
    if (hp->fused_qkv)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "q, k, v in one matrix: Hugging Face files of architecture phi2 have three");
    NB_TRY(nb_sizes_sayable(hp, err));
    nb_sizes_to_hf(hp, "PhiForCausalLM", "phi", s);
    nb_config_put_real(s, "layer_norm_eps", hp->norm_eps);
    nb_str_printf(s, "  \"hidden_act\": \"%s\",\n", nb_act_hf_name(hp->act));
    nb_config_put_bool(s, "qk_layernorm", false);
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return nb_rope_to_hf(hp, s, err);
}

#define LAYER "model.layers.{}."
static const struct nb_hf_name hf_names[] = {
    {"output_norm", "model.final_layernorm", NB_HF_PLAIN},
    {"attn_output", LAYER "self_attn.dense", NB_HF_PLAIN},
    {"ffn_up", LAYER "mlp.fc1", NB_HF_PLAIN},
    {"ffn_down", LAYER "mlp.fc2", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const struct nb_hf_key hf_keys[] = {
    {"head_dim", NULL},
    {NULL, NULL},
};
static const char *const hf_classes[] = {"PhiForCausalLM", NULL};

const struct nb_arch nb_arch_phi2 = {
    .name = "phi2",
    .summary = "Phi-1 to Phi-2: attention and feed-forward side by side, half of each head turns",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = hf_names,
    .hf_keys = hf_keys,
    .rope_halves_gguf = true,
    .rope = &rope,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
