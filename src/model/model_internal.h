/* model/model_internal.h: what the files of this room share: reading hparams, wherever they are from. */
#ifndef NB_MODEL_MODEL_INTERNAL_H
#define NB_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

#include <string.h>

/* A whole number of nb_hparams, under both its names. A table of these describes an architecture. */
struct nb_hparam_field {
    const char *hf;     /* key of config.json                     */
    const char *suffix; /* metadata key behind "<architecture>."  */
    size_t offset;      /* of the uint32_t in struct nb_hparams   */
    uint32_t min, max;
    bool optional; /* absent: the field keeps its value      */
};

/* Reads all fields; a value out of range or missing is an error that names the key. */
NB_CHECKED enum nb_status nb_hparams_read_hf(struct nb_hparams *hp, const nb_json *config,
                                             const struct nb_hparam_field *fields, size_t n,
                                             struct nb_error *err);
/* The same from metadata. An array (one entry per block) must hold equal numbers. */
NB_CHECKED enum nb_status nb_hparams_read_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                               const struct nb_hparam_field *fields, size_t n,
                                               struct nb_error *err);

/* config.json: a number in [min, max], or `*out` untouched if absent or null. */
NB_CHECKED enum nb_status nb_config_real(const nb_json *object, const char *key, double min,
                                         double max, float *out, struct nb_error *err);
NB_CHECKED enum nb_status nb_config_bool(const nb_json *object, const char *key, bool *out,
                                         struct nb_error *err);
/* Metadata "<architecture>.<suffix>": likewise. */
NB_CHECKED enum nb_status nb_meta_real(const struct nb_meta *meta, const char *arch,
                                       const char *suffix, double min, double max, float *out,
                                       struct nb_error *err);
#define NB_KEY_BYTES 96
const char *nb_meta_key(char out[NB_KEY_BYTES], const char *arch, const char *suffix);

/* ---- what all architectures have (sizes.c) ---- */

/* Layers, widths, heads, context, vocabulary under the names most config.json files use. */
NB_CHECKED enum nb_status nb_sizes_from_hf(struct nb_hparams *hp, const nb_json *config,
                                           struct nb_error *err);
/* Works out what may be left open (kv heads, head size: 0) and refuses what does not fit together. where:
 * "config.json" or "metadata". */
NB_CHECKED enum nb_status nb_sizes_settle(struct nb_hparams *hp, const char *where,
                                          struct nb_error *err);
/* "architectures", "model_type" and the sizes, each line ended by a comma. */
void nb_sizes_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                    struct nb_str *s);
/* Refuses sizes for which config.json files of this architecture have no key. */
NB_CHECKED enum nb_status nb_sizes_sayable(const struct nb_hparams *hp, struct nb_error *err);
/* Refuses a mixture of products with and without biases. */
NB_CHECKED enum nb_status nb_biases_alike(const struct nb_hparams *hp, bool have,
                                          struct nb_error *err);
/* A line `  "key": value,` each. */
void nb_config_put_real(struct nb_str *s, const char *key, float v);
void nb_config_put_bool(struct nb_str *s, const char *key, bool v);
void nb_config_put_u32(struct nb_str *s, const char *key, uint32_t v);

/* The activation of config.json must be hp->act. */
NB_CHECKED enum nb_status nb_act_from_hf(const struct nb_hparams *hp, const nb_json *config,
                                         const char *key, struct nb_error *err);
/* Reads it into hp->act, one of all there are; absent: as it is. */
NB_CHECKED enum nb_status nb_act_read_hf(struct nb_hparams *hp, const nb_json *config,
                                         const char *key, struct nb_error *err);
const char *nb_act_hf_name(enum nb_act act);
/* The key's name in config.json files of this architecture; NULL: it has none. */
const char *nb_hf_key(const struct nb_arch *arch, const char *usual);

/* ---- BERT and its relatives (bert.c) ---- */
void nb_bert_init(struct nb_hparams *hp);
NB_CHECKED enum nb_status nb_bert_from_hf(struct nb_hparams *hp, const nb_json *config,
                                          struct nb_error *err);
void nb_bert_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                   struct nb_str *s);
NB_CHECKED enum nb_status nb_bert_to_meta(const struct nb_hparams *hp, struct nb_meta *meta);
extern const struct nb_hf_name nb_bert_hf_names[];

