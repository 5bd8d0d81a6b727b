/* numfmt/coder*: every format of both registries through the one view that error feedback has of it. */
#include "support/nbtest.h"

#include <math.h>

#include "golden.h"
#include "numfmt/coder.h"

enum { MAX_COLS = 1024, MAX_ROWS = 130 };

/* Bell-shaped values with some far out, and weights from 0 to 4. */
static void fill(float *x, size_t n, uint64_t seed)
{
    struct nb_rng rng = {.seed = seed};
    for (size_t i = 0; i < n; i++) {
        const double u = nb_rng_unit(&rng) + nb_rng_unit(&rng) + nb_rng_unit(&rng);
        x[i] = (float)(0.05 * (u - 1.5) * (nb_rng_unit(&rng) < 0.02 ? 4.0 : 1.0));
    }
}

static void fill_weights(float *w, size_t n, uint64_t seed)
{
    struct nb_rng rng = {.seed = seed};
    for (size_t i = 0; i < n; i++) {
        const double u = nb_rng_unit(&rng);
        w[i] = (float)(4.0 * u * u);
    }
}

/* A tensor and its coder. Owns: side, coder, grids, records. */
struct bench {
    const struct nb_numfmt *f;
    struct nb_shape shape;
    size_t rows, cols;
    uint8_t *side, *record, *other;
    struct nb_coder *c;
    struct nb_grid *g;
};

static size_t cols_for(const struct nb_numfmt *f)
{
    if (f->kind != NB_NUMFMT_GRID)
        return 2 * (size_t)f->block;
    return 512 % f->grid->elem->dim == 0 ? 512 : 840;
}

static size_t rows_for(const struct nb_numfmt *f)
{
    if (f->kind != NB_NUMFMT_GRID)
        return 1;
    return f->grid->share == NB_SHARE_BLOCK ? MAX_ROWS : f->grid->elem->learned ? 20 : 2;
}

static void open_bench(struct bench *b, const struct nb_numfmt *f, const float *x, const float *w,
                       enum nb_coder_weighting weighting)
{
    const struct nb_allocator *a = nb_allocator_default();
    struct nb_error err;
    *b = (struct bench){.f = f, .rows = rows_for(f), .cols = cols_for(f)};
    b->shape = nb_shape_2(b->rows, b->cols);
    if (f->kind == NB_NUMFMT_GRID)
        b->side = nb_alloc_zero(a, nb_grid_side_bytes(f, &b->shape) + 1, 1);
    if (nb_grid_needs_training(f)) {
        struct nb_grid_training *t;
        assert_ok(nb_grid_training_create(&t, f, &b->shape, NULL, a, &err), &err);
        assert_ok(nb_grid_train(t, x, w, b->rows, &err), &err);
        assert_ok(nb_grid_training_finish(t, b->side, NULL, &err), &err);
        nb_grid_training_destroy(t);
    }
    const struct nb_coder_spec spec = {
        .type = f, .shape = &b->shape, .side = b->side, .weighting = weighting, .a = a};
    assert_ok(nb_coder_create(&b->c, &spec, &err), &err);
    b->g = nb_coder_grids_create(b->c, 1);
    b->record = nb_alloc_zero(a, nb_coder_record_bytes(b->c), 1);
    b->other = nb_alloc_zero(a, nb_coder_record_bytes(b->c), 1);
    assert_true(b->g != NULL && b->record != NULL && b->other != NULL);
}

static void close_bench(struct bench *b)
{
    const struct nb_allocator *a = nb_allocator_default();
    nb_coder_grids_destroy(b->c, b->g);
    nb_coder_destroy(b->c);
    nb_free(a, b->side);
    nb_free(a, b->record);
    nb_free(a, b->other);
}

