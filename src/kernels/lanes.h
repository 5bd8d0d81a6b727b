/* kernels/lanes.h: a vector whose lanes are independent problems, one set of names for every ISA.
 *
 * The encoders give each lane a sub-block of its own and walk its elements in index order, so the
 * number of lanes changes the speed and never a bit. Only operations that IEEE 754 defines exactly
 * are used: + - * /, comparison, selection, integer bits; no fma, no reciprocal estimate.
 * vf_min(a, b) is a < b ? a : b and vf_max(a, b) is a > b ? a : b on every ISA, signed zeros included.
 *
 * Before including: NB_LANES_REF, NB_LANES_AVX2 or NB_LANES_NEON.
 */
#ifndef NB_KERNELS_LANES_H
#define NB_KERNELS_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NB_LANES_INLINE static inline __attribute__((always_inline))

#if defined(NB_LANES_REF)

enum { LANES = 1 };
typedef float vf;
typedef uint32_t vu;

#elif defined(NB_LANES_AVX2)

#include <immintrin.h>
enum { LANES = 8 };
typedef float vf __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));

#elif defined(NB_LANES_NEON)

#include <arm_neon.h>
enum { LANES = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));

#endif

NB_LANES_INLINE vu vf_bits(vf a)
{
    vu r;
    memcpy(&r, &a, sizeof r);
    return r;
}

NB_LANES_INLINE vf vu_float(vu a)
{
    vf r;
    memcpy(&r, &a, sizeof r);
    return r;
}

NB_LANES_INLINE vf vf_load(const float *p)
{
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}

NB_LANES_INLINE void vf_store(float *p, vf a)
{
    memcpy(p, &a, sizeof a);
}

NB_LANES_INLINE void vu_store(uint32_t *p, vu a)
{
    memcpy(p, &a, sizeof a);
}

#if defined(NB_LANES_REF)

NB_LANES_INLINE vf vf_set(float a)
{
    return a;
}

NB_LANES_INLINE vu vu_set(uint32_t a)
{
    return a;
}

NB_LANES_INLINE vu vf_lt(vf a, vf b)
{
    return a < b ? ~0U : 0U;
}

NB_LANES_INLINE vf vf_select(vu mask, vf yes, vf no)
{
    return mask != 0 ? yes : no;
}

NB_LANES_INLINE vf vf_min(vf a, vf b)
{
    return a < b ? a : b;
}

NB_LANES_INLINE vf vf_max(vf a, vf b)
{
    return a > b ? a : b;
}

#else

NB_LANES_INLINE vf vf_set(float a)
{
    return a - (vf){0}; /* a scalar operand is spread over the lanes; a - 0 is a, sign included */
}

NB_LANES_INLINE vu vu_set(uint32_t a)
{
    return a | (vu){0};
}

NB_LANES_INLINE vu vf_lt(vf a, vf b)
{
    return (vu)(a < b);
}

#if defined(NB_LANES_AVX2)

NB_LANES_INLINE vf vf_select(vu mask, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, vu_float(mask));
}

NB_LANES_INLINE vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}

NB_LANES_INLINE vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

#else

NB_LANES_INLINE vf vf_select(vu mask, vf yes, vf no)
{
    return vu_float((vf_bits(yes) & mask) | (vf_bits(no) & ~mask));
}

NB_LANES_INLINE vf vf_min(vf a, vf b)
{
    return vf_select(vf_lt(a, b), a, b);
}

NB_LANES_INLINE vf vf_max(vf a, vf b)
{
    return vf_select(vf_lt(b, a), a, b);
}

#endif
#endif

NB_LANES_INLINE vf vf_abs(vf a)
{
    return vu_float(vf_bits(a) & 0x7fffffffU);
}

/* Nearest integer, ties to even, |t| < 2^22. Whether 0 has a sign differs: nobody may look. */
NB_LANES_INLINE vf vf_rint(vf t)
{
#if defined(NB_LANES_AVX2)
    return _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(NB_LANES_NEON)
    return vrndnq_f32(t);
#else
    return (t + 12582912.0F) - 12582912.0F;
#endif
}

