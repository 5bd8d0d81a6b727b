/* image/jpeg.c: JPEG (ITU-T T.81) through libjpeg-turbo's TurboJPEG interface, which needs no longjmp of ours.
 *
 * The accurate inverse transform, as everybody's default; a file that ends too soon is an error, not half a picture.
 */
#include "image/image_internal.h"

#ifdef NB_WITH_JPEG
#include <limits.h>
#include <turbojpeg.h>

static enum nb_status decode(struct nb_image *out, tjhandle tj, const uint8_t *data, size_t n,
                             struct nb_error *err)
{
    int width, height, sampling, colours;
    if (n > ULONG_MAX ||
        tjDecompressHeader3(tj, data, (unsigned long)n, &width, &height, &sampling, &colours) != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "a broken JPEG picture: %s", tjGetErrorStr2(tj));
    if (colours == TJCS_CMYK || colours == TJCS_YCCK)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "a JPEG picture in CMYK; expected RGB or grey");
    NB_TRY(nb_image_room(out, (uint64_t)width, (uint64_t)height, err));
    if (tjDecompress2(tj, data, (unsigned long)n, out->rgb, width, 0, height, TJPF_RGB,
                      TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "a broken JPEG picture: %s", tjGetErrorStr2(tj));
    return NB_OK;
}

enum nb_status nb_image_decode_jpeg(struct nb_image *out, const uint8_t *data, size_t n,
                                    struct nb_error *err)
{
    tjhandle tj = tjInitDecompress();
    if (tj == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a picture");
    const enum nb_status st = decode(out, tj, data, n, err);
    (void)tjDestroy(tj);
    return st;
}
#else
enum nb_status nb_image_decode_jpeg(struct nb_image *out, const uint8_t *data, size_t n,
                                    struct nb_error *err)
{
    (void)out, (void)data, (void)n;
    NB_FAIL(err, NB_ERR_UNSUPPORTED,
            "a JPEG picture, and this nibble was built without libjpeg-turbo");
}
#endif
