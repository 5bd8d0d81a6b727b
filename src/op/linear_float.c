/* op/linear_float.c: linear layers whose weights are, or are decoded to, floats.
 *
 * Few tokens: a dot product per row and token, straight from the stored row where the format has one.
 * Many: rows are decoded and packed into panels, tokens into groups (kernels/panel.h): all tokens once per
 * call, or those picked once per chunk of rows. Both are the canonical dot.
 */
#include "op/linear.h"

#include "kernels/panel.h"

/* Up to so many tokens the stored rows are read once per token: they stay in the first cache. */
#define FEW_TOKENS    3U
#define PANEL_WEIGHTS 32768U /* in panels at once: a quarter of the second cache, ...            */
#define PANEL_MOST    64U    /* but no more rows                                                 */
#define COLUMN_BYTES  98304U /* of activations that meet these rows before the next ones come,   */
#define COLUMN_STEP   48U    /* or so many                                                       */
#define CHUNK_WEIGHTS 65536U

/* Rows in panels at once: whole pairs of panels. */
static size_t panel_rows(size_t k)
{
    const size_t pair = 2 * NB_PANEL_ROWS, n = PANEL_WEIGHTS / k / pair * pair;
    return n < pair ? pair : NB_MIN(n, PANEL_MOST);
}

/* Tokens at once: whole groups. */
static size_t block_tokens(size_t k)
{
    const size_t n = COLUMN_BYTES / (k * sizeof(float)) / NB_PANEL_COLS * NB_PANEL_COLS;
    return NB_MAX(n, COLUMN_STEP);
}

struct scratch {
    float *row;    /* (NB_PANEL_ROWS, k): decoded            */
    float *w;      /* panels                                 */
    float *sums;   /* nb_panel_scratch                       */
    float *x, *y;  /* of picked tokens: groups; results      */
    size_t tokens; /* of a block                             */
    size_t rows;   /* in w                                   */
};

static bool scratch_bytes(const struct nb_linear *l, bool pick, size_t *bytes)
{
    const uint64_t rows = panel_rows(l->k), tokens = block_tokens(l->k);
    uint64_t row, w, x;
    *bytes = 0;
    return l->k < SIZE_MAX / 64 && nb_mul_u64(&row, NB_PANEL_ROWS, l->k) &&
           nb_mul_u64(&w, rows, nb_panel_steps(l->k) * 16) &&
           nb_mul_u64(&x, pick ? tokens : 0, nb_panel_steps(l->k) * 16) &&
           op_add_bytes(bytes, row, sizeof(float)) && op_add_bytes(bytes, w, sizeof(float)) &&
           op_add_bytes(bytes, nb_panel_scratch(tokens), sizeof(float)) &&
           op_add_bytes(bytes, x, sizeof(float)) &&
           op_add_bytes(bytes, pick ? tokens * rows : 0, sizeof(float));
}

static struct scratch lay_out(const struct nb_linear *l, void *memory)
{
    uint8_t *at = memory;
    const size_t k16 = nb_panel_steps(l->k) * 16;
    struct scratch s = {.tokens = block_tokens(l->k), .rows = panel_rows(l->k)};
    s.row = op_take(&at, NB_PANEL_ROWS * l->k, sizeof(float));
    s.w = op_take(&at, s.rows * k16, sizeof(float));
    s.sums = op_take(&at, nb_panel_scratch(s.tokens), sizeof(float));
    s.x = op_take(&at, l->pick ? s.tokens * k16 : 0, sizeof(float));
    s.y = (void *)at;
    return s;
}

static bool prepared_bytes(const struct nb_linear *l, size_t *bytes)
{
    uint64_t n;
    *bytes = 0;
    return l->k < SIZE_MAX / 64 && l->n_tokens < SIZE_MAX / 64 &&
           nb_mul_u64(&n, (l->n_tokens + NB_PANEL_COLS - 1) / NB_PANEL_COLS * NB_PANEL_COLS,
                      nb_panel_steps(l->k) * 16) &&
           op_add_bytes(bytes, n, sizeof(float));
}

