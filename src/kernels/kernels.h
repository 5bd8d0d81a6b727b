/* kernels/kernels.h: the arithmetic of nibble on raw pointers, one table of functions.
 *
 * A kernel is one line in kernels.inc, NB_KERNEL(op, isa, flags), and one function nb_<op>_<isa> in
 * src/kernels/<isa>/ (small relatives share a file). ref/ is complete plain C and is the specification:
 * every other implementation equals it bit for bit (tests/kernel/checkkern); only the payload and sign
 * of a computed NaN are free, except in the conversions. Kernels know no tensor, allocate nothing, use
 * no threads. docs/kernels.md draws the layouts.
 *
 * Canonical orders (docs/kernels.md):
 *  - dot of floats: 16 partial sums, element i goes to lane i mod 16 with fmaf, then the tree
 *    8-4-2-1 (lane l += lane l + 8, then + 4, + 2, + 1). Sums of one array likewise (add, no fma).
 *  - integer block product: acc = 0; for each sub-block of columns in order:
 *    acc = fmaf((float)isum, scale * xd, acc); and, if the format has mins, right after it
 *    acc = fmaf((float)xsum, min * xd, acc). isum = sum of code * xq over the sub-block (exact),
 *    xsum = sum of xq over it (exact), xd = the d of the 32 columns the sub-block lies in;
 *    scale * xd and min * xd are rounded to f32 first, and so are the scale and min of a format that
 *    makes them of factors (q4_k: scale = d * sc, min = -(dmin * m); q6_k: scale = d * sc).
 *  - the largest of an array: NaN is passed over, -0 counts as +0.
 */
#ifndef NB_KERNELS_KERNELS_H
#define NB_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Levels are bundles. */
enum nb_isa_flags {
    NB_ISA_NONE = 0,
    NB_ISA_AVX2 = 1 << 0,       /* AVX2, FMA, F16C                                  */
    NB_ISA_AVX512VNNI = 1 << 1, /* AVX2 and AVX-512 F, BW, VL, VNNI                 */
    NB_ISA_NEON = 1 << 8,
    NB_ISA_DOTPROD = 1 << 9, /* NEON and the ARMv8.2 dot product                 */
};

/* Activations quantized per block of 32 (the right operand of every integer product):
 * d = amax / 127, q = round-to-nearest-even(x * (1 / d)) clamped to -127..127; sum16 holds the sums of
 * q over each run of 16. amax < 2^-100: d = 0, q = 0 (1 / d must stay finite). Any NaN or infinity in
 * the block: d = NaN, q = 0, so that the products show it. */
#define NB_Q8_BLOCK  32
#define NB_TILE_ROWS 8 /* rows of weights interleaved in a packed tile */

/* A packed tile of 8 rows x k columns of integer weights:
 *   codes  (k/4, 8, 4) s8: four consecutive columns of row 0, of row 1, ... of row 7, next four ...
 *   scale  (k/sub, 8) f32
 *   min    (k/sub, 8) f32, or NULL when the format has none
 * value = scale * code + min. sub is 16 or 32 (a format with larger groups repeats its scale).
 * code_min and code_max bound the codes, which lets a kernel sum in 16 bits: -8..7 and 0..15 are much
 * faster than -128..127, -32..31 is in between. Both 0 (unset) means -128..127. Same bits either way. */
struct nb_tile {
    const int8_t *codes;
    const float *scale;
    const float *min;
    uint32_t sub;
    int8_t code_min, code_max;
};

/* n columns (tokens) of quantized activations, each k long. */
struct nb_q8 {
    const int8_t *q;      /* (n, k)    */
    const float *d;       /* (n, k/32) */
    const int16_t *sum16; /* (n, k/16) */
};

/* ---- float ---- */
typedef float nb_dot_f32_f32_fn(const float *a, const float *b, size_t n);
typedef float nb_dot_f16_f32_fn(const uint16_t *a, const float *b, size_t n);  /* a: IEEE half   */
typedef float nb_dot_bf16_f32_fn(const uint16_t *a, const float *b, size_t n); /* a: bfloat16    */

