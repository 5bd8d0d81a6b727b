/* net/pass_integer.c: what stands between DequantizeLinear and QuantizeLinear is computed in integers.
 *
 * Files say what an integer net computes in floats (QDQ): numbers are brought to floats, a layer, back to a grid. From
 * each QuantizeLinear this pass looks back: where all that leads to it comes from bytes on grids known by now, it is
 * made of bytes:
 *
 *     convolutions, products with constant weights, their bias, Relu and Clip     conv_u8 (pass_integer_layers.c)
 *     a sum or a product of two arrays, which may broadcast                       binary_u8
 *     means over space without pads                                               mean_u8
 *     any function of one number, another grid                                    table_u8
 *     what only moves elements, or takes the largest                              the operator itself, on bytes
 *
 * The results are those of the file's floats, but for roundings of the sums (a code more or less, where a sum falls
 * between two); sums, activations that cut, moves and tables are the same bits. Signed numbers are held as uint8, plus
 * 128, with their zero points; the file's own stand where they leave the net. What is left over runs in floats.
 * Left out: grids of several scales for activations, 16 bits, products of two activations.
 */
#include "net/pass_integer.h"

#include <math.h>
#include <string.h>

#define DEEPEST     64                /* moves and functions in a row */
#define MOST_PLACES (INT32_MAX / 255) /* whose sum fits               */

struct state {
    struct nb_bytes *bytes; /* (from->n_values) found so far, of codes and of floats made of them */
    unsigned depth;
};

static struct nb_bytes *known(const struct nb_rewrite *r, uint32_t value)
{
    return &((const struct state *)r->pass)->bytes[value];
}

const struct nb_node *nb_maker(const struct nb_rewrite *r, uint32_t value)
{
    const uint32_t p = value ? nb_rewrite_old(r, value)->producer : 0;
    return p ? &r->from->nodes[p - 1] : NULL;
}

static bool is_op(const struct nb_node *n, const struct nb_op *op)
{
    return n != NULL && n->op == op;
}

static int64_t int_of(const struct nb_node *n, const char *attr)
{
    return nb_node_attr(n, attr)->i;
}

/* ---- grids ---- */

/* Of a node that quantizes or dequantizes arrays of `type`. false: several scales, not known, not bytes. */
static bool grid_of(const struct nb_rewrite *r, const struct nb_node *n, enum nb_value_type type,
                    struct nb_byte_grid *g)
{
    const struct nb_value *scale = nb_rewrite_old(r, n->in[1]),
                          *zero = n->in[2] ? nb_rewrite_old(r, n->in[2]) : NULL;
    const bool narrow = n->op == &nb_op_quantize_linear;
    const int32_t shift = type == NB_VALUE_I8 ? 128 : 0;
    if ((type != NB_VALUE_U8 && type != NB_VALUE_I8) || int_of(n, "block") != 0 ||
        scale->kind != NB_VALUE_CONST || nb_value_count(scale) != 1 ||
        (zero && !nb_value_is_const(zero, type)))
        return false;
    *g = (struct nb_byte_grid){
        .scale = *(const float *)scale->data,
        .zero = shift,
        .low = narrow ? (int32_t)int_of(n, "low") + shift : 0,
        .high = narrow ? (int32_t)int_of(n, "high") + shift : 255,
    };
    if (zero)
        g->zero += shift ? *(const int8_t *)zero->data : *(const uint8_t *)zero->data;
    return isfinite(g->scale) && g->scale > 0.0F;
}

static bool same_grid(const struct nb_byte_grid *a, const struct nb_byte_grid *b)
{
    return a->scale == b->scale && a->zero == b->zero && b->low == 0 && b->high == 255;
}

/* The code of x: what QuantizeLinear makes of it, within the grid's bounds. */
static int32_t code_of(const struct nb_byte_grid *g, double x)
{
    const float v = (float)x / g->scale, zero = (float)g->zero;
    const float cut = NB_MIN(NB_MAX(v, (float)g->low - zero), (float)g->high - zero);
    return (int32_t)rintf(cut) + g->zero;
}

/* ---- tables: computed by the operators themselves, which fold ---- */

static uint32_t scalar(struct nb_rewrite *r, enum nb_value_type type, float value)
{
    void *data;
    const uint32_t v = nb_rewrite_const(r, NULL, type, NULL, 0, &data);
    if (v != 0 && type == NB_VALUE_F32)
        *(float *)data = value;
    else if (v != 0)
        *(uint8_t *)data = (uint8_t)value;
    return v;
}

