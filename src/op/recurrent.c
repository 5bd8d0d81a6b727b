/* op/recurrent.c: what the recurrent layers share: recurrent.h says all.
 *
 * Steps follow each other; within one, units are shared out among workers. The products with x do not wait for any
 * step: they are computed for all of them beforehand.
 */
#include "op/recurrent.h"

#include <math.h>

#define INPUT_ROWS 48U     /* of x in a piece of the products beforehand */
#define INPUT_COLS 64U     /* of gates' units                            */
#define UNIT_WORK  131072U /* products in a chunk of a step              */

/* ---- shapes ---- */

static bool is(const struct nb_value *v, enum nb_value_type type, uint64_t a, uint64_t b,
               uint64_t c, uint32_t rank)
{
    return v->type == type && v->rank == rank && v->dim[0].n == a &&
           (rank < 2 || v->dim[1].n == b) && (rank < 3 || v->dim[2].n == c);
}

static bool check_acts(struct nb_graph *g, const struct nb_node *n, uint64_t count)
{
    const struct nb_attr *acts = &n->attr[RNN_ACTS];
    if (acts->i != (int64_t)count)
        return nb_graph_refuse(g, n, "%lld activation functions, expected %llu", (long long)acts->i,
                               (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++)
        if (acts->list[i] < 0 || acts->list[i] >= NB_N_RECURRENT_ACT)
            return nb_graph_refuse(g, n, "no activation function %lld", (long long)acts->list[i]);
    return true;
}

bool nb_recurrent_shape(struct nb_graph *g, const struct nb_node *n, const struct nb_cell *cell,
                        struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[RNN_X]), *r = op_value(g, n->in[RNN_R]);
    const int64_t direction = n->attr[RNN_DIRECTION].i;
    const uint64_t d = direction == 2 ? 2 : 1;
    if (x->type != NB_VALUE_F32 || x->rank != 3 || r->rank != 3)
        return nb_graph_refuse(g, n, "inputs must be float32 of three dimensions");
    if (direction < 0 || direction > 2 || !n->in[RNN_NUMBERS])
        return nb_graph_refuse(g, n, "no such direction, or no numbers of functions");
    const uint64_t t = x->dim[0].n, b = x->dim[1].n, h = r->dim[2].n, gh = cell->gates * h;
    const struct {
        enum nb_value_type type;
        uint32_t rank;
        uint64_t dim[3];
    } want[] = {[RNN_X] = {NB_VALUE_F32, 3, {t, b, x->dim[2].n}},
                [RNN_W] = {NB_VALUE_F32, 3, {d, gh, x->dim[2].n}},
                [RNN_R] = {NB_VALUE_F32, 3, {d, gh, h}},
                [RNN_BIAS] = {NB_VALUE_F32, 2, {d, 2 * gh}},
                [RNN_LENGTHS] = {NB_VALUE_I32, 1, {b}},
                [RNN_H0] = {NB_VALUE_F32, 3, {d, b, h}},
                [RNN_NUMBERS] = {NB_VALUE_F32, 2, {d * cell->acts, 2}},
                [RNN_C0] = {NB_VALUE_F32, 3, {d, b, h}},
                [RNN_P] = {NB_VALUE_F32, 2, {d, 3 * h}}};
    for (uint32_t i = 0; i < NB_COUNTOF(want); i++)
        if (n->in[i] && !is(op_value(g, n->in[i]), want[i].type, want[i].dim[0], want[i].dim[1],
                            want[i].dim[2], want[i].rank))
            return nb_graph_refuse(g, n, "input %u has not the dimensions of the layer", i);
    out[0].type = NB_VALUE_F32;
    out[0].rank = 4;
    out[0].dim[0] = nb_dim_const(t);
    for (uint32_t i = 0; i < n->op->n_out; i++) {
        const uint32_t at = i == 0 ? 1 : 0;
        out[i].type = NB_VALUE_F32;
        out[i].rank = 3 + at;
        out[i].dim[at] = nb_dim_const(d);
        out[i].dim[at + 1] = nb_dim_const(b);
        out[i].dim[at + 2] = nb_dim_const(h);
    }
    return check_acts(g, n, d * cell->acts);
}

/* ---- memory ---- */

static const void *data_of(const struct nb_op_call *c, uint32_t i)
{
    return i < NB_NODE_INPUTS && c->in[i] ? c->in[i]->data : NULL;
}

static void measure(const struct nb_op_call *call, const struct nb_cell *cell,
                    struct nb_recurrent *l)
{
    const struct nb_value *x = call->in[RNN_X]->value, *r = call->in[RNN_R]->value;
    *l = (struct nb_recurrent){.call = call,
                               .kernels = call->kernels,
                               .steps = (size_t)x->dim[0].n,
                               .batch = (size_t)x->dim[1].n,
                               .inputs = (size_t)x->dim[2].n,
                               .units = (size_t)r->dim[2].n,
                               .gates = cell->gates,
                               .directions = (size_t)r->dim[0].n,
                               .clip = (float)call->node->attr[RNN_CLIP].f,
                               .lengths = data_of(call, RNN_LENGTHS)};
}

