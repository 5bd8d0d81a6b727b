/* Runs of memory against windows, element by element. */
#include "op/runs.h"
#include "support/nbtest.h"

enum { FILL = 0x5a };

/* taps, pixels_in, and out as a convolution has it; 1 (of images 2) where nothing is said. */
static void complete(struct nb_window *w)
{
    w->n = w->n ? w->n : 2;
    w->taps = w->pixels_in = w->pixels_out = 1;
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++) {
        w->kernel[i] = NB_MAX(w->kernel[i], (int64_t)1);
        w->stride[i] = NB_MAX(w->stride[i], (int64_t)1);
        w->dilation[i] = NB_MAX(w->dilation[i], (int64_t)1);
        const int64_t room =
            w->in[i] + w->begin[i] + w->end[i] - (w->kernel[i] - 1) * w->dilation[i] - 1;
        assert_true(room >= 0);
        w->out[i] = room / w->stride[i] + 1;
        w->taps *= w->kernel[i];
        w->pixels_in *= w->in[i];
        w->pixels_out *= w->out[i];
    }
}

/* The place in x of what tap t (of the kernel) of an output sees in a channel; -1: padding. */
static int64_t place(const struct nb_window *w, int64_t p, int64_t t, int64_t c)
{
    const struct nb_window_at a = nb_window_at(w, p);
    const int64_t tap[] = {t / w->kernel[2] / w->kernel[1], t / w->kernel[2] % w->kernel[1],
                           t % w->kernel[2]};
    int64_t pixel = 0;
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++) {
        const int64_t at = a.at[i] + tap[i] * w->dilation[i];
        if (at < 0 || at >= w->in[i])
            return -1;
        pixel = pixel * w->in[i] + at;
    }
    return w->last ? (a.n * w->pixels_in + pixel) * w->c + c
                   : (a.n * w->c + c) * w->pixels_in + pixel;
}

struct image {
    const struct nb_window *w;
    struct nb_runs r;
    const uint8_t *x, *memory; /* memory: what is read */
    size_t bytes;
};

static void check_window(const struct image *m, const uint8_t *at, int64_t p, int64_t groups,
                         int64_t group)
{
    const struct nb_window *w = m->w;
    const struct nb_runs *r = &m->r;
    const size_t over = r->size == 1 && groups > 0 ? (size_t)(-r->len & 3) : 0;
    const uint8_t pads[4] = {FILL, FILL, FILL, FILL};
    size_t offset[64];
    assert_true(r->n <= 64);
    nb_runs_offsets(w, r, offset);
    const int64_t c_run = groups > 0 ? w->c / groups : w->c, taps = r->len / c_run;
    assert_int_equal(taps * r->n, w->taps);
    for (int64_t i = 0; i < r->n; i++) {
        const uint8_t *run = at + offset[i] * r->size;
        assert_true(run >= m->memory &&
                    run + (size_t)r->len * r->size + over <= m->memory + m->bytes);
        for (int64_t k = 0; k < r->len; k++) {
            const int64_t from = place(w, p, i * taps + k / c_run, group * c_run + k % c_run);
            assert_memory_equal(run + (size_t)k * r->size,
                                from < 0 ? pads : m->x + (size_t)from * r->size, r->size);
        }
    }
}

/* Rows by themselves are those of the copy. */
static void check_rows(const struct image *m, const void *x, uint64_t copied)
{
    const struct nb_window *w = m->w;
    const int64_t n = w->n * m->r.dims[0] * m->r.dims[1];
    const size_t row = (size_t)(m->r.dims[2] * w->c) * m->r.size;
    uint8_t *part = malloc((size_t)copied + 1);
    assert_non_null(part);
    for (int64_t first = 0; first < n; first++) {
        const int64_t rows = NB_MIN(n - first, (int64_t)3);
        part[(size_t)rows * row] = 0xee;
        nb_runs_copy_rows(w, &m->r, part, x, FILL, first, rows);
        assert_memory_equal(part, m->memory + (size_t)first * row, (size_t)rows * row);
        assert_int_equal(part[(size_t)rows * row], 0xee);
    }
    free(part);
}

