/* model/gemma3.c: Gemma 3, the text model (Gemma team 2025, arXiv:2503.19786): Gemma 2 without the cap on
 * attention scores, norms on the heads of q and k, five windowed layers to one that sees all, which turns
 * by another base.
 *
 * A multimodal checkpoint keeps the text model's config under text_config and what is usual out of it; the
 * vision tower is left out. As in Gemma 2 GGUF readers know the attention's scale by the number of layers.
 */
#include "model/model_internal.h"

#define LAYERS_27B 62

static const struct nb_rope_rules rope = {
    .base = 1e6F,
    .local = true,
    .local_base_key = "rope_local_base_freq",
    .local_base = 1e4F,
};

static void init(struct nb_hparams *hp)
{
    nb_gemma_init(hp);
    hp->norms |= NB_NORM_ATTN_POST | NB_NORM_FFN_POST | NB_NORM_HEADS;
}

static void defaults(struct nb_hparams *hp)
{
    nb_gemma_defaults(hp);
    nb_attn_scale_by_layers(hp, LAYERS_27B);
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    const nb_json *text = nb_json_get(config, "text_config");
    hp->n_heads = 8;
    hp->n_kv_heads = 4;
    hp->head_dim = 256;
    hp->n_ctx_train = 131072;
    hp->n_vocab = 262208;
    if (nb_json_type(text) == NB_JSON_OBJECT)
        config = text;
    NB_TRY(nb_gemma_from_hf(hp, config, err));
    NB_TRY(nb_attn_scalar_from_hf(hp, config, err));
    NB_TRY(nb_config_cap(config, "attn_logit_softcapping", &hp->attn_softcap, err));
    NB_TRY(nb_config_cap(config, "final_logit_softcapping", &hp->logit_softcap, err));
    NB_TRY(nb_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_gemma_to_hf(hp, "Gemma3ForCausalLM", "gemma3_text", s);
    nb_attn_scalar_to_hf(hp, s);
    nb_config_put_cap(s, "attn_logit_softcapping", hp->attn_softcap);
    nb_config_put_cap(s, "final_logit_softcapping", hp->logit_softcap);
    nb_window_to_hf(hp, s);
    return nb_rope_to_hf(hp, s, err);
}

static const char *const hf_classes[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration",
                                         NULL};
static const char *const hf_roots[] = {"model.", "language_model.model.", "model.language_model.",
                                       NULL};
static const char *const ignored_roots[] = {"vision_tower.", "multi_modal_projector.",
                                            "model.vision_tower.", "model.multi_modal_projector.",
                                            NULL};

const struct nb_arch nb_arch_gemma3 = {
    .name = "gemma3",
    .summary = "Gemma 3 (text): windows in five layers of six, norms on the heads of q and k",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_roots = hf_roots,
    .ignored_roots = ignored_roots,
    .hf_names = nb_gemma_four_norms,
    .rope_halves_gguf = true,
    .rope = &rope,
    .window_period = 6,
    .init = init,
    .defaults = defaults,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
