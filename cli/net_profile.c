/* cli/net_profile.c: which operators and nodes of a net take the time. */
#include "net.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN 20 /* nodes in text */

/* Owns: nodes, ops. */
struct profile {
    struct nb_executor_node *nodes; /* (n) the slowest first */
    struct nb_executor_node *ops;   /* (n_ops) sums; name: the operator's; runs: nodes */
    size_t n, n_ops;
    double seconds;
};

static int slowest_first(const void *pa, const void *pb)
{
    const struct nb_executor_node *a = pa, *b = pb;

    if (a->seconds != b->seconds)
        return a->seconds > b->seconds ? -1 : 1;
    return strcmp(a->name, b->name);
}

static void add(struct profile *p, const struct nb_executor_node *n)
{
    size_t k = 0;

    while (k < p->n_ops && strcmp(p->ops[k].op, n->op) != 0)
        k++;
    if (k == p->n_ops)
        p->ops[p->n_ops++] = (struct nb_executor_node){.name = n->op, .op = n->op};
    p->ops[k].runs++;
    p->ops[k].seconds += n->seconds;
    p->ops[k].macs += n->macs;
    p->seconds += n->seconds;
}

static bool collect(struct profile *p, const nb_executor *e)
{
    struct nb_executor_node n;

    *p = (struct profile){.n = 0};
    while (nb_executor_node(e, p->n, &n) == NB_OK)
        p->n++;
    p->nodes = calloc(p->n + 1, sizeof *p->nodes);
    p->ops = calloc(p->n + 1, sizeof *p->ops);
    if (p->nodes == NULL || p->ops == NULL)
        return false;
    for (size_t i = 0; i < p->n && nb_executor_node(e, i, &p->nodes[i]) == NB_OK; i++) {
        if (p->nodes[i].runs > 0)
            p->nodes[i].seconds /= (double)p->nodes[i].runs;
        add(p, &p->nodes[i]);
    }
    qsort(p->nodes, p->n, sizeof *p->nodes, slowest_first);
    qsort(p->ops, p->n_ops, sizeof *p->ops, slowest_first);
    return true;
}

static void print_rows(const struct profile *p, const struct nb_executor_node *rows, size_t n,
                       bool ops)
{
    struct nb_cli_table t;

    nb_cli_table_init(&t, ops ? "lrrrr" : "llrrr");
    nb_cli_table_add(&t, ops ? "operator" : "node");
    nb_cli_table_add(&t, ops ? "nodes" : "operator");
    nb_cli_table_add(&t, "ms");
    nb_cli_table_add(&t, "share");
    nb_cli_table_add(&t, "GMAC/s");
    for (size_t i = 0; i < n; i++) {
        const struct nb_executor_node *r = &rows[i];
        nb_cli_table_add(&t, "%s", r->name);
        if (ops)
            nb_cli_table_add(&t, "%llu", (unsigned long long)r->runs);
        else
            nb_cli_table_add(&t, "%s", r->op);
        nb_cli_table_add(&t, "%.3f", 1e3 * r->seconds);
        nb_cli_table_add(&t, "%.1f %%", p->seconds > 0 ? 100 * r->seconds / p->seconds : 0.0);
        if (r->macs > 0 && r->seconds > 0)
            nb_cli_table_add(&t, "%.1f", 1e-9 * (double)r->macs / r->seconds);
        else
            nb_cli_table_add(&t, "%s", "");
    }
    fputc('\n', stdout);
    nb_cli_table_print(&t, stdout, "  ");
    nb_cli_table_fini(&t);
}

void nb_cli_net_profile_print(const nb_executor *e)
{
    struct profile p;

    if (collect(&p, e)) {
        print_rows(&p, p.ops, p.n_ops, true);
        print_rows(&p, p.nodes, p.n < SHOWN ? p.n : SHOWN, false);
        if (p.n > SHOWN)
            printf("  and %zu faster nodes: --json has them\n", p.n - SHOWN);
    }
    free(p.nodes);
    free(p.ops);
}

void nb_cli_net_profile_json(struct nb_jw *w, const nb_executor *e)
{
    struct profile p;

    nb_jw_array(w, "profile");
    if (collect(&p, e))
        for (size_t i = 0; i < p.n; i++) {
            nb_jw_object(w, NULL);
            nb_jw_string(w, "node", p.nodes[i].name);
            nb_jw_string(w, "operator", p.nodes[i].op);
            nb_jw_real(w, "seconds", p.nodes[i].seconds);
            nb_jw_u64(w, "macs", p.nodes[i].macs);
            nb_jw_end(w);
        }
    nb_jw_end(w);
    free(p.nodes);
    free(p.ops);
}
