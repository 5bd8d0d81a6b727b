/* numfmt/numfmt.c: the registry of number formats, sizes with overflow checked, guarded encoding. */
#include "numfmt/grid.h"
#include "numfmt/numfmt_internal.h"

#include <math.h>

static const struct nb_numfmt *const registry[] = {
#define NB_NUMFMT(id) &nb_numfmt_##id,
#include "numfmt/registry.inc"
#undef NB_NUMFMT
};

const struct nb_numfmt *const *nb_numfmt_all(size_t *n)
{
    *n = NB_COUNTOF(registry);
    return registry;
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

const struct nb_numfmt *nb_numfmt_find(const char *name)
{
    for (size_t i = 0; i < NB_COUNTOF(registry); i++)
        if (same_text(registry[i]->name, name))
            return registry[i];
    size_t n;
    const struct nb_numfmt *const *grids = nb_grid_all(&n);
    for (size_t i = 0; i < n; i++)
        if (same_text(grids[i]->name, name))
            return grids[i];
    return NULL;
}

const struct nb_numfmt *nb_numfmt_by_gguf(int32_t gguf_type)
{
    for (size_t i = 0; i < NB_COUNTOF(registry); i++)
        if (gguf_type >= 0 && registry[i]->gguf_type == gguf_type)
            return registry[i];
    return NULL;
}

const struct nb_numfmt *nb_numfmt_by_st(const char *st_dtype)
{
    for (size_t i = 0; i < NB_COUNTOF(registry); i++)
        if (registry[i]->st_dtype != NULL && strcmp(registry[i]->st_dtype, st_dtype) == 0)
            return registry[i];
    return NULL;
}

double nb_numfmt_bpw(const struct nb_numfmt *f)
{
    return f->kind == NB_NUMFMT_GRID ? nb_grid_bpw(f) : 8.0 * f->block_bytes / f->block;
}

enum nb_status nb_numfmt_row_bytes(const struct nb_numfmt *f, uint64_t n, uint64_t *bytes,
                                   struct nb_error *err)
{
    if (n % f->block != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "a row of %llu elements is no multiple of the %u in a %s block",
                (unsigned long long)n, f->block, f->name);
    if (f->kind == NB_NUMFMT_GRID && n <= UINT32_MAX) {
        if (n % f->grid->elem->dim != 0)
            NB_FAIL(err, NB_ERR_FORMAT, "a row of %llu elements is no multiple of the %u of a %s",
                    (unsigned long long)n, f->grid->elem->dim, f->name);
        *bytes = nb_grid_row_bytes(f, n);
        return NB_OK;
    }
    if (f->kind == NB_NUMFMT_GRID || !nb_mul_u64(bytes, n / f->block, f->block_bytes))
        NB_FAIL(err, NB_ERR_FORMAT, "a row of %llu elements of %s has more than 2^64 bytes",
                (unsigned long long)n, f->name);
    return NB_OK;
}

enum nb_status nb_numfmt_bytes(const struct nb_numfmt *f, const struct nb_shape *shape,
                               uint64_t *bytes, struct nb_error *err)
{
    char text[NB_SHAPE_TEXT_BYTES];
    uint64_t count = 0;
    uint64_t row = 0;
    if (!nb_shape_count(shape, &count))
        NB_FAIL(err, NB_ERR_FORMAT, "shape %s has more than 2^64 elements",
                nb_shape_text(shape, text));
    const uint64_t cols = nb_shape_cols(shape);
    NB_TRY(nb_numfmt_row_bytes(f, cols, &row, err));
    if (!nb_mul_u64(bytes, cols == 0 ? 0 : count / cols, row))
        NB_FAIL(err, NB_ERR_FORMAT, "shape %s of %s has more than 2^64 bytes",
                nb_shape_text(shape, text), f->name);
    return NB_OK;
}

/* All ones in the exponent carry into the sign bit. The loop's length is fixed so that the compiler
 * makes vectors of it. */
enum { RUN = 256 };

static bool run_is_finite(const float *x)
{
    uint32_t seen = 0;
    for (size_t i = 0; i < RUN; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        seen |= (bits & 0x7fffffffU) + 0x00800000U;
    }
    return (seen & 0x80000000U) == 0;
}

/* A run is scanned branch-free first. */
size_t nb_first_not_finite(const float *x, size_t n)
{
    for (size_t at = 0; at < n; at += RUN) {
        if (n - at >= RUN && run_is_finite(x + at))
            continue;
        const size_t end = NB_MIN(at + RUN, n);
        for (size_t i = at; i < end; i++)
            if ((nb_f32_bits(x[i]) & 0x7f800000U) == 0x7f800000U)
                return i;
    }
    return n;
}

enum nb_status nb_numfmt_encode(const struct nb_numfmt *f, void *dst, const float *src,
                                const float *importance, size_t n, struct nb_error *err)
{
    if (f->encode == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s is a storage type: nibble does not encode into it",
                f->name);
    if (n % f->block != 0)
        NB_FAIL(err, NB_ERR_ARG, "%zu elements are no multiple of the %u in a %s block", n,
                f->block, f->name);
    const size_t bad = nb_first_not_finite(src, n);
    if (bad < n)
        NB_FAIL(err, NB_ERR_NUMERIC, "element %zu is %s, expected a finite number", bad,
                src[bad] != src[bad] ? "NaN" : "infinite");
    f->encode(dst, src, importance, n);
    return NB_OK;
}

void nb_numfmt_decode(const struct nb_numfmt *f, const void *src, float *dst, size_t n)
{
    f->decode(src, dst, n);
}

/* ---- rows of a tensor ---- */

const struct nb_tensor *nb_tensor_slab(const struct nb_tensor *t, uint64_t *row)
{
    if (t->slabs == NULL)
        return t;
    const uint64_t rows = nb_shape_rows(&t->slabs[0].shape), i = *row / rows;
    *row -= i * rows;
    return &t->slabs[i];
}

const uint8_t *nb_tensor_row(const struct nb_tensor *t, uint64_t row)
{
    const struct nb_tensor *s = nb_tensor_slab(t, &row);
    const uint64_t cols = nb_shape_cols(&s->shape);
    return s->data + row * (cols / s->type->block * s->type->block_bytes);
}

/* Of a tensor without slabs. */
static void decode_rows(const struct nb_tensor *t, uint64_t row, uint64_t n_rows, float *dst)
{
    if (t->type->kind == NB_NUMFMT_GRID)
        nb_grid_decode(t, row, n_rows, dst);
    else
        t->type->decode(nb_tensor_row(t, row), dst, (size_t)(n_rows * nb_shape_cols(&t->shape)));
}

void nb_tensor_decode(const struct nb_tensor *t, uint64_t row, uint64_t n_rows, float *dst)
{
    if (t->slabs == NULL) {
        decode_rows(t, row, n_rows, dst);
        return;
    }
    const uint64_t slab_rows = nb_shape_rows(&t->slabs[0].shape);
    while (n_rows > 0) {
        uint64_t at = row;
        const struct nb_tensor *s = nb_tensor_slab(t, &at);
        const uint64_t n = NB_MIN(n_rows, slab_rows - at);
        decode_rows(s, at, n, dst);
        dst += n * nb_shape_cols(&t->shape);
        row += n;
        n_rows -= n;
    }
}

bool nb_numfmt_expands(const struct nb_numfmt *f)
{
    return f->kind == NB_NUMFMT_GRID ? nb_grid_expands(f->grid) : f->expand != NULL;
}

void nb_tensor_expand(const struct nb_tensor *t, uint64_t row, int8_t *codes, float *scale,
                      float *min)
{
    const struct nb_tensor *s = nb_tensor_slab(t, &row);
    if (s->type->kind == NB_NUMFMT_GRID)
        nb_grid_expand(s, row, codes, scale, min);
    else
        s->type->expand(nb_tensor_row(s, row), (size_t)nb_shape_cols(&s->shape), codes, scale, min);
}

bool nb_tensor_has_data(const struct nb_tensor *t)
{
    for (uint64_t i = 0; t->slabs != NULL && i < t->shape.dim[0]; i++)
        if (!nb_tensor_has_data(&t->slabs[i]))
            return false;
    if (t->slabs != NULL)
        return t->shape.dim[0] > 0;
    return t->type->kind == NB_NUMFMT_GRID ? t->parts != NULL
                                           : t->data != NULL && t->type->decode != NULL;
}

void nb_numfmt_weights(float *w, const float *importance, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        const float v = importance != NULL ? importance[i] : 0.0F;
        w[i] = v > 0.0F && v < INFINITY ? v : 0.0F;
        sum += (double)w[i];
    }
    const double mean = sum / n;
    for (uint32_t i = 0; i < n; i++)
        w[i] = sum > 0.0 ? (float)((double)w[i] / mean + 1e-3) : 1.0F;
}

