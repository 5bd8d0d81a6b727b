/* quant/order.c: which columns are rounded first: those with the largest H_ii, while most freedom to make
 * up for their errors is left (act-order of GPTQ, arXiv 2210.17323).
 *
 * Within the layout: blocks are ordered by their sum, sub-blocks within their block, code words within
 * their sub-block, so that what is fitted together stays together and stored bytes need no permutation.
 * Equal sums keep the order of columns. Columns of one code word are never parted.
 */
#include "quant/algo_internal.h"

#include <stdlib.h>

/* A run of columns from `at` on. */
struct item {
    double mass;
    uint32_t at;
};

static int larger_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->mass != y->mass)
        return x->mass > y->mass ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Columns [begin, end) as runs of `width`, largest first. Returns how many. */
static size_t sort_runs(struct item *items, const double *mass, size_t begin, size_t end,
                        size_t width)
{
    size_t n = 0;
    for (size_t at = begin; at < end; at += width, n++) {
        items[n] = (struct item){0.0, (uint32_t)at};
        for (size_t i = at; i < NB_MIN(at + width, end); i++)
            items[n].mass += mass[i];
    }
    qsort(items, n, sizeof *items, larger_first);
    return n;
}

/* Columns [begin, end) to *out by nested runs: width[0] down to width[n_levels - 1]. Scratch: items. */
static void place_runs(uint32_t **out, struct item *items, const double *mass, size_t begin,
                       size_t end, const uint32_t *width, unsigned n_levels)
{
    if (n_levels == 0) {
        for (size_t i = begin; i < end; i++)
            *(*out)++ = (uint32_t)i;
        return;
    }
    const size_t n = sort_runs(items, mass, begin, end, width[0]);
    for (size_t i = 0; i < n; i++) {
        const size_t at = items[i].at;
        place_runs(out, items + n, mass, at, NB_MIN(at + width[0], end), width + 1, n_levels - 1);
    }
}

enum nb_status nb_algo_order(uint32_t *order, const double *mass, size_t n,
                             struct nb_algo_layout layout, enum nb_algo_order how,
                             const struct nb_allocator *a, struct nb_error *err)
{
    const uint32_t nested[] = {layout.block, layout.sub, layout.dim};
    const uint32_t by_block[] = {layout.block, layout.dim};
    struct item *items = nb_alloc(a, 3 * n + 3, sizeof *items);
    if (items == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the order of %zu columns", n);
    if (how == NB_ORDER_NONE)
        place_runs(&order, items, mass, 0, n, nested, 0);
    else if (how == NB_ORDER_LAYOUT)
        place_runs(&order, items, mass, 0, n, nested, 3);
    else if (how == NB_ORDER_BLOCK)
        place_runs(&order, items, mass, 0, n, by_block, 2);
    else
        place_runs(&order, items, mass, 0, n, by_block + 1, 1);
    nb_free(a, items);
    return NB_OK;
}
