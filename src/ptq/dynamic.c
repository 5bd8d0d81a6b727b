/* ptq/dynamic.c: products with constant weights in 8 bits, their inputs quantized as they come: no samples, no ranges.
 *
 * MatMul and Gemm with a constant matrix on the right become what ONNX Runtime joins to one kernel:
 *
 *     DynamicQuantizeLinear(x) -> codes, scale, zero point       (one for all readers of x)
 *     MatMulInteger(codes, W, zero point) -> Cast -> times scale * scales of W [-> Add of the bias]
 *
 * W is int8, rounded to nearest, symmetric, a scale for each column. Everything else stays float. Convolutions are left:
 * their engines have no fast form of it.
 */
#include <math.h>
#include <string.h>

#include "net/net.h"
#include "ptq/ptq_internal.h"

#define LEAST_OPSET 11 /* DynamicQuantizeLinear */

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize products");
}

/* Names of an input's codes, scale and zero point. */
struct codes {
    const char *of;
    const char *part[3];
};

/* Of a weight: codes (k, n), scales (n). */
struct columns {
    const struct nb_product *p;
    const char *codes, *scales;
};

struct work {
    struct nb_edit *e;
    struct nb_ptq_report *report;
    struct codes *inputs;
    struct columns *weights;
    size_t n_inputs, n_weights;
};

/* ---- nodes ---- */

static enum nb_status add(struct nb_edit *e, const char *type, const char *const *in, size_t n_in,
                          const char *const *out, size_t n_out, const struct nb_onnx_attr *attr,
                          struct nb_error *err)
{
    const struct nb_onnx_node n = {.op_type = type,
                                   .inputs = in,
                                   .n_inputs = n_in,
                                   .outputs = out,
                                   .n_outputs = n_out,
                                   .attrs = attr,
                                   .n_attrs = attr != NULL};
    return nb_edit_put_node(e, &n, "_node", err);
}

/* ---- what is quantized ---- */

static enum nb_status quantize_input(struct work *w, const char *x, const struct codes **out,
                                     struct nb_error *err)
{
    for (size_t i = 0; i < w->n_inputs; i++)
        if (nb_str_eq(w->inputs[i].of, x)) {
            *out = &w->inputs[i];
            return NB_OK;
        }
    struct codes *c = &w->inputs[w->n_inputs++];
    *c = (struct codes){x,
                        {nb_edit_name(w->e, x, "_q"), nb_edit_name(w->e, x, "_scale"),
                         nb_edit_name(w->e, x, "_zero")}};
    *out = c;
    return add(w->e, "DynamicQuantizeLinear", &c->of, 1, c->part, 3, NULL, err);
}

/* Column j of the product's matrix, as doubles. */
static double element(const struct nb_product *p, const float *w, uint64_t k, uint64_t j)
{
    return p->alpha * (double)(p->turned ? w[j * p->k + k] : w[k * p->n + j]);
}

static enum nb_status round_columns(struct work *t, const struct nb_product *p, const float *w,
                                    int8_t *codes, float *scales, struct nb_error *err)
{
    for (uint64_t j = 0; j < p->n; j++) {
        double most = 0.0;
        for (uint64_t k = 0; k < p->k; k++) {
            const double x = fabs(element(p, w, k, j));
            if (!isfinite(x))
                NB_FAIL(err, NB_ERR_NUMERIC, "weight '%s' has a value that is not finite",
                        p->w.name);
            most = NB_MAX(most, x);
        }
        scales[j] = most > 0.0 ? (float)(most / 127.0) : 1.0F;
        if (!isnormal(scales[j]))
            scales[j] = 1.0F; /* nothing that float products would tell from 0 */
        for (uint64_t k = 0; k < p->k; k++) {
            const double x = element(p, w, k, j), s = (double)scales[j];
            const double code = NB_MAX(NB_MIN(rint(x / s), 127.0), -127.0);
            codes[k * p->n + j] = (int8_t)code;
            t->report->weight_signal += x * x;
            t->report->weight_noise += (x - code * s) * (x - code * s);
        }
    }
    return NB_OK;
}

