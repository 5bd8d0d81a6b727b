/* dialect/export.c: writing a model by any convention: the part that all share. */
#include "dialect/dialect_internal.h"

#include <string.h>

#include "numfmt/grid.h"

const struct nb_dialect *nb_export_dialect(const char *path)
{
    size_t n;
    const struct nb_dialect *const *all = nb_dialect_all(&n);
    for (size_t i = 0; i < n; i++)
        if (all[i]->writes(path))
            return all[i];
    return NULL;
}

const struct nb_numfmt *nb_export_type(const char *path, const struct nb_model *m, size_t i,
                                       const struct nb_numfmt *wanted)
{
    return nb_export_dialect(path)->stored_type(m, i, wanted);
}

/* Weights that the convention stores, in canonical order. */
static enum nb_status fill_order(struct nb_export *e, struct nb_error *err)
{
    const struct nb_model *m = e->spec.model;
    e->order = nb_arena_alloc(&e->arena, m->w.n, sizeof *e->order);
    if (e->order == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < m->w.n; i++)
        if (e->dialect->stored_type(m, i, e->spec.types[i]) != NULL)
            e->order[e->n_order++] = i;
    return NB_OK;
}

static enum nb_status create(struct nb_export **out, const char *path,
                             const struct nb_export_spec *spec, const struct nb_allocator *a,
                             struct nb_error *err)
{
    *out = NULL;
    struct nb_export *e = nb_alloc_zero(a, 1, sizeof *e);
    if (e == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    e->a = a;
    e->spec = *spec;
    e->dialect = nb_export_dialect(path);
    nb_arena_init(&e->arena, a, 16384);
    nb_meta_init(&e->extra, a);
    nb_meta_init(&e->shard_meta, a);
    enum nb_status st = NB_OK;
    if (spec->model->unknown && e->dialect != spec->model->dialect)
        st =
            NB_ERROR(err, NB_ERR_UNSUPPORTED,
                     "architecture '%s' is not known to nibble: from %s to %s nobody knows the way",
                     spec->model->w.hp.arch->name, spec->model->dialect->name, e->dialect->name);
    if (st == NB_OK)
        st = fill_order(e, err);
    for (size_t i = 0; spec->extra != NULL && i < spec->extra->n && st == NB_OK; i++)
        if (nb_meta_set_kv(&e->extra, &spec->extra->kv[i]) != NB_OK)
            st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory");
    if (st != NB_OK) {
        nb_export_destroy(e);
        return st;
    }
    *out = e;
    return NB_OK;
}

enum nb_status nb_export_begin(struct nb_export **out, const char *path, unsigned out_flags,
                               const struct nb_export_spec *spec, const struct nb_allocator *a,
                               struct nb_error *err)
{
    struct nb_export *e;
    *out = NULL;
    NB_TRY(create(&e, path, spec, a, err));
    const enum nb_status st = e->dialect->begin(e, path, out_flags, err);
    if (st != NB_OK) {
        nb_export_destroy(e);
        return st;
    }
    *out = e;
    return NB_OK;
}

enum nb_status nb_export_bytes(const char *path, const struct nb_export_spec *spec, uint64_t *bytes,
                               const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_export *e;
    NB_TRY(create(&e, path, spec, a, err));
    const enum nb_status st = e->dialect->bytes(e, bytes, err);
    nb_export_destroy(e);
    return st;
}

const size_t *nb_export_order(const struct nb_export *e, size_t *n)
{
    *n = e->n_order;
    return e->order;
}

enum nb_status nb_export_append(struct nb_export *e, const void *data, size_t n,
                                struct nb_error *err)
{
    return e->dialect->append(e, data, n, err);
}

enum nb_status nb_export_patch(struct nb_export *e, const char *key, const char *text, size_t n,
                               struct nb_error *err)
{
    return e->dialect->patch(e, key, text, n, err);
}

enum nb_status nb_export_commit(struct nb_export *e, struct nb_error *err)
{
    return e->dialect->commit(e, err);
}

void nb_export_destroy(struct nb_export *e)
{
    if (e == NULL)
        return;
    nb_grid_writer_destroy(e->grid);
    nb_writer_destroy(e->writer);
    e->dialect->abort(e);
    nb_meta_fini(&e->shard_meta);
    nb_meta_fini(&e->extra);
    nb_free(e->a, e->head);
    nb_free(e->a, e->gate);
    nb_arena_fini(&e->arena);
    nb_free(e->a, e);
}

uint64_t nb_export_weight_bytes(const struct nb_export *e, size_t i)
{
    uint64_t bytes = 0;
    if (nb_numfmt_bytes(e->spec.types[i], &e->spec.model->items[i].t.shape, &bytes, NULL) != NB_OK)
        return 0; /* the writer refuses it by name */
    return bytes + nb_export_side_bytes(e, i);
}

uint64_t nb_export_side_bytes(const struct nb_export *e, size_t i)
{
    const struct nb_numfmt *type = e->spec.types[i];
    if (type->kind != NB_NUMFMT_GRID)
        return 0;
    return nb_grid_side_bytes(type, &e->spec.model->items[i].t.shape);
}

static enum nb_status declare_hf(struct nb_export *e, const struct nb_weight *w,
                                 const struct nb_numfmt *type, const struct nb_shape *shape,
                                 struct nb_error *err)
{
    char name[NB_HF_NAME_BYTES];
    if (type->kind == NB_NUMFMT_GRID)
        return nb_grid_declare(e->writer, nb_form_name(&w->spec, NB_ALL_EXPERTS, name), type,
                               &w->t.shape, err);
    for (uint64_t i = 0; i < nb_form_tensors(&w->spec, type); i++)
        NB_TRY(nb_writer_add(e->writer, nb_form_name(&w->spec, i, name), type, shape, err));
    return NB_OK;
}

enum nb_status nb_export_declare(struct nb_export *e, const struct nb_container *c, size_t first,
                                 size_t count, bool hf_names, struct nb_error *err)
{
    nb_writer_destroy(e->writer);
    e->writer = NULL;
    NB_TRY(nb_writer_create(&e->writer, c, e->a, err));
    for (size_t k = first; k < first + count; k++) {
        const struct nb_weight *w = &e->spec.model->items[e->order[k]];
        const struct nb_numfmt *type = e->spec.types[e->order[k]];
        const struct nb_shape shape = nb_form_shape(&w->spec, hf_names);
        if (hf_names)
            NB_TRY(declare_hf(e, w, type, &shape, err));
        else
            NB_TRY(nb_writer_add(e->writer, w->spec.name, type, &shape, err));
    }
    return NB_OK;
}
