/* Calibrated rounding on small models: the same bytes for any pool, budget and interruption; what is wrong
 * is said. */
#include <stdio.h>
#include <sys/stat.h>

#include "calib/acts.h"
#include "calibrated_case.h"
#include "run/run.h"
#include "support/arch_cases.h"

static struct nb_error err;

static struct nb_model *arch_open(const char *name)
{
    return case_open(arch_path(name, ""));
}

static struct nb_hash run_once(struct calibrated_case *c, const struct nb_model *m, const char *out)
{
    assert_ok(case_calibrate(c, m, out, &err), &err);
    assert_false(nb_path_exists(case_journal(out)));
    return case_hash(out);
}

#define assert_same_hash(a, b) assert_memory_equal(&(a), &(b), sizeof(struct nb_hash))

/* ---- pools and budgets ---- */

static void test_same_bytes(void **state)
{
    (void)state;
    struct nb_model *m = case_open(nbtest_model("tiny-7m"));
    const char *out = nbtest_tmp("threads.gguf");
    struct calibrated_case c = {.method = "gptq", .type = "q4_k_m"};
    const struct nb_hash want = run_once(&c, m, out);
    const uint64_t peak = c.peak_bytes;
    assert_true(c.hidden_bytes == UINT64_MAX);
    static const unsigned threads[] = {2, 7};
    for (size_t i = 0; i < NB_COUNTOF(threads); i++) {
        assert_ok(nb_pool_create(&c.pool, threads[i], NULL, &err), &err);
        const struct nb_hash got = run_once(&c, m, out);
        assert_same_hash(want, got);
        nb_pool_destroy(c.pool);
    }
    c.pool = NULL;
    c.max_ram = peak - 1; /* a window or two on disk */
    const struct nb_hash got = run_once(&c, m, out);
    assert_true(c.hidden_bytes < UINT64_MAX);
    assert_same_hash(want, got);
    nb_model_close(m);
}

/* All windows on disk, or all but the fewest. */
static void test_spilled(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama-tied", "mixtral"};
    const char *out = nbtest_tmp("spilled.gguf");
    for (size_t i = 0; i < NB_COUNTOF(archs); i++) {
        struct nb_model *m = arch_open(archs[i]);
        struct calibrated_case c = {.type = "q4_0"};
        const struct nb_hash want = run_once(&c, m, out);
        uint64_t most = c.peak_bytes, least = 0;
        while (most - least > 256) { /* about the smallest budget that is taken */
            c.max_ram = least + (most - least) / 2;
            if (case_calibrate(&c, m, out, &err) == NB_OK)
                most = c.max_ram;
            else
                least = c.max_ram;
        }
        c.max_ram = most;
        const struct nb_hash got = run_once(&c, m, out);
        assert_true(c.hidden_bytes <= 256);
        assert_same_hash(want, got);
        c.max_ram = least;
        assert_fails(case_calibrate(&c, m, out, &err), NB_ERR_LIMIT, &err, "calibrating takes");
        nb_model_close(m);
    }
}

/* ---- interruptions ---- */

struct stop {
    int calls, at; /* at 0: never */
};

static int stop_at(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    struct stop *s = ctx;
    if (done > total)
        fail_msg("%s: %llu of %llu %s", what, (unsigned long long)done, (unsigned long long)total,
                 unit);
    return ++s->calls == s->at;
}

/* Cancels after `at` calls; the journal stays if there is something in it. */
static void cancel(struct calibrated_case c, const struct nb_model *m, const char *out, int at)
{
    struct stop stop = {.at = at};
    const struct nb_progress progress = {.ctx = &stop, .fn = stop_at};
    c.progress = &progress;
    (void)remove(out);
    (void)remove(case_journal(out));
    assert_fails(case_calibrate(&c, m, out, &err), NB_ERR_CANCELLED, &err, "cancelled");
    assert_false(nb_path_exists(out));
}

static int count_calls(struct calibrated_case c, const struct nb_model *m, const char *out)
{
    struct stop stop = {.at = 0};
    const struct nb_progress progress = {.ctx = &stop, .fn = stop_at};
    c.progress = &progress;
    (void)run_once(&c, m, out);
    return stop.calls;
}

/* Stopped at many places, whole or with the journal cut anywhere. */
static void check_resume(const char *arch, struct calibrated_case c)
{
    struct nb_model *m = arch_open(arch);
    const char *out = nbtest_tmp("resume.gguf");
    const struct nb_hash want = run_once(&c, m, out);
    const int n = count_calls(c, m, out);
    struct nb_rng rng = {.seed = 5};
    size_t most = 0;
    cancel(c, m, out, 1);
    assert_false(nb_path_exists(case_journal(out))); /* nothing was finished */
    for (int at = 3; at < n; at += 1 + n / 4) {
        for (int cut = 0; cut < 2; cut++) {
            cancel(c, m, out, at);
            if (cut && nb_path_exists(case_journal(out))) {
                size_t bytes;
                uint8_t *journal = nbtest_read(case_journal(out), &bytes);
                nbtest_write(case_journal(out), journal, nb_rng_u64(&rng) % (bytes + 1));
                free(journal);
            }
            const struct nb_hash got = run_once(&c, m, out);
            most = c.report.n_resumed > most ? c.report.n_resumed : most;
            if (memcmp(&want, &got, sizeof got) != 0)
                fail_msg("%s: other bytes after call %d of %d%s", arch, at, n,
                         cut ? ", journal cut" : "");
        }
    }
    assert_true(most > c.n_rounded / 2);
    nb_model_close(m);
}

