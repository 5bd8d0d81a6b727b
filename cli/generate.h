/* cli/generate.h: what run's two halves share: streaming a continuation, and the chat loop. */
#ifndef NB_CLI_GENERATE_H
#define NB_CLI_GENERATE_H

#include "cli.h"

/* Stop strings are matched across token boundaries: text that may be the beginning of one is held
 * back. Owns: held. Borrows: strings. */
struct nb_stop {
    const char *const *strings;
    size_t n;
    char *held;
    size_t len, cap;
};

/* Where generated text goes. Owns: text. */
struct nb_sink {
    FILE *stream;  /* NULL: collect in text */
    bool keep;     /* collect in text too */
    bool terminal; /* control characters are replaced */
    char *text;
    size_t len, cap;
};

enum nb_end { NB_END_TOKENS, NB_END_TEXT, NB_END_STOP, NB_END_CONTEXT, NB_END_CANCELLED };

struct nb_generation {
    struct nb_stop stop;
    struct nb_sink sink;
    uint32_t max_tokens; /* 0: no limit */
    uint32_t n;          /* tokens generated */
    double seconds;
    enum nb_end end;
    uint32_t *ids; /* if not NULL: the tokens, room for max_ids */
    size_t max_ids;
};

/* false: out of memory */
bool nb_sink_put(struct nb_sink *s, const char *text, size_t n);
/* Takes text, passes on what cannot belong to a stop string. 1: a stop string is complete, the text
 * before it has been passed on; 0: go on; -1: out of memory. */
int nb_stop_feed(struct nb_stop *s, struct nb_sink *sink, const char *text, size_t n);
bool nb_stop_flush(struct nb_stop *s, struct nb_sink *sink);

/* Generates until something ends it (g->end). Ctrl-C ends it too. */
enum nb_status nb_generate_stream(nb_generator *generator, struct nb_generation *g,
                                  struct nb_error *err);
const char *nb_end_name(enum nb_end end);

/* What has been said. Owns: messages and their contents. Borrows: the rest. */
struct nb_conversation {
    const char *system; /* NULL: no system message */
    struct nb_chat_options options;
    struct nb_chat_message *messages;
    size_t n, cap;
};
/* Adds the user's message and feeds what is new; on failure the conversation is as it was. */
enum nb_status nb_conversation_say(struct nb_conversation *c, nb_generator *generator,
                                   const char *text, size_t n, struct nb_error *err);
void nb_conversation_free(struct nb_conversation *c);

/* Turns on a terminal until /quit or end of input; c == NULL: plain text. Exit code. */
int nb_chat(struct nb_cli *cli, nb_generator *generator, struct nb_generation *g,
            struct nb_conversation *c, bool special);

#endif
