/* cli/generate.c: streams a continuation, token by token. */
#include "generate.h"

#include <stdlib.h>
#include <string.h>

static bool append(char **text, size_t *len, size_t *cap, const char *more, size_t n)
{
    if (*cap - *len < n + 1) {
        size_t bigger = 2 * (*len + n) + 256;
        char *grown = realloc(*text, bigger);
        if (grown == NULL)
            return false;
        *text = grown;
        *cap = bigger;
    }
    memcpy(*text + *len, more, n);
    *len += n;
    (*text)[*len] = '\0';
    return true;
}

bool nb_sink_put(struct nb_sink *s, const char *text, size_t n)
{
    if (n == 0)
        return true;
    if ((s->stream == NULL || s->keep) && !append(&s->text, &s->len, &s->cap, text, n))
        return false;
    if (s->stream == NULL)
        return true;
    if (s->terminal)
        nb_cli_puts_safe(s->stream, text, n);
    else
        fwrite(text, 1, n, s->stream); /* main looks at ferror */
    fflush(s->stream);
    return true;
}

/* Length of the longest end of held that begins some stop string. */
static size_t may_begin(const struct nb_stop *s)
{
    size_t best = 0;

    for (size_t i = 0; i < s->n; i++) {
        size_t len = strlen(s->strings[i]);
        size_t most = len - 1 < s->len ? len - 1 : s->len;
        for (size_t k = most; k > best; k--)
            if (memcmp(s->held + s->len - k, s->strings[i], k) == 0) {
                best = k;
                break;
            }
    }
    return best;
}

/* Where the first complete stop string begins, or len. */
static size_t first_stop(const struct nb_stop *s)
{
    for (size_t at = 0; at < s->len; at++)
        for (size_t i = 0; i < s->n; i++) {
            size_t len = strlen(s->strings[i]);
            if (len <= s->len - at && memcmp(s->held + at, s->strings[i], len) == 0)
                return at;
        }
    return s->len;
}

int nb_stop_feed(struct nb_stop *s, struct nb_sink *sink, const char *text, size_t n)
{
    if (s->n == 0)
        return nb_sink_put(sink, text, n) ? 0 : -1;
    if (!append(&s->held, &s->len, &s->cap, text, n))
        return -1;
    size_t at = first_stop(s);
    if (at < s->len) {
        s->len = 0;
        return nb_sink_put(sink, s->held, at) ? 1 : -1;
    }
    size_t keep = may_begin(s), pass = s->len - keep;
    if (!nb_sink_put(sink, s->held, pass))
        return -1;
    memmove(s->held, s->held + pass, keep);
    s->len = keep;
    return 0;
}

bool nb_stop_flush(struct nb_stop *s, struct nb_sink *sink)
{
    size_t n = s->len;

    s->len = 0;
    return nb_sink_put(sink, s->held, n);
}

static enum nb_status no_memory(struct nb_error *err)
{
    *err = (struct nb_error){.status = NB_ERR_NOMEM, .offset = NB_OFFSET_NONE};
    snprintf(err->message, sizeof err->message, "generated text: out of memory");
    return NB_ERR_NOMEM;
}

/* One token. NB_OK with *over set when generation ends. */
static enum nb_status step(nb_generator *generator, struct nb_generation *g, bool *over,
                           struct nb_error *err)
{
    const char *text = "";
    uint32_t token;
    int32_t end = 0;
    size_t n = 0;
    enum nb_status status = nb_generator_next(generator, &token, &text, &n, &end, err);

    if (status == NB_ERR_CANCELLED || (status == NB_ERR_LIMIT && g->n > 0)) {
        g->end = status == NB_ERR_LIMIT ? NB_END_CONTEXT : NB_END_CANCELLED;
        *over = true;
        return NB_OK;
    }
    if (status != NB_OK)
        return status;
    if (end) {
        g->end = NB_END_TEXT;
        *over = true;
    } else {
        if (g->ids != NULL && g->n < g->max_ids)
            g->ids[g->n] = token;
        g->n++;
    }
    int stopped = nb_stop_feed(&g->stop, &g->sink, text, n); /* at the end: what was incomplete */
    if (stopped < 0)
        return no_memory(err);
    if (stopped > 0) {
        g->end = NB_END_STOP;
        *over = true;
    }
    return NB_OK;
}

enum nb_status nb_generate_stream(nb_generator *generator, struct nb_generation *g,
                                  struct nb_error *err)
{
    double start = nb_cli_seconds();
    enum nb_status status = NB_OK;
    bool over = false;

    g->n = 0;
    g->end = NB_END_TOKENS;
    while (!over && status == NB_OK && (g->max_tokens == 0 || g->n < g->max_tokens)) {
        if (nb_cli_cancelled()) {
            g->end = NB_END_CANCELLED;
            break;
        }
        status = step(generator, g, &over, err);
    }
    if (!nb_stop_flush(&g->stop, &g->sink) && status == NB_OK)
        status = no_memory(err);
    g->seconds = nb_cli_seconds() - start;
    return status;
}

const char *nb_end_name(enum nb_end end)
{
    static const char *const names[] = {"tokens", "end of text", "stop", "context full",
                                        "cancelled"};

    return names[end];
}
