/* base/map.h: byte string -> 64-bit value. Insert only. */
#ifndef NB_BASE_MAP_H
#define NB_BASE_MAP_H

#include "base/alloc.h"

struct nb_map_slot;
/* Owns: slots. Borrows: the keys, which must outlive the map. */
struct nb_map {
    const struct nb_allocator *a;
    struct nb_map_slot *slots;
    size_t n, cap;
};

void nb_map_init(struct nb_map *m, const struct nb_allocator *a);
void nb_map_fini(struct nb_map *m);
/* NB_ERR_EXISTS (with no message) if the key is there already; NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_map_put(struct nb_map *m, const char *key, size_t len, uint64_t value);
bool nb_map_get(const struct nb_map *m, const char *key, size_t len, uint64_t *value);

#endif
