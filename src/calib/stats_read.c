/* calib/stats_read.c: statistics from a GGUF file (docs/formats/statistics.md). Nothing is taken on trust: every array is
 * checked for its type, shape and values before it is used, and memory is asked for only after that. */
#include <math.h>
#include <string.h>

#include "calib/stats_file.h"

#define QUOTE_BYTES 96

/* ---- metadata ---- */

static const struct nb_meta_kv *find_texts(const struct nb_meta *meta, const char *key)
{
    const struct nb_meta_kv *kv = nb_meta_find(meta, key);
    return kv != NULL && kv->type == NB_META_ARRAY && kv->item == NB_META_STRING ? kv : NULL;
}

static bool is_stats(const struct nb_meta *meta, uint32_t *version)
{
    return nb_meta_u32(meta, NB_STATS_KEY_VERSION, version);
}

/* Kinds that this version does not know are passed over. */
static enum nb_status read_options(struct nb_stats_options *o, const struct nb_meta *meta,
                                   struct nb_error *err)
{
    const struct nb_meta_kv *kinds = find_texts(meta, NB_STATS_KEY_KINDS);
    uint32_t version, held = 0;
    if (!is_stats(meta, &version))
        NB_FAIL(err, NB_ERR_FORMAT, "no file of statistics: it has no " NB_STATS_KEY_VERSION);
    if (version != NB_STATS_VERSION)
        NB_FAIL(err, NB_ERR_VERSION, "statistics of version %lu, this nibble reads %d",
                (unsigned long)version, NB_STATS_VERSION);
    if (kinds == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, NB_STATS_KEY_KINDS " is no array of strings");
    for (uint64_t i = 0; i < kinds->n; i++) {
        const struct nb_text *t = (const struct nb_text *)kinds->v.items + i;
        for (size_t k = 0; k < NB_STAT_COUNT; k++)
            if (strlen(nb_observers[k]->name) == t->n &&
                memcmp(nb_observers[k]->name, t->s, t->n) == 0)
                o->kinds |= 1U << k;
    }
    if ((o->kinds & NB_STAT_BIT(moments)) == 0)
        NB_FAIL(err, NB_ERR_FORMAT, NB_STATS_KEY_KINDS " lacks \"moments\"");
    o->held_out = nb_meta_u32(meta, NB_STATS_KEY_HELD, &held) && held > 0;
    (void)nb_meta_bool(meta, NB_STATS_KEY_ALL_EXPERTS, &o->all_experts);
    return NB_OK;
}

static bool is_hash(const struct nb_text *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (strchr("0123456789abcdef", t->s[i]) == NULL || t->s[i] == '\0')
            return false;
    return t->n == 0 || t->n == NB_HASH_HEX_BYTES - 1;
}

