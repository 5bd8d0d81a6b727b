/* numfmt/iq_fit.c: the scales of the codebook formats: one f16 d, a 4-bit code per sub-block.
 *
 * A choice of code words makes the weighted squared error of a sub-block a parabola in its scale s:
 * e + b (s - v)^2, where b = sum w c^2 over the numbers c of the code words, v is the scale of least
 * squares and e the error there. The search collects such parabolas:
 * 1. each sub-block finds its exact code words at a ladder of scales;
 * 2. many d are compared by the parabolas alone, each sub-block taking its best scale code;
 * 3. d by least squares, codes by the parabolas, until nothing improves;
 * 4. each sub-block finds its exact code words at the two codes that promise most; then 3 again.
 * The code words themselves are chosen last, exactly, at the stored scales.
 */
#include "numfmt/iq.h"

#include <math.h>

enum { BLOCK = 256, MAX_CODE = 15, MAX_SUB = 32, MAX_SUBS = 16, MAX_LINES = 12 };

/* Scale codes tried exactly at d, rounds of least squares. */
enum { CODES = 2, ROUNDS = 4, MAX_RUNGS = MAX_LINES - CODES - 1 };

/* Rungs of the ladder: the first in units of the scale that puts the largest magnitude on the highest
 * level, and their ratio. Finer ladders gain 0.2 % (2 bits) or 1 % (3 bits) and cost as much time again. */
struct ladder {
    uint32_t n;
    float first, ratio;
};
static const struct ladder two_bits = {4, 0.65F, 1.3F};
static const struct ladder three_bits = {6, 0.6F, 1.2F};

/* The error of one choice of code words. */
struct lines {
    uint32_t n;
    float vertex[MAX_LINES], bend[MAX_LINES], least[MAX_LINES];
};

/* A block in units of its largest magnitude: x = stored values * shrink. */
struct block {
    const struct nb_iq_book *book;
    float x[BLOCK], w[BLOCK];
    float grow, shrink;
    uint32_t n_subs;
};

struct choice {
    float d, error;
    uint8_t code[MAX_SUBS], line[MAX_SUBS];
};

static void load(struct block *b, const struct nb_iq_book *book, const float *x,
                 const float *importance)
{
    float amax = 0x1p-30F;
    for (uint32_t i = 0; i < BLOCK; i++)
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    amax = amax < 0x1p30F ? amax : 0x1p30F;
    b->grow = nb_f32_from_bits(nb_f32_bits(amax) & 0x7f800000U);
    b->shrink = nb_f32_from_bits(0x7f000000U - nb_f32_bits(b->grow));
    b->book = book;
    b->n_subs = BLOCK / book->sub;
    for (uint32_t i = 0; i < BLOCK; i++) {
        const float v = x[i] * b->shrink;
        b->x[i] = v > 4.0F ? 4.0F : v < -4.0F ? -4.0F : v;
    }
    nb_iq_weights(b->w, importance);
}

/* What d will be when it is read back. */
static float stored(const struct block *b, float d)
{
    return nb_via_f16(d * b->grow) * b->shrink;
}

/* Unused parabolas promise nothing. */
static void clear(struct lines *u)
{
    u->n = 0;
    for (uint32_t k = 0; k < MAX_LINES; k++) {
        u->vertex[k] = 0.0F;
        u->bend[k] = 0.0F;
        u->least[k] = INFINITY;
    }
}

/* Exact code words of every sub-block at a scale of its own, kept as parabolas. scale: (n_subs). */
static void add_lines(struct lines *u, const struct block *b, const float *scale)
{
    const uint32_t sub = b->book->sub;
    int8_t codes[BLOCK];
    nb_iq_round_block(b->book, scale, b->x, b->w, codes);
    for (uint32_t i = 0; i < b->n_subs; i++, u++) {
        float energy = 0.0F;
        float lx = 0.0F;
        float l2 = 0.0F;
        for (uint32_t j = i * sub; j < (i + 1) * sub; j++) {
            const float c = (float)codes[j];
            energy += b->w[j] * b->x[j] * b->x[j];
            lx += b->w[j] * c * b->x[j];
            l2 += b->w[j] * c * c;
        }
        nb_assert(u->n < MAX_LINES);
        u->vertex[u->n] = l2 > 0.0F ? lx / l2 : 0.0F;
        u->bend[u->n] = l2;
        u->least[u->n] = energy - u->vertex[u->n] * lx;
        u->n++;
    }
}