static uint32_t quantize(struct nb_rewrite *r, uint32_t x, const struct nb_byte_grid *g)
{
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("type", NB_VALUE_U8), NB_ATTR_INT("low", g->low), NB_ATTR_INT("high", g->high),
        NB_ATTR_INT("axis", 0),           NB_ATTR_INT("block", 0),    NB_ATTR_INT("multiply", 0),
    };
    return nb_rewrite_add(r, &(struct nb_node_args){.op = &nb_op_quantize_linear,
                                                    .in = {x, scalar(r, NB_VALUE_F32, g->scale),
                                                           scalar(r, NB_VALUE_U8, (float)g->zero)},
                                                    .attrs = attrs,
                                                    .n_attrs = NB_COUNTOF(attrs)});
}

static uint32_t dequantize(struct nb_rewrite *r, uint32_t x, const struct nb_byte_grid *g)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", 0), NB_ATTR_INT("block", 0)};
    return nb_rewrite_add(r, &(struct nb_node_args){.op = &nb_op_dequantize_linear,
                                                    .in = {x, scalar(r, NB_VALUE_F32, g->scale),
                                                           scalar(r, NB_VALUE_U8, (float)g->zero)},
                                                    .attrs = attrs,
                                                    .n_attrs = NB_COUNTOF(attrs)});
}

static uint32_t table_node(struct nb_rewrite *r, uint32_t x, uint32_t table)
{
    return nb_rewrite_add(r, &(struct nb_node_args){.op = &nb_op_table_u8, .in = {x, table}});
}

/* All bytes from `first` on, as one array: 256 of a type of bytes. */
static uint32_t all_bytes(struct nb_rewrite *r, enum nb_value_type type, unsigned first)
{
    const uint64_t n = 256;
    void *data;
    const uint32_t v = nb_rewrite_const(r, NULL, type, &n, 1, &data);
    for (unsigned i = 0; v != 0 && i < n; i++)
        ((uint8_t *)data)[i] = (uint8_t)(first + i);
    return v;
}

/* Bytes on one grid as bytes on another, after a function of one number (NULL: none). */
static uint32_t by_table(struct nb_rewrite *r, const struct nb_bytes *x, const struct nb_node *f,
                         const struct nb_byte_grid *to)
{
    uint32_t v = dequantize(r, all_bytes(r, NB_VALUE_U8, 0), &x->grid);
    if (f != NULL)
        v = nb_rewrite_add(
            r, &(struct nb_node_args){
                   .op = f->op, .in = {v}, .attrs = f->attr, .n_attrs = nb_node_n_attrs(f)});
    return table_node(r, x->value, quantize(r, v, to));
}

/* Codes that are signed, or the other way: the same bits but for the highest. */
static uint32_t flipped(struct nb_rewrite *r, uint32_t codes, enum nb_value_type to)
{
    return table_node(r, codes, all_bytes(r, to, 128));
}

/* ---- from the front: what bytes lie behind floats ---- */

/* Codes of the old graph as bytes of the new one. */
static uint32_t bytes_of_codes(struct nb_rewrite *r, uint32_t codes)
{
    struct nb_bytes *b = known(r, codes);
    if (b->value == 0)
        b->value = nb_rewrite_old(r, codes)->type == NB_VALUE_U8
                       ? nb_rewrite_value(r, codes)
                       : flipped(r, nb_rewrite_value(r, codes), NB_VALUE_U8);
    return b->value;
}

/* Operators that give elements of input 0, or of all inputs, as they are. */
static bool moves(const struct nb_node *n)
{
    return n->op == &nb_op_reshape || n->op == &nb_op_transpose || n->op == &nb_op_slice ||
           n->op == &nb_op_expand || n->op == &nb_op_concat ||
           (n->op == &nb_op_pool && int_of(n, "kind") == NB_POOL_MAX) ||
           (n->op == &nb_op_resize && int_of(n, "mode") == NB_RESIZE_NEAREST &&
            int_of(n, "place") != NB_PLACE_CROP) ||
           (n->op == &nb_op_pad && int_of(n, "mode") == NB_PAD_CONSTANT);
}

/* What pads are on a grid; 0: not known. */
static uint32_t pad_value(struct nb_rewrite *r, const struct nb_node *n,
                          const struct nb_byte_grid *g)
{
    const struct nb_value *v = n->in[1] ? nb_rewrite_old(r, n->in[1]) : NULL;
    if (v && !nb_value_is_const(v, NB_VALUE_F32))
        return 0;
    return scalar(r, NB_VALUE_U8, (float)code_of(g, v ? (double)*(const float *)v->data : 0.0));
}

