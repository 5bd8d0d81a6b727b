/* dialect/rows.c: weights row by row in canonical order, however their file holds them.
 *
 * Weights stay in the mapping. A Hugging Face file may pair rows of Q and K as halves, mix the rows of q,
 * k and v head by head, or hold a matrix transposed (enum nb_hf_form, docs/formats/gguf.md): such rows
 * are gathered when they are read. A session multiplies by matrices where they lie, so those it cannot
 * take as they are get a copy first (nb_model_settle).
 */
#include "dialect/dialect_internal.h"

#include <stdio.h>
#include <string.h>

#include "numfmt/grid.h"

static uint64_t row_bytes(const struct nb_weight *w)
{
    const uint64_t rows = nb_shape_rows(&w->t.shape);
    return rows == 0 ? 0 : w->t.bytes / rows;
}

uint64_t nb_form_row(const struct nb_tensor_spec *spec, uint64_t row)
{
    const uint64_t n = spec->shape.dim[0];
    if (spec->form == NB_HF_PAIRS) { /* gguf_row[h hd + 2i + j] = hf_row[h hd + j hd/2 + i] */
        const uint64_t hd = n / spec->heads, r = row % hd;
        return row - r + r % 2 * (hd / 2) + r / 2;
    }
    if (spec->form == NB_HF_QKV) { /* gguf_row[p n/3 + h hd + i] = hf_row[(3h + p) hd + i] */
        const uint64_t hd = n / 3 / spec->heads, p = row / (n / 3), r = row % (n / 3);
        return (3 * (r / hd) + p) * hd + r % hd;
    }
    return row;
}

struct nb_shape nb_form_shape(const struct nb_tensor_spec *spec, bool hf)
{
    struct nb_shape s = spec->shape;
    if (!hf)
        return s;
    if (spec->form == NB_HF_TRANSPOSED)
        return nb_shape_2(s.dim[1], s.dim[0]);
    if (spec->form == NB_HF_ROW)
        return nb_shape_2(1, s.dim[0]);
    if (spec->form == NB_HF_EXPERTS)
        return nb_shape_slab(&s);
    if (spec->form == NB_HF_TAIL)
        s.dim[0] += spec->heads;
    if (spec->form == NB_HF_GATE_HALF || spec->form == NB_HF_UP_HALF)
        s.dim[1] *= 2;
    return s;
}

const char *nb_form_name(const struct nb_tensor_spec *spec, uint64_t expert,
                         char dst[NB_HF_NAME_BYTES])
{
    const char *hole = spec->form == NB_HF_EXPERTS ? strstr(spec->hf, "{}") : NULL;
    if (hole == NULL)
        return spec->hf;
    const int before = (int)(hole - spec->hf);
    if (expert == NB_ALL_EXPERTS) /* without ".{}" */
        (void)snprintf(dst, NB_HF_NAME_BYTES, "%.*s%s", before - 1, spec->hf, hole + 2);
    else
        (void)snprintf(dst, NB_HF_NAME_BYTES, "%.*s%u%s", before, spec->hf, (unsigned)expert,
                       hole + 2);
    return dst;
}

uint64_t nb_form_tensors(const struct nb_tensor_spec *spec, const struct nb_numfmt *type)
{
    if (spec->form == NB_HF_GATE_HALF)
        return 0; /* it goes out with the other half */
    return spec->form == NB_HF_EXPERTS && type->kind != NB_NUMFMT_GRID ? spec->shape.dim[0] : 1;
}

static const uint8_t *stored_row(const struct nb_model *m, size_t i, uint64_t row)
{
    const struct nb_weight *w = &m->items[i];
    if (w->stored != NB_HF_PLAIN)
        row = nb_form_row(&w->spec, row);
    return nb_tensor_row(&w->t, row);
}

const uint8_t *nb_model_row(const struct nb_model *m, size_t i, uint64_t row)
{
    return m->canonical[i] != NULL ? m->canonical[i] : stored_row(m, i, row);
}

