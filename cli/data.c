/* cli/data.c: files the command reads by itself: the bundled texts, prompts, recipes. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* NIBBLE_DATA, else beside the program: ../data in the tree, ../share/nibble when installed. */
bool nb_cli_data_path(char *path, size_t cap, const char *file)
{
    static const char *const places[] = {"../data", "../share/nibble"};
    const char *set = getenv("NIBBLE_DATA");
    char exe[1024];
    ssize_t n;

    if (set != NULL && *set != '\0') {
        int len = snprintf(path, cap, "%s/%s", set, file);
        return len > 0 && (size_t)len < cap && access(path, R_OK) == 0;
    }
    n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return false;
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int len = snprintf(path, cap, "%s/%s/%s", exe, places[i], file);
        if (len > 0 && (size_t)len < cap && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

static void *fail(struct nb_cli *cli, enum nb_status status, const char *path, const char *why)
{
    cli->err = (struct nb_error){.status = status, .offset = NB_OFFSET_NONE};
    snprintf(cli->err.message, sizeof cli->err.message, "'%.180s': %s", path, why);
    return NULL;
}

char *nb_cli_read_file(struct nb_cli *cli, const char *path, size_t *n)
{
    enum { LIMIT = 64 << 20 };
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "rb");
    char *text = NULL;
    size_t cap = 0;

    *n = 0;
    if (f == NULL)
        return fail(cli, errno == ENOENT ? NB_ERR_NOT_FOUND : NB_ERR_IO, path, strerror(errno));
    for (;;) {
        if (cap - *n < 2) {
            char *grown = cap > LIMIT ? NULL : realloc(text, cap * 2 + 65536);
            if (grown == NULL)
                goto too_long;
            text = grown;
            cap = cap * 2 + 65536;
        }
        size_t got = fread(text + *n, 1, cap - *n - 1, f);
        *n += got;
        if (got == 0)
            break;
    }
    text[*n] = '\0';
    bool bad = ferror(f) != 0;
    if (!is_stdin)
        fclose(f);
    if (bad) {
        free(text);
        return fail(cli, NB_ERR_IO, path, strerror(errno));
    }
    return text;
too_long:
    if (!is_stdin)
        fclose(f);
    free(text);
    return fail(cli, NB_ERR_LIMIT, path, "longer than 64 MiB");
}
