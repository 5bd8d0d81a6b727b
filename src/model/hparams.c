/* model/hparams.c: reading numbers from config.json and from GGUF metadata, checked.
 *
 * Keys and defaults: docs/formats/gguf.md and 4.1. What a number means is the architecture's affair.
 */
#include "model/model_internal.h"

#include <stdio.h>
#include <string.h>

const char *nb_meta_key(char out[NB_KEY_BYTES], const char *arch, const char *suffix)
{
    (void)snprintf(out, NB_KEY_BYTES, "%s.%s", arch, suffix);
    return out;
}

static void store(struct nb_hparams *hp, const struct nb_hparam_field *f, uint32_t v)
{
    memcpy((char *)hp + f->offset, &v, sizeof v);
}

/* where: "config.json" or "metadata" */
static enum nb_status check_range(const char *where, const char *key, int64_t v,
                                  const struct nb_hparam_field *f, struct nb_error *err)
{
    if (v < (int64_t)f->min || v > (int64_t)f->max)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: %s is %lld, expected %u..%u", where, key, (long long)v,
                f->min, f->max);
    return NB_OK;
}

/* ---- config.json ---- */

static bool absent(const nb_json *v)
{
    return nb_json_type(v) == NB_JSON_MISSING || nb_json_type(v) == NB_JSON_NULL;
}

enum nb_status nb_hparams_read_hf(struct nb_hparams *hp, const nb_json *config,
                                  const struct nb_hparam_field *fields, size_t n,
                                  struct nb_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct nb_hparam_field *f = &fields[i];
        const nb_json *v = nb_json_get(config, f->hf);
        int64_t wide;
        if (absent(v) && f->optional)
            continue;
        if (absent(v))
            NB_FAIL(err, NB_ERR_FORMAT, "config.json: %s is missing, expected %u..%u", f->hf,
                    f->min, f->max);
        if (!nb_json_int(v, &wide))
            NB_FAIL(err, NB_ERR_FORMAT, "config.json: %s is no whole number, expected %u..%u",
                    f->hf, f->min, f->max);
        NB_TRY(check_range("config.json", f->hf, wide, f, err));
        store(hp, f, (uint32_t)wide);
    }
    return NB_OK;
}

enum nb_status nb_config_real(const nb_json *object, const char *key, double min, double max,
                              float *out, struct nb_error *err)
{
    const nb_json *v = nb_json_get(object, key);
    double wide;
    if (absent(v))
        return NB_OK;
    if (!nb_json_real(v, &wide))
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: %s is no number", key);
    if (!(wide >= min && wide <= max))
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: %s is %g, expected %g..%g", key, wide, min, max);
    *out = (float)wide + 0.0F; /* no -0 */
    return NB_OK;
}

enum nb_status nb_config_bool(const nb_json *object, const char *key, bool *out,
                              struct nb_error *err)
{
    const nb_json *v = nb_json_get(object, key);
    if (absent(v))
        return NB_OK;
    if (!nb_json_bool(v, out))
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: %s is not true or false", key);
    return NB_OK;
}

/* ---- metadata ---- */

static enum nb_status read_kv(struct nb_hparams *hp, const struct nb_meta_kv *kv,
                              const struct nb_hparam_field *f, struct nb_error *err)
{
    int64_t first = 0;
    if (kv->type == NB_META_BOOL || kv->n == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no whole number", kv->key);
    for (uint64_t i = 0; i < kv->n; i++) {
        int64_t v;
        if (!nb_meta_item_i64(kv, i, &v))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no whole number", kv->key);
        if (i == 0)
            first = v;
        if (v != first)
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "metadata: %s is %lld for block 0 and %lld for block %llu; nibble wants all "
                    "blocks alike",
                    kv->key, (long long)first, (long long)v, (unsigned long long)i);
    }
    NB_TRY(check_range("metadata", kv->key, first, f, err));
    store(hp, f, (uint32_t)first);
    return NB_OK;
}

enum nb_status nb_hparams_read_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                    const struct nb_hparam_field *fields, size_t n,
                                    struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    for (size_t i = 0; i < n; i++) {
        const struct nb_hparam_field *f = &fields[i];
        const struct nb_meta_kv *kv =
            nb_meta_find(meta, nb_meta_key(key, hp->arch->name, f->suffix));
        if (kv == NULL && f->optional)
            continue;
        if (kv == NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is missing, expected %u..%u", key, f->min,
                    f->max);
        NB_TRY(read_kv(hp, kv, f, err));
    }
    return NB_OK;
}

enum nb_status nb_meta_real(const struct nb_meta *meta, const char *arch, const char *suffix,
                            double min, double max, float *out, struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    float v;
    if (nb_meta_find(meta, nb_meta_key(key, arch, suffix)) == NULL)
        return NB_OK;
    if (!nb_meta_f32(meta, key, &v))
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no float", key);
    if (!((double)v >= min && (double)v <= max))
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is %g, expected %g..%g", key, (double)v, min,
                max);
    *out = v + 0.0F;
    return NB_OK;
}

/* ---- writing ---- */

void nb_str_real(struct nb_str *s, float v)
{
    char text[32];
    const bool whole = v == (float)(int64_t)NB_MIN(NB_MAX(v, -1e9F), 1e9F);
    if (whole) {
        nb_str_printf(s, "%lld.0", (long long)v);
        return;
    }
    for (int digits = 1; digits <= 9; digits++) { /* nine always do for a float */
        double back;
        (void)snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (nb_parse_f64(text, &back) && (float)back == v)
            break;
    }
    for (char *c = text; *c != '\0'; c++) /* whatever the locale thinks */
        *c = (char)(*c == ',' ? '.' : *c);
    nb_str_puts(s, text);
    if (strpbrk(text, ".ein") == NULL)
        nb_str_puts(s, ".0");
}
