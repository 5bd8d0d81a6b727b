/* calib/observe_moving.c: moving averages of the least and the greatest value of a window, so that a rare
 * outlier counts little: m += 0.01 (window's - m), from the first window's own on.
 *
 * Merging weighs two averages by their windows: that is not what one run over both texts would give, whose end
 * counts most; the other statistics are.
 */
#include "calib/observer.h"

#include <math.h>

#define SHARE 0.01
#define LANES 16
enum { LO, HI, WINDOWS, NUMBERS };

struct moving {
    double n[NUMBERS];
    double lo, hi; /* of the window under way */
    bool open, bad;
};

static enum nb_status init(void *state, size_t cols, const struct nb_allocator *a,
                           struct nb_error *err)
{
    (void)state, (void)cols, (void)a, (void)err;
    return NB_OK;
}

static void fini(void *state)
{
    (void)state;
}

static void close_window(void *state)
{
    struct moving *s = state;
    if (!s->open)
        return;
    const double share = s->n[WINDOWS] > 0.0 ? SHARE : 1.0;
    s->n[LO] += share * (s->lo - s->n[LO]);
    s->n[HI] += share * (s->hi - s->n[HI]);
    s->n[WINDOWS] += 1.0;
    s->open = false;
}

/* In lanes, which compilers make vectors of: the least value is the same in any order. */
static void scan(const float *x, size_t n, float *lo, float *hi, float *bad)
{
    float l[LANES], h[LANES], b[LANES] = {0};
    size_t j = 0;
    for (size_t k = 0; k < LANES; k++) {
        l[k] = *lo;
        h[k] = *hi;
    }
    for (; j + LANES <= n; j += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const float v = x[j + k];
            l[k] = v < l[k] ? v : l[k];
            h[k] = v > h[k] ? v : h[k];
            b[k] += v - v;
        }
    for (size_t k = 0; j < n; j++, k++) {
        l[k] = x[j] < l[k] ? x[j] : l[k];
        h[k] = x[j] > h[k] ? x[j] : h[k];
        b[k] += x[j] - x[j];
    }
    for (size_t k = 0; k < LANES; k++) {
        *lo = l[k] < *lo ? l[k] : *lo;
        *hi = h[k] > *hi ? h[k] : *hi;
        *bad += b[k];
    }
}

static enum nb_status add(void *state, const struct nb_observed *v, struct nb_error *err)
{
    struct moving *s = state;
    (void)err;
    for (size_t i = 0; i < v->n_rows; i++) {
        const float *x = nb_observed_row(v, i);
        float lo = s->open ? (float)s->lo : x[0], hi = s->open ? (float)s->hi : x[0], bad = 0.0F;
        scan(x, v->cols, &lo, &hi, &bad);
        s->lo = (double)lo;
        s->hi = (double)hi;
        s->open = true;
        s->bad = s->bad || !(bad == 0.0F);
    }
    return NB_OK;
}

static enum nb_status settle(void *state, struct nb_pool *pool, const char *weight,
                             struct nb_error *err)
{
    struct moving *s = state;
    (void)pool;
    close_window(s);
    if (s->bad)
        NB_FAIL(err, NB_ERR_NUMERIC, "the input of '%s' is not finite", weight);
    return NB_OK;
}

static enum nb_status merge(void *state, const void *from, struct nb_error *err)
{
    struct moving *s = state;
    const struct moving *f = from;
    const double all = s->n[WINDOWS] + f->n[WINDOWS];
    (void)err;
    for (int i = LO; i <= HI && f->n[WINDOWS] > 0.0; i++)
        s->n[i] = (s->n[i] * s->n[WINDOWS] + f->n[i] * f->n[WINDOWS]) / all;
    s->n[WINDOWS] = all;
    return NB_OK;
}

static struct nb_stored stored(const void *state)
{
    (void)state;
    return (struct nb_stored){&nb_numfmt_f64, 1, NUMBERS};
}

static void save(const void *state, size_t first, size_t n, double *dst)
{
    const struct moving *s = state;
    for (size_t i = 0; i < n; i++)
        dst[i] = s->n[first + i];
}

static enum nb_status check(const struct nb_stored *is, size_t cols, struct nb_error *err)
{
    (void)cols;
    return nb_observer_shape(is, 1, NUMBERS, err);
}

static enum nb_status load(void *state, const struct nb_stored *is, size_t first, size_t n,
                           const double *src, struct nb_error *err)
{
    struct moving *s = state;
    (void)is;
    for (size_t i = first; i < first + n; i++) {
        s->n[i] = *src++;
        if (!isfinite(s->n[i]) || (i == HI && s->n[HI] < s->n[LO]) ||
            (i == WINDOWS && s->n[i] < 0.0))
            NB_FAIL(err, NB_ERR_FORMAT,
                    "number %zu is %g; expected a lower bound, an upper one not below it, and how "
                    "many windows they are of",
                    i, s->n[i]);
    }
    return NB_OK;
}

const struct nb_observer nb_observer_moving = {
    .name = "moving",
    .summary = "moving averages of a window's least and greatest value",
    .state_bytes = sizeof(struct moving),
    .init = init,
    .fini = fini,
    .add = add,
    .window = close_window,
    .settle = settle,
    .merge = merge,
    .stored = stored,
    .save = save,
    .check = check,
    .load = load,
};
