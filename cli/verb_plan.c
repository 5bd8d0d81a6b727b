/* cli/verb_plan.c: what quantize would do. */
#include "quantize.h"

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct nb_quantize_args *a = args;
    struct nb_quantize_job job;
    const enum nb_cli_kind kind = nb_quantize_kind(positional[0]);
    int code = nb_cli_check_kind(cli, kind, positional[0]);

    if (code != NB_CLI_OK)
        return code;
    if (kind == NB_CLI_ARRAY)
        return nb_cli_usage(cli, "'%.200s' is an array; plans are of models and nets",
                            positional[0]);
    if (kind == NB_CLI_NET)
        return nb_quantize_net_file(cli, a, n, positional, true);
    code = nb_quantize_prepare(cli, a, n, positional, &job);
    if (code == NB_CLI_OK)
        code = nb_quantize_plan(cli, a, &job);
    nb_quantize_job_fini(&job);
    return code;
}

const struct nb_cli_verb nb_cli_verb_plan = {
    .name = "plan",
    .synopsis = "MODEL [OUT] [TYPE]",
    .summary = "say what quantize would do: types, sizes, memory, time",
    .description =
        "Takes the options of quantize, reads the headers of MODEL only and writes nothing. "
        "Prints the type and size of every tensor, the size of the file, and an estimate "
        "of the memory and time that quantize would need.\n"
        "\n"
        "Of a net in ONNX or TFLite it prints every node and whether it would be quantized, and "
        "the size of the weights before and after. Samples are needed for open dimensions alone "
        "(--dim says them too).",
    .examples = "nibble plan Llama-3.2-1B --type q4_k_m\n"
                "nibble plan model-f16.gguf --type q6_k --max-ram 2GiB --json\n"
                "nibble plan net.onnx --profile tensorrt",
    .options = nb_quantize_options,
    .args_bytes = sizeof(struct nb_quantize_args),
    .min_positional = 1,
    .max_positional = 3,
    .run = run,
};
