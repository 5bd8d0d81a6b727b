/* base/alloc.h: heap memory through the caller's allocator. base/alloc.c is the only malloc. */
#ifndef NB_BASE_ALLOC_H
#define NB_BASE_ALLOC_H

#include "base/status.h"

#define NB_ALIGN 64 /* every allocation: a cache line, an AVX-512 register */

/* malloc and free; what a NULL allocator means everywhere. */
const struct nb_allocator *nb_allocator_default(void);

/* n * size bytes, overflow checked, not cleared; NULL on failure or when n * size == 0.
 * nb_alloc_zero clears. a == NULL: the default allocator. */
void *nb_alloc(const struct nb_allocator *a, size_t n, size_t size);
void *nb_alloc_zero(const struct nb_allocator *a, size_t n, size_t size);
void nb_free(const struct nb_allocator *a, void *ptr);

/* A larger copy of an array of `size`-byte items: grows *items from n to at least n + 1 capacity by
 * doubling; *cap is updated. On failure the old array is untouched. */
NB_CHECKED bool nb_grow(const struct nb_allocator *a, void *items /* T ** */, size_t *cap, size_t n,
                        size_t size);

char *nb_strndup(const struct nb_allocator *a, const char *s, size_t n); /* terminated copy */

#endif
