/* Cases of the activation functions and of the layer norm. */
#include "cases.h"

/* Variants 0 to 9: each of the five functions, the output apart or in place of the first input. */
size_t act_count(void)
{
    return length_count() * 5;
}

void act_case(struct kase *c, size_t i)
{
    length_case(c, i % length_count());
    c->variant += 2 * (unsigned)(i / length_count());
}

static enum nb_act act_of(const struct kase *c)
{
    return (enum nb_act)(c->variant / 2);
}

static void setup(struct work *w, const struct kase *c, size_t n_inputs)
{
    float *x = floats(w, 0, c->n, c);
    if (n_inputs > 1)
        floats(w, 1, c->n, c);
    if (c->variant % 2) {
        w->p[2] = x;
        work_add_out(w, x, c->n * sizeof *x, true);
    } else {
        out_floats(w, 2, c->n, c);
    }
}

void setup_act(struct work *w, const struct kase *c)
{
    setup(w, c, 1);
}

void call_act(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_act_f32_fn *)fn)(w->p[2], w->p[0], c->n, act_of(c));
}

void call_act_grad(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_act_grad_f32_fn *)fn)(w->p[2], w->p[0], c->n, act_of(c));
}

void setup_glu(struct work *w, const struct kase *c)
{
    setup(w, c, 2);
}

void call_glu(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_glu_f32_fn *)fn)(w->p[2], w->p[0], w->p[1], c->n, act_of(c));
}

void call_erf(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_erf_f32_fn *)fn)(w->p[2], w->p[0], c->n);
}

void call_sigmoid(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_sigmoid_f32_fn *)fn)(w->p[2], w->p[0], c->n);
}

void call_softcap(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_softcap_f32_fn *)fn)(w->p[2], w->p[0], c->n, 0.02F * (float)(1 + c->n % 64), 50.0F);
}

void setup_layernorm(struct work *w, const struct kase *c)
{
    floats(w, 0, c->n, c);
    floats(w, 1, c->n, c);
    floats(w, 2, c->n, c);
    out_floats(w, 3, c->n, c);
}

/* Variant 1: no bias. */
void call_layernorm(void (*fn)(void), struct work *w, const struct kase *c)
{
    const float *bias = c->variant ? NULL : w->p[2];
    ((nb_layernorm_f32_fn *)fn)(w->p[3], w->p[0], w->p[1], bias, c->n, 1e-5F);
}
