/* ggml_recipe.h: the published behaviour of ggml's own encoders (ggml-org/ggml, ggml-quants.c), written anew
 * as a yardstick. test_ggml_recipe.c proves it by the hashes of bytes that ggml itself wrote; the
 * conformance test then asks that ours is never worse.
 *
 * Not fast, not for use outside the tests. qw: (n) importance per element, or NULL.
 */
#ifndef NB_TESTS_GGML_RECIPE_H
#define NB_TESTS_GGML_RECIPE_H

#include "numfmt/numfmt_internal.h"

#include <math.h>

static int recipe_clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* Signed value of the largest magnitude, the first of equals. */
static float recipe_peak(const float *x, int n)
{
    float amax = 0.0F;
    float peak = 0.0F;
    for (int i = 0; i < n; i++) {
        if (fabsf(x[i]) > amax) {
            amax = fabsf(x[i]);
            peak = x[i];
        }
    }
    return peak;
}

/* QX: symmetric scale search; codes in -nmax..nmax-1. w NULL: x squared. */
static float recipe_qx(int n, int nmax, const float *x, const float *w, int *codes)
{
    const float peak = recipe_peak(x, n);
    float scale = 0.0F;
    float best = 0.0F;
    for (int i = 0; i < n; i++)
        codes[i] = 0;
    if (fabsf(peak) < 1e-15F)
        return 0.0F;
    for (int step = 0; step < 19; step++) {
        const int t = step == 0 ? 0 : step <= 9 ? step - 10 : step - 9;
        const float inv = -((float)nmax + 0.1F * (float)t) / peak;
        float lx = 0.0F;
        float l2 = 0.0F;
        for (int i = 0; i < n; i++) {
            const int l = recipe_clamp(nb_rne(inv * x[i]), -nmax, nmax - 1);
            const float wi = w != NULL ? w[i] : x[i] * x[i];
            lx += wi * x[i] * (float)l;
            l2 += wi * (float)l * (float)l;
        }
        if (step == 0 || (l2 > 0.0F && lx * lx > best * l2)) {
            scale = l2 > 0.0F ? lx / l2 : 0.0F;
            best = scale * lx;
            for (int i = 0; i < n; i++)
                codes[i] = recipe_clamp(nb_rne(inv * x[i]), -nmax, nmax - 1);
        }
    }
    return scale;
}

struct recipe_range {
    float first, delta; /* of the factors tried around nmax */
    int steps;
    bool absolute; /* errors counted as such, not as squares */
};

static float recipe_loss(struct recipe_range range, float diff)
{
    return range.absolute ? fabsf(diff) : diff * diff;
}

