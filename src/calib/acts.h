/* calib/acts.h: the hidden states of all calibration windows, kept from block to block.
 *
 * Window-major: n_windows x (ctx, width) f32. Windows that fit the budget lie in memory, the others in a
 * file without a name (base/file.h): the same bits either way, and nothing is left on disk. nb_pass_run
 * sends windows through a session over a part of a model (run/run.h).
 */
#ifndef NB_CALIB_ACTS_H
#define NB_CALIB_ACTS_H

#include "base/base.h"
#include "run/run.h"

struct nb_acts;

struct nb_acts_options {
    size_t n_windows, ctx, width;
    uint64_t
        max_bytes; /* in memory, the two windows that are worked on left out; UINT64_MAX: all    */
    const char
        *folder; /* of the file, best the output's: /tmp may be memory. NULL: $TMPDIR, or /tmp */
};

/* Borrows: a. All zeros at first. NB_ERR_LIMIT where the disk has no room for what memory may not hold. */
NB_CHECKED enum nb_status nb_acts_create(struct nb_acts **out, const struct nb_acts_options *o,
                                         const struct nb_allocator *a, struct nb_error *err);
void nb_acts_destroy(struct nb_acts *s);
/* What a store would take, in all and of it in memory (its two working windows included); false on
 * overflow. */
NB_CHECKED bool nb_acts_bytes(const struct nb_acts_options *o, uint64_t *all, uint64_t *in_memory);
uint64_t nb_acts_spilled_bytes(const struct nb_acts *s); /* on disk */
size_t nb_acts_windows(const struct nb_acts *s);

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

/* ---- windows through a part of a model ---- */

/* Windows [first, end). Borrows: everything. */
struct nb_pass {
    struct nb_session
        *session;           /* a part; its taps are the caller's. Context: ctx or more            */
    const uint32_t *tokens; /* (n_windows, ctx) of a part that begins with tokens, else NULL      */
    struct nb_acts *in;     /* of one that begins with hidden states, else NULL                   */
    struct nb_acts *out;    /* its hidden states; may be `in`. NULL: nobody keeps them: for taps  */
    size_t ctx, first, end;
    /* Called before each window, NULL: no need. */
    void (*window)(void *ctx, size_t window);
    void *window_ctx;
    const struct nb_progress *progress; /* may be NULL; unit "tokens" */
    const char *what;                   /* "block 3 of 16"            */
    uint64_t done, total; /* tokens before this pass, of all passes; total 0: of this one */
};
/* NB_ERR_CANCELLED as progress says: the windows before are done, the others untouched. A part that makes
 * logits ends at its head, which is tapped. */
NB_CHECKED enum nb_status nb_pass_run(const struct nb_pass *p, struct nb_error *err);

#endif
