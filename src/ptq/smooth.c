/* ptq/smooth.c: outliers of activations go into the weights (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438, section 4),
 * before grids are found. For each column j of a value that products with constant weights read:
 *
 *   s_j = max |X_j|^alpha / max |W_j|^(1 - alpha),     X_j / s_j,     W_j s_j
 *
 * All products that read a value share s. The division goes into what makes the value (smooth_fold.c). Where somebody
 * else reads it too, or what makes it lets no factor pass, it is a product of its own in front, if that stays float and a
 * channel is much larger than most. What the net computes is compared on some samples before and after.
 *
 * Beside the paper: maxima below 1e-5 count as that. Left out: attention's mix, that is the columns of v.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/math.h"
#include "ptq/ptq_internal.h"

#define FLOOR   1e-5
#define UNEVEN  4.0  /* times the median: worth a product */
#define COMPARE 4    /* samples */
#define SAME    1e-5 /* of the signal: noise that rounding to f32 explains */

/* A value and the products that read it. Owns (in arena): x, w, s. */
struct site {
    const char *name;
    size_t k;
    float *x, *w; /* (k) magnitudes of its columns over the samples, of the weights */
    double *s;    /* (k) */
    bool alone;   /* nobody else reads it */
};

/* Borrows: all. */
struct smoothing {
    struct nb_edit *e;
    struct nb_product *products;
    struct site *sites;
    size_t n_products, n_sites;
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to smooth a net");
}

/* ---- the sites ---- */

static void add_weights(struct site *t, const struct nb_product *p)
{
    for (size_t i = 0; i < (size_t)p->w.n; i++) {
        const size_t j = p->turned ? i % t->k : i / (size_t)p->n;
        float x;
        memcpy(&x, p->w.data + i * sizeof x, sizeof x);
        t->w[j] = fmaxf(t->w[j], fabsf(x));
    }
}

static enum nb_status add_site(struct smoothing *z, const struct nb_product *p,
                               struct nb_error *err)
{
    struct site *t = z->sites;
    const size_t k = (size_t)p->k;
    while (t < z->sites + z->n_sites && !nb_str_eq(t->name, p->input))
        t++;
    if (t < z->sites + z->n_sites) {
        if (t->k == k)
            add_weights(t, p);
        return NB_OK;
    }
    *t = (struct site){.name = p->input,
                       .k = k,
                       .x = nb_arena_alloc(&z->e->arena, k, sizeof *t->x),
                       .w = nb_arena_alloc(&z->e->arena, k, sizeof *t->w),
                       .s = nb_arena_alloc(&z->e->arena, k, sizeof *t->s)};
    if (t->x == NULL || t->w == NULL || t->s == NULL)
        return no_memory(err);
    z->n_sites++;
    add_weights(t, p);
    return NB_OK;
}

static bool reads(const struct nb_onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_inputs; i++)
        if (nb_str_eq(n->inputs[i], name))
            return true;
    return false;
}

/* Do these products alone read it, whoever asks for its shape? */
static bool is_alone(const struct smoothing *z, const struct site *t)
{
    size_t n_readers = 0, n_products = 0;
    if (nb_edit_is_output(z->e, t->name) || nb_edit_read_inside(z->e, t->name))
        return false;
    for (size_t i = 0; i < z->e->n_nodes; i++)
        n_readers += z->e->nodes[i].op_type != NULL && reads(&z->e->nodes[i], t->name) &&
                     !nb_str_eq(z->e->nodes[i].op_type, "Shape");
    for (size_t i = 0; i < z->n_products; i++)
        n_products += nb_str_eq(z->products[i].input, t->name);
    return n_readers == n_products;
}

