/* kernels/fit_q2_k.tmpl.h: the search of q2_k: 2-bit codes, 4-bit scales and minima, 16 elements each.
 *
 * The trial ranges were picked one by one, each the one that lowers the squared error of a trained model's
 * weights most beside those before it, without and with importance.
 */
#define MK_FIT         NB_LANES_NAME(fit_q2_k_f32)
#define MK_SUB         16
#define MK_TOP         3.0F
#define MK_SCALE_TOP   15.0F
#define MK_D_LOW       (-2.0F)
#define MK_D_STEPS     8
#define MK_D_APART     0.5F
#define MK_REACH       1
#define MK_SIDE        1
#define MK_SIDE_OFF    1
#define MK_REFINEMENTS 3
#define MK_CUTS \
    {0.120F, 0.120F}, {0.180F, 0.000F}, {0.000F, 0.180F}, \
    {0.000F, 0.060F}, {0.120F, 0.060F}, {0.060F, 0.300F}, \
    {0.300F, 0.000F}, {0.120F, 0.180F}, {0.240F, 0.120F}, \
    {0.120F, -0.300F}, {0.060F, -0.060F}, {0.000F, 0.300F}
#include "kernels/fit_min_k.tmpl.h"
