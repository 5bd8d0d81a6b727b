/* model/window.c: which layers see a window of positions only (Beltagy et al. 2020; Mistral, Gemma).
 *
 * config.json lists the layers in newer files; older ones and GGUF files leave it to a rule of the
 * architecture, "every period-th layer sees all".
 */
#include "model/model_internal.h"

#include <string.h>

static bool by_rule(uint32_t layer, uint32_t period)
{
    return period == 0 || (layer + 1) % period != 0;
}

static void set_by_rule(struct nb_hparams *hp, uint32_t period)
{
    memset(&hp->windowed, 0, sizeof hp->windowed);
    for (uint32_t i = 0; i < hp->n_layers; i++)
        if (by_rule(i, period))
            nb_layers_add(&hp->windowed, i);
}

/* A window that nothing falls out of. Where some layers have none, windowed ones may differ in more. */
static void drop_wide(struct nb_hparams *hp)
{
    if (hp->arch->window_period > 0)
        return;
    if (hp->window >= hp->n_ctx_train)
        hp->window = 0;
    if (hp->window == 0)
        memset(&hp->windowed, 0, sizeof hp->windowed);
}

static enum nb_status read_types(struct nb_hparams *hp, const nb_json *types, struct nb_error *err)
{
    char quote[64];
    memset(&hp->windowed, 0, sizeof hp->windowed);
    if (nb_json_size(types) != hp->n_layers)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: layer_types has %zu entries, expected %u",
                nb_json_size(types), hp->n_layers);
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        size_t n = 0;
        const char *t = nb_json_string(nb_json_at(types, i), &n);
        if (t != NULL && strcmp(t, "sliding_attention") == 0)
            nb_layers_add(&hp->windowed, i);
        else if (t == NULL || strcmp(t, "full_attention") != 0)
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "config.json: layer_types[%u] is '%s', expected 'full_attention' or "
                    "'sliding_attention'",
                    i, t == NULL ? "?" : nb_printable(quote, sizeof quote, t, n));
    }
    return NB_OK;
}

enum nb_status nb_window_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    static const struct nb_hparam_field field = {"sliding_window",
                                                 "attention.sliding_window",
                                                 offsetof(struct nb_hparams, window),
                                                 1,
                                                 INT32_MAX,
                                                 true};
    const nb_json *types = nb_json_get(config, "layer_types");
    uint32_t period = hp->arch->window_period;
    int64_t own;
    hp->window = 0;
    NB_TRY(nb_hparams_read_hf(hp, config, &field, 1, err));
    if (nb_json_int(nb_json_get(config, "sliding_window_pattern"), &own) && own > 0 &&
        own <= NB_MAX_LAYERS)
        period = (uint32_t)own;
    if (nb_json_type(types) == NB_JSON_ARRAY)
        NB_TRY(read_types(hp, types, err));
    else
        set_by_rule(hp, period);
    drop_wide(hp);
    return NB_OK;
}

enum nb_status nb_window_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                   uint32_t period, struct nb_error *err)
{
    static const struct nb_hparam_field field = {"sliding_window",
                                                 "attention.sliding_window",
                                                 offsetof(struct nb_hparams, window),
                                                 0,
                                                 INT32_MAX,
                                                 true};
    char key[NB_KEY_BYTES];
    hp->window = 0;
    NB_TRY(nb_hparams_read_meta(hp, meta, &field, 1, err));
    const struct nb_meta_kv *kv =
        nb_meta_find(meta, nb_meta_key(key, hp->arch->name, "attention.sliding_window_pattern"));
    uint32_t own;
    set_by_rule(hp, nb_meta_u32(meta, key, &own) ? own : period);
    if (kv != NULL && kv->n == hp->n_layers && hp->n_layers > 1) {
        memset(&hp->windowed, 0, sizeof hp->windowed);
        for (uint32_t i = 0; i < hp->n_layers; i++) {
            int64_t v;
            if (!nb_meta_item_i64(kv, i, &v))
                NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no list of %u truth values", key,
                        hp->n_layers);
            if (v != 0)
                nb_layers_add(&hp->windowed, i);
        }
    }
    drop_wide(hp);
    return NB_OK;
}

enum nb_status nb_window_to_meta(const struct nb_hparams *hp, struct nb_meta *meta, uint32_t period)
{
    char key[NB_KEY_BYTES];
    bool as_ruled = true;
    if (hp->window == 0)
        return NB_OK;
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, hp->arch->name, "attention.sliding_window"),
                           hp->window));
    for (uint32_t i = 0; i < hp->n_layers; i++)
        as_ruled = as_ruled && nb_layers_has(&hp->windowed, i) == by_rule(i, period);
    if (as_ruled)
        return NB_OK;
    uint8_t list[NB_MAX_LAYERS];
    for (uint32_t i = 0; i < hp->n_layers; i++)
        list[i] = nb_layers_has(&hp->windowed, i);
    return nb_meta_set_array(meta,
                             nb_meta_key(key, hp->arch->name, "attention.sliding_window_pattern"),
                             NB_META_BOOL, list, hp->n_layers);
}

void nb_window_to_hf(const struct nb_hparams *hp, struct nb_str *s)
{
    if (hp->window > 0)
        nb_config_put_u32(s, "sliding_window", hp->window);
    else
        nb_str_puts(s, "  \"sliding_window\": null,\n");
    if (hp->window == 0 && hp->arch->window_period == 0)
        return;
    nb_str_puts(s, "  \"layer_types\": [");
    for (uint32_t i = 0; i < hp->n_layers; i++)
        nb_str_printf(s, "%s\"%s\"", i == 0 ? "" : ", ",
                      nb_layers_has(&hp->windowed, i) ? "sliding_attention" : "full_attention");
    nb_str_puts(s, "],\n");
}