/* QK2, QK3: scale and minimum; returns the scale, *low is minus the minimum. */
static float recipe_qk(int n, int nmax, const float *x, const float *w, int *codes, float *low,
                       struct recipe_range range)
{
    int trial[32];
    float min = x[0];
    float max = x[0];
    float sum_w = w[0];
    float sum_x = w[0] * x[0];
    for (int i = 1; i < n; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    min = min > 0.0F ? 0.0F : min;
    *low = -min;
    for (int i = 0; i < n; i++)
        codes[i] = 0;
    if (max <= min)
        return 0.0F;
    const float base = min;
    const float span = max - min;
    float inv = (float)nmax / span;
    float scale = 1.0F / inv;
    float best = 0.0F;
    for (int i = 0; i < n; i++) {
        codes[i] = recipe_clamp(nb_rne(inv * (x[i] - base)), 0, nmax);
        const float diff = scale * (float)codes[i] + base - x[i];
        best += w[i] * recipe_loss(range, diff);
    }
    /* The codes of each try start from the best minimum so far, as the original does. */
    for (int t = 0; t <= range.steps; t++) {
        float l1 = 0.0F;
        float l2 = 0.0F;
        float xl = 0.0F;
        inv = (range.first + range.delta * (float)t + (float)nmax) / (max - min);
        for (int i = 0; i < n; i++) {
            const int l = recipe_clamp(nb_rne(inv * (x[i] - min)), 0, nmax);
            trial[i] = l;
            l1 += w[i] * (float)l;
            l2 += w[i] * (float)l * (float)l;
            xl += w[i] * (float)l * x[i];
        }
        const float det = sum_w * l2 - l1 * l1;
        if (!(det > 0.0F))
            continue;
        float this_scale = (sum_w * xl - sum_x * l1) / det;
        float this_min = (l2 * sum_x - l1 * xl) / det;
        if (this_min > 0.0F) {
            this_min = 0.0F;
            this_scale = xl / l2;
        }
        float error = 0.0F;
        for (int i = 0; i < n; i++) {
            const float diff = this_scale * (float)trial[i] + this_min - x[i];
            error += w[i] * recipe_loss(range, diff);
        }
        if (error < best) {
            best = error;
            scale = this_scale;
            min = this_min;
            memcpy(codes, trial, (size_t)n * sizeof *codes);
        }
    }
    *low = -min;
    return scale;
}

/* QP: non-negative values on a grid 0..nmax; returns the step. */
static float recipe_qp(int n, int nmax, const float *x, const float *w, int *codes)
{
    float max = 0.0F;
    for (int i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (int i = 0; i < n; i++)
        codes[i] = 0;
    if (max < 1e-15F)
        return 0.0F;
    float inv = 0.0F;
    float best = 0.0F;
    for (int step = 0; step < 9; step++) {
        const int t = step == 0 ? 0 : step <= 4 ? step - 5 : step - 4;
        const float try_inv = (0.1F * (float)t + (float)nmax) / max;
        const float try_scale = 1.0F / try_inv;
        float error = 0.0F;
        for (int i = 0; i < n; i++) {
            const int l = NB_MIN(nmax, nb_rne(try_inv * x[i]));
            const float diff = x[i] - try_scale * (float)l;
            error += w[i] * diff * diff;
        }
        if (step == 0 || error < best) {
            best = error;
            inv = try_inv;
        }
    }
    float lx = 0.0F;
    float l2 = 0.0F;
    for (int i = 0; i < n; i++) {
        codes[i] = NB_MIN(nmax, nb_rne(inv * x[i]));
        lx += w[i] * x[i] * (float)codes[i];
        l2 += w[i] * (float)codes[i] * (float)codes[i];
    }
    for (int sweep = 0; sweep < 5; sweep++) {
        int changed = 0;
        for (int i = 0; i < n; i++) {
            const float old = (float)codes[i];
            float lx1 = lx - w[i] * x[i] * old;
            float l21 = l2 - w[i] * old * old;
            if (!(lx1 > 0.0F && l21 > 0.0F))
                continue;
            const int l = NB_MIN(nmax, nb_rne(x[i] * l21 / lx1));
            if (l == codes[i])
                continue;
            lx1 += w[i] * x[i] * (float)l;
            l21 += w[i] * (float)l * (float)l;
            if (lx1 * lx1 * l2 > lx * lx * l21) {
                codes[i] = l;
                lx = lx1;
                l2 = l21;
                changed++;
            }
        }
        if (changed == 0)
            break;
    }
    return l2 > 0.0F ? lx / l2 : 0.0F;
}

static float recipe_square_sum(const float *x, size_t n)
{
    float sum = 0.0F;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

static float recipe_f16(float x)
{
    return nb_f16_to_f32(nb_f32_to_f16(x));
}

static void recipe_q8_0(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    (void)qw;
    for (size_t at = 0; at < n; at += 32, dst += 34) {
        const float d = fabsf(recipe_peak(x + at, 32)) / 127.0F;
        const float inv = d != 0.0F ? 1.0F / d : 0.0F;
        nb_store_u16(dst, nb_f32_to_f16(d));
        for (size_t i = 0; i < 32; i++)
            dst[2 + i] = (uint8_t)(int8_t)roundf(x[at + i] * inv);
    }
}

/* n: one row, whose mean square enters the weights. */
static void recipe_row_weights(float w[32], const float *x, const float *qw, float sigma2)
{
    for (size_t i = 0; i < 32; i++)
        w[i] = qw[i] * sqrtf(sigma2 + x[i] * x[i]);
}

/* q4_0, q5_0: codes in -half..half-1. */
static void recipe_sym(const struct nb_numfmt *f, uint8_t *dst, const float *x, const float *qw,
                       size_t n)
{
    const int half = -f->code_min;
    const float sigma2 = recipe_square_sum(x, n) / (float)n;
    for (size_t at = 0; at < n; at += 32, dst += f->block_bytes) {
        struct nb_grid g = {.d = 0.0F};
        int codes[32];
        int8_t out[32];
        if (qw == NULL) {
            g.d = recipe_peak(x + at, 32) / (float)-half;
            const float inv = g.d != 0.0F ? 1.0F / g.d : 0.0F;
            for (size_t i = 0; i < 32; i++) {
                const int q = (int)(int8_t)(x[at + i] * inv + (float)half + 0.5F);
                codes[i] = NB_MIN(2 * half - 1, q) - half;
            }
        } else {
            float w[32];
            recipe_row_weights(w, x + at, qw + at, sigma2);
            g.d = recipe_qx(32, half, x + at, w, codes);
        }
        for (size_t i = 0; i < 32; i++)
            out[i] = (int8_t)codes[i];
        f->pack(dst, &g, out);
    }
}

static void recipe_q4_0(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_sym(&nb_numfmt_q4_0, dst, x, qw, n);
}

static void recipe_q5_0(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_sym(&nb_numfmt_q5_0, dst, x, qw, n);
}

/* q4_1, q5_1. */
static void recipe_min(const struct nb_numfmt *f, uint8_t *dst, const float *x, const float *qw,
                       size_t n)
{
    const int top = f->code_max;
    const float sigma2 = recipe_square_sum(x, n) / (float)n;
    for (size_t at = 0; at < n; at += 32, dst += f->block_bytes) {
        struct nb_grid g = {.d = 0.0F};
        int codes[32];
        int8_t out[32];
        if (qw == NULL) {
            float min = x[at];
            float max = x[at];
            for (size_t i = 1; i < 32; i++) {
                min = x[at + i] < min ? x[at + i] : min;
                max = x[at + i] > max ? x[at + i] : max;
            }
            g.d = (max - min) / (float)top;
            g.dmin = min;
            const float inv = g.d != 0.0F ? 1.0F / g.d : 0.0F;
            for (size_t i = 0; i < 32; i++)
                codes[i] = NB_MIN(top, (int)((x[at + i] - min) * inv + 0.5F));
        } else {
            float w[32];
            recipe_row_weights(w, x + at, qw + at, sigma2);
            g.d = recipe_qk(32, top, x + at, w, codes, &g.dmin,
                            (struct recipe_range){-0.9F, 0.05F, 36, false});
            g.dmin = -g.dmin;
        }
        for (size_t i = 0; i < 32; i++)
            out[i] = (int8_t)codes[i];
        f->pack(dst, &g, out);
    }
}

static void recipe_q4_1(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_min(&nb_numfmt_q4_1, dst, x, qw, n);
}

static void recipe_q5_1(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_min(&nb_numfmt_q5_1, dst, x, qw, n);
}

/* What qw stands for in the K formats without importance. */
static void recipe_min_k_weights(float w[256], const float *x, const float *qw)
{
    const float sigma2 = 2.0F * recipe_square_sum(x, 256) / 256.0F;
    for (size_t j = 0; j < 8; j++) {
        const float mean = sqrtf(recipe_square_sum(x + 32 * j, 32) / 32.0F);
        for (size_t i = 32 * j; i < 32 * j + 32; i++)
            w[i] = qw != NULL ? qw[i] * sqrtf(sigma2 + x[i] * x[i]) : mean + fabsf(x[i]);
    }
}

static void recipe_min_k_grid(struct nb_grid *g, int (*codes)[32], const float *x, const float *qw,
                              int top)
{
    float w[256];
    float scale[8];
    float low[8];
    float sum_w[8];
    int sc[8];
    int m[8];
    float max_scale = 0.0F;
    float max_low = 0.0F;
    recipe_min_k_weights(w, x, qw);
    for (size_t j = 0; j < 8; j++) {
        const struct recipe_range range =
            qw != NULL  ? (struct recipe_range){-0.9F, 0.05F, 36, false}
            : top == 15 ? (struct recipe_range){-1.0F, 0.1F, 20, false}
                        : (struct recipe_range){-0.5F, 0.1F, 15, false};
        scale[j] = recipe_qk(32, top, x + 32 * j, w + 32 * j, codes[j], &low[j], range);
        sum_w[j] = 0.0F;
        for (size_t i = 0; i < 32; i++)
            sum_w[j] += w[32 * j + i];
        max_scale = scale[j] > max_scale ? scale[j] : max_scale;
        max_low = low[j] > max_low ? low[j] : max_low;
    }
    memset(g, 0, sizeof *g);
    if (qw != NULL) {
        g->d = recipe_f16(recipe_qp(8, 63, scale, sum_w, sc));
        g->dmin = recipe_f16(recipe_qp(8, 63, low, sum_w, m));
    } else {
        const float inv_scale = max_scale > 0.0F ? 63.0F / max_scale : 0.0F;
        const float inv_low = max_low > 0.0F ? 63.0F / max_low : 0.0F;
        for (size_t j = 0; j < 8; j++) {
            sc[j] = NB_MIN(63, nb_rne(inv_scale * scale[j]));
            m[j] = NB_MIN(63, nb_rne(inv_low * low[j]));
        }
        g->d = recipe_f16(max_scale / 63.0F);
        g->dmin = recipe_f16(max_low / 63.0F);
    }
    for (size_t j = 0; j < 8; j++) {
        g->scale_code[j] = (int16_t)sc[j];
        g->min_code[j] = (int16_t)m[j];
    }
}

static void recipe_min_k(const struct nb_numfmt *f, uint8_t *dst, const float *x, const float *qw,
                         size_t n)
{
    for (size_t at = 0; at < n; at += 256, dst += f->block_bytes) {
        struct nb_grid g;
        int found[8][32];
        int8_t codes[256];
        recipe_min_k_grid(&g, found, x + at, qw != NULL ? qw + at : NULL, f->code_max);
        for (size_t j = 0; j < 8; j++) {
            const float d = g.d * (float)g.scale_code[j];
            const float dm = g.dmin * (float)g.min_code[j];
            for (size_t i = 0; i < 32; i++) {
                const float v = x[at + 32 * j + i];
                codes[32 * j + i] =
                    (int8_t)(d == 0.0F ? found[j][i]
                                       : recipe_clamp(nb_rne((v + dm) / d), 0, f->code_max));
            }
        }
        f->pack(dst, &g, codes);
    }
}

static void recipe_q4_k(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_min_k(&nb_numfmt_q4_k, dst, x, qw, n);
}

static void recipe_q5_k(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_min_k(&nb_numfmt_q5_k, dst, x, qw, n);
}

static void recipe_q6_k(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    for (size_t at = 0; at < n; at += 256, dst += 210) {
        struct nb_grid g;
        int found[16][16];
        int8_t codes[256];
        float scale[16];
        memset(&g, 0, sizeof g);
        for (size_t j = 0; j < 16; j++)
            scale[j] =
                recipe_qx(16, 32, x + at + 16 * j, qw != NULL ? qw + at + 16 * j : NULL, found[j]);
        const float peak = recipe_peak(scale, 16);
        if (fabsf(peak) < 1e-15F) {
            memset(dst, 0, 210);
            continue;
        }
        const float inv = -128.0F / peak;
        g.d = recipe_f16(1.0F / inv);
        for (size_t j = 0; j < 16; j++) {
            g.scale_code[j] = (int16_t)NB_MIN(127, nb_rne(inv * scale[j]));
            const float d = g.d * (float)g.scale_code[j];
            for (size_t i = 0; i < 16; i++) {
                const float v = x[at + 16 * j + i];
                codes[16 * j + i] =
                    (int8_t)(d == 0.0F ? found[j][i] : recipe_clamp(nb_rne(v / d), -32, 31));
            }
        }
        nb_numfmt_q6_k.pack(dst, &g, codes);
    }
}

#endif
