/* cli/quantize_array.c: nibble quantize x.npy: an array instead of a model. */
#include "quantize.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "dir/x.npy" and "q4_k": "x-q4_k.npy" in this folder. */
static char *default_out(const char *in, const char *type)
{
    const char *slash = strrchr(in, '/');
    const char *name = slash != NULL ? slash + 1 : in;
    const size_t cap = strlen(name) + strlen(type) + 2;
    char *out = malloc(cap);
    if (out != NULL)
        snprintf(out, cap, "%.*s-%s.npy", (int)(strlen(name) - 4), name, type);
    return out;
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void report(struct nb_cli *cli, const struct nb_array_files *files,
                   const struct nb_array_stats *s)
{
    struct nb_jw w;
    if (cli->common->json) {
        nb_jw_begin(&w, stdout);
        nb_jw_string(&w, "source", files->in);
        nb_jw_string(&w, "out", files->out);
        nb_jw_string(&w, "type", s->type);
        nb_jw_u64(&w, "elements", s->elements);
        nb_jw_u64(&w, "bytes", s->bytes);
        nb_jw_u64(&w, "file_bytes", size_of(files->out));
        nb_jw_real(&w, "bpw", s->bpw);
        nb_jw_real(&w, "sqnr_db", s->sqnr_db);
        nb_jw_real(&w, "mse", s->mse);
        nb_jw_real(&w, "max_error", s->max_error);
        nb_jw_finish(&w);
        return;
    }
    nb_cli_puts_safe(stdout, files->out, strlen(files->out));
    printf(": %llu numbers as %s, %s, %.3f bits per value, SQNR %s, mean squared error %.6g, "
           "largest error %.6g\n",
           (unsigned long long)s->elements, s->type, nb_cli_bytes(s->bytes).s, s->bpw,
           nb_cli_db(s->sqnr_db).s, s->mse, s->max_error);
}

int nb_quantize_array(struct nb_cli *cli, const struct nb_quantize_args *args, int n,
                      char **positional)
{
    struct nb_array_files files = {
        .in = positional[0], .importance = args->importance, .overwrite = args->force};
    struct nb_array_options o;
    struct nb_array_stats stats;
    const char *type;
    int code = nb_quantize_positional(cli, args, n, positional, &files.out, &type);

    if (code != NB_CLI_OK)
        return code;
    if (type == NULL)
        return nb_cli_usage(cli, "an array needs --type; 'nibble list formats' shows all");
    nb_array_options_init(&o);
    o.type = type; /* the library knows more formats than lists have */
    char *made_out = files.out == NULL ? default_out(files.in, o.type) : NULL;
    if (files.out == NULL)
        files.out = made_out;
    if (files.out == NULL)
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx != NULL) {
        const enum nb_status status = nb_array_quantize_file(ctx, &files, &o, &stats, &cli->err);
        if (status == NB_OK)
            report(cli, &files, &stats);
        else
            code = nb_cli_fail(cli, status);
    }
    free(made_out);
    return code;
}
