/* numfmt/element_float.c: narrow floats: FP8 E4M3 (no infinity) and E5M2, FP6 E2M3 and E3M2, FP4 E2M1 (OCP
 * FP8 and MX specifications).
 *
 * Codes are the specification's bytes: sign, exponent, mantissa. Rounding is to nearest, ties to even;
 * what lies beyond the largest finite number becomes it. Infinities, NaN and minus zero are no levels.
 */
#include "numfmt/grid.h"

#include "numfmt/numfmt_internal.h"

static float value_of(uint32_t code, uint32_t e_bits, uint32_t m_bits, uint32_t largest)
{
    const uint32_t bias = (1U << (e_bits - 1)) - 1;
    const uint32_t mag = code & ((1U << (e_bits + m_bits)) - 1);
    const uint32_t e = mag >> m_bits;
    const uint32_t m = mag & ((1U << m_bits) - 1);
    const uint32_t sign = code >> (e_bits + m_bits) << 31;
    if (mag > largest || (mag == 0 && sign != 0))
        return nb_f32_from_bits(0x7fc00000U);
    const float unit = nb_f32_from_bits((128U - bias - m_bits) << 23); /* 2^(1 - bias - m_bits) */
    const float v =
        e == 0 ? (float)m * unit : nb_f32_from_bits((e + 127U - bias) << 23 | m << (23U - m_bits));
    return sign != 0 ? -v : v;
}

/* Adding a power of two cuts the mantissa at its last bit and rounds to even. */
static void snap(const float *t, float *v, size_t n, uint32_t m_bits, float smallest, float largest)
{
    for (size_t i = 0; i < n; i++) {
        float a = t[i] > largest ? largest : t[i];
        a = a < -largest ? -largest : a;
        const uint32_t bits = nb_f32_bits(a);
        float base = nb_f32_from_bits(bits & 0x7f800000U);
        base = base < smallest ? smallest : base;
        /* 1.5 base 2^(23 - m_bits): its last mantissa bit weighs base 2^-m_bits */
        const float magic = base * 1.5F * nb_f32_from_bits((150U - m_bits) << 23);
        const float r = a + magic;
        v[i] = r - magic;
    }
}

#define FLOATS(id, e, m, top_code, top, low, u, text)                                              \
    static float value_##id(uint32_t code)                                                         \
    {                                                                                              \
        return value_of(code, e, m, top_code);                                                     \
    }                                                                                              \
    static void snap_##id(const struct nb_levels *lv, const float *t, float *v, size_t n)          \
    {                                                                                              \
        (void)lv;                                                                                  \
        snap(t, v, n, m, low, top);                                                                \
    }                                                                                              \
    const struct nb_element nb_element_##id = {                                                    \
        .name = #id,                                                                               \
        .summary = text,                                                                           \
        .bits = 1 + (e) + (m),                                                                     \
        .dim = 1,                                                                                  \
        .value = value_##id,                                                                       \
        .snap = snap_##id,                                                                         \
        .unit = u,                                                                                 \
    };

/* largest code, largest value, smallest normal, unit of integers that fit a byte */
FLOATS(fp8_e4m3, 4, 3, 0x7e, 448.0F, 0x1p-6F, 0.0F, "FP8: 4 exponent bits, 3 mantissa bits, to 448")
FLOATS(fp8_e5m2, 5, 2, 0x7b, 57344.0F, 0x1p-14F, 0.0F, "FP8: 5 exponent bits, 2 mantissa bits")
FLOATS(fp6_e2m3, 2, 3, 0x1f, 7.5F, 1.0F, 0.125F, "FP6: 2 exponent bits, 3 mantissa bits, to 7.5")
FLOATS(fp6_e3m2, 3, 2, 0x1f, 28.0F, 0.25F, 0.0F, "FP6: 3 exponent bits, 2 mantissa bits, to 28")
FLOATS(fp4_e2m1, 2, 1, 0x07, 6.0F, 1.0F, 0.5F, "FP4: 0 0.5 1 1.5 2 3 4 6 and their negatives")
