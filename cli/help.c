/* cli/help.c: the verbs' tables as text: -h, --help, docs/cli.md, man pages (scdoc). */
#include "cli.h"

#include <string.h>

static const char exit_line[] =
    "0 ok, 1 failed, 2 usage, 3 bad input, 4 a bound asked for was missed, 130 interrupted";

/* Prints text wrapped at 79 columns; every line begins with `indent` spaces, the first at `column`. */
static void wrap(FILE *f, const char *text, int indent, int column)
{
    bool begun = false;

    while (*text != '\0') {
        int word = (int)strcspn(text, " \n");
        if (begun && column + 1 + word > 79) {
            fputc('\n', f);
            column = 0;
            begun = false;
        }
        if (begun && word > 0)
            column += fprintf(f, " ");
        else if (!begun && word > 0 && column < indent)
            column += fprintf(f, "%*s", indent - column, "");
        column += fprintf(f, "%.*s", word, text);
        begun = begun || word > 0;
        text += word;
        if (*text == '\n') {
            fputc('\n', f);
            column = 0;
            begun = false;
        }
        text += *text != '\0';
    }
    fputc('\n', f);
}

/* "-o, --output FILE" */
static void option_label(char *label, size_t cap, const struct nb_cli_opt *o)
{
    const char *arg = o->arg != NULL ? o->arg : "", *space = o->arg != NULL ? " " : "";

    if (o->type == NB_CLI_BRIEF)
        snprintf(label, cap, "-%c", o->letter);
    else if (o->letter != 0)
        snprintf(label, cap, "-%c, --%s%s%s", o->letter, o->name, space, arg);
    else
        snprintf(label, cap, "    --%s%s%s%s", o->type == NB_CLI_SWITCH ? "[no-]" : "", o->name,
                 space, arg);
}

/* Help, then the default and the second name. */
static void option_text(char *text, size_t cap, const struct nb_cli_opt *o)
{
    const char *fallback = o->fallback != NULL ? o->fallback : "";
    size_t n = strlen(fallback);
    char alias[64] = "";
    char shown[96] = "";

    if (n > 1 && fallback[0] == '(')
        snprintf(shown, sizeof shown, " [%.*s]", (int)n - 2, fallback + 1);
    else if (n > 0)
        snprintf(shown, sizeof shown, " [%s]", fallback);
    if (o->alias != NULL)
        snprintf(alias, sizeof alias, " (also --%s)", o->alias);
    snprintf(text, cap, "%s%s%s", o->help, shown, alias);
}

static void print_option(FILE *f, const struct nb_cli_opt *o)
{
    char label[80], text[512];

    option_label(label, sizeof label, o);
    option_text(text, sizeof text, o);
    int column = fprintf(f, "  %s", label);
    if (column > 28) {
        fputc('\n', f);
        column = 0;
    }
    wrap(f, text, 30, column);
}

void nb_cli_help_all(FILE *f)
{
    fprintf(f, "usage: nibble VERB [options]\n\n");
    fprintf(f, "Makes neural networks small, says what that cost, runs them.\n\n");
    for (size_t i = 0; nb_cli_verbs[i] != NULL; i++)
        fprintf(f, "  %-10s %s\n", nb_cli_verbs[i]->name, nb_cli_verbs[i]->summary);
    fprintf(f, "\nfor example:\n");
    fprintf(f, "  nibble quantize model-folder --type q4_k_m\n");
    fprintf(f, "  nibble eval model-q4_k_m.gguf --against model-folder --text book.txt\n");
    fprintf(f, "  nibble run model-q4_k_m.gguf -p \"Once upon a time\"\n\n");
    fprintf(f, "'nibble VERB -h' is short, 'nibble VERB --help' complete, 'nibble --version'.\n");
}

static void usage_line(FILE *f, const struct nb_cli_verb *v)
{
    fprintf(f, "usage: nibble %s%s%s [options]\n", v->name, v->synopsis[0] != '\0' ? " " : "",
            v->synopsis);
}

void nb_cli_help_brief(FILE *f, const struct nb_cli_verb *verb)
{
    const struct nb_cli_opt *const tables[] = {verb->options, nb_cli_common_options};

    usage_line(f, verb);
    fprintf(f, "%s\n\n", verb->summary);
    for (int t = 0; t < 2; t++)
        for (const struct nb_cli_opt *o = tables[t]; o->name != NULL; o++)
            if (o->brief)
                print_option(f, o);
    fprintf(f, "\n'nibble %s --help' tells all.\n", verb->name);
}

/* Calls each for every option, group by group in the order of the tables. */
static void for_options(FILE *f, const struct nb_cli_verb *verb,
                        void (*heading)(FILE *f, const char *group),
                        void (*each)(FILE *f, const struct nb_cli_opt *o))
{
    const struct nb_cli_opt *const tables[] = {verb->options, nb_cli_common_options};

    for (int t = 0; t < 2; t++)
        for (const struct nb_cli_opt *o = tables[t]; o->name != NULL; o++) {
            if (o == tables[t] || strcmp(o->group, o[-1].group) != 0)
                heading(f, o->group);
            each(f, o);
        }
}

static void plain_heading(FILE *f, const char *group)
{
    fprintf(f, "\n%s:\n", group);
}

