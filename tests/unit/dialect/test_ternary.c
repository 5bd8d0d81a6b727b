/* BitNet checkpoints: every row against its formula, by which way the scale works, in which form of the
 * architecture; what is refused; and that tq1_0 and tq2_0 keep what is read. Logits: tests/unit/run/test_archs.c. */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "dialect/dialect.h"
#include "quant/quant.h"
#include "run/run.h"
#include "support/nbtest.h"

#define WIDTH 256 /* a block of tq2_0 */
#define HEADS 4
#define SCALE 3.0F

static struct nb_error err;

/* ---- a folder of one layer ---- */

struct folder {
    const char *quantization; /* what quantization_config has besides its method */
    bool packed;
    const char *scale_type; /* NULL: there is none */
    const char *poison;     /* a tensor with code 3 in it */
};

static bool is_linear(const char *name)
{
    return strstr(name, "_proj.weight") != NULL;
}

static enum nb_status declare(void *ctx, const struct nb_tensor_spec *spec)
{
    void *const *c = ctx;
    const struct folder *f = c[0];
    struct nb_writer *w = c[1];
    char scale[NB_NAME_BYTES + 8];
    struct nb_shape shape = spec->shape;
    const bool packed = f->packed && is_linear(spec->hf);
    if (packed)
        shape.dim[0] /= 4;
    assert_ok(nb_writer_add(w, spec->hf, nb_numfmt_find(packed ? "u8" : "bf16"), &shape, &err),
              &err);
    if (!packed || f->scale_type == NULL)
        return NB_OK;
    (void)snprintf(scale, sizeof scale, "%s_scale", spec->hf);
    shape = nb_shape_1(1);
    assert_ok(nb_writer_add(w, scale, nb_numfmt_find(f->scale_type), &shape, &err), &err);
    return NB_OK;
}

static void fill(const struct folder *f, const struct nb_tensor *t, uint8_t *dst)
{
    uint64_t n;
    struct nb_rng rng = {.seed = nb_fnv1a64(t->name, strlen(t->name), NB_FNV_SEED)};
    assert_true(nb_shape_count(&t->shape, &n));
    for (uint64_t i = 0; i < n; i++) {
        const float x = n == 1 ? SCALE : (float)(nb_rng_unit(&rng) - 0.5) * 0.25F;
        if (t->type->encode != NULL) {
            t->type->encode(dst + i * t->type->block_bytes, &x, NULL, 1);
            continue;
        }
        for (unsigned k = 0; k < 4; k++)
            dst[i] |= (uint8_t)((unsigned)(nb_rng_unit(&rng) * 3.0) << 2 * k);
    }
    if (f->poison != NULL && strcmp(f->poison, t->name) == 0)
        dst[1] |= 0x0c;
}

static const char *write_folder(const char *name, const struct folder *f)
{
    static char path[600];
    struct nb_str s;
    nb_json *root;
    struct nb_hparams hp;
    struct nb_writer *w;
    const char *dir = nbtest_tmp(name);
    assert_int_equal(mkdir(dir, 0777), 0);
    nb_str_init(&s, NULL);
    nb_str_printf(&s,
                  "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": %d, "
                  "\"intermediate_size\": %d, \"num_hidden_layers\": 1, \"num_attention_heads\": "
                  "%d, \"num_key_value_heads\": 2, \"vocab_size\": 32, "
                  "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-05, "
                  "\"tie_word_embeddings\": true, \"quantization_config\": {\"quant_method\": "
                  "\"bitnet\"%s%s}}",
                  WIDTH, WIDTH, HEADS, *f->quantization != '\0' ? ", " : "", f->quantization);
    (void)snprintf(path, sizeof path, "%s/config.json", dir);
    nbtest_write(path, s.data, s.len);
    assert_ok(nb_json_parse(&root, s.data, s.len, "config.json", &err), &err);
    assert_ok(nb_arch_from_hf(nb_arch_by_name("llama"), &hp, root, &err), &err);
    nb_json_free(root);
    nb_str_fini(&s);
    assert_ok(nb_writer_create(&w, &nb_container_safetensors, NULL, &err), &err);
    const void *ctx[] = {f, w};
    assert_ok(nb_arch_tensors(&hp, declare, ctx), NULL);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
    for (size_t i = 0; i < w->n_tensors; i++) {
        uint8_t *data = calloc(1, w->tensors[i].bytes);
        fill(f, &w->tensors[i], data);
        assert_ok(nb_writer_append(w, data, w->tensors[i].bytes, &err), &err);
        free(data);
    }
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
    return dir;
}

