/* ptq/simplify.c: a model as engines have it before they quantize: constants are initializers, also in another order of
 * their dimensions, nodes that do nothing or undo each other are gone, batch norms and biases are in the convolutions,
 * or transposed ones, before them:
 *
 *     W' = W s, b' = b s + beta - mean s, s = gamma / sqrt(var + epsilon)     per output channel, in doubles.
 */
#include <math.h>
#include <string.h>

#include "net/net.h"
#include "ptq/ptq_internal.h"

#define MAX_RANK 8

static enum nb_status lift_constants(struct nb_edit *e, struct nb_error *err)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        const struct nb_onnx_node *n = &e->nodes[i];
        const struct nb_onnx_attr *a = n->op_type != NULL && nb_str_eq(n->op_type, "Constant")
                                           ? nb_onnx_find_attr(n, "value")
                                           : NULL;
        if (a == NULL || a->type != NB_ONNX_ATTR_TENSOR || n->n_outputs != 1)
            continue;
        struct nb_onnx_tensor t = *a->t;
        t.name = n->outputs[0];
        NB_TRY(nb_edit_add_tensor(e, &t, err));
        nb_edit_drop(e, i);
    }
    return NB_OK;
}

/* types: of the values, as far as they are known. */
static bool does_nothing(const struct nb_edit *e, const struct nb_map *types,
                         const struct nb_onnx_node *n)
{
    size_t reader;
    if (n->op_type == NULL)
        return false;
    if (nb_str_eq(n->op_type, "Identity"))
        return true;
    if (nb_str_eq(n->op_type, "Cast")) {
        const struct nb_onnx_attr *to = nb_onnx_find_attr(n, "to");
        const int32_t from = nb_half_type(types, n->inputs[0]);
        return to != NULL && from != NB_ONNX_UNDEFINED && to->i == from;
    }
    return nb_str_eq(n->op_type, "Dropout") && n->n_inputs < 3 &&
           (n->n_outputs < 2 || n->outputs[1][0] == '\0' ||
            nb_edit_readers(e, n->outputs[1], &reader) == 0);
}

/* What it copies leaves the net under the copy's name, if nobody else reads it. */
static enum nb_status drop_last(struct nb_edit *e, size_t i, struct nb_error *err)
{
    const char *from = e->nodes[i].inputs[0], *to = e->nodes[i].outputs[0];
    const size_t maker = nb_edit_producer(e, from);
    size_t reader;
    if (maker == SIZE_MAX || nb_edit_is_output(e, from) || nb_edit_readers(e, from, &reader) != 1)
        return NB_OK;
    for (size_t k = 0; k < e->nodes[maker].n_outputs; k++)
        if (nb_str_eq(e->nodes[maker].outputs[k], from))
            NB_TRY(nb_edit_set_output(e, maker, k, to, err));
    nb_edit_drop(e, i);
    return NB_OK;
}

/* What reads them inside other graphs keeps the node. */
static enum nb_status drop_each_idle(struct nb_edit *e, const struct nb_map *types,
                                     struct nb_error *err)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        size_t reader;
        if (!does_nothing(e, types, &e->nodes[i]))
            continue;
        if (nb_edit_is_output(e, e->nodes[i].outputs[0])) {
            NB_TRY(drop_last(e, i, err));
            continue;
        }
        const char *from = e->nodes[i].outputs[0], *to = e->nodes[i].inputs[0];
        NB_TRY(nb_edit_rename_reads(e, from, to, err));
        if (nb_edit_readers(e, from, &reader) == 0)
            nb_edit_drop(e, i);
    }
    return NB_OK;
}

static enum nb_status drop_idle(struct nb_edit *e, struct nb_error *err)
{
    struct nb_map types;
    nb_map_init(&types, e->a);
    enum nb_status st = nb_half_types(&types, e, err);
    if (st == NB_OK)
        st = drop_each_idle(e, &types, err);
    nb_map_fini(&types);
    return st;
}

/* ---- transposes ---- */

/* NULL: none, or nothing that can be turned. */
static const struct nb_onnx_attr *order_of(const struct nb_onnx_node *n, size_t *rank)
{
    const struct nb_onnx_attr *perm = n->op_type != NULL && nb_str_eq(n->op_type, "Transpose")
                                          ? nb_onnx_find_attr(n, "perm")
                                          : NULL;
    if (perm == NULL || perm->type != NB_ONNX_ATTR_INTS || perm->n > MAX_RANK || n->n_inputs != 1)
        return NULL;
    for (size_t i = 0; i < perm->n; i++)
        if (perm->ints[i] < 0 || (uint64_t)perm->ints[i] >= perm->n)
            return NULL;
    *rank = perm->n;
    return perm;
}

