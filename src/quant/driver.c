/* quant/driver.c: streams every weight through its encoder into the output.
 *
 * A chunk of rows is cut into segments (dialect.h). While the pool encodes the segments of one chunk into
 * one buffer, one of its workers writes the buffer of the chunk before. Source pages are dropped behind
 * the reader, so memory stays at two chunks and each worker's scratch. Hashes, errors and sums are kept
 * by segment and combined in their order: nothing depends on the number of threads.
 */
#include "quant/quant_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "math/math.h"
#include "numfmt/grid.h"
#include "quant/calibrated.h"

#define NONE      UINT64_MAX
#define NO_MEMORY (UINT64_MAX - 1)

/* What is known of a segment once it is encoded. */
struct segments {
    struct nb_hash *source, *out; /* (n) */
    double *signal, *noise;       /* (n) sum x^2, sum (x - x')^2 */
    uint64_t *bad;                /* (n) element that cannot be stored, NO_MEMORY or NONE */
    size_t n, cap;
};

/* A run under way. Owns: all but plan and report. */
struct run {
    const struct nb_quant_plan *p;
    const struct nb_journal *finished; /* tensors that need no work; NULL: none */
    const struct nb_kernels *kernels;
    struct nb_export *e;
    struct nb_hash *source, *out; /* (p->n) of tensors */
    struct segments seg;
    uint8_t *buffer[2]; /* (p->chunk_bytes) */
    unsigned filling;   /* buffer of the chunk at hand */
    size_t pending;     /* bytes in the other one, to be written */
    uint8_t *scratch;   /* (workers, scratch_bytes) */
    size_t scratch_bytes;
    enum nb_status write_status;
    struct nb_error write_error;
    uint64_t done, total; /* source bytes */
    double signal, noise; /* of weights that changed */
    /* the weight at hand */
    size_t weight;
    const struct nb_plan_tensor *t;
    const struct nb_journal_entry *ready; /* its bytes are there already; NULL: they are not */
    struct nb_quant_sizes sizes;
    uint64_t rows, cols, segment_rows;
    uint64_t row_in, row_out; /* bytes */
    uint8_t *side;            /* what the output's rows share, the largest of all weights */
    float *importance;        /* (matrices, batch) of a matrix' columns, row after row */
    uint64_t mat_rows;        /* of one matrix: experts have several */
    size_t first;             /* segment of the chunk at hand */
};

/* ---- a segment, in a worker ---- */

/* Index of the first NaN or infinity, n if there is none. */
static size_t first_bad(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((nb_f32_bits(x[i]) & 0x7f800000U) == 0x7f800000U)
            return i;
    return n;
}

/* Adds the sums of one batch of whole rows. y becomes y - x. False: something is not finite. */
static bool add_error(const struct run *r, size_t s, const float *x, float *y, uint64_t n_rows)
{
    const size_t cols = (size_t)r->cols;
    for (uint64_t row = 0; row < n_rows; row++, x += cols) {
        const float signal = r->kernels->dot_f32_f32(x, x, cols);
        r->seg.signal[s] += (double)signal;
        if (y != NULL) {
            r->kernels->axpy_f32_f32(y, -1.0F, x, cols);
            const float noise = r->kernels->dot_f32_f32(y, y, cols);
            r->seg.noise[s] += (double)noise;
            y += cols;
        }
    }
    return isfinite(r->seg.signal[s]) && isfinite(r->seg.noise[s]);
}

/* Rows to be encoded: [row, row + n) from src to dst. */
struct batch {
    uint64_t row, n;
    const uint8_t *src;
    uint8_t *dst;
};

static void decode_source(const struct run *r, const struct batch *b, float *x)
{
    const struct nb_numfmt *from = r->t->weight->t.type;
    if (from->kind == NB_NUMFMT_GRID)
        nb_model_read_rows(r->p->model, r->weight, b->row, b->n, x);
    else
        nb_numfmt_decode(from, b->src, x, (size_t)(b->n * r->cols));
}

static void decode_result(const struct run *r, const struct batch *b, float *y)
{
    const struct nb_shape *shape = &r->t->weight->t.shape;
    if (r->t->type->kind != NB_NUMFMT_GRID) {
        nb_numfmt_decode(r->t->type, b->dst, y, (size_t)(b->n * r->cols));
        return;
    }
    const struct nb_parts parts = nb_grid_records(r->t->type, shape, b->dst, b->row, r->side);
    const struct nb_tensor t = {.type = r->t->type, .shape = *shape, .parts = &parts};
    nb_tensor_decode(&t, b->row, b->n, y);
}