/* A row through fit and round. */
static void code_row(struct bench *b, uint64_t row, const float *x, const float *w, int16_t *codes,
                     float *values)
{
    struct nb_coder *c = b->c;
    nb_coder_row(c, row, x, w);
    for (size_t k = 0; k < c->n_blocks; k++) {
        const size_t at = k * c->block;
        const uint32_t n = nb_coder_block_cols(c, k);
        nb_coder_fit(c, row, k, &b->g[k], x + at, w == NULL ? NULL : w + at);
        for (uint32_t i = 0; i < n; i += c->dim)
            nb_coder_round(c, &b->g[k], i, x + at + i, w == NULL ? NULL : w + at + i,
                           codes + at + i, values + at + i);
    }
}

/* What the stored bytes of a row say. */
static void decode_record(const struct bench *b, uint64_t row, const uint8_t *record, float *y)
{
    if (b->f->kind != NB_NUMFMT_GRID) {
        nb_numfmt_decode(b->f, record, y, b->cols);
        return;
    }
    const struct nb_parts parts = nb_grid_records(b->f, &b->shape, record, row, b->side);
    const struct nb_tensor t = {.type = b->f, .shape = b->shape, .parts = &parts};
    nb_tensor_decode(&t, row, 1, y);
}

static double loss(const float *x, const float *y, const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)y[i];
        sum += (w == NULL ? 1.0 : (double)w[i]) * d * d;
    }
    return sum;
}

static void encode_row(struct bench *b, uint64_t row, const float *x, const float *w, uint8_t *out)
{
    struct nb_error err;
    const struct nb_grid_encode e = {.type = b->f,
                                     .shape = &b->shape,
                                     .side = b->side,
                                     .importance = w,
                                     .a = nb_allocator_default()};
    if (b->f->kind == NB_NUMFMT_GRID)
        assert_ok(nb_grid_encode_rows(&e, out, x, row, 1, &err), &err);
    else
        assert_ok(nb_numfmt_encode(b->f, out, x, w, b->cols, &err), &err);
}

/* Stored and read back: the same values, codes and bytes. */
static void check_stored(struct bench *b, uint64_t row, const int16_t *codes, const float *values)
{
    static float y[MAX_COLS];
    static int16_t again[MAX_COLS];
    struct nb_grid *h = nb_coder_grids_create(b->c, 1);
    const size_t bytes = nb_coder_record_bytes(b->c);
    memset(b->record, 0xa5, bytes);
    nb_coder_pack(b->c, row, b->g, codes, b->record);
    decode_record(b, row, b->record, y);
    for (size_t i = 0; i < b->cols; i++)
        if (!(y[i] == values[i]))
            fail_msg("%s: column %zu decodes to %.9g, %.9g expected", b->f->name, i, (double)y[i],
                     (double)values[i]);
    nb_coder_unpack(b->c, row, h, again, b->record);
    assert_memory_equal(codes, again, b->cols * sizeof *codes);
    nb_coder_pack(b->c, row, h, again, b->other);
    assert_memory_equal(b->record, b->other, bytes);
    for (size_t k = 0; k < b->c->n_blocks; k++) {
        const size_t at = k * b->c->block;
        const uint32_t n = nb_coder_block_cols(b->c, k);
        nb_coder_values(b->c, &h[k], 0, n, again + at, y + at);
        for (uint32_t i = 0; i < n; i++)
            assert_true(y[at + i] == values[at + i]);
    }
    nb_coder_grids_destroy(b->c, h);
}

/* value = scale * level + offset, up to rounding. */
static void check_levels(const struct bench *b, const int16_t *codes, const float *values)
{
    static float level[MAX_COLS];
    for (size_t k = 0; k < b->c->n_blocks; k++) {
        const uint32_t n = nb_coder_block_cols(b->c, k);
        const size_t at = k * b->c->block;
        const struct nb_grid *g = &b->g[k];
        nb_coder_levels(b->c, g, 0, n, codes + at, level);
        for (uint32_t i = 0; i < n; i++) {
            const double s = (double)g->scale[i / b->c->sub];
            const double o = b->c->has_offset ? (double)g->offset[i / b->c->sub] : 0.0;
            assert_close(s * (double)level[i] + o, (double)values[at + i],
                         1e-5 * (fabs(s * (double)level[i]) + fabs(o)) + 1e-12);
        }
    }
}

