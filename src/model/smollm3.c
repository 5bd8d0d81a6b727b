/* model/smollm3.c: SmolLM3: Llama where every fourth layer does not rotate (Hugging Face 2025; Yang et al.
 * 2025, arXiv:2501.18795, "NoPE").
 *
 * GGUF has no key for it: every fourth layer there. Another pattern goes into "nibble.rope.layers", a list
 * that nibble alone reads.
 */
#include "model/model_internal.h"

#define INTERVAL   4
#define LAYERS_KEY "nibble.rope.layers"

static void by_interval(struct nb_hparams *hp, uint32_t interval)
{
    for (uint32_t i = interval; i <= hp->n_layers; i += interval)
        nb_layers_add(&hp->unrotated, i - 1);
}

/* no_rope_layers says 1 where a layer does rotate. */
static enum nb_status read_list(struct nb_hparams *hp, const nb_json *list, struct nb_error *err)
{
    if (nb_json_size(list) != hp->n_layers)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: no_rope_layers has %zu entries, expected %u",
                nb_json_size(list), hp->n_layers);
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        int64_t v;
        if (!nb_json_int(nb_json_at(list, i), &v) || v < 0 || v > 1)
            NB_FAIL(err, NB_ERR_FORMAT, "config.json: no_rope_layers[%u] is not 0 or 1", i);
        if (v == 0)
            nb_layers_add(&hp->unrotated, i);
    }
    return NB_OK;
}

static bool as_gguf(const struct nb_hparams *hp)
{
    for (uint32_t i = 0; i < hp->n_layers; i++)
        if (nb_layers_has(&hp->unrotated, i) != ((i + 1) % INTERVAL == 0))
            return false;
    return true;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    const nb_json *list = nb_json_get(config, "no_rope_layers");
    NB_TRY(nb_usual_from_hf(hp, config, err));
    NB_TRY(nb_config_bool(config, "mlp_bias", &hp->bias_mlp, err));
    if (nb_json_type(list) == NB_JSON_ARRAY)
        NB_TRY(read_list(hp, list, err));
    else
        by_interval(hp, INTERVAL);
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    NB_TRY(nb_qwen_window_from_hf(hp, config, err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_sizes_to_hf(hp, "SmolLM3ForCausalLM", "smollm3", s);
    NB_TRY(nb_usual_to_hf(hp, s, err));
    nb_qwen_window_to_hf(hp, s);
    nb_config_put_u32(s, "no_rope_layer_interval", INTERVAL);
    nb_str_puts(s, "  \"no_rope_layers\": [");
    for (uint32_t i = 0; i < hp->n_layers; i++)
        nb_str_printf(s, "%s%d", i == 0 ? "" : ", ", !nb_layers_has(&hp->unrotated, i));
    nb_str_puts(s, "],\n");
    nb_config_put_bool(s, "mlp_bias", hp->bias_mlp);
    return NB_OK;
}

static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    const struct nb_meta_kv *kv = nb_meta_find(meta, LAYERS_KEY);
    if (kv == NULL) {
        by_interval(hp, INTERVAL);
        return NB_OK;
    }
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        int64_t v;
        if (kv->n != hp->n_layers || !nb_meta_item_i64(kv, i, &v))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: " LAYERS_KEY " is no list of %u truth values",
                    hp->n_layers);
        if (v == 0)
            nb_layers_add(&hp->unrotated, i);
    }
    return NB_OK;
}

static enum nb_status to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    uint8_t list[NB_MAX_LAYERS];
    if (as_gguf(hp))
        return NB_OK;
    for (uint32_t i = 0; i < hp->n_layers; i++)
        list[i] = !nb_layers_has(&hp->unrotated, i);
    return nb_meta_set_array(meta, LAYERS_KEY, NB_META_BOOL, list, hp->n_layers);
}

static const char *const hf_classes[] = {"SmolLM3ForCausalLM", NULL};

const struct nb_arch nb_arch_smollm3 = {
    .name = "smollm3",
    .summary = "SmolLM3: Llama where every fourth layer does not rotate",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .rope_halves_gguf = false,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .from_meta = from_meta,
    .to_meta = to_meta,
};
