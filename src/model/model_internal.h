/* model/model_internal.h: what the files of this room share: reading hparams, wherever they are from. */
#ifndef NB_MODEL_MODEL_INTERNAL_H
#define NB_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

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
