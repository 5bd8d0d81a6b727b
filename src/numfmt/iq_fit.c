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

enum {
    BLOCK = 256,
    MAX_CODE = 15,
    MAX_SUB = 32,
    MAX_SUBS = NB_IQ_SUBS,
    MAX_LINES = NB_IQ_LINES,
    TRIALS = 36,
};

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

/* A block in units of its largest magnitude: x = stored values * shrink. */
struct block {
    const struct nb_iq_book *book;
    float x[BLOCK], w[BLOCK];
    float energy[MAX_SUBS]; /* sum w x^2 */
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
    for (uint32_t i = 0; i < b->n_subs; i++) {
        b->energy[i] = 0.0F;
        for (uint32_t j = i * book->sub; j < (i + 1) * book->sub; j++)
            b->energy[i] += b->w[j] * b->x[j] * b->x[j];
    }
}

/* What d will be when it is read back. */
static float stored(const struct block *b, float d)
{
    return nb_via_f16(d * b->grow) * b->shrink;
}

/* Exact code words of every sub-block at a scale of its own, kept as parabolas. scale: (n_subs). */
static void add_lines(struct nb_iq_lines *u, const struct block *b, const float *scale)
{
    const uint32_t sub = b->book->sub;
    int8_t codes[BLOCK];
    nb_iq_round_block(b->book, scale, b->x, b->w, codes);
    nb_assert(u->n < MAX_LINES);
    const uint32_t k = u->n++;
    for (uint32_t i = 0; i < b->n_subs; i++) {
        float lx = 0.0F;
        float l2 = 0.0F;
        for (uint32_t j = i * sub; j < (i + 1) * sub; j++) {
            const float c = (float)codes[j];
            lx += b->w[j] * c * b->x[j];
            l2 += b->w[j] * c * c;
        }
        u->vertex[k][i] = l2 > 0.0F ? lx / l2 : 0.0F;
        u->bend[k][i] = l2;
        u->least[k][i] = b->energy[i] - u->vertex[k][i] * lx;
    }
}

static inline float line_error(const struct nb_iq_lines *u, uint32_t k, uint32_t i, float s)
{
    const float off = s - u->vertex[k][i];
    return u->least[k][i] + u->bend[k][i] * (off * off);
}

/* Codes for c->d, and the parabolas, of least error. */
static void choose(struct choice *c, const struct nb_iq_lines *u, const struct block *b)
{
    const float inv = nb_inverse(c->d * u->unit);
    c->error = 0.0F;
    for (uint32_t i = 0; i < u->n_subs; i++) {
        float least = INFINITY;
        for (uint32_t k = 0; k < u->n; k++) {
            const int32_t l = nb_code(u->vertex[k][i] * inv - 0.5F, 1.0F, 0.0F, (float)MAX_CODE);
            const float e = line_error(u, k, i, nb_iq_scale(b->book, c->d, l));
            if (e < least) {
                least = e;
                c->code[i] = (uint8_t)l;
                c->line[i] = (uint8_t)k;
            }
        }
        c->error += least;
    }
}

