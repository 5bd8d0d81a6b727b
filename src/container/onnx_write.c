/* container/onnx_write.c: writing a model as ONNX, with the weights inside or in a file beside.
 *
 * ONNX IR.md and ExternalData.md. The structs become protobuf-c's messages, which borrow every array; the
 * message then streams into the output, so no weight is copied. Fields are written in the order of their
 * numbers and unknown ones behind them: the same model gives the same bytes. Tensors are raw data whatever
 * they were read from. External data: each tensor at a multiple of 4096 (mappable by itself), in the order
 * of the initializers. Checksums are not written.
 */
#include "container/onnx_internal.h"

#include <string.h>

#define ARENA_CHUNK_BYTES 65536
#define BUFFER_BYTES      65536
#define EXTERNAL_ALIGN    4096

/* Borrows: the model, options. Owns: the arena. */
struct build {
    struct nb_arena arena;
    uint64_t external_above;
    const char *data_name;
    uint64_t data_bytes;                    /* of the external file so far */
    const struct nb_onnx_tensor **external; /* in the order of the file */
    size_t n_external, external_cap;
    const struct nb_allocator *a;
    struct nb_error *err;
};

static enum nb_status no_memory(const struct build *b)
{
    NB_FAIL(b->err, NB_ERR_NOMEM, "out of memory for writing a model");
}

/* protobuf-c's structs are not const, but packing only reads. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void *array(struct build *b, size_t n, size_t size)
{
    return nb_arena_alloc(&b->arena, NB_MAX(n, (size_t)1), size);
}

static enum nb_status put_extras(struct build *b, ProtobufCMessage *pb,
                                 const struct nb_onnx_extras *x)
{
    ProtobufCMessageUnknownField *items = array(b, x->n, sizeof *items);
    if (items == NULL || x->n > UINT32_MAX)
        return no_memory(b);
    for (size_t i = 0; i < x->n; i++)
        items[i] =
            (ProtobufCMessageUnknownField){x->items[i].field, (ProtobufCWireType)x->items[i].wire,
                                           x->items[i].n, (uint8_t *)(uintptr_t)x->items[i].data};
    pb->unknown_fields = items;
    pb->n_unknown_fields = (unsigned)x->n;
    return NB_OK;
}

/* An array of pointers to n fresh messages: NAME, its type, and its generated initializer. */
#define DEFINE_LIST(name, type, init)                                                              \
    static type **name(struct build *b, size_t n)                                                  \
    {                                                                                              \
        type **list = array(b, n, sizeof *list);                                                   \
        type *items = array(b, n, sizeof *items);                                                  \
        for (size_t i = 0; i < n && list != NULL && items != NULL; i++) {                          \
            init(&items[i]);                                                                       \
            list[i] = &items[i];                                                                   \
        }                                                                                          \
        return items == NULL ? NULL : list;                                                        \
    }
DEFINE_LIST(entries, Nb__Onnx__Entry, nb__onnx__entry__init)
DEFINE_LIST(tensors, Nb__Onnx__Tensor, nb__onnx__tensor__init)
DEFINE_LIST(graphs, Nb__Onnx__Graph, nb__onnx__graph__init)
DEFINE_LIST(nodes, Nb__Onnx__Node, nb__onnx__node__init)
DEFINE_LIST(attrs, Nb__Onnx__Attribute, nb__onnx__attribute__init)
DEFINE_LIST(values, Nb__Onnx__ValueInfo, nb__onnx__value_info__init)
DEFINE_LIST(types, Nb__Onnx__Type, nb__onnx__type__init)
DEFINE_LIST(tensor_types, Nb__Onnx__TensorType, nb__onnx__tensor_type__init)
DEFINE_LIST(shapes, Nb__Onnx__Shape, nb__onnx__shape__init)
DEFINE_LIST(dimensions, Nb__Onnx__Dimension, nb__onnx__dimension__init)
DEFINE_LIST(opsets, Nb__Onnx__OperatorSet, nb__onnx__operator_set__init)