/* Scales and offsets are what the stored parameters say. */
static void check_derived(const struct bench *b)
{
    const struct nb_numfmt *f = b->f;
    for (size_t k = 0; f->kind == NB_NUMFMT_BLOCK && k < b->c->n_blocks; k++) {
        struct nb_grid g = b->g[k];
        for (uint32_t s = 0; s < f->block / f->sub; s++) {
            g.scale[s] = g.offset[s] = -1.0F;
            f->derive(&g, s);
            assert_true(g.scale[s] == b->g[k].scale[s]);
            assert_true(!f->has_min || g.offset[s] == b->g[k].offset[s]);
            assert_true(f->scales == NB_SCALES_F16 ||
                        (g.scale_code[s] >= f->scale_lo && g.scale_code[s] <= f->scale_hi));
            assert_true(f->min_hi == 0 ||
                        (g.min_code[s] >= f->min_lo && g.min_code[s] <= f->min_hi));
        }
    }
}

static void check_format(const struct nb_numfmt *f, const float *x, const float *w)
{
    static int16_t codes[MAX_COLS];
    static float values[MAX_COLS];
    static float y[MAX_COLS];
    struct bench b;
    double ours = 0.0;
    double theirs = 0.0;
    open_bench(&b, f, x, w, NB_CODER_PLAIN);
    const size_t step = b.rows > 20 ? 64 : 1;
    for (size_t r = 0; r < b.rows; r += step) {
        const float *row = x + r * b.cols;
        code_row(&b, r, row, w, codes, values);
        check_derived(&b);
        check_levels(&b, codes, values);
        check_stored(&b, r, codes, values);
        encode_row(&b, r, row, w, b.other);
        decode_record(&b, r, b.other, y);
        ours += loss(row, values, w, b.cols);
        theirs += loss(row, y, w, b.cols);
    }
    if (!(ours <= 1.02 * theirs))
        fail_msg("%s: error %.9g, the encoder makes %.9g", f->name, ours, theirs);
    close_bench(&b);
}

static float *values_for_all(size_t n, uint64_t seed, void (*make)(float *, size_t, uint64_t))
{
    float *x = nb_alloc(nb_allocator_default(), n, sizeof *x);
    assert_non_null(x);
    make(x, n, seed);
    return x;
}

static void test_every_format(void **state)
{
    (void)state;
    size_t n;
    float *x = values_for_all(MAX_ROWS * MAX_COLS, 1, fill);
    float *w = values_for_all(MAX_COLS, 2, fill_weights);
    const struct nb_numfmt *const *all = nb_numfmt_all(&n);
    for (size_t i = 0; i < n; i++) {
        if (all[i]->kind != NB_NUMFMT_BLOCK)
            continue;
        check_format(all[i], x, NULL);
        check_format(all[i], x, w);
    }
    all = nb_grid_all(&n);
    for (size_t i = 0; i < n; i++) {
        if (getenv("NB_SLOW") != NULL && (all[i]->grid->elem->bits > 8 || i % 3 != 0))
            continue;
        check_format(all[i], x, NULL);
        check_format(all[i], x, w);
    }
    nb_free(nb_allocator_default(), x);
    nb_free(nb_allocator_default(), w);
}

/* ---- fitting again ---- */

/* The weighted error of sub-block s once its values are rounded. */
static double rounded(struct nb_coder *c, const struct nb_grid *g, uint32_t s, const float *x,
                      const float *w)
{
    int16_t codes[NB_NUMFMT_MAX_BLOCK];
    float y[NB_NUMFMT_MAX_BLOCK];
    for (uint32_t i = 0; i < c->sub; i += c->dim)
        nb_coder_round(c, g, s * c->sub + i, x + i, w + i, codes + i, y + i);
    return loss(x, y, w, c->sub);
}

