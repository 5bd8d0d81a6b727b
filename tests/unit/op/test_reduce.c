/* Reductions over all sets of axes against sums by index, softmax along any, the largest, running sums. */
#include "one_node.h"

static struct one_node reduce(enum nb_reduce op, const int64_t *axes, size_t n, bool keep)
{
    return (struct one_node){.op = &nb_op_reduce,
                             .attrs = {NB_ATTR_INT("op", op), NB_ATTR_LIST("axes", axes, n),
                                       NB_ATTR_INT("keepdims", keep)},
                             .n_attrs = 3,
                             .type = NB_VALUE_F32};
}

/* v joins what op makes of an output. */
static double join(enum nb_reduce op, double sum, double v)
{
    switch (op) {
    case NB_REDUCE_L1:
        return sum + fabs(v);
    case NB_REDUCE_L2:
    case NB_REDUCE_SUM_SQUARE:
        return sum + v * v;
    case NB_REDUCE_LOG_SUM_EXP:
        return sum + exp(v);
    case NB_REDUCE_PROD:
        return sum * v;
    case NB_REDUCE_MAX:
        return v > sum ? v : sum;
    case NB_REDUCE_MIN:
        return v < sum ? v : sum;
    default:
        return sum + v;
    }
}

static double finish(enum nb_reduce op, double sum, double count)
{
    switch (op) {
    case NB_REDUCE_MEAN:
        return sum / count;
    case NB_REDUCE_L2:
        return sqrt(sum);
    case NB_REDUCE_LOG_SUM:
    case NB_REDUCE_LOG_SUM_EXP:
        return log(sum);
    default:
        return sum;
    }
}

static double first_of(enum nb_reduce op)
{
    return op == NB_REDUCE_MAX    ? -INFINITY
           : op == NB_REDUCE_MIN  ? INFINITY
           : op == NB_REDUCE_PROD ? 1.0
                                  : 0.0;
}

static void check_mask(enum nb_reduce op, uint32_t mask)
{
    enum { RANK = 4, ALL = 3 * 5 * 9 * 37 };
    static const uint64_t dims[RANK] = {3, 5, 9, 37};
    int64_t axes[RANK];
    static double want[ALL];
    size_t n = 0, n_out = 1;
    for (uint32_t i = 0; i < RANK; i++) {
        if (mask >> i & 1U)
            axes[n++] = i;
        else
            n_out *= (size_t)dims[i];
    }
    struct one_node o = reduce(op, axes, n, (mask & 1U) != 0);
    o.rank = RANK;
    memcpy(o.dims, dims, sizeof dims);
    float *x = one_node_floats(ALL, 1.0, mask + 1);
    void *y;
    for (size_t i = 0; i < ALL && op == NB_REDUCE_LOG_SUM; i++)
        x[i] = fabsf(x[i]);
    one_node_run(&o, x, &y, 1);
    for (size_t i = 0; i < n_out; i++)
        want[i] = first_of(op);
    for (size_t i = 0; i < ALL; i++) {
        size_t to = 0, step = 1, rest = i;
        for (uint32_t k = RANK; k-- > 0; rest /= (size_t)dims[k])
            if (!(mask >> k & 1U)) {
                to += rest % (size_t)dims[k] * step;
                step *= (size_t)dims[k];
            }
        want[to] = join(op, want[to], (double)x[i]);
    }
    for (size_t i = 0; i < n_out; i++) {
        const double w = finish(op, want[i], (double)(ALL / n_out));
        assert_close((double)((float *)y)[i], w, 1e-6 * fabs(w) + 1e-6);
    }
    free(x);
    free(y);
}

static void test_reduce(void **state)
{
    (void)state;
    for (uint32_t mask = 0; mask < 16; mask++)
        for (int op = 0; op < NB_N_REDUCE; op++)
            check_mask((enum nb_reduce)op, mask);
}

