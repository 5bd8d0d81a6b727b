/* cli/verb_embed.c: texts to vectors, and what quantization does to their similarity. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct args {
    struct nb_cli_common common;
    const char *input, *pooling, *against, *pairs;
    uint32_t ctx;
    int32_t raw, similarity;
    double min_spearman;
};
#define AT(field) offsetof(struct args, field)

static const struct nb_cli_opt options[] = {
    {.name = "input",
     .letter = 'i',
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(input),
     .group = "What is embedded",
     .help = "a text a line, beside those on the command line; - is standard input",
     .brief = 1},
    {.name = "pooling",
     .arg = "HOW",
     .type = NB_CLI_STRING,
     .offset = AT(pooling),
     .fallback = "(the model's)",
     .group = "What is embedded",
     .help = "mean, cls or last: which hidden states make the vector",
     .brief = 1},
    {.name = "ctx",
     .letter = 'c',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(ctx),
     .fallback = "(the model's, at most 4096)",
     .group = "What is embedded",
     .help = "tokens of a text that are read"},
    {.name = "raw",
     .type = NB_CLI_FLAG,
     .offset = AT(raw),
     .group = "What is embedded",
     .help = "leave the vectors at the length they have, instead of 1",
     .alias = "no-normalize"},
    {.name = "similarity",
     .type = NB_CLI_FLAG,
     .offset = AT(similarity),
     .group = "What is shown",
     .help = "the cosine similarity of each text with each, instead of the vectors",
     .brief = 1},
    {.name = "against",
     .arg = "REF",
     .type = NB_CLI_STRING,
     .offset = AT(against),
     .group = "What is shown",
     .help = "compare the similarity of --pairs with what model REF says",
     .alias = "base",
     .brief = 1},
    {.name = "pairs",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(pairs),
     .fallback = "(lines of the bundled text)",
     .group = "What is shown",
     .help = "for --against: two texts a line with a tab between, or two lines"},
    {.name = "min-spearman",
     .arg = "R",
     .type = NB_CLI_REAL,
     .offset = AT(min_spearman),
     .group = "What is shown",
     .help = "for --against: exit with 4 if the ranks of similarities correlate less"},
    {0},
};

/* ---- comparing ---- */

static int compare(struct nb_cli *cli, const struct args *a, const char *model)
{
    static char path[1200];
    struct nb_embed_options o;
    struct nb_embed_compare_result r;
    const char *pairs = a->pairs;
    struct nb_jw w;
    int code;

    nb_embed_options_init(&o);
    o.ctx = a->ctx;
    o.pooling = a->pooling;
    if (pairs == NULL) {
        if (!nb_cli_data_path(path, sizeof path, "calibration.txt"))
            return nb_cli_usage(cli, "--pairs FILE is missing, and the bundled text is not here");
        nb_cli_note(cli, "no --pairs: taking the lines of the bundled public-domain prose");
        pairs = path;
    }
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    enum nb_status status = nb_embed_compare(ctx, a->against, model, pairs, &o, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (a->common.json) {
        nb_jw_begin(&w, stdout);
        nb_jw_string(&w, "model", model);
        nb_jw_string(&w, "against", a->against);
        nb_jw_u64(&w, "texts", r.texts);
        nb_jw_u64(&w, "pairs", r.pairs);
        nb_jw_real(&w, "cosine_mean", r.cosine_mean);
        nb_jw_real(&w, "cosine_min", r.cosine_min);
        nb_jw_real(&w, "error_mean", r.error_mean);
        nb_jw_real(&w, "error_max", r.error_max);
        nb_jw_real(&w, "spearman", r.spearman);
        nb_jw_real(&w, "reference_mean", r.reference_mean);
        nb_jw_finish(&w);
    } else {
        printf("%llu pairs: similarity off by %.5f on average, %.5f at most; ranks correlate %.5f; "
               "cosine of a text's two vectors %.5f on average, %.5f at least\n",
               (unsigned long long)r.pairs, r.error_mean, r.error_max, r.spearman, r.cosine_mean,
               r.cosine_min);
    }
    if (!isnan(a->min_spearman) && r.spearman < a->min_spearman)
        return nb_cli_error(NB_CLI_BOUND_MISSED, "rank correlation %.5f is below %g", r.spearman,
                            a->min_spearman);
    return NB_CLI_OK;
}

/* ---- embedding ---- */

struct texts {
    const char **text; /* (n) */
    size_t n;
    char *file; /* owned: what the lines point into */
};

static bool add_text(struct texts *t, const char *text)
{
    const char **more = realloc(t->text, (t->n + 1) * sizeof *more);
    if (more == NULL)
        return false;
    t->text = more;
    t->text[t->n++] = text;
    return true;
}

static int gather(struct nb_cli *cli, const struct args *a, int n, char **positional,
                  struct texts *t)
{
    size_t bytes;

    for (int i = 1; i < n; i++)
        if (!add_text(t, positional[i]))
            return nb_cli_error(NB_CLI_FAILED, "out of memory");
    if (a->input != NULL) {
        t->file = nb_cli_read_file(cli, a->input, &bytes);
        if (t->file == NULL)
            return nb_cli_fail(cli, cli->err.status);
        for (char *line = t->file; *line != '\0';) {
            const size_t length = strcspn(line, "\r\n");
            char *end = line + length;
            if (*end != '\0')
                *end++ = '\0';
            if (length > 0 && !add_text(t, line))
                return nb_cli_error(NB_CLI_FAILED, "out of memory");
            line = end;
        }
    }
    if (t->n == 0)
        return nb_cli_usage(cli, "no text: give some behind MODEL, or --input FILE");
    return NB_CLI_OK;
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0, aa = 0.0, bb = 0.0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? sum / sqrt(aa * bb) : 0;
}

static void show_json(const struct args *a, const char *model, const char *pooling,
                      const struct texts *t, const float *v, size_t width)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "model", model);
    nb_jw_string(&w, "pooling", pooling);
    nb_jw_u64(&w, "width", width);
    nb_jw_array(&w, a->similarity ? "similarity" : "embeddings");
    for (size_t i = 0; i < t->n; i++) {
        nb_jw_array(&w, NULL);
        for (size_t k = 0; k < (a->similarity ? t->n : width); k++)
            nb_jw_real(&w, NULL,
                       a->similarity ? dot(v + i * width, v + k * width, width)
                                     : (double)v[i * width + k]);
        nb_jw_end(&w);
    }
    nb_jw_end(&w);
    nb_jw_finish(&w);
}

