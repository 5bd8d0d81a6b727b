/* quant/rows.c: slabs of rows through an algorithm's steps, and what they cost.
 *
 * The pool gets chunks of NB_ALGO_CHUNK rows. A chunk is rounded, polished, measured and packed by one worker
 * with scratch of its own; sums are kept by chunk and added in their order. Losses are e H e^T on H as it
 * was measured, without damping, in doubles.
 */
#include "quant/algo_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "math/linalg.h"
#include "numfmt/grid.h"

#define MOST_ASKED 4 /* signal, rtn, loss, target_loss */

/* A call. Owns: work, sums, status. */
struct call {
    const struct nb_prepared *p;
    const struct nb_rows *rows;
    struct nb_row_work *work;  /* (threads) */
    struct nb_algo_sums *sums; /* (chunks) */
    enum nb_status *status;    /* (chunks) */
    struct nb_error *error;    /* (chunks) */
    size_t chunk;
};

/* ---- scratch ---- */

static void work_fini(struct nb_row_work *k, const struct nb_allocator *a)
{
    if (k->coder != NULL) {
        nb_coder_grids_destroy(k->coder, k->grids);
        nb_coder_grids_destroy(k->coder, k->best_grids);
    }
    if (k->plain != k->coder)
        nb_coder_destroy(k->plain);
    nb_coder_destroy(k->coder);
    void *const arrays[] = {k->codes,      k->values,      k->target,  k->e,      k->moving,
                            k->error,      k->loss,        k->x,       k->g,      k->push,
                            k->level,      k->next,        k->h_level, k->offset, k->h_offset,
                            k->best_codes, k->best_values, k->asked};
    for (size_t i = 0; i < NB_COUNTOF(arrays); i++)
        nb_free(a, arrays[i]);
}

static bool floats(float **x, const struct nb_allocator *a, size_t n, size_t m)
{
    *x = n <= SIZE_MAX / m ? nb_alloc(a, n * m, sizeof **x) : NULL;
    return *x != NULL;
}

static bool work_allocate(struct nb_row_work *k, const struct nb_allocator *a, size_t rows,
                          bool measure)
{
    const struct nb_algo_params *q = &k->p->params;
    const size_t n = k->p->n, block = k->coder->block;
    k->lazy = nb_algo_panel(k->p);
    k->codes = nb_alloc(a, n, rows * sizeof *k->codes);
    k->grids = nb_coder_grids_create(k->coder, rows);
    k->loss = nb_alloc(a, MOST_ASKED * rows, sizeof *k->loss);
    bool ok = k->codes != NULL && k->grids != NULL && k->loss != NULL &&
              floats(&k->values, a, n, rows) && floats(&k->target, a, n, rows) &&
              floats(&k->e, a, n, rows) && floats(&k->x, a, block, 1);
    if (measure)
        ok = ok && floats(&k->asked, a, n, MOST_ASKED * rows);
    if (q->feedback)
        ok = ok && floats(&k->moving, a, n, rows) && floats(&k->error, a, k->lazy, rows);
    if (!ok || q->polish == 0)
        return ok;
    k->best_codes = nb_alloc(a, n, rows * sizeof *k->best_codes);
    k->best_grids = nb_coder_grids_create(k->coder, rows);
    return k->best_codes != NULL && k->best_grids != NULL && floats(&k->g, a, n, rows) &&
           floats(&k->push, a, n, 1) && floats(&k->next, a, block, 1) &&
           floats(&k->level, a, block, rows) && floats(&k->h_level, a, block, rows) &&
           floats(&k->offset, a, block, rows) && floats(&k->h_offset, a, block, rows) &&
           floats(&k->best_values, a, n, rows);
}

static enum nb_status work_init(struct nb_row_work *k, const struct call *c, struct nb_error *err)
{
    struct nb_coder_spec spec = *c->rows->spec;
    spec.weighting = c->p->params.weigh == NB_WEIGH_VALUE ? NB_CODER_SPREAD : NB_CODER_PLAIN;
    k->p = c->p;
    k->role = c->rows->role;
    NB_TRY(nb_coder_create(&k->coder, &spec, err));
    k->plain = k->coder;
    if (spec.weighting != NB_CODER_PLAIN) {
        spec.weighting = NB_CODER_PLAIN;
        k->plain = NULL;
        NB_TRY(nb_coder_create(&k->plain, &spec, err));
    }
    if (k->coder->cols != c->p->n ||
        !nb_algo_layout_equal(nb_algo_layout(k->coder), c->p->job.layout))
        NB_FAIL(err, NB_ERR_ARG,
                "rows of %zu columns in blocks of %u (%s), but statistics of %zu in blocks of %u",
                k->coder->cols, k->coder->block, k->coder->type->name, c->p->n,
                c->p->job.layout.block);
    if (!work_allocate(k, c->p->job.a, c->chunk, c->rows->sums != NULL))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu rows of %zu columns", c->chunk, c->p->n);
    return NB_OK;
}

