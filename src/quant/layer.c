/* quant/layer.c: one weight through an algorithm, matrix by matrix, slab of rows by slab.
 *
 * Experts: a matrix that fewer tokens have met than it has columns gets the mean of all experts' second
 * moments for the tokens that are missing, so that its own few tokens lead where they say something and
 * nothing is singular where they do not. With no token at all it is rounded for the average input.
 */
#include "quant/layer.h"

#include <string.h>

#include "numfmt/coder.h"
#include "math/linalg.h"
#include "numfmt/grid.h"
#include "quant/quant_internal.h"

#define SLAB_ELEMENTS ((size_t)8 << 20) /* read and rounded at once */

/* A weight under way. Borrows: all but slab, thin, diag. */
struct layer {
    const struct nb_layer_job *job;
    const struct nb_plan_tensor *t;
    const struct nb_allocator *a;
    struct nb_pool *pool;
    struct nb_coder_spec spec;
    struct nb_scale_options how;
    struct nb_algo_layout layout;
    uint64_t rows, mat_rows, n_mat, slab_rows;
    size_t cols, row_bytes;
    float *slab;             /* (slab_rows, cols), NULL if the caller has all rows */
    float *target;           /* (slab_rows, cols), NULL without a shift */
    struct nb_hessian *thin; /* blended statistics; NULL: not needed */
    float *diag;             /* (cols) for training */
    uint8_t *records;
    struct nb_layer_report *report;
};

void nb_layer_input_fini(struct nb_layer_input *in)
{
    nb_prepared_destroy(in->prepared);
    *in = (struct nb_layer_input){.prepared = NULL};
}

static enum nb_status set_up(struct layer *l, struct nb_error *err)
{
    struct nb_coder *c;
    const struct nb_tensor *source = &l->t->weight->t;
    l->rows = nb_shape_rows(&source->shape);
    l->cols = (size_t)nb_shape_cols(&source->shape);
    l->n_mat = nb_quant_matrices(&source->shape);
    l->mat_rows = l->rows / l->n_mat;
    l->row_bytes = (size_t)((l->t->bytes - l->t->side_bytes) / l->rows);
    l->slab_rows = NB_MIN(l->mat_rows, NB_MAX(SLAB_ELEMENTS / l->cols, 1));
    l->how = nb_quant_scale_search(l->job->plan, l->job->algo);
    l->spec = (struct nb_coder_spec){.type = l->t->type,
                                     .shape = &source->shape,
                                     .how = &l->how,
                                     .side = l->records + l->rows * l->row_bytes,
                                     .a = l->a};
    if (l->t->side_bytes == 0)
        l->spec.side = NULL;
    if (l->job->w == NULL) {
        l->slab = nb_alloc(l->a, (size_t)l->slab_rows * l->cols, sizeof *l->slab);
        if (l->slab == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu rows",
                    (unsigned long long)l->slab_rows);
    }
    if (l->job->shift != NULL) {
        l->target = nb_alloc(l->a, (size_t)l->slab_rows * l->cols, sizeof *l->target);
        if (l->target == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu rows",
                    (unsigned long long)l->slab_rows);
    }
    NB_TRY(nb_coder_create(&c, &l->spec, err));
    l->layout = nb_algo_layout(c);
    const bool fits = nb_algo_supports(l->job->algo, c);
    nb_coder_destroy(c);
    if (!fits)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "method %s cannot round to %s", l->job->algo->name,
                l->t->type->name);
    return NB_OK;
}

/* Rows of the weight as floats: where the caller has them, or read. */
static const float *rows_of(const struct layer *l, uint64_t row, uint64_t n)
{
    if (l->job->w != NULL)
        return l->job->w + row * l->cols;
    nb_model_read_rows(l->job->plan->model, l->job->weight, row, n, l->slab);
    return l->slab;
}

/* ---- what rows share ---- */

