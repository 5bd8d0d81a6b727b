/* numfmt/iq.h: what the codebook formats iq2_xxs, iq2_xs, iq2_s, iq3_xxs and iq3_s share.
 *
 * All five: blocks of 256 with one f16 d, sub-blocks with a 4-bit scale code, magnitudes from a
 * codebook, signs apart. value = (d * (0.5 + code) * unit) * signed number of the codebook.
 */
#ifndef NB_NUMFMT_IQ_H
#define NB_NUMFMT_IQ_H

#include "numfmt/iq_grid.h"
#include "numfmt/numfmt_internal.h"

enum { NB_IQ_ROW = 8, NB_IQ_ROWS = NB_NUMFMT_MAX_BLOCK / NB_IQ_ROW };

/* How a format uses its codebook. */
struct nb_iq_book {
    const struct nb_iq_grid *grid;
    uint32_t sub;  /* elements that share a scale code: 16 or 32                                  */
    uint32_t word; /* elements that are rounded together: 8, or 4 where nothing ties two points   */
    float unit;    /* power of two: scale = d * (0.5 + code) * unit                               */
};

static inline float nb_iq_scale(const struct nb_iq_book *b, float d, int32_t code)
{
    return (d * (0.5F + (float)code)) * b->unit;
}

/* n signed numbers of the codebook: bit j of signs makes element j negative. */
static inline void nb_iq_signed(int8_t *codes, const int8_t *value, uint32_t signs, uint32_t n)
{
    for (uint32_t j = 0; j < n; j++) {
        const int32_t minus = -(int32_t)(signs >> j & 1U);
        codes[j] = (int8_t)((value[j] ^ minus) - minus);
    }
}

/* Their signs, and their magnitudes' index. */
static inline uint32_t nb_iq_signs_of(const int8_t *codes, uint32_t n)
{
    uint32_t signs = 0;
    for (uint32_t j = 0; j < n; j++)
        signs |= (uint32_t)(codes[j] < 0) << j;
    return signs;
}

/* Index of the magnitudes of a point's signed numbers. */
uint32_t nb_iq_index_of(const struct nb_iq_grid *grid, const int8_t *codes);

/* Eight signs from seven stored ones: the last makes the number of minus signs even. */
static inline uint32_t nb_iq_even_signs(uint32_t seven)
{
    uint32_t parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return seven | (parity & 1U) << 7;
}

/* The code words of a whole block for these scales (one per sub-block). w: (256). */
void nb_iq_round_block(const struct nb_iq_book *b, const float *scale, const float *x,
                       const float *w, int8_t *codes);
/* Weights (256) of the squared errors in a block; all 1 without importance. */
void nb_iq_weights(float *w, const float *importance);

/* The members of struct nb_numfmt, given the book. */
void nb_iq_fit(const struct nb_iq_book *b, struct nb_grid *g, const float *x,
               const float *importance);
void nb_iq_refit(const struct nb_iq_book *b, struct nb_grid *g, uint32_t s, const float *x,
                 const float *importance);
void nb_iq_round(const struct nb_iq_book *b, const struct nb_grid *g, uint32_t i, const float *x,
                 const float *w, int8_t *codes, float *values);
void nb_iq_encode(const struct nb_numfmt *f, const struct nb_iq_book *b, void *dst,
                  const float *src, const float *importance, size_t n);
void nb_iq_decode(const struct nb_numfmt *f, const void *src, float *dst, size_t n);
void nb_iq_expand(const struct nb_numfmt *f, const void *src, size_t n, int8_t *codes,
                  float *scale);

#endif