/* The least error over all that can be stored. */
static double best_of_halves(struct nb_coder *c, const struct nb_grid *g, const float *x,
                             const float *w)
{
    const int32_t lo = c->type->code_min;
    const int32_t hi = c->type->code_max;
    const float top = (float)(hi > -lo ? hi : -lo);
    struct nb_grid trial = *g;
    double best = INFINITY;
    float amax = 0.0F;
    for (uint32_t i = 0; i < c->sub; i++)
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    for (uint16_t h = 0; h < 0x7c00; h++) {
        const float d = nb_f16_to_f32(h);
        if (d < 0.4F * amax / top || d > 1.6F * amax / top)
            continue;
        for (int sign = -1; sign <= 1; sign += 2) {
            trial.d = (float)sign * d;
            c->type->derive(&trial, 0);
            best = fmin(best, rounded(c, &trial, 0, x, w));
        }
    }
    return best;
}

static double best_of_all(struct nb_coder *c, const struct nb_grid *g, uint32_t s, const float *x,
                          const float *w)
{
    struct nb_grid trial = *g;
    double best = INFINITY;
    if (c->type->scales == NB_SCALES_F16)
        return best_of_halves(c, g, x, w);
    for (int32_t a = c->type->scale_lo; a <= c->type->scale_hi; a++)
        for (int32_t m = c->type->min_lo; m <= c->type->min_hi; m++) {
            trial.scale_code[s] = (int16_t)a;
            if (c->has_offset)
                trial.min_code[s] = (int16_t)m;
            c->type->derive(&trial, s);
            best = fmin(best, rounded(c, &trial, s, x, w));
        }
    return best;
}

/* What feedback does to values after their block was fitted. */
static void push_around(float *y, const float *x, size_t n, uint64_t seed)
{
    struct nb_rng rng = {.seed = seed};
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + 0.003F * (float)nb_rng_normal(&rng);
}

static void test_refit(void **state)
{
    static const struct {
        const char *name;
        size_t blocks;
    } cases[] = {{"q6_k", 8},    {"q5_k", 4},   {"q4_k", 4},   {"q3_k", 8},
                 {"q2_k", 8},    {"q4_0", 24},  {"q5_0", 24},  {"iq4_nl", 24},
                 {"iq4_xs", 8},  {"nvfp4", 16}, {"mxfp4", 24}, {"iq3_s", 2},
                 {"iq3_xxs", 2}, {"iq2_s", 2},  {"iq2_xs", 2}, {"iq2_xxs", 2}};
    static float x[NB_NUMFMT_MAX_BLOCK], y[NB_NUMFMT_MAX_BLOCK], w[NB_NUMFMT_MAX_BLOCK];
    (void)state;
    int bad = 0;
    for (size_t k = 0; k < NB_COUNTOF(cases); k++) {
        struct bench b;
        double ours = 0.0;
        double least = 0.0;
        open_bench(&b, nb_numfmt_find(cases[k].name), NULL, NULL, NB_CODER_PLAIN);
        for (size_t i = 0; i < cases[k].blocks; i++) {
            struct nb_grid g;
            fill(x, b.c->block, 100 + i);
            fill_weights(w, b.c->block, 200 + i);
            nb_coder_fit(b.c, 0, 0, &g, x, w);
            push_around(y, x, b.c->block, 300 + i);
            for (uint32_t s = 0; s < b.c->block / b.c->sub; s++) {
                const uint32_t at = s * b.c->sub;
                nb_coder_refit(b.c, &g, s, y + at, w + at);
                ours += rounded(b.c, &g, s, y + at, w + at);
                least += best_of_all(b.c, &g, s, y + at, w + at);
            }
        }
        if (getenv("NB_PRINT") != NULL)
            print_message("%-8s %+.3f %% over the best\n", cases[k].name,
                          100.0 * (ours / least - 1.0));
        bad += !(ours <= 1.01 * least);
        close_bench(&b);
    }
    assert_int_equal(bad, 0);
}

