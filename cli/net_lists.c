/* cli/net_lists.c: --dim, --set, lists of samples and what is done to them, as the library takes them. */
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

/* ---- what is done to numbers ---- */

/* "0.5", "-1", "1/255" */
static bool parse_ratio(double *v, const char *text)
{
    char number[40];
    const bool minus = text[0] == '-';
    const char *slash = strchr(text, '/');
    const size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
    double below = 1.0;

    if (n >= sizeof number)
        return false;
    memcpy(number, text, n);
    number[n] = '\0';
    if (!nb_cli_parse_real(v, number + minus) ||
        (slash != NULL && (!nb_cli_parse_real(&below, slash + 1) || below == 0.0)))
        return false;
    *v = (minus ? -*v : *v) / below;
    return true;
}

/* One number, or one for each channel. */
static int parse_numbers(struct nb_cli *cli, const char *option, const char *text, double *v,
                         uint32_t *n)
{
    const char *at = text;

    *n = 0;
    while (at != NULL) {
        char one[80];
        const size_t len = strcspn(at, ",");
        if (*n == 4 || len >= sizeof one)
            break;
        memcpy(one, at, len);
        one[len] = '\0';
        if (!parse_ratio(&v[*n], one))
            break;
        ++*n;
        at = at[len] == ',' ? at + len + 1 : NULL;
    }
    if (at == NULL)
        return NB_CLI_OK;
    return nb_cli_usage(cli,
                        "--%s %s: expected a number, or one for each of up to 4 channels with "
                        "commas between",
                        option, text);
}

int nb_cli_net_prepare_read(struct nb_cli *cli, const struct nb_cli_net_prepare_args *a,
                            struct nb_net_prepare *p, bool *given)
{
    int code;

    nb_net_prepare_init(p);
    p->resize = a->resize;
    p->bgr = a->bgr;
    p->layout = a->layout;
    *given = a->scale != NULL || a->mean != NULL || a->std != NULL || a->layout != NULL ||
             a->resize > 0 || a->bgr;
    if (a->scale != NULL && !parse_ratio(&p->scale, a->scale))
        return nb_cli_usage(cli, "--scale %s: expected a number, or two as 1/255", a->scale);
    code = parse_numbers(cli, "mean", a->mean, p->mean, &p->n_mean);
    return code == NB_CLI_OK ? parse_numbers(cli, "std", a->std, p->std, &p->n_std) : code;
}

/* Pictures are prepared, or the only samples there are. */
static int set_prepare(struct nb_cli *cli, struct nb_cli_net_data *d,
                       const struct nb_cli_net_prepare_args *a)
{
    bool given, used = false;
    const int code = nb_cli_net_prepare_read(cli, a, &d->prepare, &given);

    if (code != NB_CLI_OK || !given)
        return code;
    for (size_t i = 0; i < d->n_samples; i++)
        if (nb_is_pictures(d->samples[i].path) || d->n_samples == 1) {
            d->samples[i].prepare = &d->prepare;
            used = true;
        }
    if (used)
        return NB_CLI_OK;
    return nb_cli_usage(cli, "--scale, --mean, --std and --layout are for pictures, or for the "
                             "array of a net with one input");
}

/* ---- all of a net that is run over samples ---- */

int nb_cli_net_data_read(struct nb_cli *cli, struct nb_cli_net_data *d,
                         const struct nb_cli_list *samples, const struct nb_cli_list *dims,
                         const struct nb_cli_list *sets,
                         const struct nb_cli_net_prepare_args *prepare)
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
    return code == NB_CLI_OK ? set_prepare(cli, d, prepare) : code;
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
