/* Hugging Face folders: what is read, what is refused, and that nothing is lost on the way to GGUF and
 * back. */
#include "dialect/dialect.h"
#include "support/tiny_hf.h"

/* ---- helpers ---- */

static struct nb_model *open_model(const char *path)
{
    struct nb_model *m;
    struct nb_error err;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    return m;
}

static void open_fails(const char *path, enum nb_status want, const char *message)
{
    struct nb_model *m;
    struct nb_error err = {0};
    assert_fails(nb_model_open(&m, path, NULL, NULL, &err), want, &err, message);
    assert_null(m);
}

static struct nb_hash hash_of(const struct nb_model *m)
{
    struct nb_hash h;
    struct nb_error err;
    assert_ok(nb_model_hash(m, NULL, &h, &err), &err);
    return h;
}

/* Writes the model with the types given by `pick`, whole weights at a time. */
static void export_model(const struct nb_model *m, const char *path, uint64_t shard_bytes,
                         const struct nb_numfmt *matrix, const struct nb_numfmt *vector)
{
    struct nb_error err;
    struct nb_export *e;
    const struct nb_numfmt **types = malloc(m->w.n * sizeof *types);
    for (size_t i = 0; i < m->w.n; i++) {
        const bool q = m->w.items[i].spec.quantizable;
        const struct nb_numfmt *t = nb_export_type(path, m, i, q ? matrix : vector);
        types[i] = t == NULL ? m->w.items[i].t.type : t;
    }
    const struct nb_export_spec spec = {.model = m, .types = types, .shard_bytes = shard_bytes};
    uint64_t planned, written = 0;
    size_t n;
    assert_ok(nb_export_bytes(path, &spec, &planned, NULL, &err), &err);
    assert_ok(nb_export_begin(&e, path, NB_OUT_OVERWRITE, &spec, NULL, &err), &err);
    const size_t *order = nb_export_order(e, &n);
    for (size_t k = 0; k < n; k++) {
        const struct nb_shape *s = &m->w.items[order[k]].t.shape;
        const uint64_t rows = nb_shape_rows(s), cols = nb_shape_cols(s);
        uint64_t bytes;
        assert_ok(nb_numfmt_bytes(types[order[k]], s, &bytes, &err), &err);
        float *x = malloc(rows * cols * sizeof *x);
        uint8_t *y = malloc(bytes);
        nb_model_read_rows(m, order[k], 0, rows, x);
        assert_ok(nb_numfmt_encode(types[order[k]], y, x, NULL, rows * cols, &err), &err);
        for (uint64_t at = 0; at < bytes; at += 1000) /* pieces that fit nothing */
            assert_ok(nb_export_append(e, y + at, NB_MIN(bytes - at, 1000), &err), &err);
        free(x);
        free(y);
    }
    assert_ok(nb_export_commit(e, &err), &err);
    nb_export_destroy(e);
    free(types);
    if (!nb_path_is_dir(path)) {
        assert_ok(nb_path_size(path, &written, &err), &err);
        assert_int_equal(written, planned);
    }
}

static const struct nb_numfmt *fmt(const char *name)
{
    return nb_numfmt_find(name);
}

/* ---- reading ---- */

static void test_single(void **state)
{
    (void)state;
    struct nb_model *m = open_model(tiny_hf_write("single", &(struct tiny_hf){0}));
    assert_string_equal(m->dialect->name, "hf");
    assert_int_equal(m->w.n, 20);
    assert_true(m->w.rope_halves);
    assert_true(m->w.hp.tied);
    assert_null(m->tokenizer);
    assert_non_null(strstr(m->tokenizer_problem, "neither tokenizer.json nor tokenizer.model"));
    assert_null(m->w.rope_divisors);
    const struct nb_weight *q = nb_weights_find(&m->w, "blk.1.attn_q.weight");
    assert_non_null(q);
    assert_string_equal(q->t.name, "blk.1.attn_q.weight");
    assert_null(nb_weights_find(&m->w, "model.norm.weight"));
    nb_model_close(m);
    nb_model_close(NULL);
}

