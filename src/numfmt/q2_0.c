/* numfmt/q2_0.c: 64 codes of 2 bits and an f16 scale (docs/formats/ggml-blocks.md). 2.25 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 qs[16], element i at bits 2 (i % 4) of qs[i / 4], stored as code + 1.
 * value = d * code, code -1..2; d may be negative, so that the level of its own lies on the side that
 * needs it. The fit is exact (best_scale.c).
 */
#include "numfmt/best_scale.h"
#include "numfmt/numfmt_internal.h"

enum { BLOCK = 64, BYTES = 18, QS = 2, EXPAND_SUB = 32 };

static void codes_of(int8_t *codes, const uint8_t *p)
{
    for (size_t i = 0; i < BLOCK; i++)
        codes[i] = (int8_t)((p[QS + i / 4] >> 2 * (i % 4) & 3) - 1);
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    g->scale[0] = g->d;
    codes_of(codes, p);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    memset(p + QS, 0, BYTES - QS);
    for (size_t i = 0; i < BLOCK; i++)
        p[QS + i / 4] |= (uint8_t)((codes[i] + 1) << 2 * (i % 4));
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    const int32_t code = nb_code(x, nb_inverse(g->d), -1.0F, 2.0F);
    *value = g->d * (float)code;
    return code;
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    float w[BLOCK];
    memset(g, 0, sizeof *g);
    if (importance != NULL)
        nb_numfmt_weights(w, importance, BLOCK);
    g->d = nb_via_f16((float)nb_best_scale(x, importance != NULL ? w : NULL, BLOCK, -1, 2));
    g->scale[0] = g->d;
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    (void)s;
    fit(g, x, importance);
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        int8_t codes[BLOCK];
        const float d = nb_f16_to_f32(nb_load_u16(p));
        codes_of(codes, p);
        for (size_t i = 0; i < BLOCK; i++)
            dst[at + i] = d * (float)codes[i];
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        codes_of(codes + at, p);
        for (size_t s = 0; s < BLOCK / EXPAND_SUB; s++)
            *scale++ = nb_f16_to_f32(nb_load_u16(p));
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_blocks(&nb_numfmt_q2_0, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_q2_0 = {
    .name = "q2_0",
    .summary = "64 codes of 2 bits (-1..2), one signed f16 scale",
    .layout = "d f16 2 | qs 16",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = -1,
    .code_max = 2,
    .gguf_type = 42,
    .gguf_ftype = 41,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_derive_f16,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = EXPAND_SUB,
    .expand = expand,
};
