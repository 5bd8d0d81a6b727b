/* kernels/round_iq.tmpl.h: the best code words of rows of eight values, exact under weights, a row a lane.
 *
 * A tuple is cut into halves, a half into two parts (pairs of digits of base 3, or single digits of base
 * 8). Costs of parts and halves are sums of few numbers. Points are sorted by their second half, so those
 * that share it are a run: the best of a run is the least cost of its first halves, one minimum a point,
 * and only whole runs are compared, those of equal length together (branches are foreseen then). The point itself is looked up in the winning run afterwards, by the
 * same sums: rounding is monotone, so their least is the one that was found.
 *
 * A value is a magnitude a = |x / scale| and a sign; a point v costs sum w v (v - 2 a), its squared error
 * less what no choice changes. Where the number of minus signs must be even and is not, one element
 * takes the other sign, which costs 4 w a v more: the cheapest, chosen together with the point.
 */
#include "kernels/kernels.h"
#include "kernels/lanes.h"

enum { IQ_ROW = 8, IQ_PARTS = 4, IQ_MAX_PART = 9, IQ_MAX_HALF = 81, IQ_MAX_COSTS = 32 };

/* Beyond this many steps the best point no longer depends on how far; larger than any cost. */
#define IQ_FAR  4096.0F
#define IQ_HUGE 0x1p120F

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

NB_LANES_INLINE void iq_load(struct iq_rows *r, const float *x, const float *w, const float *inv,
                             size_t used)
{
    float lane[LANES];
    for (size_t l = 0; l < LANES; l++)
        lane[l] = inv[l < used ? l : used - 1];
    const vf by = vf_load(lane);
    r->odd = vu_set(0);
    vf_load_turned(r->a, x, IQ_ROW, used);
    vf_load_turned(r->w, w, IQ_ROW, used);
    for (int j = 0; j < IQ_ROW; j++) {
        const vf v = r->a[j] * by;
        r->odd ^= vf_lt(v, vf_set(0.0F));
        r->a[j] = vf_min(vf_abs(v), vf_set(IQ_FAR));
    }
}

/* For the point of elements at, at + 1, ...; only lanes in `flips` pay for one flip. */
NB_LANES_INLINE void iq_parts_of(struct iq_parts *p, const struct nb_iq_grid *g,
                                 const struct iq_rows *r, int at, vu flips, int base)
{
    vf cost[IQ_MAX_COSTS];
    vf price[IQ_MAX_COSTS];
    for (int j = 0; j < (base == 3 ? 8 : 4); j++) {
        const vf a = r->a[at + j];
        const vf w = r->w[at + j];
        for (int d = 0; d < base; d++) {
            const float v = g->level[d];
            cost[j * base + d] = w * ((vf_set(v) - a * 2.0F) * v);
            price[j * base + d] = vu_float(vf_bits((w * a) * (4.0F * v)) & flips);
        }
    }
    for (int q = 0; q < IQ_PARTS; q++) {
        for (int c = 0; c < (base == 3 ? 9 : base); c++) {
            const int i = base == 3 ? 2 * q * base + c % 3 : q * base + c;
            p->cost[q][c] = cost[i];
            p->price[q][c] = price[i];
            if (base == 3) {
                const int k = (2 * q + 1) * base + c / 3;
                p->cost[q][c] = cost[i] + cost[k];
                p->price[q][c] = vf_min(price[i], price[k]);
            }
        }
    }
}

static __attribute__((noinline)) void iq_make_parts(struct iq_parts *p, const struct nb_iq_grid *g,
                                                    const struct iq_rows *r, int at, vu flips)
{
    if (g->base == 3)
        iq_parts_of(p, g, r, at, flips, 3);
    else
        iq_parts_of(p, g, r, at, flips, 8);
}

/* Costs of first halves. */
NB_LANES_INLINE void iq_make_low(vf *low, const struct iq_parts *p, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < n; i++)
            low[k * n + i] = p->cost[0][i] + p->cost[1][k];
}

