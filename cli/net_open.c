/* cli/net_open.c: from a command line to a net with all its dimensions: files, --dim, --shape, --set.
 *
 * An open dimension takes the size of the file given for its input; a name then stands for that size in the inputs
 * without a file too.
 */
#include "net.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return nb_cli_error(NB_CLI_FAILED, "out of memory");
}

/* As nb_cli_net_cut, the copy kept. */
static bool cut(struct nb_cli_net *net, const char *text, const char **name, const char **value)
{
    char **copy = &net->strings[net->n_strings++];

    if (!nb_cli_net_cut(copy, text, value))
        return false;
    *name = *copy;
    return true;
}

static const struct nb_net_value *find_input(const struct nb_cli_net *net, const char *name)
{
    for (size_t i = 0; i < net->info.n_inputs; i++)
        if (strcmp(net->info.inputs[i].name, name) == 0)
            return &net->info.inputs[i];
    return NULL;
}

static int unknown_input(struct nb_cli *cli, const struct nb_cli_net *net, const char *name)
{
    char list[256] = "";
    size_t n = 0;

    for (size_t i = 0; i < net->info.n_inputs && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s'%s'", i > 0 ? ", " : "",
                              net->info.inputs[i].name);
    return nb_cli_usage(cli, "the net has no input '%s'; its inputs: %s", name, list);
}

static const struct nb_executor_shape *given_shape(const struct nb_cli_net *net, const char *name)
{
    for (size_t i = 0; i < net->options.n_shapes; i++)
        if (strcmp(net->shapes[i].input, name) == 0)
            return &net->shapes[i];
    return NULL;
}

static const struct nb_executor_dim *given_dim(const struct nb_cli_net *net, const char *name)
{
    for (size_t i = 0; name != NULL && i < net->options.n_dims; i++)
        if (strcmp(net->dims[i].name, name) == 0)
            return &net->dims[i];
    return NULL;
}

static struct nb_cli_net_text told(const struct nb_net_value *v)
{
    return nb_cli_net_shape(v->type, v->dims, v->rank, v->dim_names);
}

/* ---- the parts of the command line ---- */

static int read_dims(struct nb_cli *cli, struct nb_cli_net *net, const struct nb_cli_list *list)
{
    int code = NB_CLI_OK;

    for (size_t i = 0; i < list->n && code == NB_CLI_OK; i++)
        code = nb_cli_net_dim(cli, &net->dims[net->options.n_dims++],
                              &net->strings[net->n_strings++], list->items[i]);
    return code;
}

/* "1x3x224x224", "1,3,224,224"; "" has no dimensions. */
static bool parse_shape(int64_t *dims, uint32_t *rank, const char *text)
{
    *rank = 0;
    while (*text != '\0') {
        char number[24];
        const size_t n = strcspn(text, "x,");
        uint64_t v;
        if (*rank == NB_NET_MAX_DIMS || n == 0 || n >= sizeof number)
            return false;
        memcpy(number, text, n);
        number[n] = '\0';
        if (!nb_cli_parse_u64(&v, number) || v > INT32_MAX)
            return false;
        dims[(*rank)++] = (int64_t)v;
        text += n;
        if (*text != '\0' && *++text == '\0')
            return false;
    }
    return true;
}

static int read_shapes(struct nb_cli *cli, struct nb_cli_net *net, const struct nb_cli_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *name, *value;
        const size_t at = net->options.n_shapes;
        struct nb_executor_shape s = {.dims = net->shape_dims[at]};
        if (!cut(net, list->items[i], &name, &value))
            return no_memory();
        if (value == NULL || !parse_shape(net->shape_dims[at], &s.rank, value))
            return nb_cli_usage(cli, "--shape %s: expected NAME=SIZES, as in --shape x=1x3x224x224",
                                list->items[i]);
        if (find_input(net, name) == NULL)
            return unknown_input(cli, net, name);
        if (given_shape(net, name) != NULL)
            return nb_cli_usage(cli, "two shapes for input '%s'", name);
        s.input = name;
        net->shapes[net->options.n_shapes++] = s;
    }
    return NB_CLI_OK;
}

/* ---- files ---- */

