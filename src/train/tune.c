/* train/tune.c: a loop of Adam over the small weights of a session. */
#include "train/tune.h"

#include <math.h>
#include <string.h>

#include "math/math.h"
#include "run/backward.h"

#define HELD_OUT 10U /* every so many-th window */
#define BETA1    0.9
#define BETA2    0.99
#define EPSILON  1e-12

/* One vector: value = start + unit * change, steps are taken in change. */
struct part {
    struct nb_small_weight w;
    double *change, *m, *v; /* (n) */
    float *start;           /* (n) */
    double unit;            /* root mean square of the start */
};

/* Owns: sessions, buffers. */
struct tuner {
    const struct nb_tune_job *job;
    struct nb_tune *t;
    const struct nb_kernels *kernels;
    struct nb_session *teacher, *student;
    struct part *parts; /* (t->n), in the arena */
    uint32_t *window;   /* (ctx) */
    float *want, *have; /* (ctx, n_vocab) */
    float *apart;       /* (threads, n_vocab) */
    double *row_kl;     /* (ctx) */
    float scale;        /* of the gradient; 0: only the loss is wanted */
    size_t windows, n_vocab;
    uint32_t epochs, batch, total; /* total: steps */
    double rate, power1, power2;   /* powers of the betas */
    uint64_t done, all;            /* tokens */
};

/* ---- the loss ---- */

static double log_sum(const struct tuner *k, const float *z)
{
    float max;
    const float sum = k->kernels->expsum_f32(z, k->n_vocab, &max);
    return (double)max + nb_log((double)sum);
}

/* Two rows of logits to their KL, and the student's to scale (q - p), both probabilities. */
static void loss_row(struct tuner *k, size_t t, float *apart)
{
    float *p = k->want + t * k->n_vocab, *q = k->have + t * k->n_vocab;
    double sum = log_sum(k, q) - log_sum(k, p);
    for (size_t i = 0; i < k->n_vocab; i++)
        apart[i] = p[i] - q[i];
    k->kernels->softmax_f32(p, k->n_vocab, 1.0F);
    for (size_t i = 0; i < k->n_vocab; i++)
        sum += (double)p[i] * (double)apart[i];
    k->row_kl[t] = sum;
    if (k->scale == 0.0F)
        return;
    k->kernels->softmax_f32(q, k->n_vocab, 1.0F);
    for (size_t i = 0; i < k->n_vocab; i++)
        q[i] = k->scale * (q[i] - p[i]);
}

static void loss_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct tuner *k = ctx;
    for (size_t t = begin; t < end; t++)
        loss_row(k, t, k->apart + worker * k->n_vocab);
}

/* Evaluates both on a window; adds its KL, summed over tokens, to *kl. k->have becomes the gradient. */
static enum nb_status run_window(struct tuner *k, size_t window, double *kl, struct nb_error *err)
{
    const struct nb_tune_job *job = k->job;
    const struct nb_progress *p = job->progress;
    memcpy(k->window, job->tokens + window * job->ctx, job->ctx * sizeof *k->window);
    if (job->bos >= 0)
        k->window[0] = (uint32_t)job->bos;
    nb_session_rewind(k->teacher, 0);
    nb_session_rewind(k->student, 0);
    NB_TRY(nb_session_eval(k->teacher, k->window, job->ctx, k->want, 0, err));
    NB_TRY(nb_session_eval(k->student, k->window, job->ctx, k->have, 0, err));
    nb_pool_for(job->pool, job->ctx, 1, loss_rows, k);
    for (size_t t = 0; t < job->ctx; t++)
        *kl += k->row_kl[t];
    if (!isfinite(*kl))
        NB_FAIL(err, NB_ERR_NUMERIC, "predictions of window %zu are no numbers", window);
    k->done += job->ctx;
    if (p != NULL && p->fn != NULL &&
        p->fn(p->ctx, "tuning", NB_MIN(k->done, k->all), k->all, "tokens") != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "tuning cancelled");
    return NB_OK;
}

static bool held_out(size_t window)
{
    return window % HELD_OUT == HELD_OUT - 1;
}

static enum nb_status held_out_kl(struct tuner *k, double *kl, struct nb_error *err)
{
    const size_t n = k->windows / HELD_OUT;
    *kl = 0.0;
    k->scale = 0.0F;
    for (size_t w = 0; w < k->windows; w++)
        if (held_out(w))
            NB_TRY(run_window(k, w, kl, err));
    *kl /= (double)(n * k->job->ctx);
    return NB_OK;
}

