/* calib/block_weights.c: reading the tensors of decoder blocks into one buffer of floats.
 *
 * Rows are dealt out to threads; a row's values do not depend on who decodes it. The rows of a model's file
 * may pair Q and K as halves, canonical ones do as GGUF files of the architecture do: the view says so to
 * the session (nb_weights.rope_halves), which is why vectors are taken too.
 */
#include "calib/block_weights.h"

#include <string.h>

#include "numfmt/grid.h"

#define CHUNK_ELEMENTS 65536U
#define CHUNK_ROWS     64U /* transposed matrices are decoded in columns of so many */

/* Owns: items, stored_items, parts, values. Borrows: m. */
struct nb_block_weights {
    const struct nb_allocator *a;
    const struct nb_model *m;
    struct nb_weights view, stored;
    struct nb_weight *items, *stored_items; /* (m->w.n) */
    struct nb_parts *parts;                 /* (m->w.n) of stored items on general grids */
    float *values;
    size_t capacity; /* floats */
    uint32_t first, end;
};

enum nb_status nb_block_weights_create(struct nb_block_weights **out, const struct nb_model *m,
                                       const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    if (m->unknown)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "architecture '%s' is not known: it has no blocks to run",
                m->w.hp.arch->name);
    struct nb_block_weights *b = nb_alloc_zero(a, 1, sizeof *b);
    if (b == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the weights of a block");
    b->a = a;
    b->m = m;
    b->items = nb_alloc(a, m->w.n, sizeof *b->items);
    b->stored_items = nb_alloc(a, m->w.n, sizeof *b->stored_items);
    b->parts = nb_alloc(a, m->w.n, sizeof *b->parts);
    if (b->items == NULL || b->stored_items == NULL || b->parts == NULL) {
        nb_block_weights_destroy(b);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the names of %zu tensors", m->w.n);
    }
    memcpy(b->items, m->w.items, m->w.n * sizeof *b->items);
    memcpy(b->stored_items, b->items, m->w.n * sizeof *b->items);
    b->view = m->w;
    b->view.items = b->items;
    b->view.rope_halves = m->w.hp.arch->rope_halves_gguf;
    b->stored = b->view;
    b->stored.items = b->stored_items;
    *out = b;
    return NB_OK;
}

void nb_block_weights_destroy(struct nb_block_weights *b)
{
    if (b == NULL)
        return;
    nb_free(b->a, b->values);
    nb_free(b->a, b->items);
    nb_free(b->a, b->stored_items);
    nb_free(b->a, b->parts);
    nb_free(b->a, b);
}

static bool among(const struct nb_weight *w, uint32_t first, uint32_t end)
{
    return w->spec.block >= 0 && (uint32_t)w->spec.block >= first && (uint32_t)w->spec.block < end;
}

/* Floats of a tensor, rounded up to whole cache lines; false on overflow. */
static bool room(const struct nb_weight *w, size_t *n)
{
    uint64_t count;
    if (!nb_shape_count(&w->t.shape, &count) || count > SIZE_MAX / 2 / sizeof(float))
        return false;
    *n = ((size_t)count + NB_ALIGN / sizeof(float) - 1) & ~(NB_ALIGN / sizeof(float) - 1);
    return true;
}

static bool count_floats(const struct nb_model *m, uint32_t first, uint32_t end, size_t *total)
{
    *total = 0;
    for (size_t i = 0; i < m->w.n; i++) {
        size_t n;
        if (among(&m->w.items[i], first, end) &&
            (!room(&m->w.items[i], &n) || !nb_add_size(total, *total, n)))
            return false;
    }
    return true;
}

bool nb_block_weights_bytes(const struct nb_model *m, uint32_t first, uint32_t n, uint64_t *bytes)
{
    size_t floats;
    const uint32_t end = n > UINT32_MAX - first ? UINT32_MAX : first + n;
    return count_floats(m, first, end, &floats) && nb_mul_u64(bytes, floats, sizeof(float));
}

struct reading {
    const struct nb_model *m;
    size_t i, cols;
    float *dst;
};

