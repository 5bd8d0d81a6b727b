/* numfmt/q8_0.c: 32 signed bytes and an f16 scale (docs/formats/ggml-blocks.md). 8.5 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 q s8[32]. value = d * q. Encoding keeps to -127..127, as every
 * other writer does: some engines negate codes in 8 bits.
 */
#include "numfmt/numfmt_internal.h"

enum { BLOCK = 32, BYTES = 34 };

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(src));
    g->scale[0] = g->d;
    memcpy(codes, (const uint8_t *)src + 2, BLOCK);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    nb_store_u16(dst, nb_f32_to_f16(g->d));
    memcpy((uint8_t *)dst + 2, codes, BLOCK);
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    const int32_t code = nb_code(x, nb_inverse(g->d), -127.0F, 127.0F);
    *value = g->d * (float)code;
    return code;
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_numfmt_fit_by(&nb_numfmt_q8_0, nb_kernels_get()->enc_q8_0_f32, g, x, importance);
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
        const float d = nb_f16_to_f32(nb_load_u16(p));
        const int8_t *q = (const int8_t *)(p + 2);
        for (size_t i = 0; i < BLOCK; i++)
            dst[at + i] = d * (float)q[i];
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        scale[b] = nb_f16_to_f32(nb_load_u16(p));
        memcpy(codes + b * BLOCK, p + 2, BLOCK);
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_by(&nb_numfmt_q8_0, nb_kernels_get()->enc_q8_0_f32, dst, src, importance, n);
}

static nb_gemv_q_fn *gemv(const struct nb_kernels *k)
{
    return k->gemv_f32_q8_0_q8;
}

const struct nb_numfmt nb_numfmt_q8_0 = {
    .name = "q8_0",
    .summary = "32 signed bytes, one f16 scale",
    .layout = "d f16 2 | qs 32",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = -127,
    .code_max = 127,
    .gguf_type = 8,
    .gguf_ftype = 7,
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
    .gemv = gemv,
};
