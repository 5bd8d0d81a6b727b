/* kernels/neon/scores.c: many dot products of short rows on NEON. */
#include "kernels/neon/v16.h"

#define NB_FN(op) nb_##op##_neon
#include "kernels/scores.tmpl.h"
