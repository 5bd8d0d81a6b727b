/* cli/quantize.c: from arguments to the library's quantize call; shared by quantize, plan, convert.
 *
 * Arguments are taken as llama-quantize takes them (IN [OUT] [TYPE]) and as options (-o, --type).
 */
#include "quantize.h"
#include "evaluate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char *checked_type(struct nb_cli *cli, const char *option, const char *type, bool mix)
{
    const char *spelling = NULL;

    if (nb_cli_known("formats", type, &spelling) || (mix && nb_cli_known("types", type, &spelling)))
        return spelling;
    if (mix && strcasecmp(type, "keep") == 0)
        return "keep";
    const char *kind = mix ? "types" : "formats", *nearest = nb_cli_nearest(kind, type);
    nb_cli_usage(cli, "%sthere is no type '%s'%s%s%s; 'nibble list %s' shows all", option, type,
                 nearest != NULL ? "; the nearest is '" : "", nearest != NULL ? nearest : "",
                 nearest != NULL ? "'" : "", kind);
    return NULL;
}

/* The last part of the model's path without its suffix and float type: "Llama-1B-f16.gguf" is
 * "Llama-1B", "dir/model.safetensors" is "dir". */
static char *stem_of(const char *model)
{
    static const char *const suffixes[] = {".gguf", ".safetensors", ".safetensors.index.json",
                                           "-f32",  "-f16",         "-bf16"};
    char *real = realpath(model, NULL), *stem;
    char *path = real != NULL ? real : strdup(model);
    size_t n;

    if (path == NULL)
        return NULL;
    char *slash = strrchr(path, '/');
    if (slash != NULL && slash > path && strncmp(slash, "/model.safetensors", 18) == 0) {
        *slash = '\0';
        slash = strrchr(path, '/');
    }
    stem = strdup(slash != NULL ? slash + 1 : path);
    free(path);
    if (stem == NULL)
        return NULL;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t len = strlen(suffixes[i]);
        n = strlen(stem);
        if (n > len && strcasecmp(stem + n - len, suffixes[i]) == 0)
            stem[n - len] = '\0';
    }
    return stem;
}

static char *default_out(const char *model, const char *type)
{
    char *stem = stem_of(model), *out = NULL;

    if (stem != NULL) {
        size_t cap = strlen(stem) + strlen(type) + 8;
        out = malloc(cap);
        if (out != NULL)
            snprintf(out, cap, "%s-%s.gguf", *stem != '\0' ? stem : "model", type);
    }
    free(stem);
    return out;
}

static int make_rules(struct nb_cli *cli, const struct nb_quantize_args *args,
                      struct nb_quantize_job *job)
{
    size_t n = args->tensor_types.n;

    job->rules = calloc(n + 1, sizeof *job->rules);
    job->rule_texts = calloc(n + 1, sizeof *job->rule_texts);
    if (job->rules == NULL || job->rule_texts == NULL)
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char *text = strdup(args->tensor_types.items[i]);
        char *equals = text != NULL ? strrchr(text, '=') : NULL;
        job->rule_texts[i] = text;
        if (text == NULL)
            return nb_cli_error(NB_CLI_FAILED, "out of memory");
        if (equals == NULL || equals == text)
            return nb_cli_usage(cli, "--tensor-type '%s' is not REGEX=TYPE", text);
        *equals = '\0';
        job->rules[i].regex = text;
        job->rules[i].type = checked_type(cli, "--tensor-type: ", equals + 1, false);
        if (job->rules[i].type == NULL)
            return NB_CLI_USAGE;
    }
    job->options.rules = job->rules;
    job->options.n_rules = n;
    return NB_CLI_OK;
}

enum nb_cli_kind nb_quantize_kind(const char *path)
{
    const size_t n = strlen(path);

    if (n > 4 && strcasecmp(path + n - 4, ".npy") == 0)
        return NB_CLI_ARRAY;
    return nb_is_net(path) ? NB_CLI_NET : NB_CLI_LANGUAGE;
}