bool nb_recurrent_shared(const struct nb_op_call *call, const struct nb_cell *cell, size_t *bytes)
{
    struct nb_recurrent l;
    uint64_t state, z, wx;
    measure(call, cell, &l);
    *bytes = 0;
    if (!nb_mul_u64(&state, l.batch, l.units) || !nb_mul_u64(&z, state, l.gates) ||
        !nb_mul_u64(&wx, z, l.steps) || !op_add_bytes(bytes, wx, sizeof(float)) ||
        !op_add_bytes(bytes, z, sizeof(float)))
        return false;
    for (size_t i = 0; i < 4; i++)
        if (!op_add_bytes(bytes, state, sizeof(float)))
            return false;
    return true;
}

static void start(struct nb_recurrent *l, const struct nb_cell *cell, size_t d)
{
    const struct nb_op_call *call = l->call;
    const size_t state = l->batch * l->units, rows = l->gates * l->units;
    const float *bias = data_of(call, RNN_BIAS), *p = data_of(call, RNN_P);
    const float *h0 = data_of(call, RNN_H0), *c0 = data_of(call, RNN_C0);
    uint8_t *at = call->shared;
    l->direction = d;
    l->backward = call->node->attr[RNN_DIRECTION].i == 1 || d == 1;
    l->w = (const float *)data_of(call, RNN_W) + d * rows * l->inputs;
    l->r = (const float *)data_of(call, RNN_R) + d * rows * l->units;
    l->bias = bias ? bias + d * 2 * rows : NULL;
    l->p = p ? p + d * 3 * l->units : NULL;
    l->acts = call->node->attr[RNN_ACTS].list + d * cell->acts;
    l->numbers = (const float *)data_of(call, RNN_NUMBERS) + d * cell->acts * 2;
    l->wx = op_take(&at, l->steps * l->batch * rows, sizeof(float));
    l->z = op_take(&at, l->batch * rows, sizeof(float));
    l->h = op_take(&at, state, sizeof(float));
    l->next = op_take(&at, state, sizeof(float));
    l->c = op_take(&at, state, sizeof(float));
    l->reset = op_take(&at, state, sizeof(float));
    memset(l->h, 0, state * sizeof(float));
    memset(l->c, 0, state * sizeof(float));
    if (h0)
        memcpy(l->h, h0 + d * state, state * sizeof(float));
    if (c0)
        memcpy(l->c, c0 + d * state, state * sizeof(float));
}

/* ---- running ---- */

static void input_products(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_recurrent *l = ctx;
    const size_t n_rows = l->steps * l->batch, n_cols = l->gates * l->units;
    const size_t per = (n_rows + INPUT_ROWS - 1) / INPUT_ROWS;
    const float *x = l->call->in[RNN_X]->data;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i % per * INPUT_ROWS, col = i / per * INPUT_COLS;
        l->kernels->gemm_f32_f32_f32(l->wx + row * n_cols + col, n_cols, l->w + col * l->inputs,
                                     NB_MIN(n_cols - col, (size_t)INPUT_COLS), x + row * l->inputs,
                                     l->inputs, NB_MIN(n_rows - row, (size_t)INPUT_ROWS),
                                     l->inputs);
    }
}

struct stage {
    const struct nb_recurrent *l;
    const struct nb_cell *cell;
    size_t stage;
};

static void units(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct stage *s = ctx;
    (void)worker;
    s->cell->step(s->l, s->stage, begin, end);
}

static void run_direction(struct nb_recurrent *l, const struct nb_cell *cell, size_t d)
{
    struct nb_pool *pool = l->call->pool;
    const size_t state = l->batch * l->units, rows = l->gates * l->units;
    const size_t pieces = ((l->steps * l->batch + INPUT_ROWS - 1) / INPUT_ROWS) *
                          ((rows + INPUT_COLS - 1) / INPUT_COLS);
    const size_t grain = NB_MAX(UNIT_WORK / NB_MAX(rows * l->batch, (size_t)1), (size_t)16);
    start(l, cell, d);
    nb_pool_for(pool, pieces, 1, input_products, l);
    for (l->step = 0; l->step < l->steps; l->step++) {
        for (size_t i = 0; i < cell->stages; i++)
            nb_pool_for(pool, l->units, grain, units, &(struct stage){l, cell, i});
        float *h = l->h;
        l->h = l->next;
        l->next = h;
    }
    memcpy((float *)l->call->out[1]->data + d * state, l->h, state * sizeof(float));
    if (l->call->out[2])
        memcpy((float *)l->call->out[2]->data + d * state, l->c, state * sizeof(float));
}

