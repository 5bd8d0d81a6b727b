/* quant/plan.c: a recipe worked out for one model: types, bytes, memory, time. Reads no weight.
 */
#include "quant/quant_internal.h"

#include <math.h>
#include <string.h>

#include "numfmt/grid.h"
#include "quant/algo.h"

#define BATCH_ELEMENTS 8192        /* decoded and encoded at once: fits a core's cache         */
#define CHUNK_ELEMENTS (2U << 20)  /* unit of work between two writes                          */
#define BASE_BYTES     (32U << 20) /* metadata, tokenizer, code                               */
#define PROBE_ELEMENTS 4096
#define WRITE_SPEED    1.5e9 /* bytes a second; a guess, as long as nothing is measured      */

struct nb_scale_options nb_quant_scale_search(const struct nb_quant_plan *p,
                                              const struct nb_algo *algo)
{
    struct nb_scale_options how = p->scale_search;
    if (algo->scale_search != NULL && p->settings.recipe->scale_search == NULL)
        (void)nb_scale_options_parse(&how, algo->scale_search); /* it is valid */
    return how;
}

/* ---- sizes ---- */

struct nb_quant_sizes nb_quant_sizes(const struct nb_plan_tensor *t)
{
    const struct nb_tensor *source = &t->weight->t;
    const uint64_t rows = NB_MAX(nb_shape_rows(&source->shape), 1);
    const uint64_t cols = nb_shape_cols(&source->shape);
    const uint64_t segment = NB_MIN(nb_segment_rows(&source->shape), rows);
    const uint64_t batch_rows = NB_MAX(BATCH_ELEMENTS / NB_MAX(cols, 1), 1);
    return (struct nb_quant_sizes){.batch = (size_t)(batch_rows * cols),
                                   .gather = (size_t)(segment * (t->source_bytes / rows)),
                                   .segment =
                                       (size_t)(segment * ((t->bytes - t->side_bytes) / rows))};
}

uint64_t nb_quant_matrices(const struct nb_shape *shape)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i + 2 < shape->n; i++)
        n *= shape->dim[i];
    return NB_MAX(n, 1);
}

/* Two buffers of encoded chunks, and each worker's scratch. */
static uint64_t work_bytes(const struct nb_quant_plan *p, uint64_t chunk_elements,
                           uint64_t *chunk_bytes)
{
    uint64_t scratch = 0, segment = 0, segments = 0, importance = 0, side = 0;
    *chunk_bytes = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct nb_plan_tensor *t = &p->tensors[i];
        const struct nb_quant_sizes s = nb_quant_sizes(t);
        const uint64_t rows = nb_shape_rows(&t->weight->t.shape);
        scratch = NB_MAX(scratch, 2 * sizeof(float) * (uint64_t)s.batch + s.gather);
        segment = NB_MAX(segment, s.segment);
        side = NB_MAX(side, t->side_bytes);
        if (t->importance != NULL)
            importance = NB_MAX(importance, sizeof(float) * (uint64_t)s.batch *
                                                nb_quant_matrices(&t->weight->t.shape));
        segments = NB_MAX(segments, rows / nb_segment_rows(&t->weight->t.shape) + 1);
        if (t->elements > 0)
            *chunk_bytes = NB_MAX(*chunk_bytes, (uint64_t)((double)chunk_elements *
                                                           (double)t->bytes / (double)t->elements));
    }
    *chunk_bytes += segment + side; /* a chunk is whole segments */
    return 2 * *chunk_bytes + scratch * nb_pool_threads(p->settings.pool) + 64 * segments +
           importance + BASE_BYTES;
}

/* Halves the chunk until the work fits the budget. */
static enum nb_status fit_memory(struct nb_quant_plan *p, struct nb_error *err)
{
    const uint64_t budget = p->settings.max_ram;
    p->chunk_elements = CHUNK_ELEMENTS;
    p->peak_bytes = work_bytes(p, p->chunk_elements, &p->chunk_bytes);
    while (budget > 0 && p->peak_bytes > budget && p->chunk_elements > 1) {
        p->chunk_elements /= 2;
        p->peak_bytes = work_bytes(p, p->chunk_elements, &p->chunk_bytes);
    }
    if (budget > 0 && p->peak_bytes > budget)
        NB_FAIL(err, NB_ERR_LIMIT, "the work takes %llu bytes of memory, the budget is %llu",
                (unsigned long long)p->peak_bytes, (unsigned long long)budget);
    return NB_OK;
}

