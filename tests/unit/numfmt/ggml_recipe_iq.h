/* ggml_recipe_iq.h: the published behaviour of ggml's encoders of IQ2 and IQ3 (ggml-org/ggml,
 * ggml-quants.c), written anew as a yardstick; see ggml_recipe.h. Proven by test_ggml_recipe.c.
 */
#ifndef NB_TESTS_GGML_RECIPE_IQ_H
#define NB_TESTS_GGML_RECIPE_IQ_H

#include "ggml_recipe.h"
#include "numfmt/iq.h"

struct recipe_iq {
    const struct nb_numfmt *f;
    const struct nb_iq_grid *grid;
    bool even;      /* eight signs have even parity                                         */
    bool from_qp;   /* the first scale comes from QP, not from the largest magnitude        */
    int reach;      /* trial scales on either side                                          */
    float step;     /* their distance                                                       */
    int nearest;    /* distinct distances in a list of neighbours                           */
    float sigma;    /* sigma^2 = sigma * sum x^2 / 256                                      */
    float plain;    /* weights without importance: plain * sigma^2 + x^2                    */
    float fudge;    /* on the stored d                                                      */
    float tiny;     /* a smaller largest magnitude is zero                                  */
    int slot;       /* of its lists of neighbours: 0..4 */
    bool all_again; /* in the end points on the grid are rounded anew too */
};

/* Distance of point p to the digits of u. */
static int recipe_iq_distance(const struct nb_iq_grid *g, int p, const int *u)
{
    int sum = 0;
    for (int j = 0; j < g->dim; j++) {
        const int e = g->digit[g->value[p * g->dim + j] - g->level[0]] - u[j];
        sum += e * e;
    }
    return sum;
}

/* Points in the nearest distinct distances of digits l (their code: code), ordered by distance, then
 * index; made when first asked for. Returns how many. */
static int recipe_iq_neighbours(const struct recipe_iq *r, const int *l, int code,
                                const uint16_t **list)
{
    enum { POOL = 1 << 20 };
    static uint16_t pool[POOL];
    static uint32_t first[5][6561];
    static uint16_t count[5][6561];
    static uint32_t used;
    const struct nb_iq_grid *g = r->grid;
    uint32_t *at = &first[r->slot][code];
    uint16_t *n = &count[r->slot][code];
    if (*n == 0) {
        *at = used;
        int seen = 0;
        for (int distance = 0; seen < r->nearest; distance++) {
            const uint16_t before = *n;
            for (int p = 0; p < g->n; p++)
                if (recipe_iq_distance(g, p, l) == distance && used < POOL) {
                    pool[used++] = (uint16_t)p;
                    ++*n;
                }
            seen += *n > before;
        }
    }
    *list = pool + *at;
    return *n;
}

/* The point for digits l (dim), which it replaces: themselves, or their neighbour of least error. */
static bool recipe_iq_point(const struct recipe_iq *r, const float *x, const float *w, float scale,
                            int *l)
{
    const struct nb_iq_grid *g = r->grid;
    const uint16_t *list = NULL;
    int code = 0;
    for (int j = g->dim - 1; j >= 0; j--)
        code = code * g->base + l[j];
    if (g->index[code] >= 0)
        return true;
    const int n = recipe_iq_neighbours(r, l, code, &list);
    int best_p = list[0];
    float best = INFINITY;
    for (int i = 0; i < n; i++) {
        float sum = 0.0F;
        for (int j = 0; j < g->dim; j++) {
            const float q = (float)(2 * g->digit[g->value[list[i] * g->dim + j] - g->level[0]] + 1);
            const float diff = scale * q - x[j];
            sum += sqrtf(w[j]) * diff * diff;
        }
        if (sum < best) {
            best = sum;
            best_p = list[i];
        }
    }
    for (int j = 0; j < g->dim; j++)
        l[j] = g->digit[g->value[best_p * g->dim + j] - g->level[0]];
    return false;
}

static void recipe_iq_digits(const struct recipe_iq *r, const float *x, float inv, int *l)
{
    for (int j = 0; j < r->grid->dim; j++)
        l[j] = recipe_clamp(nb_rne(0.5F * (inv * x[j] - 1.0F)), 0, r->grid->base - 1);
}

static void recipe_iq_sums(const float *x, const float *w, const int *l, int n, float *lx,
                           float *l2)
{
    *lx = 0.0F;
    *l2 = 0.0F;
    for (int i = 0; i < n; i++) {
        const float q = (float)(2 * l[i] + 1);
        *lx += w[i] * x[i] * q;
        *l2 += w[i] * q * q;
    }
}