static enum nb_status quantize_weight(struct work *w, const struct nb_product *p,
                                      const struct columns **out, struct nb_error *err)
{
    for (size_t i = 0; i < w->n_weights; i++) {
        *out = &w->weights[i];
        const struct nb_product *is = (*out)->p;
        if (nb_str_eq(is->w.name, p->w.name) && is->turned == p->turned && is->alpha == p->alpha)
            return NB_OK;
    }
    struct nb_edit *e = w->e;
    const size_t n = (size_t)(p->n * p->k);
    struct columns *c = &w->weights[w->n_weights++];
    *out = c;
    float *floats = nb_arena_alloc(&e->arena, n, sizeof *floats);
    float *scales = nb_arena_alloc(&e->arena, (size_t)p->n, sizeof *scales);
    int8_t *codes = nb_arena_alloc(&e->arena, n, sizeof *codes);
    int64_t *dims = nb_arena_alloc(&e->arena, 3, sizeof *dims);
    if (floats == NULL || scales == NULL || codes == NULL || dims == NULL)
        return no_memory(err);
    nb_net_decode(floats, &p->w);
    NB_TRY(round_columns(w, p, floats, codes, scales, err));
    *c = (struct columns){p, nb_edit_name(e, p->w.name, "_q8"),
                          nb_edit_name(e, p->w.name, "_scales")};
    dims[0] = (int64_t)p->k;
    dims[1] = dims[2] = (int64_t)p->n;
    NB_TRY(nb_edit_put(e, c->codes, NB_ONNX_INT8, dims, 2, codes, err));
    return nb_edit_put(e, c->scales, NB_ONNX_FLOAT32, dims + 2, 1, scales, err);
}

/* ---- all of it ---- */

static enum nb_status replace(struct work *w, const struct nb_product *p, struct nb_error *err)
{
    static const struct nb_onnx_attr to_float = {
        .name = "to", .type = NB_ONNX_ATTR_INT, .i = NB_ONNX_FLOAT32};
    struct nb_edit *e = w->e;
    const char *y = e->nodes[p->node].outputs[0];
    const struct codes *x = NULL;
    const struct columns *c = NULL;
    NB_TRY(quantize_input(w, p->input, &x, err));
    NB_TRY(quantize_weight(w, p, &c, err));
    const char *sums = nb_edit_name(e, y, "_sums"), *real = nb_edit_name(e, y, "_cast");
    const char *scale = nb_edit_name(e, y, "_scales");
    const char *product = p->bias != NULL ? nb_edit_name(e, y, "_product") : y;
    nb_edit_drop(e, p->node);
    NB_TRY(add(e, "MatMulInteger", (const char *[]){x->part[0], c->codes, x->part[2]}, 3, &sums, 1,
               NULL, err));
    NB_TRY(add(e, "Cast", &sums, 1, &real, 1, &to_float, err));
    NB_TRY(add(e, "Mul", (const char *[]){x->part[1], c->scales}, 2, &scale, 1, NULL, err));
    NB_TRY(add(e, "Mul", (const char *[]){real, scale}, 2, &product, 1, NULL, err));
    if (p->bias != NULL)
        NB_TRY(add(e, "Add", (const char *[]){product, p->bias}, 2, &y, 1, NULL, err));
    w->report->n_quantized++;
    return NB_OK;
}

static enum nb_status run(struct nb_ptq *t, const char *const *keep, size_t n_keep,
                          struct nb_error *err)
{
    struct nb_edit *e = &t->edit;
    struct work w = {.e = e, .report = &t->report};
    struct nb_product *list;
    size_t n;
    const int64_t opset = nb_onnx_opset_version(&e->model, "");
    if (opset < LEAST_OPSET)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "operator set %lld; inputs are quantized as they come from %d on", (long long)opset,
                LEAST_OPSET);
    NB_TRY(nb_ptq_simplify(e, err));
    NB_TRY(nb_ptq_products(e, keep, n_keep, &list, &n, err));
    if (n == 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "no MatMul or Gemm with constant weights: nothing to make smaller");
    w.inputs = nb_arena_alloc(&e->arena, n, sizeof *w.inputs);
    w.weights = nb_arena_alloc(&e->arena, n, sizeof *w.weights);
    if (w.inputs == NULL || w.weights == NULL)
        return no_memory(err);
    t->report.float_bytes = nb_edit_bytes(e);
    for (size_t i = 0; i < e->n_nodes; i++)
        t->report.n_nodes += e->nodes[i].op_type != NULL;
    struct nb_ptq_node *nodes = nb_ptq_list_nodes(e, keep, n_keep, &t->report);
    if (nodes == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        nodes[list[i].node].fate = NB_PTQ_IS_QUANTIZED;
        NB_TRY(replace(&w, &list[i], err));
    }
    t->report.n_activations = w.n_inputs;
    t->report.bytes = nb_edit_bytes(e);
    return nb_edit_model(e, &t->model, err);
}

enum nb_status nb_ptq_create_dynamic(struct nb_ptq **out, const struct nb_onnx_model *m,
                                     const char *const *keep, size_t n_keep,
                                     const struct nb_allocator *a, struct nb_error *err)
{
    NB_TRY(nb_ptq_begin(out, m, a, err));
    return nb_ptq_end(out, run(*out, keep, n_keep, err));
}