void nb_numfmt_encode_by(const struct nb_numfmt *f, nb_enc_fn *kernel, void *dst, const float *src,
                         const float *importance, size_t n)
{
    if (importance == NULL) {
        kernel(dst, src, NULL, n);
        return;
    }
    /* Several blocks at a time: the kernel has a lane for each. */
    uint8_t *out = dst;
    for (size_t at = 0; at < n; at += NB_NUMFMT_MAX_BLOCK) {
        float w[NB_NUMFMT_MAX_BLOCK];
        const size_t now = NB_MIN(n - at, NB_NUMFMT_MAX_BLOCK);
        for (size_t i = 0; i < now; i += f->block)
            nb_numfmt_weights(w + i, importance + at + i, f->block);
        kernel(out, src + at, w, now);
        out += now / f->block * f->block_bytes;
    }
}

void nb_numfmt_fit_by(const struct nb_numfmt *f, nb_enc_fn *kernel, struct nb_grid *g,
                      const float *x, const float *importance)
{
    uint8_t block[NB_NUMFMT_MAX_BLOCK];
    int8_t codes[NB_NUMFMT_MAX_BLOCK];
    nb_numfmt_encode_by(f, kernel, block, x, importance, f->block);
    f->unpack(g, codes, block);
}

void nb_numfmt_fit_k(nb_fit_k_fn *kernel, struct nb_grid *g, int8_t *codes, const float *x,
                     const float *importance)
{
    struct nb_fit_k found = {.d = 0.0F};
    float w[NB_NUMFMT_MAX_BLOCK];
    if (importance != NULL)
        nb_numfmt_weights(w, importance, NB_NUMFMT_MAX_BLOCK);
    kernel(&found, x, importance != NULL ? w : NULL);
    memset(g, 0, sizeof *g);
    g->d = found.d;
    g->dmin = found.dmin;
    memcpy(g->scale_code, found.scale_code, sizeof found.scale_code);
    memcpy(g->min_code, found.min_code, sizeof found.min_code);
    for (size_t s = 0; s < NB_NUMFMT_MAX_SUBS; s++) {
        g->scale[s] = g->d * (float)g->scale_code[s];
        g->offset[s] = -(g->dmin * (float)g->min_code[s]);
    }
    memcpy(codes, found.codes, sizeof found.codes);
}

