/* ptq/smooth_fold.c: where a value's columns can be divided without a node more: in what makes it.
 *
 *   LayerNorm(x) g + b         g / s, b / s        the operator, or written out: the last Mul and Add
 *   x W + b                    W / s, b / s        MatMul, Gemm
 *   x + c,  relu(x)            c / s, and on to x, if nobody else reads it
 *   x c,  x / c                c / s, c s
 *
 * Constants may be shared (exporters join equal ones), so each node gets a copy of its own. Left out: a constant that is
 * one number, for a GELU's last factor makes engines know it; attention's mix, whose columns are those of v.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

#define DEEPEST 16

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to smooth a net");
}

/* A constant with k columns (rows of a matrix). */
static bool has_columns(const struct nb_edit *e, const struct nb_onnx_node *n, size_t i, size_t k,
                        bool by_rows)
{
    const struct nb_onnx_tensor *t =
        n->n_inputs > i && n->inputs[i][0] != '\0' ? nb_edit_tensor(e, n->inputs[i]) : NULL;
    return t != NULL && t->type == NB_ONNX_FLOAT32 && t->data != NULL && t->n > 0 && t->rank > 0 &&
           (size_t)t->dims[by_rows ? 0 : t->rank - 1] == k && (!by_rows || t->rank == 2);
}

enum nb_status nb_smooth_scale(struct nb_edit *e, size_t node, size_t i, const double *s, size_t k,
                               bool times, bool by_rows, struct nb_error *err)
{
    const struct nb_onnx_tensor *t = nb_edit_tensor(e, e->nodes[node].inputs[i]);
    const char *name = nb_edit_name(e, t->name, "_smooth");
    float *to = nb_arena_alloc(&e->arena, (size_t)t->n, sizeof *to);
    if (to == NULL || name == NULL)
        return no_memory(err);
    nb_net_decode(to, t);
    const size_t per = by_rows ? (size_t)t->n / k : 1; /* elements one behind the other */
    for (size_t j = 0; j < (size_t)t->n; j++) {
        const double by = s[j / per % k];
        to[j] = (float)(times ? (double)to[j] * by : (double)to[j] / by);
    }
    NB_TRY(nb_edit_put(e, name, NB_ONNX_FLOAT32, t->dims, t->rank, to, err));
    return nb_edit_set_input(e, node, i, name, err);
}

/* ---- what makes it ---- */

/* Work on a value. Borrows: all. */
struct folding {
    struct nb_edit *e;
    size_t k;
    const double *s; /* NULL: the question alone */
};

static enum nb_status divide(const struct folding *f, size_t node, size_t i, bool times,
                             bool by_rows, struct nb_error *err)
{
    return f->s == NULL ? NB_OK : nb_smooth_scale(f->e, node, i, f->s, f->k, times, by_rows, err);
}

static bool given(const struct nb_onnx_node *n, size_t i)
{
    return n->n_inputs > i && n->inputs[i][0] != '\0';
}

/* A norm's scale and bias, a product's weights and bias. */
static enum nb_status fold_pair(const struct folding *f, size_t node, bool by_rows, bool *can,
                                struct nb_error *err)
{
    const struct nb_onnx_node n = f->e->nodes[node];
    *can = has_columns(f->e, &n, 1, f->k, by_rows) &&
           (!given(&n, 2) || has_columns(f->e, &n, 2, f->k, false));
    if (!*can)
        return NB_OK;
    NB_TRY(divide(f, node, 1, false, by_rows, err));
    return given(&n, 2) ? divide(f, node, 2, false, false, err) : NB_OK;
}

static int64_t attr_int(const struct nb_onnx_node *n, const char *name, int64_t otherwise)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n, name);
    return a != NULL && a->type == NB_ONNX_ATTR_INT ? a->i : otherwise;
}

/* Of a node that ends the search. false in *is: it is none. */
static enum nb_status fold_end(const struct folding *f, size_t node, bool *is, bool *can,
                               struct nb_error *err)
{
    const struct nb_onnx_node *n = &f->e->nodes[node];
    *is = true;
    if (nb_ptq_is_norm(n) || nb_str_eq(n->op_type, "MatMul"))
        return fold_pair(f, node, false, can, err);
    if (nb_str_eq(n->op_type, "Gemm"))
        return fold_pair(f, node, attr_int(n, "transB", 0) != 0, can, err);
    *is = nb_str_eq(n->op_type, "Mul") || nb_str_eq(n->op_type, "Div");
    if (!*is || n->n_inputs != 2)
        return NB_OK;
    const bool by = nb_str_eq(n->op_type, "Div");
    for (size_t i = by; i < 2 && !*can; i++) {
        *can =
            has_columns(f->e, n, i, f->k, false) && nb_edit_tensor(f->e, n->inputs[1 - i]) == NULL;
        if (*can)
            return divide(f, node, i, by, false, err);
    }
    return NB_OK;
}

static bool is_passed(const struct nb_onnx_node *n)
{
    return nb_str_eq(n->op_type, "Relu") || nb_str_eq(n->op_type, "LeakyRelu");
}

enum nb_status nb_smooth_fold(struct nb_edit *e, const char *name, size_t k, const double *s,
                              bool *can, struct nb_error *err)
{
    const struct folding f = {e, k, s};
    *can = false;
    for (int depth = 0; depth < DEEPEST; depth++) {
        const size_t node = nb_edit_producer(e, name);
        size_t reader;
        bool is;
        if (node == SIZE_MAX || !nb_str_eq(e->nodes[node].outputs[0], name) ||
            (depth > 0 && nb_edit_readers(e, name, &reader) != 1))
            return NB_OK;
        NB_TRY(fold_end(&f, node, &is, can, err));
        if (is)
            return NB_OK;
        const struct nb_onnx_node n = e->nodes[node];
        size_t side = 0;
        if (nb_str_eq(n.op_type, "Add") || nb_str_eq(n.op_type, "Sub")) {
            side = has_columns(e, &n, 0, k, false) ? 1 : 0; /* the other than the constant */
            if (!has_columns(e, &n, 1 - side, k, false))
                return NB_OK;
            NB_TRY(divide(&f, node, 1 - side, false, false, err));
        } else if (!is_passed(&n))
            return NB_OK;
        name = n.inputs[side];
    }
    return NB_OK;
}

/* ---- a product of its own ---- */

static bool is_float(const struct nb_edit *e, const char *name, int depth)
{
    const size_t node = nb_edit_producer(e, name);
    if (node == SIZE_MAX || depth == 0)
        return false;
    const struct nb_onnx_node *n = &e->nodes[node];
    if (nb_ptq_is_norm(n) || nb_ptq_is_curve(n))
        return true;
    if (!nb_str_eq(n->op_type, "Add") && !nb_str_eq(n->op_type, "Mul"))
        return false;
    for (size_t i = 0; i < n->n_inputs; i++)
        if (is_float(e, n->inputs[i], depth - 1))
            return true;
    return false;
}

bool nb_smooth_is_float(const struct nb_edit *e, const char *name)
{
    return is_float(e, name, 4); /* a GELU's factors, a norm's */
}
