/* kernels/neon/linalg.c: linalg.tmpl.h over four NEON registers: 6 rows take 24 of the 32. */
#include "kernels/neon/d8.h"

#define NB_FN(op) nb_##op##_neon
#define ROWS      6
#define PIN(x)    ((void)0)
#include "kernels/linalg.tmpl.h"
