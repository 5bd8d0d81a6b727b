/* text/jinja_eval.c: works out the expressions of a template, with the rules of Python.
 *
 * What Python refuses (text + number, an attribute of an undefined value) is refused here too.
 */
#include "text/jinja.h"

#include <string.h>

static enum nb_status cannot(struct nb_jrun *r, unsigned op, const struct nb_jv *a,
                             const struct nb_jv *b)
{
    char name[3] = {(char)(op & 0xff), (char)(op >> 8), '\0'};
    return NB_ERROR(r->err, NB_ERR_FORMAT, "chat template, line %u: %s %s %s has no result",
                    r->line, nb_jinja_kind_name(a->kind), name, nb_jinja_kind_name(b->kind));
}

/* ---- operators ---- */

static bool is_int(const struct nb_jv *v)
{
    return v->kind == NB_J_INT || v->kind == NB_J_BOOL;
}

static bool is_number(const struct nb_jv *v)
{
    return is_int(v) || v->kind == NB_J_FLOAT;
}

static double real(const struct nb_jv *v)
{
    return v->kind == NB_J_FLOAT ? v->v.f : (double)v->v.i;
}

static enum nb_status concat(struct nb_jrun *r, struct nb_jv a, struct nb_jv b, struct nb_jv *out)
{
    size_t n;
    char *s;
    if (a.n == 0 || b.n == 0) {
        *out = a.n == 0 ? b : a;
        return NB_OK;
    }
    const bool mixed = a.from != NULL || b.from != NULL;
    if (!nb_add_size(&n, a.n, b.n))
        n = SIZE_MAX / 2;
    NB_TRY(nb_jinja_alloc(r, &s, n, mixed ? 2 : 1));
    NB_TRY(nb_jinja_charge(r, 0, n / 64));
    memcpy(s, a.v.s, a.n);
    memcpy(s + a.n, b.v.s, b.n);
    if (a.from != NULL) /* fresh memory is zero */
        memcpy(s + n, a.from, a.n);
    if (b.from != NULL)
        memcpy(s + n + a.n, b.from, b.n);
    *out = (struct nb_jv){
        .kind = NB_J_STRING, .v.s = s, .n = n, .from = mixed ? (const uint8_t *)s + n : NULL};
    return NB_OK;
}

static enum nb_status concat_lists(struct nb_jrun *r, const struct nb_jlist *a,
                                   const struct nb_jlist *b, struct nb_jv *out)
{
    NB_TRY(nb_jinja_new_list(r, out, a->n + b->n));
    for (size_t i = 0; i < a->n; i++)
        NB_TRY(nb_jinja_push(r, out->v.list, a->items[i]));
    for (size_t i = 0; i < b->n; i++)
        NB_TRY(nb_jinja_push(r, out->v.list, b->items[i]));
    return NB_OK;
}

static enum nb_status repeat(struct nb_jrun *r, struct nb_jv s, int64_t times, struct nb_jv *out)
{
    struct nb_jbuf b;
    enum nb_status st = NB_OK;
    nb_jbuf_init(&b, r->a);
    for (int64_t i = 0; i < times && s.n > 0 && st == NB_OK; i++)
        st = nb_jinja_put(r, &b, s);
    if (st == NB_OK)
        st = nb_jinja_take(r, &b, out);
    nb_jbuf_fini(&b);
    return st;
}

/* Whole numbers; false: no result (overflow, division by zero). */
static bool integers(unsigned op, int64_t a, int64_t b, int64_t *out)
{
    switch (op) {
    case '+':
        return !__builtin_add_overflow(a, b, out);
    case '-':
        return !__builtin_sub_overflow(a, b, out);
    case '*':
        return !__builtin_mul_overflow(a, b, out);
    default: /* rounded down, as Python does */
        if (b == 0 || (a == INT64_MIN && b == -1))
            return false;
        const int64_t rest = a % b, down = rest != 0 && (rest < 0) != (b < 0);
        *out = op == '%' ? rest + down * b : a / b - down;
        return true;
    }
}

