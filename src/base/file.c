/* base/file.c: reading files, and questions about paths.
 *
 * Left out: a file that another process cuts short while it is mapped raises SIGBUS on access; the
 * system offers a library no way to turn that into a status.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "base/bytes.h"

enum nb_status nb_os_error(struct nb_error *err, int errnum, const char *doing, const char *path)
{
    enum nb_status st = NB_ERR_IO;
    if (errnum == ENOENT || errnum == ENOTDIR)
        st = NB_ERR_NOT_FOUND;
    else if (errnum == EEXIST || errnum == ENOTEMPTY)
        st = NB_ERR_EXISTS;
    else if (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)
        st = NB_ERR_LIMIT;
    else if (errnum == ENOMEM)
        st = NB_ERR_NOMEM;
    char shown[160], reason[64];
    if (strerror_r(errnum, reason, sizeof reason) != 0)
        reason[0] = '\0';
    return NB_ERROR(err, st, "cannot %s '%s': %s", doing,
                    nb_printable(shown, sizeof shown, path, strlen(path)), reason);
}

/* A regular file, opened for reading; *size is its length. */
static enum nb_status open_regular(int *out, uint64_t *size, const char *path, struct nb_error *err)
{
    struct stat st;
    /* O_NONBLOCK: a FIFO must not hold us before fstat can refuse it. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return nb_os_error(err, errno, "open", path);
    if (fstat(fd, &st) != 0) {
        const int errnum = errno;
        close(fd);
        return nb_os_error(err, errnum, "open", path);
    }
    if (!S_ISREG(st.st_mode)) {
        char shown[160];
        close(fd);
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "'%s' is %s, expected a regular file",
                nb_printable(shown, sizeof shown, path, strlen(path)),
                S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    }
    *out = fd;
    *size = (uint64_t)st.st_size;
    return NB_OK;
}

enum nb_status nb_mapping_open(struct nb_mapping *m, const char *path, struct nb_error *err)
{
    int fd;
    uint64_t size;
    *m = (struct nb_mapping){NULL, 0};
    NB_TRY(open_regular(&fd, &size, path, err));
    void *p = NULL;
    if (size > SIZE_MAX)
        errno = EFBIG;
    else if (size > 0)
        p = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int errnum = errno;
    close(fd);
    if (p == MAP_FAILED || size > SIZE_MAX)
        return nb_os_error(err, errnum, "map", path);
    *m = (struct nb_mapping){p, size};
    return NB_OK;
}

void nb_mapping_close(struct nb_mapping *m)
{
    if (m->data != NULL)
        munmap((void *)(uintptr_t)m->data, (size_t)m->size);
    *m = (struct nb_mapping){NULL, 0};
}

/* outward: every page the range touches; else only pages that lie inside it. */
static void advise(const struct nb_mapping *m, uint64_t offset, uint64_t n, int advice,
                   bool outward)
{
    if (m->data == NULL || offset >= m->size)
        return;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t end = n > m->size - offset ? m->size : offset + n;
    uint64_t begin = offset;
    if (outward) {
        begin -= begin % page;
    } else {
        begin += (page - begin % page) % page;
        if (end != m->size)
            end -= end % page;
    }
    if (begin < end)
        (void)madvise((void *)(uintptr_t)(m->data + begin), (size_t)(end - begin), advice);
}

void nb_mapping_willneed(const struct nb_mapping *m, uint64_t offset, uint64_t n)
{
    advise(m, offset, n, MADV_WILLNEED, true);
}

void nb_mapping_dontneed(const struct nb_mapping *m, uint64_t offset, uint64_t n)
{
    advise(m, offset, n, MADV_DONTNEED, false);
}

enum nb_status nb_file_read_all(struct nb_str *out, const char *path, uint64_t max_bytes,
                                struct nb_error *err)
{
    int fd;
    uint64_t size;
    nb_str_clear(out);
    NB_TRY(open_regular(&fd, &size, path, err));
    enum nb_status st = NB_OK;
    const size_t piece = 65536;
    char *buffer = nb_alloc(out->a, piece, 1);
    if (buffer == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for reading a file");
    nb_str_append(out, "", 0); /* an empty file is an empty text, not NULL */
    while (buffer != NULL) {
        const ssize_t n = read(fd, buffer, piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            st = nb_os_error(err, errno, "read", path);
        if (n > 0)
            nb_str_append(out, buffer, (size_t)n);
        if (n <= 0 || out->failed || out->len > max_bytes)
            break;
    }
    close(fd);
    nb_free(out->a, buffer);
    if (st == NB_OK)
        st = nb_str_check(out, err);
    if (st == NB_OK && out->len > max_bytes) {
        char shown[160];
        st = NB_ERROR(err, NB_ERR_LIMIT,
                      "'%s' has %" PRIu64 " bytes, at most %" PRIu64 " were expected",
                      nb_printable(shown, sizeof shown, path, strlen(path)), size, max_bytes);
    }
    if (st != NB_OK)
        nb_str_clear(out);
    return st;
}

/* ---- paths ---- */
bool nb_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool nb_path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool nb_path_same(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

enum nb_status nb_path_size(const char *path, uint64_t *bytes, struct nb_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return nb_os_error(err, errno, "find", path);
    *bytes = (uint64_t)st.st_size;
    return NB_OK;
}

char *nb_path_parent(const struct nb_allocator *a, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') /* of the name itself */
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n == 0 ? nb_strndup(a, ".", 1) : nb_strndup(a, path, n);
}

enum nb_status nb_path_free_bytes(const char *path, uint64_t *bytes, struct nb_error *err)
{
    struct statvfs st;
    char *parent = nb_path_parent(NULL, path);
    if (parent == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status status = NB_OK;
    if (statvfs(parent, &st) != 0)
        status = nb_os_error(err, errno, "look at the folder", parent);
    else if (!nb_mul_u64(bytes, (uint64_t)st.f_bavail, (uint64_t)st.f_frsize))
        *bytes = UINT64_MAX;
    nb_free(NULL, parent);
    return status;
}

char *nb_path_join(const struct nb_allocator *a, const char *dir, const char *name)
{
    const size_t n = strlen(dir), k = strlen(name);
    const bool slash = n > 0 && dir[n - 1] != '/';
    size_t bytes;
    if (!nb_add_size(&bytes, n, k) || !nb_add_size(&bytes, bytes, 2))
        return NULL;
    char *path = nb_alloc(a, bytes, 1);
    if (path == NULL)
        return NULL;
    memcpy(path, dir, n);
    if (slash)
        path[n] = '/';
    memcpy(path + n + slash, name, k + 1);
    return path;
}

bool nb_path_is_plain_name(const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (const char *p = name; *p != '\0'; p++)
        if (*p == '/' || *p == '\\' || (unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}
