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

/* Turns on a terminal until /quit or end of input. Exit code. */
int nb_chat(struct nb_cli *cli, nb_generator *generator, struct nb_generation *g, bool special);

#endif
