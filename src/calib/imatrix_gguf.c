/* calib/imatrix_gguf.c: llama.cpp's imatrix in GGUF (docs/formats/imatrix.md):
 *
 *     general.type "imatrix", imatrix.datasets [string], imatrix.chunk_count u32, imatrix.chunk_size u32
 *     <weight>.in_sum2  f32 [n_mat, cols]   sums of x^2
 *     <weight>.counts   f32 [n_mat, 1]      tokens
 *
 * Tensors of other names (in_sum: plain sums) are passed over.
 */
#include "calib/calib_internal.h"

#include <string.h>

#include "container/container.h"

#define SUMS     ".in_sum2"
#define COUNTS   ".counts"
#define TYPE     "general.type"
#define DATASETS "imatrix.datasets"
#define CHUNKS   "imatrix.chunk_count"
#define SIZE     "imatrix.chunk_size"

enum { RUN = 256 }; /* values converted at once */

bool nb_imatrix_is_gguf(const void *data, size_t n)
{
    return n >= 4 && nb_container_gguf.probe(data, n);
}

/* ---- reading ---- */

static enum nb_status check_tensor(const struct nb_tensor *t, uint64_t rows, struct nb_error *err)
{
    char text[NB_SHAPE_TEXT_BYTES];
    if (t->type != &nb_numfmt_f32)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is %s, expected f32", t->name, t->type->name);
    if (t->shape.n == 0 || t->bytes == 0 || (rows > 0 && t->bytes != rows * sizeof(float)))
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is %s, expected %llu counts", t->name,
                nb_shape_text(&t->shape, text), (unsigned long long)rows);
    return NB_OK;
}

static enum nb_status read_entry(struct nb_calib *c, const struct nb_file *f,
                                 const struct nb_tensor *sums, struct nb_error *err)
{
    char name[NB_CALIB_MAX_NAME + 1], other[NB_CALIB_MAX_NAME + sizeof COUNTS];
    const size_t stem = strlen(sums->name) - (sizeof SUMS - 1);
    struct nb_moment *m;
    if (stem == 0 || stem > NB_CALIB_MAX_NAME)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s': expected the name of a weight before " SUMS,
                sums->name);
    memcpy(name, sums->name, stem);
    name[stem] = '\0';
    memcpy(other, name, stem);
    memcpy(other + stem, COUNTS, sizeof COUNTS);
    const struct nb_tensor *counts = nb_file_find(f, other);
    if (counts == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is missing beside '%s'", other, sums->name);
    NB_TRY(check_tensor(sums, 0, err));
    NB_TRY(check_tensor(counts, nb_shape_rows(&sums->shape), err));
    NB_TRY(nb_calib_add(c, name, (size_t)nb_shape_rows(&sums->shape),
                        (size_t)nb_shape_cols(&sums->shape), &m, err));
    for (size_t i = 0; i < m->n_mat; i++) {
        float v;
        nb_numfmt_decode(&nb_numfmt_f32, counts->data + i * sizeof v, &v, 1);
        NB_TRY(nb_imatrix_check_value(v, other, i, err));
        m->count[i] = (double)v;
    }
    for (size_t i = 0; i < m->n_mat * m->cols; i++) {
        float v;
        nb_numfmt_decode(&nb_numfmt_f32, sums->data + i * sizeof v, &v, 1);
        NB_TRY(nb_imatrix_check_value(v, sums->name, i, err));
        m->sum[i] = (double)v;
    }
    return NB_OK;
}

static enum nb_status read_meta(struct nb_calib *c, const struct nb_meta *meta,
                                struct nb_error *err)
{
    struct nb_text type;
    uint32_t v;
    if (!nb_meta_text(meta, TYPE, &type) || type.n != 7 || memcmp(type.s, "imatrix", 7) != 0)
        NB_FAIL(err, NB_ERR_FORMAT,
                "this GGUF file is no imatrix: its " TYPE " is not \"imatrix\"");
    if (nb_meta_u32(meta, CHUNKS, &v))
        c->chunk_count = v;
    if (nb_meta_u32(meta, SIZE, &v)) {
        if (v == 0)
            NB_FAIL(err, NB_ERR_FORMAT, SIZE " is 0, expected the tokens of a window");
        c->chunk_size = v;
    }
    const struct nb_meta_kv *kv = nb_meta_find(meta, DATASETS);
    if (kv == NULL)
        return NB_OK;
    if (kv->type != NB_META_ARRAY || kv->item != NB_META_STRING)
        NB_FAIL(err, NB_ERR_FORMAT, DATASETS " is no array of strings");
    const struct nb_text *texts = kv->v.items;
    for (uint64_t i = 0; i < kv->n; i++)
        NB_TRY(nb_calib_add_dataset(c, texts[i].s, texts[i].n, err));
    return NB_OK;
}

