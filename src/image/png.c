/* image/png.c: PNG (ISO/IEC 15948) through libpng's simplified interface, which needs no longjmp of ours. */
#include "image/image_internal.h"

#ifdef NB_WITH_PNG
#include <png.h>
#include <string.h>

static enum nb_status fail(png_image *png, struct nb_error *err)
{
    enum nb_status st = NB_ERROR(err, NB_ERR_FORMAT, "a broken PNG picture: %s", png->message);
    png_image_free(png);
    return st;
}

enum nb_status nb_image_decode_png(struct nb_image *out, const uint8_t *data, size_t n,
                                   struct nb_error *err)
{
    png_image png;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&png, data, n))
        return fail(&png, err);
    png.format = PNG_FORMAT_RGBA; /* transparency is dropped here, not blended with a colour */
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    enum nb_status st = nb_image_room(out, png.width, png.height, err);
    const size_t pixels = st == NB_OK ? (size_t)out->width * out->height : 0;
    uint8_t *rgba = st == NB_OK ? nb_alloc(out->a, pixels, 4) : NULL;
    if (rgba == NULL) {
        png_image_free(&png);
        return st != NB_OK ? st : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a picture");
    }
    if (!png_image_finish_read(&png, NULL, rgba, 0, NULL))
        st = fail(&png, err);
    for (size_t i = 0; i < pixels && st == NB_OK; i++)
        memcpy(out->rgb + 3 * i, rgba + 4 * i, 3);
    nb_free(out->a, rgba);
    return st;
}
#else
enum nb_status nb_image_decode_png(struct nb_image *out, const uint8_t *data, size_t n,
                                   struct nb_error *err)
{
    (void)out, (void)data, (void)n;
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "a PNG picture, and this nibble was built without libpng");
}
#endif
