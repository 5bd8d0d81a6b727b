/* cli/quantize_net.c: `nibble quantize net.onnx`: static 8-bit quantization, or weights alone; `nibble plan net.onnx`. */
#include "net.h"
#include "quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Owns: data, out. */
struct job {
    struct nb_quantize_net_options o;
    struct nb_cli_net_data data;
    char *out;
};

static int no_memory(void)
{
    return nb_cli_error(NB_CLI_FAILED, "out of memory");
}

static int read_lists(struct nb_cli *cli, const struct nb_quantize_args *a, struct job *j)
{
    const int code =
        nb_cli_net_data_read(cli, &j->data, &a->calib_texts, &a->dims, &a->sets, &a->prepare);
    j->o.samples = j->data.samples;
    j->o.n_samples = j->data.n_samples;
    j->o.dims = j->data.dims;
    j->o.n_dims = j->data.n_dims;
    j->o.fixed = j->data.fixed;
    j->o.n_fixed = j->data.n_fixed;
    return code;
}

/* "int8", or another type; bits of weights and activations where they are others: "w4a8", "w8a16". */
static const char *label_of(const struct nb_quantize_net_options *o)
{
    const bool wide = strcmp(o->activations, "int8") != 0;
    if (strcmp(o->type, "int8") != 0 || (o->weight_bits != 4 && !wide))
        return o->type;
    return o->weight_bits == 4 ? (wide ? "w4a16" : "w4a8") : "w8a16";
}

/* net.onnx -> net.<type>.onnx in this folder. */
static char *default_out(const char *path, const char *type)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    const size_t n = dot != NULL && dot > name ? (size_t)(dot - name) : strlen(name);
    const size_t room = n + strlen(type) + 8;
    char *out = calloc(room, 1);
    if (out != NULL)
        (void)snprintf(out, room, "%.*s.%s.onnx", (int)n, name, type);
    return out;
}

static const char *format_of(const struct nb_quantize_net_options *o)
{
    const bool groups = strncmp(o->type, "int", 3) == 0 && strchr(o->type, '_') != NULL &&
                        strcmp(o->type, "int8_dynamic") != 0;
    return o->format != NULL ? o->format : groups ? "MatMulNBits" : "qdq";
}

static void print_json(const struct nb_quantize_net_result *r, const char *path, const char *out,
                       const struct nb_quantize_net_options *o)
{
    struct nb_jw w;
    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "source", path);
    nb_jw_string(&w, "out", out);
    nb_jw_string(&w, "type", o->type);
    nb_jw_string(&w, "profile", o->profile);
    nb_jw_string(&w, "format", format_of(o));
    nb_jw_string(&w, "range", o->range);
    nb_jw_string(&w, "weights",
                 o->weights != NULL    ? o->weights
                 : o->weight_bits == 4 ? "gptq"
                                       : "rtn");
    nb_jw_string(&w, "activation_type", o->activations);
    nb_jw_u64(&w, "weight_bits", o->weight_bits);
    nb_jw_u64(&w, "float_bytes", r->float_bytes);
    nb_jw_u64(&w, "bytes", r->bytes);
    nb_jw_u64(&w, "nodes", r->n_nodes);
    nb_jw_u64(&w, "quantized", r->n_quantized);
    nb_jw_u64(&w, "activations", r->n_activations);
    nb_jw_u64(&w, "samples", r->n_samples);
    nb_jw_real(&w, "sqnr_db", r->sqnr_db);
    nb_jw_real(&w, "same_top", r->same_top);
    nb_jw_real(&w, "weight_sqnr_db", r->weight_sqnr_db);
    nb_jw_u64(&w, "beyond_constants", r->n_beyond);
    nb_jw_u64(&w, "beyond_tensors", r->n_kept);
    nb_jw_u64(&w, "beyond_values", r->n_beyond_values);
    nb_jw_u64(&w, "equalized_pairs", r->n_pairs);
    nb_jw_real(&w, "smooth", r->smooth);
    nb_jw_u64(&w, "smoothed", r->n_folded + r->n_multiplied);
    nb_jw_u64(&w, "smoothed_by_a_product", r->n_multiplied);
    nb_jw_u64(&w, "not_smoothed_even", r->n_even);
    nb_jw_u64(&w, "not_smoothed_stuck", r->n_stuck);
    nb_jw_u64(&w, "models_tried", r->n_models);
    nb_jw_u64(&w, "stay_float", r->n_stay);
    nb_jw_string(&w, "stay_float_nodes", r->stay);
    nb_jw_real(&w, "drop", r->drop);
    nb_jw_real(&w, "seconds", r->seconds);
    nb_jw_finish(&w);
}

