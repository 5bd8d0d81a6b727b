/* kernels/tile.h: a step for each row of a register tile. */
#ifndef NB_KERNELS_TILE_H
#define NB_KERNELS_TILE_H

#include "kernels/kernels.h"

#define EACH1(M)  M(0)
#define EACH2(M)  EACH1(M) M(1)
#define EACH3(M)  EACH2(M) M(2)
#define EACH4(M)  EACH3(M) M(3)
#define EACH5(M)  EACH4(M) M(4)
#define EACH6(M)  EACH5(M) M(5)
#define EACH7(M)  EACH6(M) M(6)
#define EACH8(M)  EACH7(M) M(7)
#define EACH9(M)  EACH8(M) M(8)
#define EACH10(M) EACH9(M) M(9)
#define EACH11(M) EACH10(M) M(10)
#define EACH12(M) EACH11(M) M(11)

#endif
