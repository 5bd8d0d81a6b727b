/* Mixes: where the finer formats go (llama-quantize's rules, worked out by hand for 32 blocks). */
#include "quant/quant.h"
#include "support/nbtest.h"

#define LAYERS 32

static const char more[] = "11110010010010010010010010011111";

static void test_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(nb_mix_applies(NB_MIX_MORE, i, 32), more[i] == '1');
    size_t n = 0;
    for (size_t i = 0; i < 12; i++)
        n += nb_mix_applies(NB_MIX_MORE, i, 12);
    assert_int_equal(n, 6);
}

static void test_first(void **state)
{
    (void)state;
    assert_true(nb_mix_applies(NB_MIX_FIRST_4, 3, 100));
    assert_false(nb_mix_applies(NB_MIX_FIRST_4, 4, 100));
    assert_true(nb_mix_applies(NB_MIX_FIRST_8TH, 3, 32));
    assert_false(nb_mix_applies(NB_MIX_FIRST_8TH, 4, 32));
    assert_false(nb_mix_applies(NB_MIX_FIRST_8TH, 0, 7));
    assert_true(nb_mix_applies(NB_MIX_ALWAYS, 0, 1));
}

/* ---- the whole table ---- */

#define PLAIN 0U
#define GQA   NB_MIX_IF_GQA4
#define BIG   NB_MIX_IF_80_LAYERS
#define IM    NB_MIX_IF_IMATRIX
#define NO    NB_MIX_IF_NO_IMATRIX

/* One role of one mix: the types of blocks 0 .. 31, by letter. Roles that are not listed have the base. */
struct expected {
    const char *mix;
    unsigned with, without; /* the row is about models with all of these facts and none of those */
    enum nb_role role;
    const char *a, *b; /* what the letters stand for */
    const char *types;
};

#define ALL_A   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define FIRST_2 "aabbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FIRST_4 "aaaabbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HALF    "aaaabbabbabbabbabbabbabbabbaaaaa"
#define INNER   "bbbbaaaaaaaaaaaaaaaaaaaaaaaabbbb"
#define V       NB_ROLE_ATTN_V
#define O       NB_ROLE_ATTN_OUT
#define DOWN    NB_ROLE_FFN_DOWN

