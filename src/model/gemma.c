/* model/gemma.c: Gemma (Gemma team 2024, arXiv:2403.08295): embeddings times the root of the width, heads
 * wider than their share of it, the tanh form of GELU, norms that hold their weight less one. And what
 * Gemma 2 and 3 have in common with it.
 *
 * Published configs name the activation "gelu" and mean its tanh form, which the models were trained with.
 */
#include "model/model_internal.h"

#include <math.h>

/* ---- shared ---- */

void nb_gemma_init(struct nb_hparams *hp)
{
    hp->act = NB_ACT_GELU_TANH;
    hp->norm_minus_one = true;
    hp->tied = true;
}

void nb_gemma_defaults(struct nb_hparams *hp)
{
    hp->embd_scale = sqrtf((float)hp->n_embd);
}

enum nb_status nb_gemma_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "rms_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "attention_bias", &hp->bias_q, err));
    hp->bias_k = hp->bias_v = hp->bias_o = hp->bias_q;
    return nb_act_from_hf(hp, config, "hidden_activation", err);
}

void nb_gemma_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                    struct nb_str *s)
{
    nb_sizes_to_hf(hp, class_name, model_type, s);
    nb_config_put_real(s, "rms_norm_eps", hp->norm_eps);
    nb_str_puts(s, "  \"hidden_act\": \"gelu_pytorch_tanh\",\n"
                   "  \"hidden_activation\": \"gelu_pytorch_tanh\",\n");
    nb_config_put_bool(s, "attention_bias", hp->bias_q);
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
}

/* ---- query_pre_attn_scalar: the attention's scale is one by its root ---- */

void nb_attn_scale_by_layers(struct nb_hparams *hp, uint32_t layers_of_largest)
{
    const uint32_t n = hp->n_layers == layers_of_largest ? hp->n_embd / hp->n_heads : hp->head_dim;
    hp->attn_scale = (float)(1.0 / sqrt((double)NB_MAX(n, 1U)));
}

enum nb_status nb_attn_scalar_from_hf(struct nb_hparams *hp, const nb_json *config,
                                      struct nb_error *err)
{
    float scalar = 256.0F;
    NB_TRY(nb_config_real(config, "query_pre_attn_scalar", 1e-6, 1e9, &scalar, err));
    hp->attn_scale = (float)(1.0 / sqrt((double)scalar));
    return NB_OK;
}

/* A whole number wherever one gives this scale. */
void nb_attn_scalar_to_hf(const struct nb_hparams *hp, struct nb_str *s)
{
    const double scale = hp->attn_scale > 0.0F ? (double)hp->attn_scale
                                               : (double)(float)(1.0 / sqrt((double)hp->head_dim));
    const double scalar = 1.0 / (scale * scale);
    const double whole = floor(scalar + 0.5);
    if (whole >= 1.0 && whole < 1e9 && (float)(1.0 / sqrt(whole)) == (float)scale)
        nb_config_put_u32(s, "query_pre_attn_scalar", (uint32_t)whole);
    else
        nb_config_put_real(s, "query_pre_attn_scalar", (float)scalar);
}

/* A cap, or null. */
void nb_config_put_cap(struct nb_str *s, const char *key, float cap)
{
    if (cap > 0.0F)
        nb_config_put_real(s, key, cap);
    else
        nb_str_printf(s, "  \"%s\": null,\n", key);
}

/* Null: no cap; absent: as it is. */
enum nb_status nb_config_cap(const nb_json *config, const char *key, float *cap,
                             struct nb_error *err)
{
    if (nb_json_type(nb_json_get(config, key)) == NB_JSON_NULL)
        *cap = 0.0F;
    return nb_config_real(config, key, 1e-3, 1e6, cap, err);
}

/* ---- Gemma 1 ---- */

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_gemma_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_gemma_to_hf(hp, "GemmaForCausalLM", "gemma", s);
    return nb_rope_to_hf(hp, s, err);
}

static const char *const hf_classes[] = {"GemmaForCausalLM", NULL};

const struct nb_arch nb_arch_gemma = {
    .name = "gemma",
    .summary = "Gemma, CodeGemma: scaled embeddings, GELU gates, wide heads",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_halves_gguf = true,
    .init = nb_gemma_init,
    .defaults = nb_gemma_defaults,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
