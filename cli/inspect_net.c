/* cli/inspect_net.c: what an ONNX or TFLite file holds. */
#include "inspect.h"

#include <inttypes.h>
#include <string.h>

static void label(const char *text)
{
    printf("%-13s ", text);
}

static void line(const char *what, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    label(what);
    nb_cli_puts_safe(stdout, text, strlen(text));
    fputc('\n', stdout);
}

/* "float32 [N, 3, 224, ?]"; "float32" where nothing is known of the shape. Then how it is quantized. */
static void print_value(const char *what, const struct nb_net_value *v)
{
    label(what);
    nb_cli_puts_safe(stdout, v->name, strlen(v->name));
    printf("  %s", v->type != NULL ? v->type : "no tensor");
    for (int32_t i = 0; i < v->rank; i++) {
        const char *name = v->dim_names != NULL ? v->dim_names[i] : NULL;
        fputs(i == 0 ? " [" : ", ", stdout);
        if (v->dims[i] >= 0)
            printf("%" PRId64, v->dims[i]);
        else if (name != NULL)
            nb_cli_puts_safe(stdout, name, strlen(name));
        else
            fputc('?', stdout);
    }
    fputs(v->rank > 0 ? "]" : v->rank == 0 ? " []" : "", stdout);
    if (v->n_scales == 1)
        printf("  scale %.9g, zero point %" PRId64, (double)v->scales[0], v->zero_points[0]);
    else if (v->n_scales > 1)
        printf("  %" PRIu32 " scales of dimension %" PRId32, v->n_scales, v->scales_dim);
    fputc('\n', stdout);
}

static void print_ops(const struct nb_net_info *info)
{
    struct nb_cli_table t;

    nb_cli_table_init(&t, "lr");
    nb_cli_table_add(&t, "operator");
    nb_cli_table_add(&t, "nodes");
    for (size_t i = 0; i < info->n_ops; i++) {
        nb_cli_table_add(&t, "%s", info->ops[i].name);
        nb_cli_table_add(&t, "%" PRIu64, info->ops[i].n);
    }
    fputc('\n', stdout);
    nb_cli_table_print(&t, stdout, "  ");
    nb_cli_table_fini(&t);
}

/* Whether `nibble run` has all operators. */
static void print_runs(const struct nb_net_info *info)
{
    size_t n = 0;

    label("runs");
    for (size_t i = 0; i < info->n_ops; i++) {
        if (info->ops[i].known)
            continue;
        fputs(n++ == 0 ? "not: nibble has no " : ", ", stdout);
        nb_cli_puts_safe(stdout, info->ops[i].name, strlen(info->ops[i].name));
    }
    puts(n == 0 ? "all operators are known (nibble run)" : "");
}

static void print_types(const struct nb_net_info *info)
{
    struct nb_cli_table t;

    nb_cli_table_init(&t, "lrrr");
    nb_cli_table_add(&t, "constants");
    nb_cli_table_add(&t, "tensors");
    nb_cli_table_add(&t, "elements");
    nb_cli_table_add(&t, "size");
    for (size_t i = 0; i < info->n_types; i++) {
        nb_cli_table_add(&t, "%s", info->types[i].name);
        nb_cli_table_add(&t, "%" PRIu64, info->types[i].tensors);
        nb_cli_table_add(&t, "%" PRIu64, info->types[i].elements);
        nb_cli_table_add(&t, "%s", nb_cli_bytes(info->types[i].bytes).s);
    }
    fputc('\n', stdout);
    nb_cli_table_print(&t, stdout, "  ");
    nb_cli_table_fini(&t);
}

static void print_tensors(const struct nb_net_info *info)
{
    fputc('\n', stdout);
    for (size_t i = 0; i < info->n_tensors; i++)
        print_value(info->tensors[i].file != NULL ? "external" : "constant", &info->tensors[i]);
}

static void print_meta(const struct nb_net_info *info)
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

