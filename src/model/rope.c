/* model/rope.c: rotary embeddings: scaling rules in and out of files, and the divisors they mean.
 *
 * Rules: docs/architectures.md (config.json) and 1.6, 1.7 (GGUF, where llama3's scaling is no key but
 * a tensor of divisors). Linear and llama3 scaling; dynamic, yarn and longrope are refused by name.
 */
#include "model/model_internal.h"

#include <string.h>

#include "math/math.h"

#define TWO_PI     6.283185307179586476925
#define BASE_MAX   1e12
#define FACTOR_MAX 1e6
#define CTX_MAX    INT32_MAX

/* ---- divisors ---- */

/* Wave length of frequency i: 2 pi base^(2i / rope_dim). */
static double wave_length(const struct nb_hparams *hp, uint32_t i)
{
    return TWO_PI * nb_pow((double)hp->rope.base, 2.0 * (double)i / (double)hp->rope.dim);
}

static float llama3_divisor(const struct nb_hparams *hp, uint32_t i)
{
    const double f = (double)hp->rope.factor, lo = (double)hp->rope.low_freq;
    const double hi = (double)hp->rope.high_freq, ctx = (double)hp->rope.ctx_orig;
    const double wave = wave_length(hp, i);
    if (wave < ctx / hi)
        return 1.0F;
    if (wave > ctx / lo)
        return hp->rope.factor;
    const double s = (ctx / wave - lo) / (hi - lo);
    return (float)(1.0 / ((1.0 - s) / f + s));
}

void nb_rope_divisors(const struct nb_hparams *hp, float *out)
{
    for (uint32_t i = 0; i < hp->rope.dim / 2; i++) {
        if (hp->rope.scaling == NB_ROPE_LLAMA3)
            out[i] = llama3_divisor(hp, i);
        else
            out[i] = hp->rope.scaling == NB_ROPE_LINEAR ? hp->rope.factor : 1.0F;
    }
}

/* Do hp's parameters give these divisors, up to the rounding of whoever computed them? */
static bool gives(const struct nb_hparams *hp, const float *divisors)
{
    for (uint32_t i = 0; i < hp->rope.dim / 2; i++) {
        const double want = (double)divisors[i];
        const double diff = (double)llama3_divisor(hp, i) - want;
        if (!(want >= 1.0) || diff > 1e-4 * want || -diff > 1e-4 * want)
            return false;
    }
    return true;
}

/* Between the bounds s = a / wave + b with a = ctx / (hi - lo), b = -lo / (hi - lo): two points give a
 * and b. Only ratios are determined, so lo = 1, which is what every model has. */
bool nb_rope_from_divisors(struct nb_hparams *hp, const float *divisors)
{
    const uint32_t n = hp->rope.dim / 2;
    struct nb_hparams try = *hp;
    uint32_t first = n, last = n;
    if (n == 0)
        return false;
    try.rope.scaling = NB_ROPE_LLAMA3;
    try.rope.factor = divisors[n - 1];
    const double f = (double)try.rope.factor;
    for (uint32_t i = 0; i < n; i++)
        if ((double)divisors[i] > 1.0 + 1e-6 && (double)divisors[i] < f * (1.0 - 1e-6)) {
            first = first == n ? i : first;
            last = i;
        }
    if (first == n || !(f > 1.0 && f <= FACTOR_MAX))
        return false;
    const double s0 = (1.0 / (double)divisors[first] - 1.0 / f) / (1.0 - 1.0 / f);
    const double s1 = (1.0 / (double)divisors[last] - 1.0 / f) / (1.0 - 1.0 / f);
    const double x0 = 1.0 / wave_length(hp, first), x1 = 1.0 / wave_length(hp, last);
    double hi = 4.0; /* as every model has it, should there be one point only */
    if (first < last)
        hi = 1.0 - 1.0 / (s0 - (s0 - s1) / (x0 - x1) * x0);
    const double ctx = (s0 * (hi - 1.0) + 1.0) / x0;
    if (!(hi > 1.0 && hi < 1e6 && ctx >= 1.0 && ctx < (double)CTX_MAX))
        return false;
    try.rope.low_freq = 1.0F;
    try.rope.high_freq = (float)((double)(uint64_t)(hi * 100.0 + 0.5) / 100.0);
    try.rope.ctx_orig = (uint32_t)(ctx + 0.5);
    if (!gives(&try, divisors))
        return false;
    *hp = try;
    return true;
}

