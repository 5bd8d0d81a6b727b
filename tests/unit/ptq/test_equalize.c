/* Two pairs of layers become alike; what the net computes and the ranges of its values stay. */
#include "unit/ptq/chain.h"

static struct nb_error err;
static struct chain chain;

static double most_of(const struct nb_onnx_tensor *t, size_t at, size_t n)
{
    double most = 0.0;
    for (size_t i = at; i < at + n; i++) {
        float x;
        memcpy(&x, t->data + 4 * i, 4);
        most = fmax(most, fabs((double)x));
    }
    return most;
}

static void test_same(void **state)
{
    (void)state;
    struct nb_edit e;
    struct nb_onnx_model m;
    size_t n_pairs;
    chain_init(&chain);
    assert_ok(nb_edit_init(&e, &chain.m, NULL, &err), &err);
    assert_ok(nb_ptq_equalize(&e, NULL, &chain.data, NULL, &n_pairs, &err), &err);
    assert_int_equal(n_pairs, 2);
    assert_ok(nb_edit_model(&e, &m, &err), &err);
    const double db = chain_db(&chain, &m);
    print_message("%.1f dB\n", db);
    assert_true(db > 110.0);
    const struct nb_onnx_tensor *a = nb_edit_tensor(&e, "wa"), *b = nb_edit_tensor(&e, "wb");
    double least[2] = {1e9, 1e9}, most[2] = {0.0, 0.0};
    for (size_t i = 0; i < CHAIN_M; i++) { /* a row of one, a column of the other */
        const double before = most_of(&chain.tensors[0], 27 * i, 27);
        const double r1 = most_of(a, 27 * i, 27), r2 = most_of(b, 9 * i, 9);
        assert_true(r1 < 1.01 * r2); /* a bound on the factor leaves the second larger */
        for (int k = 0; k < 2 && i > 0; k++) {
            least[k] = fmin(least[k], k == 0 ? before : r1);
            most[k] = fmax(most[k], k == 0 ? before : r1);
        }
    }
    print_message("rows 1 : %.1f, after 1 : %.1f\n", most[0] / least[0], most[1] / least[1]);
    assert_true(most[1] / least[1] < 0.5 * most[0] / least[0]);
    assert_true(most_of(a, 0, 27) < 1e-3); /* what says nothing does not grow to be heard */
    nb_edit_fini(&e);
}

static void test_gain(void **state)
{
    (void)state;
    double db[2];
    chain_init(&chain);
    for (int k = 0; k < 2; k++) {
        const struct nb_ptq_options o = {.per_tensor = true, .equalize = k == 1};
        struct nb_ptq *p;
        assert_ok(nb_ptq_create(&p, &chain.m, NULL, &o, &chain.data, NULL, NULL, &err), &err);
        assert_int_equal(nb_ptq_report(p)->n_pairs, 2 * k);
        db[k] = chain_db(&chain, nb_ptq_model(p));
        nb_ptq_destroy(p);
    }
    print_message("%.1f dB, equalized %.1f dB\n", db[0], db[1]);
    assert_true(db[1] > db[0] + 1.0);
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.equalize = true};
    (void)ctx;
    return nb_ptq_create(p, &chain.m, NULL, &o, &chain.data, NULL, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    chain_init(&chain);
    assert_true(net_oom(make, NULL) > 60);
}

/* With a Clip between them a channel that reaches its bound stays, the others become alike all the same. */
static void test_clip(void **state)
{
    (void)state;
    static const char *const a_in[] = {"a", "low", "high"}, *const b_in[] = {"b", "low", "high"};
    static const float low = 0.0F, high = 1.5F;
    struct nb_onnx_tensor tensors[6];
    struct nb_edit e;
    struct nb_onnx_model m;
    size_t n_pairs;
    chain_init(&chain);
    memcpy(tensors, chain.tensors, sizeof chain.tensors);
    tensors[4] = net_floats("low", NULL, 0, &low);
    tensors[5] = net_floats("high", NULL, 0, &high);
    chain.nodes[1] = net_node("clip_a", "Clip", a_in, 3, chain.nodes[1].outputs);
    chain.nodes[3] = net_node("clip_b", "Clip", b_in, 3, chain.nodes[3].outputs);
    chain.m.graph.initializers = tensors;
    chain.m.graph.n_initializers = 6;
    assert_ok(nb_edit_init(&e, &chain.m, NULL, &err), &err);
    assert_ok(nb_ptq_equalize(&e, NULL, &chain.data, NULL, &n_pairs, &err), &err);
    assert_int_equal(n_pairs, 2);
    assert_ok(nb_edit_model(&e, &m, &err), &err);
    const double db = chain_db(&chain, &m);
    size_t n_same = 0, n_other = 0;
    for (size_t i = 0; i < CHAIN_M; i++)
        *(most_of(nb_edit_tensor(&e, "wa"), 27 * i, 27) == most_of(&chain.tensors[0], 27 * i, 27)
              ? &n_same
              : &n_other) += 1;
    print_message("%.1f dB, %zu channels stay, %zu do not\n", db, n_same, n_other);
    assert_true(db > 110.0);
    assert_true(n_same > 0 && n_other > 0);
    nb_edit_fini(&e);
}

NB_TEST_MAIN(cmocka_unit_test(test_same), cmocka_unit_test(test_gain), cmocka_unit_test(test_clip),
             cmocka_unit_test(test_memory))
