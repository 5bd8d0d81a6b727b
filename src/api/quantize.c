/* api/quantize.c: nb_plan and nb_quantize: a recipe from options, the plan, the work, the result. */
#include "api/api.h"

#include <math.h>
#include <string.h>

#include "api/calibration.h"
#include "quant/algo.h"
#include "quant/layer.h"
#include "quant/quant.h"
#include "quant/transformed.h"

#define SHARD_BYTES_DEFAULT UINT64_C(5000000000)

void nb_quant_options_init(struct nb_quant_options *o)
{
    *o = (struct nb_quant_options){
        .size = sizeof *o, .shard_bytes = SHARD_BYTES_DEFAULT, .mismatch = (double)NAN};
}

/* Owns: everything behind one call; what the public struct points to after it. */
struct quant_owner {
    struct nb_allocator a;
    struct nb_arena arena;
    struct nb_recipe recipe;
    struct nb_model *model;
    struct nb_calib *imatrix;
    struct nb_text_windows text;
    struct nb_transformed *transformed; /* NULL: the model is taken as it is */
    struct nb_quant_plan *plan;
    struct nb_quant_tensor *tensors; /* the result's, while it is filled */
};

static enum nb_status make_recipe(struct nb_recipe *r, const struct nb_quant_options *o,
                                  struct nb_error *err)
{
    if (o->recipe != NULL) {
        if (o->scale_search != NULL || o->method != NULL || o->transforms != NULL ||
            o->damp != 0.0 || !isnan(o->mismatch) || o->float_prefix || o->type != NULL ||
            o->n_rules > 0 || o->output_type != NULL || o->embedding_type != NULL || o->pure)
            NB_FAIL(err, NB_ERR_ARG, "a recipe says all types itself: give it alone");
        return nb_recipe_from_json(r, o->recipe, strlen(o->recipe), err);
    }
    if (o->type != NULL)
        r->type = o->type;
    r->output_type = o->output_type;
    r->embedding_type = o->embedding_type;
    r->pure = o->pure != 0;
    r->scale_search = o->scale_search;
    r->transforms = o->transforms;
    r->float_prefix = o->float_prefix != 0;
    r->damp = o->damp;
    r->mismatch = o->mismatch;
    if (r->mismatch < 0.0 || r->mismatch > 1.0 || !(r->damp >= 0.0) || r->damp > 1.0)
        NB_FAIL(err, NB_ERR_ARG, "mismatch %g, damp %g: expected numbers from 0 to 1", r->mismatch,
                r->damp);
    if (o->method != NULL)
        r->method = o->method;
    else if (o->n_calib_texts > 0)
        r->method = NB_METHOD_AUTO;
    for (size_t i = 0; i < o->n_rules; i++)
        NB_TRY(nb_recipe_add_rule(r, o->rules[i].regex, o->rules[i].type, err));
    return NB_OK;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* The recipe names its importance by hash: with another it would be another recipe. */
static enum nb_status read_imatrix(struct quant_owner *q, const struct nb_quant_options *o,
                                   struct nb_error *err)
{
    char hex[NB_HASH_HEX_BYTES];
    if (o->imatrix == NULL)
        return NB_OK;
    NB_TRY(nb_calib_read(&q->imatrix, o->imatrix, &q->a, err));
    nb_hash_hex(q->imatrix->hash, hex);
    if (q->recipe.imatrix == NULL)
        q->recipe.imatrix = nb_arena_strndup(&q->recipe.arena, hex, strlen(hex));
    return q->recipe.imatrix != NULL ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "no memory for a hash");
}

