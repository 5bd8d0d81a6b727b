/* Conformance of every number format in the registry: a new line there is tested by this file alone.
 *
 * Storage types are only sized and named here; the float types must be exact where they can be; the
 * block formats must agree with themselves in all the ways they can be used, survive extreme values,
 * and, where ggml has an encoder, never be worse than it.
 */
#include "support/nbtest.h"

#include "container/container.h"
#include "unit/numfmt/ggml_recipes.h"
#include "unit/numfmt/golden.h"

enum { N = 4096, MAX_BYTES = N * 4 };

static const struct nb_numfmt *const *formats;
static size_t n_formats;

/* ---- data ---- */

static float uniform(uint32_t *s)
{
    return ((float)(golden_next(s) >> 8) + 0.5F) * 0x1p-24F;
}

static void fill_laplace(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const float sign = golden_next(&seed) >> 31 ? -1.0F : 1.0F;
        x[i] = -sign * 0.02F * logf(uniform(&seed));
    }
}

static double squared_error(const float *x, const float *y, const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double e = (double)x[i] - (double)y[i];
        sum += (w != NULL ? (double)w[i] : 1.0) * e * e;
    }
    return sum;
}

static void encode(const struct nb_numfmt *f, uint8_t *dst, const float *x, const float *w,
                   size_t n)
{
    struct nb_error err;
    assert_ok(nb_numfmt_encode(f, dst, x, w, n, &err), &err);
}

static size_t bytes_of(const struct nb_numfmt *f, size_t n)
{
    return n / f->block * f->block_bytes;
}

/* ---- every format ---- */

static void test_described(void **state)
{
    (void)state;
    for (size_t k = 0; k < n_formats; k++) {
        const struct nb_numfmt *f = formats[k];
        assert_non_null(f->name);
        assert_true(strlen(f->summary) > 0 && strlen(f->summary) < 80);
        assert_ptr_equal(nb_numfmt_find(f->name), f);
        if (f->gguf_type >= 0)
            assert_ptr_equal(nb_numfmt_by_gguf(f->gguf_type), f);
        if (f->st_dtype != NULL)
            assert_ptr_equal(nb_numfmt_by_st(f->st_dtype), f);
        assert_true(f->block >= 1 && f->block <= NB_NUMFMT_MAX_BLOCK);
        assert_true(f->block % f->sub == 0 && f->block / f->sub <= NB_NUMFMT_MAX_SUBS);
        assert_non_null(f->decode);
        assert_true((f->kind != NB_NUMFMT_STORAGE) == (f->encode != NULL));
        assert_true((f->kind == NB_NUMFMT_FLOAT) == (f->dot != NULL));
        if (f->kind == NB_NUMFMT_BLOCK) {
            assert_true(f->fit && f->refit && f->derive && f->pack && f->unpack);
            assert_true((f->round != NULL) == (f->dim <= 1) &&
                        (f->round_vec != NULL) == (f->dim > 1));
            assert_true(f->dim <= 1 || f->sub % f->dim == 0);
            assert_true(f->code_min < f->code_max);
            assert_true(f->expand == NULL || f->expand_sub == 16 || f->expand_sub == 32);
        }
    }
}

