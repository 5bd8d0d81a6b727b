/* text/charsmap.c: SentencePiece's precompiled character map ("Precompiled" of a tokenizer.json).
 *
 * A blob: the size of a trie in bytes (u32, little endian), the trie, and a pool of strings that each end
 * with a zero byte. The trie is a double array of u32 units in the layout of darts-clone: bits 0-7 and 31
 * a label, bit 8 "has a leaf", bits 10-30 the offset (shifted left by 8 when bit 9 is set); a leaf is a
 * unit with bit 31 set, its lower bits an offset in the pool. It is applied as Hugging Face tokenizers
 * does it: a grapheme shorter than six bytes as one, if the shortest prefix in the trie gives something;
 * else each of its characters. (SentencePiece itself takes the longest prefix of the text.)
 */
#include "text/text_internal.h"

#include <utf8proc.h>

#include <string.h>

#define MAX_GRAPHEME 6u /* from here on always character by character */

enum nb_status nb_charsmap_open(struct nb_charsmap *m, struct nb_text blob, struct nb_error *err)
{
    if (blob.n < 8)
        NB_FAIL(err, NB_ERR_FORMAT, "precompiled_charsmap has %zu bytes, expected 8 or more",
                blob.n);
    const uint32_t bytes = nb_load_u32(blob.s);
    if (bytes < 4 || bytes % 4 != 0 || bytes > blob.n - 4)
        NB_FAIL(err, NB_ERR_FORMAT,
                "precompiled_charsmap: a trie of %u bytes, expected a multiple of 4 up to %zu",
                (unsigned)bytes, blob.n - 4);
    *m = (struct nb_charsmap){
        .blob = blob, .n_units = bytes / 4, .pool = {blob.s + 4 + bytes, blob.n - 4 - bytes}};
    const size_t valid = nb_utf8_valid_prefix(m->pool.s, m->pool.n);
    if (valid != m->pool.n)
        NB_FAIL(err, NB_ERR_FORMAT, "precompiled_charsmap: byte %zu of the strings is not UTF-8",
                valid);
    return NB_OK;
}

static uint32_t unit_at(const struct nb_charsmap *m, uint32_t at)
{
    return at < m->n_units ? nb_load_u32(m->blob.s + 4 + (size_t)at * 4) : 0;
}

static uint32_t offset_of(uint32_t unit)
{
    return unit >> 10 << ((unit & (1u << 9)) >> 6);
}

/* The string for the shortest prefix of s that is in the trie. */
static bool look_up(const struct nb_charsmap *m, struct nb_text s, struct nb_text *out)
{
    uint32_t at = offset_of(unit_at(m, 0));
    for (size_t i = 0; i < s.n; i++) {
        const uint8_t c = (uint8_t)s.s[i];
        at ^= c;
        const uint32_t unit = unit_at(m, at);
        if (c == 0 || at >= m->n_units || (unit & (1u << 31 | 0xffu)) != c)
            return false;
        at ^= offset_of(unit);
        if ((unit >> 8 & 1u) == 0)
            continue;
        const uint32_t start = unit_at(m, at) & 0x7fffffffu;
        if (at >= m->n_units || start >= m->pool.n || ((uint8_t)m->pool.s[start] & 0xc0) == 0x80)
            return false;
        const char *zero = memchr(m->pool.s + start, 0, m->pool.n - start);
        const size_t end = zero == NULL ? m->pool.n : (size_t)(zero - m->pool.s);
        *out = (struct nb_text){m->pool.s + start, end - start};
        return true;
    }
    return false;
}

/* Bytes of the extended grapheme cluster that s begins with; counted up to MAX_GRAPHEME only. */
static size_t grapheme(struct nb_text s, size_t *whole)
{
    size_t len, end;
    utf8proc_int32_t state = 0, last = (utf8proc_int32_t)nb_utf8_take(s.s, s.n, &end);
    while (end < s.n) {
        const utf8proc_int32_t cp = (utf8proc_int32_t)nb_utf8_take(s.s + end, s.n - end, &len);
        if (utf8proc_grapheme_break_stateful(last, cp, &state))
            break;
        last = cp;
        end += len;
    }
    *whole = end;
    return end;
}

static void put(const struct nb_charsmap *m, struct nb_str *text, struct nb_text s)
{
    struct nb_text to = s;
    (void)look_up(m, s, &to);
    nb_str_append(text, to.s, to.n);
}

enum nb_status nb_charsmap_apply(const struct nb_charsmap *m, struct nb_text *out, struct nb_text s,
                                 struct nb_arena *arena, struct nb_error *err)
{
    struct nb_str text;
    struct nb_text to;
    size_t whole, len;
    *out = s;
    nb_str_init(&text, arena->a);
    for (size_t i = 0; i < s.n; i += whole) {
        const struct nb_text rest = {s.s + i, s.n - i};
        if (grapheme(rest, &whole) < MAX_GRAPHEME &&
            look_up(m, (struct nb_text){rest.s, whole}, &to)) {
            nb_str_append(&text, to.s, to.n);
            continue;
        }
        for (size_t k = 0; k < whole; k += len) {
            (void)nb_utf8_take(rest.s + k, whole - k, &len);
            put(m, &text, (struct nb_text){rest.s + k, len});
        }
    }
    char *copy = text.failed ? NULL : nb_arena_alloc(arena, text.len + 1, 1);
    if (copy != NULL && text.len != 0)
        memcpy(copy, text.data, text.len);
    *out = (struct nb_text){copy, text.len};
    nb_str_fini(&text);
    if (copy == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "normalizing %zu bytes: out of memory", s.n);
    return NB_OK;
}

/* ---- base64 (RFC 4648, section 4), the form in a tokenizer.json ---- */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit_value(char c)
{
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

enum nb_status nb_base64_decode(struct nb_text *out, struct nb_text s, struct nb_arena *arena,
                                struct nb_error *err)
{
    size_t n = 0, padding = 0;
    while (padding < 2 && padding < s.n && s.s[s.n - 1 - padding] == '=')
        padding++;
    char *bytes = nb_arena_alloc(arena, s.n / 4 * 3 + 1, 1);
    if (bytes == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "base64 of %zu bytes: out of memory", s.n);
    if (s.n % 4 != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "base64 of %zu bytes, expected a multiple of 4", s.n);
    for (size_t i = 0; i < s.n; i += 4) {
        uint32_t group = 0;
        for (size_t k = 0; k < 4; k++) {
            const bool pad = i + k >= s.n - padding;
            const int v = pad ? 0 : digit_value(s.s[i + k]);
            if (v < 0)
                NB_FAIL(err, NB_ERR_FORMAT, "base64: byte %zu is no digit", i + k);
            group = group << 6 | (uint32_t)v;
        }
        for (size_t k = 0; k < 3; k++)
            bytes[n++] = (char)(group >> (16 - 8 * k) & 0xffu);
    }
    *out = (struct nb_text){bytes, n - padding};
    return NB_OK;
}

void nb_base64_encode(struct nb_str *out, struct nb_text s)
{
    for (size_t i = 0; i < s.n; i += 3) {
        const size_t n = NB_MIN(s.n - i, 3u);
        uint32_t group = 0;
        char four[4];
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < n ? (uint8_t)s.s[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            four[k] = k <= n ? digits[group >> (18 - 6 * k) & 63u] : '=';
        nb_str_append(out, four, 4);
    }
}
