/* model/cohere2.c: Command R7B, Command A (Cohere 2024): attention and feed-forward read the same layer norm,
 * which has no bias; every fourth layer sees all positions and does not rotate, the others see a window.
 * And what Command R has in common with it.
 *
 * Heads turn in neighbouring pairs, in Hugging Face files as well. Logits are multiplied by logit_scale.
 */
#include "model/model_internal.h"

#define SCALE_MAX 1e6

/* ---- shared ---- */

void nb_cohere_init(struct nb_hparams *hp)
{
    hp->norm = NB_NORM_LAYER;
    hp->norm_eps = 1e-5F;
    hp->norms = NB_NORM_ATTN;
    hp->parallel = hp->tied = true;
}

enum nb_status nb_cohere_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    hp->logit_scale = 0.0625F;
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "layer_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_real(config, "logit_scale", 1e-6, SCALE_MAX, &hp->logit_scale, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "attention_bias", &hp->bias_q, err));
    hp->bias_k = hp->bias_v = hp->bias_o = hp->bias_q;
    return nb_act_from_hf(hp, config, "hidden_act", err);
}

void nb_cohere_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                     struct nb_str *s)
{
    nb_sizes_to_hf(hp, class_name, model_type, s);
    nb_config_put_real(s, "layer_norm_eps", hp->norm_eps);
    nb_config_put_real(s, "logit_scale", hp->logit_scale);
    nb_str_puts(s, "  \"hidden_act\": \"silu\",\n");
    nb_config_put_bool(s, "attention_bias", hp->bias_q);
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
}

enum nb_status nb_cohere_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                   struct nb_error *err)
{
    return nb_meta_real(meta, hp->arch->name, "logit_scale", 1e-6, SCALE_MAX, &hp->logit_scale,
                        err);
}

enum nb_status nb_cohere_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    char key[NB_KEY_BYTES];
    return nb_meta_set_f32(meta, nb_meta_key(key, hp->arch->name, "logit_scale"), hp->logit_scale);
}

/* ---- Cohere 2 ---- */

static void rotate_windowed(struct nb_hparams *hp)
{
    memset(&hp->unrotated, 0, sizeof hp->unrotated);
    for (uint32_t i = 0; i < hp->n_layers; i++)
        if (!nb_layers_has(&hp->windowed, i))
            nb_layers_add(&hp->unrotated, i);
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_cohere_from_hf(hp, config, err));
    NB_TRY(nb_window_from_hf(hp, config, err));
    if (hp->window == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: sliding_window is missing");
    rotate_windowed(hp);
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_cohere_to_hf(hp, "Cohere2ForCausalLM", "cohere2", s);
    nb_window_to_hf(hp, s);
    return nb_rope_to_hf(hp, s, err);
}

static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    rotate_windowed(hp);
    return nb_cohere_from_meta(hp, meta, err);
}

static const char *const hf_classes[] = {"Cohere2ForCausalLM", NULL};

const struct nb_arch nb_arch_cohere2 = {
    .name = "cohere2",
    .summary = "Command R7B, Command A: windows, whole layers unrotated, one norm per block",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_pairs_hf = true,
    .window_period = 4,
    .init = nb_cohere_init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = from_meta,
    .to_meta = nb_cohere_to_meta,
};
