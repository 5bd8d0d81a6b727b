/* api/inspect_tflite.c: the part of nb_inspect_net that is TFLite's.
 *
 * Subgraphs behind the first count as subgraphs, their nodes and constants as all others. Metadata are shown where
 * they are text. Shapes of inputs and outputs are the signature: what may be changed is open.
 */
#include <string.h>

#include "api/inspect_net.h"
#include "net/tflite.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to describe a net");
}

static struct nb_net_value value_of(const struct nb_tflite_tensor *t, const int64_t *dims)
{
    return (struct nb_net_value){.name = t->name,
                                 .type = nb_tflite_type_info(t->type)->name,
                                 .rank = (int32_t)NB_MIN(t->rank, (size_t)INT32_MAX),
                                 .dims = dims,
                                 .bytes = t->bytes,
                                 .scales = t->quant.scales,
                                 .zero_points = t->quant.zero_points,
                                 .n_scales = (uint32_t)t->quant.n,
                                 .scales_dim = t->quant.dim};
}

static enum nb_status list_values(struct nb_net_owner *o, const struct nb_net_value **out,
                                  size_t *n_out, const struct nb_tflite_graph *g,
                                  const int32_t *tensors, size_t n, struct nb_error *err)
{
    struct nb_net_value *list = nb_arena_alloc(&o->arena, n + 1, sizeof *list);
    if (list == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct nb_tflite_tensor *t = &g->tensors[tensors[i]];
        const char **names = nb_arena_alloc(&o->arena, t->rank + 1, sizeof *names); /* no names */
        if (names == NULL)
            return no_memory(err);
        list[i] = value_of(t, t->signature);
        list[i].dim_names = names;
        list[i].bytes = 0;
    }
    *out = list;
    *n_out = n;
    return NB_OK;
}

static enum nb_status count_graph(struct nb_net_owner *o, struct nb_net_info *info,
                                  const struct nb_tflite_graph *g, struct nb_error *err)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct nb_tflite_tensor *t = &g->tensors[i];
        info->n_quantized += t->quant.n > 0;
        info->n_by_dimension += t->quant.n > 1;
        if (t->data == NULL)
            continue;
        const struct nb_net_value v = value_of(t, t->dims);
        NB_TRY(nb_net_count_tensor(o, info, (size_t)t->type, &v, t->n, err));
    }
    for (size_t i = 0; i < g->n_ops; i++) {
        const struct nb_tflite_op *op = &g->ops[i];
        const char *name = op->code == NB_TFLITE_CUSTOM
                               ? nb_arena_printf(&o->arena, "custom.%s", op->name)
                               : op->name;
        if (name == NULL)
            return no_memory(err);
        NB_TRY(nb_net_count_op(o, info, name, nb_net_tflite_knows(op->code), err));
    }
    return NB_OK;
}

/* Text, but for zero bytes at its end? Its length. */
static bool is_text(const uint8_t *data, uint64_t bytes, size_t *n)
{
    *n = (size_t)bytes;
    while (*n > 0 && data[*n - 1] == 0)
        --*n;
    for (size_t i = 0; i < *n;) {
        uint32_t cp;
        const size_t step = nb_utf8_next((const char *)data + i, *n - i, &cp);
        if (step == 0 || (cp < 32 && cp != '\n' && cp != '\t'))
            return false;
        i += step;
    }
    return true;
}

static enum nb_status list_meta(struct nb_net_owner *o, struct nb_net_info *info,
                                const struct nb_tflite_model *m, struct nb_error *err)
{
    struct nb_meta_info *meta =
        nb_arena_alloc(&o->arena, m->n_meta + m->n_signatures + 1, sizeof *meta);
    if (meta == NULL)
        return no_memory(err);
    for (size_t i = 0; i < m->n_meta; i++) {
        const struct nb_tflite_meta *from = &m->meta[i];
        size_t n;
        const uint8_t *data = from->data != NULL ? from->data : (const uint8_t *)"";
        meta[i].key = from->name;
        meta[i].value = is_text(data, from->bytes, &n)
                            ? nb_arena_strndup(&o->arena, (const char *)data, n)
                            : nb_arena_printf(&o->arena, "%llu bytes that are no text",
                                              (unsigned long long)from->bytes);
        if (meta[i].value == NULL)
            return no_memory(err);
    }
    for (size_t i = 0; i < m->n_signatures; i++)
        meta[m->n_meta + i] = (struct nb_meta_info){"signature", m->signatures[i].key};
    info->meta = meta;
    info->n_meta = m->n_meta + m->n_signatures;
    return NB_OK;
}

enum nb_status nb_net_fill_tflite(struct nb_net_owner *o, struct nb_net_info *info,
                                  const char *path, struct nb_error *err)
{
    NB_TRY(nb_tflite_open(&o->tflite, path, &o->a, err));
    const struct nb_tflite_model *m = nb_tflite_model(o->tflite);
    const struct nb_tflite_graph *g = &m->graphs[0];
    info->dialect = "tflite";
    info->ir_version = m->version;
    info->name = g->name;
    info->producer = m->description;
    info->n_subgraphs = m->n_graphs - 1;
    NB_TRY(list_values(o, &info->inputs, &info->n_inputs, g, g->inputs, g->n_inputs, err));
    NB_TRY(list_values(o, &info->outputs, &info->n_outputs, g, g->outputs, g->n_outputs, err));
    for (size_t i = 0; i < m->n_graphs; i++)
        NB_TRY(count_graph(o, info, &m->graphs[i], err));
    return list_meta(o, info, m, err);
}
