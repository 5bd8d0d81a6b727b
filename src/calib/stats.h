/* calib/stats.h: statistics of the values that flow into linear layers, edge by edge.
 *
 * An edge is one value of the graph; the weights that read it (q, k and v; gate and up) share what is known of
 * it. What is observed is a choice among the observers of registry.inc; each keeps a state for an edge, or for
 * each matrix of it where experts read their own tokens. A second set of states takes the windows that are held
 * out, for telling when to stop.
 *
 * The driver of a calibrated quantization uses one for a decoder block at a time:
 *
 *     nb_stats_create(&s, &(struct nb_stats_options){.kinds = NB_STAT_BIT(hessian), .held_out = true}, a, err);
 *     nb_stats_attach(s, session);
 *     for each window { nb_stats_window(s, held_out); run it through the session }
 *     nb_stats_settle(s, err);
 *     h = nb_stats_hessian(s, "blk.0.attn_q.weight", 0, NB_STATS_TRAIN);
 *     nb_stats_destroy(s);
 *
 * The bits do not depend on threads, CPU and how a window is split into calls.
 */
#ifndef NB_CALIB_STATS_H
#define NB_CALIB_STATS_H

#include "base/base.h"
#include "calib/hessian.h"
#include "run/run.h"

/* ---- observers ---- */
/* The observers of registry.inc, in its order. */
enum nb_stat {
#define NB_OBSERVER(id) NB_STAT_##id,
#include "calib/registry.inc"
#undef NB_OBSERVER
    NB_STAT_COUNT
};
#define NB_STAT_BIT(id) (1U << NB_STAT_##id)

/* ---- a set of edges ---- */
enum nb_stats_set { NB_STATS_TRAIN, NB_STATS_HELD, NB_STATS_SETS };

struct nb_stats;

struct nb_stats_options {
    unsigned kinds; /* NB_STAT_BIT of each observer wanted */
    /* Edges that one of these weights reads; NULL: all. Borrowed, for its life. */
    const char *const *weights;
    size_t n_weights;
    bool held_out; /* keeps Hessians of held-out windows; without, those windows are passed over */
    uint64_t max_bytes; /* of all Hessians together: the edge with which they get larger fails with
                           NB_ERR_LIMIT; 0: any */
    bool all_experts;   /* what is tapped shows every token to every expert: counts who chose it */
    struct nb_pool *pool; /* borrowed; NULL: one thread */
};

NB_CHECKED enum nb_status nb_stats_create(struct nb_stats **out, const struct nb_stats_options *o,
                                          const struct nb_allocator *a, struct nb_error *err);
void nb_stats_destroy(struct nb_stats *s);

/* Taps the session (nb_session_tap): what runs through it from now on is observed. nb_session_tap(session, NULL, NULL)
 * ends that. What happens in a tap is told by nb_stats_settle. */
void nb_stats_attach(struct nb_stats *s, struct nb_session *session);
/* Begins a window of text; before the first call windows are not held out. */
void nb_stats_window(struct nb_stats *s, bool held_out);
/* Ends observing: what was put off is added and everything is checked. NB_ERR_NOMEM, or NB_ERR_NUMERIC that
 * names the layer whose input was not finite. */
NB_CHECKED enum nb_status nb_stats_settle(struct nb_stats *s, struct nb_error *err);

/* ---- what they know; after nb_stats_settle ---- */
/* Of the value that the weight reads; expert: which matrix, 0 if there is one. NULL: the weight was not met,
 * there is no such matrix, or Hessians were not asked for. A Hessian of 0 tokens is all zeros. */
const struct nb_hessian *nb_stats_hessian(const struct nb_stats *s, const char *weight,
                                          size_t expert, enum nb_stats_set set);
/* The same, and it is the caller's to destroy; the edge's other readers find NULL from then on. */
struct nb_hessian *nb_stats_take_hessian(struct nb_stats *s, const char *weight, size_t expert,
                                         enum nb_stats_set set);
/* Which edge a weight reads, 0 .. : weights of the same edge share it. SIZE_MAX: it was not met. */
size_t nb_stats_edge_of(const struct nb_stats *s, const char *weight);
size_t nb_stats_matrices(const struct nb_stats *s, const char *weight); /* experts; 0: not met */
unsigned nb_stats_kinds(const struct nb_stats *s);
/* An entry of importance for every weight met, in the order of the graph. Moments must have been observed. */
NB_CHECKED enum nb_status nb_stats_moments(const struct nb_stats *s, struct nb_calib *c,
                                           struct nb_error *err);

