/* ptq/nbits_qdq.c: a weight in few bits as ONNX itself has it (operator set 21): codes and a DequantizeLinear with a scale for
 * each block of inputs, before the product that was there. Engines join the two, as ONNX Runtime does to MatMulNBits.
 *
 *     W       (K, N), codes of 4 or 8 bits; signed ones around 0 without zero points, else unsigned
 *     scales  float (blocks of K, N); zeros: likewise, of W's type. Signed bytes have zeros of 0: ONNX Runtime 1.32, asked to
 *             multiply exactly on x86 without VNNI (session.x64quantprecision), else makes bytes of them with one zero point
 *
 * Not: zero points in floating point.
 */
#include "net/net.h"
#include "ptq/ptq_internal.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize weights");
}

/* Code i of a row that begins on a byte. */
static int32_t code(const uint8_t *row, size_t i, unsigned bits)
{
    return bits == 8 ? row[i] : row[i / 2] >> (i % 2 * 4) & 15;
}

/* Rows (n, cols) of codes, less `middle`, stored as columns; NULL: no memory. */
static const void *turn(struct nb_edit *e, const uint8_t *rows, size_t row_bytes, size_t n,
                        size_t cols, const struct nb_nbits *q, int32_t type, int32_t middle)
{
    int32_t *all = nb_arena_alloc(&e->arena, n * cols + 1, sizeof *all);
    for (size_t i = 0; i < n && all != NULL; i++)
        for (size_t j = 0; j < cols; j++)
            all[j * n + i] = code(rows + i * row_bytes, j, q->bits) - middle;
    return all != NULL ? nb_ptq_store(e, type, all, n * cols) : NULL;
}

static enum nb_status put(struct nb_edit *e, const char *name, int32_t type, size_t rows, size_t n,
                          const void *data, struct nb_error *err)
{
    int64_t *dims = nb_arena_alloc(&e->arena, 2, sizeof *dims);
    if (dims == NULL || data == NULL)
        return no_memory(err);
    dims[0] = (int64_t)rows;
    dims[1] = (int64_t)n;
    return nb_edit_put(e, name, type, dims, 2, data, err);
}

enum nb_status nb_nbits_dequantize(struct nb_edit *e, const struct nb_product *p,
                                   const struct nb_nbits *q, const char **out, struct nb_error *err)
{
    const size_t n = (size_t)p->n, k = (size_t)p->k, blocks = (size_t)q->blocks;
    const bool zeros = q->zeros != NULL, four = q->bits == 4, third = zeros || !four;
    const int32_t type =
        zeros ? (four ? NB_ONNX_UINT4 : NB_ONNX_UINT8) : (four ? NB_ONNX_INT4 : NB_ONNX_INT8);
    /* one block is as long as it has inputs: OpenVINO 2026.4 wants them to fill it */
    const int64_t block = blocks == 1 ? (int64_t)k : (int64_t)q->block;
    float *scales = nb_arena_alloc(&e->arena, n * blocks, sizeof *scales);
    const struct nb_onnx_attr attrs[] = {
        {.name = "axis", .type = NB_ONNX_ATTR_INT, .i = 0},
        {.name = "block_size", .type = NB_ONNX_ATTR_INT, .i = block}};
    const char *in[] = {nb_edit_name(e, p->w.name, four ? "_q4" : "_q8"),
                        nb_edit_name(e, p->w.name, "_scales"),
                        third ? nb_edit_name(e, p->w.name, "_zeros") : NULL};
    *out = nb_edit_name(e, p->w.name, "_dq");
    if (q->real_zeros != NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "DequantizeLinear has no zero points in floating point; MatMulNBits has");
    if (scales == NULL || *out == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < blocks; b++)
            scales[b * n + i] = q->scales[i * blocks + b];
    NB_TRY(put(e, in[0], type, k, n,
               turn(e, q->codes, blocks * q->block * q->bits / 8, n, k, q, type,
                    zeros ? 0 : 1 << (q->bits - 1)),
               err));
    NB_TRY(put(e, in[1], NB_ONNX_FLOAT32, blocks, n, scales, err));
    const void *at = zeros ? turn(e, q->zeros, (blocks * q->bits + 7) / 8, n, blocks, q, type, 0)
                           : nb_arena_alloc(&e->arena, n * blocks, 1);
    if (third)
        NB_TRY(put(e, in[2], type, blocks, n, at, err));
    const struct nb_onnx_node node = {.op_type = "DequantizeLinear",
                                      .inputs = in,
                                      .n_inputs = third ? 3 : 2,
                                      .outputs = out,
                                      .n_outputs = 1,
                                      .attrs = attrs,
                                      .n_attrs = NB_COUNTOF(attrs)};
    return nb_edit_put_node(e, &node, "_dequantize", err);
}
