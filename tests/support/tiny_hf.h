/* tests/support/tiny_hf.h: writes small Hugging Face folders, right or wrong in one chosen way. */
#ifndef TINY_HF_H
#define TINY_HF_H

#include <stdio.h>
#include <sys/stat.h>

#include "container/container.h"
#include "model/model.h"
#include "support/nbtest.h"

/* ---- config.json: two layers of width 64, with one key replaced, added or (value NULL) left out ---- */
static const char *const tiny_config_keys[][2] = {
    {"architectures", "[\"LlamaForCausalLM\"]"},
    {"hidden_size", "64"},
    {"intermediate_size", "96"},
    {"num_hidden_layers", "2"},
    {"num_attention_heads", "4"},
    {"num_key_value_heads", "2"},
    {"vocab_size", "160"},
    {"max_position_embeddings", "128"},
    {"rms_norm_eps", "1e-05"},
    {"tie_word_embeddings", "true"},
};

static inline void tiny_config(struct nb_str *s, const char *key, const char *value)
{
    bool known = key == NULL;
    const char *comma = "";
    nb_str_init(s, NULL);
    nb_str_puts(s, "{");
    for (size_t i = 0; i < NB_COUNTOF(tiny_config_keys); i++) {
        const char *v = tiny_config_keys[i][1];
        if (key != NULL && strcmp(key, tiny_config_keys[i][0]) == 0) {
            known = true;
            v = value;
        }
        if (v == NULL)
            continue;
        nb_str_printf(s, "%s\"%s\": %s", comma, tiny_config_keys[i][0], v);
        comma = ", ";
    }
    if (!known && value != NULL)
        nb_str_printf(s, "%s\"%s\": %s", comma, key, value);
    nb_str_puts(s, "}");
}

/* The parameters such a config means. */
static inline enum nb_status tiny_hparams(struct nb_hparams *hp, const char *key, const char *value,
                                          struct nb_error *err)
{
    struct nb_str s;
    nb_json *root;
    tiny_config(&s, key, value);
    assert_ok(nb_json_parse(&root, s.data, s.len, "config.json", err), err);
    const enum nb_status st = nb_arch_from_hf(nb_arch_by_name("llama"), hp, root, err);
    nb_json_free(root);
    nb_str_fini(&s);
    return st;
}

/* ---- folders ---- */
struct tiny_hf {
    const char *key, *value; /* of config.json, as above                                   */
    const char *type;        /* number format of the weights; NULL: bf16                   */
    const char *skip;        /* HF name of a tensor that is missing                        */
    const char *extra;       /* of one more, (3)                                           */
    const char *reshape;     /* of one with a row too many                                 */
    const char *retype;      /* of one of type i32                                         */
    const char *poison;      /* of one whose second row, third column is NaN (bf16 or f32) */
    unsigned shards;         /* 0: one file without an index                               */
};

struct tiny_writer {
    const struct tiny_hf *how;
    struct nb_writer *w;
    unsigned shard;
    size_t n;
    struct nb_str *map; /* of the index */
};

static inline enum nb_status tiny_declare(void *ctx, const struct nb_tensor_spec *spec)
{
    struct tiny_writer *t = ctx;
    const struct tiny_hf *how = t->how;
    struct nb_error err;
    const char *type = how->type == NULL ? "bf16" : how->type;
    struct nb_shape shape = spec->shape;
    const unsigned shard = how->shards == 0 ? 0 : (unsigned)(t->n++ % how->shards);
    if (spec->hf[0] == '\0' || shard != t->shard || nb_str_eq(how->skip, spec->hf))
        return NB_OK;
    if (nb_str_eq(how->reshape, spec->hf))
        shape.dim[0]++;
    if (nb_str_eq(how->retype, spec->hf))
        type = "i32";
    assert_ok(nb_writer_add(t->w, spec->hf, nb_numfmt_find(type), &shape, &err), &err);
    if (t->map != NULL)
        nb_str_printf(t->map, "%s\"%s\": \"part-%u.safetensors\"", t->map->len == 0 ? "" : ", ",
                      spec->hf, shard);
    return NB_OK;
}

