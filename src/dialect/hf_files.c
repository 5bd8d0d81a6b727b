/* dialect/hf_files.c: the texts of a Hugging Face folder that nibble writes.
 *
 * config.json is always made anew from what nibble understood. The tokenizer's files are copied when the
 * source is such a folder, and made from the vocabulary otherwise.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#include "numfmt/grid.h"

#define PROVENANCE "nibble."

/* Makes one text; an empty one is not written. */
typedef enum nb_status make_fn(const struct nb_export *e, struct nb_str *s, struct nb_error *err);

static const struct nb_vocab *vocab_of(const struct nb_export *e)
{
    const struct nb_model *m = e->spec.model;
    return m->tokenizer == NULL ? NULL : nb_tokenizer_vocab(m->tokenizer);
}

/* A text of the source folder; nothing if there is none. */
static enum nb_status copy_text(const struct nb_export *e, const char *name, struct nb_str *s,
                                struct nb_error *err)
{
    char *path = nb_path_join(e->a, e->spec.model->path, name);
    if (path == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status st = NB_OK;
    if (nb_path_exists(path))
        st = nb_file_read_all(s, path, NB_HF_MAX_JSON, err);
    nb_free(e->a, path);
    return st;
}

/* ---- config.json ---- */

/* The embedding speaks for all. */
static const char *torch_dtype(const struct nb_export *e)
{
    static const struct {
        const struct nb_numfmt *type;
        const char *name;
    } names[] = {
        {&nb_numfmt_f32, "float32"}, {&nb_numfmt_f16, "float16"}, {&nb_numfmt_bf16, "bfloat16"}};
    for (size_t i = 0; i < e->spec.model->w.n; i++)
        for (size_t k = 0; k < NB_COUNTOF(names); k++)
            if (e->spec.model->items[i].spec.role == NB_ROLE_EMBED &&
                e->spec.types[i] == names[k].type)
                return names[k].name;
    return "float32";
}

static void put_ids(const struct nb_export *e, struct nb_str *s)
{
    const struct nb_vocab *v = vocab_of(e);
    if (v == NULL)
        return;
    if (v->bos >= 0 && v->kind != NB_VOCAB_WORDPIECE)
        nb_str_printf(s, "  \"bos_token_id\": %d,\n", v->bos);
    if (v->eos >= 0 && v->eot >= 0 && v->eot != v->eos)
        nb_str_printf(s, "  \"eos_token_id\": [%d, %d],\n", v->eos, v->eot);
    else if (v->eos >= 0)
        nb_str_printf(s, "  \"eos_token_id\": %d,\n", v->eos);
    if (v->pad >= 0)
        nb_str_printf(s, "  \"pad_token_id\": %d,\n", v->pad);
}

static void put_provenance(const struct nb_export *e, struct nb_str *s)
{
    const size_t skip = sizeof PROVENANCE - 1;
    const char *comma = "";
    for (size_t i = 0; i < e->extra.n; i++) {
        const struct nb_meta_kv *kv = &e->extra.kv[i];
        if (kv->type != NB_META_STRING || !nb_str_starts(kv->key, PROVENANCE))
            continue;
        nb_str_puts(s, comma);
        nb_str_json(s, kv->key + skip, strlen(kv->key) - skip);
        nb_str_puts(s, ": ");
        nb_str_json(s, kv->v.text.s, kv->v.text.n);
        comma = ", ";
    }
}

/* So that readers of float checkpoints refuse this one by name. */
static void put_quantization(const struct nb_export *e, struct nb_str *s)
{
    for (size_t k = 0; k < e->n_order; k++)
        if (e->spec.types[e->order[k]]->kind == NB_NUMFMT_GRID) {
            nb_str_puts(s, "  \"quantization_config\": {\"quant_method\": \"" NB_HF_QUANT_METHOD
                           "\"},\n");
            return;
        }
}

/* The source's own, with what nibble has to say at its end. */
static enum nb_status pass_config(const struct nb_export *e, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(copy_text(e, NB_HF_CONFIG, s, err));
    while (s->len > 0 && s->data[s->len - 1] != '}')
        s->len--;
    if (s->len == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "config.json: no object");
    s->len--;
    while (s->len > 0 && strchr(" \t\r\n", s->data[s->len - 1]) != NULL)
        s->len--;
    nb_str_puts(s, ",\n");
    put_quantization(e, s);
    nb_str_puts(s, "  \"nibble\": {");
    put_provenance(e, s);
    nb_str_puts(s, "}\n}\n");
    return NB_OK;
}

static enum nb_status make_config(const struct nb_export *e, struct nb_str *s, struct nb_error *err)
{
    const struct nb_model *m = e->spec.model;
    if (m->unknown)
        return pass_config(e, s, err);
    nb_str_puts(s, "{\n");
    NB_TRY(m->w.hp.arch->to_hf(&m->w.hp, s, err));
    put_ids(e, s);
    if (e->extra.n > 0) {
        nb_str_puts(s, "  \"nibble\": {");
        put_provenance(e, s);
        nb_str_puts(s, "},\n");
    }
    put_quantization(e, s);
    nb_str_printf(s, "  \"torch_dtype\": \"%s\"\n}\n", torch_dtype(e));
    return NB_OK;
}

/* ---- generation_config.json and the tokenizer ---- */

static enum nb_status make_generation(const struct nb_export *e, struct nb_str *s,
                                      struct nb_error *err)
{
    (void)err;
    if (vocab_of(e) == NULL)
        return NB_OK;
    nb_str_puts(s, "{\n");
    put_ids(e, s);
    nb_str_puts(s, "  \"_from_model_config\": true\n}\n");
    return NB_OK;
}

static enum nb_status make_tokenizer(const struct nb_export *e, struct nb_str *s,
                                     struct nb_error *err)
{
    if (e->spec.model->tokenizer == NULL)
        return NB_OK;
    return nb_tokenizer_write_json(e->spec.model->tokenizer, s, err);
}

static void put_token(struct nb_str *s, const struct nb_vocab *v, const char *key, int32_t id)
{
    if (id < 0 || (uint32_t)id >= v->n)
        return;
    nb_str_printf(s, "  \"%s\": ", key);
    nb_str_json(s, v->tokens[id].s, v->tokens[id].n);
    nb_str_puts(s, ",\n");
}

static enum nb_status make_tokenizer_config(const struct nb_export *e, struct nb_str *s,
                                            struct nb_error *err)
{
    const struct nb_vocab *v = vocab_of(e);
    const char *chat = e->spec.model->chat_template;
    (void)err;
    if (v == NULL)
        return NB_OK;
    nb_str_puts(s, "{\n");
    put_token(s, v, v->kind == NB_VOCAB_WORDPIECE ? "cls_token" : "bos_token", v->bos);
    put_token(s, v, "sep_token", v->sep);
    put_token(s, v, "mask_token", v->mask);
    put_token(s, v, "eos_token", v->eos);
    put_token(s, v, "unk_token", v->unk);
    put_token(s, v, "pad_token", v->pad);
    nb_str_printf(s, "  \"add_bos_token\": %s,\n  \"add_eos_token\": %s,\n",
                  v->add_bos ? "true" : "false", v->add_eos ? "true" : "false");
    if (chat != NULL) {
        nb_str_puts(s, "  \"chat_template\": ");
        nb_str_json(s, chat, strlen(chat));
        nb_str_puts(s, ",\n");
    }
    nb_str_printf(s,
                  "  \"model_max_length\": %u,\n  \"clean_up_tokenization_spaces\": false,\n"
                  "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n",
                  e->spec.model->w.hp.n_ctx_train);
    return NB_OK;
}

/* ---- the index ---- */

/* "name": "file", or a line for each part of a grid. */
static void put_place(const struct nb_export *e, struct nb_str *s, size_t i, const char *comma,
                      const char *file)
{
    const struct nb_weight *w = &e->spec.model->items[i];
    const struct nb_numfmt *type = e->spec.types[i];
    char name[NB_HF_NAME_BYTES];
    if (type->kind != NB_NUMFMT_GRID) {
        for (uint64_t x = 0; x < nb_form_tensors(&w->spec, type); x++, comma = ",")
            nb_str_printf(s, "%s\n    \"%s\": \"%s\"", comma, nb_form_name(&w->spec, x, name),
                          file);
        return;
    }
    for (int p = 0; p < NB_MAX_PARTS; p++) {
        const struct nb_grid_part part = nb_grid_part(type, &w->t.shape, (enum nb_part)p);
        if (part.type == NULL)
            continue;
        nb_str_printf(s, "%s\n    \"%s.%s\": \"%s\"", comma,
                      nb_form_name(&w->spec, NB_ALL_EXPERTS, name), part.name, file);
        comma = ",";
    }
}

static enum nb_status make_index(const struct nb_export *e, struct nb_str *s, struct nb_error *err)
{
    uint64_t total = 0;
    (void)err;
    if (e->n_shards < 2)
        return NB_OK;
    for (size_t k = 0; k < e->n_order; k++)
        total += nb_export_weight_bytes(e, e->order[k]);
    nb_str_printf(s, "{\n  \"metadata\": {\"total_size\": %llu},\n  \"weight_map\": {",
                  (unsigned long long)total);
    for (size_t i = 0; i < e->n_shards; i++)
        for (size_t k = e->shards[i].first; k < e->shards[i].first + e->shards[i].count; k++)
            put_place(e, s, e->order[k], k == 0 ? "" : ",", e->shards[i].name);
    nb_str_puts(s, "\n  }\n}\n");
    return NB_OK;
}

/* ---- all of them ---- */

static const struct {
    const char *name;
    make_fn *make; /* NULL: copied or nothing */
    bool copy;     /* from a source that is such a folder too */
} texts[] = {
    {NB_HF_CONFIG, make_config, false},
    {NB_HF_INDEX, make_index, false},
    {NB_HF_GENERATION, make_generation, true},
    {NB_HF_TOKENIZER, make_tokenizer, true},
    {NB_HF_TOKENIZER_CONFIG, make_tokenizer_config, true},
    {"special_tokens_map.json", NULL, true},
    {NB_HF_PIECES, NULL, true},
    {NB_HF_WORDS, NULL, true},
    {"added_tokens.json", NULL, true},
    {"chat_template.jinja", NULL, true},
    {"vocab.json", NULL, true},
    {"vocab.txt", NULL, true},
    {"merges.txt", NULL, true},
    {"added_tokens.json", NULL, true},
};

static enum nb_status make_text(const struct nb_export *e, size_t i, struct nb_str *s,
                                struct nb_error *err)
{
    const struct nb_model *m = e->spec.model;
    nb_str_clear(s);
    if (texts[i].copy && m->dialect == e->dialect) {
        return copy_text(e, texts[i].name, s, err);
    }
    if (texts[i].make != NULL)
        NB_TRY(texts[i].make(e, s, err));
    return nb_str_check(s, err);
}

static enum nb_status write_text(const struct nb_export *e, const char *name,
                                 const struct nb_str *s, struct nb_error *err)
{
    struct nb_out out;
    char *path = nb_path_join(e->a, e->dir.partial, name);
    if (path == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status st = nb_out_create(&out, path, 0, s->len, e->a, err);
    nb_free(e->a, path);
    if (st != NB_OK)
        return st;
    st = nb_out_write(&out, s->data, s->len, err);
    if (st == NB_OK)
        return nb_out_commit(&out, err);
    nb_out_abort(&out);
    return st;
}

/* write: into the folder; else only counted. */
static enum nb_status each_text(struct nb_export *e, bool write, uint64_t *bytes,
                                struct nb_error *err)
{
    struct nb_str s;
    enum nb_status st = NB_OK;
    nb_str_init(&s, e->a);
    for (size_t i = 0; i < NB_COUNTOF(texts) && st == NB_OK; i++) {
        st = make_text(e, i, &s, err);
        if (st == NB_OK && s.len > 0 && write)
            st = write_text(e, texts[i].name, &s, err);
        *bytes += s.len;
    }
    nb_str_fini(&s);
    return st;
}

enum nb_status nb_hf_write_texts(struct nb_export *e, struct nb_error *err)
{
    uint64_t bytes = 0;
    return each_text(e, true, &bytes, err);
}

enum nb_status nb_hf_text_bytes(struct nb_export *e, uint64_t *bytes, struct nb_error *err)
{
    *bytes = 0;
    return each_text(e, false, bytes, err);
}
