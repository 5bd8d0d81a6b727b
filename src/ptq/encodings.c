/* ptq/encodings.c: the grids of a QDQ model beside the float net, as AIMET writes them and QNN's converters take them as
 * overrides ("encodings", versions 1.0.0 and 0.6.1; quantsim export of quic/aimet).
 *
 *     real = scale * (q + offset),  q = 0 .. 2^bits - 1,  offset <= 0
 *
 * so the offset is minus the zero point of an unsigned grid, and -128 (of 8 bits) - zero point of a signed one. Names are those of the
 * float net that was made simple: batch norms are in their convolutions. Biases are not in it: their grid follows from those
 * of input and weights.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory for encodings");
}

/* A value, or a constant, on a grid. Borrows: the edit's. */
struct entry {
    const char *name; /* in the float net */
    const struct nb_onnx_node *dequantize;
    bool param;
};
/* Owns: map. */
struct list {
    struct nb_edit *e;
    struct entry *items; /* of the edit's arena */
    size_t n;
    struct nb_map known;
};

static const struct nb_onnx_node *dequantizer(const struct nb_edit *e, const char *name)
{
    const size_t i = name[0] != '\0' ? nb_edit_producer(e, name) : SIZE_MAX;
    return i != SIZE_MAX && nb_str_eq(e->nodes[i].op_type, "DequantizeLinear") ? &e->nodes[i]
                                                                               : NULL;
}

static enum nb_status note(struct list *l, const char *name, const struct nb_onnx_node *dq,
                           struct nb_error *err)
{
    const struct nb_onnx_tensor *zero =
        dq->n_inputs > 2 ? nb_edit_tensor(l->e, dq->inputs[2]) : NULL;
    if (zero == NULL || zero->type == NB_ONNX_INT32) /* a bias */
        return NB_OK;
    const enum nb_status st = nb_map_put(&l->known, name, strlen(name), l->n);
    if (st == NB_ERR_EXISTS)
        return NB_OK;
    if (st != NB_OK)
        return no_memory(err);
    l->items[l->n++] = (struct entry){
        .name = name, .dequantize = dq, .param = nb_edit_producer(l->e, dq->inputs[0]) == SIZE_MAX};
    return NB_OK;
}

/* A weight whose float is followed by a pair of nodes (TensorRT) is a parameter too. */
static void mark_pairs(struct list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const size_t q = nb_edit_producer(l->e, l->items[i].dequantize->inputs[0]);
        if (q != SIZE_MAX && nb_edit_tensor(l->e, l->e->nodes[q].inputs[0]) != NULL)
            l->items[i].param = true;
    }
}

/* Node i of the float net is node i of the edit; what was inserted comes behind. */
static enum nb_status find_all(struct list *l, const struct nb_onnx_model *simple,
                               struct nb_error *err)
{
    const struct nb_onnx_graph *g = &simple->graph;
    size_t room = g->n_outputs + 1;
    for (size_t i = 0; i < g->n_nodes; i++)
        room += g->nodes[i].n_inputs;
    l->items = nb_arena_alloc(&l->e->arena, room, sizeof *l->items);
    if (l->items == NULL)
        return no_memory(err);
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i].n_inputs && k < l->e->nodes[i].n_inputs; k++) {
            const struct nb_onnx_node *dq = dequantizer(l->e, l->e->nodes[i].inputs[k]);
            if (dq != NULL)
                NB_TRY(note(l, g->nodes[i].inputs[k], dq, err));
        }
    for (size_t i = 0; i < g->n_outputs; i++) {
        const struct nb_onnx_node *dq = dequantizer(l->e, g->outputs[i].name);
        if (dq != NULL)
            NB_TRY(note(l, g->outputs[i].name, dq, err));
    }
    mark_pairs(l);
    return NB_OK;
}

/* ---- writing ---- */

/* Of an entry: its bits, and minus the zero point of codes that begin at 0. */
static unsigned bits_of(const struct nb_onnx_tensor *zero)
{
    return nb_onnx_type_info(zero->type)->bits;
}

