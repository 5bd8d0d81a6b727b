/* model/granitemoe.c: Granite 3 with experts (1b-a400m, 3b-a800m): the softmax of the chosen ones' scores.
 *
 * Folders hold the gates and ups of all experts of a layer in one tensor.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    nb_granite_init(hp);
    hp->expert_norm = true;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_granite_from_hf(hp, config, err));
    hp->bias_mlp = false;
    hp->n_ff_expert = hp->n_ff;
    return nb_experts_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    if (!hp->expert_norm || hp->expert_gate != NB_GATE_SOFTMAX || hp->n_ff_shared > 0 ||
        hp->n_ff_expert != hp->n_ff)
        NB_FAIL(
            err, NB_ERR_UNSUPPORTED,
            "a shared expert or another gate: no config.json of this architecture can say that");
    nb_sizes_to_hf(hp, "GraniteMoeForCausalLM", "granitemoe", s);
    nb_experts_to_hf(hp, "num_local_experts", s);
    return nb_granite_to_hf(hp, s, err);
}

static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    NB_TRY(nb_granite_from_meta(hp, meta, err));
    return nb_experts_from_meta(hp, meta, err);
}

static enum nb_status to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    NB_TRY(nb_granite_to_meta(hp, meta));
    return nb_experts_to_meta(hp, meta);
}

static const char *const hf_classes[] = {"GraniteMoeForCausalLM", NULL};
static const struct nb_hf_name hf_names[] = {
    {"ffn_gate_inp", "model.layers.{}.block_sparse_moe.router.layer", NB_HF_PLAIN},
    {"ffn_gate_exps", "model.layers.{}.block_sparse_moe.input_linear", NB_HF_GATE_HALF},
    {"ffn_up_exps", "model.layers.{}.block_sparse_moe.input_linear", NB_HF_UP_HALF},
    {"ffn_down_exps", "model.layers.{}.block_sparse_moe.output_linear", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};

const struct nb_arch nb_arch_granitemoe = {
    .name = "granitemoe",
    .summary = "Granite 3 with experts",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = hf_names,
    .rope_halves_gguf = false,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = from_meta,
    .to_meta = to_meta,
};