static void polish(struct choice *c, const struct nb_iq_lines *u, const struct block *b)
{
    choose(c, u, b);
    for (int round = 0; round < ROUNDS; round++) {
        struct choice next = *c;
        float num = 0.0F;
        float den = 0.0F;
        for (uint32_t i = 0; i < b->n_subs; i++) {
            const float m = nb_iq_scale(b->book, 1.0F, c->code[i]);
            num += m * u->bend[c->line[i]][i] * u->vertex[c->line[i]][i];
            den += m * u->bend[c->line[i]][i] * m;
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

/* The scales of the codes that promise most at d: best, second. The loops over sub-blocks are of one
 * length, so that they become vectors; those that a format lacks have no error. */
static void promising(float scale[CODES][MAX_SUBS], const struct nb_iq_lines *u,
                      const struct block *b, float d)
{
    float best[MAX_SUBS];
    float next[MAX_SUBS];
    for (uint32_t i = 0; i < MAX_SUBS; i++) {
        best[i] = next[i] = INFINITY;
        scale[0][i] = scale[1][i] = nb_iq_scale(b->book, d, 0);
    }
    for (int32_t l = 0; l <= MAX_CODE; l++) {
        const float s = nb_iq_scale(b->book, d, l);
        float promise[MAX_SUBS];
        for (uint32_t i = 0; i < MAX_SUBS; i++)
            promise[i] = INFINITY;
        for (uint32_t k = 0; k < u->n; k++) {
            for (uint32_t i = 0; i < MAX_SUBS; i++) {
                const float e = line_error(u, k, i, s);
                promise[i] = e < promise[i] ? e : promise[i];
            }
        }
        for (uint32_t i = 0; i < MAX_SUBS; i++) {
            const float e = promise[i];
            const float old = scale[0][i];
            const float beaten = e < best[i] ? best[i] : e;
            scale[1][i] = e < best[i] ? old : e < next[i] ? s : scale[1][i];
            scale[0][i] = e < best[i] ? s : old;
            next[i] = beaten < next[i] || e < best[i] ? beaten : next[i];
            best[i] = e < best[i] ? e : best[i];
        }
    }
}

static void settle(const struct choice *c, struct nb_iq_lines *u, const struct block *b)
{
    float scale[CODES][MAX_SUBS];
    promising(scale, u, b, c->d);
    for (int t = 0; t < CODES; t++)
        add_lines(u, b, scale[t]);
}

/* The ladder; returns the largest of the sub-blocks' best scales. */
static float climb(struct nb_iq_lines *u, const struct block *b)
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
        for (uint32_t k = 1; k < u->n; k++)
            best = u->least[k][i] < u->least[best][i] ? k : best;
        top = u->vertex[best][i] > top ? u->vertex[best][i] : top;
    }
    return top;
}

/* The d that promises least, of 36 that put the scale `top` on one of the upper codes. */
static float promising_d(const struct nb_iq_lines *u, const struct block *b, float top)
{
    static const float more[] = {-0.25F, 0.0F, 0.25F, 0.5F};
    float d[TRIALS];
    float inv[TRIALS];
    float error[TRIALS];
    for (int32_t t = 0; t < TRIALS; t++) {
        const float code = (float)(MAX_CODE - t / (int32_t)NB_COUNTOF(more));
        d[t] = stored(b, top / ((0.5F + code + more[t % (int32_t)NB_COUNTOF(more)]) * u->unit));
        inv[t] = nb_inverse(d[t] * u->unit);
    }
    nb_kernels_get()->promise_iq_f32(error, u, d, inv, TRIALS);
    float least = INFINITY;
    float best = 0.0F;
    for (uint32_t t = 0; t < TRIALS; t++) {
        best = error[t] < least ? d[t] : best;
        least = error[t] < least ? error[t] : least;
    }
    return best;
}

static __attribute__((noinline)) void search(struct choice *best, const struct block *b)
{
    struct nb_iq_lines u;
    memset(&u, 0, sizeof u);
    u.n_subs = b->n_subs;
    u.unit = b->book->unit;
    best->d = promising_d(&u, b, climb(&u, b));
    polish(best, &u, b);
    settle(best, &u, b);
    polish(best, &u, b);
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

/* ---- one sub-block again ---- */

enum { ALL = MAX_CODE + 1, AT_ONCE = 4 };

/* No code words do better at a scale than the nearest magnitudes would, were all tuples words: a bound for each
 * of the sixteen scales. */
static void bounds_of(float *bound, const struct nb_iq_book *b, const float *scale, const float *x,
                      const float *w)
{
    const struct nb_iq_grid *grid = b->grid;
    float inv[ALL];
    for (size_t l = 0; l < ALL; l++) {
        inv[l] = nb_inverse(fabsf(scale[l]));
        bound[l] = 0.0F;
    }
    for (uint32_t i = 0; i < b->sub; i++) {
        const float a = fabsf(x[i]);
        float level[ALL];
        for (size_t l = 0; l < ALL; l++)
            level[l] = (float)grid->level[0];
        for (uint32_t k = 1; k < grid->base; k++) {
            const float mid = 0.5F * (float)(grid->level[k - 1] + grid->level[k]);
            const float next = (float)grid->level[k];
            for (size_t l = 0; l < ALL; l++)
                level[l] = a * inv[l] > mid ? next : level[l];
        }
        for (size_t l = 0; l < ALL; l++) {
            const float off = a - fabsf(scale[l]) * level[l];
            bound[l] += w[i] * off * off;
        }
    }
}

/* What the exact code words lose at four scales. */
static void errors_of(float error[AT_ONCE], const struct nb_iq_book *b, const float *scale,
                      const float *x, const float *w)
{
    float xs[AT_ONCE * MAX_SUB];
    float ws[AT_ONCE * MAX_SUB];
    float inv[AT_ONCE * MAX_SUB / NB_IQ_ROW];
    int8_t codes[AT_ONCE * MAX_SUB];
    const uint32_t rows = b->sub / NB_IQ_ROW;
    for (uint32_t k = 0; k < AT_ONCE; k++) {
        memcpy(xs + k * b->sub, x, b->sub * sizeof *x);
        memcpy(ws + k * b->sub, w, b->sub * sizeof *w);
        for (uint32_t r = 0; r < rows; r++)
            inv[k * rows + r] = nb_inverse(scale[k]);
    }
    nb_kernels_get()->round_iq_f32(codes, b->grid, xs, ws, inv, AT_ONCE * rows);
    for (uint32_t k = 0; k < AT_ONCE; k++) {
        error[k] = 0.0F;
        for (uint32_t i = 0; i < b->sub; i++) {
            const float diff = x[i] - scale[k] * (float)codes[k * b->sub + i];
            error[k] += w[i] * diff * diff;
        }
    }
}

/* The best of all sixteen scales: those of least bounds first, until no other can be better. */
void nb_iq_refit(const struct nb_iq_book *b, struct nb_grid *g, uint32_t s, const float *x,
                 const float *importance)
{
    float w[MAX_SUB];
    float scale[ALL];
    float bound[ALL];
    uint8_t order[ALL];
    float least = INFINITY;
    nb_numfmt_weights(w, importance, b->sub);
    for (int32_t l = 0; l < ALL; l++)
        scale[l] = nb_iq_scale(b, g->d, l);
    bounds_of(bound, b, scale, x, w);
    for (uint8_t l = 0; l < ALL; l++) {
        uint8_t at = l;
        for (; at > 0 && bound[order[at - 1]] > bound[l]; at--)
            order[at] = order[at - 1];
        order[at] = l;
    }
    for (uint32_t k = 0; k < ALL && bound[order[k]] < least; k += AT_ONCE) {
        float four[AT_ONCE];
        float error[AT_ONCE];
        for (uint32_t t = 0; t < AT_ONCE; t++)
            four[t] = scale[order[k + t]];
        errors_of(error, b, four, x, w);
        for (uint32_t t = 0; t < AT_ONCE; t++)
            if (error[t] < least) {
                least = error[t];
                g->scale_code[s] = order[k + t];
                g->scale[s] = four[t];
            }
    }
}
