/* Bits of a text block by block: those of whole sessions, to the bit; prose and what is none. */
#include "support/nbtest.h"

#include <string.h>

#include "eval/eval.h"
#include "math/math.h"

#define CTX     32
#define WINDOWS 3

static struct nb_error err;

/* Windows of a text's tokens, without a begin. */
static struct nb_text_bits_job job_of(const struct nb_model *m, struct nb_ids *ids,
                                      const char *text, size_t n)
{
    nb_ids_init(ids, NULL);
    assert_ok(nb_tokenizer_encode(m->tokenizer, ids, text, n, 0, &err), &err);
    assert_true(ids->n >= (size_t)WINDOWS * CTX);
    return (struct nb_text_bits_job){
        .model = m, .tokens = (const uint32_t *)ids->data, .n = WINDOWS, .ctx = CTX};
}

static double bits_per_byte(const struct nb_text_bits *b)
{
    struct nb_text_bits sum = {0.0, 0};
    for (size_t i = 0; i < WINDOWS; i++) {
        sum.nats += b[i].nats;
        sum.bytes += b[i].bytes;
    }
    return sum.nats / nb_log(2.0) / (double)sum.bytes;
}

static void test_is_the_score(void **state)
{
    (void)state;
    struct nb_model *m;
    struct nb_str text;
    struct nb_ids ids;
    struct nb_session *s;
    struct nb_score score;
    struct nb_text_bits bits[WINDOWS], threads[WINDOWS];
    struct nb_pool *pool;
    nb_str_init(&text, NULL);
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    assert_ok(nb_file_read_all(&text, nbtest_data("evaluation.txt"), 1 << 24, &err), &err);
    struct nb_text_bits_job job = job_of(m, &ids, text.data, 4000);
    assert_ok(nb_text_bits_run(bits, &job, &err), &err);

    const struct nb_session_options so = {
        .n_ctx = CTX, .kv_type = &nb_numfmt_f32, .float_activations = true};
    assert_ok(nb_session_create(&s, &m->w, &so, NULL, &err), &err);
    const struct nb_score_job whole = {.sessions = &s,
                                       .n_sessions = 1,
                                       .n_vocab = m->w.hp.n_vocab,
                                       .tokenizer = m->tokenizer,
                                       .tokens = job.tokens,
                                       .n_tokens = ids.n,
                                       .bos = -1,
                                       .ctx = CTX,
                                       .chunks = WINDOWS,
                                       .n_rows = 7};
    assert_ok(nb_score_run(&score, &whole, &err), &err);
    assert_close(bits_per_byte(bits), score.bits_per_byte, 1e-12);

    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    job.pool = pool;
    assert_ok(nb_text_bits_run(threads, &job, &err), &err);
    assert_memory_equal(threads, bits, sizeof bits);
    job.ctx = 3;
    assert_fails(nb_text_bits_run(threads, &job, &err), NB_ERR_ARG, &err, "3 tokens is too short");
    nb_pool_destroy(pool);
    nb_session_destroy(s);
    nb_ids_fini(&ids);
    nb_str_fini(&text);
    nb_model_close(m);
}

static void test_foreign(void **state)
{
    (void)state;
    if (getenv("NB_SLOW") != NULL) /* a property of the text, not of the machine */
        skip();
    static const char prose[] =
        "It was a cold morning, and the old man went down to the river with his dog. ";
    static const char code[] = "static int x[16] = {0}; for (i = 0; i < n; i++) { x[i] ^= (y << "
                               "3) | z[i & 7]; } /* #endif */\n";
    struct nb_model *m;
    struct nb_ids ids;
    struct nb_text_bits bits[WINDOWS];
    double bpb[2];
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    for (int k = 0; k < 2; k++) {
        const char *line = k == 0 ? prose : code;
        const size_t n = strlen(line);
        char text[4000];
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = line[i % n];
        struct nb_text_bits_job job = job_of(m, &ids, text, sizeof text);
        job.ctx = 24; /* a window ends before the line comes again */
        assert_ok(nb_text_bits_run(bits, &job, &err), &err);
        bpb[k] = bits_per_byte(bits);
        nb_ids_fini(&ids);
    }
    assert_true(bpb[0] < 2.0);
    assert_true(bpb[1] > 2.0);
    nb_model_close(m);
}

static int stop(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)ctx, (void)unit;
    assert_string_equal(what, "calibration text");
    assert_true(done <= total);
    return done > total / 2;
}

static enum nb_status run_once(void *ctx, const struct nb_allocator *a)
{
    struct nb_text_bits_job job = *(const struct nb_text_bits_job *)ctx;
    struct nb_text_bits bits[WINDOWS];
    job.a = a;
    return nb_text_bits_run(bits, &job, NULL);
}

static void test_cancel_and_memory(void **state)
{
    (void)state;
    struct nb_model *m;
    struct nb_ids ids;
    struct nb_text_bits bits[WINDOWS];
    const struct nb_progress progress = {NULL, stop};
    char text[4000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "a bird sang "[i % 12];
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    struct nb_text_bits_job job = job_of(m, &ids, text, sizeof text);
    job.ctx = 4;
    assert_true(nbtest_oom(run_once, &job) > 20);
    job.progress = &progress;
    assert_fails(nb_text_bits_run(bits, &job, &err), NB_ERR_CANCELLED, &err, "calibration text");
    nb_ids_fini(&ids);
    nb_model_close(m);
}

NB_TEST_MAIN(cmocka_unit_test(test_is_the_score), cmocka_unit_test(test_foreign),
             cmocka_unit_test(test_cancel_and_memory))
