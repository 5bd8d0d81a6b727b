/* eval/net_score.h: how right a classifier is, how near two arrays of numbers are.
 *
 * Sums are doubles in the order of the samples and of their elements. A largest element is the first of those that are
 * as large; NaN is never one.
 */
#ifndef NB_EVAL_NET_SCORE_H
#define NB_EVAL_NET_SCORE_H

#include "base/base.h"

/* ---- classes ---- */

struct nb_class_score {
    uint32_t top; /* right, too, is a class among so many                                    */
    double step;  /* distance of codes, of scores that were rounded to a grid; else 0        */
    uint64_t n, n_right, n_right_top;
    uint64_t n_distributions; /* samples whose scores are probabilities: none negative, sum 1  */
    double nll;               /* sum of -log p(label) over those                               */
};
/* scores (n) of one sample, whose class is `label` < n. A probability counts as half a step, or 1e-7, at least: with 0
 * one sample would decide about all. */
void nb_class_score_add(struct nb_class_score *s, const double *scores, size_t n, size_t label);
/* Mean of -log p(label); NaN unless all samples are distributions. */
double nb_class_score_loss(const struct nb_class_score *s);
/* 0-based place of an element among n by size; as large ones before it come first. */
size_t nb_class_place(const double *scores, size_t n, size_t i);

/* ---- nearness ---- */

struct nb_agreement {
    double signal, other, dot, noise; /* sums of x^2, y^2, x y, (x - y)^2 */
    double most;                      /* |x - y|                          */
    uint64_t n, n_rows;
    uint64_t n_same; /* rows whose largest element is at the same place */
};
/* n elements of a reference and of another, rows of `row` elements. */
void nb_agreement_add(struct nb_agreement *a, const double *x, const double *y, size_t n,
                      size_t row);
/* 10 log10(signal / noise); +infinity: equal; NaN: nothing was added. */
double nb_agreement_sqnr(const struct nb_agreement *a);
double nb_agreement_cosine(const struct nb_agreement *a); /* of two zeros: 1; of one: 0 */

#endif
