/* numfmt/mxfp4.c: 32 values in E2M1 and a power of two (OCP Microscaling Formats 1.0, in ggml's order of
 * nibbles; docs/formats/ggml-blocks.md). 4.25 bits a weight.
 *
 * Layout of a block: 0 e (E8M0); 1 qs[16], element i in the low (i < 16) or high nibble of qs[i % 16].
 * value = 2^(e - 128) * code, codes 0 1 2 3 4 6 8 12 and their negatives (E2M1 doubled). The encoder is
 * vectorized and its search exact (kernels/enc_fp4.tmpl.h). Not here: the order of nibbles that safetensors use.
 */
#include "numfmt/fp4.h"

enum { BLOCK = 32, BYTES = 17 };

/* e = 0 and 1 give subnormal numbers. */
static float scale_of(unsigned e)
{
    return nb_f32_from_bits(e < 2 ? 0x00200000U << e : (e - 1) << 23);
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->scale_code[0] = p[0];
    g->scale[0] = scale_of(p[0]);
    nb_fp4_read(codes, p + 1, BLOCK);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    p[0] = (uint8_t)g->scale_code[0];
    nb_fp4_write(p + 1, codes, BLOCK);
}

/* The scale is a power of two whose inverse may not be a float: both are brought nearer to 1, exactly. */
static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    const float by = g->scale[0] < 0x1p-60F ? 0x1p64F : g->scale[0] > 0x1p60F ? 0x1p-64F : 1.0F;
    const int32_t code = nb_fp4_code(x * by * nb_inverse(g->scale[0] * by));
    *value = g->scale[0] * (float)code;
    return code;
}

static void derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = scale_of((unsigned)g->scale_code[s]);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_numfmt_fit_by(&nb_numfmt_mxfp4, nb_kernels_get()->enc_mxfp4_f32, g, x, importance);
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
        const float scale = scale_of(p[0]);
        int8_t codes[BLOCK];
        nb_fp4_read(codes, p + 1, BLOCK);
        for (size_t i = 0; i < BLOCK; i++)
            dst[at + i] = scale * (float)codes[i];
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        scale[b] = scale_of(p[0]);
        nb_fp4_read(codes + b * BLOCK, p + 1, BLOCK);
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_by(&nb_numfmt_mxfp4, nb_kernels_get()->enc_mxfp4_f32, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_mxfp4 = {
    .name = "mxfp4",
    .summary = "32 values in E2M1 under a power of two",
    .layout = "e E8M0 1 | qs 16",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = -NB_FP4_TOP,
    .code_max = NB_FP4_TOP,
    .gguf_type = 39,
    .gguf_ftype = 38,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = derive,
    .scales = NB_SCALES_CODED,
    .scale_hi = 254,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = BLOCK,
    .expand = expand,
};
