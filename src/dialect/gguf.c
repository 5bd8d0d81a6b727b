/* dialect/gguf.c: models in GGUF files, as llama.cpp reads and writes them (docs/formats/gguf.md).
 *
 * Reading keeps metadata that nibble does not know. Writing: vectors in f32, exact metadata types,
 * provenance under "nibble.".
 * Left out: split files.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#define QUANTIZATION_VERSION 2

/* ---- reading ---- */

static bool reads(const char *path)
{
    return nb_str_ends(path, nb_container_gguf.suffix) && !nb_path_is_dir(path);
}

static enum nb_status refuse_split(const struct nb_file *f, struct nb_error *err)
{
    const struct nb_meta_kv *kv = nb_meta_find(&f->meta, "split.count");
    int64_t n;
    if (kv != NULL && nb_meta_item_i64(kv, 0, &n) && n > 1)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "%s: one of %lld parts of a split model; merge them first (llama-gguf-split "
                "--merge)",
                f->path, (long long)n);
    return NB_OK;
}

static enum nb_status find_arch(struct nb_model *m, const struct nb_file *f, struct nb_error *err)
{
    struct nb_text name;
    char quote[64], list[NB_ARCH_LIST_BYTES], text[64] = "";
    if (!nb_meta_text(&f->meta, "general.architecture", &name))
        NB_FAIL(err, NB_ERR_FORMAT, "%s: metadata: general.architecture is missing", f->path);
    if (name.n < sizeof text)
        memcpy(text, name.s, name.n);
    m->w.hp.arch = nb_arch_by_name(text);
    m->unknown = m->w.hp.arch == NULL;
    if (m->unknown && m->any_arch)
        return nb_any_arch(m, name.s, name.n, err);
    if (m->unknown)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "%s: architecture '%s' is not supported; " NB_ANY_HINT "; supported: %s", f->path,
                nb_printable(quote, sizeof quote, name.s, name.n), nb_arch_list(list, sizeof list));
    return NB_OK;
}

static enum nb_status share_meta(struct nb_model *m, const struct nb_file *f, struct nb_error *err)
{
    for (size_t i = 0; i < f->meta.n; i++) {
        const struct nb_meta_kv *kv = &f->meta.kv[i];
        if (nb_str_starts(kv->key, "split."))
            continue;
        struct nb_meta *to = nb_str_starts(kv->key, "tokenizer.") ? &m->tokenizer_meta : &m->meta;
        if (nb_meta_borrow(to, kv) != NB_OK)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for metadata");
    }
    return NB_OK;
}

/* Numbers from metadata, the rest from what tensors there are. */
static enum nb_status read_hparams(struct nb_model *m, struct nb_tensor_index *x,
                                   struct nb_error *err)
{
    const struct nb_arch *arch = m->w.hp.arch;
    NB_TRY(nb_arch_from_meta(arch, &m->w.hp, &m->meta, err));
    if (m->w.hp.rope.scaling != NB_ROPE_NONE && nb_tensor_index_has(x, NB_ROPE_DIVISORS_NAME))
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "metadata: %s.rope.scaling and tensor '%s': one or the other, not both", arch->name,
                NB_ROPE_DIVISORS_NAME);
    nb_arch_detect(&m->w.hp, nb_tensor_index_has, x);
    if (m->w.hp.n_token_types > 0)
        (void)nb_meta_u32(&m->tokenizer_meta, "tokenizer.ggml.token_type_count",
                          &m->w.hp.n_token_types);
    if (m->w.hp.n_vocab == 0) {
        const struct nb_tensor *embd = nb_file_find(m->files[0], "token_embd.weight");
        if (embd == NULL || embd->shape.n != 2 || embd->shape.dim[0] == 0 ||
            embd->shape.dim[0] > INT32_MAX)
            NB_FAIL(err, NB_ERR_FORMAT, "tensor 'token_embd.weight' is missing or no matrix");
        m->w.hp.n_vocab = (uint32_t)embd->shape.dim[0];
    }
    return NB_OK;
}

static enum nb_status read_weights(struct nb_model *m, struct nb_error *err)
{
    struct nb_tensor_index x;
    enum nb_status st = nb_tensor_index_init(&x, m, err);
    if (st == NB_OK)
        st = read_hparams(m, &x, err);
    if (st == NB_OK)
        st = nb_model_assemble(m, &x, &(struct nb_assembly){.hf_names = false}, err);
    nb_tensor_index_fini(&x);
    return st;
}

static enum nb_status share_template(struct nb_model *m, struct nb_error *err)
{
    struct nb_text t;
    if (!nb_meta_text(&m->tokenizer_meta, "tokenizer.chat_template", &t))
        return NB_OK;
    m->chat_template = nb_arena_strndup(&m->arena, t.s, t.n);
    if (m->chat_template == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    return NB_OK;
}

static enum nb_status open_gguf(struct nb_model *m, struct nb_error *err)
{
    NB_TRY(nb_model_add_file(m, m->path, err));
    const struct nb_file *f = m->files[0];
    if (f->container != &nb_container_gguf)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "%s: a %s file alone does not say what model it is; give its folder (with %s)",
                m->path, f->container->name, NB_HF_CONFIG);
    NB_TRY(refuse_split(f, err));
    NB_TRY(find_arch(m, f, err));
    NB_TRY(share_meta(m, f, err));
    enum nb_status st = m->unknown ? nb_any_assemble(m, err) : read_weights(m, err);
    if (st == NB_OK && !m->unknown)
        st = nb_tokenizer_from_meta(m, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "%s", m->path);
    if (m->unknown)
        return NB_OK;
    NB_TRY(nb_tokenizer_fits(m, err));
    return share_template(m, err);
}

