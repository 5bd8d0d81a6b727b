/* quant/mismatch.c: weights that make up for an input that is no longer the float model's.
 *
 * A layer behind rounded ones sees X where the float model had X + dX. Its output is to be W (X + dX), so what
 * Q X should come near to is not W X: |Q X - W (X + dX)|^2 = |(Q - W') X|^2 + const with
 *
 *     W' = W + W dX X^T (X X^T)^-1,
 *
 * the least-squares answer before any rounding. GPTAQ (Li et al. 2025, arXiv 2504.02692) passes the same
 * quantity on column by column, P = triu(dX X^T U^T, 1) U, which leaves out what falls on columns already
 * rounded; here all of it moves the targets first, so that every step after (late scales, polish) knows it.
 */
#include "quant/algo_internal.h"

#include "math/linalg.h"

enum { ROWS = 32 };

/* Owns: nothing. */
struct work {
    const struct nb_prepared *p;
    const float *u, *ut; /* (n, n) by place: U, U^T */
    float *c, *y;        /* (threads, ROWS, n) */
};

/* Rows of -alpha C H^-1 = (-alpha C U^T) U, C = dX X^T per token, columns by place in between. */
static void correct_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *k = ctx;
    const struct nb_prepared *p = k->p;
    const size_t n = p->n, rows = end - begin;
    const double factor = p->params.mismatch / p->job.tokens;
    float *c = k->c + worker * ROWS * n, *y = k->y + worker * ROWS * n;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++) {
            c[r * n + j] = (float)(factor * p->job.mismatch[(begin + r) * n + p->order[j]]);
            y[r * n + j] = 0.0F;
        }
    nb_gemm_sub_f32(y, n, c, n, k->ut, n, rows, n, n);
    for (size_t i = 0; i < rows * n; i++) {
        c[i] = 0.0F;
        y[i] = -y[i];
    }
    nb_gemm_sub_f32(c, n, y, n, k->u, n, rows, n, n);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++)
            p->correction[(begin + r) * n + p->order[j]] = c[r * n + j];
}

static void fill_factors(float *u, float *ut, const double *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            const float v = j >= i ? (float)from[i * n + j] : 0.0F;
            u[i * n + j] = v;
            ut[j * n + i] = v;
        }
}

enum nb_status nb_algo_correct(struct nb_prepared *p, const double *u, struct nb_error *err)
{
    const struct nb_allocator *a = p->job.a;
    const size_t n = p->n, threads = nb_pool_threads(p->job.pool);
    if (p->job.mismatch == NULL || !(p->params.mismatch > 0.0))
        return NB_OK;
    float *uf = nb_alloc(a, n * n, sizeof *uf), *ut = nb_alloc(a, n * n, sizeof *ut);
    float *rows = nb_alloc(a, threads * n, 2 * ROWS * sizeof *rows);
    p->correction = nb_alloc(a, n * n, sizeof *p->correction);
    const bool ok = uf != NULL && ut != NULL && rows != NULL && p->correction != NULL;
    if (ok) {
        struct work k = {p, uf, ut, rows, rows + threads * ROWS * n};
        fill_factors(uf, ut, u, n);
        nb_pool_for(p->job.pool, n, ROWS, correct_rows, &k);
    }
    nb_free(a, uf);
    nb_free(a, ut);
    nb_free(a, rows);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the input's mismatch of %zu columns", n);
    return NB_OK;
}
