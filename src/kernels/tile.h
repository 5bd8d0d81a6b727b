/* kernels/tile.h: a step for each row of a register tile. */
#ifndef NB_KERNELS_TILE_H
#define NB_KERNELS_TILE_H

#include "kernels/kernels.h"

#define EACH1(M)  M(0)
#define EACH2(M)  EACH1(M) M(1)
#define EACH3(M)  EACH2(M) M(2)
#define EACH4(M)  EACH3(M) M(3)
#define EACH6(M)  EACH4(M) M(4) M(5)
#define EACH12(M) EACH6(M) M(6) M(7) M(8) M(9) M(10) M(11)

#endif