int nb_quantize_positional(struct nb_cli *cli, const struct nb_quantize_args *args, int n,
                           char **positional, const char **out, const char **type)
{
    *out = args->output;
    *type = args->type;
    bool second_is_type = n == 2 && strpbrk(positional[1], "./") == NULL &&
                          nb_cli_known("types", positional[1], NULL);
    const char *out_arg = n >= 2 && !second_is_type ? positional[1] : NULL;
    const char *type_arg = n == 3 ? positional[2] : second_is_type ? positional[1] : NULL;
    if (out_arg != NULL && *out != NULL)
        return nb_cli_usage(cli, "two outputs: '%s' and '%s'", *out, out_arg);
    if (type_arg != NULL && *type != NULL)
        return nb_cli_usage(cli, "two types: '%s' and '%s'", *type, type_arg);
    if (out_arg != NULL)
        *out = out_arg;
    if (type_arg != NULL)
        *type = type_arg;
    return NB_CLI_OK;
}

static int set_types(struct nb_cli *cli, const struct nb_quantize_args *args, const char *type,
                     struct nb_quantize_job *job)
{
    struct nb_quant_options *o = &job->options;

    if (type == NULL && args->recipe == NULL)
        type = "q4_k_m";
    if (type != NULL && (o->type = checked_type(cli, "", type, true)) == NULL)
        return NB_CLI_USAGE;
    if (args->output_type != NULL &&
        (o->output_type = checked_type(cli, "--output-tensor-type: ", args->output_type, false)) ==
            NULL)
        return NB_CLI_USAGE;
    if (args->embedding_type != NULL &&
        (o->embedding_type =
             checked_type(cli, "--token-embedding-type: ", args->embedding_type, false)) == NULL)
        return NB_CLI_USAGE;
    return make_rules(cli, args, job);
}

static int set_recipe(struct nb_cli *cli, const struct nb_quantize_args *args, const char *type,
                      struct nb_quantize_job *job)
{
    size_t n;

    if (args->recipe == NULL)
        return NB_CLI_OK;
    if (type != NULL || args->tensor_types.n > 0 || args->output_type != NULL ||
        args->embedding_type != NULL || args->pure)
        return nb_cli_usage(cli, "--recipe says all types; drop the other type options");
    job->recipe = nb_cli_read_file(cli, args->recipe, &n);
    if (job->recipe == NULL)
        return nb_cli_fail(cli, cli->err.status);
    if (strlen(job->recipe) != n)
        return nb_cli_error(NB_CLI_BAD_INPUT, "recipe '%s': a zero byte at %zu; expected JSON text",
                            args->recipe, strlen(job->recipe));
    job->options.recipe = job->recipe;
    return NB_CLI_OK;
}

/* A missing folder is told before the work, and not as bad input. */
static int check_folder(const char *out)
{
    struct stat st;
    char *folder = strdup(out), *slash;
    int code = NB_CLI_OK;

    if (folder == NULL)
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--)
        folder[n - 1] = '\0';
    slash = strrchr(folder, '/');
    if (slash != NULL && slash > folder) {
        *slash = '\0';
        if (stat(folder, &st) != 0)
            code = nb_cli_error(NB_CLI_FAILED, "'%s': the folder '%s' cannot be used: %s", out,
                                folder, strerror(errno));
        else if (!S_ISDIR(st.st_mode))
            code = nb_cli_error(NB_CLI_FAILED, "'%s': '%s' is not a folder", out, folder);
    }
    free(folder);
    return code;
}

/* Where the library keeps what is finished: <out>.journal. */
static char *journal_of(const char *out)
{
    size_t n = strlen(out);
    char *path = malloc(n + sizeof ".journal");

    while (n > 1 && out[n - 1] == '/')
        n--;
    if (path != NULL)
        snprintf(path, n + sizeof ".journal", "%.*s.journal", (int)n, out);
    return path;
}

/* What rounding shall be led by. Without a text a method that wants one gets the bundled one. */
static int set_calibration(struct nb_cli *cli, const struct nb_quantize_args *args,
                           struct nb_quantize_job *job)
{
    struct nb_quant_options *o = &job->options;