/* The same node on bytes, its inputs all on grid g. */
static uint32_t move(struct nb_rewrite *r, const struct nb_node *n, const uint32_t *in,
                     const struct nb_byte_grid *g)
{
    struct nb_attr attrs[NB_NODE_ATTRS];
    struct nb_node_args args;
    nb_rewrite_start(r, n, &args, attrs);
    args.name = NULL; /* that of the floats */
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        args.in[i] = n->op == &nb_op_concat || i == 0 ? in[i] : nb_rewrite_value(r, n->in[i]);
    if (n->op == &nb_op_pad && (args.in[1] = pad_value(r, n, g)) == 0)
        return 0;
    return nb_rewrite_add(r, &args);
}

static struct nb_bytes moved_bytes(struct nb_rewrite *r, const struct nb_node *n)
{
    uint32_t in[NB_NODE_INPUTS] = {0};
    struct nb_bytes first = nb_bytes_of(r, n->in[0]);
    in[0] = first.value;
    for (uint32_t i = 1; first.value != 0 && n->op == &nb_op_concat && i < NB_NODE_INPUTS; i++) {
        if (n->in[i] == 0)
            break;
        const struct nb_bytes b = nb_bytes_of(r, n->in[i]);
        if (b.value == 0 || !same_grid(&b.grid, &first.grid))
            return (struct nb_bytes){0};
        in[i] = b.value;
    }
    if (first.value != 0)
        first.value = move(r, n, in, &first.grid);
    return first;
}

struct nb_bytes nb_bytes_of(struct nb_rewrite *r, uint32_t value)
{
    struct state *s = r->pass;
    const struct nb_node *n = nb_maker(r, value);
    struct nb_bytes found = {0};
    if (n == NULL || known(r, value)->value != 0 || s->depth >= DEEPEST)
        return n == NULL ? found : *known(r, value);
    s->depth++;
    if (n->op == &nb_op_dequantize_linear) {
        if (grid_of(r, n, nb_rewrite_old(r, n->in[0])->type, &found.grid))
            found.value = bytes_of_codes(r, n->in[0]);
    } else if (moves(n) && nb_rewrite_old(r, value)->type == NB_VALUE_F32)
        found = moved_bytes(r, n);
    s->depth--;
    *known(r, value) = found;
    return found;
}

/* ---- from behind: floats on a grid, as bytes ---- */

static uint32_t make(struct nb_rewrite *r, uint32_t value, const struct nb_byte_grid *to);

/* Relu and Clip of something that is made for them alone: bounds. */
static bool narrowed(const struct nb_node *f, const struct nb_byte_grid *g,
                     struct nb_byte_grid *out)
{
    const int64_t op = int_of(f, "op");
    double low = nb_node_attr(f, "alpha")->f, high = nb_node_attr(f, "beta")->f;
    if (op == NB_UNARY_RELU) {
        low = 0.0;
        high = (double)INFINITY;
    } else if (op != NB_UNARY_CLIP || !(low <= high))
        return false;
    *out = *g;
    out->low = code_of(g, low);
    out->high = code_of(g, high);
    return true;
}

static uint32_t function(struct nb_rewrite *r, const struct nb_node *n,
                         const struct nb_byte_grid *to)
{
    struct nb_byte_grid cut;
    const struct nb_bytes x = nb_bytes_of(r, n->in[0]);
    if (x.value != 0)
        return by_table(r, &x, n, to);
    return narrowed(n, to, &cut) ? make(r, n->in[0], &cut) : 0;
}

/* A product plus a constant for each column. */
static uint32_t product_and_bias(struct nb_rewrite *r, const struct nb_node *n, unsigned side,
                                 const struct nb_byte_grid *to)
{
    const struct nb_node *p = nb_maker(r, n->in[side]);
    const struct nb_value *bias = nb_rewrite_old(r, n->in[1 - side]),
                          *y = nb_rewrite_old(r, n->out[0]);
    if (!is_op(p, &nb_op_matmul) || p->in[2] != 0 || !nb_value_is_const(bias, NB_VALUE_F32) ||
        y->rank == 0 || nb_value_count(bias) != y->dim[y->rank - 1].n || bias->rank == 0 ||
        bias->dim[bias->rank - 1].n != y->dim[y->rank - 1].n ||
        nb_rewrite_only_reader(r, n->in[side]) == UINT32_MAX)
        return 0;
    return nb_matmul_bytes(r, p, n->in[1 - side], to);
}

