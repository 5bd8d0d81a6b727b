/* quant/staged.c: a dense decoder block, rounded input by input on two streams of activations.
 *
 * One stream is the model as rounded so far: x. The other, of some of the windows, is the float model: x'.
 * For each input of the block's layers in turn (q, k, v; output; gate, up; down):
 *
 *     H = sum x x^T,   C = sum (x' - x) x^T,   W* = W + W C (H + lambda I)^-1
 *
 * and where the layer's output is added to the residual stream r as it is (output, down):
 *
 *     S = sum (r' + W x' - r) x^T,             W* = W + (S - W H) (H + lambda I)^-1
 *
 * W* is the least-squares answer to what all layers before have done: W* x, and r + W* x, come closest to
 * what the float model has there. Then W* is rounded under H, and both streams pass the layer, one by W, one
 * by what was stored: on integers where the format has them, as the file will run (docs/design/002), so what
 * quantized activations add is seen as well. GPTAQ (Li et al. 2025, arXiv 2504.02692) makes the term W C good column by column
 * inside the feedback; the residual stream, which carries every earlier error on, is not in it.
 */
#include "math/linalg.h"
#include "quant/calibrated_internal.h"
#include "run/stages.h"

#include <stdio.h>
#include <string.h>

#define SHIFT_DAMP    1.0               /* lambda as a share of the mean of H_ii        */
#define SLAB_ELEMENTS ((size_t)4 << 20) /* doubles of a product with H or its inverse */
#define INTEGER_BITS  5.0               /* a weight, at most, where it runs on integers */

/* What is summed for one input. Owns: all. */
struct input {
    struct nb_hessian *h, *held; /* a pair */
    struct nb_hessian *ideal; /* of the windows of the other stream; h where these are all of h's */
    double *c;                /* (n_out, n): C, or S */
    size_t n, n_out;
    bool residual; /* c is S */
    const float
        *bias; /* (n_out) then: of the only reader, which is in the float stream's sum too */
    struct nb_layer_shift shift;
    struct nb_calibrated_means means; /* x is NULL: no reader has a bias to be corrected */
};

/* The block, ready to be run. Owns: both. */
struct runner {
    struct nb_session *session;
    struct nb_stages *stages;
};

/* A block under way. Borrows: all but the runners, difference. */
struct staged {
    struct nb_calibrated *k;
    const struct nb_calibrated_block *b;
    struct runner rounded,
        ideal; /* windows are laid out alike; ideal: of the float model, where there is one */
    float *difference; /* (ctx, widest): x' - x of a window */
    char what[48];
};

/* The residual stream and the widest value, at most. Where attention and feed-forward are parallel, one more
 * of the hidden size; and the norm that both may read is there while attention's output is made. */
size_t nb_staged_width(const struct nb_hparams *hp)
{
    const size_t q = (size_t)hp->n_heads * hp->head_dim, n = (size_t)hp->n_embd;
    const size_t most = NB_MAX(NB_MAX(n, q), (size_t)hp->n_ff);
    if (hp->n_experts > 0)
        return 0;
    return hp->parallel ? NB_MAX(most + 2 * n, NB_MAX(n, q) + 3 * n) : most + n;
}

/* ---- statistics of an input ---- */

static void input_fini(struct input *in, const struct nb_allocator *a)
{
    if (in->ideal != in->h)
        nb_hessian_destroy(in->ideal);
    nb_hessian_destroy(in->held);
    nb_hessian_destroy(in->h);
    nb_free(a, in->c);
    nb_free(a, in->shift.m);
    nb_free(a, in->shift.r);
    nb_free(a, in->means.x);
    memset(in, 0, sizeof *in);
}

static bool input_alone(const struct nb_calibrated *k)
{
    return k->p->algo != NULL && (k->p->algo->as_published & NB_PUBLISHED_INPUT_SHIFT) != 0;
}

static bool to_residual(const struct staged *s, const struct nb_stage *stage)
{
    return stage->residual_cols > 0 && !input_alone(s->k);
}

static bool is_reader(const struct nb_stage *stage, const char *name)
{
    for (size_t i = 0; i < stage->n_readers; i++)
        if (strcmp(stage->readers[i], name) == 0)
            return true;
    return false;
}