/* ---- steps ---- */

static void step_part(struct part *p, double rate, double fix1, double fix2)
{
    for (size_t i = 0; i < p->w.n; i++) {
        const double g = (double)p->w.grad[i] * p->unit;
        p->m[i] = BETA1 * p->m[i] + (1.0 - BETA1) * g;
        p->v[i] = BETA2 * p->v[i] + (1.0 - BETA2) * g * g;
        p->change[i] -= rate * (p->m[i] / fix1) / (sqrt(p->v[i] / fix2) + EPSILON);
        p->w.value[i] = (float)((double)p->start[i] + p->unit * p->change[i]);
    }
}

static void step(struct tuner *k)
{
    const uint32_t n = ++k->t->steps;
    const double rate = k->rate * (1.0 - (double)(n - 1) / (double)k->total);
    k->power1 *= BETA1;
    k->power2 *= BETA2;
    for (size_t i = 0; i < k->t->n; i++)
        step_part(&k->parts[i], rate, 1.0 - k->power1, 1.0 - k->power2);
    nb_session_clear_gradients(k->student);
}

static enum nb_status run_epoch(struct tuner *k, struct nb_error *err)
{
    const struct nb_backward_args args = {.d_out = k->have};
    double kl = 0.0;
    uint32_t n = 0;
    for (size_t w = 0; w < k->windows; w++) {
        if (held_out(w))
            continue;
        k->scale = 1.0F / (float)((double)k->batch * k->job->ctx);
        NB_TRY(run_window(k, w, &kl, err));
        NB_TRY(nb_session_backward(k->student, &args, err));
        if (++n % k->batch == 0)
            step(k);
    }
    nb_session_clear_gradients(k->student); /* of a batch that was not filled */
    return NB_OK;
}

/* Keeps what serves the windows held out best. */
static enum nb_status compare(struct tuner *k, struct nb_error *err)
{
    double kl;
    NB_TRY(held_out_kl(k, &kl, err));
    if (k->t->steps == 0)
        k->t->kl_before = k->t->kl_after = kl;
    else if (!(kl < k->t->kl_after))
        return NB_OK;
    k->t->kl_after = kl;
    k->t->kept_step = k->t->steps;
    for (size_t i = 0; i < k->t->n; i++)
        memcpy(k->t->items[i].value, k->parts[i].w.value, k->parts[i].w.n * sizeof(float));
    return NB_OK;
}

/* ---- setting up ---- */

static enum nb_status add_part(struct tuner *k, const struct nb_small_weight *w,
                               struct nb_error *err)
{
    struct nb_tune *t = k->t;
    struct part *p = &k->parts[t->n];
    double square = 0.0;
    *p = (struct part){.w = *w};
    p->change = nb_arena_alloc(&t->arena, w->n, sizeof *p->change);
    p->m = nb_arena_alloc(&t->arena, w->n, sizeof *p->m);
    p->v = nb_arena_alloc(&t->arena, w->n, sizeof *p->v);
    p->start = nb_arena_alloc(&t->arena, w->n, sizeof *p->start);
    const struct nb_tuned item = {.name = nb_arena_strndup(&t->arena, w->name, strlen(w->name)),
                                  .value = nb_arena_alloc(&t->arena, w->n, sizeof *item.value),
                                  .n = w->n};
    if (!p->change || !p->m || !p->v || !p->start || !item.name || !item.value)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to tune '%s'", w->name);
    memcpy(p->start, w->value, w->n * sizeof *p->start);
    for (size_t i = 0; i < w->n; i++)
        square += (double)w->value[i] * (double)w->value[i];
    p->unit = sqrt(square / (double)w->n);
    t->items[t->n++] = item;
    return NB_OK;
}

static enum nb_status add_parts(struct tuner *k, struct nb_error *err)
{
    struct nb_small_weight w;
    size_t n = 0;
    for (size_t i = 0; nb_session_small_weight(k->student, i, &w); i++)
        n += w.grad != NULL;
    k->parts = nb_arena_alloc(&k->t->arena, NB_MAX(n, 1), sizeof *k->parts);
    k->t->items = nb_arena_alloc(&k->t->arena, NB_MAX(n, 1), sizeof *k->t->items);
    if (!k->parts || !k->t->items)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to tune %zu vectors", n);
    for (size_t i = 0; nb_session_small_weight(k->student, i, &w); i++)
        if (w.grad)
            NB_TRY(add_part(k, &w, err));
    return NB_OK;
}

