/* Inputs, sizes and calls of every kernel, for checkkern. */
#include "cases.h"

#include "base/half.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- memory ---- */

void work_init(struct work *w, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < SLOTS; i++) {
        const size_t n = (bytes + page - 1) / page * page;
        uint8_t *p =
            mmap(NULL, n + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect(p + n, page, PROT_NONE) != 0) {
            perror("mmap");
            exit(1);
        }
        w->slot[i] = (struct slot){p, n};
    }
}

/* bytes of slot i, `free` bytes before the end. */
void *work_place(struct work *w, size_t i, size_t bytes, size_t free_bytes)
{
    if (bytes + free_bytes > w->slot[i].bytes) {
        fprintf(stderr, "slot of %zu bytes cannot hold %zu\n", w->slot[i].bytes, bytes);
        exit(1);
    }
    w->p[i] = w->slot[i].base + w->slot[i].bytes - bytes - free_bytes;
    return w->p[i];
}

void work_add_out(struct work *w, void *p, size_t bytes, bool is_f32)
{
    w->out[w->n_outs++] = (struct out){p, bytes, is_f32, false};
}

/* ---- values ---- */

uint64_t work_next(struct work *w) /* splitmix64 */
{
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* -1..1 */
static float unit(struct work *w)
{
    return (float)((double)(int64_t)work_next(w) * 0x1p-63);
}

static float value(struct work *w, enum pattern pattern)
{
    static const uint32_t odd[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                   0x7f800001, 0xffc12345, 0x7fffffff, 0x00000001, 0x807fffff,
                                   0x00800000, 0x7f7fffff, 0xff7fffff, 0x477fefff, 0x477ff000,
                                   0x38800000, 0x387fffff, 0x33000000, 0x33000001, 0x3f808000,
                                   0x3f818000, 0x42b17218, 0xc2aeac50, 0xc2aeac4f, 0x42b17217};
    const float u = unit(w);
    if (pattern == PAT_ZERO)
        return 0.0F;
    if (pattern == PAT_SPIKES)
        return work_next(w) % 32 == 0 ? u * 1e4F : u;
    if (pattern == PAT_EXTREME && work_next(w) % 8 == 0)
        return nb_f32_from_bits(odd[work_next(w) % NB_COUNTOF(odd)]);
    if (pattern == PAT_EXTREME) /* any size, either sign */
        return nb_f32_from_bits((uint32_t)work_next(w) & 0xbfffffffU);
    return u * 8.0F;
}

float *floats(struct work *w, size_t slot, size_t n, const struct kase *c)
{
    float *p = work_place(w, slot, n * sizeof *p, c->shift * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = value(w, c->pattern);
    return p;
}

/* bits16: of f16 (0x7c00 exponent mask) or bf16 */
static uint16_t *halves(struct work *w, size_t slot, size_t n, const struct kase *c, bool bf16)
{
    uint16_t *p = work_place(w, slot, n * sizeof *p, c->shift * sizeof *p);
    for (size_t i = 0; i < n; i++) {
        const float v = value(w, c->pattern);
        p[i] = c->pattern == PAT_EXTREME ? (uint16_t)work_next(w)
               : bf16                    ? nb_f32_to_bf16(v)
                                         : nb_f32_to_f16(v);
    }
    return p;
}

float *out_floats(struct work *w, size_t slot, size_t n, const struct kase *c)
{
    float *p = work_place(w, slot, n * sizeof *p, c->shift * sizeof *p);
    memset(p, 0xee, n * sizeof *p);
    work_add_out(w, p, n * sizeof *p, true);
    return p;
}

/* ---- sizes ---- */

/* 0..300 and some longer, every pattern, every variant. */
static const size_t longer[] = {511, 512, 1000, 1024, 1031, 4099};
#define N_LENGTHS (301 + NB_COUNTOF(longer))

size_t length_count(void)
{
    return N_LENGTHS * PAT_COUNT * 2;
}

void length_case(struct kase *c, size_t i)
{
    const size_t j = i % N_LENGTHS;
    c->n = j <= 300 ? j : longer[j - 301];
    c->pattern = (enum pattern)(i / N_LENGTHS % PAT_COUNT);
    c->variant = (unsigned)(i / N_LENGTHS / PAT_COUNT);
    c->shift = c->variant ? j % 7 : 0;
}

/* ---- float ops ---- */

static void setup_dot(struct work *w, const struct kase *c)
{
    floats(w, 0, c->n, c);
    floats(w, 1, c->n, c);
    out_floats(w, 2, 1, c);
}

static void call_dot(void (*fn)(void), struct work *w, const struct kase *c)
{
    *(float *)w->p[2] = ((nb_dot_f32_f32_fn *)fn)(w->p[0], w->p[1], c->n);
}

static void setup_dot_f16(struct work *w, const struct kase *c)
{
    halves(w, 0, c->n, c, false);
    floats(w, 1, c->n, c);
    out_floats(w, 2, 1, c);
}

static void setup_dot_bf16(struct work *w, const struct kase *c)
{
    halves(w, 0, c->n, c, true);
    floats(w, 1, c->n, c);
    out_floats(w, 2, 1, c);
}

static void call_dot16(void (*fn)(void), struct work *w, const struct kase *c)
{
    *(float *)w->p[2] = ((nb_dot_f16_f32_fn *)fn)(w->p[0], w->p[1], c->n);
}

size_t gemm_count(void)
{
    return 7 * 9 * 24;
}

void gemm_case(struct kase *c, size_t i)
{
    c->rows = i % 7;
    c->cols = i / 7 % 9;
    c->n = (i / 63 * 11 + i % 5 * 16) % 120;
    c->pattern = (enum pattern)(i % PAT_COUNT);
    c->shift = i % 3;
}

static void setup_gemm(struct work *w, const struct kase *c)
{
    floats(w, 0, c->rows * c->n, c);
    floats(w, 1, c->cols ? (c->cols - 1) * (c->n + 3) + c->n : 0, c);
    out_floats(w, 2, c->cols ? (c->cols - 1) * (c->rows + 1) + c->rows : 0, c);
}

static void call_gemm(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_gemm_f32_f32_f32_fn *)fn)(w->p[2], c->rows + 1, w->p[0], c->rows, w->p[1], c->n + 3,
                                   c->cols, c->n);
}