static void show(const struct args *a, const struct texts *t, const float *v, size_t width)
{
    for (size_t i = 0; i < t->n; i++) {
        const size_t n = a->similarity ? t->n : width;
        for (size_t k = 0; k < n; k++) {
            if (a->similarity)
                printf("%.4f", dot(v + i * width, v + k * width, width));
            else
                printf("%.7g", (double)v[i * width + k]);
            putchar(k + 1 < n ? ' ' : '\n');
        }
    }
}

/* Into v (texts, width), with a progress line; Ctrl-C ends it. */
static enum nb_status embed_texts(struct nb_cli *cli, nb_embedder *e, const struct texts *t,
                                  float *v)
{
    const size_t width = nb_embedder_width(e);
    enum nb_status status = NB_OK;

    for (size_t i = 0; status == NB_OK && i < t->n; i++) {
        if (nb_cli_progress_fn(&cli->progress, "embedding", i, t->n, "texts") != 0) {
            cli->err = (struct nb_error){.status = NB_ERR_CANCELLED};
            snprintf(cli->err.message, sizeof cli->err.message, "cancelled after %zu texts", i);
            return NB_ERR_CANCELLED;
        }
        status =
            nb_embedder_embed(e, t->text[i], strlen(t->text[i]), v + i * width, NULL, &cli->err);
    }
    return status;
}

static int embed_all(struct nb_cli *cli, const struct args *a, const char *model,
                     const struct texts *t)
{
    struct nb_embed_options o;
    nb_embedder *e = NULL;
    float *v = NULL;
    int code = NB_CLI_OK;

    nb_embed_options_init(&o);
    o.ctx = a->ctx;
    o.pooling = a->pooling;
    o.raw = a->raw;
    nb_context *ctx = nb_cli_context(cli, &code);
    if (ctx == NULL)
        return code;
    enum nb_status status = nb_embedder_create(&e, ctx, model, &o, &cli->err);
    const size_t width = status == NB_OK ? nb_embedder_width(e) : 0;
    if (status == NB_OK && (v = calloc(t->n * width, sizeof *v)) == NULL)
        code = nb_cli_error(NB_CLI_FAILED, "out of memory for %zu vectors", t->n);
    if (status == NB_OK && code == NB_CLI_OK)
        status = embed_texts(cli, e, t, v);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        code = nb_cli_fail(cli, status);
    else if (code == NB_CLI_OK && a->common.json)
        show_json(a, model, nb_embedder_pooling(e), t, v, width);
    else if (code == NB_CLI_OK)
        show(a, t, v, width);
    free(v);
    nb_embedder_destroy(e);
    return code;
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct args *a = args;
    struct texts t = {NULL, 0, NULL};

    if (a->against != NULL && (n > 1 || a->input != NULL))
        return nb_cli_usage(cli, "--against compares --pairs; it takes no other texts");
    if (a->against == NULL && a->pairs != NULL)
        return nb_cli_usage(cli, "--pairs needs --against REF");
    if (a->against != NULL)
        return compare(cli, a, positional[0]);
    int code = gather(cli, a, n, positional, &t);
    if (code == NB_CLI_OK)
        code = embed_all(cli, a, positional[0], &t);
    free(t.text);
    free(t.file);
    return code;
}

const struct nb_cli_verb nb_cli_verb_embed = {
    .name = "embed",
    .synopsis = "MODEL [TEXT...]",
    .summary = "turn texts into vectors whose cosine says how alike they are",
    .description =
        "Prints one vector a line for each text: the model's hidden states pooled as the model "
        "wants it, scaled to length 1. Sentence encoders (BERT, MiniLM, BGE) and decoders both "
        "work. The same numbers come out for any number of threads on every machine.\n"
        "\n"
        "With --against the command runs pairs of texts through MODEL and REF and says what "
        "quantization did to their similarity.",
    .examples = "nibble embed all-MiniLM-L6-v2 \"a cat\" \"a kitten\" \"a car\" --similarity\n"
                "nibble quantize all-MiniLM-L6-v2 minilm-q8.gguf q8_0\n"
                "nibble embed minilm-q8.gguf --against all-MiniLM-L6-v2 --pairs pairs.tsv",
    .options = options,
    .args_bytes = sizeof(struct args),
    .min_positional = 1,
    .max_positional = -1,
    .run = run,
};
