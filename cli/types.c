/* cli/types.c: names that the library lists (types, formats), looked up as users write them. */
#include "cli.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* What stands for a type besides: the general grids. */
static const char *const more_types = "grids";

bool nb_cli_known(const char *kind, const char *name, const char **spelling)
{
    struct nb_list_item item;

    if (strcmp(kind, "types") == 0 && nb_cli_known(more_types, name, spelling))
        return true;
    for (size_t i = 0; nb_list(kind, i, &item) == NB_OK; i++)
        if (strcasecmp(item.name, name) == 0) {
            if (spelling != NULL)
                *spelling = item.name;
            return true;
        }
    return false;
}

const char *nb_cli_nearest(const char *kind, const char *name)
{
    const char *nearest = NULL;
    struct nb_list_item item;
    char lower[49];
    size_t best = 4, n = 0;

    for (; name[n] != '\0' && n < sizeof lower - 1; n++)
        lower[n] = (char)tolower((unsigned char)name[n]);
    lower[n] = '\0';
    for (size_t i = 0; nb_list(kind, i, &item) == NB_OK; i++) {
        size_t d = nb_cli_distance(lower, item.name);
        if (d < best && d < strlen(item.name))
            best = d, nearest = item.name;
    }
    return nearest;
}
