/* Inputs and calls of the kernels of 8-bit nets. */
#include "cases.h"

#include "base/status.h"

#include <string.h>

/* Bytes of slot i; in extreme cases mostly 0 and 255, or -128 and 127. */
static uint8_t *bytes(struct work *w, size_t i, size_t n, const struct kase *c)
{
    static const uint8_t ends[] = {0, 255, 128, 127};
    uint8_t *p = work_place(w, i, n, c->shift);
    for (size_t j = 0; j < n; j++) {
        const uint64_t z = work_next(w);
        p[j] = c->pattern == PAT_ZERO      ? 0
               : c->pattern == PAT_EXTREME ? ends[c->seed % 3 ? z % 4 : z % 2 + c->seed % 2]
                                           : (uint8_t)z;
    }
    return p;
}

static void mark(struct work *w, size_t i, size_t n, size_t size, const struct kase *c)
{
    uint8_t *p = work_place(w, i, n * size, c->shift * size);
    memset(p, 0xee, n * size);
    work_add_out(w, p, n * size, false);
}

/* n values in rows, their gaps compared, too; no gap behind the last. */
static size_t in_rows(const struct kase *c, size_t gap)
{
    return c->rows ? (c->rows - 1) * (c->n + gap) + c->n : 0;
}

/* ---- convolutions ---- */

/* n outputs of rows positions; cols elements a run; variant + 1 runs. */
static const size_t rows_of[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 23, 24, 25, 31};
static const size_t outputs_of[] = {1, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 100};
static const size_t runs_of[] = {1, 2, 3, 9, 0};
static const size_t lens_of[] = {1, 2, 3, 4, 5, 7, 21, 31, 32, 33, 36, 64, 127, 260, 0, 515};

size_t conv_u8_count(void)
{
    return NB_COUNTOF(rows_of) * NB_COUNTOF(lens_of) * PAT_COUNT * 4;
}

void conv_u8_case(struct kase *c, size_t i)
{
    const size_t j = i / NB_COUNTOF(rows_of) / NB_COUNTOF(lens_of);
    c->rows = rows_of[i % NB_COUNTOF(rows_of)];
    c->cols = lens_of[i / NB_COUNTOF(rows_of) % NB_COUNTOF(lens_of)];
    c->pattern = (enum pattern)(j % PAT_COUNT);
    c->n = outputs_of[(i * 7 + j) % NB_COUNTOF(outputs_of)];
    c->variant = (unsigned)runs_of[(i * 3 + j / PAT_COUNT) % NB_COUNTOF(runs_of)];
}

static size_t filled(size_t len)
{
    return (len + 3) / 4 * 4;
}

/* Positions and runs overlap, one behind the other or not, and the last run ends where the memory does. */
void setup_conv_u8(struct work *w, const struct kase *c)
{
    const size_t len = filled(c->cols), n_runs = c->variant;
    const size_t n_w = (c->n + NB_CONV_PANEL - 1) / NB_CONV_PANEL * n_runs * len * NB_CONV_PANEL;
    const uint8_t *x = bytes(w, 0, len + 5 * c->rows + 11 * n_runs, c);
    int8_t *weight = (void *)bytes(w, 1, n_w, c);
    for (size_t i = 0; i < n_w; i++)
        if (i % (len * NB_CONV_PANEL) / (4 * NB_CONV_PANEL) * 4 + i % 4 >= c->cols)
            weight[i] = 0;
    const uint8_t **at = work_place(w, 2, c->rows * sizeof *at, 0);
    size_t *offset = work_place(w, 3, n_runs * sizeof *offset, 0);
    for (size_t r = 0; r < c->rows; r++)
        at[r] = x + 5 * (c->seed % 4 == 0 ? c->rows - r : c->seed % 4 < 3 ? r + 1 : r ^ 1);
    for (size_t i = 0; i < n_runs; i++)
        offset[i] = 11 * (n_runs - i);
    work_place(w, 5, NB_CONV_U8_SCRATCH, 0);
    mark(w, 4, in_rows(c, 3), sizeof(int32_t), c);
}

