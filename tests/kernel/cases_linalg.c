/* Cases of the inner loops of dense linear algebra. */
#include "cases.h"

#include <string.h>

/* Doubles with low bits of their own, in the case's pattern. */
static double *doubles(struct work *w, size_t slot, size_t n, const struct kase *c)
{
    float *f = floats(w, 7, n, c);
    double *p = work_place(w, slot, n * sizeof *p, c->shift * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = (double)f[i] * (1.0 + (double)(work_next(w) >> 40) * 0x1p-44);
    return p;
}

static void add_out(struct work *w, double *p, size_t n)
{
    work_add_out(w, (void *)p, n * sizeof *p, false);
    w->out[w->n_outs - 1].is_f64 = true;
}

/* 0 .. 300 steps, every pattern */
size_t panel_count(void)
{
    return 301 * PAT_COUNT;
}

void panel_case(struct kase *c, size_t i)
{
    c->n = i / PAT_COUNT;
    c->pattern = (enum pattern)(i % PAT_COUNT);
    c->shift = i % 3;
}

void setup_outer(struct work *w, const struct kase *c)
{
    const size_t n = (NB_OUTER_ROWS - 1) * (NB_OUTER_COLS + c->shift) + NB_OUTER_COLS;
    floats(w, 0, c->n * NB_OUTER_ROWS, c);
    floats(w, 1, c->n * NB_OUTER_COLS, c);
    add_out(w, doubles(w, 2, n, c), n);
}

void call_outer(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_outer_f64_f32_f32_fn *)fn)(w->p[2], NB_OUTER_COLS + c->shift, w->p[0], w->p[1], c->n);
}

void setup_tile64(struct work *w, const struct kase *c)
{
    const size_t n = (NB_TILE64_ROWS - 1) * (NB_TILE64_COLS + c->shift) + NB_TILE64_COLS;
    doubles(w, 0, c->n * NB_TILE64_ROWS, c);
    doubles(w, 1, c->n * NB_TILE64_COLS, c);
    add_out(w, doubles(w, 2, n, c), n);
}

void call_tile64(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_tile_f64_f64_f64_fn *)fn)(w->p[2], NB_TILE64_COLS + c->shift, w->p[0], w->p[1], c->n);
}

size_t solve_count(void)
{
    return 131 * PAT_COUNT;
}

void setup_solve(struct work *w, const struct kase *c)
{
    double *t = doubles(w, 0, c->n * c->n, c);
    if (c->pattern == PAT_PLAIN) /* a quiet triangle, so that not all ends at infinity */
        for (size_t i = 0; i < c->n * c->n; i++)
            t[i] = i % (c->n + 1) == 0 ? 4.0 + t[i] * 0.01 : t[i] * 0.05;
    add_out(w, doubles(w, 1, c->n * 8, c), c->n * 8);
}

void call_solve(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_solve_f64_f64_fn *)fn)(w->p[1], w->p[0], c->n);
}

/* w (rows, cols), e (rows, n), u (n, cols) */
size_t gemmsub_count(void)
{
    return 15 * 53 * 6;
}

void gemmsub_case(struct kase *c, size_t i)
{
    c->rows = i % 15;
    c->cols = i / 15 % 53;
    c->n = (i / 15 / 53 * 19 + i % 7) % 110;
    c->pattern = (enum pattern)(i % PAT_COUNT);
    c->shift = i % 3;
}

void setup_gemmsub(struct work *w, const struct kase *c)
{
    const size_t n = c->rows && c->cols ? (c->rows - 1) * (c->cols + 3) + c->cols : 0;
    floats(w, 0, c->rows && c->n ? (c->rows - 1) * (c->n + 1) + c->n : 0, c);
    floats(w, 1, c->n && c->cols ? (c->n - 1) * (c->cols + 2) + c->cols : 0, c);
    work_add_out(w, (void *)floats(w, 2, n, c), n * sizeof(float), true);
}

void call_gemmsub(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_gemmsub_f32_f32_f32_fn *)fn)(w->p[2], c->cols + 3, w->p[0], c->n + 1, w->p[1], c->cols + 2,
                                      c->rows, c->n, c->cols);
}
