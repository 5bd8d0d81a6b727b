/* kernels/ref/u8.c: 8-bit integers of nets: convolutions, and the steps between integers and floats.
 *
 * Sums of integers are exact modulo 2^32, so their order is free. Steps of floats are those of ONNX
 * QuantizeLinear and DequantizeLinear.
 */
#include "kernels/kernels.h"

static uint32_t product(uint8_t x, int8_t w)
{
    return (uint32_t)(x * w);
}

void nb_conv_s32_u8_s8_ref(const struct nb_conv_u8 *c)
{
    const size_t quads = (c->len + 3) / 4;
    for (size_t r = 0; r < c->n_rows; r++)
        for (size_t o = 0; o < c->n; o++) {
            const int8_t *w =
                c->w +
                (o / NB_CONV_PANEL * c->n_runs * quads * NB_CONV_PANEL + o % NB_CONV_PANEL) * 4;
            uint32_t sum = 0;
            for (size_t i = 0; i < c->n_runs; i++) {
                const uint8_t *x = c->x[r] + c->offset[i];
                for (size_t j = 0; j < quads; j++, w += NB_CONV_PANEL * 4)
                    for (size_t k = 0; k < 4; k++)
                        sum += product(x[4 * j + k], w[k]);
            }
            c->y[r * c->y_stride + o] = (int32_t)sum;
        }
}

void nb_dwconv_s32_u8_s8_ref(const struct nb_dwconv_u8 *d)
{
    for (size_t r = 0; r < d->n_rows; r++)
        for (size_t i = 0; i < d->n; i++) {
            uint32_t sum = 0;
            for (size_t t = 0; t < d->n_taps; t++)
                sum += product(d->x[r][d->offset[t] + i], d->w[t * d->n + i]);
            d->y[r * d->y_stride + i] = (int32_t)sum;
        }
}

/* v within low - zero .. high - zero, then an integer, then zero; NaN becomes low. */
static uint8_t code(float v, int32_t zero, int32_t low, int32_t high)
{
    const float least = (float)(low - zero), most = (float)(high - zero);
    float t = v > least ? v : least;
    t = t < most ? t : most;
    t = (t + 0x1.8p23F) - 0x1.8p23F; /* adding 1.5 * 2^23 rounds to an integer, to nearest even */
    return (uint8_t)((int32_t)t + zero);
}

void nb_requant_u8_s32_ref(const struct nb_requant *q)
{
    for (size_t r = 0; r < q->n_rows; r++)
        for (size_t i = 0; i < q->n; i++) {
            const uint32_t sum = (uint32_t)q->acc[r * q->acc_stride + i] + (uint32_t)q->bias[i];
            q->y[r * q->y_stride + i] =
                code((float)(int32_t)sum * q->scale[i], q->zero, q->low, q->high);
        }
}

void nb_quant_u8_f32_ref(uint8_t *y, const float *x, size_t n, float scale, int32_t zero,
                         int32_t low, int32_t high)
{
    for (size_t i = 0; i < n; i++)
        y[i] = code(x[i] / scale, zero, low, high);
}

static float value(uint8_t x, float scale, int32_t zero)
{
    return (float)(x - zero) * scale;
}

void nb_dequant_f32_u8_ref(float *y, const uint8_t *x, size_t n, float scale, int32_t zero)
{
    for (size_t i = 0; i < n; i++)
        y[i] = value(x[i], scale, zero);
}

void nb_add_u8_u8_ref(const struct nb_binary_u8 *s)
{
    for (size_t r = 0; r < s->n_rows; r++)
        for (size_t i = 0; i < s->n; i++) {
            const size_t at = r * s->n + i;
            const float sum = value(s->a[at], s->sa, s->za) + value(s->b[i], s->sb, s->zb);
            s->y[at] = code(sum / s->sy, s->zy, s->low, s->high);
        }
}

void nb_mul_u8_u8_ref(const struct nb_binary_u8 *s)
{
    for (size_t r = 0; r < s->n_rows; r++)
        for (size_t i = 0; i < s->n; i++) {
            const size_t at = r * s->n + i;
            const float product = value(s->a[at], s->sa, s->za) * value(s->b[i], s->sb, s->zb);
            s->y[at] = code(product / s->sy, s->zy, s->low, s->high);
        }
}

void nb_table_u8_u8_ref(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *table)
{
    for (size_t i = 0; i < n; i++)
        y[i] = table[x[i]];
}
