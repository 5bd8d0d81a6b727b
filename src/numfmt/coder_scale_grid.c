/* numfmt/coder_scale_grid.c: better scales and zero points of general grids for codes that stand.
 *
 * With value = scale (level - zero) a change of both moves the offset -scale zero too. Integer zeros: all are
 * tried, the loss being a parabola of the scale for each. Zeros in half precision: least squares in scale and
 * offset, then the halves around the zero that suits the stored scale.
 */
#include "numfmt/coder_internal.h"

#include <math.h>

/* The best so far; starts at what there is. */
struct best {
    struct nb_scale s;
    double loss;
};

static void consider(struct best *b, const struct nb_grid *g, const struct nb_scale_quad *q,
                     struct nb_scale s)
{
    const double scale0 = (double)g->scale[0];
    const double ds = (double)s.scale - scale0;
    const double off = scale0 * (double)g->dmin - (double)s.scale * (double)s.zero;
    const double loss = nb_scale_quad_at(q, ds, off);
    if (loss < b->loss) {
        b->loss = loss;
        b->s = s;
    }
}

/* The stored scale next to s and its neighbours. Returns how many. */
static uint32_t scales_around(const struct nb_coder *c, const struct nb_grid *g, double s,
                              float out[3])
{
    const enum nb_scale_store store = c->type->grid->scale;
    const float scale2 = store == NB_SCALE_U8 ? g->d : c->work->tensor_scale2;
    const uint32_t code = nb_scale_code(store, scale2, (float)s);
    const uint32_t top = store == NB_SCALE_E4M3 ? 0x7eU : store == NB_SCALE_E8M0 ? 254U : 255U;
    uint32_t n = 0;
    out[n++] = nb_scale_value(store, scale2, code);
    if (store == NB_SCALE_F32 || store == NB_SCALE_NONE)
        return n;
    const uint32_t sign = store == NB_SCALE_F16 || store == NB_SCALE_BF16 ? code & 0x8000U : 0;
    const uint32_t last = store == NB_SCALE_F16 ? 0x7bffU : store == NB_SCALE_BF16 ? 0x7f7fU : top;
    if ((code ^ sign) > 0)
        out[n++] = nb_scale_value(store, scale2, code - 1);
    if ((code ^ sign) < last)
        out[n++] = nb_scale_value(store, scale2, code + 1);
    return n;
}

/* Where scales have to stay positive those of other signs are passed over. */
static void try_scales(struct best *b, const struct nb_coder *c, const struct nb_grid *g,
                       const struct nb_scale_quad *q, double s, float zero)
{
    float scale[3];
    const uint32_t n = scales_around(c, g, s, scale);
    for (uint32_t k = 0; k < n; k++)
        if (!c->has_offset || scale[k] > 0.0F)
            consider(b, g, q, (struct nb_scale){scale[k], zero});
}

static void try_whole_zeros(struct best *b, const struct nb_coder *c, const struct nb_grid *g,
                            const struct nb_scale_quad *q)
{
    const double s0 = (double)g->scale[0];
    for (int32_t zero = c->type->grid->elem->lo; zero <= c->type->grid->elem->hi; zero++) {
        /* d offset = u - z ds */
        const double z = (double)zero;
        const double u = s0 * ((double)g->dmin - z);
        const double bend = q->a11 - 2.0 * q->a12 * z + q->a22 * z * z;
        const double slope = q->b1 - q->b2 * z - q->a12 * u + q->a22 * z * u;
        if (bend > 0.0)
            try_scales(b, c, g, q, s0 + slope / bend, (float)zero);
    }
}

static void try_half_zeros(struct best *b, const struct nb_coder *c, const struct nb_grid *g,
                           const struct nb_scale_quad *q)
{
    const double s0 = (double)g->scale[0];
    const double o0 = -s0 * (double)g->dmin;
    const double det = q->a11 * q->a22 - q->a12 * q->a12;
    float scale[3];
    if (!(det > 1e-12 * q->a11 * q->a22))
        return;
    const uint32_t n = scales_around(c, g, s0 + (q->b1 * q->a22 - q->b2 * q->a12) / det, scale);
    for (uint32_t k = 0; k < n; k++) {
        const double ds = (double)scale[k] - s0;
        const double off = o0 + (q->b2 - q->a12 * ds) / q->a22;
        if (scale[k] > 0.0F)
            consider(b, g, q,
                     (struct nb_scale){scale[k], nb_via_f16((float)(-off / (double)scale[k]))});
    }
}

double nb_coder_rescale_grid(struct nb_coder *c, struct nb_grid *g, uint32_t s,
                             const struct nb_scale_quad *q)
{
    const struct nb_gridfmt *f = c->type->grid;
    struct best b = {{g->scale[0], g->dmin}, 0.0};
    (void)s;
    if (c->fixed || f->scale == NB_SCALE_NONE)
        return 0.0;
    if (f->zero == NB_ZERO_INT)
        try_whole_zeros(&b, c, g, q);
    else if (f->zero == NB_ZERO_F16)
        try_half_zeros(&b, c, g, q);
    else if (q->a11 > 0.0)
        try_scales(&b, c, g, q, (double)g->scale[0] + q->b1 / q->a11, 0.0F);
    g->scale[0] = b.s.scale;
    g->dmin = b.s.zero;
    g->offset[0] = -(b.s.scale * b.s.zero);
    return b.loss;
}