static enum nb_status arithmetic(struct nb_jrun *r, unsigned op, const struct nb_jv *a,
                                 const struct nb_jv *b, struct nb_jv *out)
{
    if (is_int(a) && is_int(b) && op != '/' && op != NB_JOP2('*', '*')) {
        *out = nb_jinja_int(0);
        return integers(op, a->v.i, b->v.i, &out->v.i) ? NB_OK : cannot(r, op, a, b);
    }
    *out = (struct nb_jv){.kind = NB_J_FLOAT};
    if (op == '+')
        out->v.f = real(a) + real(b);
    else if (op == '-')
        out->v.f = real(a) - real(b);
    else if (op == '*')
        out->v.f = real(a) * real(b);
    else if (op == '/' && real(b) != 0)
        out->v.f = real(a) / real(b);
    else
        return cannot(r, op, a, b);
    return NB_OK;
}

static enum nb_status binary(struct nb_jrun *r, unsigned op, struct nb_jv a, struct nb_jv b,
                             struct nb_jv *out)
{
    if (op == '~') {
        NB_TRY(nb_jinja_to_string(r, a, &a));
        NB_TRY(nb_jinja_to_string(r, b, &b));
        return concat(r, a, b, out);
    }
    if (is_number(&a) && is_number(&b))
        return arithmetic(r, op, &a, &b, out);
    if (op == '+' && a.kind == NB_J_STRING && b.kind == NB_J_STRING)
        return concat(r, a, b, out);
    if (op == '+' && a.kind == NB_J_LIST && b.kind == NB_J_LIST)
        return concat_lists(r, a.v.list, b.v.list, out);
    if (op == '*' && a.kind == NB_J_STRING && is_int(&b))
        return repeat(r, a, b.v.i, out);
    if (op == '*' && is_int(&a) && b.kind == NB_J_STRING)
        return repeat(r, b, a.v.i, out);
    if (op == '%' && a.kind == NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble does not know formatting by %%", r->line);
    return cannot(r, op, &a, &b);
}

static enum nb_status contains(struct nb_jrun *r, const struct nb_jv *item, struct nb_jv in,
                               bool *out)
{
    struct nb_jlist *list;
    size_t at;
    *out = false;
    if (in.kind == NB_J_STRING) {
        if (item->kind != NB_J_STRING)
            return cannot(r, NB_JOP2('i', 'n'), item, &in);
        NB_TRY(nb_jinja_find(r, in, *item, 0, &at));
        *out = at < in.n || item->n == 0;
        return NB_OK;
    }
    NB_TRY(nb_jinja_items(r, in, &list));
    for (size_t i = 0; i < list->n && !*out; i++)
        NB_TRY(nb_jinja_equal(r, item, &list->items[i], out));
    return NB_OK;
}

/* Smaller than 0, 0, larger. */
static enum nb_status order(struct nb_jrun *r, unsigned op, const struct nb_jv *a,
                            const struct nb_jv *b, int *out)
{
    if (is_int(a) && is_int(b)) {
        *out = (a->v.i > b->v.i) - (a->v.i < b->v.i);
    } else if (is_number(a) && is_number(b)) {
        *out = (real(a) > real(b)) - (real(a) < real(b));
    } else if (a->kind == NB_J_STRING && b->kind == NB_J_STRING) { /* UTF-8 sorts as code points */
        const size_t n = NB_MIN(a->n, b->n);
        *out = n > 0 ? memcmp(a->v.s, b->v.s, n) : 0;
        if (*out == 0)
            *out = (a->n > b->n) - (a->n < b->n);
    } else {
        return cannot(r, op, a, b);
    }
    return NB_OK;
}

enum nb_status nb_jinja_compare(struct nb_jrun *r, unsigned op, struct nb_jv a, struct nb_jv b,
                                bool *out)
{
    int c = 0;
    if (op == NB_JOP2('=', '=') || op == NB_JOP2('!', '=')) {
        NB_TRY(nb_jinja_equal(r, &a, &b, out));
        *out = *out == (op == NB_JOP2('=', '='));
        return NB_OK;
    }
    if (op == NB_JOP2('i', 'n') || op == NB_JOP2('n', 'i')) {
        NB_TRY(contains(r, &a, b, out));
        *out = *out == (op == NB_JOP2('i', 'n'));
        return NB_OK;
    }
    NB_TRY(order(r, op, &a, &b, &c));
    *out = op == '<' ? c < 0 : op == '>' ? c > 0 : op == NB_JOP2('<', '=') ? c <= 0 : c >= 0;
    return NB_OK;
}

static enum nb_status chain(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jv left, right;
    bool ok = true;
    NB_TRY(nb_jinja_eval(r, e->a, &left));
    for (const struct nb_jnode *c = e->b; c != NULL && ok; c = c->next) {
        NB_TRY(nb_jinja_eval(r, c->a, &right));
        NB_TRY(nb_jinja_compare(r, c->op, left, right, &ok));
        left = right;
    }
    *out = nb_jinja_bool(ok);
    return NB_OK;
}

/* ---- parts of a value ---- */

enum nb_status nb_jinja_attribute(struct nb_jrun *r, struct nb_jv v, struct nb_text name,
                                  struct nb_jv *out)
{
    char shown[40];
    *out = (struct nb_jv){.kind = NB_J_UNDEFINED};
    if (v.kind == NB_J_UNDEFINED)
        NB_FAIL(r->err, NB_ERR_FORMAT,
                "chat template, line %u: '%s' of a value that is not defined", r->line,
                nb_printable(shown, sizeof shown, name.s, name.n));
    if (v.kind != NB_J_DICT && v.kind != NB_J_NAMESPACE)
        return NB_OK;
    NB_TRY(nb_jinja_charge(r, 0, v.v.dict->n / 4));
    const struct nb_jv *found = nb_jinja_dict_get(v.v.dict, name);
    if (found != NULL)
        *out = *found;
    return NB_OK;
}

/* The byte where a character of s begins; s.n for the end. */
static size_t byte_of(struct nb_jv s, int64_t character)
{
    size_t at = 0;
    for (; at < s.n; at++)
        if (((uint8_t)s.v.s[at] & 0xc0) != 0x80 && character-- == 0)
            break;
    return at;
}

static enum nb_status element(struct nb_jrun *r, struct nb_jv v, int64_t i, struct nb_jv *out)
{
    size_t len;
    const int64_t n = v.kind == NB_J_LIST ? (int64_t)v.v.list->n : (int64_t)nb_jinja_length(v);
    *out = (struct nb_jv){.kind = NB_J_UNDEFINED};
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n)
        return NB_OK;
    if (v.kind == NB_J_LIST) {
        *out = v.v.list->items[i];
        return NB_OK;
    }
    NB_TRY(nb_jinja_charge(r, 0, v.n / 64));
    const size_t at = byte_of(v, i);
    (void)nb_utf8_take(v.v.s + at, v.n - at, &len);
    *out = nb_jinja_part(v, at, len);
    return NB_OK;
}

