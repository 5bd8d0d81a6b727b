/* numfmt/grid.c: general grids: sizes of their parts, and reading rows (docs/formats/grids.md). */
#include "numfmt/grid_internal.h"

#include <math.h>

/* ---- parts ---- */

static const struct nb_numfmt *scale_type(enum nb_scale_store s)
{
    static const struct nb_numfmt *const types[] = {
        [NB_SCALE_NONE] = NULL,          [NB_SCALE_F32] = &nb_numfmt_f32,
        [NB_SCALE_F16] = &nb_numfmt_f16, [NB_SCALE_BF16] = &nb_numfmt_bf16,
        [NB_SCALE_E8M0] = &nb_numfmt_u8, [NB_SCALE_E4M3] = &nb_numfmt_u8,
        [NB_SCALE_U8] = &nb_numfmt_u8,
    };
    return types[s];
}

static void by_row(struct nb_grid_part *p, const struct nb_numfmt *type, uint64_t rows, uint64_t n)
{
    p->type = type;
    p->shape = nb_shape_2(rows, n);
    p->per_row = true;
    p->row_bytes = n * type->block_bytes;
    p->bytes = rows * p->row_bytes;
}

static void by_tensor(struct nb_grid_part *p, const struct nb_numfmt *type, struct nb_shape shape)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < shape.n; i++)
        n *= shape.dim[i];
    p->type = type;
    p->shape = shape;
    p->bytes = n * type->block_bytes;
}

static uint64_t tiles(uint64_t n)
{
    return (n + NB_GRID_TILE - 1) / NB_GRID_TILE;
}

static void scales_part(struct nb_grid_part *p, const struct nb_gridfmt *g, uint64_t rows,
                        uint64_t cols)
{
    if (g->scale == NB_SCALE_NONE)
        return;
    if (g->share == NB_SHARE_TENSOR)
        by_tensor(p, &nb_numfmt_f32, nb_shape_1(1));
    else if (g->share == NB_SHARE_BLOCK)
        by_tensor(p, &nb_numfmt_f32, nb_shape_2(tiles(rows), tiles(cols)));
    else
        by_row(p, scale_type(g->scale), rows, g->group == 0 ? 1 : cols / g->group);
}

static void zeros_part(struct nb_grid_part *p, const struct nb_gridfmt *g, uint64_t rows,
                       uint64_t cols)
{
    const bool f16 = g->zero == NB_ZERO_F16;
    const struct nb_numfmt *type = f16 ? &nb_numfmt_f16 : &nb_numfmt_u8;
    const uint64_t groups = g->group == 0 ? 1 : cols / g->group;
    if (g->zero == NB_ZERO_NONE)
        return;
    if (g->share == NB_SHARE_TENSOR)
        by_tensor(p, type, nb_shape_1(1));
    else
        by_row(p, type, rows, f16 ? groups : nb_codes_bytes(groups, g->elem->bits));
}

static void levels_part(struct nb_grid_part *p, const struct nb_gridfmt *g, uint64_t rows,
                        uint64_t cols)
{
    const uint64_t n = UINT64_C(1) << g->elem->bits;
    if (!g->elem->learned)
        return;
    if (g->elem->dim > 1)
        by_tensor(p, &nb_numfmt_f32, nb_shape_2(n, g->elem->dim));
    else if (g->share == NB_SHARE_TENSOR)
        by_tensor(p, &nb_numfmt_f32, nb_shape_1(n));
    else
        by_row(p, &nb_numfmt_f16, rows, (g->group == 0 ? 1 : cols / g->group) * n);
}

static void scale2_part(struct nb_grid_part *p, const struct nb_gridfmt *g, uint64_t rows)
{
    if (g->scale == NB_SCALE_E4M3)
        by_tensor(p, &nb_numfmt_f32, nb_shape_1(1));
    if (g->scale == NB_SCALE_U8)
        by_row(p, &nb_numfmt_f32, rows, 1);
}