static void test_reduce_integers(void **state)
{
    (void)state;
    static const int64_t last[] = {1}, x[] = {3, -4, 7, -9, 2, 1};
    static const struct {
        enum nb_reduce op;
        int64_t want[2];
    } cases[] = {{NB_REDUCE_SUM, {6, -6}}, {NB_REDUCE_MEAN, {2, -2}},    {NB_REDUCE_L1, {14, 12}},
                 {NB_REDUCE_L2, {8, 9}},   {NB_REDUCE_PROD, {-84, -18}}, {NB_REDUCE_MAX, {7, 2}},
                 {NB_REDUCE_MIN, {-4, -9}}};
    void *y;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct one_node o = reduce(cases[i].op, last, 1, false);
        o.type = NB_VALUE_I64;
        o.rank = 2;
        o.dims[0] = 2;
        o.dims[1] = 3;
        one_node_run(&o, x, &y, 1);
        assert_memory_equal(y, cases[i].want, sizeof cases[i].want);
        free(y);
    }
    struct one_node nothing = reduce(NB_REDUCE_MAX, last, 1, true);
    nothing.type = NB_VALUE_I8;
    nothing.rank = 2;
    nothing.dims[0] = 3;
    one_node_run(&nothing, x, &y, 1);
    assert_memory_equal(y, ((int8_t[]){-128, -128, -128}), 3);
    free(y);
}

/* Of another dimension than the last: the same bits as of the last. */
static void test_softmax(void **state)
{
    (void)state;
    enum { A = 3, N = 41, B = 35, ALL = A * N * B };
    float *x = one_node_floats(ALL, 2.0, 3), *t = one_node_floats(ALL, 2.0, 4);
    for (size_t a = 0; a < A; a++)
        for (size_t i = 0; i < N; i++)
            for (size_t b = 0; b < B; b++)
                t[(a * B + b) * N + i] = x[(a * N + i) * B + b];
    for (int kind = 0; kind < NB_N_SOFTMAX; kind++) {
        struct one_node o = {.op = &nb_op_softmax,
                             .attrs = {NB_ATTR_INT("axis", 1), NB_ATTR_INT("kind", kind)},
                             .n_attrs = 2,
                             .type = NB_VALUE_F32,
                             .dims = {A, N, B},
                             .rank = 3};
        void *y, *z;
        one_node_run(&o, x, &y, 1);
        o.attrs[0].i = 2;
        o.dims[1] = B;
        o.dims[2] = N;
        one_node_run(&o, t, &z, 1);
        for (size_t r = 0; r < A * B; r++) {
            double sum = 0.0;
            for (size_t i = 0; i < N; i++) {
                const float v = ((float *)z)[r * N + i];
                assert_bits(((float *)y)[(r / B * N + i) * B + r % B], v);
                sum += kind == NB_SOFTMAX_LOG ? exp((double)v) : (double)v;
            }
            assert_close(sum, 1.0, 1e-5);
        }
        free(y);
        free(z);
    }
    free(x);
    free(t);
}

static void test_arg(void **state)
{
    (void)state;
    static const float x[] = {2, 7, 7, -1, 2, -1};
    for (int last = 0; last < 2; last++)
        for (int smallest = 0; smallest < 2; smallest++) {
            struct one_node o = {.op = &nb_op_arg,
                                 .attrs = {NB_ATTR_INT("axis", 1),
                                           NB_ATTR_INT("smallest", smallest),
                                           NB_ATTR_INT("ties_last", last)},
                                 .n_attrs = 3,
                                 .type = NB_VALUE_F32,
                                 .dims = {1, 6},
                                 .rank = 2};
            void *y;
            one_node_run(&o, x, &y, 1);
            assert_int_equal(*(int64_t *)y, smallest ? (last ? 5 : 3) : (last ? 2 : 1));
            free(y);
            o.dims[1] = 3; /* (1, 3, 2): columns 2 7 2 and 7 -1 -1 */
            o.dims[2] = 2;
            o.rank = 3;
            one_node_run(&o, x, &y, 1);
            const int64_t columns[2][2][2] = {{{1, 0}, {0, 1}}, {{1, 0}, {2, 2}}};
            assert_memory_equal(y, columns[last][smallest], 2 * sizeof(int64_t));
            free(y);
        }
}

