/* model/bitnet.c: BitNet b1.58: weights trained to be ternary, norms before the last product of attention
 * and of the feed-forward (Ma et al. 2024, arXiv:2402.17764; 2B-4T: arXiv:2504.12285).
 *
 * Read from float weights, from the master checkpoint, whose config.json asks for rounding, and from packed
 * ones (dialect/ternary.c); `--type tq1_0` or `tq2_0` then stores -1, 0, 1 exactly. GGUF says the activation in
 * "bitnet.hidden_activation", silu where it says nothing. Left out: the rounding of activations to 8 bits per
 * token that training used.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->norms |= NB_NORM_SUB;
    hp->norm_eps = 1e-5F;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    hp->tied = true;
    hp->act = NB_ACT_RELU2;
    NB_TRY(nb_usual_from_hf(hp, config, err));
    NB_TRY(nb_act_read_hf(hp, config, "hidden_act", err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_sizes_to_hf(hp, "BitNetForCausalLM", "bitnet", s);
    return nb_usual_to_hf(hp, s, err);
}

static const struct nb_hf_name hf_names[] = {
    {"attn_sub_norm", "model.layers.{}.self_attn.attn_sub_norm", NB_HF_PLAIN},
    {"ffn_sub_norm", "model.layers.{}.mlp.ffn_sub_norm", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const char *const hf_classes[] = {"BitNetForCausalLM", NULL};

const struct nb_arch nb_arch_bitnet = {
    .name = "bitnet",
    .summary = "BitNet b1.58: ternary weights, sub-norms, squared ReLU",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = hf_names,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
