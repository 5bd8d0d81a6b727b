/* text/chat.h: conversations to the text a model was trained on, by the template the model brings.
 *
 * A template is a program in Jinja (jinja.h says how much of it is known); what it gives equals what
 * apply_chat_template of Hugging Face transformers gives, byte for byte, or is an error. Each byte of
 * the result knows whether it comes from the template or from a message, so that nothing written in a
 * message is ever taken for one of the marks that structure a conversation.
 */
#ifndef NB_TEXT_CHAT_H
#define NB_TEXT_CHAT_H

#include "text/text.h"

struct nb_chat_template;

/* NB_ERR_UNSUPPORTED: uses a part of Jinja that nibble does not know; NB_ERR_FORMAT: is broken. What
 * stands in a branch is seen only when it is taken. Copies text. */
NB_CHECKED enum nb_status nb_chat_template_create(struct nb_chat_template **out, const char *text,
                                                  size_t n, const struct nb_allocator *a,
                                                  struct nb_error *err);
void nb_chat_template_destroy(struct nb_chat_template *t); /* NULL is fine */
/* "chatml", "llama-3"...: by the marks in a template's text; NULL: none of those known. For people to
 * read: what a template gives is worked out from the template itself. */
const char *nb_chat_family(const char *text, size_t n);

enum nb_chat_origin {
    NB_CHAT_TEMPLATE = 0,  /* written by the template */
    NB_CHAT_MESSAGE = 1,   /* from a message */
    NB_CHAT_ASSISTANT = 2, /* from a message of the model itself */
};

/* Borrows: both. Bytes that are not UTF-8 become U+FFFD. */
struct nb_chat_turn {
    struct nb_text role, content;
};

/* Borrows: everything. */
struct nb_chat_input {
    const struct nb_chat_turn *turns; /* (n_turns) */
    size_t n_turns;
    bool add_generation_prompt;
    struct nb_text bos, eos, unk,
        pad;                  /* the special tokens' texts; s == NULL: the model has none */
    const char *date;         /* "2024-07-26": what strftime_now knows; NULL: it is not defined */
    const nb_json *variables; /* an object: further variables ("enable_thinking"); or NULL */
    uint64_t max_steps;       /* 0: 20 million */
    size_t max_bytes;         /* of memory; 0: 256 MiB */
};
/* Appends to text; from (n, enum nb_chat_origin) goes with it, byte for byte. On failure both are
 * as they were. NB_ERR_ARG: the template refuses the conversation; the message says why. */
NB_CHECKED enum nb_status nb_chat_render(const struct nb_chat_template *t,
                                         const struct nb_chat_input *in, struct nb_str *text,
                                         struct nb_str *from, struct nb_error *err);
/* The ids of a rendered conversation: those that Hugging Face gives for the text, but special tokens
 * (and other added tokens that stand in the template's text) count only where the template wrote them.
 * No bos is added: templates write it. Appends to ids. */
NB_CHECKED enum nb_status nb_chat_encode(const struct nb_chat_template *t,
                                         const struct nb_tokenizer *tok, struct nb_ids *ids,
                                         const struct nb_str *text, const struct nb_str *from,
                                         struct nb_error *err);

#endif
