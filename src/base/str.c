/* base/str.c: growing text, number parsing, UTF-8 and safe printing. No locale anywhere. */
#define _GNU_SOURCE /* strtod_l */
#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void nb_str_init(struct nb_str *s, const struct nb_allocator *a)
{
    *s = (struct nb_str){.a = a};
}

void nb_str_fini(struct nb_str *s)
{
    nb_free(s->a, s->data);
    nb_str_init(s, s->a);
}

void nb_str_clear(struct nb_str *s)
{
    s->len = 0;
    if (s->data != NULL)
        s->data[0] = '\0';
}

/* Room for n more bytes and the terminator. */
static bool reserve(struct nb_str *s, size_t n)
{
    size_t need;
    if (s->failed)
        return false;
    if (!nb_add_size(&need, s->len, n) || !nb_grow(s->a, &s->data, &s->cap, need, 1))
        s->failed = true;
    return !s->failed;
}

void nb_str_append(struct nb_str *s, const void *bytes, size_t n)
{
    if (!reserve(s, n))
        return;
    if (n > 0)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void nb_str_puts(struct nb_str *s, const char *text)
{
    nb_str_append(s, text, strlen(text));
}

void nb_str_printf(struct nb_str *s, const char *fmt, ...)
{
    va_list ap;
    char small[256];
    va_start(ap, fmt);
    const int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) {
        s->failed = true;
        return;
    }
    if ((size_t)n < sizeof small) {
        nb_str_append(s, small, (size_t)n);
        return;
    }
    if (!reserve(s, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->len += (size_t)n;
}

void nb_str_json(struct nb_str *s, const char *text, size_t n)
{
    nb_str_append(s, "\"", 1);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const size_t len = nb_utf8_next(text + i, n - i, &cp);
        if (len == 0) {
            nb_str_append(s, "\xef\xbf\xbd", 3);
            i++;
            continue;
        }
        if (cp == '"' || cp == '\\')
            nb_str_append(s, "\\", 1);
        if (cp == '\n')
            nb_str_append(s, "\\n", 2);
        else if (cp == '\t')
            nb_str_append(s, "\\t", 2);
        else if (cp == '\r')
            nb_str_append(s, "\\r", 2);
        else if (cp < 0x20 || cp == 0x7f)
            nb_str_printf(s, "\\u%04x", (unsigned)cp);
        else
            nb_str_append(s, text + i, len);
        i += len;
    }
    nb_str_append(s, "\"", 1);
}

enum nb_status nb_str_check(const struct nb_str *s, struct nb_error *err)
{
    if (s->failed)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a text of more than %zu bytes", s->len);
    return NB_OK;
}

/* ---- numbers ---- */
bool nb_parse_u64(const char *text, uint64_t *out)
{
    uint64_t v = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        if (!nb_mul_u64(&v, v, 10) || !nb_add_u64(&v, v, (uint64_t)(*text - '0')))
            return false;
    }
    *out = v;
    return true;
}

bool nb_parse_i64(const char *text, int64_t *out)
{
    const bool negative = *text == '-';
    uint64_t v;
    if (!nb_parse_u64(text + negative, &v) || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static const char *skip_digits(const char *p)
{
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

/* [+-] digits [. digits] [e [+-] digits], a digit before or after the point. */
static bool is_decimal(const char *p)
{
    if (*p == '+' || *p == '-')
        p++;
    const char *whole = p;
    p = skip_digits(p);
    size_t n_digits = (size_t)(p - whole);
    if (*p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p);
        n_digits += (size_t)(p - fraction);
    }
    if (n_digits == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        const char *exponent = p;
        p = skip_digits(p);
        if (p == exponent)
            return false;
    }
    return *p == '\0';
}

bool nb_parse_f64(const char *text, double *out)
{
    if (!is_decimal(text))
        return false;
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return false;
    const double v = strtod_l(text, NULL, c);
    freelocale(c);
    if (v > 1.7976931348623157e308 || v < -1.7976931348623157e308)
        return false;
    *out = v;
    return true;
}

/* ---- UTF-8 ---- */
size_t nb_utf8_next(const char *s, size_t n, uint32_t *cp)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0)
        return 0;
    const uint32_t lead = (uint8_t)s[0];
    if (lead < 0x80) {
        *cp = lead;
        return 1;
    }
    const size_t len = lead >= 0xf8 || lead < 0xc0 ? 0 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (len == 0 || len > n)
        return 0;
    uint32_t v = lead & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        const uint32_t b = (uint8_t)s[i];
        if ((b & 0xc0U) != 0x80U)
            return 0;
        v = v << 6 | (b & 0x3fU);
    }
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    *cp = v;
    return len;
}

size_t nb_utf8_put(char out[4], uint32_t cp)
{
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        cp = 0xfffd;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    const size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80U | (cp & 0x3fU));
    out[0] = (char)((0xf00U >> len & 0xffU) | cp);
    return len;
}

/* Controls, and the marks that reorder text on a terminal. */
static bool is_unprintable(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x202a && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069) || cp == 0x2028 || cp == 0x2029;
}

const char *nb_printable(char *dst, size_t cap, const char *src, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0, safe = 0; /* safe: the last end that leaves room for the dots */
    if (cap == 0)
        return dst;
    for (size_t i = 0; i < n;) {
        char piece[16];
        size_t len = 0;
        uint32_t cp;
        const size_t taken = nb_utf8_next(src + i, n - i, &cp);
        const size_t step = taken == 0 ? 1 : taken;
        for (size_t k = 0; k < step; k++) {
            const uint8_t b = (uint8_t)src[i + k];
            if (taken == 0 || is_unprintable(cp)) {
                piece[len++] = '\\';
                piece[len++] = 'x';
                piece[len++] = hex[b >> 4];
                piece[len++] = hex[b & 15];
            } else {
                piece[len++] = (char)b;
            }
        }
        if (at + len >= cap) { /* full: back to where the dots fit */
            const size_t dots = NB_MIN((size_t)3, cap - 1 - safe);
            memcpy(dst + safe, "...", dots);
            dst[safe + dots] = '\0';
            return dst;
        }
        memcpy(dst + at, piece, len);
        at += len;
        i += step;
        if (at + 3 < cap)
            safe = at;
    }
    dst[at] = '\0';
    return dst;
}

/* ---- comparing ---- */
bool nb_str_eq(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool nb_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool nb_str_ends(const char *s, const char *suffix)
{
    const size_t n = strlen(s), k = strlen(suffix);
    return n >= k && memcmp(s + n - k, suffix, k) == 0;
}
