/* text/jinja_parse.c: tokens of a template to a tree of statements. */
#include "text/jinja.h"

#include <string.h>

static enum nb_status body(struct nb_jparser *p, struct nb_jnode **out, const char *const *ends);

static enum nb_status block_end(struct nb_jparser *p)
{
    if (p->t->kind != NB_JT_BLOCK_END)
        return nb_jinja_unexpected(p, "the end of the tag");
    p->t++;
    return NB_OK;
}

/* A body behind its tag, and the tag that ends it up to its name. */
static enum nb_status inner(struct nb_jparser *p, struct nb_jnode **out, const char *const *ends)
{
    NB_TRY(block_end(p));
    if (p->depth >= NB_JINJA_MAX_PARSE)
        NB_FAIL(p->err, NB_ERR_LIMIT, "chat template, line %u: more than %u levels of nesting",
                p->t->line, NB_JINJA_MAX_PARSE);
    p->depth++;
    NB_TRY(body(p, out, ends));
    p->depth--;
    return NB_OK;
}

/* The name of the tag that ended a body. */
static bool ended_by(struct nb_jparser *p, const char *name)
{
    if (!nb_jinja_at_name(p, name))
        return false;
    p->t++;
    return true;
}

static enum nb_status statement_if(struct nb_jparser *p, struct nb_jnode **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct nb_jnode **at = out;
    bool elif = false;
    for (;;) {
        NB_TRY(nb_jinja_node(p, at, NB_JN_IF));
        (*at)->flag = elif;
        NB_TRY(nb_jinja_tuple(p, &(*at)->a));
        NB_TRY(inner(p, &(*at)->b, ends));
        if (!ended_by(p, "elif"))
            break;
        at = &(*at)->c;
        elif = true;
    }
    if (ended_by(p, "else"))
        NB_TRY(inner(p, &(*at)->c, last));
    else
        return ended_by(p, "endif") ? block_end(p) : nb_jinja_unexpected(p, "endif");
    return ended_by(p, "endif") ? block_end(p) : nb_jinja_unexpected(p, "endif");
}

/* Names with commas, perhaps in brackets; one may be an attribute of a namespace. */
static enum nb_status targets(struct nb_jparser *p, struct nb_jnode **out, bool attribute)
{
    const bool bracket = nb_jinja_at(p, '(');
    p->t += bracket;
    for (struct nb_jnode **tail = out;; tail = &(*tail)->next) {
        NB_TRY(nb_jinja_node(p, tail, NB_JN_NAME));
        NB_TRY(nb_jinja_name(p, &(*tail)->name));
        if (attribute && nb_jinja_at(p, '.')) {
            struct nb_jnode *of = *tail;
            p->t++;
            NB_TRY(nb_jinja_node(p, tail, NB_JN_ATTR));
            (*tail)->a = of;
            NB_TRY(nb_jinja_name(p, &(*tail)->name));
        }
        if (!nb_jinja_at(p, ','))
            break;
        p->t++;
        if (p->t->kind != NB_JT_NAME) /* "a, = b" */
            break;
    }
    return bracket ? nb_jinja_expect(p, ')') : NB_OK;
}

static enum nb_status statement_for(struct nb_jparser *p, struct nb_jnode **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const last[] = {"endfor", NULL};
    NB_TRY(nb_jinja_node(p, out, NB_JN_FOR));
    NB_TRY(targets(p, &(*out)->d, false));
    if (!ended_by(p, "in"))
        return nb_jinja_unexpected(p, "'in'");
    NB_TRY(nb_jinja_or(p, &(*out)->a));
    if (nb_jinja_at(p, ',')) {
        struct nb_jnode *list, *first = (*out)->a;
        NB_TRY(nb_jinja_node(p, &list, NB_JN_LIST));
        p->t++;
        NB_TRY(nb_jinja_tuple(p, &first->next));
        if (first->next->kind == NB_JN_LIST)
            first->next = first->next->a;
        list->a = first;
        (*out)->a = list;
    }
    if (ended_by(p, "if"))
        NB_TRY(nb_jinja_expression(p, &(*out)->c));
    if (nb_jinja_at_name(p, "recursive"))
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble does not know recursive loops", p->t->line);
    p->loops++;
    NB_TRY(inner(p, &(*out)->b, ends));
    p->loops--;
    if (ended_by(p, "else"))
        NB_TRY(inner(p, &(*out)->e, last));
    return ended_by(p, "endfor") ? block_end(p) : nb_jinja_unexpected(p, "endfor");
}

static enum nb_status statement_set(struct nb_jparser *p, struct nb_jnode **out)
{
    static const char *const ends[] = {"endset", NULL};
    NB_TRY(nb_jinja_node(p, out, NB_JN_SET));
    NB_TRY(targets(p, &(*out)->d, true));
    if (nb_jinja_at(p, '=')) {
        p->t++;
        NB_TRY(nb_jinja_tuple(p, &(*out)->a));
        return block_end(p);
    }
    if (p->t->kind != NB_JT_BLOCK_END || (*out)->d->next != NULL)
        return nb_jinja_unexpected(p, "'='");
    (*out)->kind = NB_JN_SET_BLOCK;
    NB_TRY(inner(p, &(*out)->b, ends));
    return ended_by(p, "endset") ? block_end(p) : nb_jinja_unexpected(p, "endset");
}

