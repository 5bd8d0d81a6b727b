/* api/net_side.c: a net that is run over samples, its inputs and outputs as real numbers.
 *
 * Integers stand for reals where the model says so: an input that a DequantizeLinear reads, an output that a
 * QuantizeLinear makes (of TFLite: tensors with a scale).
 */
#include "api/net_side.h"

#include <math.h>
#include <string.h>

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to run a net over samples");
}

/* "float32 [1, 3, 32, 32]" */
static const char *shape_text(const char *type, const int64_t *dims, uint32_t rank, char *out,
                              size_t cap)
{
    struct nb_str s;
    nb_str_init(&s, NULL);
    nb_str_printf(&s, "%s [", type);
    for (uint32_t i = 0; i < rank; i++)
        nb_str_printf(&s, "%s%lld", i > 0 ? ", " : "", (long long)dims[i]);
    nb_str_printf(&s, "]");
    const size_t n = s.data != NULL ? NB_MIN(s.len, cap - 1) : 0;
    if (n > 0)
        memcpy(out, s.data, n);
    out[n] = '\0';
    nb_str_fini(&s);
    return out;
}

/* ---- opening ---- */

static enum nb_status make_ends(struct nb_net_side *s, bool input, struct nb_net_end **out,
                                size_t n, struct nb_error *err)
{
    const struct nb_onnx_model *m = nb_net_source_model(&s->e->file->source);
    struct nb_net_end *ends = nb_arena_alloc(&s->arena, n + 1, sizeof *ends);
    if (ends == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const enum nb_status st = input ? nb_executor_input(s->e, i, &ends[i].port)
                                        : nb_executor_output(s->e, i, &ends[i].port);
        if (st != NB_OK)
            NB_FAIL(err, NB_ERR_INTERNAL, "port %zu is not there", i);
        const struct nb_executor_port *p = &ends[i].port;
        const bool codes = nb_str_eq(p->type, "int8") || nb_str_eq(p->type, "uint8");
        if (!codes || m == NULL || !nb_net_grid(m, p->name, &ends[i].grid))
            ends[i].grid = (struct nb_net_grid){.scale = 0.0f};
        ends[i].step = m != NULL ? nb_net_step(m, p->name) : 0.0f;
        ends[i].data = nb_arena_alloc(&s->arena, (size_t)p->bytes + 1, 1);
        if (ends[i].data == NULL)
            return no_memory(err);
        if (input)
            s->inputs[i] = ends[i].data;
        else
            s->outputs[i] = ends[i].data;
    }
    *out = ends;
    return NB_OK;
}

enum nb_status nb_net_side_open(struct nb_net_side *s, nb_context *ctx, const char *path,
                                const struct nb_executor_options *o, struct nb_error *err)
{
    *s = (struct nb_net_side){.path = path};
    nb_arena_init(&s->arena, &ctx->allocator, 0);
    NB_TRY(nb_executor_create(&s->e, ctx, path, o, err));
    s->n_in = s->e->net->n_inputs;
    s->n_out = s->e->net->n_outputs;
    s->inputs = nb_arena_alloc(&s->arena, s->n_in + 1, sizeof *s->inputs);
    s->outputs = nb_arena_alloc(&s->arena, s->n_out + 1, sizeof *s->outputs);
    if (s->inputs == NULL || s->outputs == NULL)
        return no_memory(err);
    NB_TRY(make_ends(s, true, &s->in, s->n_in, err));
    NB_TRY(make_ends(s, false, &s->out, s->n_out, err));
    uint64_t most = 0;
    for (size_t i = 0; i < s->n_in; i++)
        most = NB_MAX(most, s->in[i].port.elements);
    for (size_t i = 0; i < s->n_out; i++)
        most = NB_MAX(most, s->out[i].port.elements);
    s->reals = nb_arena_alloc(&s->arena, (size_t)most + 1, sizeof *s->reals);
    return s->reals != NULL ? NB_OK : no_memory(err);
}

void nb_net_side_close(struct nb_net_side *s)
{
    nb_executor_destroy(s->e);
    nb_arena_fini(&s->arena);
}

/* ---- inputs ---- */