static void read_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct reading *r = ctx;
    (void)worker;
    nb_model_read_rows(r->m, r->i, begin, end - begin, r->dst + begin * r->cols);
}

static void load_one(struct nb_block_weights *b, size_t i, float *dst, struct nb_pool *pool)
{
    const struct nb_weight *w = &b->m->w.items[i];
    struct reading r = {.m = b->m, .i = i, .cols = (size_t)nb_shape_cols(&w->t.shape), .dst = dst};
    const size_t rows = (size_t)nb_shape_rows(&w->t.shape), n = CHUNK_ELEMENTS / NB_MAX(r.cols, 1);
    nb_pool_for(pool, rows, n / CHUNK_ROWS * CHUNK_ROWS + (n < CHUNK_ROWS ? CHUNK_ROWS : 0),
                read_rows, &r);
    nb_model_drop_rows(b->m, i, 0, rows);
    struct nb_weight *item = &b->items[i];
    item->stored = NB_HF_PLAIN;
    item->t = (struct nb_tensor){.name = w->t.name,
                                 .type = &nb_numfmt_f32,
                                 .shape = w->t.shape,
                                 .data = (const uint8_t *)dst,
                                 .bytes = (uint64_t)rows * r.cols * sizeof *dst};
}

enum nb_status nb_block_weights_load(struct nb_block_weights *b, uint32_t first, uint32_t n,
                                     struct nb_pool *pool, struct nb_error *err)
{
    const uint32_t n_layers = b->m->w.hp.n_layers;
    size_t total, take;
    if (first > n_layers || n > n_layers - first)
        NB_FAIL(err, NB_ERR_ARG, "%u blocks from block %u on; the model has %u", n, first,
                n_layers);
    if (!count_floats(b->m, first, first + n, &total))
        NB_FAIL(err, NB_ERR_LIMIT, "block %u is too large for memory", first);
    memcpy(b->items, b->m->w.items, b->m->w.n * sizeof *b->items);
    b->first = b->end = 0;
    if (total > b->capacity) {
        nb_free(b->a, b->values);
        b->capacity = 0;
        b->values = nb_alloc(b->a, total, sizeof *b->values);
        if (b->values == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "no memory for block %u as floats: %zu bytes", first,
                    total * sizeof *b->values);
        b->capacity = total;
    }
    float *at = b->values;
    for (size_t i = 0; i < b->m->w.n; i++)
        if (among(&b->m->w.items[i], first, first + n) && room(&b->m->w.items[i], &take)) {
            load_one(b, i, at, pool);
            at += take;
        }
    memcpy(b->stored_items, b->items, b->m->w.n * sizeof *b->items);
    b->first = first;
    b->end = first + n;
    return NB_OK;
}

const struct nb_weights *nb_block_weights_view(const struct nb_block_weights *b)
{
    return &b->view;
}

float *nb_block_weights_values(struct nb_block_weights *b, size_t i)
{
    if (i >= b->m->w.n || !among(&b->items[i], b->first, b->end))
        return NULL;
    return b->values + ((const float *)(const void *)b->items[i].t.data - b->values);
}

const struct nb_weights *nb_block_weights_stored(const struct nb_block_weights *b)
{
    return &b->stored;
}

bool nb_block_weights_expect(struct nb_block_weights *b, size_t i, const struct nb_numfmt *type,
                             uint64_t bytes, uint64_t side)
{
    uint8_t *at = (void *)nb_block_weights_values(b, i);
    struct nb_tensor *t = &b->stored_items[i].t;
    if (at == NULL || bytes > b->items[i].t.bytes)
        return false;
    t->type = type;
    t->bytes = bytes - side;
    if (type->kind == NB_NUMFMT_GRID) {
        b->parts[i] = nb_grid_records(type, &t->shape, at, 0, side > 0 ? at + t->bytes : NULL);
        t->parts = &b->parts[i];
        t->data = NULL;
    }
    return true;
}

uint8_t *nb_block_weights_records(struct nb_block_weights *b, size_t i)
{
    const bool expected = i < b->m->w.n && b->stored_items[i].t.type != b->items[i].t.type;
    return expected ? (void *)nb_block_weights_values(b, i) : NULL;
}