/* All 65536 halves in one run, then lengths. */
static size_t cvt16_count(void)
{
    return length_count() + 1;
}

static void cvt16_case(struct kase *c, size_t i)
{
    if (i < length_count())
        length_case(c, i);
    else
        *c = (struct kase){.n = 65536, .pattern = PAT_COUNT};
}

static void setup_cvt_from16(struct work *w, const struct kase *c)
{
    uint16_t *p = halves(w, 0, c->n, c, false);
    if (c->pattern == PAT_COUNT)
        for (size_t i = 0; i < c->n; i++)
            p[i] = (uint16_t)i;
    out_floats(w, 1, c->n, c);
    w->out[0].is_f32 = false; /* payloads count */
}

static void call_cvt_from16(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_cvt_f32_f16_fn *)fn)(w->p[1], w->p[0], c->n);
}

static void setup_cvt_to16(struct work *w, const struct kase *c)
{
    float *p = floats(w, 0, c->n, c);
    if (c->pattern == PAT_COUNT) /* every upper half, with lower halves around the ties */
        for (size_t i = 0; i < c->n; i++)
            p[i] = nb_f32_from_bits(
                (uint32_t)i << 16 |
                (uint32_t)(work_next(w) % 3 == 0 ? 0x8000U : work_next(w) & 0xffffU));
    if (c->pattern == PAT_EXTREME)
        for (size_t i = 0; i < c->n; i += 2) { /* values and ties of f16 */
            const uint32_t u = nb_f32_bits(nb_f16_to_f32((uint16_t)work_next(w)));
            p[i] = nb_f32_from_bits(u + (uint32_t)(work_next(w) % 5) * 0x800U);
        }
    uint16_t *q = work_place(w, 1, c->n * sizeof *q, c->shift * sizeof *q);
    memset(q, 0xee, c->n * sizeof *q);
    work_add_out(w, q, c->n * sizeof *q, false);
}

static void call_cvt_to16(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_cvt_f16_f32_fn *)fn)(w->p[1], w->p[0], c->n);
}

/* y may be one of the inputs: variant 1. */
static void setup_add(struct work *w, const struct kase *c)
{
    float *a = floats(w, 0, c->n, c);
    floats(w, 1, c->n, c);
    if (c->variant) {
        w->p[2] = a;
        work_add_out(w, a, c->n * sizeof *a, true);
    } else {
        out_floats(w, 2, c->n, c);
    }
}

static void call_add(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_add_f32_fn *)fn)(w->p[2], w->p[0], w->p[1], c->n);
}

static void setup_axpy(struct work *w, const struct kase *c)
{
    floats(w, 0, c->n, c);
    work_add_out(w, floats(w, 1, c->n, c), c->n * sizeof(float), true);
    floats(w, 2, 1, c);
}

static void call_axpy(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_axpy_f32_f32_fn *)fn)(w->p[1], *(const float *)w->p[2], w->p[0], c->n);
}

