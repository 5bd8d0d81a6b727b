/* cli/verb_calibrate.c: what a text says about a model, for quantize --imatrix. */
#include "cli.h"

#include <string.h>

struct args {
    struct nb_cli_common common;
    const char *output, *format, *stats;
    struct nb_cli_list texts;
    uint64_t tokens, max_ram;
    uint32_t ctx, chunks;
    int32_t force, merge, head, all_experts, hold_out;
};
#define AT(field) offsetof(struct args, field)

static const struct nb_cli_opt options[] = {
    {.name = "output",
     .letter = 'o',
     .arg = "STATS",
     .type = NB_CLI_STRING,
     .offset = AT(output),
     .fallback = "(imatrix.gguf in this folder)",
     .group = "Output",
     .help = "file to write",
     .brief = 1},
    {.name = "force",
     .letter = 'f',
     .type = NB_CLI_FLAG,
     .offset = AT(force),
     .group = "Output",
     .help = "overwrite STATS if it exists",
     .alias = "overwrite",
     .brief = 1},
    {.name = "format",
     .arg = "FORMAT",
     .type = NB_CLI_STRING,
     .offset = AT(format),
     .fallback = "(gguf; dat if STATS ends in .dat)",
     .group = "Output",
     .help = "gguf or dat: llama.cpp's imatrix as it is now and as it was; --imatrix takes both"},
    {.name = "stats",
     .arg = "LIST",
     .type = NB_CLI_STRING,
     .offset = AT(stats),
     .fallback = "(an imatrix alone)",
     .group = "Output",
     .help =
         "what to keep of each layer's input, in a file that is an imatrix too: moments, range, "
         "moving, histogram, hessian, separated by commas, or all",
     .brief = 1},
    {.name = "text",
     .arg = "FILE",
     .type = NB_CLI_LIST,
     .offset = AT(texts),
     .fallback = "(the bundled text)",
     .group = "What is run",
     .help = "UTF-8 text like what the model will be used for; repeatable",
     .brief = 1},
    {.name = "ctx",
     .letter = 'c',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(ctx),
     .fallback = "512",
     .group = "What is run",
     .help = "tokens per window",
     .brief = 1},
    {.name = "chunks",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(chunks),
     .fallback = "(all)",
     .group = "What is run",
     .help = "windows to run at most",
     .brief = 1},
    {.name = "tokens",
     .arg = "N",
     .type = NB_CLI_U64,
     .offset = AT(tokens),
     .fallback = "(all)",
     .group = "What is run",
     .help = "tokens to run at most, in windows spread evenly over all texts; --chunks takes the "
             "first ones instead"},
    {.name = "hold-out",
     .type = NB_CLI_FLAG,
     .offset = AT(hold_out),
     .group = "What is run",
     .help = "leave every tenth window out; its Hessians, if kept, are kept apart"},
    {.name = "max-ram",
     .arg = "SIZE",
     .type = NB_CLI_SIZE,
     .offset = AT(max_ram),
     .fallback = "(seven eighths of what is free)",
     .group = "What is run",
     .help = "memory that Hessians may take; asked for more, it stops before it has begun"},
    {.name = "head",
     .type = NB_CLI_FLAG,
     .offset = AT(head),
     .group = "What is run",
     .help = "an entry for the output head too; takes longer",
     .alias = "process-output"},
    {.name = "all-experts",
     .type = NB_CLI_FLAG,
     .offset = AT(all_experts),
     .group = "What is run",
     .help =
         "mixtures of experts: show every token to every expert, so that none goes without; what "
         "the model says stays as it is. Takes longer"},
    {.name = "merge",
     .type = NB_CLI_FLAG,
     .offset = AT(merge),
     .group = "Merging",
     .help = "the arguments are files of statistics: add up what they have seen",
     .brief = 1},
    {0},
};

/* --format, or what the name says. */
static const char *format_of(const struct args *a, const char *out)
{
    size_t n = strlen(out);

    if (a->format != NULL)
        return a->format;
    return n > 4 && strcmp(out + n - 4, ".dat") == 0 ? "dat" : "gguf";
}