void nb_cli_help_full(FILE *f, const struct nb_cli_verb *verb)
{
    usage_line(f, verb);
    fputc('\n', f);
    wrap(f, verb->description, 0, 0);
    for_options(f, verb, plain_heading, print_option);
    fprintf(f, "\nExamples:\n");
    for (const char *line = verb->examples; *line != '\0';) {
        int n = (int)strcspn(line, "\n");
        fprintf(f, "  %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
    fprintf(f, "\nExit status: ");
    wrap(f, exit_line, 13, 13);
}

/* ---- Markdown ---- */
static void put_cell(FILE *f, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', f);
        fputc(*text, f);
    }
}

static void markdown_heading(FILE *f, const char *group)
{
    fprintf(f, "\n**%s**\n\n| option | what it does |\n|---|---|\n", group);
}

static void markdown_option(FILE *f, const struct nb_cli_opt *o)
{
    char label[80], text[512];

    option_label(label, sizeof label, o);
    option_text(text, sizeof text, o);
    fprintf(f, "| `%s` | ", label + strspn(label, " "));
    put_cell(f, text);
    fprintf(f, " |\n");
}

void nb_cli_help_markdown(FILE *f)
{
    fprintf(f, "# The command\n\n");
    fprintf(f, "<!-- Made by `nibble help --markdown`; the tables in cli/ are the source. -->\n\n");
    fprintf(f,
            "`nibble VERB [options]`. Results go to standard output, everything else to standard "
            "error.\nOptions and arguments may come in any order; a long option may be cut short "
            "while it stays unambiguous.\n\n");
    fprintf(f, "Exit status: %s.\n\n", exit_line);
    fprintf(f, "| verb | does |\n|---|---|\n");
    for (size_t i = 0; nb_cli_verbs[i] != NULL; i++)
        fprintf(f, "| [%s](#nibble-%s) | %s |\n", nb_cli_verbs[i]->name, nb_cli_verbs[i]->name,
                nb_cli_verbs[i]->summary);
    for (size_t i = 0; nb_cli_verbs[i] != NULL; i++) {
        const struct nb_cli_verb *v = nb_cli_verbs[i];
        fprintf(f, "\n## nibble %s\n\n```\nnibble %s%s%s [options]\n```\n\n", v->name, v->name,
                v->synopsis[0] != '\0' ? " " : "", v->synopsis);
        wrap(f, v->description, 0, 0);
        for_options(f, v, markdown_heading, markdown_option);
        fprintf(f, "\n```sh\n%s\n```\n", v->examples);
    }
}

/* ---- scdoc ---- */
static void put_scdoc(FILE *f, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("_*\\~#", *text) != NULL)
            fputc('\\', f);
        fputc(*text, f);
    }
}

static void man_heading(FILE *f, const char *group)
{
    fprintf(f, "## %s\n\n", group);
}

static void man_option(FILE *f, const struct nb_cli_opt *o)
{
    char text[512];

    option_text(text, sizeof text, o);
    if (o->letter != 0)
        fprintf(f, "*-%c*%s", o->letter, o->type == NB_CLI_BRIEF ? "" : ", ");
    if (o->type != NB_CLI_BRIEF)
        fprintf(f, "*--%s%s*", o->type == NB_CLI_SWITCH ? "[no-]" : "", o->name);
    if (o->arg != NULL) {
        fputs(" _", f);
        put_scdoc(f, o->arg);
        fputc('_', f);
    }
    fputs("\n\t", f);
    put_scdoc(f, text);
    fputs("\n\n", f);
}

static void man_examples(FILE *f, const char *examples)
{
    fprintf(f, "# EXAMPLES\n\n```\n%s\n```\n\n", examples);
}

static void man_all(FILE *f)
{
    fprintf(f,
            "nibble(1)\n\n# NAME\n\nnibble - make neural networks small, say what that cost, run "
            "them\n\n# SYNOPSIS\n\n*nibble* _VERB_ [options]\n\n# DESCRIPTION\n\n");
    for (size_t i = 0; nb_cli_verbs[i] != NULL; i++) {
        fprintf(f, "*nibble-%s*(1)\n\t", nb_cli_verbs[i]->name);
        put_scdoc(f, nb_cli_verbs[i]->summary);
        fputs("\n\n", f);
    }
    fprintf(f, "Results go to standard output, everything else to standard error. Options and "
               "arguments may come in any order.\n\n");
    fprintf(f,
            "*nibble --version*\n\tprint the version\n\n*nibble help* [_VERB_]\n\tsame as *nibble* "
            "_VERB_ *--help*\n\n");
    man_examples(f, "nibble quantize model-folder --type q4_k_m\n"
                    "nibble eval model-q4_k_m.gguf --against model-folder --text book.txt\n"
                    "nibble run model-q4_k_m.gguf -p \"Once upon a time\"");
}

void nb_cli_help_man(FILE *f, const struct nb_cli_verb *v)
{
    if (v == NULL) {
        man_all(f);
    } else {
        fprintf(f, "nibble-%s(1)\n\n# NAME\n\nnibble-%s - ", v->name, v->name);
        put_scdoc(f, v->summary);
        fprintf(f, "\n\n# SYNOPSIS\n\n*nibble %s* ", v->name);
        put_scdoc(f, v->synopsis);
        fprintf(f, " [options]\n\n# DESCRIPTION\n\n");
        put_scdoc(f, v->description);
        fprintf(f, "\n\n# OPTIONS\n\n");
        for_options(f, v, man_heading, man_option);
        man_examples(f, v->examples);
    }
    fprintf(f,
            "# ENVIRONMENT\n\n*NIBBLE\\_THREADS*\n\tthreads, where *--threads* is not given\n\n"
            "*NIBBLE\\_ISA*\n\thighest instruction set to use: ref, avx2, avx512vnni, neon, "
            "dotprod; results do not depend on it\n\n"
            "*NIBBLE\\_DATA*\n\tfolder of the bundled texts\n\n"
            "# EXIT STATUS\n\n%s\n",
            exit_line);
    if (v != NULL)
        fprintf(f, "\n# SEE ALSO\n\n*nibble*(1)\n");
}
