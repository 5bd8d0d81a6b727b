/* dialect/assemble.c: from the tensors in files to the weights of an architecture.
 *
 * Every tensor that the architecture names must be there with its shape and a usable type; every tensor
 * that is there must be named, or be known as harmless. Nothing is guessed.
 */
#include "dialect/dialect_internal.h"

#include <stdio.h>
#include <string.h>

#define QUOTE_BYTES 96

/* ---- the index ---- */

enum nb_status nb_tensor_index_init(struct nb_tensor_index *x, const struct nb_model *m,
                                    struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    nb_map_init(&x->names, m->a);
    for (size_t f = 0; f < m->n_files; f++) {
        for (size_t i = 0; i < m->files[f]->n_tensors; i++) {
            const char *name = m->files[f]->tensors[i].name;
            const size_t n = strlen(name);
            const enum nb_status st =
                nb_map_put(&x->names, name, n, (uint64_t)f << 32 | (uint64_t)i);
            if (st == NB_OK)
                continue;
            if (st != NB_ERR_EXISTS)
                NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
            uint64_t first = 0;
            (void)nb_map_get(&x->names, name, n, &first);
            NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is in two files: %s and %s",
                    nb_printable(quote, sizeof quote, name, n), m->files[first >> 32]->path,
                    m->files[f]->path);
        }
    }
    return NB_OK;
}

void nb_tensor_index_fini(struct nb_tensor_index *x)
{
    nb_map_fini(&x->names);
}

bool nb_tensor_index_has(void *index, const char *name)
{
    const struct nb_tensor_index *x = index;
    uint64_t at;
    return nb_map_get(&x->names, name, strlen(name), &at);
}

/* ---- one weight ---- */

struct assembler {
    struct nb_model *m;
    const struct nb_tensor_index *x;
    const struct nb_assembly *how;
    bool **used; /* (n_files, n_tensors) */
    size_t n;    /* weights so far */
    struct nb_error *err;
};

static enum nb_status count_spec(void *ctx, const struct nb_tensor_spec *spec)
{
    (void)spec;
    ++*(size_t *)ctx;
    return NB_OK;
}

/* stored: the shape in the file. */
static enum nb_status check_tensor(const struct nb_tensor_spec *spec, const struct nb_tensor *t,
                                   const struct nb_shape *stored, struct nb_error *err)
{
    char have[NB_SHAPE_TEXT_BYTES], want[NB_SHAPE_TEXT_BYTES];
    if (!nb_shape_eq(&t->shape, stored))
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' has shape %s, expected %s", t->name,
                nb_shape_text(&t->shape, have), nb_shape_text(stored, want));
    if (t->type->kind == NB_NUMFMT_STORAGE)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected a float type%s",
                t->name, t->type->name, spec->quantizable ? " or blocks" : "");
    if (t->type->kind != NB_NUMFMT_FLOAT && !spec->quantizable)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected f32, f16 or bf16",
                t->name, t->type->name);
    if (spec->role == NB_ROLE_ROPE && t->type != &nb_numfmt_f32)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected f32", t->name,
                t->type->name);
    return NB_OK;
}

static enum nb_status missing(const struct nb_tensor_spec *spec, struct nb_error *err)
{
    if (spec->hf[0] == '\0')
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is missing", spec->name);
    NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' ('%s') is missing", spec->name, spec->hf);
}