/* The nearest code in lo..hi, as a float. */
NB_LANES_INLINE vf vf_code(vf t, float lo, float hi)
{
    return vf_rint(vf_min(vf_max(t, vf_set(lo)), vf_set(hi)));
}

/* A small integer held in a float, as the low bits of a two's complement number. */
NB_LANES_INLINE vu vf_int_bits(vf t)
{
    return vf_bits(t + 12582912.0F) - 0x4b400000U;
}

/* table[i], lane by lane; only the low three bits of i count. */
NB_LANES_INLINE vf vf_pick8(const float *table, vu i)
{
#if defined(NB_LANES_REF)
    return table[i & 7U];
#elif defined(NB_LANES_AVX2)
    return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)i);
#else
    const uint8x16x2_t bytes = {
        {vreinterpretq_u8_f32(vld1q_f32(table)), vreinterpretq_u8_f32(vld1q_f32(table + 4))}};
    const vu at = (i & 7U) * 0x04040404U + 0x03020100U;
    return (vf)vreinterpretq_f32_u8(vqtbl2q_u8(bytes, vreinterpretq_u8_u32((uint32x4_t)at)));
#endif
}

/* 1 / a, and 0 for 0. */
NB_LANES_INLINE vf vf_inverse(vf a)
{
    const vf zero = vf_set(0.0F);
    const vu nonzero = vf_lt(zero, vf_abs(a));
    return vf_select(nonzero, vf_set(1.0F) / vf_select(nonzero, a, vf_set(1.0F)), zero);
}

/* What an f16 field gives back: nearest even, saturating at 65504. |a| finite. */
NB_LANES_INLINE vf vf_via_f16(vf a)
{
    const vu sign = vf_bits(a) & 0x80000000U;
    const vf mag = vf_abs(a);
    const vu bits = vf_bits(mag);
    const vf normal = vu_float((bits + 0xfffU + ((bits >> 13) & 1U)) & 0xffffe000U);
    const vf small = (mag + 0.5F) - 0.5F; /* multiples of 2^-24 */
    const vf r = vf_select(vf_lt(mag, vf_set(0x1p-14F)), small, vf_min(normal, vf_set(65504.0F)));
    return vu_float(vf_bits(r) | sign);
}

/* x[i] lane l = row[l][i], i < n; n a multiple of 8. */
NB_LANES_INLINE void vf_load_rows(vf *x, const float *const row[LANES], int n)
{
#if defined(NB_LANES_AVX2)
    for (int i = 0; i < n; i += 8) {
        __m256 r[8];
        __m256 t[8];
        for (int l = 0; l < 8; l++)
            r[l] = _mm256_loadu_ps(row[l] + i);
        for (int l = 0; l < 8; l += 2) {
            t[l] = _mm256_unpacklo_ps(r[l], r[l + 1]);
            t[l + 1] = _mm256_unpackhi_ps(r[l], r[l + 1]);
        }
        for (int h = 0; h < 8; h += 4) {
            r[h] = _mm256_shuffle_ps(t[h], t[h + 2], 0x44);
            r[h + 1] = _mm256_shuffle_ps(t[h], t[h + 2], 0xee);
            r[h + 2] = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0x44);
            r[h + 3] = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0xee);
        }
        for (int l = 0; l < 4; l++) {
            x[i + l] = _mm256_permute2f128_ps(r[l], r[l + 4], 0x20);
            x[i + l + 4] = _mm256_permute2f128_ps(r[l], r[l + 4], 0x31);
        }
    }
#else
    for (int i = 0; i < n; i++) {
        float lane[LANES];
        for (int l = 0; l < LANES; l++)
            lane[l] = row[l][i];
        x[i] = vf_load(lane);
    }
#endif
}

/* x[i] lane l = src[l * n + i], i < n; n a multiple of 8. Only `used` rows exist: the lanes beyond
 * repeat the last one. */
NB_LANES_INLINE void vf_load_turned(vf *x, const float *src, int n, size_t used)
{
    const float *row[LANES];
    for (size_t l = 0; l < LANES; l++)
        row[l] = src + (l < used ? l : used - 1) * (size_t)n;
    vf_load_rows(x, row, n);
}

#endif
