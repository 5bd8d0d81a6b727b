/* bench/layer.c: what every algorithm does to a synthetic layer with correlated inputs, and how fast.
 *
 *     bench-layer [--rows N] [--cols N] [--tokens N] [--alpha A] [--sigma S] [--threads N] [--seed N]
 *                 [--damp X] [--polish-damp X] [--polish N] [--weigh N] [--fit N] [--order N] [--held]
 *                 [FORMAT... [: ALGORITHM...]]
 *
 * Inputs are Gaussian with covariance D R L R^T D: eigenvalues i^-alpha, a random R, log-normal channel scales of
 * spread sigma; weights are Gaussian. Algorithms see second moments of --tokens inputs (and, with --held, of
 * an eighth as many others); losses are on the true covariance, in dB against rounding to nearest weighted by
 * the measured diagonal.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "math/linalg.h"
#include "numfmt/coder.h"
#include "quant/algo.h"

struct options {
    size_t rows, cols, tokens;
    double alpha, sigma, damp, polish_damp;
    int polish, weigh, fit, order, held;
    unsigned threads;
    uint64_t seed;
};

struct layer {
    size_t n, rows;
    double *truth, *h, *held; /* (n, n) */
    double tokens, held_tokens;
    float *w, *q; /* (rows, n) */
    struct nb_pool *pool;
};

static void fail(const char *what)
{
    fprintf(stderr, "bench-layer: %s\n", what);
    exit(1);
}

static void check(enum nb_status st, const struct nb_error *err)
{
    if (st != NB_OK)
        fail(err->message);
}

static void *memory(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL)
        fail("out of memory");
    return p;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- data ---- */

/* Orthonormal rows. */
static void random_rotation(float *r, size_t n, struct nb_rng *rng)
{
    const struct nb_kernels *k = nb_kernels_get();
    for (size_t i = 0; i < n; i++) {
        float *row = r + i * n;
        for (size_t j = 0; j < n; j++)
            row[j] = (float)nb_rng_normal(rng);
        for (int pass = 0; pass < 2; pass++)
            for (size_t j = 0; j < i; j++)
                k->axpy_f32_f32(row, -k->dot_f32_f32(row, r + j * n, n), r + j * n, n);
        const float length = sqrtf(k->dot_f32_f32(row, row, n));
        for (size_t j = 0; j < n; j++)
            row[j] /= length;
    }
}

/* b (n, n): inputs are z b with z normal. */
static void sample(const struct layer *l, const float *b, double *h, size_t tokens,
                   struct nb_rng *rng)
{
    enum { BATCH = 512 };
    struct nb_error err;
    const struct nb_outer_options options = {.n = l->n, .n_tokens = tokens, .pool = l->pool};
    float *z = memory(BATCH * l->n, sizeof *z), *x = memory(BATCH * l->n, sizeof *x);
    struct nb_outer *o;
    check(nb_outer_create(&o, &options, NULL, &err), &err);
    nb_outer_begin(o, h, false, NULL);
    for (size_t at = 0; at < tokens; at += BATCH) {
        const size_t n = NB_MIN(BATCH, tokens - at);
        for (size_t i = 0; i < n * l->n; i++)
            z[i] = (float)nb_rng_normal(rng);
        memset(x, 0, n * l->n * sizeof *x);
        nb_gemm_sub_f32(x, l->n, z, l->n, b, l->n, n, l->n, l->n);
        const struct nb_outer_tokens t = {.x = x, .x_stride = l->n, .n_tokens = n};
        nb_outer_add(o, &t);
    }
    nb_outer_end(o);
    nb_outer_destroy(o);
    free(z);
    free(x);
}

