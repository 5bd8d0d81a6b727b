/* bench/encoders.c: every encoder on real weights: how fast, and how near, beside ggml's recipe.
 *
 *     bench-encoders MODEL [--importance FILE] [--format NAME]... [--weights N]
 *
 * MODEL: a folder with safetensors, or a GGUF file of floats. Rows spread over every matrix, N weights of each
 * (default 65536; 0: all), are encoded on one thread by every format of the registry that has an
 * encoder and fits the rows, without importance and with it: of FILE (llama.cpp's imatrix), or else
 * synthetic, spread evenly over two decades, always the same. Speed is in CPU time of the encoder alone, so
 * that a busy machine lies less. Errors are weighted squares relative to the signal; ratios are ours to
 * that of the recipe in tests/unit/numfmt/ggml_recipes.h, where there is one.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "calib/calib.h"
#include "dialect/dialect.h"
#include "unit/numfmt/ggml_recipes.h"

enum { MAX_FORMATS = 32 };

struct options {
    const char *model, *importance;
    const char *format[MAX_FORMATS];
    size_t n_formats;
    size_t weights;
};

/* The rows of one matrix that are measured. */
struct sample {
    float *x, *y, *w; /* (n); w: weight of each error */
    uint8_t *raw;     /* (n) values as floats at most */
    size_t n, cols, cap;
};

/* What one format did on all matrices. */
struct score {
    size_t tensors, compared;
    double seconds, weights;
    double error;     /* sum of relative errors */
    double log_ratio; /* sum over those compared */
    double worst;
};

static void fail(const char *what)
{
    fprintf(stderr, "bench-encoders: %s\n", what);
    exit(1);
}

static void *memory(size_t n)
{
    void *p = malloc(n);
    if (p == NULL)
        fail("out of memory");
    return p;
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double squares(const float *x, const float *y, const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double e = (double)x[i] - (y != NULL ? (double)y[i] : 0.0);
        sum += (w != NULL ? (double)w[i] : 1.0) * e * e;
    }
    return sum;
}

/* ---- data ---- */

static void reserve(struct sample *s, size_t n)
{
    if (n <= s->cap)
        return;
    free(s->x);
    free(s->y);
    free(s->w);
    free(s->raw);
    s->cap = n;
    s->x = memory(n * sizeof *s->x);
    s->y = memory(n * sizeof *s->y);
    s->w = memory(n * sizeof *s->w);
    s->raw = memory(n * sizeof *s->x);
}

/* Importance of the columns of weight i, then of each element. */
static void read_importance(struct sample *s, const struct nb_weight *weight,
                            const struct nb_calib *calib)
{
    const struct nb_moment *m = calib != NULL ? nb_calib_find(calib, weight->spec.name) : NULL;
    struct nb_error err;
    if (m != NULL && nb_moment_check(m, &weight->t.shape, &err) == NB_OK) {
        nb_moment_means(m, 0, s->cols, s->w);
    } else {
        struct nb_rng rng = {.seed = 1};
        for (size_t j = 0; j < s->cols; j++)
            s->w[j] = (float)pow(100.0, nb_rng_unit(&rng));
    }
    for (size_t i = s->cols; i < s->n; i++)
        s->w[i] = s->w[i - s->cols];
}

/* False: no matrix. */
static bool read_sample(struct sample *s, const struct nb_model *m, size_t i,
                        const struct nb_calib *calib, size_t weights)
{
    const struct nb_weight *weight = &m->w.items[i];
    const uint64_t rows = nb_shape_rows(&weight->t.shape);
    if (!weight->spec.quantizable || weight->t.shape.n != 2 || rows == 0)
        return false;
    s->cols = (size_t)nb_shape_cols(&weight->t.shape);
    const uint64_t wanted = weights == 0 ? rows : NB_MAX(weights / s->cols, 1);
    const uint64_t taken = NB_MIN(wanted, rows);
    s->n = (size_t)taken * s->cols;
    reserve(s, s->n);
    for (uint64_t r = 0; r < taken; r++)
        nb_model_read_rows(m, i, r * rows / taken, 1, s->x + r * s->cols);
    read_importance(s, weight, calib);
    return true;
}

/* ---- measuring ---- */

