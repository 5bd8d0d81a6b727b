/* quant/prepare.c: what all rows of all matrices on one input share.
 *
 * The columns are put in order, H / tokens + lambda I = V V^T with V upper triangular (math/linalg.h), and
 * U = V^-1: the factor of H^-1 that GPTQ works with (Frantar et al. 2023, arXiv 2210.17323) without ever
 * forming H^-1. An error e at place i makes the best later weights differ by -e U_ij / U_ii, and costs
 * e^2 D_i with D_i = 1 / U_ii^2, the Schur complement of column i given those after it. For code words of
 * several columns the same holds in blocks (block LDL; QuIP#, Tseng et al. 2024, arXiv 2402.04396): an
 * error vector e of word b changes later columns by -e U_bb^-1 U_bj and costs e D_b e^T, D_b = V_bb V_bb^T.
 *
 * lambda is a share of the mean of H_ii; while H is not positive definite it is doubled, and counted.
 * Columns whose input was always 0 keep lambda as their pivot and no products: they are rounded plainly.
 */
#include "quant/algo_internal.h"

#include <math.h>
#include <string.h>

#include "math/linalg.h"
#include "math/math.h"

enum { MAX_DAMP = 60 }; /* doublings */

struct nb_algo_layout nb_algo_layout(const struct nb_coder *c)
{
    return (struct nb_algo_layout){.block = c->block, .sub = c->sub, .dim = c->dim};
}

bool nb_algo_layout_equal(struct nb_algo_layout a, struct nb_algo_layout b)
{
    return a.block == b.block && a.sub == b.sub && a.dim == b.dim;
}

const struct nb_algo_facts *nb_prepared_facts(const struct nb_prepared *p)
{
    return &p->facts;
}

/* ---- statistics ---- */

static enum nb_status check_matrix(const double *h, size_t n, bool lower, const char *what,
                                   struct nb_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const double *row = h + i * n;
        for (size_t j = lower ? 0 : i; j < (lower ? i + 1 : n); j++)
            if (!isfinite(row[j]))
                NB_FAIL(err, NB_ERR_NUMERIC,
                        "%s: the product of columns %zu and %zu is %s, expected a finite number",
                        what, i, j, isnan(row[j]) ? "NaN" : "infinite");
        if (row[i] < 0.0)
            NB_FAIL(err, NB_ERR_NUMERIC,
                    "%s: the square of column %zu is %g, expected a sum of squares", what, i,
                    row[i]);
    }
    return NB_OK;
}

static enum nb_status check_job(const struct nb_algo_job *job, struct nb_error *err)
{
    const struct nb_algo_layout l = job->layout;
    if (job->n == 0 || job->n > UINT32_MAX || l.block == 0 || l.sub == 0 || l.dim == 0)
        NB_FAIL(err, NB_ERR_ARG, "%zu columns in blocks of %u, %u, %u: expected positive numbers",
                job->n, l.block, l.sub, l.dim);
    if (l.dim > NB_ALGO_MAX_WORD)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "code words of %u columns, expected at most %d", l.dim,
                NB_ALGO_MAX_WORD);
    if (job->h != NULL && !(job->tokens > 0.0))
        NB_FAIL(err, NB_ERR_ARG, "second moments of %g tokens, expected some", job->tokens);
    if (job->h != NULL)
        NB_TRY(check_matrix(job->h, job->n, false, "second moments", err));
    if (job->held != NULL && !(job->held_tokens > 0.0))
        NB_FAIL(err, NB_ERR_ARG, "held-out second moments of %g tokens, expected some",
                job->held_tokens);
    if (job->held != NULL)
        NB_TRY(check_matrix(job->held, job->n, job->held_lower, "held-out second moments", err));
    for (size_t i = 0; i < job->n && job->h == NULL && job->diag != NULL; i++)
        if (!(job->diag[i] >= 0.0) || !isfinite(job->diag[i]))
            NB_FAIL(err, NB_ERR_NUMERIC,
                    "importance of column %zu is %g, expected a sum of squares", i, job->diag[i]);
    return NB_OK;
}

/* mass: (n) H_ii per token. */
static void read_diagonal(struct nb_prepared *p, double *mass)
{
    const struct nb_algo_job *job = &p->job;
    for (size_t i = 0; i < p->n; i++) {
        if (job->h != NULL)
            mass[i] = job->h[i * p->n + i] / job->tokens;
        else
            mass[i] = job->diag != NULL ? job->diag[i] : 1.0;
        p->diag[i] = (float)mass[i];
        p->facts.n_dead += mass[i] == 0.0;
    }
    p->facts.mean_h = nb_sum_f64(mass, p->n) / (double)p->n;
    p->facts.mean_d = p->facts.geomean_d = p->facts.mean_h;
}

/* ---- factors ---- */

static double moment(const struct nb_algo_job *job, size_t i, size_t j)
{
    return job->h[NB_MIN(i, j) * job->n + NB_MAX(i, j)];
}

