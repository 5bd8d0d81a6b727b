/* The report: well-formed, self-contained, escaped, and right about which models are best. */
#include "support/nbtest.h"

#include <math.h>

#include "eval/eval.h"
#include "eval/svg.h"

static void test_escaping(void **state)
{
    (void)state;
    struct nb_str s;
    nb_str_init(&s, NULL);
    nb_html_text(&s, "a<b>&\"c");
    assert_string_equal(s.data, "a&lt;b&gt;&amp;&quot;c");
    nb_str_clear(&s);
    nb_html_text(&s, NULL);
    assert_int_equal(s.len, 0);
    nb_str_fini(&s);
}

static void round_axis(double min, double max, bool log, double want_min, double want_max)
{
    struct nb_axis a = {.min = min, .max = max, .log = log};
    nb_axis_round(&a);
    assert_close(a.min, want_min, fabs(want_min) * 1e-9);
    assert_close(a.max, want_max, fabs(want_max) * 1e-9);
}

static void test_axis_rounding(void **state)
{
    (void)state;
    round_axis(24.6, 45.9, false, 24, 46);
    round_axis(0, 5, false, 0, 5);
    round_axis(3, 3, false, 3, 4);
    round_axis(0.0008, 0.064, true, 0.0005, 0.1);
    round_axis(0.0012, 0.0013, true, 0.001, 0.002);
    round_axis(0.02, 0.05, true, 0.02, 0.05);
    round_axis(0.1, 0.1, true, 0.1, 1);
}

static const struct nb_report_tensor tensors[] = {
    {"blk.0.attn_q.weight", "q4_0", 0, 20.5}, {"blk.1.attn_q.weight", "q4_0", 1, 21.5},
    {"blk.0.ffn_up.weight", "q4_0", 0, 19.0}, {"blk.1.ffn_up.weight", "q4_0", 1, 18.0},
    {"token_embd.weight", "q6_k", -1, 36.0},
};

static struct nb_report_model model(const char *type, uint64_t bytes, double kld)
{
    return (struct nb_report_model){.path = "x<y>.gguf",
                                    .type = type,
                                    .bytes = bytes,
                                    .bpw = 4.5,
                                    .ppl = 22,
                                    .kld_mean = kld,
                                    .kld_p99 = kld * 5,
                                    .kld_max = kld * 20,
                                    .top1 = 0.9,
                                    .decode_tok_s = 100,
                                    .tensors = tensors,
                                    .n_tensors = NB_COUNTOF(tensors)};
}

/* Every tag that opens closes again, in order. */
static void check_nesting(const char *html)
{
    static const char *const void_tags[] = {"meta",     "line", "circle",  "rect",
                                            "polyline", "br",   "!doctype"};
    char stack[32][16];
    int depth = 0;
    for (const char *p = strchr(html, '<'); p != NULL; p = strchr(p + 1, '<')) {
        const bool closing = p[1] == '/';
        const char *name = p + 1 + closing;
        const size_t n = strcspn(name, " >/\n");
        const char *end = strchr(name, '>');
        assert_non_null(end);
        bool is_void = false;
        for (size_t i = 0; i < NB_COUNTOF(void_tags); i++)
            is_void = is_void || (strlen(void_tags[i]) == n && strncmp(void_tags[i], name, n) == 0);
        if (is_void && !(n == 6 && strncmp(name, "circle", n) == 0 && end[-1] != '/'))
            continue;
        if (closing) {
            assert_true(depth > 0);
            depth--;
            assert_int_equal(strlen(stack[depth]), n);
            assert_memory_equal(stack[depth], name, n);
        } else {
            assert_true(depth < 32 && n < 16);
            memcpy(stack[depth], name, n);
            stack[depth++][n] = '\0';
        }
    }
    assert_int_equal(depth, 0);
}

static void test_page(void **state)
{
    (void)state;
    struct nb_report_model models[] = {model("q8_0", 45000000, 0.0008),
                                       model("q4_0", 25000000, 0.06), model("bad", 46000000, 0.07),
                                       model("same", 80000000, 0)};
    struct nb_report r = {.models = models,
                          .n_models = NB_COUNTOF(models),
                          .ctx = 1024,
                          .chunks = 24,
                          .tokens = 12264,
                          .text = "t.txt",
                          .machine = "m"};
    struct nb_str html;
    struct nb_error err;
    r.ref = model("bf16", 84000000, (double)NAN);
    models[3].tensors = NULL;
    models[3].n_tensors = 0;
    nb_str_init(&html, NULL);
    assert_ok(nb_report_html(&html, &r, &err), &err);
    check_nesting(html.data);
    assert_null(strstr(html.data, "http"));
    assert_null(strstr(html.data, "<script"));
    assert_null(strstr(html.data, "nan"));
    assert_null(strstr(html.data, "inf"));
    assert_null(strstr(html.data, "x<y>"));
    assert_non_null(strstr(html.data, "x&lt;y&gt;.gguf"));
    /* The worst tensors come first. */
    assert_non_null(
        strstr(html.data, "Least exact in q8_0: blk.1.ffn_up.weight 18.0 dB (q4_0), blk.0.ffn_up"));
    nb_str_fini(&html);
}

static enum nb_status render(void *ctx, const struct nb_allocator *a)
{
    struct nb_str html;
    struct nb_report_model m = model("q4_0", 25000000, 0.06);
    struct nb_report r = {.models = &m, .n_models = 1, .ref = m, .text = "t", .machine = "m"};
    (void)ctx;
    nb_str_init(&html, a);
    const enum nb_status st = nb_report_html(&html, &r, NULL);
    nb_str_fini(&html);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(render, NULL) > 3);
}

NB_TEST_MAIN(cmocka_unit_test(test_escaping), cmocka_unit_test(test_axis_rounding),
             cmocka_unit_test(test_page), cmocka_unit_test(test_out_of_memory))