static struct nb_model *open_model(const char *path)
{
    struct nb_model *m;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    return m;
}

/* ---- what rows are ---- */

/* Canonical row -> row of the file: Q and K of a Llama lie as halves. */
static uint64_t file_row(const struct nb_weight *w, uint64_t row)
{
    const bool q = strstr(w->spec.name, "attn_q") != NULL,
               k = strstr(w->spec.name, "attn_k") != NULL;
    const uint64_t hd = WIDTH / HEADS, r = row % hd;
    return q || k ? row - r + r % 2 * (hd / 2) + r / 2 : row;
}

static float packed_value(const struct nb_tensor *t, uint64_t row, uint64_t c)
{
    const uint64_t quarter = t->shape.dim[0];
    const uint8_t byte = t->data[row % quarter * WIDTH + c];
    return (float)(byte >> 2 * (row / quarter) & 3) - 1.0F;
}

/* Each element of linear layers is its code times `factor`; packed, or by rounding (factor 0: the mean). */
static void check_values(const struct nb_model *m, float factor, const char *type)
{
    size_t n_linear = 0;
    for (size_t i = 0; i < m->w.n; i++) {
        const struct nb_weight *w = &m->w.items[i];
        if (!is_linear(w->spec.hf))
            continue;
        const struct nb_tensor *t = nb_file_find(m->files[0], w->spec.hf);
        const uint64_t rows = w->t.shape.dim[0];
        float *got = malloc(rows * WIDTH * 4), *have = malloc(rows * WIDTH * 4);
        uint8_t *bytes = malloc(w->t.bytes);
        assert_string_equal(w->t.type->name, type);
        nb_model_read_rows(m, i, 0, rows, got);
        float f = factor;
        if (f == 0.0F) {
            double sum = 0.0;
            nb_numfmt_decode(t->type, t->data, have, rows * WIDTH);
            for (uint64_t k = 0; k < rows * WIDTH; k++)
                sum += fabs((double)have[k]);
            f = (float)(sum / (double)(rows * WIDTH));
        }
        for (uint64_t r = 0; r < rows; r++) {
            const uint64_t from = file_row(w, r);
            for (uint64_t c = 0; c < WIDTH; c++) {
                const float want =
                    factor != 0.0F
                        ? packed_value(t, from, c) * f
                        : fmaxf(-1.0F, fminf(1.0F, rintf(have[from * WIDTH + c] / f))) * f;
                assert_true(fabsf(got[r * WIDTH + c] - want) <= 1e-6F * f);
            }
        }
        /* the stored bytes say the same, whole and a row alone */
        const uint8_t *p = nb_model_rows(m, i, 0, rows, bytes);
        nb_numfmt_decode(w->t.type, p, have, rows * WIDTH);
        assert_memory_equal(have, got, rows * WIDTH * 4);
        nb_model_read_rows(m, i, rows - 1, 1, have);
        assert_memory_equal(have, got + (rows - 1) * WIDTH, WIDTH * 4);
        nb_model_drop_rows(m, i, 0, rows);
        n_linear++;
        free(got);
        free(have);
        free(bytes);
    }
    assert_int_equal(n_linear, 7);
}

#define AUTO "\"linear_class\": \"autobitlinear\""

