/* ptq/round.c: weights of layers on their grids, by the algorithms of language models (quant/), and what biases owe to
 * that.
 *
 * A layer is a matrix (layers.c), each group of a convolution one of its own with second moments of its own: of a
 * depthwise one a row of as many columns as its window has. Grids: integers -127 .. 127 (-7 .. 7), a float scale for
 * each row or one for all rows of the layer.
 *
 * Biases (analytic): the mean of a layer's output changes by  W E[x] - W' E[x'],  x' being the input on its grid, W'
 * the weights on theirs. Both means are of the float net (moments.c), so that this is exact for the layer by itself,
 * costs one pass for the whole net, and takes no part of the layers' own noise for a shift.
 */
#include <math.h>
#include <string.h>

#include "numfmt/coder.h"
#include "ptq/ptq_internal.h"
#include "quant/algo.h"

#define AT_ONCE ((uint64_t)512 << 20) /* bytes of second moments of a pass */

/* ---- grids ---- */

#define INTEGERS(b, most)                                                                          \
    static const struct nb_element narrow##b = {.name = "int" #b,                                  \
                                                .bits = b,                                         \
                                                .dim = 1,                                          \
                                                .uniform = true,                                   \
                                                .lo = -(most),                                     \
                                                .hi = (most),                                      \
                                                .unit = 1.0F};                                     \
    static const struct nb_gridfmt grid##b##_c = {                                                 \
        .elem = &narrow##b, .share = NB_SHARE_CHANNEL, .scale = NB_SCALE_F32};                     \
    static const struct nb_gridfmt grid##b##_t = {                                                 \
        .elem = &narrow##b, .share = NB_SHARE_TENSOR, .scale = NB_SCALE_F32};
INTEGERS(8, 127)
INTEGERS(4, 7)
#undef INTEGERS

#define TYPE(g)                                                                                    \
    {                                                                                              \
        .name = "int", .kind = NB_NUMFMT_GRID, .block = 1, .sub = 1, .code_min = -128,             \
        .code_max = 127, .gguf_type = -1, .gguf_ftype = -1, .expand_sub = 32, .grid = &(g)         \
    }
/* [bits 4][one scale for all] */
static const struct nb_numfmt types[2][2] = {{TYPE(grid8_c), TYPE(grid8_t)},
                                             {TYPE(grid4_c), TYPE(grid4_t)}};

/* ---- rules ---- */

struct rule {
    const char *name, *algo;
    bool products;
    enum nb_scale_method scale;
};
static const struct rule rules[NB_N_PTQ_WEIGHTS] = {
    [NB_PTQ_RTN] = {"rtn", "rtn", false, NB_SCALE_ABSMAX},
    [NB_PTQ_WEIGHTS_MSE] = {"mse", "rtn", false, NB_SCALE_MSE},
    [NB_PTQ_GPTQ] = {"gptq", "kgptq", true, NB_SCALE_MSE},
    [NB_PTQ_ADAROUND] = {"adaround", "adaround", true, NB_SCALE_MSE},
};

const char *nb_ptq_weights_name(enum nb_ptq_weights w)
{
    return rules[w].name;
}

/* ---- one layer ---- */

/* Owns: w, records, codes, grids through the coder. */
struct rounding {
    const struct nb_ptq_layer *l;
    const struct nb_ptq_moments *m;
    const struct nb_ptq_options *o;
    const struct nb_ptq_ground *ground;
    const struct rule *rule;
    struct nb_scale_options how;
    struct nb_shape shape;
    struct nb_coder_spec spec;
    struct nb_coder *coder;
    float *w;         /* (channels, cols) */
    double *diag;     /* (cols) of a group */
    uint8_t *records; /* (channels, record_bytes) */
    size_t record_bytes;
    uint8_t side[sizeof(float)]; /* the scale that all rows share */
    struct nb_ptq_rounded *out;
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to round weights");
}