/* ---- time ---- */

/* Values and room for their encoding in any format. Owns: both. */
struct probe {
    const struct nb_allocator *a;
    float *x;   /* (PROBE_ELEMENTS) */
    uint8_t *y; /* (PROBE_ELEMENTS) of 8 bytes each */
};

/* One row on a grid; what rows would share is zero. */
static void encode_grid(const struct nb_numfmt *f, const struct probe *p)
{
    const struct nb_shape shape =
        nb_shape_2(1, PROBE_ELEMENTS - PROBE_ELEMENTS % f->grid->elem->dim);
    uint8_t *side = nb_alloc_zero(p->a, (size_t)nb_grid_side_bytes(f, &shape) + 1, 1);
    const struct nb_grid_encode e = {.type = f, .shape = &shape, .side = side, .a = p->a};
    if (side != NULL && nb_grid_encode_rows(&e, p->y, p->x, 0, 1, NULL) != NB_OK)
        memset(p->y, 0, PROBE_ELEMENTS); /* an estimate does without */
    nb_free(p->a, side);
}

static void encode_once(const struct nb_numfmt *f, const struct probe *p)
{
    if (f->kind == NB_NUMFMT_GRID)
        encode_grid(f, p);
    else
        f->encode(p->y, p->x, NULL, PROBE_ELEMENTS);
}

/* Nanoseconds an element takes to be encoded, from one short run on smooth values. */
static double encode_ns(const struct nb_numfmt *f, const struct probe *p)
{
    struct nb_rng rng = {.seed = 1};
    for (size_t i = 0; i < PROBE_ELEMENTS; i++)
        p->x[i] = (float)(nb_rng_unit(&rng) + nb_rng_unit(&rng) + nb_rng_unit(&rng) - 1.5);
    encode_once(f, p); /* to warm up */
    const uint64_t begin = nb_clock_ns();
    encode_once(f, p);
    return (double)(nb_clock_ns() - begin) / PROBE_ELEMENTS;
}

static double sum_time(const struct nb_quant_plan *p, const struct probe *probe)
{
    double ns = 0.0;
    for (size_t k = 0; k < p->n; k++) {
        const struct nb_numfmt *type = p->tensors[k].type;
        double elements = 0.0;
        bool seen = type->kind != NB_NUMFMT_GRID && type->encode == NULL;
        for (size_t i = 0; i < p->n && !seen; i++) {
            seen = i < k && p->tensors[i].type == type; /* counted with its first weight */
            if (p->tensors[i].type == type && p->tensors[i].weight->t.type != type)
                elements += (double)p->tensors[i].elements;
        }
        if (elements > 0.0 && !seen)
            ns += elements * (encode_ns(type, probe) + 2.0); /* reading, and comparing */
    }
    return ns * 1e-9 / nb_pool_threads(p->settings.pool) + (double)p->file_bytes / WRITE_SPEED;
}

static enum nb_status estimate_time(struct nb_quant_plan *p, struct nb_error *err)
{
    const struct probe probe = {p->a, nb_alloc(p->a, PROBE_ELEMENTS, sizeof(float)),
                                nb_alloc(p->a, PROBE_ELEMENTS, sizeof(double))};
    const bool ok = probe.x != NULL && probe.y != NULL;
    if (ok)
        p->seconds = sum_time(p, &probe);
    nb_free(p->a, probe.x);
    nb_free(p->a, probe.y);
    return ok ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for an estimate");
}

/* ---- the plan ---- */

static enum nb_status refuse_source(const struct nb_quant_plan *p, struct nb_error *err)
{
    const struct nb_model *m = p->model;
    bool same = nb_path_same(p->settings.out, m->path);
    for (size_t i = 0; i < m->n_files; i++)
        same = same || nb_path_same(p->settings.out, m->files[i]->path);
    if (same)
        NB_FAIL(err, NB_ERR_ARG, "%s: the output is the input; give another name", p->settings.out);
    return NB_OK;
}