void call_conv_u8(void (*fn)(void), struct work *w, const struct kase *c)
{
    const struct nb_conv_u8 d = {.y = w->p[4],
                                 .x = w->p[2],
                                 .offset = w->p[3],
                                 .w = w->p[1],
                                 .scratch = w->p[5],
                                 .y_stride = c->n + 3,
                                 .n_rows = c->rows,
                                 .n_runs = c->variant,
                                 .len = c->cols,
                                 .n = c->n};
    ((nb_conv_s32_u8_s8_fn *)fn)(&d);
}

/* rows of outputs, cols of taps, n channels */
void dwconv_u8_case(struct kase *c, size_t i)
{
    gemm_case(c, i);
    c->rows += i / 5 % 3 * 5;
    c->cols += i / 11 % 2 * 4;
    if (i % 4 == 1)
        c->n = (size_t)1 << i / 4 % 4;
}

/* Taps in rows of three of an image five pixels wide, or backwards, or anyhow. */
static size_t tap_offset(const struct kase *c, size_t t)
{
    return c->seed % 4 == 1   ? (t / 3 * 5 + t % 3) * c->n
           : c->seed % 4 == 3 ? (c->cols - 1 - t) * c->n
                              : 3 * (c->cols - 1 - t);
}

/* Rows a pixel or two apart, or anyhow; the last one ends where the memory does. */
void setup_dwconv_u8(struct work *w, const struct kase *c)
{
    const size_t step = c->seed % 4 == 0 ? 3 : c->seed % 3 == 0 ? 2 * c->n : c->n;
    size_t *offset = work_place(w, 3, c->cols * sizeof *offset, 0), most = 0;
    for (size_t t = 0; t < c->cols; t++) {
        offset[t] = tap_offset(c, t);
        most = NB_MAX(most, offset[t]);
    }
    const uint8_t *x = bytes(w, 0, most + c->n + step * c->rows, c);
    const uint8_t **at = work_place(w, 2, c->rows * sizeof *at, 0);
    bytes(w, 1, c->cols * c->n, c);
    for (size_t r = 0; r < c->rows; r++)
        at[r] = x + step * (r + 1);
    mark(w, 4, in_rows(c, 3), sizeof(int32_t), c);
}

void call_dwconv_u8(void (*fn)(void), struct work *w, const struct kase *c)
{
    const struct nb_dwconv_u8 d = {.y = w->p[4],
                                   .x = w->p[2],
                                   .offset = w->p[3],
                                   .w = w->p[1],
                                   .y_stride = c->n + (c->seed / 4 % 2 ? 3 : 0),
                                   .n_rows = c->rows,
                                   .n_taps = c->cols,
                                   .n = c->n};
    ((nb_dwconv_s32_u8_s8_fn *)fn)(&d);
}

/* ---- to bytes and back ---- */

/* zero, low and high of an 8-bit type, with and without an activation function */
static const int32_t ranges[][3] = {
    {128, 0, 255}, {0, 0, 255},   {255, 0, 255}, {-128, -128, 127}, {127, -128, 127},
    {3, 3, 90},    {-7, -7, 127}, {100, 7, 7},   {-128, 200, 255},  {255, -128, -100}};

static const int32_t *range_of(const struct kase *c)
{
    return ranges[c->seed % NB_COUNTOF(ranges)];
}

static float scale_of(const struct kase *c)
{
    static const float of[] = {0.05F, 1.0F, 0.0078125F, 3.0F, 1e-20F, 1e30F, 0x1p-149F};
    return of[c->seed / 3 % (c->pattern == PAT_EXTREME ? NB_COUNTOF(of) : 4)];
}

/* cols is free: rows and n as the matrix products have them */
/* Rows one behind the other, where the shift is 0; short ones among them. */
void requant_case(struct kase *c, size_t i)
{
    gemm_case(c, i);
    if (c->shift == 0 && i % 2 == 0) {
        c->n = (size_t)1 << i / 6 % 4;
        c->rows = i % 23;
    }
}

