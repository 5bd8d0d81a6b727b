/* quant/calibrated_plan.c: what a calibration takes, and how it keeps to a budget.
 *
 * In memory at once: the floats of a block; activations of all windows, on one or two streams, or as many as
 * fit, the others on disk; H of one input and what its shift or the rounding of a matrix needs. A block with
 * experts has H of all its inputs, or of one at a time, which takes a run for each. Disk is tried before
 * more runs.
 */
#include "calib/acts.h"
#include "calib/block_weights.h"
#include "calib/hessian.h"
#include "quant/algo.h"
#include "quant/calibrated_internal.h"
#include "quant/quant_internal.h"
#include "quant/transformed.h"

#define BASE_BYTES    (UINT64_C(48) << 20) /* code, tokenizer, metadata, a slab of the head */
#define SLAB_ELEMENTS (UINT64_C(8) << 20)  /* of a weight, read and rounded at once */
#define FLOPS         60e9                 /* of a thread; a guess, for an estimate          */
#define SETS          2U                   /* H of the text, H of what is held out           */

bool nb_calibrated_takes(const struct nb_plan_tensor *t)
{
    return t->stored && t->weight->spec.quantizable && t->type->kind >= NB_NUMFMT_BLOCK &&
           t->type != t->weight->t.type && t->weight->t.shape.n >= 2;
}

/* The largest of each over the blocks, bytes; head: of all that the head takes beside a block's floats. */
struct needs {
    uint64_t floats, all_inputs, one_input, records, session, head;
    uint64_t measure; /* of a transform before it all */
};

static void raise(uint64_t *most, uint64_t x)
{
    *most = NB_MAX(*most, x);
}

/* Does a site feed a weight that is rounded? */
static bool feeds(const struct nb_quant_plan *p, const struct nb_site *s)
{
    bool any = false;
    for (size_t i = 0; i < s->n_readers; i++)
        any = any || nb_calibrated_takes(&p->tensors[s->readers[i]]);
    return any;
}

/* Rows of the largest weight that reads the site. */
static uint64_t rows_of(const struct nb_quant_plan *p, const struct nb_site *s)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < s->n_readers; i++)
        raise(&rows, nb_shape_rows(&p->tensors[s->readers[i]].weight->t.shape));
    return rows;
}

/* Bytes of the largest tensor of a block (-1: of none) that is calibrated; twice where methods compete. */
static uint64_t largest_record(const struct nb_quant_plan *p, int32_t block)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->n; i++)
        if (nb_calibrated_takes(&p->tensors[i]) && p->tensors[i].weight->spec.block == block)
            raise(&bytes, p->tensors[i].bytes);
    return p->algo == NULL ? 2 * bytes : bytes;
}

/* Rows of the shift: of the one weight whose output is added to the stream; of what is taken from q, k, v,
 * gate and up as many as columns. */
static uint64_t shift_rows(const struct nb_quant_plan *p, const struct nb_site *s)
{
    return s->n_readers == 1 ? NB_MAX(rows_of(p, s), (uint64_t)1) : s->n;
}

static bool two_streams(const struct nb_quant_plan *p)
{
    return nb_staged_width(&p->model->w.hp) > 0 && !p->float_prefix && p->mismatch > 0.0;
}

/* Of the memory that sums take while they grow. */
static uint64_t panels_bytes(const struct nb_quant_plan *p, size_t n, uint64_t n_y)
{
    const struct nb_windows *text = p->settings.windows;
    const struct nb_outer_options options = {
        .n = n, .n_y = (size_t)n_y, .n_tokens = text->n * text->ctx, .pool = p->settings.pool};
    return nb_outer_bytes(&options);
}

/* While an input of a dense block is worked on (staged.c): H of the text and of what is held out are a pair;
 * then either the cross moments and panels; or these moments, the factor of H, the shift and slabs of products;
 * or the shift and rounding. */
