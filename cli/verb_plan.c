/* cli/verb_plan.c: what quantize would do. */
#include "quantize.h"

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct nb_quantize_args *a = args;
    struct nb_quantize_job job;
    int code = nb_quantize_prepare(cli, a, n, positional, &job);

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
        "of the memory and time that quantize would need.",
    .examples = "nibble plan Llama-3.2-1B --type q4_k_m\n"
                "nibble plan model-f16.gguf --type q6_k --max-ram 2GiB --json",
    .options = nb_quantize_options,
    .args_bytes = sizeof(struct nb_quantize_args),
    .min_positional = 1,
    .max_positional = 3,
    .run = run,
};
