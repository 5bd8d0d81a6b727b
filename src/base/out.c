/* base/out.c: outputs that appear whole or not at all.
 *
 * The partial file lies beside its target (one file system: rename is atomic) and is locked as long as
 * it is written, so that two runs with one target cannot publish each other's half. What a killed run
 * leaves is a partial file without a lock; the next run replaces it.
 */
#define _GNU_SOURCE /* renameat2, sync_file_range */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "base/bytes.h"

#define WRITE_BACK_BYTES (UINT64_C(32) << 20)

/* The path in a message. */
struct shown {
    char text[160];
};

static const char *show(struct shown *s, const char *path)
{
    return nb_printable(s->text, sizeof s->text, path, strlen(path));
}

/* ---- what file and folder share ---- */
static enum nb_status copy_paths(char **path, char **partial, const char *target,
                                 const struct nb_allocator *a, struct nb_error *err)
{
    size_t n = strlen(target);
    while (n > 1 && target[n - 1] == '/')
        n--;
    if (n == 0 || (n == 1 && target[0] == '/'))
        NB_FAIL(err, NB_ERR_ARG, "'%s' is no name for an output", target);
    *path = nb_strndup(a, target, n);
    *partial = nb_alloc(a, n + sizeof ".partial", 1);
    if (*path != NULL && *partial != NULL) {
        memcpy(*partial, target, n);
        memcpy(*partial + n, ".partial", sizeof ".partial");
        return NB_OK;
    }
    nb_free(a, *path);
    nb_free(a, *partial);
    *path = *partial = NULL;
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the name of an output");
}

static enum nb_status check_space(const char *path, uint64_t expected, struct nb_error *err)
{
    uint64_t free_bytes;
    struct shown s;
    NB_TRY(nb_path_free_bytes(path, &free_bytes, err));
    if (free_bytes < expected)
        NB_FAIL(err, NB_ERR_LIMIT,
                "'%s' needs %" PRIu64 " bytes, its file system has %" PRIu64 " free",
                show(&s, path), expected, free_bytes);
    return NB_OK;
}

