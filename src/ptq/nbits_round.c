/* ptq/nbits_round.c: one matrix on a general grid of groups, rounded by an algorithm of quant/, laid out as
 * MatMulNBits wants it (nbits.c).
 *
 * Scales of grids are f16 and become f32, as the operator wants them beside float activations: no value changes.
 */
#include <string.h>

#include "net/net.h"
#include "numfmt/coder.h"
#include "ptq/ptq_internal.h"
#include "quant/algo.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to round a weight");
}

/* ---- what is asked for ---- */

bool nb_nbits_fits(const struct nb_numfmt *f)
{
    if (f == NULL || f->kind != NB_NUMFMT_GRID)
        return false;
    const struct nb_gridfmt *g = f->grid;
    return g->elem->uniform && (g->elem->bits == 4 || g->elem->bits == 8) &&
           g->elem->lo == -(1 << (g->elem->bits - 1)) && g->share == NB_SHARE_GROUP &&
           g->group >= 16 && (g->group & (g->group - 1)) == 0 && g->scale == NB_SCALE_F16 &&
           !(g->elem->bits == 8 && g->zero == NB_ZERO_F16); /* ONNX Runtime has no such */
}

enum nb_status nb_rounding_init(struct nb_rounding *r, const struct nb_ptq_weight_options *o,
                                bool data, struct nb_pool *pool, const struct nb_allocator *a,
                                struct nb_error *err)
{
    const char *method = o->method != NULL ? o->method : data ? "kgptq" : "rtn";
    *r = (struct nb_rounding){.type = nb_numfmt_find(o->type),
                              .algo = nb_algo_find(method),
                              .pool = pool,
                              .a = a,
                              .how = {.method = NB_SCALE_MSE}};
    if (!nb_nbits_fits(r->type))
        NB_FAIL(err, NB_ERR_ARG,
                "weights of '%s'; expected int4 or int8 in groups: int4_g32, int4_g128, "
                "int8_g128_asym ...",
                o->type);
    if (r->algo == NULL || r->algo->transform != NULL)
        NB_FAIL(err, NB_ERR_ARG,
                "no method '%s' for weights of nets; expected rtn, gptq, kgptq ...", method);
    if ((r->algo->needs & NB_NEEDS_H) != 0 && !data)
        NB_FAIL(err, NB_ERR_ARG, "method %s needs samples", method);
    const char *search = o->scale_search != NULL ? o->scale_search : r->algo->scale_search;
    if (search != NULL && !nb_scale_options_parse(&r->how, search))
        NB_FAIL(err, NB_ERR_ARG, "no search for scales '%s'", search);
    if (o->planning) { /* sizes are the same, however it is done */
        r->algo = nb_algo_find("rtn");
        r->how = (struct nb_scale_options){.method = NB_SCALE_ABSMAX};
    }
    return NB_OK;
}

size_t nb_nbits_wide(const struct nb_rounding *r, uint64_t k)
{
    const uint64_t block = r->type->grid->group;
    return (size_t)((k + block - 1) / block * block);
}

/* ---- one matrix ---- */

/* Owns: w, values, records, diag, prepared. */
struct work {
    const struct nb_rounding *r;
    const struct nb_product *p;
    const struct nb_hessian *h; /* NULL: not known */
    struct nb_shape shape;      /* (n, wide) */
    struct nb_coder_spec spec;
    struct nb_algo_layout layout;
    size_t record_bytes;
    float *w, *values; /* (n, wide) */
    double *diag;      /* (wide) without h: 0 behind k */
    uint8_t *records;
    struct nb_prepared *prepared;
};

/* The weight as rows of output channels, alpha in it. */
static enum nb_status read_rows(struct work *k, struct nb_error *err)
{
    const struct nb_product *p = k->p;
    const size_t n = (size_t)p->n, cols = (size_t)p->k, wide = (size_t)k->shape.dim[1];
    float *all = nb_alloc(k->r->a, n * cols, sizeof *all);
    if (all == NULL)
        return no_memory(err);
    nb_net_decode(all, &p->w);
    memset(k->w, 0, n * wide * sizeof *k->w);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < cols; j++) {
            const float x = p->turned ? all[i * cols + j] : all[j * n + i];
            k->w[i * wide + j] = (float)((double)x * p->alpha);
        }
    nb_free(k->r->a, all);
    return NB_OK;
}

static enum nb_status set_up(struct work *k, struct nb_error *err)
{
    const struct nb_allocator *a = k->r->a;
    const size_t n = (size_t)k->p->n, wide = nb_nbits_wide(k->r, k->p->k);
    struct nb_coder *c;
    k->shape = (struct nb_shape){.n = 2, .dim = {n, wide}};
    k->spec =
        (struct nb_coder_spec){.type = k->r->type, .shape = &k->shape, .how = &k->r->how, .a = a};
    NB_TRY(nb_coder_create(&c, &k->spec, err));
    k->layout = nb_algo_layout(c);
    k->record_bytes = nb_coder_record_bytes(c);
    const bool fits = nb_algo_supports(k->r->algo, c);
    nb_coder_destroy(c);
    if (!fits)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "method %s cannot round to %s", k->r->algo->name,
                k->r->type->name);
    k->w = nb_alloc(a, n * wide, sizeof *k->w);
    k->values = nb_alloc(a, n * wide, sizeof *k->values);
    k->diag = nb_alloc(a, wide, sizeof *k->diag);
    k->records = nb_alloc(a, n, k->record_bytes);
    if (k->w == NULL || k->values == NULL || k->diag == NULL || k->records == NULL)
        return no_memory(err);
    for (size_t i = 0; i < wide; i++)
        k->diag[i] = i < k->p->k ? 1.0 : 0.0;
    return read_rows(k, err);
}

