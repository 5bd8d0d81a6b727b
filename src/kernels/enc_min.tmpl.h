/* kernels/enc_min.tmpl.h: encoding into q4_1 and q5_1, blocks of 32 with an f16 scale and an f16 minimum.
 *
 * A lane holds a block. The smallest and the largest value are laid on trial places near the two ends
 * of the grid, inside and outside of it; for the codes of each trial weighted least squares gives scale and
 * minimum in closed form (docs/numfmt.md), and the winner's codes are rounded anew and fitted again
 * until nothing is gained. Then the f16 values: each minimum beside the found one gets the scale that is best
 * for it, and the pair with the least true error is kept; the plain range (smallest value = code 0,
 * largest = top code) is always among them. The minimum may be of either sign.
 * Sums run over the elements of a block in index order, of values less the smallest one, so that a
 * block far from 0 loses no digits.
 */
#include "kernels/enc_search.h"

enum { MIN_BLOCK = 32, MIN_PLACES = 5, MIN_PLACES_WEIGHTED = 6, MIN_TURNS = 3 };

/* Codes, from either end, on which the extremes are laid. The whole ones find a block that was decoded
 * from the format again. With weights further outside, since an outlier may be of little importance. */
static const float min_place[MIN_PLACES] = {-0.4F, 0.0F, 0.3F, 0.65F, 1.0F};
static const float min_place_weighted[MIN_PLACES_WEIGHTED] = {-1.7F, -1.0F, -0.5F, 0.0F, 0.4F, 0.8F};

/* Minima tried beside the found one: in f16 steps, and all codes one higher or lower, if there is room for
 * that: another f16 number, with another rounding. */
enum { MIN_NEAR = 5 };
static const struct {
    float codes, steps;
} min_near[MIN_NEAR] = {{0.0F, 0.0F}, {0.0F, -1.0F}, {0.0F, 1.0F}, {-1.0F, 0.0F}, {1.0F, 0.0F}};

struct min_blocks {
    vf x[MIN_BLOCK]; /* brought to a common size, less lo */
    union {
        vf w[MIN_BLOCK]; /* only if weighted */
        vu code[MIN_BLOCK];
    };
    struct unit unit;
    vf lo, span;
    vf sum_w, sum_wx;
};

/* x = scale * code + low; gain: by how much that lowers the weighted sum of squares. */
struct min_fit {
    vf scale, low, gain;
};

/* The same as stored, and its weighted squared error. */
struct min_grid {
    vf d, m, error;
};

NB_LANES_INLINE struct min_fit min_load(struct min_blocks *b, const float *x, const float *w,
                                        size_t used)
{
    vf_load_turned(b->x, x, MIN_BLOCK, used);
    b->unit = unit_of(abs_max(b->x, MIN_BLOCK));
    for (int i = 0; i < MIN_BLOCK; i++)
        b->x[i] = unit_apply(b->x[i], b->unit.shrink);
    if (w != NULL)
        vf_load_turned(b->w, w, MIN_BLOCK, used);
    vf hi = b->x[0];
    b->lo = b->x[0];
    for (int i = 1; i < MIN_BLOCK; i++) {
        b->lo = vf_min(b->x[i], b->lo);
        hi = vf_max(b->x[i], hi);
    }
    b->span = hi - b->lo;
    b->sum_w = vf_set(0.0F);
    b->sum_wx = vf_set(0.0F);
    for (int i = 0; i < MIN_BLOCK; i++) {
        b->x[i] = b->x[i] - b->lo;
        b->sum_w += w != NULL ? b->w[i] : vf_set(1.0F);
        b->sum_wx += w != NULL ? b->w[i] * b->x[i] : b->x[i];
    }
    /* Without a scale: the mean. */
    const vf mean = b->sum_wx / b->sum_w;
    return (struct min_fit){vf_set(0.0F), mean, mean * b->sum_wx};
}

/* One trial: codes (x - low) * inv, then least squares. */
NB_LANES_INLINE void min_try(struct min_fit *best, const struct min_blocks *b, const vf *w, vf low,
                             vf inv, float top)
{
    vf l1 = vf_set(0.0F);
    vf l2 = vf_set(0.0F);
    vf lx = vf_set(0.0F);
    for (int i = 0; i < MIN_BLOCK; i++) {
        const vf l = vf_code((b->x[i] - low) * inv, 0.0F, top);
        const vf wl = w != NULL ? w[i] * l : l;
        l1 += wl;
        l2 += wl * l;
        lx += wl * b->x[i];
    }
    const vf det = b->sum_w * l2 - l1 * l1;
    const vf scale = (b->sum_w * lx - b->sum_wx * l1) / det;
    const vf found = (l2 * b->sum_wx - l1 * lx) / det;
    const vf gain = scale * lx + found * b->sum_wx;
    /* det is 0, or rounding noise, when all codes are equal. */
    const vu better =
        vf_lt(best->gain, gain) & vf_lt(vf_set(0.0F), scale) & vf_lt(b->sum_w * l2 * 1e-6F, det);
    best->scale = vf_select(better, scale, best->scale);
    best->low = vf_select(better, found, best->low);
    best->gain = vf_select(better, gain, best->gain);
}

