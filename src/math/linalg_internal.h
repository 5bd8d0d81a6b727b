/* math/linalg_internal.h: panels of doubles for the kernels, shared by chol.c, inverse.c, product.c. */
#ifndef NB_MATH_LINALG_INTERNAL_H
#define NB_MATH_LINALG_INTERNAL_H

#include "math/linalg.h"

#include "kernels/kernels.h"

#define NB_LA_DEPTH 256 /* terms of a sum packed at a time: a panel of 12 rows takes 24 KiB */
#define NB_LA_BLOCK 128 /* columns (rows) of a triangular matrix that are worked out together */
#define NB_LA_ROWS  NB_TILE64_ROWS
#define NB_LA_COLS  NB_TILE64_COLS

/* dst (depth, 12) = factor times src[r, first - k], k = 0 .. depth-1, rows stride apart; zeros for r >= rows. */
void nb_la_pack_rows_down(double *dst, const double *src, size_t stride, size_t rows, size_t first,
                          size_t depth);

/* t (b, b) row j: factor * v[i, j] for i <= j: the triangle at v, rows n apart, transposed. */
void nb_la_transpose_triangle(double *t, const double *v, size_t n, size_t b, double factor);

#endif
