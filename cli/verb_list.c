/* cli/verb_list.c: what there is: types, formats, architectures, containers, kernels, methods, transforms. */
#include "list_formats.h"

#include <stddef.h>
#include <string.h>

struct list_args {
    struct nb_cli_common common;
    int32_t markdown;
};

static const struct nb_cli_opt options[] = {{.name = "markdown",
                                             .type = NB_CLI_FLAG,
                                             .offset = offsetof(struct list_args, markdown),
                                             .group = "Output",
                                             .help = "with formats: the page of documentation"},
                                            {0}};
static const char *const kinds[] = {"types",      "formats", "grids",   "architectures",
                                    "containers", "kernels", "methods", "transforms"};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static void print_kind(const char *kind)
{
    struct nb_cli_table t;
    struct nb_list_item item;

    nb_cli_table_init(&t, "lrl");
    for (size_t i = 0; nb_list(kind, i, &item) == NB_OK; i++) {
        nb_cli_table_add(&t, "%s", item.name);
        if (item.bits_per_weight > 0)
            nb_cli_table_add(&t, "%.2f bpw", item.bits_per_weight);
        else
            nb_cli_table_add(&t, " ");
        nb_cli_table_add(&t, "%s%s%s%s", item.summary != NULL ? item.summary : "",
                         item.layout != NULL ? "; " : "", item.layout != NULL ? item.layout : "",
                         item.usable ? "" : " (not on this CPU)");
    }
    nb_cli_table_print(&t, stdout, "  ");
    nb_cli_table_fini(&t);
}

static void json_kind(struct nb_jw *w, const char *kind)
{
    struct nb_list_item item;

    nb_jw_array(w, kind);
    for (size_t i = 0; nb_list(kind, i, &item) == NB_OK; i++) {
        nb_jw_object(w, NULL);
        nb_jw_string(w, "name", item.name);
        nb_jw_string(w, "summary", item.summary);
        if (item.bits_per_weight > 0)
            nb_jw_real(w, "bits_per_weight", item.bits_per_weight);
        if (item.block > 0)
            nb_jw_u64(w, "block", item.block);
        if (item.layout != NULL)
            nb_jw_string(w, "layout", item.layout);
        if (item.loads != NULL)
            nb_jw_string(w, "loads", item.loads);
        nb_jw_bool(w, "usable", item.usable);
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

/* With their errors, which are measured now. */
static int print_formats(struct nb_cli *cli, bool markdown)
{
    int code;
    nb_context *ctx = nb_cli_context(cli, &code);

    if (ctx == NULL)
        return code;
    if (markdown)
        nb_list_formats_page(ctx, stdout);
    else
        nb_list_formats(ctx, stdout);
    return NB_CLI_OK;
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    const char *only = n > 0 ? positional[0] : NULL;
    bool found = only == NULL;
    struct nb_jw w;

    const struct list_args *list = args;
    const bool formats = only != NULL && strcmp(only, "formats") == 0;

    for (size_t i = 0; i < N_KINDS; i++)
        found = found || strcmp(only, kinds[i]) == 0;
    if (!found)
        return nb_cli_usage(cli,
                            "nothing to list by the name '%s'; there are types, formats, "
                            "grids, architectures, containers, kernels, methods, transforms",
                            only);
    if (list->markdown && !formats)
        return nb_cli_usage(cli, "--markdown is for formats");
    if (formats && !cli->common->json)
        return print_formats(cli, list->markdown);
    if (cli->common->json)
        nb_jw_begin(&w, stdout);
    for (size_t i = 0; i < N_KINDS; i++) {
        if (only != NULL && strcmp(only, kinds[i]) != 0)
            continue;
        if (cli->common->json) {
            json_kind(&w, kinds[i]);
            continue;
        }
        if (only == NULL)
            printf("%s%s\n", i > 0 ? "\n" : "", kinds[i]);
        print_kind(kinds[i]);
    }
    if (cli->common->json)
        nb_jw_finish(&w);
    return NB_CLI_OK;
}

const struct nb_cli_verb nb_cli_verb_list = {
    .name = "list",
    .synopsis = "[KIND]",
    .summary = "list types, formats, grids, methods, transforms, architectures ...",
    .description =
        "KIND is one of types (what --type takes), formats (what --tensor-type takes, "
        "with the mean "
        "squared error on unit Gaussians and its distance to the least possible), "
        "grids (general grids, which both take when the output is a folder), "
        "architectures, containers, kernels, methods (what --method takes), transforms (what "
        "--transform takes); without it, all are listed.",
    .examples = "nibble list types\n"
                "nibble list formats --json",
    .options = options,
    .args_bytes = sizeof(struct list_args),
    .min_positional = 0,
    .max_positional = 1,
    .run = run,
};
