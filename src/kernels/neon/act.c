/* kernels/neon/act.c: the activation functions on NEON. */
#include "kernels/neon/v16.h"

#define NB_FN(op) nb_##op##_neon
#include "kernels/act.tmpl.h"