static void setup_axpy_f16(struct work *w, const struct kase *c)
{
    halves(w, 0, c->n, c, false);
    work_add_out(w, floats(w, 1, c->n, c), c->n * sizeof(float), true);
    floats(w, 2, 1, c);
}

static void call_axpy_f16(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_axpy_f32_f16_fn *)fn)(w->p[1], *(const float *)w->p[2], w->p[0], c->n);
}

static void setup_softmax(struct work *w, const struct kase *c)
{
    float *x = floats(w, 0, c->n, c);
    if (c->variant) /* masked, now and then all */
        for (size_t i = 0; i < c->n; i++)
            if (work_next(w) % 3 == 0 || c->n % 5 == 0)
                x[i] = -1.0F / 0.0F;
    work_add_out(w, x, c->n * sizeof *x, true);
}

static void call_softmax(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_softmax_f32_fn *)fn)(w->p[0], c->n, 0.125F * (float)(1 + c->n % 9));
}

static void setup_expsum(struct work *w, const struct kase *c)
{
    setup_softmax(w, c);
    w->n_outs = 0;
    out_floats(w, 1, 2, c);
}

static void call_expsum(void (*fn)(void), struct work *w, const struct kase *c)
{
    float *y = w->p[1];
    y[0] = ((nb_expsum_f32_fn *)fn)(w->p[0], c->n, y + 1);
}

static void setup_rmsnorm(struct work *w, const struct kase *c)
{
    setup_add(w, c);
}

static void call_rmsnorm(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_rmsnorm_f32_fn *)fn)(w->p[2], w->p[0], w->p[1], c->n, 1e-5F);
}

static void setup_rope(struct work *w, const struct kase *c)
{
    floats(w, 0, 2 * c->n, c);
    floats(w, 1, c->n, c);
    floats(w, 2, c->n, c);
    out_floats(w, 3, 2 * c->n, c);
}

static void call_rope(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_rope_f32_fn *)fn)(w->p[3], w->p[0], w->p[1], w->p[2], c->n, c->variant != 0);
}

/* ---- integer ops ---- */

static size_t quant_count(void)
{
    return 40 * PAT_COUNT;
}

static void quant_case(struct kase *c, size_t i)
{
    c->n = i / PAT_COUNT * 32;
    c->pattern = (enum pattern)(i % PAT_COUNT);
    c->shift = i % 3;
}

static void setup_quant(struct work *w, const struct kase *c)
{
    float *x = floats(w, 0, c->n, c);
    if (c->pattern == PAT_EXTREME) /* blocks that are huge, tiny, ties, or not finite */
        for (size_t i = 0; i < c->n; i++) {
            const size_t kind = i / 32 % 5;
            const float u = unit(w);
            x[i] = kind == 0   ? x[i]
                   : kind == 1 ? u * 0x1p-99F
                   : kind == 2 ? u * 0x1p-140F
                   : kind == 3 ? u * 0x1p127F
                               : (float)((int64_t)(work_next(w) % 509) - 254) * 0.5F;
        }
    int8_t *q = work_place(w, 1, c->n, c->shift);
    float *d = work_place(w, 2, c->n / 32 * sizeof *d, 0);
    int16_t *s = work_place(w, 3, c->n / 16 * sizeof *s, 0);
    work_add_out(w, (void *)q, c->n, false);
    work_add_out(w, (void *)d, c->n / 32 * sizeof *d, true);
    work_add_out(w, (void *)s, c->n / 16 * sizeof *s, false);
}

static void call_quant(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_quant_q8_f32_fn *)fn)(w->p[1], w->p[2], w->p[3], w->p[0], c->n);
}

/* Activations in slots 1-3. */
static void make_q8(struct work *w, const struct kase *c, size_t n)
{
    const size_t k = c->n;
    int8_t *q = work_place(w, 1, n * k, 0);
    float *d = work_place(w, 2, n * k / 32 * sizeof *d, 0);
    int16_t *s = work_place(w, 3, n * k / 16 * sizeof *s, 0);
    memset(s, 0, n * k / 16 * sizeof *s);
    for (size_t i = 0; i < n * k; i++) {
        int v = (int)(work_next(w) % 255) - 127;
        if (c->pattern == PAT_EXTREME)
            v = c->seed % 3 == 0 ? 127 : c->seed % 3 == 1 ? -127 : v < 0 ? -127 : 127;
        q[i] = (int8_t)(c->pattern == PAT_ZERO ? 0 : v);
        s[i / 16] = (int16_t)(s[i / 16] + q[i]);
    }
    for (size_t i = 0; i < n * k / 32; i++)
        d[i] = c->pattern == PAT_EXTREME && work_next(w) % 16 == 0 ? value(w, c->pattern)
                                                                   : unit(w) * unit(w) * 0.1F;
    w->x = (struct nb_q8){q, d, s};
}