static void print_summary(const struct nb_net_info *info)
{
    line("net", info->path);
    line("name", info->name);
    printf("%-13s %s, %s version %" PRId64 "\n", "format", info->dialect,
           strcmp(info->dialect, "onnx") == 0 ? "IR" : "schema", info->ir_version);
    if (info->producer != NULL) {
        label("made by");
        nb_cli_puts_safe(stdout, info->producer, strlen(info->producer));
        if (info->producer_version != NULL) {
            fputc(' ', stdout);
            nb_cli_puts_safe(stdout, info->producer_version, strlen(info->producer_version));
        }
        fputc('\n', stdout);
    }
    for (size_t i = 0; i < info->n_opsets; i++) {
        label(i == 0 ? "operator sets" : "");
        nb_cli_puts_safe(stdout, info->opsets[i].domain, strlen(info->opsets[i].domain));
        printf(" %" PRId64 "\n", info->opsets[i].version);
    }
    for (size_t i = 0; i < info->n_inputs; i++)
        print_value(i == 0 ? "inputs" : "", &info->inputs[i]);
    for (size_t i = 0; i < info->n_outputs; i++)
        print_value(i == 0 ? "outputs" : "", &info->outputs[i]);
    printf("%-13s %" PRIu64 " nodes", "graph", info->n_nodes);
    if (info->n_subgraphs > 0)
        printf(", %" PRIu64 " subgraphs", info->n_subgraphs);
    printf("\n%-13s %s parameters in %zu tensors, %s\n", "weights",
           nb_cli_count(info->parameters).s, info->n_tensors, nb_cli_bytes(info->tensor_bytes).s);
    if (info->n_quantized > 0)
        printf("%-13s %" PRIu64 " tensors, %" PRIu64 " of them with a scale for each channel\n",
               "quantized", info->n_quantized, info->n_by_dimension);
    printf("%-13s %s\n", "size", nb_cli_bytes(info->file_bytes).s);
    for (size_t i = 0; i < info->n_files; i++) {
        label(i == 0 ? "external data" : "");
        nb_cli_puts_safe(stdout, info->files[i].name, strlen(info->files[i].name));
        printf(": %" PRIu64 " tensors, %s\n", info->files[i].tensors,
               nb_cli_bytes(info->files[i].bytes).s);
    }
    print_runs(info);
    if (info->n_ops > 0)
        print_ops(info);
    if (info->n_types > 0)
        print_types(info);
}

static void json_scales(struct nb_jw *w, const struct nb_net_value *v)
{
    nb_jw_object(w, "quantization");
    nb_jw_array(w, "scales");
    for (uint32_t i = 0; i < v->n_scales; i++)
        nb_jw_real(w, NULL, (double)v->scales[i]);
    nb_jw_end(w);
    nb_jw_array(w, "zero_points");
    for (uint32_t i = 0; i < v->n_scales; i++)
        nb_jw_i64(w, NULL, v->zero_points[i]);
    nb_jw_end(w);
    nb_jw_i64(w, "dimension", v->scales_dim);
    nb_jw_end(w);
}

