/* op/indices.h: indices that come as data. */
#ifndef NB_OP_INDICES_H
#define NB_OP_INDICES_H

#include "op/op_internal.h"

static inline bool op_is_index(const struct nb_value *v)
{
    return v->type == NB_VALUE_I64 || v->type == NB_VALUE_I32;
}

/* Index i of a slot, of a dimension of n >= 1: below 0 it counts from the end; what is still out of range is the
 * nearest that is in it, for a run cannot fail. */
static inline int64_t op_index(const struct nb_slot *s, size_t i, uint64_t n)
{
    int64_t k = s->value->type == NB_VALUE_I64 ? ((const int64_t *)s->data)[i]
                                               : ((const int32_t *)s->data)[i];
    if (k < 0)
        k += (int64_t)n;
    return NB_MIN(NB_MAX(k, (int64_t)0), (int64_t)n - 1);
}

#endif