/* y[c * y_stride + r] = dot(w + r * k, x + c * x_stride, k) for r < n_rows, c < n_cols. */
typedef void nb_gemm_f32_f32_f32_fn(float *y, size_t y_stride, const float *w, size_t n_rows,
                                    const float *x, size_t x_stride, size_t n_cols, size_t k);

/* The same bits; fast where rows are short (heads of attention) and columns many. scratch: 16 k floats. */
typedef void nb_scores_f32_f32_f32_fn(float *y, size_t y_stride, const float *w, size_t n_rows,
                                      const float *x, size_t x_stride, size_t n_cols, size_t k,
                                      float *scratch);

/* The same bits, w in panels and x in groups (kernels/panel.h); scratch: nb_panel_scratch(n_cols) floats. */
typedef void nb_gemm_f32_f32p_f32p_fn(float *y, size_t y_stride, const float *w, size_t n_rows,
                                      const float *x, size_t n_cols, size_t k, float *scratch);

typedef void nb_cvt_f32_f16_fn(float *dst, const uint16_t *src, size_t n);
typedef void nb_cvt_f16_f32_fn(uint16_t *dst, const float *src, size_t n);
typedef void nb_cvt_f32_bf16_fn(float *dst, const uint16_t *src, size_t n);
typedef void nb_cvt_bf16_f32_fn(uint16_t *dst, const float *src, size_t n);

typedef void nb_add_f32_fn(float *y, const float *a, const float *b, size_t n);
typedef void nb_axpy_f32_f32_fn(float *y, float a, const float *x, size_t n); /* y = fma(a, x, y) */
typedef void nb_axpy_f32_f16_fn(float *y, float a, const uint16_t *x, size_t n);
/* y[r, i] += p[r, j] v[j, i], one fma after the other, j = 0 .. n-1; y (n_rows, d), v (n, d), their rows
 * strides apart; p[r, j] lies at p[r * p_stride + j * p_step]: p may be transposed. */
struct nb_wsum {
    float *y;
    const float *p, *v;
    size_t y_stride, p_stride, p_step, v_stride;
    size_t n_rows, n, d;
};
typedef void nb_wsum_f32_f32_f32_fn(const struct nb_wsum *w);
#define NB_CONV_PANEL 16
/* A convolution and what follows it. Output r reads n_runs runs of len floats each, the i-th from x[r] + offset[i]
 * on; s = bias[j], then s = fma(x, w, s) for each of them in order, and
 *     s = s + add[r, j]                      if there is an add
 *     s = low where s < low, high where high < s, else s (NaN, too)
 *     s = s * (s / 6 + 1 / 2 within 0 .. 1)  if hardswish; s / 6 is s times the float next to 1 / 6
 *     y[r, j] = s
 * conv: panels of sixteen outputs in w. dwconv: channels that do not meet, so that a run has a float for each output. */
struct nb_conv_f32 {
    float *y;              /* (n_rows, n), rows y_stride elements apart                  */
    const float *const *x; /* (n_rows)                                                   */
    const size_t *offset;  /* (n_runs) elements                                          */
    const float *w;        /* conv: (ceil(n / 16), n_runs, len, 16); dwconv: (n_runs, n) */
    const float *bias;     /* (n)                                                        */
    const float *add;      /* NULL, or as y; may be y                                    */
    size_t y_stride, n_rows, n_runs, len, n;
    float low, high;
    bool hardswish;
};
typedef void nb_conv_f32_f32_f32_fn(const struct nb_conv_f32 *c);
typedef void nb_dwconv_f32_f32_f32_fn(const struct nb_conv_f32 *c);
/* exp is the polynomial of exp.h everywhere, tanh and GELU are those of act.h. */
enum nb_act {
    NB_ACT_SILU,      /* x / (1 + exp(-x))                                   */
    NB_ACT_GELU_TANH, /* GELU, its erf replaced by a tanh                    */
    NB_ACT_GELU,      /* x Phi(x)                                            */
    NB_ACT_RELU,      /* the larger of 0 and x                               */
    NB_ACT_RELU2      /* its square                                          */
};
typedef void nb_act_f32_fn(float *y, const float *x, size_t n, enum nb_act act); /* y = act(x) */
/* y = act(gate) * up */
typedef void nb_glu_f32_fn(float *y, const float *gate, const float *up, size_t n, enum nb_act act);
/* y = the derivative of act at x; at 0 that of the right branch is 0 (ReLU and its square) */
typedef void nb_act_grad_f32_fn(float *y, const float *x, size_t n, enum nb_act act);
/* y = erf x, y = 1 / (1 + exp(-x)); y may be x */
typedef void nb_erf_f32_fn(float *y, const float *x, size_t n);
typedef void nb_sigmoid_f32_fn(float *y, const float *x, size_t n);
/* y = cap * tanh(factor * x); y may be x */
typedef void nb_softcap_f32_fn(float *y, const float *x, size_t n, float factor, float cap);
/* In place: s = scale * x, e = exp(s - max s), x = e * (1 / sum e). -inf (masked) gives 0; if every
 * element is masked, all are 0. */