static void test_resume(void **state)
{
    (void)state;
    check_resume("llama-tied", (struct calibrated_case){.type = "q4_0"});
    check_resume("llama-tied", (struct calibrated_case){.type = "q4_0", .method = "auto"});
    check_resume("qwen2-moe", (struct calibrated_case){.type = "q4_0", .method = "auto"});
    check_resume("llama-tied", (struct calibrated_case){.type = "q4_0", .float_prefix = true});
    check_resume("llama-bias", (struct calibrated_case){.type = "q4_0"}); /* biases are corrected */
}

/* ---- another model under the same path ---- */

/* The folder's one number (bytes at .. at + 2 of the tensor) replaced. */
static void change(const char *dir, const char *tensor, uint16_t bits)
{
    struct nb_file *f;
    size_t n;
    const char *path = tiny_path(dir, "model.safetensors");
    uint8_t *bytes = nbtest_read(path, &n);
    assert_ok(nb_file_open(&f, path, NULL, &err), &err);
    const struct nb_tensor *t = nb_file_find(f, tensor);
    assert_non_null(t);
    nb_store_u16(bytes + (t->data - f->map.data) + 2 * 5, bits);
    nb_file_close(f);
    nbtest_write(path, bytes, n);
    free(bytes);
}

static void test_changed_model(void **state)
{
    (void)state;
    static const char *const tensors[] = {
        "model.layers.0.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight",
        "model.layers.0.input_layernorm.weight", "model.embed_tokens.weight", "model.norm.weight"};
    const char *out = nbtest_tmp("changed.gguf"), *fresh = nbtest_tmp("fresh.gguf");
    static const char *const methods[] = {"kgptq", "auto"};
    for (size_t i = 0; i < NB_COUNTOF(tensors) * NB_COUNTOF(methods); i++) {
        char name[32], dir[4096];
        (void)snprintf(name, sizeof name, "changed-%zu", i);
        (void)snprintf(dir, sizeof dir, "%s",
                       tiny_hf_write(name, &(struct tiny_hf){.type = "bf16"}));
        struct calibrated_case c = {.method = methods[i % NB_COUNTOF(methods)], .type = "q4_0"};
        struct nb_model *m = case_open(dir);
        const int n = count_calls(c, m, fresh);
        cancel(c, m, out, n - 2); /* everything is rounded */
        nb_model_close(m);
        change(dir, tensors[i / NB_COUNTOF(methods)], 0x3e99);
        m = case_open(dir);
        const struct nb_hash got = run_once(&c, m, out), want = run_once(&c, m, fresh);
        if (memcmp(&got, &want, sizeof got) != 0)
            fail_msg("another '%s' (%s): the journal's tensors were used",
                     tensors[i / NB_COUNTOF(methods)], c.method);
        nb_model_close(m);
    }
}

/* ---- failures ---- */

static void check_out_of_memory(const char *arch, const char *method)
{
    struct nb_model *m = arch_open(arch);
    const char *out = nbtest_tmp("nomem.gguf");
    struct nbtest_alloc mem;
    struct calibrated_case c = {.method = method, .type = "q4_0"};
    nbtest_alloc_init(&mem, 0);
    c.a = &mem.a;
    assert_ok(case_calibrate(&c, m, out, &err), &err);
    assert_int_equal(mem.live, 0);
    const size_t n = mem.n_allocs;
    for (size_t k = 1; k <= n; k += 1 + n / 50) {
        (void)remove(out);
        (void)remove(case_journal(out));
        nbtest_alloc_init(&mem, k);
        const enum nb_status st = case_calibrate(&c, m, out, NULL);
        if (mem.live != 0 || st != NB_ERR_NOMEM || nb_path_exists(out))
            fail_msg("%s: allocation %zu of %zu failed: %zu blocks leak, status %s", arch, k, n,
                     mem.live, nb_status_name(st));
    }
    nb_model_close(m);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    check_out_of_memory("llama-tied", "kgptq");
    check_out_of_memory("mixtral", "auto");
}

static void check_poisoned(const char *tensor, const char *message)
{
    static int n;
    char name[32];
    (void)snprintf(name, sizeof name, "nan-%d", n++);
    const char *dir = tiny_hf_write(name, &(struct tiny_hf){0}), *out = nbtest_tmp("nan.gguf");
    change(dir, tensor, 0x7fc0);
    struct nb_model *m = case_open(dir);
    struct calibrated_case c = {.type = "q4_0"};
    assert_fails(case_calibrate(&c, m, out, &err), NB_ERR_NUMERIC, &err, message);
    assert_false(nb_path_exists(out));
    c.method = "auto";
    assert_fails(case_calibrate(&c, m, out, &err), NB_ERR_NUMERIC, &err, message);
    nb_model_close(m);
}

