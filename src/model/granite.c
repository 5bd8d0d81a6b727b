/* model/granite.c: Granite 3: Llama with factors on embeddings, sums, attention and logits (IBM 2024).
 *
 * The logits are divided by logits_scaling, in config.json and in GGUF ("granite.logit_scale") alike.
 */
#include "model/model_internal.h"

#include <math.h>

#define SCALE_MAX 1e6

void nb_granite_init(struct nb_hparams *hp)
{
    hp->logit_divides = true;
}

enum nb_status nb_granite_from_hf(struct nb_hparams *hp, const nb_json *config,
                                  struct nb_error *err)
{
    NB_TRY(nb_usual_from_hf(hp, config, err));
    NB_TRY(nb_config_bool(config, "mlp_bias", &hp->bias_mlp, err));
    hp->attn_scale = 1.0F;
    NB_TRY(nb_config_real(config, "embedding_multiplier", 1e-6, SCALE_MAX, &hp->embd_scale, err));
    NB_TRY(
        nb_config_real(config, "residual_multiplier", 1e-6, SCALE_MAX, &hp->residual_scale, err));
    NB_TRY(nb_config_real(config, "attention_multiplier", 1e-6, SCALE_MAX, &hp->attn_scale, err));
    NB_TRY(nb_config_real(config, "logits_scaling", 1e-6, SCALE_MAX, &hp->logit_scale, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    return nb_rope_from_hf(hp, config, err);
}

enum nb_status nb_granite_to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_usual_to_hf(hp, s, err));
    nb_config_put_real(s, "embedding_multiplier", hp->embd_scale);
    nb_config_put_real(s, "residual_multiplier", hp->residual_scale);
    nb_config_put_real(s, "attention_multiplier", hp->attn_scale);
    nb_config_put_real(s, "logits_scaling", hp->logit_scale);
    nb_config_put_bool(s, "mlp_bias", hp->bias_mlp);
    return NB_OK;
}

enum nb_status nb_granite_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                    struct nb_error *err)
{
    if (hp->attn_scale == 0.0F)
        hp->attn_scale = (float)(1.0 / sqrt((double)hp->head_dim));
    return nb_meta_real(meta, hp->arch->name, "logit_scale", 1e-6, SCALE_MAX, &hp->logit_scale,
                        err);
}

enum nb_status nb_granite_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    char key[NB_KEY_BYTES];
    return nb_meta_set_f32(meta, nb_meta_key(key, hp->arch->name, "logit_scale"), hp->logit_scale);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_sizes_to_hf(hp, "GraniteForCausalLM", "granite", s);
    return nb_granite_to_hf(hp, s, err);
}

static const char *const hf_classes[] = {"GraniteForCausalLM", NULL};

const struct nb_arch nb_arch_granite = {
    .name = "granite",
    .summary = "Granite 3: Llama with factors on embeddings, sums, attention and logits",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_halves_gguf = false,
    .init = nb_granite_init,
    .from_hf = nb_granite_from_hf,
    .to_hf = to_hf,
    .from_meta = nb_granite_from_meta,
    .to_meta = nb_granite_to_meta,
};
