/* Block by block on decoded weights against a session on the model itself: the same bits from a folder, from
 * the GGUF file made of it and from a quantized file, for every folder under tests/golden/archs. */
#include <stdio.h>

#include "calib/block_weights.h"
#include "quant/quant.h"
#include "run/run.h"
#include "support/arch_cases.h"

#define N 27

static struct nb_error err;

static void make_tokens(uint32_t *tokens, uint32_t n_vocab)
{
    for (size_t i = 0; i < N; i++)
        tokens[i] = (uint32_t)((i * i * 31 + i * 7 + 3) % n_vocab);
}

static struct nb_session *session_on(const struct nb_weights *w, struct nb_model_part part,
                                     bool floats)
{
    struct nb_session *s;
    const struct nb_session_options o = {
        .n_ctx = N, .kv_type = &nb_numfmt_f32, .float_activations = floats, .part = part};
    assert_ok(nb_session_create(&s, w, &o, NULL, &err), &err);
    return s;
}

static struct nb_session *session(const struct nb_weights *w, struct nb_model_part part)
{
    return session_on(w, part, true);
}

static struct nb_model_part block_part(uint32_t b)
{
    return (struct nb_model_part){
        .from_hidden = true, .to_hidden = true, .first_block = b, .n_blocks = 1};
}

/* Logits, or an encoder's hidden states, (N, *width); malloc-ed. No matrix of m was settled. */
static float *by_blocks(const struct nb_model *m, size_t *width, struct nb_pool *pool)
{
    const uint32_t n = m->w.hp.n_layers;
    uint32_t tokens[N];
    struct nb_block_weights *b;
    float *x = malloc(N * (size_t)m->w.hp.n_embd * sizeof *x);
    make_tokens(tokens, m->w.hp.n_vocab);
    struct nb_session *s = session(&m->w, (struct nb_model_part){.to_hidden = true});
    assert_ok(nb_session_eval_part(s, NULL, tokens, N, x, &err), &err);
    nb_session_destroy(s);
    assert_ok(nb_block_weights_create(&b, m, NULL, &err), &err);
    for (uint32_t i = 0; i < n; i++) {
        assert_ok(nb_block_weights_load(b, i, 1, pool, &err), &err);
        s = session(nb_block_weights_view(b), block_part(i));
        assert_ok(nb_session_eval_part(s, x, NULL, N, x, &err), &err);
        nb_session_destroy(s);
    }
    nb_block_weights_destroy(b);
    s = session(&m->w, (struct nb_model_part){.from_hidden = true, .first_block = n});
    *width = nb_session_width(s);
    float *y = malloc(N * *width * sizeof *y);
    assert_ok(nb_session_eval_part(s, x, NULL, N, y, &err), &err);
    nb_session_destroy(s);
    free(x);
    return y;
}

static float *by_model(const struct nb_model *m)
{
    uint32_t tokens[N];
    struct nb_session *s = session(&m->w, (struct nb_model_part){.first_block = 0});
    float *y = malloc(N * (size_t)nb_session_width(s) * sizeof *y);
    make_tokens(tokens, m->w.hp.n_vocab);
    assert_ok(nb_session_eval(s, tokens, N, y, 0, &err), &err);
    nb_session_destroy(s);
    return y;
}

static void convert(struct nb_model *m, const char *type, const char *out)
{
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nb_quant_report report = {0};
    nb_recipe_init(&r, NULL);
    r.type = type;
    const struct nb_quant_settings s = {.out = out, .recipe = &r, .overwrite = true};
    assert_ok(nb_quant_plan_create(&p, m, &s, NULL, &err), &err);
    assert_ok(nb_quant_run(p, &report, &err), &err);
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
}

/* *want: what a file that says the same gave, or NULL and then what this one gives. */
static void check_file(const char *path, float **want, struct nb_pool *pool)
{
    struct nb_model *m;
    size_t width;
    assert_ok(nb_model_open(&m, path, NULL, NULL, &err), &err);
    float *got = by_blocks(m, &width, pool);
    assert_ok(nb_model_settle(m, &err), &err);
    float *whole = by_model(m);
    assert_bits_array(got, whole, N * width);
    if (*want != NULL)
        assert_bits_array(got, *want, N * width);
    free(*want);
    *want = got;
    free(whole);
    nb_model_close(m);
}