/* gguf_row[h hd + 2i + j] = hf_row[h hd + j hd/2 + i] (docs/formats/gguf.md) */
static void test_rows_paired(void **state)
{
    (void)state;
    struct nb_model *m = open_model(
        tiny_hf_write("paired", &(struct tiny_hf){.key = "attention_bias", .value = "true"}));
    const struct nb_tensor *file =
        nb_file_find(m->files[0], "model.layers.0.self_attn.q_proj.weight");
    const struct nb_tensor *bias =
        nb_file_find(m->files[0], "model.layers.0.self_attn.q_proj.bias");
    for (size_t i = 0; i < m->w.n; i++) {
        const struct nb_weight *w = &m->w.items[i];
        for (uint64_t row = 0; strcmp(w->spec.name, "blk.0.attn_q.weight") == 0 && row < 64;
             row++) {
            const uint64_t h = row / 16, pair = row % 16 / 2, j = row % 2;
            const uint8_t *want = file->data + (h * 16 + j * 8 + pair) * 128;
            assert_memory_equal(nb_model_row(m, i, row), want, 128);
            if (row == 0)
                continue;
            uint8_t scratch[256];
            const uint8_t *two = nb_model_rows(m, i, row - 1, 2, scratch);
            assert_memory_equal(two + 128, want, 128);
        }
        for (uint64_t row = 0; strcmp(w->spec.name, "blk.0.attn_q.bias") == 0 && row < 64; row++) {
            const uint64_t h = row / 16, pair = row % 16 / 2, j = row % 2;
            assert_memory_equal(nb_model_row(m, i, 0) + 2 * row,
                                bias->data + 2 * (h * 16 + j * 8 + pair), 2);
        }
    }
    nb_model_close(m);
}

static void test_shards(void **state)
{
    (void)state;
    struct nb_model *one = open_model(tiny_hf_write("whole", &(struct tiny_hf){0}));
    struct nb_model *three = open_model(tiny_hf_write("parts", &(struct tiny_hf){.shards = 3}));
    const struct nb_hash a = hash_of(one), b = hash_of(three);
    assert_int_equal(three->n_files, 3);
    assert_memory_equal(&a, &b, sizeof a);
    nb_model_close(one);
    nb_model_close(three);
}

static void test_wrong_index(void **state)
{
    (void)state;
    static const struct {
        const char *map; /* replaces the index */
        enum nb_status status;
        const char *message;
    } cases[] = {
        {"{}", NB_ERR_FORMAT, "weight_map is missing or empty"},
        {"{\"weight_map\": []}", NB_ERR_FORMAT, "weight_map is missing or empty"},
        {"{\"weight_map\": {}}", NB_ERR_FORMAT, "weight_map is missing or empty"},
        {"{\"weight_map\": {\"a\": 1}}", NB_ERR_FORMAT, "tensor 'a' has no file name"},
        {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}", NB_ERR_FORMAT,
         "expected the plain name"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", NB_ERR_FORMAT, "expected the plain name"},
        {"{\"weight_map\": {\"a\": \"x\\u0000.safetensors\"}}", NB_ERR_FORMAT, ""},
        {"{\"weight_map\": {\"a\": \"\"}}", NB_ERR_FORMAT, "expected the plain name"},
        {"{\"weight_map\": {\"a\": \"none.safetensors\"}}", NB_ERR_NOT_FOUND,
         "names 'none.safetensors', which is not in this folder"},
        {"{\"weight_map\": {\"a\": \"part-0.safetensors\"}}", NB_ERR_FORMAT,
         "tensor 'a' is not in part-0.safetensors"},
        {"{\"weight_map\": {\"a\": \"config.json\"}}", NB_ERR_UNSUPPORTED, "JSON text"},
        {"{\"weight_map\": {\"a\": \"x\", \"a\": \"y\"}}", NB_ERR_FORMAT, "index.json"},
        {"nothing", NB_ERR_FORMAT, "model.safetensors.index.json"},
        {"{\"weight_map\": {\"model.embed_tokens.weight\": \"part-0.safetensors\"}}", NB_ERR_FORMAT,
         "is missing"},
    };
    const char *dir = tiny_hf_write("index", &(struct tiny_hf){.shards = 2});
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        nbtest_write(tiny_path(dir, "model.safetensors.index.json"), cases[i].map,
                     strlen(cases[i].map));
        open_fails(dir, cases[i].status, cases[i].message);
    }
}