static void test_sizes(void **state)
{
    (void)state;
    struct nb_error err;
    for (size_t k = 0; k < n_formats; k++) {
        const struct nb_numfmt *f = formats[k];
        uint64_t bytes = 0;
        assert_ok(nb_numfmt_row_bytes(f, 3U * f->block, &bytes, &err), &err);
        assert_int_equal(bytes, 3U * f->block_bytes);
        for (uint64_t odd = 1; odd < f->block; odd++)
            assert_fails(nb_numfmt_row_bytes(f, odd, &bytes, &err), NB_ERR_FORMAT, &err, f->name);
        const struct nb_shape huge = nb_shape_2(UINT64_C(1) << 40, UINT64_C(1) << 40);
        assert_fails(nb_numfmt_bytes(f, &huge, &bytes, &err), NB_ERR_FORMAT, &err, NULL);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    struct nb_error err;
    static float x[N];
    static uint8_t out[MAX_BYTES];
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < n_formats; k++) {
        const struct nb_numfmt *f = formats[k];
        if (f->encode == NULL)
            continue;
        if (f->block > 1)
            assert_fails(nb_numfmt_encode(f, out, x, NULL, f->block - 1, &err), NB_ERR_ARG, &err,
                         f->name);
        for (size_t b = 0; b < NB_COUNTOF(bad); b++) {
            memset(x, 0, sizeof x);
            memset(out, 0x5a, sizeof out);
            x[1234] = bad[b];
            x[1300] = NAN;
            assert_fails(nb_numfmt_encode(f, out, x, NULL, N, &err), NB_ERR_NUMERIC, &err,
                         "element 1234");
            for (size_t i = 0; i < sizeof out; i++)
                assert_int_equal(out[i], 0x5a);
        }
    }
}

/* ---- block formats against themselves ---- */

/* Pseudo-random blocks whose scales are finite. */
static void random_blocks(const struct nb_numfmt *f, uint8_t *raw, size_t blocks, uint32_t seed)
{
    for (size_t b = 0; b < blocks; b++) {
        struct nb_grid g;
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        bool finite;
        do {
            for (size_t i = 0; i < f->block_bytes; i++)
                raw[b * f->block_bytes + i] = (uint8_t)(golden_next(&seed) >> 24);
            f->unpack(&g, codes, raw + b * f->block_bytes);
            finite = true;
            for (uint32_t s = 0; s < f->block / f->sub; s++)
                finite = finite && isfinite(g.scale[s]) && isfinite(g.offset[s]);
        } while (!finite);
    }
}

/* Formats in which several bytes may mean the same: pack writes one of them. 256 bytes for 243 tuples,
 * or a negative 0. */
static bool has_synonyms(const struct nb_numfmt *f)
{
    return f == &nb_numfmt_tq1_0 || f == &nb_numfmt_mxfp4 || f == &nb_numfmt_nvfp4;
}

/* Brings each block to the bytes that pack writes; it must mean the same. */
static void check_synonyms(const struct nb_numfmt *f, uint8_t *raw, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++) {
        struct nb_grid g;
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        float before[NB_NUMFMT_MAX_BLOCK];
        float after[NB_NUMFMT_MAX_BLOCK];
        uint8_t *block = raw + b * f->block_bytes;
        f->decode(block, before, f->block);
        f->unpack(&g, codes, block);
        f->pack(block, &g, codes);
        f->decode(block, after, f->block);
        assert_memory_equal(before, after, f->block * sizeof *before);
    }
}

static void check_views(const struct nb_numfmt *f)
{
    enum { BLOCKS = 16 };
    static uint8_t raw[BLOCKS * NB_NUMFMT_MAX_BLOCK];
    static float y[BLOCKS * NB_NUMFMT_MAX_BLOCK];
    static float scale[BLOCKS * NB_NUMFMT_MAX_SUBS];
    static float min[BLOCKS * NB_NUMFMT_MAX_SUBS];
    static int8_t codes[BLOCKS * NB_NUMFMT_MAX_BLOCK];
    const size_t n = BLOCKS * (size_t)f->block;
    random_blocks(f, raw, BLOCKS, 77);
    if (has_synonyms(f))
        check_synonyms(f, raw, BLOCKS);
    f->decode(raw, y, n);
    for (size_t b = 0; b < BLOCKS; b++) {
        struct nb_grid g;
        int8_t c[NB_NUMFMT_MAX_BLOCK];
        uint8_t again[NB_NUMFMT_MAX_BLOCK];
        const uint8_t *block = raw + b * f->block_bytes;
        f->unpack(&g, c, block);
        f->pack(again, &g, c);
        assert_memory_equal(again, block, f->block_bytes);
        for (uint32_t i = 0; i < f->block; i++) {
            const uint32_t s = i / f->sub;
            const float v = g.scale[s] * (float)c[i];
            assert_bits(y[b * f->block + i], f->has_min ? v + g.offset[s] : v);
        }
    }
    if (f->expand == NULL)
        return;
    f->expand(raw, n, codes, scale, min);
    for (size_t i = 0; i < n; i++) {
        const float v = scale[i / f->expand_sub] * (float)codes[i];
        assert_bits(y[i], f->has_min ? v + min[i / f->expand_sub] : v);
    }
}

