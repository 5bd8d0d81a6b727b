/* calib/stats_file.h: names in a file of statistics (docs/formats/statistics.md), for its reader and its writer. */
#ifndef NB_CALIB_STATS_FILE_H
#define NB_CALIB_STATS_FILE_H

#include "calib/calib_internal.h"
#include "calib/stats_internal.h"
#include "container/container.h"

#define NB_STATS_VERSION 1

#define NB_STATS_KEY_VERSION     "nibble.stats.version"
#define NB_STATS_KEY_KINDS       "nibble.stats.kinds"
#define NB_STATS_KEY_WEIGHTS     "nibble.stats.weights"
#define NB_STATS_KEY_EDGES       "nibble.stats.edges"
#define NB_STATS_KEY_MODEL       "nibble.stats.model_hash"
#define NB_STATS_KEY_TEXTS       "nibble.stats.text_hashes"
#define NB_STATS_KEY_HELD        "nibble.stats.held_every"
#define NB_STATS_KEY_HELD_COUNT  "nibble.stats.held_chunk_count"
#define NB_STATS_KEY_ALL_EXPERTS "nibble.stats.all_experts"
#define NB_STATS_TOKENS          "tokens"
enum { NB_STATS_TOKEN_ROWS = 3 }; /* observed, held out, chose the expert */

#define NB_STATS_RUN 8192 /* numbers at once */

/* "<weight>.<kind>", "_held" after it in the second set. */
struct nb_stats_name {
    char text[NB_CALIB_MAX_NAME + 32];
};
struct nb_stats_name nb_stats_part_name(const struct nb_stats_edge *e, const char *part,
                                        enum nb_stats_set set);

#endif
