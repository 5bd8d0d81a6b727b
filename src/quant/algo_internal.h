/* quant/algo_internal.h: what the files of the algorithms share.
 *
 * Columns have two numbers: their own, and their place in the order in which they are rounded. Arrays say
 * which they go by.
 */
#ifndef NB_QUANT_ALGO_INTERNAL_H
#define NB_QUANT_ALGO_INTERNAL_H

#include "numfmt/coder.h"
#include "quant/algo.h"

#define NB_ALGO_CHUNK    24  /* rows that pass their errors on together */
#define NB_ALGO_LAZY     128 /* columns */
#define NB_ALGO_MAX_WORD 16  /* columns of a code word */

/* Owns: its arrays. Borrows: algo, what the job does. */
struct nb_prepared {
    const struct nb_algo *algo;
    struct nb_algo_job job;
    struct nb_algo_params params;
    struct nb_algo_facts facts;
    size_t n;
    uint32_t *order;  /* (n) column at each place                                                */
    float *diag;      /* (n) by column: H_ii per token; ones where nothing is known              */
    float *weight;    /* (n) by column: what errors weigh when scales are fitted; NULL: the same */
    float *schur;     /* (n, dim) by place: row i of its word's D block; NULL without feedback   */
    float *feedback;  /* (n, n) by place, upper: what an error at i takes from j > i; NULL: none */
    float *moments;   /* (n, n) by column, both triangles: H per token, damped; NULL: no polish  */
    float *stiffness; /* (n) diagonal of moments                                                 */
    double *buffer;   /* in which feedback and moments lie                                       */
};

/* A worker's. R = NB_ALGO_CHUNK. Owns: all. Borrows: p. */
struct nb_row_work {
    const struct nb_prepared *p;
    enum nb_role role; /* of the tensor */
    struct nb_coder *coder;
    struct nb_coder *plain; /* for the baseline: weights as they are; may be coder */
    struct nb_grid *grids;  /* (R, n_blocks) */
    int16_t *codes;         /* (R, n) by column, as the next ones */
    float *values;          /* (R, n) */
    float *target;          /* (R, n) */
    float *e;               /* (R, n) rounding errors                            */
    float *moving;          /* (R, n) by place: targets, less what came before   */
    float *error;           /* (R, lazy) of the columns at hand                  */
    float *asked;           /* (4, R, n) whose losses are measured; NULL: nobody asks */
    double *loss;           /* (4, R)                                            */
    float *x, *w;           /* (block) of a block to be fitted                   */
    size_t lazy;
    /* polish */
    float *g;                   /* (R, n) E H                                     */
    float *push;                /* (n) H times a change                           */
    float *next;                /* (block) values that are tried                  */
    float *level, *h_level;     /* (R, block) what a scale is multiplied by, and H times it */
    float *offset, *h_offset;   /* (R, block) likewise of an offset               */
    struct nb_grid *best_grids; /* (R, n_blocks) as held liked it best            */
    int16_t *best_codes;        /* (R, n) */
    float *best_values;         /* (R, n) */
};

/* order.c: the order in which columns are rounded. mass: (n) of diag H. */
NB_CHECKED enum nb_status nb_algo_order(uint32_t *order, const double *mass, size_t n,
                                        struct nb_algo_layout layout, enum nb_algo_order how,
                                        const struct nb_allocator *a, struct nb_error *err);

/* prepare.c */
bool nb_algo_needs_schur(const struct nb_algo_params *q);

/* rows.c */
/* What an error weighs in the loss: *loss (n_rows) = e H e^T per token. */
NB_CHECKED enum nb_status nb_algo_losses(const struct nb_prepared *p, double *loss, const float *e,
                                         size_t n_rows, bool held, struct nb_error *err);

/* feedback.c. rows [row, row + n_rows) of the tensor, whose targets are in k->target: grids, codes,
 * values. */
void nb_algo_round_plain(struct nb_row_work *k, uint64_t row, size_t n_rows, const float *weight);
uint32_t nb_algo_panel(const struct nb_prepared *p); /* columns of a panel, at most */
double nb_algo_round_feedback(struct nb_row_work *k, uint64_t row, size_t n_rows);

/* polish_rows.c: lowers the loss of rows that are rounded. Adds to sums what came of it. */
NB_CHECKED enum nb_status nb_algo_polish_rows(struct nb_row_work *k, size_t n_rows,
                                              struct nb_algo_sums *sums, struct nb_error *err);
/* polish_scales.c: the scales of some rows of the chunk for their codes. */
struct nb_algo_polish {
    const size_t *active; /* (n_active) rows */
    size_t n_active;
    const double *loss; /* (R) of the rows                */
    double *gain;       /* (R) += how much the loss fell  */
};
void nb_algo_polish_scales(struct nb_row_work *k, const struct nb_algo_polish *rows);
/* Moves values [at, at + n) of row r to k->next if that lowers the loss: by how much, or 0. */
double nb_algo_move(struct nb_row_work *k, size_t r, size_t at, size_t n);

#endif
