/* GGUF models: exact metadata, unknown keys carried on, tokenizers, what is refused. */
#include "dialect/dialect.h"
#include "support/nbtest.h"

#include <stdio.h>

/* ---- a file made by hand: one layer of width 32 ---- */
static const struct {
    const char *name;
    uint64_t rows, cols; /* cols 0: a vector */
} tensors[] = {
    {"token_embd.weight", 6, 32},     {"blk.0.attn_norm.weight", 32, 0},
    {"blk.0.attn_q.weight", 32, 32},  {"blk.0.attn_k.weight", 16, 32},
    {"blk.0.attn_v.weight", 16, 32},  {"blk.0.attn_output.weight", 32, 32},
    {"blk.0.ffn_norm.weight", 32, 0}, {"blk.0.ffn_gate.weight", 64, 32},
    {"blk.0.ffn_up.weight", 64, 32},  {"blk.0.ffn_down.weight", 32, 64},
    {"output_norm.weight", 32, 0},
};

static void base_meta(struct nb_meta *m)
{
    nb_meta_init(m, NULL);
    assert_ok(nb_meta_set_text(m, "general.architecture", "llama", 5), NULL);
    assert_ok(nb_meta_set_u32(m, "llama.block_count", 1), NULL);
    assert_ok(nb_meta_set_u32(m, "llama.context_length", 64), NULL);
    assert_ok(nb_meta_set_u32(m, "llama.embedding_length", 32), NULL);
    assert_ok(nb_meta_set_u32(m, "llama.feed_forward_length", 64), NULL);
    assert_ok(nb_meta_set_u32(m, "llama.attention.head_count", 4), NULL);
    assert_ok(nb_meta_set_u32(m, "llama.attention.head_count_kv", 2), NULL);
    assert_ok(nb_meta_set_f32(m, "llama.attention.layer_norm_rms_epsilon", 1e-5F), NULL);
}

static const char spm_texts[][8] = {"<unk>", "<s>", "</s>", "a", "b", "ab"};

static void spm_meta(struct nb_meta *m, size_t n_tokens)
{
    struct nb_text tokens[8];
    const int32_t types[] = {2, 3, 3, 1, 1, 1, 1, 1};
    const float scores[] = {0, 0, 0, -1, -2, -3, -4, -5};
    for (size_t i = 0; i < n_tokens; i++)
        tokens[i] = i < NB_COUNTOF(spm_texts) ? (struct nb_text){spm_texts[i], strlen(spm_texts[i])}
                                              : (struct nb_text){"zz", 2};
    assert_ok(nb_meta_set_text(m, "tokenizer.ggml.model", "llama", 5), NULL);
    assert_ok(nb_meta_set_texts(m, "tokenizer.ggml.tokens", tokens, n_tokens), NULL);
    assert_ok(nb_meta_set_array(m, "tokenizer.ggml.token_type", NB_META_I32, types, n_tokens),
              NULL);
    assert_ok(nb_meta_set_array(m, "tokenizer.ggml.scores", NB_META_F32, scores, n_tokens), NULL);
    assert_ok(nb_meta_set_u32(m, "tokenizer.ggml.bos_token_id", 1), NULL);
    assert_ok(nb_meta_set_u32(m, "tokenizer.ggml.eos_token_id", 2), NULL);
    assert_ok(nb_meta_set_u32(m, "tokenizer.ggml.fim_pre_token_id", 3), NULL);
    assert_ok(nb_meta_set_text(m, "tokenizer.chat_template", "{{ x }}", 7), NULL);
}

