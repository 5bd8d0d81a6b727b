/* calib/observe_hessian.c: H = X X^T of an edge, or of each expert of it.
 *
 * Tokens wait until there are whole chunks of them, so that the bits do not depend on the calls in which they come.
 * Stored: the upper triangle row by row, as floats. That rounds by 6e-8 of an element, as much as the float sums
 * within a chunk did, and is three orders below the damping that any use of H adds; doubles would be
 * twice the bytes, which of the inputs of a 7 B model are 23 GB.
 */
#include "calib/observe_hessian.h"

#include <math.h>
#include <string.h>

#include "calib/observer.h"

#define WAIT      (2 * NB_HESSIAN_CHUNK) /* tokens */
#define FLOAT_MAX 3.4028234663852886e38

static enum nb_status init(void *state, size_t cols, const struct nb_allocator *a,
                           struct nb_error *err)
{
    struct nb_hessian_state *s = state;
    s->a = a;
    return nb_hessian_create(&s->h, cols, a, err);
}

static void fini(void *state)
{
    struct nb_hessian_state *s = state;
    nb_hessian_destroy(s->h);
    nb_free(s->a, s->pending);
}

static enum nb_status flush(struct nb_hessian_state *s, struct nb_pool *pool, struct nb_error *err)
{
    if (s->n_pending > 0)
        NB_TRY(nb_hessian_add(s->h, s->pending, s->n_pending, pool, err));
    s->n_pending = 0;
    return NB_OK;
}

static enum nb_status add(void *state, const struct nb_observed *v, struct nb_error *err)
{
    struct nb_hessian_state *s = state;
    if (s->pending == NULL)
        s->pending = nb_alloc(s->a, WAIT * sizeof(float), s->h->n);
    if (s->pending == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %d tokens", WAIT);
    for (size_t i = 0; i < v->n_rows; i++) {
        memcpy(s->pending + s->n_pending++ * s->h->n, nb_observed_row(v, i),
               s->h->n * sizeof(float));
        if (s->n_pending == WAIT)
            NB_TRY(flush(s, v->pool, err));
    }
    return NB_OK;
}

static enum nb_status settle(void *state, struct nb_pool *pool, const char *weight,
                             struct nb_error *err)
{
    struct nb_hessian_state *s = state;
    NB_TRY(flush(s, pool, err));
    nb_free(s->a, s->pending);
    s->pending = NULL;
    return s->h != NULL ? nb_hessian_check(s->h, weight, err) : NB_OK;
}

static enum nb_status merge(void *state, const void *from, struct nb_error *err)
{
    return nb_hessian_merge(((struct nb_hessian_state *)state)->h,
                            ((const struct nb_hessian_state *)from)->h, err);
}

/* ---- files ---- */

static size_t packed(size_t n)
{
    return n % 2 == 0 ? n / 2 * (n + 1) : n * ((n + 1) / 2);
}

static struct nb_stored stored(const void *state)
{
    const struct nb_hessian_state *s = state;
    return (struct nb_stored){&nb_numfmt_f32, 1, packed(s->h->n)};
}

/* Of number `first` of the packed triangle: its row; *col its column. */
static size_t unpack(size_t n, size_t first, size_t *col)
{
    size_t i = 0;
    for (; first >= n - i; i++)
        first -= n - i;
    *col = i + first;
    return i;
}

static void save(const void *state, size_t first, size_t n, double *dst)
{
    const struct nb_hessian *h = ((const struct nb_hessian_state *)state)->h;
    size_t j, i = unpack(h->n, first, &j);
    for (size_t k = 0; k < n; k++, j++) {
        if (j == h->n)
            j = ++i;
        dst[k] = h->h[i * h->n + j];
    }
}

static enum nb_status check(const struct nb_stored *is, size_t cols, struct nb_error *err)
{
    return nb_observer_shape(is, 1, packed(cols), err);
}

static enum nb_status load(void *state, const struct nb_stored *is, size_t first, size_t n,
                           const double *src, struct nb_error *err)
{
    struct nb_hessian *h = ((struct nb_hessian_state *)state)->h;
    size_t j, i = unpack(h->n, first, &j);
    (void)is;
    for (size_t k = 0; k < n; k++, j++) {
        if (j == h->n)
            j = ++i;
        if (!(fabs(src[k]) <= FLOAT_MAX) || (i == j && src[k] < 0.0))
            NB_FAIL(err, NB_ERR_FORMAT,
                    "row %zu, column %zu is %g; products are finite and squares not negative", i, j,
                    src[k]);
        h->h[i * h->n + j] = src[k];
    }
    return NB_OK;
}

static void tokens(void *state, double n)
{
    ((struct nb_hessian_state *)state)->h->tokens = n;
}

const struct nb_observer nb_observer_hessian = {
    .name = "hessian",
    .summary = "H = X X^T: all second moments",
    .per_matrix = true,
    .state_bytes = sizeof(struct nb_hessian_state),
    .init = init,
    .fini = fini,
    .add = add,
    .settle = settle,
    .merge = merge,
    .stored = stored,
    .save = save,
    .check = check,
    .load = load,
    .tokens = tokens,
};
