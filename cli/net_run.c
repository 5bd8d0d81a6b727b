/* cli/net_run.c: `nibble run net.onnx`: runs a net and says what came out. */
#include "net.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOP      5
#define FEW      8  /* values that are shown themselves */
#define TOP_ROWS 16 /* of a batch, in text */

/* Owns: lines. */
struct labels {
    char *text;
    char **line;
    size_t n;
};

static int no_memory(void)
{
    return nb_cli_error(NB_CLI_FAILED, "out of memory");
}

static int read_labels(struct nb_cli *cli, const char *path, struct labels *l)
{
    size_t bytes, cap = 1;

    *l = (struct labels){.text = NULL};
    if (path == NULL)
        return NB_CLI_OK;
    l->text = nb_cli_read_file(cli, path, &bytes);
    if (l->text == NULL)
        return nb_cli_fail(cli, cli->err.status);
    for (const char *c = l->text; *c != '\0'; c++)
        cap += *c == '\n';
    l->line = calloc(cap + 1, sizeof *l->line);
    if (l->line == NULL)
        return no_memory();
    for (char *c = l->text; *c != '\0';) {
        const size_t n = strcspn(c, "\n");
        const bool more = c[n] != '\0';
        c[n] = '\0';
        if (n > 0 && c[n - 1] == '\r')
            c[n - 1] = '\0';
        l->line[l->n++] = c;
        c += n + more;
    }
    return NB_CLI_OK;
}

/* Rows of scores, one for each label. */
static uint64_t labelled_rows(const struct labels *l, const struct nb_executor_port *p)
{
    const bool fits = l->n > 0 && p->rank > 0 && p->dims[p->rank - 1] == (int64_t)l->n;

    return fits ? p->elements / l->n : 0;
}

/* ---- text ---- */

static void print_top(const struct labels *l, const struct nb_executor_port *p, const void *data)
{
    const uint64_t rows = labelled_rows(l, p);
    uint64_t at[TOP];

    for (uint64_t r = 0; r < rows && r < TOP_ROWS; r++) {
        const size_t n = nb_cli_net_top(at, TOP, p, data, r * l->n, l->n);
        for (size_t i = 0; i < n; i++) {
            if (rows > 1)
                printf("  row %-4" PRIu64, r);
            printf("  %5" PRIu64 "  %-10.6g  ", at[i],
                   nb_cli_net_value(p->type, data, r * l->n + at[i]));
            nb_cli_puts_safe(stdout, l->line[at[i]], strlen(l->line[at[i]]));
            fputc('\n', stdout);
        }
    }
    if (rows > TOP_ROWS)
        printf("  and %" PRIu64 " more rows: --json has them\n", rows - TOP_ROWS);
}

static void print_output(const struct nb_executor_port *p, const void *data)
{
    struct nb_cli_net_stats s;

    nb_cli_puts_safe(stdout, p->name, strlen(p->name));
    printf("  %s  ", nb_cli_net_shape(p->type, p->dims, p->rank, NULL).s);
    if (p->elements <= FEW) {
        for (uint64_t i = 0; i < p->elements; i++)
            printf(" %.9g", nb_cli_net_value(p->type, data, i));
        puts(p->elements == 0 ? " empty" : "");
        return;
    }
    nb_cli_net_stats(&s, p, data);
    printf(" min %.6g  mean %.6g  max %.6g", s.min, s.mean, s.max);
    if (s.n_nan + s.n_inf > 0)
        printf("  (without %" PRIu64 " NaN, %" PRIu64 " infinite)", s.n_nan, s.n_inf);
    fputc('\n', stdout);
}

/* What a run is reported with. Borrows: all. */
struct report {
    const char *path;
    const struct nb_cli_net_run *run;
    const struct labels *labels;
    char **files; /* (n_out) where each was written; NULL: nowhere */
    const double *seconds;
    size_t n;
    bool profile;
};

static double median(const struct report *r)
{
    return (r->seconds[(r->n - 1) / 2] + r->seconds[r->n / 2]) / 2;
}

