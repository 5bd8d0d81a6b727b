/* Cases of the packed float matrix product: panels and groups that are full or not, rows short, long and cut
 * into stretches. */
#include "cases.h"

#include "kernels/panel.h"

#include <string.h>

static const size_t lengths[] = {0, 1, 7, 8, 15, 16, 17, 40, 120, 512, 513, 1024, 1100, 2050};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths, N_ROWS = 11, N_COLS = 7 };

size_t gemm_panel_count(void)
{
    return N_LENGTHS * N_ROWS * N_COLS;
}

void gemm_panel_case(struct kase *c, size_t i)
{
    c->n = lengths[i % N_LENGTHS];
    c->rows = 1 + i / N_LENGTHS % N_ROWS;
    c->cols = 1 + i / (N_LENGTHS * N_ROWS) % N_COLS;
    c->pattern = (enum pattern)(i / N_LENGTHS % PAT_COUNT);
    c->shift = i % 3;
}

/* n rows of k random floats in slot `from`, packed in slot `to`. */
static void packed(struct work *w, const struct kase *c, size_t from, size_t to, size_t n,
                   size_t size)
{
    const size_t bytes = nb_panel_floats(n, size, c->n) * sizeof(float);
    const float *x = floats(w, from, n * c->n, c);
    float *p = work_place(w, to, bytes, c->shift * sizeof *p);
    for (size_t r = 0; r < n; r += size) {
        const float *rows[NB_PANEL_ROWS];
        const size_t m = n - r < size ? n - r : size;
        for (size_t j = 0; j < m; j++)
            rows[j] = x + (r + j) * c->n;
        nb_panel_pack(p + nb_panel_floats(r, size, c->n), rows, m, size, c->n,
                      size == NB_PANEL_ROWS ? -0.0F : 0.0F);
    }
}

void setup_gemm_panel(struct work *w, const struct kase *c)
{
    packed(w, c, 0, 1, c->rows, NB_PANEL_ROWS);
    packed(w, c, 2, 3, c->cols, NB_PANEL_COLS);
    out_floats(w, 4, (c->cols - 1) * (c->rows + 1) + c->rows, c);
    work_place(w, 5, nb_panel_scratch(c->cols) * sizeof(float), 0);
}

void call_gemm_panel(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_gemm_f32_f32p_f32p_fn *)fn)(w->p[4], c->rows + 1, w->p[1], c->rows, w->p[3], c->cols, c->n,
                                     w->p[5]);
}

/* ---- scores ---- */

size_t scores_count(void)
{
    return 37 * 8 * 24;
}

void scores_case(struct kase *c, size_t i)
{
    c->rows = i % 37;
    c->cols = i / 37 % 8;
    c->n = i % 4 == 0 ? 64 : (i / 296 * 11 + i % 5 * 16) % 140;
    c->pattern = (enum pattern)(i % PAT_COUNT);
    c->shift = i % 3;
}

void setup_scores(struct work *w, const struct kase *c)
{
    floats(w, 0, c->rows * c->n, c);
    floats(w, 1, c->cols ? (c->cols - 1) * (c->n + 3) + c->n : 0, c);
    out_floats(w, 2, c->cols ? (c->cols - 1) * (c->rows + 1) + c->rows : 0, c);
    floats(w, 3, 16 * c->n, c);
}

void call_scores(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_scores_f32_f32_f32_fn *)fn)(w->p[2], c->rows + 1, w->p[0], c->rows, w->p[1], c->n + 3,
                                     c->cols, c->n, w->p[3]);
}