typedef void nb_softmax_f32_fn(float *x, size_t n, float scale);
/* Largest value, and sum over i of exp(x[i] - max). n = 0 or all -inf: max = -inf, sum 0. */
typedef float nb_expsum_f32_fn(const float *x, size_t n, float *max);
/* y = (x * (1 / sqrt(dot(x, x) / n + eps))) * w */
typedef void nb_rmsnorm_f32_fn(float *y, const float *x, const float *w, size_t n, float eps);
/* m = sum x / n, r = 1 / sqrt(sum of (x - m)^2 / n + eps), z = (x - m) * r; y = fma(z, w, b), or z * w
 * when b is NULL. */
typedef void nb_layernorm_f32_fn(float *y, const float *x, const float *w, const float *b, size_t n,
                                 float eps);
/* y[2i] = fma(x0, cos[i], -(x1 * sin[i])), y[2i+1] = fma(x0, sin[i], x1 * cos[i]), where
 * (x0, x1) = (x[2i], x[2i+1]), or (x[i], x[i+n_pairs]) when halves. The output is always interleaved, so
 * that both pairings of a checkpoint give the same bits afterwards. y != x. */
typedef void nb_rope_f32_fn(float *y, const float *x, const float *cosine, const float *sine,
                            size_t n_pairs, bool halves);

/* ---- dense linear algebra: panels packed by the caller, every element one chain of fma ---- */
#define NB_OUTER_ROWS  12
#define NB_OUTER_COLS  16
#define NB_TILE64_ROWS 12
#define NB_TILE64_COLS 8
/* h[r, c] += (double)s for 12 x 16 elements, h_stride apart; s = 0, then s = fmaf(a[k, r], b[k, c], s)
 * for k = 0 .. n-1; a (n, 12), b (n, 16). */
typedef void nb_outer_f64_f32_f32_fn(double *h, size_t h_stride, const float *a, const float *b,
                                     size_t n);
/* c[r, j] = fma(a[k, r], b[k, j], c[r, j]) for k = 0 .. n-1, 12 x 8 elements; a (n, 12), b (n, 8). */
typedef void nb_tile_f64_f64_f64_fn(double *c, size_t c_stride, const double *a, const double *b,
                                    size_t n);
/* For j = n-1 .. 0 and each of the 8 columns of x (n, 8): x[j] /= t[j, j], then for i < j
 * x[i] = fma(-t[j, i], x[j], x[i]). t (n, n), what is right of its diagonal is not read. */
typedef void nb_solve_f64_f64_fn(double *x, const double *t, size_t n);
/* w[r, j] = fmaf(-e[r, k], u[k, j], w[r, j]) for k = 0 .. b-1; w (rows, n), e (rows, b), u (b, n). */
typedef void nb_gemmsub_f32_f32_f32_fn(float *w, size_t w_stride, const float *e, size_t e_stride,
                                       const float *u, size_t u_stride, size_t rows, size_t b,
                                       size_t n);

