/* math/linalg.h: the dense linear algebra of calibrated quantization, in doubles.
 *
 * Every result has the same bits on any CPU, for any number of threads and for any way the work is cut
 * into blocks: each element is one chain of fma in an order stated below. Work is cut by size only.
 *
 * A symmetric matrix is (n, n) row-major, rows n apart, and its upper triangle (j >= i) counts: what
 * lies below the diagonal is neither read nor written. Matrices are transformed in place; what a call
 * needs besides is a panel of n rows or columns (said per function), never n * n.
 * Finite inputs are the caller's business unless said otherwise.
 */
#ifndef NB_MATH_LINALG_H
#define NB_MATH_LINALG_H

#include "base/base.h"

/* ---- sums of outer products: H = X^T X, C = Y^T X ---- */

/* Tokens whose products are summed in f32 before they join the sum in f64. */
#define NB_SYM_CHUNK 256

/* Sums over streams of tokens, one stream after the other. Owns: panels of packed tokens, and a square for each
 * thread. Borrows: the pool, and the sums from nb_outer_begin to nb_outer_end. */
struct nb_outer;

struct nb_outer_options {
    size_t n, n_y;   /* numbers of a token's x, and of its y; n_y 0: there is no C */
    size_t n_tokens; /* of the longest stream, about: panels for no more are made */
    struct nb_pool *pool;
};

/* Borrows: all arrays. */
struct nb_outer_tokens {
    const float *x; /* (n_tokens, n), rows x_stride >= n apart */
    const float *y; /* (n_tokens, n_y), rows y_stride >= n_y apart; without C not read */
    size_t x_stride, y_stride;
    size_t n_tokens;
};

/* What one owns: panels of n_tokens tokens, at most 1,024, 4 * (2 n + n_y) bytes each; and 74 kB a thread at
 * most. UINT64_MAX where that does not fit. */
uint64_t nb_outer_bytes(const struct nb_outer_options *o);
/* NB_ERR_ARG for n = 0, NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_outer_create(struct nb_outer **out,
                                          const struct nb_outer_options *options,
                                          const struct nb_allocator *a, struct nb_error *err);
void nb_outer_destroy(struct nb_outer *o); /* NULL: nothing. Tokens that still wait are dropped */

/* A stream begins, for h (n, n) += sum of x x^T, upper triangle (or lower, h[j, i] for h[i, j]: the same bits,
 * so that two matrices share a square, see calib/hessian.h), and, unless c is NULL, all of c (n_y, n) += sum of
 * y x^T. The tokens of a call of nb_outer_add are cut into chunks of NB_SYM_CHUNK from the first on. Within a
 * chunk an element is one chain of f32
 *   s = 0;  s = fmaf(x[t, i], x[t, j], s),  t ascending
 * (of c: y[t, i]); then h[i, j] += (double)s, chunk after chunk. So several calls, or streams, give the bits
 * of one if each but the last has a multiple of NB_SYM_CHUNK tokens.
 * Tokens are copied. Until nb_outer_end a sum lacks those that wait in the panels. */
void nb_outer_begin(struct nb_outer *o, double *h, bool lower, double *c);
void nb_outer_add(struct nb_outer *o, const struct nb_outer_tokens *tokens);
void nb_outer_end(struct nb_outer *o);

void nb_sym_mirror(double *h, size_t n); /* copies the upper triangle to the lower one */

/* ---- Cholesky, from the last row up ---- */

/* H = V V^T, V upper triangular with a positive diagonal, in place of H's upper triangle:
 *   for j = n-1 .. 0:  V[j, j] = sqrt(H[j, j] - sum_{k > j} V[j, k]^2)
 *                      V[i, j] = (H[i, j] - sum_{k > j} V[i, k] V[j, k]) / V[j, j],  i < j
 * each difference a chain of fma over k descending that starts with H's element.
 * This is the factorization behind GPTQ (Frantar et al. 2023, arXiv:2210.17323, step 1) without the
 * inverse of H: with U = V^-1, H^-1 = U^T U, and U is the factor which that paper takes from H^-1.
 *
 * NB_ERR_NUMERIC if a pivot (the difference under the root) is not positive, NaN included: *pivot (may
 * be NULL) is its index j. Columns right of j's block of columns then hold V, the rest is undefined:
 * the caller keeps or rebuilds H, raises its diagonal, and tries again.
 * Success: *pivot = n. Memory meanwhile: 8 * 128 n bytes and 0.1 MB a thread. */
NB_CHECKED enum nb_status nb_chol_reverse(double *h, size_t n, struct nb_pool *pool, size_t *pivot,
                                          const struct nb_allocator *a, struct nb_error *err);

