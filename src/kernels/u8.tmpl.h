/* kernels/u8.tmpl.h: 8-bit integers of nets over sixteen lanes: the steps between them and floats.
 *
 * An ISA brings NB_FN(op), struct v16 (<isa>/v16.h), and
 *   v16_of_u8, v16_of_sum   bytes as floats; the sums of two arrays of integers as floats
 *   put_codes               floats, rounded to even, plus zero, as bytes
 *
 * Rows that are no multiple of sixteen end with a step that overlaps the one before; short ones go through a buffer,
 * or several at once if they divide a step and lie one behind the other.
 */
#include "kernels/kernels.h"

#define STEP 16

struct range {
    struct v16 least, most;
    int32_t zero;
};

static inline struct range range_of(int32_t zero, int32_t low, int32_t high)
{
    return (struct range){v16_set1((float)(low - zero)), v16_set1((float)(high - zero)), zero};
}

static inline void put(uint8_t *y, struct v16 v, const struct range *r)
{
    v = v16_max(v, r->least); /* NaN becomes low */
    put_codes(y, v16_min(v, r->most), r->zero);
}

/* Where the step at i of n begins; n >= STEP. */
static inline size_t within(size_t i, size_t n)
{
    return i + STEP <= n ? i : n - STEP;
}

static void short_requant(const struct nb_requant *q, const struct range *r)
{
    int32_t acc[STEP] = {0}, bias[STEP] = {0};
    float scale[STEP] = {0};
    uint8_t y[STEP];
    memcpy(bias, q->bias, q->n * sizeof *bias);
    memcpy(scale, q->scale, q->n * sizeof *scale);
    for (size_t row = 0; row < q->n_rows; row++) {
        memcpy(acc, q->acc + row * q->acc_stride, q->n * sizeof *acc);
        put(y, v16_mul(v16_of_sum(acc, bias), v16_load(scale)), r);
        memcpy(q->y + row * q->y_stride, y, q->n);
    }
}

/* Short rows that lie one behind the other, some of them a step: biases and scales come round. */
static void flat_requant(const struct nb_requant *q, const struct range *r)
{
    const size_t n = q->n_rows * q->n;
    int32_t acc[STEP] = {0}, bias[STEP];
    float scale[STEP];
    uint8_t y[STEP];
    for (size_t i = 0; i < STEP; i++) {
        bias[i] = q->bias[i % q->n];
        scale[i] = q->scale[i % q->n];
    }
    const struct v16 s = v16_load(scale);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        put(q->y + i, v16_mul(v16_of_sum(q->acc + i, bias), s), r);
    if (i < n) {
        memcpy(acc, q->acc + i, (n - i) * sizeof *acc);
        put(y, v16_mul(v16_of_sum(acc, bias), s), r);
        memcpy(q->y + i, y, n - i);
    }
}

/* A step of all rows, from column i on. */
static inline void columns(const struct nb_requant *q, size_t i, const struct range *range)
{
    const struct range r = *range; /* y may not change any of these */
    const struct v16 scale = v16_load(q->scale + i);
    const size_t acc_stride = q->acc_stride, y_stride = q->y_stride, n_rows = q->n_rows;
    const int32_t *acc = q->acc + i;
    uint8_t *y = q->y + i;
    int32_t bias[STEP];
    memcpy(bias, q->bias + i, sizeof bias);
    for (size_t row = 0; row < n_rows; row++, acc += acc_stride, y += y_stride)
        put(y, v16_mul(v16_of_sum(acc, bias), scale), &r);
}

void NB_FN(requant_u8_s32)(const struct nb_requant *q)
{
    const struct range range = range_of(q->zero, q->low, q->high);
    if (q->n < STEP) {
        if (q->n > 0 && STEP % q->n == 0 && q->y_stride == q->n && q->acc_stride == q->n)
            flat_requant(q, &range);
        else if (q->n > 0)
            short_requant(q, &range);
        return;
    }
    for (size_t j = 0; j < q->n; j += STEP)
        columns(q, within(j, q->n), &range);
}

void NB_FN(quant_u8_f32)(uint8_t *y, const float *x, size_t n, float scale, int32_t zero,
                         int32_t low, int32_t high)
{
    const struct range range = range_of(zero, low, high);
    const struct v16 s = v16_set1(scale);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        put(y + i, v16_div(v16_load(x + i), s), &range);
    if (i < n) {
        uint8_t part[STEP];
        put(part, v16_div(v16_load_n(x + i, n - i), s), &range);
        memcpy(y + i, part, n - i);
    }
}

void NB_FN(dequant_f32_u8)(float *y, const uint8_t *x, size_t n, float scale, int32_t zero)
{
    const struct v16 s = v16_set1(scale), z = v16_set1((float)zero);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(y + i, v16_mul(v16_sub(v16_of_u8(x + i), z), s));
    if (i < n) {
        uint8_t part[STEP] = {0};
        memcpy(part, x + i, n - i);
        v16_store_n(y + i, v16_mul(v16_sub(v16_of_u8(part), z), s), n - i);
    }
}

static inline struct v16 reals(const uint8_t *x, int32_t zero, float scale)
{
    return v16_mul(v16_sub(v16_of_u8(x), v16_set1((float)zero)), v16_set1(scale));
}

static inline void binary_step(uint8_t *y, const uint8_t *a, const uint8_t *b,
                               const struct nb_binary_u8 *s, const struct range *range, bool times)
{
    const struct v16 u = reals(a, s->za, s->sa), v = reals(b, s->zb, s->sb);
    put(y, v16_div(times ? v16_mul(u, v) : v16_add(u, v), v16_set1(s->sy)), range);
}

static inline void binary(const struct nb_binary_u8 *s, bool times)
{
    const struct nb_binary_u8 c = *s; /* y may not change what is added */
    const struct range range = range_of(c.zy, c.low, c.high);
    uint8_t a[STEP] = {0}, b[STEP] = {0}, y[STEP];
    if (c.n < STEP)
        memcpy(b, c.b, c.n);
    for (size_t row = 0; row < c.n_rows; row++) {
        const size_t at = row * c.n;
        for (size_t j = 0; c.n >= STEP && j < c.n; j += STEP) {
            const size_t i = within(j, c.n);
            binary_step(c.y + at + i, c.a + at + i, c.b + i, &c, &range, times);
        }
        if (c.n < STEP) {
            memcpy(a, c.a + at, c.n);
            binary_step(y, a, b, &c, &range, times);
            memcpy(c.y + at, y, c.n);
        }
    }
}

void NB_FN(add_u8_u8)(const struct nb_binary_u8 *s)
{
    binary(s, false);
}

void NB_FN(mul_u8_u8)(const struct nb_binary_u8 *s)
{
    binary(s, true);
}
