/* text/jinja_exec.c: carries out the statements of a template.
 *
 * Scopes as in Jinja: each turn of a loop, each macro and each set block has its own; an if has none.
 */
#include "text/jinja.h"

#include <string.h>

static enum nb_status set_in(struct nb_jrun *r, struct nb_jscope *s, struct nb_text name,
                             struct nb_jv value)
{
    struct nb_jvar *v;
    for (v = s->vars; v != NULL; v = v->next)
        if (v->name.n == name.n && memcmp(v->name.s, name.s, name.n) == 0) {
            v->value = value;
            return NB_OK;
        }
    NB_TRY(nb_jinja_alloc(r, &v, 1, sizeof *v));
    *v = (struct nb_jvar){.name = name, .value = value, .next = s->vars};
    s->vars = v;
    return NB_OK;
}

enum nb_status nb_jinja_set(struct nb_jrun *r, struct nb_text name, struct nb_jv value)
{
    return set_in(r, r->scope, name, value);
}

/* name = value, or an attribute of a namespace. */
static enum nb_status assign_one(struct nb_jrun *r, const struct nb_jnode *target,
                                 struct nb_jv value)
{
    struct nb_jv space;
    if (target->kind == NB_JN_NAME)
        return nb_jinja_set(r, target->name, value);
    NB_TRY(nb_jinja_eval(r, target->a, &space));
    if (space.kind != NB_J_NAMESPACE)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: an attribute of %s cannot be set",
                r->line, nb_jinja_kind_name(space.kind));
    return nb_jinja_dict_put(r, space.v.dict, nb_jinja_string(target->name), value);
}

static enum nb_status assign(struct nb_jrun *r, const struct nb_jnode *targets, struct nb_jv value)
{
    struct nb_jlist *list;
    size_t n = 0;
    if (targets->next == NULL)
        return assign_one(r, targets, value);
    for (const struct nb_jnode *t = targets; t != NULL; t = t->next)
        n++;
    NB_TRY(nb_jinja_items(r, value, &list));
    if (list->n != n)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: %zu values for %zu names", r->line,
                list->n, n);
    for (size_t i = 0; i < n; i++, targets = targets->next)
        NB_TRY(assign_one(r, targets, list->items[i]));
    return NB_OK;
}

/* Runs a body in a scope of its own. */
static enum nb_status run_inside(struct nb_jrun *r, const struct nb_jnode *body,
                                 struct nb_jscope *scope)
{
    struct nb_jscope *outer = r->scope;
    r->scope = scope;
    const enum nb_status st = nb_jinja_run(r, body);
    r->scope = outer;
    return st;
}

/* The same, its output being a string. */
static enum nb_status run_aside(struct nb_jrun *r, const struct nb_jnode *body,
                                struct nb_jscope *scope, struct nb_jv *out)
{
    struct nb_jbuf b, *outer = r->out;
    nb_jbuf_init(&b, r->a);
    r->out = &b;
    enum nb_status st = run_inside(r, body, scope);
    r->out = outer;
    if (st == NB_OK)
        st = nb_jinja_take(r, &b, out);
    nb_jbuf_fini(&b);
    return st;
}

/* ---- loops ---- */

static enum nb_status loop_value(struct nb_jrun *r, const struct nb_jlist *l, size_t i,
                                 struct nb_jv *out)
{
    const int64_t n = (int64_t)l->n, at = (int64_t)i;
    const struct {
        const char *name;
        struct nb_jv value;
    } parts[] = {
        {"index", nb_jinja_int(at + 1)},
        {"index0", nb_jinja_int(at)},
        {"first", nb_jinja_bool(i == 0)},
        {"last", nb_jinja_bool(i + 1 == l->n)},
        {"length", nb_jinja_int(n)},
        {"revindex", nb_jinja_int(n - at)},
        {"revindex0", nb_jinja_int(n - at - 1)},
        {"previtem", i > 0 ? l->items[i - 1] : (struct nb_jv){.kind = NB_J_UNDEFINED}},
        {"nextitem", i + 1 < l->n ? l->items[i + 1] : (struct nb_jv){.kind = NB_J_UNDEFINED}},
    };
    NB_TRY(nb_jinja_new_dict(r, out));
    out->kind = NB_J_NAMESPACE;
    for (size_t k = 0; k < NB_COUNTOF(parts); k++)
        NB_TRY(nb_jinja_dict_put(
            r, out->v.dict, nb_jinja_string((struct nb_text){parts[k].name, strlen(parts[k].name)}),
            parts[k].value));
    return NB_OK;
}

