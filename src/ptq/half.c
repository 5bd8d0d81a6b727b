/* ptq/half.c: a model in float16: constants halved, operators that take it compute in it, casts where the two meet.
 * Inputs and outputs keep float32.
 *
 * What stays float32: operators that do not take float16 (Resize, NonMaxSuppression, what is not ONNX's own ...), nodes with
 * graphs inside and what those read; nodes with a constant beyond 65504, or with a single number that would become 0 (the
 * epsilon of a norm); with samples, nodes whose values pass 65504.
 */
#include <math.h>
#include <string.h>

#include "net/net.h"
#include "ptq/ptq_internal.h"

#define MOST 65504.0

/* Owns: types, half_of, float_of, beyond. */
struct halving {
    struct nb_edit *e;
    const struct nb_ptq_half_options *o;
    struct nb_ptq_report *report;
    struct nb_map types;             /* value -> element type in the file */
    struct nb_map half_of, float_of; /* value -> 1 + index in names: its twin */
    const char **names;
    size_t n_names, cap_names;
    struct nb_map beyond; /* values that samples took past 65504 */
    bool *half;           /* (n_nodes) */
    size_t n_nodes;       /* of the file */
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to halve a net");
}

static bool is_float(const struct halving *h, const char *name)
{
    return name[0] != '\0' && nb_half_type(&h->types, name) == NB_ONNX_FLOAT32;
}

/* ---- constants ---- */

static float element(const struct nb_onnx_tensor *t, uint64_t i)
{
    float x;
    memcpy(&x, t->data + 4 * i, sizeof x);
    return x;
}

/* Numbers that float16 does not have: finite and beyond it, or the only one and too small. */
static uint64_t count_beyond(const struct nb_onnx_tensor *t)
{
    uint64_t n = 0;
    if (t->data == NULL)
        return 0;
    for (uint64_t i = 0; i < t->n; i++) {
        const float x = element(t, i);
        n += isfinite(x) && isinf(nb_f16_to_f32(nb_f32_to_f16(x)));
    }
    if (t->n == 1 && element(t, 0) != 0.0F && (nb_f32_to_f16(element(t, 0)) & 0x7fffU) == 0)
        n = 1;
    return n;
}

static enum nb_status halve_tensor(struct halving *h, const char *name, const char **out,
                                   struct nb_error *err)
{
    const struct nb_onnx_tensor t = *nb_edit_tensor(h->e, name);
    uint16_t *data = nb_arena_alloc(&h->e->arena, (size_t)t.n + 1, sizeof *data);
    *out = nb_edit_name(h->e, name, "_f16");
    if (data == NULL || *out == NULL)
        return no_memory(err);
    for (uint64_t i = 0; i < t.n && t.data != NULL; i++)
        data[i] = nb_f32_to_f16(element(&t, i));
    return nb_edit_put(h->e, *out, NB_ONNX_FLOAT16, t.dims, t.rank, data, err);
}

/* ---- which nodes ---- */

static bool has_graph(const struct nb_onnx_node *n)
{
    for (size_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].type == NB_ONNX_ATTR_GRAPH || n->attrs[i].type == NB_ONNX_ATTR_GRAPHS)
            return true;
    return false;
}

static bool passes(const struct halving *h, const char *name)
{
    uint64_t v;
    return nb_map_get(&h->beyond, name, strlen(name), &v);
}

/* Could it compute in float16? Types of all that it reads and makes are known, and some are floats. */
static bool can_be(const struct halving *h, const struct nb_onnx_node *n)
{
    bool any = false;
    if (n->op_type == NULL || !nb_half_takes(n) || has_graph(n) ||
        nb_ptq_is_kept(n, h->o->keep, h->o->n_keep))
        return false;
    for (size_t k = 0; k < n->n_inputs + n->n_outputs; k++) {
        const bool in = k < n->n_inputs;
        const char *name = in ? n->inputs[k] : n->outputs[k - n->n_inputs];
        if (name[0] == '\0')
            continue;
        const struct nb_onnx_tensor *t = in ? nb_edit_tensor(h->e, name) : NULL;
        if (nb_half_type(&h->types, name) == NB_ONNX_UNDEFINED || passes(h, name) ||
            (!in && nb_edit_read_inside(h->e, name)))
            return false;
        if (is_float(h, name) && t != NULL && (t->data == NULL || count_beyond(t) > 0))
            return false;
        any = any || is_float(h, name);
    }
    return any;
}

