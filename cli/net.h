/* cli/net.h: nets in ONNX and TFLite: what the verbs that run them share. */
#ifndef NB_CLI_NET_H
#define NB_CLI_NET_H

#include "cli.h"

#include <nibble/net.h>

/* What is done to pictures and numbers on their way into a net. */
struct nb_cli_net_prepare_args {
    const char *scale, *mean, *std, *layout;
    uint32_t resize;
    int32_t bgr;
};
/* What the command line says of inputs. */
struct nb_cli_net_args {
    struct nb_cli_list inputs; /* NAME=FILE.npy, or FILE.npy if there is but one input */
    struct nb_cli_list dims;   /* NAME=N                                               */
    struct nb_cli_list shapes; /* NAME=1x3x224x224                                     */
    struct nb_cli_list sets;   /* NAME=VALUE                                           */
    struct nb_cli_net_prepare_args prepare;
};
/* Its rows at this offset, in a group. */
#define NB_CLI_NET_PREPARE_ROW(at, field, heading, option, kind, value, text)                      \
    {                                                                                              \
        .name = (option), .arg = (value), .type = (kind),                                          \
        .offset = (at) + offsetof(struct nb_cli_net_prepare_args, field), .group = (heading),      \
        .help = (text)                                                                             \
    }
#define NB_CLI_NET_PREPARE(at, group)                                                              \
    NB_CLI_NET_PREPARE_ROW(at, resize, group, "resize", NB_CLI_U32, "N",                           \
                           "pictures: scale the shorter side to N, then cut out the middle; "      \
                           "else the whole is stretched to the input's size (bilinear)"),          \
        NB_CLI_NET_PREPARE_ROW(at, bgr, group, "bgr", NB_CLI_FLAG, NULL,                           \
                               "pictures: blue first, then green and red"),                        \
        NB_CLI_NET_PREPARE_ROW(at, scale, group, "scale", NB_CLI_STRING, "X",                      \
                               "multiply what goes in by X, as 0.017 or 1/255; then ..."),         \
        NB_CLI_NET_PREPARE_ROW(at, mean, group, "mean", NB_CLI_STRING, "M[,M,M]",                  \
                               "... subtract this, one for all or one for each channel; then "     \
                               "..."),                                                             \
        NB_CLI_NET_PREPARE_ROW(at, std, group, "std", NB_CLI_STRING, "S[,S,S]",                    \
                               "... divide by this"),                                              \
        NB_CLI_NET_PREPARE_ROW(at, layout, group, "layout", NB_CLI_STRING, "LAYOUT",               \
                               "where channels are: nchw or nhwc; needed only where the shape "    \
                               "leaves it open")
/* The rows of --dim and --set; offsets of their lists. */
#define NB_CLI_NET_DIM_SET(dims_at, sets_at, set_help)                                             \
    {.name = "dim",                                                                                \
     .arg = "NAME=N",                                                                              \
     .type = NB_CLI_LIST,                                                                          \
     .offset = (dims_at),                                                                          \
     .group = "Nets",                                                                              \
     .help = "the size of an open dimension, by its name in the file"},                            \
    {                                                                                              \
        .name = "set", .arg = "NAME=VALUE", .type = NB_CLI_LIST, .offset = (sets_at),              \
        .group = "Nets", .help = (set_help)                                                        \
    }
