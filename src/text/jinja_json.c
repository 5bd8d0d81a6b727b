/* text/jinja_json.c: values of a template to JSON text, as Python's json.dumps writes it with
 * ensure_ascii off, and JSON documents to values.
 */
#include "text/jinja.h"

#include <string.h>

#define MAX_LEVEL 32u

static enum nb_status put(struct nb_jrun *r, struct nb_jbuf *b, const char *text)
{
    return nb_jinja_put(r, b, nb_jinja_string((struct nb_text){text, strlen(text)}));
}

static enum nb_status put_string(struct nb_jrun *r, struct nb_jbuf *b, struct nb_jv s)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    static const char hex[] = "0123456789abcdef";
    size_t done = 0;
    NB_TRY(put(r, b, "\""));
    for (size_t i = 0; i < s.n; i++) {
        const uint8_t c = (uint8_t)s.v.s[i];
        const char *known = c != 0 ? strchr(from, c) : NULL;
        char escape[7] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], '\0'};
        if (known == NULL && c >= 0x20)
            continue;
        if (known != NULL) {
            escape[1] = to[known - from];
            escape[2] = '\0';
        }
        NB_TRY(nb_jinja_put(r, b, nb_jinja_part(s, done, i - done)));
        NB_TRY(put(r, b, escape));
        done = i + 1;
    }
    NB_TRY(nb_jinja_put(r, b, nb_jinja_part(s, done, s.n - done)));
    return put(r, b, "\"");
}

static enum nb_status new_line(struct nb_jrun *r, struct nb_jbuf *b, int64_t indent, unsigned level)
{
    if (indent < 0)
        return NB_OK;
    NB_TRY(put(r, b, "\n"));
    for (int64_t i = 0; i < indent * (int64_t)level; i++)
        NB_TRY(put(r, b, " "));
    return NB_OK;
}

static enum nb_status put_items(struct nb_jrun *r, struct nb_jbuf *b, const struct nb_jv *keys,
                                const struct nb_jv *values, size_t n, int64_t indent,
                                unsigned level)
{
    NB_TRY(put(r, b, keys != NULL ? "{" : "["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            NB_TRY(put(r, b, indent < 0 ? ", " : ","));
        NB_TRY(new_line(r, b, indent, level + 1));
        if (keys != NULL) {
            struct nb_jv key;
            NB_TRY(nb_jinja_to_string(r, keys[i], &key));
            NB_TRY(put_string(r, b, key));
            NB_TRY(put(r, b, ": "));
        }
        NB_TRY(nb_jinja_to_json(r, b, values[i], indent, level + 1));
    }
    if (n > 0)
        NB_TRY(new_line(r, b, indent, level));
    return put(r, b, keys != NULL ? "}" : "]");
}

enum nb_status nb_jinja_to_json(struct nb_jrun *r, struct nb_jbuf *b, struct nb_jv v,
                                int64_t indent, unsigned level)
{
    static const struct nb_jv no_keys[1];
    if (level > MAX_LEVEL || indent > 16)
        NB_FAIL(r->err, NB_ERR_LIMIT, "chat template, line %u: JSON nested too deep", r->line);
    switch (v.kind) {
    case NB_J_NONE:
        return put(r, b, "null");
    case NB_J_BOOL:
        return put(r, b, v.v.i ? "true" : "false");
    case NB_J_INT:
    case NB_J_FLOAT:
        NB_TRY(nb_jinja_to_string(r, v, &v));
        return nb_jinja_put(r, b, v);
    case NB_J_STRING:
        return put_string(r, b, v);
    case NB_J_LIST:
        return put_items(r, b, NULL, v.v.list->items, v.v.list->n, indent, level);
    case NB_J_DICT:
        return put_items(r, b, v.v.dict->n > 0 ? v.v.dict->keys : no_keys, v.v.dict->values,
                         v.v.dict->n, indent, level);
    default:
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: %s cannot be written as JSON",
                r->line, nb_jinja_kind_name(v.kind));
    }
}

/* ---- JSON to values ---- */

static enum nb_status copy_string(struct nb_jrun *r, const char *s, size_t n, struct nb_jv *out)
{
    char *copy;
    NB_TRY(nb_jinja_alloc(r, &copy, n + 1, 1));
    memcpy(copy, s, n);
    *out = nb_jinja_string((struct nb_text){copy, n});
    return NB_OK;
}

static enum nb_status from_array(struct nb_jrun *r, const nb_json *j, unsigned depth,
                                 struct nb_jv *out)
{
    NB_TRY(nb_jinja_new_list(r, out, nb_json_size(j)));
    for (size_t i = 0; i < nb_json_size(j); i++) {
        struct nb_jv item;
        NB_TRY(nb_jinja_from_json(r, nb_json_at(j, i), depth + 1, &item));
        NB_TRY(nb_jinja_push(r, out->v.list, item));
    }
    return NB_OK;
}

static enum nb_status from_object(struct nb_jrun *r, const nb_json *j, unsigned depth,
                                  struct nb_jv *out)
{
    NB_TRY(nb_jinja_new_dict(r, out));
    for (void *it = nb_json_iter(j); it != NULL; it = nb_json_next(j, it)) {
        struct nb_jv key, value;
        size_t n;
        const char *s = nb_json_key(it, &n);
        NB_TRY(copy_string(r, s, n, &key));
        NB_TRY(nb_jinja_from_json(r, nb_json_value(it), depth + 1, &value));
        NB_TRY(nb_jinja_dict_put(r, out->v.dict, key, value));
    }
    return NB_OK;
}

enum nb_status nb_jinja_from_json(struct nb_jrun *r, const nb_json *j, unsigned depth,
                                  struct nb_jv *out)
{
    size_t n = 0;
    bool b = false;
    if (depth > MAX_LEVEL)
        NB_FAIL(r->err, NB_ERR_LIMIT, "chat template: a variable is nested too deep");
    *out = (struct nb_jv){.kind = NB_J_NONE};
    switch (nb_json_type(j)) {
    case NB_JSON_BOOL:
        (void)nb_json_bool(j, &b);
        *out = nb_jinja_bool(b);
        return NB_OK;
    case NB_JSON_INT:
        out->kind = NB_J_INT;
        (void)nb_json_int(j, &out->v.i);
        return NB_OK;
    case NB_JSON_REAL:
        out->kind = NB_J_FLOAT;
        (void)nb_json_real(j, &out->v.f);
        return NB_OK;
    case NB_JSON_STRING: {
        const char *s = nb_json_string(j, &n);
        return copy_string(r, s, n, out);
    }
    case NB_JSON_ARRAY:
        return from_array(r, j, depth, out);
    case NB_JSON_OBJECT:
        return from_object(r, j, depth, out);
    default:
        return NB_OK;
    }
}