/* Keeps scale and minimum, as f16 gives them back, if their true error is lower. */
NB_LANES_INLINE void min_keep(struct min_grid *best, const struct min_blocks *b, const vf *w,
                              vf scale, vf m, float top)
{
    const vf d = vf_via_f16(scale * b->unit.grow);
    const vf e = grid_error(b->x, w, MIN_BLOCK, d * b->unit.shrink, m * b->unit.shrink - b->lo,
                            (struct code_range){0.0F, top});
    const vu better = vf_lt(e, best->error);
    best->d = vf_select(better, d, best->d);
    best->m = vf_select(better, m, best->m);
    best->error = vf_select(better, e, best->error);
}

/* The scale by least squares for a given minimum, codes rounded with the scale so far. */
NB_LANES_INLINE vf min_scale_for(const struct min_blocks *b, const vf *w, vf scale, vf low,
                                 float top)
{
    const vf inv = vf_inverse(scale);
    vf l2 = vf_set(0.0F);
    vf lx = vf_set(0.0F);
    for (int i = 0; i < MIN_BLOCK; i++) {
        const vf x = b->x[i] - low;
        const vf l = vf_code(x * inv, 0.0F, top);
        const vf wl = w != NULL ? w[i] * l : l;
        l2 += wl * l;
        lx += wl * x;
    }
    const vf found = lx / l2;
    return vf_select(vf_lt(vf_set(0.0F), found), found, scale); /* no for 0 / 0 */
}

/* The distance of f16 values around a. */
NB_LANES_INLINE vf f16_step(vf a)
{
    const vf power = vu_float(vf_bits(vf_max(vf_abs(a), vf_set(0x1p-14F))) & 0x7f800000U);
    return power * 0x1p-10F;
}

NB_LANES_INLINE struct min_grid min_search(struct min_blocks *b, struct min_fit best, const vf *w,
                                           float top)
{
    const vf zero = vf_set(0.0F);
    const vf per_span = vf_inverse(b->span);
    const float *place = w != NULL ? min_place_weighted : min_place;
    const int places = w != NULL ? MIN_PLACES_WEIGHTED : MIN_PLACES;
    for (int i = 0; i < places; i++) {
        for (int j = 0; j < places; j++) {
            const float steps = top - place[i] - place[j];
            min_try(&best, b, w, b->span * (-place[i] / steps), per_span * steps, top);
        }
    }
    for (int turn = 0; turn < MIN_TURNS; turn++)
        min_try(&best, b, w, best.low, vf_inverse(best.scale), top);
    struct min_grid grid = {zero, zero, vf_set(1e30F)};
    const vf m = (b->lo + best.low) * b->unit.grow;
    const vf step = f16_step(m);
    const vf d = best.scale * b->unit.grow;
    for (int j = 0; j < MIN_NEAR; j++) {
        const vf near_m =
            vf_via_f16(vf_via_f16(m + d * min_near[j].codes) + step * min_near[j].steps);
        const vf low = near_m * b->unit.shrink - b->lo;
        min_keep(&grid, b, w, min_scale_for(b, w, best.scale, low, top), near_m, top);
    }
    min_keep(&grid, b, w, b->span * (1.0F / top), vf_via_f16(b->lo * b->unit.grow), top);
    return grid;
}

/* Fills b->code from the values themselves, as whoever rounds with the stored numbers does. Not inline: the
 * frame would grow. */
static __attribute__((noinline)) void min_codes(struct min_blocks *b, const float *x, size_t used,
                                                const struct min_grid *grid, float top)
{
    const vf inv = vf_inverse(grid->d * b->unit.shrink);
    const vf m = grid->m * b->unit.shrink;
    vf_load_turned(b->x, x, MIN_BLOCK, used);
    for (int i = 0; i < MIN_BLOCK; i++) {
        const vf at = (unit_apply(b->x[i], b->unit.shrink) - m) * inv;
        b->code[i] = vf_int_bits(vf_code(at, 0.0F, top));
    }
}

NB_LANES_INLINE struct min_grid min_fit(struct min_blocks *b, const float *x, const float *w,
                                        size_t used, float top)
{
    const struct min_fit start = min_load(b, x, w, used);
    const struct min_grid grid = min_search(b, start, w != NULL ? b->w : NULL, top);
    min_codes(b, x, used, &grid, top);
    return grid;
}

NB_LANES_INLINE void q4_1_round(uint8_t *dst, const float *x, const float *w, size_t used)
{
    struct min_blocks b;
    vu word[4];
    const struct min_grid grid = min_fit(&b, x, w, used, 15.0F);
    nibble_words(word, b.code);
    blocks_store(dst, (const vf[]){grid.d, grid.m}, 2, word, 4, used);
}

NB_LANES_INLINE void q5_1_round(uint8_t *dst, const float *x, const float *w, size_t used)
{
    struct min_blocks b;
    vu word[5];
    const struct min_grid grid = min_fit(&b, x, w, used, 31.0F);
    word[0] = nibble_words(word + 1, b.code);
    blocks_store(dst, (const vf[]){grid.d, grid.m}, 2, word, 5, used);
}

BLOCKS_ENCODER(q4_1, MIN_BLOCK, 20)
BLOCKS_ENCODER(q5_1, MIN_BLOCK, 24)
