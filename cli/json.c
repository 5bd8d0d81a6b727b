/* cli/json.c: writes JSON (RFC 8259).
 *
 * Reals are written with the fewest digits that read back as the same double. NaN and infinity do
 * not exist in JSON and become null. Bytes that are not UTF-8 become U+FFFD: names come from files.
 */
#include "json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void put_text(FILE *f, const char *s, size_t n);

static void lead(struct nb_jw *w, const char *key)
{
    uint64_t bit = UINT64_C(1) << w->depth;

    if (w->depth > 0)
        fprintf(w->f, "%s\n%*s", (w->has & bit) != 0 ? "," : "", 2 * w->depth, "");
    w->has |= bit;
    if (key != NULL) {
        put_text(w->f, key, strlen(key));
        fputs(": ", w->f);
    }
}

static void open_container(struct nb_jw *w, const char *key, bool array)
{
    lead(w, key);
    fputc(array ? '[' : '{', w->f);
    w->depth++;
    w->has &= ~(UINT64_C(1) << w->depth);
    w->array &= ~(UINT64_C(1) << w->depth);
    if (array)
        w->array |= UINT64_C(1) << w->depth;
}

void nb_jw_begin(struct nb_jw *w, FILE *f)
{
    *w = (struct nb_jw){.f = f};
    open_container(w, NULL, false);
}

void nb_jw_finish(struct nb_jw *w)
{
    while (w->depth > 0)
        nb_jw_end(w);
    fputc('\n', w->f);
}

void nb_jw_object(struct nb_jw *w, const char *key)
{
    open_container(w, key, false);
}

void nb_jw_array(struct nb_jw *w, const char *key)
{
    open_container(w, key, true);
}

void nb_jw_end(struct nb_jw *w)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    bool array = (w->array & bit) != 0, any = (w->has & bit) != 0;

    w->depth--;
    if (any)
        fprintf(w->f, "\n%*s", 2 * w->depth, "");
    fputc(array ? ']' : '}', w->f);
}

/* Bytes of the UTF-8 character at s, 0 if there is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] > 0xf4 || len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

static void put_text(FILE *f, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;

    fputc('"', f);
    for (size_t i = 0; i < n;) {
        size_t len = utf8_length(p + i, n - i);
        if (len == 0) {
            fputs("\\ufffd", f);
            i++;
            continue;
        }
        if (p[i] == '"' || p[i] == '\\')
            fprintf(f, "\\%c", p[i]);
        else if (p[i] == '\n')
            fputs("\\n", f);
        else if (p[i] == '\t')
            fputs("\\t", f);
        else if (p[i] < 0x20 || p[i] == 0x7f)
            fprintf(f, "\\u%04x", p[i]);
        else
            fwrite(p + i, 1, len, f);
        i += len;
    }
    fputc('"', f);
}

void nb_jw_text(struct nb_jw *w, const char *key, const char *value, size_t n)
{
    lead(w, key);
    put_text(w->f, value, n);
}

void nb_jw_string(struct nb_jw *w, const char *key, const char *value)
{
    lead(w, key);
    if (value == NULL)
        fputs("null", w->f);
    else
        put_text(w->f, value, strlen(value));
}

void nb_jw_u64(struct nb_jw *w, const char *key, uint64_t value)
{
    lead(w, key);
    fprintf(w->f, "%llu", (unsigned long long)value);
}

void nb_jw_i64(struct nb_jw *w, const char *key, int64_t value)
{
    lead(w, key);
    fprintf(w->f, "%lld", (long long)value);
}

void nb_jw_real(struct nb_jw *w, const char *key, double value)
{
    char text[32];

    lead(w, key);
    if (!isfinite(value)) {
        fputs("null", w->f);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) /* exact, or not enough digits yet */
            break;
    }
    fputs(text, w->f);
}

void nb_jw_bool(struct nb_jw *w, const char *key, int value)
{
    lead(w, key);
    fputs(value ? "true" : "false", w->f);
}
