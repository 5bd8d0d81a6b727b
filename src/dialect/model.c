/* dialect/model.c: opening a model of any convention. Weights stay in the mapping (rows.c). */
#include "dialect/dialect_internal.h"

#include <string.h>

#define MODEL_CHUNK_BYTES 65536

static const struct nb_dialect *const dialects[] = {
#define NB_DIALECT(id) &nb_dialect_##id,
#include "dialect/registry.inc"
#undef NB_DIALECT
};

const struct nb_dialect *const *nb_dialect_all(size_t *n)
{
    *n = NB_COUNTOF(dialects);
    return dialects;
}

const char *nb_arch_list(char *dst, size_t cap)
{
    size_t n, at = 0;
    const struct nb_arch *const *all = nb_arch_all(&n);
    dst[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const size_t len = strlen(all[i]->name);
        if (nb_arch_by_name(all[i]->name) != all[i]) /* GGUF calls it as another (mixtral) */
            continue;
        if (at + len + 3 > cap)
            break;
        if (i > 0) {
            memcpy(dst + at, ", ", 2);
            at += 2;
        }
        memcpy(dst + at, all[i]->name, len + 1);
        at += len;
    }
    return dst;
}

/* ---- opening ---- */

static struct nb_model *model_create(const char *path, const struct nb_allocator *a,
                                     const struct nb_log *log)
{
    struct nb_model *m = nb_alloc_zero(a, 1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->a = a;
    m->log = log;
    nb_arena_init(&m->arena, a, MODEL_CHUNK_BYTES);
    nb_map_init(&m->names, a);
    nb_meta_init(&m->meta, a);
    nb_meta_init(&m->tokenizer_meta, a);
    m->w.names = &m->names;
    m->path = nb_strndup(a, path, strlen(path));
    if (m->path == NULL) {
        nb_model_close(m);
        return NULL;
    }
    return m;
}

static enum nb_status open_model(struct nb_model **out, const char *path, bool any,
                                 const struct nb_allocator *a, const struct nb_log *log,
                                 struct nb_error *err)
{
    *out = NULL;
    if (!nb_path_exists(path))
        NB_FAIL(err, NB_ERR_NOT_FOUND,
                "%s: no such file or folder; a model is a .gguf file or a folder with %s", path,
                NB_HF_CONFIG);
    struct nb_model *m = model_create(path, a, log);
    if (m == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory", path);
    m->any_arch = any;
    for (size_t i = 0; i < NB_COUNTOF(dialects) && m->dialect == NULL; i++)
        if (dialects[i]->reads(path))
            m->dialect = dialects[i];
    if (m->dialect == NULL)
        m->dialect = dialects[0]; /* a file: opening it says what it is instead */
    const enum nb_status st = m->dialect->open(m, err);
    if (st != NB_OK) {
        nb_model_close(m);
        return st;
    }
    *out = m;
    return NB_OK;
}

enum nb_status nb_model_open(struct nb_model **out, const char *path, const struct nb_allocator *a,
                             const struct nb_log *log, struct nb_error *err)
{
    return open_model(out, path, false, a, log, err);
}

enum nb_status nb_model_open_any(struct nb_model **out, const char *path,
                                 const struct nb_allocator *a, const struct nb_log *log,
                                 struct nb_error *err)
{
    return open_model(out, path, true, a, log, err);
}

void nb_model_close(struct nb_model *m)
{
    if (m == NULL)
        return;
    nb_tokenizer_destroy(m->tokenizer);
    nb_meta_fini(&m->tokenizer_meta);
    nb_meta_fini(&m->meta);
    nb_map_fini(&m->names);
    nb_arena_fini(&m->arena);
    for (size_t i = 0; i < m->n_files; i++)
        nb_file_close(m->files[i]);
    nb_free(m->a, m->files);
    nb_free(m->a, m->path);
    nb_free(m->a, m);
}

enum nb_status nb_model_add_file(struct nb_model *m, const char *path, struct nb_error *err)
{
    if (!nb_grow(m->a, &m->files, &m->cap_files, m->n_files, sizeof *m->files))
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory", path);
    struct nb_file *f;
    NB_TRY(nb_file_open(&f, path, m->a, err));
    m->files[m->n_files++] = f;
    m->file_bytes += f->map.size;
    return NB_OK;
}

enum nb_status nb_meta_borrow(struct nb_meta *m, const struct nb_meta_kv *kv)
{
    if (!nb_grow(m->a, &m->kv, &m->cap, m->n, sizeof *m->kv))
        return NB_ERR_NOMEM;
    m->kv[m->n++] = *kv;
    return NB_OK;
}
