/* kernels/round_iq.tmpl.h: the best code words of rows of eight values, exact under weights, a row a lane.
 *
 * A tuple is cut into halves, a half into two parts (pairs of digits of base 3, or single digits of base
 * 8). Costs of parts and halves are sums of few numbers. Points are sorted by their second half, so those
 * that share it are a run: the best of a run is the least cost of its first halves, one minimum a point,
 * and only whole runs are compared, those of equal length together (branches are foreseen then). The
 * point itself is looked up in the winning run afterwards, by the same sums: rounding is monotone, so
 * one of them is, bit for bit, the least that was found.
 *
 * A value is a magnitude a = |x / scale| and a sign; a point v costs sum w v (v - 2 a), its squared error
 * less what no choice changes. Where the number of minus signs must be even and is not, one element
 * takes the other sign, which costs 4 w a v more: the cheapest, chosen together with the point. Rows
 * that need no flip are searched together, for about half the price.
 */
#include "kernels/kernels.h"
#include "kernels/lanes.h"

enum { IQ_ROW = 8, IQ_PARTS = 4, IQ_MAX_PART = 9, IQ_MAX_HALF = 81, IQ_MAX_COSTS = 32 };

/* Rows that are sorted by their need of a flip. */
enum { IQ_BATCH = 32 };

/* Beyond this many steps the best point no longer depends on how far; larger than any cost. */
#define IQ_FAR  4096.0F
#define IQ_HUGE 0x1p120F

/* The arguments of the kernel, and the numbers of up to LANES rows. */
struct iq_task {
    const struct nb_iq_grid *grid;
    int8_t *codes;      /* (rows, 8) */
    const float *x, *w; /* (rows, 8) */
    const float *inv;   /* (rows)    */
    const uint8_t *row; /* (used)    */
    size_t used;
    bool flips; /* some of these rows need a flip */
};

/* Rows as lanes. */
struct iq_rows {
    vf a[IQ_ROW], w[IQ_ROW];
    vu odd; /* all ones: an odd number of minus signs */
};

struct iq_parts {
    vf cost[IQ_PARTS][IQ_MAX_PART];
    vf price[IQ_PARTS][IQ_MAX_PART]; /* of the cheapest flip inside */
};

struct iq_found {
    float cost[LANES];
    uint32_t point[LANES];
};

NB_LANES_INLINE float iq_lane(const vf *v, size_t l)
{
    float lane;
    memcpy(&lane, (const char *)v + l * sizeof lane, sizeof lane);
    return lane;
}

/* Lanes beyond the last row repeat it. */
NB_LANES_INLINE void iq_load(struct iq_rows *r, const struct iq_task *t)
{
    const float *x[LANES];
    const float *w[LANES];
    float lane[LANES];
    for (size_t l = 0; l < LANES; l++) {
        const size_t row = t->row[l < t->used ? l : t->used - 1];
        x[l] = t->x + row * IQ_ROW;
        w[l] = t->w + row * IQ_ROW;
        lane[l] = t->inv[row];
    }
    const vf by = vf_load(lane);
    r->odd = vu_set(0);
    vf_load_rows(r->a, x, IQ_ROW);
    vf_load_rows(r->w, w, IQ_ROW);
    for (int j = 0; j < IQ_ROW; j++) {
        const vf v = r->a[j] * by;
        r->odd ^= vf_lt(v, vf_set(0.0F));
        r->a[j] = vf_min(vf_abs(v), vf_set(IQ_FAR));
    }
}

/* For the point of elements at, at + 1, ...; price: only lanes in `flips` pay for one flip, or NULL. */
NB_LANES_INLINE void iq_parts_of(struct iq_parts *p, const struct nb_iq_grid *g,
                                 const struct iq_rows *r, int at, const vu *flips, int base)
{
    vf cost[IQ_MAX_COSTS];
    vf price[IQ_MAX_COSTS];
    for (int j = 0; j < (base == 3 ? 8 : 4); j++) {
        const vf a = r->a[at + j];
        const vf w = r->w[at + j];
        for (int d = 0; d < base; d++) {
            const float v = g->level[d];
            cost[j * base + d] = w * ((vf_set(v) - a * 2.0F) * v);
            if (flips != NULL)
                price[j * base + d] = vu_float(vf_bits((w * a) * (4.0F * v)) & *flips);
        }
    }
    for (int q = 0; q < IQ_PARTS; q++) {
        for (int c = 0; c < (base == 3 ? 9 : base); c++) {
            const int i = base == 3 ? 2 * q * base + c % 3 : q * base + c;
            const int k = base == 3 ? (2 * q + 1) * base + c / 3 : i;
            p->cost[q][c] = base == 3 ? cost[i] + cost[k] : cost[i];
            if (flips != NULL)
                p->price[q][c] = vf_min(price[i], price[k]);
        }
    }
}

