/* kernels/gemm_panel.tmpl.h: the walk of gemm_f32_f32p_f32p over panels and groups (kernels/panel.h).
 *
 * An ISA brings NB_FN(op) and
 *   pass    adds to one half of the sums of one or two panels and a group, over n sixteens, and asks for the
 *           data at `next` (12 n floats a panel) meanwhile;
 *   finish  adds the halves and the lanes of a half, as the canonical sum does (8-4-2-1);
 * and it may define PASS_ENDS and bring
 *   end     the last pass over the upper half and finish in one, for whole panels and groups.
 *
 * Two panels stay in the first cache while all groups pass by. Long rows are cut into stretches, each half
 * for itself, so that they do; the sums wait in scratch meanwhile. Blocking after Goto and van de Geijn,
 * "Anatomy of high-performance matrix multiplication" (2008).
 */
#include "kernels/kernels.h"
#include "kernels/panel.h"

#define SHORT_STEPS   32U /* rows of 512 need not be cut          */
#define STRETCH_STEPS 64U /* of one half: 4 panels of 8 KiB a row */

struct panel_job {
    float *y;
    size_t y_stride;
    const float *w; /* of two panels, w_stride apart */
    size_t w_stride, n_rows, panels;
    const float *x;
    size_t n_cols, groups, steps;
    float *acc; /* (groups, panels, halves, NB_PANEL_SUMS); one group where rows are short */
};

/* Rows and columns of the corner that exist. */
static void put(const struct panel_job *j, size_t c, const float *acc)
{
    const size_t cols = j->n_cols - c * NB_PANEL_COLS;
    for (size_t p = 0; p < j->panels; p++) {
        float *y = j->y + c * NB_PANEL_COLS * j->y_stride + p * NB_PANEL_ROWS, part[12];
        const size_t rows = j->n_rows - p * NB_PANEL_ROWS;
        const float *sums = acc + p * 2 * NB_PANEL_SUMS;
        if (rows >= NB_PANEL_ROWS && cols >= NB_PANEL_COLS) {
            finish(y, j->y_stride, sums, sums + NB_PANEL_SUMS);
            continue;
        }
        finish(part, NB_PANEL_ROWS, sums, sums + NB_PANEL_SUMS);
        for (size_t i = 0; i < cols && i < NB_PANEL_COLS; i++)
            for (size_t r = 0; r < rows && r < NB_PANEL_ROWS; r++)
                y[i * j->y_stride + r] = part[i * NB_PANEL_ROWS + r];
    }
}

static inline const float *x_of(const struct panel_job *j, size_t c, size_t h, size_t step)
{
    return j->x + ((c * 2 + h) * j->steps + step) * 8 * NB_PANEL_COLS;
}

/* The upper half over the steps from `at` on, and what comes out of a group. */
static void last_pass(const struct panel_job *j, size_t c, float *acc, size_t at, const float *next)
{
    const float *w = j->w + (j->steps + at) * 8 * NB_PANEL_ROWS, *x = x_of(j, c, 1, at);
    const size_t n = j->steps - at;
#ifdef PASS_ENDS
    if (j->n_rows >= j->panels * NB_PANEL_ROWS && j->n_cols >= (c + 1) * NB_PANEL_COLS) {
        const struct panel_end e = {j->y + c * NB_PANEL_COLS * j->y_stride, j->y_stride};
        end(&e, acc + NB_PANEL_SUMS, w, j->w_stride, j->panels, x, n, at == 0, next);
        return;
    }
#endif
    pass(acc + NB_PANEL_SUMS, w, j->w_stride, j->panels, x, n, at == 0, next);
    put(j, c, acc);
}

static void short_rows(const struct panel_job *j)
{
    for (size_t c = 0; c < j->groups; c++) {
        const size_t next = c + 1 < j->groups ? c + 1 : 0;
        pass(j->acc, j->w, j->w_stride, j->panels, x_of(j, c, 0, 0), j->steps, true,
             x_of(j, next, 0, 0));
        last_pass(j, c, j->acc, 0, x_of(j, next, 1, 0));
    }
}

static void long_rows(const struct panel_job *j)
{
    const size_t n = (j->steps + STRETCH_STEPS - 1) / STRETCH_STEPS;
    const size_t stretch = (j->steps + n - 1) / n;
    for (size_t h = 0; h < 2; h++)
        for (size_t at = 0; at < j->steps; at += stretch) {
            const size_t m = j->steps - at < stretch ? j->steps - at : stretch;
            const float *w = j->w + (h * j->steps + at) * 8 * NB_PANEL_ROWS;
            for (size_t c = 0; c < j->groups; c++) {
                float *acc = j->acc + c * 4 * NB_PANEL_SUMS;
                const float *next = x_of(j, c + 1 < j->groups ? c + 1 : 0, h, at);
                if (h == 1 && at + m == j->steps)
                    last_pass(j, c, acc, at, next);
                else
                    pass(acc + h * NB_PANEL_SUMS, w, j->w_stride, j->panels, x_of(j, c, h, at), m,
                         at == 0, next);
            }
        }
}

void NB_FN(gemm_f32_f32p_f32p)(float *y, size_t y_stride, const float *w, size_t n_rows,
                               const float *x, size_t n_cols, size_t k, float *scratch)
{
    struct panel_job j = {.y_stride = y_stride,
                          .w_stride = nb_panel_steps(k) * 16 * NB_PANEL_ROWS,
                          .x = x,
                          .n_cols = n_cols,
                          .groups = (n_cols + NB_PANEL_COLS - 1) / NB_PANEL_COLS,
                          .steps = nb_panel_steps(k),
                          .acc = scratch};
    for (size_t r = 0; r < n_rows; r += 2 * NB_PANEL_ROWS) {
        j.y = y + r;
        j.w = w + r / NB_PANEL_ROWS * j.w_stride;
        j.n_rows = n_rows - r;
        j.panels = j.n_rows > NB_PANEL_ROWS ? 2 : 1;
        if (j.steps <= SHORT_STEPS)
            short_rows(&j);
        else
            long_rows(&j);
    }
}