/* ---- losses ---- */

static void losses_diag(const struct nb_prepared *p, double *loss, const float *e, size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++, e += p->n) {
        loss[r] = 0.0;
        for (size_t i = 0; i < p->n; i++)
            loss[r] += (double)p->diag[i] * (double)e[i] * (double)e[i];
    }
}

enum nb_status nb_algo_losses(const struct nb_prepared *p, double *loss, const float *e,
                              size_t n_rows, bool held, struct nb_error *err)
{
    const struct nb_sym_product q = {.h = held ? p->job.held : p->job.h,
                                     .n = p->n,
                                     .e = e,
                                     .e_stride = p->n,
                                     .rows = n_rows,
                                     .lower = held && p->job.held_lower};
    const double per_token = 1.0 / (held ? p->job.held_tokens : p->job.tokens);
    double total;
    if (q.h == NULL) {
        losses_diag(p, loss, e, n_rows);
        return NB_OK;
    }
    NB_TRY(nb_quad_form(&total, loss, &q, NULL, p->job.a, err));
    for (size_t r = 0; r < n_rows; r++)
        loss[r] *= per_token;
    return NB_OK;
}

/* e = x - y */
static void subtract(float *e, const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        e[i] = x[i] - y[i];
}

/* Losses that a chunk is asked for: they are worked out together, so that H is read once for all. */
struct asked {
    size_t n;
    double *sum[MOST_ASKED], *held[MOST_ASKED]; /* what they are added to */
};

/* Of x - y (y NULL: of x), on H and on what was held out. */
static void ask(struct nb_row_work *k, struct asked *a, const float *x, const float *y,
                size_t n_rows, double *sum, double *held)
{
    const size_t n = n_rows * k->p->n;
    float *e = k->asked + a->n * n;
    if (y != NULL)
        subtract(e, x, y, n);
    else
        memcpy(e, x, n * sizeof *e);
    a->sum[a->n] = sum;
    a->held[a->n++] = held;
}

static enum nb_status answer(struct nb_row_work *k, const struct asked *a, size_t n_rows, bool held,
                             struct nb_error *err)
{
    NB_TRY(nb_algo_losses(k->p, k->loss, k->asked, a->n * n_rows, held, err));
    for (size_t i = 0; i < a->n; i++)
        for (size_t r = 0; r < n_rows; r++)
            *(held ? a->held : a->sum)[i] += k->loss[i * n_rows + r];
    return NB_OK;
}

/* ---- a chunk ---- */

/* Rows [at, at + n) of the slab. */
struct piece {
    size_t at, n;
    uint64_t row;   /* in the tensor */
    const float *w; /* (n, cols) */
};

static enum nb_status check_values(const struct piece *c, const float *x, size_t cols,
                                   struct nb_error *err)
{
    for (size_t i = 0; i < c->n * cols; i++)
        if (!isfinite(x[i]))
            NB_FAIL(err, NB_ERR_NUMERIC, "row %llu, column %zu is %s, expected a finite number",
                    (unsigned long long)(c->row + i / cols), i % cols,
                    isnan(x[i]) ? "NaN" : "infinite");
    return NB_OK;
}

static void set_targets(struct nb_row_work *k, const struct nb_rows *rows, const struct piece *c)
{
    const size_t n = k->p->n;
    const float *t = rows->target != NULL ? rows->target + c->at * n : c->w;
    memcpy(k->target, t, c->n * n * sizeof *t);
}

static void ask_baseline(struct nb_row_work *k, const struct piece *c, struct asked *a,
                         struct nb_algo_sums *s)
{
    ask(k, a, c->w, NULL, c->n, &s->signal, &s->held_signal);
    if (k->p->params.no_baseline)
        return;
    struct nb_coder *own = k->coder;
    k->coder = k->plain;
    nb_algo_round_plain(k, c->row, c->n, k->p->diag);
    k->coder = own;
    ask(k, a, c->w, k->values, c->n, &s->rtn, &s->held_rtn);
}

static enum nb_status measure(struct nb_row_work *k, const struct nb_rows *rows,
                              const struct piece *c, struct asked *a, struct nb_algo_sums *s,
                              struct nb_error *err)
{
    ask(k, a, c->w, k->values, c->n, &s->loss, &s->held_loss);
    if (rows->target != NULL)
        ask(k, a, k->target, k->values, c->n, &s->target_loss, &s->held_target_loss);
    NB_TRY(answer(k, a, c->n, false, err));
    if (k->p->job.held != NULL)
        NB_TRY(answer(k, a, c->n, true, err));
    if (rows->target == NULL) {
        s->target_loss = s->loss;
        s->held_target_loss = s->held_loss;
    }
    return NB_OK;
}

