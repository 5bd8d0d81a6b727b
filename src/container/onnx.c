/* container/onnx.c: reading an ONNX file into the structs of onnx.h.
 *
 * ONNX IR.md. The file is mapped, its wire format checked and the weights left out (onnx_wire.c), the rest
 * unpacked by protobuf-c into the model's arena; the structs borrow from there. Hence two copies of all that
 * is no weight live for a moment, and of raw weights none.
 * Left out: what lies in the extras (functions, training, sparse tensors, types other than tensors).
 */
#include "container/onnx_internal.h"

#include <string.h>

#define ARENA_CHUNK_BYTES 65536
#define IR_VERSION_MAX    127 /* one byte; ONNX 1.20 is at 13 */

/* ---- memory ---- */

static void *pb_alloc(void *ctx, size_t n)
{
    struct nb_onnx *o = ctx;
    void *p = nb_arena_alloc(&o->arena, NB_MAX(n, (size_t)1), 1);
    o->no_memory = o->no_memory || p == NULL;
    return p;
}

static void pb_free(void *ctx, void *p) /* with the arena */
{
    (void)ctx;
    (void)p;
}

enum nb_status nb_onnx_array(struct nb_onnx *o, void *items, size_t n, size_t size,
                             struct nb_error *err)
{
    void *p = NULL;
    if (n > 0) {
        p = nb_arena_alloc(&o->arena, n, size);
        if (p == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    memcpy(items, &p, sizeof p);
    return NB_OK;
}

enum nb_status nb_onnx_read_extras(struct nb_onnx *o, struct nb_onnx_extras *x,
                                   const ProtobufCMessage *pb, struct nb_error *err)
{
    struct nb_onnx_extra *items = NULL;
    NB_TRY(nb_onnx_array(o, &items, pb->n_unknown_fields, sizeof *items, err));
    for (size_t i = 0; i < pb->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *f = &pb->unknown_fields[i];
        items[i] = (struct nb_onnx_extra){f->tag, (uint32_t)f->wire_type, f->data, f->len};
    }
    *x = (struct nb_onnx_extras){items, pb->n_unknown_fields};
    return NB_OK;
}

enum nb_status nb_onnx_read_meta(struct nb_onnx *o, struct nb_onnx_meta *m, size_t n,
                                 Nb__Onnx__Entry *const *pb, struct nb_error *err)
{
    struct nb_onnx_entry *items = NULL;
    NB_TRY(nb_onnx_array(o, &items, n, sizeof *items, err));
    for (size_t i = 0; i < n; i++)
        items[i] = (struct nb_onnx_entry){pb[i]->key != NULL ? pb[i]->key : "",
                                          pb[i]->value != NULL ? pb[i]->value : ""};
    *m = (struct nb_onnx_meta){items, n};
    return NB_OK;
}

/* ---- values ---- */

static enum nb_status read_type(struct nb_onnx *o, struct nb_onnx_value *v,
                                const Nb__Onnx__Type *pb, struct nb_error *err)
{
    struct nb_onnx_dim *dims = NULL;
    v->typed = true;
    NB_TRY(nb_onnx_read_extras(o, &v->type_extras, &pb->base, err));
    if (pb->tensor_type == NULL)
        return NB_OK;
    v->tensor = true;
    v->type = pb->tensor_type->elem_type;
    if (v->type != NB_ONNX_UNDEFINED && nb_onnx_type_info(v->type) == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "element type %d, which nibble does not know",
                (int)v->type);
    const Nb__Onnx__Shape *shape = pb->tensor_type->shape;
    if (shape == NULL)
        return NB_OK;
    if (shape->n_dim > INT32_MAX)
        NB_FAIL(err, NB_ERR_LIMIT, "%zu dimensions", shape->n_dim);
    NB_TRY(nb_onnx_array(o, &dims, shape->n_dim, sizeof *dims, err));
    for (size_t i = 0; i < shape->n_dim; i++) {
        const Nb__Onnx__Dimension *d = shape->dim[i];
        dims[i] = (struct nb_onnx_dim){.value = -1, .denotation = d->denotation};
        if (d->value_case == NB__ONNX__DIMENSION__VALUE_DIM_PARAM)
            dims[i].name = d->dim_param;
        if (d->value_case == NB__ONNX__DIMENSION__VALUE_DIM_VALUE) /* negative: not known */
            dims[i].value = NB_MAX(d->dim_value, -1);
    }
    v->dims = dims;
    v->rank = (int32_t)shape->n_dim;
    return NB_OK;
}

static enum nb_status read_values(struct nb_onnx *o, const struct nb_onnx_value **out, size_t n,
                                  Nb__Onnx__ValueInfo *const *pb, const char *what,
                                  struct nb_error *err)
{
    struct nb_onnx_value *values = NULL;
    NB_TRY(nb_onnx_array(o, &values, n, sizeof *values, err));
    for (size_t i = 0; i < n; i++) {
        char quote[NB_ONNX_QUOTE_BYTES];
        struct nb_onnx_value *v = &values[i];
        *v = (struct nb_onnx_value){.name = pb[i]->name, .doc = pb[i]->doc_string, .rank = -1};
        if (v->name == NULL || v->name[0] == '\0')
            NB_FAIL(err, NB_ERR_FORMAT, "%s %zu has no name", what, i);
        enum nb_status st = nb_onnx_read_extras(o, &v->extras, &pb[i]->base, err);
        if (st == NB_OK)
            st =
                nb_onnx_read_meta(o, &v->meta, pb[i]->n_metadata_props, pb[i]->metadata_props, err);
        if (st == NB_OK && pb[i]->type != NULL)
            st = read_type(o, v, pb[i]->type, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "%s '%s'", what,
                                   nb_printable(quote, sizeof quote, v->name, strlen(v->name)));
    }
    *out = values;
    return NB_OK;
}

/* ---- attributes and nodes ---- */

static enum nb_status read_graph(struct nb_onnx *o, struct nb_onnx_graph *g,
                                 const Nb__Onnx__Graph *pb, struct nb_error *err);

static enum nb_status read_texts(struct nb_onnx *o, struct nb_onnx_attr *a,
                                 const Nb__Onnx__Attribute *pb, struct nb_error *err)
{
    struct nb_text *items = NULL;
    NB_TRY(nb_onnx_array(o, &items, pb->n_strings, sizeof *items, err));
    for (size_t i = 0; i < pb->n_strings; i++)
        items[i] = (struct nb_text){(const char *)pb->strings[i].data, pb->strings[i].len};
    a->strings = items;
    a->n = pb->n_strings;
    return NB_OK;
}

static enum nb_status read_tensors(struct nb_onnx *o, const struct nb_onnx_tensor **out, size_t n,
                                   Nb__Onnx__Tensor *const *pb, struct nb_error *err)
{
    struct nb_onnx_tensor *items = NULL;
    NB_TRY(nb_onnx_array(o, &items, n, sizeof *items, err));
    for (size_t i = 0; i < n; i++)
        NB_TRY(nb_onnx_read_tensor(o, &items[i], pb[i], err));
    *out = items;
    return NB_OK;
}

static enum nb_status read_graphs(struct nb_onnx *o, const struct nb_onnx_graph **out, size_t n,
                                  Nb__Onnx__Graph *const *pb, struct nb_error *err)
{
    struct nb_onnx_graph *items = NULL;
    NB_TRY(nb_onnx_array(o, &items, n, sizeof *items, err));
    o->nesting++;
    for (size_t i = 0; i < n; i++)
        NB_TRY(read_graph(o, &items[i], pb[i], err));
    o->nesting--;
    *out = items;
    return NB_OK;
}

/* Of files from before the type was written down: the one field that is there; 0: none, or several. */
static int32_t guess_type(const Nb__Onnx__Attribute *pb)
{
    const bool has[] = {
        [NB_ONNX_ATTR_FLOAT] = pb->has_f,           [NB_ONNX_ATTR_INT] = pb->has_i,
        [NB_ONNX_ATTR_STRING] = pb->has_s,          [NB_ONNX_ATTR_TENSOR] = pb->t != NULL,
        [NB_ONNX_ATTR_GRAPH] = pb->g != NULL,       [NB_ONNX_ATTR_FLOATS] = pb->n_floats > 0,
        [NB_ONNX_ATTR_INTS] = pb->n_ints > 0,       [NB_ONNX_ATTR_STRINGS] = pb->n_strings > 0,
        [NB_ONNX_ATTR_TENSORS] = pb->n_tensors > 0, [NB_ONNX_ATTR_GRAPHS] = pb->n_graphs > 0};
    int32_t type = 0, n = 0;
    for (int32_t i = 1; i < (int32_t)NB_COUNTOF(has); i++)
        if (has[i]) {
            type = i;
            n++;
        }
    return n == 1 ? type : 0;
}

static enum nb_status read_attr_value(struct nb_onnx *o, struct nb_onnx_attr *a,
                                      const Nb__Onnx__Attribute *pb, struct nb_error *err)
{
    switch (a->type) {
    case NB_ONNX_ATTR_FLOAT:
        a->f = pb->f;
        return NB_OK;
    case NB_ONNX_ATTR_INT:
        a->i = pb->i;
        return NB_OK;
    case NB_ONNX_ATTR_STRING:
        a->s = (struct nb_text){(const char *)pb->s.data, pb->s.len};
        return NB_OK;
    case NB_ONNX_ATTR_TENSOR:
        a->n = 1;
        return pb->t == NULL ? NB_ERROR(err, NB_ERR_FORMAT, "the tensor is missing")
                             : read_tensors(o, &a->t, 1, &pb->t, err);
    case NB_ONNX_ATTR_GRAPH:
        a->n = 1;
        return pb->g == NULL ? NB_ERROR(err, NB_ERR_FORMAT, "the graph is missing")
                             : read_graphs(o, &a->g, 1, &pb->g, err);
    case NB_ONNX_ATTR_FLOATS:
        a->floats = pb->floats;
        a->n = pb->n_floats;
        return NB_OK;
    case NB_ONNX_ATTR_INTS:
        a->ints = pb->ints;
        a->n = pb->n_ints;
        return NB_OK;
    case NB_ONNX_ATTR_STRINGS:
        return read_texts(o, a, pb, err);
    case NB_ONNX_ATTR_TENSORS:
        a->n = pb->n_tensors;
        return read_tensors(o, &a->t, a->n, pb->tensors, err);
    case NB_ONNX_ATTR_GRAPHS:
        a->n = pb->n_graphs;
        return read_graphs(o, &a->g, a->n, pb->graphs, err);
    default:
        if (a->type <= 0 && a->ref == NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "has no type, and not just one value");
        return NB_OK; /* in the extras */
    }
}

static enum nb_status read_attrs(struct nb_onnx *o, struct nb_onnx_node *n,
                                 const Nb__Onnx__Node *pb, struct nb_error *err)
{
    struct nb_onnx_attr *attrs = NULL;
    NB_TRY(nb_onnx_array(o, &attrs, pb->n_attribute, sizeof *attrs, err));
    for (size_t i = 0; i < pb->n_attribute; i++) {
        const Nb__Onnx__Attribute *from = pb->attribute[i];
        char quote[NB_ONNX_QUOTE_BYTES];
        if (from->name == NULL || from->name[0] == '\0')
            NB_FAIL(err, NB_ERR_FORMAT, "attribute %zu has no name", i);
        for (size_t k = 0; k < i && i < 256; k++) /* quadratic, but nobody has so many */
            if (nb_str_eq(attrs[k].name, from->name))
                NB_FAIL(err, NB_ERR_FORMAT, "attribute '%s' is there twice",
                        nb_printable(quote, sizeof quote, from->name, strlen(from->name)));
        attrs[i] = (struct nb_onnx_attr){.name = from->name,
                                         .doc = from->doc_string,
                                         .ref = from->ref_attr_name,
                                         .type = from->type != 0 ? from->type : guess_type(from)};
        enum nb_status st = nb_onnx_read_extras(o, &attrs[i].extras, &from->base, err);
        if (st == NB_OK)
            st = read_attr_value(o, &attrs[i], from, err);
        if (st != NB_OK)
            return nb_error_prefix(
                err, st, "attribute '%s'",
                nb_printable(quote, sizeof quote, from->name, strlen(from->name)));
    }
    n->attrs = attrs;
    n->n_attrs = pb->n_attribute;
    return NB_OK;
}

/* "node 'conv1' (Conv)", or its number where it has no name. */
static enum nb_status in_node(struct nb_error *err, enum nb_status st, const struct nb_onnx_node *n,
                              size_t i)
{
    char name[NB_ONNX_QUOTE_BYTES], op[NB_ONNX_QUOTE_BYTES / 2];
    const char *type = n->op_type != NULL ? n->op_type : "";
    nb_printable(op, sizeof op, type, strlen(type));
    if (n->name == NULL || n->name[0] == '\0')
        return nb_error_prefix(err, st, "node %zu (%s)", i, op);
    return nb_error_prefix(err, st, "node '%s' (%s)",
                           nb_printable(name, sizeof name, n->name, strlen(n->name)), op);
}

static enum nb_status read_node(struct nb_onnx *o, struct nb_onnx_node *n, const Nb__Onnx__Node *pb,
                                struct nb_error *err)
{
    if (n->op_type == NULL || n->op_type[0] == '\0')
        NB_FAIL(err, NB_ERR_FORMAT, "has no operator");
    NB_TRY(nb_onnx_read_extras(o, &n->extras, &pb->base, err));
    NB_TRY(nb_onnx_read_meta(o, &n->meta, pb->n_metadata_props, pb->metadata_props, err));
    return read_attrs(o, n, pb, err);
}

static enum nb_status read_nodes(struct nb_onnx *o, struct nb_onnx_graph *g,
                                 const Nb__Onnx__Graph *pb, struct nb_error *err)
{
    struct nb_onnx_node *nodes = NULL;
    NB_TRY(nb_onnx_array(o, &nodes, pb->n_node, sizeof *nodes, err));
    for (size_t i = 0; i < pb->n_node; i++) {
        const Nb__Onnx__Node *from = pb->node[i];
        nodes[i] = (struct nb_onnx_node){.name = from->name,
                                         .op_type = from->op_type,
                                         .domain = from->domain,
                                         .doc = from->doc_string,
                                         .inputs = (const char *const *)from->input,
                                         .outputs = (const char *const *)from->output,
                                         .n_inputs = from->n_input,
                                         .n_outputs = from->n_output};
        const enum nb_status st = read_node(o, &nodes[i], from, err);
        if (st != NB_OK)
            return in_node(err, st, &nodes[i], i);
    }
    g->nodes = nodes;
    g->n_nodes = pb->n_node;
    return NB_OK;
}

/* ---- the graph ---- */

static enum nb_status define(struct nb_map *names, const char *name, const char *what,
                             struct nb_error *err)
{
    char quote[NB_ONNX_QUOTE_BYTES];
    const enum nb_status st = nb_map_put(names, name, strlen(name), 0);
    if (st == NB_ERR_EXISTS)
        NB_FAIL(err, NB_ERR_FORMAT, "%s '%s' is defined twice; every value has one origin", what,
                nb_printable(quote, sizeof quote, name, strlen(name)));
    return st == NB_OK ? NB_OK : NB_ERROR(err, st, "out of memory");
}

/* Static single assignment: inputs, initializers and outputs of nodes define each name once, but for inputs
 * that have an initializer as their default (all of them, before IR version 4). */
static enum nb_status check_names(const struct nb_onnx *o, const struct nb_onnx_graph *g,
                                  struct nb_error *err)
{
    struct nb_map names, inits;
    enum nb_status st = NB_OK;
    uint64_t unused;
    nb_map_init(&names, o->a);
    nb_map_init(&inits, o->a);
    for (size_t i = 0; i < g->n_inputs && st == NB_OK; i++)
        st = define(&names, g->inputs[i].name, "input", err);
    for (size_t i = 0; i < g->n_initializers && st == NB_OK; i++) {
        const char *name = g->initializers[i].name;
        if (name == NULL || name[0] == '\0')
            st = NB_ERROR(err, NB_ERR_FORMAT, "initializer %zu has no name", i);
        else
            st = define(&inits, name, "initializer", err);
    }
    for (size_t i = 0; i < g->n_initializers && st == NB_OK; i++) {
        const char *name = g->initializers[i].name;
        if (!nb_map_get(&names, name, strlen(name), &unused))
            st = define(&names, name, "initializer", err);
    }
    for (size_t i = 0; i < g->n_nodes && st == NB_OK; i++) {
        for (size_t k = 0; k < g->nodes[i].n_outputs && st == NB_OK; k++)
            if (g->nodes[i].outputs[k][0] != '\0')
                st = define(&names, g->nodes[i].outputs[k], "output", err);
        if (st != NB_OK)
            st = in_node(err, st, &g->nodes[i], i);
    }
    nb_map_fini(&names);
    nb_map_fini(&inits);
    return st;
}

static enum nb_status read_graph(struct nb_onnx *o, struct nb_onnx_graph *g,
                                 const Nb__Onnx__Graph *pb, struct nb_error *err)
{
    if (o->nesting > NB_ONNX_MAX_NESTING)
        NB_FAIL(err, NB_ERR_LIMIT, "graphs are nested more than %d deep", NB_ONNX_MAX_NESTING);
    *g = (struct nb_onnx_graph){.name = pb->name,
                                .doc = pb->doc_string,
                                .n_initializers = pb->n_initializer,
                                .n_inputs = pb->n_input,
                                .n_outputs = pb->n_output,
                                .n_values = pb->n_value_info};
    NB_TRY(nb_onnx_read_extras(o, &g->extras, &pb->base, err));
    NB_TRY(nb_onnx_read_meta(o, &g->meta, pb->n_metadata_props, pb->metadata_props, err));
    NB_TRY(read_values(o, &g->inputs, pb->n_input, pb->input, "input", err));
    NB_TRY(read_values(o, &g->outputs, pb->n_output, pb->output, "output", err));
    NB_TRY(read_values(o, &g->values, pb->n_value_info, pb->value_info, "value", err));
    NB_TRY(read_tensors(o, &g->initializers, pb->n_initializer, pb->initializer, err));
    NB_TRY(read_nodes(o, g, pb, err));
    return check_names(o, g, err);
}

/* ---- the model ---- */

static enum nb_status read_model(struct nb_onnx *o, const Nb__Onnx__Model *pb, struct nb_error *err)
{
    struct nb_onnx_model *m = &o->model;
    struct nb_onnx_opset *opsets = NULL;
    *m = (struct nb_onnx_model){.ir_version = pb->ir_version,
                                .model_version = pb->model_version,
                                .producer = pb->producer_name,
                                .producer_version = pb->producer_version,
                                .domain = pb->domain,
                                .doc = pb->doc_string,
                                .n_opsets = pb->n_opset_import};
    if (!pb->has_ir_version)
        NB_FAIL(err, NB_ERR_FORMAT, "no IR version: this is no ONNX model");
    if (pb->ir_version < 1 || pb->ir_version > IR_VERSION_MAX)
        NB_FAIL(err, NB_ERR_FORMAT, "IR version %lld, expected 1 to %d", (long long)pb->ir_version,
                IR_VERSION_MAX);
    if (pb->graph == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "the model has no graph");
    NB_TRY(nb_onnx_array(o, &opsets, pb->n_opset_import, sizeof *opsets, err));
    for (size_t i = 0; i < pb->n_opset_import; i++) {
        const char *domain = pb->opset_import[i]->domain;
        opsets[i] =
            (struct nb_onnx_opset){domain != NULL ? domain : "", pb->opset_import[i]->version};
    }
    m->opsets = opsets;
    NB_TRY(nb_onnx_read_extras(o, &m->extras, &pb->base, err));
    NB_TRY(nb_onnx_read_meta(o, &m->meta, pb->n_metadata_props, pb->metadata_props, err));
    return read_graph(o, &m->graph, pb->graph, err);
}

static enum nb_status parse(struct nb_onnx *o, struct nb_error *err)
{
    struct nb_str light;
    ProtobufCAllocator pa = {.alloc = pb_alloc, .free = pb_free, .allocator_data = o};
    Nb__Onnx__Model *pb = NULL;
    if (!nb_onnx_probe(o->map.data, (size_t)NB_MIN(o->map.size, UINT64_C(64))))
        NB_FAIL(err, NB_ERR_FORMAT, "not an ONNX model: it does not begin with a model's fields");
    nb_str_init(&light, o->a);
    enum nb_status st = nb_onnx_strip(&light, o->map.data, o->map.size, err);
    if (st == NB_OK) {
        pb = nb__onnx__model__unpack(&pa, light.len, (const uint8_t *)light.data);
        if (pb ==
            NULL) /* the wire format has been checked; packed numbers may still be cut short */
            st = NB_ERROR(err, o->no_memory ? NB_ERR_NOMEM : NB_ERR_FORMAT,
                          o->no_memory ? "out of memory" : "malformed list of numbers");
    }
    nb_str_fini(&light);
    return st == NB_OK ? read_model(o, pb, err) : st;
}

bool nb_onnx_probe(const uint8_t *head, size_t n)
{
    /* ir_version, then another field of ModelProto: numbers 2 to 14 are texts and messages but 5. */
    if (n < 4 || head[0] != (1 << 3 | 0) || head[1] == 0 || head[1] > IR_VERSION_MAX)
        return false;
    const unsigned field = head[2] >> 3, wire = head[2] & 7;
    return field >= 2 && (field <= 8 || field == 14) && wire == (field == 5 ? 0 : 2);
}

static struct nb_onnx *create(const struct nb_allocator *a)
{
    struct nb_onnx *o = nb_alloc_zero(a, 1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->a = a;
    nb_arena_init(&o->arena, a, ARENA_CHUNK_BYTES);
    nb_map_init(&o->ext_names, a);
    return o;
}

void nb_onnx_close(struct nb_onnx *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->n_ext; i++)
        nb_mapping_close(&o->ext[i]);
    nb_free(o->a, o->ext);
    nb_map_fini(&o->ext_names);
    if (!o->in_memory)
        nb_mapping_close(&o->map);
    nb_arena_fini(&o->arena);
    nb_free(o->a, o);
}

enum nb_status nb_onnx_open(struct nb_onnx **out, const char *path, unsigned flags,
                            const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_onnx *o = create(a);
    if (o == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory", path);
    const char *slash = strrchr(path, '/');
    o->flags = flags;
    o->folder = slash == NULL
                    ? "."
                    : nb_arena_strndup(&o->arena, path, slash == path ? 1 : (size_t)(slash - path));
    enum nb_status st = o->folder == NULL ? NB_ERROR(err, NB_ERR_NOMEM, "%s: out of memory", path)
                                          : nb_mapping_open(&o->map, path, err);
    if (st == NB_OK) {
        st = parse(o, err);
        if (st != NB_OK)
            st = nb_error_prefix(err, st, "%s", path);
    }
    if (st != NB_OK) {
        nb_onnx_close(o);
        return st;
    }
    *out = o;
    return NB_OK;
}

enum nb_status nb_onnx_open_bytes(struct nb_onnx **out, const void *data, size_t n,
                                  const char *folder, unsigned flags, const struct nb_allocator *a,
                                  struct nb_error *err)
{
    *out = NULL;
    struct nb_onnx *o = create(a);
    if (o == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    o->in_memory = true;
    o->flags = flags;
    o->map = (struct nb_mapping){.data = data, .size = n};
    enum nb_status st = NB_OK;
    if (folder != NULL) {
        o->folder = nb_arena_strndup(&o->arena, folder, strlen(folder));
        if (o->folder == NULL)
            st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory");
    }
    if (st == NB_OK)
        st = parse(o, err);
    if (st != NB_OK) {
        nb_onnx_close(o);
        return st;
    }
    *out = o;
    return NB_OK;
}

const struct nb_onnx_model *nb_onnx_model(const struct nb_onnx *o)
{
    return &o->model;
}

/* ---- questions ---- */

static bool own_domain(const char *domain)
{
    return domain == NULL || domain[0] == '\0' || nb_str_eq(domain, "ai.onnx");
}

int64_t nb_onnx_opset_version(const struct nb_onnx_model *m, const char *domain)
{
    for (size_t i = 0; i < m->n_opsets; i++)
        if ((own_domain(domain) && own_domain(m->opsets[i].domain)) ||
            nb_str_eq(domain, m->opsets[i].domain))
            return m->opsets[i].version;
    return 0;
}

const struct nb_onnx_attr *nb_onnx_find_attr(const struct nb_onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attrs; i++)
        if (nb_str_eq(n->attrs[i].name, name))
            return &n->attrs[i];
    return NULL;
}
