/* cli/verb_run.c: continues a text, or chats on a terminal; runs a net. */
#include "generate.h"
#include "net.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
    struct nb_cli_common common;
    const char *prompt, *file, *kv_type, *system, *date, *chat_vars;
    uint32_t tokens, ctx, top_k, repeat_last;
    double temp, top_p, min_p, repeat_penalty;
    uint64_t seed;
    struct nb_cli_list stop;
    int32_t echo, special, chat;
    struct nb_cli_net_args net; /* of nets, from here on */
    struct nb_cli_list outputs;
    const char *labels, *dump;
    uint32_t repeat;
    int32_t profile, force;
};
#define AT(field) offsetof(struct args, field)

static const struct nb_cli_opt options[] = {
    {.name = "prompt",
     .letter = 'p',
     .arg = "TEXT",
     .type = NB_CLI_STRING,
     .offset = AT(prompt),
     .group = "Text",
     .help = "question or text; without -p and -f: standard input, or a chat on a terminal",
     .brief = 1},
    {.name = "file",
     .letter = 'f',
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(file),
     .group = "Text",
     .help = "take the question or text from a file; '-' is standard input",
     .brief = 1},
    {.name = "tokens",
     .letter = 'n',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(tokens),
     .fallback = "256",
     .group = "Text",
     .help = "tokens to generate at most; 0: until the text ends or the context is full",
     .alias = "predict",
     .brief = 1},
    {.name = "stop",
     .arg = "TEXT",
     .type = NB_CLI_LIST,
     .offset = AT(stop),
     .group = "Text",
     .help = "end before this text; repeatable",
     .brief = 1},
    {.name = "chat",
     .type = NB_CLI_SWITCH,
     .offset = AT(chat),
     .fallback = "(if the model can)",
     .group = "Chat",
     .help = "answer the prompt; --no-chat: continue it as plain text",
     .brief = 1},
    {.name = "system",
     .arg = "TEXT",
     .type = NB_CLI_STRING,
     .offset = AT(system),
     .group = "Chat",
     .help = "the system message: what the model is to be",
     .brief = 1},
    {.name = "chat-vars",
     .arg = "JSON",
     .type = NB_CLI_STRING,
     .offset = AT(chat_vars),
     .group = "Chat",
     .help = "variables that the chat template looks at, such as {\"enable_thinking\": false}",
     .alias = "chat-template-kwargs"},
    {.name = "date",
     .arg = "DATE",
     .type = NB_CLI_STRING,
     .offset = AT(date),
     .fallback = "(today)",
     .group = "Chat",
     .help = "what chat templates that ask take for today, as 2024-07-26"},
    {.name = "echo",
     .type = NB_CLI_FLAG,
     .offset = AT(echo),
     .group = "Text",
     .help = "print the prompt too, as the model is given it"},
    {.name = "special",
     .type = NB_CLI_SWITCH,
     .offset = AT(special),
     .fallback = "on",
     .group = "Text",
     .help = "recognize tokens such as <|endoftext|> in a text to continue; in a chat they never "
             "are"},
    {.name = "ctx",
     .letter = 'c',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(ctx),
     .fallback = "(the model's, at most 4096)",
     .group = "Text",
     .help = "tokens the model can look back on"},
    {.name = "kv-type",
     .arg = "TYPE",
     .type = NB_CLI_STRING,
     .offset = AT(kv_type),
     .fallback = "f16",
     .group = "Text",
     .help = "number format of the attention cache: f16 or f32"},
    {.name = "temp",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(temp),
     .fallback = "0.8",
     .group = "Sampling",
     .help = "temperature; 0 always takes the most likely token",
     .alias = "temperature",
     .brief = 1},
    {.name = "top-k",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(top_k),
     .fallback = "40",
     .group = "Sampling",
     .help = "choose among the N most likely tokens; 0: all"},
    {.name = "top-p",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(top_p),
     .fallback = "0.95",
     .group = "Sampling",
     .help = "choose among the most likely tokens that make up this probability; 1: all"},
    {.name = "min-p",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(min_p),
     .fallback = "0.05",
     .group = "Sampling",
     .help = "leave out tokens less likely than X times the most likely one"},
    {.name = "repeat-penalty",
     .arg = "X",
     .type = NB_CLI_REAL,
     .offset = AT(repeat_penalty),
     .fallback = "1",
     .group = "Sampling",
     .help = "make recent tokens less likely; 1: off"},
    {.name = "repeat-last",
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(repeat_last),
     .fallback = "64",
     .group = "Sampling",
     .help = "how many tokens are recent"},
    {.name = "seed",
     .letter = 's',
     .arg = "N",
     .type = NB_CLI_U64,
     .offset = AT(seed),
     .fallback = "42",
     .group = "Sampling",
     .help = "the same seed gives the same text",
     .brief = 1},
    NB_CLI_NET_OPTIONS(AT(net)),
    {.name = "output",
     .letter = 'o',
     .arg = "WHERE",
     .type = NB_CLI_LIST,
     .offset = AT(outputs),
     .group = "Nets",
     .help = "write outputs as .npy: FOLDER or NAME=FILE",
     .brief = 1},
    {.name = "labels",
     .arg = "FILE",
     .type = NB_CLI_STRING,
     .offset = AT(labels),
     .group = "Nets",
     .help = "names of classes, one a line: show the five best of an output with so many"},
    {.name = "repeat",
     .letter = 'r',
     .arg = "N",
     .type = NB_CLI_U32,
     .offset = AT(repeat),
     .fallback = "1",
     .group = "Nets",
     .help = "runs; the time is their median"},
    {.name = "profile",
     .type = NB_CLI_FLAG,
     .offset = AT(profile),
     .group = "Nets",
     .help = "time of each operator and node"},
    {.name = "dump",
     .arg = "FOLDER",
     .type = NB_CLI_STRING,
     .offset = AT(dump),
     .group = "Nets",
     .help = "write every value between the nodes of the file as .npy too, named in values.tsv"},
    {.name = "force",
     .type = NB_CLI_FLAG,
     .offset = AT(force),
     .group = "Nets",
     .help = "overwrite files of outputs and values"},
    {0},
};

