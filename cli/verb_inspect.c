/* cli/verb_inspect.c: what a model file holds; reads headers only (all bytes with --hash). */
#include "inspect.h"
#include "quantize.h"

#include <stdlib.h>
#include <string.h>

struct args {
    struct nb_cli_common common;
    int32_t tensors, meta, hash;
    const char *dump_recipe;
    int32_t force;
};
#define AT(field) offsetof(struct args, field)

static const struct nb_cli_opt options[] = {
    {.name = "tensors",
     .type = NB_CLI_FLAG,
     .offset = AT(tensors),
     .group = "What is shown",
     .help = "every tensor: type, shape, bytes",
     .brief = 1},
    {.name = "meta",
     .type = NB_CLI_FLAG,
     .offset = AT(meta),
     .group = "What is shown",
     .help = "all metadata",
     .brief = 1},
    {.name = "hash",
     .type = NB_CLI_FLAG,
     .offset = AT(hash),
     .group = "What is shown",
     .help = "hash of all tensors (XXH3-128); reads every byte",
     .brief = 1},
    {.name = "dump-recipe",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(dump_recipe),
     .group = "What is shown",
     .help = "write the recipe the file was made with; '-' is standard output, and nothing else is "
             "printed then"},
    {.name = "force",
     .letter = 'f',
     .type = NB_CLI_FLAG,
     .offset = AT(force),
     .group = "What is shown",
     .help = "overwrite the recipe's file",
     .alias = "overwrite"},
    {0},
};

/* Bytes and number of tensors that share a name: a type or a group. */
struct share {
    const char *name;
    uint64_t bytes;
    size_t n;
};
enum { MAX_SHARES = 32 };

static size_t collect(struct share *shares, const struct nb_model_info *info, bool by_type)
{
    size_t n = 0;

    for (size_t i = 0; i < info->n_tensors; i++) {
        const struct nb_tensor_info *t = &info->tensors[i];
        const char *name = by_type ? t->type : t->group;
        size_t k = 0;
        while (k < n && strcmp(shares[k].name, name) != 0)
            k++;
        if (k == MAX_SHARES)
            continue;
        if (k == n)
            shares[n++] = (struct share){.name = name};
        shares[k].bytes += t->bytes;
        shares[k].n++;
    }
    return n;
}

static void print_shares(const struct nb_model_info *info, bool by_type)
{
    struct share shares[MAX_SHARES];
    size_t n = collect(shares, info, by_type);
    struct nb_cli_table t;

    nb_cli_table_init(&t, "lrrr");
    nb_cli_table_add(&t, by_type ? "type" : "part");
    nb_cli_table_add(&t, "tensors");
    nb_cli_table_add(&t, "size");
    nb_cli_table_add(&t, "share");
    for (size_t i = 0; i < n; i++) {
        nb_cli_table_add(&t, "%s", shares[i].name);
        nb_cli_table_add(&t, "%zu", shares[i].n);
        nb_cli_table_add(&t, "%s", nb_cli_bytes(shares[i].bytes).s);
        nb_cli_table_add(&t, "%.1f %%",
                         info->tensor_bytes > 0
                             ? 100.0 * (double)shares[i].bytes / (double)info->tensor_bytes
                             : 0.0);
    }
    fputc('\n', stdout);
    nb_cli_table_print(&t, stdout, "  ");
    nb_cli_table_fini(&t);
}

static void line(const char *label, const char *text)
{
    if (text == NULL)
        return;
    printf("%-13s ", label);
    nb_cli_puts_safe(stdout, text, strlen(text));
    fputc('\n', stdout);
}

static void print_shape(const struct nb_model_info *info)
{
    printf("%-13s %u layers, width %u, feed-forward %u, %u heads of %u (%u for keys and values)\n",
           "shape", info->n_layers, info->n_embd, info->n_ff, info->n_heads, info->head_dim,
           info->n_kv_heads);
    if (info->n_experts > 0)
        printf("experts       %u, %u for each token\n", info->n_experts, info->n_experts_used);
    printf("%-13s %u tokens, vocabulary %u\n", "context", info->n_ctx, info->n_vocab);
    line("tokenizer", info->tokenizer != NULL ? info->tokenizer : "none");
    if (info->chat != NULL)
        line("chat template", info->chat);
}

