/* model/rope_hf.c: rotary embeddings in config.json, both its forms, read and written.
 *
 * Old: rope_theta, partial_rotary_factor and the object rope_scaling. New: all of it in rope_parameters,
 * perhaps an object for each type of layer. Written is the old form, which old and new readers know
 * (docs/architectures.md).
 */
#include "model/model_internal.h"

#include <stdio.h>
#include <string.h>

#define SCALING  "config.json: rope_scaling"
#define ORIGINAL "original_max_position_embeddings"
#define GLOBAL   "full_attention"
#define LOCAL    "sliding_attention"

/* ---- reading ---- */

static bool is_object(const nb_json *v)
{
    return nb_json_type(v) == NB_JSON_OBJECT;
}

/* The object that speaks of scaling; where types of layers have their own, that of this type. NULL: none. */
static const nb_json *settings(const nb_json *config, const char *layers)
{
    const nb_json *all = nb_json_get(config, "rope_scaling");
    if (!is_object(all))
        all = nb_json_get(config, "rope_parameters"); /* the newer name; holds rope_theta too */
    if (is_object(nb_json_get(all, GLOBAL)) || is_object(nb_json_get(all, LOCAL)))
        all = nb_json_get(all, layers);
    else if (strcmp(layers, LOCAL) == 0)
        return NULL;
    return is_object(all) ? all : NULL;
}

static enum nb_status read_original(struct nb_rope *r, const nb_json *object, struct nb_error *err)
{
    const nb_json *v = nb_json_get(object, ORIGINAL);
    int64_t n;
    if (nb_json_type(v) == NB_JSON_MISSING || nb_json_type(v) == NB_JSON_NULL)
        return NB_OK;
    if (!nb_json_int(v, &n) || n < 1 || n > NB_ROPE_CTX_MAX)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: " ORIGINAL " is no whole number in 1..%d",
                NB_ROPE_CTX_MAX);
    r->ctx_orig = (uint32_t)n;
    return NB_OK;
}

static enum nb_status read_list(float *out, uint32_t n, const nb_json *object, const char *key,
                                struct nb_error *err)
{
    const nb_json *list = nb_json_get(object, key);
    if (nb_json_type(list) != NB_JSON_ARRAY || nb_json_size(list) != n)
        NB_FAIL(err, NB_ERR_FORMAT, SCALING " wants a list '%s' of %u numbers", key, n);
    for (uint32_t i = 0; i < n; i++) {
        double v;
        if (!nb_json_real(nb_json_at(list, i), &v) || !(v >= 1e-3 && v <= NB_ROPE_FACTOR_MAX))
            NB_FAIL(err, NB_ERR_FORMAT, SCALING ": element %u of %s is no number in 0.001..%g", i,
                    key, NB_ROPE_FACTOR_MAX);
        out[i] = (float)v;
    }
    return NB_OK;
}

static enum nb_status read_rule(struct nb_rope *r, const nb_json *rope, struct nb_error *err)
{
    char quote[64];
    size_t n;
    const char *type = nb_json_string(nb_json_get(rope, "rope_type"), &n);
    if (type == NULL)
        type = nb_json_string(nb_json_get(rope, "type"), &n);
    if (type == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, SCALING " has no 'rope_type' text");
    r->scaling = nb_rope_by_name(type, n);
    if (r->scaling == NB_N_ROPE_SCALINGS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                SCALING " of type '%s', supported are default, linear, dynamic, yarn, llama3 and "
                        "longrope",
                nb_printable(quote, sizeof quote, type, n));
    return NB_OK;
}

static enum nb_status read_params(struct nb_rope *r, const nb_json *rope, struct nb_error *err)
{
    for (size_t i = 0; i < nb_rope_n_params; i++) {
        const struct nb_rope_param *p = &nb_rope_params[i];
        float *at = (void *)((char *)r + p->offset);
        if (p->rules >> r->scaling & 1U)
            NB_TRY(nb_config_real(rope, p->key, p->min, p->max, at, err));
    }
    return NB_OK;
}

static enum nb_status read_scaling(struct nb_rope *r, const nb_json *config, const nb_json *rope,
                                   struct nb_error *err)
{
    bool truncate = true;
    NB_TRY(read_rule(r, rope, err));
    if (r->scaling == NB_ROPE_NONE || r->dim == 0)
        return NB_OK;
    NB_TRY(read_params(r, rope, err));
    if (r->scaling != NB_ROPE_LINEAR)
        NB_TRY(read_original(r, rope, err));
    if (r->scaling == NB_ROPE_LONGROPE && r->ctx_orig == 0)
        NB_TRY(read_original(r, config, err)); /* where Phi-3 has it */
    if (r->scaling == NB_ROPE_LLAMA3 && r->ctx_orig == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: " ORIGINAL " is missing, expected 1..%d",
                NB_ROPE_CTX_MAX);
    if (r->scaling == NB_ROPE_YARN)
        NB_TRY(nb_config_bool(rope, "truncate", &truncate, err));
    r->ramp_exact = !truncate;
    NB_TRY(nb_rope_check(r, SCALING, err));
    if (r->scaling != NB_ROPE_LONGROPE)
        return NB_OK;
    NB_TRY(read_list(r->short_factor, r->dim / 2, rope, "short_factor", err));
    return read_list(r->long_factor, r->dim / 2, rope, "long_factor", err);
}