static void make(struct layer *l, const struct options *o)
{
    struct nb_rng rng = {.seed = o->seed};
    const size_t n = o->cols;
    float *b = memory(n * n, sizeof *b), *scale = memory(n, sizeof *scale);
    l->n = n;
    l->rows = o->rows;
    l->truth = memory(n * n, sizeof(double));
    l->h = memory(n * n, sizeof(double));
    l->w = memory(l->rows * n, sizeof(float));
    l->q = memory(l->rows * n, sizeof(float));
    random_rotation(b, n, &rng);
    for (size_t j = 0; j < n; j++)
        scale[j] = (float)exp(o->sigma * nb_rng_normal(&rng));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            b[i * n + j] *= (float)sqrt(pow((double)i + 1.0, -o->alpha) + 1e-4) * scale[j];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t k = j; k < n; k++)
                l->truth[j * n + k] += (double)b[i * n + j] * (double)b[i * n + k];
    l->tokens = (double)o->tokens;
    sample(l, b, l->h, o->tokens, &rng);
    if (o->held) {
        l->held = memory(n * n, sizeof(double));
        l->held_tokens = (double)(o->tokens / 8);
        sample(l, b, l->held, o->tokens / 8, &rng);
    }
    for (size_t i = 0; i < l->rows * n; i++)
        l->w[i] = (float)nb_rng_normal(&rng);
    free(b);
    free(scale);
}

/* ---- work ---- */

static double true_loss(const struct layer *l)
{
    struct nb_error err;
    double total;
    for (size_t i = 0; i < l->rows * l->n; i++)
        l->q[i] = l->w[i] - l->q[i];
    const struct nb_sym_product p = {l->truth, l->n, l->q, l->n, l->rows, false};
    check(nb_quad_form(&total, NULL, &p, l->pool, NULL, &err), &err);
    return total;
}

struct result {
    double loss, prepare, rows; /* seconds */
    struct nb_algo_sums sums;
};

/* False: not for this format. */
static bool run(const struct layer *l, const struct options *o, const struct nb_algo *algo,
                const struct nb_numfmt *type, struct result *out)
{
    struct nb_error err;
    const uint64_t dims[] = {l->rows, l->n};
    struct nb_shape shape = {.n = 2, .dim = {dims[0], dims[1]}};
    struct nb_scale_options how = {.method = NB_SCALE_MSE};
    if (algo->scale_search != NULL && !nb_scale_options_parse(&how, algo->scale_search))
        fail("scale search");
    const struct nb_coder_spec spec = {.type = type, .shape = &shape, .how = &how};
    struct nb_coder *coder;
    if (nb_coder_create(&coder, &spec, &err) != NB_OK)
        return false;
    struct nb_algo_params params = *algo->params;
    params.damp = o->damp >= 0.0 ? o->damp : params.damp;
    params.polish_damp = o->polish_damp >= 0.0 ? o->polish_damp : params.polish_damp;
    params.polish = o->polish >= 0 && params.polish > 0 ? (uint32_t)o->polish : params.polish;
    if (params.feedback && algo->scale_search == NULL) {
        params.weigh = o->weigh >= 0 ? (enum nb_algo_weigh)o->weigh : params.weigh;
        params.fit = o->fit >= 0 ? (enum nb_algo_fit)o->fit : params.fit;
        params.order = o->order >= 0 ? (enum nb_algo_order)o->order : params.order;
    }
    params.no_baseline = true;
    const struct nb_algo_job job = {.n = l->n,
                                    .h = l->h,
                                    .tokens = l->tokens,
                                    .held = l->held,
                                    .held_tokens = l->held_tokens,
                                    .layout = nb_algo_layout(coder),
                                    .params = &params,
                                    .pool = l->pool};
    const bool ok = nb_algo_supports(algo, coder);
    nb_coder_destroy(coder);
    if (!ok)
        return false;
    struct nb_prepared *p;
    const double t0 = seconds();
    check(nb_prepared_create(&p, algo, &job, &err), &err);
    const double t1 = seconds();
    *out = (struct result){.prepare = t1 - t0};
    struct nb_rows rows = {.spec = &spec, .n_rows = l->rows, .w = l->w, .decoded = l->q};
    check(nb_algo_rows(p, &rows, &err), &err);
    out->rows = seconds() - t1;
    rows.sums = &out->sums;
    nb_prepared_destroy(p);
    out->loss = true_loss(l);
    return true;
}

