/* numfmt/iq1_s.c: 256 elements as 32 words of a ternary code book of 2048 (iq_grid.h), with a scale of three bits and a
 * shift of an eighth per 32 (docs/formats/ggml-blocks.md). 1.5625 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 idx[32]; 34 qh u16[8], one per 32 elements: bits 3 j .. 3 j + 2 are the high bits of
 * the index of word j (0..3), bits 12..14 the scale l, bit 15 set for a shift of -1/8, clear for +1/8.
 * value = (d (2 l + 1)) (g + shift), g -1..1. The codes are 8 g + 8 shift. The words are found by exact
 * weighted search (iq1.c).
 */
#include "numfmt/iq1.h"

enum { BLOCK = NB_IQ1_BLOCK, DIM = NB_IQ1_DIM, SUB = 32, SUBS = 8, BYTES = 50, IDX = 2, QH = 34 };

static const struct nb_iq1_shape shape = {.sub = SUB, .run = SUB};

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    for (size_t s = 0; s < SUBS; s++) {
        const uint32_t h = nb_load_u16(p + QH + 2 * s);
        g->scale_code[s] = (int16_t)(h >> 12 & 7U);
        g->min_code[s] = h >> 15 ? -1 : 1;
        g->scale[s] = nb_iq1_step(g->d, g->scale_code[s]);
        for (size_t j = 0; j < SUB / DIM; j++)
            nb_iq1_codes(codes + SUB * s + DIM * j,
                         p[IDX + SUB / DIM * s + j] | (h >> 3 * j & 7U) << 8, g->min_code[s]);
    }
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    for (size_t s = 0; s < SUBS; s++) {
        uint32_t h = (uint32_t)g->scale_code[s] << 12 | (g->min_code[s] < 0 ? 1U << 15 : 0U);
        for (size_t j = 0; j < SUB / DIM; j++) {
            const uint32_t index = nb_iq1_index(codes + SUB * s + DIM * j);
            p[IDX + SUB / DIM * s + j] = (uint8_t)(index & 255U);
            h |= index >> 8 << 3 * j;
        }
        nb_store_u16(p + QH + 2 * s, (uint16_t)h);
    }
}

static void round_vec(const struct nb_grid *g, uint32_t i, const float *x, const float *w,
                      int8_t *codes, float *values)
{
    nb_iq1_round(x, w, g->scale[i / SUB], g->min_code[i / SUB], codes, values);
}

static void derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = nb_iq1_step(g->d, g->scale_code[s]);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_iq1_fit(g, x, importance, shape);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    nb_iq1_refit(g, s, x, importance, shape);
}

static void decode(const void *src, float *dst, size_t n)
{
    nb_iq_decode(&nb_numfmt_iq1_s, src, dst, n);
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    nb_iq_expand(&nb_numfmt_iq1_s, src, n, codes, scale);
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_blocks(&nb_numfmt_iq1_s, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_iq1_s = {
    .name = "iq1_s",
    .summary = "ternary words of 8, 3-bit scale and shift per 32",
    .layout = "d f16 2 | words 32 | qh 16",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -9,
    .code_max = 9,
    .dim = DIM,
    .gguf_type = 19,
    .gguf_ftype = 24,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round_vec = round_vec,
    .derive = derive,
    .scales = NB_SCALES_OUTER,
    .scale_hi = 7,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
};
