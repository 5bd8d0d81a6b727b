/* base/file_below.c: mapping a file that another file names, which must not lead out of its folder. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base_internal.h"

#define PART_BYTES 256 /* NAME_MAX and the end */

struct names {
    char folder[120], path[120];
};

static enum nb_status refuse(struct nb_error *err, const struct names *n, const char *why)
{
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "'%s' %s; expected a file below '%s'", n->path, why,
            n->folder);
}

/* The next part of the path, from *at on. false: no more. */
static bool next_part(char part[PART_BYTES], const char **at, bool *too_long)
{
    while (**at == '/')
        (*at)++;
    const size_t n = strcspn(*at, "/");
    *too_long = n >= PART_BYTES;
    if (n == 0 || *too_long)
        return false;
    memcpy(part, *at, n);
    part[n] = '\0';
    *at += n;
    return true;
}

/* Steps into each part in turn, following no link; *fd is replaced, or closed on failure. */
static enum nb_status descend(int *fd, const char *path, const struct names *n,
                              struct nb_error *err)
{
    char part[PART_BYTES];
    bool too_long;
    const char *at = path;
    while (next_part(part, &at, &too_long)) {
        if (strcmp(part, ".") == 0)
            continue;
        const int up = *fd;
        const bool more = at[strspn(at, "/")] != '\0';
        *fd = -1;
        if (strcmp(part, "..") == 0) {
            close(up);
            return refuse(err, n, "leads out through '..'");
        }
        *fd =
            openat(up, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (more ? O_DIRECTORY : O_NONBLOCK));
        int errnum = errno;
        struct stat st;
        if (*fd < 0 && fstatat(up, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
            errnum = ELOOP; /* with O_DIRECTORY the system says ENOTDIR */
        close(up);
        if (*fd < 0 && errnum == ELOOP)
            return refuse(err, n, "passes a symbolic link (copy the file itself, cp -L)");
        if (*fd < 0)
            return nb_os_error(err, errnum, "open", path);
    }
    if (!too_long)
        return NB_OK;
    close(*fd);
    *fd = -1;
    return refuse(err, n, "has a name that is too long");
}

enum nb_status nb_mapping_open_below(struct nb_mapping *m, const char *folder, const char *path,
                                     struct nb_error *err)
{
    struct names n;
    struct stat st;
    void *p = NULL;
    *m = (struct nb_mapping){NULL, 0};
    nb_printable(n.folder, sizeof n.folder, folder, strlen(folder));
    nb_printable(n.path, sizeof n.path, path, strlen(path));
    if (path[0] == '/')
        return refuse(err, &n, "is an absolute path");
    int fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0)
        return nb_os_error(err, errno, "open", folder);
    NB_TRY(descend(&fd, path, &n, err));
    const bool known = fstat(fd, &st) == 0;
    if (!known || !S_ISREG(st.st_mode)) {
        close(fd);
        return refuse(err, &n, "is no regular file");
    }
    if ((uint64_t)st.st_size > SIZE_MAX)
        errno = EFBIG;
    else if (st.st_size > 0)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int errnum = errno;
    close(fd);
    if (p == MAP_FAILED || (uint64_t)st.st_size > SIZE_MAX)
        return nb_os_error(err, errnum, "map", path);
    *m = (struct nb_mapping){p, (uint64_t)st.st_size};
    return NB_OK;
}
