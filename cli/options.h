/* cli/options.h: option tables over getopt_long.
 *
 * A verb describes its options once; parsing, -h, --help, docs/cli.md and the man pages all read the
 * same table. Each line says where its value goes: an offset into the verb's argument struct, which
 * begins with struct nb_cli_common.
 */
#ifndef NB_CLI_OPTIONS_H
#define NB_CLI_OPTIONS_H

#include <nibble/base.h>
#include <stdbool.h>

enum nb_cli_opt_type {
    NB_CLI_FLAG,   /* int32_t: 1                                     */
    NB_CLI_SWITCH, /* int32_t: --x is 1, --no-x is 0                 */
    NB_CLI_STRING, /* const char *                                   */
    NB_CLI_U32,    /* uint32_t                                       */
    NB_CLI_U64,    /* uint64_t                                       */
    NB_CLI_SIZE,   /* uint64_t, "3GiB", "500MB", "1024"              */
    NB_CLI_REAL,   /* double, not negative; NaN if neither given nor a fallback */
    NB_CLI_LIST,   /* struct nb_cli_list: the option may be repeated */
    NB_CLI_BRIEF,  /* -h                                             */
    NB_CLI_HELP,   /* --help                                         */
};

/* What a verb is pointed at. */
enum nb_cli_kind {
    NB_CLI_LANGUAGE = 1 << 0,
    NB_CLI_NET = 1 << 1, /* ONNX, TFLite */
    NB_CLI_ARRAY = 1 << 2,
};

struct nb_cli_opt {
    const char *name; /* without the dashes; NULL ends a table         */
    int letter;       /* 0: none                                       */
    const char *arg;  /* what help calls its argument; NULL: a flag    */
    enum nb_cli_opt_type type;
    size_t offset;        /* of the target in the argument struct          */
    const char *fallback; /* the default, parsed like an argument; in brackets: only told; NULL */
    const char *group;    /* heading in --help                             */
    const char *help;
    const char *alias;   /* a second long name, or NULL                   */
    int32_t brief;       /* in -h too                                     */
    uint32_t of;         /* enum nb_cli_kind: what it is for; 0: as its group says (kinds.c) */
    const char *instead; /* "an array takes --importance", or NULL */
};

/* Owns: items (not the strings, which are argv's). */
struct nb_cli_list {
    const char **items;
    size_t n;
};

struct nb_cli_common {
    uint32_t threads;
    int32_t json, progress, quiet, verbose;
};

#define NB_CLI_MAX_OPTIONS 128 /* of a verb, with the common ones */

struct nb_cli_parsed {
    bool given
        [NB_CLI_MAX_OPTIONS]; /* options of the verb, as its table has them, then common ones */
    int32_t want_brief, want_help;
    int n; /* positional arguments */
    char **positional;
    char message[256]; /* what is wrong with the command line */
};

extern const struct nb_cli_opt nb_cli_common_options[];

/* Fills args (zeroed by the caller) from argv[1..]; argv[0] is the verb. 0, or -1 and a message. */
int nb_cli_parse(struct nb_cli_parsed *parsed, void *args, const struct nb_cli_opt *options,
                 int argc, char **argv);
void nb_cli_parse_free(void *args, const struct nb_cli_opt *options);

/* What an option is for: enum nb_cli_kind, several together. */
uint32_t nb_cli_option_kinds(const struct nb_cli_opt *o);

/* "3GiB", "500MB", "1.5G", "1024". False if it is none or does not fit. */
bool nb_cli_parse_size(uint64_t *bytes, const char *text);
bool nb_cli_parse_u64(uint64_t *value, const char *text);
bool nb_cli_parse_real(double *value, const char *text);

/* Edits (insert, delete, replace, swap) that lead from a to b; for "did you mean". */
size_t nb_cli_distance(const char *a, const char *b);

#endif
