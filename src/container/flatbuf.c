/* container/flatbuf.c: reading a flatbuffer (flatbuffers' internals.md).
 *
 * A table begins with the distance back to its vtable: u16 bytes of the vtable, u16 bytes of the table, then for each
 * field a u16 place in the table, 0 where the field is left out. Vectors, texts and tables hang on a u32 distance
 * forward from where it stands; vectors and texts begin with their number of items.
 * Left out: structs, vectors of unions, file sizes as prefixes, 64-bit offsets: no schema here has them.
 */
#include "container/flatbuf.h"

#include <string.h>

#define REF_BYTES 4

/* [at, at + n) lies in the file. */
static bool within(const struct nb_fb *fb, uint64_t at, uint64_t n)
{
    return at <= fb->size && n <= fb->size - at;
}

bool nb_fb_is(const struct nb_fb *fb, const char *identifier)
{
    return fb->size >= 8 && memcmp(fb->data + 4, identifier, 4) == 0;
}

/* The table at `at`, of which only the place is known. */
static enum nb_status open_table(const struct nb_fb *fb, uint64_t at, struct nb_fb_table *out,
                                 struct nb_error *err)
{
    *out = (struct nb_fb_table){0};
    if (!within(fb, at, 4))
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "a table begins at byte %llu, the file has %llu",
                           (unsigned long long)at, (unsigned long long)fb->size);
    const int64_t vtable = (int64_t)at - (int32_t)nb_load_u32(fb->data + at);
    if (vtable < 0 || !within(fb, (uint64_t)vtable, 4))
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "the table at byte %llu has its vtable at byte %lld, the file has %llu",
                           (unsigned long long)at, (long long)vtable, (unsigned long long)fb->size);
    const uint32_t vtable_bytes = nb_load_u16(fb->data + vtable);
    const uint32_t bytes = nb_load_u16(fb->data + vtable + 2);
    if (vtable_bytes < 4 || vtable_bytes % 2 != 0 || !within(fb, (uint64_t)vtable, vtable_bytes))
        return NB_ERROR_AT(err, NB_ERR_FORMAT, (uint64_t)vtable,
                           "the vtable at byte %lld has %u bytes, the file has %llu",
                           (long long)vtable, vtable_bytes, (unsigned long long)fb->size);
    if (bytes < 4 || !within(fb, at, bytes))
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "the table at byte %llu has %u bytes, the file has %llu",
                           (unsigned long long)at, bytes, (unsigned long long)fb->size);
    *out = (struct nb_fb_table){
        .at = at, .vtable = (uint64_t)vtable, .bytes = bytes, .vtable_bytes = vtable_bytes};
    return NB_OK;
}

enum nb_status nb_fb_root(const struct nb_fb *fb, struct nb_fb_table *out, struct nb_error *err)
{
    if (fb->size < 8)
        NB_FAIL(err, NB_ERR_FORMAT, "%llu bytes are no flatbuffer", (unsigned long long)fb->size);
    return open_table(fb, nb_load_u32(fb->data), out, err);
}

/* Where a field of n bytes stands; NULL: left out. */
static enum nb_status find(const struct nb_fb *fb, const struct nb_fb_table *t, unsigned field,
                           size_t n, const uint8_t **out, struct nb_error *err)
{
    const uint64_t slot = 4 + 2 * (uint64_t)field;
    *out = NULL;
    if (t->at == 0 || slot + 2 > t->vtable_bytes)
        return NB_OK;
    const uint32_t place = nb_load_u16(fb->data + t->vtable + slot);
    if (place == 0)
        return NB_OK;
    if (place < 4 || place > t->bytes || n > t->bytes - place)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, t->at,
                           "the table at byte %llu has field %u at %u, of %zu bytes, but %u in all",
                           (unsigned long long)t->at, field, place, n, t->bytes);
    *out = fb->data + t->at + place;
    return NB_OK;
}

#define SCALAR(name, type, bytes, load)                                                            \
    enum nb_status nb_fb_##name(const struct nb_fb *fb, const struct nb_fb_table *t,               \
                                unsigned field, type otherwise, type *out, struct nb_error *err)   \
    {                                                                                              \
        const uint8_t *p;                                                                          \
        *out = otherwise;                                                                          \
        NB_TRY(find(fb, t, field, bytes, &p, err));                                                \
        if (p != NULL)                                                                             \
            *out = (type)(load);                                                                   \
        return NB_OK;                                                                              \
    }