static bool is_float(const char *type)
{
    return nb_str_eq(type, "float32") || nb_str_eq(type, "float16") ||
           nb_str_eq(type, "bfloat16") || nb_str_eq(type, "float64");
}

static void put_floats(const struct nb_net_end *end, const double *x)
{
    for (uint64_t i = 0; i < end->port.elements; i++) {
        const float f = (float)x[i];
        const bool half = nb_str_eq(end->port.type, "float16");
        const uint16_t h = half ? nb_f32_to_f16(f) : nb_f32_to_bf16(f);
        if (nb_str_eq(end->port.type, "float32"))
            memcpy((uint8_t *)end->data + 4 * i, &f, sizeof f);
        else if (nb_str_eq(end->port.type, "float64"))
            memcpy((uint8_t *)end->data + 8 * i, &x[i], sizeof x[i]);
        else
            memcpy((uint8_t *)end->data + 2 * i, &h, sizeof h);
    }
}

/* As QuantizeLinear: a float divided by the scale, ties to even. */
static void put_codes(const struct nb_net_end *end, const double *x)
{
    const bool plus = nb_str_eq(end->port.type, "uint8");
    const double low = plus ? 0.0 : -128.0, high = plus ? 255.0 : 127.0;
    for (uint64_t i = 0; i < end->port.elements; i++) {
        const double q = rint((double)((float)x[i] / end->grid.scale)) + end->grid.zero;
        const int v = (int)(q >= low ? NB_MIN(q, high) : low); /* of NaN: low */
        ((uint8_t *)end->data)[i] = (uint8_t)v;
    }
}

enum nb_status nb_net_side_feed(struct nb_net_side *s, const struct nb_net_feed *f, uint64_t run,
                                struct nb_error *err)
{
    if (s->n_in != f->n_inputs)
        NB_FAIL(err, NB_ERR_INTERNAL, "%zu inputs, samples of %zu", s->n_in, f->n_inputs);
    for (size_t i = 0; i < s->n_in; i++) {
        const struct nb_net_end *end = &s->in[i];
        const struct nb_net_feed_input *from = &f->inputs[i];
        const struct nb_npy *npy = &from->npy;
        char want[128], have[128];
        if (from->n_elements != end->port.elements)
            NB_FAIL(err, NB_ERR_INTERNAL, "input '%s' has %llu elements, its samples %llu",
                    end->port.name, (unsigned long long)end->port.elements,
                    (unsigned long long)from->n_elements);
        const bool prepared = from->channels.p != NULL;
        if (prepared && (nb_str_eq(end->port.type, "uint8") || nb_str_eq(end->port.type, "int8"))) {
            nb_net_feed_numbers(f, i, run, s->reals);
            nb_net_codes(end->data, nb_str_eq(end->port.type, "uint8"), s->reals,
                         end->port.elements);
            continue;
        }
        if (nb_str_eq(npy->type, end->port.type) && !prepared) {
            memcpy(end->data, (const uint8_t *)npy->data + run * end->port.bytes,
                   (size_t)end->port.bytes);
            continue;
        }
        if (!is_float(end->port.type))
            NB_FAIL(err, NB_ERR_ARG, "%s holds %s, but input '%s' takes %s: numbers of that type",
                    from->path, shape_text(npy->type, npy->dims, npy->rank, have, sizeof have),
                    end->port.name,
                    shape_text(end->port.type, end->port.dims, end->port.rank, want, sizeof want));
        nb_net_feed_numbers(f, i, run, s->reals);
        put_floats(end, s->reals);
    }
    return NB_OK;
}

static const struct nb_net_end *counterpart(const struct nb_net_side *other, const char *name,
                                            size_t i)
{
    for (size_t k = 0; k < other->n_in; k++)
        if (nb_str_eq(other->in[k].port.name, name))
            return &other->in[k];
    return &other->in[i];
}

static bool same_grid(const struct nb_net_end *a, const struct nb_net_end *b)
{
    return a->grid.scale == b->grid.scale && a->grid.zero == b->grid.zero;
}

