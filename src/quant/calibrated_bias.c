/* quant/calibrated_bias.c: biases take off what rounding adds to a layer's output on average.
 *
 *     b* = b + mean(y' - Q x),   y' = W x', what the float model's layer gives
 *
 * and where the output is added to the residual stream as it is, y' has also what the stream lacks (staged.c).
 * The mean is over the tokens that the statistics hold. Nagel et al. 2019, "Data-free quantization through
 * weight equalization and bias correction" (arXiv 1906.04721), section 4.2, by data; the second stream is
 * ours. With a share of the mismatch below 1, y' is that share of the way from W x to it.
 *
 * A bias is a vector in a format that is no block; other biases, and those of models that are not run in
 * pieces, stay as they are.
 */
#include "quant/calibrated_internal.h"

#include <math.h>
#include <string.h>

#define COLUMNS 64 /* summed together */

size_t nb_calibrated_bias(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                          size_t i)
{
    const struct nb_weights *w = &k->p->model->w;
    const struct nb_weight *bias = nb_weights_bias(w, &w->items[b->weight[i]]);
    if (bias == NULL)
        return SIZE_MAX;
    const size_t index = (size_t)(bias - w->items);
    const struct nb_plan_tensor *t = &k->p->tensors[index];
    const bool usable = t->stored && t->type->kind < NB_NUMFMT_BLOCK && t->side_bytes == 0 &&
                        nb_block_weights_values(k->floats, index) != NULL;
    return usable ? index : SIZE_MAX;
}

/* ---- sums ---- */

struct columns {
    double *sums;
    const float *x;
    size_t tokens, n;
};

static void sum_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct columns *c = ctx;
    (void)worker;
    for (size_t t = 0; t < c->tokens; t++)
        for (size_t i = begin; i < end; i++)
            c->sums[i] += (double)c->x[t * c->n + i];
}

void nb_calibrated_sum_columns(double *sums, const float *x, size_t tokens, size_t n,
                               struct nb_pool *pool)
{
    struct columns c = {sums, x, tokens, n};
    nb_pool_for(pool, n, COLUMNS, sum_columns, &c);
}

/* ---- correcting ---- */

/* w, q: (rows, n); bias (rows), in place. */
static void correct(const struct nb_calibrated_means *m, double share, const float *w,
                    const float *q, float *bias, size_t rows)
{
    const double per_token = 1.0 / m->tokens;
    for (size_t r = 0; r < rows; r++, w += m->n, q += m->n) {
        double sum = 0.0;
        for (size_t j = 0; j < m->n; j++) {
            double x = m->x[j];
            if (m->d != NULL)
                x = m->residual ? (1.0 - share) * x : x + share * m->d[j];
            sum += (double)w[j] * x - (double)q[j] * m->x[j];
        }
        sum *= per_token;
        if (m->d != NULL && m->residual)
            sum += share * m->d[r] * per_token;
        bias[r] = (float)((double)bias[r] + sum);
    }
}

static enum nb_status check(const float *x, size_t n, const char *name, struct nb_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            NB_FAIL(err, NB_ERR_NUMERIC, "tensor '%s': corrected element %zu is not finite", name,
                    i);
    return NB_OK;
}

/* Values to the bytes of the bias's type, and those to the journal. An entry that an earlier run left without
 * its weight says the same, unless the weight has changed. */
static enum nb_status keep(struct nb_calibrated *k, size_t index, const float *x,
                           struct nb_hash hash, struct nb_error *err)
{
    const struct nb_plan_tensor *t = &k->p->tensors[index];
    const struct nb_journal_entry e = {.name = t->weight->spec.name, .input = hash};
    const struct nb_journal_entry *old = nb_journal_find(k->j, e.name);
    if (old != NULL)
        NB_TRY(nb_journal_cut(k->j, old, err));
    uint8_t *bytes = nb_alloc(k->a, (size_t)t->bytes, 1);
    if (bytes == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for '%s'", e.name);
    enum nb_status st =
        nb_numfmt_encode(t->type, bytes, x, NULL, (size_t)nb_shape_cols(&t->weight->t.shape), err);
    if (st == NB_OK)
        st = nb_journal_add(k->j, &e, bytes, t->bytes, err);
    nb_free(k->a, bytes);
    return st;
}

enum nb_status nb_calibrated_correct(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                                     size_t i, const struct nb_calibrated_means *means,
                                     struct nb_hash hash, struct nb_error *err)
{
    const size_t index = nb_calibrated_bias(k, b, i);
    const struct nb_plan_tensor *t = &k->p->tensors[b->weight[i]];
    const size_t rows = (size_t)nb_shape_rows(&t->weight->t.shape);
    if (means == NULL || means->tokens == 0.0 || index == SIZE_MAX ||
        nb_shape_cols(&k->p->tensors[index].weight->t.shape) != rows)
        return NB_OK;
    const float *old = nb_block_weights_values(k->floats, index);
    float *q = nb_alloc(k->a, rows * means->n, sizeof *q), *x = nb_alloc(k->a, rows, sizeof *x);
    enum nb_status st = q != NULL && x != NULL
                            ? NB_OK
                            : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu rows", rows);
    if (st == NB_OK) {
        memcpy(x, old, rows * sizeof *x);
        nb_layer_decode(t, k->records, q, k->p->settings.pool);
        correct(means, k->p->mismatch, nb_calibrated_values(k, b, i), q, x, rows);
        st = check(x, rows, k->p->tensors[index].weight->spec.name, err);
    }
    if (st == NB_OK)
        st = keep(k, index, x, hash, err);
    nb_free(k->a, q);
    nb_free(k->a, x);
    return st;
}

enum nb_status nb_calibrated_take_bias(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                                       size_t i, struct nb_error *err)
{
    const size_t index = nb_calibrated_bias(k, b, i);
    if (index == SIZE_MAX)
        return NB_OK;
    const struct nb_plan_tensor *t = &k->p->tensors[index];
    const struct nb_journal_entry *e = nb_journal_find(k->j, t->weight->spec.name);
    if (e == NULL || e->bytes != t->bytes)
        return NB_OK;
    uint8_t *bytes = nb_alloc(k->a, (size_t)t->bytes, 1);
    if (bytes == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for '%s'", e->name);
    const enum nb_status st = nb_journal_read(k->j, e, 0, bytes, (size_t)t->bytes, err);
    if (st == NB_OK) {
        nb_numfmt_decode(t->type, bytes, nb_block_weights_values(k->floats, index),
                         (size_t)nb_shape_cols(&t->weight->t.shape));
        k->new_bias = true;
    }
    nb_free(k->a, bytes);
    return st;
}
