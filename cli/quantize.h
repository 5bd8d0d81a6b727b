/* cli/quantize.h: what quantize, plan and convert share. */
#ifndef NB_CLI_QUANTIZE_H
#define NB_CLI_QUANTIZE_H

#include "net.h"

struct nb_quantize_args {
    struct nb_cli_common common;
    const char *output, *type;
    struct nb_cli_list tensor_types;
    const char *output_type, *embedding_type, *recipe, *dump_recipe, *imatrix, *importance,
        *scale_search, *method, *transforms;
    struct nb_cli_list calib_texts;
    uint64_t calib_tokens;
    uint32_t calib_ctx;
    double damp, mismatch;
    int32_t float_prefix, pure, force, allow_requantize, any_arch, dry_run, eval;
    uint64_t max_ram, shard_bytes;
    const char *eval_text;
    uint32_t eval_chunks;
    double max_kld;
    /* of nets */
    const char *profile, *range, *weights, *format, *encodings, *encodings_version, *labels,
        *activations, *smooth;
    uint32_t weight_bits;
    double percentile;
    struct nb_cli_list keep, dims, sets;
    int32_t per_tensor, bias_correct, equalize;
    double max_drop, min_sqnr;
    struct nb_cli_net_prepare_args prepare;
};

/* The call to the library. Owns: rules, recipe, made_out, journal. */
struct nb_quantize_job {
    const char *model, *out;
    struct nb_quant_options options;
    struct nb_type_rule *rules;
    char **rule_texts;
    char *recipe, *made_out, *journal; /* of a calibrated run */
    char bundled[1200];
    const char *calib_text;
};

extern const struct nb_cli_opt nb_quantize_options[];

/* Exit code; 0: *job is ready. nb_quantize_job_fini in either case. */
int nb_quantize_prepare(struct nb_cli *cli, const struct nb_quantize_args *args, int n,
                        char **positional, struct nb_quantize_job *job);
void nb_quantize_job_fini(struct nb_quantize_job *job);

int nb_quantize_plan(struct nb_cli *cli, const struct nb_quantize_args *args,
                     const struct nb_quantize_job *job);
int nb_quantize_work(struct nb_cli *cli, const struct nb_quantize_args *args,
                     const struct nb_quantize_job *job);

/* Who is OUT and who is TYPE among the positional arguments and options; NULL: not given. Exit code. */
int nb_quantize_positional(struct nb_cli *cli, const struct nb_quantize_args *args, int n,
                           char **positional, const char **out, const char **type);

/* What MODEL is, by its name and first bytes. */
enum nb_cli_kind nb_quantize_kind(const char *path);

/* ---- quantize_array.c ---- */
/* Exit code. */
int nb_quantize_array(struct nb_cli *cli, const struct nb_quantize_args *args, int n,
                      char **positional);

/* ---- quantize_net.c: a net in ONNX. plan: only say what would be done. Exit code. ---- */
int nb_quantize_net_file(struct nb_cli *cli, const struct nb_quantize_args *args, int n,
                         char **positional, bool plan);

/* ---- quantize_print.c ---- */
void nb_quantize_json(struct nb_jw *w, const struct nb_quantize_job *job,
                      const struct nb_quant_result *r);
void nb_quantize_tensor_table(const struct nb_quant_result *r, bool plan);
void nb_quantize_calibrated_table(const struct nb_quant_result *r);
void nb_quantize_calibration(const struct nb_quant_result *r);
void nb_quantize_worst(const struct nb_quant_result *r);
/* How many tensors --imatrix knew; nothing without it. */
void nb_quantize_importance(const struct nb_quant_result *r);
/* Writes the recipe to path ("-": stdout). Exit code. */
int nb_quantize_dump_recipe(const char *path, const char *recipe, bool force);
/* A path as a shell takes it: quoted only where it must be. */
void nb_quantize_shell_word(FILE *f, const char *word);

#endif
