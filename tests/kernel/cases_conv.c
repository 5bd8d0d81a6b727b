/* Inputs and calls of the kernels of convolutions and sums of weighted rows. */
#include "cases.h"

#include "base/status.h"

#include <math.h>

/* rows of weights, cols of values, n rows of values; even cases have gaps, odd ones transposed weights */
void setup_wsum(struct work *w, const struct kase *c)
{
    const size_t gap = c->seed % 2 ? 0 : 2;
    floats(w, 0, c->rows && c->cols ? (c->rows - 1) * (c->cols + gap) + c->cols : 0, c);
    floats(w, 1, c->cols ? (c->cols - 1) * (c->n + gap) + c->n : 0, c);
    const size_t n_out = c->rows ? (c->rows - 1) * (c->n + gap) + c->n : 0;
    work_add_out(w, floats(w, 2, n_out, c), n_out * sizeof(float), true);
}

void call_wsum(void (*fn)(void), struct work *w, const struct kase *c)
{
    const size_t gap = c->seed % 2 ? 0 : 2;
    const struct nb_wsum s = {.y = w->p[2],
                              .p = w->p[0],
                              .v = w->p[1],
                              .y_stride = c->n + gap,
                              .p_stride = gap ? c->cols + gap : 1,
                              .p_step = gap ? 1 : c->rows,
                              .v_stride = c->n + gap,
                              .n_rows = c->rows,
                              .n = c->cols,
                              .d = c->n};
    ((nb_wsum_f32_f32_f32_fn *)fn)(&s);
}

/* ---- convolutions: rows of outputs, cols elements a run, runs and what follows in variant ---- */

enum { ADD = 1, HARDSWISH = 2, CLIP = 4, N_FOLLOW = 8 };

static const size_t rows_of[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 17};
static const size_t outputs_of[] = {1, 7, 8, 9, 15, 16, 17, 24, 31, 32, 40, 48, 64, 71, 100, 149};
static const size_t runs_of[] = {1, 2, 3, 9, 0};
static const size_t lens_of[] = {1, 2, 3, 5, 16, 27, 64, 0, 131};

size_t conv_count(void)
{
    return NB_COUNTOF(rows_of) * NB_COUNTOF(outputs_of) * NB_COUNTOF(lens_of) * PAT_COUNT;
}

void conv_case(struct kase *c, size_t i)
{
    const size_t j = i / NB_COUNTOF(rows_of), k = j / NB_COUNTOF(outputs_of);
    c->rows = rows_of[i % NB_COUNTOF(rows_of)];
    c->n = outputs_of[j % NB_COUNTOF(outputs_of)];
    c->cols = lens_of[k % NB_COUNTOF(lens_of)];
    c->pattern = (enum pattern)(k / NB_COUNTOF(lens_of));
    c->variant =
        (unsigned)(runs_of[(i * 3 + j) % NB_COUNTOF(runs_of)] * N_FOLLOW + (i + k) % N_FOLLOW);
    c->shift = j % 3;
}

/* Channels that do not meet read a run for all outputs. */
void dwconv_case(struct kase *c, size_t i)
{
    conv_case(c, i);
    c->cols = c->n;
}

/* Outputs and runs overlap, and the last run ends where the memory does. */
static void setup(struct work *w, const struct kase *c, size_t n_w)
{
    const size_t n_runs = c->variant / N_FOLLOW,
                 n_y = c->rows ? (c->rows - 1) * (c->n + 2) + c->n : 0;
    const float *x = floats(w, 0, c->cols + 5 * c->rows + 11 * n_runs, c);
    const float **at = work_place(w, 4, c->rows * sizeof *at, 0);
    size_t *offset = work_place(w, 5, n_runs * sizeof *offset, 0);
    floats(w, 1, n_w, c);
    floats(w, 2, c->n, c);
    floats(w, 6, n_y, c);
    for (size_t r = 0; r < c->rows; r++)
        at[r] = x + 5 * (c->rows - r);
    for (size_t i = 0; i < n_runs; i++)
        offset[i] = 11 * (n_runs - i);
    out_floats(w, 3, n_y, c);
}

void setup_conv(struct work *w, const struct kase *c)
{
    const size_t panels = (c->n + NB_CONV_PANEL - 1) / NB_CONV_PANEL;
    setup(w, c, panels * NB_CONV_PANEL * (c->variant / N_FOLLOW) * c->cols);
}

void setup_dwconv(struct work *w, const struct kase *c)
{
    setup(w, c, c->variant / N_FOLLOW * c->n);
}

void call_conv(void (*fn)(void), struct work *w, const struct kase *c)
{
    const struct nb_conv_f32 d = {.y = w->p[3],
                                  .x = w->p[4],
                                  .offset = w->p[5],
                                  .w = w->p[1],
                                  .bias = w->p[2],
                                  .add = c->variant & ADD ? w->p[6] : NULL,
                                  .y_stride = c->n + 2,
                                  .n_rows = c->rows,
                                  .n_runs = c->variant / N_FOLLOW,
                                  .len = c->cols,
                                  .n = c->n,
                                  .low = c->variant & CLIP ? 0.0F : -INFINITY,
                                  .high = c->variant & CLIP ? 0.25F : INFINITY,
                                  .hardswish = (c->variant & HARDSWISH) != 0};
    for (size_t r = 0; r + 1 < c->rows; r++) /* what lies between the rows is compared, too */
        for (size_t i = 0; i < 2; i++)
            d.y[r * d.y_stride + c->n + i] = 0.0F;
    ((nb_conv_f32_f32_f32_fn *)fn)(&d);
}