/* ---- better parameters for codes that stand ---- */

/* The weighted error of sub-block s as a function of its scale and offset. */
static struct nb_scale_quad quad_of(const struct nb_coder *c, const struct nb_grid *g, uint32_t s,
                                    const int16_t *codes, const float *x, const float *w)
{
    static float level[MAX_COLS], y[MAX_COLS];
    struct nb_scale_quad q = {0.0, 0.0, 0.0, 0.0, 0.0};
    nb_coder_levels(c, g, s * c->sub, c->sub, codes, level);
    nb_coder_values(c, g, s * c->sub, c->sub, codes, y);
    for (uint32_t i = 0; i < c->sub; i++) {
        const double l = (double)level[i];
        const double off = (double)x[i] - (double)y[i];
        q.a11 += (double)w[i] * l * l;
        q.a12 += (double)w[i] * l;
        q.a22 += (double)w[i];
        q.b1 += (double)w[i] * l * off;
        q.b2 += (double)w[i] * off;
    }
    return q;
}

static double loss_of(const struct nb_coder *c, const struct nb_grid *g, uint32_t s,
                      const int16_t *codes, const float *x, const float *w)
{
    static float y[MAX_COLS];
    nb_coder_values(c, g, s * c->sub, c->sub, codes, y);
    return loss(x, y, w, c->sub);
}

/* The least loss over all integers, codes as they are. */
static double least_coded(const struct nb_coder *c, const struct nb_grid *g, uint32_t s,
                          const int16_t *codes, const float *x, const float *w)
{
    struct nb_grid trial = *g;
    double least = INFINITY;
    for (int32_t a = c->type->scale_lo; a <= c->type->scale_hi; a++)
        for (int32_t m = c->type->min_lo; m <= c->type->min_hi; m++) {
            trial.scale_code[s] = (int16_t)a;
            if (c->has_offset)
                trial.min_code[s] = (int16_t)m;
            c->type->derive(&trial, s);
            least = fmin(least, loss_of(c, &trial, s, codes, x, w));
        }
    return least;
}

/* Returns what the losses fell by together, as a share. */
static double check_rescale(struct bench *b, const float *x, const float *y, const float *w)
{
    static int16_t codes[MAX_COLS];
    static float values[MAX_COLS];
    struct nb_coder *c = b->c;
    double before = 0.0;
    double after = 0.0;
    code_row(b, 0, x, w, codes, values);
    for (size_t k = 0; k < c->n_blocks; k++)
        for (uint32_t s = 0; s < nb_coder_block_cols(c, k) / c->sub; s++) {
            const size_t at = k * c->block + (size_t)s * c->sub;
            struct nb_grid *g = &b->g[k];
            const double was = loss_of(c, g, s, codes + at, y + at, w + at);
            const struct nb_scale_quad q = quad_of(c, g, s, codes + at, y + at, w + at);
            const bool coded = b->f->kind == NB_NUMFMT_BLOCK && b->f->scales != NB_SCALES_F16;
            const double least = coded ? least_coded(c, g, s, codes + at, y + at, w + at) : 0.0;
            const double change = nb_coder_rescale(c, g, s, &q);
            const double now = loss_of(c, g, s, codes + at, y + at, w + at);
            assert_true(change <= 0.0);
            assert_close(was + change, now, 1e-4 * was);
            assert_true(!coded || now <= least * (1.0 + 1e-4) + 1e-12);
            before += was;
            after += now;
        }
    for (size_t k = 0; k < c->n_blocks; k++)
        nb_coder_values(c, &b->g[k], 0, nb_coder_block_cols(c, k), codes + k * c->block,
                        values + k * c->block);
    check_stored(b, 0, codes, values);
    return 1.0 - after / before;
}

