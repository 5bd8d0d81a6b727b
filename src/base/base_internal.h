/* base/base_internal.h: what file.c and out.c share. */
#ifndef NB_BASE_INTERNAL_H
#define NB_BASE_INTERNAL_H

#include "base/alloc.h"

/* "<doing> <path>: <reason of errnum>"; the status that fits errnum: NOT_FOUND, EXISTS, LIMIT (disk
 * full, quota, file size), NOMEM, else IO. */
enum nb_status nb_os_error(struct nb_error *err, int errnum, const char *doing, const char *path);

/* The folder that holds path ("." if it names none). NULL: no memory. */
char *nb_path_parent(const struct nb_allocator *a, const char *path);

#endif