static uint32_t binary(struct nb_rewrite *r, const struct nb_node *n, const struct nb_byte_grid *to)
{
    const struct nb_bytes a = nb_bytes_of(r, n->in[0]), b = nb_bytes_of(r, n->in[1]);
    const int64_t op = int_of(n, "op");
    uint32_t y = 0;
    if (op != NB_BINARY_ADD && op != NB_BINARY_MUL)
        return 0;
    for (unsigned side = 0; side < 2 && y == 0 && op == NB_BINARY_ADD; side++)
        y = product_and_bias(r, n, side, to);
    if (y != 0 || a.value == 0 || b.value == 0)
        return y;
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("op", op),
        NB_ATTR_REAL("scale_a", a.grid.scale),
        NB_ATTR_REAL("scale_b", b.grid.scale),
        NB_ATTR_REAL("scale_y", to->scale),
        NB_ATTR_INT("zero_a", a.grid.zero),
        NB_ATTR_INT("zero_b", b.grid.zero),
        NB_ATTR_INT("zero_y", to->zero),
        NB_ATTR_INT("low", to->low),
        NB_ATTR_INT("high", to->high),
    };
    return nb_rewrite_add(r, &(struct nb_node_args){.op = &nb_op_binary_u8,
                                                    .in = {a.value, b.value},
                                                    .attrs = attrs,
                                                    .n_attrs = NB_COUNTOF(attrs)});
}

/* Means of windows of these sizes; list: of as many dimensions as x has beside batch and channels. */
static uint32_t mean(struct nb_rewrite *r, const struct nb_bytes *x, const struct nb_attr window[4],
                     bool last, const struct nb_byte_grid *to)
{
    int64_t places = 1;
    for (int64_t i = 0; i < window[0].i && places <= MOST_PLACES; i++)
        places *= window[0].list[i];
    if (places > MOST_PLACES)
        return 0;
    const struct nb_attr attrs[] = {window[0],
                                    window[1],
                                    window[2],
                                    window[3],
                                    NB_ATTR_INT("last", last),
                                    NB_ATTR_INT("zero_x", x->grid.zero),
                                    NB_ATTR_INT("zero_y", to->zero),
                                    NB_ATTR_INT("low", to->low),
                                    NB_ATTR_INT("high", to->high),
                                    NB_ATTR_REAL("scale", x->grid.scale / to->scale)};
    return nb_rewrite_add(r, &(struct nb_node_args){.op = &nb_op_mean_u8,
                                                    .in = {x->value},
                                                    .attrs = attrs,
                                                    .n_attrs = NB_COUNTOF(attrs)});
}

/* Windows that see no pads. */
static uint32_t mean_pool(struct nb_rewrite *r, const struct nb_node *n,
                          const struct nb_byte_grid *to)
{
    const struct nb_bytes x = nb_bytes_of(r, n->in[0]);
    const struct nb_attr *pads = nb_node_attr(n, "pads");
    if (x.value == 0 || int_of(n, "kind") != NB_POOL_MEAN || int_of(n, "ceil") != 0)
        return 0;
    for (int64_t i = 0; i < pads->i; i++)
        if (pads->list[i] != 0)
            return 0;
    const struct nb_attr window[] = {*nb_node_attr(n, "kernel"), *nb_node_attr(n, "stride"),
                                     *nb_node_attr(n, "dilation"), *pads};
    return mean(r, &x, window, int_of(n, "last") != 0, to);
}

/* Means over all of space, wherever the channels are. */
static uint32_t mean_of_all(struct nb_rewrite *r, const struct nb_node *n,
                            const struct nb_byte_grid *to)
{
    static const int64_t ones[] = {1, 1, 1}, none[6] = {0};
    const struct nb_value *v = nb_rewrite_old(r, n->in[0]), *y = nb_rewrite_old(r, n->out[0]);
    const struct nb_attr *axes = nb_node_attr(n, "axes");
    const struct nb_bytes x = nb_bytes_of(r, n->in[0]);
    int64_t kernel[3], dims[NB_VALUE_DIMS];
    uint32_t gone = 0;
    for (int64_t i = 0; i < axes->i; i++)
        gone |= 1U << axes->list[i];
    const uint32_t space = v->rank - 2, some = (1U << (space & 31U)) - 1;
    if (x.value == 0 || int_of(n, "op") != NB_REDUCE_MEAN || v->rank < 3 || v->rank > 5 ||
        (gone != some << 1 && gone != some << 2))
        return 0;
    const bool last = gone == some << 1;
    for (uint32_t i = 0; i < space; i++)
        kernel[i] = (int64_t)v->dim[i + (last ? 1 : 2)].n;
    for (uint32_t i = 0; i < y->rank; i++)
        dims[i] = (int64_t)y->dim[i].n;
    const struct nb_attr window[] = {
        NB_ATTR_LIST("kernel", kernel, space), NB_ATTR_LIST("stride", ones, space),
        NB_ATTR_LIST("dilation", ones, space), NB_ATTR_LIST("pads", none, 2 * (size_t)space)};
    const uint32_t means = mean(r, &x, window, last, to);
    return means == 0 ? 0 : nb_rewrite_reshape(r, means, dims, y->rank);
}

