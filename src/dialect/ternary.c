/* dialect/ternary.c: BitNet checkpoints of Hugging Face: linear weights that become -1, 0, 1 times a scale
 * (Ma et al. 2024, arXiv:2402.17764, section 2).
 *
 * config.json names them by quantization_config with quant_method "bitnet". Mode "online": floats W, of
 * which a model uses clamp(round(W s), -1, 1) / s with s = 1 / mean|W|; the mean is taken when rows are
 * first read. Mode "offline": four rows to a byte, row p + k out/4 at bits 2k of byte row p, as code - 1,
 * and a tensor weight_scale beside them, by which the class "autobitlinear" multiplies and the class
 * "bitlinear" divides. Both are read as floats (f32; bf16 where that is exact), row by row. Left out: the
 * rounding of activations to 8 bits per token; writing such checkpoints.
 */
#include "dialect/dialect_internal.h"

#include "base/half.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define QUOTE_BYTES 96
#define LEAST_MEAN  1e-5F
#define PACKED      4U /* rows in a byte */
#define AT_ONCE     256

/* ---- config.json ---- */

static enum nb_status unknown_text(const char *key, const char *text, size_t n, const char *want,
                                   struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "config.json: quantization_config: %s is '%s', expected %s",
            key, nb_printable(quote, sizeof quote, text, n), want);
}

/* One of two words; *second: it is the second. An absent one is the first. */
static enum nb_status read_word(const nb_json *q, const char *key, const char *const words[2],
                                bool *second, struct nb_error *err)
{
    char want[64];
    size_t n;
    const char *text = nb_json_string(nb_json_get(q, key), &n);
    *second = text != NULL && strcmp(text, words[1]) == 0;
    if (text == NULL || *second || strcmp(text, words[0]) == 0)
        return NB_OK;
    (void)snprintf(want, sizeof want, "'%s' or '%s'", words[0], words[1]);
    return unknown_text(key, text, n, want, err);
}

static enum nb_status read_modules(struct nb_model *m, const nb_json *list,
                                   struct nb_ternary_rule *rule, struct nb_error *err)
{
    const size_t n = nb_json_size(list);
    char **names = nb_arena_alloc(&m->arena, n + 1, sizeof *names);
    for (size_t i = 0; names != NULL && i < n; i++) {
        size_t len;
        const char *name = nb_json_string(nb_json_at(list, i), &len);
        if (name == NULL)
            NB_FAIL(err, NB_ERR_FORMAT,
                    "config.json: quantization_config: modules_to_not_convert[%zu] is no text", i);
        names[i] = nb_arena_strndup(&m->arena, name, len);
        if (names[i] == NULL)
            names = NULL;
    }
    if (names == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    rule->floats = (const char *const *)names;
    rule->n_floats = n;
    return NB_OK;
}

enum nb_status nb_ternary_from_config(struct nb_model *m, const nb_json *q,
                                      struct nb_ternary_rule *rule, struct nb_error *err)
{
    static const char *const modes[2] = {"offline", "online"};
    static const char *const classes[2] = {"bitlinear", "autobitlinear"};
    bool online, automatic, norm = false;
    NB_TRY(read_word(q, "quantization_mode", modes, &online, err));
    NB_TRY(read_word(q, "linear_class", classes, &automatic, err));
    if (nb_json_bool(nb_json_get(q, "use_rms_norm"), &norm) && norm)
        NB_FAIL(
            err, NB_ERR_UNSUPPORTED,
            "config.json: quantization_config: use_rms_norm (a norm within linear layers) is not "
            "supported");
    rule->mode = online ? NB_TERNARY_ONLINE : NB_TERNARY_PACKED;
    rule->divides = !automatic;
    return read_modules(m, nb_json_get(q, "modules_to_not_convert"), rule, err);
}

/* ---- taking ---- */

/* Does a module's name begin or end with this one, at its points? */
static bool names_module(const char *key, const char *module, size_t n)
{
    const size_t k = strlen(key);
    if (k == 0 || k > n)
        return false;
    return (memcmp(module, key, k) == 0 && (k == n || module[k] == '.')) ||
           (memcmp(module + n - k, key, k) == 0 && (k == n || module[n - k - 1] == '.'));
}

bool nb_ternary_means(const struct nb_ternary_rule *rule, const struct nb_tensor_spec *spec)
{
    static const char suffix[] = ".weight";
    if (rule->mode == NB_TERNARY_NONE || spec->shape.n != 2 || !spec->quantizable ||
        (spec->form != NB_HF_PLAIN && spec->form != NB_HF_PAIRS) || spec->role == NB_ROLE_EMBED ||
        spec->role == NB_ROLE_HEAD)
        return false;
    const size_t n = strlen(spec->hf) - (sizeof suffix - 1);
    for (size_t i = 0; i < rule->n_floats; i++)
        if (names_module(rule->floats[i], spec->hf, n))
            return false;
    return true;
}

struct nb_shape nb_ternary_shape(const struct nb_ternary_rule *rule,
                                 const struct nb_tensor_spec *spec)
{
    const bool packed = rule->mode == NB_TERNARY_PACKED;
    return nb_shape_2(spec->shape.dim[0] / (packed ? PACKED : 1), spec->shape.dim[1]);
}

/* The scale of a packed tensor, as a factor. Multiplied in bf16 it stays bf16. */
static enum nb_status read_scale(const struct nb_ternary_rule *rule, const struct nb_tensor *scale,
                                 float *factor, bool *short_float, struct nb_error *err)
{
    char shape[NB_SHAPE_TEXT_BYTES];
    uint64_t n;
    if (scale->type->kind != NB_NUMFMT_FLOAT || !nb_shape_count(&scale->shape, &n) || n != 1)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is %s of type %s, expected one float", scale->name,
                nb_shape_text(&scale->shape, shape), scale->type->name);
    nb_numfmt_decode(scale->type, scale->data, factor, 1);
    if (!(*factor > 0.0F && isfinite(*factor) && isfinite(1.0F / *factor)))
        NB_FAIL(err, NB_ERR_NUMERIC, "tensor '%s' is %g, expected a positive number", scale->name,
                (double)*factor);
    *short_float = scale->type == &nb_numfmt_bf16 && !rule->divides;
    if (rule->divides)
        *factor = 1.0F / *factor;
    return NB_OK;
}

