/* cli/verb_eval.c: perplexity, and divergence from a reference model run side by side; accuracy of a net. */
#include "evaluate.h"
#include "net.h"

#include <string.h>

struct args {
    struct nb_cli_common common;
    const char *text, *against, *kv_type;
    uint32_t ctx, chunks;
    int32_t float_activations;
    double max_kld, max_ppl;
    struct nb_cli_list inputs, dims, sets; /* of nets, from here on */
    struct nb_cli_net_prepare_args prepare;
    const char *labels, *expected, *output;
    uint32_t top;
};
#define AT(field) offsetof(struct args, field)

static const struct nb_cli_opt options[] = {
    {.name = "text",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(text),
     .fallback = "(the bundled text)",
     .group = "Language models",
     .help = "UTF-8 text to predict",
     .brief = 1},
    {.name = "against",
     .arg = "REF",
     .type = NB_CLI_STRING,
     .offset = AT(against),
     .group = "Language models",
     .help = "reference model, run side by side: KL divergence, same top-1",
     .alias = "base",
     .brief = 1},
    {.name = "ctx",
     .letter = 'c',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(ctx),
     .fallback = "(1024, or the model's context if smaller)",
     .group = "Language models",
     .help = "tokens per window; the second half of each is scored",
     .brief = 1},
    {.name = "chunks",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(chunks),
     .fallback = "(all)",
     .group = "Language models",
     .help = "windows to measure at most",
     .brief = 1},
    {.name = "kv-type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(kv_type),
     .fallback = "f16",
     .group = "Language models",
     .help = "number format of the attention cache: f16 or f32"},
    {.name = "float-activations",
     .type = NB_CLI_FLAG,
     .offset = AT(float_activations),
     .group = "Language models",
     .help = "do not round activations to 8 bits: isolates the error of the weights"},
    {.name = "max-kld",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(max_kld),
     .group = "Language models",
     .help = "exit with 4 if the mean KL divergence is larger; needs --against",
     .brief = 1},
    {.name = "max-ppl",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(max_ppl),
     .group = "Language models",
     .help = "exit with 4 if the perplexity is larger",
     .brief = 1},
    {.name = "input",
     .letter = 'i',
     .arg = "NAME=FILE",
     .type = NB_CLI_LIST,
     .offset = AT(inputs),
     .group = "Nets",
     .help =
         "samples of an input, an .npy file: (count, the input's dimensions without its batch); "
         "or pictures: a .png or .jpg file, a folder of them",
     .brief = 1},
    {.name = "labels",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(labels),
     .group = "Nets",
     .help = "class of each sample, from 0: an .npy file, a text with a number a line, or a .csv "
             "with a column 'label' or 'class'",
     .brief = 1},
    {.name = "top",
     .arg = "K",
     .type = NB_CLI_U32,
     .offset = AT(top),
     .fallback = "5",
     .group = "Nets",
     .help = "count a sample too if its class is among the K best"},
    {.name = "expected",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(expected),
     .group = "Nets",
     .help = "what the output should be, an .npy file: signal to noise ratio, cosine, error"},
    {.name = "output",
     .letter = 'o',
     .arg = "NAME",
     .type = NB_CLI_STRING,
     .offset = AT(output),
     .group = "Nets",
     .help = "the output that is measured, of a net with several"},
    NB_CLI_NET_DIM_SET(AT(dims), AT(sets), "fix an input to a number"),
    NB_CLI_NET_PREPARE(AT(prepare), "Nets"),
    {0},
};

static void print_json(const struct args *a, const char *model, const char *text,
                       const struct nb_eval_result *e)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "model", model);
    nb_jw_string(&w, "against", a->against);
    nb_jw_string(&w, "text", text);
    nb_jw_string(&w, "kv_type", a->kv_type);
    nb_jw_string(&w, "convention", "second half of each window scored");
    nb_evaluate_json(&w, e);
    nb_jw_finish(&w);
}

