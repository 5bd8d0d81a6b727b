/* numfmt/iq1.c: the search of iq1_s and iq1_m (docs/formats/ggml-blocks.md).
 *
 * Eight elements have a word of the ternary code book and a shift of an eighth: value = dl (g + shift / 8) with
 * g -1, 0 or 1, dl = d (2 l + 1) and l 0..7. Codes here are 8 g + shift, in steps of dl / 8.
 *
 * The words of a sub-block fixed, its error is a parabola in its scale. As in iq_fit.c the search collects such
 * parabolas:
 * 1. each sub-block, for either shift: the best scale if every tuple were in the code book, exactly, by the
 *    sorted points where a code changes (as best_scale.c); the best words there, by exact weighted search;
 * 2. many d are compared by the parabolas alone, each sub-block taking its best l; then d by least squares;
 * 3. each sub-block finds its words again at the scale it was given, and d is fitted again.
 * ggml's encoder tries all pairs of cuts (the same scales as in 1), picks words from a list of neighbours, and sets
 * d by the largest scale alone.
 */
#include "numfmt/iq1.h"

#include <math.h>

enum { BLOCK = NB_IQ1_BLOCK, DIM = NB_IQ1_DIM, LEVELS = 3, TOP = 7, MAX_SUB = 32, MAX_LINES = 3 };
enum { POLISH_TURNS = 3, D_TRIALS = 24 };

int nb_iq1_shift(int8_t code)
{
    return ((code + 16) & 7) == 1 ? 1 : -1;
}

uint32_t nb_iq1_index(const int8_t *codes)
{
    int8_t g[DIM];
    const int shift = nb_iq1_shift(codes[0]);
    for (size_t j = 0; j < DIM; j++)
        g[j] = (int8_t)((codes[j] - shift) / 8);
    const int32_t index = nb_iq_index(&nb_iq_grid_iq1, g);
    nb_assert(index >= 0);
    return (uint32_t)(index < 0 ? 0 : index);
}

void nb_iq1_codes(int8_t *codes, uint32_t index, int shift)
{
    const int8_t *g = nb_iq_grid_iq1.value + (size_t)index * DIM;
    for (size_t j = 0; j < DIM; j++)
        codes[j] = (int8_t)(8 * g[j] + shift);
}

/* ---- words ---- */

/* The best word for one shift; returns its cost, or INFINITY if that cannot be below limit. */
static float nearest_word(const float *x, const float *w, float step, int shift, float limit,
                          int8_t *codes)
{
    float cost[LEVELS * DIM];
    float least = 0.0F;
    for (int d = 0; d < LEVELS; d++) {
        const float level = step * (float)(8 * (d - 1) + shift);
        for (size_t j = 0; j < DIM; j++)
            cost[d * DIM + (int)j] = w[j] * (x[j] - level) * (x[j] - level);
    }
    for (size_t j = 0; j < DIM; j++) {
        const float low = NB_MIN(cost[j], cost[DIM + j]);
        least += NB_MIN(low, cost[2 * DIM + j]);
    }
    if (!(least < limit))
        return INFINITY;
    const int32_t index = nb_iq_nearest(&nb_iq_grid_iq1, cost, &least);
    nb_iq1_codes(codes, (uint32_t)index, shift);
    return least;
}

/* The better shift for n elements. */
static void nearest_run(const float *x, const float *w, uint32_t n, float step, int8_t *codes)
{
    float best = INFINITY;
    for (int shift = 1; shift >= -1; shift -= 2) {
        int8_t trial[MAX_SUB];
        float cost = 0.0F;
        for (uint32_t i = 0; i < n && cost < best; i += DIM)
            cost += nearest_word(x + i, w + i, step, shift, best - cost, trial + i);
        if (cost < best || best == INFINITY) {
            best = cost;
            memcpy(codes, trial, n);
        }
    }
}

void nb_iq1_round(const float *x, const float *w, float step, int shift, int8_t *codes,
                  float *values)
{
    static const float ones[DIM] = {1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F};
    float near[DIM];
    const float far = 1e4F * fabsf(step); /* squares of values stay finite */
    for (size_t j = 0; j < DIM; j++)
        near[j] = x[j] > far ? far : x[j] < -far ? -far : x[j];
    w = w != NULL ? w : ones;
    if (shift == 0)
        nearest_run(near, w, DIM, step, codes);
    else
        (void)nearest_word(near, w, step, shift, INFINITY, codes);
    for (size_t j = 0; j < DIM; j++)
        values[j] = step * (float)codes[j];
}

/* ---- one sub-block ---- */

/* Choices of words: error = least + bend (step - vertex)^2. */
struct lines {
    uint32_t n;
    float vertex[MAX_LINES], bend[MAX_LINES], least[MAX_LINES];
    int8_t shift[MAX_LINES]; /* of the first run */
};

/* A block in units of a power of two near its largest value. */
struct block {
    float x[BLOCK];
    float w[BLOCK];
    float grow, shrink;
    struct nb_iq1_shape shape;
    uint32_t subs;
};

