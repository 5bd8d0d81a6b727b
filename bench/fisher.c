/* bench/fisher.c: what the sampled Fisher matrix costs, and how large it is where.
 *
 *   bench-fisher MODEL TOKENS [THREADS] [CTX] [CHUNKS]
 *
 * TOKENS: a file of little-endian u32. Times diagonals and norms alone, then whole matrices; prints a block's
 * mean squares of the gradient at the outputs of its layers.
 */
#include "base/pool.h"
#include "base/sys.h"
#include "calib/fisher.h"
#include "dialect/dialect.h"

#include <stdio.h>
#include <stdlib.h>

static void check(enum nb_status st, const struct nb_error *err)
{
    if (st == NB_OK)
        return;
    fprintf(stderr, "bench-fisher: %s\n", err->message);
    exit(1);
}

static uint32_t number(int argc, char **argv, int i, uint32_t otherwise)
{
    return argc > i ? (uint32_t)strtoul(argv[i], NULL, 10) : otherwise;
}

static struct nb_fisher *collect(const struct nb_fisher_job *job)
{
    struct nb_error err;
    struct nb_fisher *f;
    const uint64_t start = nb_clock_ns();
    check(nb_fisher_collect(&f, job, NULL, &err), &err);
    printf("%s: %zu windows of %zu tokens in %.1f s\n",
           job->what & NB_FISHER_FULL ? "matrices" : "diagonals and norms", f->windows, f->ctx,
           (double)(nb_clock_ns() - start) * 1e-9);
    return f;
}

int main(int argc, char **argv)
{
    static uint32_t tokens[1 << 22];
    struct nb_error err;
    struct nb_model *m;
    FILE *in = argc > 2 ? fopen(argv[2], "rb") : NULL;
    if (!in)
        return 2;
    struct nb_fisher_job job = {.tokens = tokens, .bos = -1, .what = NB_FISHER_NORMS};
    job.n_tokens = fread(tokens, sizeof *tokens, sizeof tokens / sizeof *tokens, in);
    (void)fclose(in);
    job.ctx = number(argc, argv, 4, 512);
    job.chunks = number(argc, argv, 5, 4);
    check(nb_pool_create(&job.pool, number(argc, argv, 3, 1), NULL, &err), &err);
    check(nb_model_open(&m, argv[1], NULL, NULL, &err), &err);
    job.w = &m->w;
    nb_fisher_destroy(collect(&job));
    job.what = NB_FISHER_FULL;
    struct nb_fisher *f = collect(&job);
    for (size_t i = 0; i < f->n; i++) {
        double trace = 0.0;
        for (size_t j = 0; j < f->layers[i].n; j++)
            trace += f->layers[i].diag[j];
        printf("%-28s %.3e\n", f->layers[i].weight,
               trace / f->layers[i].tokens / (double)f->layers[i].n);
    }
    nb_fisher_destroy(f);
    nb_model_close(m);
    nb_pool_destroy(job.pool);
    return 0;
}
