/* numfmt/numfmt.h: number formats: values <-> codes, and how a block of them lies in memory.
 *
 * A format is one file src/numfmt/<name>.c that defines `const struct nb_numfmt nb_numfmt_<name>` and
 * one line NB_NUMFMT(<name>) in registry.inc. The conformance tests, `nibble list formats`, the
 * containers and the runtime find it there by themselves. Decoding is bit-exact with the format's
 * owner; encoding is ours.
 */
#ifndef NB_NUMFMT_NUMFMT_H
#define NB_NUMFMT_NUMFMT_H

#include "base/base.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

#define NB_NUMFMT_MAX_BLOCK 256
#define NB_NUMFMT_MAX_SUBS  16

/* A number format with its parameters fixed for one block: the values that can be stored.
 * value = scale[s] * code + offset[s] for element i of sub-block s = i / sub, for scalar formats. */
struct nb_grid {
    float scale[NB_NUMFMT_MAX_SUBS];        /* effective step, formed as the decoder forms it  */
    float offset[NB_NUMFMT_MAX_SUBS];       /* value of code 0; 0 in symmetric formats         */
    int16_t scale_code[NB_NUMFMT_MAX_SUBS]; /* stored integers of the inner parameters   */
    int16_t min_code[NB_NUMFMT_MAX_SUBS];
    float d, dmin; /* outer parameters, already rounded to their storage type            */
    float spread;  /* mean square of the values it was fitted to, where the weights ask for it */
    float *level;  /* levels of its own (numfmt/coder.h), else NULL. Borrows them.           */
};

enum nb_numfmt_kind {
    NB_NUMFMT_STORAGE, /* integers, bool, f64: carried, decoded, never a target of quantization */
    NB_NUMFMT_FLOAT,   /* f32, f16, bf16                                                        */
    NB_NUMFMT_BLOCK,   /* blocks with parameters                                                */
    NB_NUMFMT_GRID     /* codes and parameters in arrays of their own: numfmt/grid.h            */
};

/* How the scales of a block are stored. */
enum nb_numfmt_scales {
    NB_SCALES_F16,   /* one sub-block: scale and offset are d and dmin                           */
    NB_SCALES_CODED, /* scale_code alone says the scale                                          */
    NB_SCALES_OUTER  /* scale_code (and min_code) are multiplied by d (and dmin)                  */
};

struct nb_gridfmt;

struct nb_numfmt {
    const char *name;    /* "q4_k"                                                              */
    const char *summary; /* one line for `nibble list formats`                                  */
    const char *layout;  /* blocks: fields in order, each ending in its bytes: "d f16 2 | qs 16"  */
    enum nb_numfmt_kind kind;
    uint32_t block;       /* elements that share a header (1 for plain types)                   */
    uint32_t sub;         /* elements that share one scale inside it                            */
    uint32_t block_bytes; /* stored bytes of a block                                            */
    int32_t code_min, code_max; /* signed codes: value = scale * code + offset                  */
    bool has_min;         /* offset[] is used                                                   */
    uint32_t dim;         /* elements of a code word; 0 or 1: every element has its own code    */
    int32_t gguf_type;    /* ggml_type id, -1 if GGUF cannot hold it                            */
    int32_t gguf_ftype;   /* general.file_type of a pure file, -1 if none                       */
    const char *st_dtype; /* safetensors dtype, NULL if none                                    */

    /* Whole blocks only: n is a multiple of block. NULL where the kind has no use for it. */
    void (*decode)(const void *src, float *dst, size_t n);
    /* Best weighted encoding that costs no search beyond one block. importance: (n) per-column weight
     * (diagonal of H), or NULL: the format's own default. Input is finite. */
    void (*encode)(void *dst, const float *src, const float *importance, size_t n);