static void print_text(const struct report *r)
{
    struct nb_executor_memory m;

    for (size_t i = 0; i < r->run->n_out; i++) {
        print_output(&r->run->out[i], r->run->outputs[i]);
        print_top(r->labels, &r->run->out[i], r->run->outputs[i]);
        if (r->files[i] != NULL)
            printf("  written to %s\n", r->files[i]);
    }
    nb_executor_memory(r->run->e, &m);
    printf("time     %.3f ms", 1e3 * median(r));
    if (r->n > 1)
        printf(", median of %zu runs; fastest %.3f ms", r->n, 1e3 * r->seconds[0]);
    printf("; %u threads\n", nb_executor_threads(r->run->e));
    printf("memory   weights %s, prepared %s, activations %s, scratch %s\n",
           nb_cli_bytes(m.weight_bytes).s, nb_cli_bytes(m.prepared_bytes).s,
           nb_cli_bytes(m.activation_bytes).s, nb_cli_bytes(m.scratch_bytes + m.staging_bytes).s);
    if (r->profile)
        nb_cli_net_profile_print(r->run->e);
}

/* ---- JSON ---- */

static void json_port(struct nb_jw *w, const struct nb_executor_port *p)
{
    nb_jw_string(w, "name", p->name);
    nb_jw_string(w, "type", p->type);
    nb_jw_array(w, "shape");
    for (uint32_t i = 0; i < p->rank; i++)
        nb_jw_i64(w, NULL, p->dims[i]);
    nb_jw_end(w);
}

