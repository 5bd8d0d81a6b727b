/* op/add_u8.c: the sum of two quantized arrays of the same dimensions (DequantizeLinear, Add, QuantizeLinear of ONNX, with
 * their bits).
 *
 * a, b (U8) -> y (U8): round((a - zero_a) * scale_a + (b - zero_b) * scale_b) / scale_y) + zero_y, cut to low .. high, which
 * an activation may narrow. attrs scale_a, scale_b, scale_y, zero_a, zero_b, zero_y, low, high.
 */
#include "op/op.h"
#include "op/op_internal.h"

enum { SCALE_A, SCALE_B, SCALE_Y, ZERO_A, ZERO_B, ZERO_Y, LOW, HIGH };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    if (a->type != NB_VALUE_U8 || b->type != NB_VALUE_U8 || !nb_value_same_dims(a, b))
        return nb_graph_refuse(g, n, "uint8 arrays of the same dimensions expected");
    if (!op_bytes(g, n, &n->attr[ZERO_A], HIGH - ZERO_A + 1))
        return false;
    op_copy_dims(out, a, NB_VALUE_U8);
    return true;
}

static void piece(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct nb_attr *attr = c->node->attr;
    const struct nb_add_u8 s = {.y = (uint8_t *)c->out[0]->data + begin,
                                .a = (const uint8_t *)c->in[0]->data + begin,
                                .b = (const uint8_t *)c->in[1]->data + begin,
                                .n = end - begin,
                                .za = (int32_t)attr[ZERO_A].i,
                                .zb = (int32_t)attr[ZERO_B].i,
                                .zy = (int32_t)attr[ZERO_Y].i,
                                .low = (int32_t)attr[LOW].i,
                                .high = (int32_t)attr[HIGH].i,
                                .sa = (float)attr[SCALE_A].f,
                                .sb = (float)attr[SCALE_B].f,
                                .sy = (float)attr[SCALE_Y].f};
    (void)worker;
    c->kernels->add_u8_u8(&s);
}

static void run(const struct nb_op_call *c)
{
    nb_pool_for(c->pool, (size_t)nb_value_count(c->out[0]->value), OP_CHUNK_ELEMENTS, piece,
                (void *)(uintptr_t)c);
}

const struct nb_op nb_op_add_u8 = {
    .name = "add_u8",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {"scale_a", "scale_b", "scale_y", "zero_a", "zero_b", "zero_y", "low", "high"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
