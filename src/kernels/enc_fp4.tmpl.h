/* kernels/enc_fp4.tmpl.h: encoding into mxfp4 (32 E2M1 values, a power of two as scale) and nvfp4 (16 E2M1
 * values, an E4M3 scale), a scale's values per lane. Every scale that can be best is tried by its true
 * weighted squared error. E2M1 values are doubled here: 0 1 2 3 4 6 8 12.
 *
 * Which scales can be best. A scale 2 s is no better than s if no magnitude reaches 10 s: the values it then
 * gives, 0 2 4 6 8, are values of s.
 *  - mxfp4: with the largest magnitude in [8, 16) s no scale above 2 s is needed. Without weights none below
 *    s / 2: at s / 4 a magnitude above 3 s has no smaller error than at s, below it gains at most s^2 / 4, 31 of
 *    them 7.75 s^2, while the largest loses 21 s^2. With weights of mean 1 that are at least 1e-3, as
 *    importance gives them, the same comparison of s / 2^k and s / 2^(k+1) ends at k = 7: 32 4^-k / 4 to gain,
 *    0.09 2^-k to lose. So 3 and 9 scales are all there are.
 *  - nvfp4: E4M3 scales above amax / 2.5 are no better than their half, unless E4M3 lacks it, and those few
 *    (odd multiples of 2^-9) lie in reach. All codes from amax / 12 on are tried, with weights from
 *    amax / 24: a smaller one would clip the largest magnitude to less than half (a quarter).
 */
#include "kernels/enc_common.h"
#include "kernels/fp4.h"

enum { MX_BLOCK = 32, MX_BYTES = 17, NV_SUB = 16, NV_SUBS = 4, NV_BYTES = 36 };

NB_LANES_INLINE vf fp4_round(vf a)
{
    a = vf_min(a, vf_set((float)NB_FP4_TOP));
    const vu size = vf_bits(vf_max(a, vf_set(2.0F))) & 0x7f800000U;
    const vf shift = vu_float(size + (22U << 23));
    return (a + shift) - shift;
}

/* Of magnitudes a stored with this scale. w NULL: all ones. */
NB_LANES_INLINE vf fp4_error(const vf *a, const vf *w, int n, vf scale, vf inv)
{
    vf sum = vf_set(0.0F);
    for (int i = 0; i < n; i++) {
        const vf diff = a[i] - fp4_round(a[i] * inv) * scale;
        sum += (w != NULL ? w[i] * diff : diff) * diff;
    }
    return sum;
}

/* Takes the signs off, element i's into bit i. */
NB_LANES_INLINE vu fp4_take_signs(vf *x, int n)
{
    vu signs = vu_set(0U);
    for (int i = 0; i < n; i++) {
        signs |= vf_bits(x[i]) >> 31 << i;
        x[i] = vf_abs(x[i]);
    }
    return signs;
}

/* The nibble of element i: the value's place in the table, and the sign, which a zero does not get. */
NB_LANES_INLINE vu fp4_nibble(vf a, vf inv, vu signs, int i)
{
    const vf q = fp4_round(a * inv);
    const vu small = vf_lt(q, vf_set(2.0F));
    const vu place = (vf_int_bits(q) & small) | (((vf_bits(q) >> 22) - 254U) & ~small);
    return place | ((signs >> i << 3 & 8U) & vf_lt(vf_set(0.5F), q));
}

/* A number below 2^23 as a float. */
NB_LANES_INLINE vf fp4_float(vu a)
{
    return vu_float(a | 0x4b000000U) - 8388608.0F;
}

/* 2^e, e held in a float, -126..127. */
NB_LANES_INLINE vf fp4_exp2(vf e)
{
    return vu_float((vf_int_bits(e) + 127U) << 23);
}

/* Brings the block's largest magnitude into [8, 16), whatever its size: two factors, because one could
 * not be a float. Only magnitudes that no code can hold are rounded. Returns the exponent that the power of
 * two of scale 1 would be stored with. */
NB_LANES_INLINE vf mx_resize(vf *x)
{
    const vf e = fp4_float(vf_bits(abs_max(x, MX_BLOCK)) >> 23);
    const vf grow = vf_set(130.0F) - e;
    const vf half = vf_rint(grow * 0.5F);
    const vf first = fp4_exp2(half);
    const vf second = fp4_exp2(grow - half);
    for (int i = 0; i < MX_BLOCK; i++)
        x[i] = x[i] * first * second;
    return e - 2.0F;
}

