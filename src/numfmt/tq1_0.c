/* numfmt/tq1_0.c: 256 ternary codes, five to a byte, and an f16 scale (docs/formats/ggml-blocks.md). 1.6875 bits
 * a weight.
 *
 * Layout of a block: 0 qs[48]; 48 qh[4]; 52 d f16. A byte is ceil(256 v / 243) for v the number of five base-3
 * digits code + 1, the first most significant: times 3^n modulo 256 it has the digit n on top, since
 * multiplying by 3 carries it out. Three runs, digit by digit through all bytes of the run:
 *   elements 0..159: qs[0..31]; 160..239: qs[32..47]; 240..255: qh, four digits each (the fifth is 0).
 * value = d * code, code -1..1. The fit is exact (best_scale.c), so a model made of -d, 0 and d (BitNet
 * b1.58) comes back as it was.
 */
#include "numfmt/best_scale.h"
#include "numfmt/numfmt_internal.h"

enum { BLOCK = 256, BYTES = 54, D = 52, EXPAND_SUB = 32 };

static const struct run {
    uint8_t at, bytes, digits;
} runs[3] = {{0, 32, 5}, {32, 16, 5}, {48, 4, 4}};

static void codes_of(int8_t *codes, const uint8_t *p)
{
    for (size_t r = 0; r < NB_COUNTOF(runs); r++) {
        uint32_t power = 1;
        for (size_t n = 0; n < runs[r].digits; n++, power *= 3)
            for (size_t b = 0; b < runs[r].bytes; b++)
                *codes++ = (int8_t)((int)((p[runs[r].at + b] * power & 255U) * 3U >> 8) - 1);
    }
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
    for (size_t r = 0; r < NB_COUNTOF(runs); r++) {
        const size_t bytes = runs[r].bytes;
        for (size_t b = 0; b < bytes; b++) {
            unsigned v = 0;
            for (size_t n = 0; n < 5; n++)
                v = 3 * v + (n < runs[r].digits ? (unsigned)(codes[n * bytes + b] + 1) : 0);
            p[runs[r].at + b] = (uint8_t)((256 * v + 242) / 243);
        }
        codes += bytes * runs[r].digits;
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
    nb_numfmt_encode_blocks(&nb_numfmt_tq1_0, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_tq1_0 = {
    .name = "tq1_0",
    .summary = "256 ternary codes, five to a byte, one f16 scale",
    .layout = "qs 48 | qh 4 | d f16 2",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = -1,
    .code_max = 1,
    .gguf_type = 34,
    .gguf_ftype = 36,
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
