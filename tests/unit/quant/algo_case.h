/* tests/unit/quant/algo_case.h: a small matrix, its input's second moments, and an algorithm run on them. */
#ifndef ALGO_CASE_H
#define ALGO_CASE_H

#include <math.h>

#include "support/nbtest.h"
#include "numfmt/coder.h"
#include "quant/algo.h"

#define TOKENS 64.0

struct algo_case {
    size_t rows, n;
    double *h, *held; /* (n, n), sums over TOKENS tokens */
    float *w;         /* (rows, n) */
};

/* Inputs with few strong directions, channels of unequal scale; held: the same plus a little noise. */
static inline void case_init(struct algo_case *c, size_t rows, size_t n, uint64_t seed)
{
    struct nb_rng rng = {.seed = seed};
    const size_t rank = n / 4 + 1;
    double *x = calloc(n, sizeof *x), *scale = calloc(n, sizeof *scale);
    *c = (struct algo_case){.rows = rows, .n = n};
    c->h = calloc(n * n, sizeof *c->h);
    c->held = calloc(n * n, sizeof *c->held);
    c->w = calloc(rows * n, sizeof *c->w);
    assert_true(x != NULL && scale != NULL && c->h != NULL && c->held != NULL && c->w != NULL);
    for (size_t i = 0; i < n; i++)
        scale[i] = exp(0.5 * nb_rng_normal(&rng));
    for (size_t k = 0; k < rank; k++) {
        for (size_t i = 0; i < n; i++)
            x[i] = scale[i] * nb_rng_normal(&rng) / sqrt((double)k + 1.0);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++) {
                c->h[i * n + j] += TOKENS * x[i] * x[j];
                c->held[i * n + j] += TOKENS * x[i] * x[j];
            }
    }
    for (size_t i = 0; i < n; i++) {
        c->h[i * n + i] += 0.1 * TOKENS * scale[i] * scale[i];
        c->held[i * n + i] += 0.15 * TOKENS * scale[i] * scale[i];
    }
    for (size_t i = 0; i < rows * n; i++)
        c->w[i] = (float)nb_rng_normal(&rng);
    free(x);
    free(scale);
}

static inline void case_fini(struct algo_case *c)
{
    free(c->h);
    free(c->held);
    free(c->w);
}

/* What came out. */
struct outcome {
    uint8_t *records; /* (rows, record_bytes) */
    size_t record_bytes;
    float *values; /* (rows, n) */
    struct nb_algo_sums sums;
    struct nb_algo_facts facts;
};

static inline void outcome_fini(struct outcome *o)
{
    free(o->records);
    free(o->values);
}

/* How a case is run; zeros: as the algorithm likes it, on one thread, without held. */
struct how {
    const struct nb_algo_params *params;
    struct nb_pool *pool;
    const uint8_t *side;
    const float *target;
    const struct nb_allocator *a;
    enum nb_role role; /* 0: the embedding, to which no algorithm attends */
    bool held;
};

static inline struct nb_scale_options case_search(const struct nb_algo *algo)
{
    struct nb_scale_options how = {.method = NB_SCALE_MSE};
    if (algo->scale_search != NULL)
        assert_true(nb_scale_options_parse(&how, algo->scale_search));
    return how;
}

static inline enum nb_status case_try(const struct algo_case *c, const struct nb_algo *algo,
                                      const struct nb_numfmt *type, const struct how *how,
                                      struct outcome *out, struct nb_error *err)
{
    const struct nb_shape shape = {.n = 2, .dim = {c->rows, c->n}};
    const struct nb_scale_options search = case_search(algo);
    const struct nb_coder_spec spec = {
        .type = type, .shape = &shape, .how = &search, .side = how->side, .a = how->a};
    struct nb_coder *coder;
    NB_TRY(nb_coder_create(&coder, &spec, err));
    out->record_bytes = nb_coder_record_bytes(coder);
    const struct nb_algo_layout layout = nb_algo_layout(coder);
    nb_coder_destroy(coder);
    const struct nb_algo_job job = {
        .n = c->n,
        .h = c->h,
        .tokens = TOKENS,
        .held = how->held ? c->held : NULL,
        .held_tokens = TOKENS,
        .layout = layout,
        .params = how->params,
        .pool = how->pool,
        .a = how->a,
    };
    struct nb_prepared *p;
    NB_TRY(nb_prepared_create(&p, algo, &job, err));
    out->facts = *nb_prepared_facts(p);
    struct nb_rows rows = {
        .spec = &spec,
        .role = how->role,
        .n_rows = c->rows,
        .w = c->w,
        .target = how->target,
        .records = out->records,
        .record_bytes = out->record_bytes,
        .decoded = out->values,
        .sums = &out->sums,
    };
    const enum nb_status st = nb_algo_rows(p, &rows, err);
    nb_prepared_destroy(p);
    return st;
}

static inline void outcome_init(struct outcome *o, const struct algo_case *c)
{
    *o = (struct outcome){0};
    o->values = calloc(c->rows * c->n, sizeof *o->values);
    o->records = calloc(c->rows * c->n, 8); /* more than any format takes */
    assert_true(o->values != NULL && o->records != NULL);
}

static inline struct outcome case_run(const struct algo_case *c, const char *algo, const char *type,
                                      const struct how *how)
{
    static const struct how usual;
    struct nb_error err;
    struct outcome o;
    assert_non_null(nb_algo_find(algo));
    assert_non_null(nb_numfmt_find(type));
    outcome_init(&o, c);
    assert_ok(
        case_try(c, nb_algo_find(algo), nb_numfmt_find(type), how != NULL ? how : &usual, &o, &err),
        &err);
    return o;
}

/* Codes of a row as they were stored, and its grids (n_blocks), which the caller frees. */
static inline struct nb_grid *case_codes(const struct algo_case *c, const struct outcome *o,
                                         const char *type, size_t row, int16_t *codes)
{
    const struct nb_shape shape = {.n = 2, .dim = {c->rows, c->n}};
    const struct nb_coder_spec spec = {.type = nb_numfmt_find(type), .shape = &shape};
    struct nb_error err;
    struct nb_coder *coder;
    assert_ok(nb_coder_create(&coder, &spec, &err), &err);
    struct nb_grid *g = calloc(coder->n_blocks, sizeof *g);
    assert_non_null(g);
    nb_coder_unpack(coder, row, g, codes, o->records + row * o->record_bytes);
    nb_coder_destroy(coder);
    return g;
}

static inline void assert_same_records(const struct algo_case *c, const struct outcome *a,
                                       const struct outcome *b)
{
    assert_int_equal(a->record_bytes, b->record_bytes);
    assert_memory_equal(a->records, b->records, c->rows * a->record_bytes);
    assert_bits_array(a->values, b->values, c->rows * c->n);
}

/* tr(E (H + lambda I) E^T) per token of E = x - y, written plainly. */
static inline double plain_loss(const struct algo_case *c, const float *x, const float *y,
                                double lambda)
{
    const size_t n = c->n;
    double sum = 0.0;
    for (size_t r = 0; r < c->rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double e = (double)x[r * n + i] - (double)y[r * n + i];
            sum += e * e * (c->h[i * n + i] / TOKENS + lambda);
            for (size_t j = i + 1; j < n; j++)
                sum += 2.0 * e * ((double)x[r * n + j] - (double)y[r * n + j]) *
                       (c->h[i * n + j] / TOKENS);
        }
    return sum;
}

#endif