static enum nb_status choose(struct halving *h, struct nb_error *err)
{
    struct nb_edit *e = h->e;
    h->n_nodes = e->n_nodes;
    h->half = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *h->half);
    struct nb_ptq_node *list = nb_ptq_list_nodes(e, h->o->keep, h->o->n_keep, h->report);
    if (h->half == NULL || list == NULL)
        return no_memory(err);
    for (size_t i = 0; i < e->n_nodes; i++) {
        h->half[i] = can_be(h, &e->nodes[i]);
        if (h->half[i])
            list[i].fate = NB_PTQ_IS_QUANTIZED;
        h->report->n_quantized += h->half[i];
        h->report->n_nodes += e->nodes[i].op_type != NULL;
    }
    for (size_t i = 0; i < e->n_tensors; i++) {
        size_t reader;
        const struct nb_onnx_tensor *t = &e->tensors[i];
        if (t->type != NB_ONNX_FLOAT32 || nb_edit_readers(e, t->name, &reader) == 0)
            continue;
        const uint64_t n = count_beyond(t);
        h->report->n_beyond += n;
        h->report->n_kept += n > 0;
    }
    return NB_OK;
}

/* ---- twins ---- */

static enum nb_status add_cast(struct nb_edit *e, const char *from, const char *to, int32_t type,
                               struct nb_error *err)
{
    const struct nb_onnx_attr attr = {.name = "to", .type = NB_ONNX_ATTR_INT, .i = type};
    const struct nb_onnx_node n = {.op_type = "Cast",
                                   .inputs = &from,
                                   .n_inputs = 1,
                                   .outputs = &to,
                                   .n_outputs = 1,
                                   .attrs = &attr,
                                   .n_attrs = 1};
    return nb_edit_put_node(e, &n, "_cast", err);
}

static const char *twin(const struct halving *h, const struct nb_map *of, const char *name)
{
    uint64_t v;
    return nb_map_get(of, name, strlen(name), &v) ? h->names[v] : NULL;
}

static enum nb_status set_twin(struct halving *h, struct nb_map *of, const char *name,
                               const char *is, struct nb_error *err)
{
    if (is == NULL || !nb_grow(h->e->a, &h->names, &h->cap_names, h->n_names, sizeof *h->names))
        return no_memory(err);
    h->names[h->n_names] = is;
    if (nb_map_put(of, name, strlen(name), h->n_names) != NB_OK)
        return no_memory(err);
    h->n_names++;
    return NB_OK;
}

/* The name under which a float value of the file is had in float16 (or float32). */
static enum nb_status version_of(struct halving *h, bool half, const char *name, const char **out,
                                 struct nb_error *err)
{
    struct nb_map *of = half ? &h->half_of : &h->float_of;
    *out = twin(h, of, name);
    if (*out != NULL)
        return NB_OK;
    const char *other = twin(h, half ? &h->float_of : &h->half_of, name);
    const char *have = other != NULL ? other : name;
    if (half && nb_edit_tensor(h->e, name) != NULL) {
        NB_TRY(halve_tensor(h, name, out, err));
    } else if (!half && other == NULL) {
        *out = name; /* float32 as ever */
        return NB_OK;
    } else {
        *out = nb_edit_name(h->e, name, half ? "_f16" : "_f32");
        NB_TRY(add_cast(h->e, have, *out, half ? NB_ONNX_FLOAT16 : NB_ONNX_FLOAT32, err));
    }
    return set_twin(h, of, name, *out, err);
}

/* What halved nodes make: under its own name, or another where the net gives it away in float32. */
static enum nb_status name_outputs(struct halving *h, struct nb_error *err)
{
    struct nb_edit *e = h->e;
    for (size_t i = 0; i < h->n_nodes; i++)
        for (size_t k = 0; h->half[i] && k < e->nodes[i].n_outputs; k++) {
            const char *name = e->nodes[i].outputs[k], *made = name;
            if (!is_float(h, name))
                continue;
            if (nb_edit_is_output(e, name)) {
                made = nb_edit_name(e, name, "_f16");
                NB_TRY(add_cast(e, made, name, NB_ONNX_FLOAT32, err));
                NB_TRY(nb_edit_set_output(e, i, k, made, err));
                NB_TRY(set_twin(h, &h->float_of, name, name, err));
            }
            NB_TRY(set_twin(h, &h->half_of, name, made, err));
        }
    return NB_OK;
}

static bool takes_any(const struct nb_onnx_node *n)
{
    return nb_str_eq(n->op_type, "Shape") || nb_str_eq(n->op_type, "Size") ||
           nb_str_eq(n->op_type, "Cast");
}