/* Type, number of dimensions and the fixed ones are the input's. */
static int check_file(const struct nb_net_value *v, const struct nb_npy *npy, const char *path)
{
    bool ok = v->type != NULL && strcmp(v->type, npy->type) == 0 &&
              (v->rank < 0 || v->rank == (int32_t)npy->rank);

    for (int32_t i = 0; ok && i < v->rank; i++)
        ok = v->dims[i] < 0 || v->dims[i] == npy->dims[i];
    if (ok)
        return NB_CLI_OK;
    return nb_cli_error(NB_CLI_BAD_INPUT, "%s holds %s, but input '%s' takes %s", path,
                        nb_cli_net_shape(npy->type, npy->dims, npy->rank, NULL).s, v->name,
                        told(v).s);
}

/* prepare NULL: the array as it is, and no pictures. */
static int take_file(struct nb_cli *cli, nb_context *ctx, struct nb_cli_net *net, const char *item,
                     const struct nb_net_prepare *prepare)
{
    const char *name, *path;
    struct nb_npy *npy = &net->files[net->n_files];

    if (!cut(net, item, &name, &path))
        return no_memory();
    if (path == NULL && net->info.n_inputs == 1) {
        path = name;
        name = net->info.inputs[0].name;
    }
    if (path == NULL)
        return nb_cli_usage(cli, "--input %s: expected NAME=FILE.npy; the net has %zu inputs", item,
                            net->info.n_inputs);
    const struct nb_net_value *v = find_input(net, name);
    if (v == NULL)
        return unknown_input(cli, net, name);
    for (size_t i = 0; i < net->n_files; i++)
        if (strcmp(net->file_inputs[i], name) == 0)
            return nb_cli_usage(cli, "two files for input '%s'", name);
    for (size_t i = 0; i < net->options.n_fixed; i++)
        if (strcmp(net->fixed[i].input, name) == 0)
            return nb_cli_usage(cli, "input '%s' has a file and is --set too", name);
    if (given_shape(net, name) != NULL)
        return nb_cli_usage(cli, "input '%s' has a file, which says its shape: no --shape", name);
    const struct nb_net_samples samples = {.path = path, .prepare = prepare};
    const enum nb_status status =
        prepare != NULL
            ? nb_net_samples_read(ctx, v, &samples, net->dims, net->options.n_dims, npy, &cli->err)
            : nb_npy_read(ctx, path, npy, &cli->err);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    net->file_inputs[net->n_files++] = name;
    net->shapes[net->options.n_shapes++] =
        (struct nb_executor_shape){.input = name, .dims = npy->dims, .rank = npy->rank};
    return check_file(v, npy, path);
}

/* Is this item of --input prepared: pictures, or the only one? */
static bool prepared(const char *item, size_t n)
{
    const char *mark = strchr(item, '=');

    return n == 1 || nb_is_pictures(mark != NULL ? mark + 1 : item);
}

static int fix_to_file(struct nb_cli *cli, nb_context *ctx, struct nb_cli_net *net,
                       const char *item)
{
    const int code = take_file(cli, ctx, net, item, NULL);

    if (code != NB_CLI_OK)
        return code;
    const struct nb_npy *npy = &net->files[net->n_files - 1];
    if (strcmp(npy->type, "float16") == 0)
        return nb_cli_usage(cli, "--set %s: float16 can only be fixed to one number", item);
    net->fixed[net->options.n_fixed++] =
        (struct nb_executor_fixed){.input = net->file_inputs[net->n_files - 1], .data = npy->data};
    return NB_CLI_OK;
}

static bool names_npy(const char *item)
{
    const size_t n = strlen(item);

    return n > 4 && strcmp(item + n - 4, ".npy") == 0;
}

static int read_sets(struct nb_cli *cli, nb_context *ctx, struct nb_cli_net *net,
                     const struct nb_cli_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        struct nb_executor_fixed *f = &net->fixed[net->options.n_fixed];
        int code;
        if (names_npy(list->items[i])) {
            code = fix_to_file(cli, ctx, net, list->items[i]);
        } else {
            code = nb_cli_net_set(cli, f, &net->strings[net->n_strings++], list->items[i]);
            if (code == NB_CLI_OK && find_input(net, f->input) == NULL)
                code = unknown_input(cli, net, f->input);
            net->options.n_fixed += code == NB_CLI_OK;
        }
        if (code != NB_CLI_OK)
            return code;
    }
    return NB_CLI_OK;
}

/* ---- dimensions ---- */

