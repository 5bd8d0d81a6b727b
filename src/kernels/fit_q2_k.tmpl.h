/* kernels/fit_q2_k.tmpl.h: the search of q2_k: 2-bit codes, 4-bit scales and minima, 16 elements each. */
#define MK_FIT       NB_LANES_NAME(fit_q2_k_f32)
#define MK_SUB       16
#define MK_TOP       3.0F
#define MK_SCALE_TOP 15.0F
#include "kernels/fit_min_k.tmpl.h"