static float element(const struct nb_onnx_tensor *t, uint64_t i)
{
    float x;
    memcpy(&x, t->data + i * sizeof x, sizeof x);
    return x;
}

static void read_weights(struct rounding *r)
{
    for (size_t c = 0; c < r->l->channels; c++)
        for (size_t j = 0; j < r->l->cols; j++)
            r->w[c * r->l->cols + j] = element(&r->l->w, nb_ptq_layer_at(r->l, c, j));
}

/* Means of squares of a group's columns; false: not known. */
static bool find_diag(struct rounding *r, size_t group)
{
    const size_t n = r->l->cols;
    if (!r->l->known || r->m->positions == 0.0 || r->rule->scale == NB_SCALE_ABSMAX)
        return false;
    for (size_t j = 0; j < n; j++)
        r->diag[j] = r->m->square[group * n + j] / r->m->positions;
    return true;
}

/* The scale for all rows. */
static enum nb_status share_scale(struct rounding *r, struct nb_error *err)
{
    const struct nb_allocator *a = r->ground->a;
    const size_t n = r->l->channels * r->l->cols;
    const struct nb_element *e = r->spec.type->grid->elem;
    struct nb_levels *levels = nb_alloc(a, 1, sizeof *levels);
    float *weight = nb_alloc(a, n, sizeof *weight), *scratch = NULL;
    if (levels != NULL) {
        nb_levels_uniform(levels, e->lo, e->hi);
        scratch = nb_alloc(a, nb_scale_scratch_floats(levels, n, &r->how), sizeof *scratch);
    }
    const bool ok = levels != NULL && weight != NULL && scratch != NULL;
    for (size_t g = 0; g < r->l->groups && ok; g++) {
        const bool known = find_diag(r, g);
        const size_t rows = r->l->channels / r->l->groups;
        for (size_t i = 0; i < rows * r->l->cols; i++)
            weight[g * rows * r->l->cols + i] = known ? (float)r->diag[i % r->l->cols] : 1.0F;
    }
    if (ok) {
        const struct nb_scale_problem p = {.levels = levels,
                                           .x = r->w,
                                           .w = weight,
                                           .n = n,
                                           .store = NB_SCALE_F32,
                                           .positive = true,
                                           .how = r->how,
                                           .scratch = scratch};
        const float scale = nb_scale_search(&p).scale;
        memcpy(r->side, &scale, sizeof scale);
    }
    nb_free(a, levels);
    nb_free(a, weight);
    nb_free(a, scratch);
    return ok ? NB_OK : no_memory(err);
}

static enum nb_status round_group(struct rounding *r, const struct nb_algo *algo, size_t group,
                                  struct nb_error *err)
{
    const struct nb_ptq_layer *l = r->l;
    const size_t rows = l->channels / l->groups, first = group * rows;
    const struct nb_hessian *h = r->m->h != NULL ? r->m->h[group] : NULL;
    struct nb_prepared *prepared;
    const bool diag = find_diag(r, group);
    const struct nb_algo_job job = {.n = l->cols,
                                    .h = h != NULL ? h->h : NULL,
                                    .tokens = h != NULL ? h->tokens : 0.0,
                                    .diag = diag ? r->diag : NULL,
                                    .layout = nb_algo_layout(r->coder),
                                    .pool = r->ground->pool,
                                    .a = r->ground->a};
    struct nb_rows rows_of = {.spec = &r->spec,
                              .role = NB_ROLE_OTHER,
                              .row = first,
                              .n_rows = rows,
                              .w = r->w + first * l->cols,
                              .records = r->records + first * r->record_bytes,
                              .record_bytes = r->record_bytes};
    NB_TRY(nb_prepared_create(&prepared, algo, &job, err));
    const enum nb_status st = nb_algo_rows(prepared, &rows_of, err);
    nb_prepared_destroy(prepared);
    return st;
}

