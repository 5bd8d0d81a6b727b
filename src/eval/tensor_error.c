/* eval/tensor_error.c: signal-to-noise ratio of a stored weight against the reference's.
 *
 * Rows are decoded in canonical order from both models, chunk by chunk; each chunk's double sums are
 * kept and added in chunk order, so that the figure does not depend on the threads.
 */
#include "eval/eval.h"

#include <math.h>

#include "math/math.h"

#define ROWS_PER_CHUNK 16

struct snr_job {
    const struct nb_model *ref, *m;
    size_t i_ref, i_m;
    uint64_t rows, cols;
    float *buffer;  /* (threads, 2, ROWS_PER_CHUNK, cols) */
    double *signal; /* (chunks) */
    double *noise;  /* (chunks) */
};

static void sum_chunks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct snr_job *j = ctx;
    const size_t chunk_elements = ROWS_PER_CHUNK * (size_t)j->cols;
    float *x = j->buffer + worker * 2 * chunk_elements;
    float *y = x + chunk_elements;
    for (size_t c = begin; c < end; c++) {
        const uint64_t row = (uint64_t)c * ROWS_PER_CHUNK;
        const uint64_t n_rows = NB_MIN((uint64_t)ROWS_PER_CHUNK, j->rows - row);
        nb_model_read_rows(j->ref, j->i_ref, row, n_rows, x);
        nb_model_read_rows(j->m, j->i_m, row, n_rows, y);
        double signal = 0, noise = 0;
        for (size_t e = 0; e < n_rows * j->cols; e++) {
            const double d = (double)x[e] - (double)y[e];
            signal += (double)x[e] * (double)x[e];
            noise += d * d;
        }
        j->signal[c] = signal;
        j->noise[c] = noise;
    }
}

enum nb_status nb_tensor_snr(double *db, const struct nb_model *ref, size_t i,
                             const struct nb_model *m, struct nb_pool *pool,
                             const struct nb_allocator *a, struct nb_error *err)
{
    const struct nb_tensor *t = &ref->w.items[i].t;
    const struct nb_weight *other = nb_weights_find(&m->w, ref->w.items[i].spec.name);
    *db = (double)NAN;
    if (other == NULL || !nb_shape_eq(&t->shape, &other->t.shape))
        return NB_OK;
    struct snr_job j = {.ref = ref, .m = m, .i_ref = i, .i_m = (size_t)(other - m->w.items)};
    j.rows = nb_shape_rows(&t->shape);
    j.cols = nb_shape_cols(&t->shape);
    const size_t chunks = (size_t)((j.rows + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK);
    enum nb_status st = NB_OK;
    j.buffer =
        nb_alloc(a, nb_pool_threads(pool) * 2 * ROWS_PER_CHUNK, (size_t)j.cols * sizeof(float));
    j.signal = nb_alloc(a, chunks, sizeof *j.signal);
    j.noise = nb_alloc(a, chunks, sizeof *j.noise);
    if (j.buffer == NULL || j.signal == NULL || j.noise == NULL) {
        st = NB_ERROR(err, NB_ERR_NOMEM, "no memory to compare tensor '%s'",
                      ref->w.items[i].spec.name);
        goto out;
    }
    nb_pool_for(pool, chunks, 1, sum_chunks, &j);
    double signal = 0, noise = 0;
    for (size_t c = 0; c < chunks; c++) {
        signal += j.signal[c];
        noise += j.noise[c];
    }
    *db = noise > 0 ? 10 * nb_log(signal / noise) / nb_log(10) : (double)INFINITY;
out:
    nb_free(a, j.noise);
    nb_free(a, j.signal);
    nb_free(a, j.buffer);
    return st;
}
