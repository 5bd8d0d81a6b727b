/* kernels/fit_q6_k.tmpl.h: the search of q6_k: 6-bit codes, 8-bit scales. At 6 bits the error of a sub-block
 * is mostly luck, so more trials keep helping, slowly.
 */
#define SK_FIT         NB_LANES_NAME(fit_q6_k_f32)
#define SK_LO          (-32.0F)
#define SK_HI          31.0F
#define SK_SCALE_LO    (-128.0F)
#define SK_SCALE_HI    127.0F
#define SK_TRIALS      4
#define SK_STEP        0.7F
#define SK_REACH       8
#define SK_REACH_AGAIN 2
#define SK_REFINEMENTS 2
#include "kernels/fit_sym_k.tmpl.h"
