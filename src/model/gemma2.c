/* model/gemma2.c: Gemma 2 (Gemma team 2024, arXiv:2408.00118): Gemma with norms on both sides of attention
 * and feed-forward, caps on attention scores and logits, and a window in every other layer.
 *
 * GGUF has no key for the attention's scale: readers know that the largest model (46 layers) divides by
 * the share of a head in the width, the others by the head's size. We write a key of our own where a
 * model does neither. Nor can a file say that there is no cap, for one that is silent has the usual ones and
 * other engines divide by a cap of 0: we write one so high that nothing reaches it, and read it as none.
 */
#include "model/model_internal.h"

#define LAYERS_27B 46
#define WINDOW     4096
#define NO_CAP     1e6F

static void init(struct nb_hparams *hp)
{
    nb_gemma_init(hp);
    hp->norms |= NB_NORM_ATTN_POST | NB_NORM_FFN_POST;
}

static void defaults(struct nb_hparams *hp)
{
    nb_gemma_defaults(hp);
    nb_attn_scale_by_layers(hp, LAYERS_27B);
    hp->attn_softcap = 50.0F;
    hp->logit_softcap = 30.0F;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_gemma_from_hf(hp, config, err));
    NB_TRY(nb_attn_scalar_from_hf(hp, config, err));
    NB_TRY(nb_config_cap(config, "attn_logit_softcapping", &hp->attn_softcap, err));
    NB_TRY(nb_config_cap(config, "final_logit_softcapping", &hp->logit_softcap, err));
    NB_TRY(nb_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_gemma_to_hf(hp, "Gemma2ForCausalLM", "gemma2", s);
    nb_attn_scalar_to_hf(hp, s);
    nb_config_put_cap(s, "attn_logit_softcapping", hp->attn_softcap);
    nb_config_put_cap(s, "final_logit_softcapping", hp->logit_softcap);
    nb_window_to_hf(hp, s);
    return nb_rope_to_hf(hp, s, err);
}

/* Early files do not say the window. */
static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    (void)err;
    if (nb_meta_find(meta, "gemma2.attention.sliding_window") == NULL)
        hp->window = WINDOW;
    if (hp->attn_softcap >= NO_CAP)
        hp->attn_softcap = 0.0F;
    if (hp->logit_softcap >= NO_CAP)
        hp->logit_softcap = 0.0F;
    return NB_OK;
}

static enum nb_status to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    NB_TRY(nb_meta_set_u32(meta, "gemma2.attention.sliding_window", hp->window));
    NB_TRY(nb_meta_set_f32(meta, "gemma2.attn_logit_softcapping",
                           hp->attn_softcap > 0.0F ? hp->attn_softcap : NO_CAP));
    return nb_meta_set_f32(meta, "gemma2.final_logit_softcapping",
                           hp->logit_softcap > 0.0F ? hp->logit_softcap : NO_CAP);
}

const struct nb_hf_name nb_gemma_four_norms[] = {
    {"post_attention_norm", "model.layers.{}.post_attention_layernorm", NB_HF_PLAIN},
    {"ffn_norm", "model.layers.{}.pre_feedforward_layernorm", NB_HF_PLAIN},
    {"post_ffw_norm", "model.layers.{}.post_feedforward_layernorm", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const char *const hf_classes[] = {"Gemma2ForCausalLM", NULL};

const struct nb_arch nb_arch_gemma2 = {
    .name = "gemma2",
    .summary = "Gemma 2: soft caps, windows in every other layer, norms on both sides",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = nb_gemma_four_norms,
    .rope_halves_gguf = true,
    .window_period = 2,
    .init = init,
    .defaults = defaults,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = from_meta,
    .to_meta = to_meta,
};
