/* numfmt/scale_search.h: the one search for scales and zero points that all general grids use.
 *
 * Given values x with weights w >= 0 and a set of levels, finds the scale s (and zero z) that can be
 * stored and for which sum w (x - s (level - z))^2 is least, by the method asked for. Methods other than
 * these two sums exist because people compare with tools that use them.
 */
#ifndef NB_NUMFMT_SCALE_SEARCH_H
#define NB_NUMFMT_SCALE_SEARCH_H

#include "base/base.h"

enum nb_scale_method {
    NB_SCALE_MSE =
        0, /* candidates from clipped to expanded, each refined by least squares          */
    NB_SCALE_EXACT, /* symmetric: every scale at which a code changes, so the optimum itself;
                         with a zero point: mse on a finer lattice                                   */
    NB_SCALE_ABSMAX, /* the largest magnitude on the largest level                                  */
    NB_SCALE_MINMAX, /* with a zero: smallest and largest value on the outer levels; else absmax    */
    NB_SCALE_PERCENTILE, /* absmax of what lies below a share of the values                          */
    NB_SCALE_ENTROPY,    /* least Kullback-Leibler divergence of the clipped histogram (8-bit
                            calibration of activations: Migacz 2017); needs many values to a scale   */
    NB_SCALE_ABSMEAN, /* mean magnitude (BitNet b1.58: ternary)                                   */
    NB_N_SCALE_METHODS
};

struct nb_scale_options {
    enum nb_scale_method method;
    float percentile; /* 0..100; 99.99 if 0                                          */
    float max_expand; /* mse: largest scale as a multiple of absmax's; 1: never expand; 0: 1.25 for
                         integers, 2 for other levels, 1.2 for ranges with a zero */
};

const char *nb_scale_method_name(enum nb_scale_method m);
/* "mse", "percentile:99.9" ... False: there is no such method, or its number is out of range. */
bool nb_scale_options_parse(struct nb_scale_options *o, const char *text);

/* How a scale is stored. */
enum nb_scale_store {
    NB_SCALE_NONE, /* no scale: 1 */
    NB_SCALE_F32,
    NB_SCALE_F16,
    NB_SCALE_BF16,
    NB_SCALE_E8M0, /* a power of two: 2^(code - 127)                     */
    NB_SCALE_E4M3, /* an FP8 E4M3 number times the tensor's scale2       */
    NB_SCALE_U8    /* an integer 0..255 times the row's scale2           */
};
enum nb_zero_store { NB_ZERO_NONE, NB_ZERO_INT, NB_ZERO_F16 };

#define NB_MAX_LEVELS 256
struct nb_levels;
/* v[i] = the level nearest to t[i]; ties by a fixed rule. */
typedef void nb_snap_fn(const struct nb_levels *lv, const float *t, float *v, size_t n);

/* Levels in ascending order and the codes that mean them. */
struct nb_levels {
    uint32_t n;
    bool uniform; /* integers lo..hi, code = level - lo; value and code are not filled */
    float lo, hi;
    nb_snap_fn *snap;
    float value[NB_MAX_LEVELS];
    float mid[NB_MAX_LEVELS]; /* mid[k]: half way between k - 1 and k */
    uint8_t code[NB_MAX_LEVELS];
};
/* Integers lo..hi; or n <= NB_MAX_LEVELS values, ascending, with their codes. */
void nb_levels_uniform(struct nb_levels *lv, int32_t lo, int32_t hi);
void nb_levels_table(struct nb_levels *lv, const float *value, const uint8_t *code, uint32_t n);
/* The generic searches for uniform and for tabled levels. */
nb_snap_fn nb_snap_uniform, nb_snap_table;
/* The code of a level that snap returned. */
uint8_t nb_level_code(const struct nb_levels *lv, float level);

struct nb_scale_problem {
    const struct nb_levels *levels;
    const float *x, *w; /* (n), w may be NULL: all 1 */
    size_t n;
    enum nb_scale_store store;
    enum nb_zero_store zero; /* other than NONE only with uniform levels */
    float scale2;            /* of the stores that have one */
    bool positive;           /* negative scales will not do */
    struct nb_scale_options how;
    float *scratch; /* nb_scale_scratch_floats */
};
struct nb_scale {
    float scale, zero; /* as they will be read back */
};

/* Floats of scratch that a search over n values needs. */
size_t nb_scale_scratch_floats(const struct nb_levels *levels, size_t n,
                               const struct nb_scale_options *how);
struct nb_scale nb_scale_search(const struct nb_scale_problem *p);

/* Stored form of a scale or zero and back. Storing rounds to nearest and saturates. */
uint32_t nb_scale_code(enum nb_scale_store store, float scale2, float s);
float nb_scale_value(enum nb_scale_store store, float scale2, uint32_t code);
#endif
