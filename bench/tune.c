/* bench/tune.c: what tuning norms and biases gains.
 *
 *   bench-tune FLOAT-MODEL QUANTIZED-MODEL TOKENS [THREADS] [CTX] [CHUNKS] [EPOCHS] [BATCH] [RATE]
 *
 * TOKENS: a file of little-endian u32. Prints KL over the windows held out before and after.
 */
#include "base/file.h"
#include "base/pool.h"
#include "base/sys.h"
#include "dialect/dialect.h"
#include "train/tune.h"

#include <stdio.h>
#include <stdlib.h>

static void check(enum nb_status st, const struct nb_error *err)
{
    if (st == NB_OK)
        return;
    fprintf(stderr, "bench-tune: %s\n", err->message);
    exit(1);
}

static uint32_t number(int argc, char **argv, int i, uint32_t otherwise)
{
    return argc > i ? (uint32_t)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    static uint32_t tokens[1 << 22];
    struct nb_error err;
    struct nb_model *f, *q;
    struct nb_tune *t;
    FILE *in = argc > 3 ? fopen(argv[3], "rb") : NULL;
    if (!in)
        return 2;
    struct nb_tune_job job = {.tokens = tokens, .bos = -1};
    job.n_tokens = fread(tokens, sizeof *tokens, sizeof tokens / sizeof *tokens, in);
    (void)fclose(in);
    job.ctx = number(argc, argv, 5, 512);
    job.chunks = number(argc, argv, 6, 0);
    job.epochs = number(argc, argv, 7, 0);
    job.batch = number(argc, argv, 8, 0);
    job.rate = argc > 9 ? strtod(argv[9], NULL) : 0.0;
    check(nb_pool_create(&job.pool, number(argc, argv, 4, 1), NULL, &err), &err);
    check(nb_model_open(&f, argv[1], NULL, NULL, &err), &err);
    check(nb_model_open(&q, argv[2], NULL, NULL, &err), &err);
    job.teacher = &f->w;
    job.student = &q->w;
    const uint64_t start = nb_clock_ns();
    check(nb_tune_run(&t, &job, NULL, &err), &err);
    printf("held-out KL %.6f -> %.6f (%+.1f %%), %zu vectors, %u steps, step %u kept, %.1f s\n",
           t->kl_before, t->kl_after, 100.0 * (t->kl_after / t->kl_before - 1.0), t->n, t->steps,
           t->kept_step, (double)(nb_clock_ns() - start) * 1e-9);
    nb_tune_destroy(t);
    nb_model_close(f);
    nb_model_close(q);
    nb_pool_destroy(job.pool);
    return 0;
}
