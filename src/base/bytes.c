/* base/bytes.c: checked arithmetic, little-endian access, the bounded cursor. */
#include "base/bytes.h"

#include <inttypes.h>

bool nb_mul_size(size_t *out, size_t a, size_t b)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

bool nb_add_size(size_t *out, size_t a, size_t b)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

bool nb_mul_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

bool nb_add_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Shifts, not casts: right on any byte order and alignment; compilers make one load of it. */
uint16_t nb_load_u16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | (b[1] << 8));
}

uint32_t nb_load_u32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t nb_load_u64(const void *p)
{
    const uint8_t *b = p;
    return (uint64_t)nb_load_u32(b) | (uint64_t)nb_load_u32(b + 4) << 32;
}

void nb_store_u16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

void nb_store_u32(void *p, uint32_t v)
{
    uint8_t *b = p;
    for (int i = 0; i < 4; i++)
        b[i] = (uint8_t)(v >> (8 * i));
}

void nb_store_u64(void *p, uint64_t v)
{
    uint8_t *b = p;
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(v >> (8 * i));
}

enum nb_status nb_cursor_take(struct nb_cursor *c, const uint8_t **out, uint64_t n,
                              const char *what, struct nb_error *err)
{
    if (c->at > c->size || n > c->size - c->at) {
        uint64_t end;
        if (!nb_add_u64(&end, c->at, n))
            return NB_ERROR_AT(err, NB_ERR_FORMAT, c->at,
                               "%s: %" PRIu64 " bytes at byte %" PRIu64 ", file has %" PRIu64, what,
                               n, c->at, c->size);
        return NB_ERROR_AT(err, NB_ERR_FORMAT, c->at,
                           "%s ends at byte %" PRIu64 ", file has %" PRIu64, what, end, c->size);
    }
    *out = c->data == NULL ? NULL : c->data + c->at;
    c->at += n;
    return NB_OK;
}

enum nb_status nb_cursor_u8(struct nb_cursor *c, uint8_t *out, const char *what,
                            struct nb_error *err)
{
    const uint8_t *p = NULL;
    NB_TRY(nb_cursor_take(c, &p, 1, what, err));
    *out = *p;
    return NB_OK;
}

enum nb_status nb_cursor_u16(struct nb_cursor *c, uint16_t *out, const char *what,
                             struct nb_error *err)
{
    const uint8_t *p = NULL;
    NB_TRY(nb_cursor_take(c, &p, 2, what, err));
    *out = nb_load_u16(p);
    return NB_OK;
}

enum nb_status nb_cursor_u32(struct nb_cursor *c, uint32_t *out, const char *what,
                             struct nb_error *err)
{
    const uint8_t *p = NULL;
    NB_TRY(nb_cursor_take(c, &p, 4, what, err));
    *out = nb_load_u32(p);
    return NB_OK;
}

enum nb_status nb_cursor_u64(struct nb_cursor *c, uint64_t *out, const char *what,
                             struct nb_error *err)
{
    const uint8_t *p = NULL;
    NB_TRY(nb_cursor_take(c, &p, 8, what, err));
    *out = nb_load_u64(p);
    return NB_OK;
}