/* The rows of struct nb_cli_net_args at this offset. */
#define NB_CLI_NET_OPTIONS(at)                                                                     \
    {.name = "input",                                                                              \
     .letter = 'i',                                                                                \
     .arg = "NAME=FILE",                                                                           \
     .type = NB_CLI_LIST,                                                                          \
     .offset = (at) + offsetof(struct nb_cli_net_args, inputs),                                    \
     .group = "Nets",                                                                              \
     .help = "an .npy file, picture or folder of them [zeros]",                                    \
     .brief = 1},                                                                                  \
        {.name = "shape",                                                                          \
         .arg = "NAME=SIZES",                                                                      \
         .type = NB_CLI_LIST,                                                                      \
         .offset = (at) + offsetof(struct nb_cli_net_args, shapes),                                \
         .group = "Nets",                                                                          \
         .help = "all dimensions of an input without a file, as x=1x3x224x224"},                   \
        NB_CLI_NET_DIM_SET((at) + offsetof(struct nb_cli_net_args, dims),                          \
                           (at) + offsetof(struct nb_cli_net_args, sets),                          \
                           "fix an input, and with it what depends on it alone, to a number or "   \
                           "an .npy file; inputs that say shapes must be"),                        \
        NB_CLI_NET_PREPARE((at) + offsetof(struct nb_cli_net_args, prepare), "Nets")

/* A net that can be opened: names, files, shapes. Owns: all. */
struct nb_cli_net {
    const char *path;
    struct nb_net_info info;
    struct nb_executor_options options;
    struct nb_executor_dim *dims;
    struct nb_executor_shape *shapes;
    struct nb_executor_fixed *fixed;
    char **strings; /* names cut out of arguments */
    size_t n_strings;
    int64_t (*shape_dims)[NB_NET_MAX_DIMS]; /* (shapes) */
    struct nb_npy *files;                   /* (n_files) */
    const char **file_inputs;               /* (n_files) the input each is for */
    size_t n_files;
};
/* Reads the files and finds all dimensions. Exit code; nb_cli_net_free in any case. */
int nb_cli_net_prepare(struct nb_cli *cli, nb_context *ctx, const char *path,
                       const struct nb_cli_net_args *args, struct nb_cli_net *net);
void nb_cli_net_free(struct nb_cli_net *net);

/* An open net with memory for what goes in and out. Owns: all but what it feeds from the files. */
struct nb_cli_net_run {
    nb_executor *e;
    struct nb_executor_port *in, *out; /* (n_in), (n_out) */
    const void **inputs;
    void **outputs, **zeros; /* zeros (n_in): of inputs without a file; NULL */
    size_t n_in, n_out;
    double load_seconds;
};
/* threads, flags: as nb_executor_options has them. Exit code; nb_cli_net_close in any case. */
int nb_cli_net_open(struct nb_cli *cli, nb_context *ctx, const struct nb_cli_net *net,
                    uint32_t flags, uint32_t threads, struct nb_cli_net_run *run);
void nb_cli_net_close(struct nb_cli_net_run *run);

/* n runs, seconds each, ascending; false: cancelled or failed, *code set. */
bool nb_cli_net_time(struct nb_cli *cli, struct nb_cli_net_run *run, double *seconds, size_t n,
                     int *code);

/* ---- net_lists.c ---- */
/* A copy of "NAME=VALUE", cut in two; *value NULL: there is no '='. False: no memory. */
bool nb_cli_net_cut(char **copy, const char *item, const char **value);
/* An item of --dim, of --set. copy: the caller's to free. Exit code. */
int nb_cli_net_dim(struct nb_cli *cli, struct nb_executor_dim *d, char **copy, const char *item);
int nb_cli_net_set(struct nb_cli *cli, struct nb_executor_fixed *f, char **copy, const char *item);
/* Samples (NAME=FILE.npy, or FILE.npy), --dim and --set, as the library takes them. Owns: all. */
struct nb_cli_net_data {
    struct nb_net_samples *samples;
    struct nb_executor_dim *dims;
    struct nb_executor_fixed *fixed;
    char **copies;
    size_t n_samples, n_dims, n_fixed, n_copies;
    struct nb_net_prepare prepare; /* of samples that are pictures, or are the only ones */
};
/* Exit code; nb_cli_net_data_free in any case. */
int nb_cli_net_data_read(struct nb_cli *cli, struct nb_cli_net_data *d,
                         const struct nb_cli_list *samples, const struct nb_cli_list *dims,
                         const struct nb_cli_list *sets,
                         const struct nb_cli_net_prepare_args *prepare);