/* The winning runs of the lanes. */
struct iq_runs {
    vf cost;
    vu where;
};

NB_LANES_INLINE void iq_keep(struct iq_runs *best, vf e, uint32_t h)
{
    const vu better = vf_lt(e, best->cost);
    best->where = (better & vu_set(h)) | (~better & best->where);
    best->cost = vf_min(e, best->cost);
}

/* The points, in the winning runs. */
NB_LANES_INLINE void iq_find(struct iq_found *out, const struct nb_iq_grid *g, const vf *low,
                             struct iq_runs best)
{
    uint32_t run[LANES];
    vf_store(out->cost, best.cost);
    vu_store(run, best.where);
    for (size_t l = 0; l < LANES; l++) {
        float least = IQ_HUGE;
        out->point[l] = 0;
        for (uint32_t i = g->start[run[l]]; i < g->start[run[l] + 1]; i++) {
            const float e = iq_lane(&low[g->low[i]], l);
            if (e < least) {
                least = e;
                out->point[l] = i;
            }
        }
    }
}

/* No flips. */
static __attribute__((noinline)) void iq_search(struct iq_found *out, const struct nb_iq_grid *g,
                                                const struct iq_parts *p)
{
    const uint32_t n = g->base == 3 ? 9 : 8;
    vf low[IQ_MAX_HALF];
    struct iq_runs best = {vf_set(IQ_HUGE), vu_set(0)};
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
        iq_keep(&best, (p->cost[2][h % n] + p->cost[3][h / n]) + least, h);
    }
    iq_find(out, g, low, best);
}

NB_LANES_INLINE void iq_find_flip(struct iq_found *out, const struct nb_iq_grid *g,
                                  const struct iq_parts *p, const vf *low, const vf *flip,
                                  struct iq_runs best)
{
    const uint32_t n = g->base == 3 ? 9 : 8;
    uint32_t run[LANES];
    vf_store(out->cost, best.cost);
    vu_store(run, best.where);
    for (size_t l = 0; l < LANES; l++) {
        const uint32_t h = run[l];
        const float high = iq_lane(&p->cost[2][h % n], l) + iq_lane(&p->cost[3][h / n], l);
        const float a = iq_lane(&p->price[2][h % n], l);
        const float b = iq_lane(&p->price[3][h / n], l);
        const float dear = high + (a < b ? a : b);
        float least = IQ_HUGE;
        out->point[l] = 0;
        for (uint32_t i = g->start[h]; i < g->start[h + 1]; i++) {
            const float e0 = high + iq_lane(&flip[g->low[i]], l);
            const float e1 = dear + iq_lane(&low[g->low[i]], l);
            const float e = e0 < e1 ? e0 : e1;
            if (e < least) {
                least = e;
                out->point[l] = i;
            }
        }
    }
}

static __attribute__((noinline)) void iq_flip_runs(struct iq_found *out, struct iq_runs *plain,
                                                   const struct nb_iq_grid *g,
                                                   const struct iq_parts *p, const vf *low)
{
    const uint32_t n = g->base == 3 ? 9 : 8;
    vf flip[IQ_MAX_HALF]; /* first halves with one flip */
    struct iq_runs best = {vf_set(IQ_HUGE), vu_set(0)};
    *plain = best;
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
        iq_keep(&best, vf_min(high + least_flip, dear + least), h);
        iq_keep(plain, high + least, h);
    }
    iq_find_flip(out, g, p, low, flip, best);
}

/* One flip; plain: without, or NULL. Apart from its callee so that each keeps its tables in a small frame. */
static __attribute__((noinline)) void iq_search_flip(struct iq_found *out, struct iq_found *plain,
                                                     const struct nb_iq_grid *g,
                                                     const struct iq_parts *p)
{
    vf low[IQ_MAX_HALF];
    struct iq_runs runs;
    iq_make_low(low, p, g->base == 3 ? 9 : 8);
    iq_flip_runs(out, &runs, g, p, low);
    if (plain != NULL)
        iq_find(plain, g, low, runs);
}

