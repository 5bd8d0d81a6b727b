/* net/pass_affine.c: what multiplies and adds a constant for each channel behind a convolution, or a transposed one,
 * goes into its weights and bias: batch norms, biases that come as nodes of their own.
 *
 *     a (W x + b) + c = (a W) x + (a b + c)
 *
 * Computed in doubles, rounded once. Channels are dimension 1 of the output. Of a sum of an array and its product with
 * a smaller one only the product is left, which reads the array once:
 *
 *     x + x g = x (1 + g)
 */
#include "net/passes.h"

/* A layer that takes an affine map in: which inputs are its weights and bias, and where channels are. */
struct layer {
    const struct nb_node *n;
    const struct nb_value *w, *bias, *y; /* bias: NULL, none */
    uint64_t channels;
    uint64_t rows, each,
        after; /* w is (rows, each, after); of a group of rows all have the channels of the group */
    uint64_t in_group; /* rows that have the same */
};

static bool find_layer(const struct nb_rewrite *r, const struct nb_node *n, struct layer *l)
{
    const struct nb_value *v = r->from->values;
    const bool transposed = n->op == &nb_op_conv_transpose;
    if ((n->op != &nb_op_conv && !transposed) || nb_node_attr(n, "last")->i != 0 ||
        (!transposed && (nb_node_attr(n, "act")->i != NB_CONV_NONE || n->in[3])))
        return false;
    *l = (struct layer){.n = n,
                        .w = &v[n->in[1]],
                        .bias = n->in[2] ? &v[n->in[2]] : NULL,
                        .y = &v[n->out[0]],
                        .rows = 1,
                        .in_group = 1};
    if (!nb_value_is_const(l->w, NB_VALUE_F32) ||
        (l->bias && !nb_value_is_const(l->bias, NB_VALUE_F32)))
        return false;
    l->channels = l->y->dim[1].n;
    l->each = l->channels;
    if (transposed) {
        const uint64_t groups = (uint64_t)nb_node_attr(n, "groups")->i;
        l->rows = l->w->dim[0].n;
        l->in_group = l->rows / groups;
        l->each = l->w->dim[1].n;
    }
    const uint64_t all = nb_value_count(l->w);
    l->after = all > 0 ? all / l->rows / l->each : 0;
    return all > 0;
}

/* Of a value that is read beside the layer's output: does it have one number, or one for each channel? */
static bool per_channel(const struct layer *l, const struct nb_value *c)
{
    if (!nb_value_is_const(c, NB_VALUE_F32) || c->rank > l->y->rank)
        return false;
    for (uint32_t i = 0; i < c->rank; i++) { /* from the right */
        const uint32_t at = l->y->rank - 1 - i;
        const uint64_t n = c->dim[c->rank - 1 - i].n;
        if (n != 1 && (at != 1 || n != l->channels))
            return false;
    }
    return true;
}

static double channel_of(const struct nb_value *c, uint64_t i)
{
    const float *data = c->data;
    return (double)data[nb_value_count(c) == 1 ? 0 : i];
}

/* The next node of the chain, if it multiplies or adds such a constant. c: its value. */
static uint32_t next_affine(const struct nb_rewrite *r, const struct layer *l, uint32_t value,
                            const struct nb_value **c, int64_t *op)
{
    const uint32_t i = nb_rewrite_only_reader(r, value);
    if (i == UINT32_MAX || r->from->nodes[i].op != &nb_op_binary)
        return UINT32_MAX;
    const struct nb_node *n = &r->from->nodes[i];
    const bool left = n->in[0] == value;
    *op = nb_node_attr(n, "op")->i;
    *c = &r->from->values[n->in[left ? 1 : 0]];
    if (n->in[0] == n->in[1] || !per_channel(l, *c))
        return UINT32_MAX;
    if (*op == NB_BINARY_MUL || *op == NB_BINARY_ADD ||
        (left && (*op == NB_BINARY_SUB || *op == NB_BINARY_DIV)))
        return i;
    return UINT32_MAX;
}

static void absorb(double *scale, double *shift, uint64_t n, int64_t op, const struct nb_value *c)
{
    for (uint64_t i = 0; i < n; i++) {
        const double x = channel_of(c, i);
        if (op == NB_BINARY_MUL) {
            scale[i] *= x;
            shift[i] *= x;
        } else if (op == NB_BINARY_DIV) {
            scale[i] /= x;
            shift[i] /= x;
        } else {
            shift[i] += op == NB_BINARY_SUB ? -x : x;
        }
    }
}

static uint32_t new_weights(struct nb_rewrite *r, const struct layer *l, const double *scale)
{
    uint64_t dims[NB_VALUE_DIMS];
    const float *from = l->w->data;
    void *data;
    for (uint32_t i = 0; i < l->w->rank; i++)
        dims[i] = l->w->dim[i].n;
    const uint32_t v = nb_rewrite_const(r, l->w->name, NB_VALUE_F32, dims, l->w->rank, &data);
    float *to = data;
    for (uint64_t row = 0, k = 0; v != 0 && row < l->rows; row++)
        for (uint64_t i = 0; i < l->each; i++)
            for (uint64_t j = 0; j < l->after; j++, k++)
                to[k] = (float)((double)from[k] * scale[row / l->in_group * l->each + i]);
    return v;
}

