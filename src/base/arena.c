/* base/arena.c: memory that dies together. Under ASan what is not handed out is poisoned. */
#include "base/arena.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#if defined(__SANITIZE_ADDRESS__)
#define NB_ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NB_ARENA_ASAN 1
#endif
#endif
#ifdef NB_ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#define REDZONE        NB_ARENA_ALIGN
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define REDZONE        ((size_t)0)
#endif

#define NB_ARENA_ALIGN ((size_t)NB_ALIGN)

/* The header takes one alignment; items follow. */
struct nb_arena_chunk {
    struct nb_arena_chunk *next;
    size_t cap, used; /* bytes after the header */
};

static uint8_t *chunk_data(struct nb_arena_chunk *c)
{
    return (uint8_t *)c + NB_ARENA_ALIGN;
}

void nb_arena_init(struct nb_arena *arena, const struct nb_allocator *a, size_t chunk_bytes)
{
    *arena = (struct nb_arena){.a = a, .chunk_bytes = chunk_bytes == 0 ? 65536 : chunk_bytes};
}

static void free_chunk(struct nb_arena *arena, struct nb_arena_chunk *c)
{
    UNPOISON(chunk_data(c), c->cap);
    nb_free(arena->a, c);
}

void nb_arena_fini(struct nb_arena *arena)
{
    for (struct nb_arena_chunk *c = arena->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free_chunk(arena, c);
    }
    arena->chunks = NULL;
}

void nb_arena_reset(struct nb_arena *arena)
{
    struct nb_arena_chunk *keep = arena->chunks;
    if (keep == NULL)
        return;
    for (struct nb_arena_chunk *c = keep->next, *next; c != NULL; c = next) {
        next = c->next;
        free_chunk(arena, c);
    }
    keep->next = NULL;
    keep->used = 0;
    POISON(chunk_data(keep), keep->cap);
}

static struct nb_arena_chunk *new_chunk(struct nb_arena *arena, size_t need)
{
    const size_t cap = NB_MAX(need, arena->chunk_bytes);
    size_t bytes;
    if (!nb_add_size(&bytes, cap, NB_ARENA_ALIGN))
        return NULL;
    struct nb_arena_chunk *c = nb_alloc(arena->a, bytes, 1);
    if (c == NULL)
        return NULL;
    *c = (struct nb_arena_chunk){arena->chunks, cap, 0};
    POISON(chunk_data(c), cap);
    arena->chunks = c;
    return c;
}

void *nb_arena_alloc(struct nb_arena *arena, size_t n, size_t size)
{
    size_t bytes, need;
    if (!nb_mul_size(&bytes, n, size) || bytes == 0)
        return NULL;
    /* Small items stay dense, large ones get a cache line. */
    const size_t align = bytes >= NB_ARENA_ALIGN ? NB_ARENA_ALIGN : 16;
    struct nb_arena_chunk *c = arena->chunks;
    size_t at = c == NULL ? 0 : (c->used + align - 1) / align * align;
    if (!nb_add_size(&need, bytes, REDZONE))
        return NULL;
    if (c == NULL || at > c->cap || need > c->cap - at) {
        c = new_chunk(arena, need);
        if (c == NULL)
            return NULL;
        at = 0;
    }
    c->used = at + need;
    uint8_t *p = chunk_data(c) + at;
    UNPOISON(p, bytes);
    memset(p, 0, bytes);
    return p;
}

char *nb_arena_strndup(struct nb_arena *arena, const char *s, size_t n)
{
    size_t bytes;
    if (!nb_add_size(&bytes, n, 1))
        return NULL;
    char *copy = nb_arena_alloc(arena, bytes, 1);
    if (copy != NULL && n > 0)
        memcpy(copy, s, n);
    return copy;
}

char *nb_arena_printf(struct nb_arena *arena, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    char *text = nb_arena_alloc(arena, (size_t)n + 1, 1);
    if (text == NULL)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}
