/* ptq/nbits_moments.c: second moments of what products read, over samples: H = X X^T, X the last dimension's vectors
 * (calib/hessian.h), for the algorithms of quant/.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

/* Owns: padded, at, moments. */
struct gather {
    const struct nb_net *net;
    const struct nb_nbits_seen *job;
    size_t *of;    /* (values) which of the list + 1; 0: none */
    float *padded; /* vectors with zeros behind them */
    size_t room;
    struct nb_pool *pool;
    const struct nb_allocator *a;
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory for second moments");
}

static enum nb_status pad(struct gather *g, const float *x, size_t tokens, size_t cols, size_t wide,
                          struct nb_error *err)
{
    if (tokens * wide > g->room) {
        nb_free(g->a, g->padded);
        g->room = tokens * wide;
        g->padded = nb_alloc(g->a, g->room, sizeof *g->padded);
        if (g->padded == NULL) {
            g->room = 0;
            return no_memory(err);
        }
    }
    memset(g->padded, 0, tokens * wide * sizeof *g->padded);
    for (size_t t = 0; t < tokens; t++)
        memcpy(g->padded + t * wide, x + t * cols, cols * sizeof *x);
    return NB_OK;
}

static enum nb_status see(void *ctx, uint32_t value, const void *data, size_t n,
                          struct nb_error *err)
{
    struct gather *g = ctx;
    const float *x = data;
    if (g->of[value] == 0)
        return NB_OK;
    struct nb_nbits_input *m = &g->job->of[g->of[value] - 1];
    const size_t tokens = n / m->cols;
    if (m->wide != m->cols) {
        NB_TRY(pad(g, x, tokens, m->cols, m->wide, err));
        x = g->padded;
    }
    return nb_hessian_add(m->h, x, tokens, g->pool, err);
}

/* Values that are asked for, by name. */
static enum nb_status find(struct gather *g, struct nb_error *err)
{
    const struct nb_graph *graph = &g->net->g;
    g->of = nb_alloc_zero(g->a, graph->n_values + 1, sizeof *g->of);
    if (g->of == NULL)
        return no_memory(err);
    for (size_t i = 0; i < g->job->n; i++) {
        struct nb_nbits_input *m = &g->job->of[i];
        for (uint32_t v = 1; v < graph->n_values && m->h == NULL; v++) {
            const struct nb_value *is = &graph->values[v];
            if (!nb_str_eq(is->name, m->input) || is->type != NB_VALUE_F32 || is->rank == 0 ||
                is->dim[is->rank - 1].n != m->cols || is->kind == NB_VALUE_CONST)
                continue;
            NB_TRY(nb_hessian_create(&m->h, m->wide, g->a, err));
            g->of[v] = i + 1;
        }
    }
    return NB_OK;
}

enum nb_status nb_nbits_moments(const struct nb_nbits_seen *job, const struct nb_net *net,
                                const struct nb_ptq_data *data, struct nb_pool *pool,
                                const struct nb_allocator *a, struct nb_error *err)
{
    struct gather g = {.net = net, .job = job, .pool = pool, .a = a};
    enum nb_status st = find(&g, err);
    if (st == NB_OK)
        st = nb_ptq_run_samples(net, data, see, &g, pool, a, err);
    for (size_t i = 0; i < job->n && st == NB_OK; i++)
        if (job->of[i].h != NULL)
            st = nb_hessian_check(job->of[i].h, job->of[i].input, err);
    nb_free(a, g.of);
    nb_free(a, g.padded);
    return st;
}

const struct nb_hessian *nb_nbits_moment(const struct nb_nbits_seen *job, const char *input)
{
    for (size_t i = 0; i < job->n; i++)
        if (nb_str_eq(job->of[i].input, input))
            return job->of[i].h;
    return NULL;
}
