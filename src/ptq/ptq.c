/* ptq/ptq.c: the steps of static quantization, one after the other. */
#include <string.h>

#include "ptq/ptq_internal.h"

void nb_ptq_destroy(struct nb_ptq *p)
{
    if (p == NULL)
        return;
    nb_edit_fini(&p->edit);
    if (p->has_base) {
        nb_edit_fini(&p->base);
        nb_arena_fini(&p->arena);
        nb_str_fini(&p->encodings);
    }
    nb_free(p->a, p);
}

static enum nb_status create(struct nb_ptq **out, const struct nb_allocator *a,
                             struct nb_error *err)
{
    *out = nb_alloc_zero(a, 1, sizeof **out);
    if (*out == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize a net");
    (*out)->a = a;
    return NB_OK;
}

enum nb_status nb_ptq_begin(struct nb_ptq **out, const struct nb_onnx_model *m,
                            const struct nb_allocator *a, struct nb_error *err)
{
    NB_TRY(create(out, a, err));
    return nb_ptq_end(out, nb_edit_init(&(*out)->edit, m, a, err));
}

enum nb_status nb_ptq_end(struct nb_ptq **out, enum nb_status st)
{
    if (st != NB_OK) {
        nb_ptq_destroy(*out);
        *out = NULL;
    }
    return st;
}

const struct nb_onnx_model *nb_ptq_model(const struct nb_ptq *p)
{
    return &p->model;
}

const struct nb_onnx_model *nb_ptq_file(const struct nb_ptq *p)
{
    return p->is_stripped ? &p->stripped : &p->model;
}

const struct nb_str *nb_ptq_encodings(const struct nb_ptq *p)
{
    return &p->encodings;
}

const struct nb_ptq_report *nb_ptq_report(const struct nb_ptq *p)
{
    return &p->report;
}

static bool wants_histograms(enum nb_ptq_range r)
{
    return r == NB_PTQ_PERCENTILE || r == NB_PTQ_MSE || r == NB_PTQ_ENTROPY;
}

/* What models are made of, in a call. Borrows: all. */
struct making {
    struct nb_ptq *p;
    const struct nb_ptq_options *o;
    const struct nb_observed_net *seen;
    struct nb_ptq_rounder rounder;
    bool rounded;
};

static enum nb_status list_nodes(struct nb_ptq *p, const struct nb_ptq_plan *plan,
                                 const struct nb_ptq_options *o, struct nb_error *err)
{
    struct nb_ptq_node *list = nb_ptq_list_nodes(&p->edit, o->keep, o->n_keep, &p->report);
    if (list == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize a net");
    for (size_t i = 0; i < p->report.n_listed; i++)
        if (plan->kinds[i] != NB_PTQ_OTHER)
            list[i].fate = plan->kinds[i] == NB_PTQ_SAME ? NB_PTQ_IS_MOVED : NB_PTQ_IS_QUANTIZED;
    return NB_OK;
}

/* A model in which these nodes stay float (NULL: none), from the rounded weights; these first if there are none yet. */
static enum nb_status make(void *ctx, const bool *stay, const struct nb_onnx_model **m,
                           struct nb_error *err)
{
    struct making *k = ctx;
    struct nb_ptq *p = k->p;
    struct nb_ptq_plan plan;
    if (k->rounded)
        nb_edit_fini(&p->edit);
    NB_TRY(nb_edit_init(&p->edit, &p->simple, p->a, err));
    NB_TRY(nb_ptq_plan(&plan, &p->edit, k->rounder.ground->net, k->seen, k->o, stay, err));
    enum nb_status st = k->rounded ? NB_OK : nb_ptq_round(&k->rounder, &p->edit, &plan, err);
    k->rounded = true;
    if (st == NB_OK)
        st = list_nodes(p, &plan, k->o, err);
    p->report.n_quantized = p->report.n_activations = 0;
    if (st == NB_OK)
        st = nb_ptq_insert(&p->edit, &plan, k->rounder.rounded, k->o, &p->report, err);
    nb_ptq_plan_fini(&plan);
    *m = &p->model;
    return st == NB_OK ? nb_edit_model(&p->edit, &p->model, err) : st;
}

static enum nb_status choose(struct making *k, const struct nb_net_options *net, const bool *units,
                             struct nb_error *err)
{
    struct nb_ptq *p = k->p;
    const struct nb_ptq_ground *g = k->rounder.ground;
    const struct nb_ptq_trial t = {.make = make,
                                   .ctx = k,
                                   .reference = &p->simple,
                                   .net = net,
                                   .data = g->data,
                                   .pool = g->pool,
                                   .a = g->a,
                                   .arena = &p->arena,
                                   .max_drop = k->o->max_drop,
                                   .min_sqnr_db = k->o->min_sqnr_db};
    struct nb_ptq_choice c;
    const struct nb_onnx_graph *graph = &p->simple.graph;
    NB_TRY(nb_ptq_choose(&c, &t, units, graph->n_nodes, err));
    for (size_t i = 0; i < c.n_kept; i++) {
        const struct nb_onnx_node *n = &graph->nodes[c.kept[i].node];
        c.kept[i].name = n->name != NULL && n->name[0] != '\0' ? n->name : n->outputs[0];
    }
    p->report.score = c.score;
    p->report.stay = c.kept;
    p->report.n_stay = c.n_kept;
    p->report.n_models = c.n_models;
    return NB_OK;
}

static enum nb_status quantize(struct nb_ptq *p, const struct nb_ptq_ground *g,
                               const struct nb_net_options *net, const struct nb_ptq_options *o,
                               const struct nb_observed_net *seen, struct nb_error *err)
{
    struct making k = {
        .p = p, .o = o, .seen = seen, .rounder = {.o = o, .ground = g, .arena = &p->arena}};
    const struct nb_onnx_model *m;
    NB_TRY(make(&k, NULL, &m, err));
    return o->bounded ? choose(&k, net, k.rounder.units, err) : NB_OK;
}

static enum nb_status observe(struct nb_ptq *p, const struct nb_ptq_ground *g,
                              const struct nb_net_options *net, const struct nb_ptq_options *o,
                              struct nb_error *err)
{
    struct nb_observed_net seen;
    if (o->planning) {
        NB_TRY(nb_ptq_suppose(&seen, g->net, g->a, err));
    } else {
        NB_TRY(nb_ptq_check_data(g->net, g->data, err));
        NB_TRY(
            nb_ptq_observe(&seen, g->net, g->data, wants_histograms(o->range), g->pool, g->a, err));
    }
    const enum nb_status st = quantize(p, g, net, o, &seen, err);
    nb_observed_net_fini(&seen);
    return st;
}

static enum nb_status run(struct nb_ptq *p, const struct nb_net_options *options,
                          const struct nb_ptq_options *o, const struct nb_ptq_data *data,
                          struct nb_pool *pool, struct nb_error *err)
{
    struct nb_net *net;
    const int64_t opset = nb_onnx_opset_version(&p->base.model, "");
    NB_TRY(nb_ptq_simplify(&p->base, err));
    NB_TRY(nb_ptq_raise_opset(&p->base, err));
    if (o->smooth)
        NB_TRY(nb_ptq_smooth(&p->base, o->alpha, options, data, pool, &p->report.smoothed, err));
    if (o->equalize)
        NB_TRY(nb_ptq_equalize(&p->base, options, data, pool, &p->report.n_pairs, err));
    NB_TRY(nb_edit_model(&p->base, &p->simple, err));
    p->report.n_nodes = p->simple.graph.n_nodes;
    NB_TRY(nb_net_import(&net, &p->simple, options, p->a, err));
    const struct nb_ptq_ground ground = {.net = net, .data = data, .pool = pool, .a = p->a};
    enum nb_status st = nb_ptq_check_opset(&p->base, net, opset, err);
    if (st == NB_OK)
        st = observe(p, &ground, options, o, err);
    nb_net_close(net);
    return st;
}

/* The QDQ model in the format that is asked for, and its encodings. */
static enum nb_status finish(struct nb_ptq *p, const struct nb_ptq_options *o, struct nb_error *err)
{
    if (o->encodings != NULL)
        NB_TRY(nb_ptq_write_encodings(&p->encodings, &p->edit, &p->simple, o, err));
    if (o->format == NB_PTQ_QOPERATOR) {
        NB_TRY(nb_ptq_qoperator(&p->edit, o, &p->report, err));
        return nb_edit_model(&p->edit, &p->model, err);
    }
    if (o->format != NB_PTQ_FLOAT)
        return NB_OK;
    NB_TRY(nb_ptq_strip(&p->edit, &p->simple, err));
    p->is_stripped = true;
    return nb_edit_model(&p->edit, &p->stripped, err);
}

enum nb_status nb_ptq_create(struct nb_ptq **out, const struct nb_onnx_model *m,
                             const struct nb_net_options *net, const struct nb_ptq_options *o,
                             const struct nb_ptq_data *data, struct nb_pool *pool,
                             const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_ptq_options with = *o;
    *out = NULL;
    if (o->smooth && o->alpha < 0.0)
        NB_TRY(nb_ptq_find_alpha(&with.alpha, m, net, o, data, pool, a, err));
    NB_TRY(create(out, a, err));
    struct nb_ptq *p = *out;
    nb_arena_init(&p->arena, a, 0);
    nb_str_init(&p->encodings, a);
    p->has_base = true;
    enum nb_status st = nb_edit_init(&p->base, m, a, err);
    if (st == NB_OK)
        st = run(p, net, &with, data, pool, err);
    if (st == NB_OK)
        st = finish(p, &with, err);
    return nb_ptq_end(out, st);
}