/* w: NULL, or (s->n) importance. */
static void measure(struct score *score, const struct nb_numfmt *f, struct sample *s,
                    const float *w)
{
    const struct recipe *r = recipe_of(f);
    struct nb_error err;
    const double begin = cpu_seconds();
    const enum nb_status st = nb_numfmt_encode(f, s->raw, s->x, w, s->n, &err);
    score->seconds += cpu_seconds() - begin;
    if (st != NB_OK)
        fail(err.message);
    nb_numfmt_decode(f, s->raw, s->y, s->n);
    const double ours = squares(s->x, s->y, w, s->n);
    score->tensors++;
    score->weights += (double)s->n;
    score->error += ours / squares(s->x, NULL, w, s->n);
    if (r == NULL)
        return;
    const size_t row = s->cols / f->block * f->block_bytes;
    for (size_t at = 0; at < s->n; at += s->cols)
        r->fn(s->raw + at / s->cols * row, s->x + at, w != NULL ? w + at : NULL, s->cols);
    nb_numfmt_decode(f, s->raw, s->y, s->n);
    const double ratio = ours / squares(s->x, s->y, w, s->n);
    score->compared++;
    score->log_ratio += log(ratio);
    score->worst = ratio > score->worst ? ratio : score->worst;
}

static void print_score(const struct nb_numfmt *f, const struct score *s, bool weighted)
{
    if (s->tensors == 0) {
        printf("%-9s fits no matrix\n", f->name);
        return;
    }
    printf("%-9s %-10s %9.1f %8zu %12.4e", f->name, weighted ? "importance" : "none",
           s->weights / s->seconds * 1e-6, s->tensors, s->error / (double)s->tensors);
    if (s->compared > 0)
        printf(" %8.4f %8.4f", s->worst, exp(s->log_ratio / (double)s->compared));
    printf("\n");
    fflush(stdout);
}

static bool wanted(const struct options *o, const struct nb_numfmt *f)
{
    if (f->kind != NB_NUMFMT_BLOCK)
        return false;
    for (size_t i = 0; i < o->n_formats; i++)
        if (nb_numfmt_find(o->format[i]) == f)
            return true;
    return o->n_formats == 0;
}

static void run_format(const struct options *o, const struct nb_numfmt *f, const struct nb_model *m,
                       const struct nb_calib *calib, struct sample *s)
{
    struct score score[2] = {{0}};
    for (size_t i = 0; i < m->w.n; i++) {
        if (!read_sample(s, m, i, calib, o->weights) || s->cols % f->block != 0)
            continue;
        measure(&score[0], f, s, NULL);
        measure(&score[1], f, s, s->w);
    }
    print_score(f, &score[0], false);
    if (score[1].tensors > 0)
        print_score(f, &score[1], true);
}

static void read_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){.weights = 65536};
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--importance") == 0 && more)
            o->importance = argv[++i];
        else if (strcmp(argv[i], "--format") == 0 && more && o->n_formats < MAX_FORMATS)
            o->format[o->n_formats++] = argv[++i];
        else if (strcmp(argv[i], "--weights") == 0 && more)
            o->weights = strtoull(argv[++i], NULL, 10);
        else if (argv[i][0] != '-' && o->model == NULL)
            o->model = argv[i];
        else
            fail("MODEL [--importance FILE] [--format NAME]... [--weights N]");
    }
    if (o->model == NULL)
        fail("which model?");
    for (size_t i = 0; i < o->n_formats; i++)
        if (nb_numfmt_find(o->format[i]) == NULL)
            fail("no such format: nibble list formats");
}

int main(int argc, char **argv)
{
    struct options o;
    struct nb_error err;
    struct nb_model *model = NULL;
    struct nb_calib *calib = NULL;
    struct sample sample = {0};
    size_t n;
    const struct nb_numfmt *const *all = nb_numfmt_all(&n);
    read_options(&o, argc, argv);
    if (nb_model_open(&model, o.model, NULL, NULL, &err) != NB_OK)
        fail(err.message);
    if (o.importance != NULL && nb_calib_read(&calib, o.importance, NULL, &err) != NB_OK)
        fail(err.message);
    printf("one thread, %s\n", nb_isa_name(nb_isa_used()));
    printf("%-9s %-10s %9s %8s %12s %8s %8s\n", "format", "weights", "M w/s", "matrices", "error",
           "worst", "mean");
    for (size_t k = 0; k < n; k++)
        if (wanted(&o, all[k]))
            run_format(&o, all[k], model, calib, &sample);
    nb_calib_destroy(calib);
    nb_model_close(model);
    free(sample.x);
    free(sample.y);
    free(sample.w);
    free(sample.raw);
    return 0;
}