static enum nb_status put_meta(struct build *b, size_t *n, Nb__Onnx__Entry ***list,
                               const struct nb_onnx_meta *m)
{
    *list = entries(b, m->n);
    if (*list == NULL)
        return no_memory(b);
    for (size_t i = 0; i < m->n; i++) {
        (*list)[i]->key = text(m->items[i].key);
        (*list)[i]->value = text(m->items[i].value);
    }
    *n = m->n;
    return NB_OK;
}

static enum nb_status put_texts(struct build *b, size_t *n, ProtobufCBinaryData **list,
                                const struct nb_text *from, size_t count)
{
    *list = array(b, count, sizeof **list);
    if (*list == NULL)
        return no_memory(b);
    for (size_t i = 0; i < count; i++)
        (*list)[i] = (ProtobufCBinaryData){from[i].n, (uint8_t *)(uintptr_t)from[i].s};
    *n = count;
    return NB_OK;
}

/* ---- tensors ---- */

static enum nb_status put_external(struct build *b, Nb__Onnx__Tensor *pb,
                                   const struct nb_onnx_tensor *t)
{
    const uint64_t offset = (b->data_bytes + EXTERNAL_ALIGN - 1) / EXTERNAL_ALIGN * EXTERNAL_ALIGN;
    const char *const keys[] = {"location", "offset", "length"};
    const uint64_t numbers[] = {0, offset, t->bytes};
    pb->external_data = entries(b, NB_COUNTOF(keys));
    if (pb->external_data == NULL ||
        !nb_grow(b->a, &b->external, &b->external_cap, b->n_external, sizeof *b->external))
        return no_memory(b);
    if (offset < b->data_bytes || !nb_add_u64(&b->data_bytes, offset, t->bytes))
        NB_FAIL(b->err, NB_ERR_LIMIT, "the external data would pass 2^64 bytes");
    for (size_t i = 0; i < NB_COUNTOF(keys); i++) {
        pb->external_data[i]->key = text(keys[i]);
        pb->external_data[i]->value =
            i == 0 ? text(b->data_name)
                   : nb_arena_printf(&b->arena, "%llu", (unsigned long long)numbers[i]);
        if (pb->external_data[i]->value == NULL)
            return no_memory(b);
    }
    pb->n_external_data = NB_COUNTOF(keys);
    pb->has_data_location = 1;
    pb->data_location = 1;
    b->external[b->n_external++] = t;
    return NB_OK;
}

static enum nb_status put_tensor_body(struct build *b, Nb__Onnx__Tensor *pb,
                                      const struct nb_onnx_tensor *t, bool may_leave)
{
    uint64_t n, bytes;
    if (!nb_onnx_count(&n, &bytes, t->type, t->dims, t->rank) || n != t->n || bytes != t->bytes)
        NB_FAIL(b->err, NB_ERR_ARG, "type, dimensions and size do not agree");
    if ((t->type == NB_ONNX_STRING && t->strings == NULL && n > 0) ||
        (t->data == NULL && bytes > 0))
        NB_FAIL(b->err, NB_ERR_ARG, "its data were not read");
    pb->name = text(t->name);
    pb->doc_string = text(t->doc);
    pb->has_data_type = 1;
    pb->data_type = t->type;
    pb->dims = (int64_t *)(uintptr_t)t->dims;
    pb->n_dims = t->rank;
    NB_TRY(put_extras(b, &pb->base, &t->extras));
    NB_TRY(put_meta(b, &pb->n_metadata_props, &pb->metadata_props, &t->meta));
    if (t->type == NB_ONNX_STRING)
        return put_texts(b, &pb->n_string_data, &pb->string_data, t->strings, (size_t)n);
    if (may_leave && bytes > b->external_above)
        return put_external(b, pb, t);
    if (bytes > SIZE_MAX)
        NB_FAIL(b->err, NB_ERR_LIMIT, "%llu bytes", (unsigned long long)bytes);
    pb->has_raw_data = bytes > 0; /* an empty tensor has no data */
    pb->raw_data = (ProtobufCBinaryData){(size_t)bytes, (uint8_t *)(uintptr_t)t->data};
    return NB_OK;
}

