/* image/image.c: which format a picture has, and room for it. */
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "image/image_internal.h"

#define MOST_PIXELS ((uint64_t)1 << 28)

static const struct {
    const char *magic;
    size_t n;
    nb_image_decode_fn *decode;
} formats[] = {
    {"\x89PNG\r\n\x1a\n", 8, nb_image_decode_png},
    {"\xff\xd8\xff", 3, nb_image_decode_jpeg},
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool nb_image_is_named(const char *path)
{
    static const char *const suffixes[] = {".png", ".jpg", ".jpeg"};
    const size_t n = strlen(path);
    for (size_t i = 0; i < NB_COUNTOF(suffixes); i++) {
        const size_t m = strlen(suffixes[i]);
        size_t k = 0;
        while (n > m && k < m && lower(path[n - m + k]) == suffixes[i][k])
            k++;
        if (k == m)
            return true;
    }
    return false;
}

enum nb_status nb_image_room(struct nb_image *m, uint64_t width, uint64_t height,
                             struct nb_error *err)
{
    if (width == 0 || height == 0 || width > MOST_PIXELS || height > MOST_PIXELS / width)
        NB_FAIL(err, NB_ERR_LIMIT, "a picture of %llu x %llu pixels; at most %llu are taken",
                (unsigned long long)width, (unsigned long long)height,
                (unsigned long long)MOST_PIXELS);
    m->width = (uint32_t)width;
    m->height = (uint32_t)height;
    m->rgb = nb_alloc(m->a, (size_t)(width * height), 3);
    if (m->rgb == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a picture of %llu x %llu pixels",
                (unsigned long long)width, (unsigned long long)height);
    return NB_OK;
}

enum nb_status nb_image_read(struct nb_image *out, const char *path, const struct nb_allocator *a,
                             struct nb_error *err)
{
    struct nb_mapping m;
    *out = (struct nb_image){.a = a};
    NB_TRY(nb_mapping_open(&m, path, err));
    nb_image_decode_fn *decode = NULL;
    for (size_t i = 0; i < NB_COUNTOF(formats); i++)
        if (m.size >= formats[i].n && memcmp(m.data, formats[i].magic, formats[i].n) == 0)
            decode = formats[i].decode;
    enum nb_status st = decode != NULL && m.size <= SIZE_MAX
                            ? decode(out, m.data, (size_t)m.size, err)
                            : NB_ERROR(err, NB_ERR_UNSUPPORTED, "neither a PNG nor a JPEG picture");
    nb_mapping_close(&m);
    if (st == NB_OK)
        return NB_OK;
    nb_image_fini(out);
    return nb_error_prefix(err, st, "%s", path);
}

void nb_image_fini(struct nb_image *m)
{
    if (m->a != NULL)
        nb_free(m->a, m->rgb);
    m->rgb = NULL;
}
