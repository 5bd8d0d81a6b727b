/* text/families.c: the pre-tokenizers that have a name in GGUF, and finding the name of a pipeline.
 *
 * GGUF stores no pattern, only the name of one. A tokenizer.json with another pattern runs as it is;
 * it just has no name to be written under.
 */
#include "text/text_internal.h"

#include <string.h>

#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"
#define GPT2_SHORT   CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define LLAMA3_LIKE(number)                                                                        \
    "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" number                                  \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3 LLAMA3_LIKE("\\p{N}{1,3}")
#define QWEN2  LLAMA3_LIKE("\\p{N}")
#define QWEN35                                                                                     \
    "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"                           \
    "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail, number)                                                                        \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER    \
    "*" tail "|" number "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TEKKEN CASED("", "\\p{N}")
#define O200K  CASED("(?i:" CONTRACTIONS ")?", "\\p{N}{1,3}")
#define BAILING                                                                                    \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*"  \
    "|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define SEED                                                                                       \
    "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+"    \
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define BLOOM    " ?[^(\\s|[.,!?…。，、।۔،])]+"
#define NEWLINE  "[\\r\\n]"
#define LETTERS  "\\s?\\p{L}+"
#define MARKS    "\\s?\\p{P}+"
#define HAN      "[一-龥ࠀ-一가-퟿]+"
#define HAN_KANA "[一-龥぀-ゟ゠-ヿ]+"
#define DEEPSEEK3                                                                                  \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"                                        \
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+"        \
    "|\\s+(?!\\S)|\\s+"
/* clang-format off */
#define LATIN \
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-Ჺ" \
    "Ჽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\xe1\xbd\xbdᾀ-ᾴᾶ-ᾼ\xe1\xbe\xbeῂ-ῄῆ-ῌῐ-\xe1\xbf\x93ῖ" \
    "-\xe1\xbf\x9bῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\xe2\x84\xa6ℨ\xe2\x84\xaa-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎ" \
    "ↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
/* clang-format on */
#define WIDE_MARKS "\\s?[!-/:-~！-／：-～‘-‟　-。]+"
#define TAIL       "\\s+$"
#define DIGIT_3    "\\p{N}{1,3}"
#define FALCON     "falcon" /* no row of splits: falcon_pipeline */
#define GROUPS_3   "\\d{1,3}(?=(?:\\d{3})*\\b)"
#define DIGIT      "\\p{N}"
#define DIGITS     "\\p{N}+"
#define DIGITS_3   "[0-9][0-9][0-9]"
#define DEFAULT_1  "[\\p{P}\\$\\+<=>\\^~\\|]+"

const char nb_gpt2_pattern[] = GPT2_SHORT "|\\s+";

static const struct nb_family families[] = {
#define NB_PRETOKENIZER(name, byte_regex, nfc, ignore_merges, add_bos, ...)                        \
    {name, {__VA_ARGS__}, byte_regex, nfc, ignore_merges, add_bos},
#define NB_PRETOKENIZER_ALIAS(other, name)
#include "text/pretokenizers.inc"
#undef NB_PRETOKENIZER
#undef NB_PRETOKENIZER_ALIAS
};

static const struct {
    const char *other, *name;
} aliases[] = {
#define NB_PRETOKENIZER(...)
#define NB_PRETOKENIZER_ALIAS(other, name) {other, name},
#include "text/pretokenizers.inc"
#undef NB_PRETOKENIZER
#undef NB_PRETOKENIZER_ALIAS
};

const struct nb_family *nb_family_find(const char *name)
{
    if (name == NULL)
        return NULL;
    for (size_t i = 0; i < NB_COUNTOF(aliases); i++)
        if (nb_str_eq(name, aliases[i].other))
            name = aliases[i].name;
    for (size_t i = 0; i < NB_COUNTOF(families); i++)
        if (nb_str_eq(name, families[i].name))
            return &families[i];
    return NULL;
}

bool nb_pretokenizer_known(const char *pre)
{
    return nb_family_find(pre) != NULL;
}

/* Its last steps cut the letters of the byte level: of text beyond ASCII too, where a byte's letter is a
 * digit ("²"). */
static void falcon_pipeline(struct nb_pipeline *p)
{
    p->pre[0] = (struct nb_pre_step){.kind = NB_PRE_PUNCTUATION, .behavior = NB_SPLIT_CONTIGUOUS};
    p->pre[1] = (struct nb_pre_step){.kind = NB_PRE_BYTE_LEVEL, .use_regex = true};
    p->pre[2] = (struct nb_pre_step){.kind = NB_PRE_DIGITS, .behavior = NB_SPLIT_CONTIGUOUS};
    p->pre[3] = (struct nb_pre_step){.kind = NB_PRE_SPLIT, .pattern = NB_TEXT_LIT(DIGITS_3)};
    p->n_pre = 4;
    p->byte_letters = true;
    p->decoder = (struct nb_decoder){.kind = NB_DECODER_BYTE_LEVEL};
}

