/* cli/net_lists.c: --dim, --set and lists of samples, as the library takes them. */
#include "net.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return nb_cli_error(NB_CLI_FAILED, "out of memory");
}

bool nb_cli_net_cut(char **copy, const char *item, const char **value)
{
    *copy = strdup(item);
    if (*copy == NULL)
        return false;
    char *mark = strchr(*copy, '=');
    *value = mark != NULL ? mark + 1 : NULL;
    if (mark != NULL)
        *mark = '\0';
    return true;
}

int nb_cli_net_dim(struct nb_cli *cli, struct nb_executor_dim *d, char **copy, const char *item)
{
    const char *value;
    uint64_t n;

    if (!nb_cli_net_cut(copy, item, &value))
        return no_memory();
    if (value == NULL || !nb_cli_parse_u64(&n, value) || n > INT32_MAX)
        return nb_cli_usage(cli, "--dim %s: expected NAME=N, as in --dim batch=4", item);
    *d = (struct nb_executor_dim){.name = *copy, .n = (int64_t)n};
    return NB_CLI_OK;
}

int nb_cli_net_set(struct nb_cli *cli, struct nb_executor_fixed *f, char **copy, const char *item)
{
    const char *value;
    double v;

    if (!nb_cli_net_cut(copy, item, &value))
        return no_memory();
    const bool minus = value != NULL && value[0] == '-';
    if (value == NULL || !nb_cli_parse_real(&v, value + minus))
        return nb_cli_usage(cli, "--set %s: expected NAME=NUMBER, as in --set sr=16000", item);
    *f = (struct nb_executor_fixed){.input = *copy, .value = minus ? -v : v};
    return NB_CLI_OK;
}

/* ---- all of a net that is run over samples ---- */

int nb_cli_net_data_read(struct nb_cli *cli, struct nb_cli_net_data *d,
                         const struct nb_cli_list *samples, const struct nb_cli_list *dims,
                         const struct nb_cli_list *sets)
{
    int code = NB_CLI_OK;

    *d = (struct nb_cli_net_data){.n_samples = samples->n, .n_dims = dims->n, .n_fixed = sets->n};
    d->copies = calloc(samples->n + dims->n + sets->n + 1, sizeof *d->copies);
    d->samples = calloc(samples->n + 1, sizeof *d->samples);
    d->dims = calloc(dims->n + 1, sizeof *d->dims);
    d->fixed = calloc(sets->n + 1, sizeof *d->fixed);
    if (d->copies == NULL || d->samples == NULL || d->dims == NULL || d->fixed == NULL)
        return no_memory();
    for (size_t i = 0; i < samples->n; i++) {
        const char *value;
        char *copy;
        if (!nb_cli_net_cut(&copy, samples->items[i], &value))
            return no_memory();
        d->copies[d->n_copies++] = copy;
        d->samples[i] = value != NULL ? (struct nb_net_samples){.input = copy, .path = value}
                                      : (struct nb_net_samples){.path = copy};
    }
    for (size_t i = 0; i < dims->n && code == NB_CLI_OK; i++)
        code = nb_cli_net_dim(cli, &d->dims[i], &d->copies[d->n_copies++], dims->items[i]);
    for (size_t i = 0; i < sets->n && code == NB_CLI_OK; i++)
        code = nb_cli_net_set(cli, &d->fixed[i], &d->copies[d->n_copies++], sets->items[i]);
    return code;
}

void nb_cli_net_data_free(struct nb_cli_net_data *d)
{
    for (size_t i = 0; i < d->n_copies; i++)
        free(d->copies[i]);
    free(d->copies);
    free(d->samples);
    free(d->dims);
    free(d->fixed);
}
