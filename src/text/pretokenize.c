/* text/pretokenize.c: cutting normalized text into the words that the model works on.
 *
 * Each step may change the text (a space in front, visible spaces) and cuts what the step before left.
 * Split behaviours as in Hugging Face tokenizers: isolated, removed, merged with previous or next,
 * contiguous; inverted if asked.
 */
#include "text/text_internal.h"

#include <string.h>

struct piece {
    size_t start, end;
    bool match;
};

/* Owns: v. Pieces of one span, for the behaviours that look at neighbours. */
struct pieces {
    const struct nb_allocator *a;
    struct piece *v;
    size_t n, cap;
};

static bool add_piece(struct pieces *p, size_t start, size_t end, bool match)
{
    if (p->n == p->cap && !nb_grow(p->a, &p->v, &p->cap, p->n, sizeof(*p->v)))
        return false;
    p->v[p->n++] = (struct piece){start, end, match};
    return true;
}

/* Steps that cut by a class: each of its characters is a match. */
static bool in_class(const struct nb_pre_step *step, uint32_t cp)
{
    return step->kind == NB_PRE_WHITESPACE ? nb_uc_is_space(cp) : nb_uc_is(cp, NB_UC_PUNCTUATION);
}

static bool by_class(const struct nb_pre_step *step)
{
    return step->kind == NB_PRE_WHITESPACE || step->kind == NB_PRE_PUNCTUATION;
}

static enum nb_status find(struct nb_encoder *e, const struct nb_pre_step *step, struct nb_text s,
                           size_t at, struct nb_regex_match *m)
{
    size_t len;
    if (!by_class(step))
        return nb_regex_find(step->re, e->run, s, at, e->gap, m, e->err);
    m->found = false;
    for (; at < s.n && !m->found; at += len)
        if (in_class(step, nb_utf8_take(s.s + at, s.n - at, &len)))
            *m = (struct nb_regex_match){at, at + len, true};
    return NB_OK;
}

/* The next piece of s at *at: what lies before a match, or the match itself, which then waits in *m. */
static enum nb_status next_piece(struct nb_encoder *e, const struct nb_pre_step *step,
                                 struct nb_text s, size_t *at, struct nb_regex_match *m,
                                 struct piece *out)
{
    if (!m->found || m->end < *at) { /* nothing waits: look on */
        NB_TRY(find(e, step, s, *at, m));
        while (m->found && m->end == m->start &&
               m->start < s.n) { /* empty: cuts, but is no piece */
            size_t len;
            if (m->start > *at)
                break;
            (void)nb_utf8_take(s.s + m->start, s.n - m->start, &len);
            NB_TRY(find(e, step, s, m->start + len, m));
        }
        if (!m->found)
            *m = (struct nb_regex_match){s.n, s.n, true};
    }
    *out =
        m->start > *at ? (struct piece){*at, m->start, false} : (struct piece){*at, m->end, true};
    *at = out->end;
    if (out->match || m->start == m->end)
        m->found = false;
    return NB_OK;
}

/* Bytes as letters of the byte level's alphabet, or back. */
static enum nb_status to_letters(struct nb_encoder *e, struct nb_text *s)
{
    size_t bytes, n = 0;
    char *text = NULL;
    if (nb_mul_size(&bytes, s->n, 2) && nb_add_size(&bytes, bytes, 4))
        text = nb_arena_alloc(&e->arena, bytes, 1);
    if (text == NULL)
        NB_FAIL(e->err, NB_ERR_NOMEM, "cutting %zu bytes: out of memory", s->n);
    for (size_t i = 0; i < s->n; i++)
        n += nb_utf8_put(text + n, nb_byte_to_char((uint8_t)s->s[i]));
    *s = (struct nb_text){text, n};
    return NB_OK;
}

static enum nb_status from_letters(struct nb_encoder *e, struct nb_text *s)
{
    size_t n = 0;
    char *text = nb_arena_alloc(&e->arena, s->n, 1);
    if (text == NULL)
        NB_FAIL(e->err, NB_ERR_NOMEM, "cutting %zu bytes: out of memory", s->n);
    (void)nb_byte_level_decode(text, &n, s->s, s->n);
    *s = (struct nb_text){text, n};
    return NB_OK;
}

static enum nb_status hand_on(struct nb_encoder *e, size_t step, struct nb_text s, struct piece p,
                              bool at_start)
{
    if (p.end == p.start)
        return NB_OK;
    struct nb_text part = {s.s + p.start, p.end - p.start};
    if (e->tok->pipe.byte_letters && e->tok->pipe.pre[step].kind == NB_PRE_BYTE_LEVEL)
        NB_TRY(to_letters(e, &part));
    return nb_pretokenize(e, step + 1, part, at_start && p.start == 0);
}

