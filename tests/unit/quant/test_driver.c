/* Runs: the same bytes for any threads and chunks, hashes, errors, and nothing left after a failure. */
#include "unit/quant/quant_case.h"

#include <math.h>

struct outcome {
    struct nb_hash file; /* of all bytes of the output */
    struct nb_quant_report report;
    double snr_db[64];
};

static void run_with(struct outcome *o, const char *source, const char *out, const char *type,
                     unsigned threads, uint64_t max_ram)
{
    struct nb_error err;
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nb_pool *pool;
    size_t n;
    nb_recipe_init(&r, NULL);
    r.type = type;
    struct nb_model *m = case_open(source);
    assert_ok(nb_pool_create(&pool, threads, NULL, &err), &err);
    const struct nb_quant_settings s = {
        .out = out, .recipe = &r, .overwrite = true, .pool = pool, .max_ram = max_ram};
    assert_ok(nb_quant_plan_create(&p, m, &s, NULL, &err), &err);
    o->report = (struct nb_quant_report){.snr_db = o->snr_db};
    assert_ok(nb_quant_run(p, &o->report, &err), &err);
    if (!nb_path_is_dir(out)) {
        uint8_t *bytes = nbtest_read(out, &n);
        assert_int_equal(n, p->file_bytes);
        o->file = nb_hash_bytes(bytes, n);
        free(bytes);
    }
    nb_quant_plan_destroy(p);
    nb_pool_destroy(pool);
    nb_model_close(m);
    nb_recipe_fini(&r);
}

static void test_same_bytes(void **state)
{
    (void)state;
    struct outcome a, b;
    const char *out = nbtest_tmp("same.gguf");
    run_with(&a, nbtest_model("tiny-7m"), out, "q4_k_m", 1, 0);
    assert_true(a.report.total_snr_db > 20.0 && a.report.total_snr_db < 40.0);
    assert_true(a.report.worst_snr_db <= a.report.total_snr_db);
    for (unsigned threads = 2; threads <= 7; threads += 5) {
        run_with(&b, nbtest_model("tiny-7m"), out, "q4_k_m", threads, 0);
        assert_memory_equal(&a.file, &b.file, sizeof a.file);
        assert_memory_equal(a.snr_db, b.snr_db, 56 * sizeof(double));
    }
    run_with(&b, nbtest_model("tiny-7m"), out, "q4_k_m", 2, 34 << 20); /* smaller chunks */
    assert_memory_equal(&a.file, &b.file, sizeof a.file);
}

static void test_hashes(void **state)
{
    (void)state;
    struct outcome o;
    struct nb_hash h;
    struct nb_error err;
    struct nb_text text;
    char hex[NB_HASH_HEX_BYTES];
    const char *out = nbtest_tmp("hash.gguf");
    run_with(&o, nbtest_model("tiny-7m"), out, "q8_0", 2, 0);
    struct nb_model *m = case_open(nbtest_model("tiny-7m"));
    assert_ok(nb_model_hash(m, NULL, &h, &err), &err);
    assert_memory_equal(&h, &o.report.source_hash, sizeof h);
    nb_model_close(m);
    m = case_open(out);
    assert_true(nb_meta_text(&m->meta, "nibble.source_hash", &text));
    assert_int_equal(text.n, 32);
    assert_memory_equal(text.s, nb_hash_hex(h, hex), 32);
    assert_ok(nb_model_hash(m, NULL, &h, &err), &err);
    assert_memory_equal(&h, &o.report.out_hash, sizeof h);
    assert_true(nb_meta_text(&m->meta, "nibble.recipe", &text));
    nb_model_close(m);
}

