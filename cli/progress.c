/* cli/progress.c: one line on stderr, redrawn six times a second, only on a terminal unless
 * --progress asks for it: percent, rate, time left, and what is being worked on. */
#include "cli.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

double nb_cli_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void nb_cli_progress_init(struct nb_cli_progress *p, const struct nb_cli_common *common)
{
    *p = (struct nb_cli_progress){0};
    p->enabled = common->progress >= 0 ? common->progress : isatty(2) && !common->quiet;
}

void nb_cli_progress_clear(struct nb_cli_progress *p)
{
    if (p->shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->shown = 0;
    }
}

static struct nb_cli_text rate_text(double rate, const char *unit)
{
    struct nb_cli_text t;

    if (strcmp(unit, "bytes") == 0)
        snprintf(t.s, sizeof t.s, "%.10s/s", nb_cli_bytes((uint64_t)rate).s);
    else if (strcmp(unit, "tokens") == 0)
        snprintf(t.s, sizeof t.s, "%.0f tok/s", rate);
    else
        snprintf(t.s, sizeof t.s, "%.1f %.16s/s", rate, unit);
    return t;
}

static void draw(struct nb_cli_progress *p, const char *what, uint64_t done, const char *unit,
                 double now)
{
    double share = (double)done / (double)p->total;
    double rate = (double)(done - p->first) / (now - p->start);
    int bar = (int)(24.0 * share);

    fprintf(stderr, "\r%3d %% %.*s%.*s", (int)(100.0 * share), bar, "########################",
            24 - bar, "------------------------");
    if (rate > 0)
        fprintf(stderr, "  %s  %s left", rate_text(rate, unit).s,
                nb_cli_time((double)(p->total - done) / rate).s);
    if (what != NULL && *what != '\0') {
        fputs("  ", stderr);
        nb_cli_puts_safe(stderr, what, strnlen(what, 32));
    }
    fputs("\033[K", stderr);
    fflush(stderr);
    p->shown = 1;
}

int nb_cli_progress_fn(void *progress, const char *what, uint64_t done, uint64_t total,
                       const char *unit)
{
    struct nb_cli_progress *p = progress;

    if (p->enabled) {
        double now = nb_cli_seconds();
        if (total != p->total || done < p->previous || p->start <= 0) { /* a new piece of work */
            p->start = now;
            p->first = done;
            p->total = total;
        }
        p->previous = done;
        if (total > 0 && done <= total && now - p->last >= 1.0 / 6 && now - p->start > 0.2) {
            p->last = now;
            draw(p, what, done, unit, now);
        }
    }
    return nb_cli_cancelled();
}
