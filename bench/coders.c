/* bench/coders.c: what error feedback pays for a format: the coder's fit, refit and round.
 *
 *     bench-coders [FORMAT]...
 *
 * All formats that blocks have, and some general grids, if none is named. Gaussian values and weights
 * over two decades, always the same; nanoseconds of CPU time per weight, one thread.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/rng.h"
#include "numfmt/coder.h"

enum { COLS = 4096 };

static float x[COLS], w[COLS], y[COLS];
static int16_t codes[COLS];

/* One tensor of a row. Borrows: c, g. */
struct one {
    struct nb_coder *c;
    struct nb_grid *g;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fit_row(const struct one *o)
{
    nb_coder_row(o->c, 0, x, w);
    for (size_t b = 0; b < o->c->n_blocks; b++)
        nb_coder_fit(o->c, 0, b, &o->g[b], x + b * o->c->block, w + b * o->c->block);
}

static void refit_row(const struct one *o)
{
    for (size_t at = 0; at + o->c->sub <= o->c->cols; at += o->c->sub)
        nb_coder_refit(o->c, &o->g[at / o->c->block], (uint32_t)(at % o->c->block) / o->c->sub,
                       x + at, w + at);
}

static void round_row(const struct one *o)
{
    for (size_t at = 0; at < o->c->cols; at += o->c->dim)
        nb_coder_round(o->c, &o->g[at / o->c->block], (uint32_t)(at % o->c->block), x + at, w + at,
                       codes + at, y + at);
}

/* Nanoseconds a weight: the fastest of runs that take a fifth of a second together. */
static double time_of(void (*work)(const struct one *), const struct one *o)
{
    const double start = cpu_seconds();
    double best = INFINITY;
    for (double t = start; t - start < 0.2;) {
        work(o);
        const double now = cpu_seconds();
        best = fmin(best, now - t);
        t = now;
    }
    return best * 1e9 / (double)o->c->cols;
}

static void measure(const struct nb_numfmt *f)
{
    static uint8_t side[1U << 20];
    struct nb_error err;
    struct one o;
    const uint32_t dim = f->kind == NB_NUMFMT_GRID ? f->grid->elem->dim : 1;
    const struct nb_shape shape = nb_shape_2(1, COLS / dim * dim);
    struct nb_grid_training *t;
    if (nb_grid_needs_training(f)) {
        if (nb_grid_side_bytes(f, &shape) > sizeof side ||
            nb_grid_training_create(&t, f, &shape, NULL, nb_allocator_default(), &err) != NB_OK ||
            nb_grid_train(t, x, w, 1, &err) != NB_OK ||
            nb_grid_training_finish(t, side, NULL, &err) != NB_OK)
            exit(1);
        nb_grid_training_destroy(t);
    }
    const struct nb_coder_spec spec = {
        .type = f, .shape = &shape, .side = side, .a = nb_allocator_default()};
    if (nb_coder_create(&o.c, &spec, &err) != NB_OK) {
        fprintf(stderr, "bench-coders: %s\n", err.message);
        exit(1);
    }
    o.g = nb_coder_grids_create(o.c, 1);
    if (o.g == NULL)
        exit(1);
    const double fit = time_of(fit_row, &o), refit = time_of(refit_row, &o);
    printf("%-16s %8.1f %8.1f %8.1f\n", f->name, fit, refit, time_of(round_row, &o));
    nb_coder_grids_destroy(o.c, o.g);
    nb_coder_destroy(o.c);
}

int main(int argc, char **argv)
{
    static const char *const some[] = {"int4_g128", "int4_g128_asym", "int4_g128_fz", "int4_c",
                                       "nf4_g64",   "mxfp4_e2m1",     "cb4_g128",     "vq2_k256_c"};
    struct nb_rng rng = {.seed = 1};
    size_t n;
    const struct nb_numfmt *const *all = nb_numfmt_all(&n);
    for (size_t i = 0; i < COLS; i++) {
        x[i] = 0.03F * (float)nb_rng_normal(&rng);
        w[i] = (float)exp(0.7 * nb_rng_normal(&rng));
    }
    printf("%-16s %8s %8s %8s   ns a weight\n", "format", "fit", "refit", "round");
    for (int i = 1; i < argc; i++) {
        const struct nb_numfmt *f = nb_numfmt_find(argv[i]);
        if (f == NULL) {
            fprintf(stderr, "bench-coders: no format %s\n", argv[i]);
            return 2;
        }
        measure(f);
    }
    for (size_t i = 0; argc < 2 && i < n; i++)
        if (all[i]->kind == NB_NUMFMT_BLOCK)
            measure(all[i]);
    for (size_t i = 0; argc < 2 && i < NB_COUNTOF(some); i++)
        measure(nb_numfmt_find(some[i]));
    return 0;
}
