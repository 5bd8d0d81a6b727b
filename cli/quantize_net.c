/* cli/quantize_net.c: `nibble quantize net.onnx`: static 8-bit quantization. */
#include "quantize.h"

#include <nibble/net.h>
#include <stdlib.h>
#include <string.h>

/* Owns: all but what the arguments hold. */
struct job {
    struct nb_quantize_net_options o;
    struct nb_net_samples *samples;
    struct nb_executor_dim *dims;
    struct nb_executor_fixed *fixed;
    char **names; /* cut out of arguments */
    size_t n_names;
    char *out;
};

static void job_fini(struct job *j)
{
    for (size_t i = 0; i < j->n_names; i++)
        free(j->names[i]);
    free(j->names);
    free(j->samples);
    free(j->dims);
    free(j->fixed);
    free(j->out);
}

static int no_memory(void)
{
    return nb_cli_error(NB_CLI_FAILED, "out of memory");
}

/* "NAME=REST": a copy of NAME, and *rest; NULL: there is no '=' (*rest is all) or no memory. */
static char *cut(struct job *j, const char *arg, const char **rest)
{
    const char *eq = strchr(arg, '=');
    *rest = eq != NULL ? eq + 1 : arg;
    if (eq == NULL)
        return NULL;
    char *name = calloc((size_t)(eq - arg) + 1, 1);
    if (name != NULL) {
        memcpy(name, arg, (size_t)(eq - arg));
        j->names[j->n_names++] = name;
    }
    return name;
}

static int read_lists(struct nb_cli *cli, const struct nb_quantize_args *a, struct job *j)
{
    const size_t n = a->calib_texts.n + a->dims.n + a->sets.n;
    const char *rest;
    j->names = calloc(n + 1, sizeof *j->names);
    j->samples = calloc(a->calib_texts.n + 1, sizeof *j->samples);
    j->dims = calloc(a->dims.n + 1, sizeof *j->dims);
    j->fixed = calloc(a->sets.n + 1, sizeof *j->fixed);
    if (!j->names || !j->samples || !j->dims || !j->fixed)
        return no_memory();
    for (size_t i = 0; i < a->calib_texts.n; i++) {
        j->samples[i].input = cut(j, a->calib_texts.items[i], &rest);
        j->samples[i].path = rest;
    }
    for (size_t i = 0; i < a->dims.n; i++) {
        j->dims[i].name = cut(j, a->dims.items[i], &rest);
        uint64_t v;
        if (j->dims[i].name == NULL || !nb_cli_parse_u64(&v, rest) || v > INT32_MAX)
            return nb_cli_usage(cli, "--dim %s: expected NAME=N", a->dims.items[i]);
        j->dims[i].n = (int64_t)v;
    }
    for (size_t i = 0; i < a->sets.n; i++) {
        j->fixed[i].input = cut(j, a->sets.items[i], &rest);
        const bool minus = rest[0] == '-';
        if (j->fixed[i].input == NULL || !nb_cli_parse_real(&j->fixed[i].value, rest + minus))
            return nb_cli_usage(cli, "--set %s: expected INPUT=VALUE", a->sets.items[i]);
        if (minus)
            j->fixed[i].value = -j->fixed[i].value;
    }
    j->o.samples = j->samples;
    j->o.n_samples = a->calib_texts.n;
    j->o.dims = j->dims;
    j->o.n_dims = a->dims.n;
    j->o.fixed = j->fixed;
    j->o.n_fixed = a->sets.n;
    return NB_CLI_OK;
}

/* net.onnx -> net.int8.onnx in this folder. */
static char *default_out(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    const size_t n = dot != NULL && dot > name ? (size_t)(dot - name) : strlen(name);
    char *out = calloc(n + 16, 1);
    if (out != NULL)
        (void)snprintf(out, n + 16, "%.*s.int8.onnx", (int)n, name);
    return out;
}

static void print_json(const struct nb_quantize_net_result *r, const char *path, const char *out,
                       const struct nb_quantize_net_options *o)
{
    struct nb_jw w;
    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "source", path);
    nb_jw_string(&w, "out", out);
    nb_jw_string(&w, "profile", o->profile);
    nb_jw_string(&w, "range", o->range);
    nb_jw_u64(&w, "float_bytes", r->float_bytes);
    nb_jw_u64(&w, "bytes", r->bytes);
    nb_jw_u64(&w, "nodes", r->n_nodes);
    nb_jw_u64(&w, "quantized", r->n_quantized);
    nb_jw_u64(&w, "activations", r->n_activations);
    nb_jw_u64(&w, "samples", r->n_samples);
    nb_jw_real(&w, "sqnr_db", r->sqnr_db);
    nb_jw_real(&w, "same_top", r->same_top);
    nb_jw_real(&w, "seconds", r->seconds);
    nb_jw_finish(&w);
}

/* size, share in integers, quality, where it is, how to run it */
static void print_line(const struct nb_quantize_net_result *r, const char *out)
{
    printf("%s: weights %s (were %s), %llu of %llu nodes in 8 bits, output SQNR %s on %llu samples "
           "(largest element the same: %.1f %%), in %s; run it: nibble run ",
           out, nb_cli_bytes(r->bytes).s, nb_cli_bytes(r->float_bytes).s,
           (unsigned long long)r->n_quantized, (unsigned long long)r->n_nodes,
           nb_cli_db(r->sqnr_db).s, (unsigned long long)r->n_samples, 100.0 * r->same_top,
           nb_cli_time(r->seconds).s);
    nb_quantize_shell_word(stdout, out);
    printf(" --input x.npy\n");
}

static int quantize(struct nb_cli *cli, const struct nb_quantize_args *a, const char *path,
                    const char *out, struct job *j)
{
    struct nb_quantize_net_result r;
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    const enum nb_status st = nb_quantize_net(ctx, path, out, &j->o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (st != NB_OK)
        return nb_cli_fail(cli, st);
    if (a->common.json)
        print_json(&r, path, out, &j->o);
    else
        print_line(&r, out);
    return NB_CLI_OK;
}

int nb_quantize_net_file(struct nb_cli *cli, const struct nb_quantize_args *a, int n,
                         char **positional)
{
    struct job j;
    memset(&j, 0, sizeof j);
    nb_quantize_net_options_init(&j.o);
    if (n > 2)
        return nb_cli_usage(cli, "a net takes one more argument at most: the file to write");
    if (a->type != NULL && strcmp(a->type, "int8") != 0)
        return nb_cli_usage(cli, "--type %s: nets are quantized to int8", a->type);
    if (a->calib_texts.n == 0)
        return nb_cli_usage(cli, "a net needs samples: --calib FILE.npy, or NAME=FILE.npy for each "
                                 "input");
    int code = read_lists(cli, a, &j);
    const char *out = n > 1 ? positional[1] : a->output;
    if (code == NB_CLI_OK && out == NULL && (out = j.out = default_out(positional[0])) == NULL)
        code = no_memory();
    j.o.overwrite = a->force;
    j.o.per_tensor = a->per_tensor;
    j.o.keep = (const char *const *)a->keep.items;
    j.o.n_keep = (uint32_t)a->keep.n;
    if (a->profile != NULL)
        j.o.profile = a->profile;
    if (a->range != NULL)
        j.o.range = a->range;
    if (a->percentile > 0.0) /* not NaN: given */
        j.o.percentile = a->percentile;
    if (code == NB_CLI_OK)
        code = quantize(cli, a, positional[0], out, &j);
    job_fini(&j);
    return code;
}
