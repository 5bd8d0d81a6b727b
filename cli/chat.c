/* cli/chat.c: conversations: one question, and turns on a terminal.
 *
 * With a chat template that nibble can apply, what is typed is a message and what is generated the
 * answer. Without one, what is typed is added to the context as it stands, and the model continues.
 */
#include "generate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- a conversation ---- */

static bool add_message(struct nb_conversation *c, const char *role, const char *content, size_t n)
{
    if (c->n == c->cap) {
        const size_t cap = 2 * c->cap + 8;
        struct nb_chat_message *grown = realloc(c->messages, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        c->messages = grown;
        c->cap = cap;
    }
    char *copy = strndup(content, n);
    if (copy == NULL)
        return false;
    c->messages[c->n++] = (struct nb_chat_message){role, copy};
    return true;
}

static void drop_messages(struct nb_conversation *c, size_t keep)
{
    while (c->n > keep)
        free((void *)(uintptr_t)c->messages[--c->n].content); /* ours: add_message's copy */
}

void nb_conversation_free(struct nb_conversation *c)
{
    drop_messages(c, 0);
    free(c->messages);
    c->messages = NULL;
    c->cap = 0;
}

static enum nb_status no_memory(struct nb_error *err)
{
    *err = (struct nb_error){.status = NB_ERR_NOMEM, .offset = NB_OFFSET_NONE};
    snprintf(err->message, sizeof err->message, "conversation: out of memory");
    return NB_ERR_NOMEM;
}

/* The user's message joins the conversation, which becomes the context. */
enum nb_status nb_conversation_say(struct nb_conversation *c, nb_generator *generator,
                                   const char *text, size_t n, struct nb_error *err)
{
    const size_t before = c->n;
    bool ok = true;
    if (c->n == 0 && c->system != NULL)
        ok = add_message(c, "system", c->system, strlen(c->system));
    ok = ok && add_message(c, "user", text, n);
    enum nb_status status =
        ok ? nb_generator_chat(generator, c->messages, c->n, &c->options, err) : no_memory(err);
    if (status != NB_OK)
        drop_messages(c, before);
    return status;
}

/* ---- turns ---- */

static void greet(const struct nb_cli *cli, const nb_generator *generator,
                  const struct nb_conversation *c)
{
    if (c == NULL && nb_generator_chat_template(generator) == NULL)
        nb_cli_note(cli,
                    "this model has no chat template: what you type is continued as plain text");
    else if (c == NULL)
        nb_cli_note(cli, "what you type is continued as plain text");
    nb_cli_note(cli, "/reset forgets, /quit leaves, Ctrl-C stops an answer; context: %u tokens",
                nb_generator_context(generator));
}

/* One turn without a template: the typed text, then the model's. */
static enum nb_status plain_turn(nb_generator *generator, struct nb_generation *g, const char *line,
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

/* One turn of a conversation; what was answered, whole or in part, belongs to it. */
static enum nb_status turn(struct nb_conversation *c, nb_generator *generator,
                           struct nb_generation *g, const char *line, struct nb_error *err)
{
    enum nb_status status = nb_conversation_say(c, generator, line, strlen(line), err);

    if (status != NB_OK)
        return status;
    g->sink.keep = true;
    g->sink.len = 0;
    status = nb_generate_stream(generator, g, err);
    if (status == NB_OK &&
        !add_message(c, "assistant", g->sink.text != NULL ? g->sink.text : "", g->sink.len))
        status = no_memory(err);
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

/* Did a turn go well enough to go on? What did not is said. */
static bool go_on(struct nb_cli *cli, const nb_generator *generator, const struct nb_generation *g,
                  const struct nb_conversation *c, enum nb_status status)
{
    if (status == NB_ERR_LIMIT || (status == NB_OK && g->end == NB_END_CONTEXT))
        nb_cli_note(cli, "the context is full (%u tokens): /reset begins anew",
                    nb_generator_context(generator));
    else if (status == NB_ERR_ARG && c != NULL) /* the template refuses */
        nb_cli_note(cli, "%s", cli->err.message);
    else
        return status == NB_OK || status == NB_ERR_CANCELLED;
    return true;
}

int nb_chat(struct nb_cli *cli, nb_generator *generator, struct nb_generation *g,
            struct nb_conversation *c, bool special)
{
    char *line = NULL;
    size_t cap = 0;
    int code = NB_CLI_OK;

    greet(cli, generator, c);
    while (read_line(&line, &cap)) {
        if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0)
            break;
        if (strcmp(line, "/reset") == 0) {
            nb_generator_reset(generator);
            if (c != NULL)
                drop_messages(c, 0);
            nb_cli_note(cli, "forgotten");
            continue;
        }
        if (*line == '\0')
            continue;
        enum nb_status status = c != NULL ? turn(c, generator, g, line, &cli->err)
                                          : plain_turn(generator, g, line, special, &cli->err);
        nb_cli_cancel_reset();
        fputc('\n', stdout);
        if (!go_on(cli, generator, g, c, status)) {
            code = nb_cli_fail(cli, status);
            break;
        }
    }
    if (nb_cli_cancelled() || feof(stdin))
        fputc('\n', stdout);
    free(line);
    return code;
}
