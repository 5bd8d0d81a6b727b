/* net/rules_nn.c: products of matrices: MatMul, Gemm. */
#include "net/net_internal.h"

uint32_t nb_net_matmul(struct nb_net_node *n, uint32_t a, uint32_t b)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("trans_a", 0), NB_ATTR_INT("trans_b", 0),
                                    NB_ATTR_REAL("alpha", 1.0), NB_ATTR_REAL("beta", 1.0)};
    return nb_net_add(
        n, &(struct nb_node_args){
               .op = &nb_op_matmul, .in = {a, b}, .attrs = attrs, .n_attrs = NB_COUNTOF(attrs)});
}

/* A vector on the left is a row, one on the right a column; the dimension that this adds is taken away again. */
enum nb_status nb_net_rule_matmul(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    const bool row = nb_net_in(n, 0)->rank == 1, column = nb_net_in(n, 1)->rank == 1;
    uint32_t a = n->in[0], b = n->in[1];
    int64_t dims[NB_VALUE_DIMS];
    size_t rank = 0;
    if (row)
        a = nb_net_reshape(n, a, (int64_t[]){1, (int64_t)nb_net_in(n, 0)->dim[0].n}, 2);
    if (column)
        b = nb_net_reshape(n, b, (int64_t[]){(int64_t)nb_net_in(n, 1)->dim[0].n, 1}, 2);
    const uint32_t y = nb_net_matmul(n, a, b);
    if (y == 0 || (!row && !column))
        return nb_net_out(n, 0, y, err);
    const struct nb_value v = n->g->values[y];
    for (uint32_t i = 0; i < v.rank; i++)
        if (!(row && i == v.rank - 2) && !(column && i == v.rank - 1))
            dims[rank++] = (int64_t)v.dim[i].n;
    return nb_net_out(n, 0, nb_net_reshape(n, y, dims, rank), err);
}

enum nb_status nb_net_rule_gemm(struct nb_net_node *n, struct nb_error *err)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("trans_a", nb_net_int(n, "transA", 0) != 0),
                                    NB_ATTR_INT("trans_b", nb_net_int(n, "transB", 0) != 0),
                                    NB_ATTR_REAL("alpha", nb_net_real(n, "alpha", 1.0)),
                                    NB_ATTR_REAL("beta", nb_net_real(n, "beta", 1.0))};
    NB_TRY(nb_net_need(n, 2, err));
    if (nb_net_in(n, 0)->rank != 2 || nb_net_in(n, 1)->rank != 2)
        NB_FAIL(err, NB_ERR_FORMAT, "inputs of %u and %u dimensions instead of two",
                nb_net_in(n, 0)->rank, nb_net_in(n, 1)->rank);
    return nb_net_give(n,
                       &(struct nb_node_args){.op = &nb_op_matmul,
                                              .in = {n->in[0], n->in[1], n->in[2]},
                                              .attrs = attrs,
                                              .n_attrs = NB_COUNTOF(attrs)},
                       err);
}
