/* cli/main.c: the command. Finds the verb, parses its options, runs it, turns failures into a
 * message and an exit code. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NB_VERB(name) extern const struct nb_cli_verb nb_cli_verb_##name;
#include "verbs.inc"
#undef NB_VERB

#define NB_VERB(name) &nb_cli_verb_##name,
const struct nb_cli_verb *const nb_cli_verbs[] = {
#include "verbs.inc"
    NULL,
};
#undef NB_VERB

static void put_message(const char *text)
{
    fputs("nibble: ", stderr);
    nb_cli_puts_safe(stderr, text, strlen(text));
    fputc('\n', stderr);
}

int nb_cli_usage(struct nb_cli *cli, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    put_message(text);
    if (cli != NULL && cli->verb != NULL)
        fprintf(stderr, "try 'nibble %s --help'\n", cli->verb->name);
    else
        fprintf(stderr, "try 'nibble --help'\n");
    return NB_CLI_USAGE;
}

int nb_cli_error(int exit_code, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    put_message(text);
    return exit_code;
}

void nb_cli_note(const struct nb_cli *cli, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (cli->common->quiet)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    nb_cli_puts_safe(stderr, text, strlen(text));
    fputc('\n', stderr);
}

static int exit_code_of(enum nb_status status)
{
    switch (status) {
    case NB_OK:
        return NB_CLI_OK;
    case NB_ERR_ARG:
        return NB_CLI_USAGE;
    case NB_ERR_FORMAT:
    case NB_ERR_UNSUPPORTED:
    case NB_ERR_NOT_FOUND:
    case NB_ERR_NUMERIC:
        return NB_CLI_BAD_INPUT;
    case NB_ERR_CANCELLED:
        return nb_cli_cancelled() != 0 ? 128 + nb_cli_cancelled() : NB_CLI_INTERRUPTED;
    default:
        return NB_CLI_FAILED;
    }
}

/* What to do about it, where the status alone tells. */
static const char *hint_of(enum nb_status status)
{
    switch (status) {
    case NB_ERR_EXISTS:
        return "give another name with -o, or -f to overwrite";
    case NB_ERR_NUMERIC:
        return "the weights are damaged; fetch the file again and compare its checksum";
    case NB_ERR_INTERNAL:
        return "this is a bug in nibble; please report it with the command line";
    default:
        return NULL;
    }
}

int nb_cli_fail(struct nb_cli *cli, enum nb_status status)
{
    const char *hint = hint_of(status);

    nb_cli_progress_clear(&cli->progress);
    if (status == NB_ERR_CANCELLED)
        return nb_cli_error(exit_code_of(status), "stopped%s",
                            cli->leaves != NULL && access(cli->leaves, F_OK) == 0
                                ? ""
                                : "; nothing was left behind");
    put_message(cli->err.message[0] != '\0' ? cli->err.message : nb_status_name(status));
    if (cli->err.message[0] != '\0' && cli->err.offset != NB_OFFSET_NONE && cli->err.offset != 0)
        fprintf(stderr, "  at byte %llu\n", (unsigned long long)cli->err.offset);
    if (hint != NULL)
        fprintf(stderr, "  %s\n", hint);
    else if (status == NB_ERR_ARG && cli->verb != NULL)
        fprintf(stderr, "try 'nibble %s --help'\n", cli->verb->name);
    return exit_code_of(status);
}

static void log_message(void *ctx, enum nb_log_level level, const char *message)
{
    static const char *const names[] = {"error: ", "warning: ", "", ""};
    struct nb_cli *cli = ctx;

    nb_cli_progress_clear(&cli->progress);
    fprintf(stderr, "nibble: %s", level <= NB_LOG_DEBUG ? names[level] : "");
    nb_cli_puts_safe(stderr, message, strlen(message));
    fputc('\n', stderr);
}

/* --threads, else NIBBLE_THREADS, else 0: the library decides. False: NIBBLE_THREADS is no number. */
static bool threads_wanted(uint32_t *threads, const struct nb_cli_common *common)
{
    const char *set = getenv("NIBBLE_THREADS");
    uint64_t n = 0;

    *threads = common->threads;
    if (common->threads != 0 || set == NULL || *set == '\0')
        return true;
    if (!nb_cli_parse_u64(&n, set) || n > UINT32_MAX)
        return false;
    *threads = (uint32_t)n;
    return true;
}

nb_context *nb_cli_context(struct nb_cli *cli, int *exit_code)
{
    struct nb_context_options o;
    enum nb_status status;

    if (cli->ctx != NULL)
        return cli->ctx;
    nb_context_options_init(&o);
    if (!threads_wanted(&o.threads, cli->common)) {
        *exit_code = nb_cli_usage(cli, "NIBBLE_THREADS is '%s', not a whole number",
                                  getenv("NIBBLE_THREADS"));
        return NULL;
    }
    o.log = (struct nb_log){.ctx = cli, .fn = log_message};
    o.log.level = cli->common->quiet     ? NB_LOG_ERROR
                  : cli->common->verbose ? NB_LOG_INFO
                                         : NB_LOG_WARN;
    o.progress = (struct nb_progress){.ctx = &cli->progress, .fn = nb_cli_progress_fn};
    status = nb_context_create(&cli->ctx, &o, &cli->err);
    if (status != NB_OK) {
        cli->ctx = NULL;
        *exit_code = nb_cli_fail(cli, status);
    }
    return cli->ctx;
}