/* to (dims of from in the order perm), elements of `item` bytes */
static void turn(uint8_t *to, const struct nb_onnx_tensor *from, const int64_t *perm, size_t item)
{
    uint64_t step[MAX_RANK], at[MAX_RANK] = {0}, all = 1;
    for (size_t i = from->rank; i-- > 0;) {
        step[i] = all;
        all *= (uint64_t)from->dims[i];
    }
    for (uint64_t i = 0; i < from->n; i++) {
        uint64_t source = 0;
        for (size_t k = 0; k < from->rank; k++)
            source += at[k] * step[perm[k]];
        memcpy(to + i * item, from->data + source * item, item);
        for (size_t k = from->rank; k-- > 0 && ++at[k] == (uint64_t)from->dims[perm[k]];)
            at[k] = 0;
    }
}

/* Of a constant: the constant in that order. */
static enum nb_status turn_constant(struct nb_edit *e, size_t i, struct nb_error *err)
{
    const struct nb_onnx_node *n = &e->nodes[i];
    size_t rank;
    const struct nb_onnx_attr *perm = order_of(n, &rank);
    const struct nb_onnx_tensor *t = perm != NULL ? nb_edit_tensor(e, n->inputs[0]) : NULL;
    const uint32_t bits = t != NULL ? nb_onnx_type_info(t->type)->bits : 0;
    if (bits < 8 || t->rank != rank || t->data == NULL || nb_edit_is_output(e, n->outputs[0]))
        return NB_OK;
    int64_t *dims = nb_arena_alloc(&e->arena, rank + 1, sizeof *dims);
    uint8_t *data = nb_arena_alloc(&e->arena, (size_t)t->n + 1, bits / 8);
    if (dims == NULL || data == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to turn '%s'", n->inputs[0]);
    for (size_t k = 0; k < rank; k++)
        dims[k] = t->dims[perm->ints[k]];
    turn(data, t, perm->ints, bits / 8);
    const int32_t type = t->type;
    const char *name = n->outputs[0];
    nb_edit_drop(e, i);
    return nb_edit_put(e, name, type, dims, rank, data, err);
}

/* Behind one that it undoes: both go, unless somebody reads what lies between. */
static enum nb_status cancel(struct nb_edit *e, size_t i, struct nb_error *err)
{
    size_t rank, rank_before, reader;
    const struct nb_onnx_attr *perm = order_of(&e->nodes[i], &rank);
    if (perm == NULL || nb_edit_is_output(e, e->nodes[i].outputs[0]))
        return NB_OK;
    const char *between = e->nodes[i].inputs[0];
    const size_t maker = nb_edit_producer(e, between);
    const struct nb_onnx_attr *before =
        maker != SIZE_MAX ? order_of(&e->nodes[maker], &rank_before) : NULL;
    if (before == NULL || rank != rank_before || nb_edit_read_inside(e, e->nodes[i].outputs[0]))
        return NB_OK;
    for (size_t k = 0; k < rank; k++)
        if (before->ints[perm->ints[k]] != (int64_t)k)
            return NB_OK;
    NB_TRY(nb_edit_rename_reads(e, e->nodes[i].outputs[0], e->nodes[maker].inputs[0], err));
    nb_edit_drop(e, i);
    if (nb_edit_readers(e, between, &reader) == 0)
        nb_edit_drop(e, maker);
    return NB_OK;
}

static enum nb_status drop_transposes(struct nb_edit *e, struct nb_error *err)
{
    for (size_t i = 0; i < e->n_nodes; i++)
        NB_TRY(turn_constant(e, i, err));
    for (size_t i = 0; i < e->n_nodes; i++)
        NB_TRY(cancel(e, i, err));
    return NB_OK;
}

/* ---- batch norms, and biases as nodes of their own ---- */

/* Is it an initializer of n floats? */
static bool has_floats(const struct nb_edit *e, const char *name, uint64_t n)
{
    const struct nb_onnx_tensor *t = nb_edit_tensor(e, name);
    enum nb_value_type type;
    return t != NULL && t->n == n && t->data != NULL && nb_net_type(t->type, &type) &&
           type == NB_VALUE_F32;
}

/* Those floats; NULL: no memory. */
static const float *floats_of(struct nb_edit *e, const char *name, uint64_t n)
{
    const struct nb_onnx_tensor *t = nb_edit_tensor(e, name);
    float *copy = nb_arena_alloc(&e->arena, (size_t)n + 1, sizeof *copy);
    if (copy != NULL)
        nb_net_decode(copy, t);
    return copy;
}

/* A convolution, or a transposed one: its weights are (rows, each, after), the channels of a group of rows being `each`. */
struct layer {
    size_t node;
    uint64_t channels, rows, each, after, in_group;
};

/* What multiplies and adds for each channel. Borrows: the arena's. */
struct map {
    double *scale, *shift; /* (channels) */
};

/* The layer that makes a value that has one reader. false: there is none, or its weights are not known. */
static bool find_layer(const struct nb_edit *e, const char *value, struct layer *l)
{
    size_t reader;
    const size_t at = nb_edit_producer(e, value);
    if (at == SIZE_MAX || nb_edit_readers(e, value, &reader) != 1)
        return false;
    const struct nb_onnx_node *n = &e->nodes[at];
    const bool transposed = nb_str_eq(n->op_type, "ConvTranspose");
    const struct nb_onnx_tensor *w =
        transposed || nb_str_eq(n->op_type, "Conv") ? nb_edit_tensor(e, n->inputs[1]) : NULL;
    if (w == NULL || w->rank < 3 || w->n == 0 || !has_floats(e, n->inputs[1], w->n))
        return false;
    *l = (struct layer){at, (uint64_t)w->dims[0], 1, (uint64_t)w->dims[0], 0, 1};
    if (transposed) {
        const struct nb_onnx_attr *group = nb_onnx_find_attr(n, "group");
        const uint64_t groups = group != NULL && group->i > 0 ? (uint64_t)group->i : 1;
        l->rows = (uint64_t)w->dims[0];
        l->each = (uint64_t)w->dims[1];
        l->channels = l->each * groups;
        l->in_group = l->rows / groups;
        if (l->rows % groups != 0)
            return false;
    }
    l->after = w->n / l->rows / l->each;
    return n->n_inputs < 3 || n->inputs[2][0] == '\0' || has_floats(e, n->inputs[2], l->channels);
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to fold a batch norm or a bias");
}

/* New weights and bias of the layer, which then makes `output`. */
static enum nb_status fold_into(struct nb_edit *e, const struct layer *l, const struct map *map,
                                const char *output, struct nb_error *err)
{
    const struct nb_onnx_node *n = &e->nodes[l->node];
    const struct nb_onnx_tensor *t = nb_edit_tensor(e, n->inputs[1]);
    const bool has_bias = n->n_inputs > 2 && n->inputs[2][0] != '\0';
    const float *w = floats_of(e, n->inputs[1], t->n);
    const float *b = has_bias ? floats_of(e, n->inputs[2], l->channels) : NULL;
    float *new_w = nb_arena_alloc(&e->arena, (size_t)t->n, sizeof *new_w);
    float *new_b = nb_arena_alloc(&e->arena, (size_t)l->channels, sizeof *new_b);
    const char **inputs = nb_arena_alloc(&e->arena, 3, sizeof *inputs);
    int64_t *dims = nb_arena_alloc(&e->arena, 1, sizeof *dims);
    if (w == NULL || (has_bias && b == NULL) || new_w == NULL || new_b == NULL || inputs == NULL ||
        dims == NULL)
        return no_memory(err);
    dims[0] = (int64_t)l->channels;
    for (uint64_t i = 0; i < t->n; i++) {
        const uint64_t row = i / l->after / l->each, c = i / l->after % l->each;
        new_w[i] = (float)((double)w[i] * map->scale[row / l->in_group * l->each + c]);
    }
    for (uint64_t c = 0; c < l->channels; c++)
        new_b[c] = (float)((b != NULL ? (double)b[c] * map->scale[c] : 0.0) + map->shift[c]);
    inputs[0] = n->inputs[0];
    inputs[1] = nb_edit_name(e, n->inputs[1], "_folded");
    inputs[2] = nb_edit_name(e, n->inputs[1], "_bias");
    if (inputs[1] == NULL || inputs[2] == NULL)
        return no_memory(err);
    NB_TRY(nb_edit_put(e, inputs[1], NB_ONNX_FLOAT32, t->dims, t->rank, new_w, err));
    NB_TRY(nb_edit_put(e, inputs[2], NB_ONNX_FLOAT32, dims, 1, new_b, err));
    e->nodes[l->node].inputs = inputs;
    e->nodes[l->node].n_inputs = 3;
    return nb_edit_set_output(e, l->node, 0, output, err);
}

static enum nb_status new_map(struct nb_edit *e, const struct layer *l, struct map *out,
                              struct nb_error *err)
{
    out->scale = nb_arena_alloc(&e->arena, (size_t)l->channels, sizeof *out->scale);
    out->shift = nb_arena_alloc(&e->arena, (size_t)l->channels, sizeof *out->shift);
    return out->scale != NULL && out->shift != NULL ? NB_OK : no_memory(err);
}

static bool is_norm(const struct nb_edit *e, const struct nb_onnx_node *n, uint64_t channels)
{
    const struct nb_onnx_attr *training = nb_onnx_find_attr(n, "training_mode");
    bool is = n->n_inputs == 5 && n->n_outputs == 1 && (training == NULL || training->i == 0);
    for (size_t i = 1; i < 5 && is; i++)
        is = has_floats(e, n->inputs[i], channels);
    return is;
}

static enum nb_status fold_norm(struct nb_edit *e, size_t i, struct nb_error *err)
{
    const struct nb_onnx_node n = e->nodes[i];
    const struct nb_onnx_attr *eps = nb_onnx_find_attr(&n, "epsilon");
    const float *p[5]; /* gamma, beta, mean, var behind x */
    struct layer l;
    struct map map;
    if (!find_layer(e, n.inputs[0], &l) || !is_norm(e, &n, l.channels))
        return NB_OK;
    NB_TRY(new_map(e, &l, &map, err));
    for (size_t k = 1; k < 5; k++) {
        p[k] = floats_of(e, n.inputs[k], l.channels);
        if (p[k] == NULL)
            return no_memory(err);
    }
    for (uint64_t c = 0; c < l.channels; c++) {
        const double var = (double)p[4][c] + (eps != NULL ? (double)eps->f : 1e-5);
        map.scale[c] = (double)p[1][c] / sqrt(var);
        map.shift[c] = (double)p[2][c] - (double)p[3][c] * map.scale[c];
    }
    nb_edit_drop(e, i);
    return fold_into(e, &l, &map, n.outputs[0], err);
}

/* Has the constant a number for each channel, dimension 1 of the layer's output? */
static bool is_bias(const struct nb_edit *e, const struct layer *l, const char *name)
{
    const struct nb_onnx_tensor *t = nb_edit_tensor(e, name);
    const size_t rank = nb_edit_tensor(e, e->nodes[l->node].inputs[1])->rank;
    bool is = t != NULL && t->rank <= rank && has_floats(e, name, l->channels);
    for (size_t i = 0; i < rank && is; i++) {
        const size_t behind = rank - 1 - i; /* dimensions behind this one */
        const uint64_t n = behind < t->rank ? (uint64_t)t->dims[t->rank - 1 - behind] : 1;
        is = n == (i == 1 ? l->channels : 1);
    }
    return is;
}

static enum nb_status fold_bias(struct nb_edit *e, size_t i, struct nb_error *err)
{
    const struct nb_onnx_node n = e->nodes[i];
    for (size_t side = 0; side < 2 && n.n_inputs == 2; side++) {
        struct layer l;
        struct map map;
        if (!find_layer(e, n.inputs[side], &l) || !is_bias(e, &l, n.inputs[1 - side]))
            continue;
        NB_TRY(new_map(e, &l, &map, err));
        const float *bias = floats_of(e, n.inputs[1 - side], l.channels);
        if (bias == NULL)
            return no_memory(err);
        for (uint64_t c = 0; c < l.channels; c++) {
            map.scale[c] = 1.0;
            map.shift[c] = (double)bias[c];
        }
        nb_edit_drop(e, i);
        return fold_into(e, &l, &map, n.outputs[0], err);
    }
    return NB_OK;
}

enum nb_status nb_ptq_simplify(struct nb_edit *e, struct nb_error *err)
{
    NB_TRY(lift_constants(e, err));
    NB_TRY(drop_idle(e, err));
    NB_TRY(drop_transposes(e, err));
    for (size_t i = 0; i < e->n_nodes; i++) {
        const char *type = e->nodes[i].op_type;
        if (type != NULL && nb_str_eq(type, "BatchNormalization"))
            NB_TRY(fold_norm(e, i, err));
        else if (type != NULL && nb_str_eq(type, "Add"))
            NB_TRY(fold_bias(e, i, err));
    }
    return NB_OK;
}
