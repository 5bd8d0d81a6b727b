/* numfmt/scale_store.c: how scales are stored: f32, f16, bf16, E8M0 and E4M3 (OCP MX and FP8), 8 bits; and the
 * names of the ways to search them. */
#include <string.h>

#include "numfmt/scale_internal.h"

/* ---- names ---- */

static const char *const method_names[] = {
    [NB_SCALE_MSE] = "mse",
    [NB_SCALE_EXACT] = "exact",
    [NB_SCALE_ABSMAX] = "absmax",
    [NB_SCALE_MINMAX] = "minmax",
    [NB_SCALE_PERCENTILE] = "percentile",
    [NB_SCALE_ENTROPY] = "entropy",
    [NB_SCALE_ABSMEAN] = "absmean",
};

const char *nb_scale_method_name(enum nb_scale_method m)
{
    return method_names[m];
}

/* A number of at most nine digits with a point, "99.99". */
static bool parse_number(float *v, const char *s)
{
    double n = 0.0;
    double unit = 0.0;
    size_t len = 0;
    for (; *s != '\0' && len < 10; s++, len++) {
        if (*s == '.' && unit == 0.0) {
            unit = 1.0;
            continue;
        }
        if (*s < '0' || *s > '9')
            return false;
        n = n * 10.0 + (double)(*s - '0');
        unit *= 10.0;
    }
    *v = (float)(unit > 0.0 ? n / unit : n);
    return *s == '\0' && len > 0;
}

bool nb_scale_options_parse(struct nb_scale_options *o, const char *text)
{
    *o = (struct nb_scale_options){.method = NB_SCALE_MSE};
    for (size_t i = 0; i < NB_COUNTOF(method_names); i++) {
        const size_t n = strlen(method_names[i]);
        if (strncmp(method_names[i], text, n) != 0 || (text[n] != '\0' && text[n] != ':'))
            continue;
        o->method = (enum nb_scale_method)i;
        if (text[n] == '\0')
            return true;
        return o->method == NB_SCALE_PERCENTILE && parse_number(&o->percentile, text + n + 1) &&
               o->percentile > 0.0F && o->percentile <= 100.0F;
    }
    return false;
}

/* ---- stores ---- */

/* Positive FP8 E4M3: 7 exponent values of subnormals, then 2^(e - 7) (1 + m / 8), 0x7f is NaN. */
static float e4m3_value(uint32_t code)
{
    const uint32_t e = code >> 3 & 15U;
    const uint32_t m = code & 7U;
    if (e == 0)
        return (float)m * 0x1p-9F;
    return nb_f32_from_bits((e + 120U) << 23 | m << 20);
}

static uint32_t e4m3_code(float s)
{
    if (!(s > 0.0F))
        return 0;
    if (s >= 448.0F)
        return 0x7e;
    if (s < 0x1p-6F)
        return (uint32_t)nb_rne(s * 0x1p9F);
    const uint32_t u = nb_f32_bits(s) + 0x7ffffU + (nb_f32_bits(s) >> 20 & 1U);
    return (u >> 20) - (120U << 3);
}

static uint32_t e8m0_code(float s)
{
    const float root2 = 1.41421356F;
    const uint32_t e = nb_f32_bits(s) >> 23 & 255U;
    if (e == 0)
        return 0;
    const float mantissa = nb_f32_from_bits((nb_f32_bits(s) & 0x7fffffU) | 127U << 23);
    return NB_MIN(e + (mantissa > root2), 254U);
}

uint32_t nb_scale_code(enum nb_scale_store store, float scale2, float s)
{
    if (store == NB_SCALE_F16)
        return nb_f32_to_f16(s > NB_F16_MAX ? NB_F16_MAX : s < -NB_F16_MAX ? -NB_F16_MAX : s);
    if (store == NB_SCALE_BF16)
        return nb_f32_to_bf16(s);
    if (store == NB_SCALE_E8M0)
        return e8m0_code(s);
    if (store == NB_SCALE_E4M3)
        return e4m3_code(s * nb_inverse(scale2));
    if (store == NB_SCALE_U8)
        return (uint32_t)nb_code(s, nb_inverse(scale2), 0.0F, 255.0F);
    return nb_f32_bits(s);
}

float nb_scale_value(enum nb_scale_store store, float scale2, uint32_t code)
{
    if (store == NB_SCALE_F16)
        return nb_f16_to_f32((uint16_t)code);
    if (store == NB_SCALE_BF16)
        return nb_bf16_to_f32((uint16_t)code);
    if (store == NB_SCALE_E8M0)
        return code == 0 ? 0x1p-127F : nb_f32_from_bits(code << 23);
    if (store == NB_SCALE_E4M3)
        return e4m3_value(code) * scale2;
    if (store == NB_SCALE_U8)
        return (float)code * scale2;
    return store == NB_SCALE_NONE ? 1.0F : nb_f32_from_bits(code);
}

float nb_scale_stored(const struct nb_scale_problem *p, float s)
{
    return nb_scale_value(p->store, p->scale2, nb_scale_code(p->store, p->scale2, s));
}

bool nb_scale_is_coarse(const struct nb_scale_problem *p)
{
    return p->store == NB_SCALE_E8M0 || p->store == NB_SCALE_E4M3 || p->store == NB_SCALE_U8;
}

bool nb_scale_is_signed(const struct nb_scale_problem *p)
{
    return !nb_scale_is_coarse(p) && p->store != NB_SCALE_NONE && !p->positive;
}
