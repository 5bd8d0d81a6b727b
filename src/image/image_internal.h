/* image/image_internal.h: decoders. */
#ifndef NB_IMAGE_IMAGE_INTERNAL_H
#define NB_IMAGE_IMAGE_INTERNAL_H

#include "image/image.h"

/* rgb: room for a picture of this size. NB_ERR_LIMIT: too large. */
NB_CHECKED enum nb_status nb_image_room(struct nb_image *m, uint64_t width, uint64_t height,
                                        struct nb_error *err);
/* out->a is set; after a failure nb_image_fini. */
typedef enum nb_status nb_image_decode_fn(struct nb_image *out, const uint8_t *data, size_t n,
                                          struct nb_error *err);
nb_image_decode_fn nb_image_decode_png, nb_image_decode_jpeg;

#endif