/* All n in order are a permutation that sorts; fewer are its beginning. */
static void test_top_values(void **state)
{
    (void)state;
    enum { N = 301, B = 70 };
    float *x = one_node_floats(N * B, 3.0, 9);
    for (size_t i = 0; i < N * B; i++)
        x[i] = rintf(x[i]); /* many are equal */
    x[B] = NAN;
    for (int smallest = 0; smallest < 2; smallest++) {
        struct one_node o = {.op = &nb_op_top_values,
                             .attrs = {NB_ATTR_INT("axis", 0), NB_ATTR_INT("k", N),
                                       NB_ATTR_INT("smallest", smallest)},
                             .n_attrs = 3,
                             .type = NB_VALUE_F32,
                             .dims = {N, B},
                             .rank = 2};
        void *all[2], *few[2];
        one_node_run(&o, x, all, 2);
        o.attrs[1].i = 17;
        one_node_run(&o, x, few, 2);
        assert_memory_equal(all[1], few[1], 17 * B * sizeof(int64_t));
        const float *v = all[0];
        const int64_t *at = all[1];
        for (size_t i = 0; i < N * B; i++) {
            assert_bits(v[i], x[(size_t)at[i] * B + i % B]);
            if (i < B || isnan(v[i]) || isnan(v[i - B]))
                continue;
            assert_true(smallest ? v[i - B] <= v[i] : v[i - B] >= v[i]);
            assert_true(v[i] != v[i - B] || at[i] > at[i - B]);
        }
        assert_int_equal(at[smallest ? (N - 1) * B : 0], 1); /* NaN is the largest */
        for (size_t i = 0; i < 2; i++) {
            free(all[i]);
            free(few[i]);
        }
    }
    free(x);
}

static void test_cum_sum(void **state)
{
    (void)state;
    static const int32_t x[] = {1, 2, 3, 4, 5, 6};
    static const int32_t want[4][6] = {
        {1, 2, 4, 6, 9, 12}, {9, 12, 8, 10, 5, 6}, {0, 0, 1, 2, 4, 6}, {8, 10, 5, 6, 0, 0}};
    for (int k = 0; k < 4; k++) {
        const struct one_node o = {.op = &nb_op_cum_sum,
                                   .attrs = {NB_ATTR_INT("axis", 0),
                                             NB_ATTR_INT("exclusive", k / 2),
                                             NB_ATTR_INT("reverse", k % 2)},
                                   .n_attrs = 3,
                                   .type = NB_VALUE_I32,
                                   .dims = {3, 2},
                                   .rank = 2};
        void *y;
        one_node_run(&o, x, &y, 1);
        assert_memory_equal(y, want[k], sizeof want[k]);
        free(y);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const int64_t far[] = {2};
    struct one_node o = reduce(NB_REDUCE_SUM, far, 1, true);
    o.rank = 2;
    o.dims[0] = o.dims[1] = 3;
    one_node_refused(&o, "axis 2 of 2 dimensions");
    o = reduce(NB_REDUCE_SUM, far, 0, true);
    o.type = NB_VALUE_BOOL;
    one_node_refused(&o, "not one of elements of this type");
    o = (struct one_node){.op = &nb_op_softmax,
                          .attrs = {NB_ATTR_INT("axis", 0), NB_ATTR_INT("kind", 0)},
                          .n_attrs = 2,
                          .type = NB_VALUE_I32,
                          .dims = {3},
                          .rank = 1};
    one_node_refused(&o, "must be of floats");
    o = (struct one_node){
        .op = &nb_op_top_values,
        .attrs = {NB_ATTR_INT("axis", 0), NB_ATTR_INT("k", 4), NB_ATTR_INT("smallest", 0)},
        .n_attrs = 3,
        .type = NB_VALUE_F32,
        .dims = {3},
        .rank = 1};
    one_node_refused(&o, "4 of 3 elements");
    o.op = &nb_op_arg;
    o.attrs[1] = (struct nb_attr)NB_ATTR_INT("ties_last", 0);
    o.dims[0] = 0;
    one_node_refused(&o, "nothing to choose from");
    o.op = &nb_op_cum_sum;
    o.attrs[1] = (struct nb_attr)NB_ATTR_INT("exclusive", 0);
    o.attrs[2] = (struct nb_attr)NB_ATTR_INT("reverse", 0);
    o.type = NB_VALUE_U8;
    one_node_refused(&o, "not summed");
}

NB_TEST_MAIN(cmocka_unit_test(test_reduce), cmocka_unit_test(test_reduce_integers),
             cmocka_unit_test(test_softmax), cmocka_unit_test(test_arg),
             cmocka_unit_test(test_top_values), cmocka_unit_test(test_cum_sum),
             cmocka_unit_test(test_refused))
