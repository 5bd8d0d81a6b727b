/* ptq/nbits.c: weights of products in 4 or 8 bits, everything else float: MatMul and Gemm with a constant on the
 * right become com.microsoft's MatMulNBits (ONNX Runtime, docs/ContribOperators.md):
 *
 *     B       uint8 (N, blocks of K, block * bits / 8)   codes, the first in the low bits
 *     scales  float (N, blocks)
 *     zeros   uint8 (N, ceil(blocks * bits / 8)), packed like B, or float (N, blocks); absent: 2^(bits - 1)
 *     Y = A W^T, W[n, k] = (code - zero) * scale
 *
 * A general grid (numfmt/grid.h) of groups has these codes and zeros as they are. The last block of a row that K does
 * not fill has zeros behind it. Biases become an Add behind the product. Or the same codes as ONNX has them (nbits_qdq.c). Not: products of two activations, of a
 * constant on the left, of stacks of matrices; convolutions; embeddings.
 */
#include <math.h>
#include <string.h>

#include "net/net.h"
#include "ptq/ptq_internal.h"

#define DOMAIN "com.microsoft"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize weights");
}

/* ---- which nodes ---- */

static double real_of(const struct nb_onnx_node *n, const char *name)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n, name);
    return a != NULL && a->type == NB_ONNX_ATTR_FLOAT ? (double)a->f : 1.0;
}

static bool flag_of(const struct nb_onnx_node *n, const char *name)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n, name);
    return a != NULL && a->type == NB_ONNX_ATTR_INT && a->i != 0;
}

static bool is_matrix(const struct nb_onnx_tensor *t)
{
    enum nb_value_type type;
    return t != NULL && t->rank == 2 && t->n > 0 && t->data != NULL && t->n < UINT32_MAX &&
           nb_net_type(t->type, &type) && type == NB_VALUE_F32;
}

/* Is node i a product that can be changed? */
static bool find_product(const struct nb_edit *e, size_t i, struct nb_product *p)
{
    const struct nb_onnx_node *n = &e->nodes[i];
    const bool own = n->domain == NULL || n->domain[0] == '\0' || nb_str_eq(n->domain, "ai.onnx");
    const bool gemm = n->op_type != NULL && nb_str_eq(n->op_type, "Gemm");
    if (!own || n->op_type == NULL || (!gemm && !nb_str_eq(n->op_type, "MatMul")) ||
        n->n_inputs < 2 || nb_edit_tensor(e, n->inputs[0]) != NULL ||
        !is_matrix(nb_edit_tensor(e, n->inputs[1])))
        return false;
    *p = (struct nb_product){.node = i,
                             .input = n->inputs[0],
                             .w = *nb_edit_tensor(e, n->inputs[1]),
                             .alpha = gemm ? real_of(n, "alpha") : 1.0,
                             .turned = gemm && flag_of(n, "transB")};
    p->n = (uint64_t)p->w.dims[p->turned ? 0 : 1];
    p->k = (uint64_t)p->w.dims[p->turned ? 1 : 0];
    if (gemm && n->n_inputs > 2 && n->inputs[2][0] != '\0')
        p->bias = n->inputs[2];
    return !(gemm && (flag_of(n, "transA") || (p->bias != NULL && real_of(n, "beta") != 1.0)));
}

enum nb_status nb_ptq_products(struct nb_edit *e, const char *const *keep, size_t n_keep,
                               struct nb_product **list, size_t *n, struct nb_error *err)
{
    *list = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof **list);
    *n = 0;
    if (*list == NULL)
        return no_memory(err);
    for (size_t i = 0; i < e->n_nodes; i++)
        if (find_product(e, i, &(*list)[*n]) && !nb_ptq_is_kept(&e->nodes[i], keep, n_keep))
            ++*n;
    return NB_OK;
}

/* ---- what takes their place ---- */

static enum nb_status put(struct nb_edit *e, const char *name, int32_t type, const uint64_t *dims,
                          size_t rank, const void *data, struct nb_error *err)
{
    int64_t *copy = nb_arena_alloc(&e->arena, rank + 1, sizeof *copy);
    if (copy == NULL)
        return no_memory(err);
    for (size_t i = 0; i < rank; i++)
        copy[i] = (int64_t)dims[i];
    return nb_edit_put(e, name, type, copy, rank, data, err);
}