static enum nb_status put_tensors(struct build *b, Nb__Onnx__Tensor **list,
                                  const struct nb_onnx_tensor *t, size_t n, bool may_leave)
{
    char quote[NB_ONNX_QUOTE_BYTES];
    for (size_t i = 0; i < n; i++) {
        const enum nb_status st = put_tensor_body(b, list[i], &t[i], may_leave);
        const char *name = t[i].name != NULL ? t[i].name : "";
        if (st != NB_OK)
            return nb_error_prefix(b->err, st, "tensor '%s'",
                                   nb_printable(quote, sizeof quote, name, strlen(name)));
    }
    return NB_OK;
}

/* ---- values ---- */

static enum nb_status put_type(struct build *b, Nb__Onnx__ValueInfo *pb,
                               const struct nb_onnx_value *v)
{
    Nb__Onnx__Type **type = types(b, 1);
    Nb__Onnx__TensorType **tensor = tensor_types(b, 1);
    Nb__Onnx__Shape **shape = shapes(b, 1);
    if (type == NULL || tensor == NULL || shape == NULL)
        return no_memory(b);
    pb->type = *type;
    NB_TRY(put_extras(b, &pb->type->base, &v->type_extras));
    if (!v->tensor)
        return NB_OK;
    pb->type->tensor_type = *tensor;
    (*tensor)->has_elem_type = v->type != NB_ONNX_UNDEFINED;
    (*tensor)->elem_type = v->type;
    if (v->rank < 0)
        return NB_OK;
    (*tensor)->shape = *shape;
    (*shape)->n_dim = (size_t)v->rank;
    (*shape)->dim = dimensions(b, (size_t)v->rank);
    if ((*shape)->dim == NULL)
        return no_memory(b);
    for (int32_t i = 0; i < v->rank; i++) {
        Nb__Onnx__Dimension *d = (*shape)->dim[i];
        d->denotation = text(v->dims[i].denotation);
        if (v->dims[i].name != NULL) {
            d->value_case = NB__ONNX__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = text(v->dims[i].name);
        } else if (v->dims[i].value >= 0) {
            d->value_case = NB__ONNX__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = v->dims[i].value;
        }
    }
    return NB_OK;
}

static enum nb_status put_values(struct build *b, size_t *n, Nb__Onnx__ValueInfo ***list,
                                 const struct nb_onnx_value *v, size_t count)
{
    *list = values(b, count);
    if (*list == NULL)
        return no_memory(b);
    *n = count;
    for (size_t i = 0; i < count; i++) {
        Nb__Onnx__ValueInfo *pb = (*list)[i];
        pb->name = text(v[i].name);
        pb->doc_string = text(v[i].doc);
        NB_TRY(put_extras(b, &pb->base, &v[i].extras));
        NB_TRY(put_meta(b, &pb->n_metadata_props, &pb->metadata_props, &v[i].meta));
        if (v[i].typed || v[i].tensor)
            NB_TRY(put_type(b, pb, &v[i]));
    }
    return NB_OK;
}

/* ---- attributes, nodes, graphs ---- */

static enum nb_status put_graph(struct build *b, Nb__Onnx__Graph *pb, const struct nb_onnx_graph *g,
                                unsigned depth);

static enum nb_status put_tensor_attr(struct build *b, Nb__Onnx__Attribute *pb,
                                      const struct nb_onnx_attr *a)
{
    const size_t n = a->type == NB_ONNX_ATTR_TENSOR ? 1 : a->n;
    Nb__Onnx__Tensor **list = tensors(b, n);
    if (list == NULL)
        return no_memory(b);
    if (a->type == NB_ONNX_ATTR_TENSOR) {
        pb->t = *list;
    } else {
        pb->tensors = list;
        pb->n_tensors = n;
    }
    return put_tensors(b, list, a->t, n, false);
}

static enum nb_status put_graph_attr(struct build *b, Nb__Onnx__Attribute *pb,
                                     const struct nb_onnx_attr *a, unsigned depth)
{
    const size_t n = a->type == NB_ONNX_ATTR_GRAPH ? 1 : a->n;
    Nb__Onnx__Graph **list = graphs(b, n);
    if (list == NULL)
        return no_memory(b);
    if (a->type == NB_ONNX_ATTR_GRAPH) {
        pb->g = *list;
    } else {
        pb->graphs = list;
        pb->n_graphs = n;
    }
    for (size_t i = 0; i < n; i++)
        NB_TRY(put_graph(b, list[i], &a->g[i], depth + 1));
    return NB_OK;
}

