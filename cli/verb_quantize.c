/* cli/verb_quantize.c: make a model small. */
#include "quantize.h"

#define AT(field) offsetof(struct nb_quantize_args, field)

/* plan takes the same options. */
const struct nb_cli_opt nb_quantize_options[] = {
    {.name = "output",
     .letter = 'o',
     .arg = "OUT",
     .type = NB_CLI_STRING,
     .offset = AT(output),
     .fallback = "(<model>-<type>.gguf in this folder)",
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
    {.name = "dump-recipe",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(dump_recipe),
     .group = "Output",
     .help = "write the recipe that was used, as JSON; '-' is standard output"},
    {.name = "dry-run",
     .letter = 'n',
     .type = NB_CLI_FLAG,
     .offset = AT(dry_run),
     .group = "Output",
     .help = "only say what would be done: same as 'nibble plan'"},
    {.name = "type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(type),
     .fallback = "(q4_k_m)",
     .group = "Types",
     .help = "mix or number format of the weights; 'nibble list types' shows all",
     .alias = "scheme",
     .brief = 1},
    {.name = "tensor-type",
     .arg = "REGEX=TYPE",
     .type = NB_CLI_LIST,
     .offset = AT(tensor_types),
     .group = "Types",
     .help =
         "number format of the tensors whose GGUF name matches; repeatable, the first match wins"},
    {.name = "output-tensor-type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(output_type),
     .fallback = "(the mix's)",
     .group = "Types",
     .help = "number format of output.weight"},
    {.name = "token-embedding-type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(embedding_type),
     .fallback = "(the mix's)",
     .group = "Types",
     .help = "number format of token_embd.weight"},
    {.name = "pure",
     .type = NB_CLI_FLAG,
     .offset = AT(pure),
     .group = "Types",
     .help = "one number format everywhere, no mix"},
    {.name = "recipe",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(recipe),
     .group = "Types",
     .help = "take all types from a recipe (JSON; '-' is standard input)"},
    {.name = "allow-requantize",
     .type = NB_CLI_FLAG,
     .offset = AT(allow_requantize),
     .group = "Types",
     .help = "take a model that is quantized already; quality suffers twice"},
    {.name = "any-arch",
     .type = NB_CLI_FLAG,
     .offset = AT(any_arch),
     .group = "Types",
     .help = "take an architecture that nibble does not know by the shapes of its tensors; GGUF to "
             "GGUF or folder to folder, not to be run"},
    {.name = "method",
     .arg = "NAME",
     .type = NB_CLI_STRING,
     .offset = AT(method),
     .fallback = "(rtn; auto with --calib)",
     .group = "Quality",
     .help = "how weights are rounded: rtn, auto, or one of 'nibble list methods'; all but rtn run "
             "the model over a text",
     .brief = 1},
    {.name = "calib",
     .arg = "FILE",
     .type = NB_CLI_LIST,
     .offset = AT(calib_texts),
     .group = "Quality",
     .help = "UTF-8 text to calibrate on, like what the model will be used for; repeatable [the "
             "bundled text]",
     .brief = 1},
    {.name = "calib-tokens",
     .arg = "N",
     .type = NB_CLI_SIZE,
     .offset = AT(calib_tokens),
     .fallback = "(131072)",
     .group = "Quality",
     .help = "tokens to calibrate on at most, spread evenly over the texts"},
    {.name = "calib-ctx",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(calib_ctx),
     .fallback = "(1024)",
     .group = "Quality",
     .help = "tokens of a window of that text"},
    {.name = "transform",
     .arg = "LIST",
     .type = NB_CLI_STRING,
     .offset = AT(transforms),
     .group = "Quality",
     .help = "exact rewrites of the model before it is rounded, with commas between; 'nibble list "
             "transforms' shows all"},
    {.name = "float-prefix",
     .type = NB_CLI_FLAG,
     .offset = AT(float_prefix),
     .group = "Quality",
     .help = "calibrate each block on what the float model gives it, not on what the rounded "
             "blocks before it give: faster"},
    {.name = "mismatch",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(mismatch),
     .fallback = "(1, or 0 of methods as published)",
     .group = "Quality",
     .help = "0 to 1: how much of what rounding the layers before has done to its input a layer "
             "makes good; above 0 a part of the text runs through the float model beside"},
    {.name = "damp",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(damp),
     .fallback = "(the method's)",
     .group = "Quality",
     .help = "added to the diagonal of the second moments, as a share of its mean"},
    {.name = "imatrix",
     .arg = "STATS",
     .type = NB_CLI_STRING,
     .offset = AT(imatrix),
     .group = "Quality",
     .help = "importance: what calibrate or llama-imatrix wrote"},
    {.name = "scale-search",
     .arg = "METHOD",
     .type = NB_CLI_STRING,
     .offset = AT(scale_search),
     .fallback = "(mse)",
     .group = "Quality",
     .help = "for general grids: mse, exact, absmax, minmax, percentile:99.9, entropy, absmean"},
    {.name = "importance",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(importance),
     .group = "Quality",
     .help = "for an array: an .npy file of weights, one per column or one per number"},
    {.name = "eval",
     .arg = "TEXT",
     .type = NB_CLI_STRING,
     .offset = AT(eval_text),
     .group = "Quality",
     .help = "afterwards measure the file against the model it came from, on this text",
     .brief = 1},
    {.name = "eval-chunks",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(eval_chunks),
     .fallback = "8",
     .group = "Quality",
     .help = "windows of text to measure on; 0: all"},
    {.name = "max-kld",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(max_kld),
     .group = "Quality",
     .help =
         "exit with 4 if the mean KL divergence is larger; measured on --eval TEXT, else on the "
         "bundled text; the file is kept"},
    {.name = "max-ram",
     .arg = "SIZE",
     .type = NB_CLI_SIZE,
     .offset = AT(max_ram),
     .fallback = "(no limit)",
     .group = "Limits",
     .help = "memory to stay within, like 3GiB or 500MB; checked before the work starts"},
    {.name = "max-shard-size",
     .arg = "SIZE",
     .type = NB_CLI_SIZE,
     .offset = AT(shard_bytes),
     .fallback = "(5GB)",
     .group = "Limits",
     .help = "size of one file when a Hugging Face folder is written"},
    {.name = "profile",
     .arg = "ENGINE",
     .type = NB_CLI_STRING,
     .offset = AT(profile),
     .fallback = "(ort-cpu)",
     .group = "Nets (ONNX)",
     .help = "who will run it: ort-cpu, openvino, tensorrt or qnn; says where "
             "QuantizeLinear nodes stand"},
    {.name = "format",
     .arg = "FORMAT",
     .type = NB_CLI_STRING,
     .offset = AT(format),
     .fallback = "(qdq)",
     .group = "Nets (ONNX)",
     .help = "qdq, or qoperator: integer operators (QLinearConv ...) where there are such"},
    {.name = "range",
     .arg = "RULE",
     .type = NB_CLI_STRING,
     .offset = AT(range),
     .fallback = "(minmax)",
     .group = "Nets (ONNX)",
     .help = "of activations: minmax, moving, percentile, mse or entropy"},
    {.name = "percentile",
     .arg = "P",
     .type = NB_CLI_REAL,
     .offset = AT(percentile),
     .fallback = "(99.999)",
     .group = "Nets (ONNX)",
     .help = "what share of the values --range percentile keeps, in percent"},
    {.name = "weights",
     .arg = "RULE",
     .type = NB_CLI_STRING,
     .offset = AT(weights),
     .fallback = "(rtn)",
     .group = "Nets (ONNX)",
     .help = "how weights are rounded: rtn, mse, gptq or adaround"},
    {.name = "bias-correct",
     .type = NB_CLI_SWITCH,
     .offset = AT(bias_correct),
     .fallback = "on",
     .group = "Nets (ONNX)",
     .help = "biases make good what rounding adds to a channel on average"},
    {.name = "per-tensor",
     .type = NB_CLI_FLAG,
     .offset = AT(per_tensor),
     .group = "Nets (ONNX)",
     .help = "one scale for a weight, not one for each output channel"},
    {.name = "keep",
     .arg = "NODE",
     .type = NB_CLI_LIST,
     .offset = AT(keep),
     .group = "Nets (ONNX)",
     .help = "node, by name or operator, that stays float; repeatable"},
    {.name = "dim",
     .arg = "NAME=N",
     .type = NB_CLI_LIST,
     .offset = AT(dims),
     .group = "Nets (ONNX)",
     .help = "a dimension that the file leaves open; repeatable"},
    {.name = "set",
     .arg = "INPUT=VALUE",
     .type = NB_CLI_LIST,
     .offset = AT(sets),
     .group = "Nets (ONNX)",
     .help = "an input that always has this value; repeatable"},
    {0},
};

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct nb_quantize_args *a = args;
    struct nb_quantize_job job;
    if (nb_quantize_is_array(positional[0]))
        return nb_quantize_array(cli, a, n, positional);
    if (nb_is_net(positional[0]))
        return nb_quantize_net_file(cli, a, n, positional);
    int code = nb_quantize_prepare(cli, a, n, positional, &job);

    if (code == NB_CLI_OK)
        code = a->dry_run ? nb_quantize_plan(cli, a, &job) : nb_quantize_work(cli, a, &job);
    nb_quantize_job_fini(&job);
    return code;
}

