/* quant/transform_copy.c: the view as weights that a session takes: what has changed in f32 buffers.
 *
 * For statistics of the transformed network, block by block, and for proving that it is the same network.
 * A session is told once for all of Q and K whether their rows lie as halves, so changed ones are laid out
 * as the file's are.
 */
#include "quant/transform_internal.h"

#include <stdio.h>

#define CHUNK_ROWS 64

/* Owns: arena, items and the numbers of changed weights in it. */
struct nb_view_copy {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_weights w;
    struct nb_weight *items; /* (n) */
};

static bool must_copy(const struct nb_view *v, size_t i, int32_t block)
{
    const struct nb_weight *w = &nb_view_model(v)->w.items[i];
    const enum nb_hf_form f = w->stored;
    if (block != NB_VIEW_ALL && w->spec.block != block)
        return false;
    return nb_view_changes(v, i) || (f != NB_HF_PLAIN && f != NB_HF_PAIRS);
}

struct filling {
    const struct nb_view *v;
    size_t i, cols, scratch_bytes;
    bool halves;
    float *dst; /* (rows, cols) */
    uint8_t *scratch;
};

/* Where canonical row `row` of a weight in pairs lies as halves (docs/formats/gguf.md). */
static uint64_t halves_row(const struct nb_tensor_spec *spec, uint64_t row)
{
    const uint64_t head_dim = spec->shape.dim[0] / spec->heads, r = row % head_dim;
    return row - r + r % 2 * (head_dim / 2) + r / 2;
}

static void fill_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct filling *f = ctx;
    const struct nb_tensor_spec *spec = &nb_view_model(f->v)->w.items[f->i].spec;
    void *scratch = f->scratch_bytes == 0 ? NULL : f->scratch + worker * f->scratch_bytes;
    if (!f->halves) {
        nb_view_read_rows(f->v, f->i, begin, end - begin, f->dst + begin * f->cols, scratch);
        return;
    }
    for (size_t r = begin; r < end; r++)
        nb_view_read_rows(f->v, f->i, r, 1, f->dst + halves_row(spec, r) * f->cols, scratch);
}

static enum nb_status no_memory(const struct nb_weight *w, struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "tensor '%s': no memory for a copy", w->spec.name);
}

static enum nb_status copy_weight(struct nb_view_copy *c, struct nb_view *v, size_t i,
                                  struct nb_pool *pool, struct nb_error *err)
{
    struct nb_weight *w = &c->items[i];
    const size_t rows = (size_t)nb_shape_rows(&w->t.shape);
    struct filling f = {.v = v,
                        .i = i,
                        .cols = (size_t)nb_shape_cols(&w->t.shape),
                        .scratch_bytes = nb_view_scratch(v, i),
                        .halves = w->stored == NB_HF_PAIRS && rows > 1};
    f.dst = nb_arena_alloc(&c->arena, rows * f.cols, sizeof *f.dst);
    f.scratch = nb_alloc(c->a, nb_pool_threads(pool), f.scratch_bytes);
    if (f.dst == NULL || (f.scratch == NULL && f.scratch_bytes > 0)) {
        nb_free(c->a, f.scratch);
        return no_memory(w, err);
    }
    const enum nb_status st = nb_view_hold(v, i, pool, err);
    if (st == NB_OK) {
        nb_pool_for(pool, rows, CHUNK_ROWS, fill_rows, &f);
        nb_view_release(v, i);
    }
    nb_free(c->a, f.scratch);
    w->t = (struct nb_tensor){.name = w->t.name,
                              .type = &nb_numfmt_f32,
                              .shape = w->t.shape,
                              .data = (const uint8_t *)f.dst,
                              .bytes = (uint64_t)rows * f.cols * sizeof *f.dst};
    if (!f.halves)
        w->stored = NB_HF_PLAIN;
    return st;
}

static enum nb_status copy_all(struct nb_view_copy *c, struct nb_view *v, int32_t block,
                               struct nb_pool *pool, struct nb_error *err)
{
    const struct nb_model *m = nb_view_model(v);
    c->w = m->w;
    c->items = nb_arena_alloc(&c->arena, m->w.n + 1, sizeof *c->items);
    if (c->items == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu weights", m->w.n);
    c->w.items = c->items;
    for (size_t i = 0; i < m->w.n; i++) {
        c->items[i] = m->w.items[i];
        if (must_copy(v, i, block))
            NB_TRY(copy_weight(c, v, i, pool, err));
    }
    return NB_OK;
}

enum nb_status nb_view_copy_create(struct nb_view_copy **out, struct nb_view *v, int32_t block,
                                   struct nb_pool *pool, struct nb_error *err)
{
    const struct nb_allocator *a = v->a;
    struct nb_view_copy *c = nb_alloc_zero(a, 1, sizeof *c);
    if (c == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    c->a = a;
    nb_arena_init(&c->arena, a, 0);
    const enum nb_status st = copy_all(c, v, block, pool, err);
    if (st == NB_OK)
        *out = c;
    else
        nb_view_copy_destroy(c);
    return st;
}

void nb_view_copy_destroy(struct nb_view_copy *c)
{
    if (c == NULL)
        return;
    nb_arena_fini(&c->arena);
    nb_free(c->a, c);
}

const struct nb_weights *nb_view_copy_weights(const struct nb_view_copy *c)
{
    return &c->w;
}
