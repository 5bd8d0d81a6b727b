/* kernels/fit_iq4_xs.tmpl.h: the two-level search of iq4_xs, 8 sub-blocks of 32 with signed 6-bit scales
 * under one f16 d. Lanes hold sub-blocks.
 *
 * 1. Every sub-block is rounded with the trial steps of enc_nl.h; their sums are kept, from which the gain
 *    of any scale v near the step follows without touching an element: 2 v S(w x q) - v^2 S(w q q).
 * 2. d is chosen among XS_DS values, already rounded to f16, that give the largest sub-block scale a code
 *    around -32: for each, every sub-block takes its best trial and the code nearest to that trial's scale.
 * 3. Integer scales within one of the chosen are rounded with and compared exactly, d is refitted by least
 *    squares over the block, and again, while the error falls.
 */
#include "kernels/enc_k.h"
#include "kernels/enc_nl.h"

enum {
    XS_SUBS = K_BLOCK / NL_SUB,
    XS_GROUPS = XS_SUBS / LANES,
    XS_TRIALS = NL_ENDS + 1,
    XS_DS = 10,
    XS_ROUNDS = 2
};

struct xs_block {
    vf x[XS_GROUPS][NL_SUB];
    vf w[XS_GROUPS][NL_SUB]; /* only if weighted */
    struct nl_sums trial[XS_GROUPS][XS_TRIALS];
    float grow, shrink;
    bool weighted;
};

/* Integer scales under d, the sums of the rounded values, and by how much all that lowers the error. */
struct xs_grid {
    float d;
    vf code[XS_GROUPS];
    struct nl_sums sums[XS_GROUPS];
    float gain;
};

NB_LANES_INLINE const vf *xs_weights(const struct xs_block *b, int g)
{
    return b->weighted ? b->w[g] : NULL;
}

NB_LANES_INLINE vf xs_gain(struct nl_sums s, vf v)
{
    return v * (s.lx + s.lx - v * s.l2);
}

/* All trials of a group; returns the best scale of each sub-block. */
NB_LANES_INLINE vf xs_try_all(struct xs_block *b, int g)
{
    const vf per_peak = nl_per_peak(b->x[g]);
    vf scale = vf_set(0.0F);
    vf gain = vf_set(0.0F);
    for (int k = 0; k < XS_TRIALS; k++) {
        const struct nl_sums s = nl_try(b->x[g], xs_weights(b, g),
                                        k < NL_ENDS ? per_peak * nl_ends[k] : vf_inverse(scale));
        const vf this_scale = s.lx / s.l2;
        const vf this_gain = this_scale * s.lx;
        const vu better = vf_lt(gain, this_gain);
        b->trial[g][k] = s;
        scale = vf_select(better, this_scale, scale);
        gain = vf_select(better, this_gain, gain);
    }
    return scale;
}

/* The codes that the trials suggest for this d. */
NB_LANES_INLINE void xs_guess(const struct xs_block *b, struct xs_grid *grid, float d)
{
    const vf inv = vf_inverse(vf_set(d));
    float gain[XS_SUBS];
    grid->d = d;
    for (int g = 0; g < XS_GROUPS; g++) {
        vf best = vf_set(0.0F);
        vf code = vf_set(0.0F);
        for (int k = 0; k < XS_TRIALS; k++) {
            const struct nl_sums s = b->trial[g][k];
            const vf c = vf_code(s.lx / s.l2 * inv, -32.0F, 31.0F);
            const vf this_gain = xs_gain(s, c * d);
            const vu better = vf_lt(best, this_gain);
            best = vf_select(better, this_gain, best);
            code = vf_select(better, c, code);
        }
        grid->code[g] = code;
        vf_store(gain + g * LANES, best);
    }
    grid->gain = sum_of(gain, XS_SUBS);
}

/* Exactly, the integer scales within one of those in grid; its gain becomes the true one. */
NB_LANES_INLINE void xs_search(const struct xs_block *b, struct xs_grid *grid)
{
    float gain[XS_SUBS];
    for (int g = 0; g < XS_GROUPS; g++) {
        const vf middle = grid->code[g];
        vf best = vf_set(0.0F);
        grid->code[g] = vf_set(0.0F);
        grid->sums[g] = (struct nl_sums){vf_set(0.0F), vf_set(0.0F)};
        for (int k = -1; k <= 1; k++) {
            const vf code = vf_min(vf_max(middle + (float)k, vf_set(-32.0F)), vf_set(31.0F));
            const vf v = code * grid->d;
            const struct nl_sums s = nl_try(b->x[g], xs_weights(b, g), vf_inverse(v));
            const vf this_gain = xs_gain(s, v);
            const vu better = vf_lt(best, this_gain);
            best = vf_select(better, this_gain, best);
            grid->code[g] = vf_select(better, code, grid->code[g]);
            grid->sums[g].lx = vf_select(better, s.lx, grid->sums[g].lx);
            grid->sums[g].l2 = vf_select(better, s.l2, grid->sums[g].l2);
        }
        vf_store(gain + g * LANES, best);
    }
    grid->gain = sum_of(gain, XS_SUBS);
}