SCALAR(bool, bool, 1, *p != 0)
SCALAR(i8, int8_t, 1, *p)
SCALAR(u8, uint8_t, 1, *p)
SCALAR(i32, int32_t, 4, nb_load_u32(p))
SCALAR(u32, uint32_t, 4, nb_load_u32(p))
SCALAR(u64, uint64_t, 8, nb_load_u64(p))

enum nb_status nb_fb_f32(const struct nb_fb *fb, const struct nb_fb_table *t, unsigned field,
                         float otherwise, float *out, struct nb_error *err)
{
    const uint8_t *p;
    *out = otherwise;
    NB_TRY(find(fb, t, field, sizeof *out, &p, err));
    if (p != NULL) {
        const uint32_t bits = nb_load_u32(p);
        memcpy(out, &bits, sizeof bits);
    }
    return NB_OK;
}

/* Where the distance at p leads: behind it, or it leads nowhere. */
static enum nb_status follow(const struct nb_fb *fb, const uint8_t *p, uint64_t *at,
                             struct nb_error *err)
{
    const uint64_t from = (uint64_t)(p - fb->data);
    const uint32_t distance = nb_load_u32(p);
    *at = from + distance;
    if (distance < REF_BYTES || !within(fb, *at, 4))
        return NB_ERROR_AT(
            err, NB_ERR_FORMAT, from, "byte %llu refers to byte %llu, the file has %llu",
            (unsigned long long)from, (unsigned long long)*at, (unsigned long long)fb->size);
    return NB_OK;
}

enum nb_status nb_fb_sub(const struct nb_fb *fb, const struct nb_fb_table *t, unsigned field,
                         struct nb_fb_table *out, struct nb_error *err)
{
    const uint8_t *p;
    uint64_t at;
    *out = (struct nb_fb_table){0};
    NB_TRY(find(fb, t, field, REF_BYTES, &p, err));
    if (p == NULL)
        return NB_OK;
    NB_TRY(follow(fb, p, &at, err));
    return open_table(fb, at, out, err);
}

enum nb_status nb_fb_list(const struct nb_fb *fb, const struct nb_fb_table *t, unsigned field,
                          size_t item_bytes, struct nb_fb_vector *out, struct nb_error *err)
{
    const uint8_t *p;
    uint64_t at;
    *out = (struct nb_fb_vector){0};
    NB_TRY(find(fb, t, field, REF_BYTES, &p, err));
    if (p == NULL)
        return NB_OK;
    NB_TRY(follow(fb, p, &at, err));
    const uint32_t n = nb_load_u32(fb->data + at);
    if (!within(fb, at + 4, (uint64_t)n * item_bytes))
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "the vector at byte %llu has %u items of %zu bytes, the file has %llu",
                           (unsigned long long)at, n, item_bytes, (unsigned long long)fb->size);
    *out = (struct nb_fb_vector){.at = at + 4, .n = n, .present = true};
    return NB_OK;
}

enum nb_status nb_fb_item(const struct nb_fb *fb, const struct nb_fb_vector *v, uint32_t i,
                          struct nb_fb_table *out, struct nb_error *err)
{
    uint64_t at;
    *out = (struct nb_fb_table){0};
    NB_TRY(follow(fb, fb->data + v->at + (uint64_t)i * REF_BYTES, &at, err));
    return open_table(fb, at, out, err);
}

enum nb_status nb_fb_text(const struct nb_fb *fb, const struct nb_fb_table *t, unsigned field,
                          const char **out, struct nb_error *err)
{
    struct nb_fb_vector v;
    *out = NULL;
    NB_TRY(nb_fb_list(fb, t, field, 1, &v, err));
    if (!v.present)
        return NB_OK;
    const char *s = (const char *)fb->data + v.at;
    if (!within(fb, v.at, (uint64_t)v.n + 1) || s[v.n] != '\0')
        return NB_ERROR_AT(err, NB_ERR_FORMAT, v.at,
                           "the text of %u bytes at byte %llu is not terminated", v.n,
                           (unsigned long long)v.at);
    if (memchr(s, '\0', v.n) != NULL)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, v.at, "the text at byte %llu holds a zero byte",
                           (unsigned long long)v.at);
    *out = s;
    return NB_OK;
}