struct nb_grid_part nb_grid_part(const struct nb_numfmt *f, const struct nb_shape *shape,
                                 enum nb_part part)
{
    static const char *const names[NB_MAX_PARTS] = {"codes", "scales", "zeros", "levels", "scale2"};
    const struct nb_gridfmt *g = f->grid;
    const uint64_t rows = nb_shape_rows(shape), cols = nb_shape_cols(shape);
    struct nb_grid_part p = {.name = names[part]};
    if (part == NB_PART_CODES)
        by_row(&p, &nb_numfmt_u8, rows, nb_codes_bytes(cols / g->elem->dim, g->elem->bits));
    else if (part == NB_PART_SCALES)
        scales_part(&p, g, rows, cols);
    else if (part == NB_PART_ZEROS)
        zeros_part(&p, g, rows, cols);
    else if (part == NB_PART_LEVELS)
        levels_part(&p, g, rows, cols);
    else
        scale2_part(&p, g, rows);
    return p;
}

uint64_t nb_grid_row_bytes(const struct nb_numfmt *f, uint64_t cols)
{
    const struct nb_shape shape = nb_shape_2(1, cols);
    uint64_t bytes = 0;
    for (int i = 0; i < NB_MAX_PARTS; i++)
        bytes += nb_grid_part(f, &shape, (enum nb_part)i).row_bytes;
    return bytes;
}

uint64_t nb_grid_side_bytes(const struct nb_numfmt *f, const struct nb_shape *shape)
{
    uint64_t bytes = 0;
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part p = nb_grid_part(f, shape, (enum nb_part)i);
        bytes += p.per_row ? 0 : p.bytes;
    }
    return bytes;
}

double nb_grid_bpw(const struct nb_numfmt *f)
{
    const struct nb_gridfmt *g = f->grid;
    const double group = g->group == 0 ? (double)INFINITY : (double)g->group;
    double per_group = 0.0;
    if (g->share == NB_SHARE_GROUP && g->scale != NB_SCALE_NONE)
        per_group += 8.0 * scale_type(g->scale)->block_bytes;
    if (g->share == NB_SHARE_GROUP && g->zero != NB_ZERO_NONE)
        per_group += g->zero == NB_ZERO_F16 ? 16.0 : (double)g->elem->bits;
    if (g->share == NB_SHARE_GROUP && g->elem->learned)
        per_group += 16.0 * (double)(1U << g->elem->bits);
    return (double)g->elem->bits / g->elem->dim + per_group / group +
           (g->share == NB_SHARE_BLOCK ? 32.0 / (NB_GRID_TILE * NB_GRID_TILE) : 0.0);
}

struct nb_parts nb_grid_records(const struct nb_numfmt *f, const struct nb_shape *shape,
                                const uint8_t *records, uint64_t first, const uint8_t *side)
{
    const size_t record = (size_t)nb_grid_row_bytes(f, nb_shape_cols(shape));
    struct nb_parts p = {.first = first};
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part part = nb_grid_part(f, shape, (enum nb_part)i);
        if (part.type == NULL)
            continue;
        p.at[i] = part.per_row ? records : side;
        p.stride[i] = part.per_row ? record : 0;
        if (part.per_row)
            records += part.row_bytes;
        else
            side += part.bytes;
    }
    return p;
}

void nb_grid_record(const struct nb_tensor *t, uint64_t row, uint8_t *record)
{
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part part = nb_grid_part(t->type, &t->shape, (enum nb_part)i);
        if (!part.per_row)
            continue;
        memcpy(record, nb_part_row(t, (enum nb_part)i, row), (size_t)part.row_bytes);
        record += part.row_bytes;
    }
}

void nb_grid_side(const struct nb_tensor *t, uint8_t *side)
{
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part part = nb_grid_part(t->type, &t->shape, (enum nb_part)i);
        if (part.type == NULL || part.per_row)
            continue;
        memcpy(side, t->parts->at[i], (size_t)part.bytes);
        side += part.bytes;
    }
}

/* ---- codes ---- */

