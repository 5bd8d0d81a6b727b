/* text/unicode.c: normal forms C, D, KC and KD and character classes, through utf8proc.
 *
 * The forms follow UAX #15: decompose, order combining marks, compose. Ordering is ours, because a run of
 * marks from a hostile text must not cost its length squared. Ids have to equal those of Hugging Face
 * tokenizers, whose Unicode tables have another age: unicode_gap.inc lists the code points concerned.
 */
#include "text/text_internal.h"

#include <utf8proc.h>

#include <string.h>

#define NB_UC_OPAQUE(first, last)
const struct nb_uc_gap nb_uc_gaps[] = {
#define NB_UC_GAP(first, last, category) {first, last, category},
#include "text/unicode_gap.inc"
#undef NB_UC_GAP
    {0, 0, ""}};
#undef NB_UC_OPAQUE

#define NB_UC_GAP(first, last, category)
static const struct {
    uint32_t first, last;
} opaque[] = {
#define NB_UC_OPAQUE(first, last) {first, last},
#include "text/unicode_gap.inc"
#undef NB_UC_OPAQUE
};
#undef NB_UC_GAP

bool nb_uc_in_gap(uint32_t cp)
{
    if (cp < 0x0897) /* nearly all text ends here */
        return false;
    size_t lo = 0, hi = NB_COUNTOF(nb_uc_gaps) - 1;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (nb_uc_gaps[mid].last < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < NB_COUNTOF(nb_uc_gaps) - 1 && nb_uc_gaps[lo].first <= cp;
}

static bool is_opaque(uint32_t cp)
{
    if (cp < opaque[0].first)
        return false;
    size_t lo = 0, hi = NB_COUNTOF(opaque);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (opaque[mid].last < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < NB_COUNTOF(opaque) && opaque[lo].first <= cp;
}

bool nb_uc_is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0d) || cp == 0x20 || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
}

bool nb_uc_is_word(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) /* L*, M*, Nd, Nl */
        return true;
    return c == UTF8PROC_CATEGORY_PC || cp == 0x200c || cp == 0x200d || /* joiners */
           (cp >= 0x24b6 && cp <= 0x24e9) ||                            /* letters in circles… */
           (cp >= 0x1f130 && cp <= 0x1f149) || (cp >= 0x1f150 && cp <= 0x1f169) ||
           (cp >= 0x1f170 && cp <= 0x1f189);
}

/* ---- normal forms ---- */
static unsigned mark_class(utf8proc_int32_t cp)
{
    return cp < 0x300 || is_opaque((uint32_t)cp)
               ? 0u
               : (unsigned)utf8proc_get_property(cp)->combining_class;
}

/* Stable order by combining class of a run of marks; tmp has room for the run. */
static void order_run(utf8proc_int32_t *run, utf8proc_int32_t *tmp, size_t n)
{
    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            utf8proc_int32_t cp = run[i];
            unsigned c = mark_class(cp);
            size_t k = i;
            for (; k > 0 && mark_class(run[k - 1]) > c; k--)
                run[k] = run[k - 1];
            run[k] = cp;
        }
        return;
    }
    size_t count[257] = {0}; /* counting sort: 2 KiB of stack */
    for (size_t i = 0; i < n; i++)
        count[mark_class(run[i]) + 1]++;
    for (size_t c = 1; c < 257; c++)
        count[c] += count[c - 1];
    for (size_t i = 0; i < n; i++)
        tmp[count[mark_class(run[i])]++] = run[i];
    memcpy(run, tmp, n * sizeof(*run));
}

static void order_marks(utf8proc_int32_t *cps, utf8proc_int32_t *tmp, size_t n)
{
    size_t i = 0;
    while (i < n) {
        if (mark_class(cps[i]) == 0) {
            i++;
            continue;
        }
        size_t k = i;
        while (k < n && mark_class(cps[k]) != 0)
            k++;
        order_run(cps + i, tmp, k - i);
        i = k;
    }
}

/* Composes what lies between opaque code points; returns the new length. */
static size_t compose(utf8proc_int32_t *cps, size_t n)
{
    size_t out = 0, i = 0;
    while (i < n) {
        if (is_opaque((uint32_t)cps[i])) {
            cps[out++] = cps[i++];
            continue;
        }
        size_t k = i;
        while (k < n && !is_opaque((uint32_t)cps[k]))
            k++;
        utf8proc_ssize_t len =
            utf8proc_normalize_utf32(cps + i, (utf8proc_ssize_t)(k - i),
                                     (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        len = len < 0 ? (utf8proc_ssize_t)(k - i) : len;
        memmove(cps + out, cps + i, (size_t)len * sizeof(*cps));
        out += (size_t)len;
        i = k;
    }
    return out;
}

/* Decomposition of the whole text; with cps == NULL only counts. */
static size_t decompose(utf8proc_int32_t *cps, struct nb_text s, bool compat)
{
    const int how = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
    size_t out = 0, len;
    utf8proc_int32_t buf[32]; /* at most 18 in Unicode, 4 without compatibility */
    for (size_t i = 0; i < s.n; i += len) {
        utf8proc_int32_t cp = (utf8proc_int32_t)nb_utf8_take(s.s + i, s.n - i, &len);
        utf8proc_ssize_t k = 1;
        int boundary = 0;
        buf[0] = cp;
        if (cp >= 0xa0 && !is_opaque((uint32_t)cp) && !nb_uc_is_whole((uint32_t)cp, compat)) {
            k = utf8proc_decompose_char(cp, buf, (utf8proc_ssize_t)NB_COUNTOF(buf),
                                        (utf8proc_option_t)how, &boundary);
            if (k < 1 || k > (utf8proc_ssize_t)NB_COUNTOF(buf)) { /* unassigned: itself */
                k = 1;
                buf[0] = cp;
            }
        }
        if (cps != NULL)
            memcpy(cps + out, buf, (size_t)k * sizeof(*cps));
        out += (size_t)k;
    }
    return out;
}

/* A text of bytes below this is its own normal form: U+0300 for C, U+00C0 for D, U+0080 for K. */
static unsigned plain_below(unsigned form)
{
    return form & NB_UC_COMPAT ? 0x80u : form & NB_UC_COMPOSE ? 0xccu : 0xc3u;
}

enum nb_status nb_uc_normal(struct nb_text *out, struct nb_text s, unsigned form,
                            struct nb_arena *arena, struct nb_error *err)
{
    const unsigned low = plain_below(form);
    const bool compat = (form & NB_UC_COMPAT) != 0;
    size_t plain = 0;
    *out = s;
    while (plain < s.n && (uint8_t)s.s[plain] < low)
        plain++;
    if (plain == s.n)
        return NB_OK;
    size_t n = decompose(NULL, s, compat);
    utf8proc_int32_t *cps = nb_arena_alloc(arena, n, 2 * sizeof(*cps));
    char *text = nb_arena_alloc(arena, n, 4);
    if (cps == NULL || text == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "normal form of %zu bytes: out of memory", s.n);
    decompose(cps, s, compat);
    order_marks(cps, cps + n, n);
    if (form & NB_UC_COMPOSE)
        n = compose(cps, n);
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += nb_utf8_put(text + at, (uint32_t)cps[i]);
    *out = (struct nb_text){text, at};
    return NB_OK;
}
