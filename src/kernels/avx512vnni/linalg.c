/* kernels/avx512vnni/linalg.c: linalg.tmpl.h over one AVX-512 register, twelve rows at a time. */
#include "kernels/avx512vnni/d8.h"

#define NB_FN(op) nb_##op##_avx512vnni
#define ROWS      12
#define PIN(x)    ((void)0)
#include "kernels/linalg.tmpl.h"
