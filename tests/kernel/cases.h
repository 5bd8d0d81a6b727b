/* What checkkern runs: for each op the sizes and patterns to try, how to make its inputs, how to call. */
#ifndef NB_TESTS_KERNEL_CASES_H
#define NB_TESTS_KERNEL_CASES_H

#include "kernels/kernels.h"

/* What inputs look like. */
enum pattern {
    PAT_PLAIN,  /* of the size activations and weights have              */
    PAT_SPIKES, /* most small, a few 1e4 times as large                  */
    PAT_EXTREME, /* largest codes of either sign; infinities, NaN, denormals, halves of every bit pattern */
    PAT_ZERO,
    PAT_COUNT
};

struct kase {
    size_t n; /* length, or k                        */
    size_t rows, cols;
    enum pattern pattern;
    unsigned variant; /* the op's own switches              */
    size_t shift;     /* elements kept free behind the end   */
    uint64_t seed;
};

enum { SLOTS = 8, OUTS = 3 };

/* Memory whose last byte lies before a page that may not be touched. */
struct slot {
    uint8_t *base;
    size_t bytes;
};

struct out {
    uint8_t *p;
    size_t bytes;
    bool is_f32, is_f64; /* NaN compares equal to NaN */
};

struct work {
    struct slot slot[SLOTS];
    void *p[SLOTS]; /* inputs and outputs of the case at hand */
    struct out out[OUTS];
    size_t n_outs;
    struct nb_q8 x;
    struct nb_tile tile;
    uint64_t rng;
};

struct op {
    const char *name;
    size_t (*count)(void);                  /* number of cases                       */
    void (*kase)(struct kase *c, size_t i); /* the i-th                              */
    void (*setup)(struct work *w, const struct kase *c);
    void (*call)(void (*fn)(void), struct work *w, const struct kase *c);
    struct kase bench;                               /* a size from practice                  */
    double (*work)(const struct kase *c, bool *ops); /* bytes read and written, or operations */
};

const struct op *ops_all(size_t *n);

void work_init(struct work *w, size_t bytes);
/* bytes of slot i, `free_bytes` before the end; a result that is compared; pseudo-random bits. */
void *work_place(struct work *w, size_t i, size_t bytes, size_t free_bytes);
void work_add_out(struct work *w, void *p, size_t bytes, bool is_f32);
uint64_t work_next(struct work *w);

/* n floats of slot i in the case's pattern; n floats to be written and compared. */
float *floats(struct work *w, size_t i, size_t n, const struct kase *c);
float *out_floats(struct work *w, size_t i, size_t n, const struct kase *c);
/* Vectors of length 0 to 300 and some longer, every pattern, variants 0 and 1. */
size_t length_count(void);
void length_case(struct kase *c, size_t i);

size_t gemm_count(void);
void gemm_case(struct kase *c, size_t i);

/* cases_act.c */
size_t act_count(void);
void act_case(struct kase *c, size_t i);
void setup_act(struct work *w, const struct kase *c);
void call_act(void (*fn)(void), struct work *w, const struct kase *c);
void setup_glu(struct work *w, const struct kase *c);
void call_glu(void (*fn)(void), struct work *w, const struct kase *c);
void call_act_grad(void (*fn)(void), struct work *w, const struct kase *c);
void call_erf(void (*fn)(void), struct work *w, const struct kase *c);
void call_sigmoid(void (*fn)(void), struct work *w, const struct kase *c);
void call_softcap(void (*fn)(void), struct work *w, const struct kase *c);
void setup_layernorm(struct work *w, const struct kase *c);
void call_layernorm(void (*fn)(void), struct work *w, const struct kase *c);

/* cases_iq.c */
size_t round_iq_count(void);
void round_iq_case(struct kase *c, size_t i);
void setup_round_iq(struct work *w, const struct kase *c);
void call_round_iq(void (*fn)(void), struct work *w, const struct kase *c);
size_t promise_iq_count(void);
void promise_iq_case(struct kase *c, size_t i);
void setup_promise_iq(struct work *w, const struct kase *c);
void call_promise_iq(void (*fn)(void), struct work *w, const struct kase *c);

/* cases_trial.c */
size_t trial_count(void);
void trial_case(struct kase *c, size_t i);
void setup_trial(struct work *w, const struct kase *c);
void setup_trial_sums(struct work *w, const struct kase *c);
void call_trial_error(void (*fn)(void), struct work *w, const struct kase *c);
void call_trial_sums(void (*fn)(void), struct work *w, const struct kase *c);

/* cases_panel.c */
size_t gemm_panel_count(void);
void gemm_panel_case(struct kase *c, size_t i);
void setup_gemm_panel(struct work *w, const struct kase *c);
void call_gemm_panel(void (*fn)(void), struct work *w, const struct kase *c);
size_t scores_count(void);
void scores_case(struct kase *c, size_t i);
void setup_scores(struct work *w, const struct kase *c);
void call_scores(void (*fn)(void), struct work *w, const struct kase *c);

/* cases_conv.c */
void setup_wsum(struct work *w, const struct kase *c);
void call_wsum(void (*fn)(void), struct work *w, const struct kase *c);
size_t conv_count(void);
void conv_case(struct kase *c, size_t i);
void setup_conv(struct work *w, const struct kase *c);
void dwconv_case(struct kase *c, size_t i);
void setup_dwconv(struct work *w, const struct kase *c);
void call_conv(void (*fn)(void), struct work *w, const struct kase *c);

/* cases_u8.c */
size_t conv_u8_count(void);
void conv_u8_case(struct kase *c, size_t i);
void setup_conv_u8(struct work *w, const struct kase *c);
void call_conv_u8(void (*fn)(void), struct work *w, const struct kase *c);
void dwconv_u8_case(struct kase *c, size_t i);
void setup_dwconv_u8(struct work *w, const struct kase *c);
void call_dwconv_u8(void (*fn)(void), struct work *w, const struct kase *c);
void requant_case(struct kase *c, size_t i);
void setup_requant(struct work *w, const struct kase *c);
void call_requant(void (*fn)(void), struct work *w, const struct kase *c);
void setup_quant_u8(struct work *w, const struct kase *c);
void call_quant_u8(void (*fn)(void), struct work *w, const struct kase *c);
void setup_dequant_u8(struct work *w, const struct kase *c);
void call_dequant_u8(void (*fn)(void), struct work *w, const struct kase *c);
void setup_table_u8(struct work *w, const struct kase *c);
void call_table_u8(void (*fn)(void), struct work *w, const struct kase *c);
void binary_u8_case(struct kase *c, size_t i);
void setup_binary_u8(struct work *w, const struct kase *c);
void call_binary_u8(void (*fn)(void), struct work *w, const struct kase *c);

/* cases_linalg.c */
size_t panel_count(void);
void panel_case(struct kase *c, size_t i);
void setup_outer(struct work *w, const struct kase *c);
void call_outer(void (*fn)(void), struct work *w, const struct kase *c);
void setup_tile64(struct work *w, const struct kase *c);
void call_tile64(void (*fn)(void), struct work *w, const struct kase *c);
size_t solve_count(void);
void setup_solve(struct work *w, const struct kase *c);
void call_solve(void (*fn)(void), struct work *w, const struct kase *c);
size_t gemmsub_count(void);
void gemmsub_case(struct kase *c, size_t i);
void setup_gemmsub(struct work *w, const struct kase *c);
void call_gemmsub(void (*fn)(void), struct work *w, const struct kase *c);

#endif