const struct nb_cli_verb nb_cli_verb_quantize = {
    .name = "quantize",
    .synopsis = "MODEL [OUT] [TYPE]",
    .summary = "make a model small",
    .description =
        "Reads MODEL (a Hugging Face folder, a .safetensors or a .gguf file), rounds its weights "
        "to "
        "TYPE and writes OUT. Tensors are read, rounded and written one by one: memory stays far "
        "below the model's size. OUT appears under its name only when it is complete. The recipe "
        "and hashes are kept in the file. The same command gives the same bytes on every machine.\n"
        "\n"
        "With -v every tensor is listed with its signal-to-noise ratio.\n"
        "\n"
        "MODEL may be an array: an .npy file of any shape. It is rounded to one number format "
        "along "
        "its last dimension. OUT ending in .npy gets the values after rounding in f32, one ending "
        "in "
        ".gguf the blocks themselves.\n"
        "\n"
        "MODEL may be a net in ONNX or TFLite: --calib names samples of its input (an .npy file, "
        "or "
        "NAME=FILE.npy "
        "for each input), and OUT is a model in 8 bits with QuantizeLinear and DequantizeLinear "
        "nodes, as --profile's engine wants them. With --type int4_g32, or another of int4 and "
        "int8 in "
        "groups, only the weights of matrix products are rounded (MatMulNBits of ONNX Runtime); "
        "samples make that better, but are not needed. --type f16 writes the net in float16, "
        "inputs and outputs in float32.",
    .examples = "nibble quantize Llama-3.2-1B\n"
                "nibble quantize model-f16.gguf small.gguf Q4_K_M\n"
                "nibble quantize Llama-3.2-1B -o q.gguf --type q4_0 --tensor-type 'ffn_down=q6_k'\n"
                "nibble quantize Llama-3.2-1B -o q.gguf --eval book.txt --max-kld 0.02\n"
                "nibble quantize x.npy -o y.npy --type q4_k --importance w.npy\n"
                "nibble quantize net.onnx --calib images.npy --range mse\n"
                "nibble quantize encoder.onnx --type int4_g32",
    .options = nb_quantize_options,
    .args_bytes = sizeof(struct nb_quantize_args),
    .min_positional = 1,
    .max_positional = 3,
    .run = run,
};
