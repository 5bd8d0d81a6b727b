/* numfmt/best_scale.h: the best scale of a uniform grid with few levels, exactly. Internal to the room. */
#ifndef NB_NUMFMT_BEST_SCALE_H
#define NB_NUMFMT_BEST_SCALE_H

#include <stdint.h>

/* The d, of either sign unless lo = -hi, that with codes lo..hi (lo < 0 < hi, both at most 4 from 0)
 * makes the sum of w (x - d code)^2 over n elements least; 0 if all x are 0. w NULL: all ones.
 * n * max(hi, -lo) <= 256. */
double nb_best_scale(const float *x, const float *w, uint32_t n, int32_t lo, int32_t hi);

#endif