/* ---- config.json ---- */

static enum nb_status llama3_from_hf(struct nb_hparams *hp, const nb_json *rope,
                                     struct nb_error *err)
{
    static const struct nb_hparam_field ctx = {.hf = "original_max_position_embeddings",
                                               .offset = offsetof(struct nb_hparams, rope.ctx_orig),
                                               .min = 1,
                                               .max = CTX_MAX};
    hp->rope.scaling = NB_ROPE_LLAMA3;
    hp->rope.low_freq = hp->rope.high_freq = 0;
    NB_TRY(nb_config_real(rope, "low_freq_factor", 1e-6, FACTOR_MAX, &hp->rope.low_freq, err));
    NB_TRY(nb_config_real(rope, "high_freq_factor", 1e-6, FACTOR_MAX, &hp->rope.high_freq, err));
    NB_TRY(nb_hparams_read_hf(hp, rope, &ctx, 1, err));
    if (hp->rope.low_freq <= 0 || hp->rope.high_freq <= hp->rope.low_freq)
        NB_FAIL(err, NB_ERR_FORMAT,
                "config.json: rope_scaling has low_freq_factor %g and high_freq_factor %g, "
                "expected 0 < low < high",
                (double)hp->rope.low_freq, (double)hp->rope.high_freq);
    return NB_OK;
}

static enum nb_status scaling_from_hf(struct nb_hparams *hp, const nb_json *rope,
                                      struct nb_error *err)
{
    char quote[64];
    size_t n;
    const char *type = nb_json_string(nb_json_get(rope, "rope_type"), &n);
    if (type == NULL)
        type = nb_json_string(nb_json_get(rope, "type"), &n);
    if (type == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: rope_scaling has no 'rope_type' text (settings per layer type are "
                "not supported)");
    if (strcmp(type, "default") == 0)
        return NB_OK;
    const bool llama3 = strcmp(type, "llama3") == 0;
    if (!llama3 && strcmp(type, "linear") != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: rope_scaling of type '%s', supported are default, linear and llama3",
                nb_printable(quote, sizeof quote, type, n));
    hp->rope.scaling = NB_ROPE_LINEAR;
    hp->rope.factor = 0;
    NB_TRY(nb_config_real(rope, "factor", 1.0, FACTOR_MAX, &hp->rope.factor, err));
    if (hp->rope.factor <= 0)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: rope_scaling has no 'factor'");
    return llama3 ? llama3_from_hf(hp, rope, err) : NB_OK;
}

enum nb_status nb_rope_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    const nb_json *rope = nb_json_get(config, "rope_scaling");
    float partial = 1.0F;
    hp->rope.base = 10000.0F;
    hp->rope.scaling = NB_ROPE_NONE;
    hp->rope.factor = 1.0F;
    hp->rope.dim = hp->head_dim;
    NB_TRY(nb_config_real(config, "rope_theta", 1.0, BASE_MAX, &hp->rope.base, err));
    NB_TRY(nb_config_real(config, "partial_rotary_factor", 0.0, 1.0, &partial, err));
    if (nb_json_type(rope) != NB_JSON_OBJECT)
        rope = nb_json_get(config, "rope_parameters"); /* the newer name; holds rope_theta too */
    if (nb_json_type(rope) == NB_JSON_OBJECT) {
        NB_TRY(nb_config_real(rope, "rope_theta", 1.0, BASE_MAX, &hp->rope.base, err));
        NB_TRY(nb_config_real(rope, "partial_rotary_factor", 0.0, 1.0, &partial, err));
        NB_TRY(scaling_from_hf(hp, rope, err));
    }
    if (partial < 1.0F)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: partial_rotary_factor is %g, architecture %s rotates whole heads",
                (double)partial, hp->arch->name);
    return NB_OK;
}

