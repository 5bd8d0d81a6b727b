/* calib/observe_hessian.h: what a Hessian's state is, for nb_stats_hessian. */
#ifndef NB_CALIB_OBSERVE_HESSIAN_H
#define NB_CALIB_OBSERVE_HESSIAN_H

#include "calib/hessian.h"

struct nb_hessian_state {
    const struct nb_allocator *a;
    struct nb_hessian *h; /* NULL: taken */
    float *pending;       /* (tokens, n) not yet in h; NULL while there are none */
    size_t n_pending;
};

#endif
