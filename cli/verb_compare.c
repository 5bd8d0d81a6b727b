/* cli/verb_compare.c: several small models against their reference: a table, an HTML report; a net beside another. */
#include "evaluate.h"
#include "net.h"

#include <string.h>
#include <unistd.h>

struct args {
    struct nb_cli_common common;
    const char *text, *html, *kv_type;
    uint32_t ctx, chunks;
    int32_t speed, force, float_activations;
    struct nb_cli_list inputs, dims, sets; /* of nets, from here on */
    struct nb_cli_net_prepare_args prepare;
    const char *labels, *output;
    uint32_t layers;
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
    {.name = "ctx",
     .letter = 'c',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(ctx),
     .fallback = "(1024, or the model's context if smaller)",
     .group = "Language models",
     .help = "tokens per window; the second half of each is scored"},
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
    {.name = "speed",
     .type = NB_CLI_SWITCH,
     .offset = AT(speed),
     .fallback = "on",
     .group = "Language models",
     .help = "measure speed too"},
    {.name = "html",
     .letter = 'o',
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(html),
     .group = "Language models",
     .help = "write a report with plots: one file, no script, no network",
     .brief = 1},
    {.name = "force",
     .letter = 'f',
     .type = NB_CLI_FLAG,
     .offset = AT(force),
     .group = "Language models",
     .help = "overwrite the report if it exists",
     .alias = "overwrite",
     .brief = 1},
    {.name = "input",
     .letter = 'i',
     .arg = "NAME=FILE",
     .type = NB_CLI_LIST,
     .offset = AT(inputs),
     .group = "Nets",
     .help = "samples of an input as REF wants them, an .npy file: (count, the input's dimensions "
             "without its batch); or pictures",
     .brief = 1},
    {.name = "labels",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(labels),
     .group = "Nets",
     .help = "class of each sample, from 0, as for eval: accuracy of both",
     .brief = 1},
    {.name = "output",
     .arg = "NAME",
     .type = NB_CLI_STRING,
     .offset = AT(output),
     .group = "Nets",
     .help = "the output that labels are for, of nets with several"},
    {.name = "layers",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(layers),
     .fallback = "20",
     .group = "Nets",
     .help = "show N values between the nodes, those where most is lost; 0: do not compare them"},
    NB_CLI_NET_DIM_SET(AT(dims), AT(sets), "fix an input to a number"),
    NB_CLI_NET_PREPARE(AT(prepare), "Nets"),
    {0},
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

static void add_row(struct nb_cli_table *t, const struct nb_compare_model *m, bool speed)
{
    const struct nb_eval_result *e = &m->eval;

    nb_cli_table_add(t, "%.120s", base_name(m->path));
    nb_cli_table_add(t, "%s", m->type);
    nb_cli_table_add(t, "%s", nb_cli_bytes(m->bytes).s);
    nb_cli_table_add(t, "%.2f", m->bpw);
    nb_cli_table_add(t, "%.3f", e->ppl);
    if (e->has_ref) {
        nb_cli_table_add(t, "%.5f +- %.5f", e->kld_mean, e->kld_error);
        nb_cli_table_add(t, "%.4f", e->kld_p99);
        nb_cli_table_add(t, "%.2f %%", 100 * e->top1);
    } else {
        for (int i = 0; i < 3; i++)
            nb_cli_table_add(t, "-");
    }
    if (speed) {
        nb_cli_table_add(t, "%.0f", m->prefill_tok_s);
        nb_cli_table_add(t, "%.0f", m->decode_tok_s);
    }
}

static void print_table(const struct nb_compare_result *r, bool speed)
{
    static const char *const head[] = {"model",   "type",    "size",  "bpw",     "ppl",
                                       "mean KL", "99 % KL", "top-1", "prefill", "decode"};
    struct nb_cli_table t;

    nb_evaluate_convention(stdout, r->n_models > 0 ? &r->models[0].eval : &r->ref.eval);
    nb_cli_table_init(&t, speed ? "llrrrrrrrr" : "llrrrrrr");
    for (size_t i = 0; i < t.columns; i++)
        nb_cli_table_add(&t, "%s", head[i]);
    add_row(&t, &r->ref, speed);
    for (size_t i = 0; i < r->n_models; i++)
        add_row(&t, &r->models[i], speed);
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
    if (speed)
        printf("prefill and decode in tokens per second\n");
}

static void model_json(struct nb_jw *w, const char *key, const struct nb_compare_model *m,
                       bool speed)
{
    nb_jw_object(w, key);
    nb_jw_string(w, "path", m->path);
    nb_jw_string(w, "type", m->type);
    nb_jw_u64(w, "bytes", m->bytes);
    nb_jw_real(w, "bpw", m->bpw);
    nb_evaluate_json(w, &m->eval);
    if (speed) {
        nb_jw_real(w, "prefill_tok_s", m->prefill_tok_s);
        nb_jw_real(w, "decode_tok_s", m->decode_tok_s);
    }
    nb_jw_array(w, "tensors");
    for (size_t i = 0; i < m->n_tensors; i++) {
        nb_jw_object(w, NULL);
        nb_jw_string(w, "name", m->tensors[i].name);
        nb_jw_string(w, "type", m->tensors[i].type);
        nb_jw_i64(w, "block", m->tensors[i].block);
        nb_jw_real(w, "snr_db", m->tensors[i].snr_db);
        nb_jw_end(w);
    }
    nb_jw_end(w);
    nb_jw_end(w);
}

static void print_json(const struct nb_compare_result *r, const char *text, const struct args *a)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "text", text);
    nb_jw_string(&w, "convention", "second half of each window scored");
    nb_jw_string(&w, "html", a->html);
    model_json(&w, "ref", &r->ref, a->speed);
    nb_jw_array(&w, "models");
    for (size_t i = 0; i < r->n_models; i++)
        model_json(&w, NULL, &r->models[i], a->speed);
    nb_jw_end(&w);
    nb_jw_finish(&w);
}

