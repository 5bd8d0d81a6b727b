/* api/generate.h: what generate.c and chat.c share. */
#ifndef NB_API_GENERATE_H
#define NB_API_GENERATE_H

#include "api/api.h"
#include "text/chat.h"

/* Owns: everything. */
struct nb_generator {
    nb_context *ctx;
    struct nb_runner r;
    struct nb_sampler *sampler;
    struct nb_generate_options o;
    struct nb_ids ids;  /* of the text being fed */
    struct nb_ids held; /* what the session's positions are */
    float *logits;      /* (n_vocab) of the last token */
    bool have_logits;
    struct nb_detok detok;
    struct nb_str text; /* what the last call returned */

    struct nb_chat_template *chat; /* NULL: none, or chat_problem */
    struct nb_error chat_problem;
    struct nb_str chat_text, chat_from; /* the conversation as rendered last */
    int32_t turn_end;                   /* what the template writes behind an answer; -1: nothing */
    bool chatting;                      /* what is generated is an answer */
};

/* Appends ids[from..] to the session; from of them are there already. */
NB_CHECKED enum nb_status nb_generator_eval(nb_generator *g, size_t from, struct nb_error *err);
/* Compiles the model's template and tries it out; what is wrong goes into chat_problem. */
NB_CHECKED enum nb_status nb_generator_open_chat(nb_generator *g, struct nb_error *err);

#endif