static enum nb_status read_part(double *part, const nb_json *object, const char *key,
                                struct nb_error *err)
{
    const nb_json *v = nb_json_get(object, key);
    if (nb_json_type(v) == NB_JSON_MISSING || nb_json_type(v) == NB_JSON_NULL)
        return NB_OK;
    if (!nb_json_real(v, part) || !(*part >= 0.0 && *part <= 1.0))
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: %s is no number in 0..1", key);
    return NB_OK;
}

/* How much of a head turns: int(head_dim * part), as the reference rounds it. */
static enum nb_status read_dim(struct nb_rope *r, const struct nb_hparams *hp,
                               const nb_json *config, const nb_json *rope, struct nb_error *err)
{
    const struct nb_rope_rules *rules = nb_rope_rules(hp->arch);
    const char *key = rules->part_key != NULL ? rules->part_key : "partial_rotary_factor";
    double part = rules->part > 0.0 ? rules->part : 1.0;
    NB_TRY(read_part(&part, config, key, err));
    NB_TRY(read_part(&part, rope, "partial_rotary_factor", err));
    r->dim = (uint32_t)((double)hp->head_dim * part);
    if (r->dim != hp->head_dim && !rules->partial)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: %s is %g, architecture %s rotates whole heads", key, part,
                hp->arch->name);
    if (r->dim % 2 != 0 || r->dim == 0)
        NB_FAIL(err, NB_ERR_FORMAT,
                "config.json: %s is %g, which turns %u dimensions of %u, expected an even number",
                key, part, r->dim, hp->head_dim);
    return NB_OK;
}

static enum nb_status read_set(struct nb_rope *r, const struct nb_hparams *hp,
                               const nb_json *config, bool local, struct nb_error *err)
{
    const struct nb_rope_rules *rules = nb_rope_rules(hp->arch);
    const nb_json *rope = settings(config, local ? LOCAL : GLOBAL);
    const char *key = rules->base_key;
    *r = (struct nb_rope){.base = rules->base > 0.0F ? rules->base : 10000.0F,
                          .ctx_train = hp->n_ctx_train};
    if (local && rules->local_base > 0.0F)
        r->base = rules->local_base;
    if (local && rules->local_base_key != NULL)
        key = rules->local_base_key;
    if (!local || rules->local_base_key == NULL)
        NB_TRY(nb_config_real(config, "rope_theta", 1.0, NB_ROPE_BASE_MAX, &r->base, err));
    if (key != NULL)
        NB_TRY(nb_config_real(config, key, 1.0, NB_ROPE_BASE_MAX, &r->base, err));
    NB_TRY(nb_config_real(rope, "rope_theta", 1.0, NB_ROPE_BASE_MAX, &r->base, err));
    NB_TRY(read_dim(r, hp, config, rope, err));
    return rope == NULL ? NB_OK : read_scaling(r, config, rope, err);
}

enum nb_status nb_rope_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    memset(&hp->rope_local, 0, sizeof hp->rope_local);
    NB_TRY(read_set(&hp->rope, hp, config, false, err));
    if (nb_rope_rules(hp->arch)->local)
        return read_set(&hp->rope_local, hp, config, true, err);
    if (settings(config, LOCAL) == NULL)
        return NB_OK;
    NB_TRY(read_set(&hp->rope_local, hp, config, true, err));
    if (memcmp(&hp->rope, &hp->rope_local, sizeof hp->rope) != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: rope_parameters differ between " GLOBAL " and " LOCAL
                ", architecture %s rotates all layers alike",
                hp->arch->name);
    memset(&hp->rope_local, 0, sizeof hp->rope_local);
    return NB_OK;
}

/* ---- writing ---- */

static void put_list(struct nb_str *s, const char *key, const float *v, uint32_t n)
{
    nb_str_printf(s, ", \"%s\": [", key);
    for (uint32_t i = 0; i < n; i++) {
        nb_str_puts(s, i == 0 ? "" : ", ");
        nb_str_real(s, v[i]);
    }
    nb_str_puts(s, "]");
}

/* Longrope says "type" and keeps its context outside: Phi-3's older readers want just these keys. */
static void put_scaling(struct nb_str *s, const struct nb_rope *r)
{
    const bool lists = r->scaling == NB_ROPE_LONGROPE;
    nb_str_printf(s, "\"%s\": \"%s\"", lists ? "type" : "rope_type", nb_rope_name(r->scaling));
    for (size_t i = 0; i < nb_rope_n_params; i++) {
        const struct nb_rope_param *p = &nb_rope_params[i];
        const float v = nb_rope_param(r, p);
        if (v == 0.0F || !(p->rules >> r->scaling & 1U))
            continue;
        nb_str_printf(s, ", \"%s\": ", p->key);
        nb_str_real(s, v);
    }
    if (r->ctx_orig > 0 && !lists)
        nb_str_printf(s, ", \"" ORIGINAL "\": %u", r->ctx_orig);
    if (r->ramp_exact)
        nb_str_puts(s, ", \"truncate\": false");
    if (lists) {
        put_list(s, "short_factor", r->short_factor, r->dim / 2);
        put_list(s, "long_factor", r->long_factor, r->dim / 2);
    }
}