/* The values that element i can have on a grid: those which rounding leaves as they are. */
static size_t list_levels(const struct nb_numfmt *f, const struct nb_grid *g, uint32_t i,
                          float level[256])
{
    size_t n = 0;
    for (int32_t code = f->code_min; code <= f->code_max; code++) {
        const float v = g->scale[i / f->sub] * (float)code + g->offset[i / f->sub];
        float value;
        if (f->round(g, i, v, &value) == code)
            level[n++] = value;
    }
    assert_true(n > 1 || g->scale[i / f->sub] == 0.0F);
    return n;
}

/* Error of a code word under the weights w (NULL: all ones). */
static double word_error(const struct nb_numfmt *f, const struct nb_grid *g, uint32_t i,
                         const float *x, const float *w, const int8_t *codes)
{
    float y[NB_NUMFMT_MAX_BLOCK];
    for (uint32_t j = 0; j < f->dim; j++)
        y[j] = g->scale[i / f->sub] * (float)codes[j] + g->offset[i / f->sub];
    return squared_error(x, y, w, f->dim);
}

/* One block of a vector format: rounding gives the stored codes and the decoded values y, and no word
 * met elsewhere is nearer. others: codes (block) of any block on grid o, whose words may be used where
 * min_code, which iq1_s keeps its shift in, is the same. */
static void check_words(const struct nb_numfmt *f, const struct nb_grid *g, const int8_t *stored,
                        const float *x, const float *w, const float *y, const struct nb_grid *o,
                        const int8_t *others)
{
    for (uint32_t i = 0; i < f->block; i += f->dim) {
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        float values[NB_NUMFMT_MAX_BLOCK];
        const float *wi = w != NULL ? w + i : NULL;
        f->round_vec(g, i, x + i, wi, codes, values);
        assert_memory_equal(codes, stored + i, f->dim);
        assert_memory_equal(values, y + i, f->dim * sizeof *values);
        const double e = word_error(f, g, i, x + i, wi, codes);
        for (uint32_t j = 0; j < f->block; j += f->dim)
            assert_true(o->min_code[j / f->sub] != g->min_code[i / f->sub] ||
                        e <= word_error(f, g, i, x + i, wi, others + j) * (1.0 + 1e-5));
        for (uint32_t j = 0; j < f->dim; j++)
            assert_in_range(codes[j] - f->code_min, 0, f->code_max - f->code_min);
    }
}

static void check_vectors(const struct nb_numfmt *f, const float *x, const float *importance)
{
    static uint8_t raw[MAX_BYTES];
    static float y[N];
    encode(f, raw, x, importance, N);
    f->decode(raw, y, N);
    for (size_t b = 0; b < N / f->block; b++) {
        struct nb_grid g;
        struct nb_grid o;
        uint8_t any[NB_NUMFMT_MAX_BLOCK];
        float w[NB_NUMFMT_MAX_BLOCK];
        int8_t others[NB_NUMFMT_MAX_BLOCK];
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        random_blocks(f, any, 1, (uint32_t)b);
        f->unpack(&o, others, any);
        f->unpack(&g, codes, raw + b * f->block_bytes);
        if (importance != NULL)
            nb_numfmt_weights(w, importance + b * f->block, f->block);
        check_words(f, &g, codes, x + b * f->block, importance != NULL ? w : NULL, y + b * f->block,
                    &o, others);
    }
}

