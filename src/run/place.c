/* run/place.c: greedy placement by size. */
#include "run/place.h"

#include <string.h>

/* Merge sort, largest first, stable. */
static void sort(struct nb_placed *x, struct nb_placed *scratch, size_t n)
{
    if (n < 2)
        return;
    const size_t half = n / 2;
    sort(x, scratch, half);
    sort(x + half, scratch, n - half);
    memcpy(scratch, x, half * sizeof *x);
    for (size_t i = 0, j = half, k = 0; i < half; k++)
        x[k] = j < n && x[j].bytes > scratch[i].bytes ? x[j++] : scratch[i++];
}

static bool meet(const struct nb_placed *a, const struct nb_placed *b)
{
    return a->life.first <= b->life.last && b->life.first <= a->life.last;
}

/* The lowest gap; placed: indices of items, by offset. */
static uint64_t lowest(const struct nb_placed *items, const size_t *placed, size_t n,
                       const struct nb_placed *x)
{
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct nb_placed *y = &items[placed[i]];
        if (!meet(x, y))
            continue;
        if (y->offset >= at && y->offset - at >= x->bytes)
            break;
        at = NB_MAX(at, y->offset + y->bytes);
    }
    return at;
}

enum nb_status nb_place(struct nb_placed *items, size_t n, uint64_t *total,
                        const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_placed *scratch = nb_alloc(a, NB_MAX(n, (size_t)1), sizeof *scratch);
    size_t *placed = nb_alloc(a, NB_MAX(n, (size_t)1), sizeof *placed);
    *total = 0;
    if (!scratch || !placed) {
        nb_free(a, scratch);
        nb_free(a, placed);
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory to place %zu values", n);
    }
    sort(items, scratch, n);
    for (size_t i = 0; i < n; i++) {
        items[i].offset = lowest(items, placed, i, &items[i]);
        *total = NB_MAX(*total, items[i].offset + items[i].bytes);
        size_t k = i;
        for (; k > 0 && items[placed[k - 1]].offset > items[i].offset; k--)
            placed[k] = placed[k - 1];
        placed[k] = i;
    }
    nb_free(a, scratch);
    nb_free(a, placed);
    return NB_OK;
}
