/* calib/stats_write.c: statistics to a GGUF file that is an imatrix too (docs/formats/statistics.md). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calib/stats_file.h"

struct nb_stats_name nb_stats_part_name(const struct nb_stats_edge *e, const char *part,
                                        enum nb_stats_set set)
{
    struct nb_stats_name name;
    (void)snprintf(name.text, sizeof name.text, "%s.%s%s", e->first, part,
                   set == NB_STATS_HELD ? "_held" : "");
    return name;
}

/* ---- metadata ---- */

static enum nb_status set_texts(struct nb_meta *meta, const char *key, struct nb_text *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        t[i].n = strlen(t[i].s);
    return nb_meta_set_texts(meta, key, t, n);
}

static enum nb_status set_kinds(const struct nb_stats *s, struct nb_meta *meta)
{
    struct nb_text t[NB_STAT_COUNT];
    size_t n = 0;
    for (size_t k = 0; k < NB_STAT_COUNT; k++)
        if ((s->o.kinds & 1U << k) != 0)
            t[n++].s = nb_observers[k]->name;
    return set_texts(meta, NB_STATS_KEY_KINDS, t, n);
}

static enum nb_status set_readers(const struct nb_stats *s, struct nb_meta *meta)
{
    struct nb_text *t = nb_arena_alloc(&meta->arena, s->n_readers + 1, sizeof *t);
    uint32_t *edges = nb_arena_alloc(&meta->arena, s->n_readers + 1, sizeof *edges);
    if (t == NULL || edges == NULL)
        return NB_ERR_NOMEM;
    for (size_t i = 0; i < s->n_readers; i++) {
        t[i].s = s->readers[i].weight;
        edges[i] = (uint32_t)s->readers[i].edge;
    }
    NB_TRY(set_texts(meta, NB_STATS_KEY_WEIGHTS, t, s->n_readers));
    return nb_meta_set_array(meta, NB_STATS_KEY_EDGES, NB_META_U32, edges, s->n_readers);
}

static enum nb_status set_source(const struct nb_stats_source *o, struct nb_meta *meta)
{
    struct nb_text *t = nb_arena_alloc(&meta->arena, o->n_texts + 1, sizeof *t);
    const uint64_t held = o->windows[NB_STATS_HELD];
    if (t == NULL)
        return NB_ERR_NOMEM;
    for (size_t i = 0; i < o->n_texts; i++)
        t[i].s = o->texts[i].hash;
    NB_TRY(set_texts(meta, NB_STATS_KEY_TEXTS, t, o->n_texts));
    NB_TRY(nb_meta_set_text(meta, NB_STATS_KEY_MODEL, o->model, strlen(o->model)));
    NB_TRY(nb_meta_set_u32(meta, NB_STATS_KEY_HELD, o->held_every));
    NB_TRY(nb_meta_set_u32(meta, NB_STATS_KEY_HELD_COUNT,
                           (uint32_t)NB_MIN(held, (uint64_t)UINT32_MAX)));
    return nb_meta_set_bool(meta, NB_STATS_KEY_ALL_EXPERTS, o->all_experts);
}

static enum nb_status fill_meta(const struct nb_stats *s, const struct nb_calib *c,
                                struct nb_meta *meta, struct nb_error *err)
{
    NB_TRY(nb_imatrix_fill_meta(c, meta, err));
    if (nb_meta_set_u32(meta, NB_STATS_KEY_VERSION, NB_STATS_VERSION) != NB_OK ||
        set_kinds(s, meta) != NB_OK || set_readers(s, meta) != NB_OK ||
        set_source(&s->source, meta) != NB_OK)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for metadata");
    return NB_OK;
}

/* ---- tensors ---- */

static enum nb_status declare_edge(const struct nb_stats *s, const struct nb_stats_edge *e,
                                   struct nb_writer *w, struct nb_error *err)
{
    const struct nb_shape tokens = nb_shape_2(NB_STATS_TOKEN_ROWS, e->n_mat);
    NB_TRY(nb_writer_add(w, nb_stats_part_name(e, NB_STATS_TOKENS, NB_STATS_TRAIN).text,
                         &nb_numfmt_f64, &tokens, err));
    for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
        for (int i = 0; i < NB_STATS_SETS; i++) {
            const enum nb_stats_set set = (enum nb_stats_set)i;
            const struct nb_observer *o = nb_observers[kind];
            if (!nb_stats_observes(s, kind, set))
                continue;
            const struct nb_stored is = o->stored(nb_stats_state(e, kind, set, 0));
            const struct nb_shape shape = nb_shape_2(is.rows * nb_stats_states(e, kind), is.cols);
            NB_TRY(
                nb_writer_add(w, nb_stats_part_name(e, o->name, set).text, is.type, &shape, err));
        }
    return NB_OK;
}

/* Owns nothing; (NB_STATS_RUN) each. */
struct buffer {
    double *numbers;
    uint8_t *bytes;
};

