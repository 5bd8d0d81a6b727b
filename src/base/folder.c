/* base/folder.c: what lies in a folder, in an order that does not depend on the file system. */
#include "base/arena.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base_internal.h"

struct entry {
    const char *name;
    struct entry *next;
};

static int by_bytes(const void *pa, const void *pb)
{
    return strcmp(*(const char *const *)pa, *(const char *const *)pb);
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the names of a folder");
}

static enum nb_status walk(DIR *dir, struct nb_arena *arena, const char *path, struct entry **first,
                           size_t *n, struct nb_error *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL)
            return errno == 0 ? NB_OK : nb_os_error(err, errno, "read", path);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        struct entry *entry = nb_arena_alloc(arena, 1, sizeof *entry);
        if (entry == NULL)
            return no_memory(err);
        entry->name = nb_arena_strndup(arena, e->d_name, strlen(e->d_name));
        entry->next = *first;
        if (entry->name == NULL)
            return no_memory(err);
        *first = entry;
        ++*n;
    }
}

enum nb_status nb_folder_read(const char *const **names, size_t *n, const char *path,
                              struct nb_arena *arena, struct nb_error *err)
{
    struct entry *first = NULL;
    *n = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return nb_os_error(err, errno, "open", path);
    const enum nb_status st = walk(dir, arena, path, &first, n, err);
    closedir(dir);
    if (st != NB_OK)
        return st;
    const char **list = nb_arena_alloc(arena, *n + 1, sizeof *list);
    if (list == NULL)
        return no_memory(err);
    for (size_t i = 0; first != NULL; first = first->next)
        list[i++] = first->name;
    qsort(list, *n, sizeof *list, by_bytes);
    *names = list;
    return NB_OK;
}
