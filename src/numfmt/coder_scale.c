/* numfmt/coder_scale.c: better parameters for codes that stand: the storable scale and offset of a sub-block
 * that lower a quadratic the most, and other d and dmin.
 *
 * The quadratic is convex in scale and offset, so for each storable scale the best offset is the storable
 * one next to where the parabola has its bottom. Scales are tried from the bottom on to both sides, until what
 * they would gain with any offset is less than what is known. Where scale and offset are two halves, those
 * around the bottom are.
 */
#include "numfmt/coder_internal.h"

#include <math.h>

/* A sub-block's storable scales, or offsets, by their integers: ascending or descending. */
struct ladder {
    const struct nb_numfmt *f;
    struct nb_grid *g; /* to try them in */
    uint32_t s;
    bool offsets;
    int32_t lo, hi;
};

static double value_at(const struct ladder *l, int32_t code)
{
    (l->offsets ? l->g->min_code : l->g->scale_code)[l->s] = (int16_t)code;
    l->f->derive(l->g, l->s);
    return (double)(l->offsets ? l->g->offset : l->g->scale)[l->s];
}

/* The integer whose value is nearest to v. */
static int32_t nearest(const struct ladder *l, double v)
{
    const bool down = value_at(l, l->hi) < value_at(l, l->lo);
    int32_t a = l->lo;
    int32_t b = l->hi;
    while (b - a > 1) {
        const int32_t mid = a + (b - a) / 2;
        if ((value_at(l, mid) <= v) != down)
            a = mid;
        else
            b = mid;
    }
    return fabs(value_at(l, a) - v) <= fabs(value_at(l, b) - v) ? a : b;
}

/* The change of offset that suits a change of scale. */
static double best_offset(const struct nb_scale_quad *q, double ds)
{
    return q->a22 > 0.0 ? (q->b2 - q->a12 * ds) / q->a22 : 0.0;
}

/* A search under way. */
struct search {
    const struct nb_scale_quad *q;
    struct ladder scale, offset;
    bool offsets;
    double s0, o0;
    double best;
    int32_t code, min;
};

/* What a change of scale gains with the offset that suits it best, storable or not: no more. */
static double bound(const struct search *x, double ds)
{
    return nb_scale_quad_at(x->q, ds, x->offsets ? best_offset(x->q, ds) : 0.0);
}

/* false: this scale cannot be better than what is known. */
static bool try_scale(struct search *x, int32_t code)
{
    const double ds = value_at(&x->scale, code) - x->s0;
    int32_t min = x->min;
    double off = 0.0;
    if (!(bound(x, ds) < x->best))
        return false;
    if (x->offsets) {
        min = nearest(&x->offset, x->o0 + best_offset(x->q, ds));
        off = value_at(&x->offset, min) - x->o0;
    }
    const double e = nb_scale_quad_at(x->q, ds, off);
    if (e < x->best) {
        x->best = e;
        x->code = code;
        x->min = min;
    }
    return true;
}

/* The change of scale that gains most where nothing need be stored. */
static double best_scale(const struct nb_scale_quad *q, bool offsets)
{
    const bool both = offsets && q->a22 > 0.0;
    const double a = both ? q->a11 - q->a12 * q->a12 / q->a22 : q->a11;
    const double b = both ? q->b1 - q->b2 * q->a12 / q->a22 : q->b1;
    return a > 0.0 ? b / a : 0.0;
}

static double rescale_coded(const struct nb_numfmt *f, struct nb_grid *g, uint32_t s,
                            const struct nb_scale_quad *q, bool offsets)
{
    struct nb_grid scale = *g, offset = *g;
    struct search x = {.q = q,
                       .scale = {f, &scale, s, false, f->scale_lo, f->scale_hi},
                       .offset = {f, &offset, s, true, f->min_lo, f->min_hi},
                       .offsets = offsets,
                       .s0 = (double)g->scale[s],
                       .o0 = (double)g->offset[s],
                       .code = g->scale_code[s],
                       .min = g->min_code[s]};
    const int32_t from = nearest(&x.scale, x.s0 + best_scale(q, offsets));
    for (int32_t k = from; k >= x.scale.lo && try_scale(&x, k); k--)
        ;
    for (int32_t k = from + 1; k <= x.scale.hi && try_scale(&x, k); k++)
        ;
    g->scale_code[s] = (int16_t)x.code;
    g->min_code[s] = (int16_t)x.min;
    f->derive(g, s);
    return x.best;
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
