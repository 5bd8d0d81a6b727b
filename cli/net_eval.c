/* cli/net_eval.c: `nibble eval net.onnx`: how right a net is over samples, and how fast. */
#include "net.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static double share(uint64_t part, uint64_t all)
{
    return all > 0 ? (double)part / (double)all : 0.0;
}

static void print_json(const char *path, const struct nb_cli_net_eval_args *a,
                       const struct nb_eval_net_result *r)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "net", path);
    nb_jw_string(&w, "output", r->output);
    nb_jw_u64(&w, "samples", r->n);
    nb_jw_u64(&w, "batch", r->batch);
    if (r->has_classes) {
        nb_jw_u64(&w, "classes", r->n_classes);
        nb_jw_u64(&w, "right", r->n_right);
        nb_jw_real(&w, "top1", share(r->n_right, r->n));
        nb_jw_u64(&w, "k", a->top);
        nb_jw_u64(&w, "right_top_k", r->n_right_top);
        nb_jw_real(&w, "top_k", share(r->n_right_top, r->n));
        nb_jw_real(&w, "loss", r->loss);
    }
    if (r->has_expected) {
        nb_jw_real(&w, "sqnr_db", r->sqnr_db);
        nb_jw_real(&w, "cosine", r->cosine);
        nb_jw_real(&w, "rmse", r->rmse);
        nb_jw_real(&w, "max_difference", r->most);
    }
    nb_jw_u64(&w, "threads", r->threads);
    nb_jw_real(&w, "seconds", r->seconds);
    nb_jw_real(&w, "seconds_per_sample", r->run_median / r->batch);
    nb_jw_real(&w, "seconds_per_sample_min", r->run_min / r->batch);
    nb_jw_finish(&w);
}

static void print_text(const struct nb_cli_net_eval_args *a, const struct nb_eval_net_result *r)
{
    if (r->has_classes) {
        printf("top-1    %6.2f %%  %" PRIu64 " of %" PRIu64 "\n", 100 * share(r->n_right, r->n),
               r->n_right, r->n);
        if (a->top > 1 && a->top < r->n_classes)
            printf("top-%-4u %6.2f %%  %" PRIu64 " of %" PRIu64 "\n", a->top,
                   100 * share(r->n_right_top, r->n), r->n_right_top, r->n);
        if (isnan(r->loss))
            printf("loss          -    '%s' is no distribution\n", r->output);
        else
            printf("loss     %8.4f  cross entropy, nats\n", r->loss);
    }
    if (r->has_expected) {
        printf("SQNR     %8s  of '%s' against what was expected\n", nb_cli_db(r->sqnr_db).s,
               r->output);
        printf("cosine   %8.6f\n", r->cosine);
        printf("error    %8.4g  root mean square; largest %.4g\n", r->rmse, r->most);
    }
    printf("time     %8.3f ms a sample, median; fastest %.3f ms; %u thread%s\n",
           1e3 * r->run_median / r->batch, 1e3 * r->run_min / r->batch, r->threads,
           r->threads == 1 ? "" : "s");
}

static int evaluate(struct nb_cli *cli, nb_context *ctx, const char *path,
                    const struct nb_cli_net_eval_args *a, const struct nb_cli_net_data *data,
                    const struct nb_cli_labels *labels)
{
    struct nb_eval_net_options o;
    struct nb_eval_net_result r;

    nb_eval_net_options_init(&o);
    o.top = a->top;
    o.output = a->output;
    o.labels = labels->label;
    o.n_labels = labels->n;
    o.expected = a->expected;
    o.samples = data->samples;
    o.n_samples = data->n_samples;
    o.dims = data->dims;
    o.n_dims = data->n_dims;
    o.fixed = data->fixed;
    o.n_fixed = data->n_fixed;
    const enum nb_status status = nb_evaluate_net(ctx, path, &o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (a->json)
        print_json(path, a, &r);
    else
        print_text(a, &r);
    return NB_CLI_OK;
}

int nb_cli_eval_net(struct nb_cli *cli, const char *path, const struct nb_cli_net_eval_args *a)
{
    struct nb_cli_net_data data = {.n_samples = 0};
    struct nb_cli_labels labels = {.label = NULL};
    int code = NB_CLI_OK;

    if (a->inputs->n == 0)
        return nb_cli_usage(cli, "a net needs samples: --input FILE.npy, or NAME=FILE.npy for each "
                                 "input");
    if (a->labels == NULL && a->expected == NULL)
        return nb_cli_usage(cli, "a net is measured against --labels, or --expected outputs");
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    code = nb_cli_net_data_read(cli, &data, a->inputs, a->dims, a->sets, a->prepare);
    if (code == NB_CLI_OK)
        code = nb_cli_labels_read(cli, ctx, a->labels, &labels);
    if (code == NB_CLI_OK)
        code = evaluate(cli, ctx, path, a, &data, &labels);
    free(labels.label);
    nb_cli_net_data_free(&data);
    return code;
}
