/* calib/calib.c: the table of entries, merging, and which file format it is. */
#include "calib/calib_internal.h"

#include <math.h>
#include <string.h>

#define ARENA_BYTES 65536
#define QUOTE_BYTES 96
#define FLOAT_MAX   3.4028234e38 /* below FLT_MAX */

enum nb_status nb_calib_create(struct nb_calib **out, const struct nb_allocator *a,
                               struct nb_error *err)
{
    *out = NULL;
    struct nb_calib *c = nb_alloc_zero(a, 1, sizeof *c);
    if (c == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    c->a = a;
    c->chunk_size = NB_CALIB_CHUNK_SIZE;
    nb_arena_init(&c->arena, a, ARENA_BYTES);
    nb_map_init(&c->names, a);
    *out = c;
    return NB_OK;
}

void nb_calib_destroy(struct nb_calib *c)
{
    if (c == NULL)
        return;
    nb_map_fini(&c->names);
    nb_free(c->a, c->items);
    nb_free(c->a, c->datasets);
    nb_arena_fini(&c->arena);
    nb_free(c->a, c);
}

enum nb_status nb_calib_add(struct nb_calib *c, const char *name, size_t n_mat, size_t cols,
                            struct nb_moment **out, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    const size_t len = strlen(name);
    size_t n;
    *out = NULL;
    if (len == 0 || len > NB_CALIB_MAX_NAME || n_mat == 0 || cols == 0)
        NB_FAIL(err, NB_ERR_ARG,
                "an entry needs a name of at most %d bytes and at least one column",
                NB_CALIB_MAX_NAME);
    if (!nb_mul_size(&n, n_mat, cols) || !nb_grow(c->a, &c->items, &c->cap, c->n, sizeof *c->items))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    struct nb_moment m = {.n_mat = n_mat, .cols = cols};
    m.name = nb_arena_strndup(&c->arena, name, len);
    m.sum = nb_arena_alloc(&c->arena, n, sizeof *m.sum);
    m.count = nb_arena_alloc(&c->arena, n_mat, sizeof *m.count);
    if (m.name == NULL || m.sum == NULL || m.count == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu columns of statistics", n);
    const enum nb_status st = nb_map_put(&c->names, m.name, len, c->n);
    if (st == NB_ERR_EXISTS)
        NB_FAIL(err, st, "'%s' has two entries", nb_printable(quote, sizeof quote, name, len));
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for statistics");
    c->items[c->n] = m;
    *out = &c->items[c->n++];
    return NB_OK;
}

enum nb_status nb_calib_add_dataset(struct nb_calib *c, const char *name, size_t n,
                                    struct nb_error *err)
{
    const char *copy = nb_arena_strndup(&c->arena, name, n);
    if (copy == NULL ||
        !nb_grow(c->a, &c->datasets, &c->cap_datasets, c->n_datasets, sizeof *c->datasets))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    c->datasets[c->n_datasets++] = copy;
    return NB_OK;
}

const struct nb_moment *nb_calib_find(const struct nb_calib *c, const char *name)
{
    uint64_t i;
    return nb_map_get(&c->names, name, strlen(name), &i) ? &c->items[i] : NULL;
}

/* ---- merging ---- */

static enum nb_status merge_moment(struct nb_calib *into, const struct nb_moment *from,
                                   struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    uint64_t at;
    struct nb_moment *m;
    if (nb_map_get(&into->names, from->name, strlen(from->name), &at))
        m = &into->items[at];
    else
        NB_TRY(nb_calib_add(into, from->name, from->n_mat, from->cols, &m, err));
    if (m->n_mat != from->n_mat || m->cols != from->cols)
        NB_FAIL(err, NB_ERR_FORMAT,
                "'%s' has %zu x %zu columns in one file of statistics and %zu x %zu in another",
                nb_printable(quote, sizeof quote, m->name, strlen(m->name)), m->n_mat, m->cols,
                from->n_mat, from->cols);
    for (size_t i = 0; i < m->n_mat * m->cols; i++)
        m->sum[i] += from->sum[i];
    for (size_t i = 0; i < m->n_mat; i++)
        m->count[i] += from->count[i];
    return NB_OK;
}

static bool has_dataset(const struct nb_calib *c, const char *name)
{
    for (size_t i = 0; i < c->n_datasets; i++)
        if (strcmp(c->datasets[i], name) == 0)
            return true;
    return false;
}

enum nb_status nb_calib_merge(struct nb_calib *into, const struct nb_calib *from,
                              struct nb_error *err)
{
    uint64_t tokens;
    for (size_t i = 0; i < from->n; i++)
        NB_TRY(merge_moment(into, &from->items[i], err));
    for (size_t i = 0; i < from->n_datasets; i++)
        if (!has_dataset(into, from->datasets[i]))
            NB_TRY(nb_calib_add_dataset(into, from->datasets[i], strlen(from->datasets[i]), err));
    /* Chunks are counted in those of the first file. */
    if (into->n == from->n && into->chunk_count == 0)
        into->chunk_size = from->chunk_size;
    if (!nb_mul_u64(&tokens, from->chunk_count, from->chunk_size) ||
        !nb_add_u64(&tokens, tokens, into->chunk_size - 1) ||
        !nb_add_u64(&into->chunk_count, into->chunk_count, tokens / into->chunk_size))
        NB_FAIL(err, NB_ERR_FORMAT, "more than 2^64 tokens of statistics");
    return NB_OK;
}

/* ---- means ---- */

enum nb_status nb_moment_check(const struct nb_moment *m, const struct nb_shape *shape,
                               struct nb_error *err)
{
    char text[NB_SHAPE_TEXT_BYTES], quote[QUOTE_BYTES];
    const uint64_t cols = nb_shape_cols(shape);
    uint64_t n_mat = 1;
    for (uint32_t i = 0; i + 2 < shape->n; i++)
        n_mat *= shape->dim[i];
    /* The .dat format does not say how its vector is divided. */
    if ((m->cols == cols && m->n_mat == n_mat) ||
        (m->n_mat == 1 && cols > 0 && m->cols % cols == 0 && m->cols / cols == n_mat))
        return NB_OK;
    NB_FAIL(err, NB_ERR_FORMAT,
            "tensor '%s' is %s, its importance has %zu x %zu columns: it is of another model",
            nb_printable(quote, sizeof quote, m->name, strlen(m->name)), nb_shape_text(shape, text),
            m->n_mat, m->cols);
}

/* Of column j of one matrix, over all matrices. */
static double mean_of_all(const struct nb_moment *m, size_t j)
{
    double sum = 0.0, count = 0.0;
    for (size_t i = 0; i < m->n_mat; i++) {
        sum += m->count[i] > 0.0 ? m->sum[i * m->cols + j] : 0.0;
        count += m->count[i];
    }
    return count > 0.0 ? sum / count : 1.0;
}

double nb_moment_mean(const struct nb_moment *m, size_t at)
{
    const double count = m->count[at / m->cols], few = NB_CALIB_FEW_TOKENS;
    const double sum = count > 0.0 ? m->sum[at] : 0.0;
    if (m->n_mat > 1 && count < few)
        return (sum + (few - count) * mean_of_all(m, at % m->cols)) / few;
    return count > 0.0 ? sum / count : 1.0;
}

void nb_moment_means(const struct nb_moment *m, size_t first, size_t n, float *dst)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = (float)NB_MIN(nb_moment_mean(m, first + i), FLOAT_MAX);
}

/* Insertion sort: experts are some hundreds. */
static void sort(double *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const double x = v[i];
        size_t k = i;
        for (; k > 0 && v[k - 1] > x; k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}

enum nb_status nb_moment_coverage(const struct nb_moment *m, struct nb_coverage *out,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    double *v = nb_alloc(a, m->n_mat, sizeof *v);
    if (v == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu experts", m->n_mat);
    memcpy(v, m->chosen != NULL ? m->chosen : m->count, m->n_mat * sizeof *v);
    sort(v, m->n_mat);
    *out = (struct nb_coverage){
        .n_experts = (uint32_t)m->n_mat, .least = v[0], .most = v[m->n_mat - 1]};
    out->median = 0.5 * (v[(m->n_mat - 1) / 2] + v[m->n_mat / 2]);
    for (size_t i = 0; i < m->n_mat; i++) {
        out->unseen += v[i] <= 0.0;
        out->few += v[i] < NB_CALIB_FEW_TOKENS;
    }
    nb_free(a, v);
    return NB_OK;
}

/* ---- files ---- */

enum nb_status nb_imatrix_check_value(float v, const char *name, uint64_t i, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    if (v >= 0.0F && (double)v <= FLOAT_MAX)
        return NB_OK;
    NB_FAIL(err, NB_ERR_FORMAT,
            "entry '%s', number %llu is %g; a sum of squares is finite and not negative",
            nb_printable(quote, sizeof quote, name, strlen(name)), (unsigned long long)i,
            (double)v);
}

enum nb_status nb_imatrix_to_f32(double v, const struct nb_moment *m, float *out,
                                 struct nb_error *err)
{
    *out = (float)v;
    if (!isfinite(*out))
        NB_FAIL(err, NB_ERR_NUMERIC, "'%s': a sum of squares of %g does not fit the file's floats",
                m->name, v);
    return NB_OK;
}

enum nb_status nb_calib_read_bytes(struct nb_calib **out, const void *data, size_t n,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_calib *c;
    *out = NULL;
    NB_TRY(nb_calib_create(&c, a, err));
    const enum nb_status st = nb_imatrix_is_gguf(data, n) ? nb_imatrix_read_gguf(c, data, n, err)
                                                          : nb_imatrix_read_dat(c, data, n, err);
    if (st != NB_OK) {
        nb_calib_destroy(c);
        return st;
    }
    c->hash = nb_hash_bytes(data, n);
    *out = c;
    return NB_OK;
}

enum nb_status nb_calib_read(struct nb_calib **out, const char *path, const struct nb_allocator *a,
                             struct nb_error *err)
{
    struct nb_mapping map;
    *out = NULL;
    NB_TRY(nb_mapping_open(&map, path, err));
    enum nb_status st = NB_OK;
    if (map.size > SIZE_MAX)
        st = NB_ERROR(err, NB_ERR_LIMIT, "too large for this machine");
    if (st == NB_OK)
        st = nb_calib_read_bytes(out, map.data, (size_t)map.size, a, err);
    if (st != NB_OK)
        st = nb_error_prefix(err, st, "%s", path);
    nb_mapping_close(&map);
    return st;
}

enum nb_status nb_calib_write(const struct nb_calib *c, const char *path,
                              enum nb_calib_format format, unsigned out_flags, uint64_t *bytes,
                              struct nb_error *err)
{
    if (c->n == 0)
        NB_FAIL(err, NB_ERR_ARG, "%s: there are no statistics to write", path);
    NB_TRY(format == NB_CALIB_DAT ? nb_imatrix_write_dat(c, path, out_flags, err)
                                  : nb_imatrix_write_gguf(c, path, out_flags, err));
    return nb_path_size(path, bytes, err);
}
