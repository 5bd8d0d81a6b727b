/* quant/types.c: which type each weight gets: rules, then named types, then the mix, then what fits.
 *
 * Order and fallbacks follow llama-quantize (docs/formats/ggml-blocks.md). Weights that are not quantizable
 * (norms, biases) keep their type, or take the output's float type.
 */
#include "quant/quant_internal.h"

#include <string.h>

#define KEEP "keep"

/* Instead of a format whose block does not divide the row. Anything else: f16. */
static const char *const narrower[][2] = {
    {"iq1_s", "iq4_nl"}, {"iq1_m", "iq4_nl"},   {"iq2_xxs", "iq4_nl"}, {"iq2_xs", "iq4_nl"},
    {"iq2_s", "iq4_nl"}, {"iq3_xxs", "iq4_nl"}, {"iq3_s", "iq4_nl"},   {"iq4_xs", "iq4_nl"},
    {"q2_k", "q4_0"},    {"q3_k", "q4_0"},      {"tq1_0", "q4_0"},     {"tq2_0", "q4_0"},
    {"q2_0", "q4_0"},    {"q4_k", "q5_0"},      {"q5_k", "q5_1"},      {"q6_k", "q8_0"},
};

struct chooser {
    const struct nb_recipe *recipe;
    const struct nb_model *model;
    const struct nb_mix *mix;     /* NULL: a plain format, or keep */
    const struct nb_numfmt *base; /* NULL: keep */
    const struct nb_numfmt *vector;
    struct nb_pattern **patterns; /* (n_rules) */
    size_t *taken;                /* (n_rules) weights that took a rule's type */
    size_t seen[NB_N_ROLES], count[NB_N_ROLES];
    unsigned facts; /* enum nb_mix_if */
    bool own_head;  /* the model has an output.weight */
    bool forced_vectors;
};

/* NULL: none. */
static const struct nb_numfmt *narrower_than(const struct nb_numfmt *f)
{
    for (size_t i = 0; i < NB_COUNTOF(narrower); i++)
        if (strcmp(narrower[i][0], f->name) == 0)
            return nb_numfmt_find(narrower[i][1]);
    return NULL;
}

/* A type that somebody named: it must exist and be one to quantize into. */
static enum nb_status find_type(const struct nb_numfmt **out, const char *name, const char *where,
                                struct nb_error *err)
{
    char quote[64];
    *out = nb_numfmt_find(name);
    if (*out == NULL || (*out)->kind == NB_NUMFMT_STORAGE)
        NB_FAIL(err, NB_ERR_ARG, "%s: '%s' is no number format that nibble writes (nibble list)",
                where, nb_printable(quote, sizeof quote, name, strlen(name)));
    return NB_OK;
}

/* ---- setting up ---- */

static enum nb_status find_base(struct chooser *c, struct nb_error *err)
{
    const struct nb_recipe *r = c->recipe;
    char quote[64];
    if (strcmp(r->type, KEEP) == 0) {
        if (r->pure)
            NB_FAIL(err, NB_ERR_ARG, "type 'keep' and pure exclude each other");
        return NB_OK;
    }
    c->mix = nb_mix_find(r->type);
    c->base = nb_numfmt_find(c->mix != NULL ? c->mix->base : r->type);
    if (c->base == NULL || c->base->kind == NB_NUMFMT_STORAGE)
        NB_FAIL(err, NB_ERR_ARG, "type '%s' is neither a mix nor a number format (nibble list)",
                nb_printable(quote, sizeof quote, r->type, strlen(r->type)));
    if (r->pure)
        c->mix = NULL;
    return NB_OK;
}

static enum nb_status compile_rules(struct chooser *c, struct nb_arena *arena, struct nb_error *err)
{
    const struct nb_recipe *r = c->recipe;
    c->patterns = nb_arena_alloc(arena, r->n_rules + 1, sizeof *c->patterns);
    c->taken = nb_arena_alloc(arena, r->n_rules + 1, sizeof *c->taken);
    if (c->patterns == NULL || c->taken == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < r->n_rules; i++) {
        const struct nb_numfmt *type;
        NB_TRY(find_type(&type, r->rules[i].type, r->rules[i].regex, err));
        const enum nb_status st = nb_pattern_create(&c->patterns[i], r->rules[i].regex,
                                                    strlen(r->rules[i].regex), arena->a, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "rule '%s'", r->rules[i].regex);
    }
    return NB_OK;
}

static void count_roles(struct chooser *c)
{
    for (size_t i = 0; i < c->model->w.n; i++)
        c->count[c->model->items[i].spec.role]++;
    c->own_head = c->count[NB_ROLE_HEAD] > 0;
}

/* ---- one weight ---- */

static bool is_head(const struct chooser *c, enum nb_role role)
{
    return role == NB_ROLE_HEAD || (role == NB_ROLE_EMBED && !c->own_head);
}

/* The head is never rounded in blocks that do not divide its rows: it takes 8 bits instead. */
static const struct nb_numfmt *head_type(const struct chooser *c, uint64_t cols)
{
    return nb_numfmt_find(cols % c->base->block != 0 ? "q8_0" : c->mix->head);
}

static const struct nb_numfmt *by_mix(struct chooser *c, const struct nb_tensor_spec *spec)
{
    const enum nb_role role = spec->role;
    size_t i = c->seen[role]++, n = c->count[role];
    if (c->model->w.hp.n_experts > 0 && spec->block >= 0) { /* by layer: some have two of a role */
        i = (size_t)spec->block;
        n = c->model->w.hp.n_layers;
    }
    if (c->mix == NULL)
        return c->base;
    if (is_head(c, role))
        return head_type(c, nb_shape_cols(&spec->shape));
    if (role == NB_ROLE_EMBED)
        return nb_numfmt_find(c->mix->embd);
    return nb_numfmt_find(nb_mix_type(c->mix, role, i, n, c->facts));
}

