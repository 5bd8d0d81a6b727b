/* cli/net_values.c: shapes and numbers of nets' values, to be told to people. */
#include "net.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct nb_cli_net_text nb_cli_net_shape(const char *type, const int64_t *dims, int64_t rank,
                                        const char *const *names)
{
    struct nb_cli_net_text t;
    size_t n = (size_t)snprintf(t.s, sizeof t.s, "%s%s", type != NULL ? type : "no tensor",
                                rank < 0 ? "" : " [");

    for (int64_t i = 0; i < rank && n < sizeof t.s; i++) {
        const char *comma = i > 0 ? ", " : "";
        if (dims[i] >= 0)
            n += (size_t)snprintf(t.s + n, sizeof t.s - n, "%s%" PRId64, comma, dims[i]);
        else
            n += (size_t)snprintf(t.s + n, sizeof t.s - n, "%s%.24s", comma,
                                  names != NULL && names[i] != NULL ? names[i] : "?");
    }
    if (rank >= 0 && n < sizeof t.s)
        snprintf(t.s + n, sizeof t.s - n, "]");
    return t;
}

/* ---- elements ---- */

static double half(const void *data, uint64_t i)
{
    uint16_t h;

    memcpy(&h, (const char *)data + 2 * i, sizeof h);
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent == 0    ? ldexp(fraction, -24)
               : exponent == 31 ? (fraction != 0 ? (double)NAN : (double)INFINITY)
                                : ldexp(fraction + 1024, exponent - 25);
    return h >> 15 ? -v : v;
}

static double brain(const void *data, uint64_t i)
{
    uint16_t h;
    float f;

    memcpy(&h, (const char *)data + 2 * i, sizeof h);
    const uint32_t u = (uint32_t)h << 16;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

static double code(const void *data, uint64_t i, unsigned bits, bool is_signed)
{
    const unsigned per = 8 / bits, top = 1U << (bits - 1);
    const unsigned v =
        (unsigned)((const uint8_t *)data)[i / per] >> (i % per * bits) & (2 * top - 1);

    return is_signed && (v & top) != 0 ? (double)v - (double)(2 * top) : (double)v;
}

#define ELEMENT(name, ctype)                                                                       \
    static double name(const void *data, uint64_t i)                                               \
    {                                                                                              \
        ctype v;                                                                                   \
        memcpy(&v, (const char *)data + i * sizeof v, sizeof v);                                   \
        return (double)v;                                                                          \
    }
ELEMENT(f32, float)
ELEMENT(f64, double)
ELEMENT(i8, int8_t)
ELEMENT(u8, uint8_t)
ELEMENT(i16, int16_t)
ELEMENT(u16, uint16_t)
ELEMENT(i32, int32_t)
ELEMENT(u32, uint32_t)
ELEMENT(i64, int64_t)
ELEMENT(u64, uint64_t)

static double i4(const void *data, uint64_t i)
{
    return code(data, i, 4, true);
}
static double u4(const void *data, uint64_t i)
{
    return code(data, i, 4, false);
}
static double i2(const void *data, uint64_t i)
{
    return code(data, i, 2, true);
}
static double u2(const void *data, uint64_t i)
{
    return code(data, i, 2, false);
}

typedef double element_fn(const void *data, uint64_t i);

static element_fn *element_of(const char *type)
{
    static const struct {
        const char *name;
        element_fn *fn;
    } map[] = {{"float32", f32}, {"float16", half}, {"bfloat16", brain}, {"float64", f64},
               {"int8", i8},     {"uint8", u8},     {"int16", i16},      {"uint16", u16},
               {"int32", i32},   {"uint32", u32},   {"int64", i64},      {"uint64", u64},
               {"bool", u8},     {"int4", i4},      {"uint4", u4},       {"int2", i2},
               {"uint2", u2}};

    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
        if (strcmp(map[i].name, type) == 0)
            return map[i].fn;
    return NULL;
}

double nb_cli_net_value(const char *type, const void *data, uint64_t i)
{
    element_fn *fn = element_of(type);

    return fn != NULL ? fn(data, i) : 0.0;
}

void nb_cli_net_stats(struct nb_cli_net_stats *s, const struct nb_executor_port *p,
                      const void *data)
{
    element_fn *fn = element_of(p->type);
    double sum = 0.0;
    uint64_t n = 0;

    *s = (struct nb_cli_net_stats){.min = (double)NAN, .mean = (double)NAN, .max = (double)NAN};
    for (uint64_t i = 0; fn != NULL && i < p->elements; i++) {
        const double v = fn(data, i);
        s->n_nan += isnan(v) != 0;
        s->n_inf += isinf(v) != 0;
        if (!isfinite(v))
            continue;
        s->min = n == 0 || v < s->min ? v : s->min;
        s->max = n == 0 || v > s->max ? v : s->max;
        sum += v;
        n++;
    }
    if (n > 0)
        s->mean = sum / (double)n;
}

size_t nb_cli_net_top(uint64_t *at, size_t k, const struct nb_executor_port *p, const void *data,
                      uint64_t first, uint64_t n)
{
    element_fn *fn = element_of(p->type);
    size_t have = 0;

    for (uint64_t i = 0; fn != NULL && i < n; i++) {
        const double v = fn(data, first + i);
        size_t place = have;
        while (place > 0 && v > fn(data, first + at[place - 1]))
            place--;
        if (place == k || isnan(v))
            continue;
        have += have < k;
        memmove(at + place + 1, at + place, (have - 1 - place) * sizeof *at);
        at[place] = i;
    }
    return have;
}