    o->method = args->method;
    o->transforms = args->transforms;
    o->float_prefix = args->float_prefix;
    o->mismatch = args->mismatch;
    o->damp = isnan(args->damp) ? 0.0 : args->damp;
    o->calib_tokens = args->calib_tokens;
    o->calib_ctx = args->calib_ctx;
    o->calib_texts = (const char *const *)args->calib_texts.items;
    o->n_calib_texts = args->calib_texts.n;
    if (o->n_calib_texts > 0 || args->method == NULL || strcmp(args->method, "rtn") == 0)
        return NB_CLI_OK;
    if (!nb_cli_data_path(job->bundled, sizeof job->bundled, "calibration.txt"))
        return nb_cli_usage(cli, "--method %s needs --calib TEXT (the bundled text is not here)",
                            args->method);
    job->calib_text = job->bundled;
    o->calib_texts = &job->calib_text;
    o->n_calib_texts = 1;
    return NB_CLI_OK;
}

int nb_quantize_prepare(struct nb_cli *cli, const struct nb_quantize_args *args, int n,
                        char **positional, struct nb_quantize_job *job)
{
    const char *type;
    int code;

    *job = (struct nb_quantize_job){.model = positional[0]};
    nb_quant_options_init(&job->options);
    if ((code = nb_quantize_positional(cli, args, n, positional, &job->out, &type)) != NB_CLI_OK ||
        (code = set_types(cli, args, type, job)) != NB_CLI_OK ||
        (code = set_recipe(cli, args, type, job)) != NB_CLI_OK)
        return code;
    if (job->out != NULL && strcmp(job->out, "-") == 0)
        return nb_cli_usage(cli, "a model cannot go to standard output: it is written beside its "
                                 "final name and renamed when complete");
    if (job->out == NULL) {
        const char *label = job->options.recipe != NULL ? "nibble" : job->options.type;
        job->made_out = default_out(job->model, label);
        job->out = job->made_out;
        if (job->out == NULL)
            return nb_cli_error(NB_CLI_FAILED, "out of memory");
    }
    if ((code = check_folder(job->out)) != NB_CLI_OK)
        return code;
    job->options.pure = args->pure;
    job->options.overwrite = args->force;
    job->options.allow_requantize = args->allow_requantize;
    job->options.any_arch = args->any_arch;
    job->options.max_ram = args->max_ram;
    job->options.imatrix = args->imatrix;
    job->options.scale_search = args->scale_search;
    if ((code = set_calibration(cli, args, job)) != NB_CLI_OK)
        return code;
    if (job->options.n_calib_texts > 0 && (job->journal = journal_of(job->out)) == NULL)
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    job->options.shard_bytes = args->shard_bytes;
    return NB_CLI_OK;
}

void nb_quantize_job_fini(struct nb_quantize_job *job)
{
    for (size_t i = 0; job->rule_texts != NULL && job->rule_texts[i] != NULL; i++)
        free(job->rule_texts[i]);
    free(job->rule_texts);
    free(job->rules);
    free(job->recipe);
    free(job->made_out);
    free(job->journal);
}

int nb_quantize_plan(struct nb_cli *cli, const struct nb_quantize_args *args,
                     const struct nb_quantize_job *job)
{
    struct nb_quant_result r;
    struct nb_jw w;
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);

    if (ctx == NULL)
        return code;
    enum nb_status status = nb_plan(ctx, job->model, job->out, &job->options, &r, &cli->err);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (cli->common->json) {
        nb_jw_begin(&w, stdout);
        nb_quantize_json(&w, job, &r);
        nb_jw_finish(&w);
    } else {
        nb_quantize_tensor_table(&r, true);
        printf("\nplan   %s as %s, %s\n", r.out, r.type, r.method);
        printf("size   %s, %.2f bits per weight (%.2f in the layers)\n", nb_cli_bytes(r.bytes).s,
               r.bpw, r.bpw_layers);
        printf("needs  about %s and %s of memory\n", nb_cli_time(r.seconds).s,
               nb_cli_bytes(r.peak_rss_bytes).s);
        nb_quantize_importance(&r);
    }
    if (args->dump_recipe != NULL)
        code = nb_quantize_dump_recipe(args->dump_recipe, r.recipe, args->force);
    nb_quant_result_free(&r);
    return code;
}

/* Written so that a NaN misses the bound. */
static bool misses(const struct nb_quantize_args *args, const struct nb_eval_result *e)
{
    return args->max_kld >= 0 && !(e->kld_mean <= args->max_kld);
}

