/* quant/algo.h: algorithms: in which order weights are fitted and rounded, and where their errors go.
 *
 * All work on one matrix W (rows, cols) and the second moments H (cols, cols) of its input, and lower
 * tr((W - Q) H (W - Q)^T), what rounding does to the matrix' output (Frantar et al. 2023, GPTQ, arXiv
 * 2210.17323; Chee et al. 2023, QuIP, 2307.13304). Any number format: numfmt/coder.h.
 *
 *     nb_prepared_create(algo, H, layout)  ->  struct nb_prepared   once per input, for all matrices on it
 *     nb_algo_rows(prepared, slab of rows)             rows are independent: any cut gives the same bytes
 *     nb_prepared_destroy
 *
 * An algorithm is a set of parameters, and, where these do not say it, a function that rounds some rows. It
 * is one file src/quant/<id>.c that defines nb_algo_<id> and one line NB_ALGO(<id>) in registry.inc;
 * tests/conform/test_algo.c finds it there.
 */
#ifndef NB_QUANT_ALGO_H
#define NB_QUANT_ALGO_H

#include "base/base.h"
#include "model/model.h"
#include "numfmt/numfmt.h"

struct nb_coder; /* numfmt/coder.h */
struct nb_coder_spec;

/* What an algorithm asks for. Bits of a set. */
enum nb_algo_needs {
    NB_NEEDS_DIAG = 1, /* the diagonal of H (an imatrix will do); without: ones  */
    NB_NEEDS_H = 2     /* all of H                                               */
};

/* Where a published recipe is run otherwise than the driver runs a method. Bits of a set. */
enum nb_algo_published {
    NB_PUBLISHED_NO_SHIFT = 1, /* W itself is what rows come near to: what rounding has done to the
                                     layers before is not made good                               */
    NB_PUBLISHED_INPUT_SHIFT =
        2, /* that is done for a layer's input, not for the residual stream */
    NB_PUBLISHED_FLOAT_PREFIX = 4 /* H is of what the float model gives, not the rounded layers   */
};

/* Weights of squared errors when scales are fitted; D: the Schur complements of H, see below. */
enum nb_algo_weigh {
    NB_WEIGH_NONE,  /* all the same                               */
    NB_WEIGH_DIAG,  /* H_ii                                       */
    NB_WEIGH_SCHUR, /* D_i, what an error costs under feedback    */
    NB_WEIGH_VALUE  /* D_i sqrt(sigma^2 + x^2), sigma^2 = 2 mean x^2 of the block */
};

/* When scales are fitted. */
enum nb_algo_fit {
    NB_FIT_STATIC, /* all at once, on the weights as they came                        */
    NB_FIT_START,  /* block by block, on weights that hold the errors of those before */
    NB_FIT_LATE    /* and each sub-block again when its turn comes, outer parameters frozen */
};

/* Which columns come first. */
enum nb_algo_order {
    NB_ORDER_NONE,
    NB_ORDER_LAYOUT, /* blocks by their sum of H_ii, sub-blocks in them, code words in them: largest
                        first. What is fitted together stays together                           */
    NB_ORDER_BLOCK,  /* blocks, and code words in them; sub-blocks are not fitted late           */
    NB_ORDER_AUTO,   /* by layout where blocks have inner scales or code words several columns, else
                        full                                                                    */
    NB_ORDER_FULL    /* all code words by H_ii (act-order); scales are static                   */
};

struct nb_algo_params {
    bool
        feedback; /* errors are passed on to later columns; else each column is rounded by itself */
    double damp;  /* lambda as a share of the mean of H_ii */
    enum nb_algo_weigh weigh;
    enum nb_algo_fit fit;
    enum nb_algo_order order;
    uint32_t lazy;      /* columns whose errors are passed on together; 0: 128. Changes no bit */
    uint32_t polish;    /* rounds of coordinate descent and least squares of the scales        */
    double polish_damp; /* lambda of the H that polishing works on                             */
    bool no_baseline;   /* skip what rtn would give, in the sums                               */
};

/* Columns that share parameters; two matrices on one input whose layouts are equal share their prepared. */
struct nb_algo_layout {
    uint32_t block, sub, dim;
};
struct nb_algo_layout nb_algo_layout(const struct nb_coder *c);
bool nb_algo_layout_equal(struct nb_algo_layout a, struct nb_algo_layout b);

/* Borrows: all; h and held until the prepared is destroyed. */
struct nb_algo_job {
    size_t n;        /* columns */
    const double *h; /* (n, n) sum of x x^T over the tokens, row-major; the upper triangle counts.
                           NULL: only diag is known */
    const double *diag; /* (n) of H when h is NULL; both NULL: ones */
    double tokens;      /* summed in h */
    const double
        *held; /* (n, n) the same of tokens that h does not hold, to stop by; may be NULL */
    double held_tokens;
    bool held_lower; /* of held the lower triangle counts: element (i, j), i <= j, at held[j, i] */
    struct nb_algo_layout layout;
    const struct nb_algo_params *params; /* NULL: the algorithm's own */
    struct nb_pool *pool;                /* NULL: this thread */
    const struct nb_allocator *a;
};