static uint32_t new_bias(struct nb_rewrite *r, const struct layer *l, const double *scale,
                         const double *shift)
{
    void *data;
    const uint32_t v = nb_rewrite_const(r, NULL, NB_VALUE_F32, &l->channels, 1, &data);
    float *to = data;
    for (uint64_t i = 0; v != 0 && i < l->channels; i++)
        to[i] = (float)((l->bias ? (double)((const float *)l->bias->data)[i] * scale[i] : 0.0) +
                        shift[i]);
    return v;
}

/* Follows the chain behind a layer; *end: its last node, UINT32_MAX when there is none. */
static void follow(struct nb_rewrite *r, const struct layer *l, double *scale, double *shift,
                   uint32_t *end)
{
    uint32_t value = l->n->out[0];
    *end = UINT32_MAX;
    for (uint64_t i = 0; i < l->channels; i++) {
        scale[i] = 1.0;
        shift[i] = 0.0;
    }
    for (;;) {
        const struct nb_value *c;
        int64_t op;
        const uint32_t next = next_affine(r, l, value, &c, &op);
        if (next == UINT32_MAX)
            return;
        absorb(scale, shift, l->channels, op, c);
        *end = next;
        r->instead[next] = UINT32_MAX;
        value = r->from->nodes[next].out[0];
    }
}

static enum nb_status absorb_chain(struct nb_rewrite *r, uint32_t node, const struct layer *l,
                                   bool *done, struct nb_error *err)
{
    uint32_t end;
    double *scale = nb_alloc(r->to->arena.a, 2 * (size_t)l->channels, sizeof *scale);
    if (scale == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu channels",
                (unsigned long long)l->channels);
    double *shift = scale + l->channels;
    follow(r, l, scale, shift, &end);
    if (end != UINT32_MAX) {
        struct nb_node_args args;
        struct nb_attr attrs[NB_NODE_ATTRS];
        const uint32_t out = r->from->nodes[end].out[0];
        nb_rewrite_args(r, node, &args, attrs);
        args.in[1] = new_weights(r, l, scale);
        args.in[2] = new_bias(r, l, scale, shift);
        args.name = r->from->values[out].name;
        r->map[out] = nb_graph_add_folded(r->to, &args);
        *done = true;
    }
    nb_free(r->to->arena.a, scale);
    return NB_OK;
}

/* ---- x + x g ---- */

/* The sum of x and the product n, which only the sum reads; UINT32_MAX: it is none. */
static uint32_t sum_with(const struct nb_rewrite *r, const struct nb_node *n, uint32_t x)
{
    const uint32_t i = nb_rewrite_only_reader(r, n->out[0]);
    if (i == UINT32_MAX || r->from->nodes[i].op != &nb_op_binary ||
        nb_node_attr(&r->from->nodes[i], "op")->i != NB_BINARY_ADD)
        return UINT32_MAX;
    const uint32_t *in = r->from->nodes[i].in;
    return in[in[0] == n->out[0] ? 1 : 0] == x ? i : UINT32_MAX;
}

static uint32_t binary(struct nb_rewrite *r, enum nb_binary op, uint32_t a, uint32_t b,
                       const char *name)
{
    const struct nb_attr attr = NB_ATTR_INT("op", op);
    return nb_rewrite_add(
        r, &(struct nb_node_args){
               .op = &nb_op_binary, .in = {a, b}, .attrs = &attr, .n_attrs = 1, .name = name});
}

static void gate(struct nb_rewrite *r, const struct nb_node *n, bool *done)
{
    if (n->op != &nb_op_binary || nb_node_attr(n, "op")->i != NB_BINARY_MUL)
        return;
    for (unsigned side = 0; side < 2; side++) {
        const uint32_t x = n->in[side], g = n->in[1 - side], sum = sum_with(r, n, x);
        void *one;
        if (sum == UINT32_MAX || nb_rewrite_old(r, x)->type != NB_VALUE_F32 ||
            nb_value_count(nb_rewrite_old(r, g)) * 2 > nb_value_count(nb_rewrite_old(r, x)))
            continue;
        const uint32_t c = nb_rewrite_const(r, NULL, NB_VALUE_F32, NULL, 0, &one);
        if (c != 0)
            *(float *)one = 1.0F;
        const uint32_t out = r->from->nodes[sum].out[0];
        const uint32_t more = binary(r, NB_BINARY_ADD, nb_rewrite_value(r, g), c, NULL);
        r->map[out] =
            binary(r, NB_BINARY_MUL, nb_rewrite_value(r, x), more, nb_rewrite_old(r, out)->name);
        r->instead[sum] = UINT32_MAX;
        *done = true;
        return;
    }
}

static enum nb_status visit(struct nb_rewrite *r, uint32_t node, bool *done, struct nb_error *err)
{
    struct layer l;
    if (find_layer(r, &r->from->nodes[node], &l))
        return absorb_chain(r, node, &l, done, err);
    gate(r, &r->from->nodes[node], done);
    return NB_OK;
}

enum nb_status nb_pass_affine(struct nb_graph *to, const struct nb_graph *from,
                              struct nb_error *err)
{
    return nb_rewrite_graph(to, from, visit, NULL, err);
}