static float line_error(const struct lines *u, uint32_t k, float s)
{
    const float off = s - u->vertex[k];
    return u->least[k] + u->bend[k] * (off * off);
}

/* The best parabola and code of sub-block i; returns its error. */
static float pick(struct choice *c, const struct lines *u, const struct block *b, uint32_t i,
                  float inv)
{
    float best = INFINITY;
    for (uint32_t k = 0; k < u->n; k++) {
        const int32_t l = nb_code(u->vertex[k] * inv - 0.5F, 1.0F, 0.0F, (float)MAX_CODE);
        const float e = line_error(u, k, nb_iq_scale(b->book, c->d, l));
        if (e < best) {
            best = e;
            c->code[i] = (uint8_t)l;
            c->line[i] = (uint8_t)k;
        }
    }
    return best;
}

/* The least error that n parabolas (4, 8 or 12: a loop of fixed length becomes vectors) promise at d. */
static inline __attribute__((always_inline)) float least_of(const struct lines *u, float d,
                                                            float inv, float unit, uint32_t n)
{
    float e[MAX_LINES];
    for (uint32_t k = 0; k < n; k++) {
        float l = u->vertex[k] * inv - 0.5F;
        l = l < 0.0F ? 0.0F : l;
        l = l > (float)MAX_CODE ? (float)MAX_CODE : l;
        l = (l + 12582912.0F) - 12582912.0F;
        const float off = (d * (0.5F + l)) * unit - u->vertex[k];
        e[k] = u->least[k] + u->bend[k] * (off * off);
    }
    for (uint32_t k = 4; k < n; k++)
        e[k % 4] = e[k % 4] < e[k] ? e[k % 4] : e[k];
    const float lo = e[0] < e[1] ? e[0] : e[1];
    const float hi = e[2] < e[3] ? e[2] : e[3];
    return lo < hi ? lo : hi;
}

static float estimate(float d, const struct lines *u, const struct block *b)
{
    const float inv = nb_inverse(d * b->book->unit);
    const float unit = b->book->unit;
    float sum = 0.0F;
    for (uint32_t i = 0; i < b->n_subs; i++)
        sum += u[i].n <= 4   ? least_of(&u[i], d, inv, unit, 4)
               : u[i].n <= 8 ? least_of(&u[i], d, inv, unit, 8)
                             : least_of(&u[i], d, inv, unit, MAX_LINES);
    return sum;
}

/* Codes for c->d by the parabolas. */
static void choose(struct choice *c, const struct lines *u, const struct block *b)
{
    const float inv = nb_inverse(c->d * b->book->unit);
    c->error = 0.0F;
    for (uint32_t i = 0; i < b->n_subs; i++)
        c->error += pick(c, &u[i], b, i, inv);
}

static void polish(struct choice *c, const struct lines *u, const struct block *b)
{
    choose(c, u, b);
    for (int round = 0; round < ROUNDS; round++) {
        struct choice next = *c;
        float num = 0.0F;
        float den = 0.0F;
        for (uint32_t i = 0; i < b->n_subs; i++) {
            const float m = nb_iq_scale(b->book, 1.0F, c->code[i]);
            num += m * u[i].bend[c->line[i]] * u[i].vertex[c->line[i]];
            den += m * u[i].bend[c->line[i]] * m;
        }
        next.d = den > 0.0F ? stored(b, num / den) : c->d;
        if (next.d == c->d)
            break;
        choose(&next, u, b);
        if (!(next.error < c->error))
            break;
        *c = next;
    }
}

/* The codes that promise most at d, best first. */
static void promising(uint32_t code[CODES], const struct lines *u, const struct block *b, float d)
{
    float promise[MAX_CODE + 1];
    for (int32_t l = 0; l <= MAX_CODE; l++) {
        promise[l] = INFINITY;
        for (uint32_t k = 0; k < u->n; k++) {
            const float e = line_error(u, k, nb_iq_scale(b->book, d, l));
            promise[l] = e < promise[l] ? e : promise[l];
        }
    }
    for (int t = 0; t < CODES; t++) {
        code[t] = 0;
        for (uint32_t l = 1; l <= MAX_CODE; l++)
            code[t] = promise[l] < promise[code[t]] ? l : code[t];
        promise[code[t]] = INFINITY;
    }
}

static void settle(const struct choice *c, struct lines *u, const struct block *b)
{
    float scale[CODES][MAX_SUBS];
    for (uint32_t i = 0; i < b->n_subs; i++) {
        uint32_t code[CODES];
        promising(code, &u[i], b, c->d);
        for (int t = 0; t < CODES; t++)
            scale[t][i] = nb_iq_scale(b->book, c->d, (int32_t)code[t]);
    }
    for (int t = 0; t < CODES; t++)
        add_lines(u, b, scale[t]);
}

