/* dialect/model.c: opening a model of any convention, and reading its weights row by row.
 *
 * Weights stay in the mapping. Rows of Q and K that a Hugging Face file pairs as halves come out in
 * canonical order, as interleaved pairs (docs/formats/gguf.md).
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#include "numfmt/grid.h"

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

enum nb_status nb_model_open(struct nb_model **out, const char *path, const struct nb_allocator *a,
                             const struct nb_log *log, struct nb_error *err)
{
    *out = NULL;
    if (!nb_path_exists(path))
        NB_FAIL(err, NB_ERR_NOT_FOUND,
                "%s: no such file or folder; a model is a .gguf file or a folder with %s", path,
                NB_HF_CONFIG);
    struct nb_model *m = model_create(path, a, log);
    if (m == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory", path);
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

/* ---- rows ---- */

static uint64_t row_bytes(const struct nb_weight *w)
{
    const uint64_t rows = nb_shape_rows(&w->t.shape);
    return rows == 0 ? 0 : w->t.bytes / rows;
}

/* Rows lie in another order than the canonical one. */
static bool permuted(const struct nb_model *m, size_t i)
{
    const struct nb_weight *w = &m->items[i];
    return w->spec.perm_heads > 0 && m->w.rope_halves && !m->w.hp.arch->rope_halves_gguf &&
           w->t.shape.n == 2;
}

/* gguf_row[h hd + 2i + j] = hf_row[h hd + j hd/2 + i] */
static uint64_t stored_row(const struct nb_model *m, size_t i, uint64_t row)
{
    const struct nb_weight *w = &m->items[i];
    if (!permuted(m, i))
        return row;
    const uint64_t hd = w->t.shape.dim[0] / w->spec.perm_heads;
    const uint64_t r = row % hd;
    return row - r + r % 2 * (hd / 2) + r / 2;
}

const uint8_t *nb_model_row(const struct nb_model *m, size_t i, uint64_t row)
{
    const struct nb_weight *w = &m->items[i];
    if (m->canonical[i] != NULL)
        return m->canonical[i];
    return w->t.data + stored_row(m, i, row) * row_bytes(w);
}

const uint8_t *nb_model_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                             uint8_t *scratch)
{
    const bool grid = m->items[i].t.type->kind == NB_NUMFMT_GRID;
    if (!grid && !permuted(m, i))
        return nb_model_row(m, i, row);
    const uint64_t bytes = row_bytes(&m->items[i]);
    for (uint64_t r = 0; r < n_rows; r++) {
        if (grid)
            nb_grid_record(&m->items[i].t, stored_row(m, i, row + r), scratch + r * bytes);
        else
            memcpy(scratch + r * bytes, nb_model_row(m, i, row + r), bytes);
    }
    return scratch;
}

void nb_model_read_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                        float *dst)
{
    const struct nb_tensor *t = &m->items[i].t;
    const size_t cols = (size_t)nb_shape_cols(&t->shape);
    if (m->canonical[i] != NULL)
        nb_numfmt_decode(t->type, m->canonical[i], dst, (size_t)n_rows * cols);
    else if (!permuted(m, i))
        nb_tensor_decode(t, row, n_rows, dst);
    else
        for (uint64_t r = 0; r < n_rows; r++)
            nb_tensor_decode(t, stored_row(m, i, row + r), 1, dst + r * cols);
}

void nb_model_drop_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows)
{
    const struct nb_weight *w = &m->items[i];
    if (m->file_of[i] == NULL || n_rows == 0 || w->t.data == NULL)
        return;
    uint64_t end = row + n_rows;
    if (permuted(m, i)) { /* rows of a head are spread over all of it */
        const uint64_t hd = w->t.shape.dim[0] / w->spec.perm_heads;
        row -= row % hd;
        end = (end + hd - 1) / hd * hd;
    }
    const uint64_t bytes = row_bytes(w);
    nb_mapping_dontneed(&m->file_of[i]->map, w->t.offset + row * bytes, (end - row) * bytes);
}