/* Bits of the parts as initializers; names[0..2]: B, scales, zeros ("" without). */
static enum nb_status put_parts(struct nb_edit *e, const struct nb_product *p,
                                const struct nb_nbits *q, const char *names[3],
                                struct nb_error *err)
{
    const uint64_t codes[] = {p->n, q->blocks, (uint64_t)q->block * q->bits / 8};
    const uint64_t scales[] = {p->n, q->blocks};
    const uint64_t zeros[] = {p->n, (q->blocks * q->bits + 7) / 8};
    names[0] = nb_edit_name(e, p->w.name, q->bits == 4 ? "_q4" : "_q8");
    names[1] = nb_edit_name(e, p->w.name, "_scales");
    names[2] = "";
    NB_TRY(put(e, names[0], NB_ONNX_UINT8, codes, 3, q->codes, err));
    NB_TRY(put(e, names[1], NB_ONNX_FLOAT32, scales, 2, q->scales, err));
    if (q->zeros == NULL && q->real_zeros == NULL)
        return NB_OK;
    names[2] = nb_edit_name(e, p->w.name, "_zeros");
    return q->zeros != NULL ? put(e, names[2], NB_ONNX_UINT8, zeros, 2, q->zeros, err)
                            : put(e, names[2], NB_ONNX_FLOAT32, scales, 2, q->real_zeros, err);
}

static enum nb_status add_bias(struct nb_edit *e, size_t node, const char *bias,
                               struct nb_error *err)
{
    const char *y = e->nodes[node].outputs[0];
    const char *in[] = {nb_edit_name(e, y, "_product"), bias};
    if (in[0] == NULL)
        return no_memory(err);
    NB_TRY(nb_edit_set_output(e, node, 0, in[0], err));
    const struct nb_onnx_node n = {
        .op_type = "Add", .inputs = in, .n_inputs = 2, .outputs = &y, .n_outputs = 1};
    return nb_edit_put_node(e, &n, "_bias", err);
}

/* The product's node as MatMulNBits, or with dequantized weights (names[0]) as MatMul. */
static enum nb_status replace(struct nb_edit *e, const struct nb_product *p,
                              const struct nb_nbits *q, const char *const names[3], bool qdq,
                              struct nb_error *err)
{
    struct nb_onnx_node *n = &e->nodes[p->node];
    const char **inputs = nb_arena_alloc(&e->arena, 4, sizeof *inputs);
    struct nb_onnx_attr *attrs = nb_arena_alloc(&e->arena, 4, sizeof *attrs);
    if (inputs == NULL || attrs == NULL)
        return no_memory(err);
    inputs[0] = p->input;
    memcpy(inputs + 1, names, 3 * sizeof *inputs);
    const struct nb_onnx_attr all[] = {
        {.name = "K", .type = NB_ONNX_ATTR_INT, .i = (int64_t)p->k},
        {.name = "N", .type = NB_ONNX_ATTR_INT, .i = (int64_t)p->n},
        {.name = "bits", .type = NB_ONNX_ATTR_INT, .i = q->bits},
        {.name = "block_size", .type = NB_ONNX_ATTR_INT, .i = q->block}};
    memcpy(attrs, all, sizeof all);
    n->op_type = qdq ? "MatMul" : "MatMulNBits";
    n->domain = qdq ? "" : DOMAIN;
    n->inputs = inputs;
    n->n_inputs = qdq ? 2 : names[2][0] != '\0' ? 4 : 3;
    n->attrs = attrs;
    n->n_attrs = qdq ? 0 : NB_COUNTOF(all);
    return p->bias != NULL ? add_bias(e, p->node, p->bias, err) : NB_OK;
}

/* ---- all of it ---- */

/* What a weight has become, for the next product that reads it. */
struct done {
    const struct nb_product *p;
    struct nb_nbits q;
    const char *names[3];
};

static const struct done *find_done(const struct done *all, size_t n, const struct nb_product *p)
{
    for (size_t i = 0; i < n; i++)
        if (nb_str_eq(all[i].p->w.name, p->w.name) && all[i].p->turned == p->turned &&
            all[i].p->alpha == p->alpha)
            return &all[i];
    return NULL;
}

