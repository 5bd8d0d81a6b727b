/* numfmt/iq2_xs.c: iq2_xs: 256 elements in 74 bytes (ggml block_iq2_xs), decoding bit-exact with ggml.
 *
 * 0 d f16; 2 qs u16[32], a word of 8 elements each: index in the low 9 bits, seven signs above, the
 * eighth by parity; 66 scales[8], two nibbles each: sub-blocks of 16.
 * value = (d * (0.5 + scale)) * 0.25 * (+-8, 25 or 43 by the grid).
 * Encoding: vectorized; code words by exact search (round_iq.tmpl.h), scales by iq_fit.c.
 */
#include "numfmt/iq.h"

enum { BLOCK = 256, SUB = 16, SUBS = 16, WORDS = 32, BYTES = 74, SCALES = 66 };

static const struct nb_iq_book book = {&nb_iq_grid_iq2_xs, SUB, 8, 0.25F};

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    for (size_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = (int16_t)(p[SCALES + s / 2] >> 4 * (s % 2) & 15);
        g->scale[s] = nb_iq_scale(&book, g->d, g->scale_code[s]);
    }
    for (size_t k = 0; k < WORDS; k++) {
        const uint32_t q = nb_load_u16(p + 2 + 2 * k);
        nb_iq_signed(codes + 8 * k, book.grid->value + 8U * (q & 511U), nb_iq_even_signs(q >> 9),
                     8);
    }
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    for (size_t k = 0; k < WORDS; k++) {
        const int8_t *c = codes + 8 * k;
        const uint32_t signs = nb_iq_signs_of(c, 8) & 127U;
        nb_store_u16(p + 2 + 2 * k, (uint16_t)(nb_iq_index_of(book.grid, c) | signs << 9));
    }
    for (size_t s = 0; s < SUBS; s += 2)
        p[SCALES + s / 2] = (uint8_t)(g->scale_code[s] | g->scale_code[s + 1] << 4);
}

static void derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = nb_iq_scale(&book, g->d, g->scale_code[s]);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_iq_fit(&book, g, x, importance);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    nb_iq_refit(&book, g, s, x, importance);
}

static void round_vec(const struct nb_grid *g, uint32_t i, const float *x, const float *w,
                      int8_t *codes, float *values)
{
    nb_iq_round(&book, g, i, x, w, codes, values);
}

static void decode(const void *src, float *dst, size_t n)
{
    nb_iq_decode(&nb_numfmt_iq2_xs, src, dst, n);
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_iq_encode(&nb_numfmt_iq2_xs, &book, dst, src, importance, n);
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    nb_iq_expand(&nb_numfmt_iq2_xs, src, n, codes, scale);
}

const struct nb_numfmt nb_numfmt_iq2_xs = {
    .name = "iq2_xs",
    .summary = "codebook of 512 words of 8 values, 4-bit scale per 16",
    .layout = "d f16 2 | words and signs 64 | scales 8",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -43,
    .code_max = 43,
    .dim = 8,
    .gguf_type = 17,
    .gguf_ftype = 20,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round_vec = round_vec,
    .derive = derive,
    .scales = NB_SCALES_OUTER,
    .scale_hi = 15,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
};
