/* quant/transformed.c: transforms by name, one after the other, each on the model that the one before left.
 *
 * A stage is a view, its changed weights written to a temporary file row by row, and a model whose table
 * of weights points there. Stages that look at inputs run their model over the text first.
 */
#include "quant/transformed.h"

#include "quant/algo.h"

#include <stdio.h>
#include <string.h>

#define WRITE_ROWS 64
#define MAX_STAGES 8
#define MAX_TOKENS 65536 /* looked at; magnitudes need no more */
#define NAME_BYTES 32

/* Owns: all but what m shares with the model before. */
struct stage {
    struct nb_model m; /* a copy of the one before with tables of its own */
    struct nb_file file;
    struct nb_arena arena;
    bool there;
};

struct nb_transformed {
    const struct nb_allocator *a;
    struct nb_model *source;
    struct stage stages[MAX_STAGES + 1]; /* and the method's own */
    size_t n;
};

/* ---- names ---- */

/* The next name of a list, spaces around it left out. False: there is none. */
static bool next_name(const char **at, char name[NAME_BYTES])
{
    while (**at == ',' || **at == ' ')
        ++*at;
    size_t n = strcspn(*at, ","), keep = n;
    while (keep > 0 && (*at)[keep - 1] == ' ')
        keep--;
    if (n == 0)
        return false;
    (void)snprintf(name, NAME_BYTES, "%.*s", (int)NB_MIN(keep, (size_t)NAME_BYTES - 1), *at);
    *at += n;
    return true;
}

enum nb_status nb_transforms_check(const char *names, struct nb_error *err)
{
    char name[NAME_BYTES], shown[64];
    size_t n = 0;
    while (names != NULL && next_name(&names, name)) {
        if (nb_transform_find(name) == NULL)
            NB_FAIL(err, NB_ERR_ARG, "'%s' is no transform (nibble list transforms)",
                    nb_printable(shown, sizeof shown, name, strlen(name)));
        if (++n > MAX_STAGES)
            NB_FAIL(err, NB_ERR_ARG, "more than %d transforms", MAX_STAGES);
    }
    return NB_OK;
}

/* ---- writing what has changed ---- */

static uint64_t bytes_of(const struct nb_weight *w)
{
    return nb_shape_rows(&w->t.shape) * nb_shape_cols(&w->t.shape) * sizeof(float);
}

