/* dialect/any.c: a model of an architecture that nibble does not know: its tensors by shape alone.
 *
 * Every tensor keeps its file's name, order and shape. A matrix of at least 32 by 32, or a stack of such,
 * can be quantized; everything else stays as it is. Metadata and texts are passed on, so a GGUF file
 * becomes a GGUF file and a folder a folder. Such a model is not run.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#define MIN_SIDE    32
#define QUOTE_BYTES 96

static const char *const none[] = {NULL};

enum nb_status nb_any_arch(struct nb_model *m, const char *name, size_t n, struct nb_error *err)
{
    struct nb_arch *arch = nb_arena_alloc(&m->arena, 1, sizeof *arch);
    const char *copy = nb_arena_strndup(&m->arena, name, n);
    if (arch == NULL || copy == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    *arch = (struct nb_arch){.name = copy,
                             .summary = "not known to nibble",
                             .hf_classes = none,
                             .ignored = none,
                             .rope_halves_gguf = true};
    m->w.hp = (struct nb_hparams){.arch = arch};
    return NB_OK;
}

/* The number behind "blk." or "layers." or "h."; -1: outside the blocks. */
static int32_t block_of(const char *name)
{
    static const char *const before[] = {"blk.", "layers.", "layer.", "h.", "blocks."};
    for (size_t i = 0; i < NB_COUNTOF(before); i++) {
        const char *at = strstr(name, before[i]);
        const size_t n = strlen(before[i]);
        if (at == NULL || (at != name && at[-1] != '.') || at[n] < '0' || at[n] > '9')
            continue;
        int32_t block = 0;
        for (const char *c = at + n; *c >= '0' && *c <= '9' && block < NB_MAX_LAYERS; c++)
            block = 10 * block + (*c - '0');
        return block;
    }
    return -1;
}

static enum nb_role role_of(const char *name)
{
    if (strcmp(name, "token_embd.weight") == 0 || nb_str_ends(name, "embed_tokens.weight"))
        return NB_ROLE_EMBED;
    if (strcmp(name, "output.weight") == 0 || nb_str_ends(name, "lm_head.weight"))
        return NB_ROLE_HEAD;
    return NB_ROLE_OTHER;
}

static bool quantizable(const struct nb_tensor *t)
{
    const uint32_t n = t->shape.n;
    return n >= 2 && n <= 3 && t->type->kind != NB_NUMFMT_STORAGE &&
           t->shape.dim[n - 1] >= MIN_SIDE && t->shape.dim[n - 2] >= MIN_SIDE;
}

static enum nb_status take(struct nb_model *m, size_t i, struct nb_file *f,
                           const struct nb_tensor *t, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    struct nb_weight *w = &m->items[i];
    const size_t n = strlen(t->name);
    if (n >= sizeof w->spec.name)
        NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s': a name of %zu characters, expected at most %zu",
                nb_printable(quote, sizeof quote, t->name, n), n, sizeof w->spec.name - 1);
    w->t = *t;
    w->spec.shape = t->shape;
    w->spec.required = true;
    w->spec.quantizable = quantizable(t);
    w->spec.role = role_of(t->name);
    w->spec.block = block_of(t->name);
    memcpy(w->spec.name, t->name, n + 1);
    memcpy(w->spec.hf, t->name, n + 1);
    w->t.name = w->spec.name;
    m->file_of[i] = f;
    m->w.hp.n_layers = NB_MAX(m->w.hp.n_layers, (uint32_t)(w->spec.block + 1));
    if (nb_map_put(&m->names, w->spec.name, n, i) != NB_OK)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    return NB_OK;
}

enum nb_status nb_any_assemble(struct nb_model *m, struct nb_error *err)
{
    size_t n = 0, at = 0;
    for (size_t f = 0; f < m->n_files; f++)
        n += m->files[f]->n_tensors;
    m->items = nb_arena_alloc(&m->arena, n + 1, sizeof *m->items);
    m->file_of = nb_arena_alloc(&m->arena, n + 1, sizeof *m->file_of);
    m->canonical = nb_arena_alloc(&m->arena, n + 1, sizeof *m->canonical);
    if (m->items == NULL || m->file_of == NULL || m->canonical == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu tensors", n);
    for (size_t f = 0; f < m->n_files; f++)
        for (size_t i = 0; i < m->files[f]->n_tensors; i++)
            NB_TRY(take(m, at++, m->files[f], &m->files[f]->tensors[i], err));
    m->w.items = m->items;
    m->w.n = n;
    m->w.rope_halves = true;
    return NB_OK;
}
