/* math/math.h: double arithmetic whose bits are the same everywhere, and what is built on it.
 *
 * exp, log, sin, cos are our own (argument reduction and polynomials in plain double operations, no
 * libm), error below 2 ulp over the ranges stated; no fma is used.
 */
#ifndef NB_MATH_MATH_H
#define NB_MATH_MATH_H

#include "base/base.h"

double nb_exp(double x);           /* all x; overflow to infinity, underflow to 0        */
double nb_log(double x);           /* x > 0; -inf at 0, NaN below                        */
double nb_pow(double x, double y); /* x > 0: exp(y * log x) in double-double, 2 ulp; x = 0 too */
double nb_sin(double x);           /* |x| <= 2^30, NaN beyond                           */
double nb_cos(double x);

/* Sum in the canonical order: 16 lanes, then the tree 8-4-2-1. */
double nb_sum_f64(const double *x, size_t n);

/* ---- scalar codebooks: k-means in one dimension, exactly ---- */
#define NB_KMEANS_MAX 256 /* levels */

/* Borrows: all arrays. */
struct nb_kmeans {
    const double *x;   /* (n) ascending, finite; equal values may repeat */
    const double *w;   /* (n) weights, not negative; NULL or all zero: ones */
    size_t n;          /* 1 .. 2^32 - 2 */
    uint32_t k;        /* levels wanted, 1 .. NB_KMEANS_MAX */
    double *levels;    /* out: (k) ascending; past n_levels the last one repeats */
    uint8_t *assign;   /* out: (n) index of the nearest level, the lower of two; or NULL */
    uint32_t n_levels; /* out: k, or how many values with a weight there are if fewer */
    double cost;       /* out: sum of w (x - level)^2 */
};

/* The levels of least cost over all choices. O(k n log n) time, 4 k n bytes of memory meanwhile.
 * NB_ERR_ARG for a count out of range, NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_kmeans_levels(struct nb_kmeans *job, const struct nb_allocator *a,
                                           struct nb_error *err);

/* A large weighted sample as at most NB_KMEANS_POINTS points, for nb_kmeans_levels. Exact (a point
 * per value) while the sample has no more values than that, which holds for any tensor of f16 or
 * bf16 numbers; kmeans_sample.c says what more values cost. */
#define NB_KMEANS_POINTS 65536

/* Owns: x, w, through the allocator given to nb_kmeans_sample. */
struct nb_kmeans_points {
    double *x, *w; /* (n) ascending; mean and weight of each point */
    size_t n;      /* 0 if no weight is positive */
    double within; /* sum of w (value - its point)^2: 0 when exact */
};

/* x: (n) finite, any order. w: (n_w) weights, not negative, repeated along x (one per column of a
 * matrix); n_w == 0: ones. Values without weight are dropped. */
NB_CHECKED enum nb_status nb_kmeans_sample(struct nb_kmeans_points *p, const float *x, size_t n,
                                           const float *w, size_t n_w,
                                           const struct nb_allocator *a);
void nb_kmeans_points_fini(struct nb_kmeans_points *p, const struct nb_allocator *a);

/* ---- codebooks of vectors ---- */
#define NB_VQ_MAX_DIM   8
#define NB_VQ_MAX_CODES 65536

/* Borrows: all arrays. */
struct nb_vq {
    const float *x;       /* (n, dim) finite, below 1e18 in magnitude */
    size_t n;             /* 1 .. 2^32 - 2 */
    uint32_t dim;         /* 1 .. NB_VQ_MAX_DIM */
    uint32_t k;           /* code words wanted, 1 .. NB_VQ_MAX_CODES */
    const float *w;       /* (n_w) weights of single numbers, not negative, repeated along x */
    size_t n_w;           /* 0: ones */
    uint32_t max_iters;   /* of Lloyd's iteration at full size; 0: 50 */
    double tol;           /* stop when an iteration gains less than this share; 0: 1e-4 */
    struct nb_pool *pool; /* NULL: this thread alone; the result is the same */
    float *codebook;      /* out: (k, dim); past n_codes the last one repeats */
    uint16_t *index;      /* out: (n) nearest code word; or NULL */
    uint32_t n_codes;     /* out: k unless there were fewer different vectors */
    uint32_t n_iters;     /* out */
    double error;         /* out: sum of w (x - code)^2 */
};

/* A local optimum by splitting and Lloyd's iteration. 4 n (6 n without index) bytes meanwhile.
 * NB_ERR_ARG for a count out of range, NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_vq_train(struct nb_vq *v, const struct nb_allocator *a,
                                      struct nb_error *err);

/* Borrows: all arrays. */
struct nb_vq_search {
    const float *codebook; /* (k, dim) */
    uint32_t k, dim;
    const float *x; /* (n, dim) */
    const float *w; /* as in nb_vq */
    size_t n_w;
};

/* The nearest code word of vectors [begin, end) to index (end - begin), the first of equal ones; the
 * sum of the squared errors. */
double nb_vq_nearest(const struct nb_vq_search *q, size_t begin, size_t end, uint16_t *index);

#endif