/* bf16 -> GGUF -> folder: the same tensors, parameters and tokenizer. */
static void test_bundled_round_trip(void **state)
{
    (void)state;
    struct outcome to, back;
    const char *gguf = nbtest_tmp("trip.gguf"), *dir = nbtest_tmp("trip");
    run_with(&to, nbtest_model("tiny-7m"), gguf, "keep", 2, 0);
    run_with(&back, gguf, dir, "keep", 2, 0);
    assert_true(isinf(to.report.total_snr_db) && isinf(back.report.total_snr_db));
    assert_memory_equal(&to.report.source_hash, &back.report.out_hash, sizeof(struct nb_hash));
    struct nb_model *a = case_open(nbtest_model("tiny-7m")), *b = case_open(dir);
    const struct nb_vocab *va = nb_tokenizer_vocab(a->tokenizer);
    const struct nb_vocab *vb = nb_tokenizer_vocab(b->tokenizer);
    assert_memory_equal(&a->w.hp, &b->w.hp, sizeof a->w.hp);
    assert_int_equal(va->n, vb->n);
    assert_int_equal(va->n_merges, vb->n_merges);
    assert_int_equal(va->bos, vb->bos);
    assert_int_equal(va->eos, vb->eos);
    assert_string_equal(va->pre, vb->pre);
    for (uint32_t i = 0; i < va->n; i++) {
        assert_int_equal(va->tokens[i].n, vb->tokens[i].n);
        assert_memory_equal(va->tokens[i].s, vb->tokens[i].s, va->tokens[i].n);
    }
    for (size_t i = 0; i < a->files[0]->n_tensors;
         i++) { /* the bytes of the file, not only of rows */
        const struct nb_tensor *t = &a->files[0]->tensors[i];
        const struct nb_tensor *u = nb_file_find(b->files[0], t->name);
        assert_non_null(u);
        assert_int_equal(t->bytes, u->bytes);
        assert_memory_equal(t->data, u->data, t->bytes);
    }
    nb_model_close(a);
    nb_model_close(b);
}

/* llama.cpp takes a value only in the exact type it expects (docs/formats/gguf.md). */
static void test_exact_types(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        enum nb_meta_type type, item;
    } want[] = {
        {"general.architecture", NB_META_STRING, 0},
        {"general.file_type", NB_META_U32, 0},
        {"general.quantization_version", NB_META_U32, 0},
        {"llama.block_count", NB_META_U32, 0},
        {"llama.context_length", NB_META_U32, 0},
        {"llama.embedding_length", NB_META_U32, 0},
        {"llama.feed_forward_length", NB_META_U32, 0},
        {"llama.attention.head_count", NB_META_U32, 0},
        {"llama.attention.head_count_kv", NB_META_U32, 0},
        {"llama.attention.layer_norm_rms_epsilon", NB_META_F32, 0},
        {"llama.rope.dimension_count", NB_META_U32, 0},
        {"llama.rope.freq_base", NB_META_F32, 0},
        {"llama.vocab_size", NB_META_U32, 0},
        {"tokenizer.ggml.model", NB_META_STRING, 0},
        {"tokenizer.ggml.pre", NB_META_STRING, 0},
        {"tokenizer.ggml.tokens", NB_META_ARRAY, NB_META_STRING},
        {"tokenizer.ggml.token_type", NB_META_ARRAY, NB_META_I32},
        {"tokenizer.ggml.merges", NB_META_ARRAY, NB_META_STRING},
        {"tokenizer.ggml.bos_token_id", NB_META_U32, 0},
        {"tokenizer.ggml.eos_token_id", NB_META_U32, 0},
        {"tokenizer.ggml.add_bos_token", NB_META_BOOL, 0},
    };
    struct outcome o;
    struct nb_file *f;
    struct nb_error err;
    const char *out = nbtest_tmp("exact.gguf");
    run_with(&o, nbtest_model("tiny-7m"), out, "q8_0", 2, 0);
    assert_ok(nb_file_open(&f, out, NULL, &err), &err);
    assert_string_equal(f->meta.kv[0].key, "general.architecture");
    for (size_t i = 0; i < NB_COUNTOF(want); i++) {
        const struct nb_meta_kv *kv = nb_meta_find(&f->meta, want[i].key);
        assert_non_null(kv);
        assert_int_equal(kv->type, want[i].type);
        if (kv->type == NB_META_ARRAY)
            assert_int_equal(kv->item, want[i].item);
    }
    assert_int_equal(f->data_offset % 32, 0);
    assert_int_equal(f->map.size % 32, 0); /* padded behind the last tensor too */
    nb_file_close(f);
}

/* ---- failures ---- */

static enum nb_status try_run(const struct nb_model *m, const char *type, const char *out,
                              const struct nb_progress *progress, const struct nb_allocator *a,
                              struct nb_error *err)
{
    struct nb_recipe r;
    struct nb_quant_plan *p = NULL;
    struct nb_quant_report report = {.snr_db = NULL};
    nb_recipe_init(&r, a);
    r.type = type;
    const struct nb_quant_settings s = {.out = out, .recipe = &r, .progress = progress};
    enum nb_status st = nb_quant_plan_create(&p, m, &s, a, err);
    if (st == NB_OK)
        st = nb_quant_run(p, &report, err);
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
    return st;
}

