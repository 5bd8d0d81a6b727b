/* calib/acts.h: the hidden states of all calibration windows, kept from block to block.
 *
 * Window-major: n_windows x (ctx, width) f32. Windows that fit the budget lie in memory, the others in a
 * file without a name (base/file.h): the same bits either way, and nothing is left on disk.
 */
#ifndef NB_CALIB_ACTS_H
#define NB_CALIB_ACTS_H

#include "base/base.h"

struct nb_acts;

struct nb_acts_options {
    size_t n_windows, ctx, width;
    uint64_t max_bytes; /* in memory, the window that is worked on left out; UINT64_MAX: all    */
    const char
        *folder; /* of the file, best the output's: /tmp may be memory. NULL: $TMPDIR, or /tmp */
};

/* Borrows: a. A window is undefined until it is written. NB_ERR_LIMIT where the disk has no room for what memory may not hold. */
NB_CHECKED enum nb_status nb_acts_create(struct nb_acts **out, const struct nb_acts_options *o,
                                         const struct nb_allocator *a, struct nb_error *err);
void nb_acts_destroy(struct nb_acts *s);
/* What a store would take, in all and of it in memory (its working window included); false on
 * overflow. */
NB_CHECKED bool nb_acts_bytes(const struct nb_acts_options *o, uint64_t *all, uint64_t *in_memory);
uint64_t nb_acts_spilled_bytes(const struct nb_acts *s); /* on disk */

/* A window (ctx, width), copied. NB_ERR_IO, NB_ERR_LIMIT name the folder. */
NB_CHECKED enum nb_status nb_acts_read(const struct nb_acts *s, size_t window, float *dst,
                                       struct nb_error *err);
NB_CHECKED enum nb_status nb_acts_write(struct nb_acts *s, size_t window, const float *src,
                                        struct nb_error *err);
/* A window to read and change: where it lies, or in a working buffer of the store, which serves one window
 * at a time. It is kept when nb_acts_put is called; without that a spilled window stays as it was. */
NB_CHECKED enum nb_status nb_acts_get(struct nb_acts *s, size_t window, float **x,
                                      struct nb_error *err);
NB_CHECKED enum nb_status nb_acts_put(struct nb_acts *s, size_t window, const float *x,
                                      struct nb_error *err);

#endif
