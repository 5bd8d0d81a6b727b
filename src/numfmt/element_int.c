/* numfmt/element_int.c: integers of 2 to 8 bits, two's complement range; binary {-1, 1}; ternary {-1, 0, 1};
 * MXINT8: int8 / 64 without -128 (OCP MX v1.0).
 *
 * Stored codes are level - lo. With a zero point the same codes mean scale * (level - zero).
 * Ternary codes take two bits here; tq1_0 and tq2_0 pack them for llama.cpp.
 */
#include "numfmt/grid.h"

#define INTEGERS(b, l, h)                                                                          \
    const struct nb_element nb_element_int##b = {                                                  \
        .name = "int" #b,                                                                          \
        .summary = #b "-bit integers " #l " to " #h,                                               \
        .bits = b,                                                                                 \
        .dim = 1,                                                                                  \
        .uniform = true,                                                                           \
        .lo = l,                                                                                   \
        .hi = h,                                                                                   \
        .unit = 1.0F,                                                                              \
    };

INTEGERS(2, -2, 1)
INTEGERS(3, -4, 3)
INTEGERS(4, -8, 7)
INTEGERS(5, -16, 15)
INTEGERS(6, -32, 31)
INTEGERS(7, -64, 63)
INTEGERS(8, -128, 127)

static float binary_value(uint32_t code)
{
    return code == 0 ? -1.0F : 1.0F;
}

const struct nb_element nb_element_binary = {
    .name = "binary",
    .summary = "-1 and 1",
    .bits = 1,
    .dim = 1,
    .value = binary_value,
    .unit = 1.0F,
};

const struct nb_element nb_element_ternary = {
    .name = "ternary",
    .summary = "-1, 0 and 1 (BitNet b1.58: with scale search absmean)",
    .bits = 2,
    .dim = 1,
    .uniform = true,
    .lo = -1,
    .hi = 1,
    .unit = 1.0F,
};

static float mxint8_value(uint32_t code)
{
    return code == 255 ? nb_f32_from_bits(0x7fc00000U) : ((float)code - 127.0F) * 0x1p-6F;
}

const struct nb_element nb_element_mxint8 = {
    .name = "mxint8",
    .summary = "8-bit integers -127 to 127, in 64ths",
    .bits = 8,
    .dim = 1,
    .value = mxint8_value,
    .unit = 0x1p-6F,
};