/* clang-format off */
static const struct expected table[] = {
    {"q5_k_m",  0,   0,         V,    "q6_k", "q5_k", HALF},
    {"q5_k_m",  0,   0,         DOWN, "q6_k", "q5_k", HALF},
    {"q5_0",    IM,  0,         DOWN, "q5_1", "q5_0", FIRST_4},
    {"q4_k_m",  0,   BIG,       V,    "q6_k", "q4_k", HALF},
    {"q4_k_m",  BIG, 0,         V,    "q6_k", "q5_k", HALF},
    {"q4_k_m",  0,   0,         DOWN, "q6_k", "q4_k", HALF},
    {"q4_k_s",  0,   BIG,       V,    "q5_k", "q4_k", FIRST_4},
    {"q4_k_s",  BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"q4_k_s",  0,   0,         DOWN, "q5_k", "q4_k", FIRST_4},
    {"iq4_nl",  GQA, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"iq4_nl",  NO,  0,         DOWN, "q5_k", "iq4_nl", FIRST_4},
    {"iq4_xs",  GQA, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"iq4_xs",  NO,  0,         DOWN, "q5_k", "iq4_xs", FIRST_4},
    {"q4_0",    IM,  0,         DOWN, "q4_1", "q4_0", FIRST_4},
    {"q3_k_l",  0,   0,         V,    "q5_k", "q5_k", ALL_A},
    {"q3_k_l",  0,   0,         O,    "q5_k", "q5_k", ALL_A},
    {"q3_k_l",  0,   0,         DOWN, "q5_k", "q5_k", ALL_A},
    {"q3_k_m",  0,   BIG,       V,    "q5_k", "q4_k", FIRST_2},
    {"q3_k_m",  BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"q3_k_m",  0,   0,         O,    "q4_k", "q4_k", ALL_A},
    {"q3_k_m",  0,   0,         DOWN, "q5_k", "q4_k", FIRST_2},
    {"q3_k_s",  BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"iq3_m",   0,   BIG,       V,    "q4_k", "q4_k", ALL_A},
    {"iq3_m",   BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"iq3_m",   0,   0,         O,    "q4_k", "q4_k", ALL_A},
    {"iq3_m",   0,   0,         DOWN, "q4_k", "iq3_s", FIRST_4},
    {"iq3_s",   GQA, BIG,       V,    "q4_k", "q4_k", ALL_A},
    {"iq3_s",   BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"iq3_xs",  GQA, BIG,       V,    "q4_k", "q4_k", ALL_A},
    {"iq3_xs",  BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"iq3_xs",  0,   0, NB_ROLE_ATTN_K, "iq3_xxs", "iq3_xxs", ALL_A},
    {"iq3_xs",  0,   0, NB_ROLE_ATTN_Q, "iq3_xxs", "iq3_xxs", ALL_A},
    {"iq3_xs",  0,   0, NB_ROLE_FFN_GATE, "iq3_xxs", "iq3_s", INNER},
    {"iq3_xs",  0,   0, NB_ROLE_FFN_UP, "iq3_xxs", "iq3_s", INNER},
    {"iq3_xxs", GQA, BIG,       V,    "q4_k", "q4_k", ALL_A},
    {"iq3_xxs", BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"iq3_xxs", NO,  GQA | BIG, V,    "iq3_s", "iq3_s", ALL_A},
    {"iq3_xxs", 0,   0, NB_ROLE_ATTN_K, "iq2_s", "iq2_s", ALL_A},
    {"iq3_xxs", 0,   0, NB_ROLE_ATTN_Q, "iq2_s", "iq2_s", ALL_A},
    {"iq3_xxs", 0,   0,         O,    "iq3_s", "iq3_s", ALL_A},
    {"iq3_xxs", NO,  0,         DOWN, "q4_k", "q3_k", FIRST_4},
    {"q2_k",    GQA, BIG,       V,    "q4_k", "q4_k", ALL_A},
    {"q2_k",    BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"q2_k",    0,   GQA | BIG, V,    "q3_k", "q3_k", ALL_A},
    {"q2_k",    0,   0,         O,    "q3_k", "q3_k", ALL_A},
    {"q2_k",    0,   0,         DOWN, "q3_k", "q3_k", ALL_A},
    {"q2_k_s",  GQA, BIG,       V,    "q4_k", "q4_k", ALL_A},
    {"q2_k_s",  BIG, 0,         V,    "q5_k", "q5_k", ALL_A},
    {"q2_k_s",  0,   0,         DOWN, "q4_k", "q2_k", FIRST_4},
    {"iq2_m",   GQA, 0,         V,    "q4_k", "q4_k", ALL_A},
    {"iq2_m",   0,   GQA,       V,    "iq3_s", "iq3_s", ALL_A},
    {"iq2_m",   0,   0,         O,    "iq3_s", "iq3_s", ALL_A},
    {"iq2_m",   0,   0,         DOWN, "iq3_s", "iq2_s", FIRST_4},
    {"iq2_s",   GQA, 0,         V,    "q4_k", "q4_k", ALL_A},
    {"iq2_s",   0,   GQA,       V,    "iq3_s", "iq3_s", ALL_A},
    {"iq2_s",   0,   0,         O,    "iq3_s", "iq3_s", ALL_A},
    {"iq2_s",   0,   0,         DOWN, "iq3_s", "iq2_xs", FIRST_4},
    {"iq2_xs",  GQA, 0,         V,    "q4_k", "q4_k", ALL_A},
    {"iq2_xs",  0,   GQA,       V,    "q2_k", "q2_k", ALL_A},
    {"iq2_xs",  0,   0,         DOWN, "q2_k", "iq2_xs", FIRST_4},
    {"iq2_xxs", GQA, 0,         V,    "q4_k", "q4_k", ALL_A},
    {"iq2_xxs", 0,   GQA,       V,    "q2_k", "q2_k", ALL_A},
    {"iq2_xxs", 0,   0,         DOWN, "q2_k", "iq2_xxs", FIRST_4},
    {"iq1_m",   GQA, 0,         V,    "q4_k", "q4_k", ALL_A},
    {"iq1_m",   0,   GQA,       V,    "q2_k", "q2_k", ALL_A},
    {"iq1_m",   0,   0,         O,    "iq2_xxs", "iq2_xxs", ALL_A},
    {"iq1_m",   0,   0,         DOWN, "q2_k", "iq1_m", FIRST_4},
    {"iq1_s",   GQA, 0,         V,    "q4_k", "q4_k", ALL_A},
    {"iq1_s",   0,   GQA,       V,    "q2_k", "q2_k", ALL_A},
    {"iq1_s",   0,   0,         O,    "iq2_xxs", "iq2_xxs", ALL_A},
    {"iq1_s",   0,   0,         DOWN, "q2_k", "iq1_s", FIRST_4},
};

