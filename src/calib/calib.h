/* calib/calib.h: what a text says about a model: statistics of the values that flow through it.
 *
 * The first statistic: second moments of each linear layer's input, sum over tokens of x_j^2, column by
 * column ("importance matrix": the diagonal of H = X X^T). Files: llama.cpp's imatrix, in GGUF and in the
 * older .dat (docs/formats/imatrix.md). A statistic is collected by tapping the edges of a running graph.
 */
#ifndef NB_CALIB_CALIB_H
#define NB_CALIB_CALIB_H

#include "base/base.h"
#include "calib/corpus.h"
#include "calib/stats.h"
#include "model/model.h"
#include "run/run.h"

/* Of one weight; n_mat > 1: several matrices in one tensor (experts). Lives in its nb_calib. */
struct nb_moment {
    const char *name; /* of the weight: "blk.0.attn_q.weight"      */
    size_t n_mat, cols;
    double *sum;   /* (n_mat, cols) of x^2 over all tokens      */
    double *count; /* (n_mat) tokens; 0: nothing was seen       */
    /* (n_mat) tokens that chose this expert, where all were shown every token; NULL: as count. */
    double *chosen;
};

/* An expert that fewer tokens than this have met borrows from the others (nb_moment_means). */
#define NB_CALIB_FEW_TOKENS 32

/* Owns: everything. Items keep the order in which they were added. */
struct nb_calib {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_moment *items;
    size_t n, cap;
    struct nb_map names;   /* -> index */
    const char **datasets; /* (n_datasets) names of texts */
    size_t n_datasets, cap_datasets;
    uint64_t chunk_count; /* windows of text              */
    uint32_t chunk_size;  /* tokens of a window, > 0      */
    struct nb_hash hash;  /* of the file it was read from */
};

NB_CHECKED enum nb_status nb_calib_create(struct nb_calib **out, const struct nb_allocator *a,
                                          struct nb_error *err);
void nb_calib_destroy(struct nb_calib *c);
/* A new entry, all zeros. NB_ERR_EXISTS if there is one of this name. *out lives until the next one is
 * added; what it points to lives as long as c. */
NB_CHECKED enum nb_status nb_calib_add(struct nb_calib *c, const char *name, size_t n_mat,
                                       size_t cols, struct nb_moment **out, struct nb_error *err);
NB_CHECKED enum nb_status nb_calib_add_dataset(struct nb_calib *c, const char *name, size_t n,
                                               struct nb_error *err);
const struct nb_moment *nb_calib_find(const struct nb_calib *c, const char *name); /* NULL: none */

/* Adds what `from` has seen. NB_ERR_FORMAT if an entry of both has different lengths. */
NB_CHECKED enum nb_status nb_calib_merge(struct nb_calib *into, const struct nb_calib *from,
                                         struct nb_error *err);

/* Is the entry one for a tensor of this shape (..., rows, cols)? NB_ERR_FORMAT names both. */
NB_CHECKED enum nb_status nb_moment_check(const struct nb_moment *m, const struct nb_shape *shape,
                                          struct nb_error *err);
/* Mean of x_j^2 for the columns [first, first + n) of all n_mat * cols; 1 where nothing was seen. Where one of
 * several matrices has seen c < NB_CALIB_FEW_TOKENS tokens, the mean of all matrices stands in for those
 * that are missing: (sum + (few - c) * mean of all) / few. */
void nb_moment_means(const struct nb_moment *m, size_t first, size_t n, float *dst);

/* How many tokens the experts of an entry have met. */
struct nb_coverage {
    uint32_t n_experts, unseen,
        few; /* few: with less than NB_CALIB_FEW_TOKENS, the unseen included */
    double least, median, most;
};
NB_CHECKED enum nb_status nb_moment_coverage(const struct nb_moment *m, struct nb_coverage *out,
                                             const struct nb_allocator *a, struct nb_error *err);

/* ---- files ---- */
enum nb_calib_format { NB_CALIB_GGUF, NB_CALIB_DAT };

/* Knows the format by the first bytes. */
NB_CHECKED enum nb_status nb_calib_read(struct nb_calib **out, const char *path,
                                        const struct nb_allocator *a, struct nb_error *err);
/* The same over bytes in memory. */
NB_CHECKED enum nb_status nb_calib_read_bytes(struct nb_calib **out, const void *data, size_t n,
                                              const struct nb_allocator *a, struct nb_error *err);
NB_CHECKED enum nb_status nb_calib_write(const struct nb_calib *c, const char *path,
                                         enum nb_calib_format format, unsigned out_flags,
                                         uint64_t *bytes, struct nb_error *err);

/* ---- collecting ---- */
struct nb_collect_job {
    const struct nb_weights *w;
    const uint32_t *tokens; /* (n_tokens), the text without a begin-of-text token           */
    size_t n_tokens;
    int64_t bos;      /* put in place of each window's first token; -1: the model wants none  */
    uint32_t ctx;     /* tokens of a window                                                   */
    uint32_t chunks;  /* windows at most; 0: as many as the text fills                        */
    bool all_experts; /* every expert sees every token; what the model says stays as it is    */
    bool head;        /* the output head too: costs its product for every token               */
    struct nb_pool *pool;
    const struct nb_progress *progress; /* may be NULL; unit "tokens" */
    /* Instead of tokens and chunks: what nb_corpus_windows chose. */
    const struct nb_corpus_text *texts;
    const struct nb_window *windows; /* (n_windows), NULL: tokens, window after window */
    size_t n_windows;
    uint32_t held_every; /* of windows of tokens: as in nb_corpus_plan */
};

/* Runs the model over the text, floats throughout, and adds what it sees: the squares, or what s observes (which
 * is then settled). Sums are in the order of the tokens: the same bits for any pool, batch and CPU.
 * NB_ERR_ARG if the text is shorter than a window; NB_ERR_NUMERIC names a layer whose input is not finite;
 * NB_ERR_CANCELLED. */
NB_CHECKED enum nb_status nb_calib_collect(struct nb_calib *c, const struct nb_collect_job *job,
                                           struct nb_error *err);
NB_CHECKED enum nb_status nb_stats_collect(struct nb_stats *s, const struct nb_collect_job *job,
                                           struct nb_error *err);

#endif