static int run_models(struct nb_cli *cli, const struct args *a, int n, char **positional)
{
    struct nb_compare_options o;
    struct nb_compare_result r;
    int code = NB_CLI_OK;
    const char *text = nb_evaluate_text(cli, a->text, &code);
    nb_context *ctx = text != NULL ? nb_cli_context(cli, &code) : NULL;

    if (ctx == NULL)
        return code;
    if (a->html != NULL && !a->force && access(a->html, F_OK) == 0) /* before the minutes of work */
        return nb_cli_error(NB_CLI_FAILED, "'%s' exists; -f overwrites it", a->html);
    nb_compare_options_init(&o);
    o.eval.text = text;
    o.eval.ctx = a->ctx;
    o.eval.chunks = a->chunks;
    o.eval.kv_type = a->kv_type;
    o.eval.float_activations = a->float_activations;
    o.speed = a->speed;
    enum nb_status status = nb_compare(ctx, positional[0], (const char *const *)(positional + 1),
                                       (size_t)(n - 1), &o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (a->common.json)
        print_json(&r, text, a);
    else
        print_table(&r, a->speed);
    fflush(stdout);
    if (a->html != NULL) {
        status = nb_compare_html(ctx, &r, a->html, a->force, &cli->err);
        if (status != NB_OK)
            code = nb_cli_fail(cli, status);
        else if (!a->common.json)
            printf("report: %s\n", a->html);
    }
    nb_compare_result_free(&r);
    return code;
}

static int run_nets(struct nb_cli *cli, const struct args *a, int n, char **positional)
{
    const char *paths[2] = {positional[0], positional[1]};

    if (n != 2)
        return nb_cli_usage(cli, "nets are compared two at a time");
    return nb_cli_compare_nets(cli, paths,
                               &(struct nb_cli_net_compare_args){.inputs = &a->inputs,
                                                                 .dims = &a->dims,
                                                                 .sets = &a->sets,
                                                                 .prepare = &a->prepare,
                                                                 .labels = a->labels,
                                                                 .output = a->output,
                                                                 .layers = a->layers,
                                                                 .json = a->common.json});
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct args *a = args;
    const bool net = nb_is_net(positional[0]);
    const int code = nb_cli_check_kind(cli, net ? NB_CLI_NET : NB_CLI_LANGUAGE, positional[0]);

    if (code != NB_CLI_OK)
        return code;
    if (net)
        return run_nets(cli, a, n, positional);
    return run_models(cli, a, n, positional);
}

const struct nb_cli_verb nb_cli_verb_compare = {
    .name = "compare",
    .synopsis = "REF MODEL... | REF NET",
    .summary = "set models against their reference: table, HTML report; a net beside another",
    .description =
        "Measures every MODEL against REF on one text, as eval does, with its size, the error "
        "of each tensor and its speed. --html writes a report with plots of size against KL "
        "divergence and error per tensor.\n"
        "\n"
        "Two nets in ONNX or TFLite run side by side over the samples of --input: signal to "
        "quantization noise, cosine, largest difference and agreement of the largest element for "
        "each output, accuracy of both with --labels, and the values between the nodes that both "
        "have by name: where the ratio falls, the loss arises. A net of 8-bit inputs gets the "
        "reference's real numbers through its grid.",
    .examples = "nibble compare Llama-3.2-1B q8.gguf q4.gguf --text book.txt\n"
                "nibble compare Llama-3.2-1B q*.gguf --chunks 8 --html report.html\n"
                "nibble compare net.onnx net.int8.onnx --input images.npy --labels labels.npy",
    .options = options,
    .args_bytes = sizeof(struct args),
    .min_positional = 2,
    .max_positional = -1,
    .run = run,
};
