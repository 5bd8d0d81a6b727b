/* text/jinja.h: the part of the Jinja language that chat templates are written in, for this room.
 *
 * Follows the Jinja template designer documentation (3.1) as Hugging Face transformers sets it up:
 * trim_blocks, lstrip_blocks, break and continue, {% generation %}, raise_exception, strftime_now, a
 * tojson that escapes nothing for HTML, lists that cannot be changed. What it leaves out is refused by
 * name where it is met: inheritance, includes, raw and call blocks, recursive loops, rarer
 * filters, upper and lower case of letters outside ASCII.
 *
 * Every byte of a string knows where it comes from: the template, or one of the messages.
 * Templates come with models, so they are not trusted: source, nesting, steps and memory are bounded.
 */
#ifndef NB_TEXT_JINJA_H
#define NB_TEXT_JINJA_H

#include "text/text_internal.h"

#define NB_JINJA_MAX_SOURCE (256u * 1024u)
#define NB_JINJA_MAX_PARSE  64u  /* brackets and blocks within each other */
#define NB_JINJA_MAX_DEPTH  400u /* evaluation */

/* ---- values ---- */
enum nb_jkind {
    NB_J_UNDEFINED,
    NB_J_NONE,
    NB_J_BOOL,
    NB_J_INT,
    NB_J_FLOAT,
    NB_J_STRING,
    NB_J_LIST,
    NB_J_DICT,
    NB_J_NAMESPACE,
    NB_J_MACRO,
    NB_J_FUNCTION
};

struct nb_jnode;
struct nb_jlist;
struct nb_jdict;
/* Borrows: everything, from the arena of the template or of the run. */
struct nb_jv {
    enum nb_jkind kind;
    union {
        int64_t i; /* also bool, and which function */
        double f;
        const char *s; /* (n) valid UTF-8 */
        struct nb_jlist *list;
        struct nb_jdict *dict; /* also a namespace's */
        const struct nb_jnode *macro;
    } v;
    size_t n;            /* bytes of a string */
    const uint8_t *from; /* (n) enum nb_chat_origin; NULL: all the template's */
};
struct nb_jlist {
    struct nb_jv *items; /* (n) */
    size_t n, cap;
};
struct nb_jdict {
    struct nb_jv *keys, *values; /* (n) in order of insertion */
    size_t n, cap;
};

/* ---- jinja_lex.c ---- */
enum nb_jtoken_kind {
    NB_JT_END,
    NB_JT_DATA,
    NB_JT_VAR_BEGIN,
    NB_JT_VAR_END,
    NB_JT_BLOCK_BEGIN,
    NB_JT_BLOCK_END,
    NB_JT_NAME,
    NB_JT_STRING,
    NB_JT_INT,
    NB_JT_FLOAT,
    NB_JT_OP
};
#define NB_JOP2(a, b) ((unsigned)(a) | (unsigned)(b) << 8)
struct nb_jtoken {
    enum nb_jtoken_kind kind;
    unsigned op; /* the character, or NB_JOP2 of two */
    uint32_t line;
    struct nb_text text; /* data and strings: as they are meant */
};
/* Owns: nothing; tokens and texts are the arena's. */
struct nb_jtokens {
    struct nb_jtoken *items; /* (n), the last is NB_JT_END */
    size_t n, cap;
};
NB_CHECKED enum nb_status nb_jinja_lex(struct nb_jtokens *out, struct nb_text source,
                                       struct nb_arena *arena, struct nb_error *err);
bool nb_jinja_is_space(uint32_t cp); /* Python's str.isspace */
struct nb_text nb_jinja_trim(struct nb_text t, bool left, bool right);

