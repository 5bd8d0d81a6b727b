/* text/jinja_expr.c: expressions of Jinja to a tree, by recursive descent in Jinja's own order of
 * binding: if-else, or, and, not, comparisons, + -, ~, * / // %, **, signs, then .x [x] (x), filters
 * and tests.
 */
#include "text/jinja.h"

#include <string.h>

enum nb_status nb_jinja_node(struct nb_jparser *p, struct nb_jnode **out, enum nb_jnode_kind kind)
{
    struct nb_jnode *e = nb_arena_alloc(p->arena, 1, sizeof *e);
    *out = e;
    if (e == NULL)
        NB_FAIL(p->err, NB_ERR_NOMEM, "chat template: out of memory");
    e->kind = kind;
    e->line = p->t->line;
    return NB_OK;
}

bool nb_jinja_at(const struct nb_jparser *p, unsigned op)
{
    return p->t->kind == NB_JT_OP && p->t->op == op;
}

bool nb_jinja_at_name(const struct nb_jparser *p, const char *name)
{
    return p->t->kind == NB_JT_NAME && nb_jinja_is(p->t->text, name);
}

enum nb_status nb_jinja_unexpected(const struct nb_jparser *p, const char *wanted)
{
    char name[40];
    const struct nb_jtoken *t = p->t;
    if (t->kind == NB_JT_NAME)
        return NB_ERROR(p->err, NB_ERR_FORMAT, "chat template, line %u: '%s' where %s is expected",
                        t->line, nb_printable(name, sizeof name, t->text.s, t->text.n), wanted);
    if (t->kind == NB_JT_OP)
        return NB_ERROR(p->err, NB_ERR_FORMAT, "chat template, line %u: '%c' where %s is expected",
                        t->line, (int)(t->op & 0xff), wanted);
    return NB_ERROR(p->err, NB_ERR_FORMAT, "chat template, line %u: %s is expected", t->line,
                    wanted);
}

static bool accept(struct nb_jparser *p, unsigned op)
{
    if (!nb_jinja_at(p, op))
        return false;
    p->t++;
    return true;
}

static bool accept_name(struct nb_jparser *p, const char *name)
{
    if (!nb_jinja_at_name(p, name))
        return false;
    p->t++;
    return true;
}

enum nb_status nb_jinja_expect(struct nb_jparser *p, unsigned op)
{
    char wanted[4] = {'\'', (char)op, '\'', '\0'};
    return accept(p, op) ? NB_OK : nb_jinja_unexpected(p, wanted);
}

enum nb_status nb_jinja_name(struct nb_jparser *p, struct nb_text *name)
{
    if (p->t->kind != NB_JT_NAME)
        return nb_jinja_unexpected(p, "a name");
    *name = (p->t++)->text;
    return NB_OK;
}

static enum nb_status binary(struct nb_jparser *p, struct nb_jnode **left, enum nb_jnode_kind kind,
                             unsigned op, struct nb_jnode *right)
{
    struct nb_jnode *e;
    NB_TRY(nb_jinja_node(p, &e, kind));
    e->op = op;
    e->a = *left;
    e->b = right;
    *left = e;
    return NB_OK;
}

/* ---- what stands alone ---- */

/* Items up to `close`, behind the opening bracket. */
static enum nb_status items(struct nb_jparser *p, struct nb_jnode **out, unsigned close)
{
    struct nb_jnode **tail = out;
    *out = NULL;
    while (!nb_jinja_at(p, close)) {
        NB_TRY(nb_jinja_expression(p, tail));
        tail = &(*tail)->next;
        if (!accept(p, ','))
            break;
    }
    return nb_jinja_expect(p, close);
}