/* The best words of sub-block s for a step, as a parabola; shift 0: the better of both, run by run. */
static void add_line(struct lines *u, const struct block *b, uint32_t s, float step, int shift)
{
    const float *x = b->x + (size_t)s * b->shape.sub;
    const float *w = b->w + (size_t)s * b->shape.sub;
    int8_t codes[MAX_SUB] = {0};
    float energy = 0.0F;
    float lx = 0.0F;
    float l2 = 0.0F;
    if (shift != 0)
        for (uint32_t i = 0; i < b->shape.sub; i += DIM)
            (void)nearest_word(x + i, w + i, step, shift, INFINITY, codes + i);
    else
        for (uint32_t i = 0; i < b->shape.sub; i += b->shape.run)
            nearest_run(x + i, w + i, b->shape.run, step, codes + i);
    for (uint32_t i = 0; i < b->shape.sub; i++) {
        energy += w[i] * x[i] * x[i];
        lx += w[i] * x[i] * (float)codes[i];
        l2 += w[i] * (float)codes[i] * (float)codes[i];
    }
    nb_assert(u->n < MAX_LINES);
    u->vertex[u->n] = lx / l2;
    u->bend[u->n] = l2;
    u->least[u->n] = energy - lx * u->vertex[u->n];
    u->shift[u->n] = (int8_t)nb_iq1_shift(codes[0]);
    u->n++;
}

/* Points in the order in which codes change as 1 / step grows: |x| over its threshold, largest first. */
struct points {
    float at[MAX_SUB];
    uint8_t i[MAX_SUB];
};

static void sort_points(struct points *p, uint32_t n)
{
    for (uint32_t a = 1; a < n; a++) {
        const float at = p->at[a];
        const uint8_t i = p->i[a];
        uint32_t b = a;
        for (; b > 0 && p->at[b - 1] < at; b--) {
            p->at[b] = p->at[b - 1];
            p->i[b] = p->i[b - 1];
        }
        p->at[b] = at;
        p->i[b] = i;
    }
}

/* The best step if all tuples were words, all with the same shift. */
static float free_step(const struct block *b, uint32_t s, float shift)
{
    const struct nb_iq1_shape shape = b->shape;
    const float *x = b->x + (size_t)s * shape.sub;
    const float *w = b->w + (size_t)s * shape.sub;
    struct points p;
    float lx = 0.0F;
    float l2 = 0.0F;
    float step = 0.0F;
    float gain = 0.0F;
    for (uint32_t i = 0; i < shape.sub; i++) {
        lx += w[i] * x[i] * shift;
        l2 += w[i];
        /* From 0 to 1 at shift / 8 + 1/2, to -1 at shift / 8 - 1/2: 5/8 and 3/8 or the other way. */
        const bool away = (x[i] < 0.0F) == (shift < 0.0F);
        p.at[i] = fabsf(x[i]) * (away ? 0.6F : 1.0F);
        p.i[i] = (uint8_t)i;
    }
    sort_points(&p, shape.sub);
    for (uint32_t k = 0; k < shape.sub; k++) {
        const uint32_t i = p.i[k];
        const float side = x[i] < 0.0F ? -1.0F : 1.0F;
        lx += 8.0F * w[i] * fabsf(x[i]);
        l2 += w[i] * (64.0F + 16.0F * side * shift); /* (8 side + shift)^2 - 1 */
        if (lx > 0.0F && lx * lx > gain * l2) {
            step = lx / l2;
            gain = lx * step;
        }
    }
    return step;
}

/* Words for the best step of either shift; where there are several runs each chooses its shift anew. Returns
 * the step of the best. */
static float climb(struct lines *u, const struct block *b, uint32_t s)
{
    u->n = 0;
    for (int shift = 1; shift >= -1; shift -= 2)
        add_line(u, b, s, free_step(b, s, (float)shift), b->shape.run == b->shape.sub ? shift : 0);
    uint32_t best = 0;
    for (uint32_t k = 1; k < u->n; k++)
        best = u->least[k] < u->least[best] ? k : best;
    return u->vertex[best];
}

/* ---- the block ---- */

struct choice {
    float d, error;
    uint8_t code[NB_NUMFMT_MAX_SUBS], line[NB_NUMFMT_MAX_SUBS];
    bool minus[NB_NUMFMT_MAX_SUBS]; /* at the end: shift of the first run */
};

static float line_error(const struct lines *u, uint32_t k, float step)
{
    const float off = step - u->vertex[k];
    return u->least[k] + u->bend[k] * (off * off);
}

/* Codes for c->d by the parabolas. */
static void choose(struct choice *c, const struct lines *u, const struct block *b)
{
    const float inv = nb_inverse(c->d * 0.25F);
    c->error = 0.0F;
    for (uint32_t s = 0; s < b->subs; s++) {
        float best = INFINITY;
        for (uint32_t k = 0; k < u[s].n; k++) {
            const int32_t l = nb_code(u[s].vertex[k] * inv - 0.5F, 1.0F, 0.0F, (float)TOP);
            const float e = line_error(&u[s], k, nb_iq1_step(c->d, l));
            if (e < best) {
                best = e;
                c->code[s] = (uint8_t)l;
                c->line[s] = (uint8_t)k;
            }
        }
        c->error += best;
    }
}

