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
    const void **inputs; /* (n_inputs) */
    void **outputs;      /* (n_outputs) */
    enum nb_status status;
    struct nb_error *err;
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to run samples");
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
    w->inputs = nb_arena_alloc(&w->arena, net->n_inputs + 1, sizeof *w->inputs);
    w->outputs = nb_arena_alloc(&w->arena, net->n_outputs + 1, sizeof *w->outputs);
    if (w->inputs == NULL || w->outputs == NULL)
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
        for (size_t k = 0; k < net->n_inputs; k++) {
            const uint32_t v = net->input_values[k];
            const size_t n = (size_t)nb_value_count(&net->g.values[v]);
            w->inputs[k] = data->inputs[k] + i * n;
            show(w, v, w->inputs[k], n);
        }
        if (w->status == NB_OK)
            nb_net_session_run(w->session, w->inputs, w->outputs);
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
        if (net->g.values[net->input_values[i]].type != NB_VALUE_F32)
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "input '%s' is no float; fix it to a value to calibrate the net",
                    net->inputs[i].name);
    return NB_OK;
}
