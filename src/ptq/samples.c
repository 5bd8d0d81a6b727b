/* ptq/samples.c: a net runs over samples, and every value of it is shown to somebody. */
#include "ptq/ptq_internal.h"
#include "run/net.h"

/* Owns: arena, session. */
struct walk {
    const struct nb_net *net;
    nb_ptq_see_fn *see;
    void *ctx;
    struct nb_arena arena;
    struct nb_net_session *session;
    struct nb_ptq_feed feed;
    void **outputs; /* (n_outputs) */
    enum nb_status status;
    struct nb_error *err;
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to run samples");
}

/* ---- numbers of the type that an input takes ---- */

static bool takes(enum nb_value_type t)
{
    return t == NB_VALUE_F32 || t == NB_VALUE_F64 || t == NB_VALUE_I64 || t == NB_VALUE_I32 ||
           t == NB_VALUE_U8 || t == NB_VALUE_I8 || t == NB_VALUE_BOOL;
}

enum nb_status nb_ptq_feed_init(struct nb_ptq_feed *f, const struct nb_net *net,
                                struct nb_arena *arena, struct nb_error *err)
{
    f->inputs = nb_arena_alloc(arena, net->n_inputs + 1, sizeof *f->inputs);
    f->room = nb_arena_alloc(arena, net->n_inputs + 1, sizeof *f->room);
    if (f->inputs == NULL || f->room == NULL)
        return no_memory(err);
    for (size_t i = 0; i < net->n_inputs; i++) {
        const struct nb_value *v = &net->g.values[net->input_values[i]];
        f->room[i] = NULL;
        if (v->type == NB_VALUE_F32)
            continue;
        f->room[i] =
            nb_arena_alloc(arena, (size_t)nb_value_count(v) + 1, nb_value_item_bytes(v->type));
        if (f->room[i] == NULL)
            return no_memory(err);
    }
    return NB_OK;
}

static void convert(void *dst, enum nb_value_type type, const float *x, size_t n)
{
#define CONVERT(kind, ctype, value)                                                                \
    case kind:                                                                                     \
        for (size_t i = 0; i < n; i++)                                                             \
            ((ctype *)dst)[i] = (ctype)(value);                                                    \
        return;
    switch (type) {
        CONVERT(NB_VALUE_F64, double, x[i])
        CONVERT(NB_VALUE_I64, int64_t, x[i])
        CONVERT(NB_VALUE_I32, int32_t, x[i])
        CONVERT(NB_VALUE_U8, uint8_t, x[i])
        CONVERT(NB_VALUE_I8, int8_t, x[i])
        CONVERT(NB_VALUE_BOOL, uint8_t, x[i] != 0.0F)
    default:
        return;
    }
#undef CONVERT
}

void nb_ptq_feed_sample(struct nb_ptq_feed *f, const struct nb_net *net,
                        const struct nb_ptq_data *data, size_t sample)
{
    for (size_t i = 0; i < net->n_inputs; i++) {
        const struct nb_value *v = &net->g.values[net->input_values[i]];
        const size_t n = (size_t)nb_value_count(v);
        f->inputs[i] = data->inputs[i] + sample * n;
        if (f->room[i] != NULL) {
            convert(f->room[i], v->type, f->inputs[i], n);
            f->inputs[i] = f->room[i];
        }
    }
}

enum nb_status nb_ptq_progress(const struct nb_progress *p, const char *what, const char *unit,
                               size_t done, size_t total, struct nb_error *err)
{
    if (p != NULL && p->fn != NULL && p->fn(p->ctx, what, done, total, unit) != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "quantization cancelled");
    return NB_OK;
}

static void show(struct walk *w, uint32_t value, const void *data, size_t n)
{
    if (w->status == NB_OK)
        w->status = w->see(w->ctx, value, data, n, w->err);
}

static void tap(void *ctx, uint32_t value, const struct nb_slot *slot)
{
    show(ctx, value, slot->data, (size_t)(slot->rows * slot->cols));
}

static enum nb_status set_up(struct walk *w, struct nb_pool *pool, const struct nb_allocator *a,
                             struct nb_error *err)
{
    const struct nb_net *net = w->net;
    const uint64_t one[NB_N_SYMS] = {1, 1, 1, 1, 1};
    /* the session wants a graph that it may sort */
    const struct nb_net_ports ports = {(struct nb_graph *)(uintptr_t)&net->g, net->input_values,
                                       net->output_values, net->n_inputs, net->n_outputs};
    NB_TRY(nb_ptq_feed_init(&w->feed, net, &w->arena, err));
    w->outputs = nb_arena_alloc(&w->arena, net->n_outputs + 1, sizeof *w->outputs);
    if (w->outputs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < net->n_outputs; i++) {
        uint64_t bytes = 0;
        if (nb_value_bytes(&net->g.values[net->output_values[i]], one, &bytes))
            w->outputs[i] = nb_arena_alloc(&w->arena, (size_t)bytes + 1, 1);
        if (w->outputs[i] == NULL)
            return no_memory(err);
    }
    NB_TRY(nb_net_session_create(&w->session, &ports, pool, a, err));
    nb_net_session_tap(w->session, tap, w);
    return NB_OK;
}

static enum nb_status run(struct walk *w, const struct nb_ptq_data *data)
{
    const struct nb_net *net = w->net;
    for (size_t i = 0; i < data->n_samples && w->status == NB_OK; i++) {
        NB_TRY(nb_ptq_progress(data->progress, NULL, "samples", i, data->n_samples, w->err));
        nb_ptq_feed_sample(&w->feed, net, data, i);
        for (size_t k = 0; k < net->n_inputs; k++) {
            const uint32_t v = net->input_values[k];
            show(w, v, w->feed.inputs[k], (size_t)nb_value_count(&net->g.values[v]));
        }
        if (w->status == NB_OK)
            nb_net_session_run(w->session, w->feed.inputs, w->outputs);
    }
    return w->status;
}

enum nb_status nb_ptq_run_samples(const struct nb_net *net, const struct nb_ptq_data *data,
                                  nb_ptq_see_fn *see, void *ctx, struct nb_pool *pool,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    struct walk w = {.net = net, .see = see, .ctx = ctx, .err = err};
    nb_arena_init(&w.arena, a, 0);
    enum nb_status st = set_up(&w, pool, a, err);
    if (st == NB_OK)
        st = run(&w, data);
    nb_net_session_destroy(w.session);
    nb_arena_fini(&w.arena);
    return st;
}

enum nb_status nb_ptq_check_data(const struct nb_net *net, const struct nb_ptq_data *data,
                                 struct nb_error *err)
{
    if (data->n_samples == 0)
        NB_FAIL(err, NB_ERR_ARG, "no samples to calibrate on");
    for (size_t i = 0; i < net->n_inputs; i++)
        if (!takes(net->g.values[net->input_values[i]].type))
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "input '%s' has a type that samples are not made of; fix it to a value",
                    net->inputs[i].name);
    return NB_OK;
}
