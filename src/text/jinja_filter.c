/* text/jinja_filter.c: the filters and tests of Jinja that chat templates use. */
#include "text/jinja.h"

#include <string.h>

typedef enum nb_status filter_fn(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                 struct nb_jv *out);

static enum nb_status as_text(struct nb_jrun *r, const struct nb_jv *v, struct nb_jv *out)
{
    *out = nb_jinja_string(NB_TEXT_LIT(""));
    return v != NULL ? nb_jinja_to_string(r, *v, out) : NB_OK;
}

static enum nb_status f_trim(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                             struct nb_jv *out)
{
    NB_TRY(nb_jinja_to_string(r, in, &in));
    return nb_jinja_strip(r, in, nb_jinja_arg(args, 0, "chars"), true, true, out);
}

static enum nb_status f_length(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    struct nb_jlist *list;
    (void)args;
    if (in.kind == NB_J_STRING) {
        NB_TRY(nb_jinja_charge(r, 0, in.n / 64));
        *out = nb_jinja_int((int64_t)nb_jinja_length(in));
        return NB_OK;
    }
    NB_TRY(nb_jinja_items(r, in, &list));
    *out = nb_jinja_int((int64_t)list->n);
    return NB_OK;
}

static enum nb_status f_upper(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, in, NB_J_UPPER, out);
}

static enum nb_status f_lower(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, in, NB_J_LOWER, out);
}

static enum nb_status f_title(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, in, NB_J_TITLE_WORDS, out);
}

static enum nb_status f_capitalize(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                   struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, in, NB_J_CAPITALIZE, out);
}

static enum nb_status f_string(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    (void)args;
    return nb_jinja_to_string(r, in, out);
}

static enum nb_status f_default(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                struct nb_jv *out)
{
    const struct nb_jv *value = nb_jinja_arg(args, 0, "default_value");
    const struct nb_jv *falsy = nb_jinja_arg(args, 1, "boolean");
    (void)r;
    const bool use = in.kind == NB_J_UNDEFINED ||
                     (falsy != NULL && nb_jinja_truth(falsy) && !nb_jinja_truth(&in));
    *out = !use ? in : value != NULL ? *value : nb_jinja_string(NB_TEXT_LIT(""));
    return NB_OK;
}

static enum nb_status f_tojson(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    const struct nb_jv *indent = nb_jinja_arg(args, 0, "indent");
    struct nb_jbuf b;
    nb_jbuf_init(&b, r->a);
    enum nb_status st = nb_jinja_to_json(
        r, &b, in, indent != NULL && indent->kind == NB_J_INT ? indent->v.i : -1, 0);
    for (size_t i = 0; i < args->n && st == NB_OK; i++)
        if (args->names[i].s != NULL && !nb_jinja_is(args->names[i], "indent") &&
            !nb_jinja_is(args->names[i], "ensure_ascii"))
            st = NB_ERROR(r->err, NB_ERR_UNSUPPORTED,
                          "chat template, line %u: an option of tojson that nibble does not know",
                          r->line);
    if (st == NB_OK)
        st = nb_jinja_take(r, &b, out);
    nb_jbuf_fini(&b);
    return st;
}

static enum nb_status f_first(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    struct nb_jlist *list;
    (void)args;
    NB_TRY(nb_jinja_items(r, in, &list));
    *out = list->n > 0 ? list->items[0] : (struct nb_jv){.kind = NB_J_UNDEFINED};
    return NB_OK;
}

static enum nb_status f_last(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                             struct nb_jv *out)
{
    struct nb_jlist *list;
    (void)args;
    NB_TRY(nb_jinja_items(r, in, &list));
    *out = list->n > 0 ? list->items[list->n - 1] : (struct nb_jv){.kind = NB_J_UNDEFINED};
    return NB_OK;
}

static enum nb_status f_list(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                             struct nb_jv *out)
{
    (void)args;
    out->kind = NB_J_LIST;
    return nb_jinja_items(r, in, &out->v.list);
}