static enum nb_status put_attr(struct build *b, Nb__Onnx__Attribute *pb,
                               const struct nb_onnx_attr *a, unsigned depth)
{
    pb->name = text(a->name);
    pb->doc_string = text(a->doc);
    pb->ref_attr_name = text(a->ref);
    pb->has_type = 1;
    pb->type = a->type;
    NB_TRY(put_extras(b, &pb->base, &a->extras));
    if (a->ref != NULL)
        return NB_OK;
    switch (a->type) {
    case NB_ONNX_ATTR_FLOAT:
        pb->has_f = 1;
        pb->f = a->f;
        return NB_OK;
    case NB_ONNX_ATTR_INT:
        pb->has_i = 1;
        pb->i = a->i;
        return NB_OK;
    case NB_ONNX_ATTR_STRING:
        pb->has_s = 1;
        pb->s = (ProtobufCBinaryData){a->s.n, (uint8_t *)(uintptr_t)a->s.s};
        return NB_OK;
    case NB_ONNX_ATTR_TENSOR:
    case NB_ONNX_ATTR_TENSORS:
        return put_tensor_attr(b, pb, a);
    case NB_ONNX_ATTR_GRAPH:
    case NB_ONNX_ATTR_GRAPHS:
        return put_graph_attr(b, pb, a, depth);
    case NB_ONNX_ATTR_FLOATS:
        pb->floats = (float *)(uintptr_t)a->floats;
        pb->n_floats = a->n;
        return NB_OK;
    case NB_ONNX_ATTR_INTS:
        pb->ints = (int64_t *)(uintptr_t)a->ints;
        pb->n_ints = a->n;
        return NB_OK;
    case NB_ONNX_ATTR_STRINGS:
        return put_texts(b, &pb->n_strings, &pb->strings, a->strings, a->n);
    default:
        return NB_OK; /* in the extras */
    }
}

static enum nb_status put_node(struct build *b, Nb__Onnx__Node *pb, const struct nb_onnx_node *n,
                               unsigned depth)
{
    pb->name = text(n->name);
    pb->op_type = text(n->op_type);
    pb->domain = text(n->domain);
    pb->doc_string = text(n->doc);
    pb->input = (char **)(uintptr_t)n->inputs;
    pb->n_input = n->n_inputs;
    pb->output = (char **)(uintptr_t)n->outputs;
    pb->n_output = n->n_outputs;
    NB_TRY(put_extras(b, &pb->base, &n->extras));
    NB_TRY(put_meta(b, &pb->n_metadata_props, &pb->metadata_props, &n->meta));
    pb->attribute = attrs(b, n->n_attrs);
    if (pb->attribute == NULL)
        return no_memory(b);
    pb->n_attribute = n->n_attrs;
    for (size_t i = 0; i < n->n_attrs; i++)
        NB_TRY(put_attr(b, pb->attribute[i], &n->attrs[i], depth));
    return NB_OK;
}

static enum nb_status put_graph(struct build *b, Nb__Onnx__Graph *pb, const struct nb_onnx_graph *g,
                                unsigned depth)
{
    if (depth > NB_ONNX_MAX_NESTING)
        NB_FAIL(b->err, NB_ERR_LIMIT, "graphs are nested more than %d deep", NB_ONNX_MAX_NESTING);
    pb->name = text(g->name);
    pb->doc_string = text(g->doc);
    NB_TRY(put_extras(b, &pb->base, &g->extras));
    NB_TRY(put_meta(b, &pb->n_metadata_props, &pb->metadata_props, &g->meta));
    NB_TRY(put_values(b, &pb->n_input, &pb->input, g->inputs, g->n_inputs));
    NB_TRY(put_values(b, &pb->n_output, &pb->output, g->outputs, g->n_outputs));
    NB_TRY(put_values(b, &pb->n_value_info, &pb->value_info, g->values, g->n_values));
    pb->initializer = tensors(b, g->n_initializers);
    pb->node = nodes(b, g->n_nodes);
    if (pb->initializer == NULL || pb->node == NULL)
        return no_memory(b);
    pb->n_initializer = g->n_initializers;
    pb->n_node = g->n_nodes;
    NB_TRY(put_tensors(b, pb->initializer, g->initializers, g->n_initializers, true));
    for (size_t i = 0; i < g->n_nodes; i++)
        NB_TRY(put_node(b, pb->node[i], &g->nodes[i], depth));
    return NB_OK;
}

