/* quant/journal.c: see journal.h. Numbers are little endian.
 *
 * head   "nbjrnl2\n" 8 | hash of the job 16
 * entry  "entry\n\0\0" 8 | bytes of name u64 | bytes of payload u64 | input 16 | numbers f64 x 21 |
 *        name | payload | XXH3-128 of all before 16
 */
#include "quant/journal.h"

#include <string.h>

enum {
    HEAD_BYTES = 24,
    HASH_BYTES = 16,
    FIXED_BYTES = 8 + 8 + 8 + HASH_BYTES + 8 * NB_JOURNAL_NUMBERS,
    NAME_BYTES_MAX = 255,
    READ_BYTES = 1 << 20
};

static const char head_magic[8] = {'n', 'b', 'j', 'r', 'n', 'l', '2', '\n'};
static const char entry_magic[8] = {'e', 'n', 't', 'r', 'y', '\n', 0, 0};

/* Owns: all. */
struct nb_journal {
    const struct nb_allocator *a;
    struct nb_arena arena; /* names */
    struct nb_append file;
    struct nb_journal_entry *entries;
    uint64_t *starts; /* (n) where each entry begins */
    size_t n, cap, cap_starts;
};

static void put_hash(uint8_t *p, struct nb_hash h)
{
    nb_store_u64(p, h.lo);
    nb_store_u64(p + 8, h.hi);
}

static struct nb_hash get_hash(const uint8_t *p)
{
    return (struct nb_hash){nb_load_u64(p), nb_load_u64(p + 8)};
}

static bool same_hash(struct nb_hash x, struct nb_hash y)
{
    return x.lo == y.lo && x.hi == y.hi;
}

static enum nb_status keep(struct nb_journal *j, const struct nb_journal_entry *e, uint64_t start,
                           struct nb_error *err)
{
    if (!nb_grow(j->a, &j->entries, &j->cap, j->n, sizeof *j->entries) ||
        !nb_grow(j->a, &j->starts, &j->cap_starts, j->n, sizeof *j->starts))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a journal");
    j->entries[j->n] = *e;
    j->starts[j->n++] = start;
    return NB_OK;
}

/* ---- reading what an earlier run has left ---- */

/* Does what lies before the checksum have it? */
static enum nb_status check_sum(const struct nb_journal *j, uint64_t start, uint64_t end,
                                bool *valid, struct nb_error *err)
{
    uint8_t sum[HASH_BYTES];
    uint8_t *buffer = nb_alloc(j->a, READ_BYTES, 1);
    struct nb_hasher *h = nb_hasher_create(j->a);
    enum nb_status st = buffer != NULL && h != NULL
                            ? NB_OK
                            : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a journal");
    for (uint64_t at = start; st == NB_OK && at < end;) {
        const size_t n = (size_t)NB_MIN((uint64_t)READ_BYTES, end - at);
        st = nb_append_read(&j->file, at, buffer, n, err);
        if (st == NB_OK)
            nb_hasher_update(h, buffer, n);
        at += n;
    }
    if (st == NB_OK)
        st = nb_append_read(&j->file, end, sum, sizeof sum, err);
    if (st == NB_OK)
        *valid = same_hash(nb_hasher_digest(h), get_hash(sum));
    nb_hasher_destroy(h);
    nb_free(j->a, buffer);
    return st;
}

static enum nb_status read_name(struct nb_journal *j, struct nb_journal_entry *e, uint64_t at,
                                size_t n, struct nb_error *err)
{
    char name[NAME_BYTES_MAX + 1];
    NB_TRY(nb_append_read(&j->file, at, name, n, err));
    e->name = nb_arena_strndup(&j->arena, name, n);
    return e->name != NULL ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a journal");
}

/* The entry at start; *next is where the one after it would begin, 0 if this one is not whole. */
static enum nb_status read_entry(struct nb_journal *j, uint64_t start, uint64_t *next,
                                 struct nb_error *err)
{
    uint8_t fixed[FIXED_BYTES];
    struct nb_journal_entry e;
    uint64_t end;
    bool valid = false;
    *next = 0;
    if (j->file.size - start < FIXED_BYTES + HASH_BYTES)
        return NB_OK;
    NB_TRY(nb_append_read(&j->file, start, fixed, sizeof fixed, err));
    const uint64_t name_bytes = nb_load_u64(fixed + 8);
    e.bytes = nb_load_u64(fixed + 16);
    if (memcmp(fixed, entry_magic, sizeof entry_magic) != 0 || name_bytes > NAME_BYTES_MAX)
        return NB_OK;
    e.offset = start + FIXED_BYTES + name_bytes;
    if (!nb_add_u64(&end, e.offset, e.bytes) || end > j->file.size ||
        j->file.size - end < HASH_BYTES)
        return NB_OK;
    NB_TRY(check_sum(j, start, end, &valid, err));
    if (!valid)
        return NB_OK;
    e.input = get_hash(fixed + 24);
    for (size_t i = 0; i < NB_JOURNAL_NUMBERS; i++) {
        const uint64_t bits = nb_load_u64(fixed + 24 + HASH_BYTES + 8 * i);
        memcpy(&e.number[i], &bits, sizeof bits);
    }
    NB_TRY(read_name(j, &e, start + FIXED_BYTES, (size_t)name_bytes, err));
    *next = end + HASH_BYTES;
    return keep(j, &e, start, err);
}