void nb_codes_unpack(uint16_t *codes, const uint8_t *src, uint32_t bits, uint64_t first, size_t n)
{
    const uint32_t mask = (1U << bits) - 1;
    const uint8_t *p = src + first / 8 * bits;
    uint32_t held = 0;
    uint32_t n_held = 0;
    for (size_t i = 0; i < n; i++) {
        while (n_held < bits) {
            held |= (uint32_t)*p++ << n_held;
            n_held += 8;
        }
        codes[i] = (uint16_t)(held & mask);
        held >>= bits;
        n_held -= bits;
    }
}

void nb_codes_pack(uint8_t *dst, const uint16_t *codes, uint32_t bits, uint64_t first, size_t n)
{
    uint8_t *p = dst + first / 8 * bits;
    uint32_t held = 0;
    uint32_t n_held = 0;
    for (size_t i = 0; i < n; i++) {
        held |= (uint32_t)codes[i] << n_held;
        n_held += bits;
        while (n_held >= 8) {
            *p++ = (uint8_t)held;
            held >>= 8;
            n_held -= 8;
        }
    }
    if (n_held > 0)
        *p = (uint8_t)held;
}

/* ---- levels ---- */

/* What codes mean; codes that mean nothing are 0. False: too many to list (integers, vectors). */
static bool level_list(float *level, const struct nb_element *e)
{
    if (e->uniform || e->learned)
        return false;
    for (uint32_t c = 0; c < 1U << e->bits; c++) {
        const float v = e->value(c);
        level[c] = v == v ? v : 0.0F;
    }
    return true;
}

static void insert(struct nb_levels *lv, float v, uint32_t code)
{
    uint32_t at = lv->n++;
    for (; at > 0 && lv->value[at - 1] > v; at--) {
        lv->value[at] = lv->value[at - 1];
        lv->code[at] = lv->code[at - 1];
    }
    lv->value[at] = v;
    lv->code[at] = (uint8_t)code;
}

void nb_element_levels(struct nb_levels *lv, const struct nb_element *e)
{
    if (e->uniform) {
        nb_levels_uniform(lv, e->lo, e->hi);
        return;
    }
    lv->n = 0;
    for (uint32_t c = 0; c < 1U << e->bits; c++)
        if (e->value(c) == e->value(c))
            insert(lv, e->value(c), c);
    nb_levels_table(lv, lv->value, lv->code, lv->n);
    if (e->snap != NULL)
        lv->snap = e->snap;
}

void nb_learned_levels(struct nb_levels *lv, const float *level, uint32_t n)
{
    lv->n = 0;
    for (uint32_t c = 0; c < n; c++)
        insert(lv, level[c], c);
    nb_levels_table(lv, lv->value, lv->code, lv->n);
}

/* ---- parameters ---- */

static uint32_t code_at(const uint8_t *src, uint32_t bits, size_t i)
{
    uint16_t run[8];
    nb_codes_unpack(run, src, bits, i / 8 * 8, i % 8 + 1);
    return run[i % 8];
}

static float scale_at(const struct nb_tensor *t, uint64_t row, size_t k)
{
    const struct nb_gridfmt *g = t->type->grid;
    if (g->scale == NB_SCALE_NONE)
        return 1.0F;
    const uint8_t *p = nb_part_row(t, NB_PART_SCALES, row);
    if (g->share == NB_SHARE_BLOCK)
        k += (size_t)(row / NB_GRID_TILE * tiles(nb_shape_cols(&t->shape)));
    const bool two = g->scale == NB_SCALE_E4M3 || g->scale == NB_SCALE_U8;
    const float scale2 = two ? nb_load_f32(nb_part_row(t, NB_PART_SCALE2, row)) : 1.0F;
    const uint32_t bytes = scale_type(g->scale)->block_bytes;
    const uint32_t code = bytes == 4   ? nb_load_u32(p + 4 * k)
                          : bytes == 2 ? nb_load_u16(p + 2 * k)
                                       : p[k];
    return nb_scale_value(g->scale, scale2, code);
}

