/* cli/kinds.c: options that are for language models alone, for nets, for arrays: one that does nothing for what it was
 * given with is refused, not ignored.
 */
#include "cli.h"

#include <string.h>

static const struct {
    enum nb_cli_kind kind;
    const char *one, *many;
} kinds[] = {
    {NB_CLI_LANGUAGE, "a language model", "language models"},
    {NB_CLI_NET, "a net", "nets"},
    {NB_CLI_ARRAY, "an array", "arrays"},
};
#define N_KINDS (sizeof kinds / sizeof kinds[0])

/* Groups whose options are for one kind; those of others are for all. */
static const struct {
    const char *group;
    enum nb_cli_kind kind;
} groups[] = {
    {"Language models", NB_CLI_LANGUAGE},
    {"Text", NB_CLI_LANGUAGE},
    {"Chat", NB_CLI_LANGUAGE},
    {"Sampling", NB_CLI_LANGUAGE},
    {"Nets", NB_CLI_NET},
    {"Nets (ONNX)", NB_CLI_NET},
    {"Arrays", NB_CLI_ARRAY},
};

uint32_t nb_cli_option_kinds(const struct nb_cli_opt *o)
{
    if (o->of != 0)
        return o->of;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (strcmp(groups[i].group, o->group) == 0)
            return groups[i].kind;
    return UINT32_MAX;
}

/* "language models and nets" */
static void list_kinds(char *text, size_t cap, uint32_t of)
{
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < N_KINDS && n < cap; i++)
        if ((of & kinds[i].kind) != 0)
            n += (size_t)snprintf(text + n, cap - n, "%s%s", n > 0 ? " and " : "", kinds[i].many);
}

int nb_cli_check_kind(struct nb_cli *cli, enum nb_cli_kind kind, const char *path)
{
    const struct nb_cli_opt *o = cli->verb->options;
    const char *is = "";
    char many[64];

    for (size_t i = 0; i < N_KINDS; i++)
        if (kinds[i].kind == kind)
            is = kinds[i].one;
    for (size_t i = 0; o[i].name != NULL; i++) {
        const uint32_t of = nb_cli_option_kinds(&o[i]);
        if (!cli->parsed->given[i] || (of & kind) != 0)
            continue;
        list_kinds(many, sizeof many, of);
        return nb_cli_usage(cli, "--%s is for %s; '%.200s' is %s%s%s%s", o[i].name, many, path, is,
                            o[i].instead != NULL ? " (" : "",
                            o[i].instead != NULL ? o[i].instead : "",
                            o[i].instead != NULL ? ")" : "");
    }
    return NB_CLI_OK;
}
