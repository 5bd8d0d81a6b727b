/* cli/verb_doctor.c: what this machine has and can. */
#include "cli.h"

#include <string.h>

static const struct nb_cli_opt options[] = {{0}};

static void json_kernels(struct nb_jw *w)
{
    struct nb_list_item item;

    nb_jw_array(w, "kernels");
    for (size_t i = 0; nb_list("kernels", i, &item) == NB_OK; i++) {
        nb_jw_object(w, NULL);
        nb_jw_string(w, "name", item.name);
        nb_jw_string(w, "isa", item.summary);
        nb_jw_bool(w, "usable", item.usable);
        nb_jw_end(w);
    }
    nb_jw_end(w);
}

static void print_json(const struct nb_doctor_result *r)
{
    struct nb_jw w;

    nb_jw_begin(&w, stdout);
    nb_jw_string(&w, "version", nb_version());
    nb_jw_string(&w, "cpu", r->cpu);
    nb_jw_string(&w, "isa", r->isa);
    nb_jw_string(&w, "isa_available", r->isa_available);
    nb_jw_u64(&w, "cores", r->cores);
    nb_jw_u64(&w, "threads", r->threads);
    nb_jw_u64(&w, "ram_bytes", r->ram_bytes);
    nb_jw_u64(&w, "ram_available_bytes", r->ram_available_bytes);
    nb_jw_real(&w, "read_bandwidth", r->read_bandwidth);
    nb_jw_real(&w, "float_ops", r->float_ops);
    nb_jw_real(&w, "int_ops", r->int_ops);
    json_kernels(&w);
    nb_jw_finish(&w);
}

static void print_text(const struct nb_doctor_result *r, bool kernels)
{
    struct nb_list_item item;

    printf("nibble    %s\n", nb_version());
    printf("cpu       ");
    nb_cli_puts_safe(stdout, r->cpu, strlen(r->cpu));
    printf("\ncores     %u, of which %u threads are used\n", r->cores, r->threads);
    printf("isa       %s is used; the CPU offers %s\n", r->isa, r->isa_available);
    printf("memory    %s, %s available\n", nb_cli_bytes(r->ram_bytes).s,
           nb_cli_bytes(r->ram_available_bytes).s);
    printf("reading   %.1f GB/s\n", r->read_bandwidth / 1e9);
    printf("float     %.1f billion operations per second (f32; a multiply-add is two)\n",
           r->float_ops / 1e9);
    printf("integer   %.1f billion operations per second (s8)\n", r->int_ops / 1e9);
    if (!kernels)
        return;
    printf("kernels\n");
    for (size_t i = 0; nb_list("kernels", i, &item) == NB_OK; i++)
        printf("  %-28s %-12s %s\n", item.name, item.summary, item.usable ? "" : "not on this CPU");
}

static int run(struct nb_cli *cli, void *args, int n, char **positional)
{
    struct nb_doctor_result r;
    int code = NB_CLI_OK;
    nb_context *ctx = nb_cli_context(cli, &code);

    (void)args;
    (void)n;
    (void)positional;
    if (ctx == NULL)
        return code;
    enum nb_status status = nb_doctor(ctx, &r, &cli->err);
    nb_cli_progress_clear(&cli->progress);
    if (status != NB_OK)
        return nb_cli_fail(cli, status);
    if (cli->common->json)
        print_json(&r);
    else
        print_text(&r, cli->common->verbose);
    return NB_CLI_OK;
}

const struct nb_cli_verb nb_cli_verb_doctor = {
    .name = "doctor",
    .synopsis = "",
    .summary = "say what this machine has and can",
    .description =
        "Shows the instruction sets, and measures how fast memory is read and how many float "
        "and integer operations are done per second, all threads together. bench compares "
        "models with these figures. With -v the kernels are listed.",
    .examples = "nibble doctor\n"
                "NIBBLE_ISA=avx2 nibble doctor --json",
    .options = options,
    .args_bytes = sizeof(struct nb_cli_common),
    .min_positional = 0,
    .max_positional = 0,
    .run = run,
};