static enum nb_status train_rows(const struct layer *l, struct nb_grid_training *t,
                                 struct nb_error *err)
{
    for (uint64_t m = 0; m < l->n_mat; m++) {
        double *diag = nb_alloc(l->a, l->cols, sizeof *diag);
        if (diag == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu columns", l->cols);
        nb_hessian_diag(l->job->h[m], diag);
        for (size_t i = 0; i < l->cols; i++)
            l->diag[i] = (float)(diag[i] / NB_MAX(l->job->h[m]->tokens, 1.0));
        nb_free(l->a, diag);
        for (uint64_t at = 0; at < l->mat_rows; at += l->slab_rows) {
            const uint64_t n = NB_MIN(l->slab_rows, l->mat_rows - at);
            NB_TRY(nb_grid_train(t, rows_of(l, m * l->mat_rows + at, n), l->diag, n, err));
        }
    }
    return NB_OK;
}

static enum nb_status train(struct layer *l, struct nb_error *err)
{
    struct nb_grid_training *t;
    if (l->t->side_bytes == 0 || !nb_grid_needs_training(l->t->type))
        return NB_OK;
    l->diag = nb_alloc(l->a, l->cols, sizeof *l->diag);
    if (l->diag == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu columns", l->cols);
    NB_TRY(nb_grid_training_create(&t, l->t->type, l->spec.shape, l->spec.how, l->a, err));
    enum nb_status st = train_rows(l, t, err);
    if (st == NB_OK)
        st = nb_grid_training_finish(t, l->records + l->rows * l->row_bytes, l->pool, err);
    nb_grid_training_destroy(t);
    return st;
}

/* ---- statistics ---- */

/* Those of matrix m; blended with the others' where it met too few tokens. */
static enum nb_status hessian_of(struct layer *l, size_t m, const struct nb_hessian **out,
                                 struct nb_error *err)
{
    const struct nb_hessian *const *h = l->job->h;
    const size_t n2 = l->cols * l->cols;
    double tokens = 0.0;
    *out = h[m];
    if (l->n_mat == 1 || h[m]->tokens >= (double)l->cols)
        return NB_OK;
    for (size_t k = 0; k < l->n_mat; k++)
        tokens += h[k]->tokens;
    if (!(tokens > h[m]->tokens))
        return NB_OK;
    l->report->n_thin++;
    if (l->thin == NULL)
        NB_TRY(nb_hessian_create(&l->thin, l->cols, l->a, err));
    memset(l->thin->h, 0, n2 * sizeof *l->thin->h);
    for (size_t k = 0; k < l->n_mat; k++)
        NB_TRY(nb_hessian_merge(l->thin, h[k], err));
    const double share = ((double)l->cols - h[m]->tokens) / tokens;
    for (size_t i = 0; i < n2; i++)
        l->thin->h[i] = h[m]->h[i] + share * l->thin->h[i];
    l->thin->tokens = (double)l->cols;
    *out = l->thin;
    return NB_OK;
}

static enum nb_status prepare(struct layer *l, size_t m, struct nb_error *err)
{
    struct nb_layer_input *in = l->job->input;
    const struct nb_hessian *h, *held = l->job->held != NULL ? l->job->held[m] : NULL;
    const uint64_t begin = nb_clock_ns();
    if (l->n_mat == 1 && in->prepared != NULL && in->algo == l->job->algo &&
        in->h == l->job->h[0] && nb_algo_layout_equal(in->layout, l->layout) &&
        memcmp(&in->params, l->job->params, sizeof in->params) == 0)
        return NB_OK;
    nb_layer_input_fini(in);
    NB_TRY(hessian_of(l, m, &h, err));
    const struct nb_algo_job job = {
        .n = l->cols,
        .h = h->h,
        .tokens = h->tokens,
        .held = held != NULL && held->tokens > 0.0 ? held->h : NULL,
        .held_tokens = held != NULL ? held->tokens : 0.0,
        .held_lower = held != NULL && held->lower,
        .layout = l->layout,
        .params = l->job->params,
        .pool = l->pool,
        .a = l->a,
    };
    NB_TRY(nb_prepared_create(&in->prepared, l->job->algo, &job, err));
    in->algo = l->job->algo;
    in->params = *l->job->params;
    in->layout = l->layout;
    in->h = l->job->h[m];
    in->seconds = (double)(nb_clock_ns() - begin) * 1e-9;
    l->report->prepare_seconds += in->seconds;
    return NB_OK;
}

/* ---- targets ---- */

struct shift {
    const struct nb_layer_shift *by;
    const float *w; /* (n, cols) */
    float *target;
    uint64_t row;
    size_t cols;
};

static void shift_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct shift *s = ctx;
    const size_t n = s->cols;
    float *t = s->target + begin * n;
    (void)worker;
    memcpy(t, s->w + begin * n, (end - begin) * n * sizeof *t);
    if (s->by->m != NULL)
        nb_gemm_sub_f32(t, n, s->w + begin * n, n, s->by->m, n, end - begin, n, n);
    for (size_t i = 0; s->by->r != NULL && i < (end - begin) * n; i++)
        t[i] += s->by->r[(s->row + begin) * n + i];
}

/* ---- rounding ---- */

static void add_facts(struct layer *l, size_t m)
{
    const struct nb_algo_facts *f = nb_prepared_facts(l->job->input->prepared);
    struct nb_algo_facts *sum = &l->report->facts;
    if (m == 0)
        *sum = (struct nb_algo_facts){.damp = f->damp};
    sum->mean_h += f->mean_h / (double)l->n_mat;
    sum->mean_d += f->mean_d / (double)l->n_mat;
    sum->geomean_d += f->geomean_d / (double)l->n_mat;
    sum->damp = NB_MAX(sum->damp, f->damp);
    sum->n_damp += f->n_damp;
    sum->n_dead += f->n_dead;
}

static enum nb_status round_matrix(struct layer *l, size_t m, struct nb_error *err)
{
    const struct nb_progress *progress = l->job->plan->settings.progress;
    NB_TRY(prepare(l, m, err));
    add_facts(l, m);
    for (uint64_t at = 0; at < l->mat_rows; at += l->slab_rows) {
        const uint64_t row = m * l->mat_rows + at, n = NB_MIN(l->slab_rows, l->mat_rows - at);
        const float *w = rows_of(l, row, n);
        if (l->target != NULL) {
            struct shift s = {l->job->shift, w, l->target, row, l->cols};
            nb_pool_for(l->pool, (size_t)n, 16, shift_rows, &s);
        }
        struct nb_rows rows = {.spec = &l->spec,
                               .role = l->t->weight->spec.role,
                               .row = row,
                               .n_rows = (size_t)n,
                               .w = w,
                               .target = l->target,
                               .records = l->records + row * l->row_bytes,
                               .record_bytes = l->row_bytes,
                               .sums = &l->report->sums};
        NB_TRY(nb_algo_rows(l->job->input->prepared, &rows, err));
        if (progress != NULL && progress->fn != NULL && l->rows > l->slab_rows &&
            progress->fn(progress->ctx, l->t->weight->spec.name, row + n, l->rows, "rows") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "cancelled at tensor '%s'", l->t->weight->spec.name);
    }
    return NB_OK;
}

static enum nb_status round_all(struct layer *l, struct nb_error *err)
{
    NB_TRY(set_up(l, err));
    NB_TRY(train(l, err));
    for (size_t m = 0; m < l->n_mat; m++)
        NB_TRY(round_matrix(l, m, err));
    return NB_OK;
}

enum nb_status nb_layer_round(const struct nb_layer_job *job, uint8_t *records,
                              struct nb_layer_report *report, struct nb_error *err)
{
    const uint64_t begin = nb_clock_ns();
    struct layer l = {.job = job,
                      .t = &job->plan->tensors[job->weight],
                      .a = job->plan->a,
                      .pool = job->plan->settings.pool,
                      .records = records,
                      .report = report};
    memset(report, 0, sizeof *report);
    enum nb_status st = round_all(&l, err);
    if (st != NB_OK)
        st = nb_error_prefix(err, st, "tensor '%s'", l.t->weight->spec.name);
    nb_free(l.a, l.slab);
    nb_free(l.a, l.target);
    nb_free(l.a, l.diag);
    nb_hessian_destroy(l.thin);
    report->seconds = (double)(nb_clock_ns() - begin) * 1e-9;
    return st;
}

/* ---- the journal's numbers ---- */

/* Candidates first, then the algorithms. */
static double method_number(const char *method)
{
    size_t n, i;
    const struct nb_algo *const *all = nb_algo_all(&n);
    for (i = 0; i < NB_CANDIDATES; i++)
        if (strcmp(nb_candidate_at(i)->name, method) == 0)
            return (double)i;
    for (i = 0; i < n && strcmp(all[i]->name, method) != 0;)
        i++;
    return (double)(NB_CANDIDATES + i);
}

static const char *method_of(double number)
{
    size_t n;
    const struct nb_algo *const *all = nb_algo_all(&n);
    if (!(number >= 0.0) || number >= (double)(NB_CANDIDATES + n))
        return NB_METHOD_AUTO;
    const size_t i = (size_t)number;
    return i < NB_CANDIDATES ? nb_candidate_at(i)->name : all[i - NB_CANDIDATES]->name;
}

void nb_layer_to_numbers(const struct nb_layer_report *r, double number[NB_JOURNAL_NUMBERS])
{
    const double all[] = {r->facts.mean_h,
                          r->facts.mean_d,
                          r->facts.geomean_d,
                          r->facts.damp,
                          (double)r->facts.n_damp,
                          (double)r->facts.n_dead,
                          r->sums.signal,
                          r->sums.rtn,
                          r->sums.loss,
                          r->sums.held_signal,
                          r->sums.held_rtn,
                          r->sums.held_target_loss,
                          (double)r->n_thin,
                          r->seconds,
                          r->prepare_seconds,
                          method_number(r->method),
                          r->candidate[0],
                          r->candidate[1],
                          r->candidate[2],
                          r->candidate[3],
                          r->sums.target_loss};
    _Static_assert(NB_COUNTOF(all) == NB_JOURNAL_NUMBERS, "a number each");
    memcpy(number, all, sizeof all);
}

void nb_layer_from_numbers(struct nb_layer_report *r, const double number[NB_JOURNAL_NUMBERS])
{
    *r = (struct nb_layer_report){.facts = {.mean_h = number[0],
                                            .mean_d = number[1],
                                            .geomean_d = number[2],
                                            .damp = number[3],
                                            .n_damp = (uint32_t)number[4],
                                            .n_dead = (size_t)number[5]},
                                  .sums = {.signal = number[6],
                                           .rtn = number[7],
                                           .loss = number[8],
                                           .held_signal = number[9],
                                           .held_rtn = number[10],
                                           .held_target_loss = number[11]},
                                  .n_thin = (uint64_t)number[12],
                                  .seconds = number[13],
                                  .prepare_seconds = number[14],
                                  .method = method_of(number[15]),
                                  .candidate = {number[16], number[17], number[18], number[19]}};
    r->sums.target_loss = number[20];
}

/* ---- decoding ---- */

struct decode {
    const struct nb_plan_tensor *t;
    const uint8_t *records;
    float *w;
    size_t cols, row_bytes;
    uint64_t rows;
};

static void decode_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct decode *d = ctx;
    const struct nb_shape *shape = &d->t->weight->t.shape;
    const uint8_t *first = d->records + begin * d->row_bytes;
    float *w = d->w + begin * d->cols;
    (void)worker;
    if (d->t->type->kind != NB_NUMFMT_GRID) {
        nb_numfmt_decode(d->t->type, first, w, (end - begin) * d->cols);
        return;
    }
    const uint8_t *side = d->t->side_bytes > 0 ? d->records + d->rows * d->row_bytes : NULL;
    const struct nb_parts parts = nb_grid_records(d->t->type, shape, first, begin, side);
    const struct nb_tensor t = {.type = d->t->type, .shape = *shape, .parts = &parts};
    nb_tensor_decode(&t, begin, end - begin, w);
}

void nb_layer_decode(const struct nb_plan_tensor *t, const uint8_t *records, float *w,
                     struct nb_pool *pool)
{
    struct decode d = {.t = t,
                       .records = records,
                       .w = w,
                       .cols = (size_t)nb_shape_cols(&t->weight->t.shape),
                       .rows = nb_shape_rows(&t->weight->t.shape)};
    d.row_bytes = (size_t)((t->bytes - t->side_bytes) / d.rows);
    nb_pool_for(pool, (size_t)d.rows, 64, decode_rows, &d);
}
