/* cli/chat.c: turns on a terminal.
 *
 * Plain: what is typed is added to the context as it stands, then the model continues. A chat
 * template in the model is named but not applied in this version.
 */
#include "generate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void greet(const struct nb_cli *cli, const nb_generator *generator)
{
    if (nb_generator_chat_template(generator) != NULL)
        nb_cli_note(cli,
                    "this model has a chat template; it is not applied in this version: what you "
                    "type is continued as plain text");
    else
        nb_cli_note(cli,
                    "this model has no chat template: what you type is continued as plain text");
    nb_cli_note(cli, "/reset forgets, /quit leaves, Ctrl-C stops an answer; context: %u tokens",
                nb_generator_context(generator));
}

/* One turn: the typed text, then the model's. */
static enum nb_status turn(nb_generator *generator, struct nb_generation *g, const char *line,
                           bool special, struct nb_error *err)
{
    bool first = nb_generator_position(generator) == 0;
    enum nb_status status = NB_OK;

    if (!first)
        status = nb_generator_feed(generator, "\n", 1, 0, 0, err);
    if (status == NB_OK)
        status = nb_generator_feed(generator, line, strlen(line), special, first, err);
    if (status == NB_OK)
        status = nb_generate_stream(generator, g, err);
    return status;
}

/* A line without its newline; false at the end of input. */
static bool read_line(char **line, size_t *cap)
{
    fputs("> ", stdout);
    fflush(stdout);
    errno = 0;
    ssize_t n = getline(line, cap, stdin);
    if (n < 0)
        return false;
    while (n > 0 && ((*line)[n - 1] == '\n' || (*line)[n - 1] == '\r'))
        (*line)[--n] = '\0';
    return true;
}

int nb_chat(struct nb_cli *cli, nb_generator *generator, struct nb_generation *g, bool special)
{
    char *line = NULL;
    size_t cap = 0;
    int code = NB_CLI_OK;

    greet(cli, generator);
    while (read_line(&line, &cap)) {
        if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0)
            break;
        if (strcmp(line, "/reset") == 0) {
            nb_generator_reset(generator);
            nb_cli_note(cli, "forgotten");
            continue;
        }
        if (*line == '\0')
            continue;
        enum nb_status status = turn(generator, g, line, special, &cli->err);
        nb_cli_cancel_reset();
        fputc('\n', stdout);
        if (status == NB_ERR_LIMIT || (status == NB_OK && g->end == NB_END_CONTEXT)) {
            nb_cli_note(cli, "the context is full (%u tokens): /reset begins anew",
                        nb_generator_context(generator));
        } else if (status != NB_OK && status != NB_ERR_CANCELLED) {
            code = nb_cli_fail(cli, status);
            break;
        }
    }
    if (nb_cli_cancelled() || feof(stdin))
        fputc('\n', stdout);
    free(line);
    return code;
}
