/* base/half.h: f16 and bf16 <-> f32, one value, exact, round to nearest even.
 *
 * NaN stays a quiet NaN (bf16: quiet bit 0x40 set); f16 overflow goes to infinity.
 */
#ifndef NB_BASE_HALF_H
#define NB_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t nb_f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float nb_f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float nb_bf16_to_f32(uint16_t h)
{
    return nb_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t nb_f32_to_bf16(float f)
{
    uint32_t u = nb_f32_bits(f);
    if ((u & 0x7fffffffU) > 0x7f800000U)
        return (uint16_t)((u >> 16) | 0x40U);
    return (uint16_t)((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
}

static inline float nb_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000U) << 16;
    const uint32_t mag = h & 0x7fffU;
    if (mag >= 0x7c00U) /* inf, NaN: exponent all ones, payload kept, quiet */
        return nb_f32_from_bits(sign | 0x7f800000U | ((mag & 0x3ffU) << 13) |
                                (mag > 0x7c00U ? 0x400000U : 0U));
    if (mag >= 0x400U)
        return nb_f32_from_bits(sign | ((mag << 13) + (112U << 23)));
    /* subnormal: mag * 2^-24, exact in f32 */
    const float f = (float)mag * 0x1p-24f;
    return nb_f32_from_bits(sign | nb_f32_bits(f));
}

static inline uint16_t nb_f32_to_f16(float f)
{
    const uint32_t u = nb_f32_bits(f);
    const uint32_t sign = (u >> 16) & 0x8000U;
    uint32_t mag = u & 0x7fffffffU;
    if (mag > 0x7f800000U)
        return (uint16_t)(sign | 0x7e00U | ((mag >> 13) & 0x3ffU));
    if (mag >= 0x477ff000U) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00U);
    /* Below 2^-14: adding 0.5 rounds to a multiple of 2^-24, nearest even. */
    if (mag < 0x38800000U) {
        const float r = nb_f32_from_bits(mag) + 0.5f;
        return (uint16_t)(sign | (nb_f32_bits(r) - 0x3f000000U));
    }
    mag += 0xfffU + ((mag >> 13) & 1U);
    return (uint16_t)(sign | ((mag - (112U << 23)) >> 13));
}

#endif
