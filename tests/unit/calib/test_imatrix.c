/* Files of importance: both formats there and back, what each stores, and what is refused. */
#include "calib/calib.h"
#include "container/container.h"
#include "support/nbtest.h"

#include <stdio.h>

static struct nb_error err;

static struct nb_moment *add(struct nb_calib *c, const char *name, size_t n_mat, size_t cols,
                             double count)
{
    struct nb_moment *m;
    assert_ok(nb_calib_add(c, name, n_mat, cols, &m, &err), &err);
    for (size_t i = 0; i < n_mat * cols; i++)
        m->sum[i] = 0.25 * count * (double)(i + 1);
    for (size_t i = 0; i < n_mat; i++)
        m->count[i] = count;
    return m;
}

static struct nb_calib *make(void)
{
    struct nb_calib *c;
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    add(c, "blk.0.attn_q.weight", 1, 8, 1024.0);
    add(c, "blk.0.ffn_down.weight", 1, 300, 1024.0);
    add(c, "blk.0.ffn_up_exps.weight", 3, 4, 1024.0)->count[1] = 0.0;
    assert_ok(nb_calib_add_dataset(c, "prose.txt", 9, &err), &err);
    c->chunk_count = 2;
    return c;
}

static struct nb_calib *there_and_back(const struct nb_calib *c, enum nb_calib_format format)
{
    struct nb_calib *back;
    uint64_t bytes;
    const char *path = nbtest_tmp("stats");
    assert_ok(nb_calib_write(c, path, format, NB_OUT_OVERWRITE, &bytes, &err), &err);
    assert_ok(nb_calib_read(&back, path, NULL, &err), &err);
    return back;
}

static void test_gguf(void **state)
{
    (void)state;
    struct nb_calib *c = make(), *back = there_and_back(c, NB_CALIB_GGUF);
    assert_int_equal(back->n, 3);
    assert_int_equal(back->chunk_count, 2);
    assert_int_equal(back->chunk_size, 512);
    assert_int_equal(back->n_datasets, 1);
    assert_string_equal(back->datasets[0], "prose.txt");
    for (size_t k = 0; k < c->n; k++) {
        const struct nb_moment *a = &c->items[k], *b = nb_calib_find(back, a->name);
        assert_non_null(b);
        assert_int_equal(b->n_mat, a->n_mat);
        assert_int_equal(b->cols, a->cols);
        assert_memory_equal(a->sum, b->sum, a->n_mat * a->cols * sizeof *a->sum);
        assert_memory_equal(a->count, b->count, a->n_mat * sizeof *a->count);
    }
    /* What another reader looks for. */
    struct nb_file *f;
    struct nb_text text;
    assert_ok(nb_file_open(&f, nbtest_tmp("stats"), NULL, &err), &err);
    assert_true(nb_meta_text(&f->meta, "general.type", &text));
    assert_memory_equal(text.s, "imatrix", 7);
    const struct nb_tensor *t = nb_file_find(f, "blk.0.ffn_up_exps.weight.counts");
    assert_non_null(t);
    assert_int_equal(t->shape.dim[0], 3);
    assert_int_equal(t->shape.dim[1], 1);
    nb_file_close(f);
    nb_calib_destroy(back);
    nb_calib_destroy(c);
}

static void test_dat(void **state)
{
    (void)state;
    struct nb_calib *c = make(), *back = there_and_back(c, NB_CALIB_DAT);
    float a[300], b[300];
    assert_int_equal(back->n, 3);
    assert_int_equal(back->chunk_count, 2);
    assert_string_equal(back->datasets[0], "prose.txt");
    const struct nb_moment *m = nb_calib_find(back, "blk.0.ffn_down.weight");
    assert_int_equal(m->count[0], 1024);
    nb_moment_means(&c->items[1], 0, 300, a);
    nb_moment_means(m, 0, 300, b);
    assert_bits_array(a, b, 300);
    /* It does not say how a vector is divided among matrices. */
    m = nb_calib_find(back, "blk.0.ffn_up_exps.weight");
    const struct nb_shape shape = {.n = 3, .dim = {3, 7, 4}};
    assert_int_equal(m->n_mat, 1);
    assert_ok(nb_moment_check(m, &shape, &err), &err);
    nb_moment_means(&c->items[2], 0, 12, a);
    nb_moment_means(m, 0, 12, b);
    assert_bits_array(a, b, 12);
    assert_bits(b[5], 1.5F); /* the mean of the other matrices: 0.5 and 2.5 */
    assert_bits(b[8], 2.25F);
    nb_calib_destroy(back);
    nb_calib_destroy(c);
}

/* One entry of two values: the layout, byte by byte. */
static uint8_t bytes[64];
static size_t n_bytes;