static __attribute__((noinline)) void iq_make_parts(struct iq_parts *p, const struct nb_iq_grid *g,
                                                    const struct iq_rows *r, int at)
{
    if (g->base == 3)
        iq_parts_of(p, g, r, at, NULL, 3);
    else
        iq_parts_of(p, g, r, at, NULL, 8);
}

static __attribute__((noinline)) void iq_make_parts_flip(struct iq_parts *p,
                                                         const struct nb_iq_grid *g,
                                                         const struct iq_rows *r, int at, vu flips)
{
    if (g->base == 3)
        iq_parts_of(p, g, r, at, &flips, 3);
    else
        iq_parts_of(p, g, r, at, &flips, 8);
}

/* Costs of first halves. */
NB_LANES_INLINE void iq_make_low(vf *low, const struct iq_parts *p, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < n; i++)
            low[k * n + i] = p->cost[0][i] + p->cost[1][k];
}

/* The winning runs of the lanes, and the least first half of each (where nothing flips). */
struct iq_runs {
    vf cost, least;
    vu where;
};

NB_LANES_INLINE void iq_keep(struct iq_runs *best, vf e, vf least, uint32_t h)
{
    const vu better = vf_lt(e, best->cost);
    best->least = vf_select(better, least, best->least);
    best->where = vf_bits(vf_select(better, vu_float(vu_set(h)), vu_float(best->where)));
    best->cost = vf_min(e, best->cost);
}

/* The points, in the winning runs. */
NB_LANES_INLINE void iq_find(struct iq_found *out, const struct nb_iq_grid *g, const vf *low,
                             const struct iq_runs *best)
{
    uint32_t run[LANES];
    vf_store(out->cost, best->cost);
    vu_store(run, best->where);
    for (size_t l = 0; l < LANES; l++) {
        const float least = iq_lane(&best->least, l);
        const uint32_t end = g->start[run[l] + 1];
        uint32_t i = g->start[run[l]];
        while (i < end && iq_lane(&low[g->low[i]], l) != least)
            i++;
        out->point[l] = i < end ? i : 0;
    }
}

/* The same where one element may flip. flip: first halves with one flip; n: codes of a part. */
NB_LANES_INLINE void iq_find_flip(struct iq_found *out, const struct nb_iq_grid *g,
                                  const struct iq_parts *p, const vf *low, const vf *flip,
                                  const struct iq_runs *best, uint32_t n)
{
    uint32_t run[LANES];
    vf_store(out->cost, best->cost);
    vu_store(run, best->where);
    for (size_t l = 0; l < LANES; l++) {
        const uint32_t h = run[l];
        const float high = iq_lane(&p->cost[2][h % n], l) + iq_lane(&p->cost[3][h / n], l);
        const float a = iq_lane(&p->price[2][h % n], l);
        const float b = iq_lane(&p->price[3][h / n], l);
        const float dear = high + (a < b ? a : b);
        out->point[l] = 0;
        for (uint32_t i = g->start[h]; i < g->start[h + 1]; i++) {
            const float e0 = high + iq_lane(&flip[g->low[i]], l);
            const float e1 = dear + iq_lane(&low[g->low[i]], l);
            if ((e0 < e1 ? e0 : e1) == out->cost[l]) {
                out->point[l] = i;
                break;
            }
        }
    }
}