static void test_rescale(void **state)
{
    (void)state;
    float *x = values_for_all(MAX_ROWS * MAX_COLS, 31, fill);
    float *y = values_for_all(MAX_COLS, 32, fill);
    float *w = values_for_all(MAX_COLS, 33, fill_weights);
    for (size_t i = 0; i < MAX_COLS; i++)
        y[i] = 1.06F * x[i] + 0.002F + 0.05F * y[i];
    for (int kind = 0; kind < 2; kind++) {
        size_t n;
        const struct nb_numfmt *const *all = kind == 0 ? nb_numfmt_all(&n) : nb_grid_all(&n);
        for (size_t i = 0; i < n; i++) {
            struct bench b;
            if (all[i]->kind != NB_NUMFMT_BLOCK && all[i]->kind != NB_NUMFMT_GRID)
                continue;
            if (all[i]->kind == NB_NUMFMT_GRID && all[i]->grid->elem->bits > 8)
                continue;
            open_bench(&b, all[i], x, w, NB_CODER_PLAIN);
            const double gain = check_rescale(&b, x, y, w);
            if (getenv("NB_PRINT") != NULL)
                print_message("%-14s rescaled: %.2f %% less\n", all[i]->name, 100.0 * gain);
            const bool still = b.c->fixed || b.c->own_levels > 0;
            assert_true(still ? gain == 0.0 : gain >= 0.0);
            close_bench(&b);
        }
    }
    nb_free(nb_allocator_default(), x);
    nb_free(nb_allocator_default(), y);
    nb_free(nb_allocator_default(), w);
}

/* d and dmin times a factor: stored ones, and every scale follows. */
static void test_outer(void **state)
{
    static float x[MAX_COLS], values[MAX_COLS];
    static int16_t codes[MAX_COLS];
    (void)state;
    size_t n;
    const struct nb_numfmt *const *all = nb_numfmt_all(&n);
    fill(x, MAX_COLS, 41);
    for (size_t i = 0; i < n; i++) {
        struct bench b;
        if (all[i]->kind != NB_NUMFMT_BLOCK)
            continue;
        open_bench(&b, all[i], x, NULL, NB_CODER_PLAIN);
        code_row(&b, 0, x, NULL, codes, values);
        const struct nb_grid old = b.g[0];
        const bool done = nb_coder_outer(b.c, &b.g[0], 1.1, 0.9);
        assert_true(done == (all[i]->scales == NB_SCALES_OUTER));
        for (uint32_t s = 0; s < b.c->block / b.c->sub; s++) {
            const float by = done ? 1.1F : 1.0F;
            assert_close((double)b.g[0].scale[s], (double)(by * old.scale[s]),
                         1e-3 * fabs((double)old.scale[s]));
            assert_close((double)b.g[0].offset[s], (double)((done ? 0.9F : 1.0F) * old.offset[s]),
                         1e-3 * fabs((double)old.offset[s]));
        }
        nb_coder_values(b.c, &b.g[0], 0, b.c->block, codes, values);
        nb_coder_values(b.c, &b.g[1], 0, b.c->block, codes + b.c->block, values + b.c->block);
        check_stored(&b, 0, codes, values);
        close_bench(&b);
    }
}

/* ---- weights, refusals, memory ---- */

