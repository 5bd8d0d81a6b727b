/* ptq/fate.c: what becomes of each node: the list in the report, and the words for it. */
#include <string.h>

#include "ptq/ptq_internal.h"

const char *nb_ptq_fate_name(enum nb_ptq_fate f)
{
    static const char *const names[NB_N_PTQ_FATES] = {[NB_PTQ_IS_FLOAT] = "float",
                                                      [NB_PTQ_IS_KEPT] = "kept",
                                                      [NB_PTQ_IS_MOVED] = "moved",
                                                      [NB_PTQ_IS_QUANTIZED] = "quantized"};
    return names[f];
}

struct nb_ptq_node *nb_ptq_list_nodes(struct nb_edit *e, const char *const *keep, size_t n_keep,
                                      struct nb_ptq_report *report)
{
    struct nb_ptq_node *list = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *list);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < e->n_nodes; i++) {
        const struct nb_onnx_node *n = &e->nodes[i];
        const bool named = n->name != NULL && n->name[0] != '\0';
        list[i] = (struct nb_ptq_node){.name = named ? n->name : "", .op = n->op_type};
        if (n->op_type == NULL)
            continue;
        if (!named && n->n_outputs > 0)
            list[i].name = n->outputs[0];
        if (nb_ptq_is_kept(n, keep, n_keep))
            list[i].fate = NB_PTQ_IS_KEPT;
        for (size_t k = 0; k < n->n_inputs; k++) {
            const struct nb_onnx_tensor *t = nb_edit_tensor(e, n->inputs[k]);
            list[i].bytes += t != NULL ? t->bytes : 0;
        }
    }
    report->nodes = list;
    report->n_listed = e->n_nodes;
    return list;
}
