/* cli/inspect.h: the parts of `nibble inspect`. */
#ifndef NB_CLI_INSPECT_H
#define NB_CLI_INSPECT_H

#include "cli.h"

struct nb_inspect_options {
    bool json;
    bool of_models; /* something was asked for that statistics do not have */
};
/* false: the file is no statistics, and nothing was said. Else *code is the exit code. */
bool nb_inspect_importance(struct nb_cli *cli, nb_context *ctx, const char *path,
                           const struct nb_inspect_options *o, int *code);

/* The same for nets; tensors and meta: what --tensors and --meta add. */
struct nb_inspect_net_options {
    bool json, tensors, meta;
    bool of_models; /* something was asked for that nets do not have */
};
bool nb_inspect_net_file(struct nb_cli *cli, nb_context *ctx, const char *path,
                         const struct nb_inspect_net_options *o, int *code);

#endif
