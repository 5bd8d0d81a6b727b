/* tensor/tensor.c: shapes: counting with overflow checked, comparing, printing. */
#include "tensor/tensor.h"

struct nb_shape nb_shape_1(uint64_t a)
{
    return (struct nb_shape){.n = 1, .dim = {a}};
}

struct nb_shape nb_shape_2(uint64_t rows, uint64_t cols)
{
    return (struct nb_shape){.n = 2, .dim = {rows, cols}};
}

bool nb_shape_eq(const struct nb_shape *a, const struct nb_shape *b)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

bool nb_shape_count(const struct nb_shape *s, uint64_t *n)
{
    /* A zero anywhere makes the tensor empty, whatever the other dimensions claim. */
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->dim[i] == 0) {
            *n = 0;
            return true;
        }
    }
    uint64_t count = 1;
    for (uint32_t i = 0; i < s->n; i++)
        if (!nb_mul_u64(&count, count, s->dim[i]))
            return false;
    *n = count;
    return true;
}

uint64_t nb_shape_cols(const struct nb_shape *s)
{
    return s->n == 0 ? 1 : s->dim[s->n - 1];
}

uint64_t nb_shape_rows(const struct nb_shape *s)
{
    uint64_t rows = 1;
    for (uint32_t i = 0; i + 1 < s->n; i++)
        rows *= s->dim[i];
    return rows;
}

struct nb_shape nb_shape_slab(const struct nb_shape *s)
{
    struct nb_shape slab = {.n = s->n > 0 ? s->n - 1 : 0};
    for (uint32_t i = 0; i < slab.n; i++)
        slab.dim[i] = s->dim[i + 1];
    return slab;
}

/* Decimal digits of v at dst; returns how many. */
static size_t put_u64(char *dst, uint64_t v)
{
    char rev[20];
    size_t n = 0;
    do {
        rev[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    for (size_t i = 0; i < n; i++)
        dst[i] = rev[n - 1 - i];
    return n;
}

/* The longest text, 8 dimensions of 20 digits, needs 2 + 8 * 20 + 7 * 2 + 1 = 177 bytes. */
const char *nb_shape_text(const struct nb_shape *s, char dst[NB_SHAPE_TEXT_BYTES])
{
    size_t at = 0;
    dst[at++] = '[';
    for (uint32_t i = 0; i < s->n; i++) {
        if (i > 0) {
            dst[at++] = ',';
            dst[at++] = ' ';
        }
        at += put_u64(dst + at, s->dim[i]);
    }
    dst[at++] = ']';
    dst[at] = '\0';
    return dst;
}
