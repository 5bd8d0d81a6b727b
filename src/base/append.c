/* base/append.c: a file that only grows, for journals. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "base/bytes.h"
#include "base/file.h"

static enum nb_status refuse(const struct nb_append *f, const char *doing, struct nb_error *err)
{
    return nb_os_error(err, errno, doing, f->path);
}

enum nb_status nb_append_open(struct nb_append *f, const char *path, const struct nb_allocator *a,
                              struct nb_error *err)
{
    struct stat st;
    *f = (struct nb_append){.a = a, .fd = -1};
    f->path = nb_strndup(a, path, strlen(path));
    if (f->path == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the name of a file");
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    enum nb_status status = NB_OK;
    if (f->fd < 0)
        status = refuse(f, "cannot open", err);
    else if (flock(f->fd, LOCK_EX | LOCK_NB) != 0)
        status = errno == EWOULDBLOCK
                     ? NB_ERROR(err, NB_ERR_EXISTS, "%.160s: another process is writing it", path)
                     : refuse(f, "cannot lock", err);
    else if (fstat(f->fd, &st) != 0)
        status = refuse(f, "cannot ask about", err);
    else if (!S_ISREG(st.st_mode))
        status = NB_ERROR(err, NB_ERR_IO, "%.160s: no regular file", path);
    if (status != NB_OK) {
        nb_append_close(f);
        return status;
    }
    f->size = (uint64_t)st.st_size;
    return NB_OK;
}

enum nb_status nb_append_write(struct nb_append *f, const void *data, size_t n,
                               struct nb_error *err)
{
    const uint8_t *p = data;
    while (n > 0) {
        const ssize_t done = pwrite(f->fd, p, n, (off_t)f->size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return refuse(f, "cannot write", err);
        p += done;
        n -= (size_t)done;
        f->size += (uint64_t)done;
    }
    return NB_OK;
}

enum nb_status nb_append_sync(struct nb_append *f, struct nb_error *err)
{
    return fdatasync(f->fd) == 0 ? NB_OK : refuse(f, "cannot sync", err);
}

enum nb_status nb_append_read(const struct nb_append *f, uint64_t offset, void *dst, size_t n,
                              struct nb_error *err)
{
    uint8_t *p = dst;
    uint64_t end;
    if (!nb_add_u64(&end, offset, n) || end > f->size)
        NB_FAIL(err, NB_ERR_FORMAT, "%.160s: ends at byte %llu", f->path,
                (unsigned long long)f->size);
    while (n > 0) {
        const ssize_t done = pread(f->fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return refuse(f, "cannot read", err);
        if (done == 0)
            NB_FAIL(err, NB_ERR_FORMAT, "%.160s: ends before its end", f->path);
        p += done;
        n -= (size_t)done;
        offset += (uint64_t)done;
    }
    return NB_OK;
}

enum nb_status nb_append_truncate(struct nb_append *f, uint64_t size, struct nb_error *err)
{
    if (ftruncate(f->fd, (off_t)size) != 0)
        return refuse(f, "cannot cut", err);
    f->size = size;
    return NB_OK;
}

void nb_append_close(struct nb_append *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    nb_free(f->a, f->path);
    f->fd = -1;
    f->path = NULL;
}

void nb_append_remove(struct nb_append *f)
{
    if (f->fd >= 0)
        (void)unlink(f->path);
    nb_append_close(f);
}