static void test_tensor_in_two_shards(void **state)
{
    (void)state;
    size_t n;
    const char *dir = tiny_hf_write("twice", &(struct tiny_hf){.shards = 2});
    uint8_t *file = nbtest_read(tiny_path(dir, "part-0.safetensors"), &n);
    nbtest_write(tiny_path(dir, "part-1.safetensors"), file, n);
    free(file);
    const char *map = "{\"weight_map\": {\"model.embed_tokens.weight\": \"part-0.safetensors\", "
                      "\"model.norm.weight\": \"part-1.safetensors\"}}";
    nbtest_write(tiny_path(dir, "model.safetensors.index.json"), map, strlen(map));
    struct nb_model *m;
    struct nb_error err = {0};
    const enum nb_status st = nb_model_open(&m, dir, NULL, NULL, &err);
    assert_int_equal(st, NB_ERR_FORMAT);
    assert_true(strstr(err.message, "is in two files") != NULL ||
                strstr(err.message, "is not in part-1") != NULL);
}

static void test_wrong_folders(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct tiny_hf how;
        enum nb_status status;
        const char *message;
    } cases[] = {
        {"w0",
         {.key = "architectures", .value = "[\"FooForCausalLM\"]"},
         NB_ERR_UNSUPPORTED,
         "architecture 'FooForCausalLM' is not supported; --any-arch"},
        {"w1", {.key = "architectures"}, NB_ERR_FORMAT, "architectures is no list"},
        {"w2",
         {.key = "quantization_config", .value = "{\"quant_method\": \"gptq\"}"},
         NB_ERR_UNSUPPORTED,
         "quantized by 'gptq'"},
        {"w3",
         {.key = "num_attention_heads", .value = "0"},
         NB_ERR_FORMAT,
         "config.json: num_attention_heads is 0, expected 1..65536"},
        {"w4",
         {.skip = "model.layers.1.mlp.up_proj.weight"},
         NB_ERR_FORMAT,
         "tensor 'blk.1.ffn_up.weight' ('model.layers.1.mlp.up_proj.weight') is missing"},
        {"w5",
         {.extra = "model.layers.0.foo"},
         NB_ERR_UNSUPPORTED,
         "tensor 'model.layers.0.foo' is not known to architecture llama"},
        {"w6",
         {.reshape = "model.layers.0.mlp.down_proj.weight"},
         NB_ERR_FORMAT,
         "has shape [65, 96], expected [64, 96]"},
        {"w7",
         {.retype = "model.layers.0.mlp.down_proj.weight"},
         NB_ERR_UNSUPPORTED,
         "is of type i32, expected a float type"},
        {"w8", {.retype = "model.norm.weight"}, NB_ERR_UNSUPPORTED, "is of type i32"},
        {"w9",
         {.key = "attention_bias", .value = "true", .skip = "model.layers.0.self_attn.v_proj.bias"},
         NB_ERR_FORMAT,
         "tensor 'blk.0.attn_v.bias'"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++)
        open_fails(tiny_hf_write(cases[i].name, &cases[i].how), cases[i].status, cases[i].message);
    const char *dir = nbtest_tmp("empty");
    assert_int_equal(mkdir(dir, 0777), 0);
    open_fails(dir, NB_ERR_NOT_FOUND, "no config.json");
    nbtest_write(tiny_path(dir, "config.json"), "{\"architectures\"", 16);
    open_fails(dir, NB_ERR_FORMAT, "config.json");
    open_fails(nbtest_tmp("nowhere"), NB_ERR_NOT_FOUND, "no such file or folder");
    open_fails(tiny_path(nbtest_tmp("w4"), "model.safetensors"), NB_ERR_UNSUPPORTED,
               "give its folder");
}

