/* base/base.h: the door of the room that everything stands on.
 *
 * libc beyond string, stdint and math is reached through here: memory, files, threads, clocks,
 * environment, JSON, hashes.
 */
#ifndef NB_BASE_BASE_H
#define NB_BASE_BASE_H

#include "base/status.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "base/bytes.h"
#include "base/str.h"
#include "base/map.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/half.h"
#include "base/file.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/sys.h"

#endif