static enum nb_status refuse_requantizing(const struct nb_quant_plan *p, struct nb_error *err)
{
    for (size_t i = 0; i < p->n && !p->settings.allow_requantize; i++) {
        const struct nb_numfmt *from = p->tensors[i].weight->t.type, *to = p->tensors[i].type;
        if (from->kind >= NB_NUMFMT_BLOCK && to->kind >= NB_NUMFMT_BLOCK && from != to)
            NB_FAIL(err, NB_ERR_ARG,
                    "tensor '%s' is %s already: rounding it to %s adds to the error; start from a "
                    "float model, or allow requantizing",
                    p->tensors[i].weight->spec.name, from->name, to->name);
    }
    return NB_OK;
}

/* The convention of the output has the last word on each type. */
static enum nb_status settle_types(struct nb_quant_plan *p, struct nb_error *err)
{
    for (size_t i = 0; i < p->n; i++) {
        struct nb_plan_tensor *t = &p->tensors[i];
        const struct nb_numfmt *stored = nb_export_type(p->settings.out, p->model, i, t->type);
        t->stored = stored != NULL;
        if (stored != NULL)
            t->type = stored;
        p->types[i] = t->type;
        const enum nb_status st = nb_numfmt_bytes(t->type, &t->weight->t.shape, &t->bytes, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "tensor '%s'", t->weight->spec.name);
        if (t->type->kind == NB_NUMFMT_GRID)
            t->side_bytes = nb_grid_side_bytes(t->type, &t->weight->t.shape);
        if (!nb_add_u64(&t->bytes, t->bytes, t->side_bytes))
            NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s' would pass 2^64 bytes", t->weight->spec.name);
    }
    return NB_OK;
}

static void sum_up(struct nb_quant_plan *p)
{
    double bits[2] = {0.0, 0.0}, count[2] = {0.0, 0.0};
    for (size_t i = 0; i < p->n; i++) {
        const struct nb_plan_tensor *t = &p->tensors[i];
        const int in_block = t->weight->spec.block >= 0;
        if (!t->stored)
            continue;
        p->tensor_bytes += t->bytes;
        bits[in_block] += 8.0 * (double)t->bytes;
        count[in_block] += (double)t->elements;
    }
    p->bpw = (bits[0] + bits[1]) / NB_MAX(count[0] + count[1], 1.0);
    p->bpw_layers = bits[1] / NB_MAX(count[1], 1.0);
}

static enum nb_status describe(struct nb_quant_plan *p, struct nb_error *err)
{
    static const char zeros[] = "00000000000000000000000000000000"; /* until the end is reached */
    struct nb_str json;
    nb_str_init(&json, p->a);
    nb_recipe_write(p->settings.recipe, &json);
    enum nb_status st = nb_str_check(&json, err);
    if (st == NB_OK) {
        p->recipe = nb_arena_strndup(&p->arena, json.data, json.len);
        const char *version = nb_version();
        if (p->recipe == NULL ||
            nb_meta_set_text(&p->extra, NB_KEY_VERSION, version, strlen(version)) != NB_OK ||
            nb_meta_set_text(&p->extra, NB_KEY_RECIPE, json.data, json.len) != NB_OK ||
            nb_meta_set_text(&p->extra, NB_KEY_SOURCE_HASH, zeros, sizeof zeros - 1) != NB_OK ||
            nb_quant_describe_imatrix(&p->settings, &p->extra) != NB_OK)
            st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a recipe");
    }
    nb_str_fini(&json);
    return st;
}

struct nb_export_spec nb_quant_spec(const struct nb_quant_plan *p)
{
    return (struct nb_export_spec){.model = p->model,
                                   .types = p->types,
                                   .extra = &p->extra,
                                   .gguf_ftype = p->gguf_ftype,
                                   .shard_bytes = p->settings.shard_bytes};
}