static void check_folder(const char *dir)
{
    const char *gguf = nbtest_tmp("keep.gguf"), *q8 = nbtest_tmp("q8.gguf");
    struct nb_model *m;
    struct nb_pool *pool;
    float *same = NULL, *other = NULL;
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    assert_ok(nb_model_open(&m, dir, NULL, NULL, &err), &err);
    convert(m, "keep", gguf);
    convert(m, "q8_0", q8);
    nb_model_close(m);
    check_file(dir, &same, NULL);
    check_file(dir, &same, pool);
    check_file(gguf, &same, pool);
    check_file(q8, &other, NULL);
    free(same);
    free(other);
    nb_pool_destroy(pool);
}

static void check_case(void **state)
{
    const char *name = *state;
    if (!arch_is_refused(name))
        check_folder(arch_path(name, ""));
}

/* ---- one model more closely ---- */

static size_t index_of(const struct nb_model *m, const char *name)
{
    const struct nb_weight *w = nb_weights_find(&m->w, name);
    assert_non_null(w);
    return (size_t)(w - m->w.items);
}

/* Canonical rows, each tensor of the blocks held and no other; what is changed is what runs. */
static void test_values(void **state)
{
    struct nb_model *m;
    struct nb_block_weights *b;
    uint64_t one, two;
    (void)state;
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    const size_t q = index_of(m, "blk.1.attn_q.weight"),
                 down = index_of(m, "blk.1.ffn_down.weight");
    const struct nb_shape *shape = &m->w.items[q].t.shape;
    const size_t n = (size_t)(shape->dim[0] * shape->dim[1]), embd = m->w.hp.n_embd;
    float *want = malloc(n * sizeof *want);
    assert_ok(nb_block_weights_create(&b, m, NULL, &err), &err);
    assert_null(nb_block_weights_values(b, q));
    assert_true(nb_block_weights_bytes(m, 1, 1, &one));
    assert_true(nb_block_weights_bytes(m, 1, 2, &two));
    assert_int_equal(two, 2 * one);
    assert_ok(nb_block_weights_load(b, 1, 2, NULL, &err), &err);
    assert_non_null(nb_block_weights_values(b, index_of(m, "blk.2.attn_norm.weight")));
    assert_ok(nb_block_weights_load(b, 1, 1, NULL, &err), &err);
    assert_null(nb_block_weights_values(b, index_of(m, "blk.0.attn_q.weight")));
    assert_null(nb_block_weights_values(b, index_of(m, "blk.2.attn_q.weight")));
    assert_null(nb_block_weights_values(b, index_of(m, "token_embd.weight")));
    assert_null(nb_block_weights_values(b, m->w.n));
    nb_model_read_rows(m, q, 0, shape->dim[0], want);
    assert_bits_array(nb_block_weights_values(b, q), want, n);
    float *x = malloc(4 * embd * sizeof *x), *y = malloc(4 * embd * sizeof *y);
    float *z = malloc(4 * embd * sizeof *z);
    for (size_t i = 0; i < 4 * embd; i++)
        x[i] = (float)(i % 13) / 8.0F;
    struct nb_session *s = session(nb_block_weights_view(b), block_part(1));
    assert_ok(nb_session_eval_part(s, x, NULL, 4, y, &err), &err);
    memset(nb_block_weights_values(b, down), 0, embd * m->w.hp.n_ff * sizeof *y);
    memset(nb_block_weights_values(b, index_of(m, "blk.1.attn_output.weight")), 0,
           embd * m->w.hp.n_heads * m->w.hp.head_dim * sizeof *y);
    nb_session_rewind(s, 0);
    assert_ok(nb_session_eval_part(s, x, NULL, 4, z, &err), &err);
    assert_bits_array(z, x, 4 * embd); /* nothing is added */
    assert_memory_not_equal(y, x, 4 * embd * sizeof *x);
    nb_session_destroy(s);
    assert_fails(nb_block_weights_load(b, m->w.hp.n_layers, 1, NULL, &err), NB_ERR_ARG, &err,
                 "the model has");
    assert_ok(nb_block_weights_load(b, 1, 1, NULL, &err), &err); /* from the file again */
    s = session(nb_block_weights_view(b), block_part(1));
    assert_ok(nb_session_eval_part(s, x, NULL, 4, z, &err), &err);
    assert_bits_array(z, y, 4 * embd);
    nb_session_destroy(s);
    nb_block_weights_destroy(b);
    nb_block_weights_destroy(NULL);
    free(want), free(x), free(y), free(z);
    nb_model_close(m);
}

