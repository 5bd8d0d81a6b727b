/* numfmt/scale_internal.h: what the files of the scale search share. */
#ifndef NB_NUMFMT_SCALE_INTERNAL_H
#define NB_NUMFMT_SCALE_INTERNAL_H

#include "numfmt/numfmt_internal.h"
#include "numfmt/scale_search.h"

#define NB_SCALE_RUN       64    /* values looked up at once                          */
#define NB_SCALE_STEP      0.95F /* from one candidate to the next                    */
#define NB_SCALE_MAX_STEPS 256   /* the smallest floats do not get smaller            */
#define NB_SCALE_TURNS     4     /* of least squares                                  */
#define NB_SCALE_BINS      2048U /* of a histogram of magnitudes                      */

/* Values and weights padded to whole runs, and what does not change from candidate to candidate. */
struct nb_scale_data {
    const struct nb_scale_problem *p;
    float *x, *w; /* (n), weight 0 beyond the problem's */
    float *events;
    size_t n;
    float max_abs, min, max;
    double sw, sx, sxx;
};

/* sum w v, sum w v^2, sum w x v */
struct nb_scale_sums {
    double v, vv, xv;
};

/* v = level(x * inv + shift) - shift for all x, summed up. */
struct nb_scale_sums nb_scale_sums(const struct nb_scale_data *d, float inv, float shift);
float nb_level_at(const struct nb_levels *lv, uint32_t k);

/* scale_store.c: what will be read back; every storable scale is worth a try; negative ones will do. */
float nb_scale_stored(const struct nb_scale_problem *p, float s);
bool nb_scale_is_coarse(const struct nb_scale_problem *p);
bool nb_scale_is_signed(const struct nb_scale_problem *p);

/* scale_search.c: the best of candidates; least squares from a start; the smallest scale of a sign that
 * clips nothing. */
float nb_scale_mse(const struct nb_scale_data *d);
float nb_scale_refine(const struct nb_scale_data *d, float s, double *best);
float nb_scale_full(const struct nb_scale_data *d, bool negative);

/* scale_exact.c: falls back to mse where there are too many values, or every storable scale is tried anyway. */
bool nb_scale_exact_fits(const struct nb_levels *lv, size_t n);
float nb_scale_exact(const struct nb_scale_data *d);

/* scale_range.c: the magnitude to clip at; the mean magnitude. d->events holds the histogram. */
float nb_scale_percentile_range(const struct nb_scale_data *d);
float nb_scale_entropy_range(const struct nb_scale_data *d);
float nb_scale_absmean(const struct nb_scale_data *d);

/* scale_affine.c */
struct nb_scale nb_scale_affine(const struct nb_scale_data *d);

#endif
