/* base/map.c: open addressing, linear probing, at most three quarters full. */
#include "base/map.h"

#include <string.h>

#include "base/hash.h"

struct nb_map_slot {
    uint64_t hash; /* 0: empty; of a key never 0 */
    const char *key;
    size_t len;
    uint64_t value;
};

void nb_map_init(struct nb_map *m, const struct nb_allocator *a)
{
    *m = (struct nb_map){.a = a};
}

void nb_map_fini(struct nb_map *m)
{
    nb_free(m->a, m->slots);
    nb_map_init(m, m->a);
}

static uint64_t hash_of(const char *key, size_t len)
{
    return nb_hash_bytes(key, len).lo | UINT64_C(1) << 63;
}

/* The slot of the key, or the empty one where it belongs. cap is a power of two, never full. */
static struct nb_map_slot *probe(struct nb_map_slot *slots, size_t cap, uint64_t hash,
                                 const char *key, size_t len)
{
    for (size_t i = (size_t)hash & (cap - 1);; i = (i + 1) & (cap - 1)) {
        struct nb_map_slot *s = &slots[i];
        if (s->hash == 0 ||
            (s->hash == hash && s->len == len && (len == 0 || memcmp(s->key, key, len) == 0)))
            return s;
    }
}

static bool grow(struct nb_map *m)
{
    if (m->cap > SIZE_MAX / 2)
        return false;
    const size_t cap = m->cap == 0 ? 16 : m->cap * 2;
    struct nb_map_slot *slots = nb_alloc_zero(m->a, cap, sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        const struct nb_map_slot *old = &m->slots[i];
        if (old->hash != 0)
            *probe(slots, cap, old->hash, old->key, old->len) = *old;
    }
    nb_free(m->a, m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

enum nb_status nb_map_put(struct nb_map *m, const char *key, size_t len, uint64_t value)
{
    const uint64_t hash = hash_of(key, len);
    if (m->n >= m->cap / 4 * 3 && !grow(m))
        return NB_ERR_NOMEM;
    struct nb_map_slot *s = probe(m->slots, m->cap, hash, key, len);
    if (s->hash != 0)
        return NB_ERR_EXISTS;
    *s = (struct nb_map_slot){hash, key, len, value};
    m->n++;
    return NB_OK;
}

bool nb_map_get(const struct nb_map *m, const char *key, size_t len, uint64_t *value)
{
    if (m->n == 0)
        return false;
    const struct nb_map_slot *s = probe(m->slots, m->cap, hash_of(key, len), key, len);
    if (s->hash == 0)
        return false;
    *value = s->value;
    return true;
}
