/* The config of every case under tests/golden/archs: the same parameters, bit for bit, after a trip through
 * metadata and through a config.json of ours; the graph reads exactly the tensors there are. And what must
 * be refused, by name. */
#include "model/model.h"
#include "support/arch_cases.h"
#include "support/nbtest.h"

static struct nb_error err;

/* ---- names of tensors ---- */

struct names {
    char (*name)[NB_NAME_BYTES];
    size_t n, cap;
};

static enum nb_status add_name(void *ctx, const struct nb_tensor_spec *spec)
{
    struct names *x = ctx;
    if (x->n == x->cap) {
        x->cap = 2 * x->cap + 16;
        x->name = realloc(x->name, x->cap * sizeof *x->name);
        assert_non_null(x->name);
    }
    memcpy(x->name[x->n++], spec->name, NB_NAME_BYTES);
    return NB_OK;
}

static bool has_name(void *ctx, const char *name)
{
    const struct names *x = ctx;
    for (size_t i = 0; i < x->n; i++)
        if (strcmp(x->name[i], name) == 0)
            return true;
    return false;
}

/* ---- trips ---- */

static nb_json *parse(const char *text, size_t n)
{
    nb_json *root;
    assert_ok(nb_json_parse(&root, text, n, "config.json", &err), &err);
    return root;
}

static const struct nb_arch *arch_of(const nb_json *root)
{
    const char *name = nb_json_string(nb_json_at(nb_json_get(root, "architectures"), 0), NULL);
    assert_non_null(name);
    return nb_arch_by_hf(name);
}

static void expect_same(const char *name, const struct nb_hparams *a, const struct nb_hparams *b,
                        const char *what)
{
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
    for (size_t i = 0; i < sizeof *a; i++)
        if (x[i] != y[i])
            fail_msg("%s: other parameters %s, byte %zu", name, what, i);
}

/* Rotary rules that metadata holds as tensors come back with those, not here; and a RoBERTa in a GGUF file
 * is a BERT. */
static bool told_by_tensors(const struct nb_hparams *hp)
{
    return hp->position_skip > 0 || hp->rope.scaling == NB_ROPE_LLAMA3 ||
           hp->rope.scaling == NB_ROPE_LONGROPE;
}

static void through_meta(const char *name, const struct nb_hparams *hp, struct names *x)
{
    static struct nb_hparams back;
    struct nb_meta meta;
    nb_meta_init(&meta, NULL);
    assert_ok(nb_arch_to_meta(hp, &meta, &err), &err);
    assert_ok(nb_arch_from_meta(hp->arch, &back, &meta, &err), &err);
    nb_arch_detect(&back, has_name, x);
    if (!told_by_tensors(hp))
        expect_same(name, hp, &back, "from metadata");
    nb_meta_fini(&meta);
}

static void through_config(const char *name, const struct nb_hparams *hp)
{
    static struct nb_hparams back;
    struct nb_str s;
    nb_str_init(&s, NULL);
    nb_str_puts(&s, "{");
    assert_ok(hp->arch->to_hf(hp, &s, &err), &err);
    nb_str_puts(&s, "\"\": 0}");
    nb_json *root = parse(s.data, s.len);
    assert_ptr_equal(arch_of(root), hp->arch);
    assert_ok(nb_arch_from_hf(hp->arch, &back, root, &err), &err);
    expect_same(name, hp, &back, "from a config.json of ours");
    nb_json_free(root);
    nb_str_fini(&s);
}

static void check_graph(const struct nb_hparams *hp, const struct names *x)
{
    struct nb_graph g;
    size_t weights = 0, rotary = 0;
    nb_graph_init(&g, NULL);
    assert_ok(nb_arch_build(hp, false, &g, &err), &err);
    assert_ok(nb_graph_sort(&g, &err), &err);
    for (size_t i = 1; i < g.n_values; i++)
        weights += g.values[i].kind == NB_VALUE_WEIGHT;
    for (size_t i = 0; i < x->n; i++)
        if (nb_str_starts(x->name[i], "rope_"))
            rotary++;
        else
            assert_int_not_equal(nb_graph_find(&g, x->name[i]), 0);
    assert_int_equal(weights + rotary, x->n);
    nb_graph_fini(&g);
}

