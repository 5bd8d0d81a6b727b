/* Perplexity and KL divergence of the bundled model: against itself, and against sums done here with
 * libm over the same logits. */
#include "support/nbtest.h"

#include <math.h>

#include "eval/eval.h"

#define CTX    32
#define CHUNKS 2

struct fixture {
    struct nb_model *model;
    struct nb_session *a, *b;
    struct nb_ids ids;
};

static int setup(void **state)
{
    static struct fixture f;
    struct nb_error err;
    struct nb_str text;
    struct nb_session_options so = {.n_ctx = CTX, .kv_type = &nb_numfmt_f32};
    assert_ok(nb_model_open(&f.model, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    assert_ok(nb_session_create(&f.a, &f.model->w, &so, NULL, &err), &err);
    so.kv_type = &nb_numfmt_f16; /* a model a little off the other */
    assert_ok(nb_session_create(&f.b, &f.model->w, &so, NULL, &err), &err);
    nb_str_init(&text, NULL);
    nb_ids_init(&f.ids, NULL);
    assert_ok(nb_file_read_all(&text, nbtest_data("evaluation.txt"), 1 << 24, &err), &err);
    assert_ok(nb_tokenizer_encode(f.model->tokenizer, &f.ids, text.data, 4000, 0, &err), &err);
    nb_str_fini(&text);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    nb_session_destroy(f->a);
    nb_session_destroy(f->b);
    nb_ids_fini(&f->ids);
    nb_model_close(f->model);
    return 0;
}

/* The session at s, against ref. */
static struct nb_score_job job_of(struct fixture *f, struct nb_session *const *s,
                                  struct nb_session *ref)
{
    return (struct nb_score_job){.sessions = s,
                                 .n_sessions = 1,
                                 .ref = ref,
                                 .n_vocab = f->model->w.hp.n_vocab,
                                 .tokenizer = f->model->tokenizer,
                                 .tokens = (const uint32_t *)f->ids.data,
                                 .n_tokens = f->ids.n,
                                 .bos = -1,
                                 .ctx = CTX,
                                 .chunks = CHUNKS,
                                 .n_rows = 5};
}

static void test_itself(void **state)
{
    struct fixture *f = *state;
    struct nb_score s, alone, both[2];
    struct nb_error err;
    struct nb_session *twin;
    const struct nb_session_options so = {.n_ctx = CTX, .kv_type = &nb_numfmt_f16};
    assert_ok(nb_session_create(&twin, &f->model->w, &so, NULL, &err), &err);
    struct nb_score_job job = job_of(f, &f->b, twin);
    assert_ok(nb_score_run(&s, &job, &err), &err);
    assert_int_equal(s.n, CHUNKS * (CTX - 1 - CTX / 2));
    assert_true(s.kld_mean == 0 && s.kld_max == 0 && s.top1 == 1);
    assert_true(s.nll == s.ref_nll);
    job.ref = NULL;
    job.n_rows = 3; /* how rows are batched changes nothing */
    assert_ok(nb_score_run(&alone, &job, &err), &err);
    assert_true(alone.nll == s.nll);
    assert_memory_equal(&alone.logits, &s.logits, sizeof s.logits);
    /* Nor does company. */
    struct nb_session *const two[] = {f->a, f->b};
    job = job_of(f, two, twin);
    job.n_sessions = 2;
    assert_ok(nb_score_run(both, &job, &err), &err);
    assert_true(both[1].nll == s.nll && both[1].kld_mean == 0);
    assert_true(both[0].nll != s.nll && both[0].kld_mean > 0);
    nb_session_destroy(twin);
}

static double log_prob(const float *z, uint32_t n, uint32_t t)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)z[i] - (double)z[t]);
    return -log(sum);
}

static void test_against_sums_here(void **state)
{
    struct fixture *f = *state;
    struct nb_score s;
    struct nb_error err;
    const struct nb_score_job job = job_of(f, &f->b, f->a);
    const uint32_t n = job.n_vocab;
    float *z = test_malloc(2 * n * sizeof *z), *r = z + n;
    double nll = 0, kld = 0, same = 0, bytes = 0;
    for (uint32_t c = 0; c < CHUNKS; c++) {
        nb_session_rewind(f->a, 0);
        nb_session_rewind(f->b, 0);
        for (uint32_t i = 0; i < CTX - 1; i++) {
            const uint32_t *t = job.tokens + c * CTX + i;
            assert_ok(nb_session_eval(f->a, t, 1, r, 0, &err), &err);
            assert_ok(nb_session_eval(f->b, t, 1, z, 0, &err), &err);
            if (i < CTX / 2)
                continue;
            uint32_t top_z = 0, top_r = 0;
            nll -= log_prob(z, n, t[1]);
            const double lp0 = log_prob(r, n, 0) - (double)r[0],
                         lq0 = log_prob(z, n, 0) - (double)z[0];
            for (uint32_t v = 0; v < n; v++) {
                const double lp = lp0 + (double)r[v], lq = lq0 + (double)z[v];
                kld += exp(lp) * (lp - lq);
                top_z = z[v] > z[top_z] ? v : top_z;
                top_r = r[v] > r[top_r] ? v : top_r;
            }
            same += top_z == top_r;
            bytes += (double)nb_tokenizer_piece(f->model->tokenizer, (int32_t)t[1]).n;
        }
    }
    assert_ok(nb_score_run(&s, &job, &err), &err);
    assert_close(s.nll, nll / (double)s.n, 1e-9);
    assert_close(s.kld_mean, kld / (double)s.n, 1e-9);
    assert_true(s.kld_mean > 0 && s.kld_min <= s.kld_p50 && s.kld_p50 <= s.kld_p99 &&
                s.kld_p99 <= s.kld_max);
    assert_close(s.top1, same / (double)s.n, 1e-12);
    assert_close(s.bits_per_byte, nll / log(2) / bytes, 1e-9);
    test_free(z);
}

static void test_bad_jobs(void **state)
{
    struct fixture *f = *state;
    struct nb_score s;
    struct nb_error err;
    struct nb_score_job job = job_of(f, &f->a, NULL);
    job.n_tokens = CTX - 1;
    assert_fails(nb_score_run(&s, &job, &err), NB_ERR_ARG, &err, "fewer than one window");
    job = job_of(f, &f->a, NULL);
    job.ctx = 2;
    assert_fails(nb_score_run(&s, &job, &err), NB_ERR_ARG, &err, "too short");
    job = job_of(f, &f->a, NULL);
    job.n_vocab = 1;
    assert_fails(nb_score_run(&s, &job, &err), NB_ERR_ARG, &err, "the model has 1");
}

static int stop(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)what;
    (void)total;
    (void)unit;
    return done >= *(const uint64_t *)ctx;
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    struct nb_score s;
    struct nb_error err;
    uint64_t limit = 20;
    const struct nb_progress progress = {&limit, stop};
    struct nb_score_job job = job_of(f, &f->a, NULL);
    job.progress = &progress;
    assert_fails(nb_score_run(&s, &job, &err), NB_ERR_CANCELLED, &err, "cancelled");
}

static void test_tensor_snr(void **state)
{
    struct fixture *f = *state;
    struct nb_error err;
    double db;
    assert_ok(nb_tensor_snr(&db, f->model, 1, f->model, NULL, NULL, &err), &err);
    assert_true(isinf(db) && db > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_itself),     cmocka_unit_test(test_against_sums_here),
        cmocka_unit_test(test_bad_jobs),   cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_tensor_snr),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