/* Tokens t .. t + n - 1 in groups. */
static void pack_tokens(const struct nb_linear *l, size_t t, size_t n, float *dst)
{
    for (size_t i = 0; i < n; i += NB_PANEL_COLS) {
        const float *x[NB_PANEL_COLS];
        const size_t m = NB_MIN(n - i, NB_PANEL_COLS);
        for (size_t j = 0; j < m; j++)
            x[j] = l->x + linear_x_row(l, t + i + j) * l->k;
        nb_panel_pack(dst + nb_panel_floats(i, NB_PANEL_COLS, l->k), x, m, NB_PANEL_COLS, l->k,
                      0.0F);
    }
}

/* Kernels of f16, bf16 and f32 read whole elements: a file may start a tensor at any byte. */
static bool can_dot(const struct nb_linear *l)
{
    const struct nb_numfmt *type = l->w->type;
    return type->dot && l->n_tokens <= FEW_TOKENS &&
           (uintptr_t)nb_tensor_row(l->w, l->first_row) % type->block_bytes == 0;
}

/* A call of few tokens packs nothing. */
static void prepare(const struct nb_linear *l, size_t begin, size_t end, void *prepared)
{
    if (!can_dot(l))
        pack_tokens(l, begin, end - begin,
                    (float *)prepared + nb_panel_floats(begin, NB_PANEL_COLS, l->k));
}

static void few(const struct nb_linear *l, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const uint8_t *w = nb_tensor_row(l->w, l->first_row + r);
        for (size_t t = 0; t < l->n_tokens; t++)
            linear_y(l, t)[r] =
                l->w->type->dot(l->kernels, w, l->x + linear_x_row(l, t) * l->k, l->k);
    }
}

/* Rows r .. r + n - 1 in panels. */
static void pack_rows(const struct nb_linear *l, const struct scratch *s, size_t r, size_t n)
{
    for (size_t i = 0; i < n; i += NB_PANEL_ROWS) {
        const float *w[NB_PANEL_ROWS];
        const size_t m = NB_MIN(n - i, NB_PANEL_ROWS);
        nb_tensor_decode(l->w, l->first_row + r + i, m, s->row);
        for (size_t j = 0; j < m; j++)
            w[j] = s->row + j * l->k;
        nb_panel_pack(s->w + nb_panel_floats(i, NB_PANEL_ROWS, l->k), w, m, NB_PANEL_ROWS, l->k,
                      -0.0F);
    }
}

static void many(const struct nb_linear *l, size_t begin, size_t end, void *memory)
{
    const struct scratch s = lay_out(l, memory);
    for (size_t r = begin; r < end; r += s.rows) {
        const size_t n = NB_MIN(s.rows, end - r);
        pack_rows(l, &s, r, n);
        for (size_t t = 0; t < l->n_tokens; t += s.tokens) {
            const size_t cols = NB_MIN(s.tokens, l->n_tokens - t);
            const float *x = l->prepared;
            if (l->pick)
                pack_tokens(l, t, cols, s.x);
            else
                x += nb_panel_floats(t, NB_PANEL_COLS, l->k);
            l->kernels->gemm_f32_f32p_f32p(l->pick ? s.y : linear_y(l, t) + r,
                                           l->pick ? n : l->y_stride, s.w, n, l->pick ? s.x : x,
                                           cols, l->k, s.sums);
            if (l->pick)
                linear_scatter(l, t, cols, s.y, n, r, n);
        }
    }
}

static void rows(const struct nb_linear *l, size_t begin, size_t end, void *scratch)
{
    if (can_dot(l))
        few(l, begin, end);
    else
        many(l, begin, end, scratch);
    linear_add_bias(l, begin, end);
}

static size_t grain(const struct nb_linear *l)
{
    const size_t n = CHUNK_WEIGHTS / l->k / 16 * 16;
    return n ? n : 16;
}

const struct nb_linear_way nb_linear_floats = {.scratch_bytes = scratch_bytes,
                                               .prepared_bytes = prepared_bytes,
                                               .prepare = prepare,
                                               .grain = grain,
                                               .rows = rows};
