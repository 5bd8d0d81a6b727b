/* tests/support/fbbuild.h: flatbuffers by hand, front to back, each field in 8 bytes of its own.
 *
 * A place is an index into the bytes, which move; references point forward.
 */
#ifndef NB_TESTS_FBBUILD_H
#define NB_TESTS_FBBUILD_H

#include "base/base.h"
#include "support/nbtest.h"

#define FB_SLOT 8

static inline size_t fb_zeros(struct nb_str *s, size_t n)
{
    const size_t at = s->len;
    while (n-- > 0)
        nb_str_append(s, "", 1);
    return at;
}

static inline void fb_align(struct nb_str *s, size_t to)
{
    while (s->len % to != 0)
        nb_str_append(s, "", 1);
}

static inline void fb_u32(struct nb_str *s, size_t at, uint32_t v)
{
    assert_true(at + 4 <= s->len);
    nb_store_u32(s->data + at, v);
}

/* A table of up to n fields, none there yet. */
static inline size_t fb_table(struct nb_str *s, unsigned n)
{
    fb_align(s, 8);
    const size_t vtable = fb_zeros(s, 4 + 2 * (size_t)n);
    while (s->len % 8 != 4)
        nb_str_append(s, "", 1);
    const size_t at = fb_zeros(s, 4 + FB_SLOT * (size_t)n);
    nb_store_u16(s->data + vtable, (uint16_t)(4 + 2 * n));
    nb_store_u16(s->data + vtable + 2, (uint16_t)(4 + FB_SLOT * n));
    fb_u32(s, at, (uint32_t)(at - vtable));
    return at;
}

/* Where field `field` of a table stands; it is there from now on. */
static inline size_t fb_field(struct nb_str *s, size_t table, unsigned field)
{
    const size_t vtable = table - nb_load_u32(s->data + table);
    const uint16_t place = (uint16_t)(4 + FB_SLOT * field);
    assert_true(4 + 2 * field + 2 <= nb_load_u16(s->data + vtable));
    nb_store_u16(s->data + vtable + 4 + 2 * (size_t)field, place);
    return table + place;
}

static inline void fb_int(struct nb_str *s, size_t table, unsigned field, int64_t v)
{
    nb_store_u64(s->data + fb_field(s, table, field), (uint64_t)v);
}

/* A table that the reference at `at` means, or that `field` of another does. */
static inline size_t fb_table_at(struct nb_str *s, size_t at, unsigned n)
{
    const size_t t = fb_table(s, n);
    fb_u32(s, at, (uint32_t)(t - at));
    return t;
}

static inline size_t fb_table_in(struct nb_str *s, size_t table, unsigned field, unsigned n)
{
    return fb_table_at(s, fb_field(s, table, field), n);
}

/* A vector of n items in `field`. The place of the first. */
static inline size_t fb_list(struct nb_str *s, size_t table, unsigned field, size_t n,
                             size_t item_bytes)
{
    const size_t at = fb_field(s, table, field);
    fb_align(s, 16);
    fb_zeros(s, 12); /* so that the items are aligned */
    fb_u32(s, at, (uint32_t)(s->len - at));
    fb_u32(s, fb_zeros(s, 4), (uint32_t)n);
    return fb_zeros(s, n * item_bytes);
}

static inline void fb_bytes(struct nb_str *s, size_t table, unsigned field, const void *p, size_t n)
{
    const size_t at = fb_list(s, table, field, n, 1);
    if (n > 0)
        memcpy(s->data + at, p, n);
}

static inline void fb_text(struct nb_str *s, size_t table, unsigned field, const char *text)
{
    fb_bytes(s, table, field, text, strlen(text));
    fb_zeros(s, 1);
}

/* Numbers of 4 bytes. */
static inline void fb_ints(struct nb_str *s, size_t table, unsigned field, size_t n,
                           const int32_t *v)
{
    const size_t at = fb_list(s, table, field, n, 4);
    for (size_t i = 0; i < n; i++)
        fb_u32(s, at + 4 * i, (uint32_t)v[i]);
}

static inline void fb_floats(struct nb_str *s, size_t table, unsigned field, size_t n,
                             const float *v)
{
    const size_t at = fb_list(s, table, field, n, 4);
    memcpy(s->data + at, v, n * sizeof *v);
}

static inline void fb_longs(struct nb_str *s, size_t table, unsigned field, size_t n,
                            const int64_t *v)
{
    const size_t at = fb_list(s, table, field, n, 8);
    for (size_t i = 0; i < n; i++)
        nb_store_u64(s->data + at + 8 * i, (uint64_t)v[i]);
}

/* The head of a file and its root table of n fields. */
static inline size_t fb_begin(struct nb_str *s, const char *identifier, unsigned n)
{
    nb_str_init(s, NULL);
    fb_zeros(s, 4);
    nb_str_append(s, identifier, 4);
    const size_t root = fb_table(s, n);
    fb_u32(s, 0, (uint32_t)root);
    return root;
}

#endif
