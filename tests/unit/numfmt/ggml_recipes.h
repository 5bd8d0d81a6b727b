/* ggml_recipes.h: which formats have a yardstick, and the hashes that prove it: bytes that ggml itself wrote
 * (ggml-org/ggml d99724f2) for the values and the importance of test_ggml_recipe.c.
 *
 * One line per format. Used by test_ggml_recipe.c, by the conformance test and by bench/encoders.c: a new
 * line is proven, held against our encoder and measured by these alone. A recipe lives in
 * ggml_recipe.h, or in a ggml_recipe_<family>.h beside it.
 */
#ifndef NB_TESTS_GGML_RECIPES_H
#define NB_TESTS_GGML_RECIPES_H

#include "unit/numfmt/ggml_recipe.h"
#include "unit/numfmt/ggml_recipe_4bit.h"
#include "unit/numfmt/ggml_recipe_few.h"
#include "unit/numfmt/ggml_recipe_iq.h"
#include "unit/numfmt/ggml_recipe_iq1.h"
#include "unit/numfmt/ggml_recipe_low_k.h"

/* n: one row. qw: (n) importance, or NULL. */
typedef void recipe_fn(uint8_t *dst, const float *x, const float *qw, size_t n);

struct recipe {
    const struct nb_numfmt *f;
    recipe_fn *fn;
    uint64_t plain, weighted; /* FNV-1a of the bytes; 0: ggml refuses to go without importance */
};

/* clang-format off */
static const struct recipe recipes[] = {
    {&nb_numfmt_q8_0, recipe_q8_0, UINT64_C(0x8751de6b7176ee99), UINT64_C(0x8751de6b7176ee99)},
    {&nb_numfmt_q4_0, recipe_q4_0, UINT64_C(0x2274a3781740bbf4), UINT64_C(0xd7ad2d48af09f80d)},
    {&nb_numfmt_q4_1, recipe_q4_1, UINT64_C(0x6509d43404a90dc8), UINT64_C(0x7a6d876a695ceedd)},
    {&nb_numfmt_q5_0, recipe_q5_0, UINT64_C(0x2c05f9a18845641c), UINT64_C(0xe4cc1b75d6dd7b60)},
    {&nb_numfmt_q5_1, recipe_q5_1, UINT64_C(0x348fb8da37e69c56), UINT64_C(0xbdf2a934fdec1923)},
    {&nb_numfmt_q1_0, recipe_q1_0, UINT64_C(0xa7eae00930921511), UINT64_C(0xa7eae00930921511)},
    {&nb_numfmt_iq1_s, recipe_iq1_s, 0, UINT64_C(0x3248a0d6c3db1f97)},
    {&nb_numfmt_iq1_m, recipe_iq1_m, UINT64_C(0x1bd5d762b4632997), UINT64_C(0xbe1344d43d1288ec)},
    {&nb_numfmt_q2_0, recipe_q2_0, UINT64_C(0x55d7e7041649e61e), UINT64_C(0x55d7e7041649e61e)},
    {&nb_numfmt_tq1_0, recipe_tq1_0, UINT64_C(0x06853304a772e8fa), UINT64_C(0x06853304a772e8fa)},
    {&nb_numfmt_tq2_0, recipe_tq2_0, UINT64_C(0x68d7a134457d27bf), UINT64_C(0x68d7a134457d27bf)},
    {&nb_numfmt_q2_k, recipe_q2_k, UINT64_C(0x1e62832aa361be4f), UINT64_C(0x08ac25aee78ad3d9)},
    {&nb_numfmt_q3_k, recipe_q3_k, UINT64_C(0x657df1fe506c4989), UINT64_C(0xe805c32adc254701)},
    {&nb_numfmt_q4_k, recipe_q4_k, UINT64_C(0xcb78d06229f90c8a), UINT64_C(0x071ecc0584d132fc)},
    {&nb_numfmt_q5_k, recipe_q5_k, UINT64_C(0x4f38843c74633048), UINT64_C(0x84eef9889e38ccae)},
    {&nb_numfmt_q6_k, recipe_q6_k, UINT64_C(0xf5b92255d330d064), UINT64_C(0xfe183cfe0ba2cbb3)},
    {&nb_numfmt_iq4_nl, recipe_iq4_nl, UINT64_C(0x793756e3c7dacead), UINT64_C(0x38ed4eba3638b792)},
    {&nb_numfmt_iq4_xs, recipe_iq4_xs, UINT64_C(0x946af4d68e73efe4), UINT64_C(0x02f9622ed8ce355b)},
    {&nb_numfmt_mxfp4, recipe_mxfp4, UINT64_C(0x2142a3484b7ae265), UINT64_C(0x2142a3484b7ae265)},
    {&nb_numfmt_nvfp4, recipe_nvfp4, UINT64_C(0x2082dea30078f14d), UINT64_C(0x2082dea30078f14d)},
    {&nb_numfmt_iq2_xxs, recipe_iq2_xxs, 0, UINT64_C(0x43c7a300154658da)},
    {&nb_numfmt_iq2_xs, recipe_iq2_xs, 0, UINT64_C(0x784a706a7074aa2f)},
    {&nb_numfmt_iq2_s, recipe_iq2_s, UINT64_C(0xf708e1a62c0a9128), UINT64_C(0x6399ab20500ac47b)},
    {&nb_numfmt_iq3_xxs, recipe_iq3_xxs, UINT64_C(0x4bc2a76f360515f3), UINT64_C(0x3c3e30d9166300a1)},
    {&nb_numfmt_iq3_s, recipe_iq3_s, UINT64_C(0x85c046a1cf4872ca), UINT64_C(0x0442b0142cb13284)},
};
/* clang-format on */

/* NULL: none. */
static inline const struct recipe *recipe_of(const struct nb_numfmt *f)
{
    for (size_t i = 0; i < NB_COUNTOF(recipes); i++)
        if (recipes[i].f == f)
            return &recipes[i];
    return NULL;
}

#endif