static enum nb_status find_sites(struct smoothing *z, struct nb_error *err)
{
    size_t n = 0;
    NB_TRY(nb_ptq_products(z->e, NULL, 0, &z->products, &z->n_products, err));
    for (size_t i = 0; i < z->n_products; i++)
        if (z->products[i].w.type == NB_ONNX_FLOAT32)
            z->products[n++] = z->products[i];
    z->n_products = n;
    z->sites = nb_arena_alloc(&z->e->arena, n + 1, sizeof *z->sites);
    if (z->sites == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        NB_TRY(add_site(z, &z->products[i], err));
    for (size_t i = 0; i < z->n_sites; i++)
        z->sites[i].alone = is_alone(z, &z->sites[i]);
    return NB_OK;
}

/* ---- the scales ---- */

static void find_scales(struct site *t, double alpha)
{
    for (size_t j = 0; j < t->k; j++) {
        const double x = NB_MAX((double)t->x[j], FLOOR), w = NB_MAX((double)t->w[j], FLOOR);
        t->s[j] = NB_MAX(nb_pow(x, alpha) / nb_pow(w, 1.0 - alpha), FLOOR);
    }
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Is a channel much larger than most? sorted: (k) scratch */
static bool is_uneven(const struct site *t, float *sorted)
{
    memcpy(sorted, t->x, t->k * sizeof *sorted);
    qsort(sorted, t->k, sizeof *sorted, compare_floats);
    return (double)sorted[t->k - 1] > UNEVEN * (double)sorted[t->k / 2];
}

/* ---- into the net ---- */

/* name / s, which the products read from now on. */
static enum nb_status multiply(struct smoothing *z, const struct site *t, struct nb_error *err)
{
    struct nb_edit *e = z->e;
    int64_t *dims = nb_arena_alloc(&e->arena, 1, sizeof *dims);
    float *by = nb_arena_alloc(&e->arena, t->k, sizeof *by);
    const char *in[] = {t->name, nb_edit_name(e, t->name, "_scale")};
    const char *out = nb_edit_name(e, t->name, "_smooth");
    if (dims == NULL || by == NULL || in[1] == NULL || out == NULL)
        return no_memory(err);
    dims[0] = (int64_t)t->k;
    for (size_t j = 0; j < t->k; j++)
        by[j] = (float)(1.0 / t->s[j]);
    NB_TRY(nb_edit_put(e, in[1], NB_ONNX_FLOAT32, dims, 1, by, err));
    for (size_t i = 0; i < z->n_products; i++)
        if (nb_str_eq(z->products[i].input, t->name))
            NB_TRY(nb_edit_set_input(e, z->products[i].node, 0, out, err));
    const struct nb_onnx_node n = {
        .op_type = "Mul", .inputs = in, .n_inputs = 2, .outputs = &out, .n_outputs = 1};
    return nb_edit_put_node(e, &n, "_mul", err);
}

static enum nb_status apply(struct smoothing *z, const struct site *t, bool fold,
                            struct nb_error *err)
{
    bool can;
    for (size_t i = 0; i < z->n_products; i++) {
        const struct nb_product *p = &z->products[i];
        if (nb_str_eq(p->input, t->name))
            NB_TRY(nb_smooth_scale(z->e, p->node, 1, t->s, t->k, true, !p->turned, err));
    }
    return fold ? nb_smooth_fold(z->e, t->name, t->k, t->s, &can, err) : multiply(z, t, err);
}

static enum nb_status apply_all(struct smoothing *z, double alpha, struct nb_ptq_smoothed *report,
                                struct nb_error *err)
{
    size_t most = 0;
    for (size_t i = 0; i < z->n_sites; i++)
        most = NB_MAX(most, z->sites[i].k);
    float *sorted = nb_arena_alloc(&z->e->arena, most + 1, sizeof *sorted);
    if (sorted == NULL)
        return no_memory(err);
    for (size_t i = 0; i < z->n_sites; i++) {
        struct site *t = &z->sites[i];
        bool can = false;
        if (t->alone)
            NB_TRY(nb_smooth_fold(z->e, t->name, t->k, NULL, &can, err));
        if (!can && !nb_smooth_is_float(z->e, t->name)) {
            report->n_stuck++;
            continue;
        }
        if (!can && !is_uneven(t, sorted)) {
            report->n_even++;
            continue;
        }
        find_scales(t, alpha);
        *(can ? &report->n_folded : &report->n_multiplied) += 1;
        NB_TRY(apply(z, t, can, err));
    }
    return NB_OK;
}

/* ---- does the net compute what it did? ---- */

static enum nb_status check(const struct nb_onnx_model *before, const struct nb_onnx_model *after,
                            const struct nb_net_options *options, const struct nb_ptq_data *data,
                            struct nb_pool *pool, const struct nb_allocator *a,
                            struct nb_error *err)
{
    struct nb_ptq_data some = *data;
    struct nb_ptq_error *errors =
        nb_alloc_zero(a, before->graph.n_outputs + 1, sizeof(struct nb_ptq_error));
    if (errors == NULL)
        return no_memory(err);
    some.n_samples = NB_MIN(data->n_samples, (size_t)COMPARE);
    some.labels = NULL;
    some.progress = NULL;
    enum nb_status st = nb_ptq_measure(errors, before, after, options, &some, pool, a, err);
    for (size_t i = 0; i < before->graph.n_outputs && st == NB_OK; i++)
        if (errors[i].of.noise > SAME * errors[i].of.signal)
            st = NB_ERROR(err, NB_ERR_NUMERIC,
                          "smoothed, output '%s' is another: %.1e of its signal",
                          before->graph.outputs[i].name, errors[i].of.noise / errors[i].of.signal);
    nb_free(a, errors);
    return st;
}

enum nb_status nb_ptq_smooth(struct nb_edit *e, double alpha, const struct nb_net_options *options,
                             const struct nb_ptq_data *data, struct nb_pool *pool,
                             struct nb_ptq_smoothed *report, struct nb_error *err)
{
    struct smoothing z = {.e = e};
    struct nb_onnx_model before, after;
    *report = (struct nb_ptq_smoothed){.alpha = alpha};
    NB_TRY(find_sites(&z, err));
    if (z.n_sites == 0)
        return NB_OK;
    struct nb_channels *list = nb_arena_alloc(&e->arena, z.n_sites, sizeof *list);
    if (list == NULL)
        return no_memory(err);
    for (size_t i = 0; i < z.n_sites; i++)
        list[i] = (struct nb_channels){z.sites[i].name, z.sites[i].k, true, z.sites[i].x, 0};
    NB_TRY(nb_ptq_find_largest(e, list, z.n_sites, options, data, pool, err));
    NB_TRY(nb_edit_model(e, &before, err));
    NB_TRY(apply_all(&z, alpha, report, err));
    NB_TRY(nb_edit_model(e, &after, err));
    return check(&before, &after, options, data, pool, e->a, err);
}
