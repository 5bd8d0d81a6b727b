/* tests/unit/text/golden.h: reads what tests/golden/make_tokenizers.py wrote. Tests only. */
#ifndef NB_TESTS_TEXT_GOLDEN_H
#define NB_TESTS_TEXT_GOLDEN_H

#include "support/nbtest.h"
#include "text/text.h"

#include <stdio.h>

#define GOLDEN_MAX_LINES 4096
#define GOLDEN_MAX_IDS   4096

/* Owns: bytes. A file cut into lines, still escaped. */
struct golden_file {
    char *bytes;
    char *lines[GOLDEN_MAX_LINES];
    size_t n;
};

static inline void golden_open(struct golden_file *f, const char *name)
{
    char path[128];
    size_t n;
    (void)snprintf(path, sizeof(path), "tests/golden/%s", name);
    f->bytes = (char *)nbtest_read(nbtest_root(path), &n);
    f->n = 0;
    for (char *s = f->bytes; *s != '\0';) {
        char *end = strchr(s, '\n');
        assert_non_null(end);
        assert_true(f->n < GOLDEN_MAX_LINES);
        *end = '\0';
        f->lines[f->n++] = s;
        s = end + 1;
    }
}

static inline void golden_close(struct golden_file *f)
{
    free(f->bytes);
}

static inline unsigned golden_hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Undoes the escapes into dst (as long as s at least); returns the length. */
static inline size_t golden_unescape(char *dst, const char *s)
{
    size_t n = 0;
    while (*s != '\0') {
        char c = *s++;
        if (c == '\\') {
            c = *s++;
            if (c == 'x') {
                c = (char)(golden_hex(s[0]) << 4 | golden_hex(s[1]));
                s += 2;
            } else {
                c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : '\\';
            }
        }
        dst[n++] = c;
    }
    return n;
}

/* Cuts a line at its tabs; returns the number of fields. */
static inline size_t golden_fields(char *line, char *fields[], size_t max)
{
    size_t n = 0;
    while (n < max) {
        fields[n++] = line;
        line = strchr(line, '\t');
        if (line == NULL)
            break;
        *line++ = '\0';
    }
    return n;
}

static inline size_t golden_ids(int32_t *ids, const char *s)
{
    size_t n = 0;
    while (*s != '\0') {
        int32_t v = 0;
        for (; *s >= '0' && *s <= '9'; s++)
            v = v * 10 + (*s - '0');
        assert_true(n < GOLDEN_MAX_IDS);
        ids[n++] = v;
        if (*s == ' ')
            s++;
    }
    return n;
}

#endif