static uint64_t dense_bytes(const struct nb_quant_plan *p, const struct nb_site *s,
                            uint64_t rounding)
{
    const struct nb_windows *text = p->settings.windows;
    const uint64_t square = nb_hessian_bytes(s->n), rows = shift_rows(p, s);
    const uint64_t pair = nb_hessian_pair_bytes(s->n), panels = UINT64_C(4096) * s->n;
    if (!two_streams(p))
        return pair + NB_MAX(panels_bytes(p, s->n, 0), rounding);
    const uint64_t elements = rows * s->n;
    const uint64_t ideal = text->n * text->ctx > NB_IDEAL_WHOLE ? square : 0;
    const uint64_t sums = sizeof(double) * elements + panels_bytes(p, s->n, rows);
    const uint64_t shift = (sizeof(double) + sizeof(float)) * elements + square + panels +
                           sizeof(double) * NB_MIN(elements, SLAB_ELEMENTS / 2);
    return pair + ideal + NB_MAX(NB_MAX(sums, shift), sizeof(float) * elements + rounding);
}

static void add_inputs(const struct nb_quant_plan *p, const struct nb_site *sites, size_t n,
                       struct needs *needs)
{
    const unsigned threads = nb_pool_threads(p->settings.pool);
    const struct nb_algo *algo = p->algo != NULL ? p->algo : &nb_algo_kgptq;
    const bool dense = nb_staged_width(&p->model->w.hp) > 0;
    uint64_t block = 0;
    for (size_t i = 0; i < n; i++) {
        if (!feeds(p, &sites[i]))
            continue;
        if (i == 0 || sites[i].block != sites[i - 1].block)
            block = 0;
        const uint64_t cols = sites[i].n, rows = rows_of(p, &sites[i]);
        const uint64_t h = SETS * nb_hessian_bytes(cols) * sites[i].n_mat;
        const uint64_t slab = 2 * sizeof(float) * NB_MIN(rows * cols, SLAB_ELEMENTS);
        const uint64_t rounding =
            nb_algo_prepared_bytes(algo, cols) + nb_algo_rows_bytes(algo, cols, threads) + slab;
        if (sites[i].block < 0) {
            raise(&needs->head, h + rounding + largest_record(p, -1));
            continue;
        }
        block += h;
        raise(&needs->all_inputs, block + rounding);
        raise(&needs->one_input, dense ? dense_bytes(p, &sites[i], rounding) : h + rounding);
    }
}

/* Activations, cache and scratch of a block, of each of two models at most; an upper estimate. */
static uint64_t session_bytes(const struct nb_quant_plan *p)
{
    const struct nb_hparams *hp = &p->model->w.hp;
    const uint64_t ctx = p->settings.windows->ctx, heads = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    const uint64_t experts = (uint64_t)hp->n_ff_expert * hp->n_experts_used;
    const uint64_t row =
        6 * (uint64_t)hp->n_embd + 3 * heads + 4 * kv + 3 * NB_MAX((uint64_t)hp->n_ff, experts);
    return ctx * row * sizeof(float) + nb_pool_threads(p->settings.pool) * 256 * ctx * 4;
}

static enum nb_status find_needs(const struct nb_quant_plan *p, struct needs *needs,
                                 struct nb_error *err)
{
    struct nb_arena arena;
    struct nb_site *sites;
    size_t n;
    nb_arena_init(&arena, p->a, 0);
    enum nb_status st = nb_sites_list(&p->model->w, &sites, &n, &arena, err);
    if (st == NB_OK)
        add_inputs(p, sites, n, needs);
    if (st == NB_OK && p->algo != NULL && p->algo->transform != NULL)
        needs->measure = nb_site_loss_bytes(p, sites, n);
    nb_arena_fini(&arena);
    for (uint32_t b = 0; b < p->model->w.hp.n_layers && st == NB_OK; b++) {
        uint64_t bytes;
        if (!nb_block_weights_bytes(p->model, b, 1, &bytes))
            return NB_ERROR(err, NB_ERR_LIMIT, "block %u is too large", b);
        raise(&needs->floats, bytes);
        raise(&needs->records, largest_record(p, (int32_t)b));
    }
    needs->session = (two_streams(p) ? 2 : 1) * session_bytes(p);
    return st;
}

/* All but activations of windows. */
static uint64_t fixed_bytes(const struct needs *n, bool by_input)
{
    const uint64_t inputs = by_input ? n->one_input : NB_MAX(n->all_inputs, n->one_input);
    return BASE_BYTES + n->floats + n->session + NB_MAX(n->records + inputs, n->head);
}