static void test_not_finite(void **state)
{
    (void)state;
    struct nb_error err = {0};
    struct nb_model *m = case_open(
        tiny_hf_write("nan", &(struct tiny_hf){.poison = "model.layers.1.mlp.up_proj.weight"}));
    const size_t before = nbtest_count_files(nbtest_tmpdir());
    static const char *const types[] = {"q8_0", "f16", "keep"};
    for (size_t i = 0; i < NB_COUNTOF(types); i++) {
        assert_fails(try_run(m, types[i], nbtest_tmp("nan.gguf"), NULL, NULL, &err), NB_ERR_NUMERIC,
                     &err,
                     "tensor 'blk.1.ffn_up.weight': row 1, column 2 is NaN, expected a finite");
        assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
    }
    nb_model_close(m);
}

static int stop_late(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)what;
    assert_string_equal(unit, "bytes");
    assert_true(done <= total);
    return ++*(int *)ctx == 5;
}

static void test_cancelled(void **state)
{
    (void)state;
    int calls = 0;
    struct nb_error err = {0};
    const struct nb_progress progress = {.ctx = &calls, .fn = stop_late};
    struct nb_model *m = case_open(tiny_hf_write("stop", &(struct tiny_hf){0}));
    const size_t before = nbtest_count_files(nbtest_tmpdir());
    assert_fails(try_run(m, "q8_0", nbtest_tmp("stop.gguf"), &progress, NULL, &err),
                 NB_ERR_CANCELLED, &err, "cancelled at tensor");
    assert_int_equal(calls, 5);
    assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
    calls = 0;
    assert_fails(try_run(m, "f16", nbtest_tmp("stop-dir"), &progress, NULL, &err), NB_ERR_CANCELLED,
                 &err, NULL);
    nb_model_close(m);
    assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
}

static void test_existing_target(void **state)
{
    (void)state;
    struct nb_error err = {0};
    struct nb_model *m = case_open(tiny_hf_write("there", &(struct tiny_hf){0}));
    nbtest_write(nbtest_tmp("there.gguf"), "old", 3);
    assert_fails(try_run(m, "q8_0", nbtest_tmp("there.gguf"), NULL, NULL, &err), NB_ERR_EXISTS,
                 &err, NULL);
    assert_fails(try_run(m, "q8_0", nbtest_tmp("no/such/dir.gguf"), NULL, NULL, &err),
                 NB_ERR_NOT_FOUND, &err, NULL);
    nb_model_close(m);
}

static void test_requantizing(void **state)
{
    (void)state;
    struct nb_error err = {0};
    struct nb_model *m = case_open(tiny_hf_write("again", &(struct tiny_hf){0}));
    assert_ok(try_run(m, "q8_0", nbtest_tmp("again.gguf"), NULL, NULL, &err), &err);
    nb_model_close(m);
    m = case_open(nbtest_tmp("again.gguf"));
    assert_fails(try_run(m, "q4_0", nbtest_tmp("twice.gguf"), NULL, NULL, &err), NB_ERR_ARG, &err,
                 "is q8_0 already");
    assert_ok(try_run(m, "f16", nbtest_tmp("wide.gguf"), NULL, NULL, &err), &err);
    assert_ok(try_run(m, "keep", nbtest_tmp("kept2.gguf"), NULL, NULL, &err), &err);
    nb_model_close(m);
}

static enum nb_status run_oom(void *ctx, const struct nb_allocator *a)
{
    const char *out = nbtest_tmp("oom-out.gguf");
    (void)remove(out);
    const enum nb_status st = try_run(ctx, "q8_0", out, NULL, a, NULL);
    if (st != NB_OK)
        assert_false(nb_path_exists(out));
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct nb_model *m = case_open(tiny_hf_write("oomq", &(struct tiny_hf){0}));
    assert_true(nbtest_oom(run_oom, m) > 10);
    nb_model_close(m);
}

NB_TEST_MAIN(cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_hashes),
             cmocka_unit_test(test_bundled_round_trip), cmocka_unit_test(test_exact_types),
             cmocka_unit_test(test_not_finite), cmocka_unit_test(test_cancelled),
             cmocka_unit_test(test_existing_target), cmocka_unit_test(test_requantizing),
             cmocka_unit_test(test_out_of_memory))
