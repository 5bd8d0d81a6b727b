/* base/status.h: failing with a message. */
#ifndef NB_BASE_STATUS_H
#define NB_BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nibble/base.h>

/* Forwards a failure to the caller. */
#define NB_TRY(call)                                                                               \
    do {                                                                                           \
        enum nb_status nb_try_status_ = (call);                                                    \
        if (nb_try_status_ != NB_OK)                                                               \
            return nb_try_status_;                                                                 \
    } while (0)

/* The same for functions with one exit label: needs `enum nb_status st` in scope. */
#define NB_TRY_TO(label, call)                                                                     \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != NB_OK)                                                                           \
            goto label;                                                                            \
    } while (0)

/* An expression: fills err (may be NULL) and has the value `status`. */
#define NB_ERROR(err, status, ...)                                                                 \
    nb_error_set((err), (status), __FILE__, NB_OFFSET_NONE, __VA_ARGS__)
#define NB_ERROR_AT(err, status, offset, ...)                                                      \
    nb_error_set((err), (status), __FILE__, (offset), __VA_ARGS__)

/* A statement: fills err and returns. */
#define NB_FAIL(err, status, ...) return NB_ERROR(err, status, __VA_ARGS__)

/* Fills err and returns status. The room is taken from `file` ("src/base/x.c" -> "base"). */
enum nb_status nb_error_set(struct nb_error *err, enum nb_status status, const char *file,
                            uint64_t offset, const char *fmt, ...) NB_PRINTF(5, 6);

/* Puts "prefix: " before the message of a failure on its way up. Returns err->status (or status). */
enum nb_status nb_error_prefix(struct nb_error *err, enum nb_status status, const char *fmt, ...)
    NB_PRINTF(3, 4);

void nb_error_clear(struct nb_error *err);

/* Formats and sends when log != NULL, log->fn != NULL and level <= log->level. */
void nb_log_msg(const struct nb_log *log, enum nb_log_level level, const char *fmt, ...)
    NB_PRINTF(3, 4);

/* For our own mistakes only, never for bytes from outside. Off in release builds. */
#ifdef NB_DEBUG
void nb_assert_failed(const char *file, int line, const char *text);
#define nb_assert(cond) ((cond) ? (void)0 : nb_assert_failed(__FILE__, __LINE__, #cond))
#else
#define nb_assert(cond) ((void)0)
#endif

#define NB_COUNTOF(array) (sizeof(array) / sizeof((array)[0]))
#define NB_MIN(a, b)      ((a) < (b) ? (a) : (b))
#define NB_MAX(a, b)      ((a) > (b) ? (a) : (b))

#endif
