/* ptq/largest.c: how large the channels of values get over the samples. */
#include <math.h>

#include "ptq/ptq_internal.h"

/* Borrows: all. */
struct seeing {
    struct nb_channels *list;
    size_t n;
    const struct nb_net *net;
};

static void look(const struct nb_channels *c, const float *x, size_t n, size_t inner)
{
    for (size_t i = 0; i < n; i += inner) {
        float *to = &c->largest[i / inner % c->n];
        for (size_t k = 0; k < inner; k++)
            *to = fmaxf(*to, fabsf(x[i + k]));
    }
}

static enum nb_status see(void *ctx, uint32_t value, const void *data, size_t n,
                          struct nb_error *err)
{
    const struct seeing *s = ctx;
    (void)err;
    for (size_t i = 0; i < s->n; i++) {
        const struct nb_channels *c = &s->list[i];
        const struct nb_value *v = &s->net->g.values[value];
        const uint32_t at = c->last ? v->rank - 1 : 1;
        if (c->value != value || v->rank < 2 || v->dim[at].n != c->n)
            continue;
        size_t inner = 1;
        for (uint32_t d = at + 1; d < v->rank; d++)
            inner *= (size_t)v->dim[d].n;
        look(c, data, n, inner);
    }
    return NB_OK;
}

enum nb_status nb_ptq_find_largest(struct nb_edit *e, struct nb_channels *list, size_t n,
                                   const struct nb_net_options *options,
                                   const struct nb_ptq_data *data, struct nb_pool *pool,
                                   struct nb_error *err)
{
    struct nb_onnx_model m;
    struct nb_net *net;
    NB_TRY(nb_edit_model(e, &m, err));
    NB_TRY(nb_net_import(&net, &m, options, e->a, err));
    for (size_t i = 0; i < n; i++)
        for (uint32_t v = 1; v < net->g.n_values; v++)
            if (net->g.values[v].type == NB_VALUE_F32 &&
                nb_str_eq(net->g.values[v].name, list[i].name))
                list[i].value = v;
    struct seeing s = {list, n, net};
    enum nb_status st = nb_ptq_check_data(net, data, err);
    if (st == NB_OK)
        st = nb_ptq_run_samples(net, data, see, &s, pool, e->a, err);
    nb_net_close(net);
    return st;
}
