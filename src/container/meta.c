/* container/meta.c: an ordered list of typed key-values.
 *
 * The types are those of GGUF (ggml docs/gguf.md); safetensors uses strings only. Lookup is linear:
 * a model has a few dozen keys, and opening a file checks uniqueness with a map of its own.
 * Left out: arrays of arrays, which no known file uses and the reference loader refuses.
 */
#include "container/container.h"

#include <string.h>

#define META_CHUNK_BYTES 8192

void nb_meta_init(struct nb_meta *m, const struct nb_allocator *a)
{
    memset(m, 0, sizeof *m);
    m->a = a;
    nb_arena_init(&m->arena, a, META_CHUNK_BYTES);
}

void nb_meta_fini(struct nb_meta *m)
{
    nb_arena_fini(&m->arena);
    nb_free(m->a, m->kv);
    m->kv = NULL;
    m->n = m->cap = 0;
}

size_t nb_meta_type_bytes(enum nb_meta_type t)
{
    static const uint8_t bytes[] = {
        [NB_META_U8] = 1,  [NB_META_I8] = 1,  [NB_META_U16] = 2, [NB_META_I16] = 2,
        [NB_META_U32] = 4, [NB_META_I32] = 4, [NB_META_F32] = 4, [NB_META_BOOL] = 1,
        [NB_META_U64] = 8, [NB_META_I64] = 8, [NB_META_F64] = 8,
    };
    return (size_t)t < sizeof bytes ? bytes[t] : 0;
}

static struct nb_meta_kv *find(const struct nb_meta *m, const char *key)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->kv[i].key, key) == 0)
            return &m->kv[i];
    return NULL;
}

const struct nb_meta_kv *nb_meta_find(const struct nb_meta *m, const char *key)
{
    return find(m, key);
}

void nb_meta_remove(struct nb_meta *m, const char *key)
{
    struct nb_meta_kv *kv = find(m, key);
    if (kv == NULL)
        return;
    const size_t i = (size_t)(kv - m->kv);
    memmove(kv, kv + 1, (m->n - i - 1) * sizeof *kv);
    m->n--;
}

/* ---- setters ---- */

/* Stores *kv under `key`; what kv->v points at is already the arena's. */
static enum nb_status put(struct nb_meta *m, const char *key, const struct nb_meta_kv *kv)
{
    struct nb_meta_kv *slot = find(m, key);
    if (slot == NULL) {
        const char *copy = nb_arena_strndup(&m->arena, key, strlen(key));
        if (copy == NULL || !nb_grow(m->a, &m->kv, &m->cap, m->n, sizeof *m->kv))
            return NB_ERR_NOMEM;
        slot = &m->kv[m->n++];
        slot->key = copy;
    }
    key = slot->key;
    *slot = *kv;
    slot->key = key;
    return NB_OK;
}

static enum nb_status copy_texts(struct nb_meta *m, struct nb_meta_kv *kv)
{
    const struct nb_text *from = kv->v.items;
    struct nb_text *to = nb_arena_alloc(&m->arena, NB_MAX(kv->n, 1), sizeof *to);
    if (to == NULL)
        return NB_ERR_NOMEM;
    for (uint64_t i = 0; i < kv->n; i++) {
        to[i].n = from[i].n;
        to[i].s = nb_arena_strndup(&m->arena, from[i].s, from[i].n);
        if (to[i].s == NULL)
            return NB_ERR_NOMEM;
    }
    kv->v.items = to;
    return NB_OK;
}

enum nb_status nb_meta_set_kv(struct nb_meta *m, const struct nb_meta_kv *kv)
{
    struct nb_meta_kv copy = *kv;
    if (kv->key == NULL || kv->key[0] == '\0')
        return NB_ERR_ARG;
    if (kv->type == NB_META_STRING) {
        copy.v.text.s = nb_arena_strndup(&m->arena, kv->v.text.s, kv->v.text.n);
        if (copy.v.text.s == NULL)
            return NB_ERR_NOMEM;
    } else if (kv->type == NB_META_ARRAY && kv->item == NB_META_STRING) {
        NB_TRY(copy_texts(m, &copy));
    } else if (kv->type == NB_META_ARRAY) {
        const size_t size = nb_meta_type_bytes(kv->item);
        if (size == 0)
            return NB_ERR_ARG;
        void *items = nb_arena_alloc(&m->arena, NB_MAX(kv->n, 1), size);
        if (items == NULL)
            return NB_ERR_NOMEM;
        if (kv->n > 0)
            memcpy(items, kv->v.items, kv->n * size);
        copy.v.items = items;
    } else if (nb_meta_type_bytes(kv->type) == 0) {
        return NB_ERR_ARG;
    }
    return put(m, kv->key, &copy);
}

enum nb_status nb_meta_set_u32(struct nb_meta *m, const char *key, uint32_t v)
{
    return nb_meta_set_kv(m,
                          &(struct nb_meta_kv){.key = key, .type = NB_META_U32, .n = 1, .v.u = v});
}

enum nb_status nb_meta_set_f32(struct nb_meta *m, const char *key, float v)
{
    return nb_meta_set_kv(
        m, &(struct nb_meta_kv){.key = key, .type = NB_META_F32, .n = 1, .v.f = (double)v});
}

