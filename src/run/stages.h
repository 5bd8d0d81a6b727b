/* run/stages.h: a decoder block run piece by piece, each piece over all windows before the next begins.
 *
 * The nodes of a session over a block (from hidden states to hidden states) are cut before the first that
 * reads each input of linear layers. At a cut a window has the values made before it that are read behind
 * it, the input of the next layers and the residual stream among them. Each lies as a matrix at a place of
 * its own, the same at all cuts, where the nodes read and write it: nothing is copied. So what flows into a layer can be had for a whole text before the layer runs, and the layer be
 * replaced; each node runs once a window. Blocks of experts are not cut: their layers read tokens by choice.
 */
#ifndef NB_RUN_STAGES_H
#define NB_RUN_STAGES_H

#include "run/run.h"

struct nb_stages;

#define NB_STAGE_READERS 8

/* Piece i, from cut i to cut i + 1. A value at place p of a window of n tokens is the (n, cols) floats from
 * p * n on. Borrows: names (the session's). */
struct nb_stage {
    size_t x, x_cols;                      /* the new input of linear layers; none in the first */
    const char *readers[NB_STAGE_READERS]; /* weights of the layers that read it                  */
    size_t n_readers;
    /* Weights of the layers that run in this piece: these readers, but where attention and feed-forward are
     * parallel some of them run in a later one. */
    const char *layers[NB_STAGE_READERS];
    size_t n_layers;
    /* The residual stream to which the only reader's output is added as it is, and the sum, which is there
     * at the next cut; cols 0: it is not. */
    size_t residual, residual_cols, sum;
};

/* Borrows: the session, which does nothing else meanwhile; a window has at most its batch of tokens.
 * NB_ERR_UNSUPPORTED: a part that is no range of blocks, a block with experts. */
NB_CHECKED enum nb_status nb_stages_create(struct nb_stages **out, struct nb_session *s,
                                           struct nb_error *err);
void nb_stages_destroy(struct nb_stages *t);
size_t nb_stages_count(const struct nb_stages *t);
const struct nb_stage *nb_stages_at(const struct nb_stages *t, size_t i);
/* Floats of a window, for each of its tokens. */
size_t nb_stages_width(const struct nb_stages *t);
/* One window of n tokens, (n * width) floats. The hidden states that come in and go out are at place 0. The
 * bits are those of nb_session_eval_part. */
NB_CHECKED enum nb_status nb_stages_run(struct nb_stages *t, size_t i, size_t n, float *window,
                                        struct nb_error *err);

#endif
