/* net/pass_fuse.c: what follows a convolution goes into it: a sum with a value of the same dimensions, then an
 * activation that it knows.
 *
 * Only what nobody else reads. The convolution is then done where the last of them stood, since what is added may
 * be made later than it.
 */
#include <math.h>
#include <string.h>

#include "net/passes.h"

/* A convolution and what follows; noted at the convolution until the last of it is reached. UINT32_MAX: nothing of the
 * kind. */
struct chain {
    uint32_t add, act; /* nodes */
    uint32_t residual; /* value */
    enum nb_conv_act kind;
    double low, high;
};

static bool is_conv(const struct nb_node *n)
{
    const struct nb_attr *act = n->op == &nb_op_conv ? nb_node_attr(n, "act") : NULL;
    return act != NULL && act->i == NB_CONV_NONE && n->in[3] == 0;
}

/* The sum that is the only reader of a convolution's output, and not another one's already. */
static void find_add(const struct nb_rewrite *r, uint32_t value, struct chain *c)
{
    const uint32_t i = nb_rewrite_only_reader(r, value);
    if (i == UINT32_MAX || r->from->nodes[i].op != &nb_op_binary || r->instead[i] != 0)
        return;
    const struct nb_node *n = &r->from->nodes[i];
    const uint32_t other = n->in[n->in[0] == value ? 1 : 0];
    if (nb_node_attr(n, "op")->i != NB_BINARY_ADD || other == value ||
        r->from->values[other].kind == NB_VALUE_CONST ||
        !nb_value_same_dims(&r->from->values[other], &r->from->values[value]))
        return;
    c->add = i;
    c->residual = other;
}

static bool known_act(const struct nb_node *n, struct chain *c)
{
    const double low = nb_node_attr(n, "alpha")->f, high = nb_node_attr(n, "beta")->f;
    switch (nb_node_attr(n, "op")->i) {
    case NB_UNARY_RELU:
        c->kind = NB_CONV_CLIP;
        c->low = 0.0;
        c->high = (double)INFINITY;
        return true;
    case NB_UNARY_CLIP:
        c->kind = NB_CONV_CLIP;
        c->low = low;
        c->high = high;
        return low <= high;
    case NB_UNARY_HARD_SWISH:
        c->kind = NB_CONV_HARDSWISH;
        return true;
    default:
        return false;
    }
}

static void find_act(const struct nb_rewrite *r, uint32_t value, struct chain *c)
{
    const uint32_t i = nb_rewrite_only_reader(r, value);
    if (i != UINT32_MAX && r->from->nodes[i].op == &nb_op_unary && r->instead[i] == 0 &&
        known_act(&r->from->nodes[i], c))
        c->act = i;
}

static struct chain find_chain(const struct nb_rewrite *r, uint32_t conv)
{
    struct chain c = {.add = UINT32_MAX, .act = UINT32_MAX};
    uint32_t value = r->from->nodes[conv].out[0];
    find_add(r, value, &c);
    if (c.add != UINT32_MAX)
        value = r->from->nodes[c.add].out[0];
    find_act(r, value, &c);
    return c;
}

/* What all of it makes, as one node. */
static void emit(struct nb_rewrite *r, uint32_t conv, const struct chain *c, uint32_t out)
{
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    nb_rewrite_args(r, conv, &args, attrs);
    args.in[3] = nb_rewrite_value(r, c->residual);
    args.name = nb_rewrite_old(r, out)->name;
    nb_rewrite_set_int(&args, attrs, "act", c->kind);
    nb_rewrite_set_real(&args, attrs, "low", c->low);
    nb_rewrite_set_real(&args, attrs, "high", c->high);
    r->map[out] = nb_graph_add_folded(r->to, &args);
}

static enum nb_status fuse(struct nb_rewrite *r, uint32_t node, bool *done, struct nb_error *err)
{
    struct chain *chains = r->pass;
    (void)err;
    if (r->instead[node] != 0) { /* the last of a chain: its convolution is done here */
        const uint32_t conv = r->instead[node] - 1;
        emit(r, conv, &chains[conv], r->from->nodes[node].out[0]);
        *done = true;
        return NB_OK;
    }
    if (!is_conv(&r->from->nodes[node]))
        return NB_OK;
    const struct chain c = find_chain(r, node);
    const uint32_t last = c.act != UINT32_MAX ? c.act : c.add;
    if (last == UINT32_MAX)
        return NB_OK;
    if (c.add != UINT32_MAX)
        r->instead[c.add] = UINT32_MAX;
    r->instead[last] = node + 1;
    chains[node] = c;
    *done = true;
    return NB_OK;
}

enum nb_status nb_pass_fuse(struct nb_graph *to, const struct nb_graph *from, struct nb_error *err)
{
    struct chain *chains = nb_alloc_zero(to->arena.a, from->n_nodes + 1, sizeof *chains);
    if (chains == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to join %zu nodes", from->n_nodes);
    const enum nb_status st = nb_rewrite_graph(to, from, fuse, chains, err);
    nb_free(to->arena.a, chains);
    return st;
}