/* ---- integer ---- */
/* k a multiple of 32. */
typedef void nb_quant_q8_f32_fn(int8_t *q, float *d, int16_t *sum16, const float *x, size_t k);
/* One token: y[r] for rows r < n_rows stored as ggml blocks, row_bytes apart. */
typedef void nb_gemv_q_fn(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                          const struct nb_q8 *x);
typedef nb_gemv_q_fn nb_gemv_f32_q8_0_q8_fn, nb_gemv_f32_q4_0_q8_fn, nb_gemv_f32_q4_k_q8_fn,
    nb_gemv_f32_q6_k_q8_fn;
typedef nb_gemv_q_fn nb_gemv_f32_iq4_nl_q8_fn, nb_gemv_f32_iq4_xs_q8_fn;
/* Many tokens, k a multiple of 32: y[c * y_stride + r] for the 8 rows of a packed tile, c < n_cols. */
typedef void nb_gemm_f32_tile_q8_fn(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                                    const struct nb_q8 *x, size_t n_cols);

/* ---- 8-bit integers of nets: docs/kernels.md draws the layouts ---- */
/* Bytes of an array are 0..255 where they are read, whatever they mean: an array of signed numbers is held plus 128,
 * its zero point likewise. Signed results are stored as their bits. */
#define NB_CONV_U8_SCRATCH ((size_t)50 << 10) /* bytes that conv_s32_u8_s8 may use */

/* What a window reads of an image: n_runs runs of len elements; run i of output r begins at x[r] + offset[i].
 * The elements behind a run's end, up to a multiple of 4, are read and count nothing (their weights are 0). */
struct nb_conv_u8 {
    int32_t *y; /* (n_rows, n), rows y_stride elements apart                             */
    const uint8_t *const
        *x; /* (n_rows)                                                              */
    const size_t
        *offset;     /* (n_runs) bytes                                                        */
    const int8_t *w; /* panels of 16 outputs: (ceil(n / 16), n_runs, ceil(len / 4), 16, 4)    */
    void *scratch;   /* NB_CONV_U8_SCRATCH bytes, aligned to NB_ALIGN                         */
    size_t y_stride, n_rows, n_runs, len, n;
};
typedef void nb_conv_s32_u8_s8_fn(const struct nb_conv_u8 *c); /* y = sum of x * w modulo 2^32 */
/* Channels that do not meet: y[r, i] = sum over t of x[r][offset[t] + i] * w[t, i], modulo 2^32. */
struct nb_dwconv_u8 {
    int32_t *y;              /* (n_rows, n), rows y_stride elements apart */
    const uint8_t *const *x; /* (n_rows)                                  */
    const size_t *offset;    /* (n_taps) bytes                            */
    const int8_t *w;         /* (n_taps, n)                               */
    size_t y_stride, n_rows, n_taps, n;
};
typedef void nb_dwconv_s32_u8_s8_fn(const struct nb_dwconv_u8 *d);
/* y = zero + round to even(clamp((float)(acc + bias) * scale, low - zero, high - zero)): acc + bias modulo 2^32,
 * then a multiplication in f32, no fma. Scales are finite. */
struct nb_requant {
    uint8_t *y;                /* (n_rows, n), rows y_stride elements apart            */
    const int32_t *acc, *bias; /* (n_rows, n), rows acc_stride elements apart; (n)     */
    const float *scale;        /* (n)                                                  */
    size_t y_stride, acc_stride, n_rows, n;
    int32_t zero, low, high; /* each within -128..255, low <= high */
};
typedef void nb_requant_u8_s32_fn(const struct nb_requant *q);
/* y = zero + round to even(clamp(x / scale, low - zero, high - zero)): ONNX QuantizeLinear, with a true division.
 * NaN becomes low. zero, low, high as in struct nb_requant. */
typedef void nb_quant_u8_f32_fn(uint8_t *y, const float *x, size_t n, float scale, int32_t zero,
                                int32_t low, int32_t high);
/* y = (float)(x - zero) * scale */
typedef void nb_dequant_f32_u8_fn(float *y, const uint8_t *x, size_t n, float scale, int32_t zero);
/* The sum, or the product, of arrays, the bits of dequant, add or mul, and quant one after the other: each operation rounded
 * to f32. y = zy + round to even(clamp(((a - za) * sa op (b - zb) * sb) / sy, low - zy, high - zy)); b is the same in
 * each row. */