/* What was decided for the n elements of a point. */
struct iq_point {
    uint32_t index;
    bool flip;
};

/* Signed numbers of n elements of row x. */
NB_LANES_INLINE void iq_write(int8_t *codes, const struct nb_iq_grid *g, struct iq_point point,
                              const float *x, const float *w, float inv)
{
    const int8_t *value = g->value + (size_t)point.index * g->dim;
    float least = IQ_HUGE;
    int at = 0;
    for (int j = 0; j < g->dim; j++) {
        const float r = x[j] * inv;
        const float a = r < 0.0F ? -r : r;
        const float price = (w[j] * (a < IQ_FAR ? a : IQ_FAR)) * (float)value[j];
        codes[j] = (int8_t)(r < 0.0F ? -value[j] : value[j]);
        at = price < least ? j : at;
        least = price < least ? price : least;
    }
    if (point.flip)
        codes[at] = (int8_t)-codes[at];
}

static void iq_rows_of_8(int8_t *codes, const struct nb_iq_grid *g, const float *x, const float *w,
                         const float *inv, size_t used)
{
    struct iq_rows r;
    struct iq_parts p;
    struct iq_found found;
    uint32_t odd[LANES];
    iq_load(&r, x, w, inv, used);
    vu_store(odd, g->even ? r.odd : vu_set(0));
    iq_make_parts(&p, g, &r, 0, r.odd);
    if (g->even)
        iq_search_flip(&found, NULL, g, &p);
    else
        iq_search(&found, g, &p);
    for (size_t l = 0; l < used; l++)
        iq_write(codes + l * IQ_ROW, g, (struct iq_point){found.point[l], odd[l] != 0},
                 x + l * IQ_ROW, w + l * IQ_ROW, inv[l]);
}

/* Two points a row; if signs must be even, one of them takes the flip: the one where it costs less. */
static void iq_rows_of_4(int8_t *codes, const struct nb_iq_grid *g, const float *x, const float *w,
                         const float *inv, size_t used)
{
    struct iq_rows r;
    struct iq_parts p;
    struct iq_found plain[2];
    struct iq_found flip[2] = {{{0.0F}, {0}}, {{0.0F}, {0}}};
    uint32_t odd[LANES];
    iq_load(&r, x, w, inv, used);
    vu_store(odd, g->even ? r.odd : vu_set(0));
    for (int k = 0; k < 2; k++) {
        iq_make_parts(&p, g, &r, 4 * k, vu_set(~0U));
        if (g->even)
            iq_search_flip(&flip[k], &plain[k], g, &p);
        else
            iq_search(&plain[k], g, &p);
    }
    for (size_t l = 0; l < used; l++) {
        const size_t at = l * IQ_ROW;
        bool first = false;
        bool second = false;
        if (odd[l] != 0) {
            first = flip[0].cost[l] + plain[1].cost[l] <= plain[0].cost[l] + flip[1].cost[l];
            second = !first;
        }
        iq_write(codes + at, g,
                 (struct iq_point){first ? flip[0].point[l] : plain[0].point[l], first}, x + at,
                 w + at, inv[l]);
        iq_write(codes + at + 4, g,
                 (struct iq_point){second ? flip[1].point[l] : plain[1].point[l], second},
                 x + at + 4, w + at + 4, inv[l]);
    }
}

void NB_LANES_NAME(round_iq_f32)(int8_t *codes, const struct nb_iq_grid *g, const float *x,
                                 const float *w, const float *inv, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i += LANES) {
        const size_t used = n_rows - i < LANES ? n_rows - i : LANES;
        if (g->dim == IQ_ROW)
            iq_rows_of_8(codes + i * IQ_ROW, g, x + i * IQ_ROW, w + i * IQ_ROW, inv + i, used);
        else
            iq_rows_of_4(codes + i * IQ_ROW, g, x + i * IQ_ROW, w + i * IQ_ROW, inv + i, used);
    }
}
