/* numfmt/nvfp4.c: 64 values in E2M1, an E4M3 scale per 16 (NVIDIA's NVFP4 in ggml's blocks;
 * docs/formats/ggml-blocks.md). 4.5 bits a weight.
 *
 * Layout of a block: 0 scales[4] (E4M3); 4 qs[32], element i of sub-block s in the low (i < 8) or high
 * nibble of qs[8 s + i % 8].
 * value = (half the scale) * code, codes 0 1 2 3 4 6 8 12 and their negatives (E2M1 doubled). The encoder is
 * vectorized and tries every scale in reach (kernels/enc_fp4.tmpl.h). Not here: a scale for the whole tensor, so that
 * weights below 0.01 make do with the few E4M3 numbers down there, and those below 0.0005 become 0.
 */
#include "numfmt/fp4.h"

enum { BLOCK = 64, SUB = 16, SUBS = BLOCK / SUB, BYTES = 36 };

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    for (size_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = p[s];
        g->scale[s] = 0.5F * nb_e4m3_value(p[s]);
        nb_fp4_read(codes + s * SUB, p + SUBS + s * SUB / 2, SUB);
    }
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    for (size_t s = 0; s < SUBS; s++) {
        p[s] = (uint8_t)g->scale_code[s];
        nb_fp4_write(p + SUBS + s * SUB / 2, codes + s * SUB, SUB);
    }
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    const float scale = g->scale[i / SUB];
    const int32_t code = nb_fp4_code(x * nb_inverse(scale));
    *value = scale * (float)code;
    return code;
}

static void derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = 0.5F * nb_e4m3_value((unsigned)g->scale_code[s]);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_numfmt_fit_by(&nb_numfmt_nvfp4, nb_kernels_get()->enc_nvfp4_f32, g, x, importance);
}

/* The scales of a block know nothing of each other: the sub-block is fitted beside zeros. */
static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    float block[BLOCK] = {0.0F};
    float w[BLOCK] = {0.0F};
    struct nb_grid one;
    memcpy(block, x, SUB * sizeof *x);
    if (importance != NULL)
        memcpy(w, importance, SUB * sizeof *w);
    fit(&one, block, importance != NULL ? w : NULL);
    g->scale_code[s] = one.scale_code[0];
    g->scale[s] = one.scale[0];
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        struct nb_grid g;
        int8_t codes[BLOCK];
        unpack(&g, codes, p);
        for (size_t i = 0; i < BLOCK; i++)
            dst[at + i] = g.scale[i / SUB] * (float)codes[i];
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        struct nb_grid g;
        unpack(&g, codes + b * BLOCK, p);
        memcpy(scale + b * SUBS, g.scale, SUBS * sizeof(float));
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_by(&nb_numfmt_nvfp4, nb_kernels_get()->enc_nvfp4_f32, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_nvfp4 = {
    .name = "nvfp4",
    .summary = "64 values in E2M1, an E4M3 scale per 16",
    .layout = "d E4M3 4 | qs 32",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -NB_FP4_TOP,
    .code_max = NB_FP4_TOP,
    .gguf_type = 40,
    .gguf_ftype = 39,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = derive,
    .scales = NB_SCALES_CODED,
    .scale_hi = 0x7e,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
};