struct blocks {
    size_t elems, bytes;
    size_t half[2]; /* offsets of f16 fields, 0 twice if one */
};

static const struct blocks q8_0 = {32, 34, {0, 0}}, q4_0 = {32, 18, {0, 0}},
                           q4_k = {256, 144, {0, 2}}, q6_k = {256, 210, {208, 208}},
                           iq4_xs = {256, 136, {0, 0}};

static size_t gemv_count(void)
{
    return 20 * 12 * 3;
}

static void gemv32_case(struct kase *c, size_t i)
{
    c->rows = i % 20;
    c->n = i / 20 % 12 * 32 + (i % 7 == 0 ? 512 : 0);
    c->variant = (unsigned)(i / 240); /* bytes between rows */
    c->pattern = (enum pattern)(i % 11 % PAT_COUNT);
}

static void gemv256_case(struct kase *c, size_t i)
{
    gemv32_case(c, i);
    c->n = i / 20 % 4 * 256;
}

static void setup_gemv(struct work *w, const struct kase *c, const struct blocks *b)
{
    const size_t row = c->n / b->elems * b->bytes + c->variant;
    const size_t bytes = c->rows ? (c->rows - 1) * row + row - c->variant : 0;
    uint8_t *p = work_place(w, 0, bytes, c->shift);
    const uint8_t fill = c->seed % 2 ? 0x80 : 0x7f;
    for (size_t i = 0; i < bytes; i++)
        p[i] = c->pattern == PAT_EXTREME && c->seed % 5 ? fill
               : c->pattern == PAT_EXTREME              ? 0xff
                                                        : (uint8_t)work_next(w);
    for (size_t r = 0; r < c->rows; r++)
        for (size_t i = 0; i < c->n / b->elems; i++)
            for (size_t h = 0; h < 2; h++) {
                uint16_t v = nb_f32_to_f16(unit(w) * 0.01F);
                if (c->pattern == PAT_EXTREME && work_next(w) % 16 == 0)
                    v = (uint16_t)work_next(w);
                memcpy(p + r * row + i * b->bytes + b->half[h], &v, 2);
            }
    make_q8(w, c, 1);
    out_floats(w, 4, c->rows, c);
}

static void setup_q8_0(struct work *w, const struct kase *c)
{
    setup_gemv(w, c, &q8_0);
}

static void setup_q4_0(struct work *w, const struct kase *c)
{
    setup_gemv(w, c, &q4_0);
}

static void setup_q4_k(struct work *w, const struct kase *c)
{
    setup_gemv(w, c, &q4_k);
}

static void setup_q6_k(struct work *w, const struct kase *c)
{
    setup_gemv(w, c, &q6_k);
}

static void setup_iq4_xs(struct work *w, const struct kase *c)
{
    setup_gemv(w, c, &iq4_xs);
}

static void call_gemv(void (*fn)(void), struct work *w, const struct kase *c,
                      const struct blocks *b)
{
    const size_t row = c->n / b->elems * b->bytes + c->variant;
    ((nb_gemv_q_fn *)fn)(w->p[4], w->p[0], row, c->rows, c->n, &w->x);
}

static void call_q8_0(void (*fn)(void), struct work *w, const struct kase *c)
{
    call_gemv(fn, w, c, &q8_0);
}

static void call_q4_0(void (*fn)(void), struct work *w, const struct kase *c)
{
    call_gemv(fn, w, c, &q4_0);
}

static void call_q4_k(void (*fn)(void), struct work *w, const struct kase *c)
{
    call_gemv(fn, w, c, &q4_k);
}

static void call_q6_k(void (*fn)(void), struct work *w, const struct kase *c)
{
    call_gemv(fn, w, c, &q6_k);
}

static void call_iq4_xs(void (*fn)(void), struct work *w, const struct kase *c)
{
    call_gemv(fn, w, c, &iq4_xs);
}

/* variant: 1 sub is 32, 2 has mins, 4 * (range of codes) */
static const int8_t ranges[][2] = {{0, 0},      {-128, 127}, {-8, 7}, {0, 15}, {-32, 31},
                                   {-127, 127}, {-7, 7},     {0, 1},  {0, 31}, {-1, 1}};

static size_t tile_count(void)
{
    return 40 * NB_COUNTOF(ranges) * 4;
}