    /* Grid interface, one block (NB_NUMFMT_BLOCK): error-feedback algorithms live on these. */
    void (*fit)(struct nb_grid *g, const float *x, const float *importance);
    /* sub-block s; d, dmin frozen */
    void (*refit)(struct nb_grid *g, uint32_t s, const float *x, const float *importance);
    /* element i -> code; NULL in vector formats */
    int32_t (*round)(const struct nb_grid *g, uint32_t i, float x, float *value);
    /* Vector formats (dim > 1), NULL in the others: elements i .. i + dim - 1, i a multiple of dim, have
     * one code word. x, w, codes, values: (dim); w: weights of the squared errors, or NULL: all ones.
     * codes are the signed numbers of the code book (say 8, 25, 43, either sign), so that value =
     * scale * code + offset holds as in scalar formats; pack finds the index. It takes the codes of this
     * function or of unpack, no others: most tuples have no index. */
    void (*round_vec)(const struct nb_grid *g, uint32_t i, const float *x, const float *w,
                      int8_t *codes, float *values);
    /* scale[s] and offset[s] from d, dmin and the stored integers, which lie in scale_lo .. scale_hi and
     * min_lo .. min_hi (both 0: there are none) and make scale and offset grow, or fall, steadily. */
    void (*derive)(struct nb_grid *g, uint32_t s);
    enum nb_numfmt_scales scales;
    int16_t scale_lo, scale_hi, min_lo, min_hi;
    /* codes: (block); unpack(pack(x)) is exact */
    void (*pack)(void *dst, const struct nb_grid *g, const int8_t *codes);
    void (*unpack)(struct nb_grid *g, int8_t *codes, const void *src);

    /* Running. expand: codes (n) s8, scale (n / sub'), min (n / sub') with sub' = expand_sub (16 or 32);
     * NULL: the runtime decodes to f32. min is filled only if has_min. */
    uint32_t expand_sub;
    void (*expand)(const void *src, size_t n, int8_t *codes, float *scale, float *min);
    nb_gemv_q_fn *(*gemv)(const struct nb_kernels *k); /* fused product, or NULL                 */
    /* floats */
    float (*dot)(const struct nb_kernels *k, const void *row, const float *x, size_t n);

    /* NB_NUMFMT_GRID: what it is made of. Such a format has none of the functions above; block is its
     * group, block_bytes is 0. */
    const struct nb_gridfmt *grid;
};

/* The registry. */
const struct nb_numfmt *const *nb_numfmt_all(size_t *n);
const struct nb_numfmt *nb_numfmt_find(const char *name);      /* NULL: none; case-insensitive */
const struct nb_numfmt *nb_numfmt_by_gguf(int32_t gguf_type);  /* NULL: none                   */
const struct nb_numfmt *nb_numfmt_by_st(const char *st_dtype); /* NULL: none                   */
double nb_numfmt_bpw(const struct nb_numfmt *f);               /* stored bits per element      */

#define NB_NUMFMT(id) extern const struct nb_numfmt nb_numfmt_##id;
#include "numfmt/registry.inc"
#undef NB_NUMFMT

/* Stored bytes of a row / a tensor. NB_ERR_FORMAT if n (the row) is no multiple of the block, or the
 * product overflows; the message names numbers, the caller adds the tensor. */
NB_CHECKED enum nb_status nb_numfmt_row_bytes(const struct nb_numfmt *f, uint64_t n,
                                              uint64_t *bytes, struct nb_error *err);
NB_CHECKED enum nb_status nb_numfmt_bytes(const struct nb_numfmt *f, const struct nb_shape *shape,
                                          uint64_t *bytes, struct nb_error *err);

/* Any number of whole rows' worth of elements. Encode refuses NaN and infinity (NB_ERR_NUMERIC, the
 * element's index in the message) and writes nothing then. n: multiple of block. */
NB_CHECKED enum nb_status nb_numfmt_encode(const struct nb_numfmt *f, void *dst, const float *src,
                                           const float *importance, size_t n, struct nb_error *err);
void nb_numfmt_decode(const struct nb_numfmt *f, const void *src, float *dst, size_t n);

/* ---- rows of a stored tensor, of any kind ----
 * Rows [row, row + n_rows) as f32, (n_rows, cols). */
void nb_tensor_decode(const struct nb_tensor *t, uint64_t row, uint64_t n_rows, float *dst);
/* Can its rows be had as integers? */
bool nb_numfmt_expands(const struct nb_numfmt *f);
/* One row as struct nb_numfmt.expand gives it. */
void nb_tensor_expand(const struct nb_tensor *t, uint64_t row, int8_t *codes, float *scale,
                      float *min);
/* Where a row's bytes are; not of a general grid, whose rows have none of their own. */
const uint8_t *nb_tensor_row(const struct nb_tensor *t, uint64_t row);
/* The tensor whose bytes hold the row, and its number there: t itself unless it has slabs. */
const struct nb_tensor *nb_tensor_slab(const struct nb_tensor *t, uint64_t *row);
/* Is there anything to read? */
bool nb_tensor_has_data(const struct nb_tensor *t);

#endif