static enum nb_status fit(struct nb_quant_plan *p, const struct needs *n, struct nb_error *err)
{
    struct nb_calibrated_plan *c = &p->calibrated;
    const struct nb_hparams *hp = &p->model->w.hp;
    const bool staged = nb_staged_width(hp) > 0;
    const struct nb_acts_options acts = {.n_windows = p->settings.windows->n,
                                         .ctx = p->settings.windows->ctx,
                                         .width = staged ? nb_staged_width(hp) : hp->n_embd};
    /* Without a budget activations may have half of what is free: a choice that no byte depends on. */
    const uint64_t budget =
        p->settings.max_ram > 0 ? p->settings.max_ram : nb_ram_available_bytes() / 2;
    const uint32_t streams = staged ? 2 : 1;
    uint64_t all, least;
    if (!nb_acts_bytes(&acts, &all, &least))
        NB_FAIL(err, NB_ERR_LIMIT, "too many tokens to calibrate on");
    for (int by_input = staged; by_input < 2; by_input++) {
        const uint64_t fixed = fixed_bytes(n, by_input != 0);
        c->by_input = by_input != 0;
        c->hidden_bytes = UINT64_MAX;
        c->peak_bytes = fixed + streams * all;
        if (c->peak_bytes <= budget)
            return NB_OK;
        if (fixed + streams * least <= budget || (p->settings.max_ram == 0 && by_input)) {
            const uint64_t kept = NB_MIN(budget, fixed + streams * least);
            c->hidden_bytes = (budget - kept) / streams;
            c->peak_bytes = NB_MAX(budget, fixed + streams * least);
            return NB_OK;
        }
    }
    NB_FAIL(err, NB_ERR_LIMIT,
            "calibrating takes at least %llu bytes of memory with %u threads, the budget is %llu; "
            "fewer threads take less, and a method that needs no text (rtn) much less",
            (unsigned long long)(fixed_bytes(n, true) + streams * least),
            nb_pool_threads(p->settings.pool), (unsigned long long)budget);
}

static void add_time(struct nb_quant_plan *p)
{
    const double tokens = (double)p->settings.windows->n * p->settings.windows->ctx;
    const double runs = p->float_prefix ? 1.0 : 2.0;
    const double threads = nb_pool_threads(p->settings.pool);
    double elements = 0.0, squares = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        const struct nb_plan_tensor *t = &p->tensors[i];
        const double cols = (double)nb_shape_cols(&t->weight->t.shape);
        if (t->weight->spec.block < 0 || t->weight->t.shape.n < 2)
            continue;
        elements += (double)t->elements;
        squares += cols * cols;
    }
    p->seconds += tokens * (2.0 * elements * runs + squares) / (FLOPS * threads);
}

enum nb_status nb_calibrated_plan(struct nb_quant_plan *p, struct nb_error *err)
{
    const struct nb_hparams *hp = &p->model->w.hp;
    struct needs needs = {.measure = 0};
    if (p->settings.windows == NULL)
        return NB_OK;
    if (p->model->unknown || hp->encoder)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "method '%s' runs a decoder block by block; a model of architecture %s has none",
                p->settings.recipe->method, hp->arch != NULL ? hp->arch->name : "unknown");
    NB_TRY(find_needs(p, &needs, err));
    const uint64_t measure = needs.measure > 0 ? BASE_BYTES + needs.session + needs.measure : 0;
    NB_TRY(fit(p, &needs, err));
    p->calibrated.peak_bytes = NB_MAX(p->calibrated.peak_bytes, measure);
    if (p->settings.max_ram > 0 && measure > p->settings.max_ram)
        NB_FAIL(err, NB_ERR_LIMIT,
                "measuring the scales of '%s' takes %llu bytes of memory, the budget is %llu",
                p->algo->transform, (unsigned long long)measure,
                (unsigned long long)p->settings.max_ram);
    p->peak_bytes = NB_MAX(p->peak_bytes, p->calibrated.peak_bytes);
    add_time(p);
    return NB_OK;
}
