/* The Llama family: parameters from config.json and from metadata, wrong ones, names and shapes. */
#include "support/tiny_hf.h"

static const struct nb_arch *llama(void)
{
    return nb_arch_by_name("llama");
}

static void test_registry(void **state)
{
    (void)state;
    assert_ptr_equal(nb_arch_by_hf("LlamaForCausalLM"), llama());
    assert_ptr_equal(nb_arch_by_hf("MistralForCausalLM"), llama());
    assert_null(nb_arch_by_hf("NoSuchForCausalLM"));
    assert_null(nb_arch_by_name(""));
}

static void test_config(void **state)
{
    (void)state;
    struct nb_hparams hp;
    struct nb_error err;
    assert_ok(tiny_hparams(&hp, NULL, NULL, &err), &err);
    assert_int_equal(hp.n_layers, 2);
    assert_int_equal(hp.n_embd, 64);
    assert_int_equal(hp.n_ff, 96);
    assert_int_equal(hp.n_heads, 4);
    assert_int_equal(hp.n_kv_heads, 2);
    assert_int_equal(hp.head_dim, 16);
    assert_int_equal(hp.rope.dim, 16);
    assert_int_equal(hp.n_vocab, 160);
    assert_int_equal(hp.n_ctx_train, 128);
    assert_bits(hp.norm_eps, 1e-5F);
    assert_bits(hp.rope.base, 10000.0F);
    assert_true(hp.tied);
    assert_false(hp.bias_q || hp.bias_o || hp.bias_mlp);
    assert_ok(tiny_hparams(&hp, "num_key_value_heads", NULL, &err), &err);
    assert_int_equal(hp.n_kv_heads, 4);
    assert_ok(tiny_hparams(&hp, "head_dim", "32", &err), &err);
    assert_int_equal(hp.head_dim, 32);
    assert_ok(tiny_hparams(&hp, "attention_bias", "true", &err), &err);
    assert_true(hp.bias_q && hp.bias_k && hp.bias_v && hp.bias_o && !hp.bias_mlp);
    assert_ok(tiny_hparams(&hp, "sliding_window", "128", &err), &err);
    assert_int_equal(hp.window, 0);
    assert_ok(tiny_hparams(&hp, "sliding_window", "null", &err), &err);
    assert_ok(tiny_hparams(&hp, "sliding_window", "32", &err), &err);
    assert_int_equal(hp.window, 32);
    assert_true(nb_layers_has(&hp.windowed, 0) && nb_layers_has(&hp.windowed, 1));
    assert_ok(tiny_hparams(&hp, "rope_parameters",
                           "{\"rope_theta\": 500000, \"rope_type\": \"linear\", \"factor\": 4}",
                           &err),
              &err);
    assert_bits(hp.rope.base, 500000.0F);
    assert_bits(hp.rope.factor, 4.0F);
    assert_int_equal(hp.rope.scaling, NB_ROPE_LINEAR);
}

static void test_wrong_config(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        enum nb_status status;
        const char *message;
    } cases[] = {
        {"num_attention_heads", "0", NB_ERR_FORMAT,
         "config.json: num_attention_heads is 0, expected 1..65536"},
        {"num_attention_heads", "-4", NB_ERR_FORMAT, "is -4, expected 1..65536"},
        {"num_attention_heads", "4.5", NB_ERR_FORMAT, "is no whole number"},
        {"num_attention_heads", "\"4\"", NB_ERR_FORMAT, "is no whole number"},
        {"num_attention_heads", NULL, NB_ERR_FORMAT, "num_attention_heads is missing"},
        {"num_attention_heads", "5", NB_ERR_FORMAT, "5 attention heads are no multiple of 2"},
        {"num_attention_heads", "6", NB_ERR_FORMAT, "width 64 is no multiple of 6"},
        {"num_key_value_heads", "0", NB_ERR_FORMAT, "num_key_value_heads is 0"},
        {"head_dim", "15", NB_ERR_FORMAT, "head size 15 is odd"},
        {"hidden_size", "4294967296", NB_ERR_FORMAT, "hidden_size is 4294967296"},
        {"hidden_size", "9223372036854775808", NB_ERR_FORMAT, "hidden_size"},
        {"intermediate_size", "99999999", NB_ERR_FORMAT, "intermediate_size is 99999999"},
        {"num_hidden_layers", "100000", NB_ERR_FORMAT, "expected 1..1024"},
        {"vocab_size", NULL, NB_ERR_FORMAT, "vocab_size is missing"},
        {"max_position_embeddings", "0", NB_ERR_FORMAT, "max_position_embeddings is 0"},
        {"rms_norm_eps", "-1", NB_ERR_FORMAT, "rms_norm_eps is -1"},
        {"rms_norm_eps", "\"x\"", NB_ERR_FORMAT, "rms_norm_eps is no number"},
        {"tie_word_embeddings", "1", NB_ERR_FORMAT, "tie_word_embeddings is not true or false"},
        {"rope_theta", "0", NB_ERR_FORMAT, "rope_theta is 0"},
        {"hidden_act", "\"gelu\"", NB_ERR_UNSUPPORTED, "hidden_act is 'gelu', expected 'silu'"},
        {"sliding_window", "0", NB_ERR_FORMAT, "sliding_window is 0, expected 1.."},
        {"layer_types", "[\"full_attention\"]", NB_ERR_FORMAT,
         "layer_types has 1 entries, expected 2"},
        {"layer_types", "[\"full_attention\", \"mamba\"]", NB_ERR_UNSUPPORTED,
         "layer_types[1] is 'mamba'"},
        {"partial_rotary_factor", "0.5", NB_ERR_UNSUPPORTED, "partial_rotary_factor is 0.5"},
        {"rope_scaling", "{\"type\": \"ntk\", \"factor\": 4}", NB_ERR_UNSUPPORTED,
         "rope_scaling of type 'ntk'"},
        {"rope_scaling", "{\"type\": \"linear\"}", NB_ERR_FORMAT, "no 'factor'"},
        {"rope_scaling", "{\"factor\": 2}", NB_ERR_UNSUPPORTED, "no 'rope_type' text"},
        {"rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8}", NB_ERR_FORMAT,
         "original_max_position_embeddings is missing"},
        {"rope_scaling",
         "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 1, \"original_max_position_embeddings\": 64}",
         NB_ERR_FORMAT, "expected 0 < low < high"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_hparams hp;
        struct nb_error err = {0};
        assert_fails(tiny_hparams(&hp, cases[i].key, cases[i].value, &err), cases[i].status, &err,
                     cases[i].message);
    }
}

