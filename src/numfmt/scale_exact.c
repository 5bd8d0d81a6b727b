/* numfmt/scale_exact.c: the best of all scales of a symmetric grid.
 *
 * As 1 / s grows from 0 each value crosses the midpoints between levels one by one; after sorting the
 * n (levels - 1) crossings, two running sums give the least error of each interval. The optimum over all
 * scales is among them (the weighted form of what is otherwise searched on a lattice).
 */
#include "numfmt/scale_internal.h"

#define EXACT_EVENTS (1U << 22)

/* At 1 / s = at a value moves on to its next level. */
struct event {
    float at, xv, vv;
};

static void sift(struct event *e, size_t i, size_t n)
{
    const struct event moved = e[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && e[child + 1].at > e[child].at)
            child++;
        if (!(e[child].at > moved.at))
            break;
        e[i] = e[child];
        i = child;
    }
    e[i] = moved;
}

static void sort_events(struct event *e, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(e, i, n);
    for (size_t end = n; end > 1; end--) {
        const struct event top = e[0];
        e[0] = e[end - 1];
        e[end - 1] = top;
        sift(e, 0, end - 1);
    }
}

/* Crossings of x as 1 / s grows, onto the levels above (x > 0) or below. */
static size_t add_events(const struct nb_levels *lv, float x, float w, struct event *e)
{
    size_t n = 0;
    for (uint32_t k = 1; k < lv->n; k++) {
        const float below = nb_level_at(lv, k - 1);
        const float above = nb_level_at(lv, k);
        const float mid = 0.5F * below + 0.5F * above;
        if (mid == 0.0F || (mid > 0.0F) != (x > 0.0F))
            continue;
        const float from = x > 0.0F ? below : above;
        const float to = x > 0.0F ? above : below;
        e[n].at = mid / x;
        e[n].xv = w * x * (to - from);
        e[n++].vv = w * (to * to - from * from);
    }
    return n;
}

/* The best 1 / s > 0 for x times sign. */
static float exact_one_sign(const struct nb_scale_data *d, float sign, double *top)
{
    const struct nb_levels *lv = d->p->levels;
    struct event *e = (struct event *)(void *)d->events;
    size_t n = 0;
    double xv = 0.0;
    double vv = 0.0;
    float best = 0.0F;
    for (size_t i = 0; i < d->p->n; i++) {
        const float x = sign * d->x[i];
        const float tiny = x < 0.0F ? -1e-30F : 1e-30F;
        float v;
        lv->snap(lv, &tiny, &v, 1);
        xv += (double)(d->w[i] * x * v);
        vv += (double)(d->w[i] * v * v);
        if (x != 0.0F && d->w[i] > 0.0F)
            n += add_events(lv, x, d->w[i], e + n);
    }
    sort_events(e, n);
    for (size_t i = 0; i <= n; i++) {
        if (xv > 0.0 && vv > 0.0 && (i == n || i == 0 || e[i].at > e[i - 1].at) &&
            xv * xv / vv > *top) {
            *top = xv * xv / vv;
            best = (float)(xv / vv);
        }
        if (i < n) {
            xv += (double)e[i].xv;
            vv += (double)e[i].vv;
        }
    }
    return sign * best;
}

bool nb_scale_exact_fits(const struct nb_levels *lv, size_t n)
{
    return n * lv->n <= EXACT_EVENTS;
}

float nb_scale_exact(const struct nb_scale_data *d)
{
    const struct nb_levels *lv = d->p->levels;
    double top = 0.0;
    double g;
    if (nb_scale_is_coarse(d->p) || !nb_scale_exact_fits(lv, d->p->n))
        return nb_scale_mse(d); /* coarse stores: it tries every storable scale anyway */
    float s = exact_one_sign(d, 1.0F, &top);
    if (nb_scale_is_signed(d->p) && lv->lo != -lv->hi) {
        const float other = exact_one_sign(d, -1.0F, &top);
        s = other != 0.0F ? other : s;
    }
    return nb_scale_refine(d, s, &g);
}