/* Rotary divisors that a Hugging Face file implies and a GGUF file stores. */
static enum nb_status synthesize(struct nb_model *m, struct nb_weight *w, struct nb_error *err)
{
    const uint32_t n = m->w.hp.rope.dim / 2;
    float *values = nb_arena_alloc(&m->arena, n, sizeof *values);
    if (values == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    nb_rope_tensor(&m->w.hp.rope, w->spec.name, values);
    w->t = (struct nb_tensor){.name = w->spec.name,
                              .type = &nb_numfmt_f32,
                              .shape = w->spec.shape,
                              .data = (const uint8_t *)values,
                              .bytes = sizeof *values * (uint64_t)n};
    return NB_OK;
}

/* The file's name of a tensor: as spec says, or with another first part. */
static bool find_tensor(const struct assembler *s, const char *name, uint64_t *at)
{
    const char *const *roots = s->how->hf_names ? s->m->w.hp.arch->hf_roots : NULL;
    char other[2 * NB_NAME_BYTES];
    if (nb_map_get(&s->x->names, name, strlen(name), at))
        return true;
    if (roots == NULL || !nb_str_starts(name, roots[0]))
        return false;
    for (size_t k = 1; roots[k] != NULL; k++) {
        const int n = snprintf(other, sizeof other, "%s%s", roots[k], name + strlen(roots[0]));
        if (n > 0 && (size_t)n < sizeof other && nb_map_get(&s->x->names, other, (size_t)n, at))
            return true;
    }
    return false;
}

/* A tensor on a general grid is several tensors of the file. Nothing is done if it has none. */
static enum nb_status take_parts(struct assembler *s, struct nb_weight *w, const char *name,
                                 bool *found)
{
    uint64_t at[NB_MAX_PARTS];
    NB_TRY(nb_grid_find(s->m, s->x, name, &w->spec.shape, &w->t, at, found, s->err));
    if (!*found)
        return NB_OK;
    for (int i = 0; i < NB_MAX_PARTS; i++)
        if (at[i] != UINT64_MAX)
            s->used[at[i] >> 32][at[i] & UINT32_MAX] = true;
    w->t.name = w->spec.name;
    if (w->stored != NB_HF_PAIRS)
        w->stored = NB_HF_PLAIN; /* our own folders hold such grids in canonical order */
    return check_tensor(&w->spec, &w->t, &w->spec.shape, s->err);
}

/* ---- experts, where a Hugging Face file has them ---- */

static enum nb_status alloc_slabs(struct assembler *s, struct nb_weight *w,
                                  struct nb_tensor **slabs)
{
    const uint64_t n = w->spec.shape.dim[0];
    *slabs = nb_arena_alloc(&s->m->arena, (size_t)n, sizeof **slabs);
    if (*slabs == NULL)
        NB_FAIL(s->err, NB_ERR_NOMEM, "out of memory for %llu experts", (unsigned long long)n);
    w->t = (struct nb_tensor){.name = w->spec.name, .shape = w->spec.shape, .slabs = *slabs};
    w->stored = NB_HF_PLAIN;
    return NB_OK;
}

/* A tensor for each; all of one type. */
static enum nb_status take_experts(struct assembler *s, struct nb_weight *w)
{
    const struct nb_shape shape = nb_shape_slab(&w->spec.shape);
    char name[NB_HF_NAME_BYTES];
    struct nb_tensor *slabs;
    uint64_t at;
    bool grid;
    NB_TRY(take_parts(s, w, nb_form_name(&w->spec, NB_ALL_EXPERTS, name), &grid));
    if (grid)
        return NB_OK;
    NB_TRY(alloc_slabs(s, w, &slabs));
    for (uint64_t e = 0; e < w->spec.shape.dim[0]; e++) {
        if (!find_tensor(s, nb_form_name(&w->spec, e, name), &at))
            NB_FAIL(s->err, NB_ERR_FORMAT, "tensor '%s', expert %llu of '%s', is missing", name,
                    (unsigned long long)e, w->spec.name);
        slabs[e] = s->m->files[at >> 32]->tensors[at & UINT32_MAX];
        s->used[at >> 32][at & UINT32_MAX] = true;
        NB_TRY(check_tensor(&w->spec, &slabs[e], &shape, s->err));
        if (slabs[e].type != slabs[0].type)
            NB_FAIL(s->err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s, expert 0 of type %s",
                    name, slabs[e].type->name, slabs[0].type->name);
        w->t.type = slabs[e].type;
        w->t.bytes += slabs[e].bytes;
    }
    return NB_OK;
}

/* Half of the rows of each. */
static enum nb_status take_half(struct assembler *s, struct nb_weight *w)
{
    const struct nb_shape stored = nb_form_shape(&w->spec, true);
    const uint64_t n = w->spec.shape.dim[0];
    const bool up = w->spec.form == NB_HF_UP_HALF;
    struct nb_tensor *slabs;
    uint64_t at;
    if (!find_tensor(s, w->spec.hf, &at))
        return missing(&w->spec, s->err);
    const struct nb_tensor *t = &s->m->files[at >> 32]->tensors[at & UINT32_MAX];
    s->used[at >> 32][at & UINT32_MAX] = true;
    NB_TRY(check_tensor(&w->spec, t, &stored, s->err));
    NB_TRY(alloc_slabs(s, w, &slabs));
    w->t.type = t->type;
    w->t.bytes = t->bytes / 2;
    for (uint64_t e = 0; e < n; e++) {
        slabs[e] = *t;
        slabs[e].shape = nb_shape_slab(&w->spec.shape);
        slabs[e].bytes = w->t.bytes / n;
        slabs[e].data += (2 * e + up) * slabs[e].bytes;
    }
    return NB_OK;
}

/* ---- any weight ---- */

/* A linear layer of a BitNet checkpoint. */
static enum nb_status take_ternary(struct assembler *s, size_t i)
{
    struct nb_model *m = s->m;
    struct nb_weight *w = &m->items[i];
    const struct nb_ternary_rule *rule = &s->how->ternary;
    const struct nb_tensor *scale = NULL;
    char have[NB_SHAPE_TEXT_BYTES], want[NB_SHAPE_TEXT_BYTES], name[NB_HF_NAME_BYTES];
    const struct nb_shape shape = nb_ternary_shape(rule, &w->spec);
    uint64_t at;
    if (!nb_shape_eq(&w->t.shape, &shape))
        NB_FAIL(s->err, NB_ERR_FORMAT, "tensor '%s' has shape %s, expected %s", w->t.name,
                nb_shape_text(&w->t.shape, have), nb_shape_text(&shape, want));
    (void)snprintf(name, sizeof name, "%s_scale", w->spec.hf);
    if (rule->mode == NB_TERNARY_PACKED && find_tensor(s, name, &at)) {
        scale = &m->files[at >> 32]->tensors[at & UINT32_MAX];
        s->used[at >> 32][at & UINT32_MAX] = true;
    }
    return nb_ternary_take(m, i, rule, scale, s->err);
}

/* The rows before are nobody's. stored: the shape with them. */
static void skip_rows(struct nb_weight *w, const struct nb_shape *stored)
{
    const uint64_t skip = w->t.bytes / stored->dim[0] * w->spec.heads;
    w->t.data += skip;
    w->t.offset += skip;
    w->t.bytes -= skip;
    w->stored = NB_HF_PLAIN;
}

static enum nb_status take_spec(void *ctx, const struct nb_tensor_spec *spec)
{
    struct assembler *s = ctx;
    struct nb_model *m = s->m;
    const size_t i = s->n++;
    struct nb_weight *w = &m->items[i];
    const char *name = s->how->hf_names ? spec->hf : spec->name;
    uint64_t at;
    w->spec = *spec;
    w->stored = s->how->hf_names ? spec->form : NB_HF_PLAIN;
    if (nb_map_put(&m->names, w->spec.name, strlen(w->spec.name), i) != NB_OK)
        NB_FAIL(s->err, NB_ERR_NOMEM, "out of memory");
    if (name[0] == '\0')
        return synthesize(m, w, s->err);
    if (w->stored == NB_HF_EXPERTS)
        return take_experts(s, w);
    if (w->stored == NB_HF_GATE_HALF || w->stored == NB_HF_UP_HALF)
        return take_half(s, w);
    if (!find_tensor(s, name, &at)) {
        bool grid;
        NB_TRY(take_parts(s, w, name, &grid));
        return grid ? NB_OK : missing(spec, s->err);
    }
    m->file_of[i] = m->files[at >> 32];
    w->t = m->file_of[i]->tensors[at & UINT32_MAX];
    s->used[at >> 32][at & UINT32_MAX] = true;
    if (nb_ternary_means(&s->how->ternary, spec))
        return take_ternary(s, i);
    const struct nb_shape stored = nb_form_shape(spec, s->how->hf_names);
    NB_TRY(check_tensor(spec, &w->t, &stored, s->err));
    if (w->stored == NB_HF_TRANSPOSED && w->t.type->kind != NB_NUMFMT_FLOAT)
        NB_FAIL(s->err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected f32, f16 or bf16",
                w->t.name, w->t.type->name);
    w->t.name = w->spec.name;
    w->t.shape = spec->shape;
    if (w->stored == NB_HF_TAIL)
        skip_rows(w, &stored);
    if (w->stored == NB_HF_ROW)
        w->stored = NB_HF_PLAIN;
    return nb_form_vector(m, i, s->err);
}

/* ---- the rest ---- */

static bool harmless(const struct assembler *s, const char *name)
{
    if (s->how->extra_name != NULL && strcmp(name, s->how->extra_name) == 0)
        return true;
    const struct nb_arch *arch = s->m->w.hp.arch;
    for (const char *const *end = arch->ignored; *end != NULL; end++)
        if (nb_str_ends(name, *end))
            return true;
    for (const char *const *root = arch->ignored_roots; root != NULL && *root != NULL; root++)
        if (nb_str_starts(name, *root))
            return true;
    return false;
}

static enum nb_status check_rest(const struct assembler *s)
{
    const struct nb_model *m = s->m;
    char quote[QUOTE_BYTES];
    for (size_t f = 0; f < m->n_files; f++) {
        for (size_t i = 0; i < m->files[f]->n_tensors; i++) {
            const char *name = m->files[f]->tensors[i].name;
            if (s->used[f][i])
                continue;
            nb_printable(quote, sizeof quote, name, strlen(name));
            if (!harmless(s, name))
                NB_FAIL(s->err, NB_ERR_UNSUPPORTED, "tensor '%s' is not known to architecture %s",
                        quote, m->w.hp.arch->name);
            nb_log_msg(m->log, NB_LOG_INFO, "tensor '%s' is not needed: left out", quote);
        }
    }
    return NB_OK;
}

/* The values of a rotary tensor, checked; *out is NULL if there is none. */
static enum nb_status read_rope(struct nb_model *m, const char *name, float **out,
                                struct nb_error *err)
{
    const struct nb_weight *w = nb_weights_find(&m->w, name);
    const uint32_t n = m->w.hp.rope.dim / 2;
    *out = NULL;
    if (w == NULL)
        return NB_OK;
    float *values = nb_arena_alloc(&m->arena, n, sizeof *values);
    if (values == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    nb_numfmt_decode(w->t.type, w->t.data, values, n);
    for (uint32_t i = 0; i < n; i++)
        if (!(values[i] > 0.0F && values[i] <= 1e9F))
            NB_FAIL(err, NB_ERR_NUMERIC, "tensor '%s': element %u is %g, expected 0..1e9",
                    w->t.name, i, (double)values[i]);
    *out = values;
    return NB_OK;
}

/* Rotary tensors for the runtime; the divisors of a file are turned back into their parameters. */
static enum nb_status set_rope(struct nb_model *m, struct nb_error *err)
{
    struct nb_rope *r = &m->w.hp.rope;
    const uint32_t n = r->dim / 2;
    float *divisors, *longs, *shorts;
    NB_TRY(read_rope(m, NB_ROPE_DIVISORS_NAME, &divisors, err));
    NB_TRY(read_rope(m, NB_ROPE_LONG_NAME, &longs, err));
    NB_TRY(read_rope(m, NB_ROPE_SHORT_NAME, &shorts, err));
    m->w.rope_divisors = divisors;
    if (divisors != NULL && r->ctx_orig == 0 && !nb_rope_from_divisors(&m->w.hp, divisors))
        nb_log_msg(m->log, NB_LOG_INFO,
                   "tensor '%s': not the divisors of llama3 scaling; used as they are",
                   NB_ROPE_DIVISORS_NAME);
    if (longs == NULL || shorts == NULL)
        return NB_OK;
    if (n > NB_ROPE_MAX_PAIRS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s': %u elements, supported are up to %u",
                NB_ROPE_LONG_NAME, n, NB_ROPE_MAX_PAIRS);
    memcpy(r->long_factor, longs, n * sizeof *longs);
    memcpy(r->short_factor, shorts, n * sizeof *shorts);
    return NB_OK;
}

static enum nb_status alloc_tables(struct assembler *s)
{
    struct nb_model *m = s->m;
    size_t n = 0;
    NB_TRY(nb_arch_tensors(&m->w.hp, count_spec, &n));
    m->items = nb_arena_alloc(&m->arena, n, sizeof *m->items);
    m->file_of = nb_arena_alloc(&m->arena, n, sizeof *m->file_of);
    m->canonical = nb_arena_alloc(&m->arena, n, sizeof *m->canonical);
    m->ternary = nb_arena_alloc(&m->arena, n, sizeof *m->ternary);
    s->used = nb_arena_alloc(&m->arena, m->n_files, sizeof *s->used);
    if (m->items == NULL || m->file_of == NULL || m->canonical == NULL || m->ternary == NULL ||
        s->used == NULL)
        NB_FAIL(s->err, NB_ERR_NOMEM, "out of memory for %zu tensors", n);
    for (size_t f = 0; f < m->n_files; f++) {
        s->used[f] = nb_arena_alloc(&m->arena, m->files[f]->n_tensors + 1, sizeof **s->used);
        if (s->used[f] == NULL)
            NB_FAIL(s->err, NB_ERR_NOMEM, "out of memory");
    }
    m->w.items = m->items;
    m->w.n = n;
    return NB_OK;
}

enum nb_status nb_model_assemble(struct nb_model *m, const struct nb_tensor_index *x,
                                 const struct nb_assembly *how, struct nb_error *err)
{
    struct assembler s = {.m = m, .x = x, .how = how, .err = err};
    m->w.rope_halves =
        how->hf_names ? !m->w.hp.arch->rope_pairs_hf : m->w.hp.arch->rope_halves_gguf;
    NB_TRY(alloc_tables(&s));
    NB_TRY(nb_arch_tensors(&m->w.hp, take_spec, &s));
    NB_TRY(check_rest(&s));
    return set_rope(m, err);
}