/* The prompt: -p, -f, or standard input. NULL with code 0: chat. */
static char *read_prompt(struct nb_cli *cli, const struct args *a, size_t *n, int *code)
{
    const char *path = a->file;
    char *text;

    *code = NB_CLI_OK;
    if (a->prompt != NULL && a->file != NULL) {
        *code = nb_cli_usage(cli, "-p and -f exclude each other");
        return NULL;
    }
    if (a->prompt != NULL) {
        *n = strlen(a->prompt);
        text = strdup(a->prompt);
        if (text == NULL)
            *code = nb_cli_error(NB_CLI_FAILED, "out of memory");
        return text;
    }
    if (path == NULL && isatty(0)) {
        if (a->common.json)
            *code = nb_cli_usage(cli, "--json needs a prompt: -p or -f");
        return NULL;
    }
    text = nb_cli_read_file(cli, path != NULL ? path : "-", n);
    if (text == NULL)
        *code = nb_cli_fail(cli, cli->err.status);
    return text;
}

static int make_generator(struct nb_cli *cli, const struct args *a, const char *model,
                          nb_generator **generator)
{
    struct nb_generate_options o;
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);

    if (ctx == NULL)
        return code;
    nb_generate_options_init(&o);
    o.ctx = a->ctx;
    o.kv_type = a->kv_type;
    o.temperature = (float)a->temp;
    o.top_k = a->top_k;
    o.top_p = (float)a->top_p;
    o.min_p = (float)a->min_p;
    o.repeat_penalty = (float)a->repeat_penalty;
    o.repeat_last = a->repeat_last;
    o.seed = a->seed;
    enum nb_status status = nb_generator_create(generator, ctx, model, &o, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    return status == NB_OK ? NB_CLI_OK : nb_cli_fail(cli, status);
}

/* What a run is reported with. */
struct outcome {
    const char *model, *chat; /* chat: family of the template applied; NULL: none */
    uint32_t n_prompt;
    double prompt_seconds;
};