static void json_experts(struct nb_jw *w, const struct nb_calibrate_result *r)
{
    nb_jw_array(w, "experts");
    for (size_t i = 0; i < r->n_experts; i++) {
        const struct nb_expert_coverage *e = &r->experts[i];
        nb_jw_object(w, NULL);
        nb_jw_u64(w, "layer", e->layer);
        nb_jw_u64(w, "experts", e->experts);
        nb_jw_real(w, "least", e->least);
        nb_jw_real(w, "median", e->median);
        nb_jw_real(w, "most", e->most);
        nb_jw_u64(w, "few", e->few);
        nb_jw_u64(w, "unseen", e->unseen);
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

/* Tokens that chose each expert, a line for each layer. */
static void table_experts(const struct nb_calibrate_result *r)
{
    if (r->n_experts == 0)
        return;
    printf("\n%-5s  %7s  %9s  %9s  %9s  %11s  %6s\n", "layer", "experts", "least", "median", "most",
           "under 32", "none");
    for (size_t i = 0; i < r->n_experts; i++) {
        const struct nb_expert_coverage *e = &r->experts[i];
        printf("%-5u  %7u  %9.0f  %9.0f  %9.0f  %11u  %6u\n", e->layer, e->experts, e->least,
               e->median, e->most, e->few, e->unseen);
    }
    printf("tokens that chose an expert; where fewer than 32 did, the mean over its layer stands "
           "in\n");
}

static void report(const struct args *a, const char *source, const char *out,
                   const struct nb_calibrate_result *r)
{
    struct nb_jw w;

    if (a->common.json) {
        nb_jw_begin(&w, stdout);
        nb_jw_string(&w, "source", source);
        nb_jw_string(&w, "out", out);
        nb_jw_u64(&w, "bytes", r->bytes);
        nb_jw_string(&w, "hash", r->hash);
        nb_jw_u64(&w, "weights", r->weights);
        nb_jw_u64(&w, "tokens", r->tokens);
        nb_jw_u64(&w, "ctx", r->ctx);
        nb_jw_u64(&w, "chunks", r->chunks);
        nb_jw_u64(&w, "held_chunks", r->held_chunks);
        nb_jw_string(&w, "stats", r->stats[0] != '\0' ? r->stats : NULL);
        nb_jw_real(&w, "seconds", r->seconds);
        nb_jw_real(&w, "tok_per_s", r->tok_per_s);
        json_experts(&w, r);
        nb_jw_finish(&w);
        return;
    }
    nb_cli_puts_safe(stdout, out, strlen(out));
    printf(": %s, importance for %llu weights from %s tokens (%u windows of %u) in %s; use it: "
           "nibble quantize MODEL --imatrix ",
           nb_cli_bytes(r->bytes).s, (unsigned long long)r->weights, nb_cli_count(r->tokens).s,
           r->chunks, r->ctx, nb_cli_time(r->seconds).s);
    nb_cli_puts_safe(stdout, out, strlen(out));
    fputc('\n', stdout);
    if (r->stats[0] != '\0')
        printf("holds %s%s; nibble inspect shows it\n", r->stats,
               r->held_chunks > 0 ? ", and windows held out" : "");
    table_experts(r);
}

/* The bundled text, where none is given. Exit code. */
static int default_text(struct nb_cli *cli, struct nb_calibrate_options *o, const char **slot)
{
    static char path[1200];

    if (o->n_texts > 0)
        return NB_CLI_OK;
    if (!nb_cli_data_path(path, sizeof path, "calibration.txt"))
        return nb_cli_usage(cli, "--text FILE is missing, and the bundled text is not here");
    nb_cli_note(cli, "no --text: taking the bundled public-domain prose");
    *slot = path;
    o->texts = slot;
    o->n_texts = 1;
    return NB_CLI_OK;
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct args *a = args;
    const char *out = a->output != NULL ? a->output : "imatrix.gguf", *bundled;
    struct nb_calibrate_options o;
    struct nb_calibrate_result r;
    enum nb_status status;
    int code = NB_CLI_OK;

    nb_calibrate_options_init(&o);
    o.texts = a->texts.items;
    o.n_texts = a->texts.n;
    o.ctx = a->ctx;
    o.chunks = a->chunks;
    o.tokens = a->tokens;
    o.stats = a->stats;
    o.hold_out = a->hold_out;
    o.max_ram = a->max_ram;
    o.head = a->head;
    o.all_experts = a->all_experts;
    o.overwrite = a->force;
    o.format = format_of(a, out);
    if (!a->merge && n > 1)
        return nb_cli_usage(cli, "one MODEL at a time; files of statistics need --merge");
    if (a->merge && (a->texts.n > 0 || a->tokens > 0 || a->hold_out))
        return nb_cli_usage(cli,
                            "--merge reads files of statistics: no --text, --tokens, --hold-out");
    if (a->tokens > 0 && a->chunks > 0)
        return nb_cli_usage(cli, "--tokens and --chunks both say how much is run; give one");
    if (!a->merge && (code = default_text(cli, &o, &bundled)) != NB_CLI_OK)
        return code;
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    if (a->merge)
        status = nb_calibrate_merge(ctx, (const char *const *)positional, (size_t)n, out, &o, &r,
                                    &cli->err);
    else
        status = nb_calibrate(ctx, positional[0], out, &o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    report(a, positional[0], out, &r);
    nb_calibrate_result_free(&r);
    return NB_CLI_OK;
}

const struct nb_cli_verb nb_cli_verb_calibrate = {
    .name = "calibrate",
    .synopsis = "MODEL | --merge STATS...",
    .summary = "run a text through a model, to know which weights matter",
    .description =
        "Runs the float model over a text and writes, for each linear layer, how large each column "
        "of its input is: the mean of its squares. quantize --imatrix STATS then rounds the "
        "weights "
        "that meet large inputs more carefully. STATS is an imatrix of llama.cpp, whose tools read "
        "it too. The same bytes come out for any number of threads on every machine.\n"
        "\n"
        "Of a mixture of experts each expert has its own means, over the tokens that chose it; a "
        "table "
        "says how many these were. Where fewer than 32 tokens came, quantize fills up with the "
        "mean "
        "over the experts of the layer, and says so; --all-experts shows each token to every "
        "expert.\n"
        "\n"
        "With --stats more is kept of what flows into a layer: the range of each column, its "
        "moving "
        "average, a "
        "histogram, and H, the mean of the products of all its columns. Such a file is an imatrix "
        "to whoever looks for one; inspect shows it as a table. H of n columns takes 8 n^2 bytes "
        "of "
        "memory for each input of each layer, and a quarter of that in the file.\n"
        "\n"
        "With --merge the arguments are such files; their sums are added. Without --stats an "
        "imatrix "
        "alone comes out; --stats all keeps what all the files have.",
    .examples = "nibble calibrate Llama-3.2-1B -o imatrix.gguf --text mine.txt\n"
                "nibble quantize Llama-3.2-1B --type iq2_xs --imatrix imatrix.gguf\n"
                "nibble calibrate Llama-3.2-1B -o s.gguf --stats all --tokens 262144 --hold-out\n"
                "nibble calibrate --merge a.gguf b.dat -o both.gguf",
    .options = options,
    .args_bytes = sizeof(struct args),
    .min_positional = 1,
    .max_positional = -1,
    .run = run,
};