static void tile_case(struct kase *c, size_t i)
{
    c->variant = (unsigned)(i % (NB_COUNTOF(ranges) * 4));
    const size_t j = i / (NB_COUNTOF(ranges) * 4);
    c->cols = j % 11;
    c->n = (j % 13) * 32;
    c->rows = NB_TILE_ROWS;
    c->pattern = (enum pattern)(j / 2 % PAT_COUNT);
}

static void setup_tile(struct work *w, const struct kase *c)
{
    const int8_t *range = ranges[c->variant / 4];
    const int lo = range[0] == range[1] ? -128 : range[0],
              hi = range[0] == range[1] ? 127 : range[1];
    const uint32_t sub = c->variant & 1 ? 32 : 16;
    const size_t n_scales = c->n / sub * NB_TILE_ROWS;
    int8_t *codes = work_place(w, 0, c->n * NB_TILE_ROWS, 0);
    float *scale = work_place(w, 4, n_scales * sizeof *scale, 0);
    float *min = work_place(w, 5, n_scales * sizeof *min, 0);
    for (size_t i = 0; i < c->n * NB_TILE_ROWS; i++) {
        const int v = lo + (int)(work_next(w) % (uint64_t)(hi - lo + 1));
        codes[i] = (int8_t)(c->pattern != PAT_EXTREME ? v : c->seed % 2 ? lo : hi);
    }
    for (size_t i = 0; i < n_scales; i++) {
        scale[i] = unit(w) * 0.01F;
        min[i] = unit(w) * 0.1F;
    }
    w->tile = (struct nb_tile){codes, scale, c->variant & 2 ? min : NULL, sub, range[0], range[1]};
    make_q8(w, c, c->cols);
    out_floats(w, 6, c->cols ? (c->cols - 1) * (NB_TILE_ROWS + 3) + NB_TILE_ROWS : 0, c);
}

static void call_tile(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_gemm_f32_tile_q8_fn *)fn)(w->p[6], NB_TILE_ROWS + 3, &w->tile, c->n, &w->x, c->cols);
}

/* ---- encoders: finite values, weights or none ---- */

static size_t enc_count(void)
{
    return 10 * PAT_COUNT * 6;
}

static void enc_case(struct kase *c, size_t i)
{
    c->n = i % 10 * 256;
    c->pattern = (enum pattern)(i / 10 % PAT_COUNT);
    c->variant = (unsigned)(i / 10 / PAT_COUNT); /* odd: with weights */
}

static void setup_enc(struct work *w, const struct kase *c)
{
    float *x = floats(w, 0, c->n, c), *weight = floats(w, 1, c->n, c);
    for (size_t i = 0; i < c->n; i++) {
        if (!(x[i] - x[i] == 0.0F))
            x[i] = unit(w);
        weight[i] = unit(w) * unit(w);
        weight[i] *= weight[i];
    }
    if (c->n > 0 && c->pattern == PAT_PLAIN) /* ties, and a block of one value */
        for (size_t i = 0; i < c->n; i++)
            x[i] = c->n % 512 ? x[i] : i < 32 ? 0.75F : (float)(int)x[i];
}

static void setup_enc_bytes(struct work *w, const struct kase *c, const struct blocks *b)
{
    setup_enc(w, c);
    uint8_t *y = work_place(w, 2, c->n / b->elems * b->bytes, 0);
    memset(y, 0xee, c->n / b->elems * b->bytes);
    work_add_out(w, y, c->n / b->elems * b->bytes, false);
}

#define SETUP_ENC(name, block, stored)                                                             \
    static void setup_enc_##name(struct work *w, const struct kase *c)                             \
    {                                                                                              \
        setup_enc_bytes(w, c, &(const struct blocks){.elems = (block), .bytes = (stored)});        \
    }
SETUP_ENC(q8_0, 32, 34)
SETUP_ENC(q4_0, 32, 18)
SETUP_ENC(q4_1, 32, 20)
SETUP_ENC(q5_0, 32, 22)
SETUP_ENC(q5_1, 32, 24)
SETUP_ENC(mxfp4, 32, 17)
SETUP_ENC(nvfp4, 64, 36)

static void call_enc(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_enc_fn *)fn)(w->p[2], w->p[0], c->variant & 1 ? w->p[1] : NULL, c->n);
}

static size_t fit_count(void)
{
    return 50 * PAT_COUNT;
}

static void fit_case(struct kase *c, size_t i)
{
    c->n = 256;
    c->pattern = (enum pattern)(i % PAT_COUNT);
    c->variant = (unsigned)(i / PAT_COUNT);
}

