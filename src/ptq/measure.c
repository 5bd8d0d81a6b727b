/* ptq/measure.c: what a quantized model costs: its outputs beside those of the float model, over samples. */
#include <math.h>

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

/* label: where the largest element should be; -1: nobody says */
static void add_output(struct nb_ptq_error *e, const float *x, const float *y, size_t n,
                       int64_t label)
{
    size_t best_x = 0, best_y = 0;
    for (size_t i = 0; i < n; i++) {
        const double a = (double)x[i], b = (double)y[i];
        e->signal += a * a;
        e->noise += (a - b) * (a - b);
        e->most = NB_MAX(e->most, fabs(a - b));
        best_x = x[i] > x[best_x] ? i : best_x;
        best_y = y[i] > y[best_y] ? i : best_y;
    }
    e->n += n;
    e->n_samples++;
    e->n_same_top += best_x == best_y;
    e->n_right_reference += (int64_t)best_x == label;
    e->n_right += (int64_t)best_y == label;
}

static enum nb_status compare(struct side *s, const struct nb_ptq_data *data,
                              struct nb_ptq_error *errors, struct nb_arena *arena,
                              struct nb_error *err)
{
    const struct nb_net *net = s[0].net;
    struct nb_ptq_feed feed;
    NB_TRY(nb_ptq_feed_init(&feed, net, arena, err));
    for (size_t i = 0; i < data->n_samples; i++) {
        NB_TRY(nb_ptq_progress(data->progress, "comparing", "samples", i, data->n_samples, err));
        nb_ptq_feed_sample(&feed, net, data, i);
        for (size_t k = 0; k < 2; k++)
            nb_net_session_run(s[k].session, feed.inputs, s[k].outputs);
        for (size_t k = 0; k < net->n_outputs; k++) {
            const struct nb_value *v = &net->g.values[net->output_values[k]];
            if (v->type == NB_VALUE_F32)
                add_output(&errors[k], s[0].outputs[k], s[1].outputs[k], (size_t)nb_value_count(v),
                           data->labels != NULL && k == 0 ? data->labels[i] : -1);
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