struct nb_binary_u8 {
    uint8_t *y;       /* (n_rows, n), neither a nor b */
    const uint8_t *a; /* (n_rows, n) */
    const uint8_t *b; /* (n)         */
    size_t n_rows, n;
    int32_t za, zb, zy, low, high; /* each within -128..255, low <= high */
    float sa, sb, sy;
};
typedef void nb_binary_u8_fn(const struct nb_binary_u8 *s);
typedef nb_binary_u8_fn nb_add_u8_u8_fn, nb_mul_u8_u8_fn;
/* y[i] = table[x[i]]; table: (256); y is not x */
typedef void nb_table_u8_u8_fn(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *table);

/* ---- probes: what measure/ times (each does its work and nothing else) ---- */
typedef uint64_t nb_xor_u64_fn(const void *data, size_t n); /* XOR of the n / 8 words */
/* steps rounds of independent multiply-adds in registers; returns how many operations that were (a
 * multiply-add is 2), a number of its own for every ISA; *sink keeps the work alive. */
typedef double nb_peak_f32_fn(uint32_t steps, float *sink);
typedef double nb_peak_s8_fn(uint32_t steps, float *sink);

/* ---- encoding weights (stored ggml blocks) ---- */
/* n values, a multiple of the format's block, finite; w: (n) weights of their squared errors, not all
 * zero in a block, or NULL: all ones. */
typedef void nb_enc_fn(void *dst, const float *x, const float *w, size_t n);
typedef nb_enc_fn nb_enc_q8_0_f32_fn, nb_enc_q4_0_f32_fn, nb_enc_q5_0_f32_fn, nb_enc_q4_1_f32_fn,
    nb_enc_q5_1_f32_fn;
typedef nb_enc_fn nb_enc_iq4_nl_f32_fn, nb_enc_mxfp4_f32_fn, nb_enc_nvfp4_f32_fn;

/* One block of 256 in a two-level format: the integers to be stored; d and dmin as f16 gives them
 * back. min_code and dmin are 0 in formats without minima. */
struct nb_fit_k {
    int8_t codes[256];
    int16_t scale_code[16], min_code[16];
    float d, dmin;
};
typedef void nb_fit_k_fn(struct nb_fit_k *out, const float *x, const float *w);
typedef nb_fit_k_fn nb_fit_iq4_xs_f32_fn;
typedef nb_fit_k_fn nb_fit_q2_k_f32_fn, nb_fit_q3_k_f32_fn, nb_fit_q4_k_f32_fn, nb_fit_q5_k_f32_fn,
    nb_fit_q6_k_f32_fn;

/* A codebook of ggml's IQ formats: tuples of 8 digits of base 3, or 4 of base 8. The code of a tuple is
 * sum digit[j] * base^j, that of its halves likewise; points are sorted by code. */
struct nb_iq_grid {
    uint16_t n;            /* points: 256, 512, 1024 or 2048                                      */
    uint8_t dim, base;     /* 8 digits of base 3, or 4 of base 8                                  */
    uint8_t half;          /* base^(dim / 2): codes of half a tuple                               */
    bool even;             /* of eight signed elements an even number are negative                */
    const int8_t *value;   /* (n, dim)                                                            */
    const int16_t *index;  /* (half * half) code -> index, -1 off the grid                        */
    const uint8_t *low;    /* (n) code of the first half of the digits                            */
    const uint16_t *start; /* (half + 1) first point whose second half has this code or a greater */
    uint8_t n_runs;        /* second halves that occur                                            */
    const uint8_t *run;    /* (n_runs) which, those of fewest points first                        */
    const uint8_t *digit;  /* (64) value - level[0] -> digit                                      */
    const int8_t *level;   /* (base) digit -> value, ascending                                    */
};
/* The signed code words nearest to rows of 8 values, under weights: codes (n_rows, 8) are magnitudes of
 * grid points (levels above 0) and signs, such that sum w (x - code / inv)^2 is least. x, w: (n_rows, 8),
 * finite, w >= 0; inv: (n_rows) 1 / scale. */