/* A block of hidden states x (4 tokens) on integers. */
static void run_stored(const struct nb_weights *w, const float *x, float *y)
{
    struct nb_session *s = session_on(w, block_part(1), false);
    assert_ok(nb_session_eval_part(s, x, NULL, 4, y, &err), &err);
    nb_session_destroy(s);
}

/* The records of a file of type `type`, in place of the floats: the block runs as that file does. */
static void check_stored(const char *type)
{
    const char *path = nbtest_tmp("stored.gguf");
    struct nb_model *m, *q;
    struct nb_block_weights *b;
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    convert(m, type, path);
    assert_ok(nb_model_open(&q, path, NULL, NULL, &err), &err);
    assert_ok(nb_block_weights_create(&b, m, NULL, &err), &err);
    assert_ok(nb_block_weights_load(b, 1, 1, NULL, &err), &err);
    const size_t embd = m->w.hp.n_embd, n = 4 * embd;
    float *x = malloc(n * sizeof *x), *want = malloc(n * sizeof *x), *got = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i % 13) / 8.0F;
    run_stored(nb_block_weights_stored(b), x, want);
    run_stored(nb_block_weights_view(b), x, got);
    assert_bits_array(got, want, n); /* nothing is expected yet */
    for (size_t i = 0; i < m->w.n; i++) {
        const struct nb_weight *w = nb_weights_find(&q->w, m->w.items[i].spec.name);
        if (m->w.items[i].spec.block != 1 || w->t.type->kind < NB_NUMFMT_BLOCK)
            continue;
        assert_null(nb_block_weights_records(b, i));
        assert_false(nb_block_weights_expect(b, i, w->t.type, UINT64_MAX, 0));
        assert_null(nb_block_weights_records(b, i));
        assert_true(nb_block_weights_expect(b, i, w->t.type, w->t.bytes, 0));
        memcpy(nb_block_weights_records(b, i), w->t.data, (size_t)w->t.bytes);
    }
    run_stored(&q->w, x, want);
    run_stored(nb_block_weights_stored(b), x, got);
    assert_bits_array(got, want, n);
    assert_false(
        nb_block_weights_expect(b, index_of(m, "blk.0.attn_q.weight"), &nb_numfmt_q8_0, 1, 0));
    assert_ok(nb_block_weights_load(b, 1, 1, NULL, &err), &err);
    assert_null(nb_block_weights_records(b, index_of(m, "blk.1.attn_q.weight")));
    free(x), free(want), free(got);
    nb_block_weights_destroy(b);
    nb_model_close(q);
    nb_model_close(m);
}

static void test_stored(void **state)
{
    (void)state;
    check_stored("q8_0");
    check_stored("q4_k_m");
}

static enum nb_status load_once(void *ctx, const struct nb_allocator *a)
{
    struct nb_block_weights *b;
    NB_TRY(nb_block_weights_create(&b, ctx, a, &err));
    const enum nb_status st = nb_block_weights_load(b, 0, 1, NULL, &err);
    nb_block_weights_destroy(b);
    return st;
}

static void test_out_of_memory(void **state)
{
    struct nb_model *m;
    (void)state;
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    assert_int_equal(nbtest_oom(load_once, m), 5);
    nb_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tiny[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_stored),
                                      cmocka_unit_test(test_out_of_memory)};
    const int failed = cmocka_run_group_tests(tiny, NULL, NULL);
    return failed != 0 ? failed : arch_run("block_weights", check_case);
}