/* The ladder; returns the largest of the sub-blocks' best scales. */
static float climb(struct lines *u, const struct block *b)
{
    const struct nb_iq_grid *grid = b->book->grid;
    const struct ladder *ladder = grid->base == 3 ? &two_bits : &three_bits;
    const uint32_t sub = b->book->sub;
    nb_assert(ladder->n <= MAX_RUNGS);
    float scale[MAX_SUBS];
    float flat[MAX_SUBS]; /* nearly equal magnitudes: the lowest level alone may fit best */
    bool any_flat = false;
    for (uint32_t i = 0; i < b->n_subs; i++) {
        float amax = 0.0F;
        float amin = INFINITY;
        for (uint32_t j = i * sub; j < (i + 1) * sub; j++) {
            amax = fabsf(b->x[j]) > amax ? fabsf(b->x[j]) : amax;
            amin = fabsf(b->x[j]) < amin ? fabsf(b->x[j]) : amin;
        }
        scale[i] = amax / (float)grid->level[grid->base - 1] * ladder->first;
        flat[i] = amax / (float)grid->level[0];
        any_flat = any_flat || amin > 0.7F * amax;
    }
    for (uint32_t k = 0; k < ladder->n; k++) {
        add_lines(u, b, scale);
        for (uint32_t i = 0; i < b->n_subs; i++)
            scale[i] *= ladder->ratio;
    }
    if (any_flat)
        add_lines(u, b, flat);
    float top = 0.0F;
    for (uint32_t i = 0; i < b->n_subs; i++) {
        uint32_t best = 0;
        for (uint32_t k = 1; k < u[i].n; k++)
            best = u[i].least[k] < u[i].least[best] ? k : best;
        top = u[i].vertex[best] > top ? u[i].vertex[best] : top;
    }
    return top;
}

static __attribute__((noinline)) void search(struct choice *best, const struct block *b)
{
    static const float more[] = {-0.25F, 0.0F, 0.25F, 0.5F};
    struct lines u[MAX_SUBS];
    for (uint32_t i = 0; i < b->n_subs; i++)
        clear(&u[i]);
    const float top = climb(u, b);
    float least = INFINITY;
    for (int32_t l = MAX_CODE; l >= MAX_CODE / 2; l--) {
        for (size_t k = 0; k < NB_COUNTOF(more); k++) {
            const float d = stored(b, top / ((0.5F + (float)l + more[k]) * b->book->unit));
            const float e = estimate(d, u, b);
            if (e < least) {
                least = e;
                best->d = d;
            }
        }
    }
    polish(best, u, b);
    settle(best, u, b);
    polish(best, u, b);
}

void nb_iq_fit(const struct nb_iq_book *book, struct nb_grid *g, const float *x,
               const float *importance)
{
    struct block b;
    struct choice best = {.d = 0.0F};
    load(&b, book, x, importance);
    search(&best, &b);
    memset(g, 0, sizeof *g);
    g->d = best.d * b.grow;
    for (uint32_t s = 0; s < b.n_subs; s++) {
        g->scale_code[s] = best.code[s];
        g->scale[s] = nb_iq_scale(book, g->d, g->scale_code[s]);
    }
}

void nb_iq_refit(const struct nb_iq_book *book, struct nb_grid *g, uint32_t s, const float *x,
                 const float *importance)
{
    float w[MAX_SUB];
    float inv[MAX_SUB / NB_IQ_ROW];
    int8_t codes[MAX_SUB];
    float least = INFINITY;
    nb_numfmt_weights(w, importance, book->sub);
    for (int32_t l = 0; l <= MAX_CODE; l++) {
        const float scale = nb_iq_scale(book, g->d, l);
        float sum = 0.0F;
        for (uint32_t i = 0; i < book->sub / NB_IQ_ROW; i++)
            inv[i] = nb_inverse(scale);
        nb_kernels_get()->round_iq_f32(codes, book->grid, x, w, inv, book->sub / NB_IQ_ROW);
        for (uint32_t i = 0; i < book->sub; i++) {
            const float diff = x[i] - scale * (float)codes[i];
            sum += w[i] * diff * diff;
        }
        if (sum < least) {
            least = sum;
            g->scale_code[s] = (int16_t)l;
            g->scale[s] = scale;
        }
    }
}
