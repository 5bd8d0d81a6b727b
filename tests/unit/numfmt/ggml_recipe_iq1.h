/* ggml_recipe_iq1.h: ggml's encoders for iq1_s and iq1_m (see ggml_recipe.h).
 *
 * Every sub-block tries all pairs of cuts through its sorted values, for each choice of shifts: below the first cut the
 * low level, above the second the high one. A tuple that is no word of the code book is replaced by the
 * best of its neighbours: all words in the three smallest distinct distances.
 */
#ifndef NB_TESTS_GGML_RECIPE_IQ1_H
#define NB_TESTS_GGML_RECIPE_IQ1_H

#include "unit/numfmt/ggml_recipe.h"
#include "numfmt/iq1.h"

struct recipe_iq1_sub {
    float scale;
    int minus;        /* bit r: run r has shift -1/8 */
    int8_t digit[32]; /* 0..2                        */
};

/* Level of a digit under a shift. */
static float recipe_iq1_level(int digit, bool minus)
{
    return (float)(digit - 1) + (minus ? -0.125F : 0.125F);
}

static void recipe_iq1_order(int *order, const float *x, int n)
{
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; j > 0 && x[order[j - 1]] > x[i]; j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
}

/* Cuts and shifts with the greatest (sum w q x)^2 / sum w q^2. One run: from prefix sums; two: from
 * sums in sorted order. */
static void recipe_iq1_cuts(struct recipe_iq1_sub *out, const float *x, const float *w, int n,
                            int run)
{
    const int choices = n == run ? 2 : 4;
    int order[32];
    int cut[2] = {0, 0};
    float best = -1e-38F;
    float sum_w[33] = {0.0F};
    float sum_x[33] = {0.0F};
    recipe_iq1_order(order, x, n);
    for (int j = 0; j < n; j++) {
        sum_w[j + 1] = sum_w[j] + w[order[j]];
        sum_x[j + 1] = sum_x[j] + w[order[j]] * x[order[j]];
    }
    out->minus = 0;
    out->scale = 0.0F;
    for (int c1 = 0; c1 <= n; c1++) {
        for (int c2 = c1; c2 <= n; c2++) {
            for (int c = 0; c < choices; c++) {
                /* choice c of two runs: its high bit is the first run's */
                const int minus = choices == 2 ? c : (c >> 1) | (c & 1) << 1;
                const int end[4] = {0, c1, c2, n};
                float qx = 0.0F;
                float q2 = 0.0F;
                for (int part = 0; part < 3; part++) {
                    const float q = recipe_iq1_level(part, minus & 1);
                    if (choices == 2) {
                        qx += (sum_x[end[part + 1]] - sum_x[end[part]]) * q;
                        q2 += (sum_w[end[part + 1]] - sum_w[end[part]]) * q * q;
                        continue;
                    }
                    for (int j = end[part]; j < end[part + 1]; j++) {
                        const int i = order[j];
                        const float v = recipe_iq1_level(part, minus >> i / run & 1);
                        qx += w[i] * v * x[i];
                        q2 += w[i] * v * v;
                    }
                }
                if (q2 > 0.0F && qx * qx > best * q2) {
                    out->scale = qx / q2;
                    best = out->scale * qx;
                    cut[0] = c1;
                    cut[1] = c2;
                    out->minus = minus;
                }
            }
        }
    }
    for (int j = 0; j < n; j++)
        out->digit[order[j]] = (int8_t)(j < cut[0] ? 0 : j < cut[1] ? 1 : 2);
    if (out->scale < 0.0F) {
        for (int i = 0; i < n; i++)
            out->digit[i] = (int8_t)(2 - out->digit[i]);
        out->scale = -out->scale;
        out->minus = choices - 1 - out->minus;
    }
}

