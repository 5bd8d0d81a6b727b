/* numfmt/iq4_nl.c: 32 nibbles that index a table of sixteen values, and an f16 scale
 * (docs/formats/ggml-blocks.md). 4.5 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 qs[16], element i in the low (i < 16) or high nibble of qs[i % 16].
 * value = d * table[nibble]; d may be negative, which turns the lopsided table around. The encoder is
 * vectorized (kernels/enc_iq4_nl.tmpl.h); its search is not exhaustive.
 */
#include "numfmt/nl.h"
#include "numfmt/refit_f16.h"

enum { BLOCK = NB_NL_SUB, BYTES = 18 };

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(src));
    g->scale[0] = g->d;
    nb_nl_read(codes, (const uint8_t *)src + 2);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    nb_store_u16(dst, nb_f32_to_f16(g->d));
    nb_nl_write((uint8_t *)dst + 2, codes);
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    return nb_nl_round(g->d, x, value);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_numfmt_fit_by(&nb_numfmt_iq4_nl, nb_kernels_get()->enc_iq4_nl_f32, g, x, importance);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    const struct nb_kernels *k = nb_kernels_get();
    const struct nb_refit_f16 r = {BLOCK, (float)NB_NL_MIN, (float)NB_NL_MAX, k->trial_sums_nl_f32,
                                   k->trial_error_nl_f32};
    g->d = nb_refit_f16(&r, g->d, x, importance);
    nb_derive_f16(g, s);
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        const float d = nb_f16_to_f32(nb_load_u16(p));
        for (size_t i = 0; i < 16; i++) {
            dst[at + i] = d * (float)nb_nl_values[p[2 + i] & 15];
            dst[at + i + 16] = d * (float)nb_nl_values[p[2 + i] >> 4];
        }
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        scale[b] = nb_f16_to_f32(nb_load_u16(p));
        nb_nl_read(codes + b * BLOCK, p + 2);
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_by(&nb_numfmt_iq4_nl, nb_kernels_get()->enc_iq4_nl_f32, dst, src, importance,
                        n);
}

static nb_gemv_q_fn *gemv(const struct nb_kernels *k)
{
    return k->gemv_f32_iq4_nl_q8;
}

const struct nb_numfmt nb_numfmt_iq4_nl = {
    .name = "iq4_nl",
    .summary = "32 nibbles into a fixed table, one signed f16 scale",
    .layout = "d f16 2 | qs 16",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = NB_NL_MIN,
    .code_max = NB_NL_MAX,
    .gguf_type = 20,
    .gguf_ftype = 25,
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
