/* op/linear_block.c: linear layers whose weights are integer blocks, times quantized activations.
 *
 * Few tokens: the format's fused product on the stored blocks, token by token over a chunk of rows that
 * stays in cache. Many: 8 rows at a time are expanded into a packed tile (kernels/kernels.h), which then
 * meets all tokens. Both add up in the same order.
 */
#include "op/linear.h"

/* From so many tokens on, expanding a tile costs less than decoding its blocks again for each token. */
#define MANY_TOKENS   8U
#define CHUNK_WEIGHTS 262144U
#define TILE_BYTES    131072U /* expanded weights that stay in the second cache ... */
#define COLUMN_BYTES  131072U /* ... together with these activations                */
#define PAD_TOKENS    64U     /* tokens at once where a tile is not full            */

struct expanded {
    int8_t *codes;              /* (tiles, k/4, 8, 4)                          */
    float *scale, *min;         /* (tiles, k/sub, 8)                           */
    int8_t *row_codes;          /* (k): one row, before it is interleaved      */
    float *row_scale, *row_min; /* (k/sub)                             */
    float *pad;                 /* (PAD_TOKENS, 8): results of a tile not full */
};

static size_t tiles_per_chunk(size_t k)
{
    const size_t n = TILE_BYTES / (NB_TILE_ROWS * k);
    return n < 1 ? 1 : n > 8 ? 8 : n;
}

bool nb_linear_block_scratch(const struct nb_op_call *c, size_t *bytes)
{
    const uint64_t k = c->in[LINEAR_W]->cols;
    const uint64_t subs = k / c->in[LINEAR_W]->tensor->type->expand_sub;
    const uint64_t rows = tiles_per_chunk((size_t)k) * NB_TILE_ROWS;
    uint64_t codes, params;
    *bytes = 0;
    return nb_mul_u64(&codes, rows, k) && nb_mul_u64(&params, rows, subs) &&
           op_add_bytes(bytes, codes, 1) && op_add_bytes(bytes, params, sizeof(float)) &&
           op_add_bytes(bytes, params, sizeof(float)) && op_add_bytes(bytes, k, 1) &&
           op_add_bytes(bytes, subs, sizeof(float)) && op_add_bytes(bytes, subs, sizeof(float)) &&
           op_add_bytes(bytes, PAD_TOKENS * NB_TILE_ROWS, sizeof(float));
}

static struct expanded lay_out(void *scratch, size_t k, size_t sub)
{
    struct expanded e;
    uint8_t *at = scratch;
    const size_t rows = tiles_per_chunk(k) * NB_TILE_ROWS, subs = k / sub;
    e.codes = op_take(&at, rows * k, 1);
    e.scale = op_take(&at, rows * subs, sizeof(float));
    e.min = op_take(&at, rows * subs, sizeof(float));
    e.row_codes = op_take(&at, k, 1);
    e.row_scale = op_take(&at, subs, sizeof(float));
    e.row_min = op_take(&at, subs, sizeof(float));
    e.pad = op_take(&at, PAD_TOKENS * NB_TILE_ROWS, sizeof(float));
    return e;
}

/* Rows first .. first + n - 1 (n <= 8) into tile number `tile`; absent rows are zero. */
static void expand_tile(const struct nb_op_call *c, const struct expanded *e, size_t tile,
                        size_t first, size_t n)
{
    const struct nb_numfmt *type = c->in[LINEAR_W]->tensor->type;
    const size_t k = c->in[LINEAR_W]->cols, subs = k / type->expand_sub;
    int8_t *codes = e->codes + tile * NB_TILE_ROWS * k;
    float *scale = e->scale + tile * NB_TILE_ROWS * subs;
    float *min = e->min + tile * NB_TILE_ROWS * subs;
    if (n < NB_TILE_ROWS) {
        memset(codes, 0, NB_TILE_ROWS * k);
        memset(scale, 0, NB_TILE_ROWS * subs * sizeof *scale);
        memset(min, 0, NB_TILE_ROWS * subs * sizeof *min);
    }
    for (size_t r = 0; r < n; r++) {
        nb_tensor_expand(c->in[LINEAR_W]->tensor, first + r, e->row_codes, e->row_scale,
                         e->row_min);
        for (size_t i = 0; i < k / 4; i++)
            memcpy(codes + (i * NB_TILE_ROWS + r) * 4, e->row_codes + 4 * i, 4);
        for (size_t s = 0; s < subs; s++)
            scale[s * NB_TILE_ROWS + r] = e->row_scale[s];
        for (size_t s = 0; type->has_min && s < subs; s++)
            min[s * NB_TILE_ROWS + r] = e->row_min[s];
    }
}

