/* Every folder under tests/golden/archs through calibrated rounding: decoders come out as models whose
 * reports are finite, encoders are refused by name. */
#include "calibrated_case.h"
#include "support/arch_cases.h"

static struct nb_error err;

static size_t expect_works(const struct nb_model *m, const char *arch, struct calibrated_case *c,
                           const char *what)
{
    const char *out = nbtest_tmp("calibrated.gguf");
    struct nb_error why = {0};
    if (case_calibrate(c, m, out, &why) != NB_OK)
        fail_msg("%s, %s: %s", arch, what, why.message);
    if (nb_path_exists(case_journal(out)))
        fail_msg("%s, %s: the journal is left", arch, what);
    struct nb_model *again = case_open(out);
    assert_ok(nb_model_settle(again, &err), &err);
    assert_int_equal(again->w.hp.n_layers, m->w.hp.n_layers);
    nb_model_close(again);
    return c->n_rounded;
}

static void check_case(void **state)
{
    const char *name = *state;
    struct nb_model *m;
    if (arch_is_refused(name))
        return;
    assert_ok(nb_model_open(&m, arch_path(name, ""), NULL, NULL, &err), &err);
    if (m->w.hp.encoder) {
        struct calibrated_case c = {.type = "q4_0"};
        const char *out = nbtest_tmp("encoder.gguf");
        assert_fails(case_calibrate(&c, m, out, &err), NB_ERR_UNSUPPORTED, &err,
                     m->w.hp.arch->name);
        assert_false(nb_path_exists(out));
        assert_false(nb_path_exists(case_journal(out)));
        nb_model_close(m);
        return;
    }
    struct calibrated_case plain = {.type = "q4_0"}, choose = {.type = "q4_0", .method = "auto"};
    struct calibrated_case prefix = {.type = "q8_0", .float_prefix = true};
    struct calibrated_case still = {.type = "q4_0", .no_mismatch = true, .none_held = true};
    const size_t n = expect_works(m, name, &plain, "kgptq");
    assert_int_equal(expect_works(m, name, &choose, "auto"), n);
    (void)expect_works(m, name, &prefix, "float prefix");
    assert_int_equal(expect_works(m, name, &still, "no mismatch"), n);
    print_message("%s: %zu matrices rounded\n", name, n);
    nb_model_close(m);
}

int main(void)
{
    return arch_run("calibrated", check_case);
}