/* The items for which the loop's condition holds. */
static enum nb_status chosen(struct nb_jrun *r, const struct nb_jnode *e, const struct nb_jlist *in,
                             struct nb_jlist **out)
{
    struct nb_jscope *outer = r->scope;
    struct nb_jv list, yes;
    enum nb_status st = nb_jinja_new_list(r, &list, 0);
    for (size_t i = 0; i < in->n && st == NB_OK; i++) {
        struct nb_jscope scope = {.parent = outer};
        r->scope = &scope;
        st = assign(r, e->d, in->items[i]);
        if (st == NB_OK)
            st = nb_jinja_eval(r, e->c, &yes);
        if (st == NB_OK && nb_jinja_truth(&yes))
            st = nb_jinja_push(r, list.v.list, in->items[i]);
    }
    r->scope = outer;
    *out = list.v.list;
    return st;
}

static enum nb_status one_turn(struct nb_jrun *r, const struct nb_jnode *e,
                               const struct nb_jlist *list, size_t i)
{
    struct nb_jscope scope = {.parent = r->scope}, *outer = r->scope;
    struct nb_jv loop;
    NB_TRY(loop_value(r, list, i, &loop));
    NB_TRY(set_in(r, &scope, NB_TEXT_LIT("loop"), loop));
    r->scope = &scope;
    enum nb_status st = assign(r, e->d, list->items[i]);
    if (st == NB_OK)
        st = nb_jinja_run(r, e->b);
    r->scope = outer;
    return st;
}

static enum nb_status run_for(struct nb_jrun *r, const struct nb_jnode *e)
{
    struct nb_jv over;
    struct nb_jlist *list;
    NB_TRY(nb_jinja_eval(r, e->a, &over));
    NB_TRY(nb_jinja_items(r, over, &list));
    if (e->c != NULL)
        NB_TRY(chosen(r, e, list, &list));
    for (size_t i = 0; i < list->n; i++) {
        NB_TRY(one_turn(r, e, list, i));
        const bool leave = r->flow == NB_J_BREAK;
        r->flow = NB_J_GO_ON;
        if (leave)
            break;
    }
    if (list->n == 0 && e->e != NULL) {
        struct nb_jscope scope = {.parent = r->scope};
        return run_inside(r, e->e, &scope);
    }
    return NB_OK;
}

/* ---- macros ---- */

enum nb_status nb_jinja_macro(struct nb_jrun *r, const struct nb_jnode *macro,
                              const struct nb_jnode *args, struct nb_jv *out)
{
    struct nb_jscope scope = {.parent = r->globals}, *outer = r->scope;
    const struct nb_jnode *p = macro->d;
    struct nb_jv v;
    for (; args != NULL; args = args->next) {
        const struct nb_jnode *to = macro->d;
        char name[40];
        NB_TRY(nb_jinja_eval(r, args->a, &v));
        if (args->name.s == NULL) {
            to = p;
            p = p != NULL ? p->next : NULL;
        }
        while (to != NULL && args->name.s != NULL &&
               !(to->name.n == args->name.n && memcmp(to->name.s, args->name.s, to->name.n) == 0))
            to = to->next;
        if (to == NULL)
            NB_FAIL(r->err, NB_ERR_FORMAT,
                    "chat template, line %u: the macro '%s' does not take all these arguments",
                    r->line, nb_printable(name, sizeof name, macro->name.s, macro->name.n));
        NB_TRY(set_in(r, &scope, to->name, v));
    }
    enum nb_status st = NB_OK;
    for (p = macro->d; p != NULL && st == NB_OK; p = p->next) {
        const struct nb_jvar *given = scope.vars;
        while (given != NULL && given->name.s != p->name.s)
            given = given->next;
        if (given != NULL)
            continue;
        v = (struct nb_jv){.kind = NB_J_UNDEFINED};
        r->scope = &scope;
        if (p->a != NULL)
            st = nb_jinja_eval(r, p->a, &v);
        r->scope = outer;
        if (st == NB_OK)
            st = set_in(r, &scope, p->name, v);
    }
    return st == NB_OK ? run_aside(r, macro->b, &scope, out) : st;
}

