/* eval/eval.h: what quantization cost: perplexity, KL divergence, top-1 agreement, error per tensor; whether a
 * model knows a text.
 *
 * Both models run side by side, window by window; no logits file exists. Windows of ctx tokens, each
 * from an empty context; positions ctx/2 .. ctx-2 predict the token that follows and are scored, as
 * llama.cpp's perplexity tool does. All sums are doubles in the order of the positions: the figures
 * are the same for any number of threads.
 */
#ifndef NB_EVAL_EVAL_H
#define NB_EVAL_EVAL_H

#include "base/base.h"
#include "dialect/dialect.h"
#include "run/run.h"
#include "text/text.h"

struct nb_score_job {
    struct nb_session *const
        *sessions; /* (n_sessions): scored side by side, the reference run once */
    size_t n_sessions;
    struct nb_session *ref; /* NULL: perplexity alone                                       */
    uint32_t n_vocab;       /* of all                                                */
    const struct nb_tokenizer *tokenizer;
    const uint32_t *tokens; /* (n_tokens), the text without a begin-of-text token              */
    size_t n_tokens;
    int64_t bos;     /* put in place of each window's first token; -1: the model wants none   */
    uint32_t ctx;    /* >= 4, at most any session's context                                 */
    uint32_t chunks; /* windows at most; 0: as many as the text fills                         */
    uint32_t n_rows; /* rows of logits asked for at once (nb_score_rows) */
    struct nb_pool *pool;
    const struct nb_progress *progress; /* may be NULL; unit "tokens"                          */
    const struct nb_allocator *a;
};

struct nb_score {
    uint64_t n; /* scored positions */
    uint32_t chunks;
    double nll, nll_error; /* mean negative log likelihood, nats; standard error       */
    double bits_per_byte;
    double ratio_error; /* standard error of nll - ref_nll, positions paired; 0 without ref */
    double ref_nll, ref_nll_error; /* 0 without ref                                            */
    double kld_mean, kld_error, kld_min, kld_p50, kld_p90, kld_p99, kld_max;
    double top1, top1_error; /* share of positions with the same arg max                 */
    double seconds;          /* in the session alone                                     */
    struct nb_hash logits;   /* of all scored rows of the session, in order              */
};

/* NB_ERR_ARG if the text is shorter than one window; NB_ERR_NUMERIC names the position of a logit
 * that is not finite; NB_ERR_CANCELLED. */
NB_CHECKED enum nb_status nb_score_run(struct nb_score *out /* (n_sessions) */,
                                       const struct nb_score_job *job, struct nb_error *err);
/* Rows of logits that keep a score's buffers near 32 MiB each: 16 .. 512. */
uint32_t nb_score_rows(uint32_t n_vocab);

/* ---- how well a model knows a text ---- */
struct nb_text_bits_job {
    const struct nb_model *model; /* a decoder with a tokenizer */
    const uint32_t *tokens;       /* (n, ctx), each window begun as the model wants it */
    size_t n;
    uint32_t ctx; /* >= 4 */
    struct nb_pool *pool;
    const struct nb_progress *progress; /* may be NULL; unit "tokens" */
    const struct nb_allocator *a;
};
/* Of a window's second half: positions ctx/2 .. ctx-2 predict the token that follows. Over log 2 and the
 * bytes, nats are bits per byte. */
struct nb_text_bits {
    double nats; /* NaN: a logit is not finite */
    uint64_t bytes;
};
/* What it takes, the head's pages of the file included; false on overflow. */
NB_CHECKED bool nb_text_bits_bytes(const struct nb_text_bits_job *job, uint64_t *bytes);
/* The model's weights as floats, a block in memory at a time. NB_ERR_ARG, NB_ERR_CANCELLED. */
NB_CHECKED enum nb_status nb_text_bits_run(struct nb_text_bits *out /* (n) */,
                                           const struct nb_text_bits_job *job,
                                           struct nb_error *err);

/* 10 log10(sum x^2 / sum (x - y)^2) over weight i of ref and the weight of that name in m; +infinity
 * when equal, NaN when m has no such weight or its shape differs. Allocates two row buffers. */
NB_CHECKED enum nb_status nb_tensor_snr(double *db, const struct nb_model *ref, size_t i,
                                        const struct nb_model *m, struct nb_pool *pool,
                                        const struct nb_allocator *a, struct nb_error *err);

/* ---- report ---- */
struct nb_report_tensor {
    const char *name, *type;
    int32_t block; /* -1 outside the decoder */
    double snr_db;
};

struct nb_report_model {
    const char *path, *type;
    uint64_t bytes;
    double bpw, ppl, kld_mean, kld_error, kld_p99, kld_max, top1; /* kld: NaN for the reference */
    double decode_tok_s, prefill_tok_s;                           /* 0: not measured            */
    const struct nb_report_tensor *tensors;
    size_t n_tensors;
};

struct nb_report {
    struct nb_report_model ref;
    const struct nb_report_model *models;
    size_t n_models;
    uint32_t ctx, chunks;
    uint64_t tokens;
    const char *text;    /* path of the evaluation text */
    const char *machine; /* "AMD EPYC, avx2, 2 threads" */
};

/* One self-contained HTML page with inline SVG: a table, size against KL with the Pareto line, error
 * per tensor along the depth, speed. No script, nothing loaded from anywhere. */
NB_CHECKED enum nb_status nb_report_html(struct nb_str *out, const struct nb_report *r,
                                         struct nb_error *err);

#endif
