/* model/starcoder2.c: StarCoder 2 (Lozhkov et al. 2024, arXiv:2402.19173): Llama's attention with layer norms,
 * biases everywhere, and a feed-forward without gates.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->norm = NB_NORM_LAYER;
    hp->norm_eps = 1e-5F;
    hp->norm_bias = hp->tied = true;
    hp->act = NB_ACT_GELU_TANH;
    hp->gated = false;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    bool bias = true;
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "norm_epsilon", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "use_bias", &bias, err));
    hp->bias_q = hp->bias_k = hp->bias_v = hp->bias_o = hp->bias_mlp = bias;
    NB_TRY(nb_act_read_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_biases_alike(hp, hp->bias_q, err));
    nb_sizes_to_hf(hp, "Starcoder2ForCausalLM", "starcoder2", s);
    nb_config_put_real(s, "norm_epsilon", hp->norm_eps);
    nb_config_put_bool(s, "use_bias", hp->bias_q);
    nb_str_printf(s, "  \"hidden_act\": \"%s\",\n", nb_act_hf_name(hp->act));
    nb_window_to_hf(hp, s);
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return nb_rope_to_hf(hp, s, err);
}

static const struct nb_hf_name hf_names[] = {
    {"ffn_up", "model.layers.{}.mlp.c_fc", NB_HF_PLAIN},
    {"ffn_down", "model.layers.{}.mlp.c_proj", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const char *const hf_classes[] = {"Starcoder2ForCausalLM", NULL};

const struct nb_arch nb_arch_starcoder2 = {
    .name = "starcoder2",
    .summary = "StarCoder 2: layer norms, biases, no gates",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = hf_names,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
