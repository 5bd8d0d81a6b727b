/* cli/quantize_print.c: results of quantize, plan and convert for people and programs. */
#include "quantize.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void calibrated_json(struct nb_jw *w, const struct nb_quant_tensor *t)
{
    nb_jw_string(w, "method", t->method);
    nb_jw_real(w, "mean_h", t->mean_h);
    nb_jw_real(w, "mean_d", t->mean_d);
    nb_jw_real(w, "geomean_d", t->geomean_d);
    nb_jw_real(w, "rtn_db", t->rtn_db);
    nb_jw_real(w, "loss_db", t->loss_db);
    nb_jw_real(w, "held_rtn_db", t->held_rtn_db);
    nb_jw_real(w, "held_loss_db", t->held_loss_db);
    nb_jw_real(w, "seconds", t->seconds);
    nb_jw_string(w, "remedy", t->remedy);
}

static void texts_json(struct nb_jw *w, const struct nb_quant_result *r)
{
    nb_jw_real(w, "bits_per_byte", r->calib_bits_per_byte);
    nb_jw_array(w, "texts");
    for (size_t i = 0; i < r->n_calib_texts; i++) {
        nb_jw_object(w, NULL);
        nb_jw_string(w, "path", r->calib_texts[i].path);
        nb_jw_real(w, "bits_per_byte", r->calib_texts[i].bits_per_byte);
        nb_jw_bool(w, "foreign", r->calib_texts[i].foreign != 0);
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

void nb_quantize_json(struct nb_jw *w, const struct nb_quantize_job *job,
                      const struct nb_quant_result *r)
{
    nb_jw_string(w, "source", job->model);
    nb_jw_string(w, "out", r->out != NULL ? r->out : job->out);
    nb_jw_u64(w, "bytes", r->bytes);
    nb_jw_real(w, "bpw", r->bpw);
    nb_jw_real(w, "bpw_layers", r->bpw_layers);
    nb_jw_real(w, "seconds", r->seconds);
    nb_jw_u64(w, "peak_rss_bytes", r->peak_rss_bytes);
    nb_jw_string(w, "type", r->type);
    nb_jw_string(w, "method", r->method);
    nb_jw_real(w, "snr_db", r->snr_db);
    nb_jw_real(w, "worst_snr_db", r->worst_snr_db);
    nb_jw_string(w, "worst_tensor", r->worst_tensor);
    nb_jw_string(w, "hash", r->hash);
    nb_jw_string(w, "imatrix", r->imatrix_hash);
    nb_jw_u64(w, "n_weighted", r->n_weighted);
    nb_jw_u64(w, "n_unweighted", r->n_unweighted);
    if (r->calib_tokens > 0) {
        nb_jw_object(w, "calibration");
        nb_jw_u64(w, "tokens", r->calib_tokens);
        nb_jw_string(w, "hash", r->calibration_hash);
        texts_json(w, r);
        nb_jw_u64(w, "n_calibrated", r->n_calibrated);
        nb_jw_u64(w, "n_resumed", r->n_resumed);
        nb_jw_real(w, "forward_seconds", r->forward_seconds);
        nb_jw_real(w, "statistics_seconds", r->statistics_seconds);
        nb_jw_real(w, "prepare_seconds", r->prepare_seconds);
        nb_jw_real(w, "rounding_seconds", r->rounding_seconds);
        nb_jw_end(w);
    }
    nb_jw_string(w, "recipe", r->recipe);
    nb_jw_array(w, "tensors");
    for (size_t i = 0; i < r->n_tensors; i++) {
        const struct nb_quant_tensor *t = &r->tensors[i];
        nb_jw_object(w, NULL);
        nb_jw_string(w, "name", t->name);
        nb_jw_string(w, "source_type", t->source_type);
        nb_jw_string(w, "type", t->type);
        nb_jw_u64(w, "elements", t->elements);
        nb_jw_u64(w, "source_bytes", t->source_bytes);
        nb_jw_u64(w, "bytes", t->bytes);
        nb_jw_real(w, "snr_db", t->snr_db);
        nb_jw_string(w, "note", t->note);
        if (t->method != NULL)
            calibrated_json(w, t);
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

void nb_quantize_tensor_table(const struct nb_quant_result *r, bool plan)
{
    struct nb_cli_table t;

    nb_cli_table_init(&t, "lllrrrl");
    const char *head[] = {"tensor", "from", "to", "elements", "bytes", plan ? "" : "SNR", ""};
    for (size_t i = 0; i < 7; i++)
        nb_cli_table_add(&t, "%s", head[i]);
    for (size_t i = 0; i < r->n_tensors; i++) {
        const struct nb_quant_tensor *q = &r->tensors[i];
        nb_cli_table_add(&t, "%s", q->name);
        nb_cli_table_add(&t, "%s", q->source_type);
        nb_cli_table_add(&t, "%s", q->type);
        nb_cli_table_add(&t, "%llu", (unsigned long long)q->elements);
        nb_cli_table_add(&t, "%llu", (unsigned long long)q->bytes);
        nb_cli_table_add(&t, "%s", plan ? "" : nb_cli_db(q->snr_db).s);
        nb_cli_table_add(&t, "%s", q->note != NULL ? q->note : "");
    }
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
}

/* A number of decibels, or nothing. */
static void add_db(struct nb_cli_table *t, double db)
{
    if (isfinite(db))
        nb_cli_table_add(t, "%.2f", db);
    else
        nb_cli_table_add(t, "%s", "");
}

/* Feedback can gain mean H over mean D; unequal precision, mean D over its geometric mean. */
void nb_quantize_calibrated_table(const struct nb_quant_result *r)
{
    static const char *const head[] = {"tensor",   "type",      "method",  "mean H",
                                       "H/D dB",   "D/gm dB",   "rtn dB",  "loss dB",
                                       "held rtn", "held loss", "seconds", ""};
    struct nb_cli_table t;

    if (r->n_calibrated == 0)
        return;
    nb_cli_table_init(&t, "lllrrrrrrrrl");
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++)
        nb_cli_table_add(&t, "%s", head[i]);
    for (size_t i = 0; i < r->n_tensors; i++) {
        const struct nb_quant_tensor *q = &r->tensors[i];
        if (q->method == NULL)
            continue;
        nb_cli_table_add(&t, "%s", q->name);
        nb_cli_table_add(&t, "%s", q->type);
        nb_cli_table_add(&t, "%s", q->method);
        nb_cli_table_add(&t, "%.3g", q->mean_h);
        add_db(&t, 10.0 * log10(q->mean_h / q->mean_d));
        add_db(&t, 10.0 * log10(q->mean_d / q->geomean_d));
        add_db(&t, q->rtn_db);
        add_db(&t, q->loss_db);
        add_db(&t, q->held_rtn_db);
        add_db(&t, q->held_loss_db);
        nb_cli_table_add(&t, "%.2f", q->seconds);
        nb_cli_table_add(&t, "%s", q->remedy != NULL ? q->remedy : "");
    }
    nb_cli_table_print(&t, stdout, "");
    nb_cli_table_fini(&t);
}

/* On how much text, where the time went, and how well the model knows the text. */
void nb_quantize_calibration(const struct nb_quant_result *r)
{
    if (r->n_calibrated == 0)
        return;
    printf("%s on %llu tokens: %zu tensors", r->method, (unsigned long long)r->calib_tokens,
           r->n_calibrated);
    if (r->n_resumed > 0)
        printf(" (%zu of them by an earlier run)", r->n_resumed);
    printf("; forward %s, statistics %s, factoring %s, rounding %s\n",
           nb_cli_time(r->forward_seconds).s, nb_cli_time(r->statistics_seconds).s,
           nb_cli_time(r->prepare_seconds).s, nb_cli_time(r->rounding_seconds).s);
    if (isfinite(r->calib_bits_per_byte))
        printf("calibration text: %.2f bits per byte\n", r->calib_bits_per_byte);
}

/* The three tensors that lost most. */
void nb_quantize_worst(const struct nb_quant_result *r)
{
    size_t worst[3], n = 0;

    for (size_t i = 0; i < r->n_tensors; i++) {
        size_t at = n;
        if (!isfinite(r->tensors[i].snr_db))
            continue;
        while (at > 0 && r->tensors[i].snr_db < r->tensors[worst[at - 1]].snr_db)
            at--;
        if (at >= 3)
            continue;
        for (size_t k = n < 3 ? n : 2; k > at; k--)
            worst[k] = worst[k - 1];
        worst[at] = i;
        n += n < 3;
    }
    for (size_t i = 0; i < n; i++) {
        const struct nb_quant_tensor *t = &r->tensors[worst[i]];
        fputs(i == 0 ? "worst  " : ", ", stdout);
        nb_cli_puts_safe(stdout, t->name, strlen(t->name));
        printf(" %s", nb_cli_db(t->snr_db).s);
    }
    if (n > 0)
        fputc('\n', stdout);
}

void nb_quantize_importance(const struct nb_quant_result *r)
{
    size_t all = r->n_weighted + r->n_unweighted;

    if (r->imatrix_hash != NULL)
        printf("importance known for %zu of %zu rounded tensors\n", r->n_weighted, all);
}

int nb_quantize_dump_recipe(const char *path, const char *recipe, bool force)
{
    FILE *f;
    bool bad;

    if (recipe == NULL)
        return nb_cli_error(NB_CLI_BAD_INPUT, "there is no recipe in this file");
    if (strcmp(path, "-") == 0) {
        printf("%s\n", recipe);
        return NB_CLI_OK;
    }
    f = fopen(path, force ? "w" : "wx");
    if (f == NULL)
        return nb_cli_error(NB_CLI_FAILED, "recipe '%s': %s%s", path, strerror(errno),
                            errno == EEXIST ? "; -f overwrites it" : "");
    bad = fprintf(f, "%s\n", recipe) < 0;
    if (fclose(f) != 0 || bad)
        return nb_cli_error(NB_CLI_FAILED, "recipe '%s': %s", path, strerror(errno));
    return NB_CLI_OK;
}

void nb_quantize_shell_word(FILE *f, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+,:=@%";

    if (word[strspn(word, plain)] == '\0' && *word != '\0') {
        fputs(word, f);
        return;
    }
    fputc('\'', f);
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            fputs("'\\''", f);
        else
            nb_cli_puts_safe(f, word, 1);
    }
    fputc('\'', f);
}
