/* base/status.c: error detail and log lines. Formatting only: nothing here prints or allocates. */
#include "base/status.h"

#include <stdio.h>
#ifdef NB_DEBUG
#include <stdlib.h>
#endif
#include <string.h>

#ifndef NB_VERSION
#error "the build passes NB_VERSION"
#endif

const char *nb_version(void)
{
    return NB_VERSION;
}

const char *nb_status_name(enum nb_status status)
{
    static const char *const names[] = {
        [NB_OK] = "ok",
        [NB_ERR_ARG] = "invalid argument",
        [NB_ERR_NOMEM] = "out of memory",
        [NB_ERR_IO] = "input/output error",
        [NB_ERR_FORMAT] = "malformed data",
        [NB_ERR_UNSUPPORTED] = "not supported",
        [NB_ERR_NOT_FOUND] = "not found",
        [NB_ERR_EXISTS] = "already exists",
        [NB_ERR_LIMIT] = "limit exceeded",
        [NB_ERR_NUMERIC] = "not a finite number",
        [NB_ERR_CANCELLED] = "cancelled",
        [NB_ERR_VERSION] = "version mismatch",
        [NB_ERR_INTERNAL] = "internal error",
    };
    const size_t i = (size_t)status;
    return i < NB_COUNTOF(names) ? names[i] : "unknown status";
}

/* "../src/base/x.c" -> "base"; a path without src/: the folder of the file. */
static void room_of(char room[16], const char *file)
{
    const char *begin = file;
    for (const char *p = strstr(file, "src/"); p != NULL; p = strstr(p + 1, "src/"))
        begin = p + 4;
    size_t n = strcspn(begin, "/");
    if (n > 15)
        n = 15;
    memcpy(room, begin, n);
    room[n] = '\0';
}

/* A message cut in the middle of a UTF-8 sequence loses that sequence. */
static void trim_utf8(char *s, size_t len)
{
    size_t i = len;
    while (i > 0 && len - i < 3 && ((unsigned char)s[i - 1] & 0xc0U) == 0x80U)
        i--;
    if (i == 0)
        return;
    const unsigned char lead = (unsigned char)s[i - 1];
    const size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (need > len - i + 1)
        s[i - 1] = '\0';
}

static void NB_PRINTF(3, 0) format(char *dst, size_t cap, const char *fmt, va_list ap)
{
    const int n = vsnprintf(dst, cap, fmt, ap);
    if (n < 0)
        dst[0] = '\0';
    else if ((size_t)n >= cap)
        trim_utf8(dst, cap - 1);
}

enum nb_status nb_error_set(struct nb_error *err, enum nb_status status, const char *file,
                            uint64_t offset, const char *fmt, ...)
{
    if (err == NULL)
        return status;
    err->status = status;
    err->offset = offset;
    room_of(err->room, file);
    va_list ap;
    va_start(ap, fmt);
    format(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return status;
}

enum nb_status nb_error_prefix(struct nb_error *err, enum nb_status status, const char *fmt, ...)
{
    if (err == NULL)
        return status;
    char old[NB_ERROR_MESSAGE_BYTES];
    memcpy(old, err->message, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    format(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    const size_t len = strlen(err->message);
    const size_t cap = sizeof err->message - len;
    const int n = snprintf(err->message + len, cap, ": %s", old);
    if (n >= 0 && (size_t)n >= cap)
        trim_utf8(err->message, sizeof err->message - 1);
    return err->status != NB_OK ? err->status : status;
}

void nb_error_clear(struct nb_error *err)
{
    if (err == NULL)
        return;
    memset(err, 0, sizeof *err);
    err->offset = NB_OFFSET_NONE;
}

void nb_log_msg(const struct nb_log *log, enum nb_log_level level, const char *fmt, ...)
{
    if (log == NULL || log->fn == NULL || level > log->level)
        return;
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    format(message, sizeof message, fmt, ap);
    va_end(ap);
    log->fn(log->ctx, level, message);
}

#ifdef NB_DEBUG
void nb_assert_failed(const char *file, int line, const char *text)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, text);
    abort();
}
#endif
