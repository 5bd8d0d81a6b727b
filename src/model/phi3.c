/* model/phi3.c: Phi-3, Phi-3.5, Phi-4 and their mini models (Microsoft 2024, arXiv:2404.14219): Llama with
 * q, k, v in one matrix and gate and up in another; in the newer ones only a part of each head turns, and
 * long contexts by longrope.
 */
#include "model/model_internal.h"

static const struct nb_rope_rules rope = {.partial = true};

static void init(struct nb_hparams *hp)
{
    hp->fused_qkv = hp->fused_gate_up = true;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "rms_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_sizes_to_hf(hp, "Phi3ForCausalLM", "phi3", s);
    nb_config_put_real(s, "rms_norm_eps", hp->norm_eps);
    NB_TRY(nb_rope_to_hf(hp, s, err));
    nb_window_to_hf(hp, s);
    nb_str_puts(s, "  \"hidden_act\": \"silu\",\n");
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return NB_OK;
}

/* Other engines want to be told that there is none, too. */
static enum nb_status to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    return nb_meta_set_u32(meta, "phi3.attention.sliding_window", hp->window);
}

static const struct nb_hf_name hf_names[] = {
    {"ffn_up", "model.layers.{}.mlp.gate_up_proj", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const char *const hf_classes[] = {"Phi3ForCausalLM", NULL};

const struct nb_arch nb_arch_phi3 = {
    .name = "phi3",
    .summary = "Phi-3, Phi-3.5, Phi-4: Llama with fused matrices and long contexts",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_names = hf_names,
    .rope_halves_gguf = true,
    .rope = &rope,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .to_meta = to_meta,
};
