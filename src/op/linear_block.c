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
    int8_t *codes;              /* (tiles, k/4, 8, 4)                                  */
    float *scale, *min;         /* (tiles, k/sub, 8)                                   */
    int8_t *row_codes;          /* (k): one row, before it is interleaved              */
    float *row_scale, *row_min; /* (k/sub)                                             */
    float *pad;                 /* (PAD_TOKENS, 8 or all rows): results to be put away */
    int8_t *q;                  /* of picked tokens, (PAD_TOKENS, k), and their ...    */
    float *d;                   /* (PAD_TOKENS, k/32)                                  */
    int16_t *sum16;             /* (PAD_TOKENS, k/16)                                  */
};

static size_t tiles_per_chunk(size_t k)
{
    const size_t n = TILE_BYTES / (NB_TILE_ROWS * k);
    return n < 1 ? 1 : n > 8 ? 8 : n;
}

/* Tokens gathered at once. */
static size_t pick_tokens(size_t k)
{
    const size_t n = COLUMN_BYTES / k;
    return n < 16 ? 16 : n > PAD_TOKENS ? PAD_TOKENS : n;
}

static bool scratch_bytes(const struct nb_linear *l, bool pick, size_t *bytes)
{
    const uint64_t k = l->k, subs = k / l->w->type->expand_sub;
    const uint64_t rows = tiles_per_chunk(l->k) * NB_TILE_ROWS;
    const uint64_t n = pick ? pick_tokens(l->k) : 0;
    uint64_t codes, params, q;
    *bytes = 0;
    return nb_mul_u64(&codes, rows, k) && nb_mul_u64(&params, rows, subs) && nb_mul_u64(&q, n, k) &&
           op_add_bytes(bytes, codes, 1) && op_add_bytes(bytes, params, sizeof(float)) &&
           op_add_bytes(bytes, params, sizeof(float)) && op_add_bytes(bytes, k, 1) &&
           op_add_bytes(bytes, subs, sizeof(float)) && op_add_bytes(bytes, subs, sizeof(float)) &&
           op_add_bytes(bytes, PAD_TOKENS * (pick ? rows : NB_TILE_ROWS), sizeof(float)) &&
           op_add_bytes(bytes, q, 1) && op_add_bytes(bytes, q / NB_Q8_BLOCK, sizeof(float)) &&
           op_add_bytes(bytes, q / 16, sizeof(int16_t));
}

static struct expanded lay_out(const struct nb_linear *l, void *scratch)
{
    struct expanded e;
    uint8_t *at = scratch;
    const size_t k = l->k, rows = tiles_per_chunk(k) * NB_TILE_ROWS;
    const size_t subs = k / l->w->type->expand_sub, q = l->pick ? pick_tokens(k) * k : 0;
    e.codes = op_take(&at, rows * k, 1);
    e.scale = op_take(&at, rows * subs, sizeof(float));
    e.min = op_take(&at, rows * subs, sizeof(float));
    e.row_codes = op_take(&at, k, 1);
    e.row_scale = op_take(&at, subs, sizeof(float));
    e.row_min = op_take(&at, subs, sizeof(float));
    e.pad = op_take(&at, PAD_TOKENS * (l->pick ? rows : NB_TILE_ROWS), sizeof(float));
    e.q = op_take(&at, q, 1);
    e.d = op_take(&at, q / NB_Q8_BLOCK, sizeof(float));
    e.sum16 = op_take(&at, q / 16, sizeof(int16_t));
    return e;
}

/* Rows first .. first + n - 1 (n <= 8) into tile number `tile`; absent rows are zero. */
static void expand_tile(const struct nb_linear *l, const struct expanded *e, size_t tile,
                        size_t first, size_t n)
{
    const struct nb_numfmt *type = l->w->type;
    const size_t k = l->k, subs = k / type->expand_sub;
    int8_t *codes = e->codes + tile * NB_TILE_ROWS * k;
    float *scale = e->scale + tile * NB_TILE_ROWS * subs;
    float *min = e->min + tile * NB_TILE_ROWS * subs;
    if (n < NB_TILE_ROWS) {
        memset(codes, 0, NB_TILE_ROWS * k);
        memset(scale, 0, NB_TILE_ROWS * subs * sizeof *scale);
        memset(min, 0, NB_TILE_ROWS * subs * sizeof *min);
    }
    for (size_t r = 0; r < n; r++) {
        nb_tensor_expand(l->w, l->first_row + first + r, e->row_codes, e->row_scale, e->row_min);
        for (size_t i = 0; i < k / 4; i++)
            memcpy(codes + (i * NB_TILE_ROWS + r) * 4, e->row_codes + 4 * i, 4);
        for (size_t s = 0; s < subs; s++)
            scale[s * NB_TILE_ROWS + r] = e->row_scale[s];
        for (size_t s = 0; type->has_min && s < subs; s++)
            min[s * NB_TILE_ROWS + r] = e->row_min[s];
    }
}

