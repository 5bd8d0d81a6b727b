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
    {.name = "dry-run",
     .letter = 'n',
     .type = NB_CLI_FLAG,
     .offset = AT(dry_run),
     .group = "Output",
     .help = "only say what would be done: same as 'nibble plan'",
     .of = NB_CLI_LANGUAGE | NB_CLI_NET},
    {.name = "type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(type),
     .fallback = "(q4_k_m)",
     .group = "Rounding",
     .help = "mix or number format of the weights; 'nibble list types' shows all",
     .alias = "scheme",
     .brief = 1},
    {.name = "method",
     .arg = "NAME",
     .type = NB_CLI_STRING,
     .offset = AT(method),
     .fallback = "(rtn; auto with --calib)",
     .group = "Rounding",
     .help = "how weights are rounded: rtn, auto, or one of 'nibble list methods'; all but rtn run "
             "the model over a text",
     .brief = 1,
     .of = NB_CLI_LANGUAGE | NB_CLI_NET},
    {.name = "calib",
     .arg = "FILE",
     .type = NB_CLI_LIST,
     .offset = AT(calib_texts),
     .group = "Rounding",
     .help = "UTF-8 text to calibrate on, like what the model will be used for; repeatable [the "
             "bundled text]; of a net samples of its input, an .npy file or a folder of pictures, "
             "or INPUT=FILE for each",
     .brief = 1,
     .of = NB_CLI_LANGUAGE | NB_CLI_NET},
    {.name = "scale-search",
     .arg = "METHOD",
     .type = NB_CLI_STRING,
     .offset = AT(scale_search),
     .fallback = "(mse)",
     .group = "Rounding",
     .help = "for general grids: mse, exact, absmax, minmax, percentile:99.9, entropy, absmean",
     .of = NB_CLI_LANGUAGE | NB_CLI_NET},
    {.name = "tensor-type",
     .arg = "REGEX=TYPE",
     .type = NB_CLI_LIST,
     .offset = AT(tensor_types),
     .group = "Language models",
     .help =
         "number format of the tensors whose GGUF name matches; repeatable, the first match wins"},
    {.name = "output-tensor-type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(output_type),
     .fallback = "(the mix's)",
     .group = "Language models",
     .help = "number format of output.weight"},
    {.name = "token-embedding-type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(embedding_type),
     .fallback = "(the mix's)",
     .group = "Language models",
     .help = "number format of token_embd.weight"},
    {.name = "pure",
     .type = NB_CLI_FLAG,
     .offset = AT(pure),
     .group = "Language models",
     .help = "one number format everywhere, no mix"},
    {.name = "recipe",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(recipe),
     .group = "Language models",
     .help = "take all types from a recipe (JSON; '-' is standard input)"},
    {.name = "dump-recipe",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(dump_recipe),
     .group = "Language models",
     .help = "write the recipe that was used, as JSON; '-' is standard output"},
    {.name = "allow-requantize",
     .type = NB_CLI_FLAG,
     .offset = AT(allow_requantize),
     .group = "Language models",
     .help = "take a model that is quantized already; quality suffers twice"},
    {.name = "any-arch",
     .type = NB_CLI_FLAG,
     .offset = AT(any_arch),
     .group = "Language models",
     .help = "take an architecture that nibble does not know by the shapes of its tensors; GGUF to "
             "GGUF or folder to folder, not to be run"},
    {.name = "calib-tokens",
     .arg = "N",
     .type = NB_CLI_SIZE,
     .offset = AT(calib_tokens),
     .fallback = "(131072)",
     .group = "Language models",
     .help = "tokens to calibrate on at most, spread evenly over the texts"},
    {.name = "calib-ctx",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(calib_ctx),
     .fallback = "(1024)",
     .group = "Language models",
     .help = "tokens of a window of that text"},
    {.name = "transform",
     .arg = "LIST",
     .type = NB_CLI_STRING,
     .offset = AT(transforms),
     .group = "Language models",
     .help = "exact rewrites of the model before it is rounded, with commas between; 'nibble list "
             "transforms' shows all"},
    {.name = "float-prefix",
     .type = NB_CLI_FLAG,
     .offset = AT(float_prefix),
     .group = "Language models",
     .help = "calibrate each block on what the float model gives it, not on what the rounded "
             "blocks before it give: faster"},
    {.name = "mismatch",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(mismatch),
     .fallback = "(1, or 0 of methods as published)",
     .group = "Language models",
     .help = "0 to 1: how much of what rounding the layers before has done to its input a layer "
             "makes good; above 0 a part of the text runs through the float model beside"},
    {.name = "damp",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(damp),
     .fallback = "(the method's)",
     .group = "Language models",
     .help = "added to the diagonal of the second moments, as a share of its mean"},
    {.name = "imatrix",
     .arg = "STATS",
     .type = NB_CLI_STRING,
     .offset = AT(imatrix),
     .group = "Language models",
     .help = "importance: what calibrate or llama-imatrix wrote",
     .instead = "an array takes --importance"},
    {.name = "eval",
     .arg = "TEXT",
     .type = NB_CLI_STRING,
     .offset = AT(eval_text),
     .group = "Language models",
     .help = "afterwards measure the file against the model it came from, on this text",
     .brief = 1},
    {.name = "eval-chunks",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(eval_chunks),
     .fallback = "8",
     .group = "Language models",
     .help = "windows of text to measure on; 0: all"},
    {.name = "max-kld",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(max_kld),
     .group = "Language models",
     .help =
         "exit with 4 if the mean KL divergence is larger; measured on --eval TEXT, else on the "
         "bundled text; the file is kept"},
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
    {.name = "importance",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(importance),
     .group = "Arrays",
     .help = "an .npy file of weights, one per column or one per number",
     .instead = "a language model takes --imatrix"},
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
     .help =
         "qdq; qoperator: integer operators (QLinearConv ...) where there are such; float: no "
         "quantize nodes, constants on their grids, for --encodings. Of --type int4_g32 and its "
         "kin qdq: ONNX's DequantizeLinear in blocks instead of MatMulNBits"},
    {.name = "encodings",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(encodings),
     .group = "Nets (ONNX)",
     .help = "write the grids as AIMET's encodings too (JSON), which QNN's converters take"},
    {.name = "encodings-version",
     .arg = "V",
     .type = NB_CLI_STRING,
     .offset = AT(encodings_version),
     .fallback = "(1.0.0)",
     .group = "Nets (ONNX)",
     .help = "1.0.0, or 0.6.1"},
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
     .fallback = "(rtn; of 4 bits gptq)",
     .group = "Nets (ONNX)",
     .help = "how weights are rounded: rtn, mse, gptq or adaround"},
    {.name = "weight-bits",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(weight_bits),
     .fallback = "8",
     .group = "Nets (ONNX)",
     .help = "8 or 4"},
    {.name = "activations",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(activations),
     .fallback = "(int8)",
     .group = "Nets (ONNX)",
     .help = "int8: 8 bits as the profile has them; uint16: with a zero point, for NPUs; int16: "
             "without one"},
    {.name = "bias-correct",
     .type = NB_CLI_SWITCH,
     .offset = AT(bias_correct),
     .fallback = "(with rtn, mse, and 4 bits)",
     .group = "Nets (ONNX)",
     .help = "biases make good what rounding adds to a channel on average"},
    {.name = "smooth",
     .arg = "ALPHA",
     .type = NB_CLI_STRING,
     .offset = AT(smooth),
     .group = "Nets (ONNX)",
     .help = "outliers of the inputs of products go into the weights first (SmoothQuant), by 0 to "
             "1, 0.5 being usual, or auto: the best of some"},
    {.name = "equalize",
     .type = NB_CLI_FLAG,
     .offset = AT(equalize),
     .group = "Nets (ONNX)",
     .help = "weights of neighbouring convolutions become alike first; for --per-tensor"},
    {.name = "max-drop",
     .arg = "POINTS",
     .type = NB_CLI_REAL,
     .offset = AT(max_drop),
     .group = "Nets (ONNX)",
     .help =
         "the nodes that cost most stay float until no more is lost, in percent of the samples: "
         "of those that --labels says are right, else of those whose largest element stays"},
    {.name = "min-sqnr",
     .arg = "DB",
     .type = NB_CLI_REAL,
     .offset = AT(min_sqnr),
     .group = "Nets (ONNX)",
     .help = "likewise until the worst output has this signal-to-noise ratio"},
    {.name = "labels",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(labels),
     .group = "Nets (ONNX)",
     .help = "class of each sample, an .npy file of integers"},
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
    NB_CLI_NET_PREPARE(AT(prepare), "Nets (ONNX)"),
    {0},
};

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct nb_quantize_args *a = args;
    struct nb_quantize_job job;
    const enum nb_cli_kind kind = nb_quantize_kind(positional[0]);
    int code = nb_cli_check_kind(cli, kind, positional[0]);

    if (code != NB_CLI_OK)
        return code;
    if (kind == NB_CLI_ARRAY)
        return nb_quantize_array(cli, a, n, positional);
    if (kind == NB_CLI_NET)
        return nb_quantize_net_file(cli, a, n, positional, a->dry_run != 0);
    code = nb_quantize_prepare(cli, a, n, positional, &job);
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
        "samples make that better, but are not needed. --type int8_dynamic rounds them to int8, a "
        "scale for each column, and has inputs quantized as they come (MatMulInteger). --type f16 "
        "writes the net in float16, "
        "inputs and outputs in float32. --dry-run lists the nodes and what would become of them; "
        "samples are not needed then.\n"
        "\n"
        "An option that is for another kind of MODEL is refused.",
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