void nb_family_pipeline(const struct nb_family *f, struct nb_pipeline *p)
{
    p->n_norm = p->n_pre = 0;
    if (nb_str_eq(f->name, FALCON)) {
        falcon_pipeline(p);
        return;
    }
    if (f->nfc)
        p->norm[p->n_norm++] = (struct nb_norm_step){.kind = NB_NORM_NFC};
    for (size_t i = 0; i < NB_COUNTOF(f->splits) && f->splits[i] != NULL; i++)
        p->pre[p->n_pre++] = (struct nb_pre_step){.kind = NB_PRE_SPLIT,
                                                  .pattern = {f->splits[i], strlen(f->splits[i])}};
    p->pre[p->n_pre++] =
        (struct nb_pre_step){.kind = NB_PRE_BYTE_LEVEL, .use_regex = f->byte_level_regex};
    p->decoder = (struct nb_decoder){.kind = NB_DECODER_BYTE_LEVEL};
}

/* A carriage return and a line feed may stand for themselves. */
static bool same_pattern(struct nb_text p, const char *pattern)
{
    size_t k = 0;
    for (size_t i = 0; i < p.n; i++) {
        const char c = p.s[i];
        if (c == '\r' || c == '\n') {
            if (pattern[k] != '\\' || pattern[k + 1] != (c == '\r' ? 'r' : 'n'))
                return false;
            k += 2;
        } else if (pattern[k++] != c || c == '\0') {
            return false;
        }
    }
    return pattern[k] == '\0';
}

/* A step that is Split(pattern, isolated), however it is written. */
static bool is_split(const struct nb_pre_step *s, const char *pattern)
{
    if (s->behavior != NB_SPLIT_ISOLATED || s->invert || s->literal)
        return false;
    if (s->kind == NB_PRE_DIGITS)
        return nb_str_eq(pattern, DIGIT);
    return s->kind == NB_PRE_SPLIT && same_pattern(s->pattern, pattern);
}

/* How Falcon's tokenizer.json spells it: punctuation, byte level, runs of digits, three digits. */
static bool is_falcon(const struct nb_pipeline *p)
{
    const struct nb_pre_step *s = p->pre;
    return p->n_pre == 4 && s[0].kind == NB_PRE_PUNCTUATION &&
           s[0].behavior == NB_SPLIT_CONTIGUOUS && s[1].kind == NB_PRE_BYTE_LEVEL &&
           s[1].use_regex && s[1].prepend == NB_PREPEND_NEVER && s[2].kind == NB_PRE_DIGITS &&
           s[2].behavior == NB_SPLIT_CONTIGUOUS && is_split(&s[3], DIGITS_3);
}

static bool is_family(const struct nb_pipeline *p, const struct nb_family *f)
{
    size_t k = 0, n = p->n_pre;
    if (nb_str_eq(f->name, FALCON))
        return is_falcon(p);
    if (n == 0 || p->pre[n - 1].kind != NB_PRE_BYTE_LEVEL ||
        p->pre[n - 1].prepend != NB_PREPEND_NEVER)
        return false;
    bool cuts = p->pre[n - 1].use_regex;
    if (!cuts && f->byte_level_regex && n >= 2 && is_split(&p->pre[n - 2], nb_gpt2_pattern)) {
        cuts = true; /* GPT-2's pattern as a step of its own */
        n--;
    }
    for (; k < NB_COUNTOF(f->splits) && f->splits[k] != NULL; k++)
        if (k + 1 >= n || !is_split(&p->pre[k], f->splits[k]))
            return false;
    return k + 1 == n && cuts == f->byte_level_regex;
}

const char *nb_family_name(const struct nb_pipeline *p, bool ignore_merges)
{
    const char *name = NULL;
    for (size_t i = 0; i < p->n_norm; i++)
        if (p->norm[i].kind !=
            NB_NORM_NFC) /* NFC may be absent or there: most text is NFC already */
            return NULL;
    for (size_t i = 0; i < NB_COUNTOF(families); i++) {
        if (!is_family(p, &families[i]))
            continue;
        if (families[i].ignore_merges == ignore_merges)
            return families[i].name;
        if (name == NULL)
            name = families[i].name;
    }
    return name;
}
