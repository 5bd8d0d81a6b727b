/* fuzz/fuzz_chat.c: any bytes as a chat template; behind a zero byte, a message. What compiles renders a
 * conversation within its bounds, and every byte of the result has an origin. */
#include <stdlib.h>
#include <string.h>

#include "text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void render(const struct nb_chat_template *t, struct nb_text message, bool generate)
{
    const struct nb_chat_turn turns[] = {{{"system", 6}, {" be \xc3\xa9 brief ", 13}},
                                         {{"user", 4}, message},
                                         {{"assistant", 9}, {"<think>\nso\n</think>\n\nyes", 24}},
                                         {{"user", 4}, {"", 0}}};
    const struct nb_chat_input in = {.turns = turns,
                                     .n_turns = NB_COUNTOF(turns),
                                     .add_generation_prompt = generate,
                                     .bos = {"<s>", 3},
                                     .eos = {"</s>", 4},
                                     .date = generate ? "2024-02-29" : NULL,
                                     .max_steps = 200000,
                                     .max_bytes = 1 << 22};
    struct nb_str text, from;
    struct nb_error err = {0};
    nb_str_init(&text, NULL);
    nb_str_init(&from, NULL);
    const enum nb_status st = nb_chat_render(t, &in, &text, &from, &err);
    require(text.len == from.len);
    if (st != NB_OK)
        require(err.status == st && err.message[0] != '\0' && text.len == 0);
    for (size_t i = 0; i < from.len; i++)
        require((uint8_t)from.data[i] <= NB_CHAT_ASSISTANT);
    for (size_t i = 0; i < text.len;) { /* what comes out is UTF-8 */
        uint32_t cp;
        const size_t n = nb_utf8_next(text.data + i, text.len - i, &cp);
        require(n > 0);
        i += n;
    }
    nb_str_fini(&text);
    nb_str_fini(&from);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nb_chat_template *t;
    struct nb_error err = {0};
    const char *text = (const char *)data;
    const char *zero = size == 0 ? NULL : memchr(text, 0, size);
    const size_t n = zero == NULL ? size : (size_t)(zero - text);
    const struct nb_text message = {zero == NULL ? "Hi" : zero + 1,
                                    zero == NULL ? 2 : size - n - 1};
    (void)nb_chat_family(text, n);
    const enum nb_status st = nb_chat_template_create(&t, text, n, NULL, &err);
    if (st != NB_OK) {
        require(err.status == st && err.message[0] != '\0');
        return 0;
    }
    render(t, message, false);
    render(t, message, true);
    nb_chat_template_destroy(t);
    return 0;
}
