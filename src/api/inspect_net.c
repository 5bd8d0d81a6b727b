/* api/inspect_net.c: nb_inspect_net: what an ONNX file holds, from its graph alone; no weight is read. TFLite:
 * inspect_tflite.c. */
#include "api/inspect_net.h"

#include <stdlib.h>
#include <string.h>

#include "net/net.h"

#define PROBE_BYTES 64

void nb_net_info_free(struct nb_net_info *info)
{
    struct nb_net_owner *o = info->owner;
    if (o != NULL) {
        const struct nb_allocator a = o->a;
        nb_onnx_close(o->net);
        nb_tflite_close(o->tflite);
        nb_map_fini(&o->ops);
        nb_map_fini(&o->files);
        nb_map_fini(&o->weights);
        nb_free(&a, o->op);
        nb_free(&a, o->file);
        nb_free(&a, o->tensor);
        nb_arena_fini(&o->arena);
        nb_free(&a, o);
    }
    *info = (struct nb_net_info){.path = NULL};
}

int32_t nb_is_net(const char *path)
{
    struct nb_mapping m;
    struct nb_error err;
    if (path == NULL || nb_path_is_dir(path) || nb_mapping_open(&m, path, &err) != NB_OK)
        return 0;
    const size_t n = (size_t)NB_MIN(m.size, (uint64_t)PROBE_BYTES);
    const bool is = nb_str_ends(path, ".onnx") || nb_str_ends(path, ".tflite") ||
                    (n > 0 && (nb_onnx_probe(m.data, n) || nb_tflite_probe(m.data, n)));
    nb_mapping_close(&m);
    return is;
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to describe a net");
}

enum nb_status nb_net_count_op(struct nb_net_owner *o, struct nb_net_info *info, const char *name,
                               bool known, struct nb_error *err)
{
    uint64_t i;
    if (!nb_map_get(&o->ops, name, strlen(name), &i)) {
        i = info->n_ops;
        if (!nb_grow(&o->a, &o->op, &o->op_cap, info->n_ops, sizeof *o->op) ||
            nb_map_put(&o->ops, name, strlen(name), i) != NB_OK)
            return no_memory(err);
        o->op[info->n_ops++] = (struct nb_net_count){.name = name, .known = known};
    }
    o->op[i].n++;
    info->n_nodes++;
    return NB_OK;
}

static enum nb_status count_op(struct nb_net_owner *o, struct nb_net_info *info,
                               const struct nb_onnx_node *n, struct nb_error *err)
{
    const char *domain = n->domain != NULL && !nb_str_eq(n->domain, "ai.onnx") ? n->domain : "";
    const char *name =
        domain[0] == '\0' ? n->op_type : nb_arena_printf(&o->arena, "%s.%s", domain, n->op_type);
    if (name == NULL)
        return no_memory(err);
    return nb_net_count_op(o, info, name, nb_net_knows(n), err);
}

static enum nb_status count_file(struct nb_net_owner *o, struct nb_net_info *info,
                                 const struct nb_onnx_tensor *t, struct nb_error *err)
{
    uint64_t i;
    if (!nb_map_get(&o->files, t->location, strlen(t->location), &i)) {
        i = info->n_files;
        if (!nb_grow(&o->a, &o->file, &o->file_cap, info->n_files, sizeof *o->file) ||
            nb_map_put(&o->files, t->location, strlen(t->location), i) != NB_OK)
            return no_memory(err);
        o->file[info->n_files++] = (struct nb_net_file){.name = t->location};
    }
    o->file[i].tensors++;
    o->file[i].bytes += t->bytes;
    return NB_OK;
}

enum nb_status nb_net_count_tensor(struct nb_net_owner *o, struct nb_net_info *info, size_t type,
                                   const struct nb_net_value *v, uint64_t n, struct nb_error *err)
{
    struct nb_net_type *t = &o->type[type];
    t->name = v->type;
    t->tensors++;
    t->elements += n;
    t->bytes += v->bytes;
    info->parameters += n;
    info->tensor_bytes += v->bytes;
    if (!nb_grow(&o->a, &o->tensor, &o->tensor_cap, info->n_tensors, sizeof *o->tensor))
        return no_memory(err);
    o->tensor[info->n_tensors++] = *v;
    return NB_OK;
}