static enum nb_status index_value(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jv of, at;
    NB_TRY(nb_jinja_eval(r, e->a, &of));
    NB_TRY(nb_jinja_eval(r, e->b, &at));
    if (at.kind == NB_J_STRING || of.kind == NB_J_UNDEFINED)
        return nb_jinja_attribute(r, of,
                                  (struct nb_text){at.v.s, at.kind == NB_J_STRING ? at.n : 0}, out);
    if (is_int(&at) && (of.kind == NB_J_LIST || of.kind == NB_J_STRING))
        return element(r, of, at.v.i, out);
    *out = (struct nb_jv){.kind = NB_J_UNDEFINED};
    if (of.kind == NB_J_DICT) {
        const struct nb_jv *found;
        NB_TRY(nb_jinja_dict_find(r, of.v.dict, &at, &found));
        *out = found != NULL ? *found : *out;
    }
    return NB_OK;
}

/* A bound of a slice over n items: Python's slice.indices. */
static enum nb_status bound(struct nb_jrun *r, const struct nb_jnode *e, int64_t n, bool back,
                            int64_t none, int64_t *out)
{
    struct nb_jv v = {.kind = NB_J_NONE};
    if (e != NULL)
        NB_TRY(nb_jinja_eval(r, e, &v));
    if (v.kind == NB_J_NONE) {
        *out = none;
        return NB_OK;
    }
    if (!is_int(&v))
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: %s as a bound of a slice", r->line,
                nb_jinja_kind_name(v.kind));
    const int64_t low = back ? -1 : 0, high = back ? n - 1 : n;
    const int64_t i = v.v.i < -n ? -n - 1 : v.v.i > n ? n : v.v.i;
    const int64_t at = i < 0 ? i + n : i;
    *out = at < low ? low : at > high ? high : at;
    return NB_OK;
}