static enum nb_status parenthesis(struct nb_jparser *p, struct nb_jnode **out)
{
    struct nb_jnode *first = NULL;
    if (!nb_jinja_at(p, ')')) {
        NB_TRY(nb_jinja_expression(p, &first));
        if (accept(p, ')')) {
            *out = first;
            return NB_OK;
        }
        NB_TRY(nb_jinja_expect(p, ','));
    }
    NB_TRY(nb_jinja_node(p, out, NB_JN_LIST)); /* a tuple */
    struct nb_jnode *rest;
    NB_TRY(items(p, &rest, ')'));
    if (first != NULL)
        first->next = rest;
    (*out)->a = first != NULL ? first : rest;
    return NB_OK;
}

static enum nb_status dict(struct nb_jparser *p, struct nb_jnode **out)
{
    NB_TRY(nb_jinja_node(p, out, NB_JN_DICT));
    struct nb_jnode **tail = &(*out)->a;
    while (!nb_jinja_at(p, '}')) {
        NB_TRY(nb_jinja_node(p, tail, NB_JN_ARG));
        NB_TRY(nb_jinja_expression(p, &(*tail)->a));
        NB_TRY(nb_jinja_expect(p, ':'));
        NB_TRY(nb_jinja_expression(p, &(*tail)->b));
        tail = &(*tail)->next;
        if (!accept(p, ','))
            break;
    }
    return nb_jinja_expect(p, '}');
}

static enum nb_status number(struct nb_jparser *p, struct nb_jnode **out)
{
    char digits[32];
    const struct nb_jtoken *t = p->t++;
    double f;
    int64_t i;
    NB_TRY(nb_jinja_node(p, out, NB_JN_CONST));
    (*out)->line = t->line;
    if (t->text.n < sizeof digits) {
        memcpy(digits, t->text.s, t->text.n);
        digits[t->text.n] = '\0';
        if (t->kind == NB_JT_INT && nb_parse_i64(digits, &i)) {
            (*out)->value = nb_jinja_int(i);
            return NB_OK;
        }
        if (t->kind == NB_JT_FLOAT && nb_parse_f64(digits, &f)) {
            (*out)->value = (struct nb_jv){.kind = NB_J_FLOAT, .v.f = f};
            return NB_OK;
        }
    }
    NB_FAIL(p->err, NB_ERR_UNSUPPORTED, "chat template, line %u: a number out of range", t->line);
}

/* Texts next to each other are one. */
static enum nb_status string(struct nb_jparser *p, struct nb_jnode **out)
{
    size_t n = 0;
    NB_TRY(nb_jinja_node(p, out, NB_JN_CONST));
    const struct nb_jtoken *first = p->t;
    for (; p->t->kind == NB_JT_STRING; p->t++)
        n += p->t->text.n;
    if (p->t - first == 1) {
        (*out)->value = nb_jinja_string(first->text);
        return NB_OK;
    }
    char *text = nb_arena_alloc(p->arena, n + 1, 1);
    if (text == NULL)
        NB_FAIL(p->err, NB_ERR_NOMEM, "chat template: out of memory");
    (*out)->value = nb_jinja_string((struct nb_text){text, n});
    for (; first < p->t; first++) {
        memcpy(text, first->text.s, first->text.n);
        text += first->text.n;
    }
    return NB_OK;
}

static enum nb_status name(struct nb_jparser *p, struct nb_jnode **out)
{
    static const struct {
        const char *name;
        struct nb_jv value;
    } words[] = {
        {"true", {.kind = NB_J_BOOL, .v.i = 1}},
        {"True", {.kind = NB_J_BOOL, .v.i = 1}},
        {"false", {.kind = NB_J_BOOL, .v.i = 0}},
        {"False", {.kind = NB_J_BOOL, .v.i = 0}},
        {"none", {.kind = NB_J_NONE}},
        {"None", {.kind = NB_J_NONE}},
    };
    NB_TRY(nb_jinja_node(p, out, NB_JN_NAME));
    NB_TRY(nb_jinja_name(p, &(*out)->name));
    for (size_t i = 0; i < NB_COUNTOF(words); i++)
        if (nb_jinja_is((*out)->name, words[i].name)) {
            (*out)->kind = NB_JN_CONST;
            (*out)->value = words[i].value;
        }
    return NB_OK;
}