static void print_summary(const struct nb_model_info *info)
{
    line("model", info->path);
    line("name", info->name);
    line("format", info->dialect);
    line("architecture", info->architecture);
    if (info->runs == NB_RUNS_NOT)
        printf("%-13s not known to nibble: not run; quantize --any-arch goes by shapes\n", "");
    else
        print_shape(info);
    printf("%-13s %s in %zu tensors\n", "weights", nb_cli_count(info->parameters).s,
           info->n_tensors);
    printf("%-13s %s, %.2f bits per weight (%.2f in the layers)\n", "size",
           nb_cli_bytes(info->file_bytes).s, info->bits_per_weight, info->bits_per_weight_layers);
    if (info->recipe != NULL)
        line("made by", "nibble; --dump-recipe - shows the recipe");
    line("hash", info->hash);
    print_shares(info, true);
    print_shares(info, false);
}

static void shape_text(char *text, size_t cap, const struct nb_tensor_info *t)
{
    size_t n = 0;

    text[0] = '\0';
    for (uint32_t d = 0; d < t->n_dims && d < 8 && n < cap; d++)
        n += (size_t)snprintf(text + n, cap - n, "%s%llu", d > 0 ? " x " : "",
                              (unsigned long long)t->dims[d]);
}

static void print_tensors(const struct nb_model_info *info)
{
    struct nb_cli_table t;
    char shape[200];

    nb_cli_table_init(&t, "lllrl");
    const char *head[] = {"tensor", "type", "shape", "bytes", "part"};
    for (size_t i = 0; i < 5; i++)
        nb_cli_table_add(&t, "%s", head[i]);
    for (size_t i = 0; i < info->n_tensors; i++) {
        const struct nb_tensor_info *x = &info->tensors[i];
        shape_text(shape, sizeof shape, x);
        nb_cli_table_add(&t, "%s", x->name);
        nb_cli_table_add(&t, "%s", x->type);
        nb_cli_table_add(&t, "%s", shape);
        nb_cli_table_add(&t, "%llu", (unsigned long long)x->bytes);
        nb_cli_table_add(&t, "%s", x->group);
    }
    fputc('\n', stdout);
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
}

static void print_meta(const struct nb_model_info *info)
{
    fputc('\n', stdout);
    for (size_t i = 0; i < info->n_meta; i++) {
        nb_cli_puts_safe(stdout, info->meta[i].key, strlen(info->meta[i].key));
        fputs(" = ", stdout);
        for (const char *v = info->meta[i].value; *v != '\0'; v++) /* one line each */
            if (*v == '\n')
                fputs("\\n", stdout);
            else
                nb_cli_puts_safe(stdout, v, 1);
        fputc('\n', stdout);
    }
}

static void json_lists(struct nb_jw *w, const struct nb_model_info *info, const struct args *a)
{
    if (a->tensors) {
        nb_jw_array(w, "tensors");
        for (size_t i = 0; i < info->n_tensors; i++) {
            const struct nb_tensor_info *t = &info->tensors[i];
            nb_jw_object(w, NULL);
            nb_jw_string(w, "name", t->name);
            nb_jw_string(w, "type", t->type);
            nb_jw_array(w, "shape");
            for (uint32_t d = 0; d < t->n_dims && d < 8; d++)
                nb_jw_u64(w, NULL, t->dims[d]);
            nb_jw_end(w);
            nb_jw_u64(w, "bytes", t->bytes);
            nb_jw_string(w, "group", t->group);
            nb_jw_end(w);
        }
        nb_jw_end(w);
    }
    if (a->meta) {
        nb_jw_object(w, "meta");
        for (size_t i = 0; i < info->n_meta; i++)
            nb_jw_string(w, info->meta[i].key, info->meta[i].value);
        nb_jw_end(w);
    }
}

static void json_shares(struct nb_jw *w, const struct nb_model_info *info, bool by_type)
{
    struct share shares[MAX_SHARES];
    size_t n = collect(shares, info, by_type);

    nb_jw_object(w, by_type ? "bytes_by_type" : "bytes_by_group");
    for (size_t i = 0; i < n; i++)
        nb_jw_u64(w, shares[i].name, shares[i].bytes);
    nb_jw_end(w);
}

