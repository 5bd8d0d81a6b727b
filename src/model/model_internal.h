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
/* The same by a name that is at hand. where: for the message. */
NB_CHECKED enum nb_status nb_act_by_name(struct nb_hparams *hp, const char *where, const char *name,
                                         size_t n, struct nb_error *err);
const char *nb_act_hf_name(enum nb_act act);

/* ---- windows (window.c) ----
 * period: every period-th layer sees all positions, the others `window`; 0: all layers are windowed. */
/* sliding_window and layer_types, or the architecture's rule where the list is absent. A window of the
 * context or more is none. */
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

/* rope_theta, and rope_scaling or rope_parameters, of config.json. */
NB_CHECKED enum nb_status nb_rope_from_hf(struct nb_hparams *hp, const nb_json *config,
                                          struct nb_error *err);
NB_CHECKED enum nb_status nb_rope_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                            struct nb_error *err);
NB_CHECKED enum nb_status nb_rope_to_meta(const struct nb_hparams *hp, struct nb_meta *meta);
NB_CHECKED enum nb_status nb_rope_to_hf(const struct nb_hparams *hp, struct nb_str *s,
                                        struct nb_error *err);

/* The shortest decimal that reads back as this float, as a JSON real: "1e-05", "500000.0". */
void nb_str_real(struct nb_str *s, float v);

#endif
