/* text/trie.c: the tokens of a vocabulary by their bytes, for finding all that a text begins with.
 *
 * Edges live in one hash table with open addressing, (node, byte) -> node: as many entries as the
 * vocabulary has bytes at most, and no pointer per node.
 */
#include "text/text_internal.h"

static size_t edge_hash(uint64_t key)
{
    key *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(key ^ key >> 32);
}

/* A node is the index of the edge that leads to it, plus one; 0 is the root. Keys are never 0. */
static uint64_t edge_key(uint32_t node, uint8_t byte)
{
    return ((uint64_t)node << 8 | byte) + 1;
}

enum nb_status nb_trie_reserve(struct nb_trie *t, size_t n_bytes)
{
    size_t size = 16, wanted;
    if (!nb_mul_size(&wanted, n_bytes, 2) || wanted > UINT32_MAX / 2)
        return NB_ERR_NOMEM;
    while (size < wanted)
        size *= 2;
    t->edges = nb_alloc_zero(t->a, size, sizeof(*t->edges));
    t->mask = size - 1;
    return t->edges == NULL ? NB_ERR_NOMEM : NB_OK;
}

void nb_trie_fini(struct nb_trie *t)
{
    nb_free(t->a, t->edges);
    t->edges = NULL;
}

void nb_trie_put(struct nb_trie *t, struct nb_text token, int32_t id)
{
    uint32_t node = 0;
    for (size_t k = 0; k < token.n; k++) {
        const uint64_t key = edge_key(node, (uint8_t)token.s[k]);
        size_t i = edge_hash(key) & t->mask;
        while (t->edges[i].key != 0 && t->edges[i].key != key)
            i = (i + 1) & t->mask;
        if (t->edges[i].key == 0)
            t->edges[i] = (struct nb_trie_edge){key, -1};
        node = (uint32_t)i + 1;
    }
    if (node != 0)
        t->edges[node - 1].id = id;
}

uint32_t nb_trie_step(const struct nb_trie *t, uint32_t node, uint8_t byte)
{
    const uint64_t key = edge_key(node, byte);
    size_t i = edge_hash(key) & t->mask;
    while (t->edges[i].key != key) {
        if (t->edges[i].key == 0)
            return NB_TEXT_NONE;
        i = (i + 1) & t->mask;
    }
    return (uint32_t)i + 1;
}

int32_t nb_trie_id(const struct nb_trie *t, uint32_t node)
{
    return node == 0 ? -1 : t->edges[node - 1].id;
}