static enum nb_status read_file(struct nb_calib *c, const struct nb_file *f, struct nb_error *err)
{
    NB_TRY(read_meta(c, &f->meta, err));
    for (size_t i = 0; i < f->n_tensors; i++)
        if (nb_str_ends(f->tensors[i].name, SUMS))
            NB_TRY(read_entry(c, f, &f->tensors[i], err));
    if (c->n == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "the imatrix is empty: no tensor ends in " SUMS);
    return NB_OK;
}

enum nb_status nb_imatrix_read_gguf(struct nb_calib *c, const void *data, size_t n,
                                    struct nb_error *err)
{
    struct nb_file *f;
    NB_TRY(nb_file_open_bytes(&f, data, n, c->a, err));
    const enum nb_status st = read_file(c, f, err);
    nb_file_close(f);
    return st;
}

/* ---- writing ---- */

enum nb_status nb_imatrix_fill_meta(const struct nb_calib *c, struct nb_meta *meta,
                                    struct nb_error *err)
{
    struct nb_text *texts = nb_arena_alloc(&meta->arena, c->n_datasets + 1, sizeof *texts);
    const uint32_t chunks = (uint32_t)NB_MIN(c->chunk_count, (uint64_t)UINT32_MAX);
    if (texts == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for metadata");
    for (size_t i = 0; i < c->n_datasets; i++)
        texts[i] = (struct nb_text){c->datasets[i], strlen(c->datasets[i])};
    if (nb_meta_set_text(meta, TYPE, "imatrix", 7) != NB_OK ||
        nb_meta_set_texts(meta, DATASETS, texts, c->n_datasets) != NB_OK ||
        nb_meta_set_u32(meta, CHUNKS, chunks) != NB_OK ||
        nb_meta_set_u32(meta, SIZE, c->chunk_size) != NB_OK)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for metadata");
    return NB_OK;
}

enum nb_status nb_imatrix_declare(const struct nb_calib *c, struct nb_writer *w,
                                  struct nb_error *err)
{
    char name[NB_CALIB_MAX_NAME + sizeof SUMS];
    for (size_t i = 0; i < c->n; i++) {
        const struct nb_moment *m = &c->items[i];
        const size_t stem = strlen(m->name);
        const struct nb_shape sums = nb_shape_2(m->n_mat, m->cols);
        const struct nb_shape counts = nb_shape_2(m->n_mat, 1);
        memcpy(name, m->name, stem);
        memcpy(name + stem, SUMS, sizeof SUMS);
        NB_TRY(nb_writer_add(w, name, &nb_numfmt_f32, &sums, err));
        memcpy(name + stem, COUNTS, sizeof COUNTS);
        NB_TRY(nb_writer_add(w, name, &nb_numfmt_f32, &counts, err));
    }
    return NB_OK;
}

static enum nb_status append(const struct nb_moment *m, const double *values, size_t n,
                             struct nb_writer *w, struct nb_error *err)
{
    float v[RUN];
    uint8_t bytes[sizeof v];
    for (size_t at = 0, now; at < n; at += now) {
        now = NB_MIN(n - at, (size_t)RUN);
        for (size_t i = 0; i < now; i++)
            NB_TRY(nb_imatrix_to_f32(values[at + i], m, &v[i], err));
        NB_TRY(nb_numfmt_encode(&nb_numfmt_f32, bytes, v, NULL, now, err));
        NB_TRY(nb_writer_append(w, bytes, now * sizeof *v, err));
    }
    return NB_OK;
}

enum nb_status nb_imatrix_append(const struct nb_calib *c, struct nb_writer *w,
                                 struct nb_error *err)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct nb_moment *m = &c->items[i];
        NB_TRY(append(m, m->sum, m->n_mat * m->cols, w, err));
        NB_TRY(append(m, m->count, m->n_mat, w, err));
    }
    return NB_OK;
}

static enum nb_status write_file(const struct nb_calib *c, const char *path, unsigned out_flags,
                                 struct nb_writer *w, const struct nb_meta *meta,
                                 struct nb_error *err)
{
    NB_TRY(nb_imatrix_declare(c, w, err));
    NB_TRY(nb_writer_begin(w, path, out_flags, meta, err));
    NB_TRY(nb_imatrix_append(c, w, err));
    return nb_writer_commit(w, err);
}

enum nb_status nb_imatrix_write_gguf(const struct nb_calib *c, const char *path, unsigned out_flags,
                                     struct nb_error *err)
{
    struct nb_writer *w;
    struct nb_meta meta;
    NB_TRY(nb_writer_create(&w, &nb_container_gguf, c->a, err));
    nb_meta_init(&meta, c->a);
    enum nb_status st = nb_imatrix_fill_meta(c, &meta, err);
    if (st == NB_OK)
        st = write_file(c, path, out_flags, w, &meta, err);
    nb_writer_destroy(w);
    nb_meta_fini(&meta);
    return st;
}