/* Rows of one matrix. */
static enum nb_status encode_rows(const struct run *r, const struct batch *b, const float *x)
{
    const struct nb_numfmt *to = r->t->type;
    if (r->ready != NULL)
        return nb_journal_read(r->finished, r->ready, b->row * r->row_out, b->dst,
                               (size_t)(b->n * r->row_out), NULL);
    const float *importance =
        r->t->importance != NULL ? r->importance + b->row / r->mat_rows * r->sizes.batch : NULL;
    if (to->kind != NB_NUMFMT_GRID)
        return nb_numfmt_encode(to, b->dst, x, importance, (size_t)(b->n * r->cols), NULL);
    const struct nb_grid_encode e = {
        .type = to,
        .shape = &r->t->weight->t.shape,
        .how = &r->p->scale_search,
        .side = r->side,
        .importance = importance,
        .a = r->p->a,
    };
    return nb_grid_encode_rows(&e, b->dst, x, b->row, b->n, NULL);
}

/* Matrix by matrix: each has importance of its own. */
static enum nb_status encode(const struct run *r, const struct batch *b, const float *x)
{
    struct batch part = *b;
    for (uint64_t at = 0; at < b->n; at += part.n) {
        part.row = b->row + at;
        part.dst = b->dst + at * r->row_out;
        part.n = b->n - at;
        if (r->t->importance != NULL)
            part.n = NB_MIN(part.n, r->mat_rows - part.row % r->mat_rows);
        const enum nb_status st = encode_rows(r, &part, x + at * r->cols);
        if (st != NB_OK)
            return st;
    }
    return NB_OK;
}

/* One batch: decode, encode, decode again. Returns the index of an element that cannot be stored, n if all
 * can, n + 1 if memory ran out. */
static size_t encode_batch(const struct run *r, size_t s, const struct batch *b, float *x, float *y)
{
    const size_t n = (size_t)(b->n * r->cols);
    decode_source(r, b, x);
    if (r->t->weight->t.type == r->t->type && r->ready == NULL) {
        memcpy(b->dst, b->src, (size_t)(b->n * r->row_out));
        return add_error(r, s, x, NULL, b->n) ? n : first_bad(x, n);
    }
    const enum nb_status st = encode(r, b, x);
    if (st != NB_OK)
        return st == NB_ERR_NOMEM ? n + 1 : first_bad(x, n);
    decode_result(r, b, y);
    if (add_error(r, s, x, y, b->n))
        return n;
    decode_result(r, b, y); /* too large for the type's range? */
    return first_bad(y, n);
}

static void encode_segment(const struct run *r, size_t s, uint8_t *dst, uint8_t *scratch)
{
    const uint64_t row = s * r->segment_rows, n_rows = NB_MIN(r->segment_rows, r->rows - row);
    const uint64_t batch_rows = r->sizes.batch / r->cols;
    float *x = (float *)(void *)scratch;
    float *y = x + r->sizes.batch;
    const uint8_t *src = nb_model_rows(r->p->model, r->weight, row, n_rows,
                                       scratch + 2 * sizeof(float) * r->sizes.batch);
    r->seg.signal[s] = r->seg.noise[s] = 0.0;
    r->seg.bad[s] = NONE;
    r->seg.source[s] = nb_hash_bytes(src, (size_t)(n_rows * r->row_in));
    for (uint64_t at = 0; at < n_rows; at += batch_rows) {
        const uint64_t n = NB_MIN(batch_rows, n_rows - at);
        const struct batch b = {row + at, n, src + at * r->row_in, dst + at * r->row_out};
        const size_t bad = encode_batch(r, s, &b, x, y);
        if (bad != n * r->cols) {
            r->seg.bad[s] = bad > n * r->cols ? NO_MEMORY : (row + at) * r->cols + bad;
            return;
        }
    }
    r->seg.out[s] = nb_hash_bytes(dst, (size_t)(n_rows * r->row_out));
}

/* Item 0 writes what the chunk before left; item i encodes segment first + i - 1. */
static void work(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct run *r = ctx;
    for (size_t i = begin; i < end; i++) {
        if (i == 0) {
            if (r->pending > 0)
                r->write_status =
                    nb_export_append(r->e, r->buffer[1 - r->filling], r->pending, &r->write_error);
            continue;
        }
        encode_segment(r, r->first + i - 1,
                       r->buffer[r->filling] + (i - 1) * r->segment_rows * r->row_out,
                       r->scratch + worker * r->scratch_bytes);
    }
}

