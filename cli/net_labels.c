/* cli/net_labels.c: classes of samples, from an .npy of integers, a text with a number a line, or a table (CSV) with a
 * column `label` or `class`.
 *
 * Tables as in RFC 4180, without line breaks inside quotes. A table of one column needs no heading.
 */
#include "net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIELD 256 /* bytes of a field that are looked at */

static int no_memory(void)
{
    return nb_cli_error(NB_CLI_FAILED, "out of memory");
}

static bool ends_with(const char *path, const char *suffix)
{
    const size_t n = strlen(path), k = strlen(suffix);

    return n > k && strcasecmp(path + n - k, suffix) == 0;
}

/* ---- .npy ---- */

static int read_npy(struct nb_cli *cli, nb_context *ctx, const char *path,
                    struct nb_cli_labels *out)
{
    struct nb_npy npy;
    const enum nb_status status = nb_npy_read(ctx, path, &npy, &cli->err);
    int code = NB_CLI_OK;

    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    uint64_t most = 1;
    for (uint32_t i = 0; i < npy.rank; i++)
        most = (uint64_t)npy.dims[i] > most ? (uint64_t)npy.dims[i] : most;
    if (strstr(npy.type, "int") == NULL || most != npy.elements)
        code = nb_cli_error(NB_CLI_BAD_INPUT, "%s holds %s; labels are integers, one a sample",
                            path, nb_cli_net_shape(npy.type, npy.dims, npy.rank, NULL).s);
    else if ((out->label = calloc((size_t)npy.elements + 1, sizeof *out->label)) == NULL)
        code = no_memory();
    for (uint64_t i = 0; code == NB_CLI_OK && i < npy.elements; i++)
        out->label[out->n++] = (int64_t)nb_cli_net_value(npy.type, npy.data, i);
    nb_npy_free(&npy);
    return code;
}

/* ---- text ---- */

/* The field at *c without quotes and outer spaces, and where the next begins (NULL: the line ends). */
static void next_field(char field[FIELD], const char **c, char separator)
{
    const char *s = *c;
    size_t n = 0;
    bool quoted = false;

    while (*s == ' ')
        s++;
    for (; *s != '\0' && *s != '\n' && (quoted || *s != separator); s++) {
        if (*s == '"' && quoted && s[1] == '"')
            s++;
        else if (*s == '"') {
            quoted = !quoted;
            continue;
        }
        if (n + 1 < FIELD)
            field[n++] = *s;
    }
    while (n > 0 && (field[n - 1] == ' ' || field[n - 1] == '\r'))
        n--;
    field[n] = '\0';
    *c = separator != '\0' && *s == separator ? s + 1 : NULL;
}

/* Field `column` of a line; false: it has fewer. */
static bool field_of(char field[FIELD], const char *line, size_t column, char separator)
{
    for (size_t i = 0; line != NULL; i++) {
        next_field(field, &line, separator);
        if (i == column)
            return true;
    }
    return false;
}

static bool parse_label(int64_t *label, const char *text)
{
    uint64_t v;

    if (!nb_cli_parse_u64(&v, text) || v > INT32_MAX)
        return false;
    *label = (int64_t)v;
    return true;
}

/* The column of labels, by its heading; true in *heading if there is one. */
static int find_column(const char *path, const char *line, size_t *column, bool *heading)
{
    char field[FIELD];
    int64_t unused;
    size_t n = 0;

    *column = 0;
    *heading = false;
    for (const char *c = line; c != NULL; n++) {
        next_field(field, &c, ',');
        if (!*heading && (strcasecmp(field, "label") == 0 || strcasecmp(field, "class") == 0)) {
            *column = n;
            *heading = true;
        }
    }
    if (*heading || (n == 1 && parse_label(&unused, field)))
        return NB_CLI_OK;
    return nb_cli_error(NB_CLI_BAD_INPUT,
                        "%s: line 1: expected headings, one of them 'label' or 'class'", path);
}

static int parse_text(const char *path, const char *text, struct nb_cli_labels *out)
{
    const bool table = ends_with(path, ".csv");
    const char separator = table ? ',' : '\0';
    size_t column = 0, at = 1, lines = 1;
    bool heading = false;
    char field[FIELD];
    int code = NB_CLI_OK;

    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    out->label = calloc(lines + 1, sizeof *out->label);
    if (out->label == NULL)
        return no_memory();
    if (table)
        code = find_column(path, text, &column, &heading);
    for (const char *line = text; code == NB_CLI_OK && *line != '\0'; at++) {
        const size_t n = strcspn(line, "\n");
        const bool blank = strspn(line, " \r") >= n;
        if (!(heading && at == 1) && !blank) {
            if (!field_of(field, line, column, separator) ||
                !parse_label(&out->label[out->n], field))
                code = nb_cli_error(NB_CLI_BAD_INPUT,
                                    "%s: line %zu: expected the number of a class", path, at);
            out->n++;
        }
        line += n + (line[n] != '\0');
    }
    return code;
}

int nb_cli_labels_read(struct nb_cli *cli, nb_context *ctx, const char *path,
                       struct nb_cli_labels *out)
{
    size_t bytes;

    *out = (struct nb_cli_labels){.label = NULL};
    if (path == NULL)
        return NB_CLI_OK;
    if (ends_with(path, ".npy"))
        return read_npy(cli, ctx, path, out);
    char *text = nb_cli_read_file(cli, path, &bytes);
    if (text == NULL)
        return nb_cli_fail(cli, cli->err.status);
    const int code = parse_text(path, text, out);
    free(text);
    return code;
}
