/* base/json.h: reading JSON through jansson. Writing is nb_str_json and nb_str_printf.
 *
 * Duplicate keys are refused; depth is limited by jansson (2048); numbers are exact int64 or double
 * (an integer that int64 cannot hold is a double).
 */
#ifndef NB_BASE_JSON_H
#define NB_BASE_JSON_H

#include "base/status.h"

typedef struct json_t nb_json; /* a value, borrowed from its document */

enum nb_json_type {
    NB_JSON_NULL,
    NB_JSON_BOOL,
    NB_JSON_INT,
    NB_JSON_REAL,
    NB_JSON_STRING,
    NB_JSON_ARRAY,
    NB_JSON_OBJECT,
    NB_JSON_MISSING /* of a NULL pointer */
};

NB_CHECKED enum nb_status nb_json_parse(nb_json **root, const char *text, size_t n,
                                        const char *what,
                                        struct nb_error *err); /* message: "<what>: line L: ..." */
void nb_json_free(nb_json *root);

enum nb_json_type nb_json_type(const nb_json *v);
/* NULL if absent or no object. */
const nb_json *nb_json_get(const nb_json *object, const char *key);
size_t nb_json_size(const nb_json *v); /* of array or object; else 0 */
const nb_json *nb_json_at(const nb_json *array, size_t i);
const char *nb_json_string(const nb_json *v, size_t *len); /* NULL if no string; len may be NULL */
bool nb_json_int(const nb_json *v, int64_t *out);
bool nb_json_real(const nb_json *v, double *out); /* also of an integer */
bool nb_json_bool(const nb_json *v, bool *out);

/* for (it = nb_json_iter(obj); it != NULL; it = nb_json_next(obj, it)) in file order */
void *nb_json_iter(const nb_json *object);
void *nb_json_next(const nb_json *object, void *it);
const char *nb_json_key(void *it, size_t *len);
const nb_json *nb_json_value(void *it);

#endif