/* encode is fit, round and pack; a rounded code is the nearest one; values match the decoder. */
static void check_composition(const struct nb_numfmt *f, const float *x, const float *w)
{
    static uint8_t fast[MAX_BYTES];
    static uint8_t slow[MAX_BYTES];
    static float y[N];
    encode(f, fast, x, w, N);
    nb_numfmt_encode_blocks(f, slow, x, w, N);
    assert_memory_equal(fast, slow, bytes_of(f, N));
    if (f->dim > 1) {
        check_vectors(f, x, w);
        return;
    }
    f->decode(fast, y, N);
    for (size_t b = 0; b < N / f->block; b++) {
        struct nb_grid g;
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        float level[256];
        size_t n_levels = 0;
        f->unpack(&g, codes, fast + b * f->block_bytes);
        for (uint32_t i = 0; i < f->block; i++) {
            const float xi = x[b * f->block + i];
            float value;
            const int32_t code = f->round(&g, i, xi, &value);
            assert_int_equal(code, codes[i]);
            assert_in_range(code - f->code_min, 0, f->code_max - f->code_min);
            assert_bits(value, y[b * f->block + i]);
            if (i % f->sub == 0)
                n_levels = list_levels(f, &g, i, level);
            const double e = fabs((double)xi - (double)value);
            for (size_t l = 0; l < n_levels; l++)
                assert_true(e <= fabs((double)xi - (double)level[l]) * (1.0 + 1e-5));
        }
    }
}

/* Squared error of sub-block s after rounding. */
static double rounded_error(const struct nb_numfmt *f, const struct nb_grid *g, uint32_t s,
                            const float *x)
{
    float y[NB_NUMFMT_MAX_BLOCK];
    int8_t codes[NB_NUMFMT_MAX_BLOCK];
    const uint32_t step = f->dim > 1 ? f->dim : 1;
    for (uint32_t i = 0; i < f->sub; i += step) {
        if (f->dim > 1)
            f->round_vec(g, s * f->sub + i, x + i, NULL, codes, y + i);
        else
            f->round(g, s * f->sub + i, x[i], y + i);
    }
    return squared_error(x, y, NULL, f->sub);
}

/* A grid found anew for one sub-block of other values is no worse than the frozen one. */
static void check_refit(const struct nb_numfmt *f)
{
    static float x[N];
    static float moved[NB_NUMFMT_MAX_BLOCK];
    golden_values(x, N, 5);
    for (size_t b = 0; b < 4; b++) {
        struct nb_grid g;
        f->fit(&g, x + b * f->block, NULL);
        for (uint32_t s = 0; s < f->block / f->sub; s++) {
            struct nb_grid h = g;
            const float *sub = x + b * f->block + s * f->sub;
            for (uint32_t i = 0; i < f->sub; i++)
                moved[i] = 0.7F * sub[i] + 0.01F;
            f->refit(&h, s, moved, NULL);
            assert_true(f->block == f->sub || (h.d == g.d && h.dmin == g.dmin));
            assert_true(rounded_error(f, &h, s, moved) <= rounded_error(f, &g, s, moved));
        }
    }
}

static void test_blocks_agree(void **state)
{
    (void)state;
    static float x[N];
    static float w[N];
    uint32_t seed = 3;
    for (size_t i = 0; i < N; i++)
        w[i] = uniform(&seed) * uniform(&seed);
    for (size_t k = 0; k < n_formats; k++) {
        if (formats[k]->kind != NB_NUMFMT_BLOCK)
            continue;
        check_views(formats[k]);
        golden_values(x, N, 9);
        check_composition(formats[k], x, NULL);
        check_composition(formats[k], x, w);
        fill_laplace(x, N, 10);
        check_composition(formats[k], x, NULL);
        check_refit(formats[k]);
    }
}

/* Encoding what was decoded from a format gives the same values again: exactly where a block has one
 * scale; in two-level formats, whose outer scale is searched anew, within a small share of the error
 * that the first encoding made. The share is larger in q5_k: half a step of its 6-bit scales moves the
 * highest of 32 codes by a quarter of a step. */
static double drift_allowed(const struct nb_numfmt *f)
{
    return f->block == f->sub ? 0.0 : f == &nb_numfmt_q5_k ? 0.07 : 0.02;
}

