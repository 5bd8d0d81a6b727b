/* op/op.c: the list of operators. */
#include "op/op.h"

#include <string.h>

static const struct nb_op *const ops[] = {
#define NB_OP(id) &nb_op_##id,
#include "graph/ops.inc"
#undef NB_OP
};

const struct nb_op *const *nb_op_all(size_t *n)
{
    *n = NB_COUNTOF(ops);
    return ops;
}

const struct nb_op *nb_op_find(const char *name)
{
    for (size_t i = 0; i < NB_COUNTOF(ops); i++)
        if (strcmp(ops[i]->name, name) == 0)
            return ops[i];
    return NULL;
}
