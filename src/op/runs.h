/* op/runs.h: what windows read of an image, as contiguous runs of memory, so that nothing is gathered.
 *
 * Channels are last inside: (n, spatial, c). The window of an output reads n runs of len elements each:
 *
 *     one group, neighbours in the last dimension (its dilation is 1)   a row of the kernel: kernel[2] * c elements
 *     several groups, or a dilation                                     one position: the channels of a group
 *     every channel on its own (groups = NB_RUNS_EACH_CHANNEL)          one position: all channels
 *
 * and every window reads runs the same distances from where it begins. That holds without pads. A window that has
 * some moves over a copy of x with the pads around it, filled with one byte; so does one over an x whose channels
 * are first. Kernels of 8 bits take four elements at a time and read up to NB_RUNS_OVER behind the end of a run;
 * if that would leave x, it is copied, too (not for single channels). The copy is made once for all outputs, or by
 * rows, those that a strip of outputs sees.
 */
#ifndef NB_OP_RUNS_H
#define NB_OP_RUNS_H

#include "op/window.h"

#define NB_RUNS_EACH_CHANNEL 0
#define NB_RUNS_OVER         3

struct nb_runs {
    size_t size;    /* bytes of an element: 1 or 4                                               */
    int64_t n, len; /* runs of a window, elements of each                                        */
    bool copy;      /* x goes into a padded image first                                          */
    int64_t image;  /* elements between the images of what is read, and                          */
    int64_t row[NB_WINDOW_DIMS];  /* between neighbours in each dimension                        */
    int64_t dims[NB_WINDOW_DIMS]; /* of the copy: as far as a window sees                        */
};

void nb_runs_of(const struct nb_window *w, int64_t groups, size_t size, struct nb_runs *r);
/* Of the copy; 0: none is made. UINT64_MAX: more than can be counted. */
uint64_t nb_runs_image_bytes(const struct nb_window *w, const struct nb_runs *r);
/* (r->n) elements from where a window begins to its runs. */
void nb_runs_offsets(const struct nb_window *w, const struct nb_runs *r, size_t *offset);
/* Fills the copy from x: (n, spatial, c) if w->last, else (n, c, spatial). fill: every byte of the pads. */
void nb_runs_copy(const struct nb_window *w, const struct nb_runs *r, void *to, const void *x,
                  uint8_t fill, struct nb_pool *pool);
/* Rows [first, first + n) of the copy alone, the rows of an image being its first two dimensions together. */
void nb_runs_copy_rows(const struct nb_window *w, const struct nb_runs *r, void *to, const void *x,
                       uint8_t fill, int64_t first, int64_t n);
/* at[i]: where the window of output from + i begins in the image (the copy or x), for a group. */
void nb_runs_point(const struct nb_window *w, const struct nb_runs *r, const void *image,
                   int64_t from, int64_t n, int64_t group, const void **at);

#endif
