/* op/linear.h: the ways to compute a linear layer, and what a layer of experts shares with it. All give the
 * same bits for a token whatever the tokens beside it, see kernels/kernels.h for the two orders (floats,
 * integer blocks). */
#ifndef NB_OP_LINEAR_H
#define NB_OP_LINEAR_H

#include "op/op_internal.h"

/* One matrix and the tokens it meets. Borrows: everything. */
struct nb_linear {
    const struct nb_kernels *kernels;
    const struct nb_tensor *w; /* the matrix is its rows first_row .. first_row + n_rows - 1 */
    uint64_t first_row;
    size_t n_rows, k;
    const float *bias;    /* (n_rows) or NULL */
    const float *x;       /* (.., k)          */
    struct nb_q8 xq;      /* the same, for integers */
    const void *prepared; /* all of x as a way prepares it, without pick */
    float *y;             /* (.., y_stride)   */
    size_t y_stride, n_tokens;
    /* Token i reads row pick[i] / share of x and writes row pick[i] of y; NULL: row i of both. */
    const uint32_t *pick;
    uint32_t share;
};

/* Tokens prepared at once; a multiple of what a way takes together. */
#define LINEAR_PREPARE_TOKENS 24U

/* A way to compute it, a range of rows at a time. */
struct nb_linear_way {
    /* A worker's scratch, with or without pick; false on overflow. */
    bool (*scratch_bytes)(const struct nb_linear *l, bool pick, size_t *bytes);
    /* What the workers of a call share, without pick: made of all tokens before the rows, some at a time.
     * NULL: nothing. */
    bool (*prepared_bytes)(const struct nb_linear *l, size_t *bytes);
    void (*prepare)(const struct nb_linear *l, size_t begin, size_t end, void *prepared);
    size_t (*grain)(const struct nb_linear *l); /* rows of a chunk of work */
    void (*rows)(const struct nb_linear *l, size_t begin, size_t end, void *scratch);
};
extern const struct nb_linear_way nb_linear_floats;   /* stored as floats or decoded to them  */
extern const struct nb_linear_way nb_linear_integers; /* blocks times quantized activations   */

/* dx (n_tokens, k) += dy (n_tokens, n_rows) times the matrix of l, whose w, first_row, n_rows, k and n_tokens
 * count; no picks. Scratch and shared memory of c as asked. */
void nb_linear_grad(const struct nb_linear *l, const struct nb_op_call *c, const float *dy,
                    float *dx);
bool nb_linear_grad_scratch(size_t k, size_t *bytes);
bool nb_linear_grad_shared(size_t k, size_t *bytes);

static inline size_t linear_y_row(const struct nb_linear *l, size_t token)
{
    return l->pick ? l->pick[token] : token;
}

static inline size_t linear_x_row(const struct nb_linear *l, size_t token)
{
    return l->pick ? l->pick[token] / l->share : token;
}

static inline float *linear_y(const struct nb_linear *l, size_t token)
{
    return l->y + linear_y_row(l, token) * l->y_stride;
}

/* y[t, begin..end) += bias, for all tokens: called by the chunk that made them. */
static inline void linear_add_bias(const struct nb_linear *l, size_t begin, size_t end)
{
    for (size_t t = 0; l->bias && t < l->n_tokens; t++)
        l->kernels->add_f32(linear_y(l, t) + begin, linear_y(l, t) + begin, l->bias + begin,
                            end - begin);
}

/* What a picked block of tokens made: (n, rows) in pad, to columns first .. of their rows. */
static inline void linear_scatter(const struct nb_linear *l, size_t t, size_t n, const float *pad,
                                  size_t pad_stride, size_t first, size_t rows)
{
    for (size_t i = 0; i < n; i++)
        memcpy(linear_y(l, t + i) + first, pad + i * pad_stride, rows * sizeof *pad);
}

#endif
