/* cli/verb_convert.c: another container or dialect, the same weights. quantize with type "keep". */
#include "quantize.h"

#include <nibble/net.h>
#include <math.h>

#define AT(field) offsetof(struct nb_quantize_args, field)

static const struct nb_cli_opt options[] = {
    {.name = "output",
     .letter = 'o',
     .arg = "OUT",
     .type = NB_CLI_STRING,
     .offset = AT(output),
     .group = "Output",
     .help = "file to write; a name ending in .gguf is a GGUF file, another a Hugging Face folder",
     .brief = 1},
    {.name = "force",
     .letter = 'f',
     .type = NB_CLI_FLAG,
     .offset = AT(force),
     .group = "Output",
     .help = "overwrite OUT if it exists (the model that is read is never overwritten)",
     .alias = "overwrite",
     .brief = 1},
    {.name = "dry-run",
     .letter = 'n',
     .type = NB_CLI_FLAG,
     .offset = AT(dry_run),
     .group = "Output",
     .help = "only say what would be done",
     .of = NB_CLI_LANGUAGE},
    {.name = "max-ram",
     .arg = "SIZE",
     .type = NB_CLI_SIZE,
     .offset = AT(max_ram),
     .fallback = "(no limit)",
     .group = "Language models",
     .help = "memory to stay within, like 3GiB or 500MB; checked before the work starts"},
    {.name = "max-shard-size",
     .arg = "SIZE",
     .type = NB_CLI_SIZE,
     .offset = AT(shard_bytes),
     .fallback = "(5GB)",
     .group = "Language models",
     .help = "size of one file when a Hugging Face folder is written"},
    {0},
};

static int convert_net(struct nb_cli *cli, const struct nb_quantize_args *a, const char *path,
                       const char *out)
{
    int code = NB_CLI_OK;

    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    const enum nb_status status = nb_convert_net(ctx, path, out, a->force, &cli->err);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    nb_cli_note(cli, "%s: ONNX", out);
    return NB_CLI_OK;
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct nb_quantize_args *a = args;
    struct nb_quantize_job job;
    int code;

    if (n < 2 && a->output == NULL)
        return nb_cli_usage(cli, "missing argument: nibble convert MODEL OUT");
    const bool net = nb_is_net(positional[0]);
    code = nb_cli_check_kind(cli, net ? NB_CLI_NET : NB_CLI_LANGUAGE, positional[0]);
    if (code != NB_CLI_OK)
        return code;
    if (net)
        return convert_net(cli, a, positional[0], n < 2 ? a->output : positional[1]);
    a->type = "keep";
    a->max_kld = (double)NAN; /* an option of quantize alone: no bound, no measuring */
    code = nb_quantize_prepare(cli, a, n, positional, &job);
    if (code == NB_CLI_OK)
        code = a->dry_run ? nb_quantize_plan(cli, a, &job) : nb_quantize_work(cli, a, &job);
    nb_quantize_job_fini(&job);
    return code;
}

const struct nb_cli_verb nb_cli_verb_convert = {
    .name = "convert",
    .synopsis = "MODEL OUT | NET OUT.onnx",
    .summary = "write a model in another container, weights unchanged",
    .description =
        "Writes MODEL as OUT without rounding anything: a Hugging Face folder becomes a GGUF "
        "file and back, tokenizer and metadata included. Weights keep their values.\n"
        "\n"
        "A net in TFLite becomes one in ONNX: each operator ONNX's, tensors with their names, "
        "types and numbers.",
    .examples = "nibble convert Llama-3.2-1B llama.gguf\n"
                "nibble convert llama.gguf llama-folder\n"
                "nibble convert net.tflite net.onnx",
    .options = options,
    .args_bytes = sizeof(struct nb_quantize_args),
    .min_positional = 1,
    .max_positional = 2,
    .run = run,
};
