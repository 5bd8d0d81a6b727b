/* op/matmul_f32.c: float products for matmul.c; every element is the canonical dot, whichever way is taken.
 *
 *   one column of b             rows of a are read once
 *   up to three rows of a       columns of b are read once per row; where they are not contiguous, sixteen sums of
 *                               many columns go along instead
 *   else                        a in groups, b in panels (kernels/panel.h), all of both packed once per call; a b that
 *                               is constant once per session
 */
#include "op/matmul.h"

#include "kernels/panel.h"

#define FEW_ROWS      3U
#define LANES         16U
#define LANE_COLS     128U    /* columns whose sixteen sums go along together            */
#define PANEL_WEIGHTS 32768U  /* of b that meets a block of a: a quarter of the second cache, ... */
#define PANEL_MOST    64U     /* but no more columns                                     */
#define GROUP_BYTES   98304U  /* of a in a block, ...                                    */
#define GROUP_LEAST   48U     /* but at least so many rows ...                           */
#define GROUP_MOST    192U    /* and at most                                             */
#define BLOCK_WORK    262144U /* products in a chunk                                     */
#define PACK_PANELS   4U      /* packed one after the other, for the sake of cache lines */

enum way { COLUMN, FEW, PANELS };

static enum way way_of(const struct nb_matmul *p)
{
    if (p->n == 1 && p->a_k == 1)
        return COLUMN;
    return p->m <= FEW_ROWS && p->a_k == 1 ? FEW : PANELS;
}

static size_t block_cols(size_t k)
{
    const size_t pair = 2 * NB_PANEL_ROWS, n = PANEL_WEIGHTS / NB_MAX(k, (size_t)1) / pair * pair;
    return n < pair ? pair : NB_MIN(n, PANEL_MOST);
}

static size_t block_rows(size_t k)
{
    const size_t n =
        GROUP_BYTES / (NB_MAX(k, (size_t)1) * sizeof(float)) / NB_PANEL_COLS * NB_PANEL_COLS;
    return n < GROUP_LEAST ? GROUP_LEAST : NB_MIN(n, GROUP_MOST);
}

bool nb_matmul_f32_scratch(const struct nb_op_call *call, size_t *bytes)
{
    struct nb_matmul p;
    nb_matmul_of(call, &p);
    const size_t n =
        way_of(&p) == PANELS ? nb_panel_scratch(block_rows(p.k)) : (size_t)LANES * LANE_COLS;
    return op_add_bytes(bytes, n, sizeof(float));
}

/* Floats of n matrices of `rows` rows in panels or groups. */
static bool packed(uint64_t *out, uint64_t n, uint64_t rows, uint64_t size, size_t k)
{
    return nb_mul_u64(out, (rows + size - 1) / size * size, nb_panel_steps(k) * 16) &&
           nb_mul_u64(out, *out, n);
}

bool nb_matmul_f32_shared(const struct nb_op_call *call, size_t *bytes)
{
    struct nb_matmul p;
    uint64_t a, b;
    nb_matmul_of(call, &p);
    if (way_of(&p) != PANELS)
        return true;
    return p.k < SIZE_MAX / 64 && packed(&a, p.n_a, p.m, NB_PANEL_COLS, p.k) &&
           packed(&b, p.n_b, p.n, NB_PANEL_ROWS, p.k) && op_add_bytes(bytes, a, sizeof(float)) &&
           op_add_bytes(bytes, call->prepared ? 0 : b, sizeof(float));
}

/* ---- panels ---- */

struct work {
    const struct nb_matmul *p;
    const struct nb_kernels *kernels;
    const float *a, *b;
    float *y;
    float *groups, *panels;
    size_t a_floats, b_floats; /* of a packed matrix */
    size_t rows, cols;         /* of a block of y    */
    size_t n_rows, n_cols;     /* blocks             */
};

/* A whole eight along k of `size` rows that lie side by side. */
static void pack_eight(float *dst, const float *src, size_t k_step, size_t size)
{
    for (size_t j = 0; j < 8; j++)
        for (size_t r = 0; r < size; r++)
            dst[r * 8 + j] = src[j * k_step + r];
}

