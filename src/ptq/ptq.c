/* ptq/ptq.c: the steps of static quantization, one after the other. */
#include <string.h>

#include "ptq/ptq_internal.h"

void nb_ptq_destroy(struct nb_ptq *p)
{
    if (p == NULL)
        return;
    nb_edit_fini(&p->edit);
    nb_free(p->a, p);
}

const struct nb_onnx_model *nb_ptq_model(const struct nb_ptq *p)
{
    return &p->model;
}

const struct nb_ptq_report *nb_ptq_report(const struct nb_ptq *p)
{
    return &p->report;
}

static bool wants_histograms(enum nb_ptq_range r)
{
    return r == NB_PTQ_PERCENTILE || r == NB_PTQ_MSE || r == NB_PTQ_ENTROPY;
}

static enum nb_status quantize(struct nb_ptq *p, const struct nb_net *net,
                               const struct nb_ptq_options *o, const struct nb_ptq_data *data,
                               struct nb_pool *pool, struct nb_error *err)
{
    struct nb_observed_net seen;
    struct nb_ptq_plan plan;
    NB_TRY(nb_ptq_check_data(net, data, err));
    NB_TRY(nb_ptq_observe(&seen, net, data, wants_histograms(o->range), pool, p->a, err));
    enum nb_status st = nb_ptq_plan(&plan, &p->edit, net, &seen, o, err);
    if (st == NB_OK) {
        st = nb_ptq_insert(&p->edit, &plan, o, &p->report, err);
        nb_ptq_plan_fini(&plan);
    }
    nb_observed_net_fini(&seen);
    return st == NB_OK ? nb_edit_model(&p->edit, &p->model, err) : st;
}

static enum nb_status run(struct nb_ptq *p, const struct nb_net_options *options,
                          const struct nb_ptq_options *o, const struct nb_ptq_data *data,
                          struct nb_pool *pool, struct nb_error *err)
{
    struct nb_net *net;
    NB_TRY(nb_ptq_simplify(&p->edit, err));
    NB_TRY(nb_ptq_raise_opset(&p->edit, err));
    NB_TRY(nb_edit_model(&p->edit, &p->simple, err));
    for (size_t i = 0; i < p->edit.n_nodes; i++)
        p->report.n_nodes += p->edit.nodes[i].op_type != NULL;
    NB_TRY(nb_net_import(&net, &p->simple, options, p->a, err));
    const enum nb_status st = quantize(p, net, o, data, pool, err);
    nb_net_close(net);
    return st;
}

enum nb_status nb_ptq_create(struct nb_ptq **out, const struct nb_onnx_model *m,
                             const struct nb_net_options *net, const struct nb_ptq_options *o,
                             const struct nb_ptq_data *data, struct nb_pool *pool,
                             const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_ptq *p = nb_alloc_zero(a, 1, sizeof *p);
    if (p == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize a net");
    p->a = a;
    enum nb_status st = nb_edit_init(&p->edit, m, a, err);
    if (st == NB_OK)
        st = run(p, net, o, data, pool, err);
    if (st != NB_OK) {
        nb_ptq_destroy(p);
        return st;
    }
    *out = p;
    return NB_OK;
}