/* U = V^-1 in place, V upper triangular without zeros on its diagonal:
 *   U[j, j] = 1 / V[j, j],  U[i, j] = -(sum_{k = j .. i+1} V[i, k] U[k, j]) / V[i, i],  i < j
 * each sum a chain of fma over k descending that starts with 0. NB_ERR_NUMERIC for 0 or NaN on the
 * diagonal (v is untouched). Memory as nb_chol_reverse. */
NB_CHECKED enum nb_status nb_tri_inverse(double *v, size_t n, struct nb_pool *pool,
                                         const struct nb_allocator *a, struct nb_error *err);

/* ---- error feedback and losses ---- */

/* w (rows, n) -= e (rows, b) u (b, n) in f32, rows w_stride, e_stride, u_stride apart:
 *   w[r, j] = fmaf(-e[r, k], u[k, j], w[r, j]),  k ascending.
 * One thread (rows are independent: cut them in the caller's pool), no memory. w overlaps neither e
 * nor u. */
void nb_gemm_sub_f32(float *w, size_t w_stride, const float *e, size_t e_stride, const float *u,
                     size_t u_stride, size_t rows, size_t b, size_t n);

/* Borrows: all arrays. */
struct nb_sym_product {
    const double *h; /* (n, n) symmetric, upper triangle */
    size_t n;
    const float *e; /* (rows, n), rows e_stride apart */
    size_t e_stride, rows;
    bool lower; /* element (i, j), i <= j, lies at h[j, i] */
};

/* g (rows, n) = E H in doubles, each element a chain of fma over the rows k = 0 .. n-1 of H that starts
 * with 0. Memory meanwhile: 8 * 192 n bytes. */
NB_CHECKED enum nb_status nb_sym_times(double *g, const struct nb_sym_product *p,
                                       struct nb_pool *pool, const struct nb_allocator *a,
                                       struct nb_error *err);

/* g (rows, n) = E U, or E U^T, of h's upper triangle U alone. Otherwise as nb_sym_times, half the work. */
NB_CHECKED enum nb_status nb_tri_times(double *g, const struct nb_sym_product *p, bool transposed,
                                       struct nb_pool *pool, const struct nb_allocator *a,
                                       struct nb_error *err);

/* The loss tr(E H E^T): *total = sum over rows of e H e^T, in row order; loss (rows): that of each row,
 * or NULL. Half the work of nb_sym_times: e H e^T = sum_j e_j (H_jj e_j + 2 sum_{i<j} H_ij e_i).
 * Memory meanwhile: 8 * n * 96 bytes a thread. */
NB_CHECKED enum nb_status nb_quad_form(double *total, double *loss, const struct nb_sym_product *p,
                                       struct nb_pool *pool, const struct nb_allocator *a,
                                       struct nb_error *err);

/* ---- Hadamard transforms ---- */

#define NB_HADAMARD_MAX_BASE 256

/* An orthonormal matrix Q of n rows: signs, then Hadamard matrices on the diagonal over the root of
 * their order,  Q = diag(sign) (I (x) A) / sqrt(order),  A = A_K (x) A_{2^a},  order = K 2^a.
 * order is n if K is 1 or the order of a matrix that Paley's constructions give, K <= NB_HADAMARD_MAX_BASE:
 * 12, 20, 28, 36, 44, 52, 60, 68, 76 ... (times a power of two: all n = 4 m with m below 23, and others);
 * else the largest power of two that divides n.
 * Owns: its arrays. */
struct nb_hadamard {
    size_t n, order;
    uint32_t base;  /* K */
    double *matrix; /* (2, K, K): A_K of +1 and -1, and its transpose; NULL if K = 1 */
    double *sign;   /* (n) of +1 and -1, NULL: all +1 */
    const struct nb_allocator *a;
};

/* seed 0: no signs; else -1 where the i-th number of that seed's nb_rng has its top bit.
 * NB_ERR_ARG for n = 0, NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_hadamard_init(struct nb_hadamard *q, size_t n, uint64_t seed,
                                           const struct nb_allocator *a, struct nb_error *err);
void nb_hadamard_fini(struct nb_hadamard *q);

/* Each of the rows of x (rows, n), x_stride apart, times Q (times Q^T if inverse), in doubles inside,
 * rounded once. Memory meanwhile: 8 n bytes a thread. */
NB_CHECKED enum nb_status nb_hadamard_rows(const struct nb_hadamard *q, float *x, size_t x_stride,
                                           size_t rows, bool inverse, struct nb_pool *pool,
                                           struct nb_error *err);
/* x (n, cols) becomes Q^T x (Q x if inverse): the rows' transform of its transpose.
 * Memory meanwhile: 128 n bytes a thread. */
NB_CHECKED enum nb_status nb_hadamard_columns(const struct nb_hadamard *q, float *x,
                                              size_t x_stride, size_t cols, bool inverse,
                                              struct nb_pool *pool, struct nb_error *err);
/* One row of doubles, in place. */
void nb_hadamard_f64(const struct nb_hadamard *q, double *x, bool inverse);

#endif
