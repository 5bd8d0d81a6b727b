/* kernels/fit_q4_k.tmpl.h: the search of q4_k: 4-bit codes, 6-bit scales and minima, 32 elements each. */
#define MK_FIT       NB_LANES_NAME(fit_q4_k_f32)
#define MK_SUB       32
#define MK_TOP       15.0F
#define MK_SCALE_TOP 63.0F
#include "kernels/fit_min_k.tmpl.h"
