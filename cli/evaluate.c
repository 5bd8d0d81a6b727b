/* cli/evaluate.c: an evaluation's figures for people and programs. */
#include "evaluate.h"

#include <math.h>
#include <string.h>

/* A figure that exists only with a reference. */
static void ref_real(struct nb_jw *w, const char *key, const struct nb_eval_result *e, double value)
{
    nb_jw_real(w, key, e->has_ref ? value : (double)NAN);
}

void nb_evaluate_json(struct nb_jw *w, const struct nb_eval_result *e)
{
    nb_jw_u64(w, "tokens", e->tokens);
    nb_jw_u64(w, "ctx", e->ctx);
    nb_jw_u64(w, "chunks", e->chunks);
    nb_jw_real(w, "ppl", e->ppl);
    nb_jw_real(w, "ppl_error", e->ppl_error);
    ref_real(w, "ppl_ref", e, e->ppl_ref);
    ref_real(w, "ppl_ref_error", e, e->ppl_ref_error);
    ref_real(w, "ln_ratio_error", e, e->ln_ratio_error);
    ref_real(w, "kld_mean", e, e->kld_mean);
    ref_real(w, "kld_error", e, e->kld_error);
    ref_real(w, "kld_min", e, e->kld_min);
    ref_real(w, "kld_p50", e, e->kld_p50);
    ref_real(w, "kld_p90", e, e->kld_p90);
    ref_real(w, "kld_p99", e, e->kld_p99);
    ref_real(w, "kld_max", e, e->kld_max);
    ref_real(w, "top1", e, e->top1);
    ref_real(w, "top1_error", e, e->top1_error);
    nb_jw_real(w, "bits_per_byte", e->bits_per_byte);
    nb_jw_real(w, "tok_per_s", e->tok_per_s);
    nb_jw_string(w, "logits_hash", e->logits_hash[0] != '\0' ? e->logits_hash : NULL);
}

void nb_evaluate_convention(FILE *f, const struct nb_eval_result *e)
{
    fprintf(f, "windows of %u tokens, second half scored: %u window%s, %llu tokens scored\n",
            e->ctx, e->chunks, e->chunks == 1 ? "" : "s", (unsigned long long)e->tokens);
}

void nb_evaluate_table(FILE *f, const struct nb_eval_result *e)
{
    struct nb_cli_table t;

    if (!e->has_ref) {
        fprintf(f, "perplexity     %.4f +- %.4f\n", e->ppl, e->ppl_error);
        fprintf(f, "bits per byte  %.4f\n", e->bits_per_byte);
        return;
    }
    double percent = 100 * (e->ppl / e->ppl_ref - 1);
    nb_cli_table_init(&t, "lrrr");
    nb_cli_table_add(&t, " ");
    nb_cli_table_add(&t, "reference");
    nb_cli_table_add(&t, "model");
    nb_cli_table_add(&t, "difference");
    nb_cli_table_add(&t, "perplexity");
    nb_cli_table_add(&t, "%.4f +- %.4f", e->ppl_ref, e->ppl_ref_error);
    nb_cli_table_add(&t, "%.4f +- %.4f", e->ppl, e->ppl_error);
    nb_cli_table_add(&t, "%+.3f %% +- %.3f %%", percent,
                     100 * e->ln_ratio_error * e->ppl / e->ppl_ref);
    nb_cli_table_add(&t, "bits per byte");
    nb_cli_table_add(&t, "%.4f", e->bits_per_byte * log(e->ppl_ref) / log(e->ppl));
    nb_cli_table_add(&t, "%.4f", e->bits_per_byte);
    nb_cli_table_add(&t, "%+.4f", e->bits_per_byte * (1 - log(e->ppl_ref) / log(e->ppl)));
    nb_cli_table_print(&t, f, "");
    nb_cli_table_fini(&t);
    fprintf(f,
            "KL divergence  mean %.6f +- %.6f   median %.6f   90 %% %.5f   99 %% %.5f   max %.3f\n",
            e->kld_mean, e->kld_error, e->kld_p50, e->kld_p90, e->kld_p99, e->kld_max);
    fprintf(f, "same top-1     %.2f %% +- %.2f %%\n", 100 * e->top1, 100 * e->top1_error);
}

const char *nb_evaluate_text(struct nb_cli *cli, const char *given, int *code)
{
    static char path[1200];

    if (given != NULL)
        return given;
    if (!nb_cli_data_path(path, sizeof path, "evaluation.txt")) {
        *code = nb_cli_usage(cli, "--text FILE is missing, and the bundled text is not here");
        return NULL;
    }
    nb_cli_note(cli, "no --text: taking the bundled public-domain prose");
    return path;
}
