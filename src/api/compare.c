/* api/compare.c: nb_compare: several models against one reference; and its HTML page. */
#include "api/api.h"

#include <math.h>
#include <string.h>

#include "eval/eval.h"
#include "kernels/kernels.h"
#include "measure/measure.h"
#include "quant/quant.h"

#define SPEED_PROMPT   256
#define SPEED_GENERATE 32
#define SPEED_REPEAT   3

void nb_compare_options_init(struct nb_compare_options *o)
{
    *o = (struct nb_compare_options){.size = sizeof *o, .speed = 1};
    nb_eval_options_init(&o->eval);
}

/* Owns: everything the public struct points to. */
struct compare_owner {
    struct nb_allocator a;
    struct nb_arena arena;
    char *text; /* path of the text */
};

static enum nb_status measure_speed(struct nb_compare_model *out, nb_context *ctx,
                                    struct nb_model *m, struct nb_error *err)
{
    struct nb_session *s;
    struct nb_speed speed;
    const uint32_t n_ctx = NB_MIN(m->w.hp.n_ctx_train, (uint32_t)SPEED_PROMPT);
    const struct nb_session_options so = {.n_ctx = n_ctx, .pool = ctx->pool};
    NB_TRY(nb_open_session(&s, m, &so, &ctx->allocator, err));
    const struct nb_speed_job job = {
        .session = s,
        .n_vocab = m->w.hp.n_vocab,
        .prompt = n_ctx,
        .generate = NB_MIN((uint32_t)SPEED_GENERATE, n_ctx - 1),
        .repeat = SPEED_REPEAT,
        .a = &ctx->allocator,
    };
    const enum nb_status st = nb_speed_measure(&speed, &job, err);
    nb_session_destroy(s);
    if (st == NB_OK) {
        out->decode_tok_s = speed.decode_tok_s;
        out->prefill_tok_s = speed.prefill_tok_s;
    }
    return st;
}

