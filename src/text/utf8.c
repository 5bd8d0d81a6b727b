/* text/utf8.c: reading bytes that claim to be UTF-8.
 *
 * Follows the Unicode standard, 3.9, table 3-7 (well-formed sequences) and its "substitution of maximal
 * subparts": the longest prefix of a sequence that was right so far becomes one U+FFFD. Python's
 * errors="replace" and Rust's from_utf8_lossy do the same.
 */
#include "text/text_internal.h"

#include <string.h>

const struct nb_text nb_utf8_replacement = {"\xef\xbf\xbd", 3};

/* How many bytes follow `lead`, and the range of the first of them. */
static unsigned sequence_of(uint8_t lead, uint8_t *lo, uint8_t *hi)
{
    *lo = 0x80;
    *hi = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 1;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *lo = 0xa0;
        if (lead == 0xed)
            *hi = 0x9f; /* no surrogates */
        return 2;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *lo = 0x90;
        if (lead == 0xf4)
            *hi = 0x8f; /* nothing above U+10FFFF */
        return 3;
    }
    return 0;
}

size_t nb_utf8_step(const char *s, size_t n, enum nb_utf8_kind *kind)
{
    uint8_t lead = (uint8_t)s[0], lo, hi;
    *kind = NB_UTF8_OK;
    if (lead < 0x80)
        return 1;
    unsigned follow = sequence_of(lead, &lo, &hi);
    *kind = NB_UTF8_BAD;
    if (follow == 0)
        return 1;
    for (unsigned i = 1; i <= follow; i++) {
        if (i >= n) {
            *kind = NB_UTF8_CUT;
            return i;
        }
        uint8_t c = (uint8_t)s[i];
        if (c < lo || c > hi)
            return i;
        lo = 0x80;
        hi = 0xbf;
    }
    *kind = NB_UTF8_OK;
    return follow + 1u;
}

size_t nb_utf8_valid_prefix(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t word;
        if (n - i >= 8) { /* eight ASCII bytes at a time */
            memcpy(&word, s + i, 8);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += 8;
                continue;
            }
        }
        enum nb_utf8_kind kind;
        size_t len = nb_utf8_step(s + i, n - i, &kind);
        if (kind != NB_UTF8_OK)
            break;
        i += len;
    }
    return i;
}

uint32_t nb_utf8_take(const char *s, size_t n, size_t *len)
{
    uint32_t cp = (uint8_t)s[0];
    *len = 1;
    if (cp < 0x80)
        return cp;
    unsigned follow = cp >= 0xf0 ? 3 : cp >= 0xe0 ? 2 : 1;
    cp &= 0x3fu >> follow;
    for (unsigned i = 1; i <= follow && i < n; i++) {
        cp = cp << 6 | ((uint8_t)s[i] & 0x3fu);
        *len = i + 1u;
    }
    return cp;
}

/* One byte joins an unfinished character. */
static void feed_held(struct nb_str *out, char *held, uint8_t *n_held, char byte)
{
    enum nb_utf8_kind kind;
    held[*n_held] = byte;
    *n_held = (uint8_t)(*n_held + 1);
    size_t len = nb_utf8_step(held, *n_held, &kind);
    if (kind == NB_UTF8_CUT)
        return;
    if (kind == NB_UTF8_OK) {
        nb_str_append(out, held, len);
        *n_held = 0;
        return;
    }
    /* What waited was a maximal subpart; the new byte begins something else, or is broken itself. */
    nb_str_append(out, nb_utf8_replacement.s, nb_utf8_replacement.n);
    size_t rest = *n_held - len;
    *n_held = 0;
    if (rest != 0)
        nb_utf8_feed(out, held, n_held, &byte, 1);
}

void nb_utf8_feed(struct nb_str *out, char *held, uint8_t *n_held, const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && *n_held != 0)
        feed_held(out, held, n_held, s[i++]);
    while (i < n) {
        size_t good = nb_utf8_valid_prefix(s + i, n - i);
        nb_str_append(out, s + i, good);
        i += good;
        if (i >= n)
            break;
        enum nb_utf8_kind kind;
        size_t len = nb_utf8_step(s + i, n - i, &kind);
        if (kind == NB_UTF8_CUT) {
            memcpy(held, s + i, len);
            *n_held = (uint8_t)len;
            break;
        }
        nb_str_append(out, nb_utf8_replacement.s, nb_utf8_replacement.n);
        i += len;
    }
}

void nb_utf8_sanitize(struct nb_str *out, const char *text, size_t n)
{
    char held[8];
    uint8_t n_held = 0;
    nb_utf8_feed(out, held, &n_held, text, n);
    if (n_held != 0)
        nb_str_append(out, nb_utf8_replacement.s, nb_utf8_replacement.n);
}