/* Replaces eight digits by those of a word; false if they were one. */
static bool recipe_iq1_word(int8_t *digit, const float *x, const float *w, float scale, bool minus)
{
    const struct nb_iq_grid *grid = &nb_iq_grid_iq1;
    int distance[2048];
    int8_t value[8];
    int shell[3] = {1 << 20, 1 << 20, 1 << 20};
    for (int j = 0; j < 8; j++)
        value[j] = (int8_t)(digit[j] - 1);
    if (nb_iq_index(grid, value) >= 0)
        return false;
    for (int p = 0; p < grid->n; p++) {
        distance[p] = 0;
        for (int j = 0; j < 8; j++) {
            const int diff = 2 * (grid->value[8 * p + j] + 1 - digit[j]);
            distance[p] += diff * diff;
        }
        for (int s = 0, d = distance[p]; s < 3 && d != shell[s]; s++) {
            const int old = shell[s];
            if (d < old) {
                shell[s] = d;
                d = old;
            }
        }
    }
    float best = INFINITY;
    int found = 0;
    for (int s = 0; s < 3; s++) {
        for (int p = 0; p < grid->n; p++) {
            float error = 0.0F;
            if (distance[p] != shell[s])
                continue;
            for (int j = 0; j < 8; j++) {
                const float q = recipe_iq1_level(grid->value[8 * p + j] + 1, minus);
                error += w[j] * (scale * q - x[j]) * (scale * q - x[j]);
            }
            if (error < best) {
                best = error;
                found = p;
            }
        }
    }
    for (int j = 0; j < 8; j++)
        digit[j] = (int8_t)(grid->value[8 * found + j] + 1);
    return true;
}

static void recipe_iq1_sub(struct recipe_iq1_sub *out, const float *x, const float *w, int n,
                           int run)
{
    bool moved = false;
    recipe_iq1_cuts(out, x, w, n, run);
    for (int i = 0; i < n; i += 8)
        if (recipe_iq1_word(out->digit + i, x + i, w + i, out->scale, out->minus >> i / run & 1))
            moved = true;
    if (!moved)
        return;
    float qx = 0.0F;
    float q2 = 0.0F;
    for (int i = 0; i < n; i++) {
        const float q = recipe_iq1_level(out->digit[i], out->minus >> i / run & 1);
        qx += w[i] * q * x[i];
        q2 += w[i] * q * q;
    }
    if (qx > 0.0F && q2 > 0.0F)
        out->scale = qx / q2;
}

static void recipe_iq1_weights(float w[256], const float *x, const float *qw)
{
    const float sigma2 = 2.0F * recipe_square_sum(x, 256) / 256.0F;
    for (int i = 0; i < 256; i++)
        w[i] = qw != NULL ? qw[i] * sqrtf(sigma2 + x[i] * x[i]) : x[i] * x[i];
}

static void recipe_iq1(const struct nb_numfmt *f, uint8_t *dst, const float *x, const float *qw)
{
    const int n = (int)f->sub;
    const int run = n == 32 ? 32 : 8;
    struct recipe_iq1_sub sub[16];
    struct nb_grid g = {.d = 0.0F};
    int8_t codes[256];
    float w[256];
    float max = 0.0F;
    float qx = 0.0F;
    float q2 = 0.0F;
    recipe_iq1_weights(w, x, qw);
    for (int s = 0; s < 256 / n; s++) {
        recipe_iq1_sub(&sub[s], x + s * n, w + s * n, n, run);
        max = sub[s].scale > max ? sub[s].scale : max;
    }
    if (max == 0.0F) {
        memset(dst, 0, f->block_bytes);
        return;
    }
    const float d = max / 15.0F;
    const float inv = 1.0F / d;
    for (int s = 0; s < 256 / n; s++) {
        const int l = recipe_clamp(nb_rne(0.5F * (inv * sub[s].scale - 1.0F)), 0, 7);
        g.scale_code[s] = (int16_t)l;
        g.min_code[s] = sub[s].minus & 1 ? -1 : 1;
        for (int i = 0; i < n; i++) {
            const bool minus = sub[s].minus >> i / run & 1;
            const float q = recipe_iq1_level(sub[s].digit[i], minus) * (float)(2 * l + 1);
            codes[s * n + i] = (int8_t)(8 * (sub[s].digit[i] - 1) + (minus ? -1 : 1));
            qx += w[s * n + i] * q * x[s * n + i];
            q2 += w[s * n + i] * q * q;
        }
    }
    g.d = run == n ? d * 1.125F : (q2 > 0.0F ? qx / q2 : d) * 1.1125F;
    f->pack(dst, &g, codes);
}

static void recipe_iq1_s(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    for (size_t at = 0; at < n; at += 256, dst += 50)
        recipe_iq1(&nb_numfmt_iq1_s, dst, x + at, qw != NULL ? qw + at : NULL);
}

static void recipe_iq1_m(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    for (size_t at = 0; at < n; at += 256, dst += 56)
        recipe_iq1(&nb_numfmt_iq1_m, dst, x + at, qw != NULL ? qw + at : NULL);
}

#endif
