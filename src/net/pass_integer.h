/* net/pass_integer.h: what the two halves of the integer pass share. */
#ifndef NB_NET_PASS_INTEGER_H
#define NB_NET_PASS_INTEGER_H

#include "net/passes.h"

/* What a byte stands for: (byte - zero) * scale. Bytes are 0 .. 255: signed numbers are held plus 128. */
struct nb_byte_grid {
    float scale;
    int32_t zero;
    int32_t low,
        high; /* what may be used of it: an activation, or a type of fewer bits, narrows it */
};

/* An array of bytes in the new graph. value 0: there is none. */
struct nb_bytes {
    uint32_t value;
    struct nb_byte_grid grid;
};

/* Of a value of floats of the old graph: the bytes that it was dequantized from, moved as it was. */
struct nb_bytes nb_bytes_of(struct nb_rewrite *r, uint32_t value);
/* The node that makes an old value; NULL: none does. */
const struct nb_node *nb_maker(const struct nb_rewrite *r, uint32_t value);
/* A product with constant weights brought to a grid: 0 when it cannot be done in integers. */
uint32_t nb_conv_bytes(struct nb_rewrite *r, const struct nb_node *n,
                       const struct nb_byte_grid *to);
/* bias: a constant beside that of n (0: none). */
uint32_t nb_matmul_bytes(struct nb_rewrite *r, const struct nb_node *n, uint32_t bias,
                         const struct nb_byte_grid *to);

#endif