/* nb_panel_pack of rows whose elements are k_step apart and that start row_step apart. */
static void pack(float *dst, const float *src, size_t row_step, size_t k_step, size_t n,
                 size_t size, size_t k, float pad)
{
    const size_t steps = nb_panel_steps(k);
    if (k_step == 1) {
        const float *rows[NB_PANEL_ROWS] = {NULL};
        for (size_t r = 0; r < n; r++)
            rows[r] = src + r * row_step;
        nb_panel_pack(dst, rows, n, size, k, pad);
        return;
    }
    for (size_t i = 0; i < steps * 16; i += 8) {
        float *d = dst + ((i >> 3 & 1) * steps + i / 16) * size * 8;
        if (n == size && i + 8 <= k && row_step == 1) {
            pack_eight(d, src + i * k_step, k_step, size);
            continue;
        }
        for (size_t r = 0; r < size; r++)
            for (size_t j = 0; j < 8; j++)
                d[r * 8 + j] = r >= n      ? 0.0F
                               : i + j < k ? src[r * row_step + (i + j) * k_step]
                                           : pad;
    }
}

static void pack_a(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_matmul *p = w->p;
    const size_t per = (p->m + NB_PANEL_COLS - 1) / NB_PANEL_COLS;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t matrix = i / per, row = i % per * NB_PANEL_COLS;
        pack(w->groups + matrix * w->a_floats + nb_panel_floats(row, NB_PANEL_COLS, p->k),
             w->a + matrix * p->m * p->k + row * p->a_row, p->a_row, p->a_k,
             NB_MIN(p->m - row, (size_t)NB_PANEL_COLS), NB_PANEL_COLS, p->k, 0.0F);
    }
}

static void pack_b(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_matmul *p = w->p;
    const size_t per = (p->n + NB_PANEL_ROWS - 1) / NB_PANEL_ROWS;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t matrix = i / per, col = i % per * NB_PANEL_ROWS;
        pack(w->panels + matrix * w->b_floats + nb_panel_floats(col, NB_PANEL_ROWS, p->k),
             w->b + matrix * p->k * p->n + col * p->b_col, p->b_col, p->b_k,
             NB_MIN(p->n - col, (size_t)NB_PANEL_ROWS), NB_PANEL_ROWS, p->k, -0.0F);
    }
}

static size_t panels_of(const struct nb_matmul *p)
{
    return p->n_b * ((p->n + NB_PANEL_ROWS - 1) / NB_PANEL_ROWS);
}

bool nb_matmul_prepared_bytes(const struct nb_op_call *call, size_t *bytes)
{
    struct nb_matmul p;
    uint64_t b;
    *bytes = 0;
    if (call->in[1]->value->kind != NB_VALUE_CONST || call->in[1]->value->type != NB_VALUE_F32)
        return false;
    nb_matmul_of(call, &p);
    return p.k > 0 && way_of(&p) == PANELS && p.k < SIZE_MAX / 64 &&
           packed(&b, p.n_b, p.n, NB_PANEL_ROWS, p.k) && op_add_bytes(bytes, b, sizeof(float));
}

void nb_matmul_prepare(const struct nb_op_call *call, void *memory)
{
    struct nb_matmul p;
    nb_matmul_of(call, &p);
    struct work w = {.p = &p,
                     .b = call->in[1]->data,
                     .panels = memory,
                     .b_floats = nb_panel_floats(p.n, NB_PANEL_ROWS, p.k)};
    pack_b(&w, 0, panels_of(&p), 0);
}

static void blocks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_matmul *p = w->p;
    const size_t per = w->n_rows * w->n_cols;
    for (size_t i = begin; i < end; i++) {
        const size_t batch = i / per, col = i % per / w->n_rows * w->cols;
        const size_t row = i % w->n_rows * w->rows;
        const size_t rows = NB_MIN(w->rows, p->m - row), cols = NB_MIN(w->cols, p->n - col);
        w->kernels->gemm_f32_f32p_f32p(w->y + (batch * p->m + row) * p->n + col, p->n,
                                       w->panels + nb_matmul_b(p, batch) * w->b_floats +
                                           nb_panel_floats(col, NB_PANEL_ROWS, p->k),
                                       cols,
                                       w->groups + nb_matmul_a(p, batch) * w->a_floats +
                                           nb_panel_floats(row, NB_PANEL_COLS, p->k),
                                       rows, p->k, op_scratch(p->call, worker));
        for (size_t r = row; r < row + rows; r++)
            nb_matmul_finish(p, batch, r, col, col + cols);
    }
}