/* No flips. */
NB_LANES_INLINE void iq_search_of(struct iq_found *out, const struct nb_iq_grid *g,
                                  const struct iq_parts *p, uint32_t n)
{
    vf low[IQ_MAX_HALF];
    struct iq_runs best = {vf_set(IQ_HUGE), vf_set(IQ_HUGE), vu_set(0)};
    iq_make_low(low, p, n);
    for (uint32_t k = 0; k < g->n_runs; k++) {
        const uint32_t h = g->run[k];
        const uint32_t end = g->start[h + 1];
        uint32_t i = g->start[h];
        vf least = low[g->low[i]];
        for (i++; i + 1 < end; i += 2)
            least = vf_min(vf_min(low[g->low[i]], low[g->low[i + 1]]), least);
        if (i < end)
            least = vf_min(low[g->low[i]], least);
        iq_keep(&best, (p->cost[2][h % n] + p->cost[3][h / n]) + least, least, h);
    }
    iq_find(out, g, low, &best);
}

static __attribute__((noinline)) void iq_search(struct iq_found *out, const struct nb_iq_grid *g,
                                                const struct iq_parts *p)
{
    if (g->base == 3)
        iq_search_of(out, g, p, 9);
    else
        iq_search_of(out, g, p, 8);
}

/* One flip. low: costs of first halves, made by the caller so that each keeps its tables in a small frame. */
NB_LANES_INLINE void iq_search_flip_of(struct iq_found *out, const struct nb_iq_grid *g,
                                       const struct iq_parts *p, const vf *low, uint32_t n)
{
    vf flip[IQ_MAX_HALF]; /* first halves with one flip */
    struct iq_runs best = {vf_set(IQ_HUGE), vf_set(IQ_HUGE), vu_set(0)};
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < n; i++)
            flip[k * n + i] = low[k * n + i] + vf_min(p->price[0][i], p->price[1][k]);
    for (uint32_t k = 0; k < g->n_runs; k++) {
        const uint32_t h = g->run[k];
        const uint32_t end = g->start[h + 1];
        const vf high = p->cost[2][h % n] + p->cost[3][h / n];
        const vf dear = high + vf_min(p->price[2][h % n], p->price[3][h / n]);
        uint32_t i = g->start[h];
        vf least = low[g->low[i]];
        vf least_flip = flip[g->low[i]];
        for (i++; i + 1 < end; i += 2) {
            const uint32_t a = g->low[i];
            const uint32_t b = g->low[i + 1];
            least = vf_min(vf_min(low[a], low[b]), least);
            least_flip = vf_min(vf_min(flip[a], flip[b]), least_flip);
        }
        if (i < end) {
            least = vf_min(low[g->low[i]], least);
            least_flip = vf_min(flip[g->low[i]], least_flip);
        }
        iq_keep(&best, vf_min(high + least_flip, dear + least), least, h);
    }
    iq_find_flip(out, g, p, low, flip, &best, n);
}

static __attribute__((noinline)) void iq_flip_runs(struct iq_found *out, const struct nb_iq_grid *g,
                                                   const struct iq_parts *p, const vf *low)
{
    if (g->base == 3)
        iq_search_flip_of(out, g, p, low, 9);
    else
        iq_search_flip_of(out, g, p, low, 8);
}

static __attribute__((noinline)) void
iq_search_flip(struct iq_found *out, const struct nb_iq_grid *g, const struct iq_parts *p)
{
    vf low[IQ_MAX_HALF];
    iq_make_low(low, p, g->base == 3 ? 9 : 8);
    iq_flip_runs(out, g, p, low);
}

/* Signed numbers of the n elements of a point, one of them with the other sign where flip. */
NB_LANES_INLINE void iq_write(const struct iq_task *t, size_t l, int first, uint32_t index,
                              bool flip, int n)
{
    const size_t at = (size_t)t->row[l] * IQ_ROW + (size_t)first;
    const float inv = t->inv[t->row[l]];
    const int8_t *value = t->grid->value + (size_t)index * (size_t)n;
    int8_t *codes = t->codes + at;
    for (int j = 0; j < n; j++) {
        const int minus = -(t->x[at + (size_t)j] * inv < 0.0F);
        codes[j] = (int8_t)((value[j] ^ minus) - minus);
    }
    if (!flip)
        return;
    float least = IQ_HUGE;
    int cheapest = 0;
    for (int j = 0; j < n; j++) {
        const float r = t->x[at + (size_t)j] * inv;
        const float a = r < 0.0F ? -r : r;
        const float price = (t->w[at + (size_t)j] * (a < IQ_FAR ? a : IQ_FAR)) * (float)value[j];
        cheapest = price < least ? j : cheapest;
        least = price < least ? price : least;
    }
    codes[cheapest] = (int8_t)-codes[cheapest];
}