static enum nb_status read_all(struct nb_journal *j, struct nb_hash job, struct nb_error *err)
{
    uint8_t head[HEAD_BYTES];
    uint64_t at = HEAD_BYTES, next = 0;
    if (j->file.size >= HEAD_BYTES) {
        NB_TRY(nb_append_read(&j->file, 0, head, sizeof head, err));
        if (memcmp(head, head_magic, sizeof head_magic) == 0 &&
            same_hash(get_hash(head + 8), job)) {
            for (; at < j->file.size; at = next) {
                NB_TRY(read_entry(j, at, &next, err));
                if (next == 0)
                    break;
            }
            return nb_append_truncate(&j->file, at, err);
        }
    }
    memcpy(head, head_magic, sizeof head_magic);
    put_hash(head + 8, job);
    NB_TRY(nb_append_truncate(&j->file, 0, err));
    return nb_append_write(&j->file, head, sizeof head, err);
}

enum nb_status nb_journal_open(struct nb_journal **out, const char *path, struct nb_hash job,
                               const struct nb_allocator *a, size_t *reused, struct nb_error *err)
{
    *out = NULL;
    struct nb_journal *j = nb_alloc_zero(a, 1, sizeof *j);
    if (j == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a journal");
    j->a = a;
    j->file.fd = -1;
    nb_arena_init(&j->arena, a, 0);
    enum nb_status st = nb_append_open(&j->file, path, a, err);
    if (st == NB_OK)
        st = read_all(j, job, err);
    if (st != NB_OK) {
        nb_journal_close(j);
        return st;
    }
    *reused = j->n;
    *out = j;
    return NB_OK;
}

size_t nb_journal_count(const struct nb_journal *j)
{
    return j->n;
}

const char *nb_journal_path(const struct nb_journal *j)
{
    return j->file.path;
}

const struct nb_journal_entry *nb_journal_find(const struct nb_journal *j, const char *name)
{
    for (size_t i = 0; i < j->n; i++)
        if (strcmp(j->entries[i].name, name) == 0)
            return &j->entries[i];
    return NULL;
}

enum nb_status nb_journal_read(const struct nb_journal *j, const struct nb_journal_entry *e,
                               uint64_t at, void *dst, size_t n, struct nb_error *err)
{
    nb_assert(at <= e->bytes && n <= e->bytes - at);
    return nb_append_read(&j->file, e->offset + at, dst, n, err);
}

/* ---- writing ---- */

/* Everything before the payload. Returns its bytes. */
static size_t put_front(uint8_t *p, const struct nb_journal_entry *e, uint64_t bytes)
{
    const size_t n = strlen(e->name);
    memcpy(p, entry_magic, sizeof entry_magic);
    nb_store_u64(p + 8, n);
    nb_store_u64(p + 16, bytes);
    put_hash(p + 24, e->input);
    for (size_t i = 0; i < NB_JOURNAL_NUMBERS; i++) {
        uint64_t bits;
        memcpy(&bits, &e->number[i], sizeof bits);
        nb_store_u64(p + 24 + HASH_BYTES + 8 * i, bits);
    }
    memcpy(p + FIXED_BYTES, e->name, n);
    return FIXED_BYTES + n;
}

enum nb_status nb_journal_add(struct nb_journal *j, const struct nb_journal_entry *e,
                              const void *payload, uint64_t bytes, struct nb_error *err)
{
    uint8_t front[FIXED_BYTES + NAME_BYTES_MAX];
    uint8_t sum[HASH_BYTES];
    const uint64_t start = j->file.size;
    struct nb_journal_entry kept = *e;
    nb_assert(strlen(e->name) <= NAME_BYTES_MAX);
    if (nb_journal_find(j, e->name) != NULL)
        NB_FAIL(err, NB_ERR_EXISTS, "the journal has tensor '%s' already", e->name);
    const size_t front_bytes = put_front(front, e, bytes);
    struct nb_hasher *h = nb_hasher_create(j->a);
    kept.name = nb_arena_strndup(&j->arena, e->name, strlen(e->name));
    if (h == NULL || kept.name == NULL) {
        nb_hasher_destroy(h);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a journal");
    }
    nb_hasher_update(h, front, front_bytes);
    nb_hasher_update(h, payload, (size_t)bytes);
    put_hash(sum, nb_hasher_digest(h));
    nb_hasher_destroy(h);
    kept.offset = start + front_bytes;
    kept.bytes = bytes;
    NB_TRY(nb_append_write(&j->file, front, front_bytes, err));
    NB_TRY(nb_append_write(&j->file, payload, (size_t)bytes, err));
    NB_TRY(nb_append_write(&j->file, sum, sizeof sum, err));
    NB_TRY(nb_append_sync(&j->file, err));
    return keep(j, &kept, start, err);
}

enum nb_status nb_journal_cut(struct nb_journal *j, const struct nb_journal_entry *e,
                              struct nb_error *err)
{
    const size_t i = (size_t)(e - j->entries);
    NB_TRY(nb_append_truncate(&j->file, j->starts[i], err));
    j->n = i;
    return NB_OK;
}

static void free_all(struct nb_journal *j)
{
    nb_free(j->a, j->entries);
    nb_free(j->a, j->starts);
    nb_arena_fini(&j->arena);
    nb_free(j->a, j);
}

void nb_journal_close(struct nb_journal *j)
{
    if (j == NULL)
        return;
    nb_append_close(&j->file);
    free_all(j);
}

void nb_journal_finish(struct nb_journal *j)
{
    if (j == NULL)
        return;
    nb_append_remove(&j->file);
    free_all(j);
}