static enum nb_status change_all(struct nb_ptq *t, const struct nb_rounding *r,
                                 const struct nb_product *list, size_t n,
                                 const struct nb_nbits_seen *moments, bool qdq,
                                 struct nb_error *err)
{
    struct nb_edit *e = &t->edit;
    struct done *done = nb_arena_alloc(&e->arena, n + 1, sizeof *done);
    size_t n_done = 0;
    if (done == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct done *have = find_done(done, n_done, &list[i]);
        if (have == NULL) {
            struct done *d = &done[n_done++];
            d->p = &list[i];
            const enum nb_status st = nb_nbits_round(
                &d->q, r, &list[i], nb_nbits_moment(moments, list[i].input), e, &t->report, err);
            if (st != NB_OK)
                return nb_error_prefix(err, st, "weight '%s'", list[i].w.name);
            NB_TRY(qdq ? nb_nbits_dequantize(e, d->p, &d->q, d->names, err)
                       : put_parts(e, d->p, &d->q, d->names, err));
            have = d;
        }
        NB_TRY(replace(e, &list[i], &have->q, have->names, qdq, err));
        t->report.n_quantized++;
    }
    return qdq ? NB_OK : nb_edit_import_domain(e, DOMAIN, 1, err);
}

/* One entry for each value that products read. */
static enum nb_status list_inputs(struct nb_edit *e, struct nb_nbits_seen *job,
                                  const struct nb_rounding *r, const struct nb_product *list,
                                  size_t n, struct nb_error *err)
{
    job->of = nb_arena_alloc(&e->arena, n + 1, sizeof *job->of);
    if (job->of == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t k = 0; k < job->n; k++)
            known = known || nb_str_eq(job->of[k].input, list[i].input);
        if (!known)
            job->of[job->n++] = (struct nb_nbits_input){.input = list[i].input,
                                                        .cols = (size_t)list[i].k,
                                                        .wide = nb_nbits_wide(r, list[i].k)};
    }
    return NB_OK;
}

static enum nb_status see_inputs(struct nb_ptq *t, struct nb_nbits_seen *job,
                                 const struct nb_net_options *options,
                                 const struct nb_ptq_data *data, struct nb_pool *pool,
                                 struct nb_error *err)
{
    struct nb_net *net;
    NB_TRY(nb_edit_model(&t->edit, &t->simple, err));
    NB_TRY(nb_net_import(&net, &t->simple, options, t->a, err));
    enum nb_status st = nb_ptq_check_data(net, data, err);
    if (st == NB_OK)
        st = nb_nbits_moments(job, net, data, pool, t->a, err);
    nb_net_close(net);
    return st;
}

static enum nb_status run(struct nb_ptq *t, const struct nb_net_options *options,
                          const struct nb_ptq_weight_options *o, const struct nb_ptq_data *data,
                          struct nb_nbits_seen *moments, struct nb_pool *pool, struct nb_error *err)
{
    struct nb_rounding r;
    struct nb_product *list;
    size_t n;
    NB_TRY(nb_rounding_init(&r, o, data->n_samples > 0, pool, t->a, err));
    NB_TRY(nb_ptq_simplify(&t->edit, err));
    NB_TRY(nb_ptq_products(&t->edit, o->keep, o->n_keep, &list, &n, err));
    if (n == 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "no MatMul or Gemm with constant weights: nothing to make smaller");
    if (o->qdq)
        NB_TRY(nb_ptq_raise_for_blocks(&t->edit, err));
    t->report.float_bytes = nb_edit_bytes(&t->edit);
    for (size_t i = 0; i < t->edit.n_nodes; i++)
        t->report.n_nodes += t->edit.nodes[i].op_type != NULL;
    if (data->n_samples > 0 && !o->planning) {
        NB_TRY(list_inputs(&t->edit, moments, &r, list, n, err));
        NB_TRY(see_inputs(t, moments, options, data, pool, err));
    }
    struct nb_ptq_node *nodes = nb_ptq_list_nodes(&t->edit, o->keep, o->n_keep, &t->report);
    if (nodes == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        nodes[list[i].node].fate = NB_PTQ_IS_QUANTIZED;
    NB_TRY(change_all(t, &r, list, n, moments, o->qdq, err));
    t->report.bytes = nb_edit_bytes(&t->edit);
    return nb_edit_model(&t->edit, &t->model, err);
}

enum nb_status nb_ptq_create_weights(struct nb_ptq **out, const struct nb_onnx_model *m,
                                     const struct nb_net_options *net,
                                     const struct nb_ptq_weight_options *o,
                                     const struct nb_ptq_data *data, struct nb_pool *pool,
                                     const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_nbits_seen moments = {.n = 0};
    NB_TRY(nb_ptq_begin(out, m, a, err));
    const enum nb_status st = run(*out, net, o, data, &moments, pool, err);
    for (size_t i = 0; i < moments.n; i++)
        nb_hessian_destroy(moments.of[i].h);
    return nb_ptq_end(out, st);
}
