/* tests/support/nbtest.c: see nbtest.h. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "support/nbtest.h"

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* cmocka's fail_msg with the place of the caller's line. */
static void NB_PRINTF(3, 4) fail_at(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprint_error(fmt, ap);
    va_end(ap);
    print_error("\n");
    _fail(file, line);
}

/* ---- status ---- */
void nbtest_ok(enum nb_status st, const struct nb_error *err, const char *call, const char *file,
               int line)
{
    if (st != NB_OK)
        fail_at(file, line, "%s: %s: %s", call, nb_status_name(st),
                err != NULL ? err->message : "(no error detail asked for)");
}

void nbtest_fails(enum nb_status st, enum nb_status want, const struct nb_error *err,
                  const char *text, const char *call, const char *file, int line)
{
    const char *message = err != NULL ? err->message : "";
    if (st != want)
        fail_at(file, line, "%s: %s (%s), expected %s", call, nb_status_name(st), message,
                nb_status_name(want));
    if (err == NULL)
        return;
    if (err->status != want)
        fail_at(file, line, "%s: err->status is %s, expected %s", call, nb_status_name(err->status),
                nb_status_name(want));
    if (text != NULL && strstr(message, text) == NULL)
        fail_at(file, line, "%s: message \"%s\" lacks \"%s\"", call, message, text);
}

/* ---- floats ---- */
void nbtest_close(double a, double b, double tol, const char *what, const char *file, int line)
{
    if (!(fabs(a - b) <= tol) && !(isinf(a) && a == b))
        fail_at(file, line, "%s: %.9g, expected %.9g +- %.3g", what, a, b, tol);
}

/* Floats in order as integers in order. */
static int64_t ordered(float f)
{
    const uint32_t u = nb_f32_bits(f);
    return (u & 0x80000000U) != 0 ? -(int64_t)(u & 0x7fffffffU) : (int64_t)u;
}

void nbtest_ulp(float a, float b, uint32_t n, const char *what, const char *file, int line)
{
    const int64_t d = ordered(a) - ordered(b);
    if (isnan(a) || isnan(b) || d > (int64_t)n || d < -(int64_t)n)
        fail_at(file, line, "%s: %.9g, expected %.9g within %u ulp", what, (double)a, (double)b,
                (unsigned)n);
}

void nbtest_bits(float a, float b, const char *what, const char *file, int line)
{
    if (nb_f32_bits(a) != nb_f32_bits(b))
        fail_at(file, line, "%s: %a (%08x), expected %a (%08x)", what, (double)a,
                (unsigned)nb_f32_bits(a), (double)b, (unsigned)nb_f32_bits(b));
}

void nbtest_bits_array(const float *a, const float *b, size_t n, const char *what, const char *file,
                       int line)
{
    for (size_t i = 0; i < n; i++)
        if (nb_f32_bits(a[i]) != nb_f32_bits(b[i]))
            fail_at(file, line, "%s[%zu of %zu]: %a (%08x), expected %a (%08x)", what, i, n,
                    (double)a[i], (unsigned)nb_f32_bits(a[i]), (double)b[i],
                    (unsigned)nb_f32_bits(b[i]));
}

/* ---- memory ---- */
static pthread_mutex_t alloc_lock = PTHREAD_MUTEX_INITIALIZER;

/* The size lies in front of the block, one alignment below it. */
static void *counting_alloc(void *ctx, size_t bytes, size_t align)
{
    struct nbtest_alloc *x = ctx;
    pthread_mutex_lock(&alloc_lock);
    x->n_allocs++;
    const bool fail =
        x->fail_at != 0 && (x->fail_after ? x->n_allocs >= x->fail_at : x->n_allocs == x->fail_at);
    uint8_t *p = fail ? NULL : aligned_alloc(align, (bytes + 2 * align - 1) / align * align);
    if (p != NULL) {
        memcpy(p, &bytes, sizeof bytes);
        memset(p + align, 0xa5, bytes); /* not zero: who needs zeros must ask for them */
        memcpy(p + align - sizeof align, &align, sizeof align);
        x->live++;
        x->live_bytes += bytes;
        x->peak_bytes = NB_MAX(x->peak_bytes, x->live_bytes);
    }
    pthread_mutex_unlock(&alloc_lock);
    return p == NULL ? NULL : p + align;
}