/* Does the name still mean the file we hold? */
static bool is_ours(int fd, const char *name)
{
    struct stat x, y;
    return fstat(fd, &x) == 0 && lstat(name, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* The folder that holds path, opened before anything is published: a failure for want of memory must
 * come while the target can still stay untouched. -1: it may be written but not read. */
static enum nb_status open_parent(int *fd, const char *path, const struct nb_allocator *a,
                                  struct nb_error *err)
{
    char *parent = nb_path_parent(a, path);
    *fd = -1;
    if (parent == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    *fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    nb_free(a, parent);
    return NB_OK;
}

/* Closes the folder. EINVAL: a file system that keeps its folders in order by itself. */
static enum nb_status sync_parent(int fd, const char *path, struct nb_error *err)
{
    enum nb_status st = NB_OK;
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL)
        st = nb_os_error(err, errno, "bring to disk the folder of", path);
    if (fd >= 0)
        close(fd);
    return st;
}

/* partial -> path; without overwrite it fails with EEXIST when path has appeared meanwhile. */
static int publish(const char *partial, const char *path, bool overwrite, bool is_dir)
{
    if (overwrite)
        return rename(partial, path) == 0 ? 0 : errno;
    if (renameat2(AT_FDCWD, partial, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (is_dir) /* a plain rename replaces an empty folder at most */
        return rename(partial, path) == 0 ? 0 : errno;
    if (link(partial, path) == 0) {
        unlink(partial);
        return 0;
    }
    if (errno != EPERM && errno != ENOTSUP)
        return errno;
    if (access(path, F_OK) == 0)
        return EEXIST;
    return rename(partial, path) == 0 ? 0 : errno;
}

static enum nb_status held_elsewhere(const char *path, struct nb_error *err)
{
    struct shown s;
    NB_FAIL(err, NB_ERR_EXISTS, "'%s' is being written by another process", show(&s, path));
}

/* ---- a file ---- */
static void close_out(struct nb_out *o)
{
    if (o->fd >= 0)
        close(o->fd);
    nb_free(o->a, o->path);
    nb_free(o->a, o->partial);
    o->fd = -1;
    o->path = o->partial = NULL;
}

static enum nb_status check_target(const char *path, unsigned flags, struct nb_error *err)
{
    struct stat st;
    struct shown s;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? NB_OK : nb_os_error(err, errno, "write", path);
    if (S_ISDIR(st.st_mode))
        NB_FAIL(err, NB_ERR_EXISTS, "'%s' is a folder, expected the name of a file",
                show(&s, path));
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) /* a rename would replace the device */
        NB_FAIL(err, NB_ERR_ARG, "'%s' is a device or pipe, expected the name of a file",
                show(&s, path));
    if ((flags & NB_OUT_OVERWRITE) == 0)
        NB_FAIL(err, NB_ERR_EXISTS, "'%s' exists already", show(&s, path));
    return NB_OK;
}

/* Removes a partial file that no process holds. */
static enum nb_status remove_stale(const char *partial, const char *path, struct nb_error *err)
{
    const int fd = open(partial, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    enum nb_status st = NB_OK;
    if (held)
        st = held_elsewhere(path, err);
    else if (unlink(partial) != 0 && errno != ENOENT)
        st = nb_os_error(err, errno, "replace", partial);
    if (fd >= 0)
        close(fd);
    return st;
}

static enum nb_status open_partial(struct nb_out *o, struct nb_error *err)
{
    NB_TRY(remove_stale(o->partial, o->path, err));
    o->fd = open(o->partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (o->fd < 0 && errno == EEXIST)
        return held_elsewhere(o->path, err);
    if (o->fd < 0)
        return nb_os_error(err, errno, "create", o->partial);
    /* File systems without locks (ENOLCK, ENOTSUP) have to do without. */
    if (flock(o->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return held_elsewhere(o->path, err);
    return NB_OK;
}

enum nb_status nb_out_create(struct nb_out *o, const char *path, unsigned flags,
                             uint64_t expected_bytes, const struct nb_allocator *a,
                             struct nb_error *err)
{
    enum nb_status st;
    *o = (struct nb_out){.a = a, .fd = -1, .flags = flags};
    NB_TRY(check_target(path, flags, err));
    NB_TRY(check_space(path, expected_bytes, err));
    NB_TRY(copy_paths(&o->path, &o->partial, path, a, err));
    NB_TRY_TO(failed, open_partial(o, err));
    return NB_OK;
failed:
    close_out(o);
    return st;
}

static enum nb_status write_all(struct nb_out *o, const void *data, size_t n, uint64_t offset,
                                struct nb_error *err)
{
    const uint8_t *p = data;
    while (n > 0) {
        const ssize_t k = pwrite(o->fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return nb_os_error(err, k == 0 ? EIO : errno, "write", o->partial);
        p += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return NB_OK;
}

enum nb_status nb_out_write(struct nb_out *o, const void *data, size_t n, struct nb_error *err)
{
    uint64_t end;
    if (!nb_add_u64(&end, o->at, n) || end > INT64_MAX)
        NB_FAIL(err, NB_ERR_LIMIT, "'%s' would pass 2^63 bytes", o->partial);
    NB_TRY(write_all(o, data, n, o->at, err));
    o->at = end;
    if (o->at - o->synced >= WRITE_BACK_BYTES) {
#ifdef __linux__ /* only a start: errors come back from fsync */
        (void)sync_file_range(o->fd, (off_t)o->synced, (off_t)(o->at - o->synced),
                              SYNC_FILE_RANGE_WRITE);
#endif
        o->synced = o->at;
    }
    return NB_OK;
}

enum nb_status nb_out_patch(struct nb_out *o, uint64_t offset, const void *data, size_t n,
                            struct nb_error *err)
{
    if (offset > o->at || n > o->at - offset)
        NB_FAIL(err, NB_ERR_INTERNAL,
                "'%s': patch of %zu bytes at %" PRIu64 ", only %" PRIu64 " are written", o->partial,
                n, offset, o->at);
    return write_all(o, data, n, offset, err);
}

enum nb_status nb_out_commit(struct nb_out *o, struct nb_error *err)
{
    int parent;
    enum nb_status st = open_parent(&parent, o->path, o->a, err);
    if (st != NB_OK) {
        nb_out_abort(o);
        return st;
    }
    if (fsync(o->fd) != 0) {
        st = nb_os_error(err, errno, "bring to disk", o->partial);
    } else if (!is_ours(o->fd, o->partial)) {
        struct shown s;
        st = NB_ERROR(err, NB_ERR_IO, "'%s' was removed or replaced while it was written",
                      show(&s, o->partial));
    } else {
        const int errnum = publish(o->partial, o->path, (o->flags & NB_OUT_OVERWRITE) != 0, false);
        if (errnum != 0)
            st = nb_os_error(err, errnum, "give its name to", o->path);
    }
    if (st != NB_OK) {
        if (parent >= 0)
            close(parent);
        nb_out_abort(o);
        return st;
    }
    st = sync_parent(parent, o->path, err);
    close_out(o);
    return st;
}

void nb_out_abort(struct nb_out *o)
{
    if (o->fd >= 0 && is_ours(o->fd, o->partial))
        unlink(o->partial);
    close_out(o);
}

/* ---- a folder ---- */
static void close_outdir(struct nb_outdir *d)
{
    if (d->fd >= 0)
        close(d->fd);
    nb_free(d->a, d->path);
    nb_free(d->a, d->partial);
    d->fd = -1;
    d->path = d->partial = NULL;
}

/* Regular files only? With remove: and takes them away. 0, or what readdir or unlink say; ENOTEMPTY
 * for anything else inside. */
static int walk_files(int dir_fd, bool remove_them)
{
    const int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int errnum = dir == NULL ? errno : 0;
    if (dir == NULL && fd >= 0)
        close(fd);
    while (errnum == 0) {
        struct stat st;
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL) {
            errnum = errno;
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            errnum = errno;
        else if (!S_ISREG(st.st_mode))
            errnum = ENOTEMPTY;
        else if (remove_them && unlinkat(fd, e->d_name, 0) != 0)
            errnum = errno;
    }
    if (dir != NULL)
        closedir(dir);
    return errnum;
}

/* Removes a folder of regular files; the first thing that is none stops it. */
static int remove_folder(int fd, const char *name)
{
    int errnum = walk_files(fd, false);
    if (errnum == 0)
        errnum = walk_files(fd, true);
    if (errnum == 0 && rmdir(name) != 0)
        errnum = errno;
    return errnum;
}

static int open_folder(const char *name)
{
    return open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static enum nb_status check_target_dir(const char *path, unsigned flags, struct nb_error *err)
{
    struct stat st;
    struct shown s;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? NB_OK : nb_os_error(err, errno, "write", path);
    if ((flags & NB_OUT_OVERWRITE) == 0)
        NB_FAIL(err, NB_ERR_EXISTS, "'%s' exists already", show(&s, path));
    const int fd = open_folder(path);
    const int errnum = fd < 0 ? errno : walk_files(fd, false);
    if (fd >= 0)
        close(fd);
    if (fd < 0 && errnum == ENOTDIR)
        NB_FAIL(err, NB_ERR_EXISTS, "'%s' is no folder; it is not replaced by one", show(&s, path));
    if (errnum == ENOTEMPTY)
        NB_FAIL(err, NB_ERR_EXISTS, "'%s' holds more than regular files; it is not replaced",
                show(&s, path));
    return errnum == 0 ? NB_OK : nb_os_error(err, errnum, "look into", path);
}

static enum nb_status make_partial_dir(struct nb_outdir *d, struct nb_error *err)
{
    const int stale = open_folder(d->partial);
    if (stale >= 0) {
        const bool held = flock(stale, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        const int errnum = held ? 0 : remove_folder(stale, d->partial);
        close(stale);
        if (held)
            return held_elsewhere(d->path, err);
        if (errnum != 0)
            return nb_os_error(err, errnum, "replace", d->partial);
    }
    if (mkdir(d->partial, 0777) != 0)
        return nb_os_error(err, errno, "create the folder", d->partial);
    d->fd = open_folder(d->partial);
    if (d->fd < 0)
        return nb_os_error(err, errno, "open the folder", d->partial);
    if (flock(d->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return held_elsewhere(d->path, err);
    return NB_OK;
}

enum nb_status nb_outdir_create(struct nb_outdir *d, const char *path, unsigned flags,
                                uint64_t expected_bytes, const struct nb_allocator *a,
                                struct nb_error *err)
{
    enum nb_status st;
    *d = (struct nb_outdir){.a = a, .fd = -1, .flags = flags};
    NB_TRY(copy_paths(&d->path, &d->partial, path, a, err));
    NB_TRY_TO(failed, check_target_dir(d->path, flags, err));
    NB_TRY_TO(failed, check_space(d->path, expected_bytes, err));
    NB_TRY_TO(failed, make_partial_dir(d, err));
    return NB_OK;
failed:
    close_outdir(d);
    return st;
}

/* The old folder gives way in one step where the system can exchange two names; else it steps aside
 * first, and for a moment there is none. */
static int replace_folder(const char *partial, const char *path)
{
    const int old = open_folder(path);
    if (old < 0)
        return errno == ENOENT ? publish(partial, path, false, true) : errno;
    int errnum = walk_files(old, false); /* something else may have come since create */
    if (errnum == 0 && renameat2(AT_FDCWD, partial, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        remove_folder(old, partial);
    } else if (errnum == 0) {
        errnum = errno;
        if (errnum == EINVAL || errnum == ENOSYS) {
            errnum = remove_folder(old, path);
            if (errnum == 0 && rename(partial, path) != 0)
                errnum = errno;
        }
    }
    close(old);
    return errnum;
}

enum nb_status nb_outdir_commit(struct nb_outdir *d, struct nb_error *err)
{
    int errnum = 0, parent;
    enum nb_status st = open_parent(&parent, d->path, d->a, err);
    if (st != NB_OK) {
        nb_outdir_abort(d);
        return st;
    }
    if (fsync(d->fd) != 0 && errno != EINVAL) {
        st = nb_os_error(err, errno, "bring to disk", d->partial);
    } else if (!is_ours(d->fd, d->partial)) {
        struct shown s;
        st = NB_ERROR(err, NB_ERR_IO, "'%s' was removed or replaced while it was written",
                      show(&s, d->partial));
    } else if ((d->flags & NB_OUT_OVERWRITE) != 0) {
        errnum = replace_folder(d->partial, d->path);
    } else {
        errnum = publish(d->partial, d->path, false, true);
    }
    if (errnum != 0)
        st = nb_os_error(err, errnum, "give its name to", d->path);
    if (st != NB_OK) {
        if (parent >= 0)
            close(parent);
        nb_outdir_abort(d);
        return st;
    }
    st = sync_parent(parent, d->path, err);
    close_outdir(d);
    return st;
}

void nb_outdir_abort(struct nb_outdir *d)
{
    if (d->fd >= 0 && is_ours(d->fd, d->partial))
        remove_folder(d->fd, d->partial);
    close_outdir(d);
}
