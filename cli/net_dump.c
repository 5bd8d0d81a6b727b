/* cli/net_dump.c: every value of a net as an .npy file, to be compared with another engine's. */
#include "net.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_BYTES 120 /* of a name in a file name */

int nb_cli_net_folder(const char *folder)
{
    struct stat st;

    if (mkdir(folder, 0777) == 0 ||
        (errno == EEXIST && stat(folder, &st) == 0 && S_ISDIR(st.st_mode)))
        return NB_CLI_OK;
    return nb_cli_error(NB_CLI_FAILED, "%s: %s", folder,
                        errno == EEXIST ? "is no folder" : strerror(errno));
}

char *nb_cli_net_file_name(const char *folder, const char *name, int64_t number)
{
    const size_t cap = strlen(folder) + NAME_BYTES + 40;
    char *path = malloc(cap);

    if (path == NULL)
        return NULL;
    size_t n = (size_t)snprintf(path, cap, "%s/", folder);
    if (number >= 0)
        n += (size_t)snprintf(path + n, cap - n, "%04" PRId64 "-", number);
    size_t i = 0;
    for (; name[i] != '\0' && i < NAME_BYTES; i++) {
        const char c = name[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                           (c == '.' && (i > 0 || number >= 0));
        path[n + i] = plain ? c : '_';
    }
    snprintf(path + n + i, cap - n - i, ".npy");
    return path;
}

/* Borrows: all. */
struct dump {
    struct nb_cli *cli;
    nb_context *ctx;
    const char *folder;
    FILE *list;
    int64_t n;
    bool force;
    int code;
};

static void write_value(void *ctx, const struct nb_executor_port *p, const void *data)
{
    struct dump *d = ctx;

    if (d->code != NB_CLI_OK)
        return;
    char *path = nb_cli_net_file_name(d->folder, p->name, d->n++);
    if (path == NULL) {
        d->code = nb_cli_error(NB_CLI_FAILED, "out of memory");
        return;
    }
    const enum nb_status status = nb_npy_write(d->ctx, path, p, data, d->force, &d->cli->err);
    if (status == NB_ERR_EXISTS)
        d->code = nb_cli_error(NB_CLI_FAILED, "%s exists; --force to overwrite", path);
    else if (status != NB_OK)
        d->code = nb_cli_fail(d->cli, status);
    fprintf(d->list, "%s\t", path + strlen(d->folder) + 1);
    nb_cli_puts_safe(d->list, p->name, strlen(p->name));
    fputc('\n', d->list);
    free(path);
}

static int dump_values(struct dump *d, const struct nb_cli_net *net)
{
    struct nb_cli_net_run run = {.e = NULL};
    double seconds;
    int code = nb_cli_net_open(d->cli, d->ctx, net, NB_EXECUTOR_AS_FILE, 0, &run);

    if (code == NB_CLI_OK) {
        nb_executor_tap(run.e, write_value, d);
        if (nb_cli_net_time(d->cli, &run, &seconds, 1, &code))
            code = d->code;
    }
    nb_cli_net_close(&run);
    return code;
}

int nb_cli_net_dump(struct nb_cli *cli, nb_context *ctx, const struct nb_cli_net *net,
                    const char *folder, bool force)
{
    struct dump d = {.cli = cli, .ctx = ctx, .folder = folder, .force = force};
    const size_t cap = strlen(folder) + 16;
    char *path;
    int code = nb_cli_net_folder(folder);

    if (code != NB_CLI_OK)
        return code;
    path = malloc(cap);
    if (path == NULL)
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    snprintf(path, cap, "%s/values.tsv", folder);
    d.list = fopen(path, force ? "w" : "wx");
    if (d.list == NULL) {
        code = nb_cli_error(NB_CLI_FAILED, "%s: %s%s", path, strerror(errno),
                            errno == EEXIST ? "; --force to overwrite" : "");
    } else {
        code = dump_values(&d, net);
        if (fclose(d.list) != 0 && code == NB_CLI_OK)
            code = nb_cli_error(NB_CLI_FAILED, "%s: %s", path, strerror(errno));
        if (code == NB_CLI_OK)
            nb_cli_note(cli, "%s: %" PRId64 " values of the net as its file has it", folder, d.n);
    }
    free(path);
    return code;
}
