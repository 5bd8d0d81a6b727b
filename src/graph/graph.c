/* graph/graph.c: building a graph, and asking it for shapes. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES 16384U

void nb_graph_init(struct nb_graph *g, const struct nb_allocator *a)
{
    memset(g, 0, sizeof *g);
    nb_arena_init(&g->arena, a, CHUNK_BYTES);
    nb_map_init(&g->names, a);
}

void nb_graph_fini(struct nb_graph *g)
{
    const struct nb_allocator *a = g->arena.a;
    nb_free(a, g->values);
    nb_free(a, g->nodes);
    nb_free(a, g->order);
    nb_map_fini(&g->names);
    nb_arena_fini(&g->arena);
    memset(g, 0, sizeof *g);
}

enum nb_status nb_graph_check(const struct nb_graph *g, struct nb_error *err)
{
    if (g->status != NB_OK && err)
        *err = g->error;
    return g->status;
}

static uint32_t fail(struct nb_graph *g, enum nb_status st)
{
    if (g->status == NB_OK)
        g->status = NB_ERROR(&g->error, st, "graph: out of memory at value %zu", g->n_values);
    return 0;
}

bool nb_graph_refuse(struct nb_graph *g, const struct nb_node *n, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (g->status == NB_OK)
        g->status = NB_ERROR(&g->error, NB_ERR_INTERNAL, "graph: node %zu (%s): %s", g->n_nodes,
                             n->op->name, text);
    return false;
}

/* A fresh value, cleared; index 0 is skipped for good. */
static uint32_t new_value(struct nb_graph *g)
{
    const struct nb_allocator *a = g->arena.a;
    if (g->n_values == 0) {
        if (!nb_grow(a, &g->values, &g->cap_values, 0, sizeof *g->values))
            return fail(g, NB_ERR_NOMEM);
        memset(&g->values[0], 0, sizeof g->values[0]);
        g->n_values = 1;
    }
    if (g->n_values >= UINT32_MAX ||
        !nb_grow(a, &g->values, &g->cap_values, g->n_values, sizeof *g->values))
        return fail(g, NB_ERR_NOMEM);
    memset(&g->values[g->n_values], 0, sizeof g->values[0]);
    return (uint32_t)g->n_values++;
}

static bool name_value(struct nb_graph *g, uint32_t v, const char *name)
{
    const size_t len = strlen(name);
    char *copy = nb_arena_strndup(&g->arena, name, len);
    if (!copy || nb_map_put(&g->names, copy, len, v) != NB_OK) {
        (void)fail(g, NB_ERR_NOMEM);
        return false;
    }
    g->values[v].name = copy;
    return true;
}

static void count_block(struct nb_graph *g, int32_t block)
{
    if (block >= 0 && (uint32_t)block >= g->n_blocks)
        g->n_blocks = (uint32_t)block + 1;
}

uint32_t nb_graph_value(struct nb_graph *g, const struct nb_value *v)
{
    if (g->status != NB_OK)
        return 0;
    const uint32_t known = nb_graph_find(g, v->name);
    if (known)
        return known;
    const uint32_t id = new_value(g);
    if (!id)
        return 0;
    g->values[id] = *v;
    g->values[id].producer = 0;
    count_block(g, v->block);
    return name_value(g, id, v->name) ? id : 0;
}

uint32_t nb_graph_weight(struct nb_graph *g, const char *name, uint64_t rows, uint64_t cols,
                         int32_t block)
{
    struct nb_value v = {.name = name,
                         .kind = NB_VALUE_WEIGHT,
                         .type = NB_VALUE_STORED,
                         .rank = rows ? 2 : 1,
                         .block = block};
    v.dim[0] = nb_dim_const(rows ? rows : cols);
    v.dim[1] = nb_dim_const(rows ? cols : 0);
    return nb_graph_value(g, &v);
}

uint32_t nb_graph_experts(struct nb_graph *g, const char *name, uint64_t n_experts, uint64_t rows,
                          uint64_t cols, int32_t block)
{
    const struct nb_value v = {
        .name = name,
        .kind = NB_VALUE_WEIGHT,
        .type = NB_VALUE_STORED,
        .rank = 3,
        .dim = {nb_dim_const(n_experts), nb_dim_const(rows), nb_dim_const(cols)},
        .block = block};
    return nb_graph_value(g, &v);
}

