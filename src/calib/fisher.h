/* calib/fisher.h: what an error at the output of a linear layer costs the model: the sampled Fisher matrix.
 *
 * For small changes of the weights KL(model || changed model) is a quadratic form, the Fisher matrix: the
 * second moments of the gradient of -log p(y) with y drawn from the model's own prediction. Of a layer
 * y = W x its Kronecker approximation (Martens and Grosse 2015; Tseng et al. 2025) is G (x) H, with
 * G = E[g g^T] over the gradients g at the layer's output and H = E[x x^T]: a change e of W costs
 * tr(G e H e^T) / 2 where tr(e H e^T) counts the layer's own error.
 *
 * Collected here: G of every linear layer in the blocks, its diagonal, and how much every token counts, the
 * squared norm of g, as a weight for sums of H. The same bits for any thread count and CPU.
 */
#ifndef NB_CALIB_FISHER_H
#define NB_CALIB_FISHER_H

#include "calib/hessian.h"
#include "model/model.h"

/* One linear layer. Lives in its nb_fisher. */
struct nb_fisher_layer {
    const char *weight; /* "blk.0.attn_q.weight"                                                */
    int32_t block;
    size_t n;             /* rows of the weight                                                   */
    struct nb_hessian *g; /* sum of g g^T, upper triangle; NULL unless wanted                    */
    double *diag;         /* (n) its diagonal                                                     */
    float *norms;  /* (windows, ctx) mean over draws of a token's g^T g; NULL unless wanted */
    double tokens; /* that were summed: windows * ctx * draws                              */
};

/* Owns: everything. Layers in the order of the way back. */
struct nb_fisher {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_fisher_layer *layers;
    size_t n, cap;
    size_t windows, ctx;
};

enum nb_fisher_what {
    NB_FISHER_DIAG = 0,      /* always */
    NB_FISHER_FULL = 1 << 0, /* g: 8 n^2 bytes a layer */
    NB_FISHER_NORMS = 1 << 1
};

struct nb_fisher_job {
    const struct nb_weights *w;
    const uint32_t *tokens; /* (n_tokens), the text without a begin-of-text token           */
    size_t n_tokens;
    int64_t bos;     /* put in place of each window's first token; -1: the model wants none   */
    uint32_t ctx;    /* tokens of a window                                                    */
    uint32_t chunks; /* windows at most; 0: as many as the text fills                         */
    uint32_t draws;  /* of y for every token, each a walk back; 0: 1                          */
    uint64_t seed;
    unsigned what;                  /* enum nb_fisher_what                                    */
    uint32_t first_block, n_blocks; /* whose layers are kept; n_blocks 0: all                 */
    struct nb_pool *pool;
    const struct nb_progress *progress; /* may be NULL; unit "tokens" */
};

/* Weights count as the floats they decode to. NB_ERR_ARG if the text is shorter than a window;
 * NB_ERR_UNSUPPORTED names an operator without gradient; NB_ERR_NUMERIC a layer whose gradient is not finite;
 * NB_ERR_CANCELLED. Memory: a window's values and gradients, its logits, and the sums. */
NB_CHECKED enum nb_status nb_fisher_collect(struct nb_fisher **out, const struct nb_fisher_job *job,
                                            const struct nb_allocator *a, struct nb_error *err);
void nb_fisher_destroy(struct nb_fisher *f);
const struct nb_fisher_layer *nb_fisher_find(const struct nb_fisher *f, const char *weight);

#endif
