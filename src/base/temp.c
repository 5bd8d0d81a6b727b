/* base/temp.c: room on disk that has no name, so that nothing is left however the process ends.
 *
 * O_TMPFILE where the file system knows it: the file never has a name. Elsewhere it is created under a
 * random one and unlinked at once.
 */
#define _GNU_SOURCE /* O_TMPFILE, fallocate */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "base/bytes.h"
#include "base/sys.h"

static int open_named(const struct nb_allocator *a, const char *folder)
{
    char *path = nb_path_join(a, folder, ".nibble-XXXXXX");
    if (path == NULL) {
        errno = ENOMEM;
        return -1;
    }
    const int fd = mkostemp(path, O_CLOEXEC);
    const int errnum = errno;
    if (fd >= 0)
        unlink(path);
    nb_free(a, path);
    errno = errnum;
    return fd;
}

static int open_nameless(const struct nb_allocator *a, const char *folder)
{
#ifdef O_TMPFILE
    const int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT))
        return fd;
#endif
    return open_named(a, folder);
}

static enum nb_status no_room(const struct nb_temp *t, uint64_t free_bytes, struct nb_error *err)
{
    char shown[160];
    NB_FAIL(err, NB_ERR_LIMIT,
            "a temporary file of %" PRIu64 " bytes does not fit in '%s', which has %" PRIu64
            " free",
            t->bytes, nb_printable(shown, sizeof shown, t->folder, strlen(t->folder)), free_bytes);
}

static enum nb_status reserve(const struct nb_temp *t, struct nb_error *err)
{
    uint64_t free_bytes = 0;
    int r;
    char *inside = nb_path_join(t->a, t->folder, "x");
    if (inside == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the name of a temporary file");
    const enum nb_status st = nb_path_free_bytes(inside, &free_bytes, err);
    nb_free(t->a, inside);
    NB_TRY(st);
    if (free_bytes < t->bytes || t->bytes > INT64_MAX)
        return no_room(t, free_bytes, err);
    do
        r = t->bytes == 0 ? 0 : fallocate(t->fd, 0, 0, (off_t)t->bytes);
    while (r != 0 && errno == EINTR);
    if (r != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        return no_room(t, free_bytes, err);
    if (r != 0 && ftruncate(t->fd, (off_t)t->bytes) != 0) /* one that cannot reserve */
        return nb_os_error(err, errno, "make a temporary file in", t->folder);
    return NB_OK;
}

enum nb_status nb_temp_create(struct nb_temp *t, const char *folder, uint64_t bytes,
                              const struct nb_allocator *a, struct nb_error *err)
{
    const char *wanted = folder != NULL ? folder : nb_env("TMPDIR");
    if (wanted == NULL || *wanted == '\0')
        wanted = "/tmp";
    *t = (struct nb_temp){.a = a, .fd = -1, .bytes = bytes};
    t->folder = nb_strndup(a, wanted, strlen(wanted));
    if (t->folder == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the name of a temporary file");
    t->fd = open_nameless(a, t->folder);
    const enum nb_status st = t->fd < 0
                                  ? nb_os_error(err, errno, "make a temporary file in", t->folder)
                                  : reserve(t, err);
    if (st != NB_OK)
        nb_temp_close(t);
    return st;
}

static enum nb_status check_range(const struct nb_temp *t, uint64_t offset, size_t n,
                                  struct nb_error *err)
{
    if (offset > t->bytes || n > t->bytes - offset)
        NB_FAIL(err, NB_ERR_INTERNAL,
                "temporary file: %zu bytes at %" PRIu64 ", but it has %" PRIu64, n, offset,
                t->bytes);
    return NB_OK;
}

enum nb_status nb_temp_write(const struct nb_temp *t, uint64_t offset, const void *data, size_t n,
                             struct nb_error *err)
{
    const uint8_t *p = data;
    NB_TRY(check_range(t, offset, n, err));
    while (n > 0) {
        const ssize_t k = pwrite(t->fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return nb_os_error(err, k == 0 ? EIO : errno, "write to a temporary file in",
                               t->folder);
        p += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return NB_OK;
}

enum nb_status nb_temp_read(const struct nb_temp *t, uint64_t offset, void *data, size_t n,
                            struct nb_error *err)
{
    uint8_t *p = data;
    NB_TRY(check_range(t, offset, n, err));
    while (n > 0) {
        const ssize_t k = pread(t->fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return nb_os_error(err, k == 0 ? EIO : errno, "read from a temporary file in",
                               t->folder);
        p += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return NB_OK;
}

enum nb_status nb_temp_map(const struct nb_temp *t, struct nb_mapping *m, struct nb_error *err)
{
    *m = (struct nb_mapping){NULL, 0};
    if (t->bytes == 0)
        return NB_OK;
    void *data = t->bytes > SIZE_MAX
                     ? MAP_FAILED
                     : mmap(NULL, (size_t)t->bytes, PROT_READ, MAP_SHARED, t->fd, 0);
    if (data == MAP_FAILED)
        return nb_os_error(err, t->bytes > SIZE_MAX ? EFBIG : errno, "map a temporary file in",
                           t->folder);
    *m = (struct nb_mapping){data, t->bytes};
    return NB_OK;
}

void nb_temp_close(struct nb_temp *t)
{
    if (t->fd >= 0)
        close(t->fd);
    nb_free(t->a, t->folder);
    t->folder = NULL;
    t->fd = -1;
}