static void test_case(void **state)
{
    static struct nb_hparams hp;
    const char *name = *state;
    struct names x = {0};
    size_t n;
    char *text = (char *)nbtest_read(arch_path(name, "config.json"), &n);
    nb_json *root = parse(text, n);
    const struct nb_arch *arch = arch_of(root);
    if (!arch_is_refused(name)) {
        assert_non_null(arch);
        assert_ok(nb_arch_from_hf(arch, &hp, root, &err), &err);
        assert_ok(nb_arch_tensors(&hp, add_name, &x), &err);
        through_meta(name, &hp, &x);
        through_config(name, &hp);
        check_graph(&hp, &x);
    }
    nb_json_free(root);
    free(text);
    free(x.name);
}

/* ---- refusals ---- */

static const struct {
    const char *name, *key, *value; /* of a case, a key of its config and what it is set to */
    enum nb_status status;
    const char *message;
} refused[] = {
    {"gemma2", "hidden_activation", "\"relu\"", NB_ERR_UNSUPPORTED,
     "hidden_activation is 'relu', expected 'gelu_pytorch_tanh'"},
    {"gemma2", "attn_logit_softcapping", "-1", NB_ERR_FORMAT, "attn_logit_softcapping is -1"},
    {"gemma2", "attn_logit_softcapping", "true", NB_ERR_FORMAT, "softcapping is no number"},
    {"gemma2", "query_pre_attn_scalar", "0", NB_ERR_FORMAT, "query_pre_attn_scalar is 0"},
    {"gemma2", "sliding_window", "0", NB_ERR_FORMAT, "sliding_window is 0"},
    {"gemma2", "layer_types", "[\"full_attention\"]", NB_ERR_FORMAT, "layer_types has 1 entries"},
    {"gemma3", "layer_types", "[1,2,3,4,5,6,7]", NB_ERR_UNSUPPORTED, "layer_types[0] is '?'"},
    {"gemma3", "num_attention_heads", "-3", NB_ERR_FORMAT, "num_attention_heads is -3"},
    {"phi3", "num_key_value_heads", "3", NB_ERR_FORMAT, "no multiple of 3 key-value heads"},
    {"gpt2", "n_embd", "null", NB_ERR_FORMAT, "n_embd is missing"},
    {"gpt2", "n_inner", "0", NB_ERR_FORMAT, "n_inner is 0"},
    {"gpt2", "n_head", "5", NB_ERR_FORMAT, "width 32 is no multiple of 5 attention heads"},
    {"gpt2", "activation_function", "\"mish\"", NB_ERR_UNSUPPORTED, "is 'mish'"},
    {"gpt2", "scale_attn_weights", "false", NB_ERR_UNSUPPORTED, "scale_attn_weights is false"},
    {"gpt2", "scale_attn_by_inverse_layer_idx", "true", NB_ERR_UNSUPPORTED, "layer_idx is true"},
    {"gpt-neox-old", "rotary_pct", "0", NB_ERR_FORMAT, "turns 0 dimensions of 16"},
    {"gpt-neox-old", "use_parallel_residual", "1", NB_ERR_FORMAT, "is not true or false"},
    {"phi", "qk_layernorm", "true", NB_ERR_UNSUPPORTED, "qk_layernorm is true"},
    {"stablelm", "qk_layernorm", "true", NB_ERR_UNSUPPORTED, "qk_layernorm is true"},
    {"roberta", "pad_token_id", "-1", NB_ERR_FORMAT, "pad_token_id is -1"},
    {"roberta", "pad_token_id", "39", NB_ERR_FORMAT, "max_position_embeddings is 40"},
    {"cohere2", "sliding_window", "null", NB_ERR_FORMAT, "sliding_window is missing"},
    {"cohere2", "logit_scale", "0", NB_ERR_FORMAT, "logit_scale is 0"},
};

/* The config of a case with one key set; read, and what that says. malloc-ed. */
static char *with_key(const char *name, const char *key, const char *value, size_t *n)
{
    size_t old;
    char quoted[64];
    char *text = (char *)nbtest_read(arch_path(name, "config.json"), &old);
    text = realloc(text, old + 256);
    assert_non_null(text);
    text[old] = '\0';
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", key);
    char *at = strstr(text, quoted);
    if (at != NULL) /* keys may not come twice */
        at[1] = '#';
    char *end = strrchr(text, '}');
    assert_non_null(end);
    (void)snprintf(end, 256, ", \"%s\": %s}", key, value);
    *n = strlen(text);
    return text;
}

