/* model/llama.c: Llama 1 to 3, Mistral with its window, and what took over their shape.
 *
 * hparams in and out of config.json and GGUF metadata (docs/architectures.md). Rows of Q and K are
 * interleaved pairs in GGUF files of this architecture. GGUF has no key for the window of Mistral that
 * other engines honour; we write the general one.
 */
#include "model/model_internal.h"

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_usual_from_hf(hp, config, err));
    NB_TRY(nb_config_bool(config, "mlp_bias", &hp->bias_mlp, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

/* A window makes it a Mistral, whose config has no biases. */
static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    const bool mistral = hp->window > 0;
    if (mistral && (hp->bias_q || hp->bias_mlp))
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "a window and biases: no config.json of this architecture can say both");
    nb_sizes_to_hf(hp, mistral ? "MistralForCausalLM" : "LlamaForCausalLM",
                   mistral ? "mistral" : "llama", s);
    NB_TRY(nb_usual_to_hf(hp, s, err));
    if (mistral)
        nb_window_to_hf(hp, s);
    nb_config_put_bool(s, "mlp_bias", hp->bias_mlp);
    return NB_OK;
}

/* With experts it is a Mixtral, which GGUF files do not name. */
static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    uint32_t experts;
    if (!nb_meta_u32(meta, "llama.expert_count", &experts) || experts == 0)
        return NB_OK;
    hp->arch = &nb_arch_mixtral;
    hp->arch->init(hp);
    return hp->arch->from_meta(hp, meta, err);
}

static const char *const hf_classes[] = {"LlamaForCausalLM", "MistralForCausalLM", NULL};
static const char *const ignored[] = {".rotary_emb.inv_freq", ".masked_bias", NULL};

const struct nb_arch nb_arch_llama = {
    .name = "llama",
    .summary =
        "Llama 1 to 3, SmolLM2, TinyLlama, Mistral: grouped query attention, SwiGLU, RMS norm",
    .hf_classes = hf_classes,
    .ignored = ignored,
    .rope_halves_gguf = false,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = from_meta,
};