static void test_idempotent(void **state)
{
    (void)state;
    static float x[2][N];
    static float y[N];
    static float z[N];
    static uint8_t raw[MAX_BYTES];
    golden_values(x[0], N, 21);
    fill_laplace(x[1], N, 22);
    for (size_t k = 0; k < n_formats; k++) {
        const struct nb_numfmt *f = formats[k];
        if (f->encode == NULL)
            continue;
        for (size_t d = 0; d < 2; d++) {
            encode(f, raw, x[d], NULL, N);
            f->decode(raw, y, N);
            encode(f, raw, y, NULL, N);
            f->decode(raw, z, N);
            const double drift = squared_error(y, z, NULL, N);
            const double error = squared_error(x[d], y, NULL, N);
            assert_true(drift <= drift_allowed(f) * error);
        }
    }
}

/* ---- extremes ---- */

/* E4M3 scales end at 448: the values, up to 2, then stay below 64. */
static bool has_short_range(const struct nb_numfmt *f)
{
    return f == &nb_numfmt_nvfp4;
}

static void test_scale_by_two(void **state)
{
    (void)state;
    static float x[N];
    static float scaled[N];
    static float y[N];
    static float z[N];
    static uint8_t raw[MAX_BYTES];
    golden_values(x, N, 31);
    for (size_t k = 0; k < n_formats; k++) {
        const struct nb_numfmt *f = formats[k];
        if (f->kind != NB_NUMFMT_BLOCK)
            continue;
        encode(f, raw, x, NULL, N);
        f->decode(raw, y, N);
        const float factors[] = {0.5F, 0x1p5F, has_short_range(f) ? 0x1p3F : 0x1p10F};
        for (size_t j = 0; j < NB_COUNTOF(factors); j++) {
            for (size_t i = 0; i < N; i++)
                scaled[i] = x[i] * factors[j];
            encode(f, raw, scaled, NULL, N);
            f->decode(raw, z, N);
            for (size_t i = 0; i < N; i++)
                assert_bits(z[i], y[i] * factors[j]);
        }
    }
}

/* Of a block of one value, relative: half a step of f16, or what the scale's bits leave: 5/4 lies in the
 * middle of 1 and 3/2, times any power of two. */
static float constant_error(const struct nb_numfmt *f)
{
    return f == &nb_numfmt_mxfp4 ? 0.2F : f == &nb_numfmt_nvfp4 ? 0x1p-4F : 0x1p-10F;
}

static void test_extremes(void **state)
{
    (void)state;
    static float x[N];
    static float y[N];
    static float w[N];
    static uint8_t raw[MAX_BYTES];
    const float sizes[] = {0.0F,  1e-45F, -1e-45F, 1e-39F, 1e-20F,  6e-8F,
                           1e-5F, 1.0F,   6e4F,    1e9F,   3.4e38F, -3.4e38F};
    for (size_t k = 0; k < n_formats; k++) {
        const struct nb_numfmt *f = formats[k];
        if (f->kind != NB_NUMFMT_BLOCK)
            continue;
        for (size_t a = 0; a < NB_COUNTOF(sizes); a++) {
            for (size_t b = 0; b < NB_COUNTOF(sizes); b++) {
                /* one value of size b among values of size a, of either sign */
                for (size_t i = 0; i < N; i++)
                    x[i] = i % 100 == 7 ? sizes[b] : i % 3 == 0 ? -sizes[a] : sizes[a];
                encode(f, raw, x, NULL, N);
                f->decode(raw, y, N);
                for (size_t i = 0; i < N; i++)
                    assert_true(isfinite(y[i]) &&
                                fabsf(y[i]) <= 2.2F * fmaxf(fabsf(sizes[a]), fabsf(sizes[b])));
            }
        }
        const float constants[] = {0.0F, 0.75F, -0.75F, 0.1F, -1000.0F};
        for (size_t c = 0; c < NB_COUNTOF(constants); c++) {
            for (size_t i = 0; i < N; i++)
                x[i] = constants[c];
            encode(f, raw, x, NULL, N);
            f->decode(raw, y, N);
            for (size_t i = 0; i < N; i++)
                assert_true(fabsf(y[i] - x[i]) <= constant_error(f) * fabsf(x[i]));
        }
        /* importance that says nothing, or nonsense: values up to 2 stay in reach; coarse scales clip
         * further what hardly weighs */
        const float off = nb_numfmt_bpw(f) < 4.0         ? 2.0F
                          : constant_error(f) > 0x1p-10F ? 1.0F
                                                         : 0.5F;
        golden_values(x, N, 41);
        for (size_t i = 0; i < N; i++)
            w[i] = i % 64 < 32 ? 0.0F : i % 5 == 0 ? NAN : i % 5 == 1 ? -1.0F : 1e30F;
        encode(f, raw, x, w, N);
        f->decode(raw, y, N);
        for (size_t i = 0; i < N; i++)
            assert_true(isfinite(y[i]) && fabsf(y[i] - x[i]) < off);
    }
}