static enum nb_status read_texts(struct nb_stats *s, const struct nb_meta *meta,
                                 struct nb_error *err)
{
    const struct nb_meta_kv *names = find_texts(meta, "imatrix.datasets");
    const struct nb_meta_kv *hashes = find_texts(meta, NB_STATS_KEY_TEXTS);
    if (names == NULL || hashes == NULL || names->n != hashes->n)
        NB_FAIL(err, NB_ERR_FORMAT,
                "imatrix.datasets and " NB_STATS_KEY_TEXTS " are not arrays of as many strings");
    for (uint64_t i = 0; i < names->n; i++) {
        const struct nb_text *name = (const struct nb_text *)names->v.items + i;
        const struct nb_text *hash = (const struct nb_text *)hashes->v.items + i;
        const struct nb_hash none = {0, 0};
        if (!is_hash(hash) || memchr(name->s, '\0', name->n) != NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "text %llu has a name or a hash that is none",
                    (unsigned long long)i);
        const char *copy = nb_arena_strndup(&s->arena, name->s, name->n);
        if (copy == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
        NB_TRY(nb_stats_add_text(s, copy, none, err));
        char *to = s->texts[s->source.n_texts - 1].hash;
        memcpy(to, hash->s, hash->n);
        to[hash->n] = '\0';
    }
    return NB_OK;
}

static enum nb_status read_source(struct nb_stats *s, const struct nb_meta *meta,
                                  struct nb_error *err)
{
    struct nb_stats_source *o = &s->source;
    struct nb_text model;
    uint32_t chunks = 0, held = 0;
    if (!nb_meta_text(meta, NB_STATS_KEY_MODEL, &model) || !is_hash(&model))
        NB_FAIL(err, NB_ERR_FORMAT, NB_STATS_KEY_MODEL " is no hash");
    memcpy(o->model, model.s, model.n);
    if (!nb_meta_u32(meta, "imatrix.chunk_count", &chunks) ||
        !nb_meta_u32(meta, "imatrix.chunk_size", &o->ctx) || o->ctx == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "imatrix.chunk_count and .chunk_size do not say which windows");
    (void)nb_meta_u32(meta, NB_STATS_KEY_HELD, &o->held_every);
    (void)nb_meta_u32(meta, NB_STATS_KEY_HELD_COUNT, &held);
    o->windows[NB_STATS_TRAIN] = chunks;
    o->windows[NB_STATS_HELD] = held;
    return read_texts(s, meta, err);
}

/* ---- tensors ---- */

/* The tensor of a part, as rows for each state. */
static enum nb_status find_part(const struct nb_tensor **out, struct nb_stored *is, size_t n_states,
                                const struct nb_file *f, const char *name, struct nb_error *err)
{
    char text[NB_SHAPE_TEXT_BYTES];
    *out = nb_file_find(f, name);
    if (*out == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is missing", name);
    const struct nb_tensor *t = *out;
    const uint64_t rows = nb_shape_rows(&t->shape), cols = nb_shape_cols(&t->shape);
    if ((t->type != &nb_numfmt_f32 && t->type != &nb_numfmt_f64) || t->bytes == 0 || rows == 0 ||
        rows % n_states != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is %s of %s, expected floats for %zu matrices",
                name, t->type->name, nb_shape_text(&t->shape, text), n_states);
    *is = (struct nb_stored){t->type, (size_t)(rows / n_states), (size_t)cols};
    return NB_OK;
}

static void take(double *dst, const struct nb_tensor *t, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (t->type == &nb_numfmt_f64) {
            const uint64_t bits = nb_load_u64(t->data + 8 * (first + i));
            memcpy(&dst[i], &bits, sizeof bits);
        } else {
            const uint32_t bits = nb_load_u32(t->data + 4 * (first + i));
            float v;
            memcpy(&v, &bits, sizeof v);
            dst[i] = (double)v;
        }
    }
}

struct reader {
    struct nb_stats *s;
    const struct nb_file *f;
    double *numbers; /* (NB_STATS_RUN) */
};

static enum nb_status read_tokens(const struct reader *r, const struct nb_stats_edge *e,
                                  const struct nb_tensor *t, const char *name, struct nb_error *err)
{
    double *const rows[NB_STATS_TOKEN_ROWS] = {e->count[NB_STATS_TRAIN], e->count[NB_STATS_HELD],
                                               e->chosen};
    for (size_t i = 0; i < NB_STATS_TOKEN_ROWS * e->n_mat; i++) {
        take(r->numbers, t, i, 1);
        if (!(r->numbers[0] >= 0.0 && r->numbers[0] <= 0x1p53))
            NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s': number %zu is %g; expected tokens", name, i,
                    r->numbers[0]);
        rows[i / e->n_mat][i % e->n_mat] = r->numbers[0];
    }
    return NB_OK;
}