enum nb_status nb_net_side_feed_like(struct nb_net_side *s, const struct nb_net_side *other,
                                     struct nb_error *err)
{
    if (s->n_in != other->n_in)
        NB_FAIL(err, NB_ERR_ARG, "%s has %zu inputs, %s %zu", other->path, other->n_in, s->path,
                s->n_in);
    for (size_t i = 0; i < s->n_in; i++) {
        const struct nb_net_end *to = &s->in[i], *from = counterpart(other, to->port.name, i);
        char want[128], have[128];
        if (from->port.elements == to->port.elements && same_grid(to, from) &&
            nb_str_eq(from->port.type, to->port.type)) {
            memcpy(to->data, from->data, (size_t)to->port.bytes);
            continue;
        }
        if (from->port.elements != to->port.elements ||
            (to->grid.scale == 0.0f && !is_float(to->port.type)))
            NB_FAIL(
                err, NB_ERR_ARG, "input '%s' of %s is %s, '%s' of %s is %s", from->port.name,
                other->path,
                shape_text(from->port.type, from->port.dims, from->port.rank, have, sizeof have),
                to->port.name, s->path,
                shape_text(to->port.type, to->port.dims, to->port.rank, want, sizeof want));
        nb_net_end_reals(from, s->reals);
        if (to->grid.scale != 0.0f)
            put_codes(to, s->reals);
        else
            put_floats(to, s->reals);
    }
    return NB_OK;
}

enum nb_status nb_net_side_run(struct nb_net_side *s, struct nb_error *err)
{
    return nb_executor_run(s->e, s->inputs, s->outputs, err);
}

/* ---- outputs ---- */

void nb_net_grid_reals(struct nb_net_grid g, double *x, uint64_t n)
{
    for (uint64_t i = 0; i < n && g.scale != 0.0f; i++)
        x[i] = (double)g.scale * (x[i] - g.zero);
}

void nb_net_end_reals(const struct nb_net_end *end, double *dst)
{
    nb_net_numbers(dst, end->port.type, end->data, 0, end->port.elements);
    nb_net_grid_reals(end->grid, dst, end->port.elements);
}

enum nb_status nb_net_side_output(const struct nb_net_side *s, const char *name, size_t *index,
                                  struct nb_error *err)
{
    char list[160];
    size_t n = 0;
    for (size_t i = 0; i < s->n_out; i++) {
        if (name != NULL ? nb_str_eq(s->out[i].port.name, name) : s->n_out == 1) {
            *index = i;
            return NB_OK;
        }
        for (const char *c = s->out[i].port.name; *c != '\0' && n + 3 < sizeof list; c++)
            list[n++] = *c;
        if (i + 1 < s->n_out && n + 3 < sizeof list) {
            list[n++] = ',';
            list[n++] = ' ';
        }
    }
    list[n] = '\0';
    if (name != NULL)
        NB_FAIL(err, NB_ERR_ARG, "%s has no output '%s'; it has %s", s->path, name, list);
    NB_FAIL(err, NB_ERR_ARG, "%s has %zu outputs: say which of %s", s->path, s->n_out, list);
}

enum nb_status nb_net_side_classes(const struct nb_net_side *s, size_t output, uint64_t batch,
                                   const int64_t *labels, size_t n, uint64_t *classes,
                                   struct nb_error *err)
{
    const struct nb_executor_port *p = &s->out[output].port;
    const uint64_t each = batch > 0 ? p->elements / batch : 0;
    bool row = each > 0 && each * batch == p->elements &&
               (batch == 1 || (p->rank > 0 && p->dims[0] == (int64_t)batch));
    char text[128];
    size_t wide = 0;
    for (uint32_t i = batch > 1 ? 1 : 0; i < p->rank; i++)
        wide += p->dims[i] > 1;
    row = row && wide <= 1;
    if (!row)
        NB_FAIL(err, NB_ERR_ARG,
                "output '%s' of %s is %s: for labels it must be a score for each class, of %llu "
                "sample%s",
                p->name, s->path, shape_text(p->type, p->dims, p->rank, text, sizeof text),
                (unsigned long long)batch, batch == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++)
        if (labels[i] < 0 || (uint64_t)labels[i] >= each)
            NB_FAIL(err, NB_ERR_ARG,
                    "label %lld of sample %zu: output '%s' has %llu classes, counted from 0",
                    (long long)labels[i], i, p->name, (unsigned long long)each);
    *classes = each;
    return NB_OK;
}
