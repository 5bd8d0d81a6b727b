/* fuzz/fuzz_file.h: what a container's fuzz target does with bytes that open. */
#ifndef NB_FUZZ_FILE_H
#define NB_FUZZ_FILE_H

#include <stdlib.h>
#include <string.h>

#include "container/container.h"

/* A broken promise, as opposed to a memory error: stop where the fuzzer sees it. */
static inline void fuzz_require(bool ok)
{
    if (!ok)
        abort();
}

static inline void fuzz_walk_meta(const struct nb_meta *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct nb_meta_kv *kv = &m->kv[i];
        const bool texts = kv->type == NB_META_ARRAY && kv->item == NB_META_STRING;
        fuzz_require(nb_meta_find(m, kv->key) == kv || m->n > 64); /* linear: not for thousands */
        for (uint64_t k = 0; k < kv->n; k++) {
            int64_t v;
            double f;
            if (texts)
                sum += ((const struct nb_text *)kv->v.items)[k].n;
            else if (nb_meta_item_i64(kv, k, &v))
                sum += (uint64_t)v;
            else if (nb_meta_item_f64(kv, k, &f))
                sum += f > 0;
        }
        if (i > 64)
            break;
    }
    volatile uint64_t sink = sum;
    (void)sink;
}

/* The first and the last block of a tensor, decoded. */
static inline void fuzz_decode(const struct nb_tensor *t)
{
    float x[NB_NUMFMT_MAX_BLOCK];
    if (t->bytes == 0)
        return;
    fuzz_require(t->bytes % t->type->block_bytes == 0);
    fuzz_require(t->bytes / t->type->block_bytes * t->type->block ==
                 nb_shape_rows(&t->shape) * nb_shape_cols(&t->shape));
    nb_numfmt_decode(t->type, t->data, x, t->type->block);
    nb_numfmt_decode(t->type, t->data + t->bytes - t->type->block_bytes, x, t->type->block);
}

/* What was read can be declared again, and its size worked out. */
static inline void fuzz_relayout(const struct nb_file *f)
{
    struct nb_writer *w;
    struct nb_error err;
    uint64_t bytes = 0;
    if (nb_writer_create(&w, f->container, NULL, &err) != NB_OK)
        return;
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < f->n_tensors && st == NB_OK; i++)
        st = nb_writer_add(w, f->tensors[i].name, f->tensors[i].type, &f->tensors[i].shape, &err);
    fuzz_require(st == NB_OK);
    st = nb_writer_bytes(w, &f->meta, &bytes, &err);
    fuzz_require(st == NB_OK || st == NB_ERR_LIMIT); /* a limit: an alignment of 2^31, say */
    for (size_t i = 0; i < f->n_tensors; i++)
        fuzz_require(w->tensors[i].bytes == f->tensors[i].bytes);
    nb_writer_destroy(w);
}

static inline void fuzz_container(const uint8_t *data, size_t size)
{
    struct nb_file *f;
    struct nb_error err = {0};
    const enum nb_status st = nb_file_open_bytes(&f, data, size, NULL, &err);
    if (st != NB_OK) {
        fuzz_require(err.status == st && err.message[0] != '\0');
        fuzz_require(memchr(err.message, '\0', sizeof err.message) != NULL);
        return;
    }
    fuzz_walk_meta(&f->meta);
    for (size_t i = 0; i < f->n_tensors; i++) {
        fuzz_decode(&f->tensors[i]);
        fuzz_require(nb_file_find(f, f->tensors[i].name) == &f->tensors[i]);
    }
    fuzz_relayout(f);
    nb_file_close(f);
}

#endif