static void print_smoothed(const struct nb_quantize_net_result *r)
{
    printf(", %llu inputs smoothed by %g", (unsigned long long)(r->n_folded + r->n_multiplied),
           r->smooth);
    if (r->n_multiplied > 0)
        printf(" (%llu by a Mul)", (unsigned long long)r->n_multiplied);
    if (r->n_even > 0)
        printf(", %llu not: even", (unsigned long long)r->n_even);
    if (r->n_stuck > 0)
        printf(", %llu not: what makes them takes no factor", (unsigned long long)r->n_stuck);
}

/* size, share in integers, quality, where it is, how to run it */
static void print_line(const struct nb_quantize_net_result *r, const char *out, const char *type)
{
    printf("%s: weights %s (were %s), %llu of %llu nodes in %s", out, nb_cli_bytes(r->bytes).s,
           nb_cli_bytes(r->float_bytes).s, (unsigned long long)r->n_quantized,
           (unsigned long long)r->n_nodes, strcmp(type, "int8") == 0 ? "8 bits" : type);
    if (r->n_beyond > 0)
        printf(", %llu constants that float16 does not hold: %llu tensors stay float32",
               (unsigned long long)r->n_beyond, (unsigned long long)r->n_kept);
    if (r->n_beyond_values > 0)
        printf(", %llu values past 65504 stay float32", (unsigned long long)r->n_beyond_values);
    if (!isnan(r->smooth))
        print_smoothed(r);
    if (r->n_models > 0)
        printf(", %llu stay float for the bound (%llu models tried)%s%.160s",
               (unsigned long long)r->n_stay, (unsigned long long)r->n_models,
               r->n_stay > 0 ? ": " : "", r->stay);
    if (!isnan(r->weight_sqnr_db))
        printf(", weight SQNR %s", nb_cli_db(r->weight_sqnr_db).s);
    if (r->n_samples > 0)
        printf(", output SQNR %s on %llu samples (largest element the same: %.1f %%)",
               nb_cli_db(r->sqnr_db).s, (unsigned long long)r->n_samples, 100.0 * r->same_top);
    printf(", in %s; run it: nibble run ", nb_cli_time(r->seconds).s);
    nb_quantize_shell_word(stdout, out);
    printf(" --input x.npy\n");
}

static int quantize(struct nb_cli *cli, const struct nb_quantize_args *a, const char *path,
                    const char *out, struct job *j)
{
    struct nb_quantize_net_result r;
    struct nb_cli_labels labels = {.label = NULL};
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    if (a->labels != NULL)
        code = nb_cli_labels_read(cli, ctx, a->labels, &labels);
    if (code != NB_CLI_OK)
        return code;
    j->o.labels = labels.label;
    j->o.n_labels = labels.n;
    const enum nb_status st = nb_quantize_net(ctx, path, out, &j->o, &r, &cli->err);
    free(labels.label);
    nb_cli_progress_clear(&cli->progress);
    if (st != NB_OK)
        return nb_cli_fail(cli, st);
    if (a->common.json)
        print_json(&r, path, out, &j->o);
    else
        print_line(&r, out, label_of(&j->o));
    return NB_CLI_OK;
}

/* ---- plans ---- */

static void plan_json(const struct nb_plan_net_result *r, const char *path, const char *out,
                      const struct nb_quantize_net_options *o)
{
    struct nb_jw w;
    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "source", path);
    nb_jw_string(&w, "out", out);
    nb_jw_string(&w, "type", o->type);
    nb_jw_string(&w, "profile", o->profile);
    nb_jw_string(&w, "format", format_of(o));
    nb_jw_u64(&w, "float_bytes", r->float_bytes);
    nb_jw_u64(&w, "bytes", r->bytes);
    nb_jw_u64(&w, "nodes", r->n_nodes);
    nb_jw_u64(&w, "quantized", r->n_quantized);
    nb_jw_u64(&w, "activations", r->n_activations);
    nb_jw_u64(&w, "samples", r->n_samples);
    nb_jw_array(&w, "plan");
    for (size_t i = 0; i < r->n_nodes; i++) {
        nb_jw_object(&w, NULL);
        nb_jw_string(&w, "node", r->nodes[i].name);
        nb_jw_string(&w, "op", r->nodes[i].op);
        nb_jw_string(&w, "fate", r->nodes[i].fate);
        nb_jw_u64(&w, "float_bytes", r->nodes[i].float_bytes);
        nb_jw_end(&w);
    }
    nb_jw_end(&w);
    nb_jw_finish(&w);
}

