/* model/qwen2moe.c: Qwen1.5-MoE, Qwen2-MoE: Qwen2 with many small experts and one that all tokens meet, times
 * a sigmoid of its own (Qwen team 2024, arXiv:2407.10671).
 *
 * The weights of the chosen experts are those of the softmax over all, not normalized, unless
 * norm_topk_prob says so.
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    hp->bias_q = hp->bias_k = hp->bias_v = true;
}

#define FIELD(member) offsetof(struct nb_hparams, member)
static const struct nb_hparam_field widths[] = {
    {"moe_intermediate_size", NULL, FIELD(n_ff_expert), 1, 1U << 24, false},
    {"shared_expert_intermediate_size", NULL, FIELD(n_ff_shared), 1, 1U << 24, false},
};

/* A layer has experts if its number, from 1, is a multiple of decoder_sparse_step and mlp_only_layers does
 * not name it. */
static enum nb_status dense_layers(struct nb_hparams *hp, const nb_json *config,
                                   struct nb_error *err)
{
    int64_t step = 1, layer;
    const nb_json *list = nb_json_get(config, "mlp_only_layers");
    (void)nb_json_int(nb_json_get(config, "decoder_sparse_step"), &step);
    if (step < 1)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: decoder_sparse_step is %lld, expected 1 or more",
                (long long)step);
    for (uint32_t i = 0; i < hp->n_layers; i++)
        if (((int64_t)i + 1) % step != 0)
            nb_layers_add(&hp->dense, i);
    if (nb_json_type(list) != NB_JSON_ARRAY)
        return NB_OK;
    for (size_t i = 0; i < nb_json_size(list); i++) {
        if (!nb_json_int(nb_json_at(list, i), &layer) || layer < 0)
            NB_FAIL(err, NB_ERR_FORMAT, "config.json: mlp_only_layers is no list of layers");
        if (layer < (int64_t)hp->n_layers)
            nb_layers_add(&hp->dense, (uint32_t)layer);
    }
    return NB_OK;
}

enum nb_status nb_qwen_experts_from_hf(struct nb_hparams *hp, const nb_json *config,
                                       struct nb_error *err)
{
    NB_TRY(nb_hparams_read_hf(hp, config, widths, 1, err));
    NB_TRY(nb_experts_from_hf(hp, config, err));
    hp->expert_norm = false;
    NB_TRY(nb_config_bool(config, "norm_topk_prob", &hp->expert_norm, err));
    return dense_layers(hp, config, err);
}

void nb_qwen_experts_to_hf(const struct nb_hparams *hp, const char *count_key, struct nb_str *s)
{
    const char *comma = "";
    nb_experts_to_hf(hp, count_key, s);
    nb_config_put_u32(s, "moe_intermediate_size", hp->n_ff_expert);
    nb_config_put_bool(s, "norm_topk_prob", hp->expert_norm);
    nb_str_puts(s, "  \"decoder_sparse_step\": 1,\n  \"mlp_only_layers\": [");
    for (uint32_t i = 0; i < hp->n_layers; i++)
        if (nb_layers_has(&hp->dense, i)) {
            nb_str_printf(s, "%s%u", comma, i);
            comma = ", ";
        }
    nb_str_puts(s, "],\n");
}

/* Without the width llama.cpp would divide the dense one by the experts in use. */
enum nb_status nb_qwen_experts_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    char key[NB_KEY_BYTES];
    NB_TRY(nb_experts_to_meta(hp, meta));
    return nb_meta_set_u32(meta, nb_meta_key(key, hp->arch->name, "expert_feed_forward_length"),
                           hp->n_ff_expert);
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_qwen_experts_from_hf(hp, config, err));
    NB_TRY(nb_hparams_read_hf(hp, config, &widths[1], 1, err));
    NB_TRY(nb_config_real(config, "rms_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "qkv_bias", &hp->bias_q, err));
    hp->bias_k = hp->bias_v = hp->bias_q;
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_qwen_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    if (hp->expert_gate != NB_GATE_SOFTMAX)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "a sigmoid as gate: no config.json of this architecture can say that");
    nb_sizes_to_hf(hp, "Qwen2MoeForCausalLM", "qwen2_moe", s);
    nb_qwen_experts_to_hf(hp, "num_experts", s);
    nb_config_put_u32(s, "shared_expert_intermediate_size", hp->n_ff_shared);
    nb_config_put_real(s, "rms_norm_eps", hp->norm_eps);
    NB_TRY(nb_rope_to_hf(hp, s, err));
    nb_qwen_window_to_hf(hp, s);
    nb_str_puts(s, "  \"hidden_act\": \"silu\",\n");
    nb_config_put_bool(s, "qkv_bias", hp->bias_q);
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return NB_OK;
}

static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    NB_TRY(nb_experts_from_meta(hp, meta, err));
    if (hp->n_ff_shared == 0)
        hp->n_ff_shared = hp->n_ff;
    return NB_OK;
}

static const char *const hf_classes[] = {"Qwen2MoeForCausalLM", NULL};

const struct nb_arch nb_arch_qwen2moe = {
    .name = "qwen2moe",
    .summary = "Qwen1.5-MoE, Qwen2-MoE: Qwen2 with experts, one of them for all tokens",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = from_meta,
    .to_meta = nb_qwen_experts_to_meta,
};
