/* numfmt/coder_scale.c: better parameters for codes that stand: the storable scale and offset of a sub-block
 * that lower a quadratic the most, and other d and dmin.
 *
 * The quadratic is convex in scale and offset, so for each storable scale the best offset is the storable
 * one next to where the parabola has its bottom; all scales are tried. Where scale and offset are two
 * halves, those around the bottom are.
 */
#include "numfmt/coder_internal.h"

#include <math.h>

enum { MAX_CODES = 256 };

/* A sub-block's storable scales, or offsets, by their integers: ascending or descending. */
struct ladder {
    float value[MAX_CODES];
    int32_t lo, hi;
};

static void scales_of(struct ladder *l, const struct nb_numfmt *f, const struct nb_grid *g,
                      uint32_t s)
{
    struct nb_grid trial = *g;
    l->lo = f->scale_lo;
    l->hi = f->scale_hi;
    for (int32_t k = l->lo; k <= l->hi; k++) {
        trial.scale_code[s] = (int16_t)k;
        f->derive(&trial, s);
        l->value[k - l->lo] = trial.scale[s];
    }
}

static void offsets_of(struct ladder *l, const struct nb_numfmt *f, const struct nb_grid *g,
                       uint32_t s)
{
    struct nb_grid trial = *g;
    l->lo = f->min_lo;
    l->hi = f->min_hi;
    for (int32_t k = l->lo; k <= l->hi; k++) {
        trial.min_code[s] = (int16_t)k;
        f->derive(&trial, s);
        l->value[k - l->lo] = trial.offset[s];
    }
}

/* The integer whose value is nearest to v. */
static int32_t nearest(const struct ladder *l, double v)
{
    const bool down = l->value[l->hi - l->lo] < l->value[0];
    int32_t a = l->lo;
    int32_t b = l->hi;
    while (b - a > 1) {
        const int32_t mid = a + (b - a) / 2;
        if (((double)l->value[mid - l->lo] <= v) != down)
            a = mid;
        else
            b = mid;
    }
    return fabs((double)l->value[a - l->lo] - v) <= fabs((double)l->value[b - l->lo] - v) ? a : b;
}

/* The change of offset that suits a change of scale. */
static double best_offset(const struct nb_scale_quad *q, double ds)
{
    return q->a22 > 0.0 ? (q->b2 - q->a12 * ds) / q->a22 : 0.0;
}

static double rescale_coded(const struct nb_numfmt *f, struct nb_grid *g, uint32_t s,
                            const struct nb_scale_quad *q, bool offsets)
{
    struct ladder scale;
    struct ladder offset = {.lo = 0};
    const double s0 = (double)g->scale[s];
    const double o0 = (double)g->offset[s];
    double best = 0.0;
    int32_t code = g->scale_code[s];
    int32_t min = g->min_code[s];
    scales_of(&scale, f, g, s);
    if (offsets)
        offsets_of(&offset, f, g, s);
    for (int32_t k = scale.lo; k <= scale.hi; k++) {
        const double ds = (double)scale.value[k - scale.lo] - s0;
        int32_t m = min;
        double off = 0.0;
        if (offsets) {
            m = nearest(&offset, o0 + best_offset(q, ds));
            off = (double)offset.value[m - offset.lo] - o0;
        }
        const double e = nb_scale_quad_at(q, ds, off);
        if (e < best) {
            best = e;
            code = k;
            g->min_code[s] = (int16_t)m;
        }
    }
    g->scale_code[s] = (int16_t)code;
    f->derive(g, s);
    return best;
}

/* The neighbours of a half, towards 0 and away from it. */
static void halves_around(float out[3], float v)
{
    const float mid = nb_via_f16(v);
    const uint16_t h = nb_f32_to_f16(mid);
    out[0] = mid;
    out[1] = (h & 0x7fffU) > 0 ? nb_f16_to_f32((uint16_t)(h - 1)) : mid;
    out[2] = (h & 0x7fffU) < 0x7bffU ? nb_f16_to_f32((uint16_t)(h + 1)) : mid;
}

static double rescale_f16(const struct nb_numfmt *f, struct nb_grid *g, uint32_t s,
                          const struct nb_scale_quad *q)
{
    const double s0 = (double)g->d;
    const double o0 = (double)g->dmin;
    const double det = f->has_min ? q->a11 * q->a22 - q->a12 * q->a12 : 0.0;
    double ds = q->a11 > 0.0 ? q->b1 / q->a11 : 0.0;
    double best = 0.0;
    float scale[3];
    if (det > 1e-12 * q->a11 * q->a22)
        ds = (q->b1 * q->a22 - q->b2 * q->a12) / det;
    halves_around(scale, (float)(s0 + ds));
    for (int k = 0; k < 4; k++) {
        const float d = k < 3 ? scale[k] : (float)s0;
        const double now = (double)d - s0;
        const float m = f->has_min ? nb_via_f16((float)(o0 + best_offset(q, now))) : 0.0F;
        const double e = nb_scale_quad_at(q, now, (double)m - o0);
        if (e < best) {
            best = e;
            g->d = d;
            g->dmin = m;
        }
    }
    f->derive(g, s);
    return best;
}

double nb_coder_rescale_block(struct nb_coder *c, struct nb_grid *g, uint32_t s,
                              const struct nb_scale_quad *q)
{
    const struct nb_numfmt *f = c->type;
    if (f->scales == NB_SCALES_F16)
        return rescale_f16(f, g, s, q);
    return rescale_coded(f, g, s, q, f->has_min && f->min_hi > f->min_lo);
}

bool nb_coder_outer_block(const struct nb_coder *c, struct nb_grid *g, double factor_d,
                          double factor_dmin)
{
    const struct nb_numfmt *f = c->type;
    if (f->scales != NB_SCALES_OUTER)
        return false;
    g->d = nb_via_f16((float)((double)g->d * factor_d));
    g->dmin = nb_via_f16((float)((double)g->dmin * factor_dmin));
    for (uint32_t s = 0; s < f->block / f->sub; s++)
        f->derive(g, s);
    return true;
}