static void test_refusals(void **state)
{
    (void)state;
    static struct nb_hparams hp;
    for (size_t i = 0; i < NB_COUNTOF(refused); i++) {
        size_t n;
        char *text = with_key(refused[i].name, refused[i].key, refused[i].value, &n);
        nb_json *root = parse(text, n);
        const struct nb_arch *arch = arch_of(root);
        assert_non_null(arch);
        assert_fails(nb_arch_from_hf(arch, &hp, root, &err), refused[i].status, &err,
                     refused[i].message);
        nb_json_free(root);
        free(text);
    }
}

/* A config.json that has no key for what the parameters are. */
static void test_unsayable(void **state)
{
    (void)state;
    static struct nb_hparams hp;
    struct nb_str s;
    size_t n;
    char *text = (char *)nbtest_read(arch_path("gpt-neox", "config.json"), &n);
    nb_json *root = parse(text, n);
    nb_str_init(&s, NULL);
    assert_ok(nb_arch_from_hf(nb_arch_by_name("gptneox"), &hp, root, &err), &err);
    hp.n_kv_heads = 1;
    assert_fails(hp.arch->to_hf(&hp, &s, &err), NB_ERR_UNSUPPORTED, &err, "1 key-value heads");
    hp.n_kv_heads = hp.n_heads;
    hp.head_dim *= 2;
    assert_fails(hp.arch->to_hf(&hp, &s, &err), NB_ERR_UNSUPPORTED, &err, "2 heads of 32");
    nb_str_fini(&s);
    nb_json_free(root);
    free(text);
}

/* What published configs leave out, and a text model inside a multimodal one. */
static void test_gemma3_inside(void **state)
{
    (void)state;
    static const char text[] =
        "{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"text_config\": {"
        "\"hidden_size\": 2560, \"intermediate_size\": 10240, \"num_hidden_layers\": 34, "
        "\"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, \"sliding_window\": "
        "1024}, "
        "\"vision_config\": {\"hidden_size\": 1152}}";
    static struct nb_hparams hp;
    nb_json *root = parse(text, sizeof text - 1);
    assert_ok(nb_arch_from_hf(arch_of(root), &hp, root, &err), &err);
    assert_int_equal(hp.n_heads, 8);
    assert_int_equal(hp.n_kv_heads, 4);
    assert_int_equal(hp.head_dim, 256);
    assert_int_equal(hp.n_vocab, 262208);
    assert_int_equal(hp.n_ctx_train, 131072);
    assert_int_equal(hp.window, 1024);
    assert_true(hp.tied && hp.attn_scale == 0.0625F && hp.attn_softcap == 0.0F);
    assert_true(hp.rope.base == 1e6F && hp.rope.scaling == NB_ROPE_LINEAR);
    assert_true(hp.rope_local.base == 1e4F && hp.rope_local.scaling == NB_ROPE_NONE);
    assert_true(nb_layers_has(&hp.windowed, 4) && !nb_layers_has(&hp.windowed, 5));
    nb_json_free(root);
}

/* The scale of attention in GGUF files of the largest models, which say nothing of it. */
static void test_gemma_scale(void **state)
{
    (void)state;
    static struct nb_hparams hp;
    struct nb_meta meta;
    nb_meta_init(&meta, NULL);
    hp = (struct nb_hparams){.arch = nb_arch_by_name("gemma2"),
                             .n_layers = 46,
                             .n_embd = 4608,
                             .n_ff = 36864,
                             .n_heads = 32,
                             .n_kv_heads = 16,
                             .head_dim = 128,
                             .n_vocab = 256000,
                             .n_ctx_train = 8192,
                             .window = 4096,
                             .norm_eps = 1e-6F,
                             .rope = {.dim = 128, .base = 1e4F}};
    hp.arch->init(&hp);
    hp.arch->defaults(&hp);
    assert_true(hp.attn_scale == (float)(1.0 / 12.0)); /* 4608 / 32 = 144 */
    assert_true(hp.attn_softcap == 50.0F && hp.logit_softcap == 30.0F);
    assert_ok(nb_arch_to_meta(&hp, &meta, &err), &err);
    assert_null(nb_meta_find(&meta, "gemma2.attention.scale"));
    hp.attn_scale = 0.25F;
    assert_ok(nb_arch_to_meta(&hp, &meta, &err), &err);
    assert_non_null(nb_meta_find(&meta, "gemma2.attention.scale"));
    nb_meta_fini(&meta);
}

int main(void)
{
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unsayable),
        cmocka_unit_test(test_gemma3_inside),
        cmocka_unit_test(test_gemma_scale),
    };
    const int cases = arch_run("config", test_case);
    return cases + cmocka_run_group_tests_name("refusals", more, NULL, NULL);
}