static enum nb_status count_tensor(struct nb_net_owner *o, struct nb_net_info *info,
                                   const struct nb_onnx_tensor *t, const char *name,
                                   struct nb_error *err)
{
    const struct nb_net_value v = {.name = name != NULL ? name : "",
                                   .type = nb_onnx_type_info(t->type)->name,
                                   .rank = (int32_t)t->rank,
                                   .dims = t->dims,
                                   .bytes = t->bytes,
                                   .file = t->location};
    NB_TRY(nb_net_count_tensor(o, info, (size_t)t->type, &v, t->n, err));
    return t->location != NULL ? count_file(o, info, t, err) : NB_OK;
}

/* Weights are initializers, or tensors in attributes (Constant nodes: the name of what they define). */
static enum nb_status count_graph(struct nb_net_owner *o, struct nb_net_info *info,
                                  const struct nb_onnx_graph *g, struct nb_error *err)
{
    for (size_t i = 0; i < g->n_initializers; i++)
        NB_TRY(count_tensor(o, info, &g->initializers[i], g->initializers[i].name, err));
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct nb_onnx_node *n = &g->nodes[i];
        NB_TRY(count_op(o, info, n, err));
        for (size_t k = 0; k < n->n_attrs; k++) {
            const struct nb_onnx_attr *a = &n->attrs[k];
            for (size_t j = 0; j < a->n && a->t != NULL; j++)
                NB_TRY(count_tensor(o, info, &a->t[j],
                                    n->n_outputs > 0 ? n->outputs[0] : a->t[j].name, err));
            for (size_t j = 0; j < a->n && a->g != NULL; j++) {
                info->n_subgraphs++;
                NB_TRY(count_graph(o, info, &a->g[j], err));
            }
        }
    }
    return NB_OK;
}

static enum nb_status name_weights(struct nb_net_owner *o, const struct nb_onnx_graph *g,
                                   struct nb_error *err)
{
    for (size_t i = 0; i < g->n_initializers; i++) {
        const char *name = g->initializers[i].name;
        if (nb_map_put(&o->weights, name, strlen(name), i) != NB_OK) /* each is there once */
            return no_memory(err);
    }
    return NB_OK;
}

/* Inputs that have an initializer are weights, which old files list among the inputs. */
static enum nb_status list_values(struct nb_net_owner *o, const struct nb_net_value **out,
                                  size_t *n_out, const struct nb_onnx_value *v, size_t n,
                                  struct nb_error *err)
{
    struct nb_net_value *list = nb_arena_alloc(&o->arena, n + 1, sizeof *list);
    if (list == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        uint64_t unused;
        if (nb_map_get(&o->weights, v[i].name, strlen(v[i].name), &unused))
            continue;
        const struct nb_onnx_type_info *type = nb_onnx_type_info(v[i].type);
        const size_t rank = v[i].rank < 0 ? 0 : (size_t)v[i].rank;
        int64_t *dims = nb_arena_alloc(&o->arena, rank + 1, sizeof *dims);
        const char **names = nb_arena_alloc(&o->arena, rank + 1, sizeof *names);
        if (dims == NULL || names == NULL)
            return no_memory(err);
        for (size_t k = 0; k < rank; k++) {
            dims[k] = v[i].dims[k].value;
            names[k] = v[i].dims[k].name;
        }
        list[(*n_out)++] = (struct nb_net_value){.name = v[i].name,
                                                 .type = type != NULL ? type->name : NULL,
                                                 .rank = v[i].rank,
                                                 .dims = dims,
                                                 .dim_names = names};
    }
    *out = list;
    return NB_OK;
}

/* The most frequent first; as many: by name. */
static int by_count(const void *pa, const void *pb)
{
    const struct nb_net_count *a = pa, *b = pb;
    if (a->n != b->n)
        return a->n > b->n ? -1 : 1;
    return strcmp(a->name, b->name);
}

