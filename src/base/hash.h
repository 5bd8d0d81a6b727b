/* base/hash.h: XXH3-128 (xxHash), streaming. Identifies content; not a defence against forgery. */
#ifndef NB_BASE_HASH_H
#define NB_BASE_HASH_H

#include "base/alloc.h"

struct nb_hash {
    uint64_t lo, hi;
};

struct nb_hasher; /* heap: XXH3 state is 576 aligned bytes */
struct nb_hasher *nb_hasher_create(const struct nb_allocator *a); /* NULL on failure */
void nb_hasher_destroy(struct nb_hasher *h);
void nb_hasher_update(struct nb_hasher *h, const void *data, size_t n);
struct nb_hash nb_hasher_digest(const struct nb_hasher *h);

struct nb_hash nb_hash_bytes(const void *data, size_t n);
#define NB_HASH_HEX_BYTES 33
const char *nb_hash_hex(struct nb_hash h, char out[NB_HASH_HEX_BYTES]); /* hi first; returns out */

uint64_t nb_fnv1a64(const void *data, size_t n, uint64_t state); /* state: NB_FNV_SEED to begin */
#define NB_FNV_SEED UINT64_C(0xcbf29ce484222325)

#endif