/* Names of dimensions take the sizes of the shapes given. */
static int spread_names(struct nb_cli *cli, struct nb_cli_net *net)
{
    for (size_t i = 0; i < net->options.n_shapes; i++) {
        const struct nb_executor_shape *s = &net->shapes[i];
        const struct nb_net_value *v = find_input(net, s->input);
        for (int32_t k = 0; k < v->rank && v->rank == (int32_t)s->rank; k++) {
            const char *name = v->dims[k] < 0 ? v->dim_names[k] : NULL;
            const struct nb_executor_dim *d = given_dim(net, name);
            if (d != NULL && d->n != s->dims[k])
                return nb_cli_usage(
                    cli, "dimension '%s' is %" PRId64 " in input '%s', and %" PRId64 " elsewhere",
                    name, s->dims[k], s->input, d->n);
            if (d == NULL && name != NULL)
                net->dims[net->options.n_dims++] =
                    (struct nb_executor_dim){.name = name, .n = s->dims[k]};
        }
    }
    return NB_CLI_OK;
}

static int check_open(struct nb_cli *cli, const struct nb_cli_net *net)
{
    for (size_t i = 0; i < net->info.n_inputs; i++) {
        const struct nb_net_value *v = &net->info.inputs[i];
        if (given_shape(net, v->name) != NULL)
            continue;
        if (v->rank < 0)
            return nb_cli_usage(cli, "input '%s' has no shape in the file: give --shape %s=SIZES",
                                v->name, v->name);
        for (int32_t k = 0; k < v->rank; k++) {
            const char *name = v->dim_names[k];
            if (v->dims[k] >= 0 || given_dim(net, name) != NULL)
                continue;
            return nb_cli_usage(cli,
                                "input '%s' is %s: dimension %" PRId32 " is open; give %s%s%s"
                                "--shape %s=SIZES, or --input %s=FILE.npy",
                                v->name, told(v).s, k, name != NULL ? "--dim " : "",
                                name != NULL ? name : "", name != NULL ? "=N, " : "", v->name,
                                v->name);
        }
    }
    return NB_CLI_OK;
}

/* ---- the whole ---- */

static bool make_room(struct nb_cli_net *net, const struct nb_cli_net_args *a)
{
    const size_t n = a->inputs.n + a->dims.n + a->shapes.n + a->sets.n + 1;
    size_t named = n;

    for (size_t i = 0; i < net->info.n_inputs; i++)
        named += net->info.inputs[i].rank > 0 ? (size_t)net->info.inputs[i].rank : 0;
    net->dims = calloc(named, sizeof *net->dims);
    net->shapes = calloc(n, sizeof *net->shapes);
    net->fixed = calloc(n, sizeof *net->fixed);
    net->strings = calloc(n, sizeof *net->strings);
    net->shape_dims = calloc(n, sizeof *net->shape_dims);
    net->files = calloc(n, sizeof *net->files);
    net->file_inputs = calloc(n, sizeof *net->file_inputs);
    return net->dims != NULL && net->shapes != NULL && net->fixed != NULL && net->strings != NULL &&
           net->shape_dims != NULL && net->files != NULL && net->file_inputs != NULL;
}

int nb_cli_net_prepare(struct nb_cli *cli, nb_context *ctx, const char *path,
                       const struct nb_cli_net_args *a, struct nb_cli_net *net)
{
    struct nb_net_prepare prepare;
    bool given;
    int code;

    *net = (struct nb_cli_net){.path = path};
    nb_executor_options_init(&net->options);
    const enum nb_status status = nb_inspect_net(ctx, path, &net->info, &cli->err);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (!make_room(net, a))
        return no_memory();
    if ((code = read_dims(cli, net, &a->dims)) != NB_CLI_OK ||
        (code = nb_cli_net_prepare_read(cli, &a->prepare, &prepare, &given)) != NB_CLI_OK ||
        (code = read_shapes(cli, net, &a->shapes)) != NB_CLI_OK ||
        (code = read_sets(cli, ctx, net, &a->sets)) != NB_CLI_OK)
        return code;
    if (given && a->inputs.n == 0)
        return nb_cli_usage(cli, "--scale, --mean, --resize and their like are for an --input");
    for (size_t i = 0; i < a->inputs.n; i++)
        if ((code = take_file(cli, ctx, net, a->inputs.items[i],
                              prepared(a->inputs.items[i], a->inputs.n) ? &prepare : NULL)) !=
            NB_CLI_OK)
            return code;
    if ((code = spread_names(cli, net)) != NB_CLI_OK || (code = check_open(cli, net)) != NB_CLI_OK)
        return code;
    net->options.dims = net->dims;
    net->options.shapes = net->shapes;
    net->options.fixed = net->fixed;
    return NB_CLI_OK;
}