typedef void nb_round_iq_f32_fn(int8_t *codes, const struct nb_iq_grid *grid, const float *x,
                                const float *w, const float *inv, size_t n_rows);

/* Errors of n choices of code words for the sub-blocks of an IQ block, each a parabola of the sub-block's
 * scale s: least + bend (s - vertex)^2. */
enum { NB_IQ_LINES = 12, NB_IQ_SUBS = 16 };
struct nb_iq_lines {
    uint32_t n, n_subs;
    float unit; /* s = (d (0.5 + code)) unit, code in 0..15 */
    float vertex[NB_IQ_LINES][NB_IQ_SUBS], bend[NB_IQ_LINES][NB_IQ_SUBS],
        least[NB_IQ_LINES][NB_IQ_SUBS];
};
/* error[i] = what the best line of each sub-block, at the code nearest to its vertex, comes to with d[i].
 * inv: 1 / (d unit). error, d, inv: (n); n > 0 */
typedef void nb_promise_iq_f32_fn(float *error, const struct nb_iq_lines *u, const float *d,
                                  const float *inv, size_t n);

/* Trial scales and offsets of one sub-block: trial t gives x the nearest code q of (x - offset) * inv in
 * lo..hi, and makes scale * q + offset of it. inv is 1 / scale, or 0. */
enum { NB_TRIALS = 16 };
struct nb_trials {
    const float *x, *w; /* (n) */
    size_t n;
    float lo, hi;
    size_t n_trials; /* 8 or 16 */
    float scale[NB_TRIALS], inv[NB_TRIALS], offset[NB_TRIALS];
};
/* error[t] = S(w (x - value)^2), the values q of nl.h for codes in the second (it uses no offset). */
typedef void nb_trial_error_f32_fn(float *error, const struct nb_trials *t);
typedef nb_trial_error_f32_fn nb_trial_error_nl_f32_fn;
/* S(w q), S(w q q), S(w q x) */
struct nb_trial_sums {
    float l[NB_TRIALS], ll[NB_TRIALS], lx[NB_TRIALS];
};
typedef void nb_trial_sums_f32_fn(struct nb_trial_sums *sums, const struct nb_trials *t);
typedef nb_trial_sums_f32_fn nb_trial_sums_nl_f32_fn;

/* Prototypes of every implementation this build holds. */
#define NB_KERNEL(op, isa, need) nb_##op##_fn nb_##op##_##isa;
#include "kernels/kernels.inc"
#undef NB_KERNEL

