/* quant/array.c: arrays of any shape into a number format, and what that cost.
 *
 * Blocks lie along the last dimension and are independent, so the numbers are cut into chunks of whole
 * blocks; each is encoded, decoded again and compared. The sums of the chunks are added in their order:
 * bytes and figures do not depend on the threads.
 */
#include "quant/quant.h"

#include <math.h>
#include <string.h>

#include "math/math.h"

#define CHUNK 8192 /* elements: a multiple of every block */

/* Owns: scratch and sums. */
struct work {
    struct nb_qarray *q;
    const struct nb_array_job *job;
    uint64_t n;                      /* elements */
    float *scratch;                  /* (threads, CHUNK) */
    double *signal, *noise, *widest; /* (chunks) */
    bool *bad;                       /* (chunks) */
};

/* The importance of elements [at, at + n) of the array lies in one piece: *run of them at most. */
static const float *importance_at(const struct nb_array_job *job, uint64_t at, size_t n,
                                  size_t *run)
{
    *run = n;
    if (job->n_importance == 0)
        return NULL;
    const uint64_t first = at % job->n_importance;
    *run = (size_t)NB_MIN((uint64_t)n, job->n_importance - first);
    return job->importance + first;
}

static enum nb_status encode_chunk(struct work *k, uint64_t at, size_t n)
{
    const struct nb_numfmt *f = k->q->type;
    for (size_t done = 0, run; done < n; done += run) {
        const float *w = importance_at(k->job, at + done, n - done, &run);
        NB_TRY(nb_numfmt_encode(f, k->q->data + (at + done) / f->block * f->block_bytes,
                                k->job->x + at + done, w, run, NULL));
    }
    return NB_OK;
}

static void work_chunk(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct work *k = ctx;
    const struct nb_numfmt *f = k->q->type;
    const size_t chunk = begin / CHUNK, n = end - begin;
    const float *x = k->job->x + begin;
    float *y = k->scratch + (size_t)worker * CHUNK;
    double signal = 0.0, noise = 0.0, widest = 0.0;
    k->bad[chunk] = encode_chunk(k, begin, n) != NB_OK;
    if (k->bad[chunk])
        return;
    nb_numfmt_decode(f, k->q->data + begin / f->block * f->block_bytes, y, n);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)y[i];
        signal += (double)x[i] * (double)x[i];
        noise += d * d;
        widest = fabs(d) > widest ? fabs(d) : widest;
    }
    k->signal[chunk] = signal;
    k->noise[chunk] = noise;
    k->widest[chunk] = widest;
}

static enum nb_status refuse_value(const struct work *k, struct nb_error *err)
{
    const uint64_t cols = nb_shape_cols(&k->q->shape);
    uint64_t i = 0;
    while (i < k->n && isfinite(k->job->x[i]))
        i++;
    NB_FAIL(err, NB_ERR_NUMERIC, "row %llu, column %llu is %s, expected a finite number",
            (unsigned long long)(i / cols), (unsigned long long)(i % cols),
            i < k->n && k->job->x[i] != k->job->x[i] ? "NaN" : "infinite");
}

static void fill_error(const struct work *k, size_t chunks, struct nb_array_error *e)
{
    const double signal = nb_sum_f64(k->signal, chunks), noise = nb_sum_f64(k->noise, chunks);
    *e = (struct nb_array_error){.mse = k->n > 0 ? noise / (double)k->n : 0.0};
    e->sqnr_db = noise > 0.0 ? 10.0 * nb_log(signal / noise) / nb_log(10.0) : (double)INFINITY;
    for (size_t i = 0; i < chunks; i++)
        e->max_error = NB_MAX(e->max_error, k->widest[i]);
}