/* Integers and positive scales of the records, as the initializer lies. */
static enum nb_status read_records(struct rounding *r, struct nb_error *err)
{
    const struct nb_ptq_layer *l = r->l;
    struct nb_grid *grid = nb_coder_grids_create(r->coder, 1);
    int16_t *codes = nb_alloc(r->ground->a, l->cols, sizeof *codes);
    const bool ok = grid != NULL && codes != NULL;
    for (size_t c = 0; c < l->channels && ok; c++) {
        nb_coder_unpack(r->coder, c, grid, codes, r->records + c * r->record_bytes);
        const float s = grid->scale[0];
        const bool fine = fabsf(s) > 1e-30F; /* else all zeros */
        r->out->scales[r->out->n_scales == 1 ? 0 : c] = fine ? fabsf(s) : 1.0F;
        for (size_t j = 0; j < l->cols; j++)
            r->out->q[nb_ptq_layer_at(l, c, j)] =
                (int8_t)(fine ? (s < 0.0F ? -codes[j] : codes[j]) : 0);
    }
    nb_coder_grids_destroy(r->coder, grid);
    nb_free(r->ground->a, codes);
    return ok ? NB_OK : no_memory(err);
}

/* W E[x] - W' E[x'] of each channel. */
static void find_shift(struct rounding *r)
{
    const struct nb_ptq_layer *l = r->l;
    const size_t rows = l->channels / l->groups;
    for (size_t c = 0; c < l->channels; c++) {
        const size_t at = c / rows * l->cols;
        const double s = (double)r->out->scales[r->out->n_scales == 1 ? 0 : c];
        double sum = 0.0;
        for (size_t j = 0; j < l->cols; j++)
            sum += (double)r->w[c * l->cols + j] * r->m->sum[at + j] -
                   s * (double)r->out->q[nb_ptq_layer_at(l, c, j)] * r->m->rounded_sum[at + j];
        r->out->shift[c] = sum / r->m->positions;
    }
}

static enum nb_status round_rows(struct rounding *r, struct nb_error *err)
{
    const struct nb_algo *algo = nb_algo_find(r->rule->algo);
    if (r->rule->products && r->m->h == NULL)
        algo = nb_algo_find("rtn"); /* of an input that is not known */
    read_weights(r);
    if (r->out->n_scales == 1)
        NB_TRY(share_scale(r, err));
    NB_TRY(nb_coder_create(&r->coder, &r->spec, err));
    r->record_bytes = nb_coder_record_bytes(r->coder);
    r->records = nb_alloc(r->ground->a, r->l->channels, r->record_bytes);
    if (r->records == NULL)
        return no_memory(err);
    for (size_t g = 0; g < r->l->groups; g++)
        NB_TRY(round_group(r, algo, g, err));
    NB_TRY(read_records(r, err));
    if (r->out->shift != NULL && r->m->positions > 0.0)
        find_shift(r);
    return NB_OK;
}

static enum nb_status round_layer(const struct nb_ptq_layer *l, const struct nb_ptq_moments *m,
                                  const struct nb_ptq_options *o,
                                  const struct nb_ptq_ground *ground, struct nb_arena *arena,
                                  struct nb_ptq_rounded *out, struct nb_error *err)
{
    struct rounding r = {.l = l, .m = m, .o = o, .ground = ground, .out = out};
    const bool one = o->per_tensor || l->w.rank < 2;
    r.rule = &rules[o->weights];
    r.how = (struct nb_scale_options){.method = r.rule->scale};
    r.shape = (struct nb_shape){.n = 2, .dim = {l->channels, l->cols}};
    r.spec = (struct nb_coder_spec){.type = &types[o->weight_bits == 4][one],
                                    .shape = &r.shape,
                                    .how = &r.how,
                                    .side = one ? r.side : NULL,
                                    .a = ground->a};
    out->axis = one ? -1 : l->axis;
    out->n_scales = one ? 1 : l->channels;
    out->n_channels = l->channels;
    out->q = nb_arena_alloc(arena, (size_t)l->w.n, 1);
    out->scales = nb_arena_alloc(arena, out->n_scales, sizeof *out->scales);
    if (o->bias_correct && (m->positions > 0.0 || (o->planning && l->known))) {
        out->shift = nb_arena_alloc(arena, l->channels, sizeof *out->shift);
        if (out->shift == NULL)
            return no_memory(err);
    }
    r.w = nb_alloc(ground->a, l->channels * l->cols, sizeof *r.w);
    r.diag = nb_alloc(ground->a, l->cols, sizeof *r.diag);
    const enum nb_status st = out->q != NULL && out->scales != NULL && r.w != NULL && r.diag != NULL
                                  ? round_rows(&r, err)
                                  : no_memory(err);
    nb_coder_destroy(r.coder);
    nb_free(ground->a, r.w);
    nb_free(ground->a, r.diag);
    nb_free(ground->a, r.records);
    return st;
}

