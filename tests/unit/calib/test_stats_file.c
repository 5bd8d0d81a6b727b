/* Files of statistics: there and back, merged, the same bytes for any threads, an imatrix besides, and what is refused. */
#include "calib/calib.h"
#include "calib/stats_file.h"
#include "support/tiny_llama.h"

#include <stdio.h>

#define CTX     32
#define WINDOWS 10
#define TOKENS  (CTX * WINDOWS)
#define ALL     ((1U << NB_STAT_COUNT) - 1)
#define SMALL   (NB_STAT_BIT(moments) | NB_STAT_BIT(moving))

static struct nb_error err;
static uint32_t tokens[TOKENS];
static const char *const one_weight[] = {"blk.1.attn_k.weight", "blk.1.attn_v.weight"};

static struct nb_stats *collect_part(unsigned kinds, const char *const *weights, size_t begin,
                                     size_t n, struct nb_pool *pool, bool held)
{
    const struct nb_stats_options o = {
        .kinds = kinds, .weights = weights, .n_weights = weights != NULL ? 2 : 0, .held_out = held};
    struct tiny t;
    struct nb_stats *s;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + i / 7) % t.w.hp.n_vocab;
    const struct nb_collect_job job = {.w = &t.w,
                                       .tokens = tokens + begin * CTX,
                                       .n_tokens = n * CTX,
                                       .bos = -1,
                                       .ctx = CTX,
                                       .pool = pool,
                                       .held_every = held ? 5 : 0};
    const struct nb_hash hash = {0x1234, 0x5678}, text = {begin, n};
    assert_ok(nb_stats_create(&s, &o, NULL, &err), &err);
    nb_stats_set_model(s, hash);
    nb_stats_set_windows(s, CTX, held ? 5 : 0);
    assert_ok(nb_stats_add_text(s, begin == 0 ? "a.txt" : "b.txt", text, &err), &err);
    assert_ok(nb_stats_collect(s, &job, &err), &err);
    tiny_fini(&t);
    return s;
}

static struct nb_stats *collect(unsigned kinds, const char *const *weights)
{
    return collect_part(kinds, weights, 0, WINDOWS, NULL, true);
}

static void put(const struct nb_stats *s, const char *path)
{
    uint64_t bytes;
    assert_ok(nb_stats_write(s, path, NB_OUT_OVERWRITE, &bytes, &err), &err);
}

static struct nb_stats *get(const char *path)
{
    struct nb_stats *s;
    assert_ok(nb_stats_read(&s, path, NULL, &err), &err);
    return s;
}