/* x: magnitudes (sub), one of them negative where parity wanted it; returns the scale. */
static float recipe_iq_sub(const struct recipe_iq *r, const float *x, const float *w, int *l)
{
    const int n = (int)r->f->sub;
    const int dim = r->grid->dim;
    const float top = (float)(2 * r->grid->base - 1);
    bool on[8] = {true, true, true, true, true, true, true, true};
    float max = x[0];
    float lx;
    float l2;
    for (int i = 0; i < n; i++) {
        max = x[i] > max ? x[i] : max;
        l[i] = 0;
    }
    if (max < r->tiny)
        return 0.0F;
    float scale = max / top;
    float base = max;
    if (r->from_qp) {
        scale = recipe_qp(n, r->grid->base + 1, x, w, l);
        base = scale * (float)r->grid->base;
    }
    float best = 0.0F;
    for (int t = -r->reach; t <= r->reach; t++) {
        const float inv = (top + (float)t * r->step) / base;
        const float this_scale = 1.0F / inv;
        int trial[32];
        bool trial_on[8];
        for (int k = 0; k < n / dim; k++) {
            recipe_iq_digits(r, x + k * dim, inv, trial + k * dim);
            trial_on[k] = recipe_iq_point(r, x + k * dim, w + k * dim, this_scale, trial + k * dim);
        }
        recipe_iq_sums(x, w, trial, n, &lx, &l2);
        if (l2 > 0.0F && lx * lx > best * l2) {
            scale = lx / l2;
            best = scale * lx;
            memcpy(l, trial, (size_t)n * sizeof *l);
            memcpy(on, trial_on, sizeof on);
        }
    }
    if (scale > 0.0F) {
        const float inv = 1.0F / scale;
        for (int k = 0; k < n / dim; k++) {
            if (on[k] && !r->all_again)
                continue;
            recipe_iq_digits(r, x + k * dim, inv, l + k * dim);
            recipe_iq_point(r, x + k * dim, w + k * dim, scale, l + k * dim);
        }
        recipe_iq_sums(x, w, l, n, &lx, &l2);
        if (l2 > 0.0F)
            scale = lx / l2;
    }
    return scale;
}

/* Magnitudes and signs of a block. */
static void recipe_iq_signs(const struct recipe_iq *r, const float *x, const float *w, float *mag,
                            int *sign)
{
    for (int k = 0; k < 32; k++) {
        int minus = 0;
        int at = 8 * k;
        for (int i = 8 * k; i < 8 * k + 8; i++) {
            sign[i] = x[i] >= 0.0F ? 1 : -1;
            mag[i] = x[i] >= 0.0F ? x[i] : -x[i];
            minus += sign[i] < 0;
            if (w[i] * x[i] * x[i] < w[at] * x[at] * x[at])
                at = i;
        }
        if (r->even && minus % 2 != 0) {
            mag[at] = -mag[at];
            sign[at] = -sign[at];
        }
    }
}

static void recipe_iq_block(const struct recipe_iq *r, uint8_t *dst, const float *x,
                            const float *qw)
{
    const int n = (int)r->f->sub;
    struct nb_grid g;
    float w[256];
    float mag[256];
    float scale[16];
    int sign[256];
    int l[256];
    int8_t codes[256];
    float energy = 0.0F;
    float top = 0.0F;
    memset(&g, 0, sizeof g);
    memset(dst, 0, r->f->block_bytes);
    for (int i = 0; i < 256; i++)
        energy += x[i] * x[i];
    const float sigma2 = r->sigma * energy / 256.0F;
    for (int i = 0; i < 256; i++)
        w[i] = qw != NULL ? qw[i] * sqrtf(sigma2 + x[i] * x[i]) : r->plain * sigma2 + x[i] * x[i];
    recipe_iq_signs(r, x, w, mag, sign);
    for (int s = 0; s < 256 / n; s++) {
        scale[s] = recipe_iq_sub(r, mag + s * n, w + s * n, l + s * n);
        top = scale[s] > top ? scale[s] : top;
    }
    if (top == 0.0F)
        return;
    const float d = top / 31.0F;
    const float inv = 1.0F / d;
    g.d = recipe_f16(d * r->fudge);
    for (int s = 0; s < 256 / n; s++)
        g.scale_code[s] = (int16_t)recipe_clamp(nb_rne(0.5F * (inv * scale[s] - 1.0F)), 0, 15);
    for (int i = 0; i < 256; i++)
        codes[i] = (int8_t)(sign[i] * r->grid->level[l[i]]);
    r->f->pack(dst, &g, codes);
}

static void recipe_iq(const struct recipe_iq *r, uint8_t *dst, const float *x, const float *qw,
                      size_t n)
{
    for (size_t at = 0; at < n; at += 256, dst += r->f->block_bytes)
        recipe_iq_block(r, dst, x + at, qw != NULL ? qw + at : NULL);
}

/* ggml refuses the first two without importance; the recipe then weighs by x^2. */
static void recipe_iq2_xxs(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_iq(&(const struct recipe_iq){&nb_numfmt_iq2_xxs, &nb_iq_grid_iq2_xxs, true, true, 6,
                                        0.1F, 2, 1.0F, 0.0F, 1.0F, 1e-15F, 0, false},
              dst, x, qw, n);
}

static void recipe_iq2_xs(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_iq(&(const struct recipe_iq){&nb_numfmt_iq2_xs, &nb_iq_grid_iq2_xs, true, false, 9, 0.1F,
                                        2, 1.0F, 0.0F, 1.0F, 1e-15F, 1, false},
              dst, x, qw, n);
}

static void recipe_iq2_s(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_iq(&(const struct recipe_iq){&nb_numfmt_iq2_s, &nb_iq_grid_iq2_s, false, false, 9, 0.1F,
                                        1, 2.0F, 0.25F, 0.9875F, 1e-8F, 2, false},
              dst, x, qw, n);
}

static void recipe_iq3_xxs(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_iq(&(const struct recipe_iq){&nb_numfmt_iq3_xxs, &nb_iq_grid_iq3_xxs, true, false, 15,
                                        0.2F, 2, 2.0F, 0.0F, 1.0125F, 1e-8F, 3, false},
              dst, x, qw, n);
}

static void recipe_iq3_s(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    recipe_iq(&(const struct recipe_iq){&nb_numfmt_iq3_s, &nb_iq_grid_iq3_s, false, false, 9, 0.2F,
                                        3, 2.0F, 0.0F, 1.033F, 1e-15F, 4, true},
              dst, x, qw, n);
}

#endif