static double rate(uint32_t n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static void print_json(const struct args *a, const struct outcome *o, const struct nb_generation *g)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "model", o->model);
    nb_jw_string(&w, "chat_template", o->chat);
    nb_jw_text(&w, "text", g->sink.text != NULL ? g->sink.text : "", g->sink.len);
    nb_jw_u64(&w, "prompt_tokens", o->n_prompt);
    nb_jw_u64(&w, "tokens", g->n);
    nb_jw_array(&w, "token_ids");
    for (uint32_t i = 0; i < g->n && i < g->max_ids; i++)
        nb_jw_u64(&w, NULL, g->ids[i]);
    nb_jw_end(&w);
    nb_jw_string(&w, "end", nb_end_name(g->end));
    nb_jw_u64(&w, "seed", a->seed);
    nb_jw_real(&w, "prefill_tok_s", rate(o->n_prompt, o->prompt_seconds));
    nb_jw_real(&w, "decode_tok_s", rate(g->n, g->seconds));
    nb_jw_finish(&w);
}

static const char *family(const nb_generator *generator)
{
    const char *name = nb_generator_chat_family(generator);

    return name != NULL ? name : "unknown family";
}

/* The prompt becomes the context: as a message, or as it stands. */
static enum nb_status feed(const struct args *a, nb_generator *generator, struct nb_conversation *c,
                           const char *prompt, size_t n, struct nb_generation *g,
                           struct nb_error *err)
{
    enum nb_status status;

    if (c == NULL)
        status = nb_generator_feed(generator, prompt, n, a->special, 1, err);
    else
        status = nb_conversation_say(c, generator, prompt, n, err);
    if (status == NB_OK && c != NULL && a->echo)
        status =
            nb_generator_chat_render(generator, c->messages, c->n, &c->options, &prompt, &n, err);
    if (status == NB_OK && a->echo && !nb_sink_put(&g->sink, prompt, n)) {
        snprintf(err->message, sizeof err->message, "out of memory");
        status = err->status = NB_ERR_NOMEM;
    }
    return status;
}

