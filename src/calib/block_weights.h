/* calib/block_weights.h: the weights of a few decoder blocks as floats in memory, to run and to replace.
 *
 * Calibrated quantization reads each block's weights once, runs them, and puts the rounded ones in their
 * place, as floats or as they are stored. Every tensor of the blocks is decoded to f32 in canonical (GGUF) row order, whatever its file
 * does, and so are the statistics of a session on them; matrices of other blocks are as in the model.
 */
#ifndef NB_CALIB_BLOCK_WEIGHTS_H
#define NB_CALIB_BLOCK_WEIGHTS_H

#include "base/base.h"
#include "dialect/dialect.h"

struct nb_block_weights;

/* Borrows: m, a. Holds nothing yet. */
NB_CHECKED enum nb_status nb_block_weights_create(struct nb_block_weights **out,
                                                  const struct nb_model *m,
                                                  const struct nb_allocator *a,
                                                  struct nb_error *err);
void nb_block_weights_destroy(struct nb_block_weights *b);
/* Reads blocks [first, first + n) in place of those held before, whose buffers serve again: no session may
 * use those any more. Pages of the model's file are dropped as they are read. The same values for any pool. */
NB_CHECKED enum nb_status nb_block_weights_load(struct nb_block_weights *b, uint32_t first,
                                                uint32_t n, struct nb_pool *pool,
                                                struct nb_error *err);
/* Bytes that holding these blocks takes; false on overflow. */
NB_CHECKED bool nb_block_weights_bytes(const struct nb_model *m, uint32_t first, uint32_t n,
                                       uint64_t *bytes);

/* What a session over these blocks runs on (part.first_block = first). Lives as long as b; a session made of
 * it sees values changed later, but for vectors (norms, biases), which it copies when it is created. */
const struct nb_weights *nb_block_weights_view(const struct nb_block_weights *b);
/* Values of weight i of the model (index into w.items): (rows, cols), experts one after the other. May be
 * changed between calls of the session. NULL: not of these blocks. */
float *nb_block_weights_values(struct nb_block_weights *b, size_t i);

/* The same blocks as they will be stored. Until nb_block_weights_expect it is the other view; from then on, and
 * until blocks are read again, weight i is of that type here. */
const struct nb_weights *nb_block_weights_stored(const struct nb_block_weights *b);
/* Weight i will be `bytes` of records, `side` of them what its rows share, at the end (as numfmt/grid.h has it).
 * false, and nothing has changed: that is more than its floats take. Sessions made later see it. */
bool nb_block_weights_expect(struct nb_block_weights *b, size_t i, const struct nb_numfmt *type,
                             uint64_t bytes, uint64_t side);
/* Where these records go: they take the place of the floats, which are lost. NULL: none are expected. */
uint8_t *nb_block_weights_records(struct nb_block_weights *b, size_t i);

#endif