static enum nb_status primary(struct nb_jparser *p, struct nb_jnode **out)
{
    switch (p->t->kind) {
    case NB_JT_NAME:
        return name(p, out);
    case NB_JT_STRING:
        return string(p, out);
    case NB_JT_INT:
    case NB_JT_FLOAT:
        return number(p, out);
    default:
        break;
    }
    if (accept(p, '('))
        return parenthesis(p, out);
    if (accept(p, '{'))
        return dict(p, out);
    if (!accept(p, '['))
        return nb_jinja_unexpected(p, "a value");
    NB_TRY(nb_jinja_node(p, out, NB_JN_LIST));
    return items(p, &(*out)->a, ']');
}

/* ---- what follows a value ---- */

/* Behind "(". */
static enum nb_status arguments(struct nb_jparser *p, struct nb_jnode **out)
{
    struct nb_jnode **tail = out;
    *out = NULL;
    while (!nb_jinja_at(p, ')')) {
        NB_TRY(nb_jinja_node(p, tail, NB_JN_ARG));
        if (p->t->kind == NB_JT_NAME && p->t[1].kind == NB_JT_OP && p->t[1].op == '=') {
            (*tail)->name = p->t->text;
            p->t += 2;
        }
        NB_TRY(nb_jinja_expression(p, &(*tail)->a));
        tail = &(*tail)->next;
        if (!accept(p, ','))
            break;
    }
    return nb_jinja_expect(p, ')');
}

/* Behind "[". */
static enum nb_status subscript(struct nb_jparser *p, struct nb_jnode **e)
{
    struct nb_jnode *of = *e, *part[3] = {NULL, NULL, NULL};
    size_t n = 0;
    for (; n < 3; n++) {
        if (!nb_jinja_at(p, ':') && !nb_jinja_at(p, ']'))
            NB_TRY(nb_jinja_expression(p, &part[n]));
        if (!accept(p, ':'))
            break;
    }
    if (n == 0 && part[0] == NULL)
        return nb_jinja_unexpected(p, "an index");
    NB_TRY(nb_jinja_expect(p, ']'));
    NB_TRY(nb_jinja_node(p, e, n == 0 ? NB_JN_INDEX : NB_JN_SLICE));
    (*e)->a = of;
    (*e)->b = part[0];
    (*e)->c = part[1];
    (*e)->d = part[2];
    return NB_OK;
}

/* Behind ".": a name, or a number as index. */
static enum nb_status attribute(struct nb_jparser *p, struct nb_jnode **e)
{
    struct nb_jnode *of = *e;
    if (p->t->kind == NB_JT_INT) {
        struct nb_jnode *index;
        NB_TRY(number(p, &index));
        return binary(p, e, NB_JN_INDEX, 0, index);
    }
    NB_TRY(nb_jinja_node(p, e, NB_JN_ATTR));
    (*e)->a = of;
    return nb_jinja_name(p, &(*e)->name);
}

/* Behind "(". */
static enum nb_status call(struct nb_jparser *p, struct nb_jnode **e)
{
    struct nb_jnode *args;
    NB_TRY(arguments(p, &args));
    return binary(p, e, NB_JN_CALL, 0, args);
}

static enum nb_status postfix(struct nb_jparser *p, struct nb_jnode **e)
{
    for (;;) {
        if (accept(p, '.')) {
            NB_TRY(attribute(p, e));
        } else if (accept(p, '[')) {
            NB_TRY(subscript(p, e));
        } else if (accept(p, '(')) {
            NB_TRY(call(p, e));
        } else {
            return NB_OK;
        }
    }
}