/* skip: a tensor left out; extra: one more of (32). */
static void write_file(const char *path, const struct nb_meta *meta, const char *skip,
                       const char *extra)
{
    struct nb_writer *w;
    struct nb_error err;
    static const float zeros[64 * 64];
    assert_ok(nb_writer_create(&w, &nb_container_gguf, NULL, &err), &err);
    for (size_t i = 0; i < NB_COUNTOF(tensors); i++) {
        const struct nb_shape s = tensors[i].cols == 0
                                      ? nb_shape_1(tensors[i].rows)
                                      : nb_shape_2(tensors[i].rows, tensors[i].cols);
        const char *type = tensors[i].cols == 0 ? "f32" : "q8_0";
        if (!nb_str_eq(skip, tensors[i].name))
            assert_ok(nb_writer_add(w, tensors[i].name, nb_numfmt_find(type), &s, &err), &err);
    }
    const struct nb_shape one = nb_shape_1(32);
    if (extra != NULL)
        assert_ok(nb_writer_add(w, extra, nb_numfmt_find("f32"), &one, &err), &err);
    assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, meta, &err), &err);
    for (size_t i = 0; i < w->n_tensors; i++)
        assert_ok(nb_writer_append(w, zeros, w->tensors[i].bytes, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
}

static struct nb_model *open_model(const char *path)
{
    struct nb_model *m;
    struct nb_error err;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    return m;
}

static void open_fails(const struct nb_meta *meta, const char *skip, const char *extra,
                       enum nb_status want, const char *message)
{
    struct nb_model *m;
    struct nb_error err = {0};
    const char *path = nbtest_tmp("wrong.gguf");
    write_file(path, meta, skip, extra);
    assert_fails(nb_model_open(&m, path, NULL, NULL, &err), want, &err, message);
}

/* Copies every weight as it is. */
static void copy_model(const struct nb_model *m, const char *path)
{
    const struct nb_numfmt *types[64];
    struct nb_export *e;
    struct nb_error err;
    size_t n;
    for (size_t i = 0; i < m->w.n; i++)
        types[i] = m->w.items[i].t.type;
    const struct nb_export_spec spec = {.model = m, .types = types, .gguf_ftype = 7};
    assert_ok(nb_export_begin(&e, path, NB_OUT_OVERWRITE, &spec, NULL, &err), &err);
    const size_t *order = nb_export_order(e, &n);
    for (size_t k = 0; k < n; k++)
        assert_ok(
            nb_export_append(e, m->w.items[order[k]].t.data, m->w.items[order[k]].t.bytes, &err),
            &err);
    assert_ok(nb_export_commit(e, &err), &err);
    nb_export_destroy(e);
}

/* ---- tests ---- */

static void test_reading(void **state)
{
    (void)state;
    struct nb_meta meta;
    base_meta(&meta);
    spm_meta(&meta, 6);
    const char *path = nbtest_tmp("spm.gguf");
    write_file(path, &meta, NULL, NULL);
    struct nb_model *m = open_model(path);
    assert_int_equal(m->w.n, NB_COUNTOF(tensors));
    assert_int_equal(m->w.hp.n_vocab, 6); /* counted */
    assert_true(m->w.hp.tied);
    assert_false(m->w.rope_halves);
    assert_non_null(m->tokenizer);
    assert_int_equal(nb_tokenizer_n_vocab(m->tokenizer), 6);
    assert_string_equal(m->chat_template, "{{ x }}");
    assert_null(nb_meta_find(&m->meta, "tokenizer.ggml.tokens"));
    nb_model_close(m);
    nb_meta_fini(&meta);
}

static void test_metadata_travels(void **state)
{
    (void)state;
    struct nb_meta meta;
    uint32_t v;
    base_meta(&meta);
    spm_meta(&meta, 6);
    assert_ok(nb_meta_set_text(&meta, "general.license", "cc0", 3), NULL);
    assert_ok(nb_meta_set_array(&meta, "some.numbers", NB_META_U16, (const uint16_t[]){1, 2, 3}, 3),
              NULL);
    assert_ok(nb_meta_set_u32(&meta, "general.file_type", 1), NULL);
    assert_ok(nb_meta_set_text(&meta, "nibble.recipe", "old", 3), NULL);
    char source[4096];
    (void)snprintf(source, sizeof source, "%s", nbtest_tmp("meta.gguf"));
    write_file(source, &meta, NULL, NULL);
    struct nb_model *m = open_model(source);
    copy_model(m, nbtest_tmp("copy.gguf"));
    nb_model_close(m);
    struct nb_file *f;
    struct nb_error err;
    assert_ok(nb_file_open(&f, nbtest_tmp("copy.gguf"), NULL, &err), &err);
    for (size_t i = 0; i < meta.n; i++) {
        const struct nb_meta_kv *want = &meta.kv[i], *got = nb_meta_find(&f->meta, want->key);
        if (strcmp(want->key, "nibble.recipe") == 0) {
            assert_null(got);
            continue;
        }
        assert_non_null(got);
        assert_int_equal(got->type, want->type); /* the exact type: llama.cpp insists */
        assert_int_equal(got->n, want->n);
    }
    assert_true(nb_meta_u32(&f->meta, "general.file_type", &v) && v == 7);
    assert_true(nb_meta_u32(&f->meta, "general.quantization_version", &v) && v == 2);
    assert_int_equal(nb_meta_find(&f->meta, "general.quantization_version")->type, NB_META_U32);
    nb_file_close(f);
    nb_meta_fini(&meta);
}

/* A tokenizer smaller than the embedding is padded with unused tokens; a larger one is an error. */
static void test_tokenizer_size(void **state)
{
    (void)state;
    struct nb_meta meta;
    char source[4096];
    base_meta(&meta);
    spm_meta(&meta, 4);
    (void)snprintf(source, sizeof source, "%s", nbtest_tmp("small.gguf"));
    write_file(source, &meta, NULL, NULL);
    struct nb_model *m = open_model(source);
    copy_model(m, nbtest_tmp("padded.gguf"));
    nb_model_close(m);
    struct nb_file *f;
    struct nb_error err;
    assert_ok(nb_file_open(&f, nbtest_tmp("padded.gguf"), NULL, &err), &err);
    const struct nb_meta_kv *tokens = nb_meta_find(&f->meta, "tokenizer.ggml.tokens");
    const struct nb_meta_kv *types = nb_meta_find(&f->meta, "tokenizer.ggml.token_type");
    const struct nb_meta_kv *scores = nb_meta_find(&f->meta, "tokenizer.ggml.scores");
    assert_int_equal(tokens->n, 6);
    assert_int_equal(types->n, 6);
    assert_int_equal(scores->n, 6);
    const struct nb_text last = ((const struct nb_text *)tokens->v.items)[5];
    assert_int_equal(last.n, 6);
    assert_memory_equal(last.s, "[PAD5]", 6);
    int64_t type;
    assert_true(nb_meta_item_i64(types, 5, &type) && type == NB_TOKEN_UNUSED);
    assert_non_null(nb_meta_find(&f->meta, "tokenizer.ggml.fim_pre_token_id"));
    nb_file_close(f);
    nb_meta_fini(&meta);
    base_meta(&meta);
    spm_meta(&meta, 7);
    open_fails(&meta, NULL, NULL, NB_ERR_FORMAT,
               "the tokenizer has 7 tokens, the embedding 6 rows");
    nb_meta_fini(&meta);
}

static void test_odd_tokenizers(void **state)
{
    (void)state;
    struct nb_meta meta;
    base_meta(&meta);
    write_file(nbtest_tmp("none.gguf"), &meta, NULL, NULL);
    struct nb_model *m = open_model(nbtest_tmp("none.gguf"));
    assert_null(m->tokenizer);
    assert_string_equal(m->tokenizer_problem, "the file has none");
    nb_model_close(m);
    assert_ok(nb_meta_set_text(&meta, "tokenizer.ggml.model", "rwkv", 4), NULL);
    write_file(nbtest_tmp("rwkv.gguf"), &meta, NULL, NULL);
    m = open_model(nbtest_tmp("rwkv.gguf"));
    assert_null(m->tokenizer);
    assert_non_null(strstr(m->tokenizer_problem, "none of 'gpt2', 'llama', 't5', 'bert'"));
    nb_model_close(m);
    nb_meta_fini(&meta);
}

static void test_wrong_tokenizers(void **state)
{
    (void)state;
    struct nb_meta meta;
    base_meta(&meta);
    spm_meta(&meta, 6);
    assert_ok(nb_meta_set_array(&meta, "tokenizer.ggml.scores", NB_META_F32, (float[]){1, 2}, 2),
              NULL);
    open_fails(&meta, NULL, NULL, NB_ERR_FORMAT,
               "tokenizer.ggml.scores has 2 items, expected 6, one per token");
    spm_meta(&meta, 6);
    assert_ok(nb_meta_set_u32(&meta, "tokenizer.ggml.eos_token_id", 6), NULL);
    open_fails(&meta, NULL, NULL, NB_ERR_FORMAT, "eos_token_id is 6, expected 0..5");
    spm_meta(&meta, 6);
    assert_ok(nb_meta_set_u32(&meta, "tokenizer.ggml.tokens", 1), NULL);
    open_fails(&meta, NULL, NULL, NB_ERR_FORMAT, "tokenizer.ggml.tokens is no array of strings");
    nb_meta_remove(&meta, "tokenizer.ggml.tokens");
    open_fails(&meta, NULL, NULL, NB_ERR_FORMAT, "tokenizer.ggml.tokens is missing");
    nb_meta_fini(&meta);
}

static void test_wrong_files(void **state)
{
    (void)state;
    struct nb_meta meta;
    base_meta(&meta);
    open_fails(&meta, "blk.0.ffn_up.weight", NULL, NB_ERR_FORMAT,
               "tensor 'blk.0.ffn_up.weight' ('model.layers.0.mlp.up_proj.weight') is missing");
    open_fails(&meta, NULL, "blk.0.mystery", NB_ERR_UNSUPPORTED,
               "tensor 'blk.0.mystery' is not known to architecture llama");
    open_fails(&meta, "token_embd.weight", NULL, NB_ERR_FORMAT, "token_embd.weight");
    open_fails(&meta, NULL, "rope_freqs.weight", NB_ERR_FORMAT, "has shape [32], expected [4]");
    assert_ok(nb_meta_set_text(&meta, "general.architecture", "mamba", 5), NULL);
    open_fails(&meta, NULL, NULL, NB_ERR_UNSUPPORTED,
               "architecture 'mamba' is not supported; --any-arch");
    nb_meta_remove(&meta, "general.architecture");
    open_fails(&meta, NULL, NULL, NB_ERR_FORMAT, "general.architecture is missing");
    nb_meta_fini(&meta);
    base_meta(&meta);
    assert_ok(nb_meta_set_u32(&meta, "split.count", 3), NULL);
    open_fails(&meta, NULL, NULL, NB_ERR_UNSUPPORTED, "one of 3 parts of a split model");
    nb_meta_fini(&meta);
    base_meta(&meta);
    assert_ok(nb_meta_set_f32(&meta, "llama.rope.scaling.factor", 2.0F), NULL);
    open_fails(&meta, NULL, "rope_freqs.weight", NB_ERR_UNSUPPORTED, "one or the other, not both");
    nb_meta_fini(&meta);
}

static enum nb_status open_with(void *ctx, const struct nb_allocator *a)
{
    struct nb_model *m;
    NB_TRY(nb_model_open(&m, ctx, a, NULL, NULL));
    nb_model_close(m);
    return NB_OK;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct nb_meta meta;
    char path[4096];
    base_meta(&meta);
    spm_meta(&meta, 6);
    (void)snprintf(path, sizeof path, "%s", nbtest_tmp("oom.gguf"));
    write_file(path, &meta, NULL, NULL);
    assert_true(nbtest_oom(open_with, path) > 10);
    nb_meta_fini(&meta);
}

NB_TEST_MAIN(cmocka_unit_test(test_reading), cmocka_unit_test(test_metadata_travels),
             cmocka_unit_test(test_tokenizer_size), cmocka_unit_test(test_odd_tokenizers),
             cmocka_unit_test(test_wrong_tokenizers), cmocka_unit_test(test_wrong_files),
             cmocka_unit_test(test_out_of_memory))
