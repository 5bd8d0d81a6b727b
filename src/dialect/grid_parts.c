/* dialect/grid_parts.c: tensors on general grids as named parts of a safetensors file (docs/formats/grids.md).
 *
 * Tensor "x" of format F becomes "x.codes", "x.scales" and so on, and the file's metadata says
 * "nibble.type.x": "F". The parts lie behind each other in the order of enum nb_part.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#include "numfmt/grid.h"

#define QUOTE_BYTES 96
#define NAME_BYTES  (NB_NAME_BYTES + 16)

/* "x.codes"; false: longer than any name may be. */
static bool part_name(char dst[NAME_BYTES], const char *name, const char *part)
{
    const size_t n = strlen(name), m = strlen(part);
    if (n + m + 2 > NAME_BYTES)
        return false;
    memcpy(dst, name, n);
    dst[n] = '.';
    memcpy(dst + n + 1, part, m + 1);
    return true;
}

/* ---- writing ---- */

enum nb_status nb_grid_declare(struct nb_writer *w, const char *name, const struct nb_numfmt *type,
                               const struct nb_shape *shape, struct nb_error *err)
{
    char full[NAME_BYTES];
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part p = nb_grid_part(type, shape, (enum nb_part)i);
        if (p.type == NULL)
            continue;
        if (!part_name(full, name, p.name))
            NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s': the name is too long", name);
        NB_TRY(nb_writer_add(w, full, p.type, &p.shape, err));
    }
    return NB_OK;
}

struct nb_grid_writer {
    const struct nb_allocator *a;
    struct nb_writer *w;
    struct nb_grid_part part[NB_MAX_PARTS];
    uint8_t *held[NB_MAX_PARTS]; /* all of a part but codes */
    uint64_t n_held[NB_MAX_PARTS];
    int current;        /* part of the record, or of the end, being filled */
    uint64_t at;        /* bytes of it so far */
    uint64_t row, rows; /* row == rows: the tensor-wide parts */
};

/* On to a part that wants bytes; NB_MAX_PARTS when all have theirs. */
static void settle(struct nb_grid_writer *g)
{
    for (;;) {
        if (g->current == NB_MAX_PARTS && g->row < g->rows) {
            g->row++;
            g->current = 0;
        }
        if (g->current == NB_MAX_PARTS)
            return;
        const struct nb_grid_part *p = &g->part[g->current];
        const bool now = p->type != NULL && p->per_row == (g->row < g->rows);
        if (now && g->at < (p->per_row ? p->row_bytes : p->bytes))
            return;
        g->at = 0;
        g->current++;
    }
}

enum nb_status nb_grid_writer_create(struct nb_grid_writer **out, struct nb_writer *w,
                                     const struct nb_numfmt *type, const struct nb_shape *shape,
                                     const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_grid_writer *g = nb_alloc_zero(a, 1, sizeof *g);
    if (g == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    g->a = a;
    g->w = w;
    g->rows = nb_shape_rows(shape);
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        g->part[i] = nb_grid_part(type, shape, (enum nb_part)i);
        if (i == NB_PART_CODES || g->part[i].type == NULL)
            continue;
        g->held[i] = nb_alloc(a, (size_t)g->part[i].bytes, 1);
        if (g->held[i] == NULL) {
            const char *part = g->part[i].name;
            nb_grid_writer_destroy(g);
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the %s of a tensor", part);
        }
    }
    settle(g);
    *out = g;
    return NB_OK;
}

void nb_grid_writer_destroy(struct nb_grid_writer *g)
{
    if (g == NULL)
        return;
    for (int i = 0; i < NB_MAX_PARTS; i++)
        nb_free(g->a, g->held[i]);
    nb_free(g->a, g);
}

static enum nb_status finish(const struct nb_grid_writer *g, struct nb_error *err)
{
    for (int i = NB_PART_CODES + 1; i < NB_MAX_PARTS; i++)
        if (g->held[i] != NULL)
            NB_TRY(nb_writer_append(g->w, g->held[i], (size_t)g->n_held[i], err));
    return NB_OK;
}