/* ---- metadata ---- */

static void test_metadata_round_trip(void **state)
{
    (void)state;
    struct nb_hparams a, b;
    struct nb_error err;
    struct nb_meta meta;
    assert_ok(tiny_hparams(&a, "head_dim", "32", &err), &err);
    nb_meta_init(&meta, NULL);
    assert_ok(nb_arch_to_meta(&a, &meta, &err), &err);
    assert_ok(nb_arch_from_meta(llama(), &b, &meta, &err), &err);
    b.tied = a.tied; /* said by the tensors */
    assert_memory_equal(&a, &b, sizeof a);
    nb_meta_fini(&meta);
}

struct wrong_meta {
    const char *key;
    uint32_t value; /* 0: the key is removed */
    enum nb_status status;
    const char *message;
};

static void test_wrong_metadata(void **state)
{
    (void)state;
    static const struct wrong_meta cases[] = {
        {"llama.block_count", 0, NB_ERR_FORMAT, "metadata: llama.block_count is missing"},
        {"llama.block_count", 5000, NB_ERR_FORMAT, "llama.block_count is 5000, expected 1..1024"},
        {"llama.attention.layer_norm_rms_epsilon", 0, NB_ERR_FORMAT, "is missing"},
        {"llama.attention.layer_norm_rms_epsilon", 1, NB_ERR_FORMAT, "is no float"},
        {"llama.rope.dimension_count", 8, NB_ERR_UNSUPPORTED, "expected the head size 16"},
        {"llama.attention.value_length", 8, NB_ERR_UNSUPPORTED, "expected the head size 16"},
        {"llama.expert_count", 8, NB_ERR_FORMAT, "0 of 8 experts"},
        {"llama.attention.head_count_kv", 3, NB_ERR_FORMAT, "no multiple of 3"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_hparams hp;
        struct nb_error err;
        struct nb_meta meta;
        assert_ok(tiny_hparams(&hp, NULL, NULL, &err), &err);
        nb_meta_init(&meta, NULL);
        assert_ok(nb_arch_to_meta(&hp, &meta, &err), &err);
        nb_meta_remove(&meta, cases[i].key);
        if (cases[i].value != 0)
            assert_ok(nb_meta_set_u32(&meta, cases[i].key, cases[i].value), NULL);
        assert_fails(nb_arch_from_meta(llama(), &hp, &meta, &err), cases[i].status, &err,
                     cases[i].message);
        nb_meta_fini(&meta);
    }
}

static void test_metadata_arrays(void **state)
{
    (void)state;
    struct nb_hparams hp;
    struct nb_error err;
    struct nb_meta meta;
    uint32_t ff[2] = {96, 96};
    assert_ok(tiny_hparams(&hp, NULL, NULL, &err), &err);
    nb_meta_init(&meta, NULL);
    assert_ok(nb_arch_to_meta(&hp, &meta, &err), &err);
    assert_ok(nb_meta_set_array(&meta, "llama.feed_forward_length", NB_META_U32, ff, 2), NULL);
    assert_ok(nb_arch_from_meta(llama(), &hp, &meta, &err), &err);
    assert_int_equal(hp.n_ff, 96);
    ff[1] = 128;
    assert_ok(nb_meta_set_array(&meta, "llama.feed_forward_length", NB_META_U32, ff, 2), NULL);
    assert_fails(nb_arch_from_meta(llama(), &hp, &meta, &err), NB_ERR_UNSUPPORTED, &err,
                 "96 for block 0 and 128 for block 1");
    assert_ok(nb_meta_set_text(&meta, "llama.rope.scaling.type", "mrope", 5), NULL);
    assert_ok(nb_meta_set_u32(&meta, "llama.feed_forward_length", 96), NULL);
    assert_fails(nb_arch_from_meta(llama(), &hp, &meta, &err), NB_ERR_UNSUPPORTED, &err,
                 "is 'mrope'");
    nb_meta_fini(&meta);
}

/* ---- config.json out ---- */

static void round_trip_hf(const char *key, const char *value)
{
    struct nb_hparams a, b;
    struct nb_error err;
    struct nb_str s;
    nb_json *root;
    assert_ok(tiny_hparams(&a, key, value, &err), &err);
    nb_str_init(&s, NULL);
    nb_str_puts(&s, "{");
    assert_ok(llama()->to_hf(&a, &s, &err), &err);
    nb_str_puts(&s, "\"x\": 1}");
    assert_ok(nb_json_parse(&root, s.data, s.len, "config.json", &err), &err);
    assert_ok(nb_arch_from_hf(llama(), &b, root, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);
    nb_json_free(root);
    nb_str_fini(&s);
}

static void test_config_round_trip(void **state)
{
    (void)state;
    round_trip_hf(NULL, NULL);
    round_trip_hf("rms_norm_eps", "9.99999e-06");
    round_trip_hf("rope_theta", "1234567.5");
    round_trip_hf("attention_bias", "true");
    round_trip_hf("mlp_bias", "true");
    round_trip_hf("head_dim", "32");
    round_trip_hf("rope_scaling", "{\"type\": \"linear\", \"factor\": 2.5}");
    round_trip_hf("rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8.0, "
                                  "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                                  "\"original_max_position_embeddings\": 8192}");
}

/* ---- tensors ---- */

struct seen {
    size_t n;
    const char *want;
    struct nb_tensor_spec found;
};

static enum nb_status look(void *ctx, const struct nb_tensor_spec *spec)
{
    struct seen *s = ctx;
    s->n++;
    if (strcmp(spec->name, s->want) == 0)
        s->found = *spec;
    return NB_OK;
}

static struct seen find(const struct nb_hparams *hp, const char *name)
{
    struct seen s = {.want = name};
    assert_ok(nb_arch_tensors(hp, look, &s), NULL);
    return s;
}

static void test_tensors(void **state)
{
    (void)state;
    struct nb_hparams hp;
    struct nb_error err;
    assert_ok(tiny_hparams(&hp, "head_dim", "32", &err), &err);
    struct seen s = find(&hp, "blk.1.attn_k.weight");
    assert_int_equal(s.n, 2 * 9 + 2);
    assert_string_equal(s.found.hf, "model.layers.1.self_attn.k_proj.weight");
    assert_int_equal(s.found.shape.dim[0], 64);
    assert_int_equal(s.found.shape.dim[1], 64);
    assert_int_equal(s.found.heads, 2);
    assert_int_equal(s.found.block, 1);
    assert_true(s.found.quantizable);
    s = find(&hp, "blk.0.attn_output.weight");
    assert_int_equal(s.found.shape.dim[0], 64);
    assert_int_equal(s.found.shape.dim[1], 128);
    assert_int_equal(s.found.heads, 0);
    s = find(&hp, "output_norm.weight");
    assert_string_equal(s.found.hf, "model.norm.weight");
    assert_false(s.found.quantizable);
    hp.bias_q = hp.bias_k = hp.bias_v = hp.bias_o = hp.bias_mlp = true;
    hp.tied = false;
    s = find(&hp, "blk.0.attn_q.bias");
    assert_int_equal(s.n, 2 * 16 + 3);
    assert_int_equal(s.found.heads, 4);
    assert_int_equal(s.found.shape.n, 1);
    assert_string_equal(find(&hp, "output.weight").found.hf, "lm_head.weight");
}

/* One switch of config.json cannot say that q has a bias and k has none, whatever the architecture. */
static void test_uneven_biases(void **state)
{
    (void)state;
    static const char *const names[] = {"llama",   "qwen3",  "qwen3moe", "olmo2",
                                        "granite", "bitnet", "smollm3"};
    for (size_t i = 0; i < NB_COUNTOF(names); i++) {
        struct nb_hparams hp = {.arch = nb_arch_by_name(names[i]), .bias_q = true};
        struct nb_str text;
        struct nb_error err;
        nb_str_init(&text, NULL);
        assert_fails(hp.arch->to_hf(&hp, &text, &err), NB_ERR_UNSUPPORTED, &err,
                     "q true, k false, v false, output false");
        nb_str_fini(&text);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_uneven_biases), cmocka_unit_test(test_registry),
             cmocka_unit_test(test_config), cmocka_unit_test(test_wrong_config),
             cmocka_unit_test(test_metadata_round_trip), cmocka_unit_test(test_wrong_metadata),
             cmocka_unit_test(test_metadata_arrays), cmocka_unit_test(test_config_round_trip),
             cmocka_unit_test(test_tensors))
