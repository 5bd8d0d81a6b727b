/* container/file.c: opening a file of any registered container.
 *
 * The bytes are mapped, the first of them shown to each container in turn, and the one that knows
 * them parses the header. No weight is read.
 */
#include "container/container_internal.h"
#include "container/onnx.h"
#include "container/tflite.h"

#include <string.h>

#define PROBE_BYTES       64
#define NAMES_CHUNK_BYTES 16384

static const struct nb_container *const containers[] = {
#define NB_CONTAINER(id) &nb_container_##id,
#include "container/registry.inc"
#undef NB_CONTAINER
};

const struct nb_container *const *nb_container_all(size_t *n)
{
    *n = NB_COUNTOF(containers);
    return containers;
}

/* What people hand over by mistake. */
static const struct {
    const char *magic;
    const char *what;
} foreign[] = {
    {"version https://git-lfs", "a Git LFS pointer, not the file itself: run 'git lfs pull'"},
    {"PK\x03\x04", "a zip archive (a PyTorch checkpoint?); nibble does not read pickles"},
    {"\x89HDF", "an HDF5 file"},
    {"lmgg", "a GGML file from before GGUF"},
    {"tjgg", "a GGJT file from before GGUF"},
    {"fmgg", "a GGMF file from before GGUF"},
    {"<!DOCTYPE", "a web page, not a model"},
    {"<html", "a web page, not a model"},
    {"{", "a JSON text; give its folder if it belongs to a model"},
};

static enum nb_status unknown_file(const struct nb_file *f, struct nb_error *err)
{
    const struct nb_mapping *m = &f->map;
    if (m->size < 9)
        NB_FAIL(err, NB_ERR_FORMAT, "%llu bytes are too short for any model file",
                (unsigned long long)m->size);
    for (size_t i = 0; i < NB_COUNTOF(foreign); i++) {
        const size_t n = strlen(foreign[i].magic);
        if (m->size >= n && memcmp(m->data, foreign[i].magic, n) == 0)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "this is %s", foreign[i].what);
    }
    if (nb_onnx_probe(m->data, (size_t)NB_MIN(m->size, (uint64_t)PROBE_BYTES)))
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "this is a net in ONNX, not a table of tensors; inspect shows what it holds");
    if (nb_tflite_probe(m->data, (size_t)NB_MIN(m->size, (uint64_t)PROBE_BYTES)))
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "this is a net in TFLite, not a table of tensors; inspect shows what it holds");
    NB_FAIL(err, NB_ERR_UNSUPPORTED,
            "not a file nibble knows (first bytes %02x %02x %02x %02x %02x %02x %02x %02x)",
            m->data[0], m->data[1], m->data[2], m->data[3], m->data[4], m->data[5], m->data[6],
            m->data[7]);
}

static enum nb_status parse(struct nb_file *f, struct nb_error *err)
{
    const size_t n = (size_t)NB_MIN(f->map.size, (uint64_t)PROBE_BYTES);
    for (size_t i = 0; i < NB_COUNTOF(containers); i++) {
        if (!containers[i]->probe(f->map.data, n))
            continue;
        f->container = containers[i];
        return f->container->open(f, err);
    }
    return unknown_file(f, err);
}

static struct nb_file *file_create(const struct nb_allocator *a, const char *path)
{
    struct nb_file *f = nb_alloc_zero(a, 1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->a = a;
    nb_meta_init(&f->meta, a);
    nb_arena_init(&f->arena, a, NAMES_CHUNK_BYTES);
    nb_map_init(&f->names, a);
    f->path = nb_strndup(a, path, strlen(path));
    if (f->path == NULL) {
        nb_file_close(f);
        return NULL;
    }
    return f;
}

enum nb_status nb_file_open(struct nb_file **out, const char *path, const struct nb_allocator *a,
                            struct nb_error *err)
{
    *out = NULL;
    struct nb_file *f = file_create(a, path);
    if (f == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory", path);
    enum nb_status st = nb_mapping_open(&f->map, path, err);
    if (st == NB_OK) {
        st = parse(f, err);
        if (st != NB_OK)
            st = nb_error_prefix(err, st, "%s", path);
    }
    if (st != NB_OK) {
        nb_file_close(f);
        return st;
    }
    *out = f;
    return NB_OK;
}

enum nb_status nb_file_open_bytes(struct nb_file **out, const void *data, size_t n,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_file *f = file_create(a, "(memory)");
    if (f == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    f->in_memory = true;
    f->map = (struct nb_mapping){.data = data, .size = n};
    const enum nb_status st = parse(f, err);
    if (st != NB_OK) {
        nb_file_close(f);
        return st;
    }
    *out = f;
    return NB_OK;
}

void nb_file_close(struct nb_file *f)
{
    if (f == NULL)
        return;
    if (!f->in_memory)
        nb_mapping_close(&f->map);
    nb_map_fini(&f->names);
    nb_free(f->a, f->tensors);
    nb_arena_fini(&f->arena);
    nb_meta_fini(&f->meta);
    nb_free(f->a, f->path);
    nb_free(f->a, f);
}

const struct nb_tensor *nb_file_find(const struct nb_file *f, const char *name)
{
    uint64_t i;
    if (!nb_map_get(&f->names, name, strlen(name), &i))
        return NULL;
    return &f->tensors[i];
}

bool nb_container_shape_ok(const struct nb_shape *s)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < s->n; i++)
        if (!nb_mul_u64(&count, count, NB_MAX(s->dim[i], 1)) || count > INT64_MAX)
            return false;
    return true;
}
