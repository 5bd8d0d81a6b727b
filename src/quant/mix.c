/* quant/mix.c: the mixtures of formats that people know from llama-quantize (docs/formats/ggml-blocks.md).
 *
 * A mix is a base and rules for the tensors that are worth more bits or can do with fewer. Left out:
 * llama-quantize's exceptions for Falcon.
 */
#include "quant/quant.h"

#include <string.h>

#define V    NB_ROLE_ATTN_V
#define K    NB_ROLE_ATTN_K
#define Q    NB_ROLE_ATTN_Q
#define QKV  NB_ROLE_ATTN_QKV
#define O    NB_ROLE_ATTN_OUT
#define DOWN NB_ROLE_FFN_DOWN
#define GATE NB_ROLE_FFN_GATE
#define UP   NB_ROLE_FFN_UP
#define GQA4 NB_MIX_IF_GQA4
#define HAVE NB_MIX_IF_IMATRIX
#define MISS NB_MIX_IF_NO_IMATRIX
#define BIG  NB_MIX_IF_80_LAYERS
#define FOUR NB_MIX_IF_4_EXPERTS
#define E8   NB_MIX_IF_8_EXPERTS
#define ALL  NB_MIX_ALWAYS

/* Rules that several mixes have. In models of 80 layers eight heads share an attn_v, which is small for
 * what depends on it. */
#define BIG_V                                                                                      \
    {                                                                                              \
        "q5_k", V, ALL, BIG                                                                        \
    }
#define GQA_V(t)                                                                                   \
    {                                                                                              \
        t, V, ALL, GQA4                                                                            \
    }
#define REST(t, r)                                                                                 \
    {                                                                                              \
        t, r, ALL, 0                                                                               \
    }
/* clang-format off */
#define LOW_BITS(v)                                                                                \
    {"q4_k", V, ALL, FOUR}, GQA_V("q4_k"), REST(v, V), {"q4_k", K, ALL, E8}, {"q5_k", O, ALL, E8}
/* Eight experts share an attention that is small beside them. */
#define EIGHT_VK    {"q8_0", V, ALL, E8}, {"q8_0", K, ALL, E8}
#define EIGHT_VK_O(t) EIGHT_VK, {t, O, ALL, E8}

