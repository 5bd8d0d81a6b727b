/* quant/choose.h: which algorithm a weight gets: the recipe's, or with method auto the one that does best on
 * held-out tokens, by role of the weight and number format.
 */
#ifndef NB_QUANT_CHOOSE_H
#define NB_QUANT_CHOOSE_H

#include "quant/algo.h"
#include "quant/quant.h"

#define NB_CANDIDATES 4

/* What method auto tries. */
struct nb_candidate {
    const char *name; /* for reports */
    const struct nb_algo *algo;
    enum nb_algo_weigh weigh;
    enum nb_algo_fit fit;
    enum nb_algo_order order;
};
const struct nb_candidate *nb_candidate_at(size_t i); /* i < NB_CANDIDATES */

/* Losses of candidates so far for weights of one role and format. Plain values; starts as zeros. */
struct nb_choice {
    enum nb_role role;
    const struct nb_numfmt *type;
    uint32_t tried;             /* weights all candidates were measured on */
    double loss[NB_CANDIDATES]; /* sums of logarithms */
};

/* Owns: items. */
struct nb_choices {
    struct nb_choice *items;
    size_t n, cap;
};
/* The entry, made if there is none; NULL: no memory. Valid until the next call. */
struct nb_choice *nb_choices_find(struct nb_choices *c, enum nb_role role,
                                  const struct nb_numfmt *type, const struct nb_allocator *a);
void nb_choices_fini(struct nb_choices *c, const struct nb_allocator *a);
/* Still to be tried on another weight? Two are enough. */
bool nb_choice_open(const struct nb_choice *c);
void nb_choice_add(struct nb_choice *c, const double loss[NB_CANDIDATES]);
size_t nb_choice_best(const struct nb_choice *c);

#endif
