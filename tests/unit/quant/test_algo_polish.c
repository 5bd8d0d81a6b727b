/* Polishing: never raises the loss it works on, minds what is held out, ends at a point where no single code
 * can be better; and the order of the chain on correlated layers: kgptq, gptq, rtn. */
#include "algo_case.h"

static const char *const scalars[] = {"q6_k",   "q5_k",      "q4_k",  "q3_k",      "q2_k",
                                      "q4_0",   "q4_1",      "q5_0",  "q8_0",      "iq4_xs",
                                      "iq4_nl", "int4_g128", "nvfp4", "int3_g128", "mxfp4"};
static const char *const vectors[] = {"iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq1_s"};

static void check_never_worse(const char *type, size_t rows)
{
    struct algo_case c;
    case_init(&c, rows, 256, 12);
    struct nb_algo_params q = *nb_algo_find("kgptq")->params;
    q.polish_damp = 0.0;
    double before = 0.0;
    for (uint32_t rounds = 0; rounds < 4; rounds++) {
        q.polish = rounds;
        struct outcome o = case_run(&c, "kgptq", type, &(struct how){.params = &q});
        const double loss = plain_loss(&c, c.w, o.values, 0.0);
        if (rounds > 0)
            assert_true(loss <= before * (1.0 + 1e-6));
        if (rounds == 0)
            before = loss;
        assert_close(o.sums.polish_gain, before - loss, 1e-4 * before);
        outcome_fini(&o);
    }
    case_fini(&c);
}

static void test_never_worse(void **state)
{
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(scalars); t++)
        check_never_worse(scalars[t], 8);
    for (size_t t = 0; t < NB_COUNTOF(vectors); t++)
        check_never_worse(vectors[t], 3);
}

/* With held-out moments rows do not get worse on them but by what such an estimate cannot tell. */
static void test_held_out_rules(void **state)
{
    struct algo_case c, held;
    (void)state;
    case_init(&c, 20, 256, 13);
    case_init(&held, 20, 256, 14); /* of other inputs altogether: polishing on H makes it worse */
    memcpy(c.held, held.h, c.n * c.n * sizeof *c.h);
    struct nb_algo_params q = *nb_algo_find("polish")->params;
    struct outcome b = case_run(&c, "polish", "q3_k", &(struct how){.params = &q, .held = true});
    q.polish = 0;
    struct outcome a = case_run(&c, "polish", "q3_k", &(struct how){.params = &q, .held = true});
    assert_true(b.sums.held_loss <= a.sums.held_loss * (1.0 + 1.0 / sqrt(TOKENS)));
    assert_true(b.sums.n_held_stops > 0);
    outcome_fini(&a);
    outcome_fini(&b);
    case_fini(&c);
    case_fini(&held);
}

static double mean_loss(const char *algo, const char *type)
{
    double sum = 0.0;
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct algo_case c;
        case_init(&c, 24, 256, 100 + seed);
        struct outcome o = case_run(&c, algo, type, NULL);
        sum += o.sums.loss / o.sums.signal;
        outcome_fini(&o);
        case_fini(&c);
    }
    return sum;
}

static void test_chain(void **state)
{
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(scalars); t++) {
        const double rtn = mean_loss("rtn", scalars[t]), gptq = mean_loss("gptq", scalars[t]);
        const double kgptq = mean_loss("kgptq", scalars[t]);
        if (!(kgptq <= gptq && gptq <= rtn))
            print_message("%s: rtn %g gptq %g kgptq %g\n", scalars[t], rtn, gptq, kgptq);
        assert_true(kgptq <= gptq);
        assert_true(gptq <= rtn);
    }
}

/* The target may be another matrix than the one that losses are measured against. */
static void test_targets(void **state)
{
    struct algo_case c, other;
    (void)state;
    case_init(&c, 10, 256, 15);
    case_init(&other, 10, 256, 16);
    struct outcome a = case_run(&c, "kgptq", "q4_k", &(struct how){.target = other.w});
    float *w = c.w;
    c.w = other.w;
    struct outcome b = case_run(&c, "kgptq", "q4_k", NULL);
    c.w = w;
    assert_same_records(&c, &a, &b);
    assert_close(a.sums.target_loss, b.sums.loss, 1e-12 * b.sums.loss);
    assert_close(a.sums.loss / plain_loss(&c, c.w, a.values, 0.0), 1.0, 1e-6);
    outcome_fini(&a);
    outcome_fini(&b);
    case_fini(&c);
    case_fini(&other);
}

NB_TEST_MAIN(cmocka_unit_test(test_never_worse), cmocka_unit_test(test_held_out_rules),
             cmocka_unit_test(test_chain), cmocka_unit_test(test_targets))
