/* container/flatbuf.h: tables, vectors and texts of a flatbuffer whose bytes are not trusted.
 *
 * flatbuffers' internals.md. Nothing is copied and nothing checked ahead: each access checks all that it reads, at
 * any alignment, and an error names the bytes. Who walks many tables bounds the work himself: vectors may share
 * items, so that few bytes can mean many tables.
 */
#ifndef NB_CONTAINER_FLATBUF_H
#define NB_CONTAINER_FLATBUF_H

#include "base/base.h"

/* Borrows: the bytes. */
struct nb_fb {
    const uint8_t *data;
    uint64_t size;
};
/* at 0: absent; its fields have their defaults. */
struct nb_fb_table {
    uint64_t at, vtable;
    uint32_t bytes, vtable_bytes; /* of the table's own fields; of its list of places */
};
struct nb_fb_vector { /* n items at `at`; absent: 0 */
    uint64_t at;
    uint32_t n;
    bool present;
};

/* Do the bytes name this kind of file (4 letters behind the first 4 bytes)? */
bool nb_fb_is(const struct nb_fb *fb, const char *identifier);

/* All NB_ERR_FORMAT if what they read is not there whole. `field` counts from 0 in the order of the schema, a union
 * being two: its type and its table. */
NB_CHECKED enum nb_status nb_fb_root(const struct nb_fb *fb, struct nb_fb_table *out,
                                     struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_bool(const struct nb_fb *fb, const struct nb_fb_table *t,
                                     unsigned field, bool otherwise, bool *out,
                                     struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_i8(const struct nb_fb *fb, const struct nb_fb_table *t,
                                   unsigned field, int8_t otherwise, int8_t *out,
                                   struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_u8(const struct nb_fb *fb, const struct nb_fb_table *t,
                                   unsigned field, uint8_t otherwise, uint8_t *out,
                                   struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_i32(const struct nb_fb *fb, const struct nb_fb_table *t,
                                    unsigned field, int32_t otherwise, int32_t *out,
                                    struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_u32(const struct nb_fb *fb, const struct nb_fb_table *t,
                                    unsigned field, uint32_t otherwise, uint32_t *out,
                                    struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_u64(const struct nb_fb *fb, const struct nb_fb_table *t,
                                    unsigned field, uint64_t otherwise, uint64_t *out,
                                    struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_f32(const struct nb_fb *fb, const struct nb_fb_table *t,
                                    unsigned field, float otherwise, float *out,
                                    struct nb_error *err);
NB_CHECKED enum nb_status nb_fb_sub(const struct nb_fb *fb, const struct nb_fb_table *t,
                                    unsigned field, struct nb_fb_table *out, struct nb_error *err);
/* Terminated, without a zero byte inside; absent: *out NULL. */
NB_CHECKED enum nb_status nb_fb_text(const struct nb_fb *fb, const struct nb_fb_table *t,
                                     unsigned field, const char **out, struct nb_error *err);
/* item_bytes: of a number; 4 of a table or text. */
NB_CHECKED enum nb_status nb_fb_list(const struct nb_fb *fb, const struct nb_fb_table *t,
                                     unsigned field, size_t item_bytes, struct nb_fb_vector *out,
                                     struct nb_error *err);
/* Item i < v->n of a vector of tables. */
NB_CHECKED enum nb_status nb_fb_item(const struct nb_fb *fb, const struct nb_fb_vector *v,
                                     uint32_t i, struct nb_fb_table *out, struct nb_error *err);

#endif
