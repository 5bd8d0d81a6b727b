/* op/expert_linear.c: linear layers of which each token meets k out of E (mixtures of experts; Shazeer et
 * al. 2017).
 *
 * x (T, n), or (T, k * n): a row for each chosen expert; W (E, rows, n); ids (T, k); bias (E, rows)
 * optional; xq: x as q8, optional -> (T, k * rows). Slot j of token t is W[ids[t, j]] x, in the order in
 * which the token names its experts.
 *
 * The slots are sorted by expert, so that each matrix is read once a call; each is then a linear layer
 * (op/linear.h) over the tokens that came to it, with the same bits whichever these are.
 */
#include "op/linear.h"

enum { X, W, IDS, BIAS, XQ };

static uint64_t n_experts(const struct nb_op_call *c)
{
    return c->in[W]->tensor->shape.dim[0];
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[X]), *w = op_value(g, n->in[W]);
    const struct nb_value *ids = op_value(g, n->in[IDS]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (ids->type != NB_VALUE_U32 || ids->rank != 2 || !nb_dim_eq(ids->dim[0], x->dim[0]))
        return nb_graph_refuse(g, n, "input 2 must have experts' numbers for each token");
    const uint64_t k = ids->dim[1].n;
    if (w->kind != NB_VALUE_WEIGHT || w->rank != 3 ||
        (w->dim[2].n != x->dim[1].n && w->dim[2].n * k != x->dim[1].n))
        return nb_graph_refuse(g, n, "weight %s does not fit %llu columns", w->name,
                               (unsigned long long)x->dim[1].n);
    if (n->in[BIAS]) {
        const struct nb_value *b = op_value(g, n->in[BIAS]);
        if (b->rank != 2 || !nb_dim_eq(b->dim[0], w->dim[0]) || !nb_dim_eq(b->dim[1], w->dim[1]))
            return nb_graph_refuse(g, n, "bias %s does not fit %s", b->name, w->name);
    }
    op_like(out, x, NB_VALUE_F32, k * w->dim[1].n);
    return true;
}

static const struct nb_linear_way *way_of(const struct nb_op_call *c)
{
    return c->in[XQ] ? &nb_linear_integers : &nb_linear_floats;
}

/* What all experts have in common. */
static struct nb_linear layer_of(const struct nb_op_call *c)
{
    const struct nb_tensor *w = c->in[W]->tensor;
    struct nb_linear l = {.kernels = c->kernels,
                          .w = w,
                          .n_rows = (size_t)w->shape.dim[1],
                          .k = (size_t)w->shape.dim[2],
                          .x = c->in[X]->data,
                          .y = c->out[0]->data,
                          .y_stride = (size_t)w->shape.dim[1]};
    l.share = c->in[X]->cols == l.k ? (uint32_t)c->in[IDS]->cols : 1;
    if (c->in[XQ])
        l.xq = nb_slot_q8(c->in[XQ]);
    return l;
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    const struct nb_linear l = layer_of(c);
    return way_of(c)->scratch_bytes(&l, true, bytes);
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    uint64_t slots;
    *bytes = 0;
    return nb_mul_u64(&slots, c->in[IDS]->rows, c->in[IDS]->cols) && slots <= UINT32_MAX &&
           op_add_bytes(bytes, n_experts(c) + 1, sizeof(uint32_t)) &&
           op_add_bytes(bytes, n_experts(c), sizeof(uint32_t)) &&
           op_add_bytes(bytes, slots, sizeof(uint32_t));
}

/* The slots of a call, expert by expert. Borrows: c->shared. */
struct work {
    const struct nb_op_call *c;
    const struct nb_linear_way *way;
    struct nb_linear layer;
    uint32_t *start;  /* (E + 1) first of an expert's slots in pick        */
    uint32_t *active; /* (n_active) experts that have any                  */
    uint32_t *pick;   /* (T * k) slot numbers, ascending within an expert  */
    size_t n_active;
    size_t grain, chunks; /* rows of a chunk, chunks of an expert */
};

/* Counting sort: start[e + 1] counts, then says where the next slot of e goes. */
static void sort_slots(struct work *w)
{
    const struct nb_op_call *c = w->c;
    const uint32_t *ids = c->in[IDS]->data;
    const size_t n_slots = c->in[IDS]->rows * c->in[IDS]->cols, n = (size_t)n_experts(c);
    memset(w->start, 0, (n + 1) * sizeof *w->start);
    for (size_t i = 0; i < n_slots; i++)
        w->start[ids[i]]++;
    for (size_t e = 0, at = 0; e < n; e++) {
        const uint32_t count = w->start[e];
        if (count > 0)
            w->active[w->n_active++] = (uint32_t)e;
        w->start[e] = (uint32_t)at;
        at += count;
    }
    for (size_t i = 0; i < n_slots; i++)
        w->pick[w->start[ids[i]]++] = (uint32_t)i;
    for (size_t e = n; e > 0; e--) /* every start has moved on to the next one */
        w->start[e] = w->start[e - 1];
    w->start[0] = 0;
}

static void chunks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    for (size_t i = begin; i < end; i++) {
        const size_t e = w->active[i / w->chunks], first = i % w->chunks * w->grain;
        struct nb_linear l = w->layer;
        l.first_row = e * l.n_rows;
        l.bias = w->c->in[BIAS] ? (const float *)w->c->in[BIAS]->data + l.first_row : NULL;
        l.pick = w->pick + w->start[e];
        l.n_tokens = w->start[e + 1] - w->start[e];
        w->way->rows(&l, first, NB_MIN(first + w->grain, l.n_rows), op_scratch(w->c, worker));
    }
}

static void run(const struct nb_op_call *c)
{
    struct work w = {.c = c, .way = way_of(c), .layer = layer_of(c)};
    uint8_t *at = c->shared;
    const size_t n = (size_t)n_experts(c), n_slots = c->in[IDS]->rows * c->in[IDS]->cols;
    if (n_slots == 0)
        return;
    w.start = op_take(&at, n + 1, sizeof *w.start);
    w.active = op_take(&at, n, sizeof *w.active);
    w.pick = op_take(&at, n_slots, sizeof *w.pick);
    sort_slots(&w);
    w.layer.pick = w.pick;
    w.grain = w.way->grain(&w.layer);
    w.chunks = (w.layer.n_rows + w.grain - 1) / w.grain;
    nb_pool_for(c->pool, w.n_active * w.chunks, 1, chunks, &w);
}

const struct nb_op nb_op_expert_linear = {
    .name = "expert_linear",
    .n_in_min = 3,
    .n_in = 5,
    .quantizable = W,
    .f32_weights = 1U << BIAS,
    .ids_input = IDS,
    .q8_input = XQ,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .shared_bytes = shared_bytes,
    .run = run,
};
