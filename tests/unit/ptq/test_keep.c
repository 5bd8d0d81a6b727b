/* What stays float until a bound is met. */
#include "unit/ptq/chain.h"

static struct nb_error err;
static struct chain chain;

static struct nb_ptq *made(const struct nb_ptq_options *o)
{
    struct nb_ptq *p;
    assert_ok(nb_ptq_create(&p, &chain.m, NULL, o, &chain.data, NULL, NULL, &err), &err);
    return p;
}

static void test_ratio(void **state)
{
    (void)state;
    struct nb_ptq_options o = {.per_tensor = true};
    chain_init(&chain);
    struct nb_ptq *p = made(&o);
    const double all = chain_db(&chain, nb_ptq_model(p));
    assert_int_equal(nb_ptq_report(p)->n_models, 0);
    nb_ptq_destroy(p);
    o.bounded = true;
    o.max_drop = 100.0;
    o.min_sqnr_db = all - 1.0; /* met by all */
    p = made(&o);
    assert_int_equal(nb_ptq_report(p)->n_models, 1);
    assert_int_equal(nb_ptq_report(p)->n_stay, 0);
    assert_int_equal(nb_ptq_report(p)->n_quantized, 5);
    assert_close(chain_db(&chain, nb_ptq_model(p)), all, 1e-9);
    nb_ptq_destroy(p);
    o.min_sqnr_db = all + 3.0;
    p = made(&o);
    const struct nb_ptq_report *r = nb_ptq_report(p);
    print_message("%.1f dB: %zu stay, first %s (%.1f dB), %zu models\n", all, r->n_stay,
                  r->stay[0].name, r->stay[0].sqnr_db, r->n_models);
    assert_true(r->n_stay == 1 || r->n_stay == 2); /* of three layers */
    assert_true(r->score.sqnr_db >= all + 3.0);
    assert_close(chain_db(&chain, nb_ptq_model(p)), r->score.sqnr_db, 1e-9);
    for (size_t i = 0; i + 1 < r->n_stay; i++)
        assert_true(r->stay[i].sqnr_db <= r->stay[i + 1].sqnr_db);
    nb_ptq_destroy(p);
    o.min_sqnr_db = 500.0; /* float alone */
    p = made(&o);
    assert_int_equal(nb_ptq_report(p)->n_stay, 3);
    assert_int_equal(nb_ptq_report(p)->n_quantized, 0);
    assert_true(chain_db(&chain, nb_ptq_model(p)) > 300.0);
    nb_ptq_destroy(p);
}

/* Labels that the float net finds all. */
static void test_labels(void **state)
{
    (void)state;
    static int64_t labels[CHAIN_SAMPLES];
    struct nb_ptq_error e = {.n_right = 0};
    chain_init(&chain);
    for (size_t i = 0; i < CHAIN_SAMPLES; i++)
        labels[i] = 1000; /* no place of the output */
    chain.data.labels = labels;
    assert_ok(nb_ptq_measure(&e, &chain.m, &chain.m, NULL, &chain.data, NULL, NULL, &err), &err);
    assert_int_equal(e.n_right, 0);
    assert_int_equal(e.of.n_same, CHAIN_SAMPLES);
    const struct nb_ptq_options o = {.bounded = true, .max_drop = 0.0, .min_sqnr_db = -1000.0};
    struct nb_ptq *p = made(&o); /* nothing right is lost */
    assert_int_equal(nb_ptq_report(p)->n_stay, 0);
    assert_close(nb_ptq_report(p)->score.drop, 0.0, 0.0);
    nb_ptq_destroy(p);
    chain.data.labels = NULL;
    p = made(&o); /* no largest element may move */
    assert_close(nb_ptq_report(p)->score.drop, 0.0, 0.0);
    nb_ptq_destroy(p);
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.bounded = true, .max_drop = 100.0, .min_sqnr_db = 500.0};
    (void)ctx;
    return nb_ptq_create(p, &chain.m, NULL, &o, &chain.data, NULL, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    chain_init(&chain);
    chain.data.n_samples = 2;
    assert_true(net_oom(make, NULL) > 100);
}

NB_TEST_MAIN(cmocka_unit_test(test_ratio), cmocka_unit_test(test_labels),
             cmocka_unit_test(test_memory))