/* The shortest decimal that reads back as dim of head_dim dimensions. */
static void put_part(struct nb_str *s, uint32_t dim, uint32_t head_dim)
{
    char text[40];
    double part = (double)dim / (double)head_dim, back = 0.0;
    for (int digits = 1; digits <= 18; digits++) {
        if (digits == 18) /* the product fell below the whole number: a hair more */
            part *= 1.0 + 4e-16;
        (void)snprintf(text, sizeof text, "%.*f", NB_MIN(digits, 17), part);
        for (char *c = text; *c != '\0'; c++) /* whatever the locale thinks */
            *c = (char)(*c == ',' ? '.' : *c);
        if (nb_parse_f64(text, &back) && (uint32_t)((double)head_dim * back) == dim)
            break;
    }
    nb_str_puts(s, text);
}

static enum nb_status check_sayable(const struct nb_rope *r, struct nb_error *err)
{
    if (r->scaling == NB_ROPE_LLAMA3 && r->ctx_orig == 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "tensor '%s': not the divisors of llama3 scaling, so config.json cannot say them",
                NB_ROPE_DIVISORS_NAME);
    if (r->attention > 0.0F && r->scaling != NB_ROPE_YARN && r->scaling != NB_ROPE_LONGROPE)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "an attention factor of %g with rope_type '%s': config.json cannot say it",
                (double)r->attention, nb_rope_name(r->scaling));
    return NB_OK;
}

/* Can the old form say how windowed layers turn? */
static bool plain_local(const struct nb_hparams *hp)
{
    const struct nb_rope *r = &hp->rope_local;
    if (r->scaling != NB_ROPE_NONE || r->dim != hp->rope.dim)
        return false;
    return nb_rope_rules(hp->arch)->local_base_key != NULL || r->base == hp->rope.base;
}

static void put_layers(struct nb_str *s, const struct nb_hparams *hp, const struct nb_rope *r,
                       const char *layers)
{
    nb_str_printf(s, "\"%s\": {\"rope_theta\": ", layers);
    nb_str_real(s, r->base);
    nb_str_puts(s, ", \"partial_rotary_factor\": ");
    put_part(s, r->dim, hp->head_dim);
    nb_str_puts(s, ", ");
    put_scaling(s, r);
    nb_str_puts(s, "}");
}

static void put_flat(struct nb_str *s, const struct nb_hparams *hp)
{
    const struct nb_rope *r = &hp->rope;
    const struct nb_rope_rules *rules = nb_rope_rules(hp->arch);
    if (hp->rope_local.dim > 0 && rules->local_base_key != NULL) {
        nb_str_printf(s, "  \"%s\": ", rules->local_base_key);
        nb_str_real(s, hp->rope_local.base);
        nb_str_puts(s, ",\n");
    }
    if (r->dim != hp->head_dim || rules->part > 0.0) {
        nb_str_printf(
            s, "  \"%s\": ", rules->part_key != NULL ? rules->part_key : "partial_rotary_factor");
        put_part(s, r->dim, hp->head_dim);
        nb_str_puts(s, ",\n");
    }
    nb_str_printf(s, "  \"%s\": ", rules->base_key != NULL ? rules->base_key : "rope_theta");
    nb_str_real(s, r->base);
    nb_str_puts(s, ",\n  \"rope_scaling\": ");
    if (r->scaling == NB_ROPE_NONE) {
        nb_str_puts(s, "null,\n");
        return;
    }
    nb_str_puts(s, "{");
    put_scaling(s, r);
    nb_str_puts(s, "},\n");
}

enum nb_status nb_rope_to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    const struct nb_rope *r = &hp->rope;
    NB_TRY(check_sayable(r, err));
    if (hp->rope_local.dim > 0)
        NB_TRY(check_sayable(&hp->rope_local, err));
    if (r->scaling == NB_ROPE_LONGROPE && r->ctx_orig > 0)
        nb_str_printf(s, "  \"" ORIGINAL "\": %u,\n", r->ctx_orig);
    if (hp->rope_local.dim == 0 || plain_local(hp)) {
        put_flat(s, hp);
        return NB_OK;
    }
    nb_str_puts(s, "  \"rope_parameters\": {");
    put_layers(s, hp, r, GLOBAL);
    nb_str_puts(s, ", ");
    put_layers(s, hp, &hp->rope_local, LOCAL);
    nb_str_puts(s, "},\n");
    return NB_OK;
}
