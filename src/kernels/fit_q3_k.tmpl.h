/* kernels/fit_q3_k.tmpl.h: the search of q3_k: 3-bit codes, 6-bit scales. */
#define SK_FIT         NB_LANES_NAME(fit_q3_k_f32)
#define SK_LO          (-4.0F)
#define SK_HI          3.0F
#define SK_SCALE_LO    (-32.0F)
#define SK_SCALE_HI    31.0F
#define SK_TRIALS      6
#define SK_STEP        0.3F
#define SK_REACH       3
#define SK_REACH_AGAIN 1
#define SK_REFINEMENTS 2
#include "kernels/fit_sym_k.tmpl.h"
