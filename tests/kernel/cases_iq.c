/* Inputs of round_iq_f32 (codebooks made up here, since kernels know none) and of promise_iq_f32. */
#include "cases.h"

#include <string.h>

enum { MAX_TUPLES = 6561, MAX_HALF = 81 };

static int8_t value[MAX_TUPLES * 8];
static uint8_t low[MAX_TUPLES];
static uint16_t start[MAX_HALF + 1];
static uint8_t run[MAX_HALF];
static const int8_t levels[2][8] = {{8, 25, 43}, {4, 12, 20, 28, 36, 44, 52, 62}};

/* variant: 1 even signs, 2 base 8, 4 few points */
static void make_book(struct nb_iq_grid *g, unsigned variant)
{
    const bool wide = (variant & 2) != 0;
    const int base = wide ? 8 : 3;
    const int dim = wide ? 4 : 8;
    const int half = wide ? 64 : 81;
    const unsigned one_in = (variant & 4) != 0 ? 97 : 7;
    uint16_t n = 0;
    *g = (struct nb_iq_grid){.dim = (uint8_t)dim,
                             .base = (uint8_t)base,
                             .half = (uint8_t)half,
                             .even = (variant & 1) != 0,
                             .value = value,
                             .low = low,
                             .start = start,
                             .run = run,
                             .level = levels[wide]};
    for (int c = 0; c < half * half; c++) {
        if (c % half == 0)
            start[c / half] = n;
        if (((unsigned)c * 2654435761U >> 16) % one_in != 0)
            continue;
        int rest = c;
        for (int j = 0; j < dim; j++, rest /= base)
            value[n * dim + j] = g->level[rest % base];
        low[n++] = (uint8_t)(c % half);
    }
    start[half] = n;
    g->n = n;
    for (int length = 1; length <= half; length++)
        for (int h = 0; h < half; h++)
            if (start[h + 1] - start[h] == length)
                run[g->n_runs++] = (uint8_t)h;
}

size_t round_iq_count(void)
{
    return 20 * 8 * 4;
}

/* n: values, rows of 8 */
void round_iq_case(struct kase *c, size_t i)
{
    c->n = i % 20 * 8;
    c->variant = (unsigned)(i / 20 % 8);
    c->pattern = (enum pattern)(i / 160 % PAT_COUNT);
    c->shift = i % 3;
}

void setup_round_iq(struct work *w, const struct kase *c)
{
    const size_t rows = c->n / 8;
    float *x = work_place(w, 0, c->n * sizeof *x, c->shift * sizeof *x);
    float *weight = work_place(w, 1, c->n * sizeof *weight, c->shift * sizeof *weight);
    float *inv = work_place(w, 2, rows * sizeof *inv, c->shift * sizeof *inv);
    int8_t *codes = work_place(w, 3, c->n, c->shift);
    for (size_t i = 0; i < c->n; i++) {
        x[i] = (float)((double)(int64_t)work_next(w) * 0x1p-63);
        weight[i] = (float)(work_next(w) >> 40) * 0x1p-22F;
        if (c->pattern == PAT_SPIKES && work_next(w) % 8 == 0)
            x[i] *= 1e4F;
        if (c->pattern == PAT_EXTREME) /* ties, zeros of either sign, weights of 0 */
            x[i] = (float)(int)(4.0F * x[i]) * (work_next(w) % 16 == 0 ? 1e37F : 0.25F);
        if (c->pattern == PAT_EXTREME && work_next(w) % 4 == 0)
            weight[i] = 0.0F;
        if (c->pattern == PAT_ZERO)
            x[i] = 0.0F;
    }
    for (size_t i = 0; i < rows; i++)
        inv[i] =
            c->pattern == PAT_EXTREME && i % 5 == 0 ? 0.0F : 20.0F + (float)(work_next(w) >> 58);
    memset(codes, 0x5a, c->n);
    work_add_out(w, codes, c->n, false);
}

void call_round_iq(void (*fn)(void), struct work *w, const struct kase *c)
{
    struct nb_iq_grid g;
    make_book(&g, c->variant);
    ((nb_round_iq_f32_fn *)fn)(w->p[3], &g, w->p[0], w->p[1], w->p[2], c->n / 8);
}

size_t promise_iq_count(void)
{
    return (size_t)40 * NB_IQ_LINES * PAT_COUNT;
}

/* n: scales; rows: sub-blocks; cols: lines of each */
void promise_iq_case(struct kase *c, size_t i)
{
    c->n = i % 40 + 1;
    c->cols = i / 40 % NB_IQ_LINES + 1;
    c->rows = i % 2 == 0 ? 8 : 16;
    c->pattern = (enum pattern)(i / (40 * (size_t)NB_IQ_LINES) % PAT_COUNT);
    c->shift = i % 3;
}

static float positive(struct work *w)
{
    return (float)(work_next(w) >> 40) * 0x1p-24F;
}

void setup_promise_iq(struct work *w, const struct kase *c)
{
    struct nb_iq_lines *u = work_place(w, 0, sizeof *u, 0);
    float *d = work_place(w, 1, c->n * sizeof *d, c->shift * sizeof *d);
    float *inv = work_place(w, 2, c->n * sizeof *inv, c->shift * sizeof *inv);
    float *error = work_place(w, 3, c->n * sizeof *error, c->shift * sizeof *error);
    memset(u, 0, sizeof *u);
    u->n = (uint32_t)c->cols;
    u->n_subs = (uint32_t)c->rows;
    u->unit = 0.25F;
    for (size_t k = 0; k < c->cols && c->pattern != PAT_ZERO; k++) {
        for (size_t i = 0; i < c->rows; i++) {
            u->vertex[k][i] = positive(w);
            u->bend[k][i] = 100.0F * positive(w);
            u->least[k][i] = positive(w);
            if (c->pattern == PAT_SPIKES && work_next(w) % 8 == 0)
                u->vertex[k][i] *= -1e4F;
            if (c->pattern == PAT_EXTREME && work_next(w) % 4 == 0)
                u->bend[k][i] *= 1e38F;
        }
    }
    for (size_t i = 0; i < c->n; i++) {
        d[i] = c->pattern == PAT_EXTREME && i % 5 == 0 ? 0.0F : positive(w) + 0x1p-20F;
        inv[i] = d[i] > 0.0F ? 1.0F / (d[i] * u->unit) : 0.0F;
        error[i] = -1.0F;
    }
    work_add_out(w, error, c->n * sizeof *error, true);
}

void call_promise_iq(void (*fn)(void), struct work *w, const struct kase *c)
{
    ((nb_promise_iq_f32_fn *)fn)(w->p[3], w->p[0], w->p[1], w->p[2], c->n);
}