/* What f16 makes of d in the block's own size. */
NB_LANES_INLINE float xs_stored(const struct xs_block *b, float d)
{
    return via_f16(d * b->grow) * b->shrink;
}

/* d by least squares over the whole block, its codes as they are. */
NB_LANES_INLINE float xs_best_d(const struct xs_block *b, const struct xs_grid *grid)
{
    float lx[XS_SUBS];
    float l2[XS_SUBS];
    for (int g = 0; g < XS_GROUPS; g++) {
        vf_store(lx + g * LANES, grid->sums[g].lx * grid->code[g]);
        vf_store(l2 + g * LANES, grid->sums[g].l2 * grid->code[g] * grid->code[g]);
    }
    const float den = sum_of(l2, XS_SUBS);
    return den > 0.0F ? xs_stored(b, sum_of(lx, XS_SUBS) / den) : grid->d;
}

/* The best of the trial d around the largest scale; a frame of its own for its copies. */
static __attribute__((noinline)) void xs_choose_d(const struct xs_block *b, struct xs_grid *best,
                                                  const float *scale)
{
    float peak = 0.0F;
    for (int s = 0; s < XS_SUBS; s++) {
        const float a = peak < 0.0F ? -peak : peak;
        peak = scale[s] > a || -scale[s] > a ? scale[s] : peak;
    }
    memset(best, 0, sizeof *best);
    for (int k = 0; k < XS_DS; k++) {
        struct xs_grid next;
        xs_guess(b, &next, xs_stored(b, peak / ((float)k - 33.0F)));
        if (next.gain > best->gain)
            *best = next;
    }
}

NB_LANES_INLINE void xs_first(struct xs_block *b, struct xs_grid *best)
{
    float scale[XS_SUBS];
    for (int g = 0; g < XS_GROUPS; g++)
        vf_store(scale + g * LANES, xs_try_all(b, g));
    xs_choose_d(b, best, scale);
}

NB_LANES_INLINE void xs_load(struct xs_block *b, const float *x, const float *w)
{
    const struct unit unit = k_unit(x);
    float lane[LANES];
    vf_store(lane, unit.grow);
    b->grow = lane[0];
    vf_store(lane, unit.shrink);
    b->shrink = lane[0];
    b->weighted = w != NULL;
    for (int g = 0; g < XS_GROUPS; g++) {
        vf_load_turned(b->x[g], x + g * LANES * NL_SUB, NL_SUB, LANES);
        for (int i = 0; i < NL_SUB; i++)
            b->x[g][i] = unit_apply(b->x[g][i], unit.shrink);
        if (w != NULL)
            vf_load_turned(b->w[g], w + g * LANES * NL_SUB, NL_SUB, LANES);
    }
}

NB_LANES_INLINE void xs_fit(struct nb_fit_k *out, struct xs_block *b, const float *x,
                            const float *w)
{
    struct xs_grid best;
    xs_load(b, x, w);
    xs_first(b, &best);
    xs_search(b, &best);
    for (int round = 0; round < XS_ROUNDS; round++) {
        struct xs_grid next = best;
        next.d = xs_best_d(b, &best);
        if (next.d == best.d)
            break;
        xs_search(b, &next);
        if (!(next.gain > best.gain))
            break;
        best = next;
    }
    out->d = best.d * b->grow;
    for (int g = 0; g < XS_GROUPS; g++) {
        const vf inv = vf_inverse(best.code[g] * best.d);
        uint32_t lane[LANES];
        vu_store(lane, vf_int_bits(best.code[g]));
        for (int l = 0; l < LANES; l++)
            out->scale_code[g * LANES + l] = (int16_t)(int32_t)lane[l];
        for (int i = 0; i < NL_SUB; i++) {
            vu_store(lane, vf_int_bits(nl_nearest(b->x[g][i] * inv)));
            for (int l = 0; l < LANES; l++)
                out->codes[(g * LANES + l) * NL_SUB + i] = (int8_t)(uint8_t)lane[l];
        }
    }
}

static __attribute__((noinline)) void xs_plain(struct nb_fit_k *out, struct xs_block *b,
                                               const float *x)
{
    xs_fit(out, b, x, NULL);
}

static __attribute__((noinline)) void xs_weighted(struct nb_fit_k *out, struct xs_block *b,
                                                  const float *x, const float *w)
{
    xs_fit(out, b, x, w);
}

void NB_LANES_NAME(fit_iq4_xs_f32)(struct nb_fit_k *out, const float *x, const float *w)
{
    struct xs_block b;
    memset(out, 0, sizeof *out);
    if (w == NULL)
        xs_plain(out, &b, x);
    else
        xs_weighted(out, &b, x, w);
}