/* A method that calibrates needs text, and text needs a method that calibrates. */
static enum nb_status find_method(struct nb_quant_plan *p, struct nb_error *err)
{
    const char *name = p->settings.recipe->method;
    char quote[64];
    const bool rtn = strcmp(name, NB_METHOD_RTN) == 0;
    if (p->settings.windows == NULL && !rtn)
        NB_FAIL(err, NB_ERR_ARG, "method '%s' needs a text to calibrate on",
                nb_printable(quote, sizeof quote, name, strlen(name)));
    if (p->settings.windows == NULL || strcmp(name, NB_METHOD_AUTO) == 0)
        return NB_OK;
    p->algo = nb_algo_find(name);
    if (p->algo == NULL)
        NB_FAIL(err, NB_ERR_ARG, "there is no method '%s' (nibble list methods)",
                nb_printable(quote, sizeof quote, name, strlen(name)));
    return NB_OK;
}

/* What is published without a shift of targets has none. */
static enum nb_status settle_streams(struct nb_quant_plan *p, struct nb_error *err)
{
    const struct nb_recipe *r = p->settings.recipe;
    const unsigned published = p->algo != NULL ? p->algo->as_published : 0;
    const bool alone = (published & NB_PUBLISHED_NO_SHIFT) != 0;
    p->float_prefix = r->float_prefix || (published & NB_PUBLISHED_FLOAT_PREFIX) != 0;
    p->mismatch = !isnan(r->mismatch) ? r->mismatch : (alone ? 0.0 : 1.0);
    if (alone && p->mismatch > 0.0)
        NB_FAIL(err, NB_ERR_ARG,
                "method '%s' is as published, without making good what rounding did before: a "
                "mismatch of %g is not for it",
                p->algo->name, p->mismatch);
    return NB_OK;
}

static enum nb_status work_out(struct nb_quant_plan *p, struct nb_error *err)
{
    const struct nb_model *m = p->model;
    p->n = m->w.n;
    p->tensors = nb_arena_alloc(&p->arena, p->n, sizeof *p->tensors);
    p->types = nb_arena_alloc(&p->arena, p->n, sizeof *p->types);
    if (p->tensors == NULL || p->types == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a plan of %zu tensors", p->n);
    for (size_t i = 0; i < p->n; i++) {
        struct nb_plan_tensor *t = &p->tensors[i];
        t->weight = &m->w.items[i];
        t->source_bytes = t->weight->t.bytes;
        if (!nb_shape_count(&t->weight->t.shape, &t->elements))
            NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s': too many elements", t->weight->spec.name);
    }
    const char *search = p->settings.recipe->scale_search;
    char quote[64];
    if (search != NULL && !nb_scale_options_parse(&p->scale_search, search))
        NB_FAIL(
            err, NB_ERR_ARG,
            "scale search '%s': expected mse, exact, absmax, minmax, percentile:NUMBER, entropy "
            "or absmean",
            nb_printable(quote, sizeof quote, search, strlen(search)));
    NB_TRY(refuse_source(p, err));
    NB_TRY(find_method(p, err));
    NB_TRY(settle_streams(p, err));
    NB_TRY(nb_quant_choose(p, err));
    NB_TRY(settle_types(p, err));
    NB_TRY(refuse_requantizing(p, err));
    NB_TRY(nb_quant_weigh(p, err));
    NB_TRY(describe(p, err));
    sum_up(p);
    const struct nb_export_spec spec = nb_quant_spec(p);
    NB_TRY(nb_export_bytes(p->settings.out, &spec, &p->file_bytes, p->a, err));
    NB_TRY(fit_memory(p, err));
    NB_TRY(estimate_time(p, err));
    return nb_calibrated_plan(p, err);
}

enum nb_status nb_quant_plan_create(struct nb_quant_plan **plan, const struct nb_model *m,
                                    const struct nb_quant_settings *s, const struct nb_allocator *a,
                                    struct nb_error *err)
{
    *plan = NULL;
    struct nb_quant_plan *p = nb_alloc_zero(a, 1, sizeof *p);
    if (p == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a plan");
    p->a = a;
    p->model = m;
    p->settings = *s;
    nb_arena_init(&p->arena, a, 16384);
    nb_meta_init(&p->extra, a);
    const enum nb_status st = work_out(p, err);
    if (st != NB_OK) {
        nb_quant_plan_destroy(p);
        return st;
    }
    *plan = p;
    return NB_OK;
}

void nb_quant_plan_destroy(struct nb_quant_plan *p)
{
    if (p == NULL)
        return;
    nb_meta_fini(&p->extra);
    nb_arena_fini(&p->arena);
    nb_free(p->a, p);
}