static enum nb_status statement_macro(struct nb_jparser *p, struct nb_jnode **out)
{
    static const char *const ends[] = {"endmacro", NULL};
    if (p->loops > 0 || p->macros > 0)
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble knows macros outside of loops and macros only",
                p->t->line);
    NB_TRY(nb_jinja_node(p, out, NB_JN_MACRO));
    NB_TRY(nb_jinja_name(p, &(*out)->name));
    NB_TRY(nb_jinja_expect(p, '('));
    for (struct nb_jnode **tail = &(*out)->d; !nb_jinja_at(p, ')'); tail = &(*tail)->next) {
        NB_TRY(nb_jinja_node(p, tail, NB_JN_ARG));
        NB_TRY(nb_jinja_name(p, &(*tail)->name));
        if (nb_jinja_at(p, '=')) {
            p->t++;
            NB_TRY(nb_jinja_expression(p, &(*tail)->a));
        }
        if (!nb_jinja_at(p, ','))
            break;
        p->t++;
    }
    NB_TRY(nb_jinja_expect(p, ')'));
    p->macros++;
    NB_TRY(inner(p, &(*out)->b, ends));
    p->macros--;
    if (!ended_by(p, "endmacro"))
        return nb_jinja_unexpected(p, "endmacro");
    if (p->t->kind == NB_JT_NAME) /* its name once more */
        p->t++;
    return block_end(p);
}

static enum nb_status statement_generation(struct nb_jparser *p, struct nb_jnode **out)
{
    static const char *const ends[] = {"endgeneration", NULL};
    NB_TRY(nb_jinja_node(p, out, NB_JN_BLOCK));
    NB_TRY(inner(p, &(*out)->b, ends));
    return ended_by(p, "endgeneration") ? block_end(p) : nb_jinja_unexpected(p, "endgeneration");
}

static enum nb_status statement_filter(struct nb_jparser *p, struct nb_jnode **out)
{
    static const char *const ends[] = {"endfilter", NULL};
    NB_TRY(nb_jinja_node(p, out, NB_JN_FILTER_BLOCK));
    NB_TRY(nb_jinja_node(p, &(*out)->d, NB_JN_NAME));
    (*out)->d->name = NB_TEXT_LIT("(body)"); /* no name of a template */
    (*out)->a = (*out)->d;
    NB_TRY(nb_jinja_filters(p, &(*out)->a));
    NB_TRY(inner(p, &(*out)->b, ends));
    return ended_by(p, "endfilter") ? block_end(p) : nb_jinja_unexpected(p, "endfilter");
}

static enum nb_status statement_leave(struct nb_jparser *p, struct nb_jnode **out)
{
    const bool leave = nb_jinja_is(p->t[-1].text, "break");
    if (p->loops == 0)
        NB_FAIL(p->err, NB_ERR_FORMAT, "chat template, line %u: break or continue outside a loop",
                p->t->line);
    NB_TRY(nb_jinja_node(p, out, leave ? NB_JN_BREAK : NB_JN_CONTINUE));
    return block_end(p);
}

static enum nb_status statement(struct nb_jparser *p, struct nb_jnode **out)
{
    static const struct {
        const char *name;
        enum nb_status (*parse)(struct nb_jparser *p, struct nb_jnode **out);
    } statements[] = {
        {"if", statement_if},
        {"for", statement_for},
        {"set", statement_set},
        {"macro", statement_macro},
        {"break", statement_leave},
        {"continue", statement_leave},
        {"generation", statement_generation},
        {"filter", statement_filter},
    };
    char name[40];
    for (size_t i = 0; i < NB_COUNTOF(statements); i++)
        if (ended_by(p, statements[i].name))
            return statements[i].parse(p, out);
    if (p->t->kind != NB_JT_NAME)
        return nb_jinja_unexpected(p, "a statement");
    NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
            "chat template, line %u: the statement '%s' is not one that nibble knows", p->t->line,
            nb_printable(name, sizeof name, p->t->text.s, p->t->text.n));
}

static bool is_end(const struct nb_jparser *p, const char *const *ends)
{
    for (; ends != NULL && *ends != NULL; ends++)
        if (p->t[1].kind == NB_JT_NAME && nb_jinja_is(p->t[1].text, *ends))
            return true;
    return false;
}

/* Statements up to a tag named by `ends` (its name is next then), or all. */
static enum nb_status body(struct nb_jparser *p, struct nb_jnode **out, const char *const *ends)
{
    for (struct nb_jnode **tail = out;; tail = &(*tail)->next) {
        const struct nb_jtoken *t = p->t;
        if (t->kind == NB_JT_END)
            return ends == NULL ? NB_OK : nb_jinja_unexpected(p, ends[0]);
        if (t->kind == NB_JT_BLOCK_BEGIN && is_end(p, ends)) {
            p->t++;
            return NB_OK;
        }
        p->t++;
        if (t->kind == NB_JT_DATA) {
            NB_TRY(nb_jinja_node(p, tail, NB_JN_DATA));
            (*tail)->value = nb_jinja_string(t->text);
        } else if (t->kind == NB_JT_VAR_BEGIN) {
            NB_TRY(nb_jinja_node(p, tail, NB_JN_OUTPUT));
            NB_TRY(nb_jinja_tuple(p, &(*tail)->a));
            if (p->t->kind != NB_JT_VAR_END)
                return nb_jinja_unexpected(p, "the end of the expression");
            p->t++;
        } else {
            NB_TRY(statement(p, tail));
        }
    }
}

enum nb_status nb_jinja_parse(struct nb_jnode **out, struct nb_text source, struct nb_arena *arena,
                              struct nb_error *err)
{
    struct nb_jtokens tokens;
    *out = NULL;
    NB_TRY(nb_jinja_lex(&tokens, source, arena, err));
    struct nb_jparser p = {.t = tokens.items, .arena = arena, .err = err};
    return body(&p, out, NULL);
}