enum nb_status nb_meta_set_bool(struct nb_meta *m, const char *key, bool v)
{
    return nb_meta_set_kv(m,
                          &(struct nb_meta_kv){.key = key, .type = NB_META_BOOL, .n = 1, .v.u = v});
}

enum nb_status nb_meta_set_text(struct nb_meta *m, const char *key, const char *s, size_t n)
{
    return nb_meta_set_kv(
        m, &(struct nb_meta_kv){.key = key, .type = NB_META_STRING, .n = 1, .v.text = {s, n}});
}

enum nb_status nb_meta_set_texts(struct nb_meta *m, const char *key, const struct nb_text *items,
                                 size_t n)
{
    return nb_meta_set_kv(
        m,
        &(struct nb_meta_kv){
            .key = key, .type = NB_META_ARRAY, .item = NB_META_STRING, .n = n, .v.items = items});
}

enum nb_status nb_meta_set_array(struct nb_meta *m, const char *key, enum nb_meta_type item,
                                 const void *items, size_t n)
{
    if (nb_meta_type_bytes(item) == 0)
        return NB_ERR_ARG;
    return nb_meta_set_kv(
        m, &(struct nb_meta_kv){
               .key = key, .type = NB_META_ARRAY, .item = item, .n = n, .v.items = items});
}

/* ---- getters ---- */

static bool is_signed(enum nb_meta_type t)
{
    return t == NB_META_I8 || t == NB_META_I16 || t == NB_META_I32 || t == NB_META_I64;
}

static bool is_float(enum nb_meta_type t)
{
    return t == NB_META_F32 || t == NB_META_F64;
}

/* The bits of a packed little-endian integer, sign extended for signed types. */
static uint64_t load_item(const uint8_t *p, enum nb_meta_type t)
{
    switch (nb_meta_type_bytes(t)) {
    case 1:
        return t == NB_META_I8 ? (uint64_t)(int64_t)(int8_t)p[0] : p[0];
    case 2:
        return t == NB_META_I16 ? (uint64_t)(int64_t)(int16_t)nb_load_u16(p) : nb_load_u16(p);
    case 4:
        return t == NB_META_I32 ? (uint64_t)(int64_t)(int32_t)nb_load_u32(p) : nb_load_u32(p);
    default:
        return nb_load_u64(p);
    }
}

bool nb_meta_item_i64(const struct nb_meta_kv *kv, uint64_t i, int64_t *v)
{
    const enum nb_meta_type t = kv->type == NB_META_ARRAY ? kv->item : kv->type;
    const size_t size = nb_meta_type_bytes(t);
    if (i >= kv->n || size == 0 || is_float(t))
        return false;
    uint64_t bits = kv->v.u;
    if (kv->type == NB_META_ARRAY)
        bits = load_item((const uint8_t *)kv->v.items + i * size, t);
    if (!is_signed(t) && bits > INT64_MAX)
        return false;
    *v = (int64_t)bits;
    return true;
}

bool nb_meta_item_f64(const struct nb_meta_kv *kv, uint64_t i, double *v)
{
    const enum nb_meta_type t = kv->type == NB_META_ARRAY ? kv->item : kv->type;
    if (i >= kv->n || !is_float(t))
        return false;
    if (kv->type != NB_META_ARRAY) {
        *v = kv->v.f;
        return true;
    }
    const size_t size = nb_meta_type_bytes(t);
    const uint8_t *p = (const uint8_t *)kv->v.items + i * size;
    if (t == NB_META_F32)
        *v = (double)nb_f32_from_bits(nb_load_u32(p));
    else
        memcpy(v, &(uint64_t){nb_load_u64(p)}, sizeof *v);
    return true;
}

bool nb_meta_u32(const struct nb_meta *m, const char *key, uint32_t *v)
{
    const struct nb_meta_kv *kv = find(m, key);
    int64_t wide;
    if (kv == NULL || kv->type == NB_META_ARRAY || kv->type == NB_META_BOOL ||
        !nb_meta_item_i64(kv, 0, &wide) || wide < 0 || wide > UINT32_MAX)
        return false;
    *v = (uint32_t)wide;
    return true;
}

bool nb_meta_f32(const struct nb_meta *m, const char *key, float *v)
{
    const struct nb_meta_kv *kv = find(m, key);
    double wide;
    if (kv == NULL || kv->type == NB_META_ARRAY || !nb_meta_item_f64(kv, 0, &wide))
        return false;
    *v = (float)wide;
    return true;
}

bool nb_meta_bool(const struct nb_meta *m, const char *key, bool *v)
{
    const struct nb_meta_kv *kv = find(m, key);
    if (kv == NULL || kv->type != NB_META_BOOL)
        return false;
    *v = kv->v.u != 0;
    return true;
}

bool nb_meta_text(const struct nb_meta *m, const char *key, struct nb_text *v)
{
    const struct nb_meta_kv *kv = find(m, key);
    if (kv == NULL || kv->type != NB_META_STRING)
        return false;
    *v = kv->v.text;
    return true;
}