static enum nb_status slice(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jv of, item;
    int64_t from, to, step = 1;
    NB_TRY(nb_jinja_eval(r, e->a, &of));
    if (of.kind != NB_J_LIST && of.kind != NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: a slice of %s", r->line,
                nb_jinja_kind_name(of.kind));
    const bool text = of.kind == NB_J_STRING;
    const int64_t n = text ? (int64_t)nb_jinja_length(of) : (int64_t)of.v.list->n;
    NB_TRY(nb_jinja_charge(r, 0, text ? of.n / 64 : 0));
    if (e->d != NULL) {
        NB_TRY(nb_jinja_eval(r, e->d, &item));
        if (!is_int(&item) || item.v.i == 0 || item.v.i < -1 || item.v.i > 1)
            NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                    "chat template, line %u: nibble knows slices by steps of 1 and -1 only",
                    r->line);
        step = item.v.i;
    }
    NB_TRY(bound(r, e->b, n, step < 0, step < 0 ? n - 1 : 0, &from));
    NB_TRY(bound(r, e->c, n, step < 0, step < 0 ? -1 : n, &to));
    if (text && step > 0) {
        const size_t at = byte_of(of, from), end = to > from ? byte_of(of, to) : at;
        *out = nb_jinja_part(of, at, end - at);
        return NB_OK;
    }
    if (text)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble does not turn a text around", r->line);
    NB_TRY(nb_jinja_new_list(r, out, 0));
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step)
        NB_TRY(nb_jinja_push(r, out->v.list, of.v.list->items[i]));
    return NB_OK;
}

/* ---- calls ---- */

static enum nb_status arguments(struct nb_jrun *r, const struct nb_jnode *list,
                                struct nb_jargs *args)
{
    *args = (struct nb_jargs){.n = 0};
    for (; list != NULL; list = list->next) {
        if (args->n == NB_JINJA_MAX_ARGS)
            NB_FAIL(r->err, NB_ERR_LIMIT, "chat template, line %u: more than %d arguments", r->line,
                    NB_JINJA_MAX_ARGS);
        if (list->name.s == NULL && args->n > args->n_positional)
            NB_FAIL(r->err, NB_ERR_FORMAT,
                    "chat template, line %u: an argument without a name behind one with a name",
                    r->line);
        args->names[args->n] = list->name;
        NB_TRY(nb_jinja_eval(r, list->a, &args->v[args->n++]));
        args->n_positional += list->name.s == NULL;
    }
    return NB_OK;
}

static enum nb_status call(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jargs args;
    struct nb_jv of;
    char name[40];
    if (e->a->kind == NB_JN_ATTR) {
        NB_TRY(nb_jinja_eval(r, e->a->a, &of));
        NB_TRY(arguments(r, e->b, &args));
        return nb_jinja_method(r, e->a->name, of, &args, out);
    }
    NB_TRY(nb_jinja_eval(r, e->a, &of));
    if (of.kind == NB_J_MACRO)
        return nb_jinja_macro(r, of.v.macro, e->b, out);
    NB_TRY(arguments(r, e->b, &args));
    if (of.kind == NB_J_FUNCTION)
        return nb_jinja_function(r, of.v.i, &args, out);
    const struct nb_text n = e->a->kind == NB_JN_NAME ? e->a->name : NB_TEXT_LIT("an expression");
    NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
            "chat template, line %u: '%s' is called, but is no function that nibble knows", r->line,
            nb_printable(name, sizeof name, n.s, n.n));
}

static enum nb_status filter(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jargs args;
    struct nb_jv in;
    NB_TRY(nb_jinja_eval(r, e->a, &in));
    NB_TRY(arguments(r, e->b, &args));
    return nb_jinja_filter(r, e->name, in, &args, out);
}

static enum nb_status test(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jargs args;
    struct nb_jv in;
    bool yes;
    NB_TRY(nb_jinja_eval(r, e->a, &in));
    NB_TRY(arguments(r, e->b, &args));
    NB_TRY(nb_jinja_test(r, e->name, in, &args, &yes));
    *out = nb_jinja_bool(yes != e->flag);
    return NB_OK;
}

/* ---- all of them ---- */

