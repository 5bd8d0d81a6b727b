/* numfmt/numfmt_internal.h: arithmetic that the number formats of this room share. */
#ifndef NB_NUMFMT_INTERNAL_H
#define NB_NUMFMT_INTERNAL_H

#include "numfmt/numfmt.h"

#define NB_F16_MAX 65504.0F

/* Nearest integer, ties to even, for |t| < 2^22: the addition leaves it in the low mantissa bits. */
static inline int32_t nb_rne(float t)
{
    return (int32_t)(nb_f32_bits(t + 12582912.0F) & 0x7fffffU) - 0x400000;
}

/* The same as a float. */
static inline float nb_whole(float t)
{
    const float up = t + 12582912.0F;
    return up - 12582912.0F;
}

static inline float nb_clamp(float t, float lo, float hi)
{
    t = t < lo ? lo : t;
    return t > hi ? hi : t;
}

/* The nearest code of a uniform grid with step 1 / inv, in lo..hi. */
static inline int32_t nb_code(float x, float inv, float lo, float hi)
{
    float t = x * inv;
    t = t < lo ? lo : t;
    t = t > hi ? hi : t;
    return nb_rne(t);
}

/* 0 for 0: a block of zeros has scale 0 and code 0. 0 too where the inverse is no float. */
static inline float nb_inverse(float scale)
{
    const float inv = scale == 0.0F ? 0.0F : 1.0F / scale;
    return inv - inv == 0.0F ? inv : 0.0F;
}

/* What an f16 field will give back. Saturates: a stored infinity would spoil the whole block. */
static inline float nb_via_f16(float x)
{
    x = x > NB_F16_MAX ? NB_F16_MAX : x;
    x = x < -NB_F16_MAX ? -NB_F16_MAX : x;
    return nb_f16_to_f32(nb_f32_to_f16(x));
}

/* Index of the first NaN or infinity, n if all are finite. */
size_t nb_first_not_finite(const float *x, size_t n);

/* The plain composition that every fast encoder must equal: fit, round, pack, block after block. */
void nb_numfmt_encode_blocks(const struct nb_numfmt *f, void *dst, const float *src,
                             const float *importance, size_t n);

/* Encodes with the kernel, which gets the weights of squared errors that importance stands for. */
void nb_numfmt_encode_by(const struct nb_numfmt *f, nb_enc_fn *kernel, void *dst, const float *src,
                         const float *importance, size_t n);

/* The grid that the kernel finds for one block. */
void nb_numfmt_fit_by(const struct nb_numfmt *f, nb_enc_fn *kernel, struct nb_grid *g,
                      const float *x, const float *importance);

/* The same for the formats with blocks of 256, whose kernels find the integers and leave the packing. */
void nb_numfmt_encode_k(const struct nb_numfmt *f, nb_fit_k_fn *kernel, void *dst, const float *src,
                        const float *importance, size_t n);
void nb_numfmt_fit_k(nb_fit_k_fn *kernel, struct nb_grid *g, int8_t *codes, const float *x,
                     const float *importance);

/* struct nb_numfmt.derive of the formats whose d and dmin are the scale and the offset; of those whose scale
 * is d * scale_code. */
void nb_derive_f16(struct nb_grid *g, uint32_t s);
void nb_derive_product(struct nb_grid *g, uint32_t s);

/* Weights of one block from importance, their mean about 1; all 1 if there is nothing to go by
 * (importance may be NULL).
 * Negative, NaN and infinite entries count as 0; a share of the mean is added, so that columns which
 * calibration never saw are still kept. */
void nb_numfmt_weights(float *w, const float *importance, uint32_t n);

#endif