/* Columns [row, row + n) of a (cols, rows) matrix as rows. */
static void gather_columns(const struct nb_weight *w, uint64_t row, uint64_t n, uint8_t *dst)
{
    const uint64_t rows = w->t.shape.dim[0], cols = w->t.shape.dim[1];
    const size_t size = w->t.type->block_bytes; /* a float type: blocks of one */
    for (uint64_t c = 0; c < cols; c++)
        for (uint64_t r = 0; r < n; r++)
            memcpy(dst + (r * cols + c) * size, w->t.data + (c * rows + row + r) * size, size);
}

/* Do these rows lie back to back? */
static bool one_slab(const struct nb_tensor *t, uint64_t row, uint64_t n_rows)
{
    uint64_t last = row + n_rows - 1;
    return n_rows == 0 || nb_tensor_slab(t, &row) == nb_tensor_slab(t, &last);
}

const uint8_t *nb_model_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                             uint8_t *scratch)
{
    const struct nb_weight *w = &m->items[i];
    const bool grid = w->t.type->kind == NB_NUMFMT_GRID;
    const enum nb_hf_form f = w->stored;
    if (!grid && f == NB_HF_PLAIN && one_slab(&w->t, row, n_rows))
        return nb_model_row(m, i, row);
    if (f == NB_HF_TRANSPOSED) {
        gather_columns(w, row, n_rows, scratch);
        return scratch;
    }
    if (f == NB_HF_TERNARY) {
        nb_ternary_rows(m, i, row, n_rows, scratch);
        return scratch;
    }
    const uint64_t bytes = row_bytes(w);
    for (uint64_t r = 0; r < n_rows; r++) {
        const uint64_t from = f == NB_HF_PLAIN ? row + r : nb_form_row(&w->spec, row + r);
        if (grid)
            nb_grid_record(&w->t, from, scratch + r * bytes);
        else
            memcpy(scratch + r * bytes, stored_row(m, i, row + r), bytes);
    }
    return scratch;
}

static void read_columns(const struct nb_weight *w, uint64_t row, uint64_t n, float *dst)
{
    enum { AT_ONCE = 64 };
    float part[AT_ONCE];
    const uint64_t rows = w->t.shape.dim[0], cols = w->t.shape.dim[1];
    const size_t size = w->t.type->block_bytes;
    for (uint64_t r = 0; r < n; r += AT_ONCE) {
        const size_t take = (size_t)NB_MIN(n - r, (uint64_t)AT_ONCE);
        for (uint64_t c = 0; c < cols; c++) {
            nb_numfmt_decode(w->t.type, w->t.data + (c * rows + row + r) * size, part, take);
            for (size_t k = 0; k < take; k++)
                dst[(r + k) * cols + c] = part[k];
        }
    }
}

void nb_model_read_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                        float *dst)
{
    const struct nb_weight *w = &m->items[i];
    const size_t cols = (size_t)nb_shape_cols(&w->t.shape);
    const enum nb_hf_form f = w->stored;
    if (m->canonical[i] != NULL)
        nb_numfmt_decode(w->t.type, m->canonical[i], dst, (size_t)n_rows * cols);
    else if (f == NB_HF_PLAIN)
        nb_tensor_decode(&w->t, row, n_rows, dst);
    else if (f == NB_HF_TRANSPOSED)
        read_columns(w, row, n_rows, dst);
    else if (f == NB_HF_TERNARY)
        nb_ternary_read(m, i, row, n_rows, dst);
    else
        for (uint64_t r = 0; r < n_rows; r++)
            nb_tensor_decode(&w->t, nb_form_row(&w->spec, row + r), 1, dst + r * cols);
}

/* The same of experts that lie apart, perhaps in several files. */
static void drop_slabs(const struct nb_model *m, const struct nb_tensor *t, uint64_t row,
                       uint64_t n_rows)
{
    const uint64_t slab_rows = nb_shape_rows(&t->slabs[0].shape);
    while (n_rows > 0) {
        uint64_t at = row;
        const struct nb_tensor *s = nb_tensor_slab(t, &at);
        const uint64_t n = NB_MIN(n_rows, slab_rows - at), bytes = s->bytes / slab_rows;
        for (size_t f = 0; f < m->n_files; f++) {
            const struct nb_mapping *map = &m->files[f]->map;
            if (s->data >= map->data && s->data < map->data + map->size)
                nb_mapping_dontneed(map, (uint64_t)(s->data - map->data) + at * bytes, n * bytes);
        }
        row += n;
        n_rows -= n;
    }
}