static enum nb_status rewire(struct halving *h, struct nb_error *err)
{
    struct nb_edit *e = h->e;
    for (size_t i = 0; i < h->n_nodes; i++) {
        if (e->nodes[i].op_type == NULL)
            continue;
        const bool any = !h->half[i] && takes_any(&e->nodes[i]);
        for (size_t k = 0; k < e->nodes[i].n_inputs; k++) {
            const char *name = e->nodes[i].inputs[k], *to = NULL;
            if (!is_float(h, name))
                continue;
            if (any) /* what is there */
                to = twin(h, &h->half_of, name);
            else
                NB_TRY(version_of(h, h->half[i], name, &to, err));
            if (to != NULL && to != name)
                NB_TRY(nb_edit_set_input(e, i, k, to, err));
        }
    }
    return NB_OK;
}

/* ---- values past 65504, over samples ---- */

static enum nb_status note_beyond(struct halving *h, const struct nb_net *net,
                                  const struct nb_observed_net *seen, struct nb_error *err)
{
    for (uint32_t v = 1; v < net->g.n_values; v++) {
        const struct nb_seen *s = &seen->seen[v];
        if (!s->any || NB_MAX(-s->least, s->greatest) < MOST)
            continue;
        const char *seen_name =
            net->g.values[v].name; /* the net's, which goes before the map does */
        const char *name = nb_arena_strndup(&h->e->arena, seen_name, strlen(seen_name));
        if (name == NULL)
            return no_memory(err);
        const enum nb_status st = nb_map_put(&h->beyond, name, strlen(name), 1);
        if (st != NB_OK && st != NB_ERR_EXISTS)
            return no_memory(err);
        h->report->n_beyond_values++;
    }
    return NB_OK;
}

static enum nb_status see_values(struct halving *h, struct nb_ptq *t,
                                 const struct nb_net_options *options,
                                 const struct nb_ptq_data *data, struct nb_pool *pool,
                                 struct nb_error *err)
{
    struct nb_net *net;
    struct nb_observed_net seen;
    NB_TRY(nb_edit_model(&t->edit, &t->simple, err));
    NB_TRY(nb_net_import(&net, &t->simple, options, t->a, err));
    enum nb_status st = nb_ptq_check_data(net, data, err);
    if (st == NB_OK)
        st = nb_ptq_observe(&seen, net, data, false, pool, t->a, err);
    if (st == NB_OK) {
        st = note_beyond(h, net, &seen, err);
        nb_observed_net_fini(&seen);
    }
    nb_net_close(net);
    return st;
}

/* ---- all of it ---- */

static enum nb_status run(struct nb_ptq *t, struct halving *h, const struct nb_net_options *net,
                          const struct nb_ptq_data *data, struct nb_pool *pool,
                          struct nb_error *err)
{
    NB_TRY(nb_ptq_simplify(&t->edit, err));
    t->report.float_bytes = nb_edit_bytes(&t->edit);
    if (data->n_samples > 0)
        NB_TRY(see_values(h, t, net, data, pool, err));
    NB_TRY(nb_half_types(&h->types, &t->edit, err));
    NB_TRY(choose(h, err));
    if (t->report.n_quantized == 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "no node of this net takes float16");
    NB_TRY(name_outputs(h, err));
    NB_TRY(rewire(h, err));
    t->report.bytes = nb_edit_bytes(&t->edit);
    return nb_edit_model(&t->edit, &t->model, err);
}

enum nb_status nb_ptq_create_half(struct nb_ptq **out, const struct nb_onnx_model *m,
                                  const struct nb_net_options *net,
                                  const struct nb_ptq_half_options *o,
                                  const struct nb_ptq_data *data, struct nb_pool *pool,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    NB_TRY(nb_ptq_begin(out, m, a, err));
    struct nb_ptq *t = *out;
    struct halving h = {.e = &t->edit, .o = o, .report = &t->report};
    struct nb_map *const maps[] = {&h.types, &h.half_of, &h.float_of, &h.beyond};
    for (size_t i = 0; i < NB_COUNTOF(maps); i++)
        nb_map_init(maps[i], a);
    const enum nb_status st = run(t, &h, net, data, pool, err);
    for (size_t i = 0; i < NB_COUNTOF(maps); i++)
        nb_map_fini(maps[i]);
    nb_free(a, h.names);
    return nb_ptq_end(out, st);
}
