/* kernels/avx2/linalg.c: linalg.tmpl.h over two AVX registers, six rows at a time. */
#include "kernels/avx2/d8.h"

#define NB_FN(op) nb_##op##_avx2
#define ROWS      6
#define PIN(x)    __asm__("" : "+x"((x).a), "+x"((x).b))
#include "kernels/linalg.tmpl.h"
