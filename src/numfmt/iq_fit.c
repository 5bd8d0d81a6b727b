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

enum { BLOCK = 256, MAX_CODE = 15, MAX_SUB = 32, MAX_SUBS = 16, MAX_LINES = 14 };

#ifndef IQ_LADDER
#define IQ_LADDER 6
#define IQ_FIRST  0.6F
#define IQ_STEP   1.2F
#define IQ_CODES  2
#define IQ_ROUNDS 4
#endif

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
        b->w[i] = 1.0F;
    }
    if (importance != NULL)
        nb_numfmt_weights(b->w, importance, BLOCK);
}

/* What d will be when it is read back. */
static float stored(const struct block *b, float d)
{
    return nb_via_f16(d * b->grow) * b->shrink;
}

/* Exact code words of sub-block i at scale s, kept as a parabola. */
static void add_line(struct lines *u, const struct block *b, uint32_t i, float s)
{
    const struct nb_iq_book *book = b->book;
    const float *x = b->x + (size_t)i * book->sub;
    const float *w = b->w + (size_t)i * book->sub;
    const float inv = nb_inverse(s);
    int8_t codes[MAX_SUB];
    float energy = 0.0F;
    float lx = 0.0F;
    float l2 = 0.0F;
    if (u->n == MAX_LINES)
        return;
    for (uint32_t j = 0; j < book->sub; j += book->word)
        nb_iq_word(book, x + j, w + j, inv, codes + j);
    for (uint32_t j = 0; j < book->sub; j++) {
        const float c = (float)codes[j];
        energy += w[j] * x[j] * x[j];
        lx += w[j] * c * x[j];
        l2 += w[j] * c * c;
    }
    u->vertex[u->n] = l2 > 0.0F ? lx / l2 : 0.0F;
    u->bend[u->n] = l2;
    u->least[u->n] = energy - u->vertex[u->n] * lx;
    u->n++;
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
    for (int round = 0; round < IQ_ROUNDS; round++) {
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

/* Exact code words at the codes that promise most. */
static void settle(const struct choice *c, struct lines *u, const struct block *b)
{
    for (uint32_t i = 0; i < b->n_subs; i++) {
        const uint32_t known = u[i].n;
        float promise[MAX_CODE + 1];
        for (int32_t l = 0; l <= MAX_CODE; l++) {
            promise[l] = INFINITY;
            for (uint32_t k = 0; k < known; k++) {
                const float e = line_error(&u[i], k, nb_iq_scale(b->book, c->d, l));
                promise[l] = e < promise[l] ? e : promise[l];
            }
        }
        for (int t = 0; t < IQ_CODES; t++) {
            int32_t at = 0;
            for (int32_t l = 1; l <= MAX_CODE; l++)
                at = promise[l] < promise[at] ? l : at;
            promise[at] = INFINITY;
            add_line(&u[i], b, i, nb_iq_scale(b->book, c->d, at));
        }
    }
}

/* The least-squares scale of the best rung. */
static float climb(struct lines *u, const struct block *b, uint32_t i)
{
    const struct nb_iq_book *book = b->book;
    const float *x = b->x + (size_t)i * book->sub;
    const int8_t *level = book->grid->level;
    float amax = 0.0F;
    float amin = INFINITY;
    for (uint32_t j = 0; j < book->sub; j++) {
        amax = fabsf(x[j]) > amax ? fabsf(x[j]) : amax;
        amin = fabsf(x[j]) < amin ? fabsf(x[j]) : amin;
    }
    float s = amax / (float)level[book->grid->base - 1] * IQ_FIRST;
    uint32_t best = 0;
    u->n = 0;
    for (uint32_t k = 0; k < IQ_LADDER; k++, s *= IQ_STEP) {
        add_line(u, b, i, s);
        best = u->least[k] < u->least[best] ? k : best;
    }
    if (amin > 0.7F * amax) { /* nearly equal magnitudes: the lowest level alone may fit best */
        add_line(u, b, i, amax / (float)level[0]);
        best = u->least[u->n - 1] < u->least[best] ? u->n - 1 : best;
    }
    return u->vertex[best];
}

static __attribute__((noinline)) void search(struct choice *best, const struct block *b)
{
    static const float more[] = {-0.25F, 0.0F, 0.25F, 0.5F};
    struct lines u[MAX_SUBS];
    float top = 0.0F;
    for (uint32_t i = 0; i < b->n_subs; i++) {
        const float s = climb(&u[i], b, i);
        top = s > top ? s : top;
    }
    best->error = INFINITY;
    for (int32_t l = MAX_CODE; l >= MAX_CODE / 2; l--) {
        for (size_t k = 0; k < NB_COUNTOF(more); k++) {
            struct choice c = {.d = stored(b, top / ((0.5F + (float)l + more[k]) * b->book->unit))};
            choose(&c, u, b);
            if (c.error < best->error)
                *best = c;
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
    struct choice best;
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
    float least = INFINITY;
    nb_numfmt_weights(w, importance, book->sub);
    for (int32_t l = 0; l <= MAX_CODE; l++) {
        const float scale = nb_iq_scale(book, g->d, l);
        float sum = 0.0F;
        int8_t codes[MAX_SUB];
        for (uint32_t i = 0; i < book->sub; i += book->word)
            nb_iq_word(book, x + i, w + i, nb_inverse(scale), codes + i);
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
