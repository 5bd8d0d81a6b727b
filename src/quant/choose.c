/* quant/choose.c: see choose.h.
 *
 * Tensors of one role and format behave alike from block to block, so the candidates are compared on the
 * first two that come and the winner takes the rest. What is compared is the loss on tokens that the
 * statistics do not hold.
 */
#include "quant/choose.h"

#include <string.h>

#define TRIES 2U

const struct nb_candidate *nb_candidate_at(size_t i)
{
    static const struct nb_candidate all[NB_CANDIDATES] = {
        {"kgptq", &nb_algo_kgptq, NB_WEIGH_SCHUR, NB_FIT_LATE, NB_ORDER_LAYOUT},
        {"kgptq, large weights first", &nb_algo_kgptq, NB_WEIGH_VALUE, NB_FIT_LATE,
         NB_ORDER_LAYOUT},
        {"kgptq, columns by importance", &nb_algo_kgptq, NB_WEIGH_SCHUR, NB_FIT_STATIC,
         NB_ORDER_FULL},
        {"polish", &nb_algo_polish, NB_WEIGH_DIAG, NB_FIT_STATIC, NB_ORDER_NONE},
    };
    return &all[i];
}

struct nb_choice *nb_choices_find(struct nb_choices *c, enum nb_role role,
                                  const struct nb_numfmt *type, const struct nb_allocator *a)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].role == role && c->items[i].type == type)
            return &c->items[i];
    if (!nb_grow(a, &c->items, &c->cap, c->n, sizeof *c->items))
        return NULL;
    c->items[c->n] = (struct nb_choice){.role = role, .type = type};
    return &c->items[c->n++];
}

void nb_choices_fini(struct nb_choices *c, const struct nb_allocator *a)
{
    nb_free(a, c->items);
    *c = (struct nb_choices){.items = NULL};
}

bool nb_choice_open(const struct nb_choice *c)
{
    return c->tried < TRIES;
}

void nb_choice_add(struct nb_choice *c, const double loss[NB_CANDIDATES])
{
    for (size_t i = 0; i < NB_CANDIDATES; i++)
        c->loss[i] += loss[i];
    c->tried++;
}

size_t nb_choice_best(const struct nb_choice *c)
{
    size_t best = 0;
    for (size_t i = 1; i < NB_CANDIDATES; i++)
        if (c->loss[i] < c->loss[best])
            best = i;
    return best;
}