/* ---- writing ---- */

static bool writes(const char *path)
{
    return nb_str_ends(path, nb_container_gguf.suffix);
}

/* The reference keeps vectors in f32: its operators want them so. */
static const struct nb_numfmt *stored_type(const struct nb_model *m, size_t i,
                                           const struct nb_numfmt *wanted)
{
    return m->unknown || m->items[i].spec.quantizable ? wanted : &nb_numfmt_f32;
}

static bool any_blocks(const struct nb_export_spec *s)
{
    for (size_t i = 0; i < s->model->w.n; i++)
        if (s->types[i]->kind == NB_NUMFMT_BLOCK)
            return true;
    return false;
}

/* Are the weights stored as the source stores them? */
static bool same_types(const struct nb_export_spec *s)
{
    for (size_t i = 0; i < s->model->w.n; i++)
        if (s->types[i] != s->model->w.items[i].t.type)
            return false;
    return true;
}

/* What is said anew in every file; what was rounded by importance says so as long as it stays as it is. */
static bool replaced(const struct nb_export *e, const char *key)
{
    if (nb_str_starts(key, "quantize.imatrix."))
        return nb_meta_find(&e->extra, key) != NULL || !same_types(&e->spec);
    return strcmp(key, "general.file_type") == 0 || strcmp(key, "general.alignment") == 0 ||
           strcmp(key, "general.quantization_version") == 0 ||
           (nb_str_starts(key, "nibble.") && !nb_str_starts(key, "nibble.rope"));
}

static enum nb_status fill_meta(const struct nb_export *e, struct nb_meta *meta,
                                struct nb_error *err)
{
    const struct nb_model *m = e->spec.model;
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < m->meta.n && st == NB_OK; i++)
        if (!replaced(e, m->meta.kv[i].key))
            st = nb_meta_borrow(meta, &m->meta.kv[i]);
    if (st == NB_OK)
        st = nb_meta_set_u32(meta, "general.file_type", e->spec.gguf_ftype);
    if (st == NB_OK && any_blocks(&e->spec))
        st = nb_meta_set_u32(meta, "general.quantization_version", QUANTIZATION_VERSION);
    for (size_t i = 0; i < e->extra.n && st == NB_OK; i++)
        st = nb_meta_borrow(meta, &e->extra.kv[i]);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for metadata");
    return nb_tokenizer_to_meta(m, meta, err);
}

static enum nb_status bytes(struct nb_export *e, uint64_t *n, struct nb_error *err)
{
    struct nb_meta meta;
    nb_meta_init(&meta, e->a);
    enum nb_status st = nb_export_declare(e, &nb_container_gguf, 0, e->n_order, false, err);
    if (st == NB_OK)
        st = fill_meta(e, &meta, err);
    if (st == NB_OK)
        st = nb_writer_bytes(e->writer, &meta, n, err);
    nb_meta_fini(&meta);
    return st;
}

static enum nb_status begin(struct nb_export *e, const char *path, unsigned out_flags,
                            struct nb_error *err)
{
    struct nb_meta meta;
    nb_meta_init(&meta, e->a);
    enum nb_status st = nb_export_declare(e, &nb_container_gguf, 0, e->n_order, false, err);
    if (st == NB_OK)
        st = fill_meta(e, &meta, err);
    if (st == NB_OK)
        st = nb_writer_begin(e->writer, path, out_flags, &meta, err);
    nb_meta_fini(&meta);
    return st;
}

static enum nb_status append(struct nb_export *e, const uint8_t *data, size_t n,
                             struct nb_error *err)
{
    return nb_writer_append(e->writer, data, n, err);
}

/* Where the text lies is asked of the reader: the file under way is opened like any other. */
static enum nb_status patch(struct nb_export *e, const char *key, const char *text, size_t n,
                            struct nb_error *err)
{
    struct nb_out *out = &e->writer->out;
    struct nb_file *f;
    struct nb_text old;
    NB_TRY(nb_file_open(&f, out->partial, e->a, err));
    enum nb_status st = NB_OK;
    if (nb_meta_text(&f->meta, key, &old) && old.n == n)
        st = nb_out_patch(out, (uint64_t)((const uint8_t *)old.s - f->map.data), text, n, err);
    else
        st = NB_ERROR(err, NB_ERR_INTERNAL, "%s: key '%s' cannot be patched", out->path, key);
    nb_file_close(f);
    return st;
}

static enum nb_status commit(struct nb_export *e, struct nb_error *err)
{
    return nb_writer_commit(e->writer, err);
}

static void abort_gguf(struct nb_export *e)
{
    (void)e; /* the writer takes its file with it */
}

const struct nb_dialect nb_dialect_gguf = {
    .name = "gguf",
    .summary = "one GGUF file, as llama.cpp reads it",
    .reads = reads,
    .open = open_gguf,
    .writes = writes,
    .stored_type = stored_type,
    .bytes = bytes,
    .begin = begin,
    .append = append,
    .patch = patch,
    .commit = commit,
    .abort = abort_gguf,
};
