/* text/added.c: finding added tokens ("<|im_end|>") in text.
 *
 * At each position the longest token wins; matches do not overlap. The tokens are sorted by bytes, and
 * a match narrows the range of candidates byte by byte: no automaton to build, and the length limit
 * bounds the work. lstrip, rstrip and single_word as in Hugging Face tokenizers.
 */
#include "text/chat.h"
#include "text/text_internal.h"

#include <string.h>

void nb_added_init(struct nb_added_set *s, const struct nb_allocator *a)
{
    *s = (struct nb_added_set){.a = a};
}

void nb_added_fini(struct nb_added_set *s)
{
    nb_free(s->a, s->items);
    *s = (struct nb_added_set){.a = s->a};
}

enum nb_status nb_added_put(struct nb_added_set *s, struct nb_text text, int32_t id,
                            struct nb_error *err)
{
    char name[80];
    if (text.n == 0)
        return NB_OK; /* would match everywhere */
    if (text.n > NB_TEXT_MAX_ADDED_BYTES)
        NB_FAIL(err, NB_ERR_LIMIT, "added token %d, '%s', has %zu bytes, at most %u are supported",
                id, nb_printable(name, sizeof(name), text.s, text.n), text.n,
                NB_TEXT_MAX_ADDED_BYTES);
    if (s->n == s->cap && !nb_grow(s->a, &s->items, &s->cap, s->n, sizeof(*s->items)))
        NB_FAIL(err, NB_ERR_NOMEM, "%zu added tokens: out of memory", s->n + 1);
    s->items[s->n++] = (struct nb_added){text, id};
    return NB_OK;
}