/* Text for a method that wants some. A recipe made on other text would be another recipe. */
static enum nb_status read_text(struct quant_owner *q, const struct nb_quant_options *o,
                                struct nb_error *err)
{
    char hex[NB_HASH_HEX_BYTES];
    if (o->n_calib_texts == 0)
        return NB_OK; /* the plan says if the method needs it */
    NB_TRY(nb_text_windows_read(&q->text, q->model, o, &q->a, err));
    nb_hash_hex(nb_windows_hash(&q->text.w), hex);
    if (q->recipe.calibration == NULL)
        q->recipe.calibration = nb_arena_strndup(&q->recipe.arena, hex, strlen(hex));
    if (q->recipe.calibration == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a hash");
    if (strcmp(q->recipe.calibration, hex) != 0)
        NB_FAIL(err, NB_ERR_ARG,
                "the recipe was made on windows of text with hash %.40s, given are %s; give that "
                "text, tokens and context, or delete \"calibration\" from the recipe",
                q->recipe.calibration, hex);
    return NB_OK;
}

/* A transform that the method brings; NULL: none. */
static const char *transform_of_method(const struct quant_owner *q)
{
    const struct nb_algo *algo = nb_algo_find(q->recipe.method);
    return algo != NULL ? algo->transform : NULL;
}

/* The model as the transforms of the recipe and its method leave it. A plan alone only checks their names:
 * what they take is time, and room beside the output. */
static enum nb_status transform(struct quant_owner *q, nb_context *ctx, const char *out, bool run,
                                struct nb_error *err)
{
    const char *own = transform_of_method(q);
    const char *slash = strrchr(out, '/');
    char *folder = nb_arena_printf(&q->arena, "%.*s", slash == NULL ? 1 : (int)(slash - out + 1),
                                   slash == NULL ? "." : out);
    NB_TRY(nb_transforms_check(q->recipe.transforms, err));
    if (q->recipe.transforms == NULL && own == NULL)
        return NB_OK;
    if (q->imatrix != NULL)
        NB_FAIL(err, NB_ERR_ARG,
                "transforms '%.80s' change what layers read, and an imatrix is of the model as it "
                "was: calibrate on a text instead",
                q->recipe.transforms != NULL ? q->recipe.transforms : own);
    if (!run)
        return NB_OK;
    if (folder == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    if (q->text.w.n > 0)
        NB_TRY(nb_model_settle(q->model, err));
    const struct nb_transformed_job job = {.model = q->model,
                                           .names = q->recipe.transforms,
                                           .plan = own != NULL ? q->plan : NULL,
                                           .windows = q->text.w.n > 0 ? &q->text.w : NULL,
                                           .folder = folder,
                                           .pool = ctx->pool,
                                           .log = &ctx->log,
                                           .progress = &ctx->progress,
                                           .a = &q->a};
    return nb_transformed_open(&q->transformed, &job, err);
}

static enum nb_status make_plan(struct quant_owner *q, nb_context *ctx, const char *path,
                                const char *out, const struct nb_quant_options *o, bool run,
                                struct nb_error *err)
{
    NB_TRY(make_recipe(&q->recipe, o, err));
    NB_TRY(read_imatrix(q, o, err));
    NB_TRY((o->any_arch ? nb_model_open_any : nb_model_open)(&q->model, path, &ctx->allocator,
                                                             &ctx->log, err));
    NB_TRY(read_text(q, o, err));
    const struct nb_quant_settings settings = {
        .out = out,
        .recipe = &q->recipe,
        .overwrite = o->overwrite != 0,
        .allow_requantize = o->allow_requantize != 0,
        .max_ram = o->max_ram,
        .shard_bytes = o->shard_bytes,
        .windows = q->text.w.n > 0 ? &q->text.w : NULL,
        .imatrix = q->imatrix,
        .imatrix_name = o->imatrix != NULL ? last_part(o->imatrix) : NULL,
        .pool = ctx->pool,
        .log = &ctx->log,
        .progress = &ctx->progress,
    };
    if (transform_of_method(q) != NULL) /* which wants to know to what its scales are rounded */
        NB_TRY(nb_quant_plan_create(&q->plan, q->model, &settings, &q->a, err));
    NB_TRY(transform(q, ctx, out, run, err));
    const struct nb_model *model =
        q->transformed != NULL ? nb_transformed_model(q->transformed) : q->model;
    nb_quant_plan_destroy(q->plan);
    return nb_quant_plan_create(&q->plan, model, &settings, &q->a, err);
}

/* Copies what the result shows out of the model and the plan, which are closed before the call ends. */
static enum nb_status fill_result(struct quant_owner *q, struct nb_quant_result *r, const char *out,
                                  struct nb_error *err)
{
    const struct nb_quant_plan *p = q->plan;
    struct nb_quant_tensor *t = nb_arena_alloc(&q->arena, p->n, sizeof *t);
    r->out = nb_arena_strndup(&q->arena, out, strlen(out));
    r->type = nb_arena_strndup(&q->arena, q->recipe.type, strlen(q->recipe.type));
    r->recipe = nb_arena_strndup(&q->arena, p->recipe, strlen(p->recipe));
    r->method = nb_arena_strndup(&q->arena, q->recipe.method, strlen(q->recipe.method));
    r->calib_tokens = (uint64_t)q->text.w.n * q->text.w.ctx;
    if (q->recipe.calibration != NULL)
        r->calibration_hash =
            nb_arena_strndup(&q->arena, q->recipe.calibration, strlen(q->recipe.calibration));
    r->runs = nb_model_runs(q->model);
    r->n_weighted = p->n_weighted;
    r->n_unweighted = p->n_unweighted;
    if (q->imatrix != NULL)
        r->imatrix_hash = nb_arena_strndup(&q->arena, q->recipe.imatrix, strlen(q->recipe.imatrix));
    r->bytes = p->file_bytes;
    r->bpw = p->bpw;
    r->bpw_layers = p->bpw_layers;
    r->seconds = p->seconds;
    r->peak_rss_bytes = p->peak_bytes;
    r->snr_db = r->worst_snr_db = (double)NAN;
    bool ok = t != NULL && r->out != NULL && r->type != NULL && r->recipe != NULL &&
              r->method != NULL && (q->recipe.calibration == NULL || r->calibration_hash != NULL) &&
              (q->imatrix == NULL || r->imatrix_hash != NULL);
    for (size_t i = 0; i < p->n && ok; i++) {
        const struct nb_plan_tensor *from = &p->tensors[i];
        if (!from->stored)
            continue;
        const struct nb_tensor *source = &from->weight->t;
        t[r->n_tensors] = (struct nb_quant_tensor){
            .name = nb_arena_strndup(&q->arena, from->weight->spec.name,
                                     strlen(from->weight->spec.name)),
            .source_type = source->type->name,
            .type = from->type->name,
            .elements = from->elements,
            .source_bytes = from->source_bytes,
            .bytes = from->bytes,
            .snr_db = (double)NAN,
            .mean_h = (double)NAN,
            .mean_d = (double)NAN,
            .geomean_d = (double)NAN,
            .rtn_db = (double)NAN,
            .loss_db = (double)NAN,
            .held_rtn_db = (double)NAN,
            .held_loss_db = (double)NAN,
            .seconds = (double)NAN,
            .note = from->note != NULL ? nb_arena_strndup(&q->arena, from->note, strlen(from->note))
                                       : NULL,
        };
        ok = t[r->n_tensors].name != NULL && (from->note == NULL || t[r->n_tensors].note != NULL);
        r->n_tensors++;
    }
    r->tensors = q->tensors = t;
    return ok ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "no memory for a result of %zu tensors", p->n);
}

static double ratio_db(double noise, double signal)
{
    return signal > 0.0 && noise > 0.0 ? 10.0 * log10(noise / signal) : (double)NAN;
}

/* Does the model know the text? Said before the work, which takes long. */
static enum nb_status measure_text(struct quant_owner *q, struct nb_quant_result *r,
                                   nb_context *ctx, const struct nb_quant_options *o, bool run,
                                   struct nb_error *err)
{
    r->calib_bits_per_byte = (double)NAN;
    if (q->text.w.n == 0)
        return NB_OK;
    struct nb_quant_text *texts = nb_arena_alloc(&q->arena, o->n_calib_texts, sizeof *texts);
    for (size_t i = 0; texts != NULL && i < o->n_calib_texts; i++) {
        const char *path = o->calib_texts[i];
        texts[i] = (struct nb_quant_text){.path = nb_arena_strndup(&q->arena, path, strlen(path)),
                                          .bits_per_byte = (double)NAN};
        if (texts[i].path == NULL)
            texts = NULL;
    }
    if (texts == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for names of texts");
    r->calib_texts = texts;
    r->n_calib_texts = o->n_calib_texts;
    return run ? nb_text_windows_measure(&q->text, q->plan->model, ctx, o, texts,
                                         &r->calib_bits_per_byte, err)
               : NB_OK;
}

/* What calibration knows of a tensor. */
static void fill_layer(struct nb_quant_result *r, struct nb_quant_tensor *t,
                       const struct nb_layer_report *l)
{
    if (l->sums.n_rows == 0 && l->sums.signal == 0.0)
        return;
    t->mean_h = l->facts.mean_h;
    t->mean_d = l->facts.mean_d;
    t->geomean_d = l->facts.geomean_d;
    t->rtn_db = ratio_db(l->sums.rtn, l->sums.signal);
    t->loss_db = ratio_db(l->sums.target_loss, l->sums.signal);
    t->held_rtn_db = ratio_db(l->sums.held_rtn, l->sums.held_signal);
    t->held_loss_db = ratio_db(l->sums.held_target_loss, l->sums.held_signal);
    t->seconds = l->seconds;
    t->method = l->method;
    if (l->facts.n_damp > 0)
        t->remedy = "second moments not positive definite: damping raised";
    else if (l->facts.n_dead > 0)
        t->remedy = "columns that no token reached: rounded plainly";
    else if (l->n_thin > 0)
        t->remedy = "experts with few tokens: second moments borrowed from the others";
    r->n_calibrated++;
}

static enum nb_status run_plan(struct quant_owner *q, struct nb_quant_result *r,
                               struct nb_error *err)
{
    const struct nb_quant_plan *p = q->plan;
    struct nb_quant_report report = {
        .snr_db = nb_arena_alloc(&q->arena, p->n, sizeof(double)),
        .layers = nb_arena_alloc(&q->arena, p->n, sizeof(struct nb_layer_report))};
    char hex[NB_HASH_HEX_BYTES];
    if (report.snr_db == NULL || report.layers == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the errors of %zu tensors", p->n);
    NB_TRY(nb_quant_run(p, &report, err));
    struct nb_quant_tensor *t = q->tensors;
    for (size_t i = 0, k = 0; i < p->n; i++) {
        if (!p->tensors[i].stored)
            continue;
        t[k].snr_db = report.snr_db[i];
        fill_layer(r, &t[k], &report.layers[i]);
        if (i == report.worst && isfinite(report.worst_snr_db))
            r->worst_tensor = t[k].name;
        k++;
    }
    r->n_resumed = report.n_resumed;
    r->forward_seconds = report.times.forward;
    r->statistics_seconds = report.times.statistics;
    r->prepare_seconds = report.times.prepare;
    r->rounding_seconds = report.times.rounding;
    r->worst_snr_db = report.worst_snr_db;
    r->snr_db = report.total_snr_db;
    r->bytes = report.bytes;
    r->seconds = report.seconds;
    r->peak_rss_bytes = nb_rss_peak_bytes();
    nb_hash_hex(report.out_hash, hex);
    r->hash = nb_arena_strndup(&q->arena, hex, NB_HASH_HEX_BYTES - 1);
    return r->hash != NULL ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "no memory for a hash");
}

static enum nb_status plan_or_run(nb_context *ctx, const char *path, const char *out,
                                  const struct nb_quant_options *options, bool run,
                                  struct nb_quant_result *result, struct nb_error *err)
{
    struct nb_quant_options o;
    nb_error_clear(err);
    nb_quant_options_init(&o);
    if (ctx == NULL || path == NULL || out == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "quantizing needs a context, a model, a target and a result");
    NB_TRY(nb_options_copy(&o, sizeof o, options, options != NULL ? options->size : 0,
                           "quant options", err));
    *result = (struct nb_quant_result){.out = NULL};
    struct quant_owner *q = nb_alloc_zero(&ctx->allocator, 1, sizeof *q);
    if (q == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a plan");
    q->a = ctx->allocator;
    q->text.a = &q->a;
    nb_arena_init(&q->arena, &q->a, 16384);
    nb_recipe_init(&q->recipe, &q->a);
    result->owner = q;
    enum nb_status st = make_plan(q, ctx, path, out, &o, run, err);
    if (st == NB_OK)
        st = fill_result(q, result, out, err);
    if (st == NB_OK)
        st = measure_text(q, result, ctx, &o, run, err);
    if (st == NB_OK && run)
        st = run_plan(q, result, err);
    nb_quant_plan_destroy(q->plan);
    nb_transformed_close(q->transformed);
    nb_model_close(q->model);
    nb_calib_destroy(q->imatrix);
    nb_text_windows_fini(&q->text);
    nb_recipe_fini(&q->recipe);
    if (st != NB_OK)
        nb_quant_result_free(result);
    return st;
}

enum nb_status nb_plan(nb_context *ctx, const char *model, const char *out,
                       const struct nb_quant_options *o, struct nb_quant_result *result,
                       struct nb_error *err)
{
    return plan_or_run(ctx, model, out, o, false, result, err);
}

enum nb_status nb_quantize(nb_context *ctx, const char *model, const char *out,
                           const struct nb_quant_options *o, struct nb_quant_result *result,
                           struct nb_error *err)
{
    return plan_or_run(ctx, model, out, o, true, result, err);
}

void nb_quant_result_free(struct nb_quant_result *r)
{
    struct quant_owner *q = r->owner;
    if (q != NULL) {
        const struct nb_allocator a = q->a;
        nb_arena_fini(&q->arena);
        nb_free(&a, q);
    }
    *r = (struct nb_quant_result){.out = NULL};
}
