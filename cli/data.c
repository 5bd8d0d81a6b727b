/* cli/data.c: files the command reads by itself: the bundled texts, prompts, recipes. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEVELS 4 /* of folders above a program that may be the source tree's root */

static bool found(char *path, size_t cap, const char *folder, const char *name, const char *file)
{
    int len = snprintf(path, cap, "%s/%s%s", folder, name, file);

    return len > 0 && (size_t)len < cap && access(path, R_OK) == 0;
}

/* Takes the last part away. */
static bool go_up(char *folder)
{
    char *slash = strrchr(folder, '/');

    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* NIBBLE_DATA; else where an installed program has it; else in the source tree around a build folder, whatever
 * that is called: no path of the machine that built it is in the program. */
bool nb_cli_data_path(char *path, size_t cap, const char *file)
{
    const char *set = getenv("NIBBLE_DATA");
    char folder[1024];
    ssize_t n;

    if (set != NULL && *set != '\0')
        return found(path, cap, set, "", file);
    n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n <= 0)
        return false;
    folder[n] = '\0';
    if (!go_up(folder))
        return false;
    if (found(path, cap, folder, "../share/nibble/", file))
        return true;
    for (int i = 0; i < LEVELS && go_up(folder); i++)
        if (found(path, cap, folder, "meson.build", ""))
            return found(path, cap, folder, "data/", file);
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