/* ---- all layers ---- */

/* Layers [begin, end): measured, then rounded. moments: (layers), zeros. */
static enum nb_status round_some(struct nb_ptq_rounder *k, size_t begin, size_t end,
                                 struct nb_ptq_moments *moments, struct nb_error *err)
{
    const struct nb_ptq_options *o = k->o;
    enum nb_status st = NB_OK;
    if (!o->planning && (o->bias_correct || o->weights != NB_PTQ_RTN))
        st = nb_ptq_measure_inputs(moments + begin, k->layers + begin, end - begin,
                                   rules[o->weights].products, k->ground, err);
    for (size_t i = begin; i < end && st == NB_OK; i++) {
        st = nb_ptq_progress(k->ground->data->progress, "rounding weights", "layers", i,
                             k->n_layers, err);
        if (st == NB_OK)
            st = round_layer(&k->layers[i], &moments[i], o, k->ground, k->arena,
                             &k->rounded[k->layers[i].node], err);
    }
    for (size_t i = begin; i < end; i++)
        nb_ptq_moments_fini(&moments[i], &k->layers[i], k->ground->a);
    return st;
}

static size_t find_layers(struct nb_ptq_rounder *k, const struct nb_edit *e,
                          const struct nb_ptq_plan *p, struct nb_ptq_moments *moments)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n_nodes; i++) {
        struct nb_ptq_layer *l = &k->layers[n];
        if (!nb_ptq_layer_find(l, e, p, k->ground->net, i))
            continue;
        if (l->x != NULL)
            moments[n].grid = nb_ptq_grid_of(p, l->x, k->o);
        n++;
    }
    return n;
}

enum nb_status nb_ptq_round(struct nb_ptq_rounder *k, const struct nb_edit *e,
                            const struct nb_ptq_plan *p, struct nb_error *err)
{
    struct nb_ptq_moments *moments =
        nb_arena_alloc(k->arena, e->n_nodes + 1, sizeof *moments); /* zeros */
    k->layers = nb_arena_alloc(k->arena, e->n_nodes + 1, sizeof *k->layers);
    k->rounded = nb_arena_alloc(k->arena, e->n_nodes + 1, sizeof *k->rounded);
    k->units = nb_arena_alloc(k->arena, e->n_nodes + 1, sizeof *k->units);
    if (k->layers == NULL || k->rounded == NULL || k->units == NULL || moments == NULL)
        return no_memory(err);
    for (size_t i = 0; i < e->n_nodes; i++)
        k->units[i] = nb_ptq_is_unit(p, i);
    k->n_layers = find_layers(k, e, p, moments);
    for (size_t begin = 0, end; begin < k->n_layers; begin = end) {
        uint64_t bytes = 0;
        for (end = begin; end < k->n_layers; end++) {
            if (rules[k->o->weights].products)
                bytes += nb_ptq_moments_bytes(&k->layers[end]);
            if (end > begin && bytes > AT_ONCE)
                break;
        }
        NB_TRY(round_some(k, begin, end, moments, err));
    }
    return NB_OK;
}
