/* quant/transform_turn.c: the rotations of the view.
 *
 * A layer norm takes the mean off, so a stream that it reads may only be rotated by an R that maps the
 * vector of ones to itself: then the mean of x R is that of x, and no centering need be folded into the
 * layers that write the stream (as Ashkboos et al. do, SliceGPT, arXiv:2401.15024, 3.1, turning the
 * model into one of RMS norms). With Q orthonormal and D signs, R = Q D Q^T does if D is 1 wherever
 * t = Q^T 1 is not 0: R 1 = Q D t = Q t = 1. A Hadamard matrix with a constant column leaves a single
 * such place.
 */
#include "quant/transform_internal.h"

#include <math.h>

#define SIGNS_STREAM UINT64_C(0x9e3779b97f4a7c15) /* apart from the stream of signs within Q */

/* ---- Sylvester's matrix of the largest power of two that divides n, repeated along the diagonal ---- */

static enum nb_status hadamard_init(struct nb_hadamard *q, size_t n, uint64_t seed,
                                    const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_rng rng = {.seed = seed};
    *q = (struct nb_hadamard){.n = n, .order = n & (~n + 1), .base = 1, .a = a};
    if (seed == 0)
        return NB_OK;
    q->sign = nb_alloc(a, n, sizeof *q->sign);
    if (q->sign == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a rotation of %zu", n);
    for (size_t i = 0; i < n; i++)
        q->sign[i] = nb_rng_u64(&rng) >> 63 ? -1 : 1;
    return NB_OK;
}

static void signs(const struct nb_hadamard *q, double *x)
{
    for (size_t i = 0; q->sign != NULL && i < q->n; i++)
        x[i] *= (double)q->sign[i];
}

static void butterflies(double *x, size_t order)
{
    for (size_t h = 1; h < order; h *= 2)
        for (size_t i = 0; i < order; i += 2 * h)
            for (size_t j = i; j < i + h; j++) {
                const double a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
}

/* A row times Q, or Q^T. */
static void hadamard(const struct nb_hadamard *q, double *x, bool inverse)
{
    const double f = 1.0 / sqrt((double)q->order);
    if (!inverse)
        signs(q, x);
    for (size_t at = 0; at < q->n; at += q->order)
        butterflies(x + at, q->order);
    for (size_t i = 0; i < q->n; i++)
        x[i] *= f;
    if (inverse)
        signs(q, x);
}

/* ---- rotations ---- */

/* t = Q^T 1, or Q 1, in work: where it is 0 a sign is free. Returns how many places are free. */
static size_t ones_image(const struct nb_hadamard *q, bool transpose, double *work)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++)
        work[i] = 1.0;
    hadamard(q, work, transpose);
    for (size_t i = 0; i < q->n; i++)
        n += fabs(work[i]) < 1e-6;
    return n;
}

static enum nb_status choose_signs(struct nb_rotation *r, uint64_t seed,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    const size_t n = r->q.n;
    struct nb_rng rng = {.seed = seed ^ SIGNS_STREAM};
    double *t = nb_alloc(a, n, sizeof *t);
    r->signs = nb_alloc(a, n, sizeof *r->signs);
    if (t == NULL || r->signs == NULL) {
        nb_free(a, t);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a rotation of %zu", n);
    }
    r->transpose = ones_image(&r->q, true, t) > ones_image(&r->q, false, t);
    (void)ones_image(&r->q, r->transpose, t);
    for (size_t i = 0; i < n; i++) {
        const bool minus = nb_rng_u64(&rng) >> 63;
        r->signs[i] = minus && fabs(t[i]) < 1e-6 ? -1 : 1;
    }
    nb_free(a, t);
    return NB_OK;
}

enum nb_status nb_rotation_init(struct nb_rotation *r, size_t n, uint64_t seed, bool keep_ones,
                                const struct nb_allocator *a, struct nb_error *err)
{
    NB_TRY(hadamard_init(&r->q, n, keep_ones ? 0 : seed + 1, a, err));
    return keep_ones ? choose_signs(r, seed, a, err) : NB_OK;
}

void nb_rotation_fini(struct nb_rotation *r, const struct nb_allocator *a)
{
    if (r->q.n > 0)
        nb_free(r->q.a, r->q.sign);
    nb_free(a, r->signs);
    *r = (struct nb_rotation){.signs = NULL};
}

void nb_rotation_apply(const struct nb_rotation *r, double *x, size_t count)
{
    const size_t n = r->q.n;
    for (size_t at = 0; at < count; at += n) {
        hadamard(&r->q, x + at, r->transpose); /* a row times Q, or Q^T */
        if (r->signs == NULL)
            continue;
        for (size_t i = 0; i < n; i++)
            x[at + i] *= (double)r->signs[i];
        hadamard(&r->q, x + at, !r->transpose);
    }
}
