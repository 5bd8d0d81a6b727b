/* net/rules_nbits.c: MatMulNBits of domain com.microsoft: products with weights of 8, 4 or 2 bits in blocks (ONNX Runtime,
 * docs/ContribOperators.md; ptq/nbits.c writes them).
 *
 * The weights become floats when the net is opened: graphs of files have no quantized constants. Not: g_idx, which ONNX
 * Runtime has deprecated; weights that data make.
 */
#include "net/net_internal.h"

/* The operator's attributes and constants. Borrows: all. */
struct nbits {
    uint64_t n, k, blocks;
    uint32_t bits, block;
    const uint8_t *codes;
    const float *scales;
    const uint8_t *zeros;    /* NULL: none, or ... */
    const float *real_zeros; /* ... these          */
};

/* Constant input i of so many elements of a type; absent and not needed: NULL. */
static enum nb_status constant(const struct nb_net_node *n, size_t i, enum nb_value_type type,
                               uint64_t count, const char *what, const void **out,
                               struct nb_error *err)
{
    const struct nb_value *v = nb_net_in(n, i);
    *out = NULL;
    if (v == NULL)
        return NB_OK;
    if (v->kind != NB_VALUE_CONST)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s depend on data", what);
    if (v->type != type || nb_value_count(v) != count)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: %llu elements, expected %llu of their type", what,
                (unsigned long long)nb_value_count(v), (unsigned long long)count);
    *out = v->data;
    return NB_OK;
}

static enum nb_status read_sizes(struct nb_net_node *n, struct nbits *w, struct nb_error *err)
{
    const int64_t k = nb_net_int(n, "K", 0), rows = nb_net_int(n, "N", 0);
    const int64_t bits = nb_net_int(n, "bits", 4), block = nb_net_int(n, "block_size", 0);
    if (bits != 2 && bits != 4 && bits != 8)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "weights of %lld bits; expected 2, 4 or 8",
                (long long)bits);
    if (k < 1 || rows < 1 || k > INT32_MAX || rows > INT32_MAX || block < 16 || block > 1 << 16 ||
        (block & (block - 1)) != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "K %lld, N %lld, blocks of %lld", (long long)k, (long long)rows,
                (long long)block);
    w->k = (uint64_t)k;
    w->n = (uint64_t)rows;
    w->bits = (uint32_t)bits;
    w->block = (uint32_t)block;
    w->blocks = (w->k + w->block - 1) / w->block;
    return NB_OK;
}

static enum nb_status read_weights(struct nb_net_node *n, struct nbits *w, struct nb_error *err)
{
    const void *codes, *scales, *zeros;
    NB_TRY(nb_net_need(n, 3, err));
    NB_TRY(read_sizes(n, w, err));
    if (nb_net_in(n, 4) != NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "g_idx, an order of columns");
    const struct nb_value *z = nb_net_in(n, 3);
    const bool real = z != NULL && z->type == NB_VALUE_F32;
    const uint64_t row = (uint64_t)w->block * w->bits / 8 * w->blocks;
    const uint64_t packed = w->n * ((w->blocks * w->bits + 7) / 8);
    NB_TRY(constant(n, 1, NB_VALUE_U8, w->n * row, "weights", &codes, err));
    NB_TRY(constant(n, 2, NB_VALUE_F32, w->n * w->blocks, "scales", &scales, err));
    NB_TRY(constant(n, 3, real ? NB_VALUE_F32 : NB_VALUE_U8, real ? w->n * w->blocks : packed,
                    "zero points", &zeros, err));
    w->codes = codes;
    w->scales = scales;
    if (real)
        w->real_zeros = zeros;
    else
        w->zeros = zeros;
    return NB_OK;
}

/* Number i of codes in the low bits first. */
static float code(const uint8_t *data, uint64_t i, uint32_t bits)
{
    const uint32_t per = 8 / bits;
    return (float)(data[i / per] >> (i % per * bits) & ((1U << bits) - 1));
}

static float zero_of(const struct nbits *w, uint64_t row, uint64_t block)
{
    if (w->real_zeros != NULL)
        return w->real_zeros[row * w->blocks + block];
    if (w->zeros == NULL)
        return (float)(1U << (w->bits - 1));
    return code(w->zeros + row * ((w->blocks * w->bits + 7) / 8), block, w->bits);
}

/* (n, k) floats: (code - zero) * scale. */
static void decode(const struct nbits *w, float *to)
{
    const uint64_t row_bytes = (uint64_t)w->block * w->bits / 8 * w->blocks;
    for (uint64_t i = 0; i < w->n; i++)
        for (uint64_t b = 0, j = 0; b < w->blocks; b++) {
            const float scale = w->scales[i * w->blocks + b], zero = zero_of(w, i, b);
            for (; j < NB_MIN((b + 1) * w->block, w->k); j++)
                to[i * w->k + j] = (code(w->codes + i * row_bytes, j, w->bits) - zero) * scale;
        }
}

enum nb_status nb_net_rule_matmul_nbits(struct nb_net_node *n, struct nb_error *err)
{
    struct nbits w = {.n = 0};
    NB_TRY(read_weights(n, &w, err));
    const struct nb_value x = *nb_net_in(n, 0);
    if (x.rank < 1 || x.dim[x.rank - 1].n != w.k)
        NB_FAIL(err, NB_ERR_FORMAT, "input 0 does not have %llu columns", (unsigned long long)w.k);
    float *all = nb_arena_alloc(&n->g->arena, (size_t)w.n, (size_t)w.k * sizeof *all);
    if (all == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu weights",
                (unsigned long long)(w.n * w.k));
    decode(&w, all);
    const uint64_t dims[] = {w.n, w.k};
    const uint32_t weights = nb_graph_const(n->g, NULL, NB_VALUE_F32, dims, 2, all);
    const int64_t rows[] = {(int64_t)(nb_value_count(&x) / w.k), (int64_t)w.k};
    const uint32_t flat = x.rank == 2 ? n->in[0] : nb_net_reshape(n, n->in[0], rows, 2);
    const struct nb_attr attrs[] = {NB_ATTR_INT("trans_a", 0), NB_ATTR_INT("trans_b", 1),
                                    NB_ATTR_REAL("alpha", 1.0), NB_ATTR_REAL("beta", 1.0)};
    const uint32_t bias = n->n_in > 5 ? n->in[5] : 0;
    const uint32_t y = nb_net_add(n, &(struct nb_node_args){.op = &nb_op_matmul,
                                                            .in = {flat, weights, bias},
                                                            .attrs = attrs,
                                                            .n_attrs = NB_COUNTOF(attrs)});
    int64_t out[NB_VALUE_DIMS];
    for (uint32_t i = 0; i < x.rank; i++)
        out[i] = i + 1 < x.rank ? (int64_t)x.dim[i].n : (int64_t)w.n;
    return nb_net_out(n, 0, x.rank == 2 || y == 0 ? y : nb_net_reshape(n, y, out, x.rank), err);
}