static void check(const struct nb_window *w, int64_t groups, size_t size, struct nb_pool *pool)
{
    struct image m = {.w = w};
    const int64_t n = w->n * w->pixels_out;
    nb_runs_of(w, groups, size, &m.r);
    const uint64_t copied = nb_runs_image_bytes(w, &m.r);
    const size_t n_x = (size_t)(w->n * w->pixels_in * w->c) * size;
    uint8_t *x = malloc(n_x), *copy = malloc((size_t)copied + 1);
    const void **at = malloc((size_t)n * sizeof *at);
    assert_true(x && copy && at);
    for (size_t i = 0; i < n_x; i++)
        x[i] = (uint8_t)(i * 37 + i / 251);
    m.x = m.memory = x;
    m.bytes = n_x;
    assert_true((copied > 0) == m.r.copy);
    if (m.r.copy) {
        memset(copy, 0xee, (size_t)copied);
        nb_runs_copy(w, &m.r, copy, x, FILL, pool);
        m.memory = copy;
        m.bytes = (size_t)copied;
        check_rows(&m, x, copied);
    }
    for (int64_t g = 0; g < NB_MAX(groups, (int64_t)1); g++) {
        nb_runs_point(w, &m.r, m.memory, 0, n, g, at);
        for (int64_t p = 0; p < n; p++)
            check_window(&m, at[p], p, groups, g);
        const void *one[3];
        for (int64_t p = 0; p + 3 <= n; p += 2) { /* from anywhere */
            nb_runs_point(w, &m.r, m.memory, p, 3, g, one);
            assert_memory_equal(one, at + p, sizeof one);
        }
    }
    free(x);
    free(copy);
    free(at);
}

static void check_all(struct nb_window *w, int64_t groups)
{
    struct nb_pool *pool;
    struct nb_error err;
    complete(w);
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    for (unsigned last = 0; last < 2; last++) {
        w->last = last != 0;
        check(w, groups, 1, pool);
        check(w, groups, 4, NULL);
        check(w, NB_RUNS_EACH_CHANNEL, 1, NULL);
        check(w, NB_RUNS_EACH_CHANNEL, 4, pool);
    }
    nb_pool_destroy(pool);
}

#define WINDOW(...) ((struct nb_window){__VA_ARGS__})

static void test_plain(void **state)
{
    (void)state;
    struct nb_window w = WINDOW(.c = 5, .in = {1, 6, 7}, .kernel = {1, 3, 2});
    check_all(&w, 1);
    w = WINDOW(.c = 5, .in = {1, 1, 7});
    check_all(&w, 1);
    w = WINDOW(.c = 1, .in = {1, 9, 33}, .kernel = {1, 2, 2}, .stride = {1, 3, 2});
    check_all(&w, 1);
}

static void test_pads(void **state)
{
    (void)state;
    struct nb_window w =
        WINDOW(.c = 3, .in = {1, 6, 21}, .kernel = {1, 3, 3}, .begin = {0, 1, 1}, .end = {0, 1, 1});
    check_all(&w, 1);
    w = WINDOW(.c = 2, .in = {3, 4, 5}, .kernel = {2, 3, 3}, .begin = {1, 0, 2}, .end = {0, 2, 0},
               .stride = {2, 2, 3});
    check_all(&w, 1);
    /* windows that see nothing but pads; pads that no window sees */
    w = WINDOW(.c = 2, .in = {1, 2, 2}, .kernel = {1, 2, 2}, .begin = {0, 5, 4}, .end = {0, 3, 6});
    check_all(&w, 1);
    w = WINDOW(.c = 4, .in = {1, 4, 4}, .kernel = {1, 3, 3}, .end = {0, 1, 1}, .stride = {1, 2, 2});
    check_all(&w, 1);
    w = WINDOW(.c = 4, .in = {1, 5, 5}, .kernel = {1, 3, 3}, .end = {0, 1, 1}, .stride = {1, 2, 2});
    complete(&w);
    w.last = true;
    struct nb_runs r;
    nb_runs_of(&w, 1, 4, &r);
    assert_false(r.copy);
    check_all(&w, 1);
}

static void test_groups(void **state)
{
    (void)state;
    struct nb_window w = WINDOW(.c = 6, .in = {1, 5, 4}, .kernel = {1, 2, 3}, .begin = {0, 1, 0},
                                .dilation = {1, 2, 1});
    check_all(&w, 2);
    check_all(&w, 6);
    w = WINDOW(.c = 6, .in = {1, 9, 8}, .kernel = {1, 2, 3}, .dilation = {1, 2, 3}, .n = 1);
    check_all(&w, 1);
    check_all(&w, 3);
    w.end[2] = 3;
    check_all(&w, 3);
}

/* A size that nothing can hold is said, not computed with. */
static void test_too_large(void **state)
{
    (void)state;
    const int64_t far = INT64_C(1) << 31;
    struct nb_window w = WINDOW(.c = 4, .in = {2, 2, 2}, .last = true, .begin = {far, far, far},
                                .end = {far, far, far}, .stride = {far, far, far});
    complete(&w);
    struct nb_runs r;
    nb_runs_of(&w, 1, 4, &r);
    assert_true(r.copy);
    assert_true(nb_runs_image_bytes(&w, &r) == UINT64_MAX);
}

NB_TEST_MAIN(cmocka_unit_test(test_plain), cmocka_unit_test(test_pads),
             cmocka_unit_test(test_groups), cmocka_unit_test(test_too_large))