static const struct nb_cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; nb_cli_verbs[i] != NULL; i++)
        if (strcmp(nb_cli_verbs[i]->name, name) == 0)
            return nb_cli_verbs[i];
    return NULL;
}

static int unknown_verb(const char *name)
{
    const char *nearest = NULL;
    size_t best = 4;

    for (size_t i = 0; nb_cli_verbs[i] != NULL; i++) {
        size_t d = nb_cli_distance(name, nb_cli_verbs[i]->name);
        if (d < best && d < strlen(nb_cli_verbs[i]->name))
            best = d, nearest = nb_cli_verbs[i]->name;
    }
    if (nearest != NULL)
        return nb_cli_usage(NULL, "unknown verb '%s'; the nearest is '%s'", name, nearest);
    return nb_cli_usage(NULL, "unknown verb '%s'", name);
}

/* nibble help [VERB] | --markdown | --man [VERB] (the last two make the documentation) */
static int help(int argc, char **argv)
{
    const struct nb_cli_verb *verb = NULL;
    const char *topic = argc > 1 ? argv[1] : "";
    bool man = strcmp(topic, "--man") == 0;

    if (strcmp(topic, "--markdown") == 0) {
        nb_cli_help_markdown(stdout);
        return NB_CLI_OK;
    }
    if (man)
        topic = argc > 2 ? argv[2] : "";
    if (*topic != '\0') {
        verb = find_verb(topic);
        if (verb == NULL)
            return unknown_verb(topic);
    }
    if (man)
        nb_cli_help_man(stdout, verb);
    else if (verb != NULL)
        nb_cli_help_full(stdout, verb);
    else
        nb_cli_help_all(stdout);
    return NB_CLI_OK;
}

static int count_positional(struct nb_cli *cli, const struct nb_cli_parsed *p)
{
    const struct nb_cli_verb *v = cli->verb;

    if (p->n < v->min_positional)
        return nb_cli_usage(cli, "missing argument: nibble %s %s", v->name, v->synopsis);
    if (v->max_positional >= 0 && p->n > v->max_positional)
        return nb_cli_usage(cli, "'%s' is one argument too many: nibble %s %s",
                            p->positional[v->max_positional], v->name, v->synopsis);
    for (int i = 0; i < p->n; i++)
        if (p->positional[i][0] == '\0')
            return nb_cli_usage(cli, "an empty argument: nibble %s %s", v->name, v->synopsis);
    return NB_CLI_OK;
}

static int run_verb(const struct nb_cli_verb *verb, int argc, char **argv)
{
    struct nb_cli cli = {.verb = verb, .err = {.offset = NB_OFFSET_NONE}};
    struct nb_cli_parsed parsed;
    void *args = calloc(1, verb->args_bytes);
    int code;

    if (args == NULL)
        return nb_cli_error(NB_CLI_FAILED, "out of memory");
    cli.common = args;
    cli.parsed = &parsed;
    if (nb_cli_parse(&parsed, args, verb->options, argc, argv) != 0) {
        code = nb_cli_usage(&cli, "%s", parsed.message);
    } else if (parsed.want_help) {
        nb_cli_help_full(stdout, verb);
        code = NB_CLI_OK;
    } else if (parsed.want_brief) {
        nb_cli_help_brief(stdout, verb);
        code = NB_CLI_OK;
    } else if ((code = count_positional(&cli, &parsed)) == NB_CLI_OK) {
        nb_cli_progress_init(&cli.progress, cli.common);
        code = verb->run(&cli, args, parsed.n, parsed.positional);
        nb_cli_progress_clear(&cli.progress);
    }
    if (cli.ctx != NULL)
        nb_context_destroy(cli.ctx);
    nb_cli_parse_free(args, verb->options);
    free(args);
    return code;
}

static int dispatch(int argc, char **argv)
{
    const struct nb_cli_verb *verb;

    if (argc < 2) {
        nb_cli_help_all(stderr);
        return NB_CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("nibble %s\n", nb_version());
        return NB_CLI_OK;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        nb_cli_help_all(stdout);
        return NB_CLI_OK;
    }
    if (strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1);
    verb = find_verb(argv[1]);
    if (verb == NULL)
        return argv[1][0] == '-' ? nb_cli_usage(NULL, "a verb comes first, not '%s'", argv[1])
                                 : unknown_verb(argv[1]);
    return run_verb(verb, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    int code;

    nb_cli_cancel_init();
    code = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == NB_CLI_OK)
        code = nb_cli_error(NB_CLI_FAILED, "standard output: %s", strerror(errno));
    return code;
}
