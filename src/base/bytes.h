/* base/bytes.h: checked arithmetic and a bounded reader for bytes from outside. */
#ifndef NB_BASE_BYTES_H
#define NB_BASE_BYTES_H

#include "base/status.h"

/* false on overflow; *out is then untouched. */
NB_CHECKED bool nb_mul_size(size_t *out, size_t a, size_t b);
NB_CHECKED bool nb_add_size(size_t *out, size_t a, size_t b);
NB_CHECKED bool nb_mul_u64(uint64_t *out, uint64_t a, uint64_t b);
NB_CHECKED bool nb_add_u64(uint64_t *out, uint64_t a, uint64_t b);

/* Little endian, any alignment. */
uint16_t nb_load_u16(const void *p);
uint32_t nb_load_u32(const void *p);
uint64_t nb_load_u64(const void *p);
void nb_store_u16(void *p, uint16_t v);
void nb_store_u32(void *p, uint32_t v);
void nb_store_u64(void *p, uint64_t v);

/* Borrows: data. Never reads past data + size; a failed read leaves `at` where it was and says
 * "<what> ends at byte X, file has Y". */
struct nb_cursor {
    const uint8_t *data;
    uint64_t size;
    uint64_t at;
};

NB_CHECKED enum nb_status nb_cursor_take(struct nb_cursor *c, const uint8_t **out, uint64_t n,
                                         const char *what, struct nb_error *err);
NB_CHECKED enum nb_status nb_cursor_u8(struct nb_cursor *c, uint8_t *out, const char *what,
                                       struct nb_error *err);
NB_CHECKED enum nb_status nb_cursor_u16(struct nb_cursor *c, uint16_t *out, const char *what,
                                        struct nb_error *err);
NB_CHECKED enum nb_status nb_cursor_u32(struct nb_cursor *c, uint32_t *out, const char *what,
                                        struct nb_error *err);
NB_CHECKED enum nb_status nb_cursor_u64(struct nb_cursor *c, uint64_t *out, const char *what,
                                        struct nb_error *err);

#endif
