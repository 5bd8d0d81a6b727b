/* dialect/hash.c: the hash of a model: XXH3-128 of what its tensors are, whatever file holds them.
 *
 * Two levels (dialect.h): segments of rows, so that threads and streams may take them in any order, and
 * above them tensors in canonical order. Metadata is not covered.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#include "numfmt/grid.h"

#define SEGMENT_ELEMENTS 65536

uint64_t nb_segment_rows(const struct nb_shape *shape)
{
    const uint64_t cols = NB_MAX(nb_shape_cols(shape), 1);
    return NB_MAX(SEGMENT_ELEMENTS / cols, 1);
}

static void put_hash(uint8_t *dst, struct nb_hash h)
{
    nb_store_u64(dst, h.lo);
    nb_store_u64(dst + 8, h.hi);
}

struct nb_hash nb_tensors_hash(const struct nb_hash *tensors, size_t n)
{
    return nb_hash_bytes(tensors, n * sizeof *tensors);
}

/* The hash of four hashes: name, type, shape, segments. */
struct nb_hash nb_tensor_hash(const char *name, const struct nb_numfmt *type,
                              const struct nb_shape *shape, const struct nb_hash *segments,
                              size_t n)
{
    uint8_t parts[64], dims[8 * NB_MAX_DIMS];
    for (uint32_t i = 0; i < shape->n; i++)
        nb_store_u64(dims + 8 * (size_t)i, shape->dim[i]);
    put_hash(parts, nb_hash_bytes(name, strlen(name)));
    put_hash(parts + 16, nb_hash_bytes(type->name, strlen(type->name)));
    put_hash(parts + 32, nb_hash_bytes(dims, 8 * (size_t)shape->n));
    put_hash(parts + 48, nb_tensors_hash(segments, n));
    return nb_hash_bytes(parts, sizeof parts);
}

struct job {
    const struct nb_model *m;
    size_t weight;
    uint64_t rows, segment_rows, row_bytes;
    uint8_t *scratch; /* (workers, segment bytes) */
    size_t scratch_bytes;
    struct nb_hash *segments;
};

static void hash_segments(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    for (size_t s = begin; s < end; s++) {
        const uint64_t row = s * j->segment_rows;
        const uint64_t n = NB_MIN(j->segment_rows, j->rows - row);
        const uint8_t *p =
            nb_model_rows(j->m, j->weight, row, n, j->scratch + worker * j->scratch_bytes);
        j->segments[s] = nb_hash_bytes(p, (size_t)(n * j->row_bytes));
        nb_model_drop_rows(j->m, j->weight, row, n);
    }
}

static enum nb_status hash_weight(const struct nb_model *m, size_t i, struct nb_pool *pool,
                                  struct nb_hash *out)
{
    const struct nb_weight *w = &m->items[i];
    struct job j = {.m = m, .weight = i, .rows = nb_shape_rows(&w->t.shape)};
    j.segment_rows = nb_segment_rows(&w->t.shape);
    j.row_bytes = j.rows == 0 ? 0 : w->t.bytes / j.rows;
    j.scratch_bytes = (size_t)(NB_MIN(j.segment_rows, j.rows) * j.row_bytes);
    const size_t n = (size_t)((j.rows + j.segment_rows - 1) / j.segment_rows);
    const bool grid = w->t.type->kind == NB_NUMFMT_GRID;
    const uint64_t side = grid ? nb_grid_side_bytes(w->t.type, &w->t.shape) : 0;
    j.scratch_bytes = NB_MAX(j.scratch_bytes, (size_t)side);
    j.segments = nb_alloc(m->a, n + 1, sizeof *j.segments);
    j.scratch = nb_alloc(m->a, nb_pool_threads(pool), NB_MAX(j.scratch_bytes, 1));
    if (j.segments != NULL && j.scratch != NULL) {
        nb_pool_for(pool, n, 1, hash_segments, &j);
        if (side > 0) { /* what a grid's rows share is one more segment */
            nb_grid_side(&w->t, j.scratch);
            j.segments[n] = nb_hash_bytes(j.scratch, (size_t)side);
        }
        *out = nb_tensor_hash(w->spec.name, w->t.type, &w->t.shape, j.segments, n + (side > 0));
    }
    const bool ok = j.segments != NULL && j.scratch != NULL;
    nb_free(m->a, j.segments);
    nb_free(m->a, j.scratch);
    return ok ? NB_OK : NB_ERR_NOMEM;
}

enum nb_status nb_model_hash(const struct nb_model *m, struct nb_pool *pool, struct nb_hash *hash,
                             struct nb_error *err)
{
    struct nb_hash *tensors = nb_alloc(m->a, NB_MAX(m->w.n, 1), sizeof *tensors);
    enum nb_status st = tensors == NULL ? NB_ERR_NOMEM : NB_OK;
    for (size_t i = 0; i < m->w.n && st == NB_OK; i++)
        st = hash_weight(m, i, pool, &tensors[i]);
    if (st == NB_OK)
        *hash = nb_tensors_hash(tensors, m->w.n);
    nb_free(m->a, tensors);
    if (st != NB_OK)
        NB_FAIL(err, st, "%s: out of memory", m->path);
    return NB_OK;
}
