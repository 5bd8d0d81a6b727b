/* cli/net_compare.c: `nibble compare float.onnx int8.onnx`: what a net lost, and where. */
#include "net.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double percent(uint64_t part, uint64_t all)
{
    return all > 0 ? 100.0 * (double)part / (double)all : 0.0;
}

/* ---- JSON ---- */

/* What is equal has no number: null, and "equal" says so. */
static void json_nearness(struct nb_jw *w, const struct nb_net_nearness *n)
{
    nb_jw_object(w, NULL);
    nb_jw_string(w, "name", n->name);
    nb_jw_string(w, "other", n->other);
    if (n->op != NULL)
        nb_jw_string(w, "operator", n->op);
    nb_jw_u64(w, "elements", n->elements);
    nb_jw_bool(w, "equal", isinf(n->sqnr_db) && n->sqnr_db > 0);
    nb_jw_real(w, "sqnr_db", n->sqnr_db);
    if (n->op != NULL)
        nb_jw_real(w, "before_db", n->before_db);
    nb_jw_real(w, "cosine", n->cosine);
    nb_jw_real(w, "max_difference", n->most);
    if (n->op == NULL) {
        nb_jw_u64(w, "rows", n->n_rows);
        nb_jw_u64(w, "same_top1", n->n_same);
    }
    nb_jw_end(w);
}

static void print_json(const char *const *paths, const struct nb_cli_net_compare_args *a,
                       const struct nb_compare_net_result *r)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "reference", paths[0]);
    nb_jw_string(&w, "net", paths[1]);
    nb_jw_u64(&w, "samples", r->n);
    nb_jw_u64(&w, "batch", r->batch);
    nb_jw_array(&w, "outputs");
    for (size_t i = 0; i < r->n_outputs; i++)
        json_nearness(&w, &r->outputs[i]);
    nb_jw_end(&w);
    if (r->has_classes) {
        nb_jw_u64(&w, "right_reference", r->n_right[0]);
        nb_jw_u64(&w, "right", r->n_right[1]);
        nb_jw_real(&w, "drop_points", percent(r->n_right[0], r->n) - percent(r->n_right[1], r->n));
    }
    if (a->layers > 0) {
        nb_jw_array(&w, "layers");
        for (size_t i = 0; i < r->n_layers; i++)
            json_nearness(&w, &r->layers[i]);
        nb_jw_end(&w);
        nb_jw_u64(&w, "layers_alone", r->n_alone);
    }
    nb_jw_u64(&w, "threads", r->threads);
    nb_jw_real(&w, "seconds_per_sample_reference", r->run_median[0] / r->batch);
    nb_jw_real(&w, "seconds_per_sample", r->run_median[1] / r->batch);
    nb_jw_finish(&w);
}

/* ---- text ---- */

static const char *shown(const char *name)
{
    const size_t n = strlen(name);

    return n > 60 ? name + n - 60 : name;
}

static void print_outputs(const struct nb_compare_net_result *r)
{
    struct nb_cli_table t;

    nb_cli_table_init(&t, "lrrrr");
    nb_cli_table_add(&t, "output");
    nb_cli_table_add(&t, "SQNR");
    nb_cli_table_add(&t, "cosine");
    nb_cli_table_add(&t, "largest difference");
    nb_cli_table_add(&t, "same top-1");
    for (size_t i = 0; i < r->n_outputs; i++) {
        const struct nb_net_nearness *n = &r->outputs[i];
        nb_cli_table_add(&t, "%s", shown(n->name));
        nb_cli_table_add(&t, "%s", nb_cli_db(n->sqnr_db).s);
        nb_cli_table_add(&t, "%.6f", n->cosine);
        nb_cli_table_add(&t, "%.4g", n->most);
        if (n->n_rows < n->elements * r->n / r->batch) /* rows of more than one element */
            nb_cli_table_add(&t, "%.2f %%", percent(n->n_same, n->n_rows));
        else
            nb_cli_table_add(&t, "-");
    }
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
}

/* dB lost at a value: what arrived less what is left. NaN counts most, equal values not at all. */
static double lost(const struct nb_net_nearness *n)
{
    if (isinf(n->sqnr_db) && n->sqnr_db > 0)
        return -(double)INFINITY;
    return isnan(n->sqnr_db) ? (double)INFINITY : fmin(n->before_db, 200.0) - n->sqnr_db;
}

static int most_lost(const void *pa, const void *pb)
{
    const struct nb_net_nearness *a = *(const struct nb_net_nearness *const *)pa,
                                 *b = *(const struct nb_net_nearness *const *)pb;
    const double x = lost(a), y = lost(b);

    return x != y ? (x < y) - (x > y) : (a > b) - (a < b);
}