static enum nb_status put_model(struct build *b, Nb__Onnx__Model *pb, const struct nb_onnx_model *m)
{
    Nb__Onnx__Graph **graph = graphs(b, 1);
    pb->opset_import = opsets(b, m->n_opsets);
    if (graph == NULL || pb->opset_import == NULL)
        return no_memory(b);
    pb->has_ir_version = 1;
    pb->ir_version = m->ir_version;
    pb->has_model_version = m->model_version != 0;
    pb->model_version = m->model_version;
    pb->producer_name = text(m->producer);
    pb->producer_version = text(m->producer_version);
    pb->domain = text(m->domain);
    pb->doc_string = text(m->doc);
    pb->n_opset_import = m->n_opsets;
    for (size_t i = 0; i < m->n_opsets; i++) {
        pb->opset_import[i]->domain = text(m->opsets[i].domain);
        pb->opset_import[i]->has_version = 1;
        pb->opset_import[i]->version = m->opsets[i].version;
    }
    NB_TRY(put_extras(b, &pb->base, &m->extras));
    NB_TRY(put_meta(b, &pb->n_metadata_props, &pb->metadata_props, &m->meta));
    pb->graph = *graph;
    NB_TRY(put_graph(b, pb->graph, &m->graph, 0));
    if (protobuf_c_message_get_packed_size(&pb->base) > INT32_MAX)
        NB_FAIL(b->err, NB_ERR_LIMIT,
                "the model would have more than 2 GiB in one message, which protobuf forbids; "
                "write its "
                "tensors as external data");
    return NB_OK;
}

/* ---- streaming ---- */

/* protobuf-c hands over many small pieces: they are gathered; large ones pass through. */
struct sink {
    ProtobufCBuffer base; /* first: protobuf-c passes its address */
    struct nb_str *text;
    struct nb_out *out; /* NULL: all stays in text */
    enum nb_status st;
    struct nb_error *err;
};

static void flush(struct sink *s)
{
    if (s->st == NB_OK)
        s->st = nb_str_check(s->text, s->err);
    if (s->st == NB_OK && s->out != NULL && s->text->len > 0) {
        s->st = nb_out_write(s->out, s->text->data, s->text->len, s->err);
        nb_str_clear(s->text);
    }
}

static void append(ProtobufCBuffer *buffer, size_t n, const uint8_t *data)
{
    struct sink *s = (struct sink *)(void *)buffer;
    if (s->st != NB_OK || n == 0)
        return;
    if (s->out != NULL && s->text->len + n > BUFFER_BYTES)
        flush(s);
    if (s->out == NULL || n < BUFFER_BYTES)
        nb_str_append(s->text, data, n);
    else if (s->st == NB_OK)
        s->st = nb_out_write(s->out, data, n, s->err);
}

static enum nb_status stream(struct nb_str *gather, struct nb_out *out, const Nb__Onnx__Model *pb,
                             struct nb_error *err)
{
    struct sink s = {.base = {append}, .text = gather, .out = out, .err = err};
    (void)protobuf_c_message_pack_to_buffer(&pb->base, &s.base);
    flush(&s);
    return s.st;
}

static void build_init(struct build *b, const struct nb_allocator *a, struct nb_error *err)
{
    *b = (struct build){.external_above = UINT64_MAX, .a = a, .err = err};
    nb_arena_init(&b->arena, a, ARENA_CHUNK_BYTES);
}

static void build_fini(struct build *b)
{
    nb_free(b->a, b->external);
    nb_arena_fini(&b->arena);
}

