/* numfmt/q4_1.c: 32 nibbles, an f16 scale and an f16 minimum (docs/formats/ggml-blocks.md).
 * 5 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 m f16; 4 qs[16] (nibbles.h).
 * value = d * code + m, code 0..15, m of either sign. The encoder searches d and m together and is
 * vectorized over blocks (kernels/enc_min.tmpl.h).
 */
#include "numfmt/nibbles.h"

enum { BLOCK = 32, BYTES = 20, QS = 4 };

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    g->dmin = nb_f16_to_f32(nb_load_u16(p + 2));
    g->scale[0] = g->d;
    g->offset[0] = g->dmin;
    nb_nibbles_read(codes, p + QS, 0, 0);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    nb_store_u16(p + 2, nb_f32_to_f16(g->dmin));
    (void)nb_nibbles_write(p + QS, codes, 0);
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    const int32_t code = nb_code(x - g->dmin, nb_inverse(g->d), 0.0F, 15.0F);
    *value = g->d * (float)code + g->dmin;
    return code;
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_numfmt_fit_by(&nb_numfmt_q4_1, nb_kernels_get()->enc_q4_1_f32, g, x, importance);
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
        const float m = nb_f16_to_f32(nb_load_u16(p + 2));
        nb_nibbles_read(codes, p + QS, 0, 0);
        for (size_t i = 0; i < BLOCK; i++)
            dst[at + i] = d * (float)codes[i] + m;
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        scale[b] = nb_f16_to_f32(nb_load_u16(p));
        min[b] = nb_f16_to_f32(nb_load_u16(p + 2));
        nb_nibbles_read(codes + b * BLOCK, p + QS, 0, 0);
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_by(&nb_numfmt_q4_1, nb_kernels_get()->enc_q4_1_f32, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_q4_1 = {
    .name = "q4_1",
    .summary = "32 nibbles, f16 scale and minimum",
    .layout = "d f16 2 | m f16 2 | qs 16",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = 0,
    .code_max = 15,
    .has_min = true,
    .gguf_type = 3,
    .gguf_ftype = 3,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_derive_f16,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = BLOCK,
    .expand = expand,
};