static enum nb_status run(struct work *k, struct nb_array_error *e, struct nb_error *err)
{
    const struct nb_array_job *job = k->job;
    const size_t chunks = (size_t)((k->n + CHUNK - 1) / CHUNK);
    k->scratch = nb_alloc(job->a, (size_t)nb_pool_threads(job->pool) * CHUNK, sizeof *k->scratch);
    k->signal = nb_alloc(job->a, chunks + 1, sizeof *k->signal);
    k->noise = nb_alloc(job->a, chunks + 1, sizeof *k->noise);
    k->widest = nb_alloc(job->a, chunks + 1, sizeof *k->widest);
    k->bad = nb_alloc(job->a, chunks + 1, sizeof *k->bad);
    if (k->scratch == NULL || k->signal == NULL || k->noise == NULL || k->widest == NULL ||
        k->bad == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu pieces of an array", chunks);
    nb_pool_for(job->pool, (size_t)k->n, CHUNK, work_chunk, k);
    for (size_t i = 0; i < chunks; i++)
        if (k->bad[i])
            return refuse_value(k, err);
    fill_error(k, chunks, e);
    return NB_OK;
}

static enum nb_status check_importance(const struct nb_array_job *job, uint64_t n, uint64_t cols,
                                       struct nb_error *err)
{
    if (job->n_importance != 0 && job->n_importance != cols && job->n_importance != n)
        NB_FAIL(err, NB_ERR_ARG,
                "%llu weights of importance; expected one for each of %llu columns, or of %llu "
                "numbers",
                (unsigned long long)job->n_importance, (unsigned long long)cols,
                (unsigned long long)n);
    for (uint64_t i = 0; i < job->n_importance; i++)
        if (!(job->importance[i] >= 0.0F) || !isfinite(job->importance[i]))
            NB_FAIL(err, NB_ERR_NUMERIC,
                    "importance %llu is %g; expected a finite number, not negative",
                    (unsigned long long)i, (double)job->importance[i]);
    return NB_OK;
}

static enum nb_status find_type(const struct nb_numfmt **type, const char *name,
                                struct nb_error *err)
{
    char quote[64];
    *type = nb_numfmt_find(name);
    if (*type == NULL)
        NB_FAIL(err, NB_ERR_ARG, "there is no number format '%s'; 'nibble list formats' shows all",
                nb_printable(quote, sizeof quote, name, strlen(name)));
    if ((*type)->encode == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s is a storage type: nibble does not encode into it",
                (*type)->name);
    return NB_OK;
}

enum nb_status nb_qarray_bytes(const char *type, const struct nb_shape *shape, uint64_t *bytes,
                               struct nb_error *err)
{
    const struct nb_numfmt *f;
    NB_TRY(find_type(&f, type, err));
    return nb_numfmt_bytes(f, shape, bytes, err);
}

enum nb_status nb_qarray_create(struct nb_qarray **out, const struct nb_array_job *job,
                                struct nb_array_error *e, struct nb_error *err)
{
    struct work k = {.job = job};
    const struct nb_numfmt *type;
    uint64_t bytes;
    *out = NULL;
    NB_TRY(find_type(&type, job->type, err));
    NB_TRY(nb_numfmt_bytes(type, &job->shape, &bytes, err));
    if (!nb_shape_count(&job->shape, &k.n) || k.n > SIZE_MAX / sizeof(double))
        NB_FAIL(err, NB_ERR_ARG, "an array of more than 2^61 numbers");
    NB_TRY(check_importance(job, k.n, nb_shape_cols(&job->shape), err));
    struct nb_qarray *q = nb_alloc_zero(job->a, 1, sizeof *q);
    if (q == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    *q = (struct nb_qarray){.a = job->a, .type = type, .shape = job->shape, .bytes = bytes};
    q->data = nb_alloc(job->a, (size_t)bytes + 1, 1);
    k.q = q;
    enum nb_status st = NB_OK;
    if (q->data == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %llu bytes of %s",
                      (unsigned long long)bytes, type->name);
    if (st == NB_OK)
        st = run(&k, e, err);
    nb_free(job->a, k.scratch);
    nb_free(job->a, k.signal);
    nb_free(job->a, k.noise);
    nb_free(job->a, k.widest);
    nb_free(job->a, k.bad);
    if (st != NB_OK) {
        nb_qarray_destroy(q);
        return st;
    }
    *out = q;
    return NB_OK;
}

void nb_qarray_destroy(struct nb_qarray *q)
{
    if (q == NULL)
        return;
    nb_free(q->a, q->data);
    nb_free(q->a, q);
}

struct decode_work {
    const struct nb_qarray *q;
    float *y;
};

static void decode_chunk(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct decode_work *k = ctx;
    const struct nb_numfmt *f = k->q->type;
    (void)worker;
    nb_numfmt_decode(f, k->q->data + begin / f->block * f->block_bytes, k->y + begin, end - begin);
}

void nb_qarray_decode(const struct nb_qarray *q, float *y, struct nb_pool *pool)
{
    struct decode_work k = {.q = q, .y = y};
    uint64_t n = 0;
    if (nb_shape_count(&q->shape, &n))
        nb_pool_for(pool, (size_t)n, CHUNK, decode_chunk, &k);
}
