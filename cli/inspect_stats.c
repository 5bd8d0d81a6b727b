/* cli/inspect_stats.c: what a file of statistics knows, a line for each value that layers read. */
#include "inspect.h"

#include <math.h>
#include <string.h>

enum digits { SIGNIFICANT, ONE, TWO };

static void cell(struct nb_cli_table *t, enum digits digits, double v)
{
    if (isnan(v))
        nb_cli_table_add(t, "-");
    else if (isinf(v))
        nb_cli_table_add(t, "inf");
    else if (digits == SIGNIFICANT)
        nb_cli_table_add(t, "%.4g", v);
    else
        nb_cli_table_add(t, "%.*f", (int)digits, v);
}

static void print_edges(const struct nb_stats_info *info, bool experts)
{
    static const char *const head[] = {"read by", "more", "columns", "tokens",  "lowest",
                                       "highest", "rms",  "outlier", "largest", "gain dB"};
    struct nb_cli_table t;

    nb_cli_table_init(&t, experts ? "lrrrrrrrrrr" : "lrrrrrrrrr");
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) {
        nb_cli_table_add(&t, "%s", head[i]);
        if (experts && i == 3)
            nb_cli_table_add(&t, "experts");
    }
    for (size_t i = 0; i < info->n_edges; i++) {
        const struct nb_stats_edge_info *e = &info->edges[i];
        nb_cli_table_add(&t, "%s", e->weight);
        if (e->n_weights > 1)
            nb_cli_table_add(&t, "+%llu", (unsigned long long)e->n_weights - 1);
        else
            nb_cli_table_add(&t, "%s", "");
        nb_cli_table_add(&t, "%llu", (unsigned long long)e->columns);
        nb_cli_table_add(&t, "%.0f", e->tokens);
        if (experts && e->experts > 1)
            nb_cli_table_add(&t, "%llu: %.0f to %.0f", (unsigned long long)e->experts, e->least,
                             e->most);
        else if (experts)
            nb_cli_table_add(&t, "%s", "");
        cell(&t, SIGNIFICANT, e->lo);
        cell(&t, SIGNIFICANT, e->hi);
        cell(&t, SIGNIFICANT, e->rms);
        cell(&t, ONE, e->outlier);
        cell(&t, ONE, e->top);
        cell(&t, TWO, e->gain_db);
    }
    fputc('\n', stdout);
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
}

static void line(const char *label, const char *text)
{
    printf("%-13s ", label);
    nb_cli_puts_safe(stdout, text, strlen(text));
    fputc('\n', stdout);
}

static void print_summary(const struct nb_stats_info *info)
{
    bool experts = false;

    line("statistics", info->path);
    line("holds", info->stats);
    printf("%-13s %s, %zu values that layers read\n", "size", nb_cli_bytes(info->file_bytes).s,
           info->n_edges);
    printf("%-13s %llu of %u tokens", "windows", (unsigned long long)info->chunks, info->ctx);
    if (info->held_chunks > 0)
        printf(", and %llu held out", (unsigned long long)info->held_chunks);
    fputc('\n', stdout);
    for (size_t i = 0; i < info->n_texts; i++)
        line(i == 0 ? "texts" : "", info->texts[i]);
    if (info->model_hash != NULL)
        line("model hash", info->model_hash);
    if (info->all_experts)
        line("experts", "each was shown every token");
    for (size_t i = 0; i < info->n_edges; i++)
        experts = experts || info->edges[i].experts > 1;
    print_edges(info, experts);
}

static void json_edge(struct nb_jw *w, const struct nb_stats_edge_info *e)
{
    nb_jw_object(w, NULL);
    nb_jw_string(w, "weight", e->weight);
    nb_jw_u64(w, "n_weights", e->n_weights);
    nb_jw_u64(w, "experts", e->experts);
    nb_jw_u64(w, "columns", e->columns);
    nb_jw_real(w, "tokens", e->tokens);
    nb_jw_real(w, "held", e->held);
    nb_jw_real(w, "least", e->least);
    nb_jw_real(w, "most", e->most);
    nb_jw_real(w, "lo", e->lo);
    nb_jw_real(w, "hi", e->hi);
    nb_jw_real(w, "rms", e->rms);
    nb_jw_real(w, "outlier", e->outlier);
    nb_jw_real(w, "top", e->top);
    nb_jw_real(w, "gain_db", e->gain_db);
    nb_jw_end(w);
}

static void print_json(const struct nb_stats_info *info)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "path", info->path);
    nb_jw_string(&w, "stats", info->stats);
    nb_jw_u64(&w, "file_bytes", info->file_bytes);
    nb_jw_u64(&w, "chunks", info->chunks);
    nb_jw_u64(&w, "held_chunks", info->held_chunks);
    nb_jw_u64(&w, "ctx", info->ctx);
    nb_jw_string(&w, "model_hash", info->model_hash);
    nb_jw_array(&w, "texts");
    for (size_t i = 0; i < info->n_texts; i++)
        nb_jw_string(&w, NULL, info->texts[i]);
    nb_jw_end(&w);
    nb_jw_array(&w, "edges");
    for (size_t i = 0; i < info->n_edges; i++)
        json_edge(&w, &info->edges[i]);
    nb_jw_end(&w);
    nb_jw_finish(&w);
}

bool nb_inspect_importance(struct nb_cli *cli, nb_context *ctx, const char *path,
                           const struct nb_inspect_options *o, int *code)
{
    struct nb_stats_info info;
    const enum nb_status status = nb_inspect_stats(ctx, path, &info, &cli->err);

    *code = NB_CLI_OK;
    if (status == NB_ERR_UNSUPPORTED)
        return false;
    if (status != NB_OK)
        *code = nb_cli_fail(cli, status);
    else if (o->of_models)
        *code = nb_cli_usage(cli, "this file holds statistics; --tensors, --meta, --hash and "
                                  "--dump-recipe are for models");
    else if (o->json)
        print_json(&info);
    else
        print_summary(&info);
    if (status == NB_OK)
        nb_stats_info_free(&info);
    return true;
}
