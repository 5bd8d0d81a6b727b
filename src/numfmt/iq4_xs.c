/* numfmt/iq4_xs.c: 256 nibbles that index a table of sixteen values in 8 sub-blocks, each with a signed
 * 6-bit scale (docs/formats/ggml-blocks.md). 4.25 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 scales_h u16; 4 scales_l[4]; 8 qs[128].
 *   Sub-block s: low four bits of (scale + 32) in the low (s even) or high nibble of scales_l[s / 2], high
 *   two in bits 2 s of scales_h; elements i in the low (i % 32 < 16) or high nibble of qs[16 s + i % 16].
 * value = (d * scale) * table[nibble], scale -32..31. The encoder is vectorized
 * (kernels/fit_iq4_xs.tmpl.h); its search is not exhaustive.
 */
#include "numfmt/nl.h"

enum { BLOCK = 256, SUB = NB_NL_SUB, SUBS = BLOCK / SUB, BYTES = 136, HIGH = 2, LOW = 4, QS = 8 };

static void grid_of(struct nb_grid *g, const uint8_t *p)
{
    const unsigned high = nb_load_u16(p + HIGH);
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    for (size_t s = 0; s < SUBS; s++) {
        const unsigned low = (unsigned)p[LOW + s / 2] >> 4 * (s & 1) & 15U;
        g->scale_code[s] = (int16_t)((int)(low | (high >> 2 * s & 3U) << 4) - 32);
        g->scale[s] = g->d * (float)g->scale_code[s];
    }
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    grid_of(g, p);
    for (size_t s = 0; s < SUBS; s++)
        nb_nl_read(codes + s * SUB, p + QS + 16 * s);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    unsigned high = 0;
    memset(p + LOW, 0, SUBS / 2);
    for (size_t s = 0; s < SUBS; s++) {
        const unsigned c = (unsigned)(g->scale_code[s] + 32);
        p[LOW + s / 2] = (uint8_t)(p[LOW + s / 2] | (c & 15U) << 4 * (s & 1));
        high |= c >> 4 << 2 * s;
        nb_nl_write(p + QS + 16 * s, codes + s * SUB);
    }
    nb_store_u16(p, nb_f32_to_f16(g->d));
    nb_store_u16(p + HIGH, (uint16_t)high);
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    return nb_nl_round(g->scale[i / SUB], x, value);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    int8_t codes[BLOCK];
    nb_numfmt_fit_k(nb_kernels_get()->fit_iq4_xs_f32, g, codes, x, importance);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    g->scale_code[s] = (int16_t)nb_nl_refit(g->d, -32, 31, x, importance);
    g->scale[s] = g->d * (float)g->scale_code[s];
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        struct nb_grid g;
        int8_t codes[BLOCK];
        unpack(&g, codes, p);
        for (size_t s = 0; s < SUBS; s++)
            for (size_t i = s * SUB; i < (s + 1) * SUB; i++)
                dst[at + i] = g.scale[s] * (float)codes[i];
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
    nb_numfmt_encode_k(&nb_numfmt_iq4_xs, nb_kernels_get()->fit_iq4_xs_f32, dst, src, importance,
                       n);
}

static nb_gemv_q_fn *gemv(const struct nb_kernels *k)
{
    return k->gemv_f32_iq4_xs_q8;
}

const struct nb_numfmt nb_numfmt_iq4_xs = {
    .name = "iq4_xs",
    .summary = "256 nibbles into a fixed table, signed 6-bit scale per 32",
    .layout = "d f16 2 | scales_h 2 | scales_l 4 | qs 128",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = NB_NL_MIN,
    .code_max = NB_NL_MAX,
    .gguf_type = 23,
    .gguf_ftype = 30,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_derive_product,
    .scales = NB_SCALES_OUTER,
    .scale_lo = -32,
    .scale_hi = 31,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
    .gemv = gemv,
};