/* ---- jinja_expr.c, jinja_parse.c ---- */
enum nb_jnode_kind {
    /* expressions */
    NB_JN_CONST,  /* value */
    NB_JN_NAME,   /* name */
    NB_JN_LIST,   /* items a */
    NB_JN_DICT,   /* items a: key in a, value in b */
    NB_JN_NOT,    /* a */
    NB_JN_NEG,    /* a */
    NB_JN_AND,    /* a, b */
    NB_JN_OR,     /* a, b */
    NB_JN_BINARY, /* a op b */
    NB_JN_CHAIN,  /* a, then b: comparisons (op, a), each against the one before */
    NB_JN_COND,   /* a if b else c (or NULL) */
    NB_JN_ATTR,   /* a.name */
    NB_JN_INDEX,  /* a[b] */
    NB_JN_SLICE,  /* a[b:c:d], each may be NULL */
    NB_JN_CALL,   /* a(arguments b) */
    NB_JN_FILTER, /* a | name(arguments b) */
    NB_JN_TEST,   /* a is name(arguments b); flag: is not */
    NB_JN_ARG,    /* name (or none) = a */
    /* statements */
    NB_JN_DATA,         /* value */
    NB_JN_OUTPUT,       /* a */
    NB_JN_IF,           /* a: body b, else c; flag: it is an elif, and c of another */
    NB_JN_FOR,          /* targets d in a if c: body b, else e */
    NB_JN_SET,          /* targets d = a */
    NB_JN_SET_BLOCK,    /* target d, body b */
    NB_JN_FILTER_BLOCK, /* a: filters on the name d, which stands for the output of body b */
    NB_JN_MACRO,        /* name (parameters d): body b */
    NB_JN_BLOCK,        /* body b in a scope of its own */
    NB_JN_BREAK,
    NB_JN_CONTINUE
};
struct nb_jnode {
    enum nb_jnode_kind kind;
    unsigned op; /* as in a token; NB_JOP2('i', 'n') and NB_JOP2('n', 'i'): in, not in */
    uint32_t line;
    bool flag;
    struct nb_text name;
    struct nb_jv value;
    struct nb_jnode *a, *b, *c, *d, *e;
    struct nb_jnode *next; /* in a list */
};
struct nb_jparser {
    const struct nb_jtoken *t; /* the next one */
    struct nb_arena *arena;
    unsigned depth, loops, macros;
    struct nb_error *err;
};
NB_CHECKED enum nb_status nb_jinja_parse(struct nb_jnode **out, struct nb_text source,
                                         struct nb_arena *arena, struct nb_error *err);
NB_CHECKED enum nb_status nb_jinja_expression(struct nb_jparser *p, struct nb_jnode **out);
NB_CHECKED enum nb_status nb_jinja_or(struct nb_jparser *p, struct nb_jnode **out); /* no "if" */
/* Filters to put on *e, the first without its "|". */
NB_CHECKED enum nb_status nb_jinja_filters(struct nb_jparser *p, struct nb_jnode **e);
/* Expressions with commas between them are a list. */
NB_CHECKED enum nb_status nb_jinja_tuple(struct nb_jparser *p, struct nb_jnode **out);
NB_CHECKED enum nb_status nb_jinja_node(struct nb_jparser *p, struct nb_jnode **out,
                                        enum nb_jnode_kind kind);
bool nb_jinja_at(const struct nb_jparser *p, unsigned op);
bool nb_jinja_at_name(const struct nb_jparser *p, const char *name);
NB_CHECKED enum nb_status nb_jinja_expect(struct nb_jparser *p, unsigned op);
NB_CHECKED enum nb_status nb_jinja_name(struct nb_jparser *p, struct nb_text *name);
enum nb_status nb_jinja_unexpected(const struct nb_jparser *p, const char *wanted);

/* ---- a run ---- */
/* Text with its origins. Owns: both. */
struct nb_jbuf {
    struct nb_str text, from;
};
struct nb_jvar {
    struct nb_text name;
    struct nb_jv value;
    struct nb_jvar *next;
};
struct nb_jscope {
    struct nb_jscope *parent;
    struct nb_jvar *vars;
};
/* Owns: arena. */
struct nb_jrun {
    const struct nb_allocator *a;
    struct nb_arena arena;
    size_t bytes, max_bytes; /* of memory, charged as it is taken */
    uint64_t steps, max_steps;
    unsigned depth;
    struct nb_jscope *scope, *globals;
    struct nb_jbuf *out;
    enum { NB_J_GO_ON, NB_J_BREAK, NB_J_CONTINUE } flow;
    uint32_t line;
    int year, month, day; /* 0: strftime_now is not defined */
    struct nb_error *err;
};

/* jinja_value.c */
NB_CHECKED enum nb_status nb_jinja_charge(struct nb_jrun *r, size_t bytes, uint64_t steps);
NB_CHECKED enum nb_status nb_jinja_alloc(struct nb_jrun *r, void *out /* T ** */, size_t n,
                                         size_t size);
NB_CHECKED enum nb_status nb_jinja_put(struct nb_jrun *r, struct nb_jbuf *b, struct nb_jv s);
NB_CHECKED enum nb_status nb_jinja_take(struct nb_jrun *r, struct nb_jbuf *b, struct nb_jv *out);
void nb_jbuf_init(struct nb_jbuf *b, const struct nb_allocator *a);
void nb_jbuf_fini(struct nb_jbuf *b);
struct nb_jv nb_jinja_string(struct nb_text t); /* the template's */
struct nb_jv nb_jinja_bool(bool b);
struct nb_jv nb_jinja_int(int64_t i);
struct nb_jv nb_jinja_part(struct nb_jv s, size_t at, size_t n); /* bytes of a string */
bool nb_jinja_truth(const struct nb_jv *v);
bool nb_jinja_is(struct nb_text t, const char *s);
const char *nb_jinja_kind_name(enum nb_jkind kind);
NB_CHECKED enum nb_status nb_jinja_equal(struct nb_jrun *r, const struct nb_jv *a,
                                         const struct nb_jv *b, bool *out);
