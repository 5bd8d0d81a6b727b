/* quant/transform_turn.c: the rotations of the view.
 *
 * A layer norm takes the mean off, so a stream that it reads may only be rotated by an R that maps the
 * vector of ones to itself: then the mean of x R is that of x, and no centering need be folded into the
 * layers that write the stream (as Ashkboos et al. do, SliceGPT, arXiv:2401.15024, 3.1, turning the
 * model into one of RMS norms). Flip the rows of a Hadamard matrix so that its first column T e is
 * constant; with D signs that leave e alone, R = T D T^T does: R 1 ~ T D T^T T e = T D e = T e ~ 1.
 */
#include "quant/transform_internal.h"

#define SIGNS_SEED UINT64_C(0x9e3779b97f4a7c15) /* apart from the signs within Q */

/* flip: signs of the first column of each block of Q; signs: D. */
static void choose_signs(struct nb_rotation *r, uint64_t seed, double *work)
{
    const size_t n = r->q.n, order = r->q.order;
    struct nb_rng rng = {.seed = seed ^ SIGNS_SEED};
    for (size_t i = 0; i < n; i++)
        work[i] = i % order == 0 ? 1.0 : 0.0;
    nb_hadamard_f64(&r->q, work, true);
    for (size_t i = 0; i < n; i++) {
        const bool minus = nb_rng_u64(&rng) >> 63;
        r->flip[i] = work[i] < 0.0 ? -1 : 1;
        r->signs[i] = minus && i % order != 0 ? -1 : 1;
    }
}

enum nb_status nb_rotation_init(struct nb_rotation *r, size_t n, uint64_t seed, bool keep_ones,
                                const struct nb_allocator *a, struct nb_error *err)
{
    NB_TRY(nb_hadamard_init(&r->q, n, keep_ones ? 0 : seed + 1, a, err));
    if (!keep_ones)
        return NB_OK;
    double *work = nb_alloc(a, n, sizeof *work);
    r->signs = nb_alloc(a, n, sizeof *r->signs);
    r->flip = nb_alloc(a, n, sizeof *r->flip);
    const bool ok = work != NULL && r->signs != NULL && r->flip != NULL;
    if (ok)
        choose_signs(r, seed, work);
    nb_free(a, work);
    return ok ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a rotation of %zu", n);
}

void nb_rotation_fini(struct nb_rotation *r, const struct nb_allocator *a)
{
    if (r->q.n > 0)
        nb_hadamard_fini(&r->q);
    nb_free(a, r->signs);
    nb_free(a, r->flip);
    *r = (struct nb_rotation){.signs = NULL};
}

static void flip(double *x, const int8_t *signs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= (double)signs[i];
}

/* ((x F) Q D) Q^T F */
static void keep_ones(const struct nb_rotation *r, double *x)
{
    flip(x, r->flip, r->q.n);
    nb_hadamard_f64(&r->q, x, false);
    flip(x, r->signs, r->q.n);
    nb_hadamard_f64(&r->q, x, true);
    flip(x, r->flip, r->q.n);
}

void nb_rotation_apply(const struct nb_rotation *r, double *x, size_t count)
{
    for (size_t at = 0; at < count; at += r->q.n)
        if (r->signs != NULL)
            keep_ones(r, x + at);
        else
            nb_hadamard_f64(&r->q, x + at, false);
}
