/* text/heap.c: a binary min-heap of 64-bit keys. */
#include "text/text_internal.h"

bool nb_heap_push(struct nb_heap *h, uint64_t key)
{
    if (h->n == h->cap && !nb_grow(h->a, &h->keys, &h->cap, h->n, sizeof(*h->keys)))
        return false;
    size_t i = h->n++;
    while (i > 0 && h->keys[(i - 1) / 2] > key) {
        h->keys[i] = h->keys[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->keys[i] = key;
    return true;
}

uint64_t nb_heap_pop(struct nb_heap *h)
{
    uint64_t top = h->keys[0], last = h->keys[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->keys[child + 1] < h->keys[child])
            child++;
        if (h->keys[child] >= last)
            break;
        h->keys[i] = h->keys[child];
        i = child;
    }
    if (h->n > 0)
        h->keys[i] = last;
    return top;
}
