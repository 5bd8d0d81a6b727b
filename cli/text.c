/* cli/text.c: numbers, tables and foreign text for people to read. */
#include "cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static struct nb_cli_text scaled(double v, const char *const *units, size_t n)
{
    struct nb_cli_text t;
    size_t u = 0;

    while (u + 1 < n && v >= 999.5)
        v /= 1000, u++;
    if (u == 0)
        snprintf(t.s, sizeof t.s, "%.0f%s", v, units[u]);
    else
        snprintf(t.s, sizeof t.s, "%.*f%s", v < 9.995 ? 2 : 1, v, units[u]);
    return t;
}

struct nb_cli_text nb_cli_bytes(uint64_t bytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB"};
    return scaled((double)bytes, units, 5);
}

struct nb_cli_text nb_cli_count(uint64_t n)
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    return scaled((double)n, units, 5);
}

struct nb_cli_text nb_cli_time(double s)
{
    struct nb_cli_text t;

    if (!(s >= 0) || s > 1e9)
        snprintf(t.s, sizeof t.s, "-");
    else if (s < 10)
        snprintf(t.s, sizeof t.s, "%.2f s", s);
    else if (s < 120)
        snprintf(t.s, sizeof t.s, "%.0f s", s);
    else if (s < 7200)
        snprintf(t.s, sizeof t.s, "%d min %02d s", (int)s / 60, (int)s % 60);
    else
        snprintf(t.s, sizeof t.s, "%d h %02d min", (int)s / 3600, (int)s / 60 % 60);
    return t;
}

struct nb_cli_text nb_cli_db(double db)
{
    struct nb_cli_text t;

    if (isnan(db))
        snprintf(t.s, sizeof t.s, "-");
    else if (isinf(db) && db > 0)
        snprintf(t.s, sizeof t.s, "lossless");
    else
        snprintf(t.s, sizeof t.s, "%.1f dB", db);
    return t;
}

/* Newlines and tabs pass; other control characters (C0, DEL, C1 as U+0080..9f) become '?'. */
void nb_cli_puts_safe(FILE *f, const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;

    for (size_t i = 0; i < n; i++) {
        bool control = (p[i] < 0x20 && p[i] != '\n' && p[i] != '\t') || p[i] == 0x7f;
        bool c1 = p[i] == 0xc2 && i + 1 < n && p[i + 1] >= 0x80 && p[i + 1] < 0xa0;
        fputc(control || c1 ? '?' : p[i], f);
        i += c1;
    }
}

void nb_cli_table_init(struct nb_cli_table *t, const char *align)
{
    *t = (struct nb_cli_table){.columns = strlen(align), .align = align};
}

void nb_cli_table_add(struct nb_cli_table *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (t->n == t->cap) {
        size_t cap = t->cap == 0 ? 64 : 2 * t->cap;
        char **grown = realloc(t->cells, cap * sizeof *grown);
        if (grown == NULL)
            return; /* a shorter table */
        t->cells = grown;
        t->cap = cap;
    }
    t->cells[t->n] = strdup(text);
    if (t->cells[t->n] != NULL)
        t->n++;
}

/* Columns on a terminal: UTF-8 continuation bytes take none. */
static size_t width_of(const char *s)
{
    size_t n = 0;

    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void nb_cli_table_print(const struct nb_cli_table *t, FILE *f, const char *indent)
{
    size_t width[24] = {0};

    for (size_t i = 0; i < t->n; i++) {
        size_t w = width_of(t->cells[i]), c = i % t->columns;
        if (c < 24 && w > width[c])
            width[c] = w;
    }
    for (size_t i = 0; i < t->n; i++) {
        size_t c = i % t->columns;
        int pad = (int)(width[c] - width_of(t->cells[i]));
        bool last = c + 1 == t->columns;
        fputs(c == 0 ? indent : "  ", f);
        if (t->align[c] == 'r')
            fprintf(f, "%*s", pad, "");
        nb_cli_puts_safe(f, t->cells[i], strlen(t->cells[i]));
        if (t->align[c] == 'l' && !last)
            fprintf(f, "%*s", pad, "");
        if (last)
            fputc('\n', f);
    }
}

void nb_cli_table_fini(struct nb_cli_table *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->n = t->cap = 0;
}