static void test_no_weights(void **state)
{
    (void)state;
    const char *dir = tiny_hf_write("bare", &(struct tiny_hf){0});
    assert_int_equal(remove(tiny_path(dir, "model.safetensors")), 0);
    open_fails(dir, NB_ERR_NOT_FOUND, "neither model.safetensors nor");
    nbtest_write(tiny_path(dir, "pytorch_model.bin"), "x", 1);
    open_fails(dir, NB_ERR_NOT_FOUND, "pytorch_model.bin is not read");
}

/* A buffer that some checkpoints carry; a head although the config ties it; a head of its own. */
static void test_heads_and_buffers(void **state)
{
    (void)state;
    struct nb_model *m = open_model(tiny_hf_write(
        "buffer", &(struct tiny_hf){.extra = "model.layers.0.self_attn.rotary_emb.inv_freq"}));
    nb_model_close(m);
    m = open_model(tiny_hf_write("spare", &(struct tiny_hf){.extra = "lm_head.weight"}));
    assert_true(m->w.hp.tied);
    nb_model_close(m);
    m = open_model(
        tiny_hf_write("own", &(struct tiny_hf){.key = "tie_word_embeddings", .value = "false"}));
    assert_false(m->w.hp.tied);
    assert_non_null(nb_weights_find(&m->w, "output.weight"));
    nb_model_close(m);
    m = open_model(tiny_hf_write("lost", &(struct tiny_hf){.key = "tie_word_embeddings",
                                                           .value = "false",
                                                           .skip = "lm_head.weight"}));
    assert_true(m->w.hp.tied);
    nb_model_close(m);
}

/* ---- round trips ---- */

static void round_trip(const char *name, const struct tiny_hf *how, const char *type,
                       uint64_t shard_bytes)
{
    char gguf[64], back[64];
    (void)snprintf(gguf, sizeof gguf, "%s.gguf", name);
    (void)snprintf(back, sizeof back, "%s-back", name);
    struct nb_model *a = open_model(tiny_hf_write(name, how));
    export_model(a, nbtest_tmp(gguf), 0, fmt(type), fmt("f32"));
    struct nb_model *b = open_model(nbtest_tmp(gguf));
    export_model(b, nbtest_tmp(back), shard_bytes, fmt(type), fmt(type));
    struct nb_model *c = open_model(nbtest_tmp(back));
    const struct nb_hash ha = hash_of(a), hc = hash_of(c);
    assert_memory_equal(&ha, &hc, sizeof ha);
    assert_memory_equal(&a->w.hp, &b->w.hp, sizeof a->w.hp);
    assert_memory_equal(&a->w.hp, &c->w.hp, sizeof a->w.hp);
    assert_false(b->w.rope_halves);
    const bool divisors = a->w.hp.rope.scaling == NB_ROPE_LLAMA3;
    assert_int_equal(a->w.rope_divisors != NULL, divisors);
    for (uint32_t i = 0; divisors && i < a->w.hp.rope.dim / 2; i++) {
        assert_bits(a->w.rope_divisors[i], b->w.rope_divisors[i]);
        assert_bits(a->w.rope_divisors[i], c->w.rope_divisors[i]);
    }
    if (shard_bytes > 0)
        assert_true(c->n_files > 1);
    nb_model_close(a);
    nb_model_close(b);
    nb_model_close(c);
}

