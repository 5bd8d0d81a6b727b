/* text/jinja_value.c: what a template computes with: values, strings with their origins, lists, dicts.
 *
 * All memory of a run is taken through nb_jinja_charge, which bounds it. Strings are slices where they
 * can be. Dicts are searched one by one: those of templates are small, and steps are counted.
 */
#include "text/jinja.h"

#include <string.h>

enum nb_status nb_jinja_charge(struct nb_jrun *r, size_t bytes, uint64_t steps)
{
    if (r->max_bytes - r->bytes < bytes)
        NB_FAIL(r->err, NB_ERR_LIMIT, "chat template, line %u: more than %zu bytes of memory",
                r->line, r->max_bytes);
    if (r->max_steps - r->steps < steps)
        NB_FAIL(r->err, NB_ERR_LIMIT, "chat template, line %u: more than %llu steps", r->line,
                (unsigned long long)r->max_steps);
    r->bytes += bytes;
    r->steps += steps;
    return NB_OK;
}

enum nb_status nb_jinja_alloc(struct nb_jrun *r, void *out, size_t n, size_t size)
{
    size_t bytes;
    if (!nb_mul_size(&bytes, n, size))
        bytes = SIZE_MAX;
    NB_TRY(nb_jinja_charge(r, bytes, 1));
    void *p = nb_arena_alloc(&r->arena, n > 0 ? n : 1, size);
    if (p == NULL)
        NB_FAIL(r->err, NB_ERR_NOMEM, "chat template: out of memory");
    memcpy(out, &p, sizeof p);
    return NB_OK;
}

/* ---- strings ---- */

void nb_jbuf_init(struct nb_jbuf *b, const struct nb_allocator *a)
{
    nb_str_init(&b->text, a);
    nb_str_init(&b->from, a);
}

void nb_jbuf_fini(struct nb_jbuf *b)
{
    nb_str_fini(&b->text);
    nb_str_fini(&b->from);
}

enum nb_status nb_jinja_put(struct nb_jrun *r, struct nb_jbuf *b, struct nb_jv s)
{
    static const char none[64];
    NB_TRY(nb_jinja_charge(r, 2 * s.n, 1));
    nb_str_append(&b->text, s.v.s, s.n);
    if (s.from != NULL)
        nb_str_append(&b->from, s.from, s.n);
    for (size_t left = s.from != NULL ? 0 : s.n, n; left > 0; left -= n) {
        n = NB_MIN(left, sizeof none);
        nb_str_append(&b->from, none, n);
    }
    NB_TRY(nb_str_check(&b->text, r->err));
    return nb_str_check(&b->from, r->err);
}

/* What was put, as a string of the run; the buffer is empty again. */
enum nb_status nb_jinja_take(struct nb_jrun *r, struct nb_jbuf *b, struct nb_jv *out)
{
    const size_t n = b->text.len;
    char *s = NULL;
    NB_TRY(nb_jinja_alloc(r, &s, 2 * n + 1, 1));
    *out = (struct nb_jv){.kind = NB_J_STRING, .n = n, .v.s = s};
    if (n > 0) {
        memcpy(s, b->text.data, n);
        memcpy(s + n, b->from.data, n);
        out->from = (const uint8_t *)s + n;
    }
    nb_str_clear(&b->text);
    nb_str_clear(&b->from);
    return NB_OK;
}

struct nb_jv nb_jinja_string(struct nb_text t)
{
    return (struct nb_jv){.kind = NB_J_STRING, .v.s = t.s != NULL ? t.s : "", .n = t.n};
}

struct nb_jv nb_jinja_part(struct nb_jv s, size_t at, size_t n)
{
    s.v.s += at;
    s.n = n;
    s.from = s.from != NULL ? s.from + at : NULL;
    return s;
}

size_t nb_jinja_length(struct nb_jv s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((uint8_t)s.v.s[i] & 0xc0) != 0x80;
    return n;
}

enum nb_status nb_jinja_find(struct nb_jrun *r, struct nb_jv s, struct nb_jv needle, size_t at,
                             size_t *out)
{
    const char *hit;
    *out = s.n;
    NB_TRY(nb_jinja_charge(r, 0, (s.n - at) / 64 + 1));
    for (; s.n - at >= needle.n; at = (size_t)(hit - s.v.s) + 1) {
        hit =
            needle.n == 0 ? s.v.s + at : memchr(s.v.s + at, needle.v.s[0], s.n - at - needle.n + 1);
        if (hit == NULL)
            return NB_OK;
        NB_TRY(nb_jinja_charge(r, 0, needle.n / 64 + 1));
        if (needle.n == 0 || memcmp(hit, needle.v.s, needle.n) == 0) {
            *out = (size_t)(hit - s.v.s);
            return NB_OK;
        }
    }
    return NB_OK;
}

bool nb_jinja_is(struct nb_text t, const char *s)
{
    return t.n == strlen(s) && memcmp(t.s, s, t.n) == 0;
}

/* ---- plain values ---- */

struct nb_jv nb_jinja_bool(bool b)
{
    return (struct nb_jv){.kind = NB_J_BOOL, .v.i = b};
}