static enum nb_status check_packed(const struct nb_tensor_spec *spec, const struct nb_tensor *t,
                                   const struct nb_tensor *scale, struct nb_error *err)
{
    if (strcmp(t->type->name, "u8") != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected u8: four rows a byte",
                t->name, t->type->name);
    if (spec->shape.dim[0] % PACKED != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s': %llu rows, expected a multiple of 4", t->name,
                (unsigned long long)spec->shape.dim[0]);
    if (scale == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s_scale' is missing", t->name);
    return NB_OK;
}

enum nb_status nb_ternary_take(struct nb_model *m, size_t i, const struct nb_ternary_rule *rule,
                               const struct nb_tensor *scale, struct nb_error *err)
{
    struct nb_weight *w = &m->items[i];
    struct nb_ternary *q = nb_arena_alloc(&m->arena, 1, sizeof *q);
    float factor = 0.0F;
    bool short_float = false;
    if (q == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    q->t = w->t;
    if (rule->mode == NB_TERNARY_PACKED) {
        NB_TRY(check_packed(&w->spec, &w->t, scale, err));
        NB_TRY(read_scale(rule, scale, &factor, &short_float, err));
    } else if (w->t.type->kind != NB_NUMFMT_FLOAT) {
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected f32, f16 or bf16",
                w->t.name, w->t.type->name);
    }
    q->packed = rule->mode == NB_TERNARY_PACKED;
    atomic_init(&q->factor, factor);
    m->ternary[i] = q;
    w->t = (struct nb_tensor){.name = w->spec.name, .shape = w->spec.shape};
    w->t.type = short_float ? &nb_numfmt_bf16 : &nb_numfmt_f32;
    w->stored = NB_HF_TERNARY;
    return nb_numfmt_bytes(w->t.type, &w->t.shape, &w->t.bytes, err);
}

/* ---- reading ---- */

/* max(mean|W|, 1e-5): sums of rows in double, which hold for any order of threads that ask. */
static float mean_magnitude(const struct nb_tensor *t)
{
    float part[AT_ONCE];
    const uint64_t n = t->shape.dim[0] * t->shape.dim[1];
    const size_t size = t->type->block_bytes; /* a float type: blocks of one */
    double sum = 0.0;
    for (uint64_t at = 0; at < n; at += AT_ONCE) {
        const size_t take = (size_t)NB_MIN(n - at, (uint64_t)AT_ONCE);
        nb_numfmt_decode(t->type, t->data + at * size, part, take);
        for (size_t k = 0; k < take; k++)
            sum += (double)fabsf(part[k]);
    }
    const float mean = (float)(sum / (double)n);
    return mean < LEAST_MEAN ? LEAST_MEAN : mean;
}

/* The first who asks finds out; several at once find the same. */
static float factor_of(struct nb_ternary *q)
{
    float f = atomic_load_explicit(&q->factor, memory_order_relaxed);
    if (f == 0.0F) {
        f = mean_magnitude(&q->t);
        atomic_store_explicit(&q->factor, f, memory_order_relaxed);
    }
    return f;
}

/* n elements of row `row` from column `at` on. Code 3 is none: not a number, which the quantizer refuses. */
static void unpack(const struct nb_ternary *q, float factor, uint64_t row, uint64_t at, size_t n,
                   float *dst)
{
    const float values[4] = {-factor, 0.0F, factor, NAN};
    const uint64_t quarter = q->t.shape.dim[0], cols = q->t.shape.dim[1];
    const uint8_t *src = q->t.data + row % quarter * cols + at;
    const unsigned shift = (unsigned)(row / quarter) * 2;
    for (size_t k = 0; k < n; k++)
        dst[k] = values[src[k] >> shift & 3];
}

/* As transformers computes it: W s is rounded to nearest even, so a half gives 0; NaN stays NaN. */
static void round_off(const struct nb_ternary *q, float factor, uint64_t row, uint64_t at, size_t n,
                      float *dst)
{
    const uint64_t first = row * q->t.shape.dim[1] + at;
    const float s = 1.0F / factor, one = 1.0F / s;
    nb_numfmt_decode(q->t.type, q->t.data + first * q->t.type->block_bytes, dst, n);
    for (size_t k = 0; k < n; k++) {
        const float x = dst[k] * s;
        dst[k] = isnan(x) ? x : (float)((x > 0.5F) - (x < -0.5F)) * one;
    }
}

typedef void take_fn(void *dst, uint64_t first, const float *values, size_t n);

/* canonical: rows in that order, otherwise as they are stored. */
static void each_part(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                      bool canonical, take_fn *take, void *dst)
{
    float part[AT_ONCE];
    struct nb_ternary *q = m->ternary[i];
    const float factor = factor_of(q);
    const uint64_t cols = q->t.shape.dim[1];
    for (uint64_t r = 0; r < n_rows; r++) {
        const uint64_t from = canonical ? nb_form_row(&m->items[i].spec, row + r) : row + r;
        for (uint64_t at = 0; at < cols; at += AT_ONCE) {
            const size_t n = (size_t)NB_MIN(cols - at, (uint64_t)AT_ONCE);
            (q->packed ? unpack : round_off)(q, factor, from, at, n, part);
            take(dst, r * cols + at, part, n);
        }
    }
}

static void take_f32(void *dst, uint64_t first, const float *values, size_t n)
{
    memcpy((uint8_t *)dst + first * sizeof *values, values, n * sizeof *values);
}

static void take_bf16(void *dst, uint64_t first, const float *values, size_t n)
{
    for (size_t k = 0; k < n; k++)
        nb_store_u16((uint8_t *)dst + 2 * (first + k), nb_f32_to_bf16(values[k]));
}

static take_fn *taker(const struct nb_model *m, size_t i)
{
    return m->items[i].t.type == &nb_numfmt_f32 ? take_f32 : take_bf16;
}

void nb_ternary_read(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows, float *dst)
{
    each_part(m, i, row, n_rows, true, take_f32, dst);
}

void nb_ternary_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                     uint8_t *dst)
{
    each_part(m, i, row, n_rows, true, taker(m, i), dst);
}

void nb_ternary_stored(const struct nb_model *m, size_t i, uint8_t *dst)
{
    each_part(m, i, 0, m->items[i].t.shape.dim[0], false, taker(m, i), dst);
}

void nb_ternary_drop(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows)
{
    const struct nb_tensor *t = &m->ternary[i]->t;
    const uint64_t bytes = t->bytes / t->shape.dim[0];
    /* a row is in a quarter of all bytes, or those of a head are spread over it: with the last one */
    if (m->ternary[i]->packed || m->items[i].spec.form != NB_HF_PLAIN) {
        if (row + n_rows < m->items[i].t.shape.dim[0])
            return;
        row = 0;
        n_rows = t->shape.dim[0];
    }
    nb_mapping_dontneed(&m->file_of[i]->map, t->offset + row * bytes, n_rows * bytes);
}
