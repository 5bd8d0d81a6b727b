/* numfmt/grid_types.c: the general grids that have names: elements.inc times granularities and stores.
 *
 *     <element>_t | _c | _b128 | _g16 ... _g256   who shares a scale: tensor, channel, 128 x 128, group
 *         ..._asym                               an integer zero point besides
 *         ..._fz                                 a zero point in f16
 *         ..._dq                                 group scales stored in 8 bits (double quantization)
 *     mx<element>, nvfp4_e2m1                     groups of 32 with E8M0 scales; of 16 with E4M3 scales
 *
 * Scales of groups are f16; bf16 under floats, whose largest levels make them small; scales of channels,
 * tiles and tensors f32.
 */
#include "numfmt/grid.h"

#define NB_ELEMENT(id, family) extern const struct nb_element nb_element_##id;
#include "numfmt/elements.inc"
#undef NB_ELEMENT

/* ---- what a family pairs an element with: GRID(name, element, share, group, scale, zero, group or 1) ---- */
#define GROUPS(e, tail, scale, zero)                                                               \
    GRID(e##_g16##tail, e, GROUP, 16, scale, zero)                                                 \
    GRID(e##_g32##tail, e, GROUP, 32, scale, zero)                                                 \
    GRID(e##_g64##tail, e, GROUP, 64, scale, zero)                                                 \
    GRID(e##_g128##tail, e, GROUP, 128, scale, zero)                                               \
    GRID(e##_g256##tail, e, GROUP, 256, scale, zero)
#define WIDE(e, tail, zero)                                                                        \
    GRID(e##_t##tail, e, TENSOR, 0, F32, zero)                                                     \
    GRID(e##_c##tail, e, CHANNEL, 0, F32, zero)
#define LEVELS(e, scale)                                                                           \
    WIDE(e, , NONE)                                                                                \
    GRID(e##_b128, e, BLOCK, 0, F32, NONE)                                                         \
    GROUPS(e, , scale, NONE)                                                                       \
    GRID(e##_g32_dq, e, GROUP, 32, U8, NONE)                                                       \
    GRID(e##_g64_dq, e, GROUP, 64, U8, NONE)                                                       \
    GRID(e##_g128_dq, e, GROUP, 128, U8, NONE)
#define FAMILY_LEVELS(e) LEVELS(e, F16)
#define FAMILY_INTEGERS(e)                                                                         \
    FAMILY_LEVELS(e)                                                                               \
    WIDE(e, _asym, INT)                                                                            \
    GROUPS(e, _asym, F16, INT)                                                                     \
    WIDE(e, _fz, F16)                                                                              \
    GROUPS(e, _fz, F16, F16)
#define FAMILY_MX_FLOATS(e)                                                                        \
    LEVELS(e, BF16)                                                                                \
    GRID(mx##e, e, GROUP, 32, E8M0, NONE)
#define FAMILY_FP4(e)                                                                              \
    FAMILY_MX_FLOATS(e)                                                                            \
    GRID(nv##e, e, GROUP, 16, E4M3, NONE)
#define FAMILY_MX(e) GRID(e, e, GROUP, 32, E8M0, NONE)
#define FAMILY_SCALARS(e)                                                                          \
    GRID(e##_t, e, TENSOR, 0, NONE, NONE)                                                          \
    GRID(e##_c, e, CHANNEL, 0, NONE, NONE)                                                         \
    GRID(e##_g128, e, GROUP, 128, NONE, NONE)                                                      \
    GRID(e##_g256, e, GROUP, 256, NONE, NONE)
#define FAMILY_VECTORS(e)                                                                          \
    GRID(e##_t, e, TENSOR, 0, NONE, NONE)                                                          \
    GRID(e##_c, e, CHANNEL, 0, F32, NONE)

/* ---- the constants ---- */
#define NB_ELEMENT(id, family) FAMILY_##family(id)
#define GRID(id, e, by, n, store, zero_store)                                                      \
    static const struct nb_gridfmt grid_##id = {                                                   \
        .elem = &nb_element_##e,                                                                   \
        .share = NB_SHARE_##by,                                                                    \
        .group = n,                                                                                \
        .scale = NB_SCALE_##store,                                                                 \
        .zero = NB_ZERO_##zero_store,                                                              \
    };
#include "numfmt/elements.inc"
#undef GRID

#define GRID(id, e, by, n, store, zero_store)                                                      \
    static const struct nb_numfmt fmt_##id = {                                                     \
        .name = #id,                                                                               \
        .summary = "a general grid: nibble list formats",                                          \
        .kind = NB_NUMFMT_GRID,                                                                    \
        .block = (n) == 0 ? 1 : (n),                                                               \
        .sub = (n) == 0 ? 1 : (n),                                                                 \
        .code_min = -128,                                                                          \
        .code_max = 127,                                                                           \
        .has_min = NB_ZERO_##zero_store != NB_ZERO_NONE,                                           \
        .gguf_type = -1,                                                                           \
        .gguf_ftype = -1,                                                                          \
        .expand_sub = (n) == 16 ? 16 : 32,                                                         \
        .grid = &grid_##id,                                                                        \
    };
#include "numfmt/elements.inc"
#undef GRID

static const struct nb_numfmt *const grids[] = {
#define GRID(id, e, by, n, store, zero_store) &fmt_##id,
#include "numfmt/elements.inc"
#undef GRID
};
#undef NB_ELEMENT

static const struct nb_element *const elements[] = {
#define NB_ELEMENT(id, family) &nb_element_##id,
#include "numfmt/elements.inc"
#undef NB_ELEMENT
};

const struct nb_numfmt *const *nb_grid_all(size_t *n)
{
    *n = NB_COUNTOF(grids);
    return grids;
}

const struct nb_element *const *nb_element_all(size_t *n)
{
    *n = NB_COUNTOF(elements);
    return elements;
}
