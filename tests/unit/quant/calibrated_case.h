/* tests/unit/quant/calibrated_case.h: calibrated runs on random tokens. */
#ifndef CALIBRATED_CASE_H
#define CALIBRATED_CASE_H

#include "quant/calibrated.h"
#include "quant_case.h"

#define CASE_WINDOWS 6
#define CASE_MOST    128 /* windows */
#define CASE_CTX     16

/* What is run, how, and what came of it. Zeros: method kgptq to q8_0, one thread. */
struct calibrated_case {
    const char *method, *type;
    bool float_prefix, no_mismatch, none_held;
    size_t windows; /* 0: CASE_WINDOWS */
    uint64_t max_ram;
    struct nb_pool *pool;
    const struct nb_allocator *a;
    const struct nb_progress *progress;
    /* out */
    struct nb_quant_report report;
    uint64_t hidden_bytes, peak_bytes;
    size_t n_rounded;
};

/* Facts of a weight that was rounded. */
static inline void case_check_layer(const struct nb_layer_report *r, const char *name)
{
    const double all[] = {r->facts.mean_h, r->facts.mean_d,     r->facts.geomean_d,
                          r->facts.damp,   r->sums.signal,      r->sums.rtn,
                          r->sums.loss,    r->sums.held_signal, r->sums.held_rtn,
                          r->seconds,      r->sums.held_loss,   r->sums.target_loss,
                          r->candidate[0], r->prepare_seconds,  r->candidate[NB_CANDIDATES - 1]};
    for (size_t i = 0; i < NB_COUNTOF(all); i++)
        if (!(all[i] - all[i] == 0.0)) /* neither NaN nor infinite */
            fail_msg("%s: number %zu of its report is %g", name, i, all[i]);
    if (!(r->sums.loss >= 0.0 && r->sums.signal >= 0.0 && r->seconds >= 0.0))
        fail_msg("%s: a sum of squares is below 0", name);
}

static inline enum nb_status case_run_plan(struct calibrated_case *c, const struct nb_quant_plan *p,
                                           struct nb_error *err)
{
    struct nb_layer_report *layers = calloc(p->n, sizeof *layers);
    assert_non_null(layers);
    c->report = (struct nb_quant_report){.layers = layers};
    c->n_rounded = 0;
    c->hidden_bytes = p->calibrated.hidden_bytes;
    c->peak_bytes = p->calibrated.peak_bytes;
    const enum nb_status st = nb_quant_run(p, &c->report, err);
    for (size_t i = 0; st == NB_OK && i < p->n; i++)
        if (layers[i].method != NULL) {
            case_check_layer(&layers[i], p->tensors[i].weight->spec.name);
            c->n_rounded++;
        }
    free(layers);
    return st;
}

/* Random tokens, the fourth window held out. */
static inline enum nb_status case_calibrate(struct calibrated_case *c, const struct nb_model *m,
                                            const char *out, struct nb_error *err)
{
    static uint32_t tokens[CASE_MOST * CASE_CTX];
    const bool held[CASE_MOST] = {false, false, false, !c->none_held};
    const size_t n = c->windows > 0 ? c->windows : CASE_WINDOWS;
    struct nb_rng rng = {.seed = 11};
    struct nb_recipe r;
    struct nb_quant_plan *p = NULL;
    assert_true(n <= CASE_MOST);
    for (size_t i = 0; i < n * CASE_CTX; i++)
        tokens[i] = (uint32_t)(nb_rng_u64(&rng) % m->w.hp.n_vocab);
    const struct nb_windows windows = {.tokens = tokens, .held = held, .n = n, .ctx = CASE_CTX};
    nb_recipe_init(&r, c->a);
    r.method = c->method != NULL ? c->method : "kgptq";
    r.type = c->type != NULL ? c->type : "q8_0";
    r.pure = true;
    r.float_prefix = c->float_prefix;
    r.mismatch = c->no_mismatch ? 0.0 : r.mismatch;
    const struct nb_quant_settings s = {.out = out,
                                        .recipe = &r,
                                        .overwrite = true,
                                        .allow_requantize = true,
                                        .max_ram = c->max_ram,
                                        .windows = &windows,
                                        .pool = c->pool,
                                        .progress = c->progress};
    enum nb_status st = nb_quant_plan_create(&p, m, &s, c->a, err);
    if (st == NB_OK)
        st = case_run_plan(c, p, err);
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
    return st;
}

/* "<out>.journal", in a buffer that the next call reuses. */
static inline const char *case_journal(const char *out)
{
    static char path[4096];
    (void)snprintf(path, sizeof path, "%s.journal", out);
    return path;
}

static inline struct nb_hash case_hash(const char *path)
{
    size_t n;
    uint8_t *bytes = nbtest_read(path, &n);
    const struct nb_hash h = nb_hash_bytes(bytes, n);
    free(bytes);
    return h;
}

#endif
