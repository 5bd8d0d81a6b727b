/* quant/array.c: arrays of any shape into a number format, and what that cost.
 *
 * Blocks lie along the last dimension and are independent, so the numbers are cut into chunks of whole
 * blocks (of whole rows, for a general grid, after training what its rows share); each is encoded,
 * decoded again and compared. The sums of the chunks are added in their order: bytes and figures do not
 * depend on the threads.
 */
#include "quant/quant_internal.h"

#include <math.h>
#include <string.h>

#include "math/math.h"
#include "numfmt/grid.h"

#define CHUNK 8192 /* elements: a multiple of every block */

/* Owns: scratch and sums. */
struct work {
    struct nb_qarray *q;
    const struct nb_array_job *job;
    uint64_t n, rows, cols;
    size_t units, grain; /* of the pool: elements of blocks, rows of grids */
    float *scratch;      /* (threads, a chunk's elements) */
    uint8_t *records;    /* (threads, records_bytes): a chunk's rows of a grid */
    size_t records_bytes;
    double *signal, *noise, *widest; /* (chunks) */
    bool *failed;                    /* (chunks): out of memory */
};

static bool is_grid(const struct nb_numfmt *f)
{
    return f->kind == NB_NUMFMT_GRID;
}

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

/* ---- blocks ---- */

static uint8_t *block_at(const struct nb_qarray *q, uint64_t element)
{
    return q->data + element / q->type->block * q->type->block_bytes;
}

static enum nb_status encode_blocks(const struct work *k, uint64_t at, size_t n)
{
    for (size_t done = 0, run; done < n; done += run) {
        const float *w = importance_at(k->job, at + done, n - done, &run);
        NB_TRY(nb_numfmt_encode(k->q->type, block_at(k->q, at + done), k->job->x + at + done, w,
                                run, NULL));
    }
    return NB_OK;
}

/* ---- grids ---- */

/* Rows [row, row + n) from records to the parts that have a piece of each. */
static void scatter(const struct nb_qarray *q, const uint8_t *records, uint64_t row, uint64_t n)
{
    const uint64_t record = nb_grid_row_bytes(q->type, nb_shape_cols(&q->shape));
    uint64_t at = 0;
    for (size_t p = 0; p < q->n_parts; p++) {
        const struct nb_qarray_part *part = &q->part[p];
        for (uint64_t r = 0; r < n && part->row_bytes > 0; r++)
            memcpy(part->data + (row + r) * part->row_bytes, records + r * record + at,
                   (size_t)part->row_bytes);
        at += part->row_bytes;
    }
}

/* Rows are encoded one by one where each has importance of its own. */
static enum nb_status encode_rows(const struct work *k, uint64_t row, uint64_t n, uint8_t *records)
{
    const struct nb_qarray *q = k->q;
    const uint64_t record = nb_grid_row_bytes(q->type, k->cols);
    const uint64_t step = k->job->n_importance == k->n ? 1 : n;
    for (uint64_t r = 0; r < n; r += step) {
        size_t run;
        const struct nb_grid_encode e = {
            .type = q->type,
            .shape = &q->shape,
            .side = q->side_bytes > 0 ? q->side : NULL,
            .importance = importance_at(k->job, (row + r) * k->cols, (size_t)k->cols, &run),
            .a = k->job->a};
        NB_TRY(nb_grid_encode_rows(&e, records + r * record, k->job->x + (row + r) * k->cols,
                                   row + r, NB_MIN(step, n - r), NULL));
    }
    scatter(q, records, row, n);
    return NB_OK;
}

static void decode_rows(const struct nb_qarray *q, uint64_t row, uint64_t n, float *y)
{
    const struct nb_tensor t = {.type = q->type, .shape = q->shape, .parts = &q->parts};
    nb_tensor_decode(&t, row, n, y);
}

/* What all rows share. */
static enum nb_status train(const struct work *k, struct nb_error *err)
{
    const struct nb_array_job *job = k->job;
    struct nb_grid_training *t;
    enum nb_status st = NB_OK;
    if (!nb_grid_needs_training(k->q->type))
        return NB_OK;
    NB_TRY(nb_grid_training_create(&t, k->q->type, &k->q->shape, NULL, job->a, err));
    const uint64_t step = job->n_importance == k->n ? 1 : k->rows;
    for (uint64_t r = 0; r < k->rows && st == NB_OK; r += step) {
        size_t run;
        const float *w = importance_at(job, r * k->cols, (size_t)k->cols, &run);
        st = nb_grid_train(t, job->x + r * k->cols, w, step, err);
    }
    if (st == NB_OK)
        st = nb_grid_training_finish(t, k->q->side, job->pool, err);
    nb_grid_training_destroy(t);
    return st;
}