/* Named in the recipe: NULL if it says nothing about this weight. */
static enum nb_status by_name(struct chooser *c, const struct nb_tensor_spec *spec,
                              const struct nb_numfmt **type, const char **note,
                              struct nb_error *err)
{
    const struct nb_recipe *r = c->recipe;
    *type = NULL;
    for (size_t i = 0; i < r->n_rules; i++) {
        bool hit;
        NB_TRY(nb_pattern_search(c->patterns[i], spec->name, strlen(spec->name), &hit, err));
        if (!hit)
            continue;
        *note = "by a rule of the recipe";
        c->taken[i]++;
        return find_type(type, r->rules[i].type, r->rules[i].regex, err);
    }
    if (spec->role == NB_ROLE_EMBED && r->embedding_type != NULL) {
        *note = "the recipe's embedding type";
        return find_type(type, r->embedding_type, "embedding type", err);
    }
    if (is_head(c, spec->role) && r->output_type != NULL) {
        *note = "the recipe's output type";
        return find_type(type, r->output_type, "output type", err);
    }
    return NB_OK;
}

/* Blocks that do not divide the row give way to narrower ones, at last to f16. */
static const struct nb_numfmt *make_fit(const struct nb_numfmt *type, uint64_t cols,
                                        const char **note)
{
    while (cols % type->block != 0) {
        *note = "rows are no multiple of the block";
        type = narrower_than(type);
        if (type == NULL)
            type = &nb_numfmt_f16;
    }
    return type;
}

static enum nb_status choose(struct chooser *c, struct nb_plan_tensor *t, struct nb_error *err)
{
    const struct nb_tensor_spec *spec = &t->weight->spec;
    if (!spec->quantizable) {
        t->type = c->base == NULL && !c->forced_vectors ? t->weight->t.type : c->vector;
        if (spec->role == NB_ROLE_ROPE || spec->role == NB_ROLE_OTHER)
            t->type = t->weight->t.type;
        return NB_OK;
    }
    const struct nb_numfmt *mixed = c->base == NULL ? t->weight->t.type : by_mix(c, spec);
    NB_TRY(by_name(c, spec, &t->type, &t->note, err));
    if (t->type == NULL)
        t->type = mixed;
    t->type = make_fit(t->type, nb_shape_cols(&spec->shape), &t->note);
    return NB_OK;
}

/* Vectors of a float output have the embedding's type; they are written in f32 beside blocks. */
static const struct nb_numfmt *vector_type(const struct nb_quant_plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->tensors[i].weight->spec.role == NB_ROLE_EMBED)
            return p->tensors[i].type->kind == NB_NUMFMT_FLOAT ? p->tensors[i].type
                                                               : &nb_numfmt_f32;
    return &nb_numfmt_f32;
}

static enum nb_status choose_all(struct chooser *c, struct nb_quant_plan *p, struct nb_error *err)
{
    count_roles(c);
    NB_TRY(find_base(c, err));
    NB_TRY(compile_rules(c, &p->arena, err));
    for (size_t i = 0; i < p->n; i++) /* matrices first: vectors follow the embedding */
        if (p->tensors[i].weight->spec.quantizable)
            NB_TRY(choose(c, &p->tensors[i], err));
    c->vector = vector_type(p);
    for (size_t i = 0; i < p->n; i++)
        if (!p->tensors[i].weight->spec.quantizable)
            NB_TRY(choose(c, &p->tensors[i], err));
    return NB_OK;
}

/* general.file_type: of the mix; of the base; or what the source says. */
static uint32_t file_type(const struct chooser *c, const struct nb_quant_plan *p)
{
    uint32_t source;
    const struct nb_numfmt *f = c->base;
    if (c->mix != NULL)
        return c->mix->gguf_ftype;
    if (f == NULL && nb_meta_u32(&c->model->meta, "general.file_type", &source))
        return source;
    for (size_t i = 0; i < p->n && f == NULL; i++)
        if (p->tensors[i].weight->spec.role == NB_ROLE_EMBED)
            f = p->tensors[i].type;
    return f != NULL && f->gguf_ftype > 0 ? (uint32_t)f->gguf_ftype : 0;
}

/* A rule without effect is most likely a slip. */
static void warn_of_rules(const struct chooser *c, const struct nb_log *log)
{
    for (size_t i = 0; i < c->recipe->n_rules; i++)
        if (c->taken[i] == 0)
            nb_log_msg(log, NB_LOG_WARN,
                       "no weight takes type %s by rule '%s': it fits none, only norms and biases, "
                       "or only "
                       "what an earlier rule has",
                       c->recipe->rules[i].type, c->recipe->rules[i].regex);
}

enum nb_status nb_quant_choose(struct nb_quant_plan *p, struct nb_error *err)
{
    struct chooser c = {.recipe = p->settings.recipe, .model = p->model};
    /* A source that stores vectors in a type of its convention's choice says nothing about them. */
    c.facts = nb_mix_facts(&p->model->w.hp, p->settings.imatrix != NULL);
    c.forced_vectors = nb_export_dialect(p->settings.out) != p->model->dialect;
    const enum nb_status st = choose_all(&c, p, err);
    if (st == NB_OK) {
        p->gguf_ftype = file_type(&c, p);
        warn_of_rules(&c, p->settings.log);
    }
    for (size_t i = 0; c.patterns != NULL && i < c.recipe->n_rules; i++)
        nb_pattern_destroy(c.patterns[i]);
    return st;
}
