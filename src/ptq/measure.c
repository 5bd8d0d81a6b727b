/* ptq/measure.c: what a quantized model costs: its outputs beside those of the float model, over samples. */
#include "ptq/ptq_internal.h"
#include "run/net.h"

/* A model, ready to run as users run it: quantized layers in integers. Owns: all. */
struct side {
    struct nb_net *file, *net; /* as it stands, and after passes */
    struct nb_net_session *session;
    void **outputs; /* (n_outputs) */
};

static void side_fini(struct side *s, const struct nb_allocator *a)
{
    for (size_t i = 0; s->outputs != NULL && i < s->net->n_outputs; i++)
        nb_free(a, s->outputs[i]);
    nb_free(a, s->outputs);
    nb_net_session_destroy(s->session);
    nb_net_close(s->net);
    nb_net_close(s->file);
}

static enum nb_status side_init(struct side *s, const struct nb_onnx_model *m,
                                const struct nb_net_options *o, struct nb_pool *pool,
                                const struct nb_allocator *a, struct nb_error *err)
{
    const uint64_t one[NB_N_SYMS] = {1, 1, 1, 1, 1};
    NB_TRY(nb_net_import(&s->file, m, o, a, err));
    NB_TRY(nb_net_derive(&s->net, s->file, NB_NET_ALL, err));
    const struct nb_net_ports ports = {&s->net->g, s->net->input_values, s->net->output_values,
                                       s->net->n_inputs, s->net->n_outputs};
    NB_TRY(nb_net_session_create(&s->session, &ports, pool, a, err));
    s->outputs = nb_alloc_zero(a, s->net->n_outputs + 1, sizeof *s->outputs);
    for (size_t i = 0; s->outputs != NULL && i < s->net->n_outputs; i++) {
        uint64_t bytes = 0;
        if (nb_value_bytes(&s->net->g.values[s->net->output_values[i]], one, &bytes))
            s->outputs[i] = nb_alloc(a, (size_t)bytes + 1, 1);
        if (s->outputs[i] == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for an output");
    }
    if (s->outputs == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to compare two nets");
    return NB_OK;
}

/* What a sample gives of one output, reference first, (n) each; label: where the largest should be, -1: nobody says. */
static void add_output(struct nb_ptq_error *e, double *const x[2], size_t n, int64_t label)
{
    nb_agreement_add(&e->of, x[0], x[1], n, n);
    if (label < 0 || (uint64_t)label >= n)
        return;
    e->n_right_reference += nb_class_place(x[0], n, (size_t)label) == 0;
    e->n_right += nb_class_place(x[1], n, (size_t)label) == 0;
}

/* Room for the largest output of floats, as doubles, of both. */
static enum nb_status make_room(double *x[2], const struct nb_net *net, struct nb_arena *arena,
                                struct nb_error *err)
{
    uint64_t most = 1;
    for (size_t k = 0; k < net->n_outputs; k++)
        most = NB_MAX(most, nb_value_count(&net->g.values[net->output_values[k]]));
    for (size_t k = 0; k < 2; k++) {
        x[k] = nb_arena_alloc(arena, (size_t)most, sizeof *x[k]);
        if (x[k] == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory to compare two nets");
    }
    return NB_OK;
}

static void widen(double *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

static enum nb_status compare(struct side *s, const struct nb_ptq_data *data,
                              struct nb_ptq_error *errors, struct nb_arena *arena,
                              struct nb_error *err)
{
    const struct nb_net *net = s[0].net;
    struct nb_ptq_feed feed;
    double *x[2];
    NB_TRY(nb_ptq_feed_init(&feed, net, arena, err));
    NB_TRY(make_room(x, net, arena, err));
    for (size_t i = 0; i < data->n_samples; i++) {
        NB_TRY(nb_ptq_progress(data->progress, "comparing", "samples", i, data->n_samples, err));
        nb_ptq_feed_sample(&feed, net, data, i);
        for (size_t k = 0; k < 2; k++)
            nb_net_session_run(s[k].session, feed.inputs, s[k].outputs);
        for (size_t k = 0; k < net->n_outputs; k++) {
            const struct nb_value *v = &net->g.values[net->output_values[k]];
            const size_t n = (size_t)nb_value_count(v);
            if (v->type != NB_VALUE_F32)
                continue;
            widen(x[0], s[0].outputs[k], n);
            widen(x[1], s[1].outputs[k], n);
            add_output(&errors[k], x, n, data->labels != NULL && k == 0 ? data->labels[i] : -1);
        }
    }
    return NB_OK;
}

static bool alike(const struct nb_net *a, const struct nb_net *b)
{
    bool same = a->n_inputs == b->n_inputs && a->n_outputs == b->n_outputs;
    for (size_t i = 0; same && i < a->n_outputs; i++) {
        const struct nb_value *x = &a->g.values[a->output_values[i]];
        const struct nb_value *y = &b->g.values[b->output_values[i]];
        same = x->type == y->type && nb_value_count(x) == nb_value_count(y);
    }
    for (size_t i = 0; same && i < a->n_inputs; i++)
        same = nb_value_count(&a->g.values[a->input_values[i]]) ==
               nb_value_count(&b->g.values[b->input_values[i]]);
    return same;
}

enum nb_status nb_ptq_measure(struct nb_ptq_error *errors, const struct nb_onnx_model *reference,
                              const struct nb_onnx_model *model, const struct nb_net_options *o,
                              const struct nb_ptq_data *data, struct nb_pool *pool,
                              const struct nb_allocator *a, struct nb_error *err)
{
    struct side s[2] = {{NULL, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL}};
    struct nb_arena arena;
    nb_arena_init(&arena, a, 0);
    enum nb_status st = side_init(&s[0], reference, o, pool, a, err);
    if (st == NB_OK)
        st = side_init(&s[1], model, o, pool, a, err);
    if (st == NB_OK && !alike(s[0].net, s[1].net))
        st = NB_ERROR(err, NB_ERR_FORMAT, "two nets of other inputs or outputs");
    if (st == NB_OK)
        st = compare(s, data, errors, &arena, err);
    nb_arena_fini(&arena);
    side_fini(&s[0], a);
    side_fini(&s[1], a);
    return st;
}
