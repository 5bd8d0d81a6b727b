/* model/registry.c: the architectures there are, and finding a weight by name. */
#include "model/model.h"

#include <stdio.h>
#include <string.h>

static const struct nb_arch *const archs[] = {
#define NB_ARCH(id) &nb_arch_##id,
#include "model/registry.inc"
#undef NB_ARCH
};

const struct nb_arch *const *nb_arch_all(size_t *n)
{
    *n = NB_COUNTOF(archs);
    return archs;
}

const struct nb_arch *nb_arch_by_name(const char *gguf_name)
{
    for (size_t i = 0; i < NB_COUNTOF(archs); i++)
        if (strcmp(archs[i]->name, gguf_name) == 0)
            return archs[i];
    return NULL;
}

const struct nb_arch *nb_arch_by_hf(const char *class_name)
{
    for (size_t i = 0; i < NB_COUNTOF(archs); i++)
        for (const char *const *c = archs[i]->hf_classes; *c != NULL; c++)
            if (strcmp(*c, class_name) == 0)
                return archs[i];
    return NULL;
}

const struct nb_weight *nb_weights_find(const struct nb_weights *w, const char *name)
{
    uint64_t i;
    return nb_map_get(w->names, name, strlen(name), &i) ? &w->items[i] : NULL;
}

const struct nb_weight *nb_weights_bias(const struct nb_weights *w, const struct nb_weight *of)
{
    const char *name = of->spec.name, *dot = strrchr(name, '.');
    char bias[NB_NAME_BYTES + 8];
    if (dot == NULL || strcmp(dot, ".weight") != 0)
        return NULL;
    (void)snprintf(bias, sizeof bias, "%.*s.bias", (int)(dot - name), name);
    return nb_weights_find(w, bias);
}
