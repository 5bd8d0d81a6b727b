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

static size_t decoded_rows(const struct nb_op_call *c)
{
    return c->in[LINEAR_W]->rows < ROWS ? (size_t)c->in[LINEAR_W]->rows : ROWS;
}

bool nb_linear_float_scratch(const struct nb_op_call *c, size_t *bytes)
{
    uint64_t n;
    *bytes = 0;
    return nb_mul_u64(&n, decoded_rows(c), c->in[LINEAR_W]->cols) &&
           op_add_bytes(bytes, n, sizeof(float));
}

/* Kernels of f16, bf16 and f32 read whole elements: a file may start a tensor at any byte. */
static bool can_dot(const struct nb_op_call *c)
{
    const struct nb_numfmt *type = c->in[LINEAR_W]->tensor->type;
    return type->dot && c->out[0]->rows <= FEW_TOKENS &&
           (uintptr_t)c->in[LINEAR_W]->tensor->data % type->block_bytes == 0;
}

static void few(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct nb_numfmt *type = c->in[LINEAR_W]->tensor->type;
    const size_t k = c->in[LINEAR_W]->cols;
    (void)worker;
    for (size_t r = begin; r < end; r++)
        for (size_t t = 0; t < c->out[0]->rows; t++)
            op_row(c->out[0], t)[r] =
                type->dot(c->kernels, linear_w_row(c, r), op_row(c->in[LINEAR_X], t), k);
    linear_add_bias(c, begin, end);
}

static void many(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct nb_slot *x = c->in[LINEAR_X], *y = c->out[0];
    const size_t k = x->cols, n_t = y->rows, rows = decoded_rows(c);
    size_t block = COLUMN_BYTES / (k * sizeof(float)) / COLUMN_STEP * COLUMN_STEP;
    block = block ? block : COLUMN_STEP;
    float *w = op_scratch(c, worker);
    for (size_t r = begin; r < end; r += rows) {
        const size_t n = NB_MIN(rows, end - r);
        nb_tensor_decode(c->in[LINEAR_W]->tensor, r, n, w);
        for (size_t t = 0; t < n_t; t += block)
            c->kernels->gemm_f32_f32_f32(op_row(y, t) + r, y->cols, w, n, op_row(x, t), k,
                                         NB_MIN(block, n_t - t), k);
    }
    linear_add_bias(c, begin, end);
}

void nb_linear_float(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    const size_t n = c->in[LINEAR_W]->rows, k = c->in[LINEAR_W]->cols;
    size_t grain = CHUNK_WEIGHTS / k / ROWS * ROWS;
    grain = grain ? grain : ROWS;
    nb_pool_for(c->pool, n, grain, can_dot(c) ? few : many, &call);
}