static void setup_fit(struct work *w, const struct kase *c)
{
    setup_enc(w, c);
    struct nb_fit_k *y = work_place(w, 2, sizeof *y, 0);
    memset(y, 0, sizeof *y); /* not every field is every format's */
    work_add_out(w, (void *)y, sizeof *y, false);
}

static void call_fit(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_fit_k_fn *)fn)(w->p[2], w->p[0], c->variant & 1 ? w->p[1] : NULL);
}

/* ---- probes ---- */

static void setup_xor(struct work *w, const struct kase *c)
{
    uint8_t *p = work_place(w, 0, c->n / 8 * 8, c->shift);
    for (size_t i = 0; i < c->n / 8 * 8; i++)
        p[i] = (uint8_t)work_next(w);
    uint64_t *y = work_place(w, 1, sizeof *y, 0);
    work_add_out(w, (void *)y, sizeof *y, false);
}

static void call_xor(void (*fn)(void), struct work *w, const struct kase *c)
{
    *(uint64_t *)w->p[1] = ((nb_xor_u64_fn *)fn)(w->p[0], c->n);
}

/* Peaks do no work that could be compared: each ISA counts its own operations. */
static size_t no_count(void)
{
    return 0;
}

static void setup_peak(struct work *w, const struct kase *c)
{
    (void)c;
    work_place(w, 0, sizeof(float), 0);
}

static void call_peak(void (*fn)(void), struct work *w, const struct kase *c)
{
    (void)((nb_peak_f32_fn *)fn)((uint32_t)c->n, w->p[0]);
}

/* ---- work done, for --bench ---- */

#define BYTES(name, expr)                                                                          \
    static double name(const struct kase *c, bool *ops)                                            \
    {                                                                                              \
        *ops = false;                                                                              \
        return (double)(expr);                                                                     \
    }
#define OPS(name, expr)                                                                            \
    static double name(const struct kase *c, bool *ops)                                            \
    {                                                                                              \
        *ops = true;                                                                               \
        return (double)(expr);                                                                     \
    }
BYTES(bytes8, 8 * c->n)
BYTES(bytes6, 6 * c->n)
BYTES(bytes12, 12 * c->n)
BYTES(bytes10, 10 * c->n)
BYTES(bytes24, 24 * c->n)
BYTES(bytes5, 5 * c->n)
BYTES(bytes4, 4 * c->n)
BYTES(bytes_q8_0, c->rows * c->n / 32 * 34)
BYTES(bytes_q4_0, c->rows * c->n / 32 * 18)
BYTES(bytes_q4_k, c->rows * c->n / 256 * 144)
BYTES(bytes_q6_k, c->rows * c->n / 256 * 210)
BYTES(bytes_iq4_xs, c->rows * c->n / 256 * 136)
OPS(ops_gemm, 2 * c->rows * c->cols * c->n)
OPS(ops_conv, 2 * c->rows * c->cols * c->n * (c->variant / 8))
OPS(ops_dwconv, 2 * c->rows * c->n * (c->variant / 8))
OPS(ops_conv_u8, 2 * c->rows * c->cols * c->n * c->variant)
OPS(ops_outer, 2 * NB_OUTER_ROWS * NB_OUTER_COLS * c->n)
OPS(ops_tile64, 2 * NB_TILE64_ROWS * NB_TILE64_COLS * c->n)
OPS(ops_solve, 8 * c->n * c->n)
BYTES(bytes1, c->n)
BYTES(bytes2, 2 * c->n)
BYTES(bytes_requant, 5 * c->rows * c->n)
BYTES(bytes_binary, (2 * c->rows + 1) * c->n)