NB_CHECKED enum nb_status nb_jinja_to_string(struct nb_jrun *r, struct nb_jv v, struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_to_json(struct nb_jrun *r, struct nb_jbuf *b, struct nb_jv v,
                                           int64_t indent, unsigned level);
NB_CHECKED enum nb_status nb_jinja_new_list(struct nb_jrun *r, struct nb_jv *out, size_t n);
NB_CHECKED enum nb_status nb_jinja_push(struct nb_jrun *r, struct nb_jlist *l, struct nb_jv v);
NB_CHECKED enum nb_status nb_jinja_new_dict(struct nb_jrun *r, struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_dict_put(struct nb_jrun *r, struct nb_jdict *d, struct nb_jv key,
                                            struct nb_jv value);
NB_CHECKED enum nb_status nb_jinja_dict_find(struct nb_jrun *r, const struct nb_jdict *d,
                                             const struct nb_jv *key, const struct nb_jv **out);
const struct nb_jv *nb_jinja_dict_get(const struct nb_jdict *d, struct nb_text key);
/* What a loop over v goes through: a list's items, a dict's keys, a string's characters. */
NB_CHECKED enum nb_status nb_jinja_items(struct nb_jrun *r, struct nb_jv v, struct nb_jlist **out);
size_t nb_jinja_length(struct nb_jv s); /* characters of a string */
/* at..: where needle begins in s, or s.n. */
NB_CHECKED enum nb_status nb_jinja_find(struct nb_jrun *r, struct nb_jv s, struct nb_jv needle,
                                        size_t at, size_t *out);
NB_CHECKED enum nb_status nb_jinja_from_json(struct nb_jrun *r, const nb_json *j, unsigned depth,
                                             struct nb_jv *out);

/* jinja_eval.c */
NB_CHECKED enum nb_status nb_jinja_eval(struct nb_jrun *r, const struct nb_jnode *e,
                                        struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_attribute(struct nb_jrun *r, struct nb_jv v, struct nb_text name,
                                             struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_compare(struct nb_jrun *r, unsigned op, struct nb_jv a,
                                           struct nb_jv b, bool *out);
/* jinja_exec.c */
NB_CHECKED enum nb_status nb_jinja_run(struct nb_jrun *r, const struct nb_jnode *body);
NB_CHECKED enum nb_status nb_jinja_set(struct nb_jrun *r, struct nb_text name, struct nb_jv value);
NB_CHECKED enum nb_status nb_jinja_macro(struct nb_jrun *r, const struct nb_jnode *macro,
                                         const struct nb_jnode *args, struct nb_jv *out);

/* Arguments worked out: positional ones first. */
#define NB_JINJA_MAX_ARGS 8
struct nb_jargs {
    struct nb_jv v[NB_JINJA_MAX_ARGS];
    struct nb_text names[NB_JINJA_MAX_ARGS]; /* s == NULL: positional */
    size_t n, n_positional;
};
/* jinja_filter.c, jinja_call.c */
NB_CHECKED enum nb_status nb_jinja_filter(struct nb_jrun *r, struct nb_text name, struct nb_jv in,
                                          const struct nb_jargs *args, struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_test(struct nb_jrun *r, struct nb_text name, struct nb_jv in,
                                        const struct nb_jargs *args, bool *out);
NB_CHECKED enum nb_status nb_jinja_method(struct nb_jrun *r, struct nb_text name, struct nb_jv self,
                                          const struct nb_jargs *args, struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_function(struct nb_jrun *r, int64_t which,
                                            const struct nb_jargs *args, struct nb_jv *out);
bool nb_jinja_find_function(const struct nb_jrun *r, struct nb_text name, struct nb_jv *out);
/* The argument at a position or of a name; NULL: not given. */
const struct nb_jv *nb_jinja_arg(const struct nb_jargs *args, size_t at, const char *name);
NB_CHECKED enum nb_status nb_jinja_replace(struct nb_jrun *r, struct nb_jv s, struct nb_jv old,
                                           struct nb_jv fresh, struct nb_jv *out);
/* The method title begins anew behind all but letters, the filter behind blanks and brackets. */
enum nb_jcase { NB_J_UPPER, NB_J_LOWER, NB_J_TITLE, NB_J_TITLE_WORDS, NB_J_CAPITALIZE };
NB_CHECKED enum nb_status nb_jinja_case(struct nb_jrun *r, struct nb_jv s, enum nb_jcase how,
                                        struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_strip(struct nb_jrun *r, struct nb_jv s, const struct nb_jv *set,
                                         bool left, bool right, struct nb_jv *out);
NB_CHECKED enum nb_status nb_jinja_join(struct nb_jrun *r, struct nb_jv list, struct nb_jv between,
                                        struct nb_jv *out);

#endif
