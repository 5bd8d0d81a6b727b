/* calib/hessian.h: H = X X^T, the second moments of a linear layer's input with all their products.
 *
 * What rounding a row of weights by e costs at the layer's output is e H e^T, summed over the tokens that H has
 * seen; H / tokens is the mean. The diagonal of H is the importance that an imatrix carries. Sums are made in
 * float within chunks of NB_HESSIAN_CHUNK tokens and in double from chunk to chunk: the same bits for any
 * number of threads and on every CPU. Integer-valued inputs whose sums a float holds give H exactly.
 */
#ifndef NB_CALIB_HESSIAN_H
#define NB_CALIB_HESSIAN_H

#include "base/base.h"
#include "math/linalg.h"

struct nb_calib;

#define NB_HESSIAN_CHUNK NB_SYM_CHUNK /* tokens whose products are summed in float */

/* Owns: h, but for the second of a pair. Columns no token excited have a zero diagonal: what is done about them is the reader's choice. */
struct nb_hessian {
    const struct nb_allocator *a;
    size_t n;
    double *h;     /* (n, n) row-major; the upper triangle counts, the lower is 0 until mirrored */
    double tokens; /* summed; h is a sum, not a mean                                             */
    bool lower;    /* the second of a pair: element (i, j), i <= j, lies at h[j * n + i]         */
};

/* All zeros. NB_ERR_NOMEM names the bytes it wanted. */
NB_CHECKED enum nb_status nb_hessian_create(struct nb_hessian **out, size_t n,
                                            const struct nb_allocator *a, struct nb_error *err);
/* Two in the memory of one: the second has the triangle below that of the first, and is destroyed before it. */
NB_CHECKED enum nb_status nb_hessian_create_pair(struct nb_hessian **first,
                                                 struct nb_hessian **second, size_t n,
                                                 const struct nb_allocator *a,
                                                 struct nb_error *err);
void nb_hessian_destroy(struct nb_hessian *h); /* NULL: nothing */
/* Bytes one of n columns owns; UINT64_MAX where they do not fit 64 bits. */
uint64_t nb_hessian_bytes(size_t n);
uint64_t nb_hessian_pair_bytes(size_t n);

/* Element (i, j), i <= j. */
static inline double *nb_hessian_at(const struct nb_hessian *h, size_t i, size_t j)
{
    return h->h + (h->lower ? j * h->n + i : i * h->n + j);
}

/* Adds tokens, a chunk after every NB_HESSIAN_CHUNK of this call's. Whoever wants the same bits for any split
 * of the tokens into calls passes whole chunks (nb_stats does). */
NB_CHECKED enum nb_status nb_hessian_add(struct nb_hessian *h, const float *x /* (n_tokens, n) */,
                                         size_t n_tokens, struct nb_pool *pool,
                                         struct nb_error *err);
/* Adds what another has seen. NB_ERR_FORMAT if their sizes differ. */
NB_CHECKED enum nb_status nb_hessian_merge(struct nb_hessian *into, const struct nb_hessian *from,
                                           struct nb_error *err);
/* NB_ERR_NUMERIC names the layer and the column where a sum is not finite. */
NB_CHECKED enum nb_status nb_hessian_check(const struct nb_hessian *h, const char *weight,
                                           struct nb_error *err);
/* Lower triangle := upper; of none of a pair. */
void nb_hessian_mirror(struct nb_hessian *h);
void nb_hessian_diag(const struct nb_hessian *h, double *diag); /* (n), sums */
double nb_hessian_mean_diag(const struct nb_hessian *h);        /* of the diagonal's sums  */

/* An entry of importance for a weight that reads what the Hessians (n_mat, one for each matrix) have seen.
 * NB_ERR_FORMAT if their sizes differ, NB_ERR_EXISTS if there is an entry. */
NB_CHECKED enum nb_status nb_calib_add_hessian(struct nb_calib *c, const char *weight,
                                               const struct nb_hessian *const *h, size_t n_mat,
                                               struct nb_error *err);

#endif
