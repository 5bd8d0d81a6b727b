/* Every algorithm on the number formats it supports (of general grids one for each element and granularity):
 * deterministic, what it stores is what it says, never worse
 * than rounding to nearest on its own objective by more than 1 % (fits that see moving targets are heuristics,
 * and a format may leave them no room). */
#include "unit/quant/algo_case.h"

enum { ROWS = 4, COLS = 256 };

struct totals {
    double rtn, loss;
};

/* What rows share, learned from the matrix; NULL if nothing. The caller frees it. */
static uint8_t *train(const struct algo_case *c, const struct nb_algo *algo,
                      const struct nb_numfmt *f)
{
    const struct nb_shape shape = {.n = 2, .dim = {c->rows, c->n}};
    const struct nb_scale_options how = case_search(algo);
    struct nb_grid_training *t;
    struct nb_error err;
    if (f->kind != NB_NUMFMT_GRID || !nb_grid_needs_training(f))
        return NULL;
    uint8_t *side = calloc((size_t)nb_grid_side_bytes(f, &shape) + 1, 1);
    assert_non_null(side);
    assert_ok(nb_grid_training_create(&t, f, &shape, &how, NULL, &err), &err);
    assert_ok(nb_grid_train(t, c->w, NULL, c->rows, &err), &err);
    assert_ok(nb_grid_training_finish(t, side, NULL, &err), &err);
    nb_grid_training_destroy(t);
    return side;
}

/* The values of the stored rows, by the format's own decoder. */
static void decode(const struct algo_case *c, const struct nb_numfmt *f, const struct outcome *o,
                   const uint8_t *side, float *y)
{
    const struct nb_shape shape = {.n = 2, .dim = {c->rows, c->n}};
    if (f->kind != NB_NUMFMT_GRID) {
        nb_numfmt_decode(f, o->records, y, c->rows * c->n);
        return;
    }
    const struct nb_parts parts = nb_grid_records(f, &shape, o->records, 0, side);
    const struct nb_tensor t = {.type = f, .shape = shape, .parts = &parts};
    nb_tensor_decode(&t, 0, c->rows, y);
}

/* Does this format have a coder, and does the algorithm want it? */
static bool suits(const struct algo_case *c, const struct nb_algo *algo, const struct nb_numfmt *f,
                  const uint8_t *side)
{
    const struct nb_shape shape = {.n = 2, .dim = {c->rows, c->n}};
    const struct nb_coder_spec spec = {.type = f, .shape = &shape, .side = side};
    struct nb_coder *coder;
    if (nb_coder_create(&coder, &spec, NULL) != NB_OK)
        return false;
    const bool ok = nb_algo_supports(algo, coder);
    nb_coder_destroy(coder);
    return ok;
}

static bool check_one(const struct algo_case *c, const struct nb_algo *algo,
                      const struct nb_numfmt *f, struct totals *sum)
{
    struct nb_error err;
    uint8_t *side = train(c, algo, f);
    if (!suits(c, algo, f, side)) {
        free(side);
        return false;
    }
    const struct how how = {.side = side, .held = true};
    struct outcome a, b;
    outcome_init(&a, c);
    outcome_init(&b, c);
    assert_ok(case_try(c, algo, f, &how, &a, &err), &err);
    assert_ok(case_try(c, algo, f, &how, &b, &err), &err);
    assert_same_records(c, &a, &b);
    decode(c, f, &a, side, b.values);
    assert_bits_array(a.values, b.values, c->rows * c->n);
    assert_true(a.sums.n_rows == c->rows && a.sums.signal > 0.0);
    sum->rtn += a.sums.rtn;
    sum->loss += a.sums.target_loss;
    outcome_fini(&a);
    outcome_fini(&b);
    free(side);
    return true;
}

/* Is there one before it of the same element and granularity? */
static bool is_variant(const struct nb_numfmt *const *f, size_t i)
{
    const struct nb_gridfmt *g = f[i]->grid;
    for (size_t k = 0; k < i && g != NULL; k++)
        if (f[k]->grid->elem == g->elem && f[k]->grid->share == g->share &&
            (f[k]->grid->zero == NB_ZERO_NONE) == (g->zero == NB_ZERO_NONE))
            return true;
    return false;
}

/* An emulated machine is content with every tenth format, and no search through large codebooks. */
static bool too_slow(const struct nb_numfmt *f, size_t i)
{
    if (nb_env("NB_SLOW") == NULL)
        return false;
    return i % 10 != 0 || (f->grid != NULL && f->grid->elem->dim > 1);
}

static size_t check_formats(const struct nb_algo *algo, const struct nb_numfmt *const *f, size_t n)
{
    size_t suited = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_variant(f, i) || COLS % f[i]->block != 0 || too_slow(f[i], i))
            continue;
        struct totals sum = {0.0, 0.0};
        bool ok = true;
        for (uint64_t seed = 0; seed < 2 && ok; seed++) {
            struct algo_case c;
            case_init(&c, ROWS, COLS, 500 + seed);
            ok = check_one(&c, algo, f[i], &sum);
            case_fini(&c);
        }
        suited += ok;
        if (!(sum.loss <= 1.01 * sum.rtn))
            print_message("%s, %s: loss %g, rounded to nearest %g\n", algo->name, f[i]->name,
                          sum.loss, sum.rtn);
        if (algo->scale_search == NULL) /* published recipes have their faults */
            assert_true(sum.loss <= 1.01 * sum.rtn);
    }
    return suited;
}

static void test_blocks(void **state)
{
    size_t n, n_algos, suited = 0;
    (void)state;
    const struct nb_numfmt *const *f = nb_numfmt_all(&n);
    const struct nb_algo *const *algo = nb_algo_all(&n_algos);
    for (size_t i = 0; i < n_algos; i++)
        suited += check_formats(algo[i], f, n);
    assert_true(suited > (nb_env("NB_SLOW") == NULL ? 50 : 10));
}

static void test_grids(void **state)
{
    size_t n, n_algos, suited = 0;
    (void)state;
    const struct nb_numfmt *const *f = nb_grid_all(&n);
    const struct nb_algo *const *algo = nb_algo_all(&n_algos);
    for (size_t i = 0; i < n_algos; i++)
        suited += check_formats(algo[i], f, n);
    assert_true(suited > (nb_env("NB_SLOW") == NULL ? 50 : 10));
}

static void test_names(void **state)
{
    size_t n;
    (void)state;
    const struct nb_algo *const *algo = nb_algo_all(&n);
    for (size_t i = 0; i < n; i++) {
        assert_true(algo[i]->name[0] != '\0' && algo[i]->summary[0] != '\0');
        assert_ptr_equal(nb_algo_find(algo[i]->name), algo[i]);
        assert_true(nb_algo_prepared_bytes(algo[i], 512) > 0);
        assert_true(nb_algo_rows_bytes(algo[i], 512, 2) > nb_algo_rows_bytes(algo[i], 512, 1));
    }
    assert_null(nb_algo_find("none"));
}

NB_TEST_MAIN(cmocka_unit_test(test_names), cmocka_unit_test(test_blocks),
             cmocka_unit_test(test_grids))
