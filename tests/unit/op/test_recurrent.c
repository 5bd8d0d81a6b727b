/* Recurrent layers against the formulas in doubles, unit by unit; for any number of threads the same bits. */
#include "plain_node.h"

enum { T = 6, B = 3, I = 9, H = 150 };

struct layer {
    const struct nb_op *op;
    size_t gates, acts, directions;
    int64_t direction, own;
    bool more; /* bias, lengths, first states, peepholes */
    float *x, *w, *r, *bias, *h0, *c0, *p;
};

static const int32_t lengths[B] = {6, 0, 4};

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

struct state {
    double h[B][H], c[B][H], y[T][B][H];
};

/* The sum that goes into gate g of unit u: of w x and of r v apart. */
static void products(const struct layer *l, size_t d, size_t row, size_t time, size_t b,
                     const double *v, double out[2])
{
    const size_t rows = l->gates * H;
    out[0] = l->more ? (double)l->bias[d * 2 * rows + row] : 0.0;
    out[1] = l->more ? (double)l->bias[(d * 2 + 1) * rows + row] : 0.0;
    for (size_t i = 0; i < I; i++)
        out[0] += (double)l->w[(d * rows + row) * I + i] * (double)l->x[(time * B + b) * I + i];
    for (size_t i = 0; i < H; i++)
        out[1] += (double)l->r[(d * rows + row) * H + i] * v[i];
}

static double gate(const struct layer *l, size_t d, size_t g, size_t u, size_t time, size_t b,
                   const double *v, double c)
{
    double s[2];
    products(l, d, g * H + u, time, b, v, s);
    if (l->gates == 4 && l->more && g < 3)
        s[0] += (double)l->p[(d * 3 + g) * H + u] * c;
    return s[0] + s[1];
}

static void step(const struct layer *l, struct state *s, size_t d, size_t time, size_t b)
{
    double next[H], reset[H], part[2];
    for (size_t u = 0; u < H; u++)
        reset[u] =
            l->gates == 3 ? sigmoid(gate(l, d, 1, u, time, b, s->h[b], 0.0)) * s->h[b][u] : 0.0;
    for (size_t u = 0; u < H; u++) {
        const double first = gate(l, d, 0, u, time, b, s->h[b], s->c[b][u]);
        if (l->gates == 1) {
            next[u] = tanh(first);
        } else if (l->gates == 3) {
            const double z = sigmoid(first);
            products(l, d, 2 * H + u, time, b, l->own ? s->h[b] : reset, part);
            const double f = l->own ? sigmoid(gate(l, d, 1, u, time, b, s->h[b], 0.0)) : 1.0;
            next[u] = (1.0 - z) * tanh(part[0] + f * part[1]) + z * s->h[b][u];
        } else {
            const double in = sigmoid(first), c = s->c[b][u];
            const double keep = l->own ? 1.0 - in : sigmoid(gate(l, d, 2, u, time, b, s->h[b], c));
            s->c[b][u] = keep * c + in * tanh(gate(l, d, 3, u, time, b, s->h[b], 0.0));
            next[u] = sigmoid(gate(l, d, 1, u, time, b, s->h[b], s->c[b][u])) * tanh(s->c[b][u]);
        }
    }
    memcpy(s->h[b], next, sizeof next);
    memcpy(s->y[time][b], next, sizeof next);
}

static void reference(const struct layer *l, struct state *s, size_t d)
{
    const bool backward = l->direction == 1 || d == 1;
    memset(s, 0, sizeof *s);
    for (size_t b = 0; b < B; b++) {
        const size_t n = l->more ? (size_t)lengths[b] : T;
        for (size_t u = 0; l->more && u < H; u++) {
            s->h[b][u] = (double)l->h0[(d * B + b) * H + u];
            s->c[b][u] = (double)l->c0[(d * B + b) * H + u];
        }
        for (size_t i = 0; i < n; i++)
            step(l, s, d, backward ? n - 1 - i : i, b);
    }
}

static void compare(const struct layer *l, const struct plain_out *out)
{
    static struct state s;
    const float *y = out->data[0], *h = out->data[1], *c = l->gates == 4 ? out->data[2] : NULL;
    for (size_t d = 0; d < l->directions; d++) {
        reference(l, &s, d);
        for (size_t b = 0; b < B; b++)
            for (size_t u = 0; u < H; u++) {
                const size_t at = (d * B + b) * H + u;
                for (size_t t = 0; t < T; t++)
                    assert_close((double)y[((t * l->directions + d) * B + b) * H + u], s.y[t][b][u],
                                 1e-5);
                assert_close((double)h[at], s.h[b][u], 1e-5);
                if (c)
                    assert_close((double)c[at], s.c[b][u], 1e-5);
            }
    }
}