static void iq_rows_of_8(const struct iq_task *t)
{
    struct iq_rows r;
    struct iq_parts p;
    struct iq_found found;
    uint32_t odd[LANES];
    iq_load(&r, t);
    vu_store(odd, t->flips ? r.odd : vu_set(0));
    if (t->flips) {
        iq_make_parts_flip(&p, t->grid, &r, 0, r.odd);
        iq_search_flip(&found, t->grid, &p);
    } else {
        iq_make_parts(&p, t->grid, &r, 0);
        iq_search(&found, t->grid, &p);
    }
    for (size_t l = 0; l < t->used; l++)
        iq_write(t, l, 0, found.point[l], odd[l] != 0, IQ_ROW);
}

/* Two points a row; a flip goes to the one where it costs less. */
static void iq_rows_of_4(const struct iq_task *t)
{
    struct iq_rows r;
    struct iq_parts p;
    struct iq_found plain[2];
    struct iq_found flip[2] = {{{0.0F}, {0}}, {{0.0F}, {0}}};
    uint32_t odd[LANES];
    iq_load(&r, t);
    vu_store(odd, t->flips ? r.odd : vu_set(0));
    for (int k = 0; k < 2; k++) {
        if (t->flips) {
            iq_make_parts_flip(&p, t->grid, &r, 4 * k, vu_set(~0U));
            iq_search_flip(&flip[k], t->grid, &p);
        } else {
            iq_make_parts(&p, t->grid, &r, 4 * k);
        }
        iq_search(&plain[k], t->grid, &p);
    }
    for (size_t l = 0; l < t->used; l++) {
        bool first = false;
        bool second = false;
        if (odd[l] != 0) {
            first = flip[0].cost[l] + plain[1].cost[l] <= plain[0].cost[l] + flip[1].cost[l];
            second = !first;
        }
        iq_write(t, l, 0, first ? flip[0].point[l] : plain[0].point[l], first, 4);
        iq_write(t, l, 4, second ? flip[1].point[l] : plain[1].point[l], second, 4);
    }
}

/* Writes 0..n-1, rows that need no flip first; returns how many these are. */
static size_t iq_sort(uint8_t *order, const float *x, const float *inv, size_t n)
{
    uint8_t odd[IQ_BATCH];
    size_t n_odd = 0;
    size_t n_even = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned minus = 0;
        for (size_t j = 0; j < IQ_ROW; j++)
            minus ^= x[i * IQ_ROW + j] * inv[i] < 0.0F;
        order[n_even] = (uint8_t)i;
        odd[n_odd] = (uint8_t)i;
        n_even += 1U - minus;
        n_odd += minus;
    }
    memcpy(order + n_even, odd, n_odd);
    return n_even;
}

void NB_LANES_NAME(round_iq_f32)(int8_t *codes, const struct nb_iq_grid *g, const float *x,
                                 const float *w, const float *inv, size_t n_rows)
{
    for (size_t at = 0; at < n_rows; at += IQ_BATCH) {
        uint8_t order[IQ_BATCH];
        const size_t n = n_rows - at < IQ_BATCH ? n_rows - at : IQ_BATCH;
        struct iq_task t = {.grid = g,
                            .codes = codes + at * IQ_ROW,
                            .x = x + at * IQ_ROW,
                            .w = w + at * IQ_ROW,
                            .inv = inv + at};
        const size_t n_even = iq_sort(order, t.x, t.inv, n);
        for (size_t i = 0; i < n; i += LANES) {
            t.row = order + i;
            t.used = n - i < LANES ? n - i : LANES;
            t.flips = g->even && i + t.used > n_even;
            if (g->dim == IQ_ROW)
                iq_rows_of_8(&t);
            else
                iq_rows_of_4(&t);
        }
    }
}
