/* calib/fisher.c: draws tokens from a model's own predictions and sums the gradients they cause. */
#include "calib/fisher.h"

#include <math.h>
#include <string.h>

#include "run/backward.h"

#define GRAIN 64 /* columns */

/* Owns: session, window, logits, drawn, held. */
struct fisher {
    const struct nb_fisher_job *job;
    struct nb_fisher *f;
    const struct nb_kernels *kernels;
    struct nb_session *session;
    uint32_t *window; /* (ctx)                                              */
    float *logits;    /* (ctx, n_vocab): then predictions, then gradients   */
    uint32_t *drawn;  /* (ctx)                                              */
    float *held;      /* (ctx) the prediction of the token drawn            */
    size_t at;        /* which window                                       */
    uint64_t round;   /* of drawing, over all windows                       */
    uint32_t draws;
    enum nb_status failed; /* in a tap */
    struct nb_error err;
    const struct nb_grad_tap *tap; /* being summed */
    struct nb_fisher_layer *layer;
};

/* ---- predictions ---- */

static void predict(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct fisher *k = ctx;
    const size_t n_vocab = nb_session_width(k->session);
    (void)worker;
    for (size_t t = begin; t < end; t++)
        k->kernels->softmax_f32(k->logits + t * n_vocab, n_vocab, 1.0F);
}

/* The token at which the running sum passes a random part of the whole. */
static uint32_t draw(const float *p, size_t n, double u)
{
    double total = 0.0, sum = 0.0;
    size_t last = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)p[i];
    for (size_t i = 0; i < n; i++) {
        if (p[i] > 0.0F)
            last = i;
        sum += (double)p[i];
        if (sum > u * total)
            return (uint32_t)i;
    }
    return (uint32_t)last;
}

static void draw_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct fisher *k = ctx;
    const size_t n_vocab = nb_session_width(k->session);
    (void)worker;
    for (size_t t = begin; t < end; t++) {
        float *p = k->logits + t * n_vocab;
        struct nb_rng rng = {.seed = k->job->seed, .counter = k->round * k->job->ctx + t};
        const uint32_t y = draw(p, n_vocab, nb_rng_unit(&rng));
        k->drawn[t] = y;
        k->held[t] = p[y];
        p[y] -= 1.0F;
    }
}

/* Predictions as they were, for the next draw. */
static void put_back(const struct fisher *k)
{
    const size_t n_vocab = nb_session_width(k->session);
    for (size_t t = 0; t < k->job->ctx; t++)
        k->logits[t * n_vocab + k->drawn[t]] = k->held[t];
}

/* ---- sums ---- */

static struct nb_fisher_layer *find(const struct nb_fisher *f, const char *weight)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->layers[i].weight, weight) == 0)
            return &f->layers[i];
    return NULL;
}

const struct nb_fisher_layer *nb_fisher_find(const struct nb_fisher *f, const char *weight)
{
    return find(f, weight);
}

static enum nb_status add_layer(struct fisher *k, const struct nb_grad_tap *tap,
                                struct nb_error *err)
{
    struct nb_fisher *f = k->f;
    struct nb_fisher_layer layer = {.block = tap->block, .n = tap->n_rows};
    layer.weight = nb_arena_strndup(&f->arena, tap->weight, strlen(tap->weight));
    layer.diag = nb_arena_alloc(&f->arena, layer.n, sizeof *layer.diag);
    if (k->job->what & NB_FISHER_NORMS)
        layer.norms = nb_arena_alloc(&f->arena, f->windows * f->ctx, sizeof *layer.norms);
    if (!layer.weight || !layer.diag || ((k->job->what & NB_FISHER_NORMS) && !layer.norms) ||
        !nb_grow(f->a, &f->layers, &f->cap, f->n, sizeof *f->layers))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the gradients of '%s'", tap->weight);
    f->layers[f->n++] = layer; /* what follows is freed with it */
    if (k->job->what & NB_FISHER_FULL)
        NB_TRY(nb_hessian_create(&f->layers[f->n - 1].g, layer.n, f->a, err));
    return NB_OK;
}

/* Token after token, the squares in double. */
static void add_diag(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct fisher *k = ctx;
    (void)worker;
    for (size_t t = 0; t < k->tap->n_tokens; t++)
        for (size_t j = begin; j < end; j++) {
            const double d = (double)k->tap->dy[t * k->tap->n_rows + j];
            k->layer->diag[j] += d * d;
        }
}

static void add_norms(const struct fisher *k)
{
    float *norms = k->layer->norms + k->at * k->f->ctx;
    for (size_t t = 0; t < k->tap->n_tokens; t++) {
        const float *dy = k->tap->dy + t * k->tap->n_rows;
        norms[t] += k->kernels->dot_f32_f32(dy, dy, k->tap->n_rows) / (float)k->draws;
    }
}

static enum nb_status add_gradients(struct fisher *k, const struct nb_grad_tap *tap,
                                    struct nb_error *err)
{
    if (!find(k->f, tap->weight))
        NB_TRY(add_layer(k, tap, err));
    k->layer = find(k->f, tap->weight);
    k->tap = tap;
    k->layer->tokens += (double)tap->n_tokens;
    nb_pool_for(k->job->pool, tap->n_rows, GRAIN, add_diag, k);
    if (k->layer->norms)
        add_norms(k);
    if (k->layer->g)
        NB_TRY(nb_hessian_add(k->layer->g, tap->dy, tap->n_tokens, k->job->pool, err));
    return NB_OK;
}

