/* model/command_r.c: Command R, Aya 23 (Cohere 2024): one layer norm without bias for attention and
 * feed-forward, which stand side by side; logits multiplied by a factor.
 *
 * Refused: use_qk_norm (Command R+), which has a norm of its own for every head.
 */
#include "model/model_internal.h"

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    bool qk_norm = false;
    NB_TRY(nb_config_bool(config, "use_qk_norm", &qk_norm, err));
    if (qk_norm)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "config.json: use_qk_norm is true, expected false");
    NB_TRY(nb_cohere_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_sizes_sayable(hp, err));
    nb_cohere_to_hf(hp, "CohereForCausalLM", "cohere", s);
    nb_config_put_bool(s, "use_qk_norm", false);
    return nb_rope_to_hf(hp, s, err);
}

static const struct nb_hf_key hf_keys[] = {
    {"head_dim", NULL},
    {NULL, NULL},
};
static const char *const hf_classes[] = {"CohereForCausalLM", NULL};

const struct nb_arch nb_arch_command_r = {
    .name = "command-r",
    .summary = "Command R, Aya: one norm per block, logits scaled",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_keys = hf_keys,
    .rope_pairs_hf = true,
    .init = nb_cohere_init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = nb_cohere_from_meta,
    .to_meta = nb_cohere_to_meta,
};