struct nb_jv nb_jinja_int(int64_t i)
{
    return (struct nb_jv){.kind = NB_J_INT, .v.i = i};
}

const char *nb_jinja_kind_name(enum nb_jkind kind)
{
    static const char *const names[] = {
        "an undefined value", "none",    "a truth value", "a number",
        "a number",           "a text",  "a list",        "a dict",
        "a namespace",        "a macro", "a function"};
    return names[kind];
}

bool nb_jinja_truth(const struct nb_jv *v)
{
    switch (v->kind) {
    case NB_J_UNDEFINED:
    case NB_J_NONE:
        return false;
    case NB_J_BOOL:
    case NB_J_INT:
        return v->v.i != 0;
    case NB_J_FLOAT:
        return v->v.f != 0;
    case NB_J_STRING:
        return v->n != 0;
    case NB_J_LIST:
        return v->v.list->n != 0;
    case NB_J_DICT:
        return v->v.dict->n != 0;
    default:
        return true;
    }
}

static bool is_number(const struct nb_jv *v)
{
    return v->kind == NB_J_BOOL || v->kind == NB_J_INT || v->kind == NB_J_FLOAT;
}

static double number(const struct nb_jv *v)
{
    return v->kind == NB_J_FLOAT ? v->v.f : (double)v->v.i;
}

static enum nb_status equal_dicts(struct nb_jrun *r, const struct nb_jdict *a,
                                  const struct nb_jdict *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        const struct nb_jv *other;
        NB_TRY(nb_jinja_dict_find(r, b, &a->keys[i], &other));
        *out = other != NULL;
        if (*out)
            NB_TRY(nb_jinja_equal(r, &a->values[i], other, out));
    }
    return NB_OK;
}

enum nb_status nb_jinja_equal(struct nb_jrun *r, const struct nb_jv *a, const struct nb_jv *b,
                              bool *out)
{
    NB_TRY(nb_jinja_charge(r, 0, 1));
    *out = false;
    if (is_number(a) && is_number(b)) {
        *out = a->kind == NB_J_FLOAT || b->kind == NB_J_FLOAT ? number(a) == number(b)
                                                              : a->v.i == b->v.i;
        return NB_OK;
    }
    if (a->kind != b->kind)
        return NB_OK;
    switch (a->kind) {
    case NB_J_STRING:
        NB_TRY(nb_jinja_charge(r, 0, a->n / 64));
        *out = a->n == b->n && (a->n == 0 || memcmp(a->v.s, b->v.s, a->n) == 0);
        return NB_OK;
    case NB_J_LIST:
        *out = a->v.list->n == b->v.list->n;
        for (size_t i = 0; i < a->v.list->n && *out; i++) /* no list can hold itself */
            NB_TRY(nb_jinja_equal(r, &a->v.list->items[i], &b->v.list->items[i], out));
        return NB_OK;
    case NB_J_DICT:
        return equal_dicts(r, a->v.dict, b->v.dict, out);
    case NB_J_NAMESPACE:
        *out = a->v.dict == b->v.dict;
        return NB_OK;
    case NB_J_MACRO:
        *out = a->v.macro == b->v.macro;
        return NB_OK;
    case NB_J_FUNCTION:
        *out = a->v.i == b->v.i;
        return NB_OK;
    default:
        *out = true;
        return NB_OK;
    }
}

static enum nb_status formatted(struct nb_jrun *r, struct nb_jv v, struct nb_jv *out)
{
    char *s;
    struct nb_str text;
    nb_str_init(&text, r->a);
    if (v.kind == NB_J_INT)
        nb_str_printf(&text, "%lld", (long long)v.v.i);
    for (int digits = 1; v.kind == NB_J_FLOAT && digits <= 17; digits++) { /* the shortest */
        double back;
        nb_str_clear(&text);
        nb_str_printf(&text, "%.*g", digits, v.v.f);
        if (text.failed || (nb_parse_f64(text.data, &back) && back == v.v.f))
            break;
    }
    enum nb_status st = nb_str_check(&text, r->err);
    if (st == NB_OK && memchr(text.data, 'e', text.len) != NULL)
        st = NB_ERROR(r->err, NB_ERR_UNSUPPORTED,
                      "chat template, line %u: nibble does not write a number as large or as small",
                      r->line);
    if (st == NB_OK && v.kind == NB_J_FLOAT && memchr(text.data, '.', text.len) == NULL)
        nb_str_puts(&text, ".0");
    if (st == NB_OK)
        st = nb_str_check(&text, r->err);
    if (st == NB_OK)
        st = nb_jinja_alloc(r, &s, text.len + 1, 1);
    if (st == NB_OK) {
        memcpy(s, text.data, text.len);
        *out = nb_jinja_string((struct nb_text){s, text.len});
    }
    nb_str_fini(&text);
    return st;
}

