/* numfmt/q4_k.c: 256 nibbles in 8 sub-blocks, each with a 6-bit scale and a 6-bit minimum
 * (docs/formats/ggml-blocks.md). 4.5 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 dmin f16; 4 scales[12]; 16 qs[128].
 *   scales: j < 4: sc = s[j] & 63, m = s[j + 4] & 63;
 *           j >= 4: sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4, m = (s[j + 4] >> 4) | (s[j] >> 6) << 4
 *   qs: sub-blocks 2c and 2c + 1 in the low and high nibbles of qs[32 c ..]
 * value = (d * sc) * q - dmin * m, q 0..15.
 */
#include "numfmt/numfmt_internal.h"

#include <math.h>

enum { BLOCK = 256, SUB = 32, SUBS = 8, BYTES = 144 };

static void scales_of(uint8_t *sc, uint8_t *m, const uint8_t *s)
{
    for (size_t j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        m[j] = s[j + 4] & 63;
        sc[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        m[j + 4] = (uint8_t)((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
    }
}

static void grid_derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = g->d * (float)g->scale_code[s];
    g->offset[s] = -(g->dmin * (float)g->min_code[s]);
}

static void codes_of(int8_t *codes, const uint8_t *qs)
{
    for (size_t c = 0; c < 4; c++) {
        for (size_t i = 0; i < 32; i++) {
            codes[64 * c + i] = (int8_t)(qs[32 * c + i] & 15);
            codes[64 * c + 32 + i] = (int8_t)(qs[32 * c + i] >> 4);
        }
    }
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    uint8_t sc[SUBS];
    uint8_t m[SUBS];
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    g->dmin = nb_f16_to_f32(nb_load_u16(p + 2));
    scales_of(sc, m, p + 4);
    for (uint32_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = sc[s];
        g->min_code[s] = m[s];
        grid_derive(g, s);
    }
    codes_of(codes, p + 16);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    nb_store_u16(p + 2, nb_f32_to_f16(g->dmin));
    for (size_t j = 0; j < 4; j++) {
        const unsigned sc_lo = (unsigned)g->scale_code[j];
        const unsigned sc_hi = (unsigned)g->scale_code[j + 4];
        const unsigned m_lo = (unsigned)g->min_code[j];
        const unsigned m_hi = (unsigned)g->min_code[j + 4];
        p[4 + j] = (uint8_t)(sc_lo | (sc_hi >> 4) << 6);
        p[8 + j] = (uint8_t)(m_lo | (m_hi >> 4) << 6);
        p[12 + j] = (uint8_t)((sc_hi & 15U) | (m_hi & 15U) << 4);
    }
    for (size_t c = 0; c < 4; c++)
        for (size_t i = 0; i < 32; i++)
            p[16 + 32 * c + i] = (uint8_t)(codes[64 * c + i] | codes[64 * c + 32 + i] << 4);
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    const uint32_t s = i / SUB;
    const int32_t code = nb_code(x - g->offset[s], nb_inverse(g->scale[s]), 0.0F, 15.0F);
    *value = g->scale[s] * (float)code + g->offset[s];
    return code;
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    int8_t codes[BLOCK];
    nb_numfmt_fit_k(nb_kernels_get()->fit_q4_k_f32, g, codes, x, importance);
}

/* The weighted squared error of one sub-block's codes on a trial grid. */
static float trial_error(const float *x, const float *w, float scale, float offset)
{
    const float inv = nb_inverse(scale);
    float sum = 0.0F;
    for (uint32_t i = 0; i < SUB; i++) {
        const float value = scale * (float)nb_code(x[i] - offset, inv, 0.0F, 15.0F) + offset;
        sum += w[i] * (x[i] - value) * (x[i] - value);
    }
    return sum;
}

/* The best minimum for a scale: rounding and the weighted mean take turns until nothing moves. */
static int32_t settle_min(const struct nb_grid *g, const float *x, const float *w, float scale,
                          int32_t m)
{
    const float inv = nb_inverse(scale);
    const float inv_dmin = nb_inverse(g->dmin);
    for (int turn = 0; turn < 4; turn++) {
        const float offset = -(g->dmin * (float)m);
        float sum = 0.0F;
        float sum_w = 0.0F;
        for (uint32_t i = 0; i < SUB; i++) {
            sum += w[i] * (scale * (float)nb_code(x[i] - offset, inv, 0.0F, 15.0F) - x[i]);
            sum_w += w[i];
        }
        const int32_t next = nb_code(sum / sum_w, inv_dmin, 0.0F, 63.0F);
        if (next == m)
            break;
        m = next;
    }
    return m;
}

/* d and dmin are frozen: integer scales around the one that spans the values, from a fifth smaller to
 * a fifth larger, each with the minima around its best. */
static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    float w[SUB];
    float lo = 0.0F;
    float hi = x[0];
    float best = INFINITY;
    nb_numfmt_weights(w, importance, SUB);
    for (uint32_t i = 0; i < SUB; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    const int32_t first = nb_code(-lo, nb_inverse(g->dmin), 0.0F, 63.0F);
    const int32_t middle = nb_code((hi - lo) * (1.0F / 15.0F), nb_inverse(g->d), 0.0F, 63.0F);
    const int32_t step = 1 + middle / 30;
    for (int32_t c = middle - 5 * step; c <= middle + 5 * step; c += step) {
        const int32_t sc = NB_MIN(NB_MAX(c, 0), 63);
        const float scale = g->d * (float)sc;
        const int32_t low = settle_min(g, x, w, scale, first);
        for (int32_t m = NB_MAX(low - 1, 0); m <= NB_MIN(low + 1, 63); m++) {
            const float e = trial_error(x, w, scale, -(g->dmin * (float)m));
            if (e < best) {
                best = e;
                g->scale_code[s] = (int16_t)sc;
                g->min_code[s] = (int16_t)m;
            }
        }
    }
    grid_derive(g, s);
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
                dst[at + i] = g.scale[s] * (float)codes[i] + g.offset[s];
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        struct nb_grid g;
        unpack(&g, codes + b * BLOCK, p);
        memcpy(scale + b * SUBS, g.scale, SUBS * sizeof(float));
        memcpy(min + b * SUBS, g.offset, SUBS * sizeof(float));
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_k(&nb_numfmt_q4_k, nb_kernels_get()->fit_q4_k_f32, dst, src, importance, n);
}

static nb_gemv_q_fn *gemv(const struct nb_kernels *k)
{
    return k->gemv_f32_q4_k_q8;
}

const struct nb_numfmt nb_numfmt_q4_k = {
    .name = "q4_k",
    .summary = "256 nibbles, 6-bit scale and minimum per 32",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = 0,
    .code_max = 15,
    .has_min = true,
    .gguf_type = 12,
    .gguf_ftype = 14,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
    .gemv = gemv,
};