/* The values depend on the tensor's name and on nothing else. */
static inline void tiny_fill(const struct tiny_hf *how, const struct nb_tensor *t, uint8_t *dst)
{
    uint64_t n;
    struct nb_rng rng = {.seed = nb_fnv1a64(t->name, strlen(t->name), NB_FNV_SEED)};
    assert_true(nb_shape_count(&t->shape, &n));
    float *x = malloc(n * sizeof *x);
    for (uint64_t i = 0; i < n; i++)
        x[i] = (float)(nb_rng_unit(&rng) - 0.5) * 0.25F;
    if (nb_str_eq(how->poison, t->name))
        x[nb_shape_cols(&t->shape) + 2] = 1.0F;
    if (t->type->encode != NULL)
        t->type->encode(dst, x, NULL, n);
    else
        memset(dst, 0, t->bytes);
    if (nb_str_eq(how->poison, t->name) && t->type == &nb_numfmt_bf16)
        nb_store_u16(dst + 2 * (nb_shape_cols(&t->shape) + 2), 0x7fc0);
    free(x);
}

static inline void tiny_write_weights(const struct tiny_hf *how, const struct nb_hparams *hp,
                                      const char *path, unsigned shard, struct nb_str *map)
{
    struct nb_error err;
    struct tiny_writer t = {.how = how, .shard = shard, .map = map};
    assert_ok(nb_writer_create(&t.w, &nb_container_safetensors, NULL, &err), &err);
    assert_ok(nb_arch_tensors(hp, tiny_declare, &t), NULL);
    if (how->extra != NULL && shard == 0) {
        const struct nb_shape shape = nb_shape_1(3);
        assert_ok(nb_writer_add(t.w, how->extra, nb_numfmt_find("bf16"), &shape, &err), &err);
    }
    assert_ok(nb_writer_begin(t.w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
    for (size_t i = 0; i < t.w->n_tensors; i++) {
        uint8_t *data = malloc(t.w->tensors[i].bytes);
        tiny_fill(how, &t.w->tensors[i], data);
        assert_ok(nb_writer_append(t.w, data, t.w->tensors[i].bytes, &err), &err);
        free(data);
    }
    assert_ok(nb_writer_commit(t.w, &err), &err);
    nb_writer_destroy(t.w);
}

/* "<dir>/<name>" in a buffer that the next call reuses. */
static inline const char *tiny_path(const char *dir, const char *name)
{
    static char path[8192];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* Writes the folder "<tmpdir>/<name>" and returns its path (one of nbtest_tmp's buffers). */
static inline const char *tiny_hf_write(const char *name, const struct tiny_hf *how)
{
    struct nb_str config, map, index;
    struct nb_hparams hp;
    struct nb_error err;
    const char *dir = nbtest_tmp(name);
    assert_int_equal(mkdir(dir, 0777), 0);
    tiny_config(&config, how->key, how->value);
    nbtest_write(tiny_path(dir, "config.json"), config.data, config.len);
    nb_str_fini(&config);
    if (tiny_hparams(&hp, how->key, how->value, &err) !=
        NB_OK) /* a wrong config needs no weights */
        assert_ok(tiny_hparams(&hp, NULL, NULL, &err), &err);
    if (how->shards == 0) {
        tiny_write_weights(how, &hp, tiny_path(dir, "model.safetensors"), 0, NULL);
        return dir;
    }
    nb_str_init(&map, NULL);
    for (unsigned s = 0; s < how->shards; s++) {
        char file[64];
        (void)snprintf(file, sizeof file, "part-%u.safetensors", s);
        tiny_write_weights(how, &hp, tiny_path(dir, file), s, &map);
    }
    nb_str_init(&index, NULL);
    nb_str_printf(&index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    nb_str_append(&index, map.data, map.len);
    nb_str_puts(&index, "}}");
    nbtest_write(tiny_path(dir, "model.safetensors.index.json"), index.data, index.len);
    nb_str_fini(&index);
    nb_str_fini(&map);
    return dir;
}

#endif
