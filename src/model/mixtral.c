/* model/mixtral.c: Mixtral: Llama whose feed-forward is two of eight experts, weighed by the softmax of their
 * scores (Jiang et al. 2024, arXiv:2401.04088).
 *
 * GGUF calls it llama and counts experts: a llama with experts is read as this. Left out: files of 2023, which
 * hold a tensor for each expert under names of their own.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->expert_norm = true;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    hp->norm_eps = 1e-5F;
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    hp->n_ff_expert = hp->n_ff;
    NB_TRY(nb_experts_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "rms_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

/* What GGUF can say of a llama and config.json not of a Mixtral. */
static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    if (hp->bias_q || hp->bias_k || hp->bias_v || hp->bias_o || !hp->expert_norm ||
        hp->expert_gate != NB_GATE_SOFTMAX || hp->n_ff_expert != hp->n_ff || hp->n_ff_shared > 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "biases, a shared expert or another gate: no config.json of Mixtral can say that");
    for (uint32_t i = 0; i < hp->n_layers; i++)
        if (!nb_has_experts(hp, i))
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "layer %u has no experts: no config.json of Mixtral can say that", i);
    nb_sizes_to_hf(hp, "MixtralForCausalLM", "mixtral", s);
    nb_experts_to_hf(hp, "num_local_experts", s);
    nb_config_put_real(s, "rms_norm_eps", hp->norm_eps);
    NB_TRY(nb_rope_to_hf(hp, s, err));
    nb_window_to_hf(hp, s);
    nb_str_puts(s, "  \"hidden_act\": \"silu\",\n");
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return NB_OK;
}

static const char *const hf_classes[] = {"MixtralForCausalLM", NULL};
static const struct nb_hf_name hf_names[] = {
    {"ffn_gate_inp", "model.layers.{}.block_sparse_moe.gate", NB_HF_PLAIN},
    {"ffn_gate_exps", "model.layers.{}.block_sparse_moe.experts.{}.w1", NB_HF_EXPERTS},
    {"ffn_down_exps", "model.layers.{}.block_sparse_moe.experts.{}.w2", NB_HF_EXPERTS},
    {"ffn_up_exps", "model.layers.{}.block_sparse_moe.experts.{}.w3", NB_HF_EXPERTS},
    {NULL, NULL, NB_HF_PLAIN},
};

const struct nb_arch nb_arch_mixtral = {
    .name = "llama",
    .summary = "Mixtral: Llama with experts, two of them for each token",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = hf_names,
    .rope_halves_gguf = false,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = nb_experts_from_meta,
    .to_meta = nb_experts_to_meta,
};
