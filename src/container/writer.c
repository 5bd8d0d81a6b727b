/* container/writer.c: writing a file of any registered container, in one pass.
 *
 * All tensors are declared first, so the header is final before the first weight; weights stream
 * through. Nothing bears the final name until commit (base/file.h).
 */
#include "container/container.h"

#include <string.h>

#define NAMES_CHUNK_BYTES 16384
#define QUOTE_BYTES       80

enum nb_status nb_writer_create(struct nb_writer **out, const struct nb_container *c,
                                const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_writer *w = nb_alloc_zero(a, 1, sizeof *w);
    if (w == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    w->a = a;
    w->container = c;
    w->align = 1;
    w->out.fd = -1;
    nb_arena_init(&w->arena, a, NAMES_CHUNK_BYTES);
    nb_map_init(&w->names, a);
    *out = w;
    return NB_OK;
}

void nb_writer_destroy(struct nb_writer *w)
{
    if (w == NULL)
        return;
    if (w->state == NB_WRITER_OPEN || w->state == NB_WRITER_BROKEN)
        nb_out_abort(&w->out);
    nb_map_fini(&w->names);
    nb_free(w->a, w->tensors);
    nb_arena_fini(&w->arena);
    nb_free(w->a, w);
}

enum nb_status nb_writer_add(struct nb_writer *w, const char *name, const struct nb_numfmt *type,
                             const struct nb_shape *shape, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    struct nb_tensor t = {.type = type, .shape = *shape};
    if (w->state != NB_WRITER_DECLARING || name == NULL || name[0] == '\0')
        NB_FAIL(err, NB_ERR_ARG,
                "a tensor needs a name and must be declared before the file begins");
    const size_t n = strlen(name);
    nb_printable(quote, sizeof quote, name, n);
    enum nb_status st = nb_numfmt_bytes(type, shape, &t.bytes, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "tensor '%s'", quote);
    char *copy = nb_arena_strndup(&w->arena, name, n);
    if (copy == NULL || !nb_grow(w->a, &w->tensors, &w->cap, w->n_tensors, sizeof *w->tensors))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    st = nb_map_put(&w->names, copy, n, w->n_tensors);
    if (st == NB_ERR_EXISTS)
        NB_FAIL(err, NB_ERR_ARG, "tensor '%s' is declared twice", quote);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory");
    t.name = copy;
    w->tensors[w->n_tensors++] = t;
    return NB_OK;
}

/* Zero bytes after a tensor of that many bytes. */
static uint64_t padding(const struct nb_writer *w, uint64_t bytes)
{
    const uint64_t over = bytes % w->align;
    return over == 0 ? 0 : w->align - over;
}

/* The header, and the size of the whole file. header is initialised here, the caller frees it. */
static enum nb_status lay_out(struct nb_writer *w, const struct nb_meta *meta,
                              struct nb_str *header, uint64_t *bytes, struct nb_error *err)
{
    nb_str_init(header, w->a);
    NB_TRY(w->container->layout(w, meta, header, err));
    NB_TRY(nb_str_check(header, err));
    nb_assert(header->len == w->data_offset);
    uint64_t total = header->len;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct nb_tensor *t = &w->tensors[i];
        if (!nb_add_u64(&total, total, t->bytes) ||
            !nb_add_u64(&total, total, padding(w, t->bytes)))
            NB_FAIL(err, NB_ERR_LIMIT, "tensor '%s': the file would pass 2^64 bytes", t->name);
    }
    *bytes = total;
    return NB_OK;
}

enum nb_status nb_writer_bytes(struct nb_writer *w, const struct nb_meta *meta, uint64_t *bytes,
                               struct nb_error *err)
{
    struct nb_str header;
    if (w->state != NB_WRITER_DECLARING)
        NB_FAIL(err, NB_ERR_ARG, "the file has begun already");
    const enum nb_status st = lay_out(w, meta, &header, bytes, err);
    nb_str_fini(&header);
    return st;
}

/* Pads and passes over finished tensors, so that `current` is one that still wants bytes. */
static enum nb_status advance(struct nb_writer *w, struct nb_error *err)
{
    static const uint8_t zeros[64];
    while (w->current < w->n_tensors && w->current_at == w->tensors[w->current].bytes) {
        uint64_t pad = padding(w, w->current_at);
        while (pad > 0) {
            const size_t n = (size_t)NB_MIN(pad, (uint64_t)sizeof zeros);
            NB_TRY(nb_out_write(&w->out, zeros, n, err));
            pad -= n;
        }
        w->current++;
        w->current_at = 0;
    }
    return NB_OK;
}

enum nb_status nb_writer_begin(struct nb_writer *w, const char *path, unsigned out_flags,
                               const struct nb_meta *meta, struct nb_error *err)
{
    struct nb_str header;
    uint64_t bytes;
    if (w->state != NB_WRITER_DECLARING)
        NB_FAIL(err, NB_ERR_ARG, "the file has begun already");
    enum nb_status st = lay_out(w, meta, &header, &bytes, err);
    if (st != NB_OK)
        goto done;
    st = nb_out_create(&w->out, path, out_flags, bytes, w->a, err);
    if (st != NB_OK)
        goto done;
    w->state = NB_WRITER_BROKEN; /* until the header stands */
    st = nb_out_write(&w->out, header.data, header.len, err);
    if (st == NB_OK)
        st = advance(w, err);
    if (st == NB_OK)
        w->state = NB_WRITER_OPEN;
done:
    nb_str_fini(&header);
    return st;
}

static enum nb_status append(struct nb_writer *w, const uint8_t *data, size_t n,
                             struct nb_error *err)
{
    while (n > 0) {
        if (w->current == w->n_tensors)
            NB_FAIL(err, NB_ERR_ARG, "%zu bytes more than the declared tensors hold", n);
        const uint64_t left = w->tensors[w->current].bytes - w->current_at;
        const size_t take = (size_t)NB_MIN(left, (uint64_t)n);
        NB_TRY(nb_out_write(&w->out, data, take, err));
        w->current_at += take;
        data += take;
        n -= take;
        NB_TRY(advance(w, err));
    }
    return NB_OK;
}

enum nb_status nb_writer_append(struct nb_writer *w, const void *data, size_t n,
                                struct nb_error *err)
{
    if (w->state != NB_WRITER_OPEN)
        NB_FAIL(err, NB_ERR_ARG, "the file has not begun, or an earlier write failed");
    const enum nb_status st = append(w, data, n, err);
    if (st != NB_OK)
        w->state = NB_WRITER_BROKEN; /* what is on disk is no longer known: only abort is left */
    return st;
}

enum nb_status nb_writer_commit(struct nb_writer *w, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    if (w->state != NB_WRITER_OPEN)
        NB_FAIL(err, NB_ERR_ARG, "the file has not begun, or an earlier write failed");
    if (w->current < w->n_tensors) {
        const struct nb_tensor *t = &w->tensors[w->current];
        NB_FAIL(err, NB_ERR_ARG, "tensor '%s': %llu of %llu bytes written",
                nb_printable(quote, sizeof quote, t->name, strlen(t->name)),
                (unsigned long long)w->current_at, (unsigned long long)t->bytes);
    }
    w->state = NB_WRITER_BROKEN;
    NB_TRY(nb_out_commit(&w->out, err));
    w->state = NB_WRITER_DONE;
    return NB_OK;
}