static void counting_free(void *ctx, void *ptr)
{
    if (ptr == NULL)
        return;
    struct nbtest_alloc *x = ctx;
    uint8_t *p = ptr;
    size_t align, bytes;
    memcpy(&align, p - sizeof align, sizeof align);
    p -= align;
    memcpy(&bytes, p, sizeof bytes);
    pthread_mutex_lock(&alloc_lock);
    x->live--;
    x->live_bytes -= bytes;
    pthread_mutex_unlock(&alloc_lock);
    free(p);
}

void nbtest_alloc_init(struct nbtest_alloc *x, size_t fail_at_n)
{
    memset(x, 0, sizeof *x);
    x->a = (struct nb_allocator){x, counting_alloc, counting_free};
    x->fail_at = fail_at_n;
}

size_t nbtest_oom(nbtest_oom_fn *body, void *ctx)
{
    for (size_t k = 1;; k++) {
        struct nbtest_alloc x;
        nbtest_alloc_init(&x, k);
        const enum nb_status st = body(ctx, &x.a);
        if (x.live != 0)
            fail_msg("allocation %zu failed: %zu blocks leak", k, x.live);
        if (x.n_allocs < k) {
            if (st != NB_OK)
                fail_msg("all %zu allocations worked, yet: %s", x.n_allocs, nb_status_name(st));
            return k - 1;
        }
        if (st != NB_ERR_NOMEM)
            fail_msg("allocation %zu failed, yet the status is: %s", k, nb_status_name(st));
    }
}

/* ---- files ---- */
static char tmpdir[4096];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static pid_t tmpdir_owner;

static void remove_tmpdir(void)
{
    if (getpid() == tmpdir_owner) /* not in a child of a test */
        nftw(tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *nbtest_tmpdir(void)
{
    if (tmpdir[0] != '\0')
        return tmpdir;
    const char *base = getenv("TMPDIR");
    snprintf(tmpdir, sizeof tmpdir, "%s/nbtest-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(tmpdir) == NULL)
        fail_msg("mkdtemp %s failed", tmpdir);
    tmpdir_owner = getpid();
    atexit(remove_tmpdir);
    return tmpdir;
}

static const char *rotating(const char *dir, const char *name)
{
    static char buffers[16][4096];
    static unsigned next;
    char *b = buffers[next++ % NB_COUNTOF(buffers)];
    if (snprintf(b, sizeof buffers[0], "%s/%s", dir, name) >= (int)sizeof buffers[0])
        fail_msg("path too long: %s/%s", dir, name);
    return b;
}

const char *nbtest_tmp(const char *name)
{
    return rotating(nbtest_tmpdir(), name);
}

void nbtest_write(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, n, f) != n || fclose(f) != 0)
        fail_msg("cannot write %s", path);
}

uint8_t *nbtest_read(const char *path, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (f == NULL || fstat(fileno(f), &st) != 0)
        fail_msg("cannot open %s", path);
    const size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size + 1);
    if (data == NULL || fread(data, 1, size, f) != size)
        fail_msg("cannot read %s", path);
    fclose(f);
    data[size] = 0;
    if (n != NULL)
        *n = size;
    return data;
}

size_t nbtest_count_files(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        fail_msg("cannot open the folder %s", dir);
    size_t n = 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static const char *from_env(const char *variable, const char *name)
{
    const char *dir = getenv(variable);
    if (dir == NULL)
        fail_msg("%s is not set: run through meson test", variable);
    return rotating(dir, name);
}

const char *nbtest_model(const char *name)
{
    return from_env("NB_MODELS", name);
}

const char *nbtest_data(const char *name)
{
    return from_env("NB_DATA", name);
}

const char *nbtest_root(const char *name)
{
    return from_env("NB_ROOT", name);
}