static void in_panels(struct work *w)
{
    const struct nb_matmul *p = w->p;
    struct nb_pool *pool = p->call->pool;
    uint8_t *at = p->call->shared;
    w->a_floats = nb_panel_floats(p->m, NB_PANEL_COLS, p->k);
    w->b_floats = nb_panel_floats(p->n, NB_PANEL_ROWS, p->k);
    w->groups = op_take(&at, p->n_a * w->a_floats, sizeof(float));
    w->panels = p->call->prepared ? (float *)(uintptr_t)p->call->prepared : (void *)at;
    w->rows = block_rows(p->k);
    w->cols = block_cols(p->k);
    w->n_rows = (p->m + w->rows - 1) / w->rows;
    w->n_cols = (p->n + w->cols - 1) / w->cols;
    const size_t n_groups = p->n_a * ((p->m + NB_PANEL_COLS - 1) / NB_PANEL_COLS);
    const size_t grain = NB_MAX(op_grain((uint64_t)p->k * NB_PANEL_ROWS), (size_t)PACK_PANELS);
    const size_t work = NB_MIN(w->rows, p->m) * NB_MIN(w->cols, p->n) * p->k;
    nb_pool_for(pool, n_groups, grain, pack_a, w);
    if (!p->call->prepared)
        nb_pool_for(pool, panels_of(p), grain / PACK_PANELS * PACK_PANELS, pack_b, w);
    nb_pool_for(pool, p->n_y * w->n_rows * w->n_cols, NB_MAX(BLOCK_WORK / work, (size_t)1), blocks,
                w);
}

/* ---- few rows, one column ---- */

/* b has contiguous columns: dot products. */
static void few_dots(const struct work *w, size_t batch, size_t col, size_t cols)
{
    const struct nb_matmul *p = w->p;
    const float *b = w->b + nb_matmul_b(p, batch) * p->k * p->n + col * p->k;
    w->kernels->gemm_f32_f32_f32(w->y + batch * p->m * p->n + col, p->n, b, cols,
                                 w->a + nb_matmul_a(p, batch) * p->m * p->k, p->k, p->m, p->k);
}

/* b has contiguous rows: lane k mod 16 of every column takes row k, then 8-4-2-1. */
static void few_lanes(const struct work *w, size_t batch, size_t col, size_t cols, float *lanes)
{
    const struct nb_matmul *p = w->p;
    const float *a = w->a + nb_matmul_a(p, batch) * p->m * p->k;
    const float *b = w->b + nb_matmul_b(p, batch) * p->k * p->n + col;
    for (size_t m = 0; m < p->m; m++) {
        memset(lanes, 0, LANES * LANE_COLS * sizeof *lanes);
        for (size_t k = 0; k < p->k; k++)
            w->kernels->axpy_f32_f32(lanes + k % LANES * LANE_COLS, a[m * p->k + k], b + k * p->n,
                                     cols);
        for (size_t half = LANES / 2; half > 0; half /= 2)
            w->kernels->add_f32(lanes, lanes, lanes + half * LANE_COLS, half * LANE_COLS);
        memcpy(w->y + (batch * p->m + m) * p->n + col, lanes, cols * sizeof *lanes);
    }
}

static void few(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_matmul *p = w->p;
    const size_t per = (p->n + LANE_COLS - 1) / LANE_COLS;
    for (size_t i = begin; i < end; i++) {
        const size_t batch = i / per, col = i % per * LANE_COLS;
        const size_t cols = NB_MIN(p->n - col, (size_t)LANE_COLS);
        if (p->b_k == 1)
            few_dots(w, batch, col, cols);
        else
            few_lanes(w, batch, col, cols, op_scratch(p->call, worker));
        for (size_t m = 0; m < p->m; m++)
            nb_matmul_finish(p, batch, m, col, col + cols);
    }
}

static void column(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_matmul *p = w->p;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t batch = i / p->m, m = i % p->m;
        w->y[i] = w->kernels->dot_f32_f32(w->a + nb_matmul_a(p, batch) * p->m * p->k + m * p->k,
                                          w->b + nb_matmul_b(p, batch) * p->k, p->k);
        nb_matmul_finish(p, batch, m, 0, 1);
    }
}

void nb_matmul_f32(const struct nb_matmul *p)
{
    struct work w = {.p = p,
                     .kernels = p->call->kernels,
                     .a = p->call->in[0]->data,
                     .b = p->call->in[1]->data,
                     .y = p->call->out[0]->data};
    switch (p->k == 0 ? FEW : way_of(p)) {
    case COLUMN:
        nb_pool_for(p->call->pool, p->n_y * p->m, op_grain(p->k), column, &w);
        return;
    case FEW:
        nb_pool_for(p->call->pool, p->n_y * ((p->n + LANE_COLS - 1) / LANE_COLS),
                    op_grain((uint64_t)p->k * LANE_COLS), few, &w);
        return;
    case PANELS:
    default:
        in_panels(&w);
        return;
    }
}