static float stored(const struct block *b, float d)
{
    return nb_via_f16(d * b->grow) * b->shrink;
}

/* Least squares and the choice of codes in turns. */
static void polish(struct choice *c, const struct lines *u, const struct block *b)
{
    choose(c, u, b);
    for (int turn = 0; turn < POLISH_TURNS; turn++) {
        struct choice next = *c;
        float lx = 0.0F;
        float l2 = 0.0F;
        for (uint32_t s = 0; s < b->subs; s++) {
            const float m = nb_iq1_step(1.0F, c->code[s]);
            lx += m * u[s].bend[c->line[s]] * u[s].vertex[c->line[s]];
            l2 += m * u[s].bend[c->line[s]] * m;
        }
        next.d = stored(b, lx / l2);
        choose(&next, u, b);
        if (!(next.error < c->error))
            break;
        *c = next;
    }
}

/* Words at the chosen codes. */
static void settle(const struct choice *c, struct lines *u, const struct block *b)
{
    for (uint32_t s = 0; s < b->subs; s++)
        add_line(&u[s], b, s, nb_iq1_step(c->d, c->code[s]),
                 b->shape.run == b->shape.sub ? u[s].shift[c->line[s]] : 0);
}

static __attribute__((noinline)) void search(struct choice *best, const struct block *b)
{
    struct lines u[NB_NUMFMT_MAX_SUBS];
    float top = 0.0F;
    for (uint32_t s = 0; s < b->subs; s++) {
        const float step = climb(&u[s], b, s);
        top = step > top ? step : top;
    }
    /* The largest scale between 0.55 and 1.1 of the largest that d gives. */
    best->error = INFINITY;
    for (int t = 0; t < D_TRIALS; t++) {
        const float d = top * (8.0F / 16.5F) * (1.0F + (float)t / (float)D_TRIALS);
        struct choice c = {.d = stored(b, d)};
        choose(&c, u, b);
        if (c.error < best->error)
            *best = c;
    }
    polish(best, u, b);
    settle(best, u, b);
    polish(best, u, b);
    for (uint32_t s = 0; s < b->subs; s++)
        best->minus[s] = u[s].shift[best->line[s]] < 0;
}

static void load(struct block *b, const float *x, const float *importance,
                 struct nb_iq1_shape shape)
{
    float amax = 0x1p-30F;
    for (size_t i = 0; i < BLOCK; i++)
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    amax = amax > 0x1p30F ? 0x1p30F : amax;
    b->grow = nb_f32_from_bits(nb_f32_bits(amax) & 0x7f800000U);
    b->shrink = 1.0F / b->grow;
    for (size_t i = 0; i < BLOCK; i++) {
        const float v = x[i] * b->shrink;
        b->x[i] = v > 4.0F ? 4.0F : v < -4.0F ? -4.0F : v;
        b->w[i] = 1.0F;
    }
    if (importance != NULL)
        nb_numfmt_weights(b->w, importance, BLOCK);
    b->shape = shape;
    b->subs = BLOCK / shape.sub;
}

void nb_iq1_fit(struct nb_grid *g, const float *x, const float *importance,
                struct nb_iq1_shape shape)
{
    struct block b;
    struct choice best;
    load(&b, x, importance, shape);
    search(&best, &b);
    memset(g, 0, sizeof *g);
    g->d = best.d * b.grow;
    for (uint32_t s = 0; s < b.subs; s++) {
        g->scale_code[s] = best.code[s];
        g->min_code[s] = (int16_t)(shape.run < shape.sub ? 0 : best.minus[s] ? -1 : 1);
        g->scale[s] = nb_iq1_step(g->d, g->scale_code[s]);
    }
}

/* All eight scales, each with its best words. */
void nb_iq1_refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance,
                  struct nb_iq1_shape shape)
{
    float w[MAX_SUB];
    float least = INFINITY;
    nb_numfmt_weights(w, importance, shape.sub);
    for (int32_t code = 0; code <= TOP; code++) {
        const float step = nb_iq1_step(g->d, code);
        int8_t codes[MAX_SUB];
        float sum = 0.0F;
        for (uint32_t i = 0; i < shape.sub; i += shape.run)
            nearest_run(x + i, w + i, shape.run, step, codes + i);
        for (uint32_t i = 0; i < shape.sub; i++) {
            const float diff = x[i] - step * (float)codes[i];
            sum += w[i] * diff * diff;
        }
        if (sum < least) {
            least = sum;
            g->scale_code[s] = (int16_t)code;
            g->min_code[s] = (int16_t)(shape.run < shape.sub ? 0 : nb_iq1_shift(codes[0]));
            g->scale[s] = step;
        }
    }
}