static void report(const struct layer *l, const struct options *o, const char *name, char **algos,
                   int n_algos)
{
    const struct nb_numfmt *type = nb_numfmt_find(name);
    struct result rtn, r;
    size_t n;
    const struct nb_algo *const *all = nb_algo_all(&n);
    if (type == NULL || !run(l, o, nb_algo_find("rtn"), type, &rtn)) {
        printf("%-12s none\n", name);
        return;
    }
    const double weights = (double)(l->rows * l->n);
    for (size_t i = 0; i < n; i++) {
        bool wanted = n_algos == 0;
        for (int k = 0; k < n_algos; k++)
            wanted = wanted || strcmp(algos[k], all[i]->name) == 0;
        if (!wanted || !run(l, o, all[i], type, &r))
            continue;
        printf("%-12s %-8s %+7.2f dB  %6.0f ns/weight  prepare %.3f s\n", name, all[i]->name,
               10.0 * log10(r.loss / rtn.loss), 1e9 * r.rows / weights, r.prepare);
        fflush(stdout);
    }
}

static double value(char **argv, int argc, int *i)
{
    if (*i + 1 >= argc)
        fail("an option lacks its value");
    return strtod(argv[++*i], NULL);
}

static bool parse(struct options *o, char **argv, int argc, int *i)
{
    const char *a = argv[*i];
    if (strcmp(a, "--held") == 0)
        o->held = 1;
    else if (strcmp(a, "--rows") == 0)
        o->rows = (size_t)value(argv, argc, i);
    else if (strcmp(a, "--cols") == 0)
        o->cols = (size_t)value(argv, argc, i);
    else if (strcmp(a, "--tokens") == 0)
        o->tokens = (size_t)value(argv, argc, i);
    else if (strcmp(a, "--alpha") == 0)
        o->alpha = value(argv, argc, i);
    else if (strcmp(a, "--sigma") == 0)
        o->sigma = value(argv, argc, i);
    else if (strcmp(a, "--threads") == 0)
        o->threads = (unsigned)value(argv, argc, i);
    else if (strcmp(a, "--seed") == 0)
        o->seed = (uint64_t)value(argv, argc, i);
    else if (strcmp(a, "--damp") == 0)
        o->damp = value(argv, argc, i);
    else if (strcmp(a, "--polish-damp") == 0)
        o->polish_damp = value(argv, argc, i);
    else if (strcmp(a, "--polish") == 0)
        o->polish = (int)value(argv, argc, i);
    else if (strcmp(a, "--weigh") == 0)
        o->weigh = (int)value(argv, argc, i);
    else if (strcmp(a, "--fit") == 0)
        o->fit = (int)value(argv, argc, i);
    else if (strcmp(a, "--order") == 0)
        o->order = (int)value(argv, argc, i);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"q6_k",      "q5_k",   "q4_k",  "q3_k",   "q2_k",
                                        "q4_0",      "iq4_xs", "iq3_s", "iq2_xs", "int4_g128",
                                        "int3_g128", "nvfp4",  "mxfp4"};
    struct options o = {.rows = 96,
                        .cols = 1024,
                        .tokens = 8192,
                        .alpha = 1.0,
                        .sigma = 0.5,
                        .damp = -1.0,
                        .polish_damp = -1.0,
                        .polish = -1,
                        .weigh = -1,
                        .fit = -1,
                        .order = -1,
                        .threads = 1,
                        .seed = 1};
    struct layer l = {0};
    struct nb_error err;
    int i = 1;
    while (i < argc && parse(&o, argv, argc, &i))
        i++;
    int end = i;
    while (end < argc && strcmp(argv[end], ":") != 0)
        end++;
    char **algos = end < argc ? argv + end + 1 : NULL;
    const int n_algos = end < argc ? argc - end - 1 : 0;
    check(nb_pool_create(&l.pool, o.threads, NULL, &err), &err);
    make(&l, &o);
    for (int k = i; k < end; k++)
        report(&l, &o, argv[k], algos, n_algos);
    for (size_t k = 0; k < NB_COUNTOF(usual) && i == end; k++)
        report(&l, &o, usual[k], algos, n_algos);
    nb_pool_destroy(l.pool);
    return 0;
}
