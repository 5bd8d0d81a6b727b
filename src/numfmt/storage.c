/* numfmt/storage.c: integers, bool and f64: types that files carry and nibble never computes with.
 *
 * They have a size, names in GGUF and safetensors, and a decoder (nearest f32), nothing else.
 */
#include "numfmt/numfmt.h"

/* Loads through memcpy: safetensors data has no alignment. */
#define STORAGE(id, ctype, text, gguf, st)                                                         \
    static void decode_##id(const void *src, float *dst, size_t n)                                 \
    {                                                                                              \
        const uint8_t *p = src;                                                                    \
        for (size_t i = 0; i < n; i++) {                                                           \
            ctype v;                                                                               \
            memcpy(&v, p + i * sizeof v, sizeof v);                                                \
            dst[i] = (float)v;                                                                     \
        }                                                                                          \
    }                                                                                              \
    const struct nb_numfmt nb_numfmt_##id = {                                                      \
        .name = #id,                                                                               \
        .summary = text,                                                                           \
        .kind = NB_NUMFMT_STORAGE,                                                                 \
        .block = 1,                                                                                \
        .sub = 1,                                                                                  \
        .block_bytes = sizeof(ctype),                                                              \
        .gguf_type = (gguf),                                                                       \
        .gguf_ftype = -1,                                                                          \
        .st_dtype = (st),                                                                          \
        .decode = decode_##id,                                                                     \
    };

STORAGE(f64, double, "IEEE double, stored only", 28, "F64")
STORAGE(i8, int8_t, "8-bit integer, stored only", 24, "I8")
STORAGE(i16, int16_t, "16-bit integer, stored only", 25, "I16")
STORAGE(i32, int32_t, "32-bit integer, stored only", 26, "I32")
STORAGE(i64, int64_t, "64-bit integer, stored only", 27, "I64")
STORAGE(u8, uint8_t, "unsigned 8-bit integer, stored only", -1, "U8")
STORAGE(u16, uint16_t, "unsigned 16-bit integer, stored only", -1, "U16")
STORAGE(u32, uint32_t, "unsigned 32-bit integer, stored only", -1, "U32")
STORAGE(u64, uint64_t, "unsigned 64-bit integer, stored only", -1, "U64")
STORAGE(bool, uint8_t, "one byte, 0 or 1, stored only", -1, "BOOL")