uint32_t nb_graph_const(struct nb_graph *g, const char *name, enum nb_value_type type,
                        const uint64_t *dims, uint32_t rank, const void *data)
{
    const uint32_t id = g->status == NB_OK ? new_value(g) : 0;
    if (!id)
        return 0;
    struct nb_value *v = &g->values[id];
    *v = (struct nb_value){
        .kind = NB_VALUE_CONST, .type = type, .rank = rank, .block = NB_NO_BLOCK, .data = data};
    for (uint32_t i = 0; i < rank; i++)
        v->dim[i] = nb_dim_const(dims[i]);
    v->name = name ? nb_arena_strndup(&g->arena, name, strlen(name))
                   : nb_arena_printf(&g->arena, "v%u", id);
    return v->name ? id : fail(g, NB_ERR_NOMEM);
}

static bool keep_list(struct nb_graph *g, struct nb_attr *attr)
{
    if (!attr->list)
        return true;
    int64_t *copy = nb_arena_alloc(&g->arena, NB_MAX((size_t)attr->i, 1U), sizeof *copy);
    if (!copy) {
        (void)fail(g, NB_ERR_NOMEM);
        return false;
    }
    memcpy(copy, attr->list, (size_t)attr->i * sizeof *copy);
    attr->list = copy;
    return true;
}

/* Puts the attributes into the operator's order. */
static bool place_attrs(struct nb_graph *g, struct nb_node *n, const struct nb_node_args *args)
{
    size_t placed = 0;
    for (size_t slot = 0; slot < NB_NODE_ATTRS && n->op->attrs[slot]; slot++) {
        const char *want = n->op->attrs[slot];
        size_t i = 0;
        while (i < args->n_attrs && strcmp(args->attrs[i].name, want) != 0)
            i++;
        if (i == args->n_attrs)
            return nb_graph_refuse(g, n, "attribute '%s' is missing", want);
        n->attr[slot] = args->attrs[i];
        n->attr[slot].name = want;
        if (!keep_list(g, &n->attr[slot]))
            return false;
        placed++;
    }
    if (placed != args->n_attrs)
        return nb_graph_refuse(g, n, "%zu attributes given, %zu known", args->n_attrs, placed);
    return true;
}

static bool check_inputs(struct nb_graph *g, const struct nb_node *n)
{
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        if (n->in[i] >= g->n_values && n->in[i] != 0)
            return nb_graph_refuse(g, n, "input %u is no value", i);
        if (n->in[i] == 0 && i < n->op->n_in_min)
            return nb_graph_refuse(g, n, "input %u is missing", i);
        if (n->in[i] != 0 && i >= n->op->n_in)
            return nb_graph_refuse(g, n, "input %u is one too many", i);
    }
    return true;
}

static bool bind_states(struct nb_graph *g, struct nb_node *n, const struct nb_node_args *args)
{
    for (uint32_t i = 0; i < n->op->n_state; i++) {
        const uint32_t s = args->state[i];
        if (s == 0 || s >= g->n_values || g->values[s].kind != NB_VALUE_STATE)
            return nb_graph_refuse(g, n, "state %u is missing", i);
        if (g->values[s].producer)
            return nb_graph_refuse(g, n, "state %u is written twice", i);
        n->out[i] = s;
    }
    return true;
}

/* Output number i of n, which is node number g->n_nodes. */
static bool make_output(struct nb_graph *g, struct nb_node *n, uint32_t i,
                        const struct nb_value *out, const char *name)
{
    const uint32_t id = new_value(g);
    if (!id)
        return false;
    g->values[id] = *out;
    g->values[id].kind = NB_VALUE_ACTIVATION;
    g->values[id].block = n->block;
    g->values[id].producer = (uint32_t)g->n_nodes + 1;
    n->out[i] = id;
    const char *label = name ? nb_arena_strndup(&g->arena, name, strlen(name))
                             : nb_arena_printf(&g->arena, "v%u", id);
    if (!label)
        (void)fail(g, NB_ERR_NOMEM);
    g->values[id].name = label;
    return label != NULL;
}

/* name: of the first. */
static bool make_outputs(struct nb_graph *g, struct nb_node *n, const char *name)
{
    struct nb_value out[NB_NODE_OUTPUTS] = {0};
    if (!n->op->shape(g, n, out))
        return false;
    for (uint32_t i = 0; i < n->op->n_state; i++)
        g->values[n->out[i]].producer = (uint32_t)g->n_nodes + 1;
    if (n->op->n_state)
        return true;
    for (uint32_t i = 0; i < NB_MAX(n->op->n_out, 1U); i++)
        if (!make_output(g, n, i, &out[i], i == 0 ? name : NULL))
            return false;
    return true;
}