static void load(void)
{
    /* clang-format off */
    static const uint8_t layout[] = {
        1, 0, 0, 0,                  /* entries       */
        1, 0, 0, 0, 'w',             /* name          */
        4, 0, 0, 0,                  /* calls         */
        2, 0, 0, 0,                  /* values: 8, 24 */
        0, 0, 0, 0x41, 0, 0, 0xc0, 0x41,
        7, 0, 0, 0,                  /* chunks        */
        3, 0, 0, 0, 'a', 'b', 'c',   /* the text      */
    };
    /* clang-format on */
    n_bytes = sizeof layout;
    memcpy(bytes, layout, n_bytes);
}

static void refuse(const char *message)
{
    struct nb_calib *c;
    err = (struct nb_error){0};
    assert_fails(nb_calib_read_bytes(&c, bytes, n_bytes, NULL, &err), NB_ERR_FORMAT, &err, message);
    assert_null(c);
}

static void test_dat_layout(void **state)
{
    (void)state;
    struct nb_calib *c;
    float x[2];
    load();
    for (size_t tail = 0; tail < 2; tail++, n_bytes -= 11) { /* older writers stop before it */
        assert_ok(nb_calib_read_bytes(&c, bytes, n_bytes, NULL, &err), &err);
        assert_int_equal(c->chunk_count, tail == 0 ? 7 : 4);
        assert_int_equal(c->n_datasets, tail == 0 ? 1 : 0);
        nb_moment_means(nb_calib_find(c, "w"), 0, 2, x);
        assert_bits(x[0], 2.0F);
        assert_bits(x[1], 6.0F);
        nb_calib_destroy(c);
    }
}

static void test_dat_refused(void **state)
{
    (void)state;
    load();
    const size_t whole = n_bytes;
    for (size_t n = 0; n < whole; n++) {
        n_bytes = n;
        if (n != 25) /* there an older file ends */
            refuse(NULL);
    }
    load();
    bytes[0] = 200;
    refuse("neither GGUF, nor do 36 bytes hold the 200 entries");
    load();
    bytes[4] = 0;
    refuse("name is 0, expected 1 to 255");
    load();
    bytes[7] = 0x80;
    refuse("imatrix entry 1 of 1");
    load();
    bytes[8] = 0;
    refuse("a zero byte in an entry's name");
    load();
    bytes[12] = 0x80;
    refuse("the number of calls is -");
    load();
    bytes[13] = 9;
    refuse("the values of an entry");
    load();
    bytes[20] = 0xc1;
    refuse("entry 'w', number 0 is -8; a sum of squares is finite and not negative");
    load();
    bytes[23] = 0xc0;
    bytes[24] = 0x7f;
    refuse("not negative"); /* NaN */
    load();
    bytes[n_bytes++] = 0;
    refuse("1 bytes follow the end");
}

static void put_tensor(struct nb_writer *w, const char *name, const struct nb_numfmt *type,
                       struct nb_shape shape)
{
    assert_ok(nb_writer_add(w, name, type, &shape, &err), &err);
}

