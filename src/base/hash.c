/* base/hash.c: XXH3-128 through libxxhash, FNV-1a by hand (golden files of other tools use it). */
#define XXH_STATIC_LINKING_ONLY /* the state's size, for our own allocator */
#include "base/hash.h"

#include <stdalign.h>

#include <xxhash.h>

struct nb_hasher {
    alignas(64) XXH3_state_t state;
    const struct nb_allocator *a;
};

struct nb_hasher *nb_hasher_create(const struct nb_allocator *a)
{
    struct nb_hasher *h = nb_alloc(a, 1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->a = a;
    if (XXH3_128bits_reset(&h->state) == XXH_OK)
        return h;
    nb_free(a, h);
    return NULL;
}

void nb_hasher_destroy(struct nb_hasher *h)
{
    if (h != NULL)
        nb_free(h->a, h);
}

void nb_hasher_update(struct nb_hasher *h, const void *data, size_t n)
{
    if (n > 0) /* fails for NULL only */
        (void)XXH3_128bits_update(&h->state, data, n);
}

struct nb_hash nb_hasher_digest(const struct nb_hasher *h)
{
    const XXH128_hash_t r = XXH3_128bits_digest(&h->state);
    return (struct nb_hash){r.low64, r.high64};
}

struct nb_hash nb_hash_bytes(const void *data, size_t n)
{
    const XXH128_hash_t r = XXH3_128bits(n == 0 ? "" : data, n);
    return (struct nb_hash){r.low64, r.high64};
}

const char *nb_hash_hex(struct nb_hash h, char out[NB_HASH_HEX_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    for (unsigned i = 0; i < 16; i++) {
        out[i] = hex[h.hi >> (60 - 4 * i) & 15U];
        out[16 + i] = hex[h.lo >> (60 - 4 * i) & 15U];
    }
    out[32] = '\0';
    return out;
}

uint64_t nb_fnv1a64(const void *data, size_t n, uint64_t state)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++)
        state = (state ^ p[i]) * UINT64_C(0x100000001b3);
    return state;
}