uint32_t nb_graph_add(struct nb_graph *g, const struct nb_node_args *args)
{
    if (g->status != NB_OK)
        return 0;
    struct nb_node n = {.op = args->op, .block = args->block};
    memcpy(n.in, args->in, sizeof n.in);
    if (!place_attrs(g, &n, args) || !check_inputs(g, &n) || !bind_states(g, &n, args))
        return 0;
    if (!nb_grow(g->arena.a, &g->nodes, &g->cap_nodes, g->n_nodes, sizeof *g->nodes))
        return fail(g, NB_ERR_NOMEM);
    if (!make_outputs(g, &n, args->name))
        return 0;
    count_block(g, n.block);
    g->nodes[g->n_nodes++] = n;
    return n.out[0];
}

uint32_t nb_graph_second(const struct nb_graph *g, uint32_t first)
{
    const uint32_t node = first < g->n_values ? g->values[first].producer : 0;
    return node ? g->nodes[node - 1].out[1] : 0;
}

void nb_graph_output(struct nb_graph *g, uint32_t value, const char *name)
{
    if (g->status != NB_OK || value == 0)
        return;
    if (name_value(g, value, name))
        g->values[value].kind = NB_VALUE_OUTPUT;
}

void nb_graph_set_int(struct nb_graph *g, const char *attr, int64_t value)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < NB_NODE_ATTRS; k++)
            if (g->nodes[i].attr[k].name && strcmp(g->nodes[i].attr[k].name, attr) == 0)
                g->nodes[i].attr[k].i = value;
}

uint32_t nb_graph_find(const struct nb_graph *g, const char *name)
{
    uint64_t id = 0;
    return nb_map_get(&g->names, name, strlen(name), &id) ? (uint32_t)id : 0;
}

struct nb_dim nb_dim_const(uint64_t n)
{
    return (struct nb_dim){.n = n, .sym = NB_SYM_ONE};
}

bool nb_dim_eq(struct nb_dim a, struct nb_dim b)
{
    return a.n == b.n && a.sym == b.sym;
}

bool nb_value_same_dims(const struct nb_value *a, const struct nb_value *b)
{
    bool same = a->rank == b->rank;
    for (uint32_t i = 0; same && i < a->rank; i++)
        same = nb_dim_eq(a->dim[i], b->dim[i]);
    return same;
}

bool nb_value_extent(const struct nb_value *v, const uint64_t sym[NB_N_SYMS], uint64_t *rows,
                     uint64_t *cols)
{
    uint64_t r = 1, c = 1;
    for (uint32_t i = 0; i < v->rank; i++) {
        uint64_t d;
        const uint64_t s = v->dim[i].sym == NB_SYM_ONE ? 1 : sym[v->dim[i].sym];
        if (!nb_mul_u64(&d, v->dim[i].n, s))
            return false;
        if (i + 1 == v->rank)
            c = d;
        else if (!nb_mul_u64(&r, r, d))
            return false;
    }
    *rows = r;
    *cols = c;
    return true;
}

/* Q8: for each 32 columns, 32 codes, one d, two sums. */
bool nb_value_bytes(const struct nb_value *v, const uint64_t sym[NB_N_SYMS], uint64_t *bytes)
{
    uint64_t rows, cols, n;
    if (!nb_value_extent(v, sym, &rows, &cols) || !nb_mul_u64(&n, rows, cols))
        return false;
    if (v->type == NB_VALUE_Q8)
        return cols % NB_Q8_BLOCK == 0 &&
               nb_mul_u64(bytes, n / NB_Q8_BLOCK,
                          NB_Q8_BLOCK + sizeof(float) + 2 * sizeof(int16_t));
    const size_t item = nb_value_item_bytes(v->type);
    return item > 0 && nb_mul_u64(bytes, n, item);
}

size_t nb_value_item_bytes(enum nb_value_type type)
{
    switch (type) {
    case NB_VALUE_F64:
    case NB_VALUE_I64:
        return 8;
    case NB_VALUE_F32:
    case NB_VALUE_U32:
    case NB_VALUE_I32:
        return 4;
    case NB_VALUE_I16:
    case NB_VALUE_U16:
        return 2;
    case NB_VALUE_I8:
    case NB_VALUE_U8:
    case NB_VALUE_BOOL:
        return 1;
    case NB_VALUE_Q8:
    case NB_VALUE_STORED:
    default:
        return 0;
    }
}

uint64_t nb_value_count(const struct nb_value *v)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < v->rank; i++)
        n *= v->dim[i].n;
    return n;
}

struct nb_q8 nb_slot_q8(const struct nb_slot *s)
{
    const size_t n = (size_t)(s->rows * s->cols);
    const uint8_t *q = s->data;
    const void *d = q + n;
    const void *sum16 = q + n + n / NB_Q8_BLOCK * sizeof(float);
    return (struct nb_q8){.q = s->data, .d = d, .sum16 = sum16};
}