static void test_round_trips(void **state)
{
    (void)state;
    round_trip("rt0", &(struct tiny_hf){0}, "bf16", 0);
    round_trip("rt1", &(struct tiny_hf){.type = "f32"}, "f32", 20000);
    round_trip("rt2", &(struct tiny_hf){.type = "f16", .key = "attention_bias", .value = "true"},
               "f16", 0);
    round_trip("rt3", &(struct tiny_hf){.key = "mlp_bias", .value = "true"}, "bf16", 1);
    round_trip("rt4", &(struct tiny_hf){.key = "tie_word_embeddings", .value = "false"}, "bf16", 0);
    round_trip("rt5", &(struct tiny_hf){.key = "head_dim", .value = "32"}, "bf16", 0);
    round_trip("rt6",
               &(struct tiny_hf){.key = "rope_scaling",
                                 .value = "{\"rope_type\": \"linear\", \"factor\": 4.0}"},
               "bf16", 0);
}

/* llama3's scaling is a tensor in GGUF and four numbers in config.json. */
static void test_llama3_round_trip(void **state)
{
    (void)state;
    const struct tiny_hf how = {
        .key = "rope_scaling",
        .value = "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
                 "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 256}"};
    round_trip("rt7", &how, "bf16", 0);
    struct nb_model *m = open_model(nbtest_tmp("rt7.gguf"));
    const struct nb_weight *w = nb_weights_find(&m->w, "rope_freqs.weight");
    assert_non_null(w);
    assert_ptr_equal(w->t.type, &nb_numfmt_f32);
    assert_int_equal(w->t.shape.dim[0], 8);
    nb_model_close(m);
}

/* Nothing appears under the final name before the commit, and nothing stays without one. */
static void test_abort(void **state)
{
    (void)state;
    struct nb_model *m = open_model(tiny_hf_write("ab", &(struct tiny_hf){0}));
    const struct nb_numfmt *types[64];
    struct nb_error err;
    for (size_t i = 0; i < m->w.n; i++)
        types[i] = m->w.items[i].t.type;
    const struct nb_export_spec spec = {.model = m, .types = types};
    const size_t before = nbtest_count_files(nbtest_tmpdir());
    struct nb_export *e;
    assert_ok(nb_export_begin(&e, nbtest_tmp("ab-out"), 0, &spec, NULL, &err), &err);
    assert_false(nb_path_exists(nbtest_tmp("ab-out")));
    assert_ok(nb_export_append(e, "12", 2, &err), &err);
    assert_fails(nb_export_commit(e, &err), NB_ERR_INTERNAL, &err, "was not written");
    nb_export_destroy(e);
    assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
    types[0] = fmt("q8_0");
    assert_fails(nb_export_begin(&e, nbtest_tmp("ab-out"), 0, &spec, NULL, &err),
                 NB_ERR_UNSUPPORTED, &err, "a folder holds f32, f16, bf16");
    nb_model_close(m);
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
    char path[4096];
    (void)snprintf(
        path, sizeof path, "%s",
        tiny_hf_write("oom",
                      &(struct tiny_hf){.shards = 2, .key = "attention_bias", .value = "true"}));
    assert_true(nbtest_oom(open_with, path) > 10);
}

NB_TEST_MAIN(cmocka_unit_test(test_single), cmocka_unit_test(test_rows_paired),
             cmocka_unit_test(test_shards), cmocka_unit_test(test_wrong_index),
             cmocka_unit_test(test_tensor_in_two_shards), cmocka_unit_test(test_wrong_folders),
             cmocka_unit_test(test_no_weights), cmocka_unit_test(test_heads_and_buffers),
             cmocka_unit_test(test_round_trips), cmocka_unit_test(test_llama3_round_trip),
             cmocka_unit_test(test_abort), cmocka_unit_test(test_out_of_memory))
