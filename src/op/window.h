/* op/window.h: windows that slide over one to three spatial dimensions: convolutions, pools.
 *
 * Fewer than three dimensions are three whose first ones are 1. Arrays are (n, spatial, c) inside; the file's
 * (n, c, spatial) are brought to that and back.
 */
#ifndef NB_OP_WINDOW_H
#define NB_OP_WINDOW_H

#include "op/op_internal.h"

#define NB_WINDOW_DIMS 3

struct nb_window {
    int64_t n, c; /* images, channels of x                            */
    int64_t in[NB_WINDOW_DIMS], out[NB_WINDOW_DIMS];
    int64_t kernel[NB_WINDOW_DIMS], stride[NB_WINDOW_DIMS], dilation[NB_WINDOW_DIMS];
    int64_t begin[NB_WINDOW_DIMS], end[NB_WINDOW_DIMS]; /* pads                         */
    int64_t taps, pixels_in, pixels_out;                /* products of the above        */
    bool last;
};

/* The slots of the attributes that windows have: "kernel", "stride", "dilation" (dims), "pads" (2 dims: those
 * before, then those behind) are the first four attributes of an operator. */
enum { NB_WINDOW_KERNEL, NB_WINDOW_STRIDE, NB_WINDOW_DILATION, NB_WINDOW_PADS, NB_WINDOW_ATTRS };

/* All but out and pixels_out. false: refused. */
bool nb_window_read(struct nb_graph *g, const struct nb_node *n, const struct nb_value *x,
                    bool last, struct nb_window *w);
/* out of a window that moves over x; ceil: the last one may stick out. */
bool nb_window_slide(struct nb_graph *g, const struct nb_node *n, bool ceil, struct nb_window *w);
/* Weights of (M, C / groups, kernel), or, transposed, (C, M / groups, kernel)? false: refused. */
bool nb_window_weights(struct nb_graph *g, const struct nb_node *n, const struct nb_window *w,
                       const struct nb_value *weights, int64_t groups, bool transposed);
/* The value with c channels. */
void nb_window_dims(const struct nb_window *w, int64_t c, struct nb_value *out);
/* Of a node that passed its shape rule. y: for out. */
void nb_window_of(const struct nb_op_call *c, bool last, struct nb_window *w);

/* Where output pixel p's window begins, in spatial dimensions, and its image. */
struct nb_window_at {
    int64_t n, at[NB_WINDOW_DIMS];
};
struct nb_window_at nb_window_at(const struct nb_window *w, int64_t p);

/* (n, c, pixels) -> (n, pixels, c) and back, of floats; for pixels or c of 1 that is a copy. */
void nb_window_to_last(float *y, const float *x, int64_t n, int64_t c, int64_t pixels,
                       struct nb_pool *pool);
void nb_window_to_first(float *y, const float *x, int64_t n, int64_t c, int64_t pixels,
                        struct nb_pool *pool);

#endif