/* Large values count more where the spread says so; weights that are no numbers count as none. */
static void test_weighting(void **state)
{
    static float x[256], w[256], y[256];
    static int16_t codes[256];
    (void)state;
    struct bench b[2];
    double far[2];
    fill(x, 256, 51);
    x[17] = 0.4F;
    for (int k = 0; k < 2; k++) {
        open_bench(&b[k], nb_numfmt_find("int4_g128"), x, NULL,
                   k == 0 ? NB_CODER_PLAIN : NB_CODER_SPREAD);
        nb_coder_fit(b[k].c, 0, 0, &b[k].g[0], x, NULL);
        nb_coder_round(b[k].c, &b[k].g[0], 17, x + 17, NULL, codes, y);
        far[k] = fabs((double)x[17] - (double)y[0]);
        close_bench(&b[k]);
    }
    assert_true(far[1] <= far[0]);
    for (size_t i = 0; i < 256; i++)
        w[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? -1.0F : INFINITY;
    size_t n;
    const struct nb_numfmt *const *all = nb_numfmt_all(&n);
    for (size_t i = 0; i < n; i++) {
        if (all[i]->kind != NB_NUMFMT_BLOCK)
            continue;
        open_bench(&b[0], all[i], x, NULL, NB_CODER_SPREAD);
        nb_coder_fit(b[0].c, 0, 0, &b[0].g[0], x, w);
        nb_coder_refit(b[0].c, &b[0].g[0], 0, x, w);
        for (uint32_t k = 0; k < b[0].c->block; k += b[0].c->dim)
            nb_coder_round(b[0].c, &b[0].g[0], k, x + k, NULL, codes + k, y + k);
        assert_true(loss(x, y, NULL, b[0].c->sub) < 1.0);
        close_bench(&b[0]);
    }
}

static void test_refused(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_coder *c;
    const struct nb_shape shape = nb_shape_2(4, 512);
    const struct nb_shape odd = nb_shape_2(4, 500);
    struct nb_coder_spec spec = {
        .type = &nb_numfmt_f16, .shape = &shape, .a = nb_allocator_default()};
    assert_fails(nb_coder_create(&c, &spec, &err), NB_ERR_UNSUPPORTED, &err, "f16");
    assert_null(c);
    spec.type = &nb_numfmt_i32;
    assert_fails(nb_coder_create(&c, &spec, &err), NB_ERR_UNSUPPORTED, &err, "i32");
    spec.type = nb_numfmt_find("cb4_t");
    assert_fails(nb_coder_create(&c, &spec, &err), NB_ERR_ARG, &err, "cb4_t");
    spec.type = &nb_numfmt_q4_k;
    spec.shape = &odd;
    assert_fails(nb_coder_create(&c, &spec, &err), NB_ERR_FORMAT, &err, "500");
    const struct nb_shape empty = nb_shape_2(4, 0);
    spec.shape = &empty;
    assert_ok(nb_coder_create(&c, &spec, &err), &err);
    struct nb_grid *g = nb_coder_grids_create(c, 4);
    assert_true(g != NULL && c->n_blocks == 0 && nb_coder_record_bytes(c) == 0);
    nb_coder_grids_destroy(c, g);
    nb_coder_destroy(c);
}

static enum nb_status make_one(void *ctx, const struct nb_allocator *a)
{
    const struct nb_shape shape = nb_shape_2(4, 512);
    const struct nb_coder_spec spec = {.type = ctx, .shape = &shape, .a = a};
    struct nb_coder *c;
    NB_TRY(nb_coder_create(&c, &spec, NULL));
    struct nb_grid *g = nb_coder_grids_create(c, 2);
    nb_coder_grids_destroy(c, g);
    nb_coder_destroy(c);
    return g == NULL ? NB_ERR_NOMEM : NB_OK;
}

static void test_out_of_memory(void **state)
{
    static const char *const names[] = {"q4_k", "int4_g128_asym", "cb4_g128", "nf4_g64_dq"};
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(names); i++) {
        struct nb_numfmt f = *nb_numfmt_find(names[i]);
        assert_true(nbtest_oom(make_one, &f) > 2);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_every_format), cmocka_unit_test(test_refit),
             cmocka_unit_test(test_rescale), cmocka_unit_test(test_outer),
             cmocka_unit_test(test_weighting), cmocka_unit_test(test_refused),
             cmocka_unit_test(test_out_of_memory))
