/* text/unicode_class.c: character classes and small letters as the normalizers and pre-tokenizers of
 * Hugging Face tokenizers know them: utf8proc's categories, and unicode_class.inc where the two differ.
 */
#include "text/text_internal.h"

#include <utf8proc.h>

#include <string.h>

#define MASK(category) (1u << UTF8PROC_CATEGORY_##category)
#define PUNCTUATION    (MASK(PC) | MASK(PD) | MASK(PS) | MASK(PE) | MASK(PI) | MASK(PF) | MASK(PO))
#define MARK           (MASK(MN) | MASK(MC) | MASK(ME))
#define CONTROL        (MASK(CC) | MASK(CF) | MASK(CO) | MASK(CS))

struct range {
    uint32_t first, last, to; /* to: of capital letters */
};

#define NB_UC_TOGGLE(set, first, last) {first, last, NB_UC_##set},
#define NB_UC_LOWER(first, last, small)
#define NB_UC_WHOLE(first, last, compat)
static const struct range toggles[] = {
/* by class, then by code point */
#include "text/unicode_class.inc"
};
#undef NB_UC_TOGGLE
#undef NB_UC_LOWER
#define NB_UC_TOGGLE(set, first, last)
#define NB_UC_LOWER(first, last, small) {first, last, small},
static const struct range capitals[] = {
#include "text/unicode_class.inc"
};
#undef NB_UC_LOWER
#undef NB_UC_WHOLE
#define NB_UC_LOWER(first, last, small)
#define NB_UC_WHOLE(first, last, compat) {first, last, compat},
static const struct range wholes[] = {
#include "text/unicode_class.inc"
};
#undef NB_UC_TOGGLE
#undef NB_UC_LOWER
#undef NB_UC_WHOLE

static bool toggled(uint32_t cp, enum nb_uc_class set)
{
    size_t lo = 0, hi = NB_COUNTOF(toggles);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct range *r = &toggles[mid];
        if (r->to < (uint32_t)set || (r->to == (uint32_t)set && r->last < cp))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < NB_COUNTOF(toggles) && toggles[lo].to == (uint32_t)set && toggles[lo].first <= cp;
}

static bool in_ascii(uint32_t cp, enum nb_uc_class set)
{
    if (set == NB_UC_PUNCTUATION)
        return cp > 0x20 && cp < 0x7f && !(cp >= '0' && cp <= '9') &&
               !((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z');
    return set == NB_UC_CONTROL && (cp < 0x20 || cp == 0x7f) && cp != '\t' && cp != '\n' &&
           cp != '\r';
}

bool nb_uc_is(uint32_t cp, enum nb_uc_class set)
{
    static const uint32_t masks[] = {[NB_UC_CONTROL] = CONTROL,
                                     [NB_UC_NONSPACING] = MASK(MN),
                                     [NB_UC_MARK] = MARK,
                                     [NB_UC_PUNCTUATION] = PUNCTUATION};
    if (cp < 0x80)
        return in_ascii(cp, set);
    bool member = (masks[set] >> utf8proc_category((utf8proc_int32_t)cp) & 1u) != 0;
    if (cp == 0xfffd && set == NB_UC_CONTROL)
        member = true;
    return member != toggled(cp, set);
}

bool nb_uc_is_han(uint32_t cp)
{
    return (cp >= 0x4e00 && cp <= 0x9fff) || (cp >= 0x3400 && cp <= 0x4dbf) ||
           (cp >= 0x20000 && cp <= 0x2a6df) || (cp >= 0x2a700 && cp <= 0x2b73f) ||
           (cp >= 0x2b740 && cp <= 0x2b81f) || (cp >= 0x2b920 && cp <= 0x2ceaf) ||
           (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0x2f800 && cp <= 0x2fa1f);
}

size_t nb_uc_lower(uint32_t cp, uint32_t out[2])
{
    out[0] = cp;
    if (cp < 0x80) {
        if (cp >= 'A' && cp <= 'Z')
            out[0] = cp + 32;
        return 1;
    }
    if (cp == 0x130) { /* the only one that becomes two characters */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    for (size_t i = 0; i < NB_COUNTOF(capitals) && cp >= capitals[0].first; i++)
        if (cp >= capitals[i].first && cp <= capitals[i].last)
            out[0] = capitals[i].to + (cp - capitals[i].first);
    return 1;
}

bool nb_uc_is_whole(uint32_t cp, bool compat)
{
    for (size_t i = 0; i < NB_COUNTOF(wholes); i++)
        if (cp >= wholes[i].first && cp <= wholes[i].last)
            return compat || wholes[i].to == 0;
    return false;
}
