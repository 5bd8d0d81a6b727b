/* calib/corpus.h: which windows of which texts are run, and which of them are held out. */
#ifndef NB_CALIB_CORPUS_H
#define NB_CALIB_CORPUS_H

#include "base/base.h"

#define NB_HELD_EVERY 10 /* of every so many windows the last is held out, where any are */

/* Borrows: tokens. */
struct nb_corpus_text {
    const uint32_t *tokens; /* (n) */
    size_t n;
};

struct nb_window {
    size_t text, offset; /* tokens [offset, offset + ctx) of texts[text] */
    bool held_out;
};

struct nb_corpus_plan {
    const struct nb_corpus_text *texts; /* (n_texts) */
    size_t n_texts;
    uint32_t ctx;        /* tokens of a window                                          */
    uint64_t budget;     /* tokens of all windows at most, one window at least; 0: all  */
    uint32_t held_every; /* window i is held out if i % held_every is held_every - 1; 0: none is */
};

/* Windows that do not overlap, in the order of the texts. Under a budget each text gets its share by how many
 * windows it fills (largest remainder; of equal ones the first text), spread evenly over its length; without one the
 * windows follow on each other from the text's begin. Nothing is drawn by lot. *out: the caller's to free.
 * NB_ERR_ARG if no text fills a window. */
NB_CHECKED enum nb_status nb_corpus_windows(struct nb_window **out, size_t *n,
                                            const struct nb_corpus_plan *plan,
                                            const struct nb_allocator *a, struct nb_error *err);

#endif
