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

#endif