/* Of a stage with one reader, as floats; NULL: it has none. */
static const float *bias_of(const struct staged *s, const struct nb_stage *stage)
{
    const struct nb_weights *w = &s->k->p->model->w;
    const struct nb_weight *weight = nb_weights_find(w, stage->readers[0]);
    const struct nb_weight *bias = weight != NULL ? nb_weights_bias(w, weight) : NULL;
    return bias != NULL ? nb_block_weights_values(s->k->floats, (size_t)(bias - w->items)) : NULL;
}

/* A published recipe leaves biases alone. */
static bool corrects_biases(const struct staged *s, const struct nb_stage *stage)
{
    const struct nb_calibrated *k = s->k;
    bool any = false;
    if (k->p->algo != NULL && k->p->algo->as_published != 0)
        return false;
    for (size_t i = 0; i < s->b->n; i++)
        any = any || (is_reader(stage, nb_calibrated_name(k, s->b, i)) &&
                      nb_calibrated_bias(k, s->b, i) != SIZE_MAX);
    return any;
}

/* Do all windows that h sums go through the float model? */
static bool all_ideal(const struct nb_calibrated *k)
{
    size_t n = 0;
    for (size_t w = 0; w < k->text->n; w++)
        n += !k->text->held[w];
    return n == k->n_ideal;
}