/* ---- the Gemma family (gemma.c, gemma2.c) ---- */
void nb_gemma_init(struct nb_hparams *hp);
void nb_gemma_defaults(struct nb_hparams *hp);
NB_CHECKED enum nb_status nb_gemma_from_hf(struct nb_hparams *hp, const nb_json *config,
                                           struct nb_error *err);
void nb_gemma_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                    struct nb_str *s);
/* attn_scale as readers of GGUF files take it: by the share of a head in the largest model, else by its
 * size. */
void nb_attn_scale_by_layers(struct nb_hparams *hp, uint32_t layers_of_largest);
/* query_pre_attn_scalar of config.json: attn_scale is one by its root. */
NB_CHECKED enum nb_status nb_attn_scalar_from_hf(struct nb_hparams *hp, const nb_json *config,
                                                 struct nb_error *err);
void nb_attn_scalar_to_hf(const struct nb_hparams *hp, struct nb_str *s);
/* A cap or null; an absent one leaves *cap as it is. */
NB_CHECKED enum nb_status nb_config_cap(const nb_json *config, const char *key, float *cap,
                                        struct nb_error *err);
void nb_config_put_cap(struct nb_str *s, const char *key, float cap);
extern const struct nb_hf_name nb_gemma_four_norms[];

/* ---- the Cohere family (cohere2.c) ---- */
void nb_cohere_init(struct nb_hparams *hp);
NB_CHECKED enum nb_status nb_cohere_from_hf(struct nb_hparams *hp, const nb_json *config,
                                            struct nb_error *err);
void nb_cohere_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                     struct nb_str *s);
NB_CHECKED enum nb_status nb_cohere_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                              struct nb_error *err);
NB_CHECKED enum nb_status nb_cohere_to_meta(const struct nb_hparams *hp, struct nb_meta *meta);

/* What most decoders of Llama's kind say besides: the sizes, rms_norm_eps, tie_word_embeddings and
 * attention_bias, which is one switch for q, k, v and output. */
NB_CHECKED enum nb_status nb_usual_from_hf(struct nb_hparams *hp, const nb_json *config,
                                           struct nb_error *err);
/* The same but for the sizes, with hidden_act and rotation. Refuses biases that one switch cannot say. */
NB_CHECKED enum nb_status nb_usual_to_hf(const struct nb_hparams *hp, struct nb_str *s,
                                         struct nb_error *err);
/* The buffers that checkpoints with rotary embeddings carry (nb_arch.ignored). */
extern const char *const nb_ignored_rotary[];

/* ---- windows (window.c) ----
 * period: every period-th layer sees all positions, the others `window`; 0: all layers are windowed. */
/* sliding_window and layer_types; where the list is absent sliding_window_pattern, or the architecture's
 * rule. A window of the context or more is none, unless layers without it are another kind. */
NB_CHECKED enum nb_status nb_window_from_hf(struct nb_hparams *hp, const nb_json *config,
                                            struct nb_error *err);
NB_CHECKED enum nb_status nb_window_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                              uint32_t period, struct nb_error *err);
/* The layers as a list where they do not follow the rule. */
NB_CHECKED enum nb_status nb_window_to_meta(const struct nb_hparams *hp, struct nb_meta *meta,
                                            uint32_t period);
/* "sliding_window" and "layer_types". */
void nb_window_to_hf(const struct nb_hparams *hp, struct nb_str *s);

/* The rule of the Qwen family (qwen2.c): use_sliding_window and max_window_layers. */
NB_CHECKED enum nb_status nb_qwen_window_from_hf(struct nb_hparams *hp, const nb_json *config,
                                                 struct nb_error *err);
void nb_qwen_window_to_hf(const struct nb_hparams *hp, struct nb_str *s);

/* ---- rotary embedding (rope.c, rope_hf.c, rope_gguf.c), by hp->arch->rope; hp's sizes are known ---- */

/* ---- Granite, with experts or without (granite.c) ---- */
void nb_granite_init(struct nb_hparams *hp);
NB_CHECKED enum nb_status nb_granite_from_hf(struct nb_hparams *hp, const nb_json *config,
                                             struct nb_error *err);
/* All but the names and sizes. */
NB_CHECKED enum nb_status nb_granite_to_hf(const struct nb_hparams *hp, struct nb_str *s,
                                           struct nb_error *err);