static enum nb_status list_model(struct nb_net_owner *o, struct nb_net_info *info,
                                 const struct nb_onnx_model *m, struct nb_error *err)
{
    struct nb_net_opset *opsets = nb_arena_alloc(&o->arena, m->n_opsets + 1, sizeof *opsets);
    struct nb_meta_info *meta = nb_arena_alloc(&o->arena, m->meta.n + 1, sizeof *meta);
    if (opsets == NULL || meta == NULL)
        return no_memory(err);
    for (size_t i = 0; i < m->n_opsets; i++)
        opsets[i] = (struct nb_net_opset){
            m->opsets[i].domain[0] == '\0' ? "ai.onnx" : m->opsets[i].domain, m->opsets[i].version};
    for (size_t i = 0; i < m->meta.n; i++)
        meta[i] = (struct nb_meta_info){m->meta.items[i].key, m->meta.items[i].value};
    info->opsets = opsets;
    info->n_opsets = m->n_opsets;
    info->meta = meta;
    info->n_meta = m->meta.n;
    info->ir_version = m->ir_version;
    info->producer = m->producer;
    info->producer_version = m->producer_version;
    info->name = m->graph.name;
    NB_TRY(list_values(o, &info->outputs, &info->n_outputs, m->graph.outputs, m->graph.n_outputs,
                       err));
    NB_TRY(name_weights(o, &m->graph, err)); /* from here on: an output may well be a weight */
    return list_values(o, &info->inputs, &info->n_inputs, m->graph.inputs, m->graph.n_inputs, err);
}

static enum nb_status fill_onnx(struct nb_net_owner *o, struct nb_net_info *info, const char *path,
                                struct nb_error *err)
{
    info->dialect = "onnx";
    NB_TRY(nb_onnx_open(&o->net, path, NB_ONNX_NO_DATA, &o->a, err));
    const struct nb_onnx_model *m = nb_onnx_model(o->net);
    NB_TRY(list_model(o, info, m, err));
    return count_graph(o, info, &m->graph, err);
}

/* By what it begins with; if that says nothing, by its name. */
static enum nb_status is_tflite(const char *path, bool *is, struct nb_error *err)
{
    struct nb_mapping m;
    NB_TRY(nb_mapping_open(&m, path, err));
    const size_t n = (size_t)NB_MIN(m.size, (uint64_t)PROBE_BYTES);
    const bool onnx = n > 0 && nb_onnx_probe(m.data, n);
    *is = (n > 0 && nb_tflite_probe(m.data, n)) || (!onnx && nb_str_ends(path, ".tflite"));
    nb_mapping_close(&m);
    return NB_OK;
}

static enum nb_status fill(struct nb_net_owner *o, struct nb_net_info *info, const char *path,
                           struct nb_error *err)
{
    bool tflite;
    NB_TRY(is_tflite(path, &tflite, err));
    NB_TRY(tflite ? nb_net_fill_tflite(o, info, path, err) : fill_onnx(o, info, path, err));
    NB_TRY(nb_path_size(path, &info->file_bytes, err));
    info->path = nb_arena_strndup(&o->arena, path, strlen(path));
    if (info->path == NULL)
        return no_memory(err);
    if (info->n_ops > 0)
        qsort(o->op, info->n_ops, sizeof *o->op, by_count);
    info->ops = o->op;
    info->files = o->file;
    info->tensors = o->tensor;
    for (size_t i = 0; i < NB_COUNTOF(o->type); i++)
        if (o->type[i].tensors > 0)
            o->type[info->n_types++] = o->type[i]; /* to the front, in place */
    info->types = o->type;
    return NB_OK;
}

enum nb_status nb_inspect_net(nb_context *ctx, const char *path, struct nb_net_info *info,
                              struct nb_error *err)
{
    nb_error_clear(err);
    if (ctx == NULL || path == NULL || info == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_inspect_net needs a context, a file and a result");
    *info = (struct nb_net_info){.path = NULL};
    struct nb_net_owner *o = nb_alloc_zero(&ctx->allocator, 1, sizeof *o);
    if (o == NULL)
        return no_memory(err);
    o->a = ctx->allocator;
    nb_arena_init(&o->arena, &o->a, 16384);
    nb_map_init(&o->ops, &o->a);
    nb_map_init(&o->files, &o->a);
    nb_map_init(&o->weights, &o->a);
    info->owner = o;
    const enum nb_status st = fill(o, info, path, err);
    if (st != NB_OK)
        nb_net_info_free(info);
    return st;
}
