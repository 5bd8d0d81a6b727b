/* net/derive.c: a net after passes. */
#include <string.h>

#include "net/passes.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to change a net");
}

/* Ports of the same names, in their order, in the new graph. */
static enum nb_status find_ports(struct nb_net *net, const struct nb_net *from,
                                 struct nb_error *err)
{
    struct nb_arena *arena = &net->g.arena;
    net->inputs = nb_arena_alloc(arena, from->n_inputs + 1, sizeof *net->inputs);
    net->outputs = nb_arena_alloc(arena, from->n_outputs + 1, sizeof *net->outputs);
    net->input_values = nb_arena_alloc(arena, from->n_inputs + 1, sizeof *net->input_values);
    net->output_values = nb_arena_alloc(arena, from->n_outputs + 1, sizeof *net->output_values);
    if (!net->inputs || !net->outputs || !net->input_values || !net->output_values)
        return no_memory(err);
    net->n_inputs = from->n_inputs;
    net->n_outputs = from->n_outputs;
    for (size_t i = 0; i < from->n_inputs + from->n_outputs; i++) {
        const bool in = i < from->n_inputs;
        const size_t k = in ? i : i - from->n_inputs;
        struct nb_net_port port = in ? from->inputs[k] : from->outputs[k];
        port.value = nb_graph_find(&net->g, port.name);
        if (port.value == 0)
            NB_FAIL(err, NB_ERR_INTERNAL, "a pass lost '%s'", port.name);
        port.name = net->g.values[port.value].name;
        (in ? net->inputs : net->outputs)[k] = port;
        (in ? net->input_values : net->output_values)[k] = port.value;
    }
    return NB_OK;
}

static enum nb_status create(struct nb_net **out, const struct nb_net *from, struct nb_error *err)
{
    struct nb_net *net = nb_alloc_zero(from->a, 1, sizeof *net);
    *out = net;
    if (net == NULL)
        return no_memory(err);
    net->a = from->a;
    nb_graph_init(&net->g, from->a);
    return NB_OK;
}

/* One pass; *net becomes the new one, which owns the old one if that was made on the way. */
static enum nb_status step(struct nb_net **net, const struct nb_net *source, nb_pass_fn *pass,
                           struct nb_error *err)
{
    const struct nb_net *from = *net != NULL ? *net : source;
    struct nb_net *next;
    NB_TRY(create(&next, from, err));
    next->under = *net;
    *net = next;
    NB_TRY(pass(&next->g, &from->g, err));
    return find_ports(next, from, err);
}

enum nb_status nb_net_derive(struct nb_net **out, const struct nb_net *from, unsigned passes,
                             struct nb_error *err)
{
    static const struct {
        unsigned flag;
        nb_pass_fn *pass;
    } order[] = {{NB_NET_INTEGER, nb_pass_integer},
                 {NB_NET_AFFINE, nb_pass_affine},
                 {NB_NET_FUSE, nb_pass_fuse},
                 {NB_NET_LAYOUT, nb_pass_layout}};
    struct nb_net *net = NULL;
    enum nb_status st = NB_OK;
    *out = NULL;
    for (size_t i = 0; i < NB_COUNTOF(order) && st == NB_OK; i++)
        if (passes & order[i].flag)
            st = step(&net, from, order[i].pass, err);
    if (st == NB_OK && net == NULL)
        st = NB_ERROR(err, NB_ERR_ARG, "no pass was asked for");
    if (st != NB_OK) {
        nb_net_close(net);
        return st;
    }
    *out = net;
    return NB_OK;
}
