/* model/qwen2.c: Qwen2, Qwen2.5: Llama's shape with biases on q, k and v (Qwen team 2024, arXiv:2407.10671).
 *
 * use_sliding_window gives layers from max_window_layers on a window; no published checkpoint does so.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->bias_q = hp->bias_k = hp->bias_v = true;
}

/* The rule of configs without layer_types. */
enum nb_status nb_qwen_window_from_hf(struct nb_hparams *hp, const nb_json *config,
                                      struct nb_error *err)
{
    bool windows = false;
    int64_t full = 28;
    NB_TRY(nb_config_bool(config, "use_sliding_window", &windows, err));
    if (!windows) /* whatever else is said: even a window of 0 */
        return NB_OK;
    NB_TRY(nb_window_from_hf(hp, config, err));
    if (hp->window == 0 || nb_json_type(nb_json_get(config, "layer_types")) == NB_JSON_ARRAY)
        return NB_OK;
    (void)nb_json_int(nb_json_get(config, "max_window_layers"), &full);
    memset(&hp->windowed, 0, sizeof hp->windowed);
    for (uint32_t i = 0; i < hp->n_layers; i++)
        if ((int64_t)i >= full)
            nb_layers_add(&hp->windowed, i);
    return NB_OK;
}

void nb_qwen_window_to_hf(const struct nb_hparams *hp, struct nb_str *s)
{
    nb_config_put_bool(s, "use_sliding_window", hp->window > 0);
    nb_window_to_hf(hp, s);
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "rms_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_qwen_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_sizes_to_hf(hp, "Qwen2ForCausalLM", "qwen2", s);
    nb_config_put_real(s, "rms_norm_eps", hp->norm_eps);
    NB_TRY(nb_rope_to_hf(hp, s, err));
    nb_qwen_window_to_hf(hp, s);
    nb_str_puts(s, "  \"hidden_act\": \"silu\",\n");
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return NB_OK;
}

static const char *const hf_classes[] = {"Qwen2ForCausalLM", NULL};

const struct nb_arch nb_arch_qwen2 = {
    .name = "qwen2",
    .summary = "Qwen2, Qwen2.5: Llama with biases on q, k, v",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