static enum nb_status append(const struct buffer *b, size_t n, const struct nb_numfmt *type,
                             const char *name, struct nb_writer *w, struct nb_error *err)
{
    for (size_t i = 0; i < n && type == &nb_numfmt_f64; i++) {
        uint64_t bits;
        memcpy(&bits, &b->numbers[i], sizeof bits);
        nb_store_u64(b->bytes + 8 * i, bits);
    }
    for (size_t i = 0; i < n && type == &nb_numfmt_f32; i++) {
        const float v = (float)b->numbers[i];
        uint32_t bits;
        if (!isfinite(v))
            NB_FAIL(err, NB_ERR_NUMERIC, "'%s': %g does not fit the file's floats", name,
                    b->numbers[i]);
        memcpy(&bits, &v, sizeof bits);
        nb_store_u32(b->bytes + 4 * i, bits);
    }
    return nb_writer_append(w, b->bytes, n * type->block_bytes, err);
}

static enum nb_status append_tokens(const struct nb_stats *s, const struct nb_stats_edge *e,
                                    const struct buffer *b, struct nb_writer *w,
                                    struct nb_error *err)
{
    const bool chosen = s->source.all_experts && e->n_mat > 1;
    const double *rows[NB_STATS_TOKEN_ROWS] = {e->count[NB_STATS_TRAIN], e->count[NB_STATS_HELD],
                                               chosen ? e->chosen : e->count[NB_STATS_TRAIN]};
    for (int r = 0; r < NB_STATS_TOKEN_ROWS; r++)
        for (size_t at = 0, n; at < e->n_mat; at += n) {
            n = NB_MIN(e->n_mat - at, (size_t)NB_STATS_RUN);
            memcpy(b->numbers, rows[r] + at, n * sizeof *b->numbers);
            NB_TRY(append(b, n, &nb_numfmt_f64, e->first, w, err));
        }
    return NB_OK;
}

static enum nb_status append_states(const struct nb_stats_edge *e, size_t kind,
                                    enum nb_stats_set set, const struct buffer *b,
                                    struct nb_writer *w, struct nb_error *err)
{
    const struct nb_observer *o = nb_observers[kind];
    for (size_t k = 0; k < nb_stats_states(e, kind); k++) {
        const void *state = nb_stats_state(e, kind, set, k);
        const struct nb_stored is = o->stored(state);
        for (size_t at = 0, n; at < is.rows * is.cols; at += n) {
            n = NB_MIN(is.rows * is.cols - at, (size_t)NB_STATS_RUN);
            o->save(state, at, n, b->numbers);
            NB_TRY(append(b, n, is.type, e->first, w, err));
        }
    }
    return NB_OK;
}

static enum nb_status append_edge(const struct nb_stats *s, const struct nb_stats_edge *e,
                                  const struct buffer *b, struct nb_writer *w, struct nb_error *err)
{
    NB_TRY(append_tokens(s, e, b, w, err));
    for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
        for (int set = 0; set < NB_STATS_SETS; set++)
            if (nb_stats_observes(s, kind, (enum nb_stats_set)set))
                NB_TRY(append_states(e, kind, (enum nb_stats_set)set, b, w, err));
    return NB_OK;
}

static enum nb_status write_file(const struct nb_stats *s, const struct nb_calib *c,
                                 struct nb_writer *w, const struct nb_meta *meta, const char *path,
                                 unsigned out_flags, struct nb_error *err)
{
    NB_TRY(nb_imatrix_declare(c, w, err));
    for (size_t i = 0; i < s->n_edges; i++)
        NB_TRY(declare_edge(s, &s->edges[i], w, err));
    NB_TRY(nb_writer_begin(w, path, out_flags, meta, err));
    NB_TRY(nb_imatrix_append(c, w, err));
    const struct buffer b = {nb_alloc(s->a, NB_STATS_RUN, sizeof(double)),
                             nb_alloc(s->a, NB_STATS_RUN, sizeof(double))};
    enum nb_status st = NB_OK;
    if (b.numbers == NULL || b.bytes == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %d numbers", NB_STATS_RUN);
    for (size_t i = 0; i < s->n_edges && st == NB_OK; i++)
        st = append_edge(s, &s->edges[i], &b, w, err);
    nb_free(s->a, b.numbers);
    nb_free(s->a, b.bytes);
    return st == NB_OK ? nb_writer_commit(w, err) : st;
}

enum nb_status nb_stats_write(const struct nb_stats *s, const char *path, unsigned out_flags,
                              uint64_t *bytes, struct nb_error *err)
{
    struct nb_calib *c;
    struct nb_writer *w = NULL;
    struct nb_meta meta;
    if (s->n_edges == 0)
        NB_FAIL(err, NB_ERR_ARG, "%s: there are no statistics to write", path);
    NB_TRY(nb_calib_create(&c, s->a, err));
    nb_meta_init(&meta, s->a);
    enum nb_status st = nb_stats_moments(s, c, err);
    if (st == NB_OK)
        st = nb_writer_create(&w, &nb_container_gguf, s->a, err);
    if (st == NB_OK)
        st = fill_meta(s, c, &meta, err);
    if (st == NB_OK)
        st = write_file(s, c, w, &meta, path, out_flags, err);
    nb_writer_destroy(w);
    nb_meta_fini(&meta);
    nb_calib_destroy(c);
    return st == NB_OK ? nb_path_size(path, bytes, err) : st;
}
