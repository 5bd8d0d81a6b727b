/* numfmt/iq2_xxs.c: iq2_xxs: 256 elements in 66 bytes (ggml block_iq2_xxs), decoding bit-exact with ggml.
 *
 * 0 d f16; 2 eight groups of 8 bytes, one per sub-block of 32: idx[4], then u32 w:
 *   scale code w >> 28; signs of the eight elements of word l: (w >> 7 l) & 127, the eighth by parity.
 * value = (d * (0.5 + scale)) * 0.25 * (+-8, 25 or 43 by the grid).
 * Encoding: vectorized; code words by exact search (round_iq.tmpl.h), scales by iq_fit.c.
 */
#include "numfmt/iq.h"

enum { BLOCK = 256, SUB = 32, SUBS = 8, BYTES = 66 };

static const struct nb_iq_book book = {&nb_iq_grid_iq2_xxs, SUB, 8, 0.25F};

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    for (size_t s = 0; s < SUBS; s++) {
        const uint8_t *q = p + 2 + 8 * s;
        const uint32_t w = nb_load_u32(q + 4);
        g->scale_code[s] = (int16_t)(w >> 28);
        g->scale[s] = nb_iq_scale(&book, g->d, g->scale_code[s]);
        for (size_t l = 0; l < 4; l++)
            nb_iq_signed(codes + 32 * s + 8 * l, book.grid->value + 8U * q[l],
                         nb_iq_even_signs(w >> 7 * l & 127U), 8);
    }
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    for (size_t s = 0; s < SUBS; s++) {
        uint8_t *q = p + 2 + 8 * s;
        uint32_t w = (uint32_t)g->scale_code[s] << 28;
        for (size_t l = 0; l < 4; l++) {
            const int8_t *c = codes + 32 * s + 8 * l;
            q[l] = (uint8_t)nb_iq_index_of(book.grid, c);
            w |= (nb_iq_signs_of(c, 8) & 127U) << 7 * l;
        }
        nb_store_u32(q + 4, w);
    }
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
    nb_iq_decode(&nb_numfmt_iq2_xxs, src, dst, n);
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_iq_encode(&nb_numfmt_iq2_xxs, &book, dst, src, importance, n);
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    nb_iq_expand(&nb_numfmt_iq2_xxs, src, n, codes, scale);
}

const struct nb_numfmt nb_numfmt_iq2_xxs = {
    .name = "iq2_xxs",
    .summary = "codebook of 256 words of 8 values, 4-bit scale per 32",
    .layout = "d f16 2 | words, signs and scales 64",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -43,
    .code_max = 43,
    .dim = 8,
    .gguf_type = 16,
    .gguf_ftype = 19,
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