static int in_order(const void *pa, const void *pb)
{
    const struct nb_net_nearness *a = *(const struct nb_net_nearness *const *)pa,
                                 *b = *(const struct nb_net_nearness *const *)pb;

    return (a > b) - (a < b);
}

static bool print_layers(const struct nb_compare_net_result *r, size_t most)
{
    const struct nb_net_nearness **rows = calloc(r->n_layers + 1, sizeof(const void *));
    const size_t n = r->n_layers < most ? r->n_layers : most;
    struct nb_cli_table t;

    if (rows == NULL)
        return false;
    for (size_t i = 0; i < r->n_layers; i++)
        rows[i] = &r->layers[i];
    qsort(rows, r->n_layers, sizeof(const void *), most_lost);
    qsort(rows, n, sizeof(const void *), in_order);
    nb_cli_table_init(&t, "llrrr");
    nb_cli_table_add(&t, "value");
    nb_cli_table_add(&t, "operator");
    nb_cli_table_add(&t, "before");
    nb_cli_table_add(&t, "SQNR");
    nb_cli_table_add(&t, "cosine");
    for (size_t i = 0; i < n; i++) {
        nb_cli_table_add(&t, "%s", shown(rows[i]->name));
        nb_cli_table_add(&t, "%s", rows[i]->op);
        nb_cli_table_add(&t, "%s", nb_cli_db(rows[i]->before_db).s);
        nb_cli_table_add(&t, "%s", nb_cli_db(rows[i]->sqnr_db).s);
        nb_cli_table_add(&t, "%.6f", rows[i]->cosine);
    }
    free(rows);
    fputc('\n', stdout);
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
    printf("before: the worst of what the operator reads; %zu of %zu values of both nets%s", n,
           r->n_layers, n < r->n_layers ? ", those that lose most (--layers N, --json)" : "");
    if (r->n_alone > 0)
        printf("; %" PRIu64 " of the reference alone", r->n_alone);
    fputc('\n', stdout);
    return true;
}

static int print_text(const struct nb_cli_net_compare_args *a,
                      const struct nb_compare_net_result *r)
{
    print_outputs(r);
    if (r->has_classes)
        printf("top-1     %.2f %% (%" PRIu64 " of %" PRIu64 "), reference %.2f %% (%" PRIu64
               "): %+.2f points\n",
               percent(r->n_right[1], r->n), r->n_right[1], r->n, percent(r->n_right[0], r->n),
               r->n_right[0], percent(r->n_right[1], r->n) - percent(r->n_right[0], r->n));
    printf("time      %.3f ms a sample, median; reference %.3f ms; %u thread%s\n",
           1e3 * r->run_median[1] / r->batch, 1e3 * r->run_median[0] / r->batch, r->threads,
           r->threads == 1 ? "" : "s");
    if (a->layers > 0 && !print_layers(r, a->layers))
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    return NB_CLI_OK;
}

/* ---- the whole ---- */

static int compare(struct nb_cli *cli, nb_context *ctx, const char *const *paths,
                   const struct nb_cli_net_compare_args *a, const struct nb_cli_net_data *data,
                   const struct nb_cli_labels *labels)
{
    struct nb_compare_net_options o;
    struct nb_compare_net_result r;
    int code = NB_CLI_OK;

    nb_compare_net_options_init(&o);
    o.layers = a->layers > 0;
    o.output = a->output;
    o.labels = labels->label;
    o.n_labels = labels->n;
    o.samples = data->samples;
    o.n_samples = data->n_samples;
    o.dims = data->dims;
    o.n_dims = data->n_dims;
    o.fixed = data->fixed;
    o.n_fixed = data->n_fixed;
    const enum nb_status status = nb_compare_nets(ctx, paths[0], paths[1], &o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (a->json)
        print_json(paths, a, &r);
    else
        code = print_text(a, &r);
    nb_compare_net_result_free(&r);
    return code;
}

int nb_cli_compare_nets(struct nb_cli *cli, const char *const *paths,
                        const struct nb_cli_net_compare_args *a)
{
    struct nb_cli_net_data data = {.n_samples = 0};
    struct nb_cli_labels labels = {.label = NULL};
    int code = NB_CLI_OK;

    if (a->inputs->n == 0)
        return nb_cli_usage(cli, "nets need samples: --input FILE.npy, or NAME=FILE.npy for each "
                                 "input");
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    code = nb_cli_net_data_read(cli, &data, a->inputs, a->dims, a->sets, a->prepare);
    if (code == NB_CLI_OK)
        code = nb_cli_labels_read(cli, ctx, a->labels, &labels);
    if (code == NB_CLI_OK)
        code = compare(cli, ctx, paths, a, &data, &labels);
    free(labels.label);
    nb_cli_net_data_free(&data);
    return code;
}