/* ---- a weight ---- */

static enum nb_status refuse_value(const struct run *r, uint64_t element, struct nb_error *err)
{
    const uint64_t row = element / r->cols, col = element % r->cols;
    const struct nb_weight *w = &r->p->model->w.items[r->weight];
    float *x = nb_alloc(r->p->a, (size_t)r->cols, sizeof *x);
    if (x == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    nb_model_read_rows(r->p->model, r->weight, row, 1, x);
    const double value = (double)x[col];
    nb_free(r->p->a, x);
    if (isfinite(value))
        NB_FAIL(err, NB_ERR_NUMERIC, "tensor '%s': row %llu, column %llu: %g is too large for %s",
                w->spec.name, (unsigned long long)row, (unsigned long long)col, value,
                r->t->type->name);
    NB_FAIL(err, NB_ERR_NUMERIC,
            "tensor '%s': row %llu, column %llu is %s, expected a finite number", w->spec.name,
            (unsigned long long)row, (unsigned long long)col, isnan(value) ? "NaN" : "infinite");
}

static enum nb_status report_progress(const struct run *r, struct nb_error *err)
{
    const struct nb_progress *g = r->p->settings.progress;
    if (g == NULL || g->fn == NULL)
        return NB_OK;
    if (g->fn(g->ctx, r->t->weight->spec.name, r->done, r->total, "bytes") != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "cancelled at tensor '%s'", r->t->weight->spec.name);
    return NB_OK;
}

/* Encodes n segments from r->first on, and writes the chunk before meanwhile. */
static enum nb_status run_chunk(struct run *r, size_t n, struct nb_error *err)
{
    const uint64_t row = r->first * r->segment_rows;
    const uint64_t n_rows = NB_MIN(n * r->segment_rows, r->rows - row);
    nb_pool_for(r->p->settings.pool, n + 1, 1, work, r);
    nb_model_drop_rows(r->p->model, r->weight, row, n_rows);
    if (r->write_status != NB_OK) {
        if (err != NULL)
            *err = r->write_error;
        return r->write_status;
    }
    for (size_t s = r->first; s < r->first + n; s++)
        if (r->seg.bad[s] == NO_MEMORY)
            NB_FAIL(err, NB_ERR_NOMEM, "tensor '%s': out of memory while it is encoded",
                    r->t->weight->spec.name);
        else if (r->seg.bad[s] != NONE)
            return refuse_value(r, r->seg.bad[s], err);
    r->pending = r->t->stored ? (size_t)(n_rows * r->row_out) : 0;
    if (r->t->stored && row + n_rows == r->rows && r->t->side_bytes > 0) {
        memcpy(r->buffer[r->filling] + r->pending, r->side, (size_t)r->t->side_bytes);
        r->pending += (size_t)r->t->side_bytes;
    }
    r->filling = 1 - r->filling;
    if (r->t->stored)
        r->done += n_rows * r->row_in;
    return report_progress(r, err);
}

static enum nb_status grow_segments(struct run *r, size_t n, struct nb_error *err)
{
    struct segments *s = &r->seg;
    const struct nb_allocator *a = r->p->a;
    s->n = n;
    if (n <= s->cap)
        return NB_OK;
    nb_free(a, s->source);
    nb_free(a, s->out);
    nb_free(a, s->signal);
    nb_free(a, s->noise);
    nb_free(a, s->bad);
    s->cap = n;
    s->source = nb_alloc(a, n + 1, sizeof *s->source); /* and one for what rows share */
    s->out = nb_alloc(a, n + 1, sizeof *s->out);
    s->signal = nb_alloc(a, n, sizeof *s->signal);
    s->noise = nb_alloc(a, n, sizeof *s->noise);
    s->bad = nb_alloc(a, n, sizeof *s->bad);
    if (s->source == NULL || s->out == NULL || s->signal == NULL || s->noise == NULL ||
        s->bad == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu segments", n);
    return NB_OK;
}

static double snr_db(double signal, double noise)
{
    return noise > 0.0 ? 10.0 * log10(signal / noise) : (double)INFINITY;
}

/* A grid's shared parts are one more segment. */
static size_t add_side(struct nb_hash *segments, size_t n, const uint8_t *side, uint64_t bytes)
{
    if (bytes == 0)
        return n;
    segments[n] = nb_hash_bytes(side, (size_t)bytes);
    return n + 1;
}

static void finish_weight(struct run *r, struct nb_quant_report *report)
{
    const struct segments *s = &r->seg;
    const struct nb_weight *w = r->t->weight;
    const double signal = nb_sum_f64(s->signal, s->n), noise = nb_sum_f64(s->noise, s->n);
    const double db = snr_db(signal, noise);
    const size_t n_out = add_side(s->out, s->n, r->side, r->t->side_bytes);
    r->out[r->weight] = nb_tensor_hash(w->spec.name, r->t->type, &w->t.shape, s->out, n_out);
    uint64_t side = 0;
    if (w->t.type->kind == NB_NUMFMT_GRID) {
        side = nb_grid_side_bytes(w->t.type, &w->t.shape);
        nb_grid_side(&w->t, r->side);
    }
    const size_t n_source = add_side(s->source, s->n, r->side, side);
    r->source[r->weight] =
        nb_tensor_hash(w->spec.name, w->t.type, &w->t.shape, s->source, n_source);
    if (noise > 0.0) {
        r->signal += signal;
        r->noise += noise;
    }
    if (report->snr_db != NULL)
        report->snr_db[r->weight] = db;
    if (db < report->worst_snr_db) {
        report->worst_snr_db = db;
        report->worst = r->weight;
    }
}

static enum nb_status train_batch(const struct run *r, struct nb_grid_training *t, uint64_t row,
                                  uint64_t n_rows, const float *x, struct nb_error *err)
{
    if (r->t->importance == NULL)
        return nb_grid_train(t, x, NULL, n_rows, err);
    while (n_rows > 0) { /* matrix by matrix */
        const uint64_t n = NB_MIN(n_rows, r->mat_rows - row % r->mat_rows);
        NB_TRY(nb_grid_train(t, x, r->importance + row / r->mat_rows * r->sizes.batch, n, err));
        x += n * r->cols;
        row += n;
        n_rows -= n;
    }
    return NB_OK;
}

/* All rows of the weight at hand, in order, to the training. */
static enum nb_status train(struct run *r, struct nb_grid_training *t, struct nb_error *err)
{
    const uint64_t batch_rows = r->sizes.batch / r->cols;
    float *x = (float *)(void *)r->scratch;
    for (uint64_t row = 0; row < r->rows; row += batch_rows) {
        const uint64_t n = NB_MIN(batch_rows, r->rows - row);
        nb_model_read_rows(r->p->model, r->weight, row, n, x);
        const size_t bad = first_bad(x, (size_t)(n * r->cols));
        if (bad < n * r->cols)
            return refuse_value(r, row * r->cols + bad, err);
        NB_TRY(train_batch(r, t, row, n, x, err));
        nb_model_drop_rows(r->p->model, r->weight, row, n);
        if (row % (64 * batch_rows) == 0)
            NB_TRY(report_progress(r, err));
    }
    return nb_grid_training_finish(t, r->side, r->p->settings.pool, err);
}

/* What the rows of the output share: learned from all of them, or as the source has it. */
static enum nb_status find_side(struct run *r, struct nb_error *err)
{
    const struct nb_tensor *source = &r->t->weight->t;
    struct nb_grid_training *t;
    if (r->t->side_bytes == 0)
        return NB_OK;
    if (source->type == r->t->type) {
        nb_grid_side(source, r->side);
        return NB_OK;
    }
    if (r->ready != NULL)
        return nb_journal_read(r->finished, r->ready, r->rows * r->row_out, r->side,
                               (size_t)r->t->side_bytes, err);
    NB_TRY(
        nb_grid_training_create(&t, r->t->type, &source->shape, &r->p->scale_search, r->p->a, err));
    const enum nb_status st = train(r, t, err);
    nb_grid_training_destroy(t);
    return st;
}

static enum nb_status run_weight(struct run *r, size_t i, struct nb_quant_report *report,
                                 struct nb_error *err)
{
    r->weight = i;
    r->t = &r->p->tensors[i];
    r->ready = r->finished != NULL ? nb_journal_find(r->finished, r->t->weight->spec.name) : NULL;
    r->sizes = nb_quant_sizes(r->t);
    r->rows = nb_shape_rows(&r->t->weight->t.shape);
    r->cols = nb_shape_cols(&r->t->weight->t.shape);
    r->segment_rows = nb_segment_rows(&r->t->weight->t.shape);
    r->row_in = r->t->source_bytes / r->rows;
    r->row_out = (r->t->bytes - r->t->side_bytes) / r->rows;
    const size_t n = (size_t)((r->rows + r->segment_rows - 1) / r->segment_rows);
    const uint64_t n_mat = nb_quant_matrices(&r->t->weight->t.shape);
    r->mat_rows = r->rows / n_mat;
    for (size_t k = 0; r->t->importance != NULL && k < n_mat; k++) {
        float *w = r->importance + k * r->sizes.batch;
        nb_moment_means(r->t->importance, k * (size_t)r->cols, (size_t)r->cols, w);
        for (size_t at = (size_t)r->cols; at < r->sizes.batch; at += (size_t)r->cols)
            memcpy(w + at, w, (size_t)r->cols * sizeof *w);
    }
    NB_TRY(grow_segments(r, n, err));
    NB_TRY(find_side(r, err));
    const uint64_t per_chunk = NB_MAX(r->p->chunk_elements / (r->segment_rows * r->cols), 1);
    for (r->first = 0; r->first < n; r->first += (size_t)per_chunk)
        NB_TRY(run_chunk(r, (size_t)NB_MIN(per_chunk, n - r->first), err));
    finish_weight(r, report);
    return NB_OK;
}

/* ---- the run ---- */

static enum nb_status run_init(struct run *r, struct nb_error *err)
{
    const struct nb_quant_plan *p = r->p;
    size_t batch = 1;
    uint64_t side = 1;
    for (size_t i = 0; i < p->n; i++) {
        const struct nb_quant_sizes s = nb_quant_sizes(&p->tensors[i]);
        if (p->tensors[i].importance != NULL)
            batch =
                NB_MAX(batch, s.batch * (size_t)nb_quant_matrices(&p->tensors[i].weight->t.shape));
        r->scratch_bytes = NB_MAX(r->scratch_bytes, 2 * sizeof(float) * s.batch + s.gather);
        side = NB_MAX(side, p->tensors[i].side_bytes);
        if (p->tensors[i].weight->t.type->kind == NB_NUMFMT_GRID)
            side = NB_MAX(side, nb_grid_side_bytes(p->tensors[i].weight->t.type,
                                                   &p->tensors[i].weight->t.shape));
        r->total += p->tensors[i].stored ? p->tensors[i].source_bytes : 0;
    }
    r->scratch_bytes = (r->scratch_bytes + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
    r->source = nb_alloc(p->a, p->n, sizeof *r->source);
    r->out = nb_alloc(p->a, p->n, sizeof *r->out);
    r->buffer[0] = nb_alloc(p->a, (size_t)p->chunk_bytes, 1);
    r->buffer[1] = nb_alloc(p->a, (size_t)p->chunk_bytes, 1);
    r->scratch = nb_alloc(p->a, nb_pool_threads(p->settings.pool), r->scratch_bytes);
    r->importance = nb_alloc(p->a, batch, sizeof *r->importance);
    r->side = nb_alloc(p->a, (size_t)side, 1);
    if (r->source == NULL || r->out == NULL || r->buffer[0] == NULL || r->buffer[1] == NULL ||
        r->scratch == NULL || r->importance == NULL || r->side == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for buffers of %llu bytes",
                (unsigned long long)p->chunk_bytes);
    return NB_OK;
}

static void run_fini(struct run *r)
{
    const struct nb_allocator *a = r->p->a;
    nb_export_destroy(r->e);
    nb_free(a, r->source);
    nb_free(a, r->out);
    nb_free(a, r->buffer[0]);
    nb_free(a, r->buffer[1]);
    nb_free(a, r->scratch);
    nb_free(a, r->importance);
    nb_free(a, r->side);
    nb_free(a, r->seg.source);
    nb_free(a, r->seg.out);
    nb_free(a, r->seg.signal);
    nb_free(a, r->seg.noise);
    nb_free(a, r->seg.bad);
}

/* Weights in the order of the output; then those it does not store, for the hash alone. */
static enum nb_status run_weights(struct run *r, struct nb_quant_report *report,
                                  struct nb_error *err)
{
    size_t n;
    const size_t *order = nb_export_order(r->e, &n);
    for (size_t k = 0; k < n; k++)
        NB_TRY(run_weight(r, order[k], report, err));
    for (size_t i = 0; i < r->p->n; i++)
        if (!r->p->tensors[i].stored)
            NB_TRY(run_weight(r, i, report, err));
    if (r->pending > 0)
        NB_TRY(nb_export_append(r->e, r->buffer[1 - r->filling], r->pending, err));
    return NB_OK;
}

static enum nb_status run_all(struct run *r, struct nb_quant_report *report, struct nb_error *err)
{
    const struct nb_quant_plan *p = r->p;
    const struct nb_export_spec spec = nb_quant_spec(p);
    char hex[NB_HASH_HEX_BYTES];
    NB_TRY(run_init(r, err));
    NB_TRY(nb_export_begin(&r->e, p->settings.out, p->settings.overwrite ? NB_OUT_OVERWRITE : 0,
                           &spec, p->a, err));
    NB_TRY(run_weights(r, report, err));
    report->source_hash = nb_tensors_hash(r->source, p->n);
    report->out_hash = nb_tensors_hash(r->out, p->n);
    nb_hash_hex(report->source_hash, hex);
    NB_TRY(nb_export_patch(r->e, NB_KEY_SOURCE_HASH, hex, strlen(hex), err));
    return nb_export_commit(r->e, err);
}

/* <out>.journal, where a trailing slash of a folder does not count. */
static enum nb_status open_journal(const struct nb_quant_plan *p, struct nb_journal **j,
                                   size_t *resumed, struct nb_error *err)
{
    size_t n = strlen(p->settings.out);
    struct nb_str path;
    while (n > 1 && p->settings.out[n - 1] == '/')
        n--;
    nb_str_init(&path, p->a);
    nb_str_append(&path, p->settings.out, n);
    nb_str_puts(&path, ".journal");
    struct nb_hash job = {0, 0};
    enum nb_status st = nb_str_check(&path, err);
    if (st == NB_OK)
        st = nb_calibrated_job(p, &job, err);
    if (st == NB_OK)
        st = nb_journal_open(j, path.data, job, p->a, resumed, err);
    if (st == NB_OK && *resumed > 0)
        nb_log_msg(p->settings.log, NB_LOG_INFO, "%zu tensors are taken from %s", *resumed,
                   path.data);
    nb_str_fini(&path);
    return st;
}

static enum nb_status calibrate(struct run *r, struct nb_journal **j,
                                struct nb_quant_report *report, struct nb_error *err)
{
    struct nb_layer_report *layers = report->layers;
    NB_TRY(open_journal(r->p, j, &report->n_resumed, err));
    if (layers == NULL)
        layers = nb_alloc_zero(r->p->a, r->p->n, sizeof *layers);
    if (layers == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for reports");
    const enum nb_status st = nb_calibrated_run(r->p, *j, layers, &report->times, err);
    if (layers != report->layers)
        nb_free(r->p->a, layers);
    r->finished = *j;
    return st;
}

/* After a failure: what is finished stays, an empty journal does not. */
static void leave_journal(const struct nb_quant_plan *p, struct nb_journal *j)
{
    const size_t n = j != NULL ? nb_journal_count(j) : 0;
    if (n == 0) {
        nb_journal_finish(j);
        return;
    }
    nb_log_msg(p->settings.log, NB_LOG_WARN,
               "%zu finished tensors are kept in '%s'; the same command goes on from there", n,
               nb_journal_path(j));
    nb_journal_close(j);
}

enum nb_status nb_quant_run(const struct nb_quant_plan *p, struct nb_quant_report *report,
                            struct nb_error *err)
{
    const uint64_t begin = nb_clock_ns();
    struct run r = {.p = p, .kernels = nb_kernels_get()};
    struct nb_journal *j = NULL;
    *report = (struct nb_quant_report){
        .snr_db = report->snr_db, .layers = report->layers, .worst_snr_db = (double)INFINITY};
    enum nb_status st = NB_OK;
    if (p->settings.windows != NULL)
        st = calibrate(&r, &j, report, err);
    if (st == NB_OK)
        st = run_all(&r, report, err);
    if (st == NB_OK)
        nb_journal_finish(j);
    else
        leave_journal(p, j);
    report->total_snr_db = snr_db(r.signal, r.noise);
    report->bytes = p->file_bytes;
    report->seconds = (double)(nb_clock_ns() - begin) * 1e-9;
    run_fini(&r);
    return st;
}