static void json_top(struct nb_jw *w, const struct labels *l, const struct nb_executor_port *p,
                     const void *data)
{
    const uint64_t rows = labelled_rows(l, p);
    uint64_t at[TOP];

    if (rows == 0)
        return;
    nb_jw_array(w, "top");
    for (uint64_t r = 0; r < rows; r++) {
        const size_t n = nb_cli_net_top(at, TOP, p, data, r * l->n, l->n);
        nb_jw_array(w, NULL);
        for (size_t i = 0; i < n; i++) {
            nb_jw_object(w, NULL);
            nb_jw_u64(w, "index", at[i]);
            nb_jw_real(w, "value", nb_cli_net_value(p->type, data, r * l->n + at[i]));
            nb_jw_string(w, "label", l->line[at[i]]);
            nb_jw_end(w);
        }
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

static void json_output(struct nb_jw *w, const struct report *r, size_t i)
{
    const struct nb_executor_port *p = &r->run->out[i];
    struct nb_cli_net_stats s;

    nb_jw_object(w, NULL);
    json_port(w, p);
    nb_cli_net_stats(&s, p, r->run->outputs[i]);
    nb_jw_real(w, "min", s.min);
    nb_jw_real(w, "mean", s.mean);
    nb_jw_real(w, "max", s.max);
    nb_jw_u64(w, "nan", s.n_nan);
    nb_jw_u64(w, "infinite", s.n_inf);
    if (p->elements <= FEW) {
        nb_jw_array(w, "values");
        for (uint64_t k = 0; k < p->elements; k++)
            nb_jw_real(w, NULL, nb_cli_net_value(p->type, r->run->outputs[i], k));
        nb_jw_end(w);
    }
    json_top(w, r->labels, p, r->run->outputs[i]);
    nb_jw_string(w, "file", r->files[i]);
    nb_jw_end(w);
}

static void print_json(const struct report *r)
{
    struct nb_executor_memory m;
    struct nb_jw w;

    nb_executor_memory(r->run->e, &m);
    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "net", r->path);
    nb_jw_array(&w, "inputs");
    for (size_t i = 0; i < r->run->n_in; i++) {
        nb_jw_object(&w, NULL);
        json_port(&w, &r->run->in[i]);
        nb_jw_bool(&w, "zeros", r->run->zeros[i] != NULL);
        nb_jw_end(&w);
    }
    nb_jw_end(&w);
    nb_jw_array(&w, "outputs");
    for (size_t i = 0; i < r->run->n_out; i++)
        json_output(&w, r, i);
    nb_jw_end(&w);
    nb_jw_u64(&w, "runs", r->n);
    nb_jw_real(&w, "seconds", median(r));
    nb_jw_real(&w, "seconds_min", r->seconds[0]);
    nb_jw_u64(&w, "threads", nb_executor_threads(r->run->e));
    nb_jw_u64(&w, "weight_bytes", m.weight_bytes);
    nb_jw_u64(&w, "prepared_bytes", m.prepared_bytes);
    nb_jw_u64(&w, "activation_bytes", m.activation_bytes);
    nb_jw_u64(&w, "scratch_bytes", m.scratch_bytes + m.staging_bytes);
    if (r->profile)
        nb_cli_net_profile_json(&w, r->run->e);
    nb_jw_finish(&w);
}

/* ---- outputs as files ---- */

/* Which file each output goes to: all into folders, or one by name. */
static int name_files(struct nb_cli *cli, const struct nb_cli_list *list,
                      const struct nb_cli_net_run *run, char **files)
{
    int code;

    for (size_t i = 0; i < list->n; i++) {
        const char *mark = strchr(list->items[i], '=');
        const size_t n = mark != NULL ? (size_t)(mark - list->items[i]) : 0;
        bool found = mark == NULL;
        if (mark == NULL && (code = nb_cli_net_folder(list->items[i])) != NB_CLI_OK)
            return code;
        for (size_t k = 0; k < run->n_out; k++) {
            const char *name = run->out[k].name;
            if (mark != NULL && (strlen(name) != n || memcmp(name, list->items[i], n) != 0))
                continue;
            found = true;
            free(files[k]);
            files[k] =
                mark != NULL ? strdup(mark + 1) : nb_cli_net_file_name(list->items[i], name, -1);
            if (files[k] == NULL)
                return no_memory();
        }
        if (!found)
            return nb_cli_usage(cli, "-o %s: the net has no output '%.*s'", list->items[i], (int)n,
                                list->items[i]);
    }
    return NB_CLI_OK;
}

static int write_files(struct nb_cli *cli, nb_context *ctx, const struct nb_cli_net_run *run,
                       char **files, bool force)
{
    for (size_t i = 0; i < run->n_out; i++) {
        if (files[i] == NULL)
            continue;
        const enum nb_status status =
            nb_npy_write(ctx, files[i], &run->out[i], run->outputs[i], force, &cli->err);
        if (status == NB_ERR_EXISTS)
            return nb_cli_error(NB_CLI_FAILED, "%s exists; --force to overwrite", files[i]);
        if (status != NB_OK)
            return nb_cli_fail(cli, status);
    }
    return NB_CLI_OK;
}

/* ---- the whole ---- */

static int run_open(struct nb_cli *cli, nb_context *ctx, const char *path,
                    const struct nb_cli_net_run_args *a, struct nb_cli_net_run *run,
                    const struct labels *labels)
{
    const size_t n = a->repeat > 0 ? a->repeat : 1;
    char **files = calloc(run->n_out + 1, sizeof *files);
    double *seconds = calloc(n, sizeof *seconds);
    int code = files != NULL && seconds != NULL ? NB_CLI_OK : no_memory();

    if (code == NB_CLI_OK)
        code = name_files(cli, a->outputs, run, files);
    if (code == NB_CLI_OK) {
        nb_executor_profile(run->e, a->profile);
        if (nb_cli_net_time(cli, run, seconds, n, &code))
            code = write_files(cli, ctx, run, files, a->force);
    }
    if (code == NB_CLI_OK) {
        const struct report r = {.path = path,
                                 .run = run,
                                 .labels = labels,
                                 .files = files,
                                 .seconds = seconds,
                                 .n = n,
                                 .profile = a->profile};
        if (a->json)
            print_json(&r);
        else
            print_text(&r);
    }
    for (size_t i = 0; files != NULL && i < run->n_out; i++)
        free(files[i]);
    free(files);
    free(seconds);
    return code;
}

int nb_cli_run_net(struct nb_cli *cli, const char *path, const struct nb_cli_net_run_args *a)
{
    struct nb_cli_net net;
    struct nb_cli_net_run run = {.e = NULL};
    struct labels labels;
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);

    if (ctx == NULL)
        return code;
    code = read_labels(cli, a->labels, &labels);
    if (code == NB_CLI_OK) {
        code = nb_cli_net_prepare(cli, ctx, path, a->in, &net);
        if (code == NB_CLI_OK && a->dump != NULL)
            code = nb_cli_net_dump(cli, ctx, &net, a->dump, a->force);
        if (code == NB_CLI_OK)
            code = nb_cli_net_open(cli, ctx, &net, 0, 0, &run);
        if (code == NB_CLI_OK)
            code = run_open(cli, ctx, path, a, &run, &labels);
        nb_cli_net_close(&run);
        nb_cli_net_free(&net);
    }
    free(labels.text);
    free(labels.line);
    return code;
}