/* A (n, n), upper triangle: H per token in working order, with lambda on the diagonal. */
static void fill_damped(const struct nb_prepared *p, double *a, double lambda)
{
    const double per_token = 1.0 / p->job.tokens;
    for (size_t i = 0; i < p->n; i++) {
        double *row = a + i * p->n;
        memset(row, 0, i * sizeof *row);
        for (size_t j = i; j < p->n; j++)
            row[j] = moment(&p->job, p->order[i], p->order[j]) * per_token;
        row[i] += lambda;
    }
}

static enum nb_status factor(struct nb_prepared *p, double *a, struct nb_error *err)
{
    const double mean = p->facts.mean_h > 0.0 ? p->facts.mean_h : 1.0;
    p->facts.damp = p->params.damp;
    for (;;) {
        fill_damped(p, a, p->facts.damp * mean);
        const enum nb_status st = nb_chol_reverse(a, p->n, p->job.pool, NULL, p->job.a, err);
        if (st != NB_ERR_NUMERIC || p->facts.n_damp == MAX_DAMP)
            return st == NB_OK ? nb_tri_inverse(a, p->n, p->job.pool, p->job.a, err) : st;
        p->facts.damp = p->facts.damp > 0.0 ? 2.0 * p->facts.damp : 1e-6;
        p->facts.n_damp++;
    }
}

/* V_bb = U_bb^-1 of the word at place `at`, upper triangular. */
static void invert_word(double *v, const double *u, size_t n, size_t at, uint32_t dim)
{
    for (uint32_t j = 0; j < dim; j++) {
        v[j * dim + j] = 1.0 / u[(at + j) * n + at + j];
        for (uint32_t i = j; i-- > 0;) {
            double sum = 0.0;
            for (uint32_t k = i + 1; k <= j; k++)
                sum += u[(at + i) * n + at + k] * v[k * dim + j];
            v[i * dim + j] = -sum / u[(at + i) * n + at + i];
            v[j * dim + i] = 0.0;
        }
    }
}

/* D_b = V_bb V_bb^T to schur, V_bb (dim, dim). */
static void schur_of_word(float *schur, const double *v, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++)
        for (uint32_t j = 0; j < dim; j++) {
            double sum = 0.0;
            for (uint32_t k = NB_MAX(i, j); k < dim; k++)
                sum += v[i * dim + k] * v[j * dim + k];
            schur[i * dim + j] = (float)sum;
        }
}

/* Rows [at, at + dim) of U become U_bb^-1 U_b: the identity on the word, what it takes from later columns. */
static void divide_word(double *u, const double *v, size_t n, size_t at, uint32_t dim)
{
    for (size_t j = at + dim; j < n; j++)
        for (uint32_t i = 0; i < dim; i++) {
            double sum = 0.0;
            for (uint32_t k = i; k < dim; k++)
                sum += v[i * dim + k] * u[(at + k) * n + j];
            u[(at + i) * n + j] = sum; /* rows below i are still needed, those above are not */
        }
    for (uint32_t i = 0; i < dim; i++)
        for (uint32_t k = 0; k < dim; k++)
            u[(at + i) * n + at + k] = i == k ? 1.0 : 0.0;
}

/* U -> errors' way to later columns, D, and the facts about D. mass: scratch (n). */
static void split_factor(struct nb_prepared *p, double *u, double *mass)
{
    const uint32_t dim = p->job.layout.dim;
    double v[NB_ALGO_MAX_WORD * NB_ALGO_MAX_WORD];
    double log_d = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        const double d = 1.0 / (u[i * p->n + i] * u[i * p->n + i]);
        mass[i] = d;
        log_d += nb_log(d);
    }
    p->facts.mean_d = nb_sum_f64(mass, p->n) / (double)p->n;
    p->facts.geomean_d = nb_exp(log_d / (double)p->n);
    for (size_t at = 0; at < p->n; at += dim) {
        invert_word(v, u, p->n, at, dim);
        schur_of_word(p->schur + at * dim, v, dim);
        divide_word(u, v, p->n, at, dim);
    }
}

/* The doubles of u become floats in its first half. By way of a row: the types must not alias. */
static void narrow(double *u, size_t n, double *row)
{
    unsigned char *to = (unsigned char *)u;
    float *out = (float *)(void *)row; /* each float lies below the doubles still to be read */
    for (size_t i = 0; i < n; i++) {
        memcpy(row, u + i * n, n * sizeof *row);
        for (size_t j = 0; j < n; j++) {
            double v;
            memcpy(&v, row + j, sizeof v);
            const float f = (float)v;
            memcpy(out + j, &f, sizeof f);
        }
        memcpy(to + i * n * sizeof(float), out, n * sizeof(float));
    }
}

/* H per token by column, both triangles, with what keeps polishing from trusting few tokens too far. */
static void fill_moments(struct nb_prepared *p)
{
    const size_t n = p->n;
    const double lambda = p->params.polish_damp * p->facts.mean_h;
    const double per_token = 1.0 / p->job.tokens;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i; j < n; j++) {
            const double v = p->job.h[i * n + j] * per_token + (i == j ? lambda : 0.0);
            p->moments[i * n + j] = p->moments[j * n + i] = (float)v;
        }
        p->stiffness[i] = p->moments[i * n + i];
    }
}