static enum nb_status read_states(const struct reader *r, const struct nb_stats_edge *e,
                                  size_t kind, enum nb_stats_set set, struct nb_error *err)
{
    const struct nb_observer *o = nb_observers[kind];
    const struct nb_stats_name name = nb_stats_part_name(e, o->name, set);
    const size_t n_states = nb_stats_states(e, kind);
    const struct nb_tensor *t;
    struct nb_stored is;
    NB_TRY(find_part(&t, &is, n_states, r->f, name.text, err));
    const size_t each = is.rows * is.cols;
    for (size_t k = 0; k < n_states; k++) {
        void *state = nb_stats_state(e, kind, set, k);
        for (size_t at = 0, n; at < each; at += n) {
            n = NB_MIN(each - at, (size_t)NB_STATS_RUN);
            take(r->numbers, t, k * each + at, n);
            const enum nb_status st = o->load(state, &is, at, n, r->numbers, err);
            if (st != NB_OK)
                return nb_error_prefix(err, st, "tensor '%s'", name.text);
        }
        if (o->tokens != NULL)
            o->tokens(state, o->per_matrix ? e->count[set][k] : e->count[set][0]);
    }
    return NB_OK;
}

/* Before any memory is asked for: are all parts there, and of the right size? */
static enum nb_status check_parts(const struct reader *r, const struct nb_stats_edge *e,
                                  struct nb_error *err)
{
    for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
        for (int i = 0; i < NB_STATS_SETS; i++) {
            const struct nb_observer *o = nb_observers[kind];
            const enum nb_stats_set set = (enum nb_stats_set)i;
            const struct nb_stats_name name = nb_stats_part_name(e, o->name, set);
            const struct nb_tensor *t;
            struct nb_stored is;
            if (!nb_stats_observes(r->s, kind, set))
                continue;
            NB_TRY(find_part(&t, &is, nb_stats_states(e, kind), r->f, name.text, err));
            const enum nb_status st = o->check(&is, e->cols, err);
            if (st != NB_OK)
                return nb_error_prefix(err, st, "tensor '%s'", name.text);
        }
    return NB_OK;
}

static enum nb_status read_edge(const struct reader *r, const char *first, struct nb_error *err)
{
    struct nb_stats_edge probe = {.first = first};
    const struct nb_stats_name counts = nb_stats_part_name(&probe, NB_STATS_TOKENS, NB_STATS_TRAIN);
    const struct nb_stats_name moments =
        nb_stats_part_name(&probe, nb_observer_moments.name, NB_STATS_TRAIN);
    const struct nb_tensor *tokens, *t;
    struct nb_stored is;
    size_t edge;
    NB_TRY(find_part(&t, &is, 1, r->f, moments.text, err));
    probe.n_mat = is.rows;
    probe.cols = is.cols;
    NB_TRY(find_part(&tokens, &is, 1, r->f, counts.text, err));
    if (tokens->type != &nb_numfmt_f64 || is.rows != NB_STATS_TOKEN_ROWS || is.cols != probe.n_mat)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' has %zu x %zu numbers, expected %d x %zu of f64",
                counts.text, is.rows, is.cols, NB_STATS_TOKEN_ROWS, probe.n_mat);
    NB_TRY(check_parts(r, &probe, err));
    NB_TRY(nb_stats_add_edge(r->s, first, probe.n_mat, probe.cols, &edge, err));
    const struct nb_stats_edge *e = &r->s->edges[edge];
    NB_TRY(read_tokens(r, e, tokens, counts.text, err));
    for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
        for (int set = 0; set < NB_STATS_SETS; set++)
            if (nb_stats_observes(r->s, kind, (enum nb_stats_set)set))
                NB_TRY(read_states(r, e, kind, (enum nb_stats_set)set, err));
    return NB_OK;
}