enum nb_status nb_grid_writer_append(struct nb_grid_writer *g, const uint8_t *data, size_t n,
                                     struct nb_error *err)
{
    while (n > 0) {
        if (g->current == NB_MAX_PARTS)
            NB_FAIL(err, NB_ERR_INTERNAL, "%zu bytes more than the tensor has", n);
        const struct nb_grid_part *p = &g->part[g->current];
        const uint64_t want = (p->per_row ? p->row_bytes : p->bytes) - g->at;
        const size_t take = (size_t)NB_MIN((uint64_t)n, want);
        if (g->current == NB_PART_CODES)
            NB_TRY(nb_writer_append(g->w, data, take, err));
        else
            memcpy(g->held[g->current] + g->n_held[g->current], data, take);
        g->n_held[g->current] += take;
        g->at += take;
        data += take;
        n -= take;
        settle(g);
    }
    return g->current == NB_MAX_PARTS ? finish(g, err) : NB_OK;
}

/* ---- reading ---- */

static enum nb_status find_type(const struct nb_file *f, const char *name,
                                const struct nb_numfmt **type, struct nb_error *err)
{
    char key[NAME_BYTES + sizeof NB_GRID_META_PREFIX], quote[QUOTE_BYTES], text[64] = "";
    struct nb_text value;
    const size_t n = strlen(name), prefix = sizeof NB_GRID_META_PREFIX - 1;
    memcpy(key, NB_GRID_META_PREFIX, prefix);
    memcpy(key + prefix, name, n + 1);
    if (!nb_meta_text(&f->meta, key, &value))
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' lies in parts, but %s has no '%s' to say how",
                name, f->path, key);
    if (value.n < sizeof text)
        memcpy(text, value.s, value.n);
    *type = nb_numfmt_find(text);
    if (*type == NULL || (*type)->kind != NB_NUMFMT_GRID)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "tensor '%s': '%s' is no general grid that nibble knows (nibble list formats)",
                name, nb_printable(quote, sizeof quote, value.s, value.n));
    return NB_OK;
}

/* One part: there, with its type and shape. */
static enum nb_status find_part(const struct nb_model *m, const struct nb_tensor_index *x,
                                const char *name, const struct nb_grid_part *p, uint64_t *at,
                                struct nb_error *err)
{
    char full[NAME_BYTES], have[NB_SHAPE_TEXT_BYTES], want[NB_SHAPE_TEXT_BYTES];
    if (!part_name(full, name, p->name) || !nb_map_get(&x->names, full, strlen(full), at))
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s': its %s are missing", name, p->name);
    const struct nb_tensor *t = &m->files[*at >> 32]->tensors[*at & UINT32_MAX];
    if (t->type != p->type || !nb_shape_eq(&t->shape, &p->shape))
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is %s of %s, expected %s of %s", full,
                nb_shape_text(&t->shape, have), t->type->name, nb_shape_text(&p->shape, want),
                p->type->name);
    return NB_OK;
}

enum nb_status nb_grid_find(struct nb_model *m, const struct nb_tensor_index *x, const char *name,
                            const struct nb_shape *shape, struct nb_tensor *t,
                            uint64_t part_at[NB_MAX_PARTS], bool *found, struct nb_error *err)
{
    char full[NAME_BYTES];
    uint64_t at, bytes;
    *found = part_name(full, name, "codes") && nb_map_get(&x->names, full, strlen(full), &at);
    if (!*found)
        return NB_OK;
    const struct nb_numfmt *type = NULL;
    struct nb_parts *parts = nb_arena_alloc(&m->arena, 1, sizeof *parts);
    if (parts == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    *parts = (struct nb_parts){.first = 0};
    NB_TRY(find_type(m->files[at >> 32], name, &type, err));
    enum nb_status st = nb_numfmt_bytes(type, shape, &bytes, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "tensor '%s'", name);
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part p = nb_grid_part(type, shape, (enum nb_part)i);
        part_at[i] = UINT64_MAX;
        if (p.type == NULL)
            continue;
        NB_TRY(find_part(m, x, name, &p, &part_at[i], err));
        parts->at[i] = m->files[part_at[i] >> 32]->tensors[part_at[i] & UINT32_MAX].data;
        parts->stride[i] = p.per_row ? (size_t)p.row_bytes : 0;
    }
    *t = (struct nb_tensor){
        .name = name, .type = type, .shape = *shape, .bytes = bytes, .parts = parts};
    return nb_grid_check(t, err);
}
