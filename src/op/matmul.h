/* op/matmul.h: between matmul.c and matmul_f32.c. */
#ifndef NB_OP_MATMUL_H
#define NB_OP_MATMUL_H

#include "op/op_internal.h"

/* n_y products (m, k) (k, n). Borrows: all. */
struct nb_matmul {
    const struct nb_op_call *call;
    const struct nb_value *va, *vb, *vc, *vy; /* vc: NULL, none */
    size_t m, n, k;
    size_t n_a, n_b, n_y;  /* matrices; those of a and b are used again where there are fewer */
    size_t a_row, a_k;     /* steps in a from row to row, and along k    */
    size_t b_col, b_k;     /* steps in b from column to column, likewise */
    size_t c_rows, c_cols; /* of a matrix of c                           */
    double alpha, beta;
};

void nb_matmul_of(const struct nb_op_call *call, struct nb_matmul *p);
/* The matrices that meet in product `batch`. */
uint64_t nb_matmul_a(const struct nb_matmul *p, uint64_t batch);
uint64_t nb_matmul_b(const struct nb_matmul *p, uint64_t batch);
/* alpha and beta c, for elements n .. end - 1 of row m of an f32 product. */
void nb_matmul_finish(const struct nb_matmul *p, size_t batch, size_t m, size_t n, size_t end);

NB_CHECKED bool nb_matmul_f32_scratch(const struct nb_op_call *call, size_t *bytes);
NB_CHECKED bool nb_matmul_f32_shared(const struct nb_op_call *call, size_t *bytes);
bool nb_matmul_prepared_bytes(const struct nb_op_call *call, size_t *bytes);
void nb_matmul_prepare(const struct nb_op_call *call, void *memory);
void nb_matmul_f32(const struct nb_matmul *p);

#endif