void nb_cli_net_free(struct nb_cli_net *net)
{
    for (size_t i = 0; i < net->n_files; i++)
        nb_npy_free(&net->files[i]);
    for (size_t i = 0; i < net->n_strings; i++)
        free(net->strings[i]);
    free(net->dims);
    free(net->shapes);
    free(net->fixed);
    free(net->strings);
    free(net->shape_dims);
    free(net->files);
    free(net->file_inputs);
    nb_net_info_free(&net->info);
}

static size_t count_ports(const nb_executor *e, enum nb_status (*ask)(const nb_executor *, size_t,
                                                                      struct nb_executor_port *))
{
    struct nb_executor_port p;
    size_t n = 0;

    while (ask(e, n, &p) == NB_OK)
        n++;
    return n;
}

/* calloc: never NULL for want of bytes */
static void *zeros(uint64_t bytes)
{
    return bytes < SIZE_MAX ? calloc((size_t)bytes + 1, 1) : NULL;
}

static bool feed(struct nb_cli *cli, const struct nb_cli_net *net, struct nb_cli_net_run *r)
{
    for (size_t i = 0; i < r->n_in; i++) {
        if (nb_executor_input(r->e, i, &r->in[i]) != NB_OK)
            return false;
        const struct nb_executor_port *p = &r->in[i];
        for (size_t k = 0; k < net->n_files; k++)
            if (strcmp(net->file_inputs[k], p->name) == 0)
                r->inputs[i] = net->files[k].data;
        if (r->inputs[i] != NULL)
            continue;
        r->inputs[i] = r->zeros[i] = zeros(p->bytes);
        if (r->zeros[i] == NULL)
            return false;
        nb_cli_note(cli, "no --input for '%s', %s: it is zeros", p->name,
                    nb_cli_net_shape(p->type, p->dims, p->rank, NULL).s);
    }
    for (size_t i = 0; i < r->n_out; i++) {
        if (nb_executor_output(r->e, i, &r->out[i]) != NB_OK)
            return false;
        r->outputs[i] = zeros(r->out[i].bytes);
        if (r->outputs[i] == NULL)
            return false;
    }
    return true;
}

int nb_cli_net_open(struct nb_cli *cli, nb_context *ctx, const struct nb_cli_net *net,
                    uint32_t flags, uint32_t threads, struct nb_cli_net_run *r)
{
    struct nb_executor_options o = net->options;
    const double start = nb_cli_seconds();

    *r = (struct nb_cli_net_run){.e = NULL};
    o.flags = flags;
    o.threads = threads;
    const enum nb_status status = nb_executor_create(&r->e, ctx, net->path, &o, &cli->err);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    r->load_seconds = nb_cli_seconds() - start;
    r->n_in = count_ports(r->e, nb_executor_input);
    r->n_out = count_ports(r->e, nb_executor_output);
    r->in = calloc(r->n_in + 1, sizeof *r->in);
    r->out = calloc(r->n_out + 1, sizeof *r->out);
    r->inputs = calloc(r->n_in + 1, sizeof *r->inputs);
    r->zeros = calloc(r->n_in + 1, sizeof *r->zeros);
    r->outputs = calloc(r->n_out + 1, sizeof *r->outputs);
    if (r->in == NULL || r->out == NULL || r->inputs == NULL || r->zeros == NULL ||
        r->outputs == NULL || !feed(cli, net, r))
        return no_memory();
    return NB_CLI_OK;
}

void nb_cli_net_close(struct nb_cli_net_run *r)
{
    for (size_t i = 0; r->zeros != NULL && i < r->n_in; i++)
        free(r->zeros[i]);
    for (size_t i = 0; r->outputs != NULL && i < r->n_out; i++)
        free(r->outputs[i]);
    free(r->in);
    free(r->out);
    free(r->inputs);
    free(r->zeros);
    free(r->outputs);
    nb_executor_destroy(r->e);
}

static int ascending(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;

    return (a > b) - (a < b);
}

bool nb_cli_net_time(struct nb_cli *cli, struct nb_cli_net_run *r, double *seconds, size_t n,
                     int *code)
{
    for (size_t i = 0; i < n; i++) {
        const double start = nb_cli_seconds();
        const enum nb_status status = nb_executor_run(r->e, r->inputs, r->outputs, &cli->err);
        seconds[i] = nb_cli_seconds() - start;
        if (status != NB_OK || nb_cli_cancelled() != 0) {
            *code = nb_cli_fail(cli, status != NB_OK ? status : NB_ERR_CANCELLED);
            return false;
        }
    }
    qsort(seconds, n, sizeof *seconds, ascending);
    *code = NB_CLI_OK;
    return true;
}
