/* numfmt/q5_0.c: 32 codes of 5 bits and an f16 scale (docs/formats/ggml-blocks.md). 5.5 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 qh u32; 6 qs[16] (nibbles.h), stored as code + 16.
 * value = d * code, code -16..15; d may be negative, so that the largest weight can use the extra
 * level. The encoder is vectorized over blocks (kernels/enc_sym.tmpl.h).
 */
#include "numfmt/nibbles.h"
#include "numfmt/refit_f16.h"

enum { BLOCK = 32, BYTES = 22, QS = 6 };

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    g->scale[0] = g->d;
    nb_nibbles_read(codes, p + QS, nb_load_u32(p + 2), 16);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    nb_store_u32(p + 2, nb_nibbles_write(p + QS, codes, 16));
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    const int32_t code = nb_code(x, nb_inverse(g->d), -16.0F, 15.0F);
    *value = g->d * (float)code;
    return code;
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_numfmt_fit_by(&nb_numfmt_q5_0, nb_kernels_get()->enc_q5_0_f32, g, x, importance);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    const struct nb_kernels *k = nb_kernels_get();
    const struct nb_refit_f16 r = {BLOCK, -16.0F, 15.0F, k->trial_sums_f32, k->trial_error_f32};
    g->d = nb_refit_f16(&r, g->d, x, importance);
    nb_derive_f16(g, s);
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        int8_t codes[BLOCK];
        const float d = nb_f16_to_f32(nb_load_u16(p));
        nb_nibbles_read(codes, p + QS, nb_load_u32(p + 2), 16);
        for (size_t i = 0; i < BLOCK; i++)
            dst[at + i] = d * (float)codes[i];
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        scale[b] = nb_f16_to_f32(nb_load_u16(p));
        nb_nibbles_read(codes + b * BLOCK, p + QS, nb_load_u32(p + 2), 16);
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_by(&nb_numfmt_q5_0, nb_kernels_get()->enc_q5_0_f32, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_q5_0 = {
    .name = "q5_0",
    .summary = "32 codes of 5 bits, one signed f16 scale",
    .layout = "d f16 2 | qh 4 | qs 16",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = -16,
    .code_max = 15,
    .gguf_type = 6,
    .gguf_ftype = 8,
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