/* The names of observers, separated by commas, or "all", as kinds; NB_ERR_ARG names what there is none of. */
NB_CHECKED enum nb_status nb_stats_parse_kinds(unsigned *kinds, const char *text,
                                               struct nb_error *err);

/* The way back: "moments,range"; returns dst. */
#define NB_STATS_KINDS_BYTES 64
const char *nb_stats_kinds_text(unsigned kinds, char dst[NB_STATS_KINDS_BYTES]);

/* ---- where they come from ---- */
struct nb_stats_text {
    const char *name;
    char hash[NB_HASH_HEX_BYTES]; /* of the file's bytes */
};

/* Owned by the nb_stats, which counts the windows itself. */
struct nb_stats_source {
    char model[NB_HASH_HEX_BYTES]; /* hash of the model's tensors; "": not known */
    const struct nb_stats_text *texts;
    size_t n_texts;
    uint32_t ctx;                    /* tokens of a window             */
    uint32_t held_every;             /* 0: nothing was held out        */
    uint64_t windows[NB_STATS_SETS]; /* observed, and held out         */
    bool all_experts;
};
const struct nb_stats_source *nb_stats_source(const struct nb_stats *s);
void nb_stats_set_model(struct nb_stats *s, struct nb_hash hash);
void nb_stats_set_windows(struct nb_stats *s, uint32_t ctx, uint32_t held_every);
NB_CHECKED enum nb_status nb_stats_add_text(struct nb_stats *s, const char *name,
                                            struct nb_hash hash, struct nb_error *err);

/* ---- merging and files (docs/formats/statistics.md) ---- */
/* Adds what `from` has seen; both settled. Kinds that one of them lacks are dropped. NB_ERR_FORMAT if they are of different
 * models, one holds windows out and the other does not, or an edge differs. */
NB_CHECKED enum nb_status nb_stats_merge(struct nb_stats *into, const struct nb_stats *from,
                                         struct nb_error *err);
/* Drops the kinds that are not among these. */
void nb_stats_keep(struct nb_stats *s, unsigned kinds);

/* GGUF that is an imatrix too. Moments must have been observed. */
NB_CHECKED enum nb_status nb_stats_write(const struct nb_stats *s, const char *path,
                                         unsigned out_flags, uint64_t *bytes, struct nb_error *err);
/* Does the file claim to hold statistics of ours, beyond an imatrix's? Its header is read. */
NB_CHECKED enum nb_status nb_stats_probe(bool *is, const char *path, const struct nb_allocator *a,
                                         struct nb_error *err);
NB_CHECKED enum nb_status nb_stats_read(struct nb_stats **out, const char *path,
                                        const struct nb_allocator *a, struct nb_error *err);
/* What an imatrix knows: moments, each weight an edge of its own. */
NB_CHECKED enum nb_status nb_stats_from_calib(struct nb_stats **out, const struct nb_calib *c,
                                              const struct nb_allocator *a, struct nb_error *err);
NB_CHECKED enum nb_status nb_stats_read_bytes(struct nb_stats **out, const void *data, size_t n,
                                              const struct nb_allocator *a, struct nb_error *err);

/* ---- a table of them ---- */
/* Of one edge; NaN: not observed. Borrows: names, for the life of the nb_stats. */
struct nb_stats_summary {
    const char *weight; /* the first that reads it */
    size_t n_weights, n_mat, cols;
    double tokens, held; /* of an expert: the mean over experts */
    double least, most;  /* tokens of the expert with the fewest, and the most */
    double lo, hi;       /* range of all columns                                         */
    double rms;          /* root of the mean square of all columns                       */
    double outlier;      /* max |x| / rms                                                */
    double top;          /* largest column's mean square over the mean of all            */
    double
        gain_db; /* mean of H's diagonal over the geometric mean of its pivots; infinite: singular */
};
size_t nb_stats_n_edges(const struct nb_stats *s);
/* The last of the numbers costs n^3 / 6 multiplications and n^2 doubles; without pivots it is NaN. */
NB_CHECKED enum nb_status nb_stats_summarize(const struct nb_stats *s, size_t edge, bool pivots,
                                             struct nb_pool *pool, struct nb_stats_summary *out,
                                             struct nb_error *err);

#endif