/* ---- both ---- */

static void compare(struct work *k, size_t chunk, const float *x, const float *y, size_t n)
{
    double signal = 0.0, noise = 0.0, widest = 0.0;
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

static void work_chunk(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct work *k = ctx;
    const bool grid = is_grid(k->q->type);
    const size_t chunk = begin / k->grain, width = grid ? (size_t)k->cols : 1;
    const size_t n = (end - begin) * width;
    float *y = k->scratch + (size_t)worker * k->grain * width;
    uint8_t *records = k->records + (size_t)worker * k->records_bytes;
    k->failed[chunk] =
        (grid ? encode_rows(k, begin, end - begin, records) : encode_blocks(k, begin, n)) != NB_OK;
    if (k->failed[chunk])
        return;
    if (grid)
        decode_rows(k->q, begin, end - begin, y);
    else
        nb_numfmt_decode(k->q->type, block_at(k->q, begin), y, n);
    compare(k, chunk, k->job->x + begin * width, y, n);
}

static enum nb_status check_values(const struct work *k, struct nb_error *err)
{
    uint64_t i = 0;
    while (i < k->n && isfinite(k->job->x[i]))
        i++;
    if (i == k->n)
        return NB_OK;
    NB_FAIL(err, NB_ERR_NUMERIC, "row %llu, column %llu is %s, expected a finite number",
            (unsigned long long)(i / k->cols), (unsigned long long)(i % k->cols),
            k->job->x[i] != k->job->x[i] ? "NaN" : "infinite");
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
    const bool grid = is_grid(k->q->type);
    k->units = k->n == 0 ? 0 : (size_t)(grid ? k->rows : k->n);
    k->grain = grid ? NB_MAX(CHUNK / (size_t)NB_MAX(k->cols, 1), 1) : CHUNK;
    const size_t chunks = (k->units + k->grain - 1) / k->grain;
    const size_t wide = grid ? k->grain * (size_t)NB_MAX(k->cols, 1) : CHUNK;
    NB_TRY(check_values(k, err));
    k->scratch = nb_alloc(job->a, nb_pool_threads(job->pool), wide * sizeof *k->scratch);
    k->records_bytes = grid ? k->grain * (size_t)nb_grid_row_bytes(k->q->type, k->cols) : 1;
    k->records = nb_alloc(job->a, nb_pool_threads(job->pool), k->records_bytes + 1);
    k->signal = nb_alloc(job->a, chunks + 1, sizeof *k->signal);
    k->noise = nb_alloc(job->a, chunks + 1, sizeof *k->noise);
    k->widest = nb_alloc(job->a, chunks + 1, sizeof *k->widest);
    k->failed = nb_alloc(job->a, chunks + 1, sizeof *k->failed);
    if (k->scratch == NULL || k->records == NULL || k->signal == NULL || k->noise == NULL ||
        k->widest == NULL || k->failed == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu pieces of an array", chunks);
    if (grid && chunks > 0)
        NB_TRY(train(k, err));
    nb_pool_for(job->pool, k->units, k->grain, work_chunk, k);
    for (size_t i = 0; i < chunks; i++)
        if (k->failed[i])
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory while encoding into %s", k->q->type->name);
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
    if ((*type)->encode == NULL && !is_grid(*type))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s is a storage type: nibble does not encode into it",
                (*type)->name);
    return NB_OK;
}

enum nb_status nb_qarray_bytes(const char *type, const struct nb_shape *shape, uint64_t *bytes,
                               struct nb_error *err)
{
    const struct nb_numfmt *f;
    NB_TRY(find_type(&f, type, err));
    NB_TRY(nb_numfmt_bytes(f, shape, bytes, err));
    if (is_grid(f))
        *bytes += nb_grid_side_bytes(f, shape);
    return NB_OK;
}

/* ---- the array ---- */

/* The parts of a grid: those with a piece per row each from an aligned byte of data, the others back to
 * back in side. */
static void place_parts(struct nb_qarray *q)
{
    uint64_t at = 0, side = 0;
    for (int p = 0; p < NB_MAX_PARTS; p++) {
        const struct nb_grid_part g = nb_grid_part(q->type, &q->shape, (enum nb_part)p);
        if (g.type == NULL)
            continue;
        q->part[q->n_parts++] = (struct nb_qarray_part){
            .name = g.name,
            .type = g.type,
            .shape = g.shape,
            .data = g.per_row ? q->data + at : q->side + side,
            .bytes = g.bytes,
            .row_bytes = g.per_row ? g.row_bytes : 0,
        };
        q->parts.at[p] = q->part[q->n_parts - 1].data;
        q->parts.stride[p] = g.per_row ? (size_t)g.row_bytes : 0;
        if (g.per_row)
            at += (g.bytes + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
        else
            side += g.bytes;
    }
}

enum nb_status nb_qarray_allocate(struct nb_qarray **out, const struct nb_numfmt *type,
                                  const struct nb_shape *shape, const struct nb_allocator *a,
                                  struct nb_error *err)
{
    uint64_t bytes;
    *out = NULL;
    NB_TRY(nb_numfmt_bytes(type, shape, &bytes, err));
    const uint64_t side = is_grid(type) ? nb_grid_side_bytes(type, shape) : 0;
    if (bytes > SIZE_MAX / 4 || side > SIZE_MAX / 4)
        NB_FAIL(err, NB_ERR_LIMIT, "an array of more bytes than memory can hold");
    struct nb_qarray *q = nb_alloc_zero(a, 1, sizeof *q);
    if (q == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    *q = (struct nb_qarray){
        .a = a, .type = type, .shape = *shape, .bytes = bytes + side, .side_bytes = side};
    q->data = nb_alloc_zero(a, (size_t)bytes + NB_MAX_PARTS * NB_ALIGN, 1);
    q->side = nb_alloc_zero(a, (size_t)side + 1, 1);
    if (q->data == NULL || q->side == NULL) {
        nb_qarray_destroy(q);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu bytes of %s",
                (unsigned long long)(bytes + side), type->name);
    }
    if (is_grid(type)) {
        place_parts(q);
    } else {
        q->part[0] = (struct nb_qarray_part){
            .name = "blocks", .type = type, .shape = *shape, .data = q->data, .bytes = bytes};
        q->n_parts = 1;
    }
    *out = q;
    return NB_OK;
}

enum nb_status nb_qarray_create(struct nb_qarray **out, const struct nb_array_job *job,
                                struct nb_array_error *e, struct nb_error *err)
{
    struct work k = {.job = job};
    const struct nb_numfmt *type;
    *out = NULL;
    uint64_t bytes;
    NB_TRY(find_type(&type, job->type, err));
    NB_TRY(nb_numfmt_bytes(type, &job->shape, &bytes, err));
    if (!nb_shape_count(&job->shape, &k.n) || k.n > SIZE_MAX / sizeof(double))
        NB_FAIL(err, NB_ERR_FORMAT, "an array of more than 2^61 numbers");
    k.cols = nb_shape_cols(&job->shape);
    k.rows = k.cols > 0 ? k.n / k.cols : 0;
    NB_TRY(check_importance(job, k.n, k.cols, err));
    struct nb_qarray *q;
    NB_TRY(nb_qarray_allocate(&q, type, &job->shape, job->a, err));
    k.q = q;
    const enum nb_status st = run(&k, e, err);
    nb_free(job->a, k.scratch);
    nb_free(job->a, k.signal);
    nb_free(job->a, k.noise);
    nb_free(job->a, k.widest);
    nb_free(job->a, k.failed);
    nb_free(job->a, k.records);
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
    nb_free(q->a, q->side);
    nb_free(q->a, q);
}

void nb_qarray_decode_rows(const struct nb_qarray *q, uint64_t row, uint64_t n, float *y)
{
    const uint64_t cols = nb_shape_cols(&q->shape);
    if (is_grid(q->type))
        decode_rows(q, row, n, y);
    else
        nb_numfmt_decode(q->type, block_at(q, row * cols), y, (size_t)(n * cols));
}

struct decode_work {
    const struct nb_qarray *q;
    float *y;
};

static void decode_chunk(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct decode_work *k = ctx;
    (void)worker;
    nb_qarray_decode_rows(k->q, begin, end - begin, k->y + begin * nb_shape_cols(&k->q->shape));
}

void nb_qarray_decode(const struct nb_qarray *q, float *y, struct nb_pool *pool)
{
    struct decode_work k = {.q = q, .y = y};
    const uint64_t cols = nb_shape_cols(&q->shape);
    if (q->part[0].bytes > 0)
        nb_pool_for(pool, (size_t)nb_shape_rows(&q->shape), NB_MAX(CHUNK / (size_t)cols, 1),
                    decode_chunk, &k);
}