static enum nb_status check_job(struct tuner *k, struct nb_error *err)
{
    const struct nb_tune_job *job = k->job;
    const struct nb_hparams *a = &job->teacher->hp, *b = &job->student->hp;
    if (a->arch != b->arch || a->n_vocab != b->n_vocab || a->encoder)
        NB_FAIL(err, NB_ERR_ARG,
                "tuning wants two models of one kind that predict tokens; got %s "
                "of %u tokens and %s of %u",
                a->arch->name, a->n_vocab, b->arch->name, b->n_vocab);
    k->windows = job->ctx ? job->n_tokens / job->ctx : 0;
    if (job->chunks > 0)
        k->windows = NB_MIN(k->windows, (size_t)job->chunks);
    if (k->windows < HELD_OUT)
        NB_FAIL(err, NB_ERR_ARG, "tuning wants %u windows of %u tokens at least, the text has %zu",
                HELD_OUT, job->ctx, k->windows);
    const size_t held = k->windows / HELD_OUT, rest = k->windows - held;
    k->epochs = job->epochs ? job->epochs : 2;
    k->batch = job->batch ? job->batch : 4;
    k->rate = job->rate > 0.0 ? job->rate : 2e-3;
    k->total = (uint32_t)(k->epochs * (rest / k->batch));
    k->all = (k->epochs * rest + (k->epochs + 1) * held) * (uint64_t)job->ctx;
    return NB_OK;
}

static enum nb_status set_up(struct tuner *k, struct nb_error *err)
{
    const struct nb_tune_job *job = k->job;
    struct nb_session_options o = {.n_ctx = job->ctx,
                                   .n_batch = job->ctx,
                                   .kv_type = &nb_numfmt_f32,
                                   .float_activations = true,
                                   .pool = job->pool};
    const unsigned threads = nb_pool_threads(job->pool);
    size_t n, n_apart;
    NB_TRY(nb_session_create(&k->teacher, job->teacher, &o, k->t->a, err));
    o.gradients = NB_GRADIENTS_WEIGHTS;
    NB_TRY(nb_session_create(&k->student, job->student, &o, k->t->a, err));
    k->n_vocab = nb_session_width(k->student);
    if (!nb_mul_size(&n, job->ctx, k->n_vocab) || !nb_mul_size(&n_apart, threads, k->n_vocab))
        NB_FAIL(err, NB_ERR_LIMIT, "logits of %u tokens are too large", job->ctx);
    k->window = nb_alloc(k->t->a, job->ctx, sizeof *k->window);
    k->row_kl = nb_alloc(k->t->a, job->ctx, sizeof *k->row_kl);
    k->want = nb_alloc(k->t->a, n, sizeof *k->want);
    k->have = nb_alloc(k->t->a, n, sizeof *k->have);
    k->apart = nb_alloc(k->t->a, n_apart, sizeof *k->apart);
    if (!k->window || !k->row_kl || !k->want || !k->have || !k->apart)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the logits of %u tokens", job->ctx);
    return add_parts(k, err);
}

static enum nb_status run(struct tuner *k, struct nb_error *err)
{
    NB_TRY(check_job(k, err));
    NB_TRY(set_up(k, err));
    NB_TRY(compare(k, err));
    for (uint32_t i = 0; i < k->epochs; i++) {
        NB_TRY(run_epoch(k, err));
        NB_TRY(compare(k, err));
    }
    return NB_OK;
}

enum nb_status nb_tune_run(struct nb_tune **out, const struct nb_tune_job *job,
                           const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_tune *t = nb_alloc_zero(a, 1, sizeof *t);
    *out = NULL;
    if (!t)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for tuning");
    t->a = a;
    nb_arena_init(&t->arena, a, 0);
    struct tuner k = {
        .job = job, .t = t, .kernels = nb_kernels_get(), .power1 = 1.0, .power2 = 1.0};
    const enum nb_status st = run(&k, err);
    nb_session_destroy(k.teacher);
    nb_session_destroy(k.student);
    nb_free(a, k.window);
    nb_free(a, k.row_kl);
    nb_free(a, k.want);
    nb_free(a, k.have);
    nb_free(a, k.apart);
    if (st == NB_OK)
        *out = t;
    else
        nb_tune_destroy(t);
    return st;
}

void nb_tune_destroy(struct nb_tune *t)
{
    if (!t)
        return;
    nb_arena_fini(&t->arena);
    nb_free(t->a, t);
}