static int answer(struct nb_cli *cli, const struct args *a, nb_generator *generator,
                  struct nb_conversation *c, const char *prompt, size_t n, struct nb_generation *g,
                  const char *model)
{
    struct outcome o = {.model = model, .chat = c != NULL ? family(generator) : NULL};
    double start = nb_cli_seconds();
    enum nb_status status;

    status = feed(a, generator, c, prompt, n, g, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    o.prompt_seconds = nb_cli_seconds() - start;
    o.n_prompt = nb_generator_position(generator);
    status = nb_generate_stream(generator, g, &cli->err);
    if (!a->common.json)
        fputc('\n', stdout);
    fflush(stdout);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (a->common.json)
        print_json(a, &o, g);
    else
        nb_cli_note(cli,
                    "prompt %u tokens, %.0f tok/s; generated %u tokens, %.1f tok/s (ended: %s)",
                    o.n_prompt, rate(o.n_prompt, o.prompt_seconds), g->n, rate(g->n, g->seconds),
                    nb_end_name(g->end));
    return g->end == NB_END_CANCELLED ? 128 + nb_cli_cancelled() : NB_CLI_OK;
}

/* Is this a chat? *yes; asked for and impossible: an exit code. */
static int choose_chat(struct nb_cli *cli, const struct args *a, const nb_generator *generator,
                       bool *yes)
{
    struct nb_error why;
    const enum nb_status status = nb_generator_chat_check(generator, &why);
    const bool asked = a->chat > 0 || a->system != NULL || a->chat_vars != NULL || a->date != NULL;

    *yes = a->chat != 0 && status == NB_OK;
    if (status != NB_OK && asked) {
        cli->err = why;
        return nb_cli_fail(cli, status);
    }
    if (*yes)
        nb_cli_note(cli, "chat template: %s (--no-chat continues the prompt as plain text)",
                    family(generator));
    else if (a->chat != 0 && status != NB_ERR_NOT_FOUND)
        nb_cli_note(cli,
                    "the model's chat template is one that nibble cannot apply, so the prompt is "
                    "continued as plain text: %s",
                    why.message);
    return NB_CLI_OK;
}

static int run_net(struct nb_cli *cli, const struct args *a, const char *path)
{
    const struct nb_cli_net_run_args net = {.in = &a->net,
                                            .outputs = &a->outputs,
                                            .labels = a->labels,
                                            .dump = a->dump,
                                            .repeat = a->repeat,
                                            .json = a->common.json,
                                            .profile = a->profile,
                                            .force = a->force};

    return nb_cli_run_net(cli, path, &net);
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct args *a = args;
    struct nb_generation g = {.max_tokens = a->tokens};
    struct nb_conversation conversation = {.system = a->system};
    nb_generator *generator = NULL;
    size_t n_prompt = 0;
    bool chat = false;
    int code;

    (void)n;
    const bool net = nb_is_net(positional[0]);
    code = nb_cli_check_kind(cli, net ? NB_CLI_NET : NB_CLI_LANGUAGE, positional[0]);
    if (code != NB_CLI_OK)
        return code;
    if (net)
        return run_net(cli, a, positional[0]);
    if (a->chat == 0 && (a->system != NULL || a->chat_vars != NULL || a->date != NULL))
        return nb_cli_usage(cli, "--system, --chat-vars and --date are for a chat: not --no-chat");
    nb_chat_options_init(&conversation.options);
    conversation.options.variables = a->chat_vars;
    conversation.options.date = a->date;
    for (size_t i = 0; i < a->stop.n; i++)
        if (a->stop.items[i][0] == '\0')
            return nb_cli_usage(cli, "--stop needs some text");
    char *prompt = read_prompt(cli, a, &n_prompt, &code);
    if (code != NB_CLI_OK ||
        (code = make_generator(cli, a, positional[0], &generator)) != NB_CLI_OK) {
        free(prompt);
        return code;
    }
    g.stop = (struct nb_stop){.strings = a->stop.items, .n = a->stop.n};
    g.sink.stream = a->common.json ? NULL : stdout;
    g.sink.terminal = isatty(1);
    if (a->common.json) {
        g.max_ids = nb_generator_context(generator);
        g.ids = calloc(g.max_ids + 1, sizeof *g.ids);
        if (g.ids == NULL)
            g.max_ids = 0;
    }
    code = choose_chat(cli, a, generator, &chat);
    if (code == NB_CLI_OK && prompt != NULL)
        code = answer(cli, a, generator, chat ? &conversation : NULL, prompt, n_prompt, &g,
                      positional[0]);
    else if (code == NB_CLI_OK)
        code = nb_chat(cli, generator, &g, chat ? &conversation : NULL, a->special);
    nb_conversation_free(&conversation);
    nb_generator_destroy(generator);
    free(g.stop.held);
    free(g.sink.text);
    free(g.ids);
    free(prompt);
    return code;
}

const struct nb_cli_verb nb_cli_verb_run = {
    .name = "run",
    .synopsis = "MODEL | NET",
    .summary = "continue a text, chat on a terminal, or run a net",
    .description =
        "Answers a prompt and streams the text to standard output; the speed goes to standard "
        "error. If the model has a chat template the prompt is a message put into it, and the "
        "answer ends where the template ends one; --no-chat, or a model without a template, "
        "continues the prompt as it stands. A template that nibble cannot apply is said to be so. "
        "On a terminal without a prompt it takes turns: /reset forgets, /quit leaves, Ctrl-C "
        "stops an answer.\n"
        "\n"
        "A net in ONNX takes its inputs from .npy files (NAME= may be left out if there is one "
        "input; "
        "those without a file are zeros, and a note says so) and gives its outputs: type, shape, "
        "lowest, mean and highest value, or the values themselves if they are few. -o FOLDER "
        "writes "
        "all of them, -o NAME=FILE one, and is repeatable. Open dimensions take the sizes of the "
        "files, or those of --dim and --shape. Results are the same bits for any number of threads "
        "and any CPU.",
    .examples = "nibble run q.gguf -p \"Why is the sky blue?\" --system \"Answer in one line.\"\n"
                "nibble run q.gguf --no-chat -p \"Once upon a time\" -n 100\n"
                "nibble run q.gguf -f story.txt --temp 0 --stop \"THE END\"\n"
                "nibble run q.gguf\n"
                "nibble run net.onnx --input image.npy --labels classes.txt\n"
                "nibble run net.onnx -i x=x.npy --set sr=16000 -o results --profile",
    .options = options,
    .args_bytes = sizeof(struct args),
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
