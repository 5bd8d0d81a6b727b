/* numfmt/f32.c: IEEE single precision. Files and memory are little endian alike. */
#include "numfmt/numfmt.h"

static void decode(const void *src, float *dst, size_t n)
{
    memcpy(dst, src, n * sizeof *dst);
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    (void)importance;
    memcpy(dst, src, n * sizeof *src);
}

static float dot(const struct nb_kernels *k, const void *row, const float *x, size_t n)
{
    return k->dot_f32_f32(row, x, n);
}

const struct nb_numfmt nb_numfmt_f32 = {
    .name = "f32",
    .summary = "IEEE single precision",
    .kind = NB_NUMFMT_FLOAT,
    .block = 1,
    .sub = 1,
    .block_bytes = 4,
    .gguf_type = 0,
    .gguf_ftype = 0,
    .st_dtype = "F32",
    .decode = decode,
    .encode = encode,
    .dot = dot,
};