static const struct nb_mix mixes[] = {
    {"q8_0",    "8.5 bits: 32 codes of 8 bits, one scale", "q8_0", "q8_0", "q8_0", 7, {EIGHT_VK}},
    {"q6_k",    "6.6 bits: 16 codes of 6 bits a scale", "q6_k", "q6_k", "q6_k", 18, {EIGHT_VK}},
    {"q5_k_m",  "5.7 bits: q5_k, half of attn_v and ffn_down q6_k", "q5_k", "q6_k", "q5_k", 17,
     {EIGHT_VK,
      {"q6_k", V, NB_MIX_MORE, 0}, REST("q6_k", QKV), {"q6_k", DOWN, NB_MIX_MORE, 0}}},
    {"q5_k_s",  "5.5 bits: q5_k", "q5_k", "q6_k", "q5_k", 16, {EIGHT_VK}},
    {"q5_1",    "6 bits: 32 codes of 5 bits, scale and minimum", "q5_1", "q6_k", "q5_1", 9, {EIGHT_VK}},
    {"q5_0",    "5.5 bits: 32 codes of 5 bits, one scale", "q5_0", "q6_k", "q5_0", 8,
     {EIGHT_VK,
      {"q5_1", DOWN, NB_MIX_FIRST_8TH, HAVE}}},
    {"q4_k_m",  "4.8 bits: q4_k, half of attn_v and ffn_down q6_k", "q4_k", "q6_k", "q4_k", 15,
     {EIGHT_VK_O("q5_k"),
      {"q6_k", V, NB_MIX_MORE, 0}, BIG_V, REST("q5_k", QKV), {"q6_k", DOWN, NB_MIX_MORE, 0}}},
    {"q4_k_s",  "4.6 bits: q4_k, the first attn_v and ffn_down finer", "q4_k", "q6_k", "q4_k", 14,
     {EIGHT_VK_O("q5_k"),
      {"q5_k", V, NB_MIX_FIRST_4, 0}, BIG_V, {"q5_k", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"iq4_nl",  "4.5 bits: 32 codes of 4 bits on a curved grid", "iq4_nl", "q6_k", "iq4_nl", 25,
     {EIGHT_VK_O("q5_k"),
      GQA_V("q5_k"), {"q5_k", DOWN, NB_MIX_FIRST_8TH, MISS}}},
    {"iq4_xs",  "4.3 bits: iq4_nl's grid, scales of 6 bits", "iq4_xs", "q6_k", "iq4_xs", 30,
     {EIGHT_VK_O("q5_k"),
      GQA_V("q5_k"), {"q5_k", DOWN, NB_MIX_FIRST_8TH, MISS}}},
    {"q4_1",    "5 bits: 32 codes of 4 bits, scale and minimum", "q4_1", "q6_k", "q4_1", 3, {EIGHT_VK}},
    {"q4_0",    "4.5 bits: 32 codes of 4 bits, one scale", "q4_0", "q6_k", "q4_0", 2,
     {EIGHT_VK,
      {"q4_1", DOWN, NB_MIX_FIRST_8TH, HAVE}}},
    {"q3_k_l",  "4.2 bits: q3_k, much of attention and ffn_down q5_k", "q3_k", "q6_k", "q3_k", 13,
     {EIGHT_VK_O("q3_k"),
      REST("q5_k", V), REST("q4_k", QKV), REST("q5_k", O), REST("q5_k", DOWN)}},
    {"q3_k_m",  "3.9 bits: q3_k, attn_v, attn_output and ffn_down finer", "q3_k", "q6_k", "q3_k", 12,
     {EIGHT_VK_O("q5_k"),
      {"q5_k", V, NB_MIX_FIRST_2, 0}, BIG_V, REST("q4_k", V), REST("q4_k", QKV), REST("q4_k", O),
      {"q5_k", DOWN, NB_MIX_FIRST_16TH, 0}, REST("q4_k", DOWN)}},
    {"q3_k_s",  "3.5 bits: q3_k", "q3_k", "q6_k", "q3_k", 11, {EIGHT_VK_O("q5_k"),
      BIG_V}},
    {"iq3_m",   "3.7 bits: iq3_s, attn_v, attn_output and the first ffn_down q4_k",
     "iq3_s", "q6_k", "iq3_s", 27,
     {EIGHT_VK_O("q5_k"),
      BIG_V, REST("q4_k", V), REST("q4_k", QKV), REST("q4_k", O), {"q4_k", DOWN, NB_MIX_FIRST_8TH, 0},
      {"q4_k", DOWN, NB_MIX_MORE, E8}}},
    {"iq3_s",   "3.4 bits: code words of 4, chosen out of 512", "iq3_s", "q6_k", "iq3_s", 26,
     {EIGHT_VK_O("q5_k"),
      BIG_V, GQA_V("q4_k")}},
    {"iq3_xs",  "3.3 bits: iq3_s, attn_k, attn_q and the inner feed-forward iq3_xxs",
     "iq3_s", "q6_k", "iq3_s", 22,
     {EIGHT_VK_O("q5_k"),
      BIG_V, GQA_V("q4_k"), REST("iq3_xxs", K), REST("iq3_xxs", Q),
      {"iq3_xxs", GATE, NB_MIX_MIDDLE, 0}, {"iq3_xxs", UP, NB_MIX_MIDDLE, 0}}},
    {"iq3_xxs", "3.1 bits: code words of 4, chosen out of 256", "iq3_xxs", "q5_k", "iq3_s", 23,
     {EIGHT_VK_O("q5_k"),
      BIG_V, GQA_V("q4_k"), {"iq3_s", V, ALL, MISS}, REST("iq2_s", K), REST("iq2_s", Q),
      REST("iq3_s", O), {"q4_k", DOWN, NB_MIX_FIRST_8TH, MISS}, {"q3_k", DOWN, ALL, MISS}}},
    {"q2_k",    "3 bits: q2_k, attn_v, attn_output and ffn_down q3_k", "q2_k", "q6_k", "q2_k", 10,
     {EIGHT_VK_O("q5_k"),
      BIG_V, GQA_V("q4_k"), REST("q3_k", V), REST("q3_k", O), REST("q3_k", DOWN)}},
    {"q2_k_s",  "2.7 bits: q2_k", "q2_k", "q6_k", "q2_k", 21,
     {EIGHT_VK,
      BIG_V, GQA_V("q4_k"), {"q4_k", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"iq2_m",   "2.7 bits: iq2_s, attn_v, attn_output and the first ffn_down iq3_s",
     "iq2_s", "q5_k", "iq3_s", 29,
     {LOW_BITS("iq3_s"), REST("iq3_s", O), {"iq3_s", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"iq2_s",   "2.5 bits: iq2_xs, attn_v, attn_output and the first ffn_down iq3_s",
     "iq2_xs", "q5_k", "iq3_s", 28,
     {LOW_BITS("iq3_s"), REST("iq3_s", O), {"iq3_s", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"iq2_xs",  "2.3 bits: code words of 8, chosen out of 512", "iq2_xs", "q5_k", "q2_k", 20,
     {LOW_BITS("q2_k"), {"q2_k", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"iq2_xxs", "2.1 bits: code words of 8, chosen out of 256", "iq2_xxs", "q5_k", "q2_k", 19,
     {LOW_BITS("q2_k"), {"q2_k", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"iq1_m",   "1.8 bits: ternary code words, a scale for 16", "iq1_m", "q5_k", "q2_k", 31,
     {LOW_BITS("q2_k"), REST("iq2_xxs", O), {"q2_k", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"iq1_s",   "1.6 bits: ternary code words, a scale for 32", "iq1_s", "q5_k", "q2_k", 24,
     {LOW_BITS("q2_k"), REST("iq2_xxs", O), {"q2_k", DOWN, NB_MIX_FIRST_8TH, 0}}},
    {"tq2_0",   "2.1 bits: ternary, for models trained so", "tq2_0", "q6_k", "q4_k", 37, {EIGHT_VK}},
    {"tq1_0",   "1.7 bits: ternary, five values a byte", "tq1_0", "q6_k", "q4_k", 36, {EIGHT_VK}},
    {"q2_0",    "2-bit codes around zero, one scale", "q2_0", "q6_k", "q4_k", 41, {EIGHT_VK}},
    {"q1_0",    "signs and one scale", "q1_0", "q6_k", "q1_0", 40, {EIGHT_VK}},
    {"mxfp4",   "4.3 bits: OCP microscaling float, head and embedding q8_0",
     "mxfp4", "q8_0", "q8_0", 38, {EIGHT_VK}},
    {"nvfp4",   "4.5 bits: 4-bit floats, an 8-bit float scale for 16", "nvfp4", "q6_k", "nvfp4", 39,
     {EIGHT_VK}},
    {"bf16",    "bfloat16 everywhere",                             "bf16", "bf16", "bf16", 32, {{0}}},
    {"f16",     "half precision everywhere",                       "f16",  "f16",  "f16",  1,  {{0}}},
    {"f32",     "single precision everywhere",                     "f32",  "f32",  "f32",  0,  {{0}}},
};
/* clang-format on */

const struct nb_mix *nb_mix_all(size_t *n)
{
    *n = NB_COUNTOF(mixes);
    return mixes;
}

bool nb_mix_offered(const struct nb_mix *m)
{
    bool ok = nb_numfmt_find(m->base) != NULL && nb_numfmt_find(m->head) != NULL &&
              nb_numfmt_find(m->embd) != NULL;
    for (size_t i = 0; i < NB_MIX_RULES && m->rules[i].type != NULL; i++)
        ok = ok && nb_numfmt_find(m->rules[i].type) != NULL;
    return ok;
}

const struct nb_mix *nb_mix_find(const char *name)
{
    for (size_t i = 0; i < NB_COUNTOF(mixes); i++)
        if (strcmp(mixes[i].name, name) == 0)
            return nb_mix_offered(&mixes[i]) ? &mixes[i] : NULL;
    return NULL;
}

unsigned nb_mix_facts(const struct nb_hparams *hp, bool imatrix)
{
    const uint32_t shared = hp->n_heads / NB_MAX(hp->n_kv_heads, 1U);
    unsigned facts = imatrix ? NB_MIX_IF_IMATRIX : NB_MIX_IF_NO_IMATRIX;
    if (shared >= 4)
        facts |= NB_MIX_IF_GQA4;
    if (hp->n_layers == 80 && shared > 1)
        facts |= NB_MIX_IF_80_LAYERS;
    if (hp->n_experts >= 4)
        facts |= NB_MIX_IF_4_EXPERTS;
    if (hp->n_experts == 8)
        facts |= NB_MIX_IF_8_EXPERTS;
    return facts;
}

const char *nb_mix_type(const struct nb_mix *m, enum nb_role role, size_t i, size_t n,
                        unsigned facts)
{
    for (size_t k = 0; k < NB_MIX_RULES && m->rules[k].type != NULL; k++) {
        const struct nb_mix_rule *r = &m->rules[k];
        if (r->role == role && (r->conditions & ~facts) == 0 && nb_mix_applies(r->when, i, n))
            return r->type;
    }
    return m->base;
}

bool nb_mix_applies(enum nb_mix_when when, size_t i, size_t n)
{
    const bool outer = i < n / 8 || i >= 7 * n / 8;
    const bool holds[] = {
        [NB_MIX_ALWAYS] = true,
        [NB_MIX_FIRST_2] = i < 2,
        [NB_MIX_FIRST_4] = i < 4,
        [NB_MIX_FIRST_8TH] = i < n / 8,
        [NB_MIX_FIRST_16TH] = i < n / 16,
        [NB_MIX_MIDDLE] = !outer,
        [NB_MIX_MORE] = outer || (i - n / 8) % 3 == 2,
    };
    return holds[when];
}