enum nb_status nb_jinja_to_string(struct nb_jrun *r, struct nb_jv v, struct nb_jv *out)
{
    switch (v.kind) {
    case NB_J_STRING:
        *out = v;
        return NB_OK;
    case NB_J_UNDEFINED:
        *out = nb_jinja_string(NB_TEXT_LIT(""));
        return NB_OK;
    case NB_J_NONE:
        *out = nb_jinja_string(NB_TEXT_LIT("None"));
        return NB_OK;
    case NB_J_BOOL:
        *out = nb_jinja_string(v.v.i ? NB_TEXT_LIT("True") : NB_TEXT_LIT("False"));
        return NB_OK;
    case NB_J_INT:
    case NB_J_FLOAT:
        return formatted(r, v, out);
    default:
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED, "chat template, line %u: nibble does not write %s",
                r->line, nb_jinja_kind_name(v.kind));
    }
}

/* ---- lists and dicts ---- */

enum nb_status nb_jinja_new_list(struct nb_jrun *r, struct nb_jv *out, size_t n)
{
    struct nb_jlist *l = NULL;
    NB_TRY(nb_jinja_alloc(r, &l, 1, sizeof *l));
    if (n > 0)
        NB_TRY(nb_jinja_alloc(r, &l->items, n, sizeof *l->items));
    l->cap = n;
    *out = (struct nb_jv){.kind = NB_J_LIST, .v.list = l};
    return NB_OK;
}

enum nb_status nb_jinja_push(struct nb_jrun *r, struct nb_jlist *l, struct nb_jv v)
{
    if (l->n == l->cap) {
        struct nb_jv *items;
        const size_t cap = 2 * l->cap + 4;
        NB_TRY(nb_jinja_alloc(r, &items, cap, sizeof *items));
        if (l->n > 0)
            memcpy(items, l->items, l->n * sizeof *items);
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = v;
    return NB_OK;
}

enum nb_status nb_jinja_new_dict(struct nb_jrun *r, struct nb_jv *out)
{
    struct nb_jdict *d = NULL;
    NB_TRY(nb_jinja_alloc(r, &d, 1, sizeof *d));
    *out = (struct nb_jv){.kind = NB_J_DICT, .v.dict = d};
    return NB_OK;
}

const struct nb_jv *nb_jinja_dict_get(const struct nb_jdict *d, struct nb_text key)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->keys[i].kind == NB_J_STRING && d->keys[i].n == key.n &&
            (key.n == 0 || memcmp(d->keys[i].v.s, key.s, key.n) == 0))
            return &d->values[i];
    return NULL;
}

enum nb_status nb_jinja_dict_find(struct nb_jrun *r, const struct nb_jdict *d,
                                  const struct nb_jv *key, const struct nb_jv **out)
{
    bool same = false;
    *out = NULL;
    if (key->kind == NB_J_STRING) {
        NB_TRY(nb_jinja_charge(r, 0, d->n + 1));
        *out = nb_jinja_dict_get(d, (struct nb_text){key->v.s, key->n});
        return NB_OK;
    }
    for (size_t i = 0; i < d->n && !same; i++) {
        NB_TRY(nb_jinja_equal(r, &d->keys[i], key, &same));
        if (same)
            *out = &d->values[i];
    }
    return NB_OK;
}

enum nb_status nb_jinja_dict_put(struct nb_jrun *r, struct nb_jdict *d, struct nb_jv key,
                                 struct nb_jv value)
{
    const struct nb_jv *old;
    if (key.kind != NB_J_STRING && key.kind != NB_J_INT)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble knows dicts with texts and numbers as keys only",
                r->line);
    NB_TRY(nb_jinja_dict_find(r, d, &key, &old));
    if (old != NULL) {
        d->values[old - d->values] = value;
        return NB_OK;
    }
    if (d->n == d->cap) {
        struct nb_jv *keys;
        const size_t cap = 2 * d->cap + 4;
        NB_TRY(nb_jinja_alloc(r, &keys, 2 * cap, sizeof *keys));
        if (d->n > 0) {
            memcpy(keys, d->keys, d->n * sizeof *keys);
            memcpy(keys + cap, d->values, d->n * sizeof *keys);
        }
        d->keys = keys;
        d->values = keys + cap;
        d->cap = cap;
    }
    d->keys[d->n] = key;
    d->values[d->n++] = value;
    return NB_OK;
}

enum nb_status nb_jinja_items(struct nb_jrun *r, struct nb_jv v, struct nb_jlist **out)
{
    struct nb_jv list;
    size_t len;
    if (v.kind == NB_J_LIST) {
        *out = v.v.list;
        return NB_OK;
    }
    if (v.kind != NB_J_UNDEFINED && v.kind != NB_J_DICT && v.kind != NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: %s has no items", r->line,
                nb_jinja_kind_name(v.kind));
    NB_TRY(nb_jinja_new_list(r, &list, 0));
    for (size_t i = 0; v.kind == NB_J_DICT && i < v.v.dict->n; i++)
        NB_TRY(nb_jinja_push(r, list.v.list, v.v.dict->keys[i]));
    for (size_t i = 0; v.kind == NB_J_STRING && i < v.n; i += len) {
        (void)nb_utf8_take(v.v.s + i, v.n - i, &len);
        NB_TRY(nb_jinja_push(r, list.v.list, nb_jinja_part(v, i, len)));
    }
    *out = list.v.list;
    return NB_OK;
}
