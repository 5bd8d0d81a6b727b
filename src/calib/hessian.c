/* calib/hessian.c: making, adding, merging and checking H = X X^T. */
#include "calib/hessian.h"

#include "calib/calib.h"
#include "math/linalg.h"

uint64_t nb_hessian_bytes(size_t n)
{
    uint64_t bytes;
    return nb_mul_u64(&bytes, n, n) && nb_mul_u64(&bytes, bytes, sizeof(double)) ? bytes
                                                                                 : UINT64_MAX;
}

/* h (n_bytes) zeros. */
static enum nb_status create(struct nb_hessian **out, size_t n, uint64_t bytes,
                             const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    if (n == 0)
        NB_FAIL(err, NB_ERR_ARG, "a Hessian of 0 columns");
    struct nb_hessian *h = nb_alloc_zero(a, 1, sizeof *h);
    if (h != NULL) {
        h->a = a;
        h->n = n;
        h->h = bytes < SIZE_MAX ? nb_alloc_zero(a, (size_t)bytes, 1) : NULL;
    }
    if (h == NULL || h->h == NULL) {
        nb_hessian_destroy(h);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the %zu x %zu products of a layer's input", n,
                n);
    }
    *out = h;
    return NB_OK;
}

enum nb_status nb_hessian_create(struct nb_hessian **out, size_t n, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    return create(out, n, nb_hessian_bytes(n), a, err);
}

uint64_t nb_hessian_pair_bytes(size_t n)
{
    uint64_t bytes = nb_hessian_bytes(n);
    return nb_add_u64(&bytes, bytes, n * sizeof(double)) ? bytes : UINT64_MAX;
}

enum nb_status nb_hessian_create_pair(struct nb_hessian **first, struct nb_hessian **second,
                                      size_t n, const struct nb_allocator *a, struct nb_error *err)
{
    *second = NULL;
    NB_TRY(create(first, n, nb_hessian_pair_bytes(n), a, err)); /* (n + 1, n) */
    struct nb_hessian *h = nb_alloc_zero(a, 1, sizeof *h);
    if (h == NULL) {
        nb_hessian_destroy(*first);
        *first = NULL;
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    *h = (struct nb_hessian){.a = a, .n = n, .h = (*first)->h + n, .lower = true};
    *second = h;
    return NB_OK;
}

void nb_hessian_destroy(struct nb_hessian *h)
{
    if (h == NULL)
        return;
    if (!h->lower)
        nb_free(h->a, h->h);
    nb_free(h->a, h);
}

/* ---- adding ---- */

enum nb_status nb_hessian_add(struct nb_hessian *h, const float *x, size_t n_tokens,
                              struct nb_pool *pool, struct nb_error *err)
{
    const struct nb_outer_options options = {.n = h->n, .n_tokens = n_tokens, .pool = pool};
    const struct nb_outer_tokens tokens = {.x = x, .x_stride = h->n, .n_tokens = n_tokens};
    struct nb_outer *o;
    if (n_tokens == 0)
        return NB_OK;
    NB_TRY(nb_outer_create(&o, &options, h->a, err));
    nb_outer_begin(o, h->h, h->lower, NULL);
    nb_outer_add(o, &tokens);
    nb_outer_end(o);
    nb_outer_destroy(o);
    h->tokens += (double)n_tokens;
    return NB_OK;
}

enum nb_status nb_hessian_merge(struct nb_hessian *into, const struct nb_hessian *from,
                                struct nb_error *err)
{
    if (into->n != from->n)
        NB_FAIL(err, NB_ERR_FORMAT, "a Hessian of %zu columns does not add to one of %zu", from->n,
                into->n);
    for (size_t i = 0; i < into->n; i++)
        for (size_t j = i; j < into->n; j++)
            *nb_hessian_at(into, i, j) += *nb_hessian_at(from, i, j);
    into->tokens += from->tokens;
    return NB_OK;
}

/* ---- reading ---- */

enum nb_status nb_hessian_check(const struct nb_hessian *h, const char *weight,
                                struct nb_error *err)
{
    for (size_t i = 0; i < h->n; i++) {
        const double own = *nb_hessian_at(h, i, i);
        double bad = own < 0.0 ? own : 0.0;
        for (size_t j = h->lower ? 0 : i; j < (h->lower ? i + 1 : h->n); j++)
            bad += h->h[i * h->n + j] - h->h[i * h->n + j]; /* NaN unless finite */
        if (!(bad == 0.0))
            NB_FAIL(err, NB_ERR_NUMERIC,
                    "the input of '%s' is not finite: column %zu of its products", weight, i);
    }
    return NB_OK;
}

void nb_hessian_mirror(struct nb_hessian *h)
{
    nb_sym_mirror(h->h, h->n);
}

void nb_hessian_diag(const struct nb_hessian *h, double *diag)
{
    for (size_t i = 0; i < h->n; i++)
        diag[i] = h->h[i * h->n + i];
}

double nb_hessian_mean_diag(const struct nb_hessian *h)
{
    double sum = 0.0;
    for (size_t i = 0; i < h->n; i++)
        sum += h->h[i * h->n + i];
    return sum / (double)h->n;
}

enum nb_status nb_calib_add_hessian(struct nb_calib *c, const char *weight,
                                    const struct nb_hessian *const *h, size_t n_mat,
                                    struct nb_error *err)
{
    struct nb_moment *m;
    for (size_t e = 1; e < n_mat; e++)
        if (h[e]->n != h[0]->n)
            NB_FAIL(err, NB_ERR_FORMAT, "'%s': a matrix of %zu columns beside one of %zu", weight,
                    h[e]->n, h[0]->n);
    NB_TRY(nb_calib_add(c, weight, n_mat, n_mat > 0 ? h[0]->n : 0, &m, err));
    for (size_t e = 0; e < n_mat; e++) {
        nb_hessian_diag(h[e], m->sum + e * m->cols);
        m->count[e] = h[e]->tokens;
    }
    return NB_OK;
}