/* Behind "is". An argument may stand without brackets. */
static enum nb_status test(struct nb_jparser *p, struct nb_jnode **e)
{
    struct nb_jnode *of = *e;
    NB_TRY(nb_jinja_node(p, e, NB_JN_TEST));
    (*e)->a = of;
    (*e)->flag = accept_name(p, "not");
    NB_TRY(nb_jinja_name(p, &(*e)->name));
    if (accept(p, '('))
        return arguments(p, &(*e)->b);
    const enum nb_jtoken_kind kind = p->t->kind;
    const bool word = kind == NB_JT_NAME && !nb_jinja_at_name(p, "else") &&
                      !nb_jinja_at_name(p, "or") && !nb_jinja_at_name(p, "and");
    if (!word && kind != NB_JT_STRING && kind != NB_JT_INT && kind != NB_JT_FLOAT &&
        !nb_jinja_at(p, '[') && !nb_jinja_at(p, '{'))
        return NB_OK;
    if (nb_jinja_at_name(p, "is"))
        return nb_jinja_unexpected(p, "'and' between two tests");
    NB_TRY(nb_jinja_node(p, &(*e)->b, NB_JN_ARG));
    NB_TRY(primary(p, &(*e)->b->a));
    return postfix(p, &(*e)->b->a);
}

/* Behind "|". */
static enum nb_status filter(struct nb_jparser *p, struct nb_jnode **e)
{
    struct nb_jnode *of = *e;
    NB_TRY(nb_jinja_node(p, e, NB_JN_FILTER));
    (*e)->a = of;
    NB_TRY(nb_jinja_name(p, &(*e)->name));
    return accept(p, '(') ? arguments(p, &(*e)->b) : NB_OK;
}

enum nb_status nb_jinja_filters(struct nb_jparser *p, struct nb_jnode **e)
{
    do
        NB_TRY(filter(p, e));
    while (accept(p, '|'));
    return NB_OK;
}

static enum nb_status filters(struct nb_jparser *p, struct nb_jnode **e)
{
    for (;;) {
        if (accept(p, '|')) {
            NB_TRY(filter(p, e));
        } else if (accept_name(p, "is")) {
            NB_TRY(test(p, e));
        } else if (accept(p, '(')) {
            NB_TRY(call(p, e));
        } else {
            return NB_OK;
        }
    }
}

static enum nb_status unary(struct nb_jparser *p, struct nb_jnode **out)
{
    unsigned minus = 0;
    bool sign = false;
    while (nb_jinja_at(p, '-') || nb_jinja_at(p, '+')) {
        minus += nb_jinja_at(p, '-');
        sign = true;
        p->t++;
    }
    NB_TRY(primary(p, out));
    NB_TRY(postfix(p, out));
    if (sign) { /* also of "+": what it is put before has to be a number */
        struct nb_jnode *of = *out;
        NB_TRY(nb_jinja_node(p, out, NB_JN_NEG));
        (*out)->a = of;
        (*out)->flag = minus % 2 == 0;
    }
    return filters(p, out);
}

/* ---- operators ---- */

struct level {
    unsigned ops[4];
};
static const struct level levels[] = {
    {{'+', '-'}},
    {{'~'}},
    {{'*', '/', NB_JOP2('/', '/'), '%'}},
    {{NB_JOP2('*', '*')}},
};

static enum nb_status arithmetic(struct nb_jparser *p, struct nb_jnode **out, size_t level)
{
    struct nb_jnode *right;
    if (level == NB_COUNTOF(levels))
        return unary(p, out);
    NB_TRY(arithmetic(p, out, level + 1));
    for (size_t i = 0; i < 4;) {
        const unsigned op = levels[level].ops[i++];
        if (op == 0 || !accept(p, op))
            continue;
        NB_TRY(arithmetic(p, &right, level + 1));
        NB_TRY(binary(p, out, NB_JN_BINARY, op, right));
        i = 0;
    }
    return NB_OK;
}