static float zero_at(const struct nb_tensor *t, uint64_t row, size_t k)
{
    const struct nb_gridfmt *g = t->type->grid;
    if (g->zero == NB_ZERO_NONE)
        return 0.0F;
    const uint8_t *p = nb_part_row(t, NB_PART_ZEROS, row);
    if (g->zero == NB_ZERO_F16)
        return nb_f16_to_f32(nb_load_u16(p + 2 * k));
    return (float)((int32_t)code_at(p, g->elem->bits, k) + g->elem->lo);
}

struct nb_scale nb_grid_params(const struct nb_tensor *t, uint64_t row, size_t k)
{
    return (struct nb_scale){scale_at(t, row, k), zero_at(t, row, k)};
}

/* ---- reading rows ---- */

/* Levels for codes of a row's group k: of the element, of the tensor, or of the group itself. */
static const float *levels_of(const struct nb_tensor *t, uint64_t row, size_t k, float *own,
                              const float *fixed)
{
    const struct nb_gridfmt *g = t->type->grid;
    const size_t n = (size_t)1 << g->elem->bits;
    if (!g->elem->learned || nb_grid_levels_shared(g))
        return fixed;
    const uint8_t *p = nb_part_row(t, NB_PART_LEVELS, row) + k * n * 2;
    for (size_t c = 0; c < n; c++)
        own[c] = nb_f16_to_f32(nb_load_u16(p + 2 * c));
    return own;
}

/* n codes of one group, from element `at` on. */
static void decode_run(const struct nb_element *e, const uint16_t *codes, size_t n,
                       const float *level, struct nb_scale s, float *dst)
{
    if (e->uniform) {
        const float lo = (float)e->lo - s.zero; /* exact: small integers, or half precision zeros */
        for (size_t i = 0; i < n; i++)
            dst[i] = s.scale * ((float)codes[i] + lo);
        return;
    }
    for (size_t i = 0; i < n; i++)
        dst[i] = s.scale * level[codes[i]];
}

static void decode_scalars(const struct nb_tensor *t, uint64_t row, const float *fixed, float *dst)
{
    const struct nb_gridfmt *g = t->type->grid;
    const size_t cols = (size_t)nb_shape_cols(&t->shape), group = nb_grid_group(g, cols);
    const uint8_t *src = nb_part_row(t, NB_PART_CODES, row);
    for (size_t k = 0; k * group < cols; k++) {
        float own[NB_MAX_LEVELS];
        const struct nb_scale s = nb_grid_params(t, row, k);
        const float *level = levels_of(t, row, k, own, fixed);
        const size_t end = NB_MIN((k + 1) * group, cols);
        for (size_t at = k * group; at < end; at += NB_GRID_RUN) {
            uint16_t codes[NB_GRID_RUN];
            const size_t n = NB_MIN((size_t)NB_GRID_RUN, end - at);
            nb_codes_unpack(codes, src, g->elem->bits, at, n);
            decode_run(g->elem, codes, n, level, s, dst + at);
        }
    }
}

static void decode_vectors(const struct nb_tensor *t, uint64_t row, float *dst)
{
    const struct nb_element *e = t->type->grid->elem;
    const size_t words = (size_t)nb_shape_cols(&t->shape) / e->dim;
    const uint8_t *src = nb_part_row(t, NB_PART_CODES, row);
    const uint8_t *level = nb_part_row(t, NB_PART_LEVELS, row);
    const float scale = scale_at(t, row, 0);
    for (size_t at = 0; at < words; at += NB_GRID_RUN) {
        uint16_t codes[NB_GRID_RUN];
        const size_t n = NB_MIN((size_t)NB_GRID_RUN, words - at);
        nb_codes_unpack(codes, src, e->bits, at, n);
        for (size_t i = 0; i < n; i++)
            for (size_t d = 0; d < e->dim; d++)
                *dst++ = scale * nb_load_f32(level + 4 * (codes[i] * (size_t)e->dim + d));
    }
}

