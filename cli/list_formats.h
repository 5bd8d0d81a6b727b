/* cli/list_formats.h: the tables of number formats. */
#ifndef NB_CLI_LIST_FORMATS_H
#define NB_CLI_LIST_FORMATS_H

#include <stdio.h>

#include "cli.h"

void nb_list_formats(nb_context *ctx, FILE *out);
void nb_list_formats_page(nb_context *ctx, FILE *out); /* Markdown: docs/formats.md */

#endif