/* *given: is there anything to do? Exit code. */
int nb_cli_net_prepare_read(struct nb_cli *cli, const struct nb_cli_net_prepare_args *a,
                            struct nb_net_prepare *p, bool *given);
void nb_cli_net_data_free(struct nb_cli_net_data *d);

/* ---- net_labels.c ---- */
/* Owns: label. */
struct nb_cli_labels {
    int64_t *label; /* (n) */
    size_t n;
};
/* path NULL: none. Exit code; free label in any case. */
int nb_cli_labels_read(struct nb_cli *cli, nb_context *ctx, const char *path,
                       struct nb_cli_labels *out);

/* ---- net_values.c ---- */
/* "float32 [1, 3, 224, 224]" */
struct nb_cli_net_text {
    char s[256];
};
struct nb_cli_net_text nb_cli_net_shape(const char *type, const int64_t *dims, int64_t rank,
                                        const char *const *names);
/* Element i of an array; of float8 and such: 0. */
double nb_cli_net_value(const char *type, const void *data, uint64_t i);
struct nb_cli_net_stats {
    double min, mean, max; /* of the finite ones; NaN: there are none */
    uint64_t n_nan, n_inf;
};
void nb_cli_net_stats(struct nb_cli_net_stats *s, const struct nb_executor_port *p,
                      const void *data);
/* The k largest of n values from `first` on, the largest first, in at (k); as many as there are. */
size_t nb_cli_net_top(uint64_t *at, size_t k, const struct nb_executor_port *p, const void *data,
                      uint64_t first, uint64_t n);

/* ---- net_run.c, net_profile.c, net_dump.c, net_bench.c ---- */
struct nb_cli_net_run_args {
    const struct nb_cli_net_args *in;
    const struct nb_cli_list *outputs; /* FOLDER, or NAME=FILE.npy */
    const char *labels, *dump;
    uint32_t repeat;
    bool json, profile, force;
};
int nb_cli_run_net(struct nb_cli *cli, const char *path, const struct nb_cli_net_run_args *a);

void nb_cli_net_profile_print(const nb_executor *e);
void nb_cli_net_profile_json(struct nb_jw *w, const nb_executor *e);

/* Runs once as the file says and writes every value into the folder. Exit code. */
int nb_cli_net_dump(struct nb_cli *cli, nb_context *ctx, const struct nb_cli_net *net,
                    const char *folder, bool force);
/* FOLDER/NAME.npy, or FOLDER/0012-NAME.npy for number 12; what a file name cannot have becomes '_'. NULL: no memory. */
char *nb_cli_net_file_name(const char *folder, const char *name, int64_t number);
/* The folder is there, or is made; exit code. */
int nb_cli_net_folder(const char *folder);

struct nb_cli_net_bench_args {
    const struct nb_cli_net_args *in;
    uint32_t repeat; /* 0: as many as fit */
    bool json;
};
/* ---- net_eval.c, net_compare.c ---- */
struct nb_cli_net_compare_args {
    const struct nb_cli_list *inputs, *dims, *sets;
    const struct nb_cli_net_prepare_args *prepare;
    const char *labels, *output;
    uint32_t layers; /* shown at most; 0: not compared */
    bool json;
};
/* paths: reference, net. */
int nb_cli_compare_nets(struct nb_cli *cli, const char *const *paths,
                        const struct nb_cli_net_compare_args *a);
struct nb_cli_net_eval_args {
    const struct nb_cli_list *inputs, *dims, *sets;
    const struct nb_cli_net_prepare_args *prepare;
    const char *labels, *expected, *output;
    uint32_t top;
    bool json;
};
int nb_cli_eval_net(struct nb_cli *cli, const char *path, const struct nb_cli_net_eval_args *a);

int nb_cli_bench_net(struct nb_cli *cli, const char *path, const struct nb_cli_net_bench_args *a);

#endif
