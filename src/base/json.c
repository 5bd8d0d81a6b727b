/* base/json.c: the one file that knows jansson.
 *
 * jansson refuses integers beyond int64, yet ordinary tokenizer_config.json files hold one (10^30, "no
 * limit"). Such a number is read as a real: nb_json_int refuses it, all others stay exact. jansson
 * allocates with malloc: its hook is one global for the whole process, not ours to set.
 */
#include "base/json.h"

#include <string.h>

#include <jansson.h>

#include "base/str.h"

/* jansson's iterators take a mutable object and do not change it. */
static json_t *mutable(const nb_json *v)
{
    return (json_t *)(uintptr_t)v;
}

static bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* The text with "e0" behind every integer that int64 cannot hold. */
static void widen_integers(struct nb_str *out, const char *text, size_t n)
{
    size_t done = 0;
    for (size_t i = 0; i < n;) {
        if (text[i] == '"') { /* over the string */
            for (i++; i < n && text[i] != '"'; i++)
                i += text[i] == '\\';
            i++;
            continue;
        }
        const size_t begin = i;
        while (i < n && is_number_byte(text[i]))
            i++;
        if (i == begin) {
            i++;
            continue;
        }
        char number[32];
        int64_t v;
        const size_t len = i - begin;
        if (memchr(text + begin, '.', len) != NULL || memchr(text + begin, 'e', len) != NULL ||
            memchr(text + begin, 'E', len) != NULL)
            continue;
        memcpy(number, text + begin, NB_MIN(len, sizeof number - 1));
        number[NB_MIN(len, sizeof number - 1)] = '\0';
        if (len < sizeof number && nb_parse_i64(number, &v))
            continue;
        nb_str_append(out, text + done, i - done);
        nb_str_append(out, "e0", 2);
        done = i;
    }
    nb_str_append(out, text + done, n > done ? n - done : 0);
}

enum nb_status nb_json_parse(nb_json **root, const char *text, size_t n, const char *what,
                             struct nb_error *err)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY;
    json_error_t e;
    json_t *v = json_loadb(n == 0 ? "" : text, n, flags, &e);
    if (v == NULL && json_error_code(&e) == json_error_numeric_overflow) {
        struct nb_str wide;
        nb_str_init(&wide, NULL);
        widen_integers(&wide, text, n);
        if (!wide.failed)
            v = json_loadb(wide.data, wide.len, flags, &e);
        nb_str_fini(&wide);
    }
    if (v != NULL) {
        *root = v;
        return NB_OK;
    }
    if (json_error_code(&e) == json_error_out_of_memory)
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory", what);
    char shown[JSON_ERROR_TEXT_LENGTH];
    nb_printable(shown, sizeof shown, e.text, strlen(e.text));
    const uint64_t at = e.position >= 0 ? (uint64_t)e.position : NB_OFFSET_NONE;
    return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "%s: line %d: %s", what, e.line, shown);
}

void nb_json_free(nb_json *root)
{
    json_decref(root);
}

enum nb_json_type nb_json_type(const nb_json *v)
{
    if (v == NULL)
        return NB_JSON_MISSING;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return NB_JSON_OBJECT;
    case JSON_ARRAY:
        return NB_JSON_ARRAY;
    case JSON_STRING:
        return NB_JSON_STRING;
    case JSON_INTEGER:
        return NB_JSON_INT;
    case JSON_REAL:
        return NB_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return NB_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return NB_JSON_NULL;
}

const nb_json *nb_json_get(const nb_json *object, const char *key)
{
    return json_object_get(object, key);
}

size_t nb_json_size(const nb_json *v)
{
    return json_is_array(v) ? json_array_size(v) : json_is_object(v) ? json_object_size(v) : 0;
}

const nb_json *nb_json_at(const nb_json *array, size_t i)
{
    return json_array_get(array, i);
}

const char *nb_json_string(const nb_json *v, size_t *len)
{
    if (!json_is_string(v))
        return NULL;
    if (len != NULL)
        *len = json_string_length(v);
    return json_string_value(v);
}

bool nb_json_int(const nb_json *v, int64_t *out)
{
    if (!json_is_integer(v))
        return false;
    *out = json_integer_value(v);
    return true;
}

bool nb_json_real(const nb_json *v, double *out)
{
    if (!json_is_number(v))
        return false;
    *out = json_number_value(v);
    return true;
}

bool nb_json_bool(const nb_json *v, bool *out)
{
    if (!json_is_boolean(v))
        return false;
    *out = json_is_true(v);
    return true;
}

void *nb_json_iter(const nb_json *object)
{
    return json_object_iter(mutable(object));
}

void *nb_json_next(const nb_json *object, void *it)
{
    return json_object_iter_next(mutable(object), it);
}

const char *nb_json_key(void *it, size_t *len)
{
    if (len != NULL)
        *len = json_object_iter_key_len(it);
    return json_object_iter_key(it);
}

const nb_json *nb_json_value(void *it)
{
    return json_object_iter_value(it);
}
