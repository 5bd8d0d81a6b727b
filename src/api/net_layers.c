/* api/net_layers.c: values between the nodes of two nets, compared by name: where a loss arises.
 *
 * Both nets run as their files say, since rewriting takes values away. A quantized net keeps the names of the float one:
 * its value is taken behind its QuantizeLinear and DequantizeLinear if it has those, and codes (TFLite) through their
 * grid. Values of other shapes, and integers that stand for nothing, are left out.
 */
#include "api/net_layers.h"

#include <math.h>
#include <string.h>

#define PART 128 /* elements compared at once */

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to compare the layers of two nets");
}

static const struct nb_graph *graph(const struct nb_net_layers *l, int side)
{
    return &l->side[side].e->net->g;
}

/* ---- pairs ---- */

/* Real numbers, or codes whose grid is known. */
static bool is_real(const struct nb_net_layers *l, int side, uint32_t value,
                    struct nb_net_grid *grid)
{
    const struct nb_value *v = &graph(l, side)->values[value];
    const struct nb_onnx_model *m = nb_net_source_model(&l->side[side].e->file->source);
    *grid = (struct nb_net_grid){.scale = 0.0f};
    if (v->type == NB_VALUE_F32 || v->type == NB_VALUE_F64)
        return true;
    return (v->type == NB_VALUE_I8 || v->type == NB_VALUE_U8) && m != NULL &&
           nb_net_grid(m, v->name, grid);
}

static uint32_t named(const struct nb_net_layers *l, const char *name)
{
    uint64_t v = 0;
    return nb_map_get(&l->names, name, strlen(name), &v) ? (uint32_t)v : 0;
}

/* What the net has for a name of the reference; 0: nothing. */
static uint32_t counterpart(const struct nb_net_layers *l, const char *name)
{
    const struct nb_onnx_model *m = nb_net_source_model(&l->side[1].e->file->source);
    const char *rounded = m != NULL ? nb_net_rounded(m, name) : NULL;
    const uint32_t v = rounded != NULL ? named(l, rounded) : 0;
    return v != 0 ? v : named(l, name);
}

static enum nb_status name_values(struct nb_net_layers *l, struct nb_error *err)
{
    const struct nb_graph *g = graph(l, 1);
    for (size_t i = 1; i < g->n_values; i++) {
        const char *name = g->values[i].name;
        if (name != NULL && nb_map_put(&l->names, name, strlen(name), i) == NB_ERR_NOMEM)
            return no_memory(err);
    }
    return NB_OK;
}

static bool same_shape(const struct nb_value *a, const struct nb_value *b)
{
    bool same = a->rank == b->rank;
    for (uint32_t i = 0; same && i < a->rank; i++)
        same = a->dim[i].n == b->dim[i].n;
    return same;
}

static bool is_made(const struct nb_value *v)
{
    return v->producer != 0 && v->kind != NB_VALUE_CONST && v->name != NULL && v->name[0] != '\0';
}

static enum nb_status add_pair(struct nb_net_layers *l, uint32_t value, struct nb_error *err)
{
    const struct nb_value *v = &graph(l, 0)->values[value];
    struct nb_net_layer pair = {.value = {value, 0}, .n = nb_value_count(v)};
    if (!is_made(v) || !is_real(l, 0, value, &pair.grid[0]))
        return NB_OK;
    pair.value[1] = counterpart(l, v->name);
    const struct nb_value *w = &graph(l, 1)->values[pair.value[1]];
    if (pair.value[1] == 0 || !is_made(w) || l->of[1][pair.value[1]] != 0 ||
        !is_real(l, 1, pair.value[1], &pair.grid[1]) || !same_shape(v, w)) {
        l->n_alone++;
        return NB_OK;
    }
    pair.data = nb_arena_alloc(&l->arena, (size_t)pair.n + 1, nb_value_item_bytes(v->type));
    if (pair.data == NULL)
        return no_memory(err);
    l->items[l->n++] = pair;
    l->of[0][value] = l->of[1][pair.value[1]] = (uint32_t)l->n;
    return NB_OK;
}

/* ---- running ---- */

static void keep_reference(void *ctx, uint32_t value, const struct nb_slot *slot)
{
    struct nb_net_layers *l = ctx;
    if (l->of[0][value] == 0)
        return;
    struct nb_net_layer *p = &l->items[l->of[0][value] - 1];
    const size_t item = nb_value_item_bytes(graph(l, 0)->values[value].type);
    memcpy(p->data, slot->data, (size_t)p->n * item);
    p->fresh = true;
}