static uint32_t moved(struct nb_rewrite *r, const struct nb_node *n, const struct nb_byte_grid *to)
{
    uint32_t in[NB_NODE_INPUTS] = {0};
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        if (n->in[i] == 0 || (i > 0 && n->op != &nb_op_concat))
            break;
        in[i] = make(r, n->in[i], to);
        if (in[i] == 0)
            return 0;
    }
    return move(r, n, in, to);
}

/* 0: it is not made of bytes alone. What costs something is made for one reader only. */
static uint32_t make(struct nb_rewrite *r, uint32_t value, const struct nb_byte_grid *to)
{
    struct state *s = r->pass;
    const struct nb_node *n = nb_maker(r, value);
    const struct nb_bytes x = nb_bytes_of(r, value);
    uint32_t y = 0;
    if (x.value != 0)
        return same_grid(&x.grid, to) ? x.value : by_table(r, &x, NULL, to);
    if (n == NULL || nb_rewrite_only_reader(r, value) == UINT32_MAX || s->depth >= DEEPEST)
        return 0;
    s->depth++;
    if (n->op == &nb_op_conv)
        y = nb_conv_bytes(r, n, to);
    else if (n->op == &nb_op_matmul)
        y = nb_matmul_bytes(r, n, 0, to);
    else if (n->op == &nb_op_unary)
        y = function(r, n, to);
    else if (n->op == &nb_op_binary)
        y = binary(r, n, to);
    else if (moves(n))
        y = moved(r, n, to);
    else if (n->op == &nb_op_pool)
        y = mean_pool(r, n, to);
    else if (n->op == &nb_op_reduce)
        y = mean_of_all(r, n, to);
    s->depth--;
    return y;
}

/* ---- the walk ---- */

static void quantize_node(struct nb_rewrite *r, const struct nb_node *n, bool *done)
{
    const enum nb_value_type type = (enum nb_value_type)int_of(n, "type");
    struct nb_byte_grid g;
    if (nb_rewrite_old(r, n->in[0])->type != NB_VALUE_F32 || int_of(n, "multiply") != 0 ||
        !grid_of(r, n, type, &g))
        return;
    uint32_t y = make(r, n->in[0], &g);
    if (y == 0)
        y = quantize(r, nb_rewrite_value(r, n->in[0]), &g);
    known(r, n->out[0])->value = y;
    r->map[n->out[0]] = type == NB_VALUE_U8 ? y : flipped(r, y, NB_VALUE_I8);
    *done = true;
}

static enum nb_status visit(struct nb_rewrite *r, uint32_t node, bool *done, struct nb_error *err)
{
    const struct nb_node *n = &r->from->nodes[node];
    (void)err;
    if (n->op == &nb_op_quantize_linear)
        quantize_node(r, n, done);
    else if (n->op == &nb_op_dequantize_linear &&
             nb_rewrite_old(r, n->in[0])->kind != NB_VALUE_CONST) {
        const struct nb_bytes x = nb_bytes_of(r, n->out[0]);
        *done = x.value != 0;
        if (*done)
            r->map[n->out[0]] = dequantize(r, x.value, &x.grid);
    }
    return NB_OK;
}

enum nb_status nb_pass_integer(struct nb_graph *to, const struct nb_graph *from,
                               struct nb_error *err)
{
    struct state s = {.bytes = nb_alloc_zero(to->arena.a, from->n_values + 1, sizeof *s.bytes)};
    if (s.bytes == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to look for bytes in a graph of %zu values",
                from->n_values);
    const enum nb_status st = nb_rewrite_graph(to, from, visit, &s, err);
    nb_free(to->arena.a, s.bytes);
    return st;
}