static uint64_t aligned(uint64_t n)
{
    return (n + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
}

/* A session is told once for all of Q and K whether rows lie as halves: as the file has them. */
static uint64_t stored_row(const struct nb_weight *w, uint64_t row)
{
    if (w->stored != NB_HF_PAIRS || w->t.shape.n < 2)
        return row;
    const uint64_t head_dim = w->spec.shape.dim[0] / w->spec.heads, r = row % head_dim;
    return row - r + r % 2 * (head_dim / 2) + r / 2;
}

static enum nb_status write_rows(const struct nb_view *v, size_t i, const struct nb_temp *t,
                                 uint64_t offset, float *x, void *scratch, struct nb_error *err)
{
    const struct nb_weight *w = &nb_view_model(v)->w.items[i];
    const uint64_t rows = nb_shape_rows(&w->t.shape), cols = nb_shape_cols(&w->t.shape);
    for (uint64_t row = 0; row < rows; row += WRITE_ROWS) {
        const uint64_t n = NB_MIN((uint64_t)WRITE_ROWS, rows - row);
        nb_view_read_rows(v, i, row, n, x, scratch);
        nb_model_drop_rows(nb_view_model(v), i, row, n);
        if (stored_row(w, 1) == 1) {
            NB_TRY(nb_temp_write(t, offset + row * cols * sizeof *x, x,
                                 (size_t)(n * cols) * sizeof *x, err));
            continue;
        }
        for (uint64_t r = 0; r < n; r++)
            NB_TRY(nb_temp_write(t, offset + stored_row(w, row + r) * cols * sizeof *x,
                                 x + r * cols, (size_t)cols * sizeof *x, err));
    }
    return NB_OK;
}

static enum nb_status write_weight(struct nb_view *v, size_t i, const struct nb_temp *t,
                                   uint64_t offset, const struct nb_transformed_job *job,
                                   struct nb_error *err)
{
    const struct nb_weight *w = &nb_view_model(v)->w.items[i];
    const size_t scratch_bytes = nb_view_scratch(v, i);
    enum nb_status st = nb_view_hold(v, i, job->pool, err);
    if (st != NB_OK)
        return st;
    float *x = nb_alloc(job->a, WRITE_ROWS * (size_t)nb_shape_cols(&w->t.shape), sizeof *x);
    void *scratch = nb_alloc(job->a, scratch_bytes, 1);
    if (x == NULL || (scratch == NULL && scratch_bytes > 0))
        st = NB_ERROR(err, NB_ERR_NOMEM, "tensor '%s': out of memory", w->spec.name);
    else
        st = write_rows(v, i, t, offset, x, scratch, err);
    nb_free(job->a, x);
    nb_free(job->a, scratch);
    nb_view_release(v, i);
    return st;
}

/* Points weight i of the stage at the file. */
static void place(struct stage *s, size_t i, uint64_t offset)
{
    struct nb_weight *w = &s->m.items[i];
    w->t = (struct nb_tensor){.name = w->t.name,
                              .type = &nb_numfmt_f32,
                              .shape = w->t.shape,
                              .data = s->file.map.data + offset,
                              .bytes = bytes_of(w),
                              .offset = offset};
    if (w->stored != NB_HF_PAIRS || w->t.shape.n < 2)
        w->stored = NB_HF_PLAIN;
    s->m.file_of[i] = &s->file;
    s->m.canonical[i] = NULL;
    s->m.ternary[i] = NULL;
}

static bool copy_table(struct stage *s, void *table /* T ** */, size_t n, size_t size)
{
    void *from, *to = nb_arena_alloc(&s->arena, n + 1, size);
    memcpy(&from, table, sizeof from);
    if (to != NULL && from != NULL)
        memcpy(to, from, n * size);
    memcpy(table, &to, sizeof to);
    return to != NULL;
}

static enum nb_status copy_tables(struct stage *s, const struct nb_model *m, struct nb_error *err)
{
    s->m = *m;
    const size_t n = m->w.n;
    if (!copy_table(s, &s->m.items, n, sizeof *m->items) ||
        !copy_table(s, &s->m.file_of, n, sizeof(void *)) ||
        !copy_table(s, &s->m.canonical, n, sizeof(void *)) ||
        !copy_table(s, &s->m.ternary, n, sizeof(void *)))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a table of %zu weights", n);
    s->m.w.items = s->m.items;
    return NB_OK;
}

static enum nb_status write_all(struct stage *s, struct nb_view *v,
                                const struct nb_transformed_job *job, struct nb_error *err)
{
    const struct nb_model *m = nb_view_model(v);
    struct nb_temp t;
    uint64_t total = 0, at = 0;
    NB_TRY(copy_tables(s, m, err));
    for (size_t i = 0; i < m->w.n; i++)
        total += nb_view_changes(v, i) ? aligned(bytes_of(&m->w.items[i])) : 0;
    NB_TRY(nb_temp_create(&t, job->folder, total, job->a, err));
    enum nb_status st = nb_temp_map(&t, &s->file.map, err);
    for (size_t i = 0; i < m->w.n && st == NB_OK; i++) {
        if (!nb_view_changes(v, i))
            continue;
        st = write_weight(v, i, &t, at, job, err);
        place(s, i, at);
        at += aligned(bytes_of(&m->w.items[i]));
    }
    nb_temp_close(&t);
    return st;
}

/* ---- stages ---- */

static void say(const struct nb_transform *t, const struct nb_transform_report *r,
                const struct nb_log *log)
{
    nb_log_msg(log, NB_LOG_INFO, "%s: %zu sites changed, %zu best as they are, %zu cannot%s%s",
               t->name, r->n_sites, r->n_idle, r->n_refused, r->n_refused > 0 ? ": " : "",
               r->refusal);
    if (r->parameter_max > 0.0)
        nb_log_msg(log, NB_LOG_INFO, "%s: parameter %.3g to %.3g, mean %.3g", t->name,
                   r->parameter_min, r->parameter_max, r->parameter_mean);
}

static enum nb_status apply(const struct nb_transform *t, struct nb_view *v, bool measured,
                            const struct nb_transformed_job *job, struct nb_error *err)
{
    struct nb_transform_job options = job->options;
    struct nb_transform_report report;
    struct nb_site_stats *stats = NULL;
    struct nb_site_loss *loss = NULL;
    enum nb_status st = NB_OK;
    options.pool = job->pool;
    options.log = job->log;
    if (t->stats != 0) {
        if (job->windows == NULL)
            NB_FAIL(err, NB_ERR_ARG, "transform '%s' looks at inputs: it needs a calibration text",
                    t->name);
        NB_TRY(nb_site_stats_collect(&stats, v, job, MAX_TOKENS, err));
        options.stat = nb_site_stats_get;
        options.stat_ctx = stats;
    }
    if (measured) {
        st = nb_site_loss_create(&loss, v, job, err);
        options.loss = nb_site_loss_measure;
        options.loss_ctx = loss;
    }
    if (st == NB_OK)
        st = t->apply(v, &options, &report, err);
    nb_site_loss_destroy(loss);
    nb_site_stats_destroy(stats);
    if (st == NB_OK)
        say(t, &report, job->log);
    return st;
}

static enum nb_status add_stage(struct nb_transformed *t, const struct nb_transform *transform,
                                bool measured, const struct nb_transformed_job *job,
                                struct nb_error *err)
{
    struct stage *s = &t->stages[t->n];
    struct nb_view *v;
    NB_TRY(nb_view_create(&v, nb_transformed_model(t), job->a, err));
    enum nb_status st = apply(transform, v, measured, job, err);
    if (st == NB_OK) {
        nb_arena_init(&s->arena, job->a, 0);
        s->there = true;
        st = write_all(s, v, job, err);
    }
    if (st == NB_OK)
        t->n++;
    nb_view_destroy(v);
    return st;
}

static const struct nb_transform *own_transform(const struct nb_quant_plan *p)
{
    return p->algo == NULL || p->algo->transform == NULL ? NULL
                                                         : nb_transform_find(p->algo->transform);
}

enum nb_status nb_transformed_open(struct nb_transformed **out,
                                   const struct nb_transformed_job *job, struct nb_error *err)
{
    char name[NAME_BYTES];
    const char *at = job->names;
    NB_TRY(nb_transforms_check(job->names, err));
    struct nb_transformed *t = nb_alloc_zero(job->a, 1, sizeof *t);
    if (t == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    t->a = job->a;
    t->source = job->model;
    enum nb_status st = NB_OK;
    while (st == NB_OK && at != NULL && next_name(&at, name))
        st = add_stage(t, nb_transform_find(name), false, job, err);
    if (st == NB_OK && job->plan != NULL && own_transform(job->plan) != NULL)
        st = add_stage(t, own_transform(job->plan), true, job, err);
    if (st == NB_OK)
        *out = t;
    else
        nb_transformed_close(t);
    return st;
}

void nb_transformed_close(struct nb_transformed *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < NB_COUNTOF(t->stages); i++) {
        if (!t->stages[i].there)
            continue;
        nb_mapping_close(&t->stages[i].file.map);
        nb_arena_fini(&t->stages[i].arena);
    }
    nb_free(t->a, t);
}

struct nb_model *nb_transformed_model(struct nb_transformed *t)
{
    return t->n == 0 ? t->source : &t->stages[t->n - 1].m;
}
