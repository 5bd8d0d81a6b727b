/* Codebooks of vectors: the search against the definition, training against what is known. */
#include "math/math.h"
#include "support/nbtest.h"

#include <math.h>

static float *normals(uint64_t seed, size_t n)
{
    struct nb_rng rng = {.seed = seed};
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)nb_rng_normal(&rng);
    return x;
}

static float *weights(uint64_t seed, size_t n)
{
    struct nb_rng rng = {.seed = seed};
    float *w = malloc(n * sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = i % 5 == 0 ? 0.0F : (float)(nb_rng_unit(&rng) * 4.0);
    return w;
}

static float distance(const struct nb_vq_search *q, size_t i, uint32_t k)
{
    float s = 0.0F;
    for (uint32_t d = 0; d < q->dim; d++) {
        const float t = q->x[i * q->dim + d] - q->codebook[k * q->dim + d];
        const float u = q->n_w == 0 ? t * t : t * t * q->w[(i * q->dim + d) % q->n_w];
        s = d == 0 ? u : s + u;
    }
    return s;
}

static void test_nearest_is_the_first_of_the_least(void **state)
{
    (void)state;
    for (uint32_t dim = 1; dim <= NB_VQ_MAX_DIM; dim++) {
        const size_t n = 203;
        float *x = normals(dim, n * dim), *book = normals(100 + dim, 37 * dim);
        float *w = weights(200 + dim, 3 * dim + 1);
        memcpy(book + 20 * dim, book + 4 * dim, dim * sizeof *book); /* twins: 4 wins */
        uint16_t index[203];
        for (int weighted = 0; weighted < 2; weighted++) {
            const struct nb_vq_search q = {.codebook = book,
                                           .k = 37,
                                           .dim = dim,
                                           .x = x,
                                           .w = w,
                                           .n_w = weighted ? 3 * dim + 1 : 0};
            for (size_t begin = 0; begin < 9; begin += 4) {
                double error = 0.0;
                const double got = nb_vq_nearest(&q, begin, n, index);
                for (size_t i = begin; i < n; i++) {
                    uint32_t best = 0;
                    for (uint32_t k = 1; k < 37; k++)
                        if (distance(&q, i, k) < distance(&q, i, best))
                            best = k;
                    assert_int_equal(index[i - begin], best);
                    error += (double)distance(&q, i, best);
                }
                assert_true(got == error);
            }
        }
        free(x);
        free(book);
        free(w);
    }
}

/* In one dimension the optimum is known: Lloyd's iteration comes close to it. */
static void test_one_dimension_comes_near_the_optimum(void **state)
{
    (void)state;
    const size_t n = 20000;
    float *x = normals(1, n), book[16];
    double levels[16];
    struct nb_kmeans_points p;
    struct nb_error err;
    struct nb_vq v = {
        .x = x, .n = n, .dim = 1, .k = 16, .codebook = book, .max_iters = 300, .tol = 1e-7};
    assert_ok(nb_vq_train(&v, NULL, &err), &err);
    assert_int_equal(nb_kmeans_sample(&p, x, n, NULL, 0, NULL), NB_OK);
    struct nb_kmeans j = {.x = p.x, .w = p.w, .n = p.n, .k = 16, .levels = levels};
    assert_ok(nb_kmeans_levels(&j, NULL, &err), &err);
    assert_true(v.error >= j.cost * (1.0 - 1e-6) && v.error < j.cost * 1.005);
    nb_kmeans_points_fini(&p, NULL);
    free(x);
}

/* Per number at 2 bits: below the scalar optimum 0.1175, above the bound 2^-4 = 0.0625, and lower
 * with each dimension. */
static void test_more_dimensions_lower_the_error(void **state)
{
    (void)state;
    double last = 0.117482;
    for (uint32_t dim = 2; dim <= 4; dim++) {
        const size_t n = 24000;
        const uint32_t k = 1u << (2 * dim);
        float *x = normals(2, n * dim), *book = malloc(k * dim * sizeof *book);
        struct nb_error err;
        struct nb_vq v = {.x = x, .n = n, .dim = dim, .k = k, .codebook = book};
        assert_ok(nb_vq_train(&v, NULL, &err), &err);
        const double mse = v.error / (double)(n * dim);
        print_message("dimension %u, %u code words: MSE %.5f after %u iterations\n", dim, k, mse,
                      v.n_iters);
        assert_true(mse < last * 0.975 && mse > 0.0625);
        assert_int_equal(v.n_codes, k);
        last = mse;
        free(x);
        free(book);
    }
}

/* A stationary point: each code word is the weighted mean of its cell, each cell has a member. */
static void test_weights_and_cells(void **state)
{
    (void)state;
    const size_t n = 3000;
    const uint32_t dim = 3, k = 20;
    float *x = normals(3, n * dim), *w = weights(4, 3 * 7), book[60];
    uint16_t *index = malloc(n * sizeof *index);
    struct nb_error err;
    struct nb_vq v = {.x = x,
                      .n = n,
                      .dim = dim,
                      .k = k,
                      .w = w,
                      .n_w = 21,
                      .codebook = book,
                      .index = index,
                      .max_iters = 1000,
                      .tol = 1e-12};
    assert_ok(nb_vq_train(&v, NULL, &err), &err);
    for (uint32_t c = 0; c < k; c++) {
        for (uint32_t d = 0; d < dim; d++) {
            double s0 = 0.0, s1 = 0.0;
            for (size_t i = 0; i < n; i++) {
                if (index[i] != c)
                    continue;
                s0 += (double)w[(i * dim + d) % 21];
                s1 += (double)w[(i * dim + d) % 21] * (double)x[i * dim + d];
            }
            assert_true(s0 > 0.0);
            assert_close(book[c * dim + d], s1 / s0, 1e-3);
        }
    }
    free(x);
    free(w);
    free(index);
}

static void test_any_number_of_threads(void **state)
{
    (void)state;
    const size_t n = 9000;
    float *x = normals(5, n * 4), *w = weights(6, 64), *book[2];
    uint16_t *index[2];
    struct nb_error err;
    for (unsigned t = 0; t < 2; t++) {
        struct nb_pool *pool = NULL;
        book[t] = malloc(100 * 4 * sizeof(float));
        index[t] = malloc(n * sizeof(uint16_t));
        if (t > 0)
            assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
        struct nb_vq v = {.x = x,
                          .n = n,
                          .dim = 4,
                          .k = 100,
                          .w = w,
                          .n_w = 64,
                          .pool = pool,
                          .codebook = book[t],
                          .index = index[t]};
        assert_ok(nb_vq_train(&v, NULL, &err), &err);
        nb_pool_destroy(pool);
    }
    assert_memory_equal(book[0], book[1], 100 * 4 * sizeof(float));
    assert_memory_equal(index[0], index[1], n * sizeof(uint16_t));
    for (int t = 0; t < 2; t++) {
        free(book[t]);
        free(index[t]);
    }
    free(x);
    free(w);
}

/* Bits that another compiler or CPU must reproduce. */
static void test_same_bits_everywhere(void **state)
{
    (void)state;
    float *x = normals(8, 1500 * 4), *w = weights(9, 12), book[50 * 4];
    struct nb_error err;
    uint64_t h = 0;
    struct nb_vq v = {.x = x, .n = 1500, .dim = 4, .k = 50, .w = w, .n_w = 12, .codebook = book};
    assert_ok(nb_vq_train(&v, NULL, &err), &err);
    for (size_t i = 0; i < NB_COUNTOF(book); i++) {
        h = (h ^ nb_f32_bits(book[i])) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    assert_int_equal(h, UINT64_C(0x833cab01b2f32b59));
    free(x);
    free(w);
}

/* Fewer different vectors than code words: each is met exactly, the rest of the book repeats. */
static void test_few_vectors(void **state)
{
    (void)state;
    float x[40][2], book[64][2];
    struct nb_error err;
    for (size_t i = 0; i < 40; i++) {
        x[i][0] = (float)(i % 5) * 100.0F;
        x[i][1] = i % 5 == 4 ? 1e6F : 0.25F;
    }
    struct nb_vq v = {.x = &x[0][0], .n = 40, .dim = 2, .k = 64, .codebook = &book[0][0]};
    assert_ok(nb_vq_train(&v, NULL, &err), &err);
    assert_int_equal(v.n_codes, 5);
    assert_true(v.error == 0.0);
    assert_memory_equal(book[63], book[4], sizeof book[4]);
    v.n = 1;
    v.k = 1;
    assert_ok(nb_vq_train(&v, NULL, &err), &err);
    assert_true(book[0][0] == 0.0F && book[0][1] == 0.25F);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    float book[8];
    struct nb_error err;
    struct nb_vq v = {.x = ctx, .n = 50, .dim = 2, .k = 4, .codebook = book};
    return nb_vq_train(&v, a, &err);
}

static void test_arguments_and_memory(void **state)
{
    (void)state;
    float *x = normals(7, 100), book[8];
    struct nb_error err;
    struct nb_vq v = {.x = x, .n = 50, .dim = 9, .k = 4, .codebook = book};
    assert_fails(nb_vq_train(&v, NULL, &err), NB_ERR_ARG, &err, "dimension 9");
    v.dim = 2;
    v.k = 0;
    assert_fails(nb_vq_train(&v, NULL, &err), NB_ERR_ARG, &err, "0 code words");
    v.k = 4;
    v.n = 0;
    assert_fails(nb_vq_train(&v, NULL, &err), NB_ERR_ARG, &err, "0 vectors");
    assert_int_equal(nbtest_oom(oom_body, x), 5);
    free(x);
}

NB_TEST_MAIN(cmocka_unit_test(test_nearest_is_the_first_of_the_least),
             cmocka_unit_test(test_one_dimension_comes_near_the_optimum),
             cmocka_unit_test(test_more_dimensions_lower_the_error),
             cmocka_unit_test(test_weights_and_cells), cmocka_unit_test(test_any_number_of_threads),
             cmocka_unit_test(test_same_bits_everywhere), cmocka_unit_test(test_few_vectors),
             cmocka_unit_test(test_arguments_and_memory))
