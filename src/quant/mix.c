/* quant/mix.c: the mixtures of formats that people know from llama-quantize (docs/formats/ggml-blocks.md).
 */
#include "quant/quant.h"

#include <string.h>

/* clang-format off */
static const struct nb_mix mixes[] = {
    {"q8_0",   "8.5 bits: 32 codes of 8 bits, one scale",         "q8_0", "q8_0", 7,  {{0}}},
    {"q6_k",   "6.6 bits: 16 codes of 6 bits a scale",            "q6_k", "q6_k", 18, {{0}}},
    {"q4_k_m", "4.8 bits: q4_k, half of attn_v and ffn_down q6_k", "q4_k", "q6_k", 15,
     {{NB_ROLE_ATTN_V, NB_MIX_MORE, "q6_k"}, {NB_ROLE_FFN_DOWN, NB_MIX_MORE, "q6_k"}}},
    {"q4_k_s", "4.6 bits: q4_k, the first attn_v and ffn_down finer", "q4_k", "q6_k", 14,
     {{NB_ROLE_ATTN_V, NB_MIX_FIRST_4, "q5_k"}, {NB_ROLE_FFN_DOWN, NB_MIX_FIRST_8TH, "q5_k"}}},
    {"q4_0",   "4.5 bits: 32 codes of 4 bits, one scale",         "q4_0", "q6_k", 2,  {{0}}},
    {"bf16",   "bfloat16 everywhere",                             "bf16", "bf16", 32, {{0}}},
    {"f16",    "half precision everywhere",                       "f16",  "f16",  1,  {{0}}},
    {"f32",    "single precision everywhere",                     "f32",  "f32",  0,  {{0}}},
};
/* clang-format on */

const struct nb_mix *nb_mix_all(size_t *n)
{
    *n = NB_COUNTOF(mixes);
    return mixes;
}

const struct nb_mix *nb_mix_find(const char *name)
{
    for (size_t i = 0; i < NB_COUNTOF(mixes); i++)
        if (strcmp(mixes[i].name, name) == 0)
            return &mixes[i];
    return NULL;
}

static bool never(size_t i, size_t n)
{
    (void)i;
    (void)n;
    return false;
}

static bool first_4(size_t i, size_t n)
{
    (void)n;
    return i < 4;
}

static bool first_8th(size_t i, size_t n)
{
    return i < n / 8;
}

static bool more(size_t i, size_t n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

bool nb_mix_applies(enum nb_mix_when when, size_t i, size_t n)
{
    static bool (*const rules[])(size_t i, size_t n) = {
        [NB_MIX_NEVER] = never,
        [NB_MIX_FIRST_4] = first_4,
        [NB_MIX_FIRST_8TH] = first_8th,
        [NB_MIX_MORE] = more,
    };
    return rules[when](i, n);
}
