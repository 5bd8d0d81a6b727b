/* numfmt/tq2_0.c: 256 ternary codes of 2 bits and an f16 scale (docs/formats/ggml-blocks.md). 2.0625 bits a
 * weight.
 *
 * Layout of a block: 0 qs[64]; 64 d f16. Element i: bits 2 ((i % 128) / 32) of qs[32 (i / 128) + i % 32],
 * stored as code + 1.
 * value = d * code, code -1..1; a file of someone else may hold a code 2, which decodes as such.
 * The fit is exact (best_scale.c), so a model made of -d, 0 and d (BitNet b1.58) comes back as it was.
 */
#include "numfmt/best_scale.h"
#include "numfmt/numfmt_internal.h"

enum { BLOCK = 256, BYTES = 66, D = 64, EXPAND_SUB = 32 };

static void codes_of(int8_t *codes, const uint8_t *p)
{
    for (size_t h = 0; h < 2; h++)
        for (size_t j = 0; j < 4; j++)
            for (size_t l = 0; l < 32; l++)
                codes[128 * h + 32 * j + l] = (int8_t)((p[32 * h + l] >> 2 * j & 3) - 1);
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p + D));
    g->scale[0] = g->d;
    codes_of(codes, p);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    for (size_t h = 0; h < 2; h++) {
        const int8_t *c = codes + 128 * h;
        for (size_t l = 0; l < 32; l++)
            p[32 * h + l] = (uint8_t)((c[l] + 1) | (c[l + 32] + 1) << 2 | (c[l + 64] + 1) << 4 |
                                      (c[l + 96] + 1) << 6);
    }
    nb_store_u16(p + D, nb_f32_to_f16(g->d));
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    const int32_t code = nb_code(x, nb_inverse(g->d), -1.0F, 1.0F);
    *value = g->d * (float)code;
    return code;
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    float w[BLOCK];
    memset(g, 0, sizeof *g);
    if (importance != NULL)
        nb_numfmt_weights(w, importance, BLOCK);
    g->d = nb_via_f16((float)nb_best_scale(x, importance != NULL ? w : NULL, BLOCK, -1, 1));
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
        const float d = nb_f16_to_f32(nb_load_u16(p + D));
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
            *scale++ = nb_f16_to_f32(nb_load_u16(p + D));
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_blocks(&nb_numfmt_tq2_0, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_tq2_0 = {
    .name = "tq2_0",
    .summary = "256 ternary codes, one f16 scale",
    .layout = "qs 64 | d f16 2",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = -1,
    .code_max = 1,
    .gguf_type = 35,
    .gguf_ftype = 37,
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
