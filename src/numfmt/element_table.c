/* numfmt/element_table.c: levels that are not equally far apart, by their formulas.
 *
 * nf4: quantiles of the normal distribution (Dettmers et al. 2023, QLoRA, appendix E): the table below.
 * pot: 0 and plus or minus 2^-i. log2: plus or minus 2^-i without 0 (logarithmic quantizers: Miyashita et
 * al. 2016); their codes: sign, i. apot: sums of two powers of two, one of each term's set (Li et al. 2020,
 * APoT): 5 bits are the paper's two terms of two bits, {0, 1, 1/4, 1/16} + {0, 1/2, 1/8, 1/32}; 4 bits
 * {0, 1, 1/2, 1/8} + {0, 1/4}, as its authors' experiments have it.
 */
#include "numfmt/grid.h"

#define NOT_A_LEVEL nb_f32_from_bits(0x7fc00000U)

static float nf4_value(uint32_t code)
{
    static const float level[16] = {
        -1.0F,
        -0.6961928009986877F,
        -0.5250730514526367F,
        -0.39491748809814453F,
        -0.28444138169288635F,
        -0.18477343022823334F,
        -0.09105003625154495F,
        0.0F,
        0.07958029955625534F,
        0.16093020141124725F,
        0.24611230194568634F,
        0.33791524171829224F,
        0.44070982933044434F,
        0.5626170039176941F,
        0.7229568362236023F,
        1.0F,
    };
    return level[code];
}

const struct nb_element nb_element_nf4 = {
    .name = "nf4",
    .summary = "16 quantiles of the normal distribution",
    .bits = 4,
    .dim = 1,
    .value = nf4_value,
};

static float signed_value(uint32_t code, uint32_t bits, float magnitude)
{
    return code >> (bits - 1) != 0 ? -magnitude : magnitude;
}

static float power(uint32_t i)
{
    return nb_f32_from_bits((127U - i) << 23);
}

/* Magnitude code 0 is 0, code i is 2^(1 - i). */
static float pot(uint32_t code, uint32_t bits)
{
    const uint32_t i = code & ((1U << (bits - 1)) - 1);
    if (i == 0)
        return code == 0 ? 0.0F : NOT_A_LEVEL;
    return signed_value(code, bits, power(i - 1));
}

static float log2_level(uint32_t code, uint32_t bits)
{
    return signed_value(code, bits, power(code & ((1U << (bits - 1)) - 1)));
}

/* Magnitude bits: a first term of `first` bits, then a second. */
static float apot(uint32_t code, uint32_t bits, const float *first, uint32_t first_bits,
                  const float *second)
{
    const uint32_t mag = code & ((1U << (bits - 1)) - 1);
    const float m = first[mag & ((1U << first_bits) - 1)] + second[mag >> first_bits];
    if (mag == 0 && code != 0)
        return NOT_A_LEVEL;
    return signed_value(code, bits, m);
}

static float apot4_value(uint32_t code)
{
    static const float first[4] = {0.0F, 0x1p0F, 0x1p-1F, 0x1p-3F};
    static const float second[2] = {0.0F, 0x1p-2F};
    return apot(code, 4, first, 2, second);
}

static float apot5_value(uint32_t code)
{
    static const float first[4] = {0.0F, 0x1p0F, 0x1p-2F, 0x1p-4F};
    static const float second[4] = {0.0F, 0x1p-1F, 0x1p-3F, 0x1p-5F};
    return apot(code, 5, first, 2, second);
}

static float pot3_value(uint32_t code)
{
    return pot(code, 3);
}

static float pot4_value(uint32_t code)
{
    return pot(code, 4);
}

static float log2_3_value(uint32_t code)
{
    return log2_level(code, 3);
}

static float log2_4_value(uint32_t code)
{
    return log2_level(code, 4);
}

#define TABLE(id, b, u, text)                                                                      \
    const struct nb_element nb_element_##id = {                                                    \
        .name = #id,                                                                               \
        .summary = text,                                                                           \
        .bits = b,                                                                                 \
        .dim = 1,                                                                                  \
        .value = id##_value,                                                                       \
        .unit = u,                                                                                 \
    };

TABLE(pot3, 3, 0x1p-2F, "0 and powers of two, 3 magnitudes")
TABLE(pot4, 4, 0x1p-6F, "0 and powers of two, 7 magnitudes")
TABLE(log2_3, 3, 0x1p-3F, "powers of two, 4 magnitudes, no 0")
TABLE(log2_4, 4, 0.0F, "powers of two, 8 magnitudes, no 0")
TABLE(apot4, 4, 0x1p-3F, "sums of two powers of two, 4 bits")
TABLE(apot5, 5, 0x1p-5F, "sums of two powers of two, 5 bits")