static void test_not_finite(void **state)
{
    (void)state;
    check_poisoned("model.layers.1.input_layernorm.weight", "'blk.1.attn_q.weight'");
    check_poisoned("model.layers.1.post_attention_layernorm.weight", "'blk.1.ffn_gate.weight'");
    check_poisoned("model.layers.0.mlp.up_proj.weight", "'blk.0.ffn_up.weight'");
    check_poisoned("model.norm.weight", "'token_embd.weight'");
}

/* ---- what is made good ---- */

static struct nb_hash stored(const char *out, const char *name)
{
    struct nb_model *m = case_open(out);
    const struct nb_weight *w = nb_weights_find(&m->w, name);
    assert_non_null(w);
    const struct nb_hash h = nb_hash_bytes(w->t.data, (size_t)w->t.bytes);
    nb_model_close(m);
    return h;
}

/* gptaq is kgptq whose targets follow the input's mismatch, not the residual stream's: the first layer has
 * neither, the feed-forward's last has both. */
static void test_gptaq(void **state)
{
    static const char first[] = "blk.0.attn_q.weight", later[] = "blk.0.ffn_down.weight";
    struct calibrated_case cases[] = {{.method = "kgptq", .type = "q4_0", .no_mismatch = true},
                                      {.method = "gptaq", .type = "q4_0"},
                                      {.method = "kgptq", .type = "q4_0"}};
    const char *out = nbtest_tmp("gptaq.gguf");
    struct nb_hash q[NB_COUNTOF(cases)], o[NB_COUNTOF(cases)];
    struct nb_model *m = arch_open("llama-tied");
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        (void)run_once(&cases[i], m, out);
        q[i] = stored(out, first);
        o[i] = stored(out, later);
    }
    assert_same_hash(q[0], q[1]);
    assert_same_hash(q[1], q[2]);
    assert_memory_not_equal(&o[0], &o[1], sizeof *o);
    assert_memory_not_equal(&o[1], &o[2], sizeof *o);
    nb_model_close(m);
}

/* What the model gives for windows that case_calibrate has not seen, malloc-ed. */
static float *logits_of(const char *path, size_t *n)
{
    struct nb_model *m = case_open(path);
    struct nb_session *s;
    const struct nb_session_options o = {
        .n_ctx = CASE_CTX, .kv_type = &nb_numfmt_f32, .float_activations = true};
    struct nb_rng rng = {.seed = 12};
    assert_ok(nb_model_settle(m, &err), &err);
    assert_ok(nb_session_create(&s, &m->w, &o, NULL, &err), &err);
    const size_t window = (size_t)CASE_CTX * nb_session_width(s);
    *n = CASE_MOST * window;
    float *out = malloc(*n * sizeof *out);
    assert_non_null(out);
    for (size_t w = 0; w < CASE_MOST; w++) {
        uint32_t tokens[CASE_CTX];
        for (size_t t = 0; t < CASE_CTX; t++)
            tokens[t] = (uint32_t)(nb_rng_u64(&rng) % m->w.hp.n_vocab);
        nb_session_rewind(s, 0);
        assert_ok(nb_session_eval(s, tokens, CASE_CTX, out + w * window, 0, &err), &err);
    }
    nb_session_destroy(s);
    nb_model_close(m);
    return out;
}

/* How far the rounded model is from the float one, relative, in squares. */
static double distance(const struct nb_model *m, struct calibrated_case c, const float *want)
{
    const char *out = nbtest_tmp("distance.gguf");
    double square = 0.0, size = 0.0;
    size_t n;
    (void)run_once(&c, m, out);
    float *got = logits_of(out, &n);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        square += d * d;
        size += (double)want[i] * (double)want[i];
    }
    free(got);
    return square / size;
}

/* Layers that make good what was rounded before them bring the model nearer to the float one on a text that
 * none of them has seen, with biases and without. */
static void test_makes_good(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama-tied", "llama-bias", "qwen2"};
    struct calibrated_case alone = {.type = "q4_0", .windows = CASE_MOST, .no_mismatch = true};
    struct calibrated_case input = {.type = "q4_0", .windows = CASE_MOST, .method = "gptaq"};
    struct calibrated_case both = {.type = "q4_0", .windows = CASE_MOST};
    for (size_t i = 0; i < NB_COUNTOF(archs); i++) {
        struct nb_model *m = arch_open(archs[i]);
        size_t n;
        float *want = logits_of(arch_path(archs[i], ""), &n);
        const double d[] = {distance(m, alone, want), distance(m, input, want),
                            distance(m, both, want)};
        print_message("%s: %.5f alone, %.5f with the input's, %.5f with the stream's\n", archs[i],
                      d[0], d[1], d[2]);
        assert_true(d[1] < 0.97 * d[0] && d[2] < 0.97 * d[0]);
        free(want);
        nb_model_close(m);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_gptaq), cmocka_unit_test(test_makes_good),
             cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_spilled),
             cmocka_unit_test(test_resume), cmocka_unit_test(test_changed_model),
             cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_not_finite))
