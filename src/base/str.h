/* base/str.h: growing text, number parsing, safe printing. */
#ifndef NB_BASE_STR_H
#define NB_BASE_STR_H

#include "base/alloc.h"

struct nb_text { /* borrowed bytes with a length; may hold zero bytes; not terminated unless said */
    const char *s;
    size_t n;
};

/* Owns: data (terminated when len > 0). After a failed allocation `failed` stays set and appends do
 * nothing, so that a writer checks once, at the end. */
struct nb_str {
    const struct nb_allocator *a;
    char *data;
    size_t len, cap;
    bool failed;
};

void nb_str_init(struct nb_str *s, const struct nb_allocator *a);
void nb_str_fini(struct nb_str *s);
void nb_str_clear(struct nb_str *s);
void nb_str_append(struct nb_str *s, const void *bytes, size_t n);
void nb_str_puts(struct nb_str *s, const char *text);
void nb_str_printf(struct nb_str *s, const char *fmt, ...) NB_PRINTF(2, 3);
/* A JSON string literal with its quotes; invalid UTF-8 becomes U+FFFD. */
void nb_str_json(struct nb_str *s, const char *text, size_t n);
/* NB_ERR_NOMEM when `failed` is set. */
NB_CHECKED enum nb_status nb_str_check(const struct nb_str *s, struct nb_error *err);

/* The whole text must be a number; false otherwise. Locale-free. */
NB_CHECKED bool nb_parse_u64(const char *text, uint64_t *out);
NB_CHECKED bool nb_parse_i64(const char *text, int64_t *out);
NB_CHECKED bool nb_parse_f64(const char *text, double *out);

/* A name from a file, fit for a message: control bytes and broken UTF-8 as \xNN, cut with "...".
 * Returns dst. */
const char *nb_printable(char *dst, size_t cap, const char *src, size_t n);

bool nb_str_eq(const char *a, const char *b); /* NULL equals only NULL */
bool nb_str_starts(const char *s, const char *prefix);
bool nb_str_ends(const char *s, const char *suffix);
/* Length of the valid UTF-8 sequence at s (1..4), 0 if none; *cp gets the code point. */
size_t nb_utf8_next(const char *s, size_t n, uint32_t *cp);
size_t nb_utf8_put(char out[4], uint32_t cp);

#endif
