/* tests/support/rope_config.h: small configs (head size 16, context 128) that rotate in a chosen way. */
#ifndef ROPE_CONFIG_H
#define ROPE_CONFIG_H

#include "support/tiny_hf.h"

/* An architecture like llama but for its rules of rotation (NULL: llama's). Owns: nothing. */
static inline struct nb_arch rope_arch(const struct nb_rope_rules *rules)
{
    struct nb_arch arch = nb_arch_llama;
    arch.rope = rules;
    return arch;
}

/* text: what config.json says of rotation, members of an object; "" for nothing. */
static inline enum nb_status rope_read(struct nb_hparams *hp, const struct nb_arch *arch,
                                       const char *text, struct nb_error *err)
{
    char value[4096];
    struct nb_str s;
    nb_json *root;
    const int n = snprintf(value, sizeof value, "0%s%s", text[0] != '\0' ? ", " : "", text);
    assert_true(n > 0 && (size_t)n < sizeof value);
    tiny_config(&s, "unused", value);
    assert_ok(nb_json_parse(&root, s.data, s.len, "config.json", err), err);
    const enum nb_status st = nb_arch_from_hf(arch, hp, root, err);
    nb_json_free(root);
    nb_str_fini(&s);
    return st;
}

#define ROPE_LISTS                                                                                 \
    "\"short_factor\": [1, 1, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5], "                                    \
    "\"long_factor\": [1, 1.25, 1.5, 2, 3, 4.5, 6, 8]"

/* One of each rule, with and without what may be left out. */
static const char *const rope_configs[] = {
    "",
    "\"rope_theta\": 1234567.5",
    "\"rope_scaling\": null",
    "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}",
    "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500.0}",
    "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}",
    "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2, "
    "\"original_max_position_embeddings\": 64}",
    "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}",
    "\"rope_scaling\": {\"rope_type\": \"yarn\", \"original_max_position_embeddings\": 32}",
    "\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"beta_fast\": 16, "
    "\"beta_slow\": 0.5, \"attention_factor\": 1.3, \"truncate\": false, \"rope_theta\": 500, "
    "\"original_max_position_embeddings\": 32}",
    "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 40, \"mscale\": 0.707, "
    "\"mscale_all_dim\": 0.5, \"original_max_position_embeddings\": 32}",
    "\"rope_scaling\": {\"type\": \"su\", " ROPE_LISTS "}, "
    "\"original_max_position_embeddings\": 16",
    "\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 4, " ROPE_LISTS "}",
    "\"rope_parameters\": {\"rope_type\": \"longrope\", \"original_max_position_embeddings\": 32, "
    "\"attention_factor\": 1.25, " ROPE_LISTS "}",
    "\"rope_scaling\": {\"type\": \"longrope\", \"short_mscale\": 1.1, \"long_mscale\": 1.2, "
    "\"original_max_position_embeddings\": 32, " ROPE_LISTS "}",
};

#endif