static void choose_weights(struct nb_prepared *p)
{
    const uint32_t dim = p->job.layout.dim;
    for (size_t i = 0; i < p->n; i++)
        if (p->params.weigh == NB_WEIGH_DIAG)
            p->weight[i] = p->diag[i];
        else
            p->weight[p->order[i]] = p->schur[i * dim + i % dim];
}

/* ---- making ---- */

bool nb_algo_needs_schur(const struct nb_algo_params *q)
{
    return q->feedback || q->weigh == NB_WEIGH_SCHUR || q->weigh == NB_WEIGH_VALUE;
}

static bool allocate(struct nb_prepared *p)
{
    const struct nb_allocator *a = p->job.a;
    const size_t n = p->n;
    const bool schur = nb_algo_needs_schur(&p->params), polish = p->params.polish > 0;
    bool ok = true;
    p->order = nb_alloc(a, n, sizeof *p->order);
    p->diag = nb_alloc(a, n, sizeof *p->diag);
    ok = p->order != NULL && p->diag != NULL;
    if (p->params.weigh != NB_WEIGH_NONE) {
        p->weight = nb_alloc(a, n, sizeof *p->weight);
        ok = ok && p->weight != NULL;
    }
    if (schur) {
        p->schur = nb_alloc(a, n * p->job.layout.dim, sizeof *p->schur);
        ok = ok && p->schur != NULL;
    }
    if (polish) {
        p->stiffness = nb_alloc(a, n, sizeof *p->stiffness);
        ok = ok && p->stiffness != NULL;
    }
    if (schur || polish) {
        p->buffer = n <= SIZE_MAX / n ? nb_alloc(a, n * n, sizeof *p->buffer) : NULL;
        ok = ok && p->buffer != NULL;
    }
    return ok;
}

/* What an order parts cannot be fitted on its way. */
static void settle_order(struct nb_algo_params *q, struct nb_algo_layout l)
{
    if (q->order == NB_ORDER_AUTO)
        q->order = l.sub < l.block || l.dim > 1 ? NB_ORDER_LAYOUT : NB_ORDER_FULL;
    if (q->order == NB_ORDER_FULL)
        q->fit = NB_FIT_STATIC;
    else if (q->order == NB_ORDER_BLOCK && q->fit == NB_FIT_LATE)
        q->fit = NB_FIT_START;
}

/* mass: (n) scratch, at first H_ii. */
static enum nb_status fill(struct nb_prepared *p, double *mass, struct nb_error *err)
{
    const struct nb_algo_job *job = &p->job;
    read_diagonal(p, mass);
    NB_TRY(nb_algo_order(p->order, mass, p->n, job->layout, p->params.order, job->a, err));
    if (nb_algo_needs_schur(&p->params)) {
        NB_TRY(factor(p, p->buffer, err));
        split_factor(p, p->buffer, mass);
        narrow(p->buffer, p->n, mass);
        if (p->params.feedback)
            p->feedback = (float *)(void *)p->buffer;
    }
    if (p->params.polish > 0) {
        p->moments = (float *)(void *)p->buffer + p->n * p->n;
        fill_moments(p);
    }
    if (p->weight != NULL)
        choose_weights(p);
    return NB_OK;
}

enum nb_status nb_prepared_create(struct nb_prepared **out, const struct nb_algo *algo,
                                  const struct nb_algo_job *job, struct nb_error *err)
{
    *out = NULL;
    NB_TRY(check_job(job, err));
    struct nb_prepared *p = nb_alloc_zero(job->a, 1, sizeof *p);
    double *mass = nb_alloc(job->a, job->n, sizeof *mass);
    enum nb_status st = NB_OK;
    if (p != NULL) {
        p->algo = algo;
        p->job = *job;
    }
    if (p == NULL || mass == NULL)
        NB_TRY_TO(done, NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu columns", job->n));
    p->params = job->params != NULL ? *job->params : *algo->params;
    settle_order(&p->params, job->layout);
    p->job.params = NULL;
    p->n = job->n;
    if (job->h == NULL && (nb_algo_needs_schur(&p->params) || p->params.polish > 0))
        NB_TRY_TO(done, NB_ERROR(err, NB_ERR_ARG,
                                 "error feedback and polishing need the input's second moments"));
    if (!allocate(p))
        NB_TRY_TO(done, NB_ERROR(err, NB_ERR_NOMEM, "out of memory for the factors of %zu columns",
                                 job->n));
    st = fill(p, mass, err);
done:
    nb_free(job->a, mass);
    if (st != NB_OK)
        nb_prepared_destroy(p);
    else
        *out = p;
    return st;
}

void nb_prepared_destroy(struct nb_prepared *p)
{
    if (p == NULL)
        return;
    const struct nb_allocator *a = p->job.a;
    nb_free(a, p->order);
    nb_free(a, p->diag);
    nb_free(a, p->weight);
    nb_free(a, p->schur);
    nb_free(a, p->stiffness);
    nb_free(a, p->buffer);
    nb_free(a, p);
}
