/* quant/calibrated_internal.h: what the files of calibrated rounding share. */
#ifndef NB_QUANT_CALIBRATED_INTERNAL_H
#define NB_QUANT_CALIBRATED_INTERNAL_H

#include "calib/acts.h"
#include "calib/block_weights.h"
#include "quant/calibrated.h"
#include "quant/quant_internal.h"

#define NB_CALIBRATED_WEIGHTS 64      /* matrices of a block */
#define NB_IDEAL_WHOLE        131072U /* a text of so many tokens runs through the float model whole */
#define NB_IDEAL_TOKENS       65536U /* ... of a longer one, at most */

/* Sums over tokens of the columns of an input, for biases (calibrated_bias.c). Owns: x. */
struct nb_calibrated_means {
    double tokens; /* 0: no sums */
    double *x;     /* (n) of the input of the rounded model */
    double *d; /* (n_d) behind x: of what the float model has more there; NULL: no second stream.
                      residual: of its residual stream behind the layer, without the layer's bias, less the
                      rounded one's before it */
    size_t n, n_d;
    bool residual;
};

/* A run under way. Owns: all but plan, journal, reports, times, text. */
struct nb_calibrated {
    const struct nb_quant_plan *p;
    struct nb_journal *j;
    struct nb_layer_report *reports;
    struct nb_calibrated_times *times;
    const struct nb_allocator *a;
    const struct nb_windows *text;
    struct nb_choices choices; /* of method auto */
    struct nb_acts *acts;      /* hidden states of the rounded model, of every window */
    struct nb_acts
        *ideal; /* of the float model, of windows ideal_window[0 .. n_ideal - 1]; NULL: none */
    size_t *ideal_window, n_ideal;
    struct nb_block_weights *floats; /* of the block at hand */
    struct nb_stats *stats;          /* of the pass at hand; NULL: none */
    uint8_t *records;                /* of the largest weight */
    uint8_t *trial;                  /* likewise; method auto only */
    bool new_bias;                   /* decoding put one into floats that a session has to see */
    /* Progress, in tokens: before the phase at hand, of it, of all; its windows run so far. */
    uint64_t done, share, total, step, n_steps;
};

/* The weights of a block that are to be rounded. */
struct nb_calibrated_block {
    int32_t number;                          /* -1: the head */
    size_t weight[NB_CALIBRATED_WEIGHTS], n; /* indices in the model */
};

/* calibrated.c */
const char *nb_calibrated_name(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                               size_t i);
/* The next phase stands for so many passes over the text in reports of progress, and has n_steps steps. */
void nb_calibrated_phase(struct nb_calibrated *k, unsigned passes, uint64_t n_steps);
NB_CHECKED enum nb_status nb_calibrated_step(struct nb_calibrated *k, const char *what,
                                             struct nb_error *err);
/* (rows, cols) of weight i; NULL outside the blocks, where it is read in slabs. */
float *nb_calibrated_values(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                            size_t i);

/* calibrated_round.c */
/* Takes what the journal has of a block. *all: nothing is left to do. */
NB_CHECKED enum nb_status nb_calibrated_take_journal(struct nb_calibrated *k,
                                                     struct nb_calibrated_block *b, bool *all,
                                                     struct nb_error *err);
/* Weight i of the block rounded, into the journal, after its corrected bias. job: what is known of its input;
 * means: likewise, NULL: biases stay. */
NB_CHECKED enum nb_status nb_calibrated_round(struct nb_calibrated *k,
                                              const struct nb_calibrated_block *b, size_t i,
                                              struct nb_layer_job *job,
                                              const struct nb_calibrated_means *means,
                                              struct nb_error *err);
/* Weight i as it is stored, or decoded, in place of its floats; nothing if the journal does not have it. */
NB_CHECKED enum nb_status nb_calibrated_decode(struct nb_calibrated *k,
                                               const struct nb_calibrated_block *b, size_t i,
                                               struct nb_error *err);

/* calibrated_bias.c: a layer's bias takes off what rounding adds to its output on average. */
/* The bias of weight i, index in the model; SIZE_MAX: none, or none that is stored. */
size_t nb_calibrated_bias(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                          size_t i);
/* sums (n) += columns of x (tokens, n). */
void nb_calibrated_sum_columns(double *sums, const float *x, size_t tokens, size_t n,
                               struct nb_pool *pool);
/* Of weight i, whose stored bytes are in k->records, to the journal. hash: of the weight's floats. */
NB_CHECKED enum nb_status nb_calibrated_correct(struct nb_calibrated *k,
                                                const struct nb_calibrated_block *b, size_t i,
                                                const struct nb_calibrated_means *means,
                                                struct nb_hash hash, struct nb_error *err);
/* The bias as it is stored, in place of its floats. */
NB_CHECKED enum nb_status nb_calibrated_take_bias(struct nb_calibrated *k,
                                                  const struct nb_calibrated_block *b, size_t i,
                                                  struct nb_error *err);

/* staged.c: a dense block, input by input: what a layer reads has passed the rounded layers before it. */
NB_CHECKED enum nb_status
nb_staged_block(struct nb_calibrated *k, const struct nb_calibrated_block *b, struct nb_error *err);
/* Floats of a token's widest row in the store; 0: blocks of this model are not run in pieces. */
size_t nb_staged_width(const struct nb_hparams *hp);

#endif
