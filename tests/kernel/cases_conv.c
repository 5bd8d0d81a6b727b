/* Inputs and calls of the kernels of convolutions and sums of weighted rows. */
#include "cases.h"

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

/* rows of outputs, cols of taps, n channels; taps overlap */
void setup_dwconv(struct work *w, const struct kase *c)
{
    const size_t n_x = c->n + 3 * (c->rows + c->cols);
    const float *x = floats(w, 0, n_x, c);
    const float **at = work_place(w, 4, c->rows * c->cols * sizeof *at, 0);
    floats(w, 1, c->cols * c->n, c);
    floats(w, 2, c->n, c);
    for (size_t r = 0; r < c->rows; r++)
        for (size_t t = 0; t < c->cols; t++)
            at[r * c->cols + t] = x + 3 * (r + t);
    out_floats(w, 3, c->rows ? (c->rows - 1) * (c->n + 2) + c->n : 0, c);
}

void call_dwconv(void (*fn)(void), struct work *w, const struct kase *c)
{
    const struct nb_dwconv d = {.y = w->p[3],
                                .x = w->p[4],
                                .w = w->p[1],
                                .bias = w->p[2],
                                .y_stride = c->n + 2,
                                .n_rows = c->rows,
                                .n_taps = c->cols,
                                .n = c->n};
    for (size_t r = 0; r + 1 < c->rows; r++) /* what lies between the rows is compared, too */
        for (size_t i = 0; i < 2; i++)
            d.y[r * d.y_stride + c->n + i] = 0.0F;
    ((nb_dwconv_f32_f32_f32_fn *)fn)(&d);
}

void call_clip(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_clip_f32_fn *)fn)(w->p[2], w->p[0], c->n, -0.5F, 0.25F);
}
