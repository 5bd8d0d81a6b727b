/* calib/stats_internal.h: what an nb_stats is made of, for the files of this room. */
#ifndef NB_CALIB_STATS_INTERNAL_H
#define NB_CALIB_STATS_INTERNAL_H

#include "calib/calib.h"
#include "calib/observer.h"
#include "calib/stats.h"

struct nb_stats_edge {
    const char *first; /* of the weights that read it */
    size_t n_mat, cols;
    double *count[NB_STATS_SETS]; /* (n_mat) tokens */
    double *chosen;               /* (n_mat) tokens observed for which the expert has a weight */
    /* (nb_stats_states) of state_bytes each, NULL: not observed. */
    void *states[NB_STAT_COUNT][NB_STATS_SETS];
};

struct nb_stats_reader {
    const char *weight;
    size_t edge;
};

/* Owns: everything. */
struct nb_stats {
    const struct nb_allocator *a;
    struct nb_arena arena; /* names, counts */
    struct nb_stats_options o;
    struct nb_stats_edge *edges; /* in the order in which they were met */
    size_t n_edges, cap_edges;
    struct nb_stats_reader *readers; /* in the order of the graph */
    size_t n_readers, cap_readers;
    struct nb_map names; /* of readers -> index */
    size_t *taps;        /* (n_taps) number in the session -> edge + 1 */
    size_t n_taps, cap_taps;
    enum nb_stats_set set;
    uint64_t hessian_bytes;
    uint32_t *rows; /* (cap_rows) of a tap, expert by expert */
    size_t cap_rows;
    size_t *begins; /* (cap_begins) of each expert in rows */
    size_t cap_begins;
    struct nb_stats_source source;
    struct nb_stats_text *texts; /* (source.n_texts) */
    size_t cap_texts;
    enum nb_status status; /* of the taps; the first failure */
    struct nb_error err;
};

/* How many states an edge has of a kind. */
static inline size_t nb_stats_states(const struct nb_stats_edge *e, size_t kind)
{
    return nb_observers[kind]->per_matrix ? e->n_mat : 1;
}
static inline void *nb_stats_state(const struct nb_stats_edge *e, size_t kind,
                                   enum nb_stats_set set, size_t i)
{
    return (uint8_t *)e->states[kind][set] + i * nb_observers[kind]->state_bytes;
}
/* Are windows of this set observed so? */
static inline bool nb_stats_observes(const struct nb_stats *s, size_t kind, enum nb_stats_set set)
{
    return (s->o.kinds & 1U << kind) != 0 &&
           (set == NB_STATS_TRAIN || (s->o.held_out && kind == NB_STAT_hessian));
}

/* A new edge, all states empty, that this weight is the first to read. *out: its number. */
NB_CHECKED enum nb_status nb_stats_add_edge(struct nb_stats *s, const char *weight, size_t n_mat,
                                            size_t cols, size_t *out, struct nb_error *err);
NB_CHECKED enum nb_status nb_stats_add_reader(struct nb_stats *s, const char *weight, size_t edge,
                                              struct nb_error *err);
const struct nb_stats_reader *nb_stats_find(const struct nb_stats *s, const char *weight);

#endif
