/* cli/evaluate.h: what eval, compare and quantize --eval share. */
#ifndef NB_CLI_EVALUATE_H
#define NB_CLI_EVALUATE_H

#include "cli.h"

/* The stable keys of eval, as members of the open object. */
void nb_evaluate_json(struct nb_jw *w, const struct nb_eval_result *e);
/* "windows of 1024 tokens, second half scored: 24 windows, 12288 tokens" */
void nb_evaluate_convention(FILE *f, const struct nb_eval_result *e);
/* Reference, model, difference, each with its standard error. */
void nb_evaluate_table(FILE *f, const struct nb_eval_result *e);
/* --text, or the bundled text (said in a note). NULL: told, *code set. Static storage. */
const char *nb_evaluate_text(struct nb_cli *cli, const char *given, int *code);

#endif
