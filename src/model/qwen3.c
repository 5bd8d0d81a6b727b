/* model/qwen3.c: Qwen3: Llama's shape, each head of q and k normalized before rotation (Qwen team 2025,
 * arXiv:2505.09388). Heads are 128 wide whatever the model's width.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->norms |= NB_NORM_HEADS;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_usual_from_hf(hp, config, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_qwen_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_sizes_to_hf(hp, "Qwen3ForCausalLM", "qwen3", s);
    NB_TRY(nb_usual_to_hf(hp, s, err));
    nb_qwen_window_to_hf(hp, s);
    return NB_OK;
}

static const char *const hf_classes[] = {"Qwen3ForCausalLM", NULL};

const struct nb_arch nb_arch_qwen3 = {
    .name = "qwen3",
    .summary = "Qwen3: norms on the heads of q and k",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