void nb_numfmt_encode_k(const struct nb_numfmt *f, nb_fit_k_fn *kernel, void *dst, const float *src,
                        const float *importance, size_t n)
{
    uint8_t *out = dst;
    for (size_t at = 0; at < n; at += f->block, out += f->block_bytes) {
        struct nb_grid g;
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        nb_numfmt_fit_k(kernel, &g, codes, src + at, importance == NULL ? NULL : importance + at);
        f->pack(out, &g, codes);
    }
}

void nb_derive_f16(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = g->d;
    g->offset[s] = g->dmin;
}

void nb_derive_product(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = g->d * (float)g->scale_code[s];
}

static void round_block(const struct nb_numfmt *f, const struct nb_grid *g, int8_t *codes,
                        const float *x, const float *importance)
{
    float w[NB_NUMFMT_MAX_BLOCK];
    float values[NB_NUMFMT_MAX_BLOCK];
    if (f->dim <= 1) {
        for (uint32_t i = 0; i < f->block; i++)
            codes[i] = (int8_t)f->round(g, i, x[i], values + i);
        return;
    }
    if (importance != NULL)
        nb_numfmt_weights(w, importance, f->block);
    for (uint32_t i = 0; i < f->block; i += f->dim)
        f->round_vec(g, i, x + i, importance != NULL ? w + i : NULL, codes + i, values + i);
}

void nb_numfmt_encode_blocks(const struct nb_numfmt *f, void *dst, const float *src,
                             const float *importance, size_t n)
{
    uint8_t *out = dst;
    for (size_t at = 0; at < n; at += f->block, out += f->block_bytes) {
        struct nb_grid g;
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        f->fit(&g, src + at, importance == NULL ? NULL : importance + at);
        round_block(f, &g, codes, src + at, importance == NULL ? NULL : importance + at);
        f->pack(out, &g, codes);
    }
}
