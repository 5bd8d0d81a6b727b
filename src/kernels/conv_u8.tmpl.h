/* kernels/conv_u8.tmpl.h: the walk of conv_s32_u8_s8 over positions, panels of outputs, and their windows, where bytes are
 * multiplied as they are.
 *
 * An ISA brings NB_FN(op), ROWS: the positions that a tile of registers holds, PANELS: the panels, and
 *   struct image  ROWS windows' elements of at most STEPS steps, a step being four elements, prepared;
 *   put           some steps of one row, from memory to the image;
 *   tile          adds n_steps steps to (or, if fresh, begins) the sums of some rows and panels, and asks for the
 *                 weights at `next` meanwhile.
 *
 * A window's runs meet here and nowhere else: what a tile sees is one sequence of steps. It is cut to the size of
 * the image, which lies on the stack and serves all panels; the sums wait in y meanwhile.
 */
#include "kernels/kernels.h"

#define PANEL_BYTES ((size_t)4 * NB_CONV_PANEL) /* of one step */

/* Steps from..from + n of all runs, of `rows` rows. */
static inline void fill(struct image *g, const struct nb_conv_u8 *c, size_t row, size_t rows,
                        size_t from, size_t n)
{
    const size_t steps = (c->len + 3) / 4, first = from / steps, begin = from % steps;
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *x = c->x[row + r];
        size_t run = first, at = begin;
        for (size_t k = 0; k < n; run++, at = 0) {
            const size_t m = steps - at < n - k ? steps - at : n - k;
            put(g, r, k, x + c->offset[run] + 4 * at, m);
            k += m;
        }
    }
}

/* Parts of n that are as equal as can be, none greater than `most`. */
static inline size_t even_part(size_t n, size_t most)
{
    const size_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

static void no_steps(const struct nb_conv_u8 *c)
{
    for (size_t r = 0; r < c->n_rows; r++)
        memset(c->y + r * c->y_stride, 0, c->n * sizeof *c->y);
}

void NB_FN(conv_s32_u8_s8)(const struct nb_conv_u8 *c)
{
    const size_t steps = c->n_runs * ((c->len + 3) / 4), panel = steps * PANEL_BYTES;
    const size_t width = PANELS * NB_CONV_PANEL;
    if (steps == 0 || c->n_rows == 0) {
        no_steps(c);
        return;
    }
    const size_t rows = even_part(c->n_rows, ROWS), part = even_part(steps, STEPS);
    struct image g;
    for (size_t r = 0; r < c->n_rows; r += rows)
        for (size_t from = 0; from < steps; from += part) {
            const size_t n_rows = c->n_rows - r < rows ? c->n_rows - r : rows;
            const size_t n = steps - from < part ? steps - from : part;
            const int8_t *w = c->w + from * PANEL_BYTES;
            fill(&g, c, r, n_rows, from, n);
            for (size_t o = 0; o < c->n; o += width, w += PANELS * panel) {
                const struct sums s = {.y = c->y + r * c->y_stride + o,
                                       .y_stride = c->y_stride,
                                       .n = c->n - o < width ? c->n - o : width,
                                       .fresh = from == 0};
                tile(&s, n_rows, &g, n, w, panel, w + PANELS * panel);
            }
        }
}