static void check(struct layer *l)
{
    static const int64_t acts[] = {1, 0, 0, 1, 0, 0}, gru_acts[] = {1, 0, 1, 0}, rnn_acts[2] = {0};
    static const float numbers[12];
    const size_t rows = l->gates * H, d = l->directions;
    const int64_t *list = l->gates == 4 ? acts : l->gates == 3 ? gru_acts : rnn_acts;
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("direction", l->direction), NB_ATTR_REAL("clip", 0.0),
        NB_ATTR_LIST("acts", list, d * l->acts),
        NB_ATTR_INT(l->gates == 4 ? "input_forget" : "reset_after", l->own)};
    struct plain p = {.op = l->op,
                      .in = {{NB_VALUE_F32, 3, {T, B, I}, l->x},
                             {NB_VALUE_F32, 3, {d, rows, I}, l->w},
                             {NB_VALUE_F32, 3, {d, rows, H}, l->r},
                             {NB_VALUE_F32, 2, {d, 2 * rows}, l->more ? l->bias : NULL},
                             {NB_VALUE_I32, 1, {B}, l->more ? lengths : NULL},
                             {NB_VALUE_F32, 3, {d, B, H}, l->more ? l->h0 : NULL},
                             {NB_VALUE_F32, 2, {d * l->acts, 2}, numbers},
                             {NB_VALUE_F32, 3, {d, B, H}, l->c0},
                             {NB_VALUE_F32, 2, {d, 3 * H}, l->p}},
                      .attrs = attrs,
                      .n_attrs = l->gates == 1 ? 3 : 4};
    struct plain_out out;
    if (l->gates != 4 || !l->more)
        p.in[7].data = p.in[8].data = NULL;
    plain_run_both(&p, &out);
    compare(l, &out);
    plain_free(&out, &p);
}

static void check_all(const struct nb_op *op, size_t gates, size_t acts)
{
    struct layer l = {.op = op, .gates = gates, .acts = acts};
    l.x = plain_floats((size_t)T * B * I, 1);
    l.w = plain_floats(2 * gates * H * I, 2);
    l.r = plain_floats(2 * gates * H * H, 3);
    l.bias = plain_floats(4 * gates * H, 4);
    l.h0 = plain_floats((size_t)2 * B * H, 5);
    l.c0 = plain_floats((size_t)2 * B * H, 6);
    l.p = plain_floats((size_t)6 * H, 7);
    for (size_t i = 0; i < 2 * gates * H * H; i++)
        l.r[i] *= 0.05F;
    for (l.direction = 0; l.direction < 3; l.direction++)
        for (l.own = 0; l.own < (gates == 1 ? 1 : 2); l.own++) {
            l.directions = l.direction == 2 ? 2 : 1;
            l.more = l.direction != 0;
            check(&l);
        }
    free(l.x);
    free(l.w);
    free(l.r);
    free(l.bias);
    free(l.h0);
    free(l.c0);
    free(l.p);
}

static void test_rnn(void **state)
{
    (void)state;
    check_all(&nb_op_rnn, 1, 1);
}

static void test_gru(void **state)
{
    (void)state;
    check_all(&nb_op_gru, 3, 2);
}

static void test_lstm(void **state)
{
    (void)state;
    check_all(&nb_op_lstm, 4, 3);
}

static void test_refusals(void **state)
{
    (void)state;
    static const float x[256];
    const int64_t acts[] = {0, 99};
    struct nb_attr attrs[] = {NB_ATTR_INT("direction", 0), NB_ATTR_REAL("clip", 0.0),
                              NB_ATTR_LIST("acts", acts, 1)};
    struct plain p = {.op = &nb_op_rnn,
                      .in = {{NB_VALUE_F32, 3, {2, 3, 4}, x},
                             {NB_VALUE_F32, 3, {1, 5, 4}, x},
                             {NB_VALUE_F32, 3, {1, 5, 5}, x},
                             {.data = NULL},
                             {.data = NULL},
                             {.data = NULL},
                             {NB_VALUE_F32, 2, {1, 2}, x}},
                      .attrs = attrs,
                      .n_attrs = 3};
    struct plain_out out;
    plain_run_both(&p, &out);
    plain_free(&out, &p);
    p.in[1].dims[2] = 3;
    plain_refused(&p, "input 1 has not");
    p.in[1].dims[2] = 4;
    p.in[2].dims[0] = 2;
    plain_refused(&p, "input 2 has not");
    p.in[2].dims[0] = 1;
    attrs[0].i = 3;
    plain_refused(&p, "direction");
    attrs[0].i = 0;
    attrs[2].i = 2;
    plain_refused(&p, "2 activation functions, expected 1");
    attrs[2].i = 1;
    attrs[2].list = acts + 1;
    plain_refused(&p, "no activation function 99");
    attrs[2].list = acts;
    p.in[0].type = NB_VALUE_F64;
    plain_refused(&p, "float32");
}

NB_TEST_MAIN(cmocka_unit_test(test_rnn), cmocka_unit_test(test_gru), cmocka_unit_test(test_lstm),
             cmocka_unit_test(test_refusals))
