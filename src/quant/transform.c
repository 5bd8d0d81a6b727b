/* quant/transform.c: the registry of transforms. */
#include "quant/transform.h"

#include <string.h>

static const struct nb_transform *const all[] = {
#define NB_TRANSFORM(id) &nb_transform_##id,
#include "quant/transforms.inc"
#undef NB_TRANSFORM
};

const struct nb_transform *const *nb_transform_all(size_t *n)
{
    *n = NB_COUNTOF(all);
    return all;
}

const struct nb_transform *nb_transform_find(const char *name)
{
    for (size_t i = 0; i < NB_COUNTOF(all); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}
