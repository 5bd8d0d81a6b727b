/* cli/net_bench.c: `nibble bench net.onnx`: latency with one thread and with all. */
#include "net.h"

#include <stdlib.h>

#define RUNS_LEAST 10
#define RUNS_MOST  1000
#define SECONDS    1.0 /* of runs, for each number of threads */

struct latency {
    double median, min, load;
    size_t runs;
    uint32_t threads;
    uint64_t macs;
    struct nb_executor_memory memory;
};

static uint64_t count_macs(const nb_executor *e)
{
    struct nb_executor_node n;
    uint64_t macs = 0;

    for (size_t i = 0; nb_executor_node(e, i, &n) == NB_OK; i++)
        macs += n.macs;
    return macs;
}

/* As many runs as were asked for, or as fit, after one that does not count. */
static int measure(struct nb_cli *cli, struct nb_cli_net_run *run, uint32_t repeat,
                   struct latency *l)
{
    double first;
    int code;

    if (!nb_cli_net_time(cli, run, &first, 1, &code))
        return code;
    l->runs = repeat;
    if (repeat == 0) {
        const double fit = first > 0 ? SECONDS / first : RUNS_MOST;
        l->runs = fit < RUNS_LEAST ? RUNS_LEAST : fit > RUNS_MOST ? RUNS_MOST : (size_t)fit;
    }
    double *seconds = calloc(l->runs, sizeof *seconds);
    if (seconds == NULL)
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    if (nb_cli_net_time(cli, run, seconds, l->runs, &code)) {
        l->median = (seconds[(l->runs - 1) / 2] + seconds[l->runs / 2]) / 2;
        l->min = seconds[0];
    }
    free(seconds);
    return code;
}

static int bench(struct nb_cli *cli, nb_context *ctx, const struct nb_cli_net *net,
                 uint32_t threads, uint32_t repeat, struct latency *l)
{
    struct nb_cli_net_run run;
    int code = nb_cli_net_open(cli, ctx, net, 0, threads, &run);

    if (code == NB_CLI_OK)
        code = measure(cli, &run, repeat, l);
    if (code == NB_CLI_OK) {
        l->load = run.load_seconds;
        l->threads = nb_executor_threads(run.e);
        l->macs = count_macs(run.e);
        nb_executor_memory(run.e, &l->memory);
    }
    nb_cli_net_close(&run);
    return code;
}

static double speed(const struct latency *l)
{
    return l->median > 0 ? 1e-9 * (double)l->macs / l->median : 0;
}

static void print_line(const struct latency *l)
{
    printf("%-8s %9.3f ms  fastest %.3f ms; %u thread%s, median of %zu runs", "latency",
           1e3 * l->median, 1e3 * l->min, l->threads, l->threads == 1 ? "" : "s", l->runs);
    if (l->macs > 0)
        printf(", %.1f GMAC/s", speed(l));
    fputc('\n', stdout);
}

static void json_latency(struct nb_jw *w, const char *key, const struct latency *l)
{
    nb_jw_object(w, key);
    nb_jw_u64(w, "threads", l->threads);
    nb_jw_u64(w, "runs", l->runs);
    nb_jw_real(w, "median_ms", 1e3 * l->median);
    nb_jw_real(w, "min_ms", 1e3 * l->min);
    nb_jw_real(w, "gmac_s", speed(l));
    nb_jw_end(w);
}

static void print_json(const struct nb_cli_net *net, const struct latency *one,
                       const struct latency *all)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "net", net->path);
    nb_jw_real(&w, "latency_ms", 1e3 * all->median);
    nb_jw_u64(&w, "threads", all->threads);
    json_latency(&w, "one_thread", one);
    json_latency(&w, "all_threads", all);
    nb_jw_u64(&w, "macs", all->macs);
    nb_jw_real(&w, "load_seconds", all->load);
    nb_jw_u64(&w, "weight_bytes", all->memory.weight_bytes);
    nb_jw_u64(&w, "prepared_bytes", all->memory.prepared_bytes);
    nb_jw_u64(&w, "activation_bytes", all->memory.activation_bytes);
    nb_jw_u64(&w, "scratch_bytes", all->memory.scratch_bytes + all->memory.staging_bytes);
    nb_jw_u64(&w, "file_bytes", net->info.file_bytes);
    nb_jw_finish(&w);
}

static void print_text(const struct nb_cli_net *net, const struct latency *one,
                       const struct latency *all)
{
    print_line(one);
    if (all->threads > 1)
        print_line(all);
    printf("%-8s %9.3f ms  file %s\n", "load", 1e3 * all->load,
           nb_cli_bytes(net->info.file_bytes).s);
    if (all->macs > 0)
        printf("%-8s %12s  multiply-adds a run\n", "work", nb_cli_count(all->macs).s);
    printf("%-8s %12s  weights, %s prepared, %s activations, %s scratch\n", "memory",
           nb_cli_bytes(all->memory.weight_bytes).s, nb_cli_bytes(all->memory.prepared_bytes).s,
           nb_cli_bytes(all->memory.activation_bytes).s,
           nb_cli_bytes(all->memory.scratch_bytes + all->memory.staging_bytes).s);
}

int nb_cli_bench_net(struct nb_cli *cli, const char *path, const struct nb_cli_net_bench_args *a)
{
    struct nb_cli_net net;
    struct latency one = {.runs = 0}, all = {.runs = 0};
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);

    if (ctx == NULL)
        return code;
    code = nb_cli_net_prepare(cli, ctx, path, a->in, &net);
    if (code == NB_CLI_OK)
        code = bench(cli, ctx, &net, 1, a->repeat, &one);
    all = one;
    if (code == NB_CLI_OK && nb_context_threads(ctx) > 1)
        code = bench(cli, ctx, &net, 0, a->repeat, &all);
    if (code == NB_CLI_OK && a->json)
        print_json(&net, &one, &all);
    else if (code == NB_CLI_OK)
        print_text(&net, &one, &all);
    nb_cli_net_free(&net);
    return code;
}