/* Measures the written file against its source. Exit code; 0 and 4 fill *e. */
static int measure(struct nb_cli *cli, const struct nb_quantize_args *args,
                   const struct nb_quantize_job *job, struct nb_eval_result *e)
{
    struct nb_eval_options o;
    char bundled[1200];
    enum nb_status status;

    nb_eval_options_init(&o);
    o.text = args->eval_text;
    if (o.text == NULL) {
        if (!nb_cli_data_path(bundled, sizeof bundled, "evaluation.txt"))
            return nb_cli_usage(cli, "--max-kld needs --eval TEXT (the bundled text is not here)");
        o.text = bundled;
    }
    o.against = job->model;
    o.chunks = args->eval_chunks;
    status = nb_evaluate(cli->ctx, job->out, &o, e, &cli->err);
    if (status != NB_OK) {
        nb_cli_note(cli, "%s is written; measuring it failed:", job->out);
        return nb_cli_fail(cli, status);
    }
    return misses(args, e) ? NB_CLI_BOUND_MISSED : NB_CLI_OK;
}

static void print_last_line(const struct nb_quant_result *r, const struct nb_eval_result *e)
{
    nb_cli_puts_safe(stdout, r->out, strlen(r->out));
    printf(": %s, %.2f bits per weight (%.2f in the layers), ", nb_cli_bytes(r->bytes).s, r->bpw,
           r->bpw_layers);
    if (e != NULL)
        printf("KL %.4f, same top-1 %.1f %%, ", e->kld_mean, 100 * e->top1);
    else if (isinf(r->snr_db))
        printf("lossless, ");
    else
        printf("SNR %s (worst %s), ", nb_cli_db(r->snr_db).s, nb_cli_db(r->worst_snr_db).s);
    printf("in %s; ", nb_cli_time(r->seconds).s);
    if (r->runs == NB_RUNS_NOT) {
        printf("nibble does not know how to run it\n");
        return;
    }
    printf("run it: nibble %s ", r->runs == NB_RUNS_EMBEDS ? "embed" : "run");
    nb_quantize_shell_word(stdout, r->out);
    printf("%s \"Once upon a time\"\n", r->runs == NB_RUNS_EMBEDS ? "" : " -p");
}

static void report(struct nb_cli *cli, const struct nb_quantize_args *args,
                   const struct nb_quantize_job *job, const struct nb_quant_result *r,
                   const struct nb_eval_result *e)
{
    struct nb_jw w;

    if (cli->common->json) {
        nb_jw_begin(&w, stdout);
        nb_quantize_json(&w, job, r);
        if (e != NULL) {
            nb_jw_object(&w, "eval");
            nb_evaluate_json(&w, e);
            nb_jw_end(&w);
            nb_jw_bool(&w, "bound_missed", misses(args, e));
        }
        nb_jw_finish(&w);
        return;
    }
    if (cli->common->verbose) {
        nb_quantize_tensor_table(r, false);
        fputc('\n', stdout);
        nb_quantize_calibrated_table(r);
    }
    if (!cli->common->quiet) {
        nb_quantize_worst(r);
        nb_quantize_calibration(r);
        nb_quantize_importance(r);
        if (e != NULL)
            nb_evaluate_table(stdout, e);
    }
    print_last_line(r, e);
}

int nb_quantize_work(struct nb_cli *cli, const struct nb_quantize_args *args,
                     const struct nb_quantize_job *job)
{
    bool want_eval = args->eval_text != NULL || !isnan(args->max_kld);
    struct nb_quant_result r;
    struct nb_eval_result e = {0};
    int code = NB_CLI_OK, recipe_code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);

    if (ctx == NULL)
        return code;
    cli->leaves = job->journal;
    enum nb_status status = nb_quantize(ctx, job->model, job->out, &job->options, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (want_eval)
        code = measure(cli, args, job, &e);
    nb_cli_progress_clear(&cli->progress);
    if (code == NB_CLI_OK || code == NB_CLI_BOUND_MISSED)
        report(cli, args, job, &r, want_eval ? &e : NULL);
    fflush(stdout);
    if (args->dump_recipe != NULL)
        recipe_code = nb_quantize_dump_recipe(args->dump_recipe, r.recipe, args->force);
    if (code == NB_CLI_BOUND_MISSED)
        nb_cli_error(code, "mean KL %.4g is above the %.4g that --max-kld asks for; '%s' is kept",
                     e.kld_mean, args->max_kld, job->out);
    nb_quant_result_free(&r);
    return code != NB_CLI_OK ? code : recipe_code;
}