/* ---- all of them ---- */

static enum nb_status run_if(struct nb_jrun *r, const struct nb_jnode *e)
{
    struct nb_jv yes;
    do {
        NB_TRY(nb_jinja_eval(r, e->a, &yes));
        if (nb_jinja_truth(&yes))
            return nb_jinja_run(r, e->b);
        e = e->c;
    } while (e != NULL && e->kind == NB_JN_IF && e->flag);
    return nb_jinja_run(r, e);
}

static enum nb_status output(struct nb_jrun *r, const struct nb_jnode *e)
{
    struct nb_jv v;
    NB_TRY(nb_jinja_eval(r, e, &v));
    NB_TRY(nb_jinja_to_string(r, v, &v));
    return nb_jinja_put(r, r->out, v);
}

static enum nb_status run_filter(struct nb_jrun *r, const struct nb_jnode *s)
{
    struct nb_jscope scope = {.parent = r->scope}, *outer = r->scope;
    struct nb_jv v;
    NB_TRY(run_aside(r, s->b, &scope, &v));
    scope = (struct nb_jscope){.parent = outer};
    NB_TRY(set_in(r, &scope, s->d->name, v));
    r->scope = &scope;
    const enum nb_status st = output(r, s->a);
    r->scope = outer;
    return st;
}

static enum nb_status statement(struct nb_jrun *r, const struct nb_jnode *s)
{
    struct nb_jscope scope = {.parent = r->scope};
    struct nb_jv v;
    r->line = s->line;
    switch (s->kind) {
    case NB_JN_DATA:
        return nb_jinja_put(r, r->out, s->value);
    case NB_JN_OUTPUT:
        return output(r, s->a);
    case NB_JN_IF:
        return run_if(r, s);
    case NB_JN_FOR:
        return run_for(r, s);
    case NB_JN_SET:
        NB_TRY(nb_jinja_eval(r, s->a, &v));
        return assign(r, s->d, v);
    case NB_JN_SET_BLOCK:
        NB_TRY(run_aside(r, s->b, &scope, &v));
        return assign(r, s->d, v);
    case NB_JN_FILTER_BLOCK:
        return run_filter(r, s);
    case NB_JN_MACRO:
        return nb_jinja_set(r, s->name, (struct nb_jv){.kind = NB_J_MACRO, .v.macro = s});
    case NB_JN_BLOCK:
        return run_inside(r, s->b, &scope);
    default:
        r->flow = s->kind == NB_JN_BREAK ? NB_J_BREAK : NB_J_CONTINUE;
        return NB_OK;
    }
}

enum nb_status nb_jinja_run(struct nb_jrun *r, const struct nb_jnode *body)
{
    if (r->depth >= NB_JINJA_MAX_DEPTH)
        NB_FAIL(r->err, NB_ERR_LIMIT, "chat template, line %u: more than %u levels of evaluation",
                r->line, NB_JINJA_MAX_DEPTH);
    r->depth++;
    for (; body != NULL && r->flow == NB_J_GO_ON; body = body->next) {
        NB_TRY(nb_jinja_charge(r, 0, 1));
        NB_TRY(statement(r, body));
    }
    r->depth--;
    return NB_OK;
}
