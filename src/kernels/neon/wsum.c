/* kernels/neon/wsum.c: sums of weighted rows on NEON. */
#include "kernels/neon/v16.h"

#define NB_FN(op) nb_##op##_neon
#include "kernels/wsum.tmpl.h"