/* 0: no comparison follows. */
static unsigned comparison(struct nb_jparser *p)
{
    static const unsigned ops[] = {NB_JOP2('=', '='), NB_JOP2('!', '='), '<', '>',
                                   NB_JOP2('<', '='), NB_JOP2('>', '=')};
    for (size_t i = 0; i < NB_COUNTOF(ops); i++)
        if (accept(p, ops[i]))
            return ops[i];
    if (accept_name(p, "in"))
        return NB_JOP2('i', 'n');
    if (nb_jinja_at_name(p, "not") && p->t[1].kind == NB_JT_NAME &&
        nb_jinja_is(p->t[1].text, "in")) {
        p->t += 2;
        return NB_JOP2('n', 'i');
    }
    return 0;
}

static enum nb_status compare(struct nb_jparser *p, struct nb_jnode **out)
{
    struct nb_jnode *first;
    NB_TRY(arithmetic(p, &first, 0));
    unsigned op = comparison(p);
    *out = first;
    if (op == 0)
        return NB_OK;
    NB_TRY(nb_jinja_node(p, out, NB_JN_CHAIN));
    (*out)->a = first;
    for (struct nb_jnode **tail = &(*out)->b; op != 0; tail = &(*tail)->next, op = comparison(p)) {
        NB_TRY(nb_jinja_node(p, tail, NB_JN_ARG));
        (*tail)->op = op;
        NB_TRY(arithmetic(p, &(*tail)->a, 0));
    }
    return NB_OK;
}

static enum nb_status negation(struct nb_jparser *p, struct nb_jnode **out)
{
    unsigned n = 0;
    while (accept_name(p, "not"))
        n++;
    NB_TRY(compare(p, out));
    for (; n > 0; n = n > 2 ? n - 2 : n - 1) { /* an even number: twice */
        struct nb_jnode *of = *out;
        NB_TRY(nb_jinja_node(p, out, NB_JN_NOT));
        (*out)->a = of;
    }
    return NB_OK;
}

static enum nb_status conjunction(struct nb_jparser *p, struct nb_jnode **out)
{
    struct nb_jnode *right;
    NB_TRY(negation(p, out));
    while (accept_name(p, "and")) {
        NB_TRY(negation(p, &right));
        NB_TRY(binary(p, out, NB_JN_AND, 0, right));
    }
    return NB_OK;
}

enum nb_status nb_jinja_or(struct nb_jparser *p, struct nb_jnode **out)
{
    struct nb_jnode *right;
    NB_TRY(conjunction(p, out));
    while (accept_name(p, "or")) {
        NB_TRY(conjunction(p, &right));
        NB_TRY(binary(p, out, NB_JN_OR, 0, right));
    }
    return NB_OK;
}

enum nb_status nb_jinja_expression(struct nb_jparser *p, struct nb_jnode **out)
{
    if (p->depth >= NB_JINJA_MAX_PARSE)
        NB_FAIL(p->err, NB_ERR_LIMIT, "chat template, line %u: more than %u levels of nesting",
                p->t->line, NB_JINJA_MAX_PARSE);
    p->depth++;
    NB_TRY(nb_jinja_or(p, out));
    while (accept_name(p, "if")) {
        struct nb_jnode *e;
        NB_TRY(nb_jinja_node(p, &e, NB_JN_COND));
        e->a = *out;
        NB_TRY(nb_jinja_or(p, &e->b));
        if (accept_name(p, "else"))
            NB_TRY(nb_jinja_expression(p, &e->c));
        *out = e;
    }
    p->depth--;
    return NB_OK;
}

enum nb_status nb_jinja_tuple(struct nb_jparser *p, struct nb_jnode **out)
{
    struct nb_jnode *first;
    NB_TRY(nb_jinja_expression(p, &first));
    *out = first;
    if (!nb_jinja_at(p, ','))
        return NB_OK;
    NB_TRY(nb_jinja_node(p, out, NB_JN_LIST));
    (*out)->a = first;
    for (struct nb_jnode *last = first; accept(p, ','); last = last->next) {
        if (p->t->kind == NB_JT_BLOCK_END || p->t->kind == NB_JT_VAR_END)
            break;
        NB_TRY(nb_jinja_expression(p, &last->next));
    }
    return NB_OK;
}
