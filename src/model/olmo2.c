/* model/olmo2.c: OLMo 2: norms behind attention and feed-forward instead of before, q and k normalized over
 * all heads at once (Ai2 2025, arXiv:2501.00656).
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->norms = NB_NORM_ATTN_POST | NB_NORM_FFN_POST | NB_NORM_QK;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_usual_from_hf(hp, config, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_sizes_to_hf(hp, "Olmo2ForCausalLM", "olmo2", s);
    return nb_usual_to_hf(hp, s, err);
}

static const struct nb_hf_name hf_names[] = {
    {"post_attention_norm", "model.layers.{}.post_attention_layernorm", NB_HF_PLAIN},
    {"post_ffw_norm", "model.layers.{}.post_feedforward_layernorm", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const char *const hf_classes[] = {"Olmo2ForCausalLM", NULL};

const struct nb_arch nb_arch_olmo2 = {
    .name = "olmo2",
    .summary = "OLMo 2: norms behind attention and feed-forward",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = hf_names,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