/* Known before any rounding. All per token (divided by tokens): comparable between tensors. */
struct nb_algo_facts {
    double mean_h;    /* of H_ii: what an error of 1 costs without feedback  */
    double mean_d;    /* of D_i:  with it; mean_h / mean_d is its head-room  */
    double geomean_d; /* mean_d / geomean_d: what unequal rates could add    */
    double damp;      /* lambda used, as a share of the mean of H_ii         */
    uint32_t n_damp;  /* times lambda was doubled until H was positive definite */
    size_t n_dead;    /* columns whose input was always 0                    */
};

/* Losses of the rows done so far: tr(E H E^T) per token. Add-up-able. A caller starts from zeros. */
struct nb_algo_sums {
    uint64_t n_rows;
    double signal;      /* tr(W H W^T)                                          */
    double rtn;         /* of rounding to nearest weighted by H_ii; NaN: not asked for */
    double loss;        /* of what was stored                                   */
    double held_signal; /* the same on held; 0 without */
    double held_rtn, held_loss;
    double target_loss;      /* against the targets; = loss without                      */
    double held_target_loss; /* the same on held                                       */
    double feedback;         /* sum of D_i (target - q)^2 as feedback saw it; H damped   */
    double polish_gain;      /* how much polishing lowered the loss on H                 */
    uint64_t n_polished;     /* rows in which polishing was kept                         */
    uint64_t n_held_stops;   /* rounds that held undid                                   */
};

/* A slab of rows to be rounded. Borrows: all. */
struct nb_rows {
    const struct nb_coder_spec *spec; /* of the tensor; a coder is made of it for each thread.
                                         Its weighting is the algorithm's business           */
    enum nb_role role;                /* of the tensor */
    uint64_t row;                     /* number of the first row in its tensor */
    size_t n_rows;
    const float *w;      /* (n_rows, cols) the weights; what losses are measured against */
    const float *target; /* (n_rows, cols) what shall be approximated instead; NULL: w  */
    uint8_t *records;    /* out: (n_rows, record_bytes) as nb_coder_pack writes them; may be NULL */
    size_t record_bytes;
    float *decoded; /* out: (n_rows, cols) the values stored; may be NULL, may be w or target */
    struct nb_algo_sums *sums; /* added to; may be NULL: nothing is measured */
};

struct nb_prepared;
struct nb_row_work; /* algo_internal.h */

struct nb_algo {
    const char *name, *summary;
    unsigned needs; /* enum nb_algo_needs */
    const struct nb_algo_params *params;
    const char *scale_search; /* of general grids, as published; NULL: the recipe's */
    const char *transform; /* that comes before it, its loss measured (transformed.h); NULL: none */
    unsigned as_published; /* enum nb_algo_published */
    bool (*supports)(const struct nb_coder *c); /* NULL: every format */
    /* Rounds rows [row, row + n_rows) of a tensor in a way of its own, and they are not polished: grids,
     * codes, values from k->target; k->e is scratch. NULL: plainly, or with feedback, as params say. */
    enum nb_status (*round)(struct nb_row_work *k, uint64_t row, size_t n_rows,
                            struct nb_error *err);
};

const struct nb_algo *const *nb_algo_all(size_t *n);
const struct nb_algo *nb_algo_find(const char *name); /* NULL: none */
bool nb_algo_supports(const struct nb_algo *algo, const struct nb_coder *c);

/* NB_ERR_NUMERIC: H holds NaN or infinity, or a negative diagonal; NB_ERR_ARG, NB_ERR_UNSUPPORTED: the job
 * lacks what the algorithm needs. */
NB_CHECKED enum nb_status nb_prepared_create(struct nb_prepared **out, const struct nb_algo *algo,
                                             const struct nb_algo_job *job, struct nb_error *err);
void nb_prepared_destroy(struct nb_prepared *p); /* NULL is fine */
const struct nb_algo_facts *nb_prepared_facts(const struct nb_prepared *p);
/* Uses the job's pool inside. Not to be called twice at once. NB_ERR_NUMERIC: a weight is not finite (row
 * and column in the message); NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_algo_rows(const struct nb_prepared *p, struct nb_rows *rows,
                                       struct nb_error *err);
/* Bytes that a prepared owns, and that nb_algo_rows takes meanwhile with this many threads. */
uint64_t nb_algo_prepared_bytes(const struct nb_algo *algo, size_t cols);
uint64_t nb_algo_rows_bytes(const struct nb_algo *algo, size_t cols, unsigned threads);

#define NB_ALGO(id) extern const struct nb_algo nb_algo_##id;
#include "quant/registry.inc"
#undef NB_ALGO

#endif