void nb_model_drop_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows)
{
    const struct nb_weight *w = &m->items[i];
    const enum nb_hf_form f = w->stored;
    uint64_t end = row + n_rows;
    if (w->t.slabs != NULL)
        drop_slabs(m, &w->t, row, n_rows);
    if (f == NB_HF_TERNARY)
        nb_ternary_drop(m, i, row, n_rows);
    if (m->file_of[i] == NULL || n_rows == 0 || w->t.data == NULL)
        return;
    if (f == NB_HF_PAIRS) { /* rows of a head are spread over all of it */
        const uint64_t hd = w->t.shape.dim[0] / w->spec.heads;
        row -= row % hd;
        end = (end + hd - 1) / hd * hd;
    } else if (f != NB_HF_PLAIN) { /* over all of the matrix: with its last row */
        if (end < w->t.shape.dim[0])
            return;
        row = 0;
    }
    const uint64_t bytes = row_bytes(w);
    nb_mapping_dontneed(&m->file_of[i]->map, w->t.offset + row * bytes, (end - row) * bytes);
}

/* ---- for a session ---- */

enum nb_status nb_model_settle(struct nb_model *m, struct nb_error *err)
{
    for (size_t i = 0; i < m->w.n; i++) {
        struct nb_weight *w = &m->items[i];
        const enum nb_hf_form f = w->stored;
        if (f != NB_HF_QKV && f != NB_HF_TRANSPOSED && f != NB_HF_TERNARY)
            continue;
        uint8_t *copy = nb_arena_alloc(&m->arena, (size_t)w->t.bytes, 1);
        if (copy == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "tensor '%s': no memory for a copy of %llu bytes",
                    w->spec.name, (unsigned long long)w->t.bytes);
        if (f == NB_HF_TERNARY)
            nb_ternary_stored(m, i, copy);
        else
            (void)nb_model_rows(m, i, 0, w->t.shape.dim[0], copy);
        w->t.data = copy;
        w->stored = f == NB_HF_TERNARY ? w->spec.form : NB_HF_PLAIN;
        m->file_of[i] = NULL;
    }
    return NB_OK;
}

/* ---- vectors, which are small: in canonical form as soon as the model is open ---- */

static enum nb_status permute_vector(struct nb_model *m, size_t i, struct nb_error *err)
{
    struct nb_weight *w = &m->items[i];
    const size_t size = w->t.type->block_bytes;
    uint8_t *copy = nb_arena_alloc(&m->arena, (size_t)w->t.shape.dim[0], size);
    if (copy == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (uint64_t k = 0; k < w->t.shape.dim[0]; k++)
        memcpy(copy + k * size, w->t.data + nb_form_row(&w->spec, k) * size, size);
    m->canonical[i] = copy;
    if (w->spec.form == NB_HF_QKV) /* a session takes Q and K as halves, but no mixture */
        w->t.data = copy;
    return NB_OK;
}

static enum nb_status add_one(struct nb_model *m, size_t i, struct nb_error *err)
{
    struct nb_weight *w = &m->items[i];
    const size_t n = (size_t)w->t.shape.dim[0];
    float *copy = nb_arena_alloc(&m->arena, n, sizeof *copy);
    if (copy == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    nb_numfmt_decode(w->t.type, w->t.data, copy, n);
    for (size_t k = 0; k < n; k++)
        copy[k] += 1.0F;
    w->t.type = &nb_numfmt_f32;
    w->t.data = (const uint8_t *)copy;
    w->t.bytes = n * sizeof *copy;
    m->file_of[i] = NULL;
    return NB_OK;
}

enum nb_status nb_form_vector(struct nb_model *m, size_t i, struct nb_error *err)
{
    struct nb_weight *w = &m->items[i];
    const enum nb_hf_form f = w->stored;
    if (w->spec.shape.n != 1 || f == NB_HF_PLAIN)
        return NB_OK;
    w->stored = NB_HF_PLAIN;
    return f == NB_HF_MINUS_ONE ? add_one(m, i, err) : permute_vector(m, i, err);
}