static void test_values(void **state)
{
    (void)state;
    struct nb_model *m = open_model(write_folder(
        "divides", &(struct folder){.quantization = "", .packed = true, .scale_type = "bf16"}));
    check_values(m, 1.0F / SCALE, "f32");
    nb_model_close(m);
    m = open_model(write_folder(
        "factor", &(struct folder){.quantization = AUTO, .packed = true, .scale_type = "bf16"}));
    check_values(m, SCALE, "bf16");
    nb_model_close(m);
    m = open_model(write_folder(
        "online", &(struct folder){.quantization = AUTO ", \"quantization_mode\": \"online\""}));
    check_values(m, 0.0F, "f32");
    nb_model_close(m);
}

/* Modules that stay floats. */
static void test_floats(void **state)
{
    (void)state;
    struct nb_model *m = open_model(write_folder(
        "floats",
        &(struct folder){.quantization = "\"quantization_mode\": \"online\", "
                                         "\"modules_to_not_convert\": [\"lm_head\", \"o_proj\", "
                                         "\"model.layers.0.mlp\"]"}));
    static const char *const kept[] = {"attn_output", "ffn_gate", "ffn_up", "ffn_down"};
    for (size_t i = 0; i < m->w.n; i++) {
        const struct nb_weight *w = &m->w.items[i];
        bool plain = !is_linear(w->spec.hf);
        for (size_t k = 0; k < NB_COUNTOF(kept); k++)
            plain = plain || strstr(w->spec.name, kept[k]) != NULL;
        assert_string_equal(w->t.type->name, plain ? "bf16" : "f32");
    }
    nb_model_close(m);
}

/* ---- onwards ---- */

static void quantize(const struct nb_model *m, const char *type, const char *out)
{
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nb_quant_report report = {0};
    nb_recipe_init(&r, NULL);
    r.type = type;
    const struct nb_quant_settings s = {.out = out, .recipe = &r, .overwrite = true};
    assert_ok(nb_quant_plan_create(&p, m, &s, NULL, &err), &err);
    assert_ok(nb_quant_run(p, &report, &err), &err);
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
}

/* The signal over what is lost, of all linear layers, in dB. */
static double snr(const struct nb_model *m, const char *path)
{
    struct nb_model *q = open_model(path);
    double signal = 0.0, noise = 0.0;
    for (size_t i = 0; i < m->w.n; i++) {
        const uint64_t n = nb_shape_rows(&m->w.items[i].t.shape);
        if (!is_linear(m->w.items[i].spec.hf))
            continue;
        assert_string_equal(m->w.items[i].spec.name, q->w.items[i].spec.name);
        assert_int_equal(q->w.items[i].t.type->kind, NB_NUMFMT_BLOCK);
        float *x = malloc(n * WIDTH * 4), *y = malloc(n * WIDTH * 4);
        nb_model_read_rows(m, i, 0, n, x);
        nb_model_read_rows(q, i, 0, n, y);
        for (uint64_t k = 0; k < n * WIDTH; k++) {
            signal += (double)x[k] * (double)x[k];
            noise += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
        }
        free(x);
        free(y);
    }
    nb_model_close(q);
    return 10.0 * log10(signal / (noise + 1e-300));
}

/* Nothing is lost but bits of the scale, which is f16. */
static void test_ternary_types(void **state)
{
    (void)state;
    static const char *const types[] = {"tq1_0", "tq2_0"};
    static const struct folder folders[] = {
        {.quantization = "", .packed = true, .scale_type = "f32"},
        {.quantization = AUTO ", \"quantization_mode\": \"online\""},
    };
    for (size_t f = 0; f < NB_COUNTOF(folders); f++) {
        struct nb_model *m = open_model(write_folder(f == 0 ? "tq0" : "tq1", &folders[f]));
        for (size_t i = 0; i < NB_COUNTOF(types); i++) {
            const char *out = nbtest_tmp("ternary.gguf");
            quantize(m, types[i], out);
            assert_true(snr(m, out) > 66.0); /* 2^-11 of the scale at most */
        }
        nb_model_close(m);
    }
}