void nb_grid_decode(const struct nb_tensor *t, uint64_t row, uint64_t n_rows, float *dst)
{
    const struct nb_element *e = t->type->grid->elem;
    const size_t cols = (size_t)nb_shape_cols(&t->shape);
    float fixed[NB_MAX_LEVELS];
    if (e->dim == 1 && !level_list(fixed, e) && e->learned && nb_grid_levels_shared(t->type->grid))
        for (size_t c = 0; c < (size_t)1 << e->bits; c++)
            fixed[c] = nb_load_f32(nb_part_row(t, NB_PART_LEVELS, row) + 4 * c);
    for (uint64_t r = row; r < row + n_rows; r++, dst += cols) {
        if (e->dim > 1)
            decode_vectors(t, r, dst);
        else
            decode_scalars(t, r, fixed, dst);
    }
}

bool nb_grid_expands(const struct nb_gridfmt *g)
{
    return g->elem->unit > 0.0F && g->share != NB_SHARE_BLOCK;
}

void nb_grid_expand(const struct nb_tensor *t, uint64_t row, int8_t *codes, float *scale,
                    float *min)
{
    const struct nb_gridfmt *g = t->type->grid;
    const struct nb_element *e = g->elem;
    const size_t cols = (size_t)nb_shape_cols(&t->shape), sub = t->type->expand_sub;
    const size_t group = nb_grid_group(g, cols);
    const uint8_t *src = nb_part_row(t, NB_PART_CODES, row);
    float level[NB_MAX_LEVELS];
    int8_t whole[NB_MAX_LEVELS];
    (void)level_list(level, e);
    for (uint32_t c = 0; c < 1U << e->bits; c++)
        whole[c] = (int8_t)(e->uniform ? (int32_t)c + e->lo : (int32_t)(level[c] / e->unit));
    struct nb_scale s = {0.0F, 0.0F};
    for (size_t at = 0; at < cols; at += sub) {
        uint16_t run[32];
        if (at % group == 0)
            s = nb_grid_params(t, row, at / group);
        nb_codes_unpack(run, src, e->bits, at, sub);
        for (size_t i = 0; i < sub; i++)
            codes[at + i] = whole[run[i]];
        scale[at / sub] = s.scale * e->unit;
        if (g->zero != NB_ZERO_NONE)
            min[at / sub] = -(s.scale * s.zero);
    }
}

/* ---- checking files ---- */

/* One row's share of a part, or the whole of it where rows share it. */
static enum nb_status check_numbers(const struct nb_tensor *t, const struct nb_grid_part *p,
                                    const uint8_t *at, uint64_t bytes, struct nb_error *err)
{
    const enum nb_scale_store store = t->type->grid->scale;
    const uint8_t top = store == NB_SCALE_E8M0 ? 254 : store == NB_SCALE_E4M3 ? 0x7e : 255;
    for (uint64_t k = 0; k < bytes; k += p->type->block_bytes) {
        float v;
        p->type->decode(at + k, &v, 1);
        if (p->type->kind != NB_NUMFMT_FLOAT && !(v <= (float)top))
            NB_FAIL(err, NB_ERR_NUMERIC, "%s of '%s' hold code %g, expected at most %u", p->name,
                    t->name, (double)v, top);
        if (!(v - v == 0.0F))
            NB_FAIL(err, NB_ERR_NUMERIC, "%s of '%s' hold %g, expected finite numbers", p->name,
                    t->name, (double)v);
    }
    return NB_OK;
}

enum nb_status nb_grid_check(const struct nb_tensor *t, struct nb_error *err)
{
    const uint64_t rows = nb_shape_rows(&t->shape);
    for (int i = 0; i < NB_MAX_PARTS; i++) {
        const struct nb_grid_part p = nb_grid_part(t->type, &t->shape, (enum nb_part)i);
        if (p.type == NULL || (p.type->kind != NB_NUMFMT_FLOAT && i != NB_PART_SCALES))
            continue;
        if (!p.per_row)
            NB_TRY(check_numbers(t, &p, t->parts->at[i], p.bytes, err));
        for (uint64_t r = 0; p.per_row && r < rows; r++)
            NB_TRY(check_numbers(t, &p, nb_part_row(t, (enum nb_part)i, r), p.row_bytes, err));
    }
    return NB_OK;
}
