/* kernels/fit_q5_k.tmpl.h: the search of q5_k: 5-bit codes, 6-bit scales and minima, 32 elements each.
 *
 * The trial ranges were picked one by one, each the one that lowers the squared error of a trained model's
 * weights most beside those before it, without and with importance.
 */
#define MK_FIT         NB_LANES_NAME(fit_q5_k_f32)
#define MK_SUB         32
#define MK_TOP         31.0F
#define MK_SCALE_TOP   63.0F
#define MK_D_LOW       (-4.0F)
#define MK_D_STEPS     8
#define MK_D_APART     1.0F
#define MK_REACH       1
#define MK_SIDE        1
#define MK_SIDE_OFF    0
#define MK_REFINEMENTS 2
#define MK_CUTS \
    {0.000F, 0.000F}, {-0.030F, 0.000F}, {0.010F, -0.010F}, \
    {-0.010F, 0.010F}, {-0.030F, -0.030F}, {-0.010F, -0.030F}, \
    {0.010F, 0.000F}, {0.000F, 0.010F}, {-0.030F, -0.010F}, \
    {0.000F, 0.030F}, {-0.030F, -0.040F}, {0.020F, 0.000F}, \
    {0.020F, 0.020F}, {-0.040F, -0.030F}, {0.000F, -0.030F}, \
    {0.000F, -0.010F}, {-0.010F, 0.000F}, {0.030F, 0.000F}
#include "kernels/fit_min_k.tmpl.h"
