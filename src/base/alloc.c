/* base/alloc.c: the only caller of malloc. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"

#define HUGE_PAGE ((size_t)2 << 20)

/* Large memory asks for large pages: fewer faults, fewer misses of the TLB. */
static void *default_alloc(void *ctx, size_t bytes, size_t align)
{
    (void)ctx;
    void *p = NULL;
    const bool large = bytes >= 2 * HUGE_PAGE;
    if (posix_memalign(&p, large ? HUGE_PAGE : align, bytes) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (large)
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish */
#endif
    return p;
}

static void default_free(void *ctx, void *ptr)
{
    (void)ctx;
    free(ptr);
}

const struct nb_allocator *nb_allocator_default(void)
{
    static const struct nb_allocator a = {NULL, default_alloc, default_free};
    return &a;
}

void *nb_alloc(const struct nb_allocator *a, size_t n, size_t size)
{
    size_t bytes;
    if (!nb_mul_size(&bytes, n, size) || bytes == 0 || bytes > PTRDIFF_MAX)
        return NULL;
    if (a == NULL)
        a = nb_allocator_default();
    return a->alloc(a->ctx, bytes, NB_ALIGN);
}

void *nb_alloc_zero(const struct nb_allocator *a, size_t n, size_t size)
{
    void *p = nb_alloc(a, n, size);
    if (p != NULL)
        memset(p, 0, n * size);
    return p;
}

void nb_free(const struct nb_allocator *a, void *ptr)
{
    if (ptr == NULL)
        return;
    if (a == NULL)
        a = nb_allocator_default();
    a->free(a->ctx, ptr);
}

bool nb_grow(const struct nb_allocator *a, void *items, size_t *cap, size_t n, size_t size)
{
    if (n < *cap)
        return true;
    size_t want = *cap < 8 ? 8 : *cap;
    while (want <= n) {
        if (want > SIZE_MAX / 2)
            return false;
        want *= 2;
    }
    void *grown = nb_alloc(a, want, size);
    if (grown == NULL)
        return false;
    void *old;
    memcpy(&old, items, sizeof old); /* items is a T **: read and written as bytes, not as void * */
    if (old != NULL && n > 0)
        memcpy(grown, old, NB_MIN(n, *cap) * size);
    memcpy(items, &grown, sizeof grown);
    *cap = want;
    nb_free(a, old);
    return true;
}

char *nb_strndup(const struct nb_allocator *a, const char *s, size_t n)
{
    size_t bytes;
    if (!nb_add_size(&bytes, n, 1))
        return NULL;
    char *copy = nb_alloc(a, bytes, 1);
    if (copy == NULL)
        return NULL;
    if (n > 0)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}
