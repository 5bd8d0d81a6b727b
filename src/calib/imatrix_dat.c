/* calib/imatrix_dat.c: the older imatrix file, little endian, without a magic number:
 *
 *     i32 entries; then per entry: i32 n, n bytes of name; i32 calls; i32 values; f32 [values]
 *     i32 chunks; i32 n, n bytes: name of the text                        (older writers stop before)
 *
 * A value is the mean of squares times calls; a call is one window. How long the windows were is not
 * written: 512 tokens are assumed, which matters only when files are merged.
 */
#include "calib/calib_internal.h"

#include <string.h>

#define ENTRY_BYTES_MIN 13 /* a name of one byte, no value */

static float load_f32(const uint8_t *p)
{
    const uint32_t bits = nb_load_u32(p);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* ---- reading ---- */

/* An i32 that counts something: lo .. hi. */
static enum nb_status take_count(struct nb_cursor *in, uint32_t *out, uint32_t lo, uint32_t hi,
                                 const char *what, struct nb_error *err)
{
    const uint64_t at = in->at;
    NB_TRY(nb_cursor_u32(in, out, what, err));
    if (*out < lo || *out > hi)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "%s is %ld, expected %lu to %lu", what,
                           (long)(int32_t)*out, (unsigned long)lo, (unsigned long)hi);
    return NB_OK;
}

static enum nb_status read_entry(struct nb_calib *c, struct nb_cursor *in, struct nb_error *err)
{
    char name[NB_CALIB_MAX_NAME + 1];
    const uint8_t *bytes;
    uint32_t len, calls, n;
    struct nb_moment *m;
    NB_TRY(take_count(in, &len, 1, NB_CALIB_MAX_NAME, "the length of an entry's name", err));
    NB_TRY(nb_cursor_take(in, &bytes, len, "an entry's name", err));
    memcpy(name, bytes, len);
    name[len] = '\0';
    if (strlen(name) != len)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, in->at - len, "a zero byte in an entry's name");
    NB_TRY(take_count(in, &calls, 0, INT32_MAX, "the number of calls", err));
    NB_TRY(take_count(in, &n, 1, INT32_MAX, "the number of values", err));
    NB_TRY(nb_cursor_take(in, &bytes, 4 * (uint64_t)n, "the values of an entry", err));
    enum nb_status st = nb_calib_add(c, name, 1, n, &m, err);
    if (st != NB_OK)
        return st == NB_ERR_EXISTS ? NB_ERR_FORMAT : st;
    m->count[0] = (double)calls * NB_CALIB_CHUNK_SIZE;
    for (uint32_t i = 0; i < n; i++) {
        const float v = load_f32(bytes + 4 * (size_t)i);
        NB_TRY(nb_imatrix_check_value(v, name, i, err));
        m->sum[i] = (double)v * NB_CALIB_CHUNK_SIZE;
    }
    return NB_OK;
}

static enum nb_status read_tail(struct nb_calib *c, struct nb_cursor *in, struct nb_error *err)
{
    uint32_t chunks, len;
    const uint8_t *name;
    NB_TRY(take_count(in, &chunks, 0, INT32_MAX, "the number of chunks", err));
    NB_TRY(take_count(in, &len, 0, INT32_MAX, "the length of the text's name", err));
    NB_TRY(nb_cursor_take(in, &name, len, "the text's name", err));
    c->chunk_count = chunks;
    if (in->at < in->size)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, in->at,
                           "%llu bytes follow the end of the statistics",
                           (unsigned long long)(in->size - in->at));
    return len > 0 ? nb_calib_add_dataset(c, (const char *)name, len, err) : NB_OK;
}

enum nb_status nb_imatrix_read_dat(struct nb_calib *c, const void *data, size_t n,
                                   struct nb_error *err)
{
    struct nb_cursor in = {.data = data, .size = n};
    uint32_t entries;
    NB_TRY(nb_cursor_u32(&in, &entries, "an imatrix file's number of entries", err));
    if (entries == 0 || entries > (n - 4) / ENTRY_BYTES_MIN)
        NB_FAIL(err, NB_ERR_FORMAT,
                "not an imatrix file: neither GGUF, nor do %zu bytes hold the %lu entries that the "
                "first bytes announce",
                n, (unsigned long)entries);
    for (uint32_t i = 0; i < entries; i++) {
        const enum nb_status st = read_entry(c, &in, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "imatrix entry %lu of %lu", (unsigned long)i + 1,
                                   (unsigned long)entries);
        c->chunk_count =
            NB_MAX(c->chunk_count, (uint64_t)(c->items[i].count[0] / NB_CALIB_CHUNK_SIZE));
    }
    return in.at < in.size ? read_tail(c, &in, err) : NB_OK;
}

/* ---- writing ---- */

static void put_u32(struct nb_str *s, uint32_t v)
{
    uint8_t bytes[4];
    nb_store_u32(bytes, v);
    nb_str_append(s, bytes, sizeof bytes);
}

static void put_text(struct nb_str *s, const char *text)
{
    put_u32(s, (uint32_t)strlen(text));
    nb_str_puts(s, text);
}

static enum nb_status put_entry(struct nb_str *s, const struct nb_calib *c,
                                const struct nb_moment *m, struct nb_error *err)
{
    double most = 0.0;
    const size_t n = m->n_mat * m->cols;
    for (size_t i = 0; i < m->n_mat; i++)
        most = NB_MAX(most, m->count[i]);
    const double windows = most / c->chunk_size;
    if (n > INT32_MAX || windows >= INT32_MAX)
        NB_FAIL(err, NB_ERR_LIMIT, "'%s': %zu columns and %g windows are too many for a .dat file",
                m->name, n, windows);
    uint32_t calls = (uint32_t)windows;
    calls += (double)calls < windows;
    put_text(s, m->name);
    put_u32(s, calls);
    put_u32(s, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        const double mean = nb_moment_mean(m, i);
        float v;
        uint32_t bits;
        NB_TRY(nb_imatrix_to_f32(mean * calls, m, &v, err));
        memcpy(&bits, &v, sizeof bits);
        put_u32(s, bits);
    }
    return NB_OK;
}

enum nb_status nb_imatrix_write_dat(const struct nb_calib *c, const char *path, unsigned out_flags,
                                    struct nb_error *err)
{
    struct nb_str s;
    struct nb_out out;
    if (c->n > INT32_MAX)
        NB_FAIL(err, NB_ERR_LIMIT, "%zu entries are too many for a .dat file", c->n);
    nb_str_init(&s, c->a);
    put_u32(&s, (uint32_t)c->n);
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < c->n && st == NB_OK; i++)
        st = put_entry(&s, c, &c->items[i], err);
    put_u32(&s, (uint32_t)NB_MIN(c->chunk_count, (uint64_t)INT32_MAX));
    put_text(&s, c->n_datasets > 0 ? c->datasets[0] : "");
    if (st == NB_OK)
        st = nb_str_check(&s, err);
    if (st == NB_OK)
        st = nb_out_create(&out, path, out_flags, s.len, c->a, err);
    if (st == NB_OK) {
        st = nb_out_write(&out, s.data, s.len, err);
        if (st == NB_OK)
            st = nb_out_commit(&out, err);
        else
            nb_out_abort(&out);
    }
    nb_str_fini(&s);
    return st;
}
