/* cli/options.c: parses a command line by a table.
 *
 * getopt_long does the walking: options and positional arguments in any order, "--" ends options,
 * unambiguous prefixes of long names are accepted. What it does not do is say what is wrong in a
 * useful way, so its messages are switched off and made here.
 */
#include "options.h"

#include <ctype.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct nb_cli_opt nb_cli_common_options[] = {
    {.name = "threads",
     .letter = 't',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = offsetof(struct nb_cli_common, threads),
     .fallback = "(NIBBLE_THREADS, else one per core)",
     .group = "Common",
     .help = "threads to use; results do not depend on it",
     .brief = 1},
    {.name = "json",
     .type = NB_CLI_FLAG,
     .offset = offsetof(struct nb_cli_common, json),
     .group = "Common",
     .help = "print the result as JSON, with stable keys",
     .brief = 1},
    {.name = "progress",
     .type = NB_CLI_SWITCH,
     .offset = offsetof(struct nb_cli_common, progress),
     .fallback = "(on a terminal)",
     .group = "Common",
     .help = "show a progress line on stderr"},
    {.name = "quiet",
     .letter = 'q',
     .type = NB_CLI_FLAG,
     .offset = offsetof(struct nb_cli_common, quiet),
     .group = "Common",
     .help = "say nothing but the result and errors"},
    {.name = "verbose",
     .letter = 'v',
     .type = NB_CLI_FLAG,
     .offset = offsetof(struct nb_cli_common, verbose),
     .group = "Common",
     .help = "say more"},
    {.name = "h", /* -h only */
     .letter = 'h',
     .type = NB_CLI_BRIEF,
     .group = "Common",
     .help = "the most used options on one screen"},
    {.name = "help", .type = NB_CLI_HELP, .group = "Common", .help = "all options, with examples"},
    {0},
};