NB_LANES_INLINE void mxfp4_round(uint8_t *dst, const float *src, const float *weights, size_t used)
{
    vf a[MX_BLOCK];
    vf w[MX_BLOCK]; /* only if weighted */
    const vf *weight = NULL;
    vu code[MX_BLOCK];
    vu word[4];
    uint32_t lane[5][LANES];
    vf_load_turned(a, src, MX_BLOCK, used);
    if (weights != NULL) {
        vf_load_turned(w, weights, MX_BLOCK, used);
        weight = w;
    }
    const vu signs = fp4_take_signs(a, MX_BLOCK);
    const vf middle = mx_resize(a);
    vf best = vf_set(0.0F);
    vf stored = vf_set(0.0F);
    for (int k = 1; k >= (weights != NULL ? -7 : -1); k--) {
        /* beyond 252 the value 12 would be infinite */
        const vf e = vf_min(vf_max(middle + (float)k, vf_set(0.0F)), vf_set(252.0F));
        const vf scale = fp4_exp2(e - middle);
        const vf inv = fp4_exp2(middle - e);
        const vf error = fp4_error(a, weight, MX_BLOCK, scale, inv);
        const vu better = k == 1 ? vu_set(~0U) : vf_lt(error, best);
        best = vf_select(better, error, best);
        stored = vf_select(better, e, stored);
    }
    const vf inv = fp4_exp2(middle - stored);
    for (int i = 0; i < MX_BLOCK; i++)
        code[i] = fp4_nibble(a[i], inv, signs, i);
    (void)nibble_words(word, code);
    vu_store(lane[4], vf_int_bits(stored));
    for (int k = 0; k < 4; k++)
        vu_store(lane[k], word[k]);
    for (size_t l = 0; l < LANES && l < used; l++, dst += MX_BYTES) {
        dst[0] = (uint8_t)lane[4][l];
        for (int k = 0; k < 4; k++)
            memcpy(dst + 1 + 4 * k, &lane[k][l], 4);
    }
}

/* The E4M3 number of code c, 0..126. */
NB_LANES_INLINE vf nv_value(vu c)
{
    const vf f = fp4_float(c);
    return vf_select(vf_lt(f, vf_set(8.0F)), f * 0x1p-9F, vu_float((c + 960U) << 20));
}

/* The code of the largest E4M3 number that is at most s, held in a float, 1..126. */
NB_LANES_INLINE vf nv_code(vf s)
{
    const vf t = vf_min(vf_max(s, vf_set(0x1p-9F)), vf_set(448.0F));
    const vf tiny = vf_rint(t * 512.0F);
    const vf normal = fp4_float((vf_bits(t) >> 20) - 960U);
    return vf_select(vf_lt(t, vf_set(0x1p-6F)), tiny, normal);
}

/* Sub-blocks at ... at + used - 1 of the values. */
NB_LANES_INLINE void nv_round(uint8_t *dst, const float *src, const float *weights, size_t at,
                              size_t used)
{
    vf a[NV_SUB];
    vf w[NV_SUB]; /* only if weighted */
    const vf *weight = NULL;
    uint32_t lane[3][LANES];
    vf_load_turned(a, src + at * NV_SUB, NV_SUB, used);
    if (weights != NULL) {
        vf_load_turned(w, weights + at * NV_SUB, NV_SUB, used);
        weight = w;
    }
    const vu signs = fp4_take_signs(a, NV_SUB);
    const vf amax = abs_max(a, NV_SUB);
    const struct unit unit = unit_of(amax);
    vf best = vf_set(0.0F);
    for (int i = 0; i < NV_SUB; i++) {
        a[i] = unit_apply(a[i], unit.shrink);
        best += (weight != NULL ? weight[i] * a[i] : a[i]) * a[i];
    }
    const vf first = nv_code(amax * (1.0F / (weights != NULL ? 24.0F : 12.0F)));
    vf stored = vf_set(0.0F);
    vf scale = vf_set(0.0F);
    for (int k = 0; k < (weights != NULL ? 28 : 20); k++) {
        const vf code = vf_min(first + (float)k, vf_set(126.0F));
        const vf half = nv_value(vf_int_bits(code)) * 0.5F * unit.shrink;
        const vf error = fp4_error(a, weight, NV_SUB, half, vf_set(1.0F) / half);
        const vu better = vf_lt(error, best);
        best = vf_select(better, error, best);
        stored = vf_select(better, code, stored);
        scale = vf_select(better, half, scale);
    }
    const vf inv = vf_inverse(scale);
    for (int k = 0; k < 2; k++) {
        vu c[4];
        for (int j = 0; j < 4; j++) {
            const int i = 4 * k + j;
            c[j] = fp4_nibble(a[i], inv, signs, i) | fp4_nibble(a[i + 8], inv, signs, i + 8) << 4;
        }
        vu_store(lane[k], word_of(c));
    }
    vu_store(lane[2], vf_int_bits(stored));
    for (size_t l = 0; l < LANES && l < used; l++) {
        uint8_t *block = dst + (at + l) / NV_SUBS * NV_BYTES;
        const size_t s = (at + l) % NV_SUBS;
        block[s] = (uint8_t)lane[2][l];
        memcpy(block + NV_SUBS + 8 * s, &lane[0][l], 4);
        memcpy(block + NV_SUBS + 8 * s + 4, &lane[1][l], 4);
    }
}

static __attribute__((noinline)) void nv_plain(uint8_t *dst, const float *x, size_t subs)
{
    for (size_t s = 0; s < subs; s += LANES)
        nv_round(dst, x, NULL, s, subs - s);
}

static __attribute__((noinline)) void nv_weighted(uint8_t *dst, const float *x, const float *w,
                                                  size_t subs)
{
    for (size_t s = 0; s < subs; s += LANES)
        nv_round(dst, x, w, s, subs - s);
}

void NB_LANES_NAME(enc_nvfp4_f32)(void *dst, const float *x, const float *w, size_t n)
{
    if (w == NULL)
        nv_plain(dst, x, n / NV_SUB);
    else
        nv_weighted(dst, x, w, n / NV_SUB);
}

BLOCKS_ENCODER(mxfp4, MX_BLOCK, MX_BYTES)