/* ---- no worse than ggml ---- */

/* n: a multiple of 256, at most N. Plain squares, and squares under weights that both are given. */
static void check_against_ggml(const struct recipe *r, const float *x, size_t n)
{
    const struct nb_numfmt *f = r->f;
    static float y[N];
    static float z[N];
    static float qw[N];
    static uint8_t raw[MAX_BYTES];
    for (size_t i = 0; i < n; i++)
        qw[i] = 0.25F + (float)(i * 7 % 13);
    for (int with = 0; with < 2; with++) {
        const float *w = with ? qw : NULL;
        for (size_t at = 0; at < n; at += 256)
            r->fn(raw + bytes_of(f, at), x + at, with ? qw + at : NULL, 256);
        f->decode(raw, z, n);
        encode(f, raw, x, w, n);
        f->decode(raw, y, n);
        const double ours = squared_error(x, y, w, n);
        const double theirs = squared_error(x, z, w, n);
        if (!(ours <= theirs))
            fail_msg("%s%s: %g, ggml %g", f->name, with ? " weighted" : "", ours, theirs);
    }
}

static void check_data(const float *x, size_t n)
{
    for (size_t i = 0; i < NB_COUNTOF(recipes); i++)
        check_against_ggml(&recipes[i], x, n);
}

static void test_no_worse_than_ggml(void **state)
{
    (void)state;
    static float x[N];
    const uint32_t seeds = getenv("NB_SLOW") == NULL ? 4 : 1;
    for (uint32_t seed = 1; seed <= seeds; seed++) {
        golden_values(x, N, seed);
        check_data(x, N);
        fill_laplace(x, N, seed);
        check_data(x, N);
        for (size_t i = 0; i < N; i++) /* far from 0 */
            x[i] += 0.25F;
        check_data(x, N);
    }
}

/* The first values of every matrix of the bundled model. */
static void test_no_worse_on_weights(void **state)
{
    (void)state;
    static float x[N];
    struct nb_error err;
    struct nb_file *file = NULL;
    assert_ok(nb_file_open(&file, nbtest_model("tiny-7m/model.safetensors"), NULL, &err), &err);
    size_t seen = 0;
    for (size_t t = 0; t < file->n_tensors; t++) {
        const struct nb_tensor *m = &file->tensors[t];
        if (m->shape.n != 2 || m->shape.dim[0] * m->shape.dim[1] < N ||
            (getenv("NB_SLOW") != NULL && t % 3 != 0))
            continue;
        nb_numfmt_decode(m->type, m->data, x, N);
        check_data(x, N);
        seen++;
    }
    assert_true(seen >= 10);
    nb_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_described),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_blocks_agree),
        cmocka_unit_test(test_idempotent),
        cmocka_unit_test(test_scale_by_two),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_no_worse_than_ggml),
        cmocka_unit_test(test_no_worse_on_weights),
    };
    formats = nb_numfmt_all(&n_formats);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