static enum nb_status tensor_errors(struct nb_compare_model *out, struct compare_owner *o,
                                    nb_context *ctx, const struct nb_model *ref,
                                    const struct nb_model *m, struct nb_error *err)
{
    struct nb_tensor_error *list = nb_arena_alloc(&o->arena, ref->w.n, sizeof *list);
    if (list == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the errors of %zu tensors", ref->w.n);
    for (size_t i = 0; i < ref->w.n; i++) {
        const struct nb_weight *w = &ref->w.items[i];
        if (!w->spec.quantizable)
            continue;
        struct nb_tensor_error *e = &list[out->n_tensors];
        const struct nb_weight *other = nb_weights_find(&m->w, w->spec.name);
        NB_TRY(nb_tensor_snr(&e->snr_db, ref, i, m, ctx->pool, &ctx->allocator, err));
        e->name = nb_arena_strndup(&o->arena, w->spec.name, strlen(w->spec.name));
        e->type = other != NULL ? other->t.type->name : "missing";
        e->block = w->spec.block;
        if (e->name == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "no memory for the errors of %zu tensors", ref->w.n);
        out->n_tensors++;
    }
    out->tensors = list;
    return NB_OK;
}

/* The mix that the file says it has, e.g. "q4_k_m", or the type that most bytes have. */
static const char *type_label(const struct nb_model *m)
{
    size_t n;
    uint32_t ftype;
    const struct nb_mix *mixes = nb_mix_all(&n);
    if (nb_meta_u32(&m->meta, "general.file_type", &ftype))
        for (size_t i = 0; i < n; i++)
            if (mixes[i].gguf_ftype == ftype)
                return mixes[i].name;
    return nb_model_type_name(m);
}

static enum nb_status describe(struct nb_compare_model *out, struct compare_owner *o,
                               const struct nb_model *m, struct nb_error *err)
{
    double layers;
    *out = (struct nb_compare_model){.bytes = m->file_bytes};
    out->path = nb_arena_strndup(&o->arena, m->path, strlen(m->path));
    out->type = type_label(m);
    nb_model_bpw(m, &out->bpw, &layers);
    if (out->path == NULL || out->type == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to describe %s", m->path);
    return NB_OK;
}

/* All models are open while they are scored: the reference runs once for all of them. */
static enum nb_status score_all(struct nb_compare_model *list, nb_context *ctx,
                                struct nb_model *const *models, size_t n, struct nb_model *ref,
                                const struct nb_compare_options *opt, struct nb_error *err)
{
    struct nb_eval_result *results = nb_alloc(&ctx->allocator, n, sizeof *results);
    if (results == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu models", n);
    const enum nb_status st = nb_evaluate_models(ctx, models, n, ref, &opt->eval, results, err);
    for (size_t i = 0; st == NB_OK && i < n; i++)
        list[i].eval = results[i];
    nb_free(&ctx->allocator, results);
    return st;
}

static enum nb_status compare_opened(struct nb_compare_result *r, struct compare_owner *o,
                                     nb_context *ctx, struct nb_model *const *models, size_t n,
                                     struct nb_model *ref, const struct nb_compare_options *opt,
                                     struct nb_error *err)
{
    struct nb_compare_model *list = nb_arena_alloc(&o->arena, n, sizeof *list);
    if (list == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu models", n);
    NB_TRY(describe(&r->ref, o, ref, err));
    for (size_t i = 0; i < n; i++)
        NB_TRY(describe(&list[i], o, models[i], err));
    NB_TRY(score_all(list, ctx, models, n, ref, opt, err));
    for (size_t i = 0; i < n; i++) {
        NB_TRY(tensor_errors(&list[i], o, ctx, ref, models[i], err));
        if (opt->speed)
            NB_TRY(measure_speed(&list[i], ctx, models[i], err));
    }
    if (opt->speed)
        NB_TRY(measure_speed(&r->ref, ctx, ref, err));
    r->models = list;
    r->n_models = n;
    r->ref.eval = (struct nb_eval_result){
        .tokens = list[0].eval.tokens,
        .ctx = list[0].eval.ctx,
        .chunks = list[0].eval.chunks,
        .ppl = list[0].eval.ppl_ref,
        .ppl_error = list[0].eval.ppl_ref_error,
        .top1 = 1,
    };
    return NB_OK;
}

static enum nb_status compare_all(struct nb_compare_result *r, struct compare_owner *o,
                                  nb_context *ctx, const char *ref_path, const char *const *paths,
                                  size_t n, const struct nb_compare_options *opt,
                                  struct nb_error *err)
{
    struct nb_model *ref = NULL;
    struct nb_model **models = nb_alloc_zero(&ctx->allocator, n, sizeof *models);
    enum nb_status st = NB_OK;
    if (models == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu models", n);
    NB_TRY_TO(out, nb_model_open(&ref, ref_path, &ctx->allocator, &ctx->log, err));
    for (size_t i = 0; i < n; i++)
        NB_TRY_TO(out, nb_model_open(&models[i], paths[i], &ctx->allocator, &ctx->log, err));
    st = compare_opened(r, o, ctx, models, n, ref, opt, err);
out:
    for (size_t i = 0; i < n; i++)
        nb_model_close(models[i]);
    nb_free(&ctx->allocator, models);
    nb_model_close(ref);
    return st;
}

enum nb_status nb_compare(nb_context *ctx, const char *ref_path, const char *const *models,
                          size_t n_models, const struct nb_compare_options *options,
                          struct nb_compare_result *result, struct nb_error *err)
{
    struct nb_compare_options opt;
    nb_error_clear(err);
    nb_compare_options_init(&opt);
    if (ctx == NULL || ref_path == NULL || models == NULL || n_models == 0 || options == NULL ||
        result == NULL)
        NB_FAIL(err, NB_ERR_ARG,
                "nb_compare needs a context, a reference, at least one model and options");
    NB_TRY(nb_options_copy(&opt, sizeof opt, options, options->size, "compare options", err));
    if (opt.eval.text == NULL)
        NB_FAIL(err, NB_ERR_ARG, "compare needs a text to evaluate on");
    *result = (struct nb_compare_result){.n_models = 0};
    struct compare_owner *o = nb_alloc_zero(&ctx->allocator, 1, sizeof *o);
    if (o == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a comparison");
    o->a = ctx->allocator;
    nb_arena_init(&o->arena, &o->a, 16384);
    result->owner = o;
    o->text = nb_arena_strndup(&o->arena, opt.eval.text, strlen(opt.eval.text));
    enum nb_status st =
        o->text != NULL ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "no memory for a comparison");
    if (st == NB_OK)
        st = compare_all(result, o, ctx, ref_path, models, n_models, &opt, err);
    if (st != NB_OK)
        nb_compare_result_free(result);
    return st;
}

void nb_compare_result_free(struct nb_compare_result *r)
{
    struct compare_owner *o = r->owner;
    if (o != NULL) {
        const struct nb_allocator a = o->a;
        nb_arena_fini(&o->arena);
        nb_free(&a, o);
    }
    *r = (struct nb_compare_result){.n_models = 0};
}

static enum nb_status report_model(struct nb_report_model *out, const struct nb_compare_model *m,
                                   struct nb_arena *arena, bool is_ref, struct nb_error *err)
{
    struct nb_report_tensor *t = nb_arena_alloc(arena, m->n_tensors + 1, sizeof *t);
    if (t == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a report");
    for (size_t i = 0; i < m->n_tensors; i++)
        t[i] = (struct nb_report_tensor){m->tensors[i].name, m->tensors[i].type,
                                         m->tensors[i].block, m->tensors[i].snr_db};
    const double none = (double)NAN;
    *out = (struct nb_report_model){
        .path = m->path,
        .type = m->type,
        .bytes = m->bytes,
        .bpw = m->bpw,
        .ppl = m->eval.ppl,
        .kld_mean = is_ref ? none : m->eval.kld_mean,
        .kld_error = is_ref ? none : m->eval.kld_error,
        .kld_p99 = is_ref ? none : m->eval.kld_p99,
        .kld_max = is_ref ? none : m->eval.kld_max,
        .top1 = m->eval.top1,
        .decode_tok_s = m->decode_tok_s,
        .prefill_tok_s = m->prefill_tok_s,
        .tensors = t,
        .n_tensors = m->n_tensors,
    };
    return NB_OK;
}

static enum nb_status render(struct nb_str *html, struct nb_arena *arena, nb_context *ctx,
                             const struct nb_compare_result *r, struct nb_error *err)
{
    struct nb_report_model *models = nb_arena_alloc(arena, r->n_models, sizeof *models);
    char cpu[64];
    nb_cpu_name(cpu, sizeof cpu);
    struct nb_report report = {
        .models = models,
        .n_models = r->n_models,
        .ctx = r->ref.eval.ctx,
        .chunks = r->ref.eval.chunks,
        .tokens = r->ref.eval.tokens,
        .text = ((const struct compare_owner *)r->owner)->text,
        .machine = nb_arena_printf(arena, "%s, %s, %u threads", cpu, nb_isa_name(nb_isa_used()),
                                   nb_pool_threads(ctx->pool)),
    };
    if (models == NULL || report.machine == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a report");
    NB_TRY(report_model(&report.ref, &r->ref, arena, true, err));
    for (size_t i = 0; i < r->n_models; i++)
        NB_TRY(report_model(&models[i], &r->models[i], arena, false, err));
    return nb_report_html(html, &report, err);
}

enum nb_status nb_compare_html(nb_context *ctx, const struct nb_compare_result *r, const char *path,
                               int32_t overwrite, struct nb_error *err)
{
    struct nb_str html;
    struct nb_arena arena;
    struct nb_out out;
    nb_error_clear(err);
    if (ctx == NULL || r == NULL || r->owner == NULL || path == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_compare_html needs a context, a result and a path");
    nb_str_init(&html, &ctx->allocator);
    nb_arena_init(&arena, &ctx->allocator, 16384);
    enum nb_status st = render(&html, &arena, ctx, r, err);
    if (st == NB_OK)
        st = nb_out_create(&out, path, overwrite ? NB_OUT_OVERWRITE : 0, html.len, &ctx->allocator,
                           err);
    if (st == NB_OK) {
        st = nb_out_write(&out, html.data, html.len, err);
        if (st == NB_OK)
            st = nb_out_commit(&out, err);
        nb_out_abort(&out);
    }
    nb_arena_fini(&arena);
    nb_str_fini(&html);
    return st;
}