static int compare(struct nb_text a, struct nb_text b)
{
    int c = memcmp(a.s, b.s, NB_MIN(a.n, b.n));
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static void merge_halves(struct nb_added *v, struct nb_added *tmp, size_t half, size_t n)
{
    size_t i = 0, k = half, out = 0;
    while (i < half || k < n) {
        bool left = k >= n || (i < half && compare(v[i].text, v[k].text) <= 0);
        tmp[out++] = left ? v[i++] : v[k++];
    }
    memcpy(v, tmp, n * sizeof(*v));
}

enum nb_status nb_added_seal(struct nb_added_set *s, struct nb_error *err)
{
    if (s->n == 0)
        return NB_OK;
    struct nb_added *tmp = nb_alloc(s->a, s->n, sizeof(*tmp));
    if (tmp == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%zu added tokens: out of memory", s->n);
    for (size_t width = 1; width < s->n; width *= 2) /* merge sort, bottom up: stable */
        for (size_t i = 0; i + width < s->n; i += 2 * width)
            merge_halves(s->items + i, tmp, width, NB_MIN(2 * width, s->n - i));
    nb_free(s->a, tmp);
    size_t out = 1; /* two spellings that normalize to one: the first stays */
    for (size_t i = 1; i < s->n; i++)
        if (compare(s->items[i].text, s->items[out - 1].text) != 0)
            s->items[out++] = s->items[i];
    s->n = out;
    size_t at = 0;
    for (unsigned c = 0; c < 256; c++) {
        s->first[c] = (uint32_t)at;
        while (at < s->n && (uint8_t)s->items[at].text.s[0] == c)
            at++;
    }
    s->first[256] = (uint32_t)s->n;
    return NB_OK;
}

/* First index in [lo, hi) whose byte at `depth` is >= byte; all have more than `depth` bytes. */
static size_t lower_bound(const struct nb_added *v, size_t lo, size_t hi, size_t depth,
                          unsigned byte)
{
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if ((uint8_t)v[mid].text.s[depth] < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest token that the n bytes at s begin with. */
static const struct nb_added *longest(const struct nb_added_set *set, const char *s, size_t n)
{
    const struct nb_added *best = NULL;
    size_t lo = set->first[(uint8_t)s[0]], hi = set->first[(uint8_t)s[0] + 1];
    for (size_t depth = 1; lo < hi; depth++) {
        if (set->items[lo].text.n == depth)
            best = &set->items[lo++]; /* the shortest of a range of equal prefixes comes first */
        if (depth >= n)
            break;
        lo = lower_bound(set->items, lo, hi, depth, (uint8_t)s[depth]);
        hi = lower_bound(set->items, lo, hi, depth, (uint8_t)s[depth] + 1u);
    }
    return best;
}

/* Where the character that ends at `at` begins. */
static size_t char_before(struct nb_text t, size_t at)
{
    do
        at--;
    while (at > 0 && ((uint8_t)t.s[at] & 0xc0) == 0x80);
    return at;
}

static bool stands_alone(struct nb_text t, size_t start, size_t end)
{
    size_t len;
    if (start > 0) {
        size_t at = char_before(t, start);
        if (nb_uc_is_word(nb_utf8_take(t.s + at, start - at, &len)))
            return false;
    }
    return end >= t.n || !nb_uc_is_word(nb_utf8_take(t.s + end, t.n - end, &len));
}

static size_t spaces_before(struct nb_text t, size_t at, size_t low)
{
    size_t len;
    while (at > low) {
        size_t before = char_before(t, at);
        if (!nb_uc_is_space(nb_utf8_take(t.s + before, at - before, &len)))
            break;
        at = before;
    }
    return NB_MAX(at, low);
}

static size_t spaces_behind(struct nb_text t, size_t at)
{
    size_t len;
    while (at < t.n && nb_uc_is_space(nb_utf8_take(t.s + at, t.n - at, &len)))
        at += len;
    return at;
}

/* ---- who wrote it ---- */

static bool is_blank(struct nb_text t)
{
    return spaces_behind(t, 0) == t.n;
}

static bool stands_in(struct nb_text t, struct nb_text in)
{
    for (size_t i = 0; i + t.n <= in.n; i++)
        if (in.s[i] == t.s[0] && memcmp(in.s + i, t.s, t.n) == 0)
            return true;
    return false;
}

/* May bytes [at, at + n) of the raw text be that token? A message may not hold special tokens; nor, if
 * it is not the model's own, other added tokens that mark the template's conversations (blank ones
 * aside: they are no marks). */
static bool allowed(const struct nb_encoder *e, const struct nb_added *hit, size_t at)
{
    const uint8_t *from = e->origins->from + at;
    uint8_t worst = 0, any = 0;
    for (size_t i = 0; i < hit->text.n; i++) {
        worst |= from[i] == NB_CHAT_MESSAGE;
        any |= from[i] != NB_CHAT_TEMPLATE;
    }
    if (!any)
        return true;
    if (e->tok->types[hit->id] != NB_TOKEN_USER)
        return false;
    return !worst || is_blank(hit->text) || !stands_in(hit->text, e->origins->marks);
}

size_t nb_added_forbidden(const struct nb_encoder *e, struct nb_text span)
{
    const struct nb_added_set *s = &e->tok->guarded;
    if (e->origins == NULL || s->n == 0)
        return 0;
    for (size_t i = 0; i < span.n; i++) {
        const struct nb_added *hit = longest(s, span.s + i, span.n - i);
        size_t len;
        if (hit == NULL || allowed(e, hit, (size_t)(span.s - e->whole.s) + i))
            continue;
        (void)nb_utf8_take(span.s + i, span.n - i, &len);
        return i + len;
    }
    return 0;
}

enum nb_status nb_added_split(const struct nb_added_set *s, struct nb_encoder *e, struct nb_text t,
                              bool at_start, nb_span_fn fn)
{
    size_t done = 0; /* everything before is out */
    for (size_t i = 0; s->n != 0 && i < t.n;) {
        const struct nb_added *hit = longest(s, t.s + i, t.n - i);
        if (hit == NULL) {
            i++;
            continue;
        }
        size_t start = i, end = i + hit->text.n;
        uint8_t flags = e->tok->flags[hit->id];
        int32_t type = e->tok->types[hit->id];
        i = end;
        if ((type == NB_TOKEN_CONTROL || type == NB_TOKEN_UNKNOWN) && !e->special)
            continue;
        if (s == &e->tok->raw && e->origins != NULL &&
            !allowed(e, hit, (size_t)(t.s - e->whole.s) + start))
            continue;
        if ((flags & NB_TOKEN_SINGLE_WORD) && !stands_alone(t, start, end))
            continue;
        if (flags & NB_TOKEN_LSTRIP)
            start = spaces_before(t, start, done);
        if (flags & NB_TOKEN_RSTRIP)
            end = spaces_behind(t, end);
        if (done < start)
            NB_TRY(fn(e, (struct nb_text){t.s + done, start - done}, at_start && done == 0));
        NB_TRY(nb_ids_push(e->ids, hit->id, e->err));
        done = end;
    }
    if (done < t.n)
        NB_TRY(fn(e, (struct nb_text){t.s + done, t.n - done}, at_start && done == 0));
    return NB_OK;
}