/* Base, head, embedding beside a head of its own, general.file_type. */
static const struct {
    const char *mix, *base, *head, *embd;
    uint32_t ftype;
} plain[] = {
    {"f32", "f32", "f32", "f32", 0},          {"f16", "f16", "f16", "f16", 1},
    {"bf16", "bf16", "bf16", "bf16", 32},     {"q4_0", "q4_0", "q6_k", "q4_0", 2},
    {"q4_1", "q4_1", "q6_k", "q4_1", 3},      {"q5_0", "q5_0", "q6_k", "q5_0", 8},
    {"q5_1", "q5_1", "q6_k", "q5_1", 9},      {"q8_0", "q8_0", "q8_0", "q8_0", 7},
    {"q2_k", "q2_k", "q6_k", "q2_k", 10},     {"q2_k_s", "q2_k", "q6_k", "q2_k", 21},
    {"q3_k_s", "q3_k", "q6_k", "q3_k", 11},   {"q3_k_m", "q3_k", "q6_k", "q3_k", 12},
    {"q3_k_l", "q3_k", "q6_k", "q3_k", 13},   {"q4_k_s", "q4_k", "q6_k", "q4_k", 14},
    {"q4_k_m", "q4_k", "q6_k", "q4_k", 15},   {"q5_k_s", "q5_k", "q6_k", "q5_k", 16},
    {"q5_k_m", "q5_k", "q6_k", "q5_k", 17},   {"q6_k", "q6_k", "q6_k", "q6_k", 18},
    {"iq2_xxs", "iq2_xxs", "q5_k", "q2_k", 19}, {"iq2_xs", "iq2_xs", "q5_k", "q2_k", 20},
    {"iq3_xs", "iq3_s", "q6_k", "iq3_s", 22}, {"iq3_xxs", "iq3_xxs", "q5_k", "iq3_s", 23},
    {"iq1_s", "iq1_s", "q5_k", "q2_k", 24},   {"iq4_nl", "iq4_nl", "q6_k", "iq4_nl", 25},
    {"iq3_s", "iq3_s", "q6_k", "iq3_s", 26},  {"iq3_m", "iq3_s", "q6_k", "iq3_s", 27},
    {"iq2_s", "iq2_xs", "q5_k", "iq3_s", 28}, {"iq2_m", "iq2_s", "q5_k", "iq3_s", 29},
    {"iq4_xs", "iq4_xs", "q6_k", "iq4_xs", 30}, {"iq1_m", "iq1_m", "q5_k", "q2_k", 31},
    {"tq1_0", "tq1_0", "q6_k", "q4_k", 36},   {"tq2_0", "tq2_0", "q6_k", "q4_k", 37},
    {"mxfp4", "mxfp4", "q8_0", "q8_0", 38},   {"nvfp4", "nvfp4", "q6_k", "nvfp4", 39},
    {"q1_0", "q1_0", "q6_k", "q1_0", 40},     {"q2_0", "q2_0", "q6_k", "q4_k", 41},
};
/* clang-format on */