static float *logits(struct nb_model *m)
{
    static const uint32_t tokens[] = {1, 5, 9, 30, 2};
    struct nb_session *s;
    const struct nb_session_options o = {.kv_type = &nb_numfmt_f32, .n_ctx = 8};
    float *out = malloc(NB_COUNTOF(tokens) * 32 * sizeof *out);
    assert_ok(nb_model_settle(m, &err), &err);
    assert_ok(nb_session_create(&s, &m->w, &o, NULL, &err), &err);
    assert_ok(nb_session_eval(s, tokens, NB_COUNTOF(tokens), out, 0, &err), &err);
    nb_session_destroy(s);
    return out;
}

/* A session sees what a file of floats would hold, though Q and K are paired otherwise there. */
static void test_session(void **state)
{
    (void)state;
    struct nb_model *m = open_model(write_folder(
        "run", &(struct folder){.quantization = "", .packed = true, .scale_type = "bf16"}));
    const char *gguf = nbtest_tmp("run.gguf");
    quantize(m, "keep", gguf);
    struct nb_model *again = open_model(gguf);
    float *a = logits(m), *b = logits(again);
    assert_memory_equal(a, b, 5 * 32 * sizeof *a);
    free(a);
    free(b);
    nb_model_close(again);
    nb_model_close(m);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        struct folder f;
        enum nb_status status;
        const char *message;
    } cases[] = {
        {{"\"quantization_mode\": \"both\"", true, "f32", NULL},
         NB_ERR_UNSUPPORTED,
         "quantization_mode is 'both', expected 'offline' or 'online'"},
        {{"\"linear_class\": \"linear\"", true, "f32", NULL},
         NB_ERR_UNSUPPORTED,
         "linear_class is 'linear', expected 'bitlinear' or 'autobitlinear'"},
        {{AUTO ", \"use_rms_norm\": true", true, "f32", NULL}, NB_ERR_UNSUPPORTED, "use_rms_norm"},
        {{"\"modules_to_not_convert\": [3]", true, "f32", NULL},
         NB_ERR_FORMAT,
         "modules_to_not_convert[0] is no text"},
        {{"", true, NULL, NULL}, NB_ERR_FORMAT, "_proj.weight_scale' is missing"},
        {{"", true, "i32", NULL}, NB_ERR_FORMAT, "expected one float"},
        {{"", false, NULL, NULL}, NB_ERR_FORMAT, "has shape [256, 256], expected [64, 256]"},
        {{AUTO ", \"quantization_mode\": \"online\"", true, "f32", NULL},
         NB_ERR_FORMAT,
         "has shape [64, 256], expected [256, 256]"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_model *m;
        char name[16];
        (void)snprintf(name, sizeof name, "r%zu", i);
        assert_fails(nb_model_open(&m, write_folder(name, &cases[i].f), NULL, NULL, &err),
                     cases[i].status, &err, cases[i].message);
    }
}

/* A code that is none reads as not a number. */
static void test_code_3(void **state)
{
    (void)state;
    static const char name[] = "model.layers.0.mlp.up_proj.weight";
    struct nb_model *m = open_model(write_folder(
        "code",
        &(struct folder){.quantization = "", .packed = true, .scale_type = "f32", .poison = name}));
    size_t bad = 0;
    float row[WIDTH];
    for (size_t i = 0; i < m->w.n; i++) {
        if (strcmp(m->w.items[i].spec.hf, name) != 0)
            continue;
        nb_model_read_rows(m, i, WIDTH / 4, 1, row);
        for (size_t k = 0; k < WIDTH; k++)
            bad += isnan(row[k]) ? 1U : 0U;
        assert_true(isnan(row[1]));
    }
    assert_int_equal(bad, 1);
    nb_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_ternary_types), cmocka_unit_test(test_session),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_code_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