static int offset_of(const struct nb_onnx_tensor *zero, size_t i)
{
    const bool whole = zero->type == NB_ONNX_UINT8 || zero->type == NB_ONNX_UINT16;
    return (whole ? 0 : -(1 << (bits_of(zero) - 1))) - (int)nb_ptq_number(zero, i);
}

static void write_new(struct nb_str *out, const struct entry *x, const struct nb_onnx_tensor *scale,
                      const struct nb_onnx_tensor *zero, const char *symmetric)
{
    nb_str_puts(out, "{\"name\":");
    nb_str_json(out, x->name, strlen(x->name));
    nb_str_printf(out, ",\"enc_type\":\"%s\",\"dtype\":\"INT\",\"bw\":%u,\"is_sym\":%s,\"scale\":[",
                  scale->rank > 0 ? "PER_CHANNEL" : "PER_TENSOR", bits_of(zero), symmetric);
    for (size_t i = 0; i < scale->n; i++)
        nb_str_printf(out, "%s%.9g", i > 0 ? "," : "", nb_ptq_number(scale, i));
    nb_str_puts(out, "],\"offset\":[");
    for (size_t i = 0; i < scale->n; i++)
        nb_str_printf(out, "%s%d", i > 0 ? "," : "", offset_of(zero, i));
    nb_str_puts(out, "]}");
}

static void write_old(struct nb_str *out, const struct entry *x, const struct nb_onnx_tensor *scale,
                      const struct nb_onnx_tensor *zero, const char *symmetric)
{
    nb_str_json(out, x->name, strlen(x->name));
    nb_str_puts(out, ":[");
    for (size_t i = 0; i < scale->n; i++) {
        const double s = nb_ptq_number(scale, i);
        const int offset = offset_of(zero, i);
        nb_str_printf(out,
                      "%s{\"bitwidth\":%u,\"dtype\":\"int\",\"is_symmetric\":\"%s\",\"min\":%.9g,"
                      "\"max\":%.9g,\"offset\":%d,\"scale\":%.9g}",
                      i > 0 ? "," : "", bits_of(zero), symmetric[0] == 't' ? "True" : "False",
                      s * offset, s * (offset + (1 << bits_of(zero)) - 1), offset, s);
    }
    nb_str_puts(out, "]");
}

static void write_part(struct nb_str *out, const struct list *l, bool params, bool old)
{
    const char *between = "\n";
    nb_str_printf(out, ",\n\"%s_encodings\":%s", params ? "param" : "activation", old ? "{" : "[");
    for (size_t i = 0; i < l->n; i++) {
        const struct entry *x = &l->items[i];
        if (x->param != params)
            continue;
        const struct nb_onnx_tensor *scale = nb_edit_tensor(l->e, x->dequantize->inputs[1]);
        const struct nb_onnx_tensor *zero = nb_edit_tensor(l->e, x->dequantize->inputs[2]);
        nb_str_puts(out, between);
        between = ",\n";
        (old ? write_old : write_new)(
            out, x, scale, zero,
            zero->type == NB_ONNX_UINT8 || zero->type == NB_ONNX_UINT16 ? "false" : "true");
    }
    nb_str_puts(out, old ? "}" : "]");
}

enum nb_status nb_ptq_write_encodings(struct nb_str *out, struct nb_edit *e,
                                      const struct nb_onnx_model *simple,
                                      const struct nb_ptq_options *o, struct nb_error *err)
{
    struct list l = {.e = e};
    const char *version = o->encodings;
    const bool old = nb_str_eq(version, "0.6.1");
    nb_map_init(&l.known, e->a);
    const enum nb_status st = find_all(&l, simple, err);
    if (st == NB_OK) {
        nb_str_printf(out, "{\"version\":\"%s\"", version);
        write_part(out, &l, false, old);
        write_part(out, &l, true, old);
        nb_str_printf(out,
                      ",\n\"quantizer_args\":{\"activation_bitwidth\":%u,\"param_bitwidth\":%u,"
                      "\"dtype\":\"int\"}}\n",
                      nb_onnx_type_info(nb_ptq_activation_codes(o).type)->bits,
                      nb_onnx_type_info(nb_ptq_weight_codes(o).type)->bits);
    }
    nb_map_fini(&l.known);
    return st == NB_OK ? nb_str_check(out, err) : st;
}