static void compare(void *ctx, uint32_t value, const struct nb_slot *slot)
{
    struct nb_net_layers *l = ctx;
    if (l->of[1][value] == 0)
        return;
    struct nb_net_layer *p = &l->items[l->of[1][value] - 1];
    const enum nb_value_type types[] = {graph(l, 0)->values[p->value[0]].type,
                                        graph(l, 1)->values[value].type};
    double x[PART], y[PART];
    for (uint64_t i = 0; p->fresh && i < p->n; i += PART) {
        const size_t n = (size_t)NB_MIN(p->n - i, (uint64_t)PART);
        nb_net_widen(x, types[0], (const uint8_t *)p->data + i * nb_value_item_bytes(types[0]), n);
        nb_net_widen(y, types[1], (const uint8_t *)slot->data + i * nb_value_item_bytes(types[1]),
                     n);
        nb_net_grid_reals(p->grid[0], x, n);
        nb_net_grid_reals(p->grid[1], y, n);
        nb_agreement_add(&p->agreement, x, y, n, 0);
    }
}

enum nb_status nb_net_layers_open(struct nb_net_layers *l, nb_context *ctx,
                                  const char *const path[2],
                                  const struct nb_executor_options *options, struct nb_error *err)
{
    *l = (struct nb_net_layers){.n = 0};
    nb_arena_init(&l->arena, &ctx->allocator, 0);
    nb_map_init(&l->names, &ctx->allocator);
    for (int k = 0; k < 2; k++) {
        struct nb_executor_options o = options[k];
        o.flags |= NB_EXECUTOR_AS_FILE;
        NB_TRY(nb_net_side_open(&l->side[k], ctx, path[k], &o, err));
        l->of[k] = nb_arena_alloc(&l->arena, graph(l, k)->n_values + 1, sizeof *l->of[k]);
        if (l->of[k] == NULL)
            return no_memory(err);
    }
    const struct nb_graph *g = graph(l, 0);
    l->items = nb_arena_alloc(&l->arena, g->n_values + 1, sizeof *l->items);
    if (l->items == NULL)
        return no_memory(err);
    NB_TRY(name_values(l, err));
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < NB_NODE_OUTPUTS; k++)
            if (g->nodes[g->order[i]].out[k] != 0)
                NB_TRY(add_pair(l, g->nodes[g->order[i]].out[k], err));
    nb_net_session_tap(l->side[0].e->session, keep_reference, l);
    nb_net_session_tap(l->side[1].e->session, compare, l);
    return NB_OK;
}

void nb_net_layers_fini(struct nb_net_layers *l)
{
    nb_net_side_close(&l->side[0]);
    nb_net_side_close(&l->side[1]);
    nb_map_fini(&l->names);
    nb_arena_fini(&l->arena);
}

enum nb_status nb_net_layers_run(struct nb_net_layers *l, const struct nb_net_side *from,
                                 struct nb_error *err)
{
    for (size_t i = 0; i < l->n; i++)
        l->items[i].fresh = false;
    for (int k = 0; k < 2; k++) {
        NB_TRY(nb_net_side_feed_like(&l->side[k], from, err));
        NB_TRY(nb_net_side_run(&l->side[k], err));
    }
    return NB_OK;
}

/* ---- report ---- */

/* Worst of what comes into a value: of pairs their own, of others what comes into them. */
static double before(const struct nb_graph *g, uint32_t value, const double *arrives)
{
    double worst = (double)INFINITY;
    const struct nb_node *n = &g->nodes[g->values[value].producer - 1];
    for (size_t k = 0; k < NB_NODE_INPUTS; k++)
        if (n->in[k] != 0 && arrives[n->in[k]] < worst)
            worst = arrives[n->in[k]];
    return worst;
}

void nb_net_layers_report(const struct nb_net_layers *l, struct nb_net_nearness *out, double *room)
{
    const struct nb_graph *g = graph(l, 0);
    for (size_t i = 0; i < g->n_values; i++)
        room[i] = (double)INFINITY;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct nb_node *n = &g->nodes[g->order[i]];
        for (size_t k = 0; k < NB_NODE_OUTPUTS; k++) {
            const uint32_t v = n->out[k], item = v != 0 ? l->of[0][v] : 0;
            if (v == 0)
                continue;
            const double came = before(g, v, room);
            room[v] = item != 0 ? nb_agreement_sqnr(&l->items[item - 1].agreement) : came;
            if (item == 0)
                continue;
            const struct nb_net_layer *p = &l->items[item - 1];
            out[item - 1] = (struct nb_net_nearness){.name = g->values[v].name,
                                                     .other = graph(l, 1)->values[p->value[1]].name,
                                                     .op = n->op->name,
                                                     .sqnr_db = room[v],
                                                     .cosine = nb_agreement_cosine(&p->agreement),
                                                     .most = p->agreement.most,
                                                     .before_db = came,
                                                     .elements = p->n};
        }
    }
}