NB_CHECKED enum nb_status nb_granite_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                               struct nb_error *err);
NB_CHECKED enum nb_status nb_granite_to_meta(const struct nb_hparams *hp, struct nb_meta *meta);

/* ---- mixtures of experts (experts.c) ---- */
static inline bool nb_has_experts(const struct nb_hparams *hp, uint32_t layer)
{
    return hp->n_experts > 0 && !nb_layers_has(&hp->dense, layer);
}
/* Numbers that fit together; where: "config.json" or "metadata". */
NB_CHECKED enum nb_status nb_experts_check(const struct nb_hparams *hp, const char *where,
                                           struct nb_error *err);
/* num_experts (or num_local_experts), num_experts_per_tok. */
NB_CHECKED enum nb_status nb_experts_from_hf(struct nb_hparams *hp, const nb_json *config,
                                             struct nb_error *err);
/* Both, the number under this key. */
void nb_experts_to_hf(const struct nb_hparams *hp, const char *key, struct nb_str *s);
/* <arch>.expert_count and its relatives. hp has what the architecture takes for granted; to_meta writes
 * what differs from it. */
NB_CHECKED enum nb_status nb_experts_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                               struct nb_error *err);
NB_CHECKED enum nb_status nb_experts_to_meta(const struct nb_hparams *hp, struct nb_meta *meta);
/* Layers without a router are dense. */
void nb_experts_detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx);

/* What Qwen2-MoE and Qwen3-MoE share (qwen2moe.c): every so manieth layer has experts, but for some. */
NB_CHECKED enum nb_status nb_qwen_experts_from_hf(struct nb_hparams *hp, const nb_json *config,
                                                  struct nb_error *err);
void nb_qwen_experts_to_hf(const struct nb_hparams *hp, const char *count_key, struct nb_str *s);
NB_CHECKED enum nb_status nb_qwen_experts_to_meta(const struct nb_hparams *hp,
                                                  struct nb_meta *meta);

/* rope_theta, and rope_scaling or rope_parameters, of config.json. */
NB_CHECKED enum nb_status nb_rope_from_hf(struct nb_hparams *hp, const nb_json *config,
                                          struct nb_error *err);
NB_CHECKED enum nb_status nb_rope_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                            struct nb_error *err);
/* What of it the tensors of a GGUF file say. */
void nb_rope_detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx);
/* The tensors that a GGUF file keeps for it. */
NB_CHECKED enum nb_status nb_rope_specs(const struct nb_hparams *hp, nb_spec_fn *emit, void *ctx);
NB_CHECKED enum nb_status nb_rope_to_meta(const struct nb_hparams *hp, struct nb_meta *meta);
NB_CHECKED enum nb_status nb_rope_to_hf(const struct nb_hparams *hp, struct nb_str *s,
                                        struct nb_error *err);

/* A parameter of scaling rules, under its name in config.json. A table of these reads and writes it
 * there and as metadata "nibble.rope.<key>". */
struct nb_rope_param {
    const char *key;
    size_t offset; /* of the float in struct nb_rope */
    double min, max;
    unsigned rules; /* bit r: enum nb_rope_scaling r has it */
};
extern const struct nb_rope_param nb_rope_params[];
extern const size_t nb_rope_n_params;
float nb_rope_param(const struct nb_rope *r, const struct nb_rope_param *p);
const char *nb_rope_name(enum nb_rope_scaling rule);
/* NB_N_ROPE_SCALINGS: no rule is called so. */
enum nb_rope_scaling nb_rope_by_name(const char *s, size_t n);
const struct nb_rope_rules *nb_rope_rules(const struct nb_arch *arch);
double nb_rope_factor(const struct nb_rope *r);     /* given or worked out, at least 1 */
uint32_t nb_rope_original(const struct nb_rope *r); /* context: ctx_orig or ctx_train  */
/* Rules between the numbers. where: "config.json: rope_scaling" or "metadata". */
NB_CHECKED enum nb_status nb_rope_check(const struct nb_rope *r, const char *where,
                                        struct nb_error *err);

#define NB_ROPE_FACTOR_MAX 1e6
#define NB_ROPE_BASE_MAX   1e12
#define NB_ROPE_CTX_MAX    INT32_MAX

/* The shortest decimal that reads back as this float, as a JSON real: "1e-05", "500000.0". */
void nb_str_real(struct nb_str *s, float v);

#endif