size_t nb_cli_distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    size_t n = strlen(a), m = strlen(b), row[3][MAX + 1];

    if (n > MAX || m > MAX)
        return n > m ? n : m;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *up = row[(i - 1) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

bool nb_cli_parse_u64(uint64_t *value, const char *text)
{
    uint64_t v = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *value = v;
    return true;
}

bool nb_cli_parse_real(double *value, const char *text)
{
    char *end;
    double v;

    if (!isdigit((unsigned char)*text) && *text != '.')
        return false;
    v = strtod(text, &end);
    if (*end != '\0' || end == text || !isfinite(v))
        return false;
    *value = v;
    return true;
}

bool nb_cli_parse_size(uint64_t *bytes, const char *text)
{
    static const char prefix[] = "kmgt";
    char *end;
    double v, unit = 1;

    if (!isdigit((unsigned char)*text) && *text != '.')
        return false;
    v = strtod(text, &end);
    while (*end == ' ')
        end++;
    const char *p = *end == '\0' ? NULL : strchr(prefix, tolower((unsigned char)*end));
    if (p != NULL) {
        end++;
        /* "G" alone is what people write for memory: binary, as "GiB"; "GB" is decimal. */
        bool decimal = tolower((unsigned char)end[0]) == 'b';
        for (int i = 0; i <= p - prefix; i++)
            unit *= decimal ? 1000.0 : 1024.0;
        if (tolower((unsigned char)end[0]) == 'i')
            end++;
    }
    if (tolower((unsigned char)end[0]) == 'b')
        end++;
    v *= unit;
    if (*end != '\0' || !isfinite(v) || v >= 18446744073709551616.0)
        return false;
    *bytes = (uint64_t)v;
    return true;
}

static int add_to_list(struct nb_cli_list *list, const char *item)
{
    const char **grown = realloc(list->items, (list->n + 1) * sizeof *grown);

    if (grown == NULL)
        return -1;
    list->items = grown;
    list->items[list->n++] = item;
    return 0;
}

/* What a value of this type looks like, for messages. */
static const char *expected(enum nb_cli_opt_type type)
{
    switch (type) {
    case NB_CLI_U32:
    case NB_CLI_U64:
        return "a whole number";
    case NB_CLI_SIZE:
        return "a size like 3GiB or 500MB";
    case NB_CLI_REAL:
        return "a number that is not negative";
    default:
        return "a value";
    }
}

/* Stores text (for a flag: value) at the option's place. False: not such a value. */
static bool store(const struct nb_cli_opt *o, void *args, const char *text, int32_t value)
{
    char *at = (char *)args + o->offset;
    void *target = at;
    uint64_t n;

    switch (o->type) {
    case NB_CLI_FLAG:
    case NB_CLI_SWITCH:
    case NB_CLI_BRIEF:
    case NB_CLI_HELP:
        *(int32_t *)target = value;
        return true;
    case NB_CLI_STRING:
        *(const char **)target = text;
        return true;
    case NB_CLI_U32:
        if (!nb_cli_parse_u64(&n, text) || n > UINT32_MAX)
            return false;
        *(uint32_t *)target = (uint32_t)n;
        return true;
    case NB_CLI_U64:
        return nb_cli_parse_u64(target, text);
    case NB_CLI_SIZE:
        return nb_cli_parse_size(target, text);
    case NB_CLI_REAL:
        return nb_cli_parse_real(target, text);
    case NB_CLI_LIST:
        return add_to_list(target, text) == 0;
    }
    return false;
}

static const struct nb_cli_opt *nth(const struct nb_cli_opt *options, size_t i)
{
    size_t n = 0;

    while (options[n].name != NULL)
        n++;
    return i < n ? &options[i] : &nb_cli_common_options[i - n];
}

static size_t count(const struct nb_cli_opt *options)
{
    size_t n = 0, c = 0;

    while (options[n].name != NULL)
        n++;
    while (nb_cli_common_options[c].name != NULL)
        c++;
    return n + c;
}

static void set_defaults(void *args, const struct nb_cli_opt *options)
{
    for (size_t i = 0; i < count(options); i++) {
        const struct nb_cli_opt *o = nth(options, i);
        if (o->type == NB_CLI_SWITCH)
            store(o, args, NULL, -1);
        if (o->type == NB_CLI_REAL) {
            void *target = (char *)args + o->offset;
            *(double *)target = (double)NAN;
        }
        if (o->fallback == NULL || o->fallback[0] == '(')
            continue;
        if (o->type == NB_CLI_SWITCH)
            store(o, args, NULL, strcmp(o->fallback, "on") == 0);
        else
            store(o, args, o->fallback, 0);
    }
}

/* getopt's view of the tables. A long option's value is 256 + 4 * index (+ 1: --no-, + 2: alias). */
struct getopt_tables {
    struct option *longs;
    char *shorts, *negated; /* "--no-" names, one after the other */
};

static int build_tables(struct getopt_tables *t, const struct nb_cli_opt *options)
{
    size_t n = count(options), n_long = 0, n_short = 0, used = 0;

    t->longs = calloc(3 * n + 1, sizeof *t->longs);
    t->shorts = calloc(2 * n + 2, 1);
    t->negated = calloc(n, 64);
    if (t->longs == NULL || t->shorts == NULL || t->negated == NULL)
        return -1;
    t->shorts[n_short++] = ':';
    for (size_t i = 0; i < n; i++) {
        const struct nb_cli_opt *o = nth(options, i);
        int has = o->arg != NULL ? required_argument : no_argument;
        int value = 256 + 4 * (int)i;
        if (o->type != NB_CLI_BRIEF)
            t->longs[n_long++] = (struct option){o->name, has, NULL, value};
        if (o->alias != NULL)
            t->longs[n_long++] = (struct option){o->alias, has, NULL, value + 2};
        if (o->type == NB_CLI_SWITCH) {
            char *name = t->negated + used;
            used += 1 + (size_t)snprintf(name, 63, "no-%s", o->name);
            t->longs[n_long++] = (struct option){name, no_argument, NULL, value + 1};
        }
        if (o->letter != 0) {
            t->shorts[n_short++] = (char)o->letter;
            if (o->arg != NULL)
                t->shorts[n_short++] = ':';
        }
    }
    return 0;
}

static void unknown_option(struct nb_cli_parsed *p, const struct getopt_tables *t, const char *text)
{
    const char *nearest = NULL;
    size_t best = 4, stem = strcspn(text, "=");
    char name[64];

    snprintf(name, sizeof name, "%.*s", (int)stem, text);
    for (size_t i = 0; t->longs[i].name != NULL; i++) {
        size_t d = nb_cli_distance(name + strspn(name, "-"), t->longs[i].name);
        if (d < best && d < strlen(t->longs[i].name))
            best = d, nearest = t->longs[i].name;
    }
    if (nearest != NULL)
        snprintf(p->message, sizeof p->message, "unknown option '%s'; the nearest is '--%s'", name,
                 nearest);
    else
        snprintf(p->message, sizeof p->message, "unknown option '%s'", name);
}

/* Which option getopt's answer means; the number of options: none. */
static size_t find(const struct nb_cli_opt *options, int value)
{
    size_t i = 0;

    if (value >= 256)
        return (size_t)(value - 256) / 4;
    while (i < count(options) && nth(options, i)->letter != value)
        i++;
    return i;
}

/* Which long names begin with what was typed. */
static bool ambiguous(const struct getopt_tables *t, const char *typed)
{
    size_t n = 0, len = strcspn(typed, "=");

    for (size_t i = 0; t->longs[i].name != NULL; i++)
        n += strncmp(t->longs[i].name, typed, len) == 0;
    return n > 1 && len > 0;
}

static void complain(struct nb_cli_parsed *p, const struct getopt_tables *t,
                     const struct nb_cli_opt *options, int code, const char *typed)
{
    const size_t at = optopt != 0 ? find(options, optopt) : count(options);
    const struct nb_cli_opt *o = at < count(options) ? nth(options, at) : NULL;

    if (code == ':' && o != NULL)
        snprintf(p->message, sizeof p->message, "option '--%s' needs an argument: %s", o->name,
                 o->arg);
    else if (o != NULL && optopt >= 256)
        snprintf(p->message, sizeof p->message, "option '--%s' takes no argument", o->name);
    else if (optopt != 0)
        snprintf(p->message, sizeof p->message, "unknown option '-%c'", optopt);
    else if (strncmp(typed, "--", 2) == 0 && ambiguous(t, typed + 2))
        snprintf(p->message, sizeof p->message, "option '%s' is ambiguous", typed);
    else
        unknown_option(p, t, typed);
}

/* One answer of getopt_long. False: p->message says why. */
static bool take(struct nb_cli_parsed *p, void *args, const struct nb_cli_opt *options, int code)
{
    const size_t at = find(options, code);
    const struct nb_cli_opt *o = nth(options, at);

    p->given[at] = true;

    if (o->type == NB_CLI_BRIEF) {
        p->want_brief = 1;
    } else if (o->type == NB_CLI_HELP) {
        p->want_help = 1;
    } else if (!store(o, args, optarg, code < 256 || (code & 3) != 1)) {
        snprintf(p->message, sizeof p->message, "option '--%s': '%.80s' is not %s", o->name, optarg,
                 expected(o->type));
        return false;
    }
    return true;
}

int nb_cli_parse(struct nb_cli_parsed *parsed, void *args, const struct nb_cli_opt *options,
                 int argc, char **argv)
{
    struct getopt_tables t = {0};
    int rc = -1, code;

    memset(parsed, 0, sizeof *parsed);
    set_defaults(args, options);
    if (count(options) > NB_CLI_MAX_OPTIONS || build_tables(&t, options) != 0) {
        snprintf(parsed->message, sizeof parsed->message, "out of memory");
        goto done;
    }
    opterr = 0;
    optind = 1;
    while ((code = getopt_long(argc, argv, t.shorts, t.longs, NULL)) != -1) {
        if (code == '?' || code == ':') {
            complain(parsed, &t, options, code, argv[optind - 1]);
            goto done;
        }
        if (!take(parsed, args, options, code))
            goto done;
    }
    parsed->n = argc - optind;
    parsed->positional = argv + optind;
    rc = 0;
done:
    free(t.longs);
    free(t.shorts);
    free(t.negated);
    return rc;
}

void nb_cli_parse_free(void *args, const struct nb_cli_opt *options)
{
    for (size_t i = 0; i < count(options); i++)
        if (nth(options, i)->type == NB_CLI_LIST) {
            void *target = (char *)args + nth(options, i)->offset;
            struct nb_cli_list *list = target;
            free(list->items);
            list->items = NULL;
            list->n = 0;
        }
}