static void print_json(const struct nb_model_info *info, const struct args *a)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "path", info->path);
    nb_jw_string(&w, "name", info->name);
    nb_jw_string(&w, "dialect", info->dialect);
    nb_jw_string(&w, "architecture", info->architecture);
    nb_jw_u64(&w, "n_layers", info->n_layers);
    nb_jw_u64(&w, "n_embd", info->n_embd);
    nb_jw_u64(&w, "n_ff", info->n_ff);
    nb_jw_u64(&w, "n_heads", info->n_heads);
    nb_jw_u64(&w, "n_kv_heads", info->n_kv_heads);
    nb_jw_u64(&w, "n_experts", info->n_experts);
    nb_jw_u64(&w, "n_experts_used", info->n_experts_used);
    nb_jw_u64(&w, "head_dim", info->head_dim);
    nb_jw_u64(&w, "n_vocab", info->n_vocab);
    nb_jw_u64(&w, "n_ctx", info->n_ctx);
    nb_jw_string(&w, "tokenizer", info->tokenizer);
    nb_jw_string(&w, "chat_template", info->chat);
    nb_jw_u64(&w, "parameters", info->parameters);
    nb_jw_u64(&w, "n_tensors", info->n_tensors);
    nb_jw_u64(&w, "tensor_bytes", info->tensor_bytes);
    nb_jw_u64(&w, "file_bytes", info->file_bytes);
    nb_jw_real(&w, "bpw", info->bits_per_weight);
    nb_jw_real(&w, "bpw_layers", info->bits_per_weight_layers);
    nb_jw_string(&w, "hash", info->hash);
    nb_jw_string(&w, "recipe", info->recipe);
    json_shares(&w, info, true);
    json_shares(&w, info, false);
    json_lists(&w, info, a);
    nb_jw_finish(&w);
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct args *a = args;
    struct nb_model_info info;
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);

    (void)n;
    if (ctx == NULL)
        return code;
    const struct nb_inspect_options o = {.json = a->common.json,
                                         .of_models = a->tensors || a->meta || a->hash ||
                                                      a->dump_recipe != NULL};
    const struct nb_inspect_net_options net = {.json = a->common.json,
                                               .tensors = a->tensors,
                                               .meta = a->meta,
                                               .of_models = a->hash || a->dump_recipe != NULL};
    if (nb_inspect_net_file(cli, ctx, positional[0], &net, &code))
        return code;
    if (nb_inspect_importance(cli, ctx, positional[0], &o, &code))
        return code;
    enum nb_status status =
        nb_inspect(ctx, positional[0], a->hash ? NB_INSPECT_HASH : 0, &info, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    bool only_recipe = a->dump_recipe != NULL && strcmp(a->dump_recipe, "-") == 0;
    if (a->common.json && !only_recipe) {
        print_json(&info, a);
    } else if (!only_recipe) {
        print_summary(&info);
        if (a->tensors)
            print_tensors(&info);
        if (a->meta)
            print_meta(&info);
    }
    if (a->dump_recipe != NULL)
        code = nb_quantize_dump_recipe(a->dump_recipe, info.recipe, a->force);
    nb_model_info_free(&info);
    return code;
}

const struct nb_cli_verb nb_cli_verb_inspect = {
    .name = "inspect",
    .synopsis = "MODEL | NET | STATS",
    .summary = "say what a model file holds",
    .description =
        "Shows the architecture, the types and sizes of the weights, the tokenizer, and how "
        "the file was made. Reads headers only, so it is quick on files of any size.\n"
        "\n"
        "Of a net in ONNX or TFLite it shows who made it, the operator sets, inputs and outputs "
        "with types "
        "and "
        "shapes, whether nibble has all operators, how often each occurs, constants by type, and "
        "files of external data, "
        "which "
        "need not be there; --tensors lists the constants.\n"
        "\n"
        "Of a file of statistics, or an imatrix in GGUF, it shows a line for each value that "
        "layers "
        "read: tokens seen, lowest and highest value, root mean square, the outlier (largest "
        "magnitude over that), the largest mean square of a column over the mean of all, and what "
        "feedback of rounding errors can gain at most: the mean of H's diagonal over the geometric "
        "mean of its pivots, infinite if fewer tokens than columns were seen.",
    .examples = "nibble inspect model.gguf\n"
                "nibble inspect net.onnx\n"
                "nibble inspect Llama-3.2-1B --tensors --meta\n"
                "nibble inspect model.gguf --hash --json",
    .options = options,
    .args_bytes = sizeof(struct args),
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