/* Edges are numbered in the order of the first weight that reads them. */
static enum nb_status read_weight(const struct reader *r, const struct nb_text *t, int64_t edge,
                                  struct nb_error *err)
{
    char name[NB_CALIB_MAX_NAME + 1], quote[QUOTE_BYTES];
    enum nb_status st;
    if (t->n == 0 || t->n > NB_CALIB_MAX_NAME || memchr(t->s, '\0', t->n) != NULL)
        NB_FAIL(err, NB_ERR_FORMAT, NB_STATS_KEY_WEIGHTS " holds '%s', which is no name",
                nb_printable(quote, sizeof quote, t->s, t->n));
    memcpy(name, t->s, t->n);
    name[t->n] = '\0';
    if (edge < 0 || (uint64_t)edge > r->s->n_edges)
        NB_FAIL(err, NB_ERR_FORMAT, "'%s' reads edge %lld, expected 0 to %zu",
                nb_printable(quote, sizeof quote, name, t->n), (long long)edge, r->s->n_edges);
    if ((uint64_t)edge == r->s->n_edges)
        st = read_edge(r, name, err);
    else
        st = nb_stats_add_reader(r->s, name, (size_t)edge, err);
    return st == NB_ERR_EXISTS ? NB_ERROR(err, NB_ERR_FORMAT, "'%s' is there twice",
                                          nb_printable(quote, sizeof quote, name, t->n))
                               : st;
}

static enum nb_status read_all(const struct reader *r, struct nb_error *err)
{
    const struct nb_meta_kv *weights = find_texts(&r->f->meta, NB_STATS_KEY_WEIGHTS);
    const struct nb_meta_kv *edges = nb_meta_find(&r->f->meta, NB_STATS_KEY_EDGES);
    if (weights == NULL || edges == NULL || edges->type != NB_META_ARRAY ||
        edges->n != weights->n || weights->n == 0)
        NB_FAIL(err, NB_ERR_FORMAT,
                NB_STATS_KEY_WEIGHTS " and " NB_STATS_KEY_EDGES " are not arrays of one length");
    for (uint64_t i = 0; i < weights->n; i++) {
        int64_t edge;
        if (!nb_meta_item_i64(edges, i, &edge))
            NB_FAIL(err, NB_ERR_FORMAT, NB_STATS_KEY_EDGES " is no array of integers");
        NB_TRY(read_weight(r, (const struct nb_text *)weights->v.items + i, edge, err));
    }
    return NB_OK;
}

static enum nb_status read_file(struct nb_stats **out, const struct nb_file *f,
                                const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_stats_options o = {.kinds = 0};
    struct reader r = {.f = f};
    NB_TRY(read_options(&o, &f->meta, err));
    NB_TRY(nb_stats_create(&r.s, &o, a, err));
    enum nb_status st = NB_OK;
    r.numbers = nb_alloc(a, NB_STATS_RUN, sizeof *r.numbers);
    if (r.numbers == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %d numbers", NB_STATS_RUN);
    if (st == NB_OK)
        st = read_source(r.s, &f->meta, err);
    if (st == NB_OK)
        st = read_all(&r, err);
    nb_free(a, r.numbers);
    if (st != NB_OK) {
        nb_stats_destroy(r.s);
        return st;
    }
    *out = r.s;
    return NB_OK;
}

enum nb_status nb_stats_read_bytes(struct nb_stats **out, const void *data, size_t n,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_file *f;
    *out = NULL;
    NB_TRY(nb_file_open_bytes(&f, data, n, a, err));
    const enum nb_status st = read_file(out, f, a, err);
    nb_file_close(f);
    return st;
}

enum nb_status nb_stats_read(struct nb_stats **out, const char *path, const struct nb_allocator *a,
                             struct nb_error *err)
{
    struct nb_file *f;
    *out = NULL;
    NB_TRY(nb_file_open(&f, path, a, err));
    enum nb_status st = read_file(out, f, a, err);
    if (st != NB_OK)
        st = nb_error_prefix(err, st, "%s", path);
    nb_file_close(f);
    return st;
}

enum nb_status nb_stats_probe(bool *is, const char *path, const struct nb_allocator *a,
                              struct nb_error *err)
{
    struct nb_mapping map;
    struct nb_file *f;
    uint32_t version;
    *is = false;
    NB_TRY(nb_mapping_open(&map, path, err));
    const bool gguf = map.size <= SIZE_MAX && nb_imatrix_is_gguf(map.data, (size_t)map.size);
    nb_mapping_close(&map);
    if (!gguf)
        return NB_OK;
    NB_TRY(nb_file_open(&f, path, a, err));
    *is = is_stats(&f->meta, &version);
    nb_file_close(f);
    return NB_OK;
}