static const struct nb_mix *find(const char *name)
{
    size_t n;
    const struct nb_mix *all = nb_mix_all(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    fail_msg("no mix %s", name);
    return NULL;
}

/* What eight experts change: attn_v and attn_k, and attn_output of these mixes. Four change attn_v of those
 * of few bits. */
static const char *const few_bits[] = {"iq2_m", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s"};
static const char *const finer_output[] = {"q2_k",   "iq3_xs", "iq3_xxs", "q3_k_s",
                                           "q3_k_m", "iq4_nl", "q4_k_s",  "q4_k_m",
                                           "iq3_s",  "iq3_m",  "iq4_xs"};

static bool is_in(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

/* NULL: nothing. */
static const char *expected_of_experts(const struct nb_mix *m, enum nb_role role, size_t i,
                                       unsigned facts)
{
    const bool few = is_in(m->name, few_bits, NB_COUNTOF(few_bits));
    const bool eight = (facts & NB_MIX_IF_8_EXPERTS) != 0;
    if (nb_numfmt_find(m->base)->kind == NB_NUMFMT_FLOAT)
        return NULL;
    if (few && role == V && (facts & NB_MIX_IF_4_EXPERTS) != 0)
        return "q4_k";
    if (eight && (role == V || role == NB_ROLE_ATTN_K))
        return few ? "q4_k" : "q8_0";
    if (eight && role == O && (few || is_in(m->name, finer_output, NB_COUNTOF(finer_output))))
        return "q5_k";
    if (eight && role == O && strcmp(m->name, "q3_k_l") == 0)
        return "q3_k";
    if (eight && role == DOWN && strcmp(m->name, "iq3_m") == 0)
        return HALF[i] == 'a' ? "q4_k" : "iq3_s";
    return NULL;
}

static const char *expected_type(const struct nb_mix *m, enum nb_role role, size_t i,
                                 unsigned facts)
{
    if (expected_of_experts(m, role, i, facts) != NULL)
        return expected_of_experts(m, role, i, facts);
    for (size_t k = 0; k < NB_COUNTOF(table); k++) {
        const struct expected *e = &table[k];
        if (strcmp(e->mix, m->name) == 0 && e->role == role && (facts & e->with) == e->with &&
            (facts & e->without) == 0)
            return e->types[i] == 'a' ? e->a : e->b;
    }
    return m->base;
}

static void check_mix(const struct nb_mix *m, unsigned facts)
{
    for (int role = NB_ROLE_ATTN_Q; role <= NB_ROLE_FFN_DOWN; role++)
        for (size_t i = 0; i < LAYERS; i++) {
            const char *want = expected_type(m, (enum nb_role)role, i, facts);
            const char *have = nb_mix_type(m, (enum nb_role)role, i, LAYERS, facts);
            if (strcmp(want, have) != 0)
                fail_msg("%s, facts %u, role %d, block %zu: %s, expected %s", m->name, facts, role,
                         i, have, want);
        }
}

static void test_every_tensor(void **state)
{
    (void)state;
    size_t n;
    const struct nb_mix *all = nb_mix_all(&n);
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < 18; k++) {
            static const unsigned shared[] = {PLAIN, GQA, GQA | BIG};
            static const unsigned experts[] = {0, NB_MIX_IF_4_EXPERTS,
                                               NB_MIX_IF_4_EXPERTS | NB_MIX_IF_8_EXPERTS};
            check_mix(&all[i], shared[k / 2 % 3] | (k % 2 ? IM : NO) | experts[k / 6]);
        }
    for (size_t k = 0; k < NB_COUNTOF(table); k++) {
        assert_int_equal(strlen(table[k].types), LAYERS);
        assert_non_null(find(table[k].mix));
    }
}

static void test_heads(void **state)
{
    (void)state;
    size_t n;
    (void)nb_mix_all(&n);
    assert_int_equal(n, NB_COUNTOF(plain));
    for (size_t i = 0; i < NB_COUNTOF(plain); i++) {
        const struct nb_mix *m = find(plain[i].mix);
        assert_string_equal(m->base, plain[i].base);
        assert_string_equal(m->head, plain[i].head);
        assert_string_equal(m->embd, plain[i].embd);
        assert_int_equal(m->gguf_ftype, plain[i].ftype);
    }
}

/* Every format that a mix names is there. */
static void test_offered(void **state)
{
    (void)state;
    size_t n;
    const struct nb_mix *all = nb_mix_all(&n);
    for (size_t i = 0; i < n; i++) {
        assert_true(nb_mix_offered(&all[i]));
        assert_ptr_equal(nb_mix_find(all[i].name), &all[i]);
    }
    assert_null(nb_mix_find("q9_9"));
    const struct nb_mix none = {
        .base = "q4_0", .head = "q6_k", .embd = "q4_0", .rules = {{"q9_9", V, NB_MIX_ALWAYS, 0}}};
    assert_false(nb_mix_offered(&none));
}

static void test_facts(void **state)
{
    (void)state;
    struct nb_hparams hp = {.n_layers = 32, .n_heads = 32, .n_kv_heads = 32};
    assert_int_equal(nb_mix_facts(&hp, false), NO);
    hp.n_kv_heads = 8;
    assert_int_equal(nb_mix_facts(&hp, true), IM | GQA);
    hp.n_kv_heads = 11; /* 2.9 heads share one */
    hp.n_layers = 80;
    assert_int_equal(nb_mix_facts(&hp, true), IM | BIG);
    hp.n_kv_heads = 32;
    assert_int_equal(nb_mix_facts(&hp, true), IM);
    hp.n_experts = 4;
    assert_int_equal(nb_mix_facts(&hp, true), IM | NB_MIX_IF_4_EXPERTS);
    hp.n_experts = 8;
    assert_int_equal(nb_mix_facts(&hp, true), IM | NB_MIX_IF_4_EXPERTS | NB_MIX_IF_8_EXPERTS);
    hp.n_experts = 128;
    assert_int_equal(nb_mix_facts(&hp, true), IM | NB_MIX_IF_4_EXPERTS);
}

NB_TEST_MAIN(cmocka_unit_test(test_more), cmocka_unit_test(test_first),
             cmocka_unit_test(test_every_tensor), cmocka_unit_test(test_heads),
             cmocka_unit_test(test_offered), cmocka_unit_test(test_facts))
