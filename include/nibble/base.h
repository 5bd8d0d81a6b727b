/* nibble/base.h: what every part of the library and every caller shares.
 *
 * Status codes, error detail, allocator and log hooks. The library never prints, exits or aborts;
 * everything it has to say reaches the caller through these types.
 */
#ifndef NIBBLE_BASE_H
#define NIBBLE_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NB_API               __attribute__((visibility("default")))
#define NB_CHECKED           __attribute__((warn_unused_result))
#define NB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define NB_API
#define NB_CHECKED
#define NB_PRINTF(fmt, args)
#endif

/* Values are pinned: they are never renumbered or reused. */
enum nb_status {
    NB_OK = 0,
    NB_ERR_ARG = 1,         /* the caller's argument is wrong                         */
    NB_ERR_NOMEM = 2,       /* the allocator returned NULL                            */
    NB_ERR_IO = 3,          /* the operating system refused a read, write or rename   */
    NB_ERR_FORMAT = 4,      /* bytes from outside are malformed or inconsistent       */
    NB_ERR_UNSUPPORTED = 5, /* well-formed, but not something nibble can do           */
    NB_ERR_NOT_FOUND = 6,   /* a file, tensor, key or name does not exist             */
    NB_ERR_EXISTS = 7,      /* the target exists and overwriting was not asked for    */
    NB_ERR_LIMIT = 8,       /* disk, memory budget or a stated limit is too small     */
    NB_ERR_NUMERIC = 9,     /* NaN or infinity where a finite number is needed        */
    NB_ERR_CANCELLED = 10,  /* a callback asked to stop                               */
    NB_ERR_VERSION = 11,    /* an options struct is newer than this library           */
    NB_ERR_INTERNAL = 12,   /* our own mistake                                        */
};

#define NB_ERROR_MESSAGE_BYTES 256
#define NB_OFFSET_NONE         UINT64_MAX

/* Detail of a failure. Every function that takes one accepts NULL. Caller's storage. */
struct nb_error {
    enum nb_status status;
    char room[16];                        /* part of the library that failed: "container"        */
    uint64_t offset;                      /* byte in the file concerned, or NB_OFFSET_NONE       */
    char message[NB_ERROR_MESSAGE_BYTES]; /* what, where, what was expected; always terminated   */
};

/* Memory for the library. alloc returns storage aligned to `align` (a power of two) or NULL;
 * free takes what alloc returned (or NULL). Both must be callable from any thread. */
struct nb_allocator {
    void *ctx;
    void *(*alloc)(void *ctx, size_t bytes, size_t align);
    void (*free)(void *ctx, void *ptr);
};

enum nb_log_level { NB_LOG_ERROR = 0, NB_LOG_WARN = 1, NB_LOG_INFO = 2, NB_LOG_DEBUG = 3 };

/* Where messages go. fn may be NULL: silence. message has no newline and lives for the call. */
struct nb_log {
    void *ctx;
    enum nb_log_level level; /* messages above this level are not formatted */
    void (*fn)(void *ctx, enum nb_log_level level, const char *message);
};

/* Progress of long work: done of total in `unit` ("bytes", "tokens", "tensors"); what: the item at
 * hand, valid for the call. Return non-zero to cancel: the work stops with NB_ERR_CANCELLED. */
struct nb_progress {
    void *ctx;
    int (*fn)(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit);
};

/* A short English name: "NB_ERR_IO" -> "input/output error". Never NULL. */
NB_API const char *nb_status_name(enum nb_status status);

/* "0.1.0". */
NB_API const char *nb_version(void);

#ifdef __cplusplus
}
#endif
#endif