static enum nb_status name_value(struct nb_jrun *r, struct nb_text name, struct nb_jv *out)
{
    for (const struct nb_jscope *s = r->scope; s != NULL; s = s->parent)
        for (const struct nb_jvar *v = s->vars; v != NULL; v = v->next) {
            r->steps += r->steps < r->max_steps;
            if (v->name.n == name.n && memcmp(v->name.s, name.s, name.n) == 0) {
                *out = v->value;
                return NB_OK;
            }
        }
    if (!nb_jinja_find_function(r, name, out))
        *out = (struct nb_jv){.kind = NB_J_UNDEFINED};
    return NB_OK;
}

static enum nb_status collection(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jv item, value;
    if (e->kind == NB_JN_LIST) {
        NB_TRY(nb_jinja_new_list(r, out, 0));
        for (const struct nb_jnode *i = e->a; i != NULL; i = i->next) {
            NB_TRY(nb_jinja_eval(r, i, &item));
            NB_TRY(nb_jinja_push(r, out->v.list, item));
        }
        return NB_OK;
    }
    NB_TRY(nb_jinja_new_dict(r, out));
    for (const struct nb_jnode *i = e->a; i != NULL; i = i->next) {
        NB_TRY(nb_jinja_eval(r, i->a, &item));
        NB_TRY(nb_jinja_eval(r, i->b, &value));
        NB_TRY(nb_jinja_dict_put(r, out->v.dict, item, value));
    }
    return NB_OK;
}

static enum nb_status sign(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    NB_TRY(nb_jinja_eval(r, e->a, out));
    if (is_int(out) && (e->flag || out->v.i != INT64_MIN))
        *out = nb_jinja_int(e->flag ? out->v.i : -out->v.i);
    else if (out->kind == NB_J_FLOAT)
        out->v.f = e->flag ? out->v.f : -out->v.f;
    else
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: a sign before %s", r->line,
                nb_jinja_kind_name(out->kind));
    return NB_OK;
}

static enum nb_status eval(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    struct nb_jv other;
    switch (e->kind) {
    case NB_JN_CONST:
        *out = e->value;
        return NB_OK;
    case NB_JN_NAME:
        return name_value(r, e->name, out);
    case NB_JN_LIST:
    case NB_JN_DICT:
        return collection(r, e, out);
    case NB_JN_NOT:
        NB_TRY(nb_jinja_eval(r, e->a, out));
        *out = nb_jinja_bool(!nb_jinja_truth(out));
        return NB_OK;
    case NB_JN_NEG:
        return sign(r, e, out);
    case NB_JN_AND:
    case NB_JN_OR:
        NB_TRY(nb_jinja_eval(r, e->a, out));
        return nb_jinja_truth(out) == (e->kind == NB_JN_AND) ? nb_jinja_eval(r, e->b, out) : NB_OK;
    case NB_JN_BINARY:
        NB_TRY(nb_jinja_eval(r, e->a, out));
        NB_TRY(nb_jinja_eval(r, e->b, &other));
        return binary(r, e->op, *out, other, out);
    case NB_JN_CHAIN:
        return chain(r, e, out);
    case NB_JN_COND:
        NB_TRY(nb_jinja_eval(r, e->b, &other));
        *out = (struct nb_jv){.kind = NB_J_UNDEFINED};
        if (nb_jinja_truth(&other))
            return nb_jinja_eval(r, e->a, out);
        return e->c != NULL ? nb_jinja_eval(r, e->c, out) : NB_OK;
    case NB_JN_ATTR:
        NB_TRY(nb_jinja_eval(r, e->a, &other));
        return nb_jinja_attribute(r, other, e->name, out);
    case NB_JN_INDEX:
        return index_value(r, e, out);
    case NB_JN_SLICE:
        return slice(r, e, out);
    case NB_JN_CALL:
        return call(r, e, out);
    case NB_JN_FILTER:
        return filter(r, e, out);
    default:
        return test(r, e, out);
    }
}

enum nb_status nb_jinja_eval(struct nb_jrun *r, const struct nb_jnode *e, struct nb_jv *out)
{
    if (r->depth >= NB_JINJA_MAX_DEPTH)
        NB_FAIL(r->err, NB_ERR_LIMIT, "chat template, line %u: more than %u levels of evaluation",
                e->line, NB_JINJA_MAX_DEPTH);
    r->line = e->line;
    NB_TRY(nb_jinja_charge(r, 0, 1));
    r->depth++;
    NB_TRY(eval(r, e, out));
    r->depth--;
    return NB_OK;
}
