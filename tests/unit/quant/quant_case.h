/* tests/unit/quant/quant_case.h: plans and runs on small folders. */
#ifndef QUANT_CASE_H
#define QUANT_CASE_H

#include "quant/quant.h"
#include "support/tiny_hf.h"

static inline struct nb_model *case_open(const char *path)
{
    struct nb_model *m;
    struct nb_error err;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    return m;
}

static inline enum nb_status case_plan(struct nb_quant_plan **p, const struct nb_model *m,
                                       const struct nb_recipe *r, const char *out,
                                       struct nb_error *err)
{
    const struct nb_quant_settings s = {.out = out, .recipe = r, .overwrite = true};
    return nb_quant_plan_create(p, m, &s, NULL, err);
}

static inline const struct nb_plan_tensor *case_tensor(const struct nb_quant_plan *p,
                                                       const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->tensors[i].weight->spec.name, name) == 0)
            return &p->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* The planned type of one tensor. */
#define assert_type(p, tensor, want)                                                               \
    assert_string_equal(case_tensor((p), (tensor))->type->name, (want))

#endif