static void store(struct nb_row_work *k, const struct nb_rows *rows, const struct piece *c)
{
    const size_t n = k->p->n;
    for (size_t r = 0; r < c->n && rows->records != NULL; r++)
        nb_coder_pack(k->coder, c->row + r, k->grids + r * k->coder->n_blocks, k->codes + r * n,
                      rows->records + (c->at + r) * rows->record_bytes);
    if (rows->decoded != NULL)
        memcpy(rows->decoded + c->at * n, k->values, c->n * n * sizeof *k->values);
}

static enum nb_status do_piece(struct nb_row_work *k, const struct nb_rows *rows,
                               const struct piece *c, struct nb_algo_sums *s, struct nb_error *err)
{
    const struct nb_prepared *p = k->p;
    NB_TRY(check_values(c, c->w, p->n, err));
    set_targets(k, rows, c);
    NB_TRY(check_values(c, k->target, p->n, err));
    struct asked asked = {.n = 0};
    if (rows->sums != NULL)
        ask_baseline(k, c, &asked, s);
    if (p->algo->round != NULL)
        NB_TRY(p->algo->round(k, c->row, c->n, err));
    else if (p->params.feedback)
        s->feedback += nb_algo_round_feedback(k, c->row, c->n);
    else
        nb_algo_round_plain(k, c->row, c->n, p->weight);
    if (p->params.polish > 0 && p->algo->round == NULL)
        NB_TRY(nb_algo_polish_rows(k, c->n, s, err));
    if (rows->sums != NULL)
        NB_TRY(measure(k, rows, c, &asked, s, err));
    s->n_rows += c->n;
    store(k, rows, c);
    return NB_OK;
}

static void work_chunk(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct call *c = ctx;
    const size_t i = begin / c->chunk;
    const struct piece piece = {
        .at = begin,
        .n = end - begin,
        .row = c->rows->row + begin,
        .w = c->rows->w + begin * c->p->n,
    };
    c->status[i] = do_piece(&c->work[worker], c->rows, &piece, &c->sums[i], &c->error[i]);
}

/* ---- a slab ---- */

static void add_sums(struct nb_algo_sums *s, const struct nb_algo_sums *x)
{
    s->n_rows += x->n_rows;
    s->signal += x->signal;
    s->rtn += x->rtn;
    s->loss += x->loss;
    s->held_signal += x->held_signal;
    s->held_rtn += x->held_rtn;
    s->held_loss += x->held_loss;
    s->target_loss += x->target_loss;
    s->held_target_loss += x->held_target_loss;
    s->feedback += x->feedback;
    s->polish_gain += x->polish_gain;
    s->n_polished += x->n_polished;
    s->n_held_stops += x->n_held_stops;
}

static enum nb_status run(struct call *c, unsigned threads, struct nb_error *err)
{
    const size_t n = c->rows->n_rows, chunks = (n + c->chunk - 1) / c->chunk;
    for (unsigned i = 0; i < threads; i++)
        NB_TRY(work_init(&c->work[i], c, err));
    nb_pool_for(c->p->job.pool, n, c->chunk, work_chunk, c);
    for (size_t i = 0; i < chunks; i++)
        if (c->status[i] != NB_OK) {
            if (err != NULL)
                *err = c->error[i];
            return c->status[i];
        }
    for (size_t i = 0; i < chunks && c->rows->sums != NULL; i++)
        add_sums(c->rows->sums, &c->sums[i]);
    return NB_OK;
}

/* Does nb_coder_row leave something behind that later calls for the row need? */
static bool rows_have_state(const struct nb_numfmt *f)
{
    return f->grid != NULL && f->grid->scale == NB_SCALE_U8;
}

enum nb_status nb_algo_rows(const struct nb_prepared *p, struct nb_rows *rows, struct nb_error *err)
{
    const struct nb_allocator *a = p->job.a;
    const unsigned threads = nb_pool_threads(p->job.pool);
    struct call c = {.p = p, .rows = rows};
    enum nb_status st = NB_OK;
    if (rows->n_rows == 0)
        return NB_OK;
    c.chunk = rows_have_state(rows->spec->type) ? 1 : NB_ALGO_CHUNK;
    const size_t chunks = (rows->n_rows + c.chunk - 1) / c.chunk;
    c.work = nb_alloc_zero(a, threads, sizeof *c.work);
    c.sums = nb_alloc_zero(a, chunks, sizeof *c.sums);
    c.status = nb_alloc_zero(a, chunks, sizeof *c.status);
    c.error = nb_alloc_zero(a, chunks, sizeof *c.error);
    if (c.work == NULL || c.sums == NULL || c.status == NULL || c.error == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu rows", rows->n_rows);
    else
        st = run(&c, threads, err);
    for (unsigned i = 0; i < threads && c.work != NULL; i++)
        work_fini(&c.work[i], a);
    nb_free(a, c.work);
    nb_free(a, c.sums);
    nb_free(a, c.status);
    nb_free(a, c.error);
    return st;
}