/* Joins neighbours as the behaviour wants; a joined piece keeps `match` of its first. */
static size_t join(struct piece *v, size_t n, enum nb_split_behavior behavior)
{
    size_t out = 0;
    bool previous = false;
    if (behavior == NB_SPLIT_MERGED_NEXT) { /* from the back, as its mirror image */
        size_t low = n;
        for (size_t i = n; i-- > 0;) {
            bool match = v[i].match;
            if (match && !previous && low < n)
                v[low].start = v[i].start;
            else
                v[--low] = v[i];
            previous = match;
        }
        memmove(v, v + low, (n - low) * sizeof(*v));
        return n - low;
    }
    for (size_t i = 0; i < n; i++) {
        bool match = v[i].match;
        bool joins = behavior == NB_SPLIT_CONTIGUOUS ? match == previous : match && !previous;
        if (joins && out > 0)
            v[out - 1].end = v[i].end;
        else
            v[out++] = v[i];
        previous = match;
    }
    return out;
}

static enum nb_status split(struct nb_encoder *e, size_t index, struct nb_text s, bool at_start)
{
    const struct nb_pre_step *step = &e->tok->pipe.pre[index];
    struct nb_regex_match m = {0, 0, false};
    struct piece p;
    size_t at = 0;
    if (step->behavior == NB_SPLIT_ISOLATED || step->behavior == NB_SPLIT_REMOVED) {
        while (at < s.n) {
            NB_TRY(next_piece(e, step, s, &at, &m, &p));
            if (step->behavior == NB_SPLIT_ISOLATED || p.match == step->invert)
                NB_TRY(hand_on(e, index, s, p, at_start));
        }
        return NB_OK;
    }
    struct pieces all = {.a = e->tok->a};
    enum nb_status st = NB_OK;
    bool text_before = false;
    while (at < s.n) {
        NB_TRY_TO(done, next_piece(e, step, s, &at, &m, &p));
        bool ok = true;
        if (text_before && !p.match) /* an empty match keeps them apart */
            ok = add_piece(&all, p.start, p.start, !step->invert);
        text_before = !p.match;
        if (!ok || !add_piece(&all, p.start, p.end, p.match != step->invert)) {
            st = NB_ERROR(e->err, NB_ERR_NOMEM, "cutting %zu bytes: out of memory", s.n);
            goto done;
        }
    }
    all.n = join(all.v, all.n, step->behavior);
    for (size_t i = 0; i < all.n; i++)
        NB_TRY_TO(done, hand_on(e, index, s, all.v[i], at_start));
done:
    nb_free(all.a, all.v);
    return st;
}

/* Spaces become the mark, and one is put in front if the scheme says so and none is there. */
static enum nb_status mark_spaces(struct nb_encoder *e, const struct nb_pre_step *step,
                                  struct nb_text *s, bool at_start)
{
    struct nb_norm_step replace = {
        .kind = NB_NORM_REPLACE, .pattern = NB_TEXT_LIT(" "), .content = step->replacement};
    struct nb_norm_step prepend = {.kind = NB_NORM_PREPEND, .content = step->replacement};
    NB_TRY(nb_normalize_step(&replace, s, *s, &e->arena, NULL, e->err));
    bool marked =
        s->n >= step->replacement.n && memcmp(s->s, step->replacement.s, step->replacement.n) == 0;
    if (marked || step->prepend == NB_PREPEND_NEVER ||
        (step->prepend == NB_PREPEND_FIRST && !at_start))
        return NB_OK;
    return nb_normalize_step(&prepend, s, *s, &e->arena, NULL, e->err);
}

enum nb_status nb_pretokenize(struct nb_encoder *e, size_t index, struct nb_text s, bool at_start)
{
    const struct nb_pipeline *pipe = &e->tok->pipe;
    if (s.n == 0)
        return NB_OK;
    if (index >= pipe->n_pre) {
        if (pipe->byte_letters)
            NB_TRY(from_letters(e, &s));
        return nb_words_text(e, s);
    }
    const struct nb_pre_step *step = &pipe->pre[index];
    if (step->kind == NB_PRE_METASPACE) {
        NB_TRY(mark_spaces(e, step, &s, at_start));
    } else if (step->kind == NB_PRE_BYTE_LEVEL && step->prepend != NB_PREPEND_NEVER &&
               s.s[0] != ' ') {
        struct nb_norm_step prepend = {.kind = NB_NORM_PREPEND, .content = NB_TEXT_LIT(" ")};
        NB_TRY(nb_normalize_step(&prepend, &s, s, &e->arena, NULL, e->err));
    }
    if (step->re == NULL && !by_class(step)) /* in one piece */
        return hand_on(e, index, s, (struct piece){0, s.n, false}, at_start);
    return split(e, index, s, at_start);
}
