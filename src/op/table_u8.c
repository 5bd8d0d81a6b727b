/* op/table_u8.c: a function of bytes as a table: activations of quantized arrays, a change of their scale, of their sign.
 *
 * x (U8 or I8), table (U8 or I8; 256) -> y (the table's type): table[x], x counted by its bits, 0 .. 255.
 */
#include "op/op.h"
#include "op/op_internal.h"

static bool is_byte(const struct nb_value *v)
{
    return v->type == NB_VALUE_U8 || v->type == NB_VALUE_I8;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *table = op_value(g, n->in[1]);
    if (!is_byte(x) || !is_byte(table) || nb_value_count(table) != 256)
        return nb_graph_refuse(g, n, "bytes and a table of 256 expected");
    op_copy_dims(out, x, table->type);
    return true;
}

static void piece(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const uint8_t *x = c->in[0]->data;
    uint8_t *y = c->out[0]->data;
    (void)worker;
    c->kernels->table_u8_u8(y + begin, x + begin, end - begin, c->in[1]->data);
}

static void run(const struct nb_op_call *c)
{
    nb_pool_for(c->pool, (size_t)nb_value_count(c->out[0]->value), OP_CHUNK_ELEMENTS, piece,
                (void *)(uintptr_t)c);
}

const struct nb_op nb_op_table_u8 = {
    .name = "table_u8",
    .n_in_min = 2,
    .n_in = 2,
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
