/* numfmt/bf16.c: bfloat16, rounded to nearest even. */
#include "numfmt/numfmt.h"

/* The kernels want aligned halves; a safetensors file may start a tensor at an odd byte. */
static void decode(const void *src, float *dst, size_t n)
{
    if (((uintptr_t)src & 1U) == 0) {
        nb_kernels_get()->cvt_f32_bf16(dst, src, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        dst[i] = nb_bf16_to_f32(nb_load_u16((const uint8_t *)src + 2 * i));
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    (void)importance;
    if (((uintptr_t)dst & 1U) == 0) {
        nb_kernels_get()->cvt_bf16_f32(dst, src, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        nb_store_u16((uint8_t *)dst + 2 * i, nb_f32_to_bf16(src[i]));
}

static float dot(const struct nb_kernels *k, const void *row, const float *x, size_t n)
{
    return k->dot_bf16_f32(row, x, n);
}

const struct nb_numfmt nb_numfmt_bf16 = {
    .name = "bf16",
    .summary = "bfloat16: the upper half of a single",
    .kind = NB_NUMFMT_FLOAT,
    .block = 1,
    .sub = 1,
    .block_bytes = 2,
    .gguf_type = 30,
    .gguf_ftype = 32,
    .st_dtype = "BF16",
    .decode = decode,
    .encode = encode,
    .dot = dot,
};
