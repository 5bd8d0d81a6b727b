/* container/gguf_write.c: the header of a GGUF version 3 file.
 *
 * Key-values in the order of the metadata, tensors in the order declared, each padded to
 * general.alignment (32 unless the metadata says otherwise), the last one too.
 */
#include "container/gguf_internal.h"

#include <string.h>

#define QUOTE_BYTES 96
#define MAX_ALIGN   65536 /* a page of any machine; the header is padded in memory */

static void put_u32(struct nb_str *s, uint32_t v)
{
    uint8_t bytes[4];
    nb_store_u32(bytes, v);
    nb_str_append(s, bytes, sizeof bytes);
}

static void put_u64(struct nb_str *s, uint64_t v)
{
    uint8_t bytes[8];
    nb_store_u64(bytes, v);
    nb_str_append(s, bytes, sizeof bytes);
}

static void put_text(struct nb_str *s, const char *text, size_t n)
{
    put_u64(s, n);
    nb_str_append(s, text, n);
}

/* Two's complement: the low bytes of v.u are right for signed and unsigned alike. */
static void put_number(struct nb_str *s, const struct nb_meta_kv *kv)
{
    uint8_t bytes[8];
    if (kv->type == NB_META_F32)
        nb_store_u32(bytes, nb_f32_bits((float)kv->v.f));
    else
        nb_store_u64(bytes, kv->v.u); /* an f64 shares its bits with v.u */
    nb_str_append(s, bytes, nb_meta_type_bytes(kv->type));
}

static void put_array(struct nb_str *s, const struct nb_meta_kv *kv)
{
    put_u32(s, (uint32_t)kv->item);
    put_u64(s, kv->n);
    if (kv->item == NB_META_STRING) {
        const struct nb_text *t = kv->v.items;
        for (uint64_t i = 0; i < kv->n; i++)
            put_text(s, t[i].s, t[i].n);
    } else if (kv->n > 0) {
        nb_str_append(s, kv->v.items, (size_t)kv->n * nb_meta_type_bytes(kv->item));
    }
}

static void put_kv(struct nb_str *s, const struct nb_meta_kv *kv)
{
    put_text(s, kv->key, strlen(kv->key));
    put_u32(s, (uint32_t)kv->type);
    if (kv->type == NB_META_STRING)
        put_text(s, kv->v.text.s, kv->v.text.n);
    else if (kv->type == NB_META_ARRAY)
        put_array(s, kv);
    else
        put_number(s, kv);
}

static enum nb_status check_tensor(const struct nb_tensor *t, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    const size_t n = strlen(t->name);
    nb_printable(quote, sizeof quote, t->name, n);
    if (n > NB_GGUF_MAX_NAME)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s': GGUF names have at most %d bytes, not %zu",
                quote, NB_GGUF_MAX_NAME, n);
    if (t->shape.n > NB_GGUF_MAX_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s': GGUF holds at most %d dimensions, not %u",
                quote, NB_GGUF_MAX_DIMS, t->shape.n);
    if (t->type->gguf_type < 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s': GGUF has no type for %s", quote,
                t->type->name);
    return NB_OK;
}

/* One tensor info; *end is the running sum of padded sizes. */
static enum nb_status put_tensor(struct nb_str *s, struct nb_tensor *t, uint64_t *end,
                                 uint64_t align, struct nb_error *err)
{
    NB_TRY(check_tensor(t, err));
    t->offset = *end;
    put_text(s, t->name, strlen(t->name));
    put_u32(s, t->shape.n);
    for (uint32_t i = t->shape.n; i-- > 0;)
        put_u64(s, t->shape.dim[i]);
    put_u32(s, (uint32_t)t->type->gguf_type);
    put_u64(s, *end);
    if (!nb_add_u64(end, *end, t->bytes) || !nb_gguf_round_up(end, align))
        NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s': the file would pass 2^64 bytes", t->name);
    return NB_OK;
}

enum nb_status nb_gguf_layout(struct nb_writer *w, const struct nb_meta *meta,
                              struct nb_str *header, struct nb_error *err)
{
    static const uint8_t zeros[64];
    const size_t n_kv = meta == NULL ? 0 : meta->n;
    uint64_t end = 0;
    NB_TRY(nb_gguf_align(meta, &w->align, err));
    if (w->align > MAX_ALIGN)
        NB_FAIL(err, NB_ERR_LIMIT, "key '%s': %llu, at most %d when writing", NB_GGUF_ALIGN_KEY,
                (unsigned long long)w->align, MAX_ALIGN);
    nb_str_append(header, NB_GGUF_MAGIC, 4);
    put_u32(header, NB_GGUF_VERSION);
    put_u64(header, w->n_tensors);
    put_u64(header, n_kv);
    for (size_t i = 0; i < n_kv; i++)
        put_kv(header, &meta->kv[i]);
    for (size_t i = 0; i < w->n_tensors; i++)
        NB_TRY(put_tensor(header, &w->tensors[i], &end, w->align, err));
    NB_TRY(nb_str_check(header, err));
    w->data_offset = header->len;
    if (!nb_gguf_round_up(&w->data_offset, w->align))
        NB_FAIL(err, NB_ERR_LIMIT, "the header's padding passes 2^64 bytes");
    while (header->len < w->data_offset && !header->failed)
        nb_str_append(header, zeros, (size_t)NB_MIN(w->data_offset - header->len, (uint64_t)64));
    for (size_t i = 0; i < w->n_tensors; i++)
        if (!nb_add_u64(&w->tensors[i].offset, w->tensors[i].offset, w->data_offset))
            NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s': the file would pass 2^64 bytes",
                    w->tensors[i].name);
    return NB_OK;
}