static struct nb_tile tile_view(const struct nb_op_call *c, const struct expanded *e, size_t tile)
{
    const struct nb_numfmt *type = c->in[LINEAR_W]->tensor->type;
    const size_t k = c->in[LINEAR_W]->cols, subs = k / type->expand_sub;
    struct nb_tile t = {.codes = e->codes + tile * NB_TILE_ROWS * k,
                        .scale = e->scale + tile * NB_TILE_ROWS * subs,
                        .min = type->has_min ? e->min + tile * NB_TILE_ROWS * subs : NULL,
                        .sub = type->expand_sub};
    if (type->code_min > -127) { /* a code of a whole byte may be -128 in a file of someone else */
        t.code_min = (int8_t)type->code_min;
        t.code_max = (int8_t)type->code_max;
    }
    return t;
}

/* Tokens from t on. */
static struct nb_q8 tokens_from(const struct nb_q8 *x, size_t t, size_t k)
{
    return (struct nb_q8){
        .q = x->q + t * k, .d = x->d + t * (k / NB_Q8_BLOCK), .sum16 = x->sum16 + t * (k / 16)};
}

/* A tile of n < 8 rows: through scratch. */
static void padded(const struct nb_op_call *c, const struct expanded *e, const struct nb_tile *tile,
                   size_t first, size_t n)
{
    const size_t k = c->in[LINEAR_W]->cols, n_t = c->out[0]->rows;
    const struct nb_q8 x = nb_slot_q8(c->in[LINEAR_XQ]);
    for (size_t t = 0; t < n_t; t += PAD_TOKENS) {
        const size_t cols = NB_MIN(PAD_TOKENS, n_t - t);
        const struct nb_q8 xt = tokens_from(&x, t, k);
        c->kernels->gemm_f32_tile_q8(e->pad, NB_TILE_ROWS, tile, k, &xt, cols);
        for (size_t i = 0; i < cols; i++)
            memcpy(op_row(c->out[0], t + i) + first, e->pad + i * NB_TILE_ROWS, n * sizeof(float));
    }
}

static void many(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct nb_slot *y = c->out[0];
    const size_t k = c->in[LINEAR_W]->cols, n_t = y->rows;
    const struct expanded e =
        lay_out(op_scratch(c, worker), k, c->in[LINEAR_W]->tensor->type->expand_sub);
    const struct nb_q8 x = nb_slot_q8(c->in[LINEAR_XQ]);
    const size_t full = (end - begin) / NB_TILE_ROWS, rest = (end - begin) % NB_TILE_ROWS;
    const size_t block = NB_MAX(COLUMN_BYTES / k, 16);
    for (size_t i = 0; i < full; i++)
        expand_tile(c, &e, i, begin + i * NB_TILE_ROWS, NB_TILE_ROWS);
    for (size_t t = 0; t < n_t; t += block) {
        const struct nb_q8 xt = tokens_from(&x, t, k);
        for (size_t i = 0; i < full; i++) {
            const struct nb_tile tile = tile_view(c, &e, i);
            c->kernels->gemm_f32_tile_q8(op_row(y, t) + begin + i * NB_TILE_ROWS, y->cols, &tile, k,
                                         &xt, NB_MIN(block, n_t - t));
        }
    }
    if (rest) {
        const struct nb_tile tile = tile_view(c, &e, 0);
        expand_tile(c, &e, 0, end - rest, rest);
        padded(c, &e, &tile, end - rest, rest);
    }
    linear_add_bias(c, begin, end);
}

static void few(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct nb_tensor *w = c->in[LINEAR_W]->tensor;
    const size_t k = c->in[LINEAR_W]->cols;
    nb_gemv_q_fn *gemv = w->type->gemv(c->kernels);
    const struct nb_q8 x = nb_slot_q8(c->in[LINEAR_XQ]);
    (void)worker;
    for (size_t t = 0; t < c->out[0]->rows; t++) {
        const struct nb_q8 xt = tokens_from(&x, t, k);
        gemv(op_row(c->out[0], t) + begin, linear_w_row(c, begin),
             (size_t)(w->bytes / w->shape.dim[0]), end - begin, k, &xt);
    }
    linear_add_bias(c, begin, end);
}

void nb_linear_block(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    const size_t n = c->in[LINEAR_W]->rows, k = c->in[LINEAR_W]->cols;
    if (c->out[0]->rows < MANY_TOKENS && c->in[LINEAR_W]->tensor->type->gemv) {
        const size_t rows = CHUNK_WEIGHTS / k / NB_TILE_ROWS * NB_TILE_ROWS;
        nb_pool_for(c->pool, n, NB_MAX(rows, NB_TILE_ROWS), few, &call);
    } else {
        nb_pool_for(c->pool, n, tiles_per_chunk(k) * NB_TILE_ROWS, many, &call);
    }
}
