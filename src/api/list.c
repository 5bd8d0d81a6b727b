/* api/list.c: nb_list: the registries, for help texts and shells. */
#include "api/api.h"

#include <string.h>

#include "kernels/kernels.h"
#include "numfmt/grid.h"
#include "quant/algo.h"
#include "quant/quant.h"
#include "quant/transform.h"

/* Who reads a format besides us, by the containers that can hold it. */
static const char *loads(const struct nb_numfmt *f)
{
    if (f->gguf_type >= 0)
        return f->st_dtype != NULL ? "llama.cpp, safetensors" : "llama.cpp";
    return f->st_dtype != NULL ? "safetensors" : NULL;
}

static struct nb_list_item format_item(const struct nb_numfmt *f)
{
    return (struct nb_list_item){.name = f->name,
                                 .summary = f->summary,
                                 .bits_per_weight = nb_numfmt_bpw(f),
                                 .block = f->block,
                                 .layout = f->layout,
                                 .loads = loads(f),
                                 .usable = 1};
}

static bool list_format(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_numfmt *const *all = nb_numfmt_all(&n);
    if (i >= n)
        return false;
    *item = format_item(all[i]);
    return true;
}

/* The parts of a general grid; static, one for each set of parts. */
static const char *grid_layout(const struct nb_numfmt *f)
{
    static const char *const layouts[] = {
        [0] = "codes",
        [1] = "codes | scales",
        [2] = "codes | zeros",
        [3] = "codes | scales | zeros",
        [4] = "codes | levels",
        [5] = "codes | scales | levels",
        [9] = "codes | scales | scale2",
    };
    const struct nb_shape shape = nb_shape_2(1, 256 * (uint64_t)f->grid->elem->dim);
    unsigned set = 0;
    for (unsigned part = NB_PART_SCALES; part <= NB_PART_SCALE2; part++)
        if (nb_grid_part(f, &shape, (enum nb_part)part).type != NULL)
            set |= 1U << (part - NB_PART_SCALES);
    return set < NB_COUNTOF(layouts) ? layouts[set] : NULL;
}

static bool list_grid(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_numfmt *const *all = nb_grid_all(&n);
    if (i >= n)
        return false;
    *item = format_item(all[i]);
    item->summary = all[i]->grid->elem->summary;
    item->layout = grid_layout(all[i]);
    return true;
}

/* Mixes, then the formats that may be a target and that no mix is named after. */
static bool list_type(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_mix *mixes = nb_mix_all(&n);
    for (size_t k = 0; k < n; k++)
        if (nb_mix_offered(&mixes[k]) && i-- == 0) {
            *item = (struct nb_list_item){.name = mixes[k].name,
                                          .summary = mixes[k].summary,
                                          .bits_per_weight =
                                              nb_numfmt_bpw(nb_numfmt_find(mixes[k].base)),
                                          .usable = 1};
            return true;
        }
    const struct nb_numfmt *const *all = nb_numfmt_all(&n);
    for (size_t k = 0; k < n; k++)
        if (all[k]->kind != NB_NUMFMT_STORAGE && nb_mix_find(all[k]->name) == NULL && i-- == 0) {
            *item = format_item(all[k]);
            return true;
        }
    return false;
}

static bool list_architecture(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_arch *const *all = nb_arch_all(&n);
    if (i < n)
        *item =
            (struct nb_list_item){.name = all[i]->name, .summary = all[i]->summary, .usable = 1};
    return i < n;
}

static bool list_container(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    if (i < n)
        *item = (struct nb_list_item){.name = all[i]->name, .summary = all[i]->suffix, .usable = 1};
    return i < n;
}

static bool list_kernel(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_kernel_line *lines = nb_kernel_lines(&n);
    if (i < n)
        *item = (struct nb_list_item){.name = lines[i].op,
                                      .summary = lines[i].isa,
                                      .usable = (lines[i].need & nb_isa_used()) == lines[i].need};
    return i < n;
}

static bool list_method(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_algo *const *all = nb_algo_all(&n);
    if (i < n)
        *item =
            (struct nb_list_item){.name = all[i]->name, .summary = all[i]->summary, .usable = 1};
    return i < n;
}

static bool list_transform(size_t i, struct nb_list_item *item)
{
    size_t n;
    const struct nb_transform *const *all = nb_transform_all(&n);
    if (i < n)
        *item =
            (struct nb_list_item){.name = all[i]->name, .summary = all[i]->summary, .usable = 1};
    return i < n;
}

enum nb_status nb_list(const char *kind, size_t i, struct nb_list_item *item)
{
    static const struct {
        const char *kind;
        bool (*get)(size_t i, struct nb_list_item *item);
    } lists[] = {
        {"formats", list_format},       {"grids", list_grid},
        {"types", list_type},           {"architectures", list_architecture},
        {"containers", list_container}, {"kernels", list_kernel},
        {"methods", list_method},       {"transforms", list_transform},
    };
    if (kind == NULL || item == NULL)
        return NB_ERR_ARG;
    for (size_t k = 0; k < NB_COUNTOF(lists); k++)
        if (strcmp(kind, lists[k].kind) == 0)
            return lists[k].get(i, item) ? NB_OK : NB_ERR_NOT_FOUND;
    return NB_ERR_ARG;
}
