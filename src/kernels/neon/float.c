/* kernels/neon/float.c: the float kernels on NEON. */
#include "kernels/neon/v16.h"

#define NB_FN(op) nb_##op##_neon
#include "kernels/float.tmpl.h"