static enum nb_status means_init(const struct staged *s, struct input *in,
                                 const struct nb_stage *stage, struct nb_error *err)
{
    struct nb_calibrated_means *m = &in->means;
    m->residual = to_residual(s, stage);
    m->n = in->n;
    m->n_d = m->residual ? stage->residual_cols : in->n;
    m->x = nb_alloc_zero(s->k->a, m->n + m->n_d, sizeof *m->x);
    if (m->x == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the sums of %zu columns", m->n);
    m->d = s->k->ideal != NULL ? m->x + m->n : NULL;
    return NB_OK;
}

static enum nb_status input_init(const struct staged *s, struct input *in,
                                 const struct nb_stage *stage, struct nb_error *err)
{
    const struct nb_allocator *a = s->k->a;
    memset(in, 0, sizeof *in);
    in->n = stage->x_cols;
    NB_TRY(nb_hessian_create_pair(&in->h, &in->held, in->n, a, err));
    if (corrects_biases(s, stage))
        NB_TRY(means_init(s, in, stage, err));
    if (s->k->ideal == NULL)
        return NB_OK;
    in->ideal = in->h;
    if (!all_ideal(s->k))
        NB_TRY(nb_hessian_create(&in->ideal, in->n, a, err));
    in->residual = to_residual(s, stage);
    in->n_out = in->residual ? stage->residual_cols : in->n;
    in->bias = in->residual ? bias_of(s, stage) : NULL;
    in->c = nb_alloc_zero(a, in->n_out * in->n, sizeof *in->c);
    if (in->c == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the moments of %zu columns", in->n);
    return NB_OK;
}

struct difference {
    const float *x, *y; /* (tokens, n) */
    const float *bias;  /* (n), NULL: zeros */
    size_t n;
    float *d; /* (tokens, n) := y - x - bias */
};

static void subtract_tokens(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct difference *f = ctx;
    (void)worker;
    for (size_t i = begin * f->n; i < end * f->n; i++)
        f->d[i] = f->y[i] - f->x[i];
    for (size_t t = begin; t < end && f->bias != NULL; t++)
        for (size_t i = 0; i < f->n; i++)
            f->d[t * f->n + i] -= f->bias[i];
}

/* s->difference := ideal - rows of a window, n_out columns of each. */
static void find_difference(const struct staged *s, struct input *in, const float *ideal,
                            const float *rows, const struct nb_stage *stage)
{
    const size_t ctx = s->k->text->ctx, n = in->n_out;
    const size_t at = in->residual ? stage->residual : stage->x;
    const size_t ideal_at = in->residual ? stage->sum : stage->x;
    struct difference f = {rows + at * ctx, ideal + ideal_at * ctx, in->bias, n, s->difference};
    nb_pool_for(s->k->p->settings.pool, ctx, 64, subtract_tokens, &f);
    if (in->means.x != NULL)
        nb_calibrated_sum_columns(in->means.d, f.d, ctx, n, s->k->p->settings.pool);
}

/* Windows of one kind in their order: those that are held out; others of the rounded model alone; of both. */
enum kind { HELD, ALONE, BOTH };

static enum nb_status add_windows(const struct staged *s, struct input *in, struct nb_outer *sums,
                                  const struct nb_stage *stage, enum kind kind,
                                  struct nb_error *err)
{
    const struct nb_calibrated *k = s->k;
    struct nb_hessian *h = kind == HELD ? in->held : kind == ALONE ? in->h : in->ideal;
    const bool means = in->means.x != NULL && (k->ideal == NULL ? kind == ALONE : kind == BOTH);
    size_t next = 0;
    nb_outer_begin(sums, h->h, h->lower, kind == BOTH ? in->c : NULL);
    for (size_t w = 0; w < k->text->n; w++) {
        const bool both = next < k->n_ideal && k->ideal_window[next] == w;
        const size_t number = next;
        float *rows, *ideal;
        next += both;
        if ((both ? BOTH : k->text->held[w] ? HELD : ALONE) != kind)
            continue;
        NB_TRY(nb_acts_get(k->acts, w, &rows, err));
        if (both) {
            NB_TRY(nb_acts_get(k->ideal, number, &ideal, err));
            find_difference(s, in, ideal, rows, stage);
        }
        const struct nb_outer_tokens tokens = {.x = rows + stage->x * k->text->ctx,
                                               .y = s->difference,
                                               .x_stride = in->n,
                                               .y_stride = in->n_out,
                                               .n_tokens = k->text->ctx};
        nb_outer_add(sums, &tokens);
        h->tokens += (double)k->text->ctx;
        if (!means)
            continue;
        in->means.tokens += (double)k->text->ctx;
        nb_calibrated_sum_columns(in->means.x, tokens.x, tokens.n_tokens, in->n,
                                  k->p->settings.pool);
    }
    nb_outer_end(sums);
    return NB_OK;
}

/* The float stream is at this cut, or, for a residual stream, behind the layer already. */
static enum nb_status collect(const struct staged *s, struct input *in, size_t piece,
                              struct nb_error *err)
{
    const struct nb_stage *stage = nb_stages_at(s->rounded.stages, piece);
    struct nb_calibrated *k = s->k;
    const uint64_t begin = nb_clock_ns();
    const struct nb_outer_options options = {.n = in->n,
                                             .n_y = in->c != NULL ? in->n_out : 0,
                                             .n_tokens = k->text->n * k->text->ctx,
                                             .pool = k->p->settings.pool};
    struct nb_outer *sums;
    NB_TRY(nb_outer_create(&sums, &options, k->a, err));
    enum nb_status st = NB_OK;
    for (int kind = HELD; kind <= BOTH && st == NB_OK; kind++)
        if (kind != BOTH || in->c != NULL)
            st = add_windows(s, in, sums, stage, (enum kind)kind, err);
    nb_outer_destroy(sums);
    if (st == NB_OK && in->ideal != NULL && in->ideal != in->h)
        st = nb_hessian_merge(in->h, in->ideal, err);
    k->times->statistics += (double)(nb_clock_ns() - begin) * 1e-9;
    if (st == NB_OK)
        st = nb_hessian_check(in->h, stage->readers[0], err);
    return st == NB_OK ? nb_hessian_check(in->held, stage->readers[0], err) : st;
}

/* ---- the shift of the targets ---- */

/* U = V^-1 of a damped H = V V^T, upper triangle: H^-1 = U^T U. */
static enum nb_status factor(const struct staged *s, const struct nb_hessian *h, double *u,
                             struct nb_error *err)
{
    const struct nb_calibrated *k = s->k;
    struct nb_pool *pool = k->p->settings.pool;
    const size_t n = h->n;
    const double damp = SHIFT_DAMP * nb_hessian_mean_diag(h);
    memcpy(u, h->h, n * n * sizeof *u);
    for (size_t i = 0; i < n; i++)
        u[i * n + i] += damp > 0.0 ? damp : 1.0;
    NB_TRY(nb_chol_reverse(u, n, pool, NULL, k->a, err));
    return nb_tri_inverse(u, n, pool, k->a, err);
}

/* f (rows, n) := C U^T U, g (rows, n) scratch. */
static enum nb_status times_inverse(const struct staged *s, float *f, double *g, const double *c,
                                    size_t rows, const double *u, size_t n, struct nb_error *err)
{
    const struct nb_calibrated *k = s->k;
    const struct nb_sym_product product = {.h = u, .n = n, .e = f, .e_stride = n, .rows = rows};
    for (size_t i = 0; i < rows * n; i++)
        f[i] = (float)c[i];
    NB_TRY(nb_tri_times(g, &product, true, k->p->settings.pool, k->a, err));
    for (size_t i = 0; i < rows * n; i++)
        f[i] = (float)g[i];
    return nb_tri_times(g, &product, false, k->p->settings.pool, k->a, err);
}

/* *out (n_out, n) := share * C H^-1, the sign that of the shift. The rows go by in slabs. */
static enum nb_status solve(const struct staged *s, const struct input *in, float **out,
                            double share, struct nb_error *err)
{
    const struct nb_allocator *a = s->k->a;
    const size_t n = in->n, slab = NB_MIN(in->n_out, NB_MAX(SLAB_ELEMENTS / n, 1));
    double *u = nb_alloc(a, n * n, sizeof *u), *g = nb_alloc(a, slab * n, sizeof *g);
    float *f = nb_alloc(a, in->n_out * n, sizeof *f);
    enum nb_status st = u != NULL && g != NULL && f != NULL
                            ? factor(s, in->ideal, u, err)
                            : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu columns", n);
    for (size_t row = 0; row < in->n_out && st == NB_OK; row += slab) {
        const size_t rows = NB_MIN(slab, in->n_out - row);
        st = times_inverse(s, f + row * n, g, in->c + row * n, rows, u, n, err);
        for (size_t i = 0; i < rows * n && st == NB_OK; i++)
            f[row * n + i] = (float)(share * g[i]);
    }
    nb_free(a, u);
    nb_free(a, g);
    if (st != NB_OK)
        nb_free(a, f);
    else
        *out = f;
    return st;
}

/* S - W H in place of S; w: (n_out, n). */
static enum nb_status subtract_own(const struct staged *s, struct input *in, const float *w,
                                   struct nb_error *err)
{
    const size_t n = in->n, slab = NB_MIN(in->n_out, NB_MAX(SLAB_ELEMENTS / n, 1));
    double *g = nb_alloc(s->k->a, slab * n, sizeof *g);
    enum nb_status st = NB_OK;
    if (g == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the moments of %zu columns", n);
    for (size_t row = 0; row < in->n_out && st == NB_OK; row += slab) {
        const struct nb_sym_product product = {.h = in->ideal->h,
                                               .n = n,
                                               .e = w + row * n,
                                               .e_stride = n,
                                               .rows = NB_MIN(slab, in->n_out - row)};
        st = nb_sym_times(g, &product, s->k->p->settings.pool, s->k->a, err);
        for (size_t i = 0; i < product.rows * n && st == NB_OK; i++)
            in->c[row * n + i] -= g[i];
    }
    nb_free(s->k->a, g);
    return st;
}

static enum nb_status find_shift(const struct staged *s, struct input *in, const float *w,
                                 struct nb_error *err)
{
    const uint64_t begin = nb_clock_ns();
    const double share = s->k->p->mismatch;
    if (s->k->ideal == NULL || in->ideal->tokens == 0.0)
        return NB_OK;
    if (in->residual)
        NB_TRY(subtract_own(s, in, w, err));
    const enum nb_status st = in->residual ? solve(s, in, &in->shift.r, share, err)
                                           : solve(s, in, &in->shift.m, -share, err);
    nb_free(s->k->a, in->c);
    in->c = NULL;
    s->k->times->prepare += (double)(nb_clock_ns() - begin) * 1e-9;
    return st;
}

/* ---- a piece ---- */

static enum nb_status round_readers(const struct staged *s, const struct nb_stage *stage,
                                    struct input *in, struct nb_error *err)
{
    struct nb_layer_input prepared = {.prepared = NULL};
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < s->b->n && st == NB_OK; i++) {
        const char *name = nb_calibrated_name(s->k, s->b, i);
        if (!is_reader(stage, name) || nb_journal_find(s->k->j, name) != NULL)
            continue;
        const struct nb_hessian *h = in->h, *held = in->held;
        struct nb_layer_job job = {.h = &h, .held = &held, .input = &prepared};
        if (in->shift.m != NULL || in->shift.r != NULL)
            job.shift = &in->shift;
        st = nb_calibrated_round(s->k, s->b, i, &job, in->means.x != NULL ? &in->means : NULL, err);
    }
    nb_layer_input_fini(&prepared);
    return st;
}

/* A reader that is still to be rounded; SIZE_MAX: none. */
static size_t open_reader(const struct staged *s, const struct nb_stage *stage)
{
    for (size_t i = 0; i < s->b->n; i++) {
        const char *name = nb_calibrated_name(s->k, s->b, i);
        if (is_reader(stage, name) && nb_journal_find(s->k->j, name) == NULL)
            return i;
    }
    return SIZE_MAX;
}

static enum nb_status calibrate_input(const struct staged *s, size_t piece, struct nb_error *err)
{
    const struct nb_stage *stage = nb_stages_at(s->rounded.stages, piece);
    const size_t reader = open_reader(s, stage);
    struct input in;
    if (reader == SIZE_MAX)
        return NB_OK;
    const float *w = nb_block_weights_values(s->k->floats, s->b->weight[reader]);
    enum nb_status st = input_init(s, &in, stage, err);
    if (st == NB_OK)
        st = collect(s, &in, piece, err);
    if (st == NB_OK)
        st = find_shift(s, &in, w, err);
    if (st == NB_OK)
        st = round_readers(s, stage, &in, err);
    input_fini(&in, s->k->a);
    return st;
}

/* Every window of a store through piece i. */
static enum nb_status advance(const struct staged *s, const struct runner *r, struct nb_acts *acts,
                              size_t n, size_t i, struct nb_error *err)
{
    struct nb_calibrated *k = s->k;
    const uint64_t begin = nb_clock_ns();
    for (size_t w = 0; w < n; w++) {
        float *rows;
        NB_TRY(nb_acts_get(acts, w, &rows, err));
        NB_TRY(nb_stages_run(r->stages, i, k->text->ctx, rows, err));
        NB_TRY(nb_acts_put(acts, w, rows, err));
        NB_TRY(nb_calibrated_step(k, s->what, err));
    }
    k->times->forward += (double)(nb_clock_ns() - begin) * 1e-9;
    return NB_OK;
}

/* What the piece runs, once the float model has passed it. */
static enum nb_status decode_layers(const struct staged *s, const struct nb_stage *stage,
                                    struct nb_error *err)
{
    for (size_t i = 0; i < s->b->n; i++)
        for (size_t k = 0; k < stage->n_layers; k++)
            if (strcmp(stage->layers[k], nb_calibrated_name(s->k, s->b, i)) == 0)
                NB_TRY(nb_calibrated_decode(s->k, s->b, i, err));
    return NB_OK;
}

/* ---- the two models ---- */

/* Is what 8-bit activations add small beside what rounding the weight does? Eight bits with a scale per 32 are
 * some 46 dB below what they stand for (q8_0 of models/tiny-7m), q6_k is 36, 4 bits are 24 to 25. */
static bool may_be_integer(const struct nb_plan_tensor *t)
{
    return nb_numfmt_expands(t->type) && nb_numfmt_bpw(t->type) <= INTEGER_BITS &&
           nb_shape_cols(&t->weight->t.shape) % NB_Q8_BLOCK == 0;
}

/* A published recipe runs on floats, as its authors did. */
static void expect_integers(const struct staged *s)
{
    struct nb_calibrated *k = s->k;
    if (k->p->float_prefix || (k->p->algo != NULL && k->p->algo->as_published != 0))
        return;
    for (size_t i = 0; i < s->b->n; i++) {
        const struct nb_plan_tensor *t = &k->p->tensors[s->b->weight[i]];
        if (may_be_integer(t))
            (void)nb_block_weights_expect(k->floats, s->b->weight[i], t->type, t->bytes,
                                          t->side_bytes);
    }
}

static void runner_fini(struct runner *r)
{
    nb_stages_destroy(r->stages);
    nb_session_destroy(r->session);
    *r = (struct runner){NULL, NULL};
}

static enum nb_status runner_init(const struct staged *s, struct runner *r,
                                  const struct nb_weights *w, bool integers, struct nb_error *err)
{
    const struct nb_calibrated *k = s->k;
    const struct nb_session_options o = {.n_ctx = k->text->ctx,
                                         .n_batch = k->text->ctx,
                                         .kv_type = &nb_numfmt_f32,
                                         .float_activations = !integers,
                                         .pool = k->p->settings.pool,
                                         .part = {.from_hidden = true,
                                                  .to_hidden = true,
                                                  .first_block = (uint32_t)s->b->number,
                                                  .n_blocks = 1}};
    NB_TRY(nb_session_create(&r->session, w, &o, k->a, err));
    return nb_stages_create(&r->stages, r->session, err);
}

static bool laid_out_alike(const struct nb_stages *a, const struct nb_stages *b)
{
    bool same =
        nb_stages_count(a) == nb_stages_count(b) && nb_stages_width(a) == nb_stages_width(b);
    for (size_t i = 1; same && i < nb_stages_count(a); i++) {
        const struct nb_stage *p = nb_stages_at(a, i), *q = nb_stages_at(b, i);
        same = p->x == q->x && p->x_cols == q->x_cols && p->n_readers == q->n_readers &&
               p->n_layers == q->n_layers && p->residual_cols == q->residual_cols &&
               p->residual == q->residual && p->sum == q->sum;
    }
    return same;
}

/* Sessions take over vectors (biases) as they are now; where values lie at a cut does not change. */
static enum nb_status open_runners(struct staged *s, struct nb_error *err)
{
    struct nb_calibrated *k = s->k;
    runner_fini(&s->rounded);
    runner_fini(&s->ideal);
    k->new_bias = false;
    NB_TRY(runner_init(s, &s->rounded, nb_block_weights_stored(k->floats), true, err));
    if (k->ideal == NULL)
        return NB_OK;
    NB_TRY(runner_init(s, &s->ideal, nb_block_weights_view(k->floats), false, err));
    if (!laid_out_alike(s->rounded.stages, s->ideal.stages))
        NB_FAIL(err, NB_ERR_INTERNAL, "%s: two layouts of its activations", s->what);
    return NB_OK;
}

static enum nb_status run_piece(struct staged *s, size_t i, struct nb_error *err)
{
    const struct nb_stage *stage = nb_stages_at(s->rounded.stages, i);
    struct nb_calibrated *k = s->k;
    const bool ahead = to_residual(s, stage);
    if (k->ideal != NULL && ahead)
        NB_TRY(advance(s, &s->ideal, k->ideal, k->n_ideal, i, err));
    if (i > 0)
        NB_TRY(calibrate_input(s, i, err));
    if (k->ideal != NULL && !ahead)
        NB_TRY(advance(s, &s->ideal, k->ideal, k->n_ideal, i, err));
    if (!k->p->float_prefix)
        NB_TRY(decode_layers(s, stage, err));
    if (k->new_bias)
        NB_TRY(open_runners(s, err));
    return advance(s, &s->rounded, k->acts, k->text->n, i, err);
}

static enum nb_status run_pieces(struct staged *s, struct nb_error *err)
{
    const size_t ctx = s->k->text->ctx;
    expect_integers(s);
    NB_TRY(open_runners(s, err));
    const size_t width = nb_stages_width(s->rounded.stages);
    if (width > nb_staged_width(&s->k->p->model->w.hp))
        NB_FAIL(err, NB_ERR_INTERNAL, "%s: rows of %zu floats, expected fewer", s->what, width);
    s->difference = nb_alloc(s->k->a, ctx * width, sizeof *s->difference);
    if (s->difference == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a window of activations");
    nb_calibrated_phase(s->k, s->k->p->float_prefix ? 1 : 2,
                        nb_stages_count(s->rounded.stages) * (s->k->text->n + s->k->n_ideal));
    for (size_t i = 0; i < nb_stages_count(s->rounded.stages); i++)
        NB_TRY(run_piece(s, i, err));
    return NB_OK;
}

enum nb_status nb_staged_block(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                               struct nb_error *err)
{
    struct staged s = {.k = k, .b = b};
    (void)snprintf(s.what, sizeof s.what, "block %d of %u", (int)b->number + 1,
                   k->p->model->w.hp.n_layers);
    const enum nb_status st = run_pieces(&s, err);
    nb_free(k->a, s.difference);
    runner_fini(&s.rounded);
    runner_fini(&s.ideal);
    return st;
}