static void on_tap(void *ctx, const struct nb_grad_tap *tap)
{
    struct fisher *k = ctx;
    const struct nb_fisher_job *job = k->job;
    const int64_t first = job->first_block, end = first + job->n_blocks;
    if (k->failed != NB_OK || tap->block == NB_NO_BLOCK)
        return;
    if (tap->block >= first && (job->n_blocks == 0 || tap->block < end))
        k->failed = add_gradients(k, tap, &k->err);
}

/* ---- windows ---- */

static enum nb_status run_draw(struct fisher *k, struct nb_error *err)
{
    const struct nb_backward_args args = {.d_out = k->logits, .tap = on_tap, .tap_ctx = k};
    nb_pool_for(k->job->pool, k->job->ctx, 1, draw_rows, k);
    NB_TRY(nb_session_backward(k->session, &args, err));
    if (k->failed != NB_OK && err)
        *err = k->err;
    put_back(k);
    k->round++;
    return k->failed;
}

static enum nb_status run_window(struct fisher *k, struct nb_error *err)
{
    const struct nb_fisher_job *job = k->job;
    const struct nb_progress *p = job->progress;
    const uint64_t done = (k->at + 1) * (uint64_t)job->ctx;
    memcpy(k->window, job->tokens + k->at * job->ctx, job->ctx * sizeof *k->window);
    if (job->bos >= 0)
        k->window[0] = (uint32_t)job->bos;
    nb_session_rewind(k->session, 0);
    NB_TRY(nb_session_eval(k->session, k->window, job->ctx, k->logits, 0, err));
    nb_pool_for(job->pool, job->ctx, 1, predict, k);
    for (uint32_t i = 0; i < k->draws; i++)
        NB_TRY(run_draw(k, err));
    if (p != NULL && p->fn != NULL &&
        p->fn(p->ctx, "gradients", done, k->f->windows * (uint64_t)job->ctx, "tokens") != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "gradients cancelled");
    return NB_OK;
}

static enum nb_status set_up(struct fisher *k, struct nb_error *err)
{
    const struct nb_fisher_job *job = k->job;
    const struct nb_session_options so = {.n_ctx = job->ctx,
                                          .kv_type = &nb_numfmt_f32,
                                          .float_activations = true,
                                          .gradients = NB_GRADIENTS_ACTIVATIONS,
                                          .pool = job->pool};
    size_t n;
    NB_TRY(nb_session_create(&k->session, job->w, &so, k->f->a, err));
    if (!nb_mul_size(&n, job->ctx, nb_session_width(k->session)))
        NB_FAIL(err, NB_ERR_LIMIT, "logits of %u tokens are too large", job->ctx);
    k->window = nb_alloc(k->f->a, job->ctx, sizeof *k->window);
    k->drawn = nb_alloc(k->f->a, job->ctx, sizeof *k->drawn);
    k->held = nb_alloc(k->f->a, job->ctx, sizeof *k->held);
    k->logits = nb_alloc(k->f->a, n, sizeof *k->logits);
    if (!k->window || !k->drawn || !k->held || !k->logits)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the logits of %u tokens", job->ctx);
    return NB_OK;
}

static enum nb_status check_job(const struct nb_fisher_job *job, struct nb_fisher *f,
                                struct nb_error *err)
{
    if (job->ctx == 0)
        NB_FAIL(err, NB_ERR_ARG, "a window of 0 tokens; expected at least 1");
    const size_t full = job->n_tokens / job->ctx;
    if (full == 0)
        NB_FAIL(err, NB_ERR_ARG, "the text has %zu tokens, fewer than one window of %u",
                job->n_tokens, job->ctx);
    if (job->w->hp.encoder)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s predicts no tokens to draw from",
                job->w->hp.arch->name);
    f->windows = job->chunks > 0 ? NB_MIN(full, (size_t)job->chunks) : full;
    f->ctx = job->ctx;
    return NB_OK;
}

static enum nb_status check_finite(const struct nb_fisher *f, struct nb_error *err)
{
    for (size_t i = 0; i < f->n; i++)
        for (size_t j = 0; j < f->layers[i].n; j++)
            if (!isfinite(f->layers[i].diag[j]))
                NB_FAIL(err, NB_ERR_NUMERIC,
                        "the gradient at the output of '%s' is not finite in row %zu",
                        f->layers[i].weight, j);
    return NB_OK;
}

enum nb_status nb_fisher_collect(struct nb_fisher **out, const struct nb_fisher_job *job,
                                 const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_fisher *f = nb_alloc_zero(a, 1, sizeof *f);
    *out = NULL;
    if (!f)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for gradients");
    f->a = a;
    nb_arena_init(&f->arena, a, 0);
    struct fisher k = {.job = job,
                       .f = f,
                       .kernels = nb_kernels_get(),
                       .draws = NB_MAX(job->draws, 1U),
                       .failed = NB_OK};
    enum nb_status st = check_job(job, f, err);
    if (st == NB_OK)
        st = set_up(&k, err);
    for (; st == NB_OK && k.at < f->windows; k.at++)
        st = run_window(&k, err);
    if (st == NB_OK)
        st = check_finite(f, err);
    nb_session_destroy(k.session);
    nb_free(a, k.window);
    nb_free(a, k.drawn);
    nb_free(a, k.held);
    nb_free(a, k.logits);
    if (st == NB_OK)
        *out = f;
    else
        nb_fisher_destroy(f);
    return st;
}

void nb_fisher_destroy(struct nb_fisher *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        nb_hessian_destroy(f->layers[i].g);
    nb_free(f->a, f->layers);
    nb_arena_fini(&f->arena);
    nb_free(f->a, f);
}