static struct nb_tile tile_view(const struct nb_linear *l, const struct expanded *e, size_t tile)
{
    const struct nb_numfmt *type = l->w->type;
    const size_t k = l->k, subs = k / type->expand_sub;
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

/* Row r of the activations and what follows. */
static struct nb_q8 rows_from(const struct nb_q8 *x, size_t r, size_t k)
{
    return (struct nb_q8){
        .q = x->q + r * k, .d = x->d + r * (k / NB_Q8_BLOCK), .sum16 = x->sum16 + r * (k / 16)};
}

/* n tokens from t on, side by side. */
static struct nb_q8 tokens_from(const struct nb_linear *l, const struct expanded *e, size_t t,
                                size_t n)
{
    const size_t k = l->k;
    if (!l->pick)
        return rows_from(&l->xq, t, k);
    for (size_t i = 0; i < n; i++) {
        const struct nb_q8 x = rows_from(&l->xq, linear_x_row(l, t + i), k);
        memcpy(e->q + i * k, x.q, k);
        memcpy(e->d + i * (k / NB_Q8_BLOCK), x.d, k / NB_Q8_BLOCK * sizeof *x.d);
        memcpy(e->sum16 + i * (k / 16), x.sum16, k / 16 * sizeof *x.sum16);
    }
    return (struct nb_q8){.q = e->q, .d = e->d, .sum16 = e->sum16};
}

/* A tile of n < 8 rows: through scratch. */
static void padded(const struct nb_linear *l, const struct expanded *e, const struct nb_tile *tile,
                   size_t first, size_t n)
{
    const size_t block = l->pick ? pick_tokens(l->k) : PAD_TOKENS;
    for (size_t t = 0; t < l->n_tokens; t += block) {
        const size_t cols = NB_MIN(block, l->n_tokens - t);
        const struct nb_q8 xt = tokens_from(l, e, t, cols);
        l->kernels->gemm_f32_tile_q8(e->pad, NB_TILE_ROWS, tile, l->k, &xt, cols);
        linear_scatter(l, t, cols, e->pad, NB_TILE_ROWS, first, n);
    }
}

/* n_tiles expanded tiles, the rows from `first` on, times all tokens. */
static void multiply_tiles(const struct nb_linear *l, const struct expanded *e, size_t first,
                           size_t n_tiles)
{
    const size_t rows = n_tiles * NB_TILE_ROWS;
    const size_t block = l->pick ? pick_tokens(l->k) : NB_MAX(COLUMN_BYTES / l->k, 16);
    for (size_t t = 0; n_tiles > 0 && t < l->n_tokens; t += block) {
        const size_t cols = NB_MIN(block, l->n_tokens - t);
        const struct nb_q8 xt = tokens_from(l, e, t, cols);
        float *y = l->pick ? e->pad : linear_y(l, t) + first;
        for (size_t i = 0; i < n_tiles; i++) {
            const struct nb_tile tile = tile_view(l, e, i);
            l->kernels->gemm_f32_tile_q8(y + i * NB_TILE_ROWS, l->pick ? rows : l->y_stride, &tile,
                                         l->k, &xt, cols);
        }
        if (l->pick)
            linear_scatter(l, t, cols, e->pad, rows, first, rows);
    }
}

static void many(const struct nb_linear *l, size_t begin, size_t end, void *scratch)
{
    const struct expanded e = lay_out(l, scratch);
    const size_t full = (end - begin) / NB_TILE_ROWS, rest = (end - begin) % NB_TILE_ROWS;
    for (size_t i = 0; i < full; i++)
        expand_tile(l, &e, i, begin + i * NB_TILE_ROWS, NB_TILE_ROWS);
    multiply_tiles(l, &e, begin, full);
    if (rest) {
        const struct nb_tile tile = tile_view(l, &e, 0);
        expand_tile(l, &e, 0, end - rest, rest);
        padded(l, &e, &tile, end - rest, rest);
    }
}

/* The stored rows of one matrix lie back to back. */
static void few(const struct nb_linear *l, size_t begin, size_t end)
{
    const struct nb_numfmt *type = l->w->type;
    const size_t row_bytes = l->k / type->block * type->block_bytes;
    nb_gemv_q_fn *gemv = type->gemv(l->kernels);
    for (size_t t = 0; t < l->n_tokens; t++) {
        const struct nb_q8 x = rows_from(&l->xq, linear_x_row(l, t), l->k);
        gemv(linear_y(l, t) + begin, nb_tensor_row(l->w, l->first_row + begin), row_bytes,
             end - begin, l->k, &x);
    }
}

static bool has_few(const struct nb_linear *l)
{
    return l->n_tokens < MANY_TOKENS && l->w->type->gemv;
}

static void rows(const struct nb_linear *l, size_t begin, size_t end, void *scratch)
{
    if (has_few(l))
        few(l, begin, end);
    else
        many(l, begin, end, scratch);
    linear_add_bias(l, begin, end);
}

/* Picked tokens: the matrices of a call differ in how many come to them, but are cut alike. */
static size_t grain(const struct nb_linear *l)
{
    const size_t n = CHUNK_WEIGHTS / l->k / NB_TILE_ROWS * NB_TILE_ROWS;
    if (!l->pick && has_few(l))
        return NB_MAX(n, NB_TILE_ROWS);
    return tiles_per_chunk(l->k) * NB_TILE_ROWS;
}

const struct nb_linear_way nb_linear_integers = {
    .scratch_bytes = scratch_bytes, .grain = grain, .rows = rows};
