/* base/file.h: reading by mmap, writing atomically, room on disk for what does not fit in memory.
 *
 * Outputs are written to "<path>.partial" beside the target, fsync-ed and renamed: no half file
 * ever bears its final name. All messages name the path.
 */
#ifndef NB_BASE_FILE_H
#define NB_BASE_FILE_H

#include "base/alloc.h"
#include "base/str.h"

/* Owns: the mapping (read-only, private). size 0 has data == NULL. */
struct nb_mapping {
    const uint8_t *data;
    uint64_t size;
};

NB_CHECKED enum nb_status nb_mapping_open(struct nb_mapping *m, const char *path,
                                          struct nb_error *err); /* regular files only */
/* A regular file that another file names: path is relative to folder and stays below it: no "..", no
 * symbolic link on the way (NB_ERR_UNSUPPORTED). */
NB_CHECKED enum nb_status nb_mapping_open_below(struct nb_mapping *m, const char *folder,
                                                const char *path, struct nb_error *err);
void nb_mapping_close(struct nb_mapping *m);
/* Hints; errors are ignored. willneed reads ahead; dontneed drops the pages from this process. */
void nb_mapping_willneed(const struct nb_mapping *m, uint64_t offset, uint64_t n);
void nb_mapping_dontneed(const struct nb_mapping *m, uint64_t offset, uint64_t n);

/* A whole small file (at most max_bytes), terminated by a zero byte that is not counted. */
NB_CHECKED enum nb_status nb_file_read_all(struct nb_str *out, const char *path, uint64_t max_bytes,
                                           struct nb_error *err);

/* An output under way. Owns: the descriptor and both path strings. */
struct nb_out {
    const struct nb_allocator *a;
    char *path, *partial;
    int fd;          /* -1: not open */
    uint64_t at;     /* bytes written so far by nb_out_write */
    uint64_t synced; /* start of the range not yet handed to write-back */
    unsigned flags;  /* of nb_out_create */
};

enum nb_out_flags { NB_OUT_OVERWRITE = 1 };

/* Creates the partial file and locks it: a second writer of the same target gets NB_ERR_EXISTS, a
 * partial file that nobody holds is replaced. NB_ERR_EXISTS without NB_OUT_OVERWRITE if path exists; NB_ERR_LIMIT if
 * the file system has less than expected_bytes free; NB_ERR_IO with the reason otherwise. */
NB_CHECKED enum nb_status nb_out_create(struct nb_out *o, const char *path, unsigned flags,
                                        uint64_t expected_bytes, const struct nb_allocator *a,
                                        struct nb_error *err);
/* Appends. Starts write-back early, so that the fsync at the end has little left to do. */
NB_CHECKED enum nb_status nb_out_write(struct nb_out *o, const void *data, size_t n,
                                       struct nb_error *err);
/* Writes inside what has been written (a header patched at the end). */
NB_CHECKED enum nb_status nb_out_patch(struct nb_out *o, uint64_t offset, const void *data,
                                       size_t n, struct nb_error *err);
/* Closes, also on failure. */
NB_CHECKED enum nb_status nb_out_commit(struct nb_out *o, struct nb_error *err);
void nb_out_abort(struct nb_out *o); /* removes the partial file; does nothing after commit */

/* An output directory under way: "<path>.partial/", renamed as a whole. overwrite replaces a folder
 * only if it holds nothing but regular files. */
struct nb_outdir {
    const struct nb_allocator *a;
    char *path, *partial;
    int fd; /* of the partial folder, locked; -1: not open */
    unsigned flags;
};
NB_CHECKED enum nb_status nb_outdir_create(struct nb_outdir *d, const char *path, unsigned flags,
                                           uint64_t expected_bytes, const struct nb_allocator *a,
                                           struct nb_error *err);
/* Closes, also on failure. */
NB_CHECKED enum nb_status nb_outdir_commit(struct nb_outdir *d, struct nb_error *err);
void nb_outdir_abort(struct nb_outdir *d);

/* Room on disk without a name, for what does not fit in memory: gone with the process however it ends.
 * Reads and writes of different ranges may come from several threads. */
struct nb_temp {
    const struct nb_allocator *a;
    char *folder; /* for messages */
    int fd;       /* -1: not open */
    uint64_t bytes;
};
/* folder NULL: $TMPDIR, or /tmp. NB_ERR_LIMIT if its file system has no room for so many bytes, which
 * are reserved where it can. */
NB_CHECKED enum nb_status nb_temp_create(struct nb_temp *t, const char *folder, uint64_t bytes,
                                         const struct nb_allocator *a, struct nb_error *err);
/* n bytes at offset, inside what was asked for; what was never written reads as zeros. */
NB_CHECKED enum nb_status nb_temp_write(const struct nb_temp *t, uint64_t offset, const void *data,
                                        size_t n, struct nb_error *err);
NB_CHECKED enum nb_status nb_temp_read(const struct nb_temp *t, uint64_t offset, void *data,
                                       size_t n, struct nb_error *err);
/* All of it, read-only; it outlives nb_temp_close. What is written later shows. */
NB_CHECKED enum nb_status nb_temp_map(const struct nb_temp *t, struct nb_mapping *m,
                                      struct nb_error *err);
void nb_temp_close(struct nb_temp *t);
/* A file that only grows, kept open and locked: what a killed run had appended is there for the next
 * one. Owns: the descriptor and the path. */
struct nb_append {
    const struct nb_allocator *a;
    char *path;
    int fd; /* -1: not open */
    uint64_t size;
};
/* Opens, or creates. NB_ERR_EXISTS: another process holds it. */
NB_CHECKED enum nb_status nb_append_open(struct nb_append *f, const char *path,
                                         const struct nb_allocator *a, struct nb_error *err);
NB_CHECKED enum nb_status nb_append_write(struct nb_append *f, const void *data, size_t n,
                                          struct nb_error *err);
/* What was written so far outlives a loss of power. */
NB_CHECKED enum nb_status nb_append_sync(struct nb_append *f, struct nb_error *err);
/* Bytes [offset, offset + n) of those written. */
NB_CHECKED enum nb_status nb_append_read(const struct nb_append *f, uint64_t offset, void *dst,
                                         size_t n, struct nb_error *err);
NB_CHECKED enum nb_status nb_append_truncate(struct nb_append *f, uint64_t size,
                                             struct nb_error *err);
void nb_append_close(struct nb_append *f);
void nb_append_remove(struct nb_append *f); /* closes too */

struct nb_arena;
/* What lies in a folder, in the order of bytes, without "." and "..": names (n), of the arena. */
NB_CHECKED enum nb_status nb_folder_read(const char *const **names, size_t *n, const char *path,
                                         struct nb_arena *arena, struct nb_error *err);
bool nb_path_exists(const char *path);
bool nb_path_is_dir(const char *path);
bool nb_path_same(const char *a, const char *b); /* device and inode; false if either is missing */
NB_CHECKED enum nb_status nb_path_size(const char *path, uint64_t *bytes, struct nb_error *err);
/* Of the parent's file system. */
NB_CHECKED enum nb_status nb_path_free_bytes(const char *path, uint64_t *bytes,
                                             struct nb_error *err);
/* NULL: no memory. */
char *nb_path_join(const struct nb_allocator *a, const char *dir, const char *name);
/* No slash, backslash, "..", control bytes; not empty. */
bool nb_path_is_plain_name(const char *name);

#endif
