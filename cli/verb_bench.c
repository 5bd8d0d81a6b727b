/* cli/verb_bench.c: how fast a model runs here, and how near that is to what the machine can. */
#include "net.h"

struct args {
    struct nb_cli_common common;
    uint32_t prompt, generate, repeat, depth;
    const char *kv_type;
    struct nb_cli_net_args net;
};
#define AT(field) offsetof(struct args, field)

static const struct nb_cli_opt options[] = {
    {.name = "repeat",
     .letter = 'r',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(repeat),
     .fallback = "(3; a net: as many as fit into a second, 10 to 1000)",
     .group = "What is measured",
     .help = "runs; the median counts",
     .brief = 1},
    {.name = "prompt",
     .letter = 'p',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(prompt),
     .fallback = "512",
     .group = "Language models",
     .help = "tokens read at once",
     .brief = 1},
    {.name = "generate",
     .letter = 'n',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(generate),
     .fallback = "64",
     .group = "Language models",
     .help = "tokens generated one by one",
     .brief = 1},
    {.name = "depth",
     .letter = 'd',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(depth),
     .fallback = "0",
     .group = "Language models",
     .help = "tokens in the context before generating"},
    {.name = "kv-type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(kv_type),
     .fallback = "f16",
     .group = "Language models",
     .help = "number format of the attention cache: f16 or f32"},
    NB_CLI_NET_OPTIONS(AT(net)),
    {0},
};

static void print_json(const char *model, const struct args *a, const struct nb_bench_result *r)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "model", model);
    nb_jw_u64(&w, "prompt", a->prompt);
    nb_jw_u64(&w, "generate", a->generate);
    nb_jw_u64(&w, "repeat", a->repeat);
    nb_jw_u64(&w, "depth", a->depth);
    nb_jw_real(&w, "prefill_tok_s", r->prefill_tok_s);
    nb_jw_real(&w, "decode_tok_s", r->decode_tok_s);
    nb_jw_real(&w, "decode_bytes_per_token", r->decode_bytes_per_token);
    nb_jw_real(&w, "read_bandwidth", r->read_bandwidth);
    nb_jw_real(&w, "decode_bandwidth_share", r->decode_bandwidth_share);
    nb_jw_real(&w, "prefill_ops_share", r->prefill_ops_share);
    nb_jw_u64(&w, "threads", r->threads);
    nb_jw_string(&w, "isa", r->isa);
    nb_jw_real(&w, "load_seconds", r->load_seconds);
    nb_jw_u64(&w, "file_bytes", r->file_bytes);
    nb_jw_u64(&w, "peak_rss_bytes", r->peak_rss_bytes);
    nb_jw_finish(&w);
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct args *a = args;
    struct nb_bench_options o;
    struct nb_bench_result r;
    int code = NB_CLI_OK;

    (void)n;
    const bool net = nb_is_net(positional[0]);
    code = nb_cli_check_kind(cli, net ? NB_CLI_NET : NB_CLI_LANGUAGE, positional[0]);
    if (code != NB_CLI_OK)
        return code;
    if (net)
        return nb_cli_bench_net(cli, positional[0],
                                &(struct nb_cli_net_bench_args){
                                    .in = &a->net, .repeat = a->repeat, .json = a->common.json});
    if (a->repeat == 0)
        a->repeat = 3;
    nb_context *ctx = nb_cli_context(cli, &code);

    if (ctx == NULL)
        return code;
    nb_bench_options_init(&o);
    o.prompt = a->prompt;
    o.generate = a->generate;
    o.repeat = a->repeat;
    o.depth = a->depth;
    o.kv_type = a->kv_type;
    enum nb_status status = nb_bench(ctx, positional[0], &o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (a->common.json) {
        print_json(positional[0], a, &r);
        return NB_CLI_OK;
    }
    printf("%u threads, %s; median of %u\n", r.threads, r.isa, a->repeat);
    printf("prefill  %8.1f tok/s  %u tokens at once; %.0f %% of the measured peak\n",
           r.prefill_tok_s, a->prompt, 100 * r.prefill_ops_share);
    printf("decode   %8.1f tok/s  %s per token; %.0f %% of the measured read bandwidth, %s/s\n",
           r.decode_tok_s, nb_cli_bytes((uint64_t)r.decode_bytes_per_token).s,
           100 * r.decode_bandwidth_share, nb_cli_bytes((uint64_t)r.read_bandwidth).s);
    printf("load     %8s        file %s, peak memory %s\n", nb_cli_time(r.load_seconds).s,
           nb_cli_bytes(r.file_bytes).s, nb_cli_bytes(r.peak_rss_bytes).s);
    return NB_CLI_OK;
}

const struct nb_cli_verb nb_cli_verb_bench = {
    .name = "bench",
    .synopsis = "MODEL | NET",
    .summary = "measure speed, and its share of what this machine can",
    .description = "Times reading a prompt (prefill, bound by arithmetic) and generating token by "
                   "token (decode, "
                   "bound by memory), and measures in the same run what this machine's arithmetic "
                   "and memory can "
                   "do at most.\n"
                   "\n"
                   "Of a net in ONNX it gives the time of a run, with one thread and with all, and "
                   "how many multiplications with an addition that makes a second.",
    .examples = "nibble bench q.gguf\n"
                "nibble bench q.gguf -p 1024 -n 128 -t 2 --json\n"
                "nibble bench net.onnx --dim batch=8",
    .options = options,
    .args_bytes = sizeof(struct args),
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
