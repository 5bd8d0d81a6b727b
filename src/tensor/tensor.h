/* tensor/tensor.h: shapes and named views of stored numbers. */
#ifndef NB_TENSOR_TENSOR_H
#define NB_TENSOR_TENSOR_H

#include "base/base.h"

#define NB_MAX_DIMS 8

struct nb_numfmt; /* numfmt/numfmt.h */

/* Row-major: dim[n - 1] is the fastest. n == 0 is a scalar. (GGUF writes the reverse order; its
 * container turns it round.) */
struct nb_shape {
    uint32_t n;
    uint64_t dim[NB_MAX_DIMS];
};

/* The parts of a tensor on a general grid (numfmt/grid.h): codes, scales and so on, each an array of its
 * own. What part p has for row r lies at at[p] + (r - first) * stride[p]; a part that all rows share has
 * stride 0, one that the format lacks is NULL. Borrows: everything. */
#define NB_MAX_PARTS 5
struct nb_parts {
    const uint8_t *at[NB_MAX_PARTS];
    size_t stride[NB_MAX_PARTS];
    uint64_t first; /* the row at which the parts begin */
};

/* A view. Borrows: name, data (NULL when only described), parts, slabs. A row is the last dimension; rows
 * lie back to back, each bytes / rows long. A tensor on a general grid has parts instead of data. One whose
 * leading dimension is scattered over a file (experts) has slabs instead of either: dim[0] tensors of its
 * type and of its shape without that dimension. Rows are reached through numfmt/numfmt.h. */
struct nb_tensor {
    const char *name;
    const struct nb_numfmt *type;
    struct nb_shape shape;
    const uint8_t *data;
    uint64_t bytes;
    uint64_t offset; /* of data in its file */
    const struct nb_parts *parts;
    const struct nb_tensor *slabs; /* (shape.dim[0]) or NULL */
};

struct nb_shape nb_shape_1(uint64_t a);
struct nb_shape nb_shape_2(uint64_t rows, uint64_t cols);
bool nb_shape_eq(const struct nb_shape *a, const struct nb_shape *b);  /* same rank, same dims */
NB_CHECKED bool nb_shape_count(const struct nb_shape *s, uint64_t *n); /* false on overflow */
uint64_t nb_shape_cols(const struct nb_shape *s); /* last dimension; 1 for a scalar            */
struct nb_shape nb_shape_slab(const struct nb_shape *s); /* without the leading dimension */
uint64_t nb_shape_rows(const struct nb_shape *s); /* product of the others (already validated) */
/* "[8192, 256]"; returns dst. */
#define NB_SHAPE_TEXT_BYTES 192
const char *nb_shape_text(const struct nb_shape *s, char dst[NB_SHAPE_TEXT_BYTES]);

#endif