static enum nb_status f_reverse(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                struct nb_jv *out)
{
    struct nb_jlist *list;
    (void)args;
    if (in.kind == NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble does not turn a text around", r->line);
    NB_TRY(nb_jinja_items(r, in, &list));
    NB_TRY(nb_jinja_new_list(r, out, list->n));
    for (size_t i = list->n; i-- > 0;)
        NB_TRY(nb_jinja_push(r, out->v.list, list->items[i]));
    return NB_OK;
}

static enum nb_status f_join(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                             struct nb_jv *out)
{
    struct nb_jv between;
    if (nb_jinja_arg(args, 1, "attribute") != NULL)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble does not know join by an attribute", r->line);
    NB_TRY(as_text(r, nb_jinja_arg(args, 0, "d"), &between));
    return nb_jinja_join(r, in, between, out);
}

static enum nb_status f_replace(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                struct nb_jv *out)
{
    struct nb_jv old, fresh;
    if (args->n != 2)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble knows replace with two arguments only", r->line);
    NB_TRY(nb_jinja_to_string(r, in, &in));
    NB_TRY(as_text(r, nb_jinja_arg(args, 0, "old"), &old));
    NB_TRY(as_text(r, nb_jinja_arg(args, 1, "new"), &fresh));
    return nb_jinja_replace(r, in, old, fresh, out);
}

static enum nb_status f_int(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                            struct nb_jv *out)
{
    const struct nb_jv *otherwise = nb_jinja_arg(args, 0, "default");
    char digits[24];
    int64_t i;
    (void)r;
    *out = otherwise != NULL ? *otherwise : nb_jinja_int(0);
    if (in.kind == NB_J_INT || in.kind == NB_J_BOOL)
        *out = nb_jinja_int(in.v.i);
    else if (in.kind == NB_J_FLOAT && in.v.f > -9e18 && in.v.f < 9e18)
        *out = nb_jinja_int((int64_t)in.v.f);
    if (in.kind != NB_J_STRING || in.n >= sizeof digits)
        return NB_OK;
    memcpy(digits, in.v.s, in.n);
    digits[in.n] = '\0';
    if (nb_parse_i64(digits, &i))
        *out = nb_jinja_int(i);
    return NB_OK;
}

static enum nb_status f_items(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    if (in.kind == NB_J_UNDEFINED)
        return nb_jinja_new_list(r, out, 0);
    return nb_jinja_method(r, NB_TEXT_LIT("items"), in, args, out);
}

/* Keys in ascending order, letters without their case. */
static int key_order(const struct nb_jv *a, const struct nb_jv *b)
{
    if (a->kind != NB_J_STRING || b->kind != NB_J_STRING)
        return (a->v.i > b->v.i) - (a->v.i < b->v.i);
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        uint8_t x = (uint8_t)a->v.s[i], y = (uint8_t)b->v.s[i];
        x = x >= 'A' && x <= 'Z' ? (uint8_t)(x + 32) : x;
        y = y >= 'A' && y <= 'Z' ? (uint8_t)(y + 32) : y;
        if (x != y)
            return x < y ? -1 : 1;
    }
    return (a->n > b->n) - (a->n < b->n);
}

static enum nb_status f_dictsort(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                 struct nb_jv *out)
{
    if (args->n > 0 || in.kind != NB_J_DICT)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble knows dictsort of a dict, by its keys", r->line);
    NB_TRY(f_items(r, in, args, out));
    struct nb_jv *v = out->v.list->items;
    for (size_t i = 1; i < out->v.list->n; i++) { /* stable; dicts of templates are small */
        const struct nb_jv one = v[i], *key = &one.v.list->items[0];
        size_t to = i;
        if (key->kind != v[0].v.list->items[0].kind)
            NB_FAIL(r->err, NB_ERR_FORMAT,
                    "chat template, line %u: dictsort of texts and numbers together", r->line);
        NB_TRY(nb_jinja_charge(r, 0, i));
        for (; to > 0 && key_order(&v[to - 1].v.list->items[0], key) > 0; to--)
            v[to] = v[to - 1];
        v[to] = one;
    }
    return NB_OK;
}

