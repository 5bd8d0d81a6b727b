/* cli/cli.h: what the verbs share. The command uses <nibble/...> and nothing else of the library. */
#ifndef NB_CLI_CLI_H
#define NB_CLI_CLI_H

#include "json.h"
#include "options.h"

#include <nibble/nibble.h>
#include <stdio.h>

enum nb_cli_exit {
    NB_CLI_OK = 0,
    NB_CLI_FAILED = 1,
    NB_CLI_USAGE = 2,
    NB_CLI_BAD_INPUT = 3,
    NB_CLI_BOUND_MISSED = 4,
    NB_CLI_INTERRUPTED = 130,
};

/* The progress line's memory. */
struct nb_cli_progress {
    int32_t enabled, shown;
    double start, last; /* seconds, monotonic */
    uint64_t first;     /* done when the phase began */
    uint64_t previous;
    uint64_t total;
};

struct nb_cli_verb;

/* One run of the command. Owns: ctx. Borrows: the rest. */
struct nb_cli {
    const struct nb_cli_verb *verb;
    const struct nb_cli_common *common;
    const struct nb_cli_parsed *parsed;
    nb_context *ctx;
    struct nb_cli_progress progress;
    struct nb_error err;
    const char *
        leaves; /* what a stopped run may leave behind, named by the library's log; NULL: nothing */
};

/* Owns nothing: all static. */
struct nb_cli_verb {
    const char *name, *synopsis; /* "MODEL [OUT] [TYPE]" */
    const char *summary;         /* one line             */
    const char *description;     /* paragraphs, blank line between them */
    const char *examples;        /* lines; "# ..." explains the next    */
    const struct nb_cli_opt *options;
    size_t args_bytes;
    int min_positional, max_positional;                                   /* max < 0: any number */
    int (*run)(struct nb_cli *cli, void *args, int n, char **positional); /* -> exit code */
};

extern const struct nb_cli_verb *const nb_cli_verbs[]; /* NULL ends it */

/* ---- main.c ---- */
/* Prints "nibble: ...", returns the exit code that goes with it. */
int nb_cli_usage(struct nb_cli *cli, const char *fmt, ...) NB_PRINTF(2, 3);
int nb_cli_fail(struct nb_cli *cli, enum nb_status status); /* cli->err is told, with a hint */
int nb_cli_error(int exit_code, const char *fmt, ...) NB_PRINTF(2, 3);
void nb_cli_note(const struct nb_cli *cli, const char *fmt, ...) NB_PRINTF(2, 3); /* not with -q */
/* The library's context, made at first use; NULL: told already, *exit_code set. */
nb_context *nb_cli_context(struct nb_cli *cli, int *exit_code);

/* ---- help.c ---- */
void nb_cli_help_all(FILE *f);
void nb_cli_help_brief(FILE *f, const struct nb_cli_verb *verb);
void nb_cli_help_full(FILE *f, const struct nb_cli_verb *verb);
void nb_cli_help_markdown(FILE *f);
void nb_cli_help_man(FILE *f, const struct nb_cli_verb *verb); /* scdoc; verb NULL: nibble(1) */

/* ---- kinds.c ---- */
/* Is every option that was given for such a thing as path is? Exit code. */
int nb_cli_check_kind(struct nb_cli *cli, enum nb_cli_kind kind, const char *path);

/* ---- progress.c ---- */
void nb_cli_progress_init(struct nb_cli_progress *p, const struct nb_cli_common *common);
int nb_cli_progress_fn(void *progress, const char *what, uint64_t done, uint64_t total,
                       const char *unit);
void nb_cli_progress_clear(struct nb_cli_progress *p);
double nb_cli_seconds(void); /* monotonic */

/* ---- cancel.c ---- */
void nb_cli_cancel_init(void);
int nb_cli_cancelled(void); /* the signal that asked to stop, or 0 */
void nb_cli_cancel_reset(void);

/* ---- data.c ---- */
/* Where the bundled file lies, or false. */
bool nb_cli_data_path(char *path, size_t cap, const char *file);
/* The whole file ("-": stdin), terminated; NULL: the message is in cli->err. free() it. */
char *nb_cli_read_file(struct nb_cli *cli, const char *path, size_t *n);

/* ---- text.c ---- */
struct nb_cli_text {
    char s[32];
};
struct nb_cli_text nb_cli_bytes(uint64_t bytes); /* "26.4 MB", "1.24 GB" */
struct nb_cli_text nb_cli_count(uint64_t n);     /* "6.8 M" */
struct nb_cli_text nb_cli_time(double seconds);  /* "0.42 s", "3 min 05 s" */
struct nb_cli_text nb_cli_db(double db);         /* "21.3 dB", "lossless", "-" */
/* Text from a model file: control characters and broken UTF-8 must not reach a terminal. */
void nb_cli_puts_safe(FILE *f, const char *text, size_t n);

/* A table: cells are added row by row, columns are aligned when printed. */
struct nb_cli_table {
    size_t columns, n, cap;
    char **cells;
    const char *align; /* per column 'l' or 'r' */
};
void nb_cli_table_init(struct nb_cli_table *t, const char *align);
void nb_cli_table_add(struct nb_cli_table *t, const char *fmt, ...) NB_PRINTF(2, 3);
void nb_cli_table_print(const struct nb_cli_table *t, FILE *f, const char *indent);
void nb_cli_table_fini(struct nb_cli_table *t);

/* ---- types.c ---- */
/* Is there such an item ("types", "formats")? Names are compared without regard to case; *name gets
 * the library's spelling. */
bool nb_cli_known(const char *kind, const char *name, const char **spelling);
const char *nb_cli_nearest(const char *kind, const char *name); /* or NULL */

#endif
