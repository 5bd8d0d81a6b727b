/* Walking over strided arrays against index arithmetic. */
#include "op/walk.h"
#include "support/nbtest.h"

static struct nb_value value_of(const uint64_t *dims, uint32_t rank)
{
    struct nb_value v = {.type = NB_VALUE_F32, .rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        v.dim[i] = nb_dim_const(dims[i]);
    return v;
}

/* Where element i of shape is in an array of dims broadcast to it. */
static int64_t offset_in(const struct nb_value *shape, const struct nb_value *v, uint64_t i)
{
    int64_t at = 0, step = 1;
    for (uint32_t k = 0; k < shape->rank; k++) { /* from the right */
        const uint64_t n = shape->dim[shape->rank - 1 - k].n, index = i % n;
        i /= n;
        if (k < v->rank) {
            const uint64_t own = v->dim[v->rank - 1 - k].n;
            at += own == 1 ? 0 : (int64_t)index * step;
            step *= (int64_t)own;
        }
    }
    return at;
}

struct seen {
    const struct nb_walk *w;
    int64_t at[2][4096];
    size_t n;
};

static void see(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    struct seen *s = ctx;
    for (size_t i = 0; i < n; i++, s->n++)
        for (size_t k = 0; k < 2; k++)
            s->at[k][s->n] = at[k] + (int64_t)i * s->w->stride[k][s->w->rank - 1];
}

static void check(const struct nb_value *shape, const struct nb_value *a, const struct nb_value *b)
{
    static struct seen s;
    struct nb_walk w;
    nb_walk_init(&w, shape);
    nb_walk_add(&w, a);
    nb_walk_add(&w, b);
    nb_walk_merge(&w);
    const uint64_t n = nb_walk_count(&w);
    assert_int_equal(n, nb_value_count(shape));
    for (uint64_t step = 1; step <= n; step = step * 3 + 1) { /* in pieces of any size */
        s.w = &w;
        s.n = 0;
        for (uint64_t i = 0; i < n; i += step)
            nb_walk_runs(&w, i, NB_MIN(i + step, n), see, &s);
        assert_int_equal(s.n, n);
        for (uint64_t i = 0; i < n; i++) {
            assert_int_equal(s.at[0][i], offset_in(shape, a, i));
            assert_int_equal(s.at[1][i], offset_in(shape, b, i));
        }
    }
}

static void test_broadcast(void **state)
{
    (void)state;
    const struct nb_value shape = value_of((uint64_t[]){2, 3, 1, 5, 4}, 5);
    const struct nb_value whole = shape, row = value_of((uint64_t[]){4}, 1);
    const struct nb_value middle = value_of((uint64_t[]){3, 1, 5, 1}, 4);
    const struct nb_value one = value_of(NULL, 0), first = value_of((uint64_t[]){2, 1, 1, 1, 1}, 5);
    const struct nb_value *all[] = {&whole, &row, &middle, &one, &first};
    for (size_t i = 0; i < NB_COUNTOF(all); i++)
        for (size_t k = 0; k < NB_COUNTOF(all); k++)
            check(&shape, all[i], all[k]);
}

static void test_merged(void **state)
{
    (void)state;
    const struct nb_value shape = value_of((uint64_t[]){2, 3, 1, 5, 4}, 5);
    const struct nb_value row = value_of((uint64_t[]){20}, 1);
    struct nb_walk w;
    nb_walk_init(&w, &shape);
    nb_walk_add(&w, &shape);
    nb_walk_merge(&w);
    assert_int_equal(w.rank, 1); /* all in one run */
    const struct nb_value flat = value_of((uint64_t[]){6, 20}, 2);
    nb_walk_init(&w, &flat);
    nb_walk_add(&w, &flat);
    nb_walk_add(&w, &row);
    nb_walk_merge(&w);
    assert_int_equal(w.rank, 2);
    const struct nb_value one = value_of((uint64_t[]){1, 1}, 2);
    nb_walk_init(&w, &one);
    nb_walk_add(&w, &one);
    nb_walk_merge(&w);
    assert_int_equal(w.rank, 1);
    assert_int_equal(nb_walk_count(&w), 1);
}

/* Backwards in one dimension, exchanged with another; any element size, any number of threads. */
static void test_copy(void **state)
{
    (void)state;
    enum { N = 70, M = 530 };
    static uint8_t from[8 * N * M], to[8 * N * M];
    const struct nb_value shape = value_of((uint64_t[]){M, N}, 2);
    const int64_t stride[] = {-1, M};
    struct nb_pool *pool;
    struct nb_error err;
    struct nb_walk w;
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i * 37 + i / 251);
    nb_walk_init(&w, &shape);
    nb_walk_add_strides(&w, stride, M - 1);
    nb_walk_merge(&w);
    for (size_t item = 1; item <= 8; item *= 2) {
        nb_walk_copy(&w, to, from, item, item > 2 ? pool : NULL);
        for (size_t i = 0; i < M; i++)
            for (size_t k = 0; k < N; k++)
                assert_memory_equal(to + (i * N + k) * item, from + (k * M + M - 1 - i) * item,
                                    item);
    }
    nb_pool_destroy(pool);
}

/* Matrices turned, their rows no multiple of what is turned together; two dimensions before them. */
static void turned(size_t n_rows, size_t n_cols)
{
    enum { A = 3, B = 2, MOST = 2100 * 3 };
    static uint8_t from[8 * A * B * MOST], to[8 * A * B * MOST];
    const struct nb_value shape = value_of((uint64_t[]){A, B, n_rows, n_cols}, 4);
    const int64_t matrix = (int64_t)(n_rows * n_cols);
    const int64_t stride[] = {matrix, A * matrix, 1, (int64_t)n_rows};
    struct nb_pool *pool;
    struct nb_error err;
    struct nb_walk w;
    assert_true(n_rows * n_cols <= MOST);
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i * 37 + i / 251);
    nb_walk_init(&w, &shape);
    nb_walk_add_strides(&w, stride, 0);
    nb_walk_merge(&w);
    for (size_t item = 1; item <= 8; item *= 2) {
        nb_walk_copy(&w, to, from, item, item > 2 ? pool : NULL);
        for (size_t i = 0; i < A * B * n_rows * n_cols; i++) {
            const size_t col = i % n_cols, row = i / n_cols % n_rows, b = i / n_cols / n_rows % B;
            const size_t at = ((b * A + i / n_cols / n_rows / B) * n_cols + col) * n_rows + row;
            assert_memory_equal(to + i * item, from + at * item, item);
        }
    }
    nb_pool_destroy(pool);
}

static void test_turned(void **state)
{
    (void)state;
    for (size_t n_cols = 2; n_cols <= 6; n_cols++)
        turned(37, n_cols);
    turned(2100, 3); /* few columns: many rows together */
    turned(2049, 2);
}

NB_TEST_MAIN(cmocka_unit_test(test_turned), cmocka_unit_test(test_broadcast),
             cmocka_unit_test(test_merged), cmocka_unit_test(test_copy))