/* The value of a test named by argument `at` and what follows it; without one: is it true? */
static enum nb_status holds(struct nb_jrun *r, const struct nb_jargs *args, size_t at,
                            struct nb_jv v, bool *out)
{
    struct nb_jargs rest = {.n = 0};
    if (args->n <= at) {
        *out = nb_jinja_truth(&v);
        return NB_OK;
    }
    if (args->v[at].kind != NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: a test has no name", r->line);
    for (size_t i = at + 1; i < args->n; i++)
        rest.v[rest.n++] = args->v[i];
    rest.n_positional = rest.n;
    return nb_jinja_test(r, (struct nb_text){args->v[at].v.s, args->v[at].n}, v, &rest, out);
}

/* Jinja's generators take whatever is false for empty. */
static enum nb_status items_if_any(struct nb_jrun *r, struct nb_jv in, struct nb_jlist **out)
{
    return nb_jinja_items(r, nb_jinja_truth(&in) ? in : (struct nb_jv){.kind = NB_J_UNDEFINED},
                          out);
}

/* select, reject, selectattr, rejectattr. */
static enum nb_status choose(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                             bool attribute, bool keep, struct nb_jv *out)
{
    struct nb_jlist *list;
    if (attribute && (args->n == 0 || args->v[0].kind != NB_J_STRING))
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: an attribute has no name", r->line);
    NB_TRY(items_if_any(r, in, &list));
    NB_TRY(nb_jinja_new_list(r, out, 0));
    for (size_t i = 0; i < list->n; i++) {
        struct nb_jv v = list->items[i];
        bool yes;
        if (attribute)
            NB_TRY(nb_jinja_attribute(r, v, (struct nb_text){args->v[0].v.s, args->v[0].n}, &v));
        NB_TRY(holds(r, args, attribute, v, &yes));
        if (yes == keep)
            NB_TRY(nb_jinja_push(r, out->v.list, list->items[i]));
    }
    return NB_OK;
}

static enum nb_status f_select(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    return choose(r, in, args, false, true, out);
}

static enum nb_status f_reject(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    return choose(r, in, args, false, false, out);
}

static enum nb_status f_selectattr(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                   struct nb_jv *out)
{
    return choose(r, in, args, true, true, out);
}

static enum nb_status f_rejectattr(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                                   struct nb_jv *out)
{
    return choose(r, in, args, true, false, out);
}

static enum nb_status f_map(struct nb_jrun *r, struct nb_jv in, const struct nb_jargs *args,
                            struct nb_jv *out)
{
    const struct nb_jv *name = nb_jinja_arg(args, SIZE_MAX, "attribute");
    struct nb_jlist *list;
    struct nb_jargs none = {.n = 0};
    if (args->n != 1 || args->v[0].kind != NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble knows map by one attribute or filter only",
                r->line);
    const struct nb_text what = {args->v[0].v.s, args->v[0].n};
    NB_TRY(items_if_any(r, in, &list));
    NB_TRY(nb_jinja_new_list(r, out, list->n));
    for (size_t i = 0; i < list->n; i++) {
        struct nb_jv v;
        if (name != NULL)
            NB_TRY(nb_jinja_attribute(r, list->items[i], what, &v));
        else
            NB_TRY(nb_jinja_filter(r, what, list->items[i], &none, &v));
        NB_TRY(nb_jinja_push(r, out->v.list, v));
    }
    return NB_OK;
}

static const struct {
    const char *name;
    filter_fn *fn;
} filters[] = {
    {"trim", f_trim},
    {"length", f_length},
    {"count", f_length},
    {"upper", f_upper},
    {"lower", f_lower},
    {"title", f_title},
    {"capitalize", f_capitalize},
    {"string", f_string},
    {"safe", f_string},
    {"default", f_default},
    {"d", f_default},
    {"tojson", f_tojson},
    {"first", f_first},
    {"last", f_last},
    {"list", f_list},
    {"reverse", f_reverse},
    {"join", f_join},
    {"replace", f_replace},
    {"int", f_int},
    {"items", f_items},
    {"select", f_select},
    {"reject", f_reject},
    {"selectattr", f_selectattr},
    {"rejectattr", f_rejectattr},
    {"map", f_map},
    {"dictsort", f_dictsort},
};

enum nb_status nb_jinja_filter(struct nb_jrun *r, struct nb_text name, struct nb_jv in,
                               const struct nb_jargs *args, struct nb_jv *out)
{
    char shown[40];
    enum nb_status st = NB_ERR_UNSUPPORTED;
    if (r->depth >= NB_JINJA_MAX_DEPTH)
        NB_FAIL(r->err, NB_ERR_LIMIT, "chat template, line %u: more than %u levels of evaluation",
                r->line, NB_JINJA_MAX_DEPTH);
    for (size_t i = 0; i < NB_COUNTOF(filters); i++)
        if (nb_jinja_is(name, filters[i].name)) {
            r->depth++; /* map calls filters */
            st = filters[i].fn(r, in, args, out);
            r->depth--;
            return st;
        }
    NB_FAIL(r->err, st, "chat template, line %u: the filter '%s' is not one that nibble knows",
            r->line, nb_printable(shown, sizeof shown, name.s, name.n));
}

/* ---- tests ---- */

static const struct {
    const char *name;
    unsigned kinds; /* a bit per enum nb_jkind for which it holds */
} kind_tests[] = {
    {"undefined", 1u << NB_J_UNDEFINED},
    {"defined", ~(1u << NB_J_UNDEFINED)},
    {"none", 1u << NB_J_NONE},
    {"boolean", 1u << NB_J_BOOL},
    {"integer", 1u << NB_J_INT},
    {"float", 1u << NB_J_FLOAT},
    {"number", 1u << NB_J_INT | 1u << NB_J_FLOAT | 1u << NB_J_BOOL},
    {"string", 1u << NB_J_STRING},
    {"mapping", 1u << NB_J_DICT},
    {"sequence", 1u << NB_J_STRING | 1u << NB_J_LIST | 1u << NB_J_DICT | 1u << NB_J_UNDEFINED},
    {"iterable", 1u << NB_J_STRING | 1u << NB_J_LIST | 1u << NB_J_DICT | 1u << NB_J_UNDEFINED},
    {"callable", 1u << NB_J_MACRO | 1u << NB_J_FUNCTION},
};

static const struct {
    const char *name;
    unsigned op;
} compare_tests[] = {
    {"equalto", NB_JOP2('=', '=')},
    {"eq", NB_JOP2('=', '=')},
    {"==", NB_JOP2('=', '=')},
    {"ne", NB_JOP2('!', '=')},
    {"!=", NB_JOP2('!', '=')},
    {"in", NB_JOP2('i', 'n')},
    {"lt", '<'},
    {"<", '<'},
    {"lessthan", '<'},
    {"gt", '>'},
    {">", '>'},
    {"greaterthan", '>'},
    {"le", NB_JOP2('<', '=')},
    {"<=", NB_JOP2('<', '=')},
    {"ge", NB_JOP2('>', '=')},
    {">=", NB_JOP2('>', '=')},
};

enum nb_status nb_jinja_test(struct nb_jrun *r, struct nb_text name, struct nb_jv in,
                             const struct nb_jargs *args, bool *out)
{
    char shown[40];
    for (size_t i = 0; i < NB_COUNTOF(kind_tests); i++)
        if (nb_jinja_is(name, kind_tests[i].name)) {
            *out = (kind_tests[i].kinds >> in.kind & 1) != 0;
            return NB_OK;
        }
    for (size_t i = 0; i < NB_COUNTOF(compare_tests) && args->n == 1; i++)
        if (nb_jinja_is(name, compare_tests[i].name))
            return nb_jinja_compare(r, compare_tests[i].op, in, args->v[0], out);
    const bool whole = in.kind == NB_J_INT || in.kind == NB_J_BOOL;
    if (nb_jinja_is(name, "true") || nb_jinja_is(name, "false")) {
        *out = in.kind == NB_J_BOOL && in.v.i == (int64_t)nb_jinja_is(name, "true");
    } else if (whole && (nb_jinja_is(name, "odd") || nb_jinja_is(name, "even"))) {
        *out = (in.v.i % 2 != 0) == nb_jinja_is(name, "odd");
    } else if (whole && nb_jinja_is(name, "divisibleby") && args->n == 1 &&
               args->v[0].kind == NB_J_INT && args->v[0].v.i > 0) {
        *out = in.v.i % args->v[0].v.i == 0;
    } else {
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: the test '%s' is not one that nibble knows of %s", r->line,
                nb_printable(shown, sizeof shown, name.s, name.n), nb_jinja_kind_name(in.kind));
    }
    return NB_OK;
}
