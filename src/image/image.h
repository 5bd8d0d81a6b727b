/* image/image.h: pictures in files: PNG and JPEG, as rows of red, green and blue bytes, and their resizing.
 *
 * Pixels are those that Pillow gives: no colour profile and no orientation of the file is applied, transparency is
 * dropped. Left out: other formats, more than 8 bits of a colour (16 become 8), CMYK.
 */
#ifndef NB_IMAGE_IMAGE_H
#define NB_IMAGE_IMAGE_H

#include "base/base.h"

/* Owns: rgb. */
struct nb_image {
    const struct nb_allocator *a;
    uint8_t *rgb; /* (height, width, 3) */
    uint32_t width, height;
};

/* Is it called a picture (.png, .jpg, .jpeg)? */
bool nb_image_is_named(const char *path);

/* By the file's first bytes. NB_ERR_FORMAT names what is broken; NB_ERR_UNSUPPORTED a format that is not known, or that
 * this build lacks. */
NB_CHECKED enum nb_status nb_image_read(struct nb_image *out, const char *path,
                                        const struct nb_allocator *a, struct nb_error *err);
void nb_image_fini(struct nb_image *m);

/* Bilinear: every pixel is a mean over a triangle, as wide as two pixels of the smaller picture, so that what is made
 * smaller does not alias. The bytes of Pillow's Image.resize(size, BILINEAR). */
NB_CHECKED enum nb_status nb_image_resize(struct nb_image *out, const struct nb_image *in,
                                          uint32_t width, uint32_t height, struct nb_error *err);

#endif