enum nb_status nb_onnx_pack(struct nb_str *out, const struct nb_onnx_model *m,
                            const struct nb_allocator *a, struct nb_error *err)
{
    struct build b;
    Nb__Onnx__Model pb = NB__ONNX__MODEL__INIT;
    build_init(&b, a, err);
    enum nb_status st = put_model(&b, &pb, m);
    if (st == NB_OK)
        st = stream(out, NULL, &pb, err);
    build_fini(&b);
    return st;
}

/* ---- files ---- */

void nb_onnx_write_options_init(struct nb_onnx_write_options *o)
{
    *o = (struct nb_onnx_write_options){.external_above = UINT64_MAX};
}

static enum nb_status write_data(const struct build *b, struct nb_out *out)
{
    static const uint8_t zeros[EXTERNAL_ALIGN];
    uint64_t at = 0;
    for (size_t i = 0; i < b->n_external; i++) {
        const struct nb_onnx_tensor *t = b->external[i];
        const size_t pad = (size_t)((EXTERNAL_ALIGN - at % EXTERNAL_ALIGN) % EXTERNAL_ALIGN);
        NB_TRY(nb_out_write(out, zeros, pad, b->err));
        NB_TRY(nb_out_write(out, t->data, (size_t)t->bytes, b->err));
        at += pad + t->bytes;
    }
    return NB_OK;
}

/* Where the external data go: beside the model. */
static enum nb_status name_data(struct build *b, char **data_path, const char *path,
                                const struct nb_onnx_write_options *o)
{
    const char *slash = strrchr(path, '/');
    const size_t folder = slash == NULL ? 0 : (size_t)(slash + 1 - path);
    b->data_name =
        o->data_name != NULL ? o->data_name : nb_arena_printf(&b->arena, "%s.data", path + folder);
    if (b->data_name == NULL)
        return no_memory(b);
    if (!nb_path_is_plain_name(b->data_name))
        NB_FAIL(b->err, NB_ERR_ARG, "'%s' is no name for a file of external data", b->data_name);
    *data_path = nb_arena_printf(&b->arena, "%.*s%s", (int)folder, path, b->data_name);
    return *data_path != NULL ? NB_OK : no_memory(b);
}

static enum nb_status write_files(struct build *b, const char *path, const Nb__Onnx__Model *pb,
                                  const char *data_path, unsigned flags)
{
    struct nb_out model = {.fd = -1}, data = {.fd = -1};
    struct nb_str gather;
    const bool two = b->n_external > 0;
    enum nb_status st = NB_OK;
    nb_str_init(&gather, b->a);
    if (two)
        st = nb_out_create(&data, data_path, flags, b->data_bytes, b->a, b->err);
    const bool has_data = two && st == NB_OK;
    if (st == NB_OK)
        st = nb_out_create(&model, path, flags, protobuf_c_message_get_packed_size(&pb->base), b->a,
                           b->err);
    const bool has_model = st == NB_OK;
    if (has_data && st == NB_OK)
        st = write_data(b, &data);
    if (st == NB_OK)
        st = stream(&gather, &model, pb, b->err);
    if (has_data && st == NB_OK)
        st = nb_out_commit(&data, b->err);
    if (st == NB_OK)
        st = nb_out_commit(&model, b->err);
    if (has_data && st != NB_OK)
        nb_out_abort(&data);
    if (has_model && st != NB_OK)
        nb_out_abort(&model);
    nb_str_fini(&gather);
    return st;
}

enum nb_status nb_onnx_write(const char *path, const struct nb_onnx_model *m,
                             const struct nb_onnx_write_options *o, const struct nb_allocator *a,
                             struct nb_error *err)
{
    struct build b;
    Nb__Onnx__Model pb = NB__ONNX__MODEL__INIT;
    char *data_path = NULL;
    build_init(&b, a, err);
    b.external_above = o->external_above;
    enum nb_status st = name_data(&b, &data_path, path, o);
    if (st == NB_OK)
        st = put_model(&b, &pb, m);
    if (st == NB_OK)
        st = write_files(&b, path, &pb, data_path, o->out_flags);
    build_fini(&b);
    return st == NB_OK ? NB_OK : nb_error_prefix(err, st, "%s", path);
}