void setup_requant(struct work *w, const struct kase *c)
{
    int32_t *acc = work_place(w, 0, in_rows(c, 5) * sizeof *acc, 0);
    int32_t *bias = work_place(w, 1, c->n * sizeof *bias, c->shift * sizeof *bias);
    float *scale = work_place(w, 2, c->n * sizeof *scale, c->shift * sizeof *scale);
    const unsigned shift = c->pattern == PAT_EXTREME ? 0 : c->pattern == PAT_ZERO ? 31 : 14;
    for (size_t i = 0; i < in_rows(c, 5); i++)
        acc[i] = (int32_t)(uint32_t)work_next(w) >> shift;
    for (size_t i = 0; i < c->n; i++) {
        const uint64_t z = work_next(w);
        bias[i] = (int32_t)(uint32_t)z >> shift;
        /* halves occur where the scale is a power of two */
        scale[i] = z >> 32 & 1   ? 0x1p-9F
                   : shift == 14 ? (float)(z >> 40) * 0x1p-32F
                                 : (z >> 33 & 1 ? -1e-7F : 3e38F);
    }
    mark(w, 4, in_rows(c, 3), 1, c);
}

void call_requant(void (*fn)(void), struct work *w, const struct kase *c)
{
    const int32_t *range = range_of(c);
    const struct nb_requant q = {.y = w->p[4],
                                 .acc = w->p[0],
                                 .bias = w->p[1],
                                 .scale = w->p[2],
                                 .y_stride = c->n + (c->shift ? 3 : 0),
                                 .acc_stride = c->n + (c->shift ? 5 : 0),
                                 .n_rows = c->rows,
                                 .n = c->n,
                                 .zero = range[0],
                                 .low = range[1],
                                 .high = range[2]};
    ((nb_requant_u8_s32_fn *)fn)(&q);
}

void setup_quant_u8(struct work *w, const struct kase *c)
{
    float *x = floats(w, 0, c->n, c);
    for (size_t i = 0; i < c->n; i += 3) /* halves */
        if (c->pattern == PAT_PLAIN)
            x[i] = ((float)(i % 500) - 249.5F) * scale_of(c);
    mark(w, 4, c->n, 1, c);
}

void call_quant_u8(void (*fn)(void), struct work *w, const struct kase *c)
{
    const int32_t *range = range_of(c);
    ((nb_quant_u8_f32_fn *)fn)(w->p[4], w->p[0], c->n, scale_of(c), range[0], range[1], range[2]);
}

void setup_dequant_u8(struct work *w, const struct kase *c)
{
    bytes(w, 0, c->n, c);
    out_floats(w, 4, c->n, c);
}

void call_dequant_u8(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_dequant_f32_u8_fn *)fn)(w->p[4], w->p[0], c->n, scale_of(c), range_of(c)[0]);
}

/* Rows of any length. */
void binary_u8_case(struct kase *c, size_t i)
{
    length_case(c, i);
    c->rows = c->n > 300 ? 1 : i % 5;
}

/* b is the same in each row. */
void setup_binary_u8(struct work *w, const struct kase *c)
{
    bytes(w, 0, c->rows * c->n, c);
    bytes(w, 1, c->n, c);
    mark(w, 4, c->rows * c->n, 1, c);
}

void call_binary_u8(void (*fn)(void), struct work *w, const struct kase *c)
{
    const int32_t *range = range_of(c);
    const struct nb_binary_u8 s = {.y = w->p[4],
                                   .a = w->p[0],
                                   .b = w->p[1],
                                   .n_rows = c->rows,
                                   .n = c->n,
                                   .za = range[0],
                                   .zb = 10,
                                   .zy = range[0],
                                   .low = range[1],
                                   .high = range[2],
                                   .sa = scale_of(c),
                                   .sb = c->seed % 5 ? 0.03F : scale_of(c),
                                   .sy = c->seed % 7 ? scale_of(c) * 2 : 0.11F};
    ((nb_binary_u8_fn *)fn)(&s);
}

void setup_table_u8(struct work *w, const struct kase *c)
{
    bytes(w, 0, c->n, c);
    bytes(w, 1, 256, c);
    mark(w, 4, c->n, 1, c);
}

void call_table_u8(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_table_u8_u8_fn *)fn)(w->p[4], w->p[0], c->n, w->p[1]);
}