/* clang-format off */
#define VEC .n = 4096
#define MAT .rows = 256, .n = 4096
#define TRY .n = 32, .rows = 16
static const struct op ops[] = {
    {"dot_f32_f32", length_count, length_case, setup_dot, call_dot, {VEC}, bytes8},
    {"dot_f16_f32", length_count, length_case, setup_dot_f16, call_dot16, {VEC}, bytes6},
    {"dot_bf16_f32", length_count, length_case, setup_dot_bf16, call_dot16, {VEC}, bytes6},
    {"gemm_f32_f32_f32", gemm_count, gemm_case, setup_gemm, call_gemm,
     {.rows = 64, .cols = 48, .n = 1024}, ops_gemm},
    {"scores_f32_f32_f32", scores_count, scores_case, setup_scores, call_scores,
     {.rows = 64, .cols = 48, .n = 64}, ops_gemm},
    {"gemm_f32_f32p_f32p", gemm_panel_count, gemm_panel_case, setup_gemm_panel, call_gemm_panel,
     {.rows = 64, .cols = 48, .n = 1024}, ops_gemm},
    {"cvt_f32_f16", cvt16_count, cvt16_case, setup_cvt_from16, call_cvt_from16, {VEC}, bytes6},
    {"cvt_f16_f32", cvt16_count, cvt16_case, setup_cvt_to16, call_cvt_to16, {VEC}, bytes6},
    {"cvt_f32_bf16", cvt16_count, cvt16_case, setup_cvt_from16, call_cvt_from16, {VEC}, bytes6},
    {"cvt_bf16_f32", cvt16_count, cvt16_case, setup_cvt_to16, call_cvt_to16, {VEC}, bytes6},
    {"add_f32", length_count, length_case, setup_add, call_add, {VEC}, bytes12},
    {"axpy_f32_f32", length_count, length_case, setup_axpy, call_axpy, {VEC}, bytes12},
    {"axpy_f32_f16", length_count, length_case, setup_axpy_f16, call_axpy_f16, {VEC}, bytes10},
    {"wsum_f32_f32_f32", gemm_count, gemm_case, setup_wsum, call_wsum,
     {.rows = 32, .cols = 64, .n = 64}, ops_gemm},
    {"conv_f32_f32_f32", conv_count, conv_case, setup_conv, call_conv,
     {.rows = 48, .cols = 192, .n = 64, .variant = 3 * 8}, ops_conv},
    {"dwconv_f32_f32_f32", conv_count, dwconv_case, setup_dwconv, call_conv,
     {.rows = 48, .cols = 64, .n = 64, .variant = 9 * 8}, ops_dwconv},
    {"outer_f64_f32_f32", panel_count, panel_case, setup_outer, call_outer, {.n = 256}, ops_outer},
    {"tile_f64_f64_f64", panel_count, panel_case, setup_tile64, call_tile64, {.n = 256}, ops_tile64},
    {"solve_f64_f64", solve_count, panel_case, setup_solve, call_solve, {.n = 128}, ops_solve},
    {"gemmsub_f32_f32_f32", gemmsub_count, gemmsub_case, setup_gemmsub, call_gemmsub,
     {.rows = 64, .cols = 1024, .n = 128}, ops_gemm},
    {"act_f32", act_count, act_case, setup_act, call_act, {VEC, .variant = 2 * NB_ACT_GELU}, bytes8},
    {"act_grad_f32", act_count, act_case, setup_act, call_act_grad,
     {VEC, .variant = 2 * NB_ACT_GELU}, bytes8},
    {"glu_f32", act_count, act_case, setup_glu, call_glu, {VEC}, bytes12},
    {"erf_f32", length_count, length_case, setup_act, call_erf, {VEC}, bytes8},
    {"sigmoid_f32", length_count, length_case, setup_act, call_sigmoid, {VEC}, bytes8},
    {"softcap_f32", length_count, length_case, setup_act, call_softcap, {VEC}, bytes8},
    {"softmax_f32", length_count, length_case, setup_softmax, call_softmax, {VEC}, bytes8},
    {"expsum_f32", length_count, length_case, setup_expsum, call_expsum, {VEC}, bytes4},
    {"rmsnorm_f32", length_count, length_case, setup_rmsnorm, call_rmsnorm, {VEC}, bytes12},
    {"layernorm_f32", length_count, length_case, setup_layernorm, call_layernorm, {VEC}, bytes12},
    {"rope_f32", length_count, length_case, setup_rope, call_rope, {.n = 2048}, bytes24},
    {"quant_q8_f32", quant_count, quant_case, setup_quant, call_quant, {VEC}, bytes5},
    {"gemv_f32_q8_0_q8", gemv_count, gemv32_case, setup_q8_0, call_q8_0, {MAT}, bytes_q8_0},
    {"gemv_f32_q4_0_q8", gemv_count, gemv32_case, setup_q4_0, call_q4_0, {MAT}, bytes_q4_0},
    {"gemv_f32_q4_k_q8", gemv_count, gemv256_case, setup_q4_k, call_q4_k, {MAT}, bytes_q4_k},
    {"gemv_f32_q6_k_q8", gemv_count, gemv256_case, setup_q6_k, call_q6_k, {MAT}, bytes_q6_k},
    {"gemv_f32_iq4_xs_q8", gemv_count, gemv256_case, setup_iq4_xs, call_iq4_xs, {MAT}, bytes_iq4_xs},
    {"gemv_f32_iq4_nl_q8", gemv_count, gemv32_case, setup_q4_0, call_q4_0, {MAT}, bytes_q4_0},
    {"gemm_f32_tile_q8", tile_count, tile_case, setup_tile, call_tile,
     {.rows = 8, .cols = 64, .n = 4096, .variant = 1 + 4 * 2}, ops_gemm},
    {"conv_s32_u8_s8", conv_u8_count, conv_u8_case, setup_conv_u8, call_conv_u8,
     {.rows = 48, .cols = 192, .n = 64, .variant = 3}, ops_conv_u8},
    {"dwconv_s32_u8_s8", gemm_count, dwconv_u8_case, setup_dwconv_u8, call_dwconv_u8,
     {.rows = 24, .cols = 9, .n = 64}, ops_gemm},
    {"requant_u8_s32", gemm_count, requant_case, setup_requant, call_requant,
     {.rows = 48, .n = 64}, bytes_requant},
    {"quant_u8_f32", length_count, length_case, setup_quant_u8, call_quant_u8, {VEC}, bytes5},
    {"dequant_f32_u8", length_count, length_case, setup_dequant_u8, call_dequant_u8, {VEC}, bytes5},
    {"table_u8_u8", length_count, length_case, setup_table_u8, call_table_u8, {VEC}, bytes2},
    {"add_u8_u8", length_count, binary_u8_case, setup_binary_u8, call_binary_u8,
     {.rows = 48, .n = 64}, bytes_binary},
    {"mul_u8_u8", length_count, binary_u8_case, setup_binary_u8, call_binary_u8,
     {.rows = 48, .n = 64}, bytes_binary},
    {"enc_q8_0_f32", enc_count, enc_case, setup_enc_q8_0, call_enc, {VEC}, bytes4},
    {"enc_q4_0_f32", enc_count, enc_case, setup_enc_q4_0, call_enc, {VEC}, bytes4},
    {"enc_q4_1_f32", enc_count, enc_case, setup_enc_q4_1, call_enc, {VEC}, bytes4},
    {"enc_q5_0_f32", enc_count, enc_case, setup_enc_q5_0, call_enc, {VEC}, bytes4},
    {"enc_q5_1_f32", enc_count, enc_case, setup_enc_q5_1, call_enc, {VEC}, bytes4},
    {"fit_q2_k_f32", fit_count, fit_case, setup_fit, call_fit, {.n = 256}, bytes4},
    {"fit_q3_k_f32", fit_count, fit_case, setup_fit, call_fit, {.n = 256}, bytes4},
    {"fit_q4_k_f32", fit_count, fit_case, setup_fit, call_fit, {.n = 256}, bytes4},
    {"fit_q5_k_f32", fit_count, fit_case, setup_fit, call_fit, {.n = 256}, bytes4},
    {"fit_q6_k_f32", fit_count, fit_case, setup_fit, call_fit, {.n = 256}, bytes4},
    {"enc_iq4_nl_f32", enc_count, enc_case, setup_enc_q4_0, call_enc, {VEC}, bytes4},
    {"enc_mxfp4_f32", enc_count, enc_case, setup_enc_mxfp4, call_enc, {VEC}, bytes4},
    {"enc_nvfp4_f32", enc_count, enc_case, setup_enc_nvfp4, call_enc, {VEC}, bytes4},
    {"fit_iq4_xs_f32", fit_count, fit_case, setup_fit, call_fit, {.n = 256}, bytes4},
    {"round_iq_f32", round_iq_count, round_iq_case, setup_round_iq, call_round_iq,
     {.n = 256, .variant = 1}, bytes4},
    {"promise_iq_f32", promise_iq_count, promise_iq_case, setup_promise_iq, call_promise_iq,
     {.n = 36, .rows = 16, .cols = 4}, bytes4},
    {"trial_error_f32", trial_count, trial_case, setup_trial, call_trial_error, {TRY}, bytes4},
    {"trial_error_nl_f32", trial_count, trial_case, setup_trial, call_trial_error, {TRY}, bytes4},
    {"trial_sums_nl_f32", trial_count, trial_case, setup_trial_sums, call_trial_sums, {TRY}, bytes4},
    {"trial_sums_f32", trial_count, trial_case, setup_trial_sums, call_trial_sums, {TRY}, bytes4},
    {"xor_u64", length_count, length_case, setup_xor, call_xor, {.n = 32768}, bytes1},
    {"peak_f32", no_count, length_case, setup_peak, call_peak, {.n = 0}, bytes1},
    {"peak_s8", no_count, length_case, setup_peak, call_peak, {.n = 0}, bytes1},
};
/* clang-format on */

const struct op *ops_all(size_t *n)
{
    *n = NB_COUNTOF(ops);
    return ops;
}