/* A GGUF file with one entry; what is wrong in it is the caller's choice. */
static void refuse_gguf(const char *kind, const char *second, struct nb_shape counts,
                        const struct nb_numfmt *type, float value, const char *message)
{
    struct nb_writer *w;
    struct nb_meta meta;
    struct nb_calib *c;
    uint8_t data[64] = {0};
    const char *path = nbtest_tmp("bad.gguf");
    nb_meta_init(&meta, NULL);
    if (kind != NULL)
        assert_ok(nb_meta_set_text(&meta, "general.type", kind, strlen(kind)), NULL);
    assert_ok(nb_writer_create(&w, &nb_container_gguf, NULL, &err), &err);
    put_tensor(w, "w.in_sum2", type, nb_shape_2(1, 4));
    put_tensor(w, second, &nb_numfmt_f32, counts);
    assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, &meta, &err), &err);
    memcpy(data, &value, sizeof value);
    const size_t total = (size_t)(w->tensors[0].bytes + w->tensors[1].bytes);
    assert_ok(nb_writer_append(w, data, total, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
    nb_meta_fini(&meta);
    assert_fails(nb_calib_read(&c, path, NULL, &err), NB_ERR_FORMAT, &err, message);
    assert_null(c);
}

static void test_gguf_refused(void **state)
{
    (void)state;
    const struct nb_shape one = nb_shape_2(1, 1);
    const struct nb_numfmt *f32 = &nb_numfmt_f32;
    refuse_gguf(NULL, "w.counts", one, f32, 0.0F, "general.type is not \"imatrix\"");
    refuse_gguf("model", "w.counts", one, f32, 0.0F, "general.type is not \"imatrix\"");
    refuse_gguf("imatrix", "v.counts", one, f32, 0.0F, "tensor 'w.counts' is missing");
    refuse_gguf("imatrix", "w.counts", nb_shape_2(2, 1), f32, 0.0F, "expected 1 counts");
    refuse_gguf("imatrix", "w.counts", one, &nb_numfmt_f16, 0.0F, "is f16, expected f32");
    refuse_gguf("imatrix", "w.counts", one, f32, -1.0F, "number 0 is -1;");
    struct nb_calib *c;
    assert_fails(nb_calib_read(&c, nbtest_tmp("none"), NULL, &err), NB_ERR_NOT_FOUND, &err, "none");
}

static void test_merge(void **state)
{
    (void)state;
    struct nb_calib *a = make(), *b = make(), *other;
    add(b, "output.weight", 1, 8, 512.0);
    b->chunk_size = 256;
    b->chunk_count = 5;
    assert_ok(nb_calib_merge(a, b, &err), &err);
    assert_int_equal(a->n, 4);
    assert_int_equal(a->chunk_count, 2 + 3); /* 1280 tokens are 3 windows of 512 */
    assert_int_equal(a->n_datasets, 1);
    assert_int_equal(a->items[0].count[0], 2048);
    assert_true(a->items[0].sum[3] == 2 * b->items[0].sum[3]);
    assert_true(a->items[3].sum[7] == b->items[3].sum[7]);
    assert_ok(nb_calib_create(&other, NULL, &err), &err);
    add(other, "blk.0.attn_q.weight", 1, 9, 1.0);
    assert_fails(nb_calib_merge(a, other, &err), NB_ERR_FORMAT, &err,
                 "'blk.0.attn_q.weight' has 1 x 8 columns in one file of statistics and 1 x 9");
    struct nb_moment *m;
    assert_fails(nb_calib_add(a, "output.weight", 1, 8, &m, &err), NB_ERR_EXISTS, &err,
                 "two entries");
    nb_calib_destroy(other);
    nb_calib_destroy(b);
    nb_calib_destroy(a);
}

/* Few tokens are filled up to 32 with the mean of all matrices; one matrix alone has none to ask. */
static void test_few_tokens(void **state)
{
    (void)state;
    struct nb_calib *c;
    struct nb_coverage v;
    float x[6];
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    struct nb_moment *m = add(c, "blk.0.ffn_up_exps.weight", 3, 2, 0.0);
    const double count[] = {68.0, 24.0, 0.0}, sum[] = {136.0, 34.0, 12.0, 58.0, 0.0, 0.0};
    memcpy(m->count, count, sizeof count);
    memcpy(m->sum, sum, sizeof sum);
    nb_moment_means(m, 0, 6, x);
    const double all[] = {148.0 / 92.0, 92.0 / 92.0};
    assert_bits(x[0], 2.0F);
    assert_bits(x[1], 0.5F);
    assert_close((double)x[2], (12.0 + 8.0 * all[0]) / 32.0, 1e-6);
    assert_close((double)x[3], (58.0 + 8.0 * all[1]) / 32.0, 1e-6);
    assert_close((double)x[4], all[0], 1e-6);
    assert_bits(x[5], 1.0F);
    assert_ok(nb_moment_coverage(m, &v, NULL, &err), &err);
    assert_int_equal(v.n_experts, 3);
    assert_int_equal(v.unseen, 1);
    assert_int_equal(v.few, 2);
    assert_true(v.least == 0.0 && v.median == 24.0 && v.most == 68.0);
    m = add(c, "blk.0.ffn_up.weight", 1, 2, 1.0);
    nb_moment_means(m, 0, 2, x);
    assert_bits(x[1], 0.5F);
    nb_calib_destroy(c);
}

static void test_shapes(void **state)
{
    (void)state;
    struct nb_calib *c = make();
    const struct nb_shape right = nb_shape_2(5, 8), wrong = nb_shape_2(8, 5);
    assert_ok(nb_moment_check(&c->items[0], &right, &err), &err);
    assert_fails(nb_moment_check(&c->items[0], &wrong, &err), NB_ERR_FORMAT, &err,
                 "tensor 'blk.0.attn_q.weight' is [8, 5], its importance has 1 x 8 columns");
    nb_calib_destroy(c);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    struct nb_calib *c;
    const enum nb_status st = nb_calib_read(&c, ctx, a, NULL);
    nb_calib_destroy(c);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct nb_calib *c = make();
    for (int format = NB_CALIB_GGUF; format <= NB_CALIB_DAT; format++) {
        char path[4096];
        uint64_t size;
        (void)snprintf(path, sizeof path, "%s", nbtest_tmp("oom"));
        assert_ok(
            nb_calib_write(c, path, (enum nb_calib_format)format, NB_OUT_OVERWRITE, &size, &err),
            &err);
        assert_true(nbtest_oom(oom_body, path) >= 4);
    }
    nb_calib_destroy(c);
}

NB_TEST_MAIN(cmocka_unit_test(test_gguf), cmocka_unit_test(test_dat),
             cmocka_unit_test(test_dat_layout), cmocka_unit_test(test_dat_refused),
             cmocka_unit_test(test_gguf_refused), cmocka_unit_test(test_merge),
             cmocka_unit_test(test_shapes), cmocka_unit_test(test_few_tokens),
             cmocka_unit_test(test_out_of_memory))