/* Written so that a NaN misses the bound. */
static int check_bounds(const struct args *a, const struct nb_eval_result *e)
{
    int code = NB_CLI_OK;

    if (a->max_kld >= 0 && !(e->kld_mean <= a->max_kld))
        code = nb_cli_error(NB_CLI_BOUND_MISSED,
                            "mean KL %.4g is above the %.4g that --max-kld asks for", e->kld_mean,
                            a->max_kld);
    if (a->max_ppl >= 0 && !(e->ppl <= a->max_ppl))
        code = nb_cli_error(NB_CLI_BOUND_MISSED,
                            "perplexity %.4f is above the %.4f that --max-ppl asks for", e->ppl,
                            a->max_ppl);
    return code;
}

static int run_net(struct nb_cli *cli, const struct args *a, const char *path)
{
    return nb_cli_eval_net(cli, path,
                           &(struct nb_cli_net_eval_args){.inputs = &a->inputs,
                                                          .dims = &a->dims,
                                                          .sets = &a->sets,
                                                          .prepare = &a->prepare,
                                                          .labels = a->labels,
                                                          .expected = a->expected,
                                                          .output = a->output,
                                                          .top = a->top,
                                                          .json = a->common.json});
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct args *a = args;
    const char *model = positional[0];
    struct nb_eval_options o;
    struct nb_eval_result e;
    int code = NB_CLI_OK;

    (void)n;
    const bool net = nb_is_net(model);
    code = nb_cli_check_kind(cli, net ? NB_CLI_NET : NB_CLI_LANGUAGE, model);
    if (code != NB_CLI_OK)
        return code;
    if (net)
        return run_net(cli, a, model);
    if (a->max_kld >= 0 && a->against == NULL)
        return nb_cli_usage(cli, "--max-kld needs --against REF");
    const char *text = nb_evaluate_text(cli, a->text, &code);
    nb_context *ctx = text != NULL ? nb_cli_context(cli, &code) : NULL;
    if (ctx == NULL)
        return code;
    nb_eval_options_init(&o);
    o.text = text;
    o.against = a->against;
    o.ctx = a->ctx;
    o.chunks = a->chunks;
    o.kv_type = a->kv_type;
    o.float_activations = a->float_activations;
    enum nb_status status = nb_evaluate(ctx, model, &o, &e, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (a->common.json) {
        print_json(a, model, text, &e);
    } else {
        nb_evaluate_convention(stdout, &e);
        nb_evaluate_table(stdout, &e);
        printf("speed          %.0f tok/s\n", e.tok_per_s);
    }
    fflush(stdout);
    return check_bounds(a, &e);
}

const struct nb_cli_verb nb_cli_verb_eval = {
    .name = "eval",
    .synopsis = "MODEL | NET",
    .summary = "measure a model: perplexity, KL divergence from a reference; accuracy of a net",
    .description =
        "Predicts a text in windows of --ctx tokens and scores the second half of each, as "
        "llama.cpp "
        "does. With --against both models run side by side, and no file of logits is needed: the "
        "mean and percentiles of the KL divergence say how far MODEL's predictions are from the "
        "reference's, 'same top-1' how often both find the same token most likely. Each figure has "
        "its standard error; that of the difference pairs the positions.\n"
        "\n"
        "A net in ONNX or TFLite is run over the samples of --input, as it wants them: nothing is "
        "scaled (but by --scale, --mean and --std) or transposed. Numbers for an input of floats "
        "are converted, those for an input "
        "of integers must have its type. With --labels it gives how many samples are right, and "
        "the cross entropy if the output is a distribution; with --expected how near the output "
        "is to that.",
    .examples = "nibble eval q.gguf --text book.txt --against Llama-3.2-1B\n"
                "nibble eval q.gguf --text book.txt --against Llama-3.2-1B --max-kld 0.02 --json\n"
                "nibble eval net.onnx --input images.npy --labels labels.npy",
    .options = options,
    .args_bytes = sizeof(struct args),
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