static void assert_same_file(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *x = nbtest_read(a, &n), *y = nbtest_read(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void test_round_trip(void **state)
{
    (void)state;
    char first[4096], second[4096];
    (void)snprintf(first, sizeof first, "%s", nbtest_tmp("first.gguf"));
    (void)snprintf(second, sizeof second, "%s", nbtest_tmp("second.gguf"));
    struct nb_stats *s = collect(ALL, NULL);
    put(s, first);
    struct nb_stats *back = get(first);
    assert_int_equal(nb_stats_kinds(back), ALL);
    assert_int_equal(nb_stats_n_edges(back), nb_stats_n_edges(s));
    const struct nb_stats_source *o = nb_stats_source(back);
    assert_string_equal(o->model, "00000000000056780000000000001234");
    assert_int_equal(o->n_texts, 1);
    assert_string_equal(o->texts[0].name, "a.txt");
    assert_string_equal(o->texts[0].hash, nb_stats_source(s)->texts[0].hash);
    assert_true(o->windows[NB_STATS_TRAIN] == 8 && o->windows[NB_STATS_HELD] == 2);
    assert_true(o->ctx == CTX && o->held_every == 5);
    for (size_t i = 0; i < nb_stats_n_edges(s); i++) {
        struct nb_stats_summary a, b;
        assert_ok(nb_stats_summarize(s, i, false, NULL, &a, &err), &err);
        assert_ok(nb_stats_summarize(back, i, false, NULL, &b, &err), &err);
        assert_string_equal(a.weight, b.weight);
        assert_true(a.n_weights == b.n_weights && a.cols == b.cols && a.tokens == b.tokens &&
                    a.held == b.held && a.lo == b.lo && a.hi == b.hi && a.rms == b.rms);
        for (int set = 0; set < NB_STATS_SETS; set++) {
            const struct nb_hessian *p = nb_stats_hessian(s, a.weight, 0, (enum nb_stats_set)set);
            const struct nb_hessian *q =
                nb_stats_hessian(back, a.weight, 0, (enum nb_stats_set)set);
            assert_true(p->tokens == q->tokens && p->n == q->n);
            for (size_t k = 0; k < p->n * p->n; k++)
                assert_true(q->h[k] == (double)(float)p->h[k]);
        }
    }
    put(back, second); /* nothing more is lost */
    assert_same_file(first, second);
    nb_stats_destroy(back);
    nb_stats_destroy(s);
}

/* A reader that knows imatrix alone finds one, and quantize --imatrix its importance. */
static void test_imatrix(void **state)
{
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", nbtest_tmp("stats.gguf"));
    struct nb_stats *s = collect(ALL, NULL);
    struct nb_calib *c, *want;
    bool is;
    put(s, path);
    assert_ok(nb_calib_read(&c, path, NULL, &err), &err);
    assert_ok(nb_calib_create(&want, NULL, &err), &err);
    assert_ok(nb_stats_moments(s, want, &err), &err);
    assert_int_equal(c->n, want->n);
    assert_int_equal(c->chunk_count, 8);
    assert_int_equal(c->chunk_size, CTX);
    for (size_t i = 0; i < c->n; i++) {
        assert_string_equal(c->items[i].name, want->items[i].name);
        for (size_t j = 0; j < c->items[i].cols; j++)
            assert_true(c->items[i].sum[j] == (double)(float)want->items[i].sum[j]);
    }
    assert_ok(nb_stats_probe(&is, path, NULL, &err), &err);
    assert_true(is);
    uint64_t bytes;
    assert_ok(nb_calib_write(c, path, NB_CALIB_GGUF, NB_OUT_OVERWRITE, &bytes, &err), &err);
    assert_ok(nb_stats_probe(&is, path, NULL, &err), &err);
    assert_false(is);
    struct nb_stats *none;
    assert_fails(nb_stats_read(&none, path, NULL, &err), NB_ERR_FORMAT, &err,
                 "no file of statistics");
    assert_ok(nb_calib_write(c, path, NB_CALIB_DAT, NB_OUT_OVERWRITE, &bytes, &err), &err);
    assert_ok(nb_stats_probe(&is, path, NULL, &err), &err);
    assert_false(is);
    nb_calib_destroy(want);
    nb_calib_destroy(c);
    nb_stats_destroy(s);
}

static void test_threads(void **state)
{
    (void)state;
    static const unsigned threads[] = {2, 7};
    char first[4096], other[4096];
    (void)snprintf(first, sizeof first, "%s", nbtest_tmp("first.gguf"));
    (void)snprintf(other, sizeof other, "%s", nbtest_tmp("other.gguf"));
    struct nb_stats *s = collect(ALL, NULL);
    put(s, first);
    nb_stats_destroy(s);
    for (size_t i = 0; i < NB_COUNTOF(threads); i++) {
        struct nb_pool *pool;
        assert_ok(nb_pool_create(&pool, threads[i], NULL, &err), &err);
        s = collect_part(ALL, NULL, 0, WINDOWS, pool, true);
        put(s, other);
        assert_same_file(first, other);
        nb_stats_destroy(s);
        nb_pool_destroy(pool);
    }
}

/* Two files merged are one run over both texts: ranges and counts to the bit, sums to rounding. */
static void test_merge(void **state)
{
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", nbtest_tmp("part.gguf"));
    struct nb_stats *whole = collect_part(ALL, NULL, 0, WINDOWS, NULL, false);
    struct nb_stats *a = collect_part(ALL, NULL, 0, 4, NULL, false);
    struct nb_stats *b = collect_part(ALL, NULL, 4, WINDOWS - 4, NULL, false);
    put(b, path);
    nb_stats_destroy(b);
    b = get(path);
    assert_ok(nb_stats_merge(a, b, &err), &err);
    assert_int_equal(nb_stats_source(a)->windows[NB_STATS_TRAIN], WINDOWS);
    assert_int_equal(nb_stats_source(a)->n_texts, 2);
    assert_int_equal(nb_stats_n_edges(a), nb_stats_n_edges(whole));
    for (size_t i = 0; i < nb_stats_n_edges(a); i++) {
        struct nb_stats_summary x, y;
        const struct nb_stats_edge *e = &a->edges[i], *w = &whole->edges[i];
        assert_ok(nb_stats_summarize(a, i, false, NULL, &x, &err), &err);
        assert_ok(nb_stats_summarize(whole, i, false, NULL, &y, &err), &err);
        assert_true(x.tokens == y.tokens && x.lo == y.lo && x.hi == y.hi);
        assert_close(x.rms, y.rms, 1e-12 * y.rms);
        const struct nb_hessian *p = nb_stats_hessian(a, x.weight, 0, NB_STATS_TRAIN);
        const struct nb_hessian *q = nb_stats_hessian(whole, x.weight, 0, NB_STATS_TRAIN);
        const double size = nb_hessian_mean_diag(q);
        for (size_t k = 0; k < p->n * p->n; k++)
            assert_close(p->h[k], q->h[k], 1e-5 * size);
        const void *h = nb_stats_state(e, NB_STAT_histogram, NB_STATS_TRAIN, 0);
        const void *v = nb_stats_state(w, NB_STAT_histogram, NB_STATS_TRAIN, 0);
        const struct nb_stored is = nb_observer_histogram.stored(h);
        assert_int_equal(is.cols, nb_observer_histogram.stored(v).cols);
        for (size_t k = 0; k < 2 * is.cols; k++) {
            double m, n;
            nb_observer_histogram.save(h, k, 1, &m);
            nb_observer_histogram.save(v, k, 1, &n);
            assert_true(m == n);
        }
    }
    nb_stats_destroy(a);
    nb_stats_destroy(b);
    nb_stats_destroy(whole);
}

static void test_merge_refused(void **state)
{
    (void)state;
    const struct nb_hash other = {1, 1};
    struct nb_stats *a = collect(SMALL, one_weight), *b = collect(SMALL, one_weight);
    nb_stats_set_model(b, other);
    assert_fails(nb_stats_merge(a, b, &err), NB_ERR_FORMAT, &err,
                 "of another model: its hash is 0");
    nb_stats_destroy(b);
    b = collect_part(SMALL, one_weight, 0, 4, NULL, false);
    assert_fails(nb_stats_merge(a, b, &err), NB_ERR_FORMAT, &err, "held out and such without");
    nb_stats_destroy(b);
    b = collect(NB_STAT_BIT(moments), one_weight); /* what both have is kept */
    assert_ok(nb_stats_merge(a, b, &err), &err);
    assert_int_equal(nb_stats_kinds(a), NB_STAT_BIT(moments));
    assert_true(a->edges[0].count[NB_STATS_TRAIN][0] == 2.0 * 8 * CTX);
    b->edges[0].cols--;
    assert_fails(nb_stats_merge(a, b, &err), NB_ERR_FORMAT, &err, "1 x 63 in another");
    b->edges[0].cols++;
    nb_stats_destroy(b);
    nb_stats_destroy(a);
}

static void test_truncated(void **state)
{
    (void)state;
    struct nb_stats *s = collect(SMALL | NB_STAT_BIT(range), one_weight), *back;
    const char *path = nbtest_tmp("whole.gguf");
    size_t n;
    put(s, path);
    uint8_t *data = nbtest_read(path, &n);
    struct nb_file *f;
    assert_ok(nb_file_open_bytes(&f, data, n, NULL, &err), &err);
    const struct nb_tensor *last = &f->tensors[f->n_tensors - 1]; /* only padding follows it */
    const size_t end = (size_t)(last->offset + last->bytes);
    nb_file_close(f);
    assert_in_range(end, n - 31, n);
    for (size_t k = 0; k < end; k++) {
        uint8_t *part = malloc(k + 1); /* its end is guarded under a sanitizer */
        memcpy(part, data, k);
        assert_true(nb_stats_read_bytes(&back, part, k, NULL, &err) != NB_OK);
        assert_null(back);
        assert_true(err.message[0] != '\0');
        free(part);
    }
    assert_ok(nb_stats_read_bytes(&back, data, n, NULL, &err), &err);
    nb_stats_destroy(back);
    free(data);
    nb_stats_destroy(s);
}

/* A tensor's first number becomes another: is it noticed? */
static void refuse_number(const char *path, const char *tensor, size_t at, double value,
                          const char *message)
{
    struct nb_stats *back;
    struct nb_file *f;
    size_t n;
    uint8_t *data = nbtest_read(path, &n);
    assert_ok(nb_file_open_bytes(&f, data, n, NULL, &err), &err);
    const struct nb_tensor *t = nb_file_find(f, tensor);
    assert_non_null(t);
    const float narrow = (float)value;
    if (t->type == &nb_numfmt_f64)
        memcpy(data + t->offset + 8 * at, &value, 8);
    else
        memcpy(data + t->offset + 4 * at, &narrow, 4);
    nb_file_close(f);
    assert_fails(nb_stats_read_bytes(&back, data, n, NULL, &err), NB_ERR_FORMAT, &err, message);
    assert_null(back);
    free(data);
}

static void test_numbers_refused(void **state)
{
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", nbtest_tmp("numbers.gguf"));
    struct nb_stats *s = collect(ALL, one_weight);
    const double nan = (double)NAN, inf = (double)INFINITY;
    put(s, path);
    nb_stats_destroy(s);
    refuse_number(path, "blk.1.attn_k.weight.tokens", 0, -1.0, "expected tokens");
    refuse_number(path, "blk.1.attn_k.weight.tokens", 2, nan, "expected tokens");
    refuse_number(path, "blk.1.attn_k.weight.moments", 3, -1.0, "number 3 is -1; a sum of squares");
    refuse_number(path, "blk.1.attn_k.weight.moments", 0, inf, "a sum of squares is finite");
    refuse_number(path, "blk.1.attn_k.weight.range", 64, -1e30, "not below the lower");
    refuse_number(path, "blk.1.attn_k.weight.range", 0, nan, "are finite");
    refuse_number(path, "blk.1.attn_k.weight.moving", 1, -1e30, "upper one not below");
    refuse_number(path, "blk.1.attn_k.weight.moving", 2, -1.0, "how many windows");
    refuse_number(path, "blk.1.attn_k.weight.histogram", 0, 0.3, "expected a power of two");
    refuse_number(path, "blk.1.attn_k.weight.histogram", 0, nan, "expected a power of two");
    refuse_number(path, "blk.1.attn_k.weight.histogram", 0, 8.0, "bin 1 ends at");
    refuse_number(path, "blk.1.attn_k.weight.hessian", 0, -1.0, "row 0, column 0 is -1;");
    refuse_number(path, "blk.1.attn_k.weight.hessian", 64, -1.0, "row 1, column 1 is -1;");
    refuse_number(path, "blk.1.attn_k.weight.hessian_held", 5, nan, "'blk.1.attn_k.weight.hess");
}

/* ---- a file of the test's own, with something wrong in it ---- */
struct wrong {
    uint32_t version, second_edge;
    const char *kind, *second, *part, *model;
    uint64_t rows, cols;
    size_t n_hashes;
};

static void refuse(const struct wrong *k, enum nb_status status, const char *message)
{
    struct nb_writer *w;
    struct nb_meta meta;
    struct nb_stats *back;
    const char *path = nbtest_tmp("wrong.gguf");
    const struct nb_text kinds[2] = {{"moments", 7}, {k->kind, strlen(k->kind)}};
    const struct nb_text weights[2] = {{"w", 1}, {k->second, strlen(k->second)}};
    const struct nb_text hashes[2] = {{"", 0}, {"", 0}};
    const uint32_t edges[2] = {0, k->second_edge};
    const struct nb_shape one = nb_shape_2(1, 4), tokens_shape = nb_shape_2(3, 1);
    const struct nb_shape part = nb_shape_2(k->rows, k->cols);
    static const uint8_t zeros[1024];
    nb_meta_init(&meta, NULL);
    assert_ok(nb_meta_set_text(&meta, "general.type", "imatrix", 7), NULL);
    assert_ok(nb_meta_set_texts(&meta, "imatrix.datasets", hashes, 1), NULL);
    assert_ok(nb_meta_set_u32(&meta, "imatrix.chunk_count", 1), NULL);
    assert_ok(nb_meta_set_u32(&meta, "imatrix.chunk_size", 8), NULL);
    assert_ok(nb_meta_set_u32(&meta, NB_STATS_KEY_VERSION, k->version), NULL);
    assert_ok(nb_meta_set_texts(&meta, NB_STATS_KEY_KINDS, kinds, 2), NULL);
    assert_ok(nb_meta_set_texts(&meta, NB_STATS_KEY_WEIGHTS, weights, 2), NULL);
    assert_ok(nb_meta_set_array(&meta, NB_STATS_KEY_EDGES, NB_META_U32, edges, 2), NULL);
    assert_ok(nb_meta_set_texts(&meta, NB_STATS_KEY_TEXTS, hashes, k->n_hashes), NULL);
    assert_ok(nb_meta_set_text(&meta, NB_STATS_KEY_MODEL, k->model, strlen(k->model)), NULL);
    assert_ok(nb_writer_create(&w, &nb_container_gguf, NULL, &err), &err);
    assert_ok(nb_writer_add(w, "w.moments", &nb_numfmt_f64, &one, &err), &err);
    assert_ok(nb_writer_add(w, "w.tokens", &nb_numfmt_f64, &tokens_shape, &err), &err);
    assert_ok(nb_writer_add(w, k->part, &nb_numfmt_f32, &part, &err), &err);
    assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, &meta, &err), &err);
    for (size_t i = 0; i < 3; i++)
        assert_ok(nb_writer_append(w, zeros, (size_t)w->tensors[i].bytes, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
    nb_meta_fini(&meta);
    if (status != NB_OK) {
        assert_fails(nb_stats_read(&back, path, NULL, &err), status, &err, message);
        assert_null(back);
        return;
    }
    back = get(path);
    nb_stats_destroy(back);
}

static void test_shapes_refused(void **state)
{
    (void)state;
    const struct wrong right = {.version = 1,
                                .kind = "range",
                                .second = "v",
                                .part = "w.range",
                                .model = "",
                                .rows = 2,
                                .cols = 4,
                                .n_hashes = 1};
    struct wrong k = right;
    refuse(&k, NB_OK, NULL);
    k.kind = "of_the_future"; /* is passed over */
    refuse(&k, NB_OK, NULL);
    k = right;
    k.version = 2;
    refuse(&k, NB_ERR_VERSION, "statistics of version 2, this nibble reads 1");
    k = right;
    k.second_edge = 2;
    refuse(&k, NB_ERR_FORMAT, "'v' reads edge 2, expected 0 to 1");
    k.second_edge = 1;
    refuse(&k, NB_ERR_FORMAT, "tensor 'v.moments' is missing");
    k = right;
    k.second = "w";
    refuse(&k, NB_ERR_FORMAT, "'w' is there twice");
    k.second = "";
    refuse(&k, NB_ERR_FORMAT, "which is no name");
    k = right;
    k.part = "w.rang";
    refuse(&k, NB_ERR_FORMAT, "tensor 'w.range' is missing");
    k = right;
    k.cols = 5;
    refuse(&k, NB_ERR_FORMAT, "tensor 'w.range': 2 x 5 numbers, expected 2 x 4");
    k = right;
    k.kind = "hessian";
    k.part = "w.hessian";
    refuse(&k, NB_ERR_FORMAT, "tensor 'w.hessian': 2 x 4 numbers, expected 1 x 10");
    k = right;
    k.kind = "histogram";
    k.part = "w.histogram";
    refuse(&k, NB_ERR_FORMAT, "bins of width 0");
    k.rows = 3;
    refuse(&k, NB_ERR_FORMAT, "expected a histogram of 2 rows");
    k = right;
    k.model = "abc";
    refuse(&k, NB_ERR_FORMAT, "is no hash");
    k = right;
    k.n_hashes = 2;
    refuse(&k, NB_ERR_FORMAT, "are not arrays of as many strings");
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    struct nb_stats *s;
    uint64_t bytes;
    char out[4096];
    (void)snprintf(out, sizeof out, "%s.copy", (const char *)ctx);
    NB_TRY(nb_stats_read(&s, ctx, a, NULL));
    enum nb_status st = nb_stats_merge(s, s, NULL);
    if (st == NB_OK)
        st = nb_stats_write(s, out, NB_OUT_OVERWRITE, &bytes, NULL);
    nb_stats_destroy(s);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", nbtest_tmp("oom.gguf"));
    struct nb_stats *s = collect(ALL, one_weight);
    put(s, path);
    nb_stats_destroy(s);
    assert_true(nbtest_oom(oom_body, path) > 20);
}

NB_TEST_MAIN(cmocka_unit_test(test_round_trip), cmocka_unit_test(test_imatrix),
             cmocka_unit_test(test_threads), cmocka_unit_test(test_merge),
             cmocka_unit_test(test_merge_refused), cmocka_unit_test(test_truncated),
             cmocka_unit_test(test_numbers_refused), cmocka_unit_test(test_shapes_refused),
             cmocka_unit_test(test_out_of_memory))
