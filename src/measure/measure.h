/* measure/measure.h: what this machine can do, and how much of it a session uses.
 *
 * Limits are measured, not looked up: the read bandwidth of a buffer far larger than the caches, and
 * the peaks of chains of independent multiply-adds in registers, all threads at once, best of several
 * (a limit is what the machine can do, not what it does on average).
 */
#ifndef NB_MEASURE_MEASURE_H
#define NB_MEASURE_MEASURE_H

#include "base/base.h"
#include "run/run.h"

struct nb_limits {
    double read_bandwidth; /* bytes per second                            */
    double float_ops;      /* f32, per second; a multiply-add counts as 2 */
    double int_ops;        /* s8 products summed in s32, likewise         */
};

NB_CHECKED enum nb_status nb_limits_measure(struct nb_limits *out, struct nb_pool *pool,
                                            const struct nb_allocator *a, struct nb_error *err);

struct nb_speed_job {
    struct nb_session *session; /* context >= max(prompt, depth + generate) */
    uint32_t n_vocab;
    uint32_t prompt, generate, repeat, depth;
    const struct nb_progress *progress;
    const struct nb_allocator *a;
};

struct nb_speed {
    double prefill_tok_s, decode_tok_s; /* medians of `repeat` runs */
};

/* prompt tokens in one go, then generate tokens one by one after `depth` others. Tokens are
 * pseudo-random: speed does not depend on them. */
NB_CHECKED enum nb_status nb_speed_measure(struct nb_speed *out, const struct nb_speed_job *job,
                                           struct nb_error *err);

/* Bytes of weights and cache that decoding one token at position `depth` reads, and multiply-adds (x 2)
 * of one prompt token (the head is computed for the last one only; of experts those chosen count): what
 * the shares are made of. */
double nb_decode_bytes(const struct nb_weights *w, const struct nb_numfmt *kv_type, uint32_t depth);
double nb_token_ops(const struct nb_weights *w);
/* True if the linear layers run on integers (most of their bytes do). */
bool nb_weights_integer(const struct nb_weights *w);

#endif
