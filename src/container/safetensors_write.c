/* container/safetensors_write.c: the header of a safetensors file.
 *
 * Compact JSON, __metadata__ first, then tensors in the order of their data, padded with spaces so
 * that the data starts at a multiple of 8. "format" is "pt" unless the metadata says otherwise:
 * readers in the wild refuse files without it. Metadata must be text: the format has nothing else.
 */
#include "container/safetensors_internal.h"

#include <string.h>

#define QUOTE_BYTES 96
#define DATA_ALIGN  8

static bool is_utf8(const char *s, size_t n)
{
    while (n > 0) {
        uint32_t cp;
        const size_t step = nb_utf8_next(s, n, &cp);
        if (step == 0)
            return false;
        s += step;
        n -= step;
    }
    return true;
}

bool nb_safetensors_before(const struct nb_tensor *a, const struct nb_tensor *b)
{
    const int ra = a->type->st_dtype == NULL ? -1 : nb_safetensors_dtype_rank(a->type->st_dtype);
    const int rb = b->type->st_dtype == NULL ? -1 : nb_safetensors_dtype_rank(b->type->st_dtype);
    return ra != rb ? ra > rb : strcmp(a->name, b->name) < 0;
}

static enum nb_status put_metadata(struct nb_str *s, const struct nb_meta *meta,
                                   struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    const size_t n = meta == NULL ? 0 : meta->n;
    const bool has_format = meta != NULL && nb_meta_find(meta, "format") != NULL;
    nb_str_puts(s, "{\"" NB_SAFETENSORS_METADATA "\":{");
    if (!has_format)
        nb_str_puts(s, "\"format\":\"pt\"");
    for (size_t i = 0; i < n; i++) {
        const struct nb_meta_kv *kv = &meta->kv[i];
        const size_t key_len = strlen(kv->key);
        nb_printable(quote, sizeof quote, kv->key, key_len);
        if (kv->type != NB_META_STRING)
            NB_FAIL(err, NB_ERR_ARG, "key '%s': safetensors metadata holds text only", quote);
        if (!is_utf8(kv->key, key_len) || !is_utf8(kv->v.text.s, kv->v.text.n))
            NB_FAIL(err, NB_ERR_ARG, "key '%s': not UTF-8", quote);
        if (i > 0 || !has_format)
            nb_str_puts(s, ",");
        nb_str_json(s, kv->key, key_len);
        nb_str_puts(s, ":");
        nb_str_json(s, kv->v.text.s, kv->v.text.n);
    }
    nb_str_puts(s, "}");
    return NB_OK;
}

/* One entry; *end is the running sum of sizes. */
static enum nb_status put_tensor(struct nb_str *s, struct nb_tensor *t, uint64_t *end,
                                 struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    const size_t n = strlen(t->name);
    nb_printable(quote, sizeof quote, t->name, n);
    if (t->type->st_dtype == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s': safetensors has no dtype for %s", quote,
                t->type->name);
    if (!is_utf8(t->name, n) || strcmp(t->name, NB_SAFETENSORS_METADATA) == 0)
        NB_FAIL(err, NB_ERR_ARG, "tensor '%s': a name must be UTF-8 and not %s", quote,
                NB_SAFETENSORS_METADATA);
    t->offset = *end;
    if (!nb_add_u64(end, *end, t->bytes))
        NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s': the file would pass 2^64 bytes", quote);
    nb_str_puts(s, ",");
    nb_str_json(s, t->name, n);
    nb_str_printf(s, ":{\"dtype\":\"%s\",\"shape\":[", t->type->st_dtype);
    for (uint32_t i = 0; i < t->shape.n; i++)
        nb_str_printf(s, "%s%llu", i == 0 ? "" : ",", (unsigned long long)t->shape.dim[i]);
    nb_str_printf(s, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t->offset,
                  (unsigned long long)*end);
    return NB_OK;
}

enum nb_status nb_safetensors_layout(struct nb_writer *w, const struct nb_meta *meta,
                                     struct nb_str *header, struct nb_error *err)
{
    uint64_t end = 0;
    uint8_t length[8] = {0};
    w->align = 1; /* tensors lie back to back: holes are forbidden */
    nb_str_append(header, length, sizeof length);
    NB_TRY(put_metadata(header, meta, err));
    for (size_t i = 0; i < w->n_tensors; i++)
        NB_TRY(put_tensor(header, &w->tensors[i], &end, err));
    nb_str_puts(header, "}");
    while (header->len % DATA_ALIGN != 0 && !header->failed)
        nb_str_puts(header, " ");
    NB_TRY(nb_str_check(header, err));
    if (header->len - 8 > NB_SAFETENSORS_MAX_HEADER)
        NB_FAIL(err, NB_ERR_LIMIT, "a header of %zu bytes, at most %d", header->len - 8,
                NB_SAFETENSORS_MAX_HEADER);
    nb_store_u64(header->data, header->len - 8);
    w->data_offset = header->len;
    for (size_t i = 0; i < w->n_tensors; i++)
        if (!nb_add_u64(&w->tensors[i].offset, w->tensors[i].offset, w->data_offset))
            NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s': the file would pass 2^64 bytes",
                    w->tensors[i].name);
    return NB_OK;
}
