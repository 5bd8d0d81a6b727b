/* api/bench.c: nb_doctor and nb_bench: limits of the machine, and what share of them a model uses. */
#include "api/api.h"

#include <string.h>

#include "kernels/kernels.h"
#include "measure/measure.h"

enum nb_status nb_doctor(nb_context *ctx, struct nb_doctor_result *result, struct nb_error *err)
{
    struct nb_limits limits;
    nb_error_clear(err);
    if (ctx == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_doctor needs a context and a result");
    NB_TRY(nb_limits_measure(&limits, ctx->pool, &ctx->allocator, err));
    *result = (struct nb_doctor_result){
        .isa = nb_isa_name(nb_isa_used()),
        .isa_available = nb_isa_name(nb_isa_have()),
        .cores = nb_cpu_count(),
        .threads = nb_pool_threads(ctx->pool),
        .ram_bytes = nb_ram_total_bytes(),
        .ram_available_bytes = nb_ram_available_bytes(),
        .read_bandwidth = limits.read_bandwidth,
        .float_ops = limits.float_ops,
        .int_ops = limits.int_ops,
    };
    nb_cpu_name(result->cpu, sizeof result->cpu);
    return NB_OK;
}

void nb_bench_options_init(struct nb_bench_options *o)
{
    *o = (struct nb_bench_options){.size = sizeof *o, .prompt = 512, .generate = 64, .repeat = 3};
}

enum nb_status nb_bench(nb_context *ctx, const char *path, const struct nb_bench_options *options,
                        struct nb_bench_result *result, struct nb_error *err)
{
    struct nb_bench_options o;
    struct nb_runner r;
    struct nb_limits limits;
    struct nb_speed speed;
    enum nb_status st;
    nb_error_clear(err);
    nb_bench_options_init(&o);
    if (ctx == NULL || path == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_bench needs a context, a model and a result");
    NB_TRY(nb_options_copy(&o, sizeof o, options, options != NULL ? options->size : 0,
                           "bench options", err));
    const uint32_t decode_end = NB_MAX(o.depth, 1U) + o.generate;
    struct nb_session_options so = {.n_ctx = NB_MAX(o.prompt, decode_end)};
    NB_TRY(nb_kv_type_find(&so.kv_type, o.kv_type, err));
    const uint64_t t0 = nb_clock_ns();
    NB_TRY(nb_runner_open(&r, ctx, path, &so, err));
    const double load = (double)(nb_clock_ns() - t0) * 1e-9;
    const struct nb_speed_job job = {
        .session = r.session,
        .n_vocab = r.model->w.hp.n_vocab,
        .prompt = o.prompt,
        .generate = o.generate,
        .repeat = o.repeat,
        .depth = o.depth,
        .progress = &ctx->progress,
        .a = &ctx->allocator,
    };
    NB_TRY_TO(out, nb_limits_measure(&limits, ctx->pool, &ctx->allocator, err));
    NB_TRY_TO(out, nb_speed_measure(&speed, &job, err));
    const struct nb_weights *w = &r.model->w;
    *result = (struct nb_bench_result){
        .prefill_tok_s = speed.prefill_tok_s,
        .decode_tok_s = speed.decode_tok_s,
        .decode_bytes_per_token = nb_decode_bytes(w, so.kv_type, o.depth + o.generate / 2),
        .read_bandwidth = limits.read_bandwidth,
        .load_seconds = load,
        .threads = nb_pool_threads(ctx->pool),
        .isa = nb_isa_name(nb_isa_used()),
        .file_bytes = r.model->file_bytes,
        .peak_rss_bytes = nb_rss_peak_bytes(),
    };
    const double peak = nb_weights_integer(w) ? limits.int_ops : limits.float_ops;
    result->decode_bandwidth_share =
        result->decode_bytes_per_token * speed.decode_tok_s / limits.read_bandwidth;
    result->prefill_ops_share = nb_token_ops(w) * speed.prefill_tok_s / peak;
out:
    nb_runner_close(&r);
    return st;
}
