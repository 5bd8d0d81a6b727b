/* kernels/panel.h: float matrices packed for gemm_f32_f32p_f32p.
 *
 * Four rows of weights are a panel, three rows of activations (tokens) a group. The canonical sum has sixteen
 * lanes, element i in lane i mod 16; half h of the lanes, 0..7 or 8..15, lies apart, because one half of
 * twelve sums is what the registers of AVX2 hold:
 *
 *   half 0: elements  0.. 7 of row 0, of row 1, ..; elements 16..23 of row 0, of row 1, ..; ...
 *   half 1: elements  8..15 of row 0, of row 1, ..; elements 24..31 of row 0, of row 1, ..; ...
 *
 * Lengths are filled up to a multiple of 16 with -0 in panels and 0 in groups: their product is -0, and adding
 * it changes no sum. Absent rows are 0. What is read in sequence has no two rows a power of two apart, which
 * would share a few lines of the cache, and is fetched ahead.
 */
#ifndef NB_KERNELS_PANEL_H
#define NB_KERNELS_PANEL_H

#include <stddef.h>
#include <string.h>

#define NB_PANEL_ROWS 4U
#define NB_PANEL_COLS 3U
#define NB_PANEL_SUMS                                                                              \
    (NB_PANEL_ROWS * NB_PANEL_COLS * 8U) /* floats of one half of a panel's sums */

/* Sixteens of a row. */
static inline size_t nb_panel_steps(size_t k)
{
    return (k + 15) / 16;
}

/* Floats of n rows in panels or groups of `size`. */
static inline size_t nb_panel_floats(size_t n, size_t size, size_t k)
{
    return (n + size - 1) / size * size * nb_panel_steps(k) * 16;
}

/* Scratch floats of a product with n_cols tokens: the sums of two panels. */
static inline size_t nb_panel_scratch(size_t n_cols)
{
    return (n_cols + NB_PANEL_COLS - 1) / NB_PANEL_COLS * 4 * NB_PANEL_SUMS;
}

/* n <= size rows of k floats each to dst, one panel or group. pad: -0 or 0, see above. */
static inline void nb_panel_pack(float *dst, const float *const *rows, size_t n, size_t size,
                                 size_t k, float pad)
{
    const size_t steps = nb_panel_steps(k);
    for (size_t r = 0; r < size; r++)
        for (size_t h = 0; h < 2; h++) {
            float *d = dst + h * steps * size * 8 + r * 8;
            for (size_t i = 8 * h; i < steps * 16; i += 16, d += 8 * size) {
                if (r < n && i + 8 <= k) {
                    memcpy(d, rows[r] + i, 8 * sizeof *d);
                    continue;
                }
                for (size_t j = 0; j < 8; j++)
                    d[j] = r >= n ? 0.0F : (i + j < k ? rows[r][i + j] : pad);
            }
        }
}

#endif