struct nb_kernels {
    nb_dot_f32_f32_fn *dot_f32_f32;
    nb_dot_f16_f32_fn *dot_f16_f32;
    nb_dot_bf16_f32_fn *dot_bf16_f32;
    nb_gemm_f32_f32_f32_fn *gemm_f32_f32_f32;
    nb_scores_f32_f32_f32_fn *scores_f32_f32_f32;
    nb_gemm_f32_f32p_f32p_fn *gemm_f32_f32p_f32p;
    nb_cvt_f32_f16_fn *cvt_f32_f16;
    nb_cvt_f16_f32_fn *cvt_f16_f32;
    nb_cvt_f32_bf16_fn *cvt_f32_bf16;
    nb_cvt_bf16_f32_fn *cvt_bf16_f32;
    nb_add_f32_fn *add_f32;
    nb_axpy_f32_f32_fn *axpy_f32_f32;
    nb_axpy_f32_f16_fn *axpy_f32_f16;
    nb_wsum_f32_f32_f32_fn *wsum_f32_f32_f32;
    nb_conv_f32_f32_f32_fn *conv_f32_f32_f32;
    nb_dwconv_f32_f32_f32_fn *dwconv_f32_f32_f32;
    nb_outer_f64_f32_f32_fn *outer_f64_f32_f32;
    nb_tile_f64_f64_f64_fn *tile_f64_f64_f64;
    nb_solve_f64_f64_fn *solve_f64_f64;
    nb_gemmsub_f32_f32_f32_fn *gemmsub_f32_f32_f32;
    nb_act_f32_fn *act_f32;
    nb_glu_f32_fn *glu_f32;
    nb_act_grad_f32_fn *act_grad_f32;
    nb_erf_f32_fn *erf_f32;
    nb_sigmoid_f32_fn *sigmoid_f32;
    nb_softcap_f32_fn *softcap_f32;
    nb_softmax_f32_fn *softmax_f32;
    nb_expsum_f32_fn *expsum_f32;
    nb_rmsnorm_f32_fn *rmsnorm_f32;
    nb_layernorm_f32_fn *layernorm_f32;
    nb_rope_f32_fn *rope_f32;
    nb_quant_q8_f32_fn *quant_q8_f32;
    nb_gemv_q_fn *gemv_f32_q8_0_q8;
    nb_gemv_q_fn *gemv_f32_q4_0_q8;
    nb_gemv_q_fn *gemv_f32_q4_k_q8;
    nb_gemv_q_fn *gemv_f32_q6_k_q8;
    nb_gemv_q_fn *gemv_f32_iq4_nl_q8;
    nb_gemv_q_fn *gemv_f32_iq4_xs_q8;
    nb_gemm_f32_tile_q8_fn *gemm_f32_tile_q8;
    nb_conv_s32_u8_s8_fn *conv_s32_u8_s8;
    nb_dwconv_s32_u8_s8_fn *dwconv_s32_u8_s8;
    nb_requant_u8_s32_fn *requant_u8_s32;
    nb_quant_u8_f32_fn *quant_u8_f32;
    nb_dequant_f32_u8_fn *dequant_f32_u8;
    nb_add_u8_u8_fn *add_u8_u8;
    nb_mul_u8_u8_fn *mul_u8_u8;
    nb_table_u8_u8_fn *table_u8_u8;
    nb_xor_u64_fn *xor_u64;
    nb_peak_f32_fn *peak_f32;
    nb_peak_s8_fn *peak_s8;
    nb_enc_fn *enc_q8_0_f32;
    nb_enc_fn *enc_q4_0_f32;
    nb_enc_fn *enc_q5_0_f32;
    nb_enc_fn *enc_q4_1_f32;
    nb_enc_fn *enc_q5_1_f32;
    nb_fit_k_fn *fit_q6_k_f32;
    nb_fit_k_fn *fit_q4_k_f32;
    nb_round_iq_f32_fn *round_iq_f32;
    nb_promise_iq_f32_fn *promise_iq_f32;
    nb_trial_error_f32_fn *trial_error_f32;
    nb_trial_error_nl_f32_fn *trial_error_nl_f32;
    nb_trial_sums_f32_fn *trial_sums_f32;
    nb_trial_sums_nl_f32_fn *trial_sums_nl_f32;
    nb_fit_k_fn *fit_q5_k_f32;
    nb_enc_fn *enc_iq4_nl_f32;
    nb_enc_fn *enc_mxfp4_f32;
    nb_enc_fn *enc_nvfp4_f32;
    nb_fit_k_fn *fit_iq4_xs_f32;
    nb_fit_k_fn *fit_q3_k_f32;
    nb_fit_k_fn *fit_q2_k_f32;
};

/* The table, filled once per process: reference first, then every line whose flags this CPU has and
 * the environment variable NIBBLE_ISA (ref, avx2, avx512vnni, neon, dotprod) allows; the last match
 * wins. Thread-safe. An unknown NIBBLE_ISA value is ignored here; nb_isa_check says so. */
const struct nb_kernels *nb_kernels_get(void);

unsigned nb_isa_have(void);          /* what the CPU offers, whatever NIBBLE_ISA says   */
unsigned nb_isa_used(void);          /* what nb_kernels_get may use                     */
const char *nb_isa_name(unsigned f); /* the highest level in f: "avx2", "ref"           */
bool nb_isa_check(const char *name, unsigned *flags); /* false: no such level          */

/* Every implementation in this build, for tests, benches and `nibble list kernels`. */
struct nb_kernel_line {
    const char *op, *isa;
    unsigned need;
    void (*fn)(void); /* cast to the op's type */
};
const struct nb_kernel_line *nb_kernel_lines(size_t *n);

#endif