/* Shapes: a number, a name, or null for each dimension; null if even their count is not known. */
static void json_values(struct nb_jw *w, const char *key, const struct nb_net_value *v, size_t n,
                        bool tensors)
{
    nb_jw_array(w, key);
    for (size_t i = 0; i < n; i++) {
        nb_jw_object(w, NULL);
        nb_jw_string(w, "name", v[i].name);
        nb_jw_string(w, "type", v[i].type);
        if (v[i].rank < 0) {
            nb_jw_string(w, "shape", NULL);
        } else {
            nb_jw_array(w, "shape");
            for (int32_t d = 0; d < v[i].rank; d++)
                if (v[i].dims[d] >= 0)
                    nb_jw_u64(w, NULL, (uint64_t)v[i].dims[d]);
                else
                    nb_jw_string(w, NULL, v[i].dim_names != NULL ? v[i].dim_names[d] : NULL);
            nb_jw_end(w);
        }
        if (tensors) {
            nb_jw_u64(w, "bytes", v[i].bytes);
            nb_jw_string(w, "file", v[i].file);
        }
        if (v[i].n_scales > 0)
            json_scales(w, &v[i]);
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

static void json_constants(struct nb_jw *w, const struct nb_net_info *info)
{
    nb_jw_object(w, "constants");
    for (size_t i = 0; i < info->n_types; i++) {
        nb_jw_object(w, info->types[i].name);
        nb_jw_u64(w, "tensors", info->types[i].tensors);
        nb_jw_u64(w, "elements", info->types[i].elements);
        nb_jw_u64(w, "bytes", info->types[i].bytes);
        nb_jw_end(w);
    }
    nb_jw_end(w);
    nb_jw_array(w, "external_data");
    for (size_t i = 0; i < info->n_files; i++) {
        nb_jw_object(w, NULL);
        nb_jw_string(w, "file", info->files[i].name);
        nb_jw_u64(w, "tensors", info->files[i].tensors);
        nb_jw_u64(w, "bytes", info->files[i].bytes);
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

static void print_json(const struct nb_net_info *info, const struct nb_inspect_net_options *o)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "path", info->path);
    nb_jw_string(&w, "name", info->name);
    nb_jw_string(&w, "dialect", info->dialect);
    nb_jw_u64(&w, "ir_version", info->ir_version > 0 ? (uint64_t)info->ir_version : 0);
    nb_jw_string(&w, "producer", info->producer);
    nb_jw_string(&w, "producer_version", info->producer_version);
    nb_jw_object(&w, "opsets");
    for (size_t i = 0; i < info->n_opsets; i++)
        nb_jw_u64(&w, info->opsets[i].domain,
                  info->opsets[i].version > 0 ? (uint64_t)info->opsets[i].version : 0);
    nb_jw_end(&w);
    json_values(&w, "inputs", info->inputs, info->n_inputs, false);
    json_values(&w, "outputs", info->outputs, info->n_outputs, false);
    nb_jw_u64(&w, "n_nodes", info->n_nodes);
    nb_jw_u64(&w, "n_subgraphs", info->n_subgraphs);
    nb_jw_object(&w, "operators");
    for (size_t i = 0; i < info->n_ops; i++)
        nb_jw_u64(&w, info->ops[i].name, info->ops[i].n);
    nb_jw_end(&w);
    nb_jw_array(&w, "unknown_operators");
    for (size_t i = 0; i < info->n_ops; i++)
        if (!info->ops[i].known)
            nb_jw_string(&w, NULL, info->ops[i].name);
    nb_jw_end(&w);
    nb_jw_u64(&w, "parameters", info->parameters);
    nb_jw_u64(&w, "n_tensors", info->n_tensors);
    nb_jw_u64(&w, "tensor_bytes", info->tensor_bytes);
    nb_jw_u64(&w, "file_bytes", info->file_bytes);
    nb_jw_u64(&w, "n_quantized", info->n_quantized);
    json_constants(&w, info);
    if (o->tensors)
        json_values(&w, "tensors", info->tensors, info->n_tensors, true);
    if (o->meta) {
        nb_jw_object(&w, "meta");
        for (size_t i = 0; i < info->n_meta; i++)
            nb_jw_string(&w, info->meta[i].key, info->meta[i].value);
        nb_jw_end(&w);
    }
    nb_jw_finish(&w);
}

bool nb_inspect_net_file(struct nb_cli *cli, nb_context *ctx, const char *path,
                         const struct nb_inspect_net_options *o, int *code)
{
    struct nb_net_info info;

    *code = NB_CLI_OK;
    if (!nb_is_net(path))
        return false;
    if (o->of_models) {
        *code = nb_cli_usage(cli, "this file is a net; --hash and --dump-recipe are for models");
        return true;
    }
    const enum nb_status status = nb_inspect_net(ctx, path, &info, &cli->err);
    if (status != NB_OK) {
        *code = nb_cli_fail(cli, status);
        return true;
    }
    if (o->json) {
        print_json(&info, o);
    } else {
        print_summary(&info);
        if (o->tensors)
            print_tensors(&info);
        if (o->meta)
            print_meta(&info);
    }
    nb_net_info_free(&info);
    return true;
}