enum nb_status nb_rope_to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    nb_str_puts(s, "  \"rope_theta\": ");
    nb_str_real(s, hp->rope.base);
    if (hp->rope.scaling == NB_ROPE_NONE) {
        nb_str_puts(s, ",\n  \"rope_scaling\": null,\n");
        return NB_OK;
    }
    if (hp->rope.scaling == NB_ROPE_LLAMA3 && hp->rope.ctx_orig == 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "tensor '%s': not the divisors of llama3 scaling, so config.json cannot say them",
                NB_ROPE_DIVISORS_NAME);
    nb_str_puts(s, ",\n  \"rope_scaling\": {\"rope_type\": ");
    nb_str_puts(s, hp->rope.scaling == NB_ROPE_LINEAR ? "\"linear\"" : "\"llama3\"");
    nb_str_puts(s, ", \"factor\": ");
    nb_str_real(s, hp->rope.factor);
    if (hp->rope.scaling == NB_ROPE_LLAMA3) {
        nb_str_puts(s, ", \"low_freq_factor\": ");
        nb_str_real(s, hp->rope.low_freq);
        nb_str_puts(s, ", \"high_freq_factor\": ");
        nb_str_real(s, hp->rope.high_freq);
        nb_str_printf(s, ", \"original_max_position_embeddings\": %u", hp->rope.ctx_orig);
    }
    nb_str_puts(s, "},\n");
    return NB_OK;
}

/* ---- GGUF ---- */

enum nb_status nb_rope_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                 struct nb_error *err)
{
    static const struct nb_hparam_field dim = {.suffix = "rope.dimension_count",
                                               .offset = offsetof(struct nb_hparams, rope.dim),
                                               .min = 1,
                                               .max = 65536,
                                               .optional = true};
    const char *arch = hp->arch->name;
    char key[NB_KEY_BYTES], quote[64];
    struct nb_text type = {"", 0};
    hp->rope.base = 10000.0F;
    hp->rope.scaling = NB_ROPE_NONE;
    hp->rope.factor = 1.0F;
    hp->rope.dim = hp->head_dim;
    NB_TRY(nb_meta_real(meta, arch, "rope.freq_base", 1.0, BASE_MAX, &hp->rope.base, err));
    NB_TRY(nb_hparams_read_meta(hp, meta, &dim, 1, err));
    if (hp->rope.dim != hp->head_dim)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "metadata: %s.rope.dimension_count is %u, expected the head size %u", arch,
                hp->rope.dim, hp->head_dim);
    (void)nb_meta_text(meta, nb_meta_key(key, arch, "rope.scaling.type"), &type);
    const bool none = type.n == 4 && memcmp(type.s, "none", 4) == 0;
    if (type.n > 0 && !none && !(type.n == 6 && memcmp(type.s, "linear", 6) == 0))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "metadata: %s is '%s', supported are none and linear", key,
                nb_printable(quote, sizeof quote, type.s, type.n));
    float factor = 0.0F;
    NB_TRY(nb_meta_real(meta, arch, "rope.scaling.factor", 0.0, FACTOR_MAX, &factor, err));
    if (factor == 0.0F) /* the older name */
        NB_TRY(nb_meta_real(meta, arch, "rope.scale_linear", 0.0, FACTOR_MAX, &factor, err));
    if (none || factor == 0.0F || factor == 1.0F)
        return NB_OK;
    hp->rope.scaling = NB_ROPE_LINEAR;
    hp->rope.factor = factor;
    return NB_OK;
}

enum nb_status nb_rope_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    const char *arch = hp->arch->name;
    char key[NB_KEY_BYTES];
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, "rope.dimension_count"), hp->rope.dim));
    NB_TRY(nb_meta_set_f32(meta, nb_meta_key(key, arch, "rope.freq_base"), hp->rope.base));
    if (hp->rope.scaling != NB_ROPE_LINEAR)
        return NB_OK;
    NB_TRY(nb_meta_set_text(meta, nb_meta_key(key, arch, "rope.scaling.type"), "linear", 6));
    return nb_meta_set_f32(meta, nb_meta_key(key, arch, "rope.scaling.factor"), hp->rope.factor);
}
