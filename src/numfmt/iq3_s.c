/* numfmt/iq3_s.c: iq3_s: 256 elements in 110 bytes (ggml block_iq3_s), decoding bit-exact with ggml.
 *
 * 0 d f16; 2 idx[64], four elements each; 66 qh[8], the ninth bits of eight indices each; 74 signs[32],
 * bit j of signs[k] for element 8 k + j; 106 scales[4], two nibbles each: sub-blocks of 32.
 * value = d * (1 + 2 scale) * (+-1, 3, ... 15 by the grid).
 * Encoding: vectorized; code words by exact search (round_iq.tmpl.h), scales by iq_fit.c.
 */
#include "numfmt/iq.h"

enum { BLOCK = 256, SUB = 32, SUBS = 8, WORDS = 64, BYTES = 110 };
enum { IDX = 2, QH = 66, SIGNS = 74, SCALES = 106 };

static const struct nb_iq_book book = {&nb_iq_grid_iq3_s, SUB, 4, 2.0F};

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
        const uint32_t i = p[IDX + k] | ((uint32_t)p[QH + k / 8] >> k % 8 & 1U) << 8;
        const uint32_t signs = (uint32_t)p[SIGNS + k / 2] >> 4 * (k % 2);
        nb_iq_signed(codes + 4 * k, book.grid->value + 4U * i, signs, 4);
    }
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    memset(p, 0, BYTES);
    nb_store_u16(p, nb_f32_to_f16(g->d));
    for (size_t k = 0; k < WORDS; k++) {
        const uint32_t i = nb_iq_index_of(book.grid, codes + 4 * k);
        const uint32_t signs = nb_iq_signs_of(codes + 4 * k, 4);
        p[IDX + k] = (uint8_t)i;
        p[QH + k / 8] = (uint8_t)(p[QH + k / 8] | i >> 8 << k % 8);
        p[SIGNS + k / 2] = (uint8_t)(p[SIGNS + k / 2] | signs << 4 * (k % 2));
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
    nb_iq_decode(&nb_numfmt_iq3_s, src, dst, n);
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_iq_encode(&nb_numfmt_iq3_s, &book, dst, src, importance, n);
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    nb_iq_expand(&nb_numfmt_iq3_s, src, n, codes, scale);
}

const struct nb_numfmt nb_numfmt_iq3_s = {
    .name = "iq3_s",
    .summary = "codebook of 512 words of 4 values, 4-bit scale per 32",
    .layout = "d f16 2 | words 64 | qh 8 | signs 32 | scales 4",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -15,
    .code_max = 15,
    .dim = 4,
    .gguf_type = 21,
    .gguf_ftype = 26,
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
