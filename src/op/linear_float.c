/* op/linear_float.c: linear layers whose weights are, or are decoded to, floats.
 *
 * Few tokens: a dot product per row and token, straight from the stored row where the format has one.
 * Many: a few rows are decoded into scratch and multiplied with all tokens. Both are the canonical dot.
 */
#include "op/linear.h"

/* Up to so many tokens the stored rows are read once per token: they stay in the first cache. */
#define FEW_TOKENS    3U
#define ROWS          16U     /* decoded at once */
#define COLUMN_BYTES  131072U /* of activations that meet these rows before the next ones come, */
#define COLUMN_STEP   48U     /* in multiples of what kernels take at once                     */
#define CHUNK_WEIGHTS 65536U

static size_t decoded_rows(const struct nb_linear *l)
{
    return NB_MIN(l->n_rows, ROWS);
}

static size_t block_tokens(size_t k)
{
    const size_t n = COLUMN_BYTES / (k * sizeof(float)) / COLUMN_STEP * COLUMN_STEP;
    return n ? n : COLUMN_STEP;
}

/* Decoded rows; of picked tokens the activations and the results. */
static bool scratch_bytes(const struct nb_linear *l, bool pick, size_t *bytes)
{
    const uint64_t tokens = pick ? block_tokens(l->k) : 0;
    uint64_t n, x;
    *bytes = 0;
    return nb_mul_u64(&n, decoded_rows(l), l->k) && nb_mul_u64(&x, tokens, l->k) &&
           op_add_bytes(bytes, n, sizeof(float)) && op_add_bytes(bytes, x, sizeof(float)) &&
           op_add_bytes(bytes, tokens * ROWS, sizeof(float));
}

/* Kernels of f16, bf16 and f32 read whole elements: a file may start a tensor at any byte. */
static bool can_dot(const struct nb_linear *l)
{
    const struct nb_numfmt *type = l->w->type;
    return type->dot && l->n_tokens <= FEW_TOKENS &&
           (uintptr_t)nb_tensor_row(l->w, l->first_row) % type->block_bytes == 0;
}

static void few(const struct nb_linear *l, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const uint8_t *w = nb_tensor_row(l->w, l->first_row + r);
        for (size_t t = 0; t < l->n_tokens; t++)
            linear_y(l, t)[r] =
                l->w->type->dot(l->kernels, w, l->x + linear_x_row(l, t) * l->k, l->k);
    }
}

/* n tokens from t on, side by side: where they lie, or gathered in pad. */
static const float *tokens_from(const struct nb_linear *l, size_t t, size_t n, float *pad)
{
    if (!l->pick)
        return l->x + t * l->k;
    for (size_t i = 0; i < n; i++)
        memcpy(pad + i * l->k, l->x + linear_x_row(l, t + i) * l->k, l->k * sizeof *pad);
    return pad;
}

static void many(const struct nb_linear *l, size_t begin, size_t end, void *scratch)
{
    const size_t k = l->k, rows = decoded_rows(l), block = block_tokens(k);
    uint8_t *at = scratch;
    float *w = op_take(&at, rows * k, sizeof *w);
    float *x_pad = op_take(&at, l->pick ? block * k : 0, sizeof *x_pad), *y_pad = (void *)at;
    for (size_t r = begin; r < end; r += rows) {
        const size_t n = NB_MIN(rows, end - r);
        nb_tensor_decode(l->w, l->first_row + r, n, w);
        for (size_t t = 0; t < l->n_tokens; t += block) {
            const size_t cols = NB_MIN(block, l->n_tokens - t);
            const float *x = tokens_from(l, t, cols, x_pad);
            l->kernels->gemm_f32_f32_f32(l->pick ? y_pad : linear_y(l, t) + r,
                                         l->pick ? n : l->y_stride, w, n, x, k, cols, k);
            if (l->pick)
                linear_scatter(l, t, cols, y_pad, n, r, n);
        }
    }
}

static void rows(const struct nb_linear *l, size_t begin, size_t end, void *scratch)
{
    if (can_dot(l))
        few(l, begin, end);
    else
        many(l, begin, end, scratch);
    linear_add_bias(l, begin, end);
}

static size_t grain(const struct nb_linear *l)
{
    const size_t n = CHUNK_WEIGHTS / l->k / ROWS * ROWS;
    return n ? n : ROWS;
}

const struct nb_linear_way nb_linear_floats = {scratch_bytes, grain, rows};
