/* text/json_part.c: parts of the pipeline of a tokenizer.json: an object with a type, or a Sequence of
 * them. What is not in the reader's table is refused by name: text must not come out as other ids than
 * the model was trained on.
 */
#include "text/json_internal.h"

#include <string.h>

enum nb_status nb_part_wrong(struct nb_part *p, const char *key, const char *expected)
{
    NB_FAIL(p->err, NB_ERR_FORMAT, "tokenizer.json: %s.%s: expected %s", p->what, key, expected);
}

enum nb_status nb_part_unsupported(struct nb_part *p, const char *key, const nb_json *v)
{
    char name[60];
    size_t n = 0;
    const char *s = nb_json_string(v, &n);
    NB_FAIL(p->err, NB_ERR_UNSUPPORTED, "tokenizer.json: %s.%s '%s' is not supported", p->what, key,
            nb_printable(name, sizeof(name), s == NULL ? "?" : s, s == NULL ? 1 : n));
}

enum nb_status nb_part_text(struct nb_part *p, struct nb_text *out, const nb_json *v,
                            const char *key)
{
    return nb_json_copy_text(p->tok, out, nb_json_get(v, key), key, p->err);
}

enum nb_status nb_part_flag(struct nb_part *p, bool *out, const nb_json *v, const char *key,
                            bool absent)
{
    const nb_json *item = nb_json_get(v, key);
    *out = absent;
    return nb_json_absent(item) || nb_json_bool(item, out) ? NB_OK
                                                           : nb_part_wrong(p, key, "true or false");
}

enum nb_status nb_part_pattern(struct nb_part *p, struct nb_text *out, bool *literal,
                               const nb_json *v)
{
    const nb_json *pattern = nb_json_get(v, "pattern");
    *literal = nb_json_string(nb_json_get(pattern, "String"), NULL) != NULL;
    NB_TRY(nb_part_text(p, out, pattern, *literal ? "String" : "Regex"));
    return out->n == 0 ? nb_part_wrong(p, "pattern", "a pattern that is not empty") : NB_OK;
}

static enum nb_status read_part(struct nb_part *p, const nb_json *v,
                                const struct nb_part_type *types, size_t n_types, const char *list,
                                int depth)
{
    const nb_json *type = nb_json_get(v, "type");
    const char *name = nb_json_string(type, NULL);
    if (nb_json_absent(v))
        return NB_OK;
    if (name == NULL)
        return nb_part_wrong(p, "type", "a string");
    if (nb_str_eq(name, "Sequence")) {
        const nb_json *items = nb_json_get(v, list);
        if (nb_json_type(items) != NB_JSON_ARRAY || depth > 4)
            return nb_part_wrong(p, list, "an array, nested at most four times");
        for (size_t i = 0; i < nb_json_size(items); i++)
            NB_TRY(read_part(p, nb_json_at(items, i), types, n_types, list, depth + 1));
        return NB_OK;
    }
    for (size_t i = 0; i < n_types; i++)
        if (nb_str_eq(name, types[i].name))
            return types[i].read(p, v);
    return nb_part_unsupported(p, "type", type);
}

enum nb_status nb_part_read(struct nb_part *p, const nb_json *v, const struct nb_part_type *types,
                            size_t n_types, const char *list)
{
    return read_part(p, v, types, n_types, list, 0);
}

/* Also of the Metaspace decoder. Older files say add_prefix_space instead of prepend_scheme. */
enum nb_status nb_part_metaspace(struct nb_part *p, enum nb_prepend *out, struct nb_text *mark,
                                 const nb_json *v)
{
    const nb_json *scheme = nb_json_get(v, "prepend_scheme");
    const char *name = nb_json_string(scheme, NULL);
    bool prefix;
    size_t len;
    NB_TRY(nb_part_text(p, mark, v, "replacement"));
    if (mark->n == 0 || (nb_utf8_take(mark->s, mark->n, &len), len != mark->n))
        return nb_part_wrong(p, "replacement", "one character");
    NB_TRY(nb_part_flag(p, &prefix, v, "add_prefix_space", true));
    *out = prefix ? NB_PREPEND_ALWAYS : NB_PREPEND_NEVER;
    if (nb_json_absent(scheme))
        return NB_OK;
    if (nb_str_eq(name, "always"))
        *out = NB_PREPEND_ALWAYS;
    else if (nb_str_eq(name, "first"))
        *out = NB_PREPEND_FIRST;
    else if (nb_str_eq(name, "never"))
        *out = NB_PREPEND_NEVER;
    else
        return nb_part_unsupported(p, "prepend_scheme", scheme);
    return NB_OK;
}
