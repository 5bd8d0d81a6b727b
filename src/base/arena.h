/* base/arena.h: memory that dies together.
 *
 * Owns: its chunks. Allocation is a pointer bump, cleared to zero; nothing is freed one by one.
 */
#ifndef NB_BASE_ARENA_H
#define NB_BASE_ARENA_H

#include "base/alloc.h"

struct nb_arena_chunk;
struct nb_arena {
    const struct nb_allocator *a;
    struct nb_arena_chunk *chunks; /* newest first */
    size_t chunk_bytes;
};

void nb_arena_init(struct nb_arena *arena, const struct nb_allocator *a, size_t chunk_bytes);
void nb_arena_fini(struct nb_arena *arena);
/* Frees all but one chunk, which is used again. */
void nb_arena_reset(struct nb_arena *arena);
/* Zeroed; NULL on failure. */
void *nb_arena_alloc(struct nb_arena *arena, size_t n, size_t size);
char *nb_arena_strndup(struct nb_arena *arena, const char *s, size_t n);
char *nb_arena_printf(struct nb_arena *arena, const char *fmt, ...) NB_PRINTF(2, 3);

#endif