void nb_recurrent_run(const struct nb_op_call *call, const struct nb_cell *cell)
{
    struct nb_recurrent l;
    measure(call, cell, &l);
    if (l.batch * l.units == 0)
        return;
    for (size_t d = 0; d < l.directions; d++)
        run_direction(&l, cell, d);
}

/* ---- parts of a step ---- */

void nb_recurrent_product(const struct nb_recurrent *l, size_t first, size_t last, const float *x,
                          size_t begin, size_t end)
{
    const size_t h = l->units, rows = l->gates * h;
    for (size_t g = first; g < last; g++)
        l->kernels->gemm_f32_f32_f32(l->z + g * h + begin, rows, l->r + (g * h + begin) * h,
                                     end - begin, x, h, l->batch, h);
}

static float *y_at(const struct nb_recurrent *l, size_t b, size_t time)
{
    return (float *)l->call->out[0]->data +
           ((time * l->directions + l->direction) * l->batch + b) * l->units;
}

size_t nb_recurrent_time(const struct nb_recurrent *l, size_t b, size_t begin, size_t end)
{
    size_t n = l->steps;
    if (l->lengths)
        n = l->lengths[b] < 0 ? 0 : NB_MIN(n, (size_t)l->lengths[b]);
    if (l->step < n)
        return l->backward ? n - 1 - l->step : l->step;
    memset(y_at(l, b, l->step) + begin, 0, (end - begin) * sizeof(float));
    memcpy(l->next + b * l->units + begin, l->h + b * l->units + begin,
           (end - begin) * sizeof(float));
    return SIZE_MAX;
}

float *nb_recurrent_gate(const struct nb_recurrent *l, size_t b, size_t time, size_t gate,
                         size_t begin, size_t end)
{
    const size_t rows = l->gates * l->units, at = gate * l->units + begin;
    float *z = l->z + b * rows + at;
    const float *x = l->wx + (time * l->batch + b) * rows + at;
    for (size_t i = 0; i < end - begin; i++)
        z[i] = x[i] + z[i];
    for (size_t i = 0; l->bias && i < end - begin; i++)
        z[i] += l->bias[at + i] + l->bias[rows + at + i];
    return z;
}

void nb_recurrent_give(const struct nb_recurrent *l, size_t b, size_t time, size_t begin,
                       size_t end)
{
    memcpy(y_at(l, b, time) + begin, l->next + b * l->units + begin, (end - begin) * sizeof(float));
}

/* ---- activation functions: a, b are their alpha and beta ---- */

static float other_act(enum nb_recurrent_act act, float x, float a, float b)
{
    switch (act) {
    case NB_RECURRENT_RELU:
        return x > 0.0F ? x : 0.0F;
    case NB_RECURRENT_AFFINE:
        return a * x + b;
    case NB_RECURRENT_LEAKY_RELU:
        return x >= 0.0F ? x : a * x;
    case NB_RECURRENT_THRESHOLDED_RELU:
        return x >= a ? x : 0.0F;
    case NB_RECURRENT_HARD_SIGMOID:
        return NB_MIN(NB_MAX(a * x + b, 0.0F), 1.0F);
    case NB_RECURRENT_ELU:
        return x >= 0.0F ? x : (float)((double)a * expm1((double)x));
    case NB_RECURRENT_SOFTSIGN:
        return x / (1.0F + (x < 0.0F ? -x : x));
    case NB_RECURRENT_SOFTPLUS: /* log(1 + exp x), of large x without overflow */
        return (float)(log1p(exp(-fabs((double)x))) + (x > 0.0F ? (double)x : 0.0));
    case NB_RECURRENT_TANH:
    case NB_RECURRENT_SIGMOID:
    case NB_RECURRENT_SCALED_TANH:
    case NB_N_RECURRENT_ACT:
    default:
        return x;
    }
}

void nb_recurrent_act(const struct nb_recurrent *l, size_t k, float *x, size_t n)
{
    const enum nb_recurrent_act act = (enum nb_recurrent_act)l->acts[k];
    const float a = l->numbers[2 * k], b = l->numbers[2 * k + 1];
    for (size_t i = 0; l->clip > 0.0F && i < n; i++)
        x[i] = x[i] > l->clip ? l->clip : x[i] < -l->clip ? -l->clip : x[i];
    if (act == NB_RECURRENT_TANH) {
        l->kernels->softcap_f32(x, x, n, 1.0F, 1.0F);
    } else if (act == NB_RECURRENT_SCALED_TANH) {
        l->kernels->softcap_f32(x, x, n, b, a);
    } else if (act == NB_RECURRENT_SIGMOID) {
        l->kernels->softcap_f32(x, x, n, 0.5F, 0.5F);
        for (size_t i = 0; i < n; i++)
            x[i] += 0.5F;
    } else {
        for (size_t i = 0; i < n; i++)
            x[i] = other_act(act, x[i], a, b);
    }
}
