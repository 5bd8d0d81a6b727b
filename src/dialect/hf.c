/* dialect/hf.c: Hugging Face folders: config.json, safetensors (one file or shards), tokenizer.json.
 *
 * Rules: docs/formats/safetensors.md (shards), docs/architectures.md, docs/tokenizers.md. Weights are f32, f16 or bf16,
 * or BitNet's (ternary.c). Left out: pickled checkpoints, other quantized checkpoints.
 */
#include "dialect/dialect_internal.h"

#include <stdio.h>
#include <string.h>

#define QUOTE_BYTES 96

/* A file of a folder, as text. NB_ERR_NOT_FOUND without a message if it does not exist. */
enum nb_status nb_hf_read_text(struct nb_str *out, const struct nb_model *m, const char *name,
                               struct nb_error *err)
{
    char *path = nb_path_join(m->a, m->path, name);
    nb_str_init(out, m->a);
    if (path == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status st = NB_ERR_NOT_FOUND;
    if (nb_path_exists(path))
        st = nb_file_read_all(out, path, NB_HF_MAX_JSON, err);
    nb_free(m->a, path);
    return st;
}

static enum nb_status has_file(const struct nb_model *m, const char *name, bool *found,
                               struct nb_error *err)
{
    char *path = nb_path_join(m->a, m->path, name);
    if (path == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    *found = nb_path_exists(path);
    nb_free(m->a, path);
    return NB_OK;
}

static enum nb_status add_weights(struct nb_model *m, const char *name, struct nb_error *err)
{
    char *path = nb_path_join(m->a, m->path, name);
    if (path == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status st = nb_model_add_file(m, path, err);
    nb_free(m->a, path);
    if (st == NB_OK && m->files[m->n_files - 1]->container != &nb_container_safetensors)
        st = NB_ERROR(err, NB_ERR_FORMAT, "%s: a %s file, expected safetensors",
                      m->files[m->n_files - 1]->path, m->files[m->n_files - 1]->container->name);
    return st;
}

/* ---- config.json ---- */

/* nibble's own quantization, and BitNet's, need no more than this file knows. */
static enum nb_status read_quantization(struct nb_model *m, const nb_json *config,
                                        struct nb_ternary_rule *ternary, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    size_t n = 0;
    const nb_json *q = nb_json_get(config, "quantization_config");
    if (nb_json_type(q) != NB_JSON_OBJECT)
        return NB_OK;
    const char *method = nb_json_string(nb_json_get(q, "quant_method"), &n);
    if (method != NULL && strcmp(method, NB_HF_QUANT_METHOD) == 0)
        return NB_OK;
    if (method != NULL && strcmp(method, "bitnet") == 0 && !m->unknown)
        return nb_ternary_from_config(m, q, ternary, err);
    NB_FAIL(err, NB_ERR_UNSUPPORTED,
            "config.json: a checkpoint quantized by '%s'; nibble reads float checkpoints, "
            "BitNet's and its own",
            method == NULL ? "?" : nb_printable(quote, sizeof quote, method, n));
}

static enum nb_status find_arch(struct nb_model *m, const nb_json *config, struct nb_error *err)
{
    char quote[QUOTE_BYTES], list[NB_ARCH_LIST_BYTES];
    size_t n;
    const char *name = nb_json_string(nb_json_at(nb_json_get(config, "architectures"), 0), &n);
    if (name == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: architectures is no list with a class name");
    m->w.hp.arch = nb_arch_by_hf(name);
    m->unknown = m->w.hp.arch == NULL;
    if (m->unknown && m->any_arch)
        return nb_any_arch(m, name, n, err);
    if (m->unknown)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: architecture '%s' is not supported; " NB_ANY_HINT "; supported: %s",
                nb_printable(quote, sizeof quote, name, n), nb_arch_list(list, sizeof list));
    return NB_OK;
}

/* What nibble wrote into a folder's config.json: back among the metadata. */
static enum nb_status read_provenance(struct nb_model *m, const nb_json *config)
{
    static const char prefix[] = "nibble.";
    const nb_json *own = nb_json_get(config, "nibble");
    for (void *it = nb_json_iter(own); it != NULL; it = nb_json_next(own, it)) {
        size_t n_key, n;
        const char *key = nb_json_key(it, &n_key);
        const char *text = nb_json_string(nb_json_value(it), &n);
        if (text == NULL)
            continue;
        char *full = nb_arena_printf(&m->arena, "%s%s", prefix, key);
        if (full == NULL)
            return NB_ERR_NOMEM;
        NB_TRY(nb_meta_set_text(&m->meta, full, text, n));
    }
    return NB_OK;
}

/* The folder's own name, if it says anything. */
static struct nb_text base_name(const char *path)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    const struct nb_text t = {path + begin, end - begin};
    const bool dots = t.n > 0 && t.n <= 2 && memcmp(t.s, "..", t.n) == 0;
    return dots ? (struct nb_text){"", 0} : t;
}

static enum nb_status describe(struct nb_model *m, const nb_json *config, struct nb_error *err)
{
    const struct nb_arch *arch = m->w.hp.arch;
    const struct nb_text name = base_name(m->path);
    enum nb_status st =
        nb_meta_set_text(&m->meta, "general.architecture", arch->name, strlen(arch->name));
    if (st == NB_OK)
        st = nb_meta_set_text(&m->meta, "general.type", "model", 5);
    if (st == NB_OK && name.n > 0)
        st = nb_meta_set_text(&m->meta, "general.name", name.s, name.n);
    if (st == NB_OK)
        st = read_provenance(m, config);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for metadata");
    return NB_OK;
}

/* The root must outlive nothing: hparams are plain values, metadata is copied. */
static enum nb_status read_config(struct nb_model *m, struct nb_ternary_rule *ternary,
                                  struct nb_error *err)
{
    struct nb_str text;
    nb_json *root = NULL;
    enum nb_status st = nb_hf_read_text(&text, m, NB_HF_CONFIG, err);
    if (st == NB_ERR_NOT_FOUND)
        st = NB_ERROR(err, st, "no %s in this folder", NB_HF_CONFIG);
    if (st == NB_OK)
        st = nb_json_parse(&root, text.data, text.len, NB_HF_CONFIG, err);
    if (st == NB_OK)
        st = find_arch(m, root, err);
    if (st == NB_OK)
        st = read_quantization(m, root, ternary, err);
    if (st == NB_OK && !m->unknown)
        st = nb_arch_from_hf(m->w.hp.arch, &m->w.hp, root, err);
    if (st == NB_OK)
        st = describe(m, root, err);
    nb_json_free(root);
    nb_str_fini(&text);
    return st;
}

/* What sentence-transformers says about pooling. */
static enum nb_status read_pooling(struct nb_model *m, struct nb_error *err)
{
    static const struct {
        const char *key;
        enum nb_pooling pooling;
    } modes[] = {{"pooling_mode_mean_tokens", NB_POOLING_MEAN},
                 {"pooling_mode_cls_token", NB_POOLING_CLS},
                 {"pooling_mode_lasttoken", NB_POOLING_LAST}};
    struct nb_str text;
    nb_json *root = NULL;
    enum nb_status st = nb_hf_read_text(&text, m, NB_HF_POOLING, err);
    if (st == NB_OK)
        st = nb_json_parse(&root, text.data, text.len, NB_HF_POOLING, err);
    for (size_t i = 0; st == NB_OK && i < NB_COUNTOF(modes); i++) {
        bool on = false;
        if (nb_json_bool(nb_json_get(root, modes[i].key), &on) && on)
            m->w.hp.pooling = modes[i].pooling;
    }
    nb_json_free(root);
    nb_str_fini(&text);
    return st == NB_ERR_NOT_FOUND ? NB_OK : st;
}

/* ---- shards ---- */

static enum nb_status check_shard_name(const char *tensor, size_t n_tensor, const char *name,
                                       size_t n, struct nb_error *err)
{
    char quote[QUOTE_BYTES], file[QUOTE_BYTES];
    nb_printable(quote, sizeof quote, tensor, n_tensor);
    if (name == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: tensor '%s' has no file name", NB_HF_INDEX, quote);
    if (strlen(name) != n || !nb_path_is_plain_name(name))
        NB_FAIL(err, NB_ERR_FORMAT,
                "%s: tensor '%s' is in '%s', expected the plain name of a file in this folder",
                NB_HF_INDEX, quote, nb_printable(file, sizeof file, name, n));
    return NB_OK;
}

/* One line of the weight map: its file is opened when first named, and must hold the tensor. */
static enum nb_status take_entry(struct nb_model *m, struct nb_map *shards, const char *tensor,
                                 size_t n_tensor, const nb_json *value, struct nb_error *err)
{
    char quote[QUOTE_BYTES], file[QUOTE_BYTES];
    size_t n = 0;
    uint64_t shard;
    const char *name = nb_json_string(value, &n);
    NB_TRY(check_shard_name(tensor, n_tensor, name, n, err));
    if (!nb_map_get(shards, name, n, &shard)) {
        bool found = false;
        NB_TRY(has_file(m, name, &found, err));
        if (!found)
            NB_FAIL(err, NB_ERR_NOT_FOUND, "%s names '%s', which is not in this folder",
                    NB_HF_INDEX, nb_printable(file, sizeof file, name, n));
        NB_TRY(add_weights(m, name, err));
        shard = m->n_files - 1;
        if (nb_map_put(shards, name, n, shard) != NB_OK)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    if (nb_file_find(m->files[shard], tensor) == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: tensor '%s' is not in %s", NB_HF_INDEX,
                nb_printable(quote, sizeof quote, tensor, n_tensor),
                nb_printable(file, sizeof file, name, n));
    return NB_OK;
}

static void compare_total(const struct nb_model *m, const nb_json *root)
{
    int64_t total;
    uint64_t have = 0;
    for (size_t f = 0; f < m->n_files; f++)
        have += m->files[f]->map.size - m->files[f]->data_offset;
    if (nb_json_int(nb_json_get(nb_json_get(root, "metadata"), "total_size"), &total) &&
        (uint64_t)total != have)
        nb_log_msg(m->log, NB_LOG_INFO, "%s: %s says %lld bytes of tensors, the files have %llu",
                   m->path, NB_HF_INDEX, (long long)total, (unsigned long long)have);
}

static enum nb_status open_shards(struct nb_model *m, const nb_json *root, struct nb_error *err)
{
    const nb_json *weights = nb_json_get(root, "weight_map");
    struct nb_map shards;
    enum nb_status st = NB_OK;
    if (nb_json_type(weights) != NB_JSON_OBJECT || nb_json_size(weights) == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: weight_map is missing or empty", NB_HF_INDEX);
    nb_map_init(&shards, m->a);
    for (void *it = nb_json_iter(weights); it != NULL && st == NB_OK;
         it = nb_json_next(weights, it)) {
        size_t n;
        const char *tensor = nb_json_key(it, &n);
        st = take_entry(m, &shards, tensor, n, nb_json_value(it), err);
    }
    nb_map_fini(&shards);
    if (st == NB_OK)
        compare_total(m, root);
    return st;
}

static enum nb_status no_weights(const struct nb_model *m, struct nb_error *err)
{
    bool pickle = false;
    NB_TRY(has_file(m, "pytorch_model.bin", &pickle, err));
    NB_FAIL(err, NB_ERR_NOT_FOUND, "neither %s nor %s in this folder%s", NB_HF_WEIGHTS, NB_HF_INDEX,
            pickle ? " (pytorch_model.bin is not read)" : "");
}

static enum nb_status open_weights(struct nb_model *m, struct nb_error *err)
{
    struct nb_str text;
    nb_json *root = NULL;
    bool single = false;
    NB_TRY(has_file(m, NB_HF_WEIGHTS, &single, err));
    if (single)
        return add_weights(m, NB_HF_WEIGHTS, err);
    enum nb_status st = nb_hf_read_text(&text, m, NB_HF_INDEX, err);
    if (st == NB_ERR_NOT_FOUND)
        st = no_weights(m, err);
    if (st == NB_OK)
        st = nb_json_parse(&root, text.data, text.len, NB_HF_INDEX, err);
    if (st == NB_OK)
        st = open_shards(m, root, err);
    nb_json_free(root);
    nb_str_fini(&text);
    return st;
}

static enum nb_status read_weights(struct nb_model *m, const struct nb_ternary_rule *ternary,
                                   struct nb_error *err)
{
    struct nb_tensor_index x;
    struct nb_assembly how = {.hf_names = true, .ternary = *ternary};
    char head[NB_NAME_BYTES], codes[NB_NAME_BYTES];
    const char *stem = nb_arch_hf_stem(m->w.hp.arch, "output");
    (void)snprintf(head, sizeof head, "%s.weight", stem);
    (void)snprintf(codes, sizeof codes, "%s.weight.codes", stem);
    enum nb_status st = nb_tensor_index_init(&x, m, err);
    /* A head that is there although the config ties it is left out; one that is not there is tied. */
    if (m->w.hp.tied)
        how.extra_name = head;
    else
        m->w.hp.tied = !nb_tensor_index_has(&x, head) && !nb_tensor_index_has(&x, codes);
    if (st == NB_OK)
        st = nb_model_assemble(m, &x, &how, err);
    if (st == NB_OK)
        st = nb_arch_to_meta(&m->w.hp, &m->meta, err);
    nb_tensor_index_fini(&x);
    return st;
}

/* ---- the dialect ---- */

static bool reads(const char *path)
{
    return nb_path_is_dir(path);
}

static enum nb_status open_hf(struct nb_model *m, struct nb_error *err)
{
    struct nb_ternary_rule ternary = {0};
    enum nb_status st = read_config(m, &ternary, err);
    if (st == NB_OK)
        st = read_pooling(m, err);
    if (st == NB_OK)
        st = open_weights(m, err);
    if (st == NB_OK)
        st = m->unknown ? nb_any_assemble(m, err) : read_weights(m, &ternary, err);
    if (st == NB_OK && !m->unknown)
        st = nb_hf_read_tokenizer(m, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "%s", m->path);
    if (m->unknown)
        return NB_OK;
    return nb_tokenizer_fits(m, err);
}

const struct nb_dialect nb_dialect_hf = {
    .name = "hf",
    .summary = "a Hugging Face folder: config.json, safetensors, tokenizer.json",
    .reads = reads,
    .open = open_hf,
    .writes = nb_hf_writes,
    .stored_type = nb_hf_stored_type,
    .bytes = nb_hf_bytes,
    .begin = nb_hf_begin,
    .append = nb_hf_append,
    .patch = nb_hf_patch,
    .commit = nb_hf_commit,
    .abort = nb_hf_abort,
};