static enum nb_status round_rows(struct work *k, struct nb_error *err)
{
    const struct nb_rounding *r = k->r;
    const bool moments = k->h != NULL && k->h->tokens > 0.0;
    const struct nb_algo_job job = {.n = (size_t)k->shape.dim[1],
                                    .h = moments ? k->h->h : NULL,
                                    .tokens = moments ? k->h->tokens : 0.0,
                                    .diag = moments ? NULL : k->diag,
                                    .layout = k->layout,
                                    .pool = r->pool,
                                    .a = r->a};
    NB_TRY(nb_prepared_create(&k->prepared, r->algo, &job, err));
    struct nb_rows rows = {.spec = &k->spec,
                           .role = NB_ROLE_FFN_UP,
                           .n_rows = (size_t)k->p->n,
                           .w = k->w,
                           .records = k->records,
                           .record_bytes = k->record_bytes,
                           .decoded = k->values};
    return nb_algo_rows(k->prepared, &rows, err);
}

static void count_error(const struct work *k, struct nb_ptq_report *report)
{
    const size_t n = (size_t)k->shape.dim[0] * (size_t)k->shape.dim[1];
    double signal = 0.0, noise = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double x = (double)k->w[i], d = x - (double)k->values[i];
        signal += x * x;
        noise += d * d;
    }
    report->weight_signal += signal;
    report->weight_noise += noise;
}

/* ---- layout ---- */

static float half(const uint8_t *at)
{
    uint16_t h;
    memcpy(&h, at, sizeof h);
    return nb_f16_to_f32(h);
}

static enum nb_status lay_out(const struct work *k, struct nb_nbits *q, struct nb_edit *e,
                              struct nb_error *err)
{
    const struct nb_gridfmt *g = k->r->type->grid;
    const size_t n = (size_t)k->p->n;
    struct nb_grid_part part[3];
    uint8_t *to[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; i++)
        part[i] = nb_grid_part(k->r->type, &k->shape, (enum nb_part)i);
    *q = (struct nb_nbits){
        .bits = g->elem->bits, .block = g->group, .blocks = k->shape.dim[1] / g->group};
    const bool whole = g->zero == NB_ZERO_INT, real = g->zero == NB_ZERO_F16;
    q->codes = to[0] = nb_arena_alloc(&e->arena, n, (size_t)part[NB_PART_CODES].row_bytes);
    float *scales = nb_arena_alloc(&e->arena, n * (size_t)q->blocks, sizeof *scales);
    float *real_zeros =
        real ? nb_arena_alloc(&e->arena, n * (size_t)q->blocks, sizeof(float)) : NULL;
    if (whole)
        q->zeros = to[2] = nb_arena_alloc(&e->arena, n, (size_t)part[NB_PART_ZEROS].row_bytes);
    q->scales = scales;
    q->real_zeros = real_zeros;
    if (to[0] == NULL || scales == NULL || (whole && to[2] == NULL) || (real && !real_zeros))
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *codes = k->records + i * k->record_bytes;
        const uint8_t *scale = codes + part[NB_PART_CODES].row_bytes;
        const uint8_t *zero = scale + part[NB_PART_SCALES].row_bytes;
        memcpy(to[0] + i * part[0].row_bytes, codes, (size_t)part[0].row_bytes);
        if (whole)
            memcpy(to[2] + i * part[2].row_bytes, zero, (size_t)part[2].row_bytes);
        for (size_t b = 0; b < q->blocks; b++) {
            scales[i * q->blocks + b] = half(scale + 2 * b);
            if (real) /* of levels; codes begin at lo */
                real_zeros[i * q->blocks + b] = half(zero + 2 * b) - (float)g->elem->lo;
        }
    }
    return NB_OK;
}

enum nb_status nb_nbits_round(struct nb_nbits *q, const struct nb_rounding *r,
                              const struct nb_product *p, const struct nb_hessian *h,
                              struct nb_edit *e, struct nb_ptq_report *report, struct nb_error *err)
{
    struct work k = {.r = r, .p = p, .h = h};
    enum nb_status st = set_up(&k, err);
    if (st == NB_OK)
        st = round_rows(&k, err);
    if (st == NB_OK)
        st = lay_out(&k, q, e, err);
    if (st == NB_OK)
        count_error(&k, report);
    nb_prepared_destroy(k.prepared);
    nb_free(r->a, k.w);
    nb_free(r->a, k.values);
    nb_free(r->a, k.diag);
    nb_free(r->a, k.records);
    return st;
}
