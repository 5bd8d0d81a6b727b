/* model/qwen3moe.c: Qwen3-MoE: Qwen3 with many small experts, eight of them for each token (Qwen team 2025,
 * arXiv:2505.09388).
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->norms |= NB_NORM_HEADS;
    hp->expert_norm = true;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_usual_from_hf(hp, config, err));
    NB_TRY(nb_qwen_experts_from_hf(hp, config, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_qwen_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    if (hp->expert_gate != NB_GATE_SOFTMAX || hp->n_ff_shared > 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "a shared expert or a sigmoid as gate: no config.json of this architecture can say "
                "that");
    nb_sizes_to_hf(hp, "Qwen3MoeForCausalLM", "qwen3_moe", s);
    nb_qwen_experts_to_hf(hp, "num_experts", s);
    NB_TRY(nb_usual_to_hf(hp, s, err));
    nb_qwen_window_to_hf(hp, s);
    return NB_OK;
}

static const char *const hf_classes[] = {"Qwen3MoeForCausalLM", NULL};

const struct nb_arch nb_arch_qwen3moe = {
    .name = "qwen3moe",
    .summary = "Qwen3-MoE: Qwen3 with experts",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = nb_experts_from_meta,
    .to_meta = nb_qwen_experts_to_meta,
};