static void plan_text(const struct nb_plan_net_result *r, const char *out,
                      const struct nb_quantize_net_options *o)
{
    static const char *const head[] = {"node", "operator", "becomes", "constants"};
    struct nb_cli_table t;

    nb_cli_table_init(&t, "lllr");
    for (size_t i = 0; i < 4; i++)
        nb_cli_table_add(&t, "%s", head[i]);
    for (size_t i = 0; i < r->n_nodes; i++) {
        const struct nb_plan_net_node *n = &r->nodes[i];
        nb_cli_table_add(&t, "%.60s", n->name);
        nb_cli_table_add(&t, "%.40s", n->op);
        nb_cli_table_add(&t, "%s", strcmp(n->fate, "quantized") == 0 ? label_of(o) : n->fate);
        nb_cli_table_add(&t, "%s", n->float_bytes > 0 ? nb_cli_bytes(n->float_bytes).s : "");
    }
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
    printf("\nplan   %s as %s", out, label_of(o));
    if (strcmp(o->type, "int8") == 0)
        printf(", %s, for %s", format_of(o), o->profile);
    printf("; nothing is written\n");
    printf("nodes  %llu of %zu, %llu activations with a grid\n", (unsigned long long)r->n_quantized,
           r->n_nodes, (unsigned long long)r->n_activations);
    printf("size   weights %s (are %s)\n", nb_cli_bytes(r->bytes).s,
           nb_cli_bytes(r->float_bytes).s);
}

static int plan_net(struct nb_cli *cli, const char *path, const char *out, const struct job *j)
{
    struct nb_plan_net_result r;
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    const enum nb_status st = nb_plan_net(ctx, path, &j->o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (st != NB_OK)
        return nb_cli_fail(cli, st);
    if (cli->common->json)
        plan_json(&r, path, out, &j->o);
    else
        plan_text(&r, out, &j->o);
    nb_plan_net_result_free(&r);
    return NB_CLI_OK;
}

int nb_quantize_net_file(struct nb_cli *cli, const struct nb_quantize_args *a, int n,
                         char **positional, bool plan)
{
    struct job j;
    memset(&j, 0, sizeof j);
    nb_quantize_net_options_init(&j.o);
    if (n > 2)
        return nb_cli_usage(cli, "a net takes one more argument at most: the file to write");
    if (a->type != NULL)
        j.o.type = a->type;
    if (n > 1 && a->output != NULL)
        return nb_cli_usage(cli, "two outputs: '%s' and '%s'", a->output, positional[1]);
    if (strcmp(j.o.type, "int8") == 0 && a->calib_texts.n == 0 && !plan)
        return nb_cli_usage(cli, "a net needs samples: --calib FILE.npy, or NAME=FILE.npy for each "
                                 "input");
    if (a->activations != NULL)
        j.o.activations = a->activations;
    j.o.weight_bits = a->weight_bits;
    int code = read_lists(cli, a, &j);
    const char *out = n > 1 ? positional[1] : a->output;
    if (code == NB_CLI_OK && out == NULL &&
        (out = j.out = default_out(positional[0], label_of(&j.o))) == NULL)
        code = no_memory();
    j.o.overwrite = a->force;
    j.o.per_tensor = a->per_tensor;
    j.o.method = a->method;
    j.o.scale_search = a->scale_search;
    j.o.keep = (const char *const *)a->keep.items;
    j.o.n_keep = (uint32_t)a->keep.n;
    if (a->profile != NULL)
        j.o.profile = a->profile;
    if (a->format != NULL)
        j.o.format = a->format;
    j.o.encodings = a->encodings;
    if (a->encodings_version != NULL)
        j.o.encodings_version = a->encodings_version;
    if (a->range != NULL)
        j.o.range = a->range;
    if (a->weights != NULL)
        j.o.weights = a->weights;
    j.o.bias_correct = a->bias_correct;
    j.o.equalize = a->equalize;
    if (a->smooth != NULL && strcmp(a->smooth, "auto") == 0)
        j.o.smooth = -1.0;
    else if (a->smooth != NULL && !nb_cli_parse_real(&j.o.smooth, a->smooth) && code == NB_CLI_OK)
        code =
            nb_cli_usage(cli, "--smooth takes a number from 0 to 1, or auto; not '%s'", a->smooth);
    j.o.max_drop = a->max_drop;
    j.o.min_sqnr_db = a->min_sqnr;
    if (a->percentile > 0.0) /* not NaN: given */
        j.o.percentile = a->percentile;
    if (code == NB_CLI_OK)
        code =
            plan ? plan_net(cli, positional[0], out, &j) : quantize(cli, a, positional[0], out, &j);
    nb_cli_net_data_free(&j.data);
    free(j.out);
    return code;
}
