/* eval/report_html.c: the page `nibble compare --html` writes: one file, no script, no network. */
#include "eval/eval.h"

#include <math.h>
#include <string.h>

#include "eval/svg.h"

static const char style[] =
    "<style>\n"
    ":root{--bg:#fff;--fg:#1b1f24;--muted:#5d6773;--rule:#dde2e8;"
    "--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#8a6d00;--c5:#56b4e9;--c6:#7a4fb5;--"
    "c7:#555}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e6e9ed;--muted:#9aa5b1;--rule:#"
    "2f3741;"
    "--c0:#5ab0e8;--c1:#ff8c42;--c2:#3fc79a;--c3:#e8a3cb;--c4:#d9b93b;--c5:#9ad6f5;--c6:#b396e6;--"
    "c7:#bbb}}\n"
    "body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;max-width:960px;"
    "margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}p.note{color:var(--muted)}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "th,td{padding:.3rem .6rem;border-bottom:1px solid "
    "var(--rule);text-align:right;white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}th{color:var(--muted);font-weight:500}\n"
    "svg{width:100%;height:auto;font:12px system-ui,sans-serif}\n"
    ".grid{stroke:var(--rule)}.tick,.label{fill:var(--muted)}.title{fill:var(--fg);font-weight:600;"
    "font-size:14px}.name{fill:var(--fg)}.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:5 "
    "4;"
    "stroke-width:1.5}\n"
    ".dot.s0,.key.s0{fill:var(--c0)}.line.s0{stroke:var(--c0)}.dot.s1,.key.s1{fill:var(--c1)}"
    ".line.s1{stroke:var(--c1)}.dot.s2,.key.s2{fill:var(--c2)}.line.s2{stroke:var(--c2)}"
    ".dot.s3,.key.s3{fill:var(--c3)}.line.s3{stroke:var(--c3)}.dot.s4,.key.s4{fill:var(--c4)}"
    ".line.s4{stroke:var(--c4)}.dot.s5,.key.s5{fill:var(--c5)}.line.s5{stroke:var(--c5)}"
    ".dot.s6,.key.s6{fill:var(--c6)}.line.s6{stroke:var(--c6)}.dot.s7,.key.s7{fill:var(--c7)}"
    ".line.s7{stroke:var(--c7)}\n"
    ".bar{display:inline-block;height:.8rem;background:var(--c0);vertical-align:middle}\n"
    "</style>\n";

static void cell(struct nb_str *out, int decimals, double v)
{
    if (isfinite(v))
        nb_str_printf(out, "<td>%.*f</td>", decimals, v);
    else
        nb_str_puts(out, "<td>&ndash;</td>");
}

static void model_row(struct nb_str *out, const struct nb_report_model *m, double ppl_ref)
{
    nb_str_puts(out, "<tr><td title=\"");
    nb_html_text(out, m->path);
    nb_str_puts(out, "\">");
    nb_html_text(out, m->type);
    nb_str_puts(out, "</td>");
    cell(out, 1, (double)m->bytes / 1e6);
    cell(out, 2, m->bpw);
    cell(out, 3, m->ppl);
    cell(out, 2, ppl_ref > 0 ? 100 * (m->ppl / ppl_ref - 1) : (double)NAN);
    cell(out, 5, m->kld_mean);
    cell(out, 4, m->kld_p99);
    cell(out, 1, isfinite(m->kld_mean) ? 100 * m->top1 : (double)NAN);
    cell(out, 1, m->decode_tok_s > 0 ? m->decode_tok_s : (double)NAN);
    cell(out, 0, m->prefill_tok_s > 0 ? m->prefill_tok_s : (double)NAN);
    nb_str_puts(out, "</tr>\n");
}

static void summary_table(struct nb_str *out, const struct nb_report *r)
{
    nb_str_puts(
        out,
        "<div class=\"scroll\"><table><thead><tr><th>model</th><th>MB</th><th>bits/weight</th>"
        "<th>perplexity</th><th>change %</th><th>KL mean</th><th>KL 99 %</th><th>same top-1 %</th>"
        "<th>decode tok/s</th><th>prefill tok/s</th></tr></thead><tbody>\n");
    model_row(out, &r->ref, 0);
    for (size_t i = 0; i < r->n_models; i++)
        model_row(out, &r->models[i], r->ref.ppl);
    nb_str_puts(out, "</tbody></table></div>\n");
}

/* True if no other model is both smaller and closer. */
static bool on_pareto(const struct nb_report *r, size_t i)
{
    for (size_t j = 0; j < r->n_models; j++)
        if (j != i && r->models[j].bytes <= r->models[i].bytes &&
            r->models[j].kld_mean <= r->models[i].kld_mean &&
            (r->models[j].bytes < r->models[i].bytes ||
             r->models[j].kld_mean < r->models[i].kld_mean))
            return false;
    return true;
}

static bool plottable(const struct nb_report_model *m)
{
    return isfinite(m->kld_mean) && m->kld_mean > 0;
}

static void pareto_line(struct nb_plot *p, const struct nb_report *r, const struct nb_allocator *a)
{
    double *x = nb_alloc(a, r->n_models, sizeof *x), *y = nb_alloc(a, r->n_models, sizeof *y);
    size_t n = 0;
    p->out->failed = p->out->failed || x == NULL || y == NULL;
    for (size_t i = 0; i < r->n_models && x != NULL && y != NULL; i++) {
        if (!plottable(&r->models[i]) || !on_pareto(r, i))
            continue;
        size_t at = n++; /* insertion by size */
        for (; at > 0 && x[at - 1] > (double)r->models[i].bytes / 1e6; at--) {
            x[at] = x[at - 1];
            y[at] = y[at - 1];
        }
        x[at] = (double)r->models[i].bytes / 1e6;
        y[at] = r->models[i].kld_mean;
    }
    if (n > 1)
        nb_plot_line(p, 7, x, y, n, true);
    nb_free(a, y);
    nb_free(a, x);
}

static void size_plot(struct nb_str *out, const struct nb_report *r)
{
    struct nb_plot p = {.out = out, .width = 900, .height = 420};
    p.x = (struct nb_axis){.min = INFINITY, .max = 0, .label = "file size, MB"};
    p.y = (struct nb_axis){
        .min = INFINITY, .max = 0, .log = true, .label = "mean KL divergence, nats"};
    for (size_t i = 0; i < r->n_models; i++) {
        if (!plottable(&r->models[i]))
            continue;
        p.x.min = fmin(p.x.min, (double)r->models[i].bytes / 1e6);
        p.x.max = fmax(p.x.max, (double)r->models[i].bytes / 1e6);
        p.y.min = fmin(p.y.min, r->models[i].kld_mean);
        p.y.max = fmax(p.y.max, r->models[i].kld_mean);
    }
    nb_str_puts(out, "<h2>Size against divergence</h2>\n");
    if (!(p.x.max > 0)) {
        nb_str_puts(
            out,
            "<p class=\"note\">Every model has the reference's logits: nothing to plot.</p>\n");
        return;
    }
    p.x.max *= 1.02; /* room for names */
    p.x.min *= 0.98;
    nb_axis_round(&p.x);
    nb_axis_round(&p.y);
    nb_plot_begin(&p,
                  "Lower and further left is better; dashed: nothing else is smaller and closer");
    pareto_line(&p, r, out->a);
    for (size_t i = 0; i < r->n_models; i++)
        if (plottable(&r->models[i]))
            nb_plot_point(&p, 0, (double)r->models[i].bytes / 1e6, r->models[i].kld_mean,
                          r->models[i].type, r->models[i].path);
    nb_plot_end(&p);
}

/* "attn_q" of "blk.3.attn_q.weight". */
static size_t tensor_kind(const char *name, const char **kind)
{
    const char *end = name + strlen(name);
    if (nb_str_ends(name, ".weight"))
        end -= strlen(".weight");
    *kind = end;
    while (*kind > name && (*kind)[-1] != '.')
        (*kind)--;
    return (size_t)(end - *kind);
}

#define MAX_KINDS NB_SVG_SERIES

struct kinds {
    const char *name[MAX_KINDS];
    size_t len[MAX_KINDS];
    unsigned n;
};

static unsigned kind_of(struct kinds *k, const char *tensor)
{
    const char *name;
    const size_t len = tensor_kind(tensor, &name);
    for (unsigned i = 0; i < k->n; i++)
        if (k->len[i] == len && memcmp(k->name[i], name, len) == 0)
            return i;
    if (k->n == MAX_KINDS)
        return MAX_KINDS;
    k->name[k->n] = name;
    k->len[k->n] = len;
    return k->n++;
}

static void depth_lines(struct nb_plot *p, const struct nb_report_model *m)
{
    struct kinds kinds = {.n = 0};
    double *x = nb_alloc(p->out->a, m->n_tensors, sizeof *x);
    double *y = nb_alloc(p->out->a, m->n_tensors, sizeof *y);
    p->out->failed = p->out->failed || x == NULL || y == NULL;
    for (size_t i = 0; i < m->n_tensors; i++)
        if (m->tensors[i].block >= 0 && isfinite(m->tensors[i].snr_db))
            (void)kind_of(&kinds, m->tensors[i].name);
    for (unsigned k = 0; k < kinds.n && x != NULL && y != NULL; k++) {
        size_t n = 0;
        for (size_t i = 0; i < m->n_tensors; i++) {
            const struct nb_report_tensor *t = &m->tensors[i];
            if (t->block < 0 || !isfinite(t->snr_db) || kind_of(&kinds, t->name) != k)
                continue;
            x[n] = t->block;
            y[n++] = t->snr_db;
        }
        char name[32];
        (void)nb_printable(name, sizeof name, kinds.name[k], kinds.len[k]);
        nb_plot_legend(p, k, k, name);
        nb_plot_line(p, k, x, y, n, false);
    }
    nb_free(p->out->a, y);
    nb_free(p->out->a, x);
}

static void depth_plot(struct nb_str *out, const struct nb_report_model *m)
{
    struct nb_plot p = {.out = out, .width = 900, .height = 300};
    p.x = (struct nb_axis){.label = "decoder block"};
    p.y = (struct nb_axis){.min = INFINITY, .max = -INFINITY, .label = "SNR, dB"};
    for (size_t i = 0; i < m->n_tensors; i++) {
        if (m->tensors[i].block < 0 || !isfinite(m->tensors[i].snr_db))
            continue;
        p.x.max = fmax(p.x.max, m->tensors[i].block);
        p.y.min = fmin(p.y.min, m->tensors[i].snr_db);
        p.y.max = fmax(p.y.max, m->tensors[i].snr_db);
    }
    if (!(p.y.max >= p.y.min))
        return; /* lossless */
    nb_axis_round(&p.x);
    nb_axis_round(&p.y);
    nb_plot_begin(&p, m->type);
    depth_lines(&p, m);
    nb_plot_end(&p);
}

static void worst_tensors(struct nb_str *out, const struct nb_report_model *m)
{
    double floor_db = -INFINITY;
    nb_str_puts(out, "<p class=\"note\">Least exact in ");
    nb_html_text(out, m->type);
    nb_str_puts(out, ": ");
    for (int k = 0; k < 5; k++) { /* the five smallest, ties by order */
        size_t best = m->n_tensors;
        for (size_t i = 0; i < m->n_tensors; i++)
            if (isfinite(m->tensors[i].snr_db) && m->tensors[i].snr_db > floor_db &&
                (best == m->n_tensors || m->tensors[i].snr_db < m->tensors[best].snr_db))
                best = i;
        if (best == m->n_tensors)
            break;
        floor_db = m->tensors[best].snr_db;
        nb_str_puts(out, k > 0 ? ", " : "");
        nb_html_text(out, m->tensors[best].name);
        nb_str_printf(out, " %.1f dB (", floor_db);
        nb_html_text(out, m->tensors[best].type);
        nb_str_puts(out, ")");
    }
    nb_str_puts(out, "</p>\n");
}

static void speed_bars(struct nb_str *out, const struct nb_report *r)
{
    double top = r->ref.decode_tok_s;
    for (size_t i = 0; i < r->n_models; i++)
        top = fmax(top, r->models[i].decode_tok_s);
    if (!(top > 0))
        return;
    nb_str_puts(out, "<h2>Speed</h2>\n<div class=\"scroll\"><table><thead><tr><th>model</th>"
                     "<th>decode tok/s</th><th></th></tr></thead><tbody>\n");
    for (size_t i = 0; i <= r->n_models; i++) {
        const struct nb_report_model *m = i == 0 ? &r->ref : &r->models[i - 1];
        nb_str_puts(out, "<tr><td>");
        nb_html_text(out, m->type);
        nb_str_printf(out,
                      "</td><td>%.1f</td><td style=\"text-align:left;width:70%%\">"
                      "<span class=\"bar\" style=\"width:%.1f%%\"></span></td></tr>\n",
                      m->decode_tok_s, 100 * m->decode_tok_s / top);
    }
    nb_str_puts(out, "</tbody></table></div>\n");
}

enum nb_status nb_report_html(struct nb_str *out, const struct nb_report *r, struct nb_error *err)
{
    nb_str_puts(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                     "<title>nibble compare</title>\n");
    nb_str_puts(out, style);
    nb_str_puts(out, "</head><body>\n<h1>What quantization cost</h1>\n<p>Reference: ");
    nb_html_text(out, r->ref.path);
    nb_str_puts(out, "</p>\n<p class=\"note\">Text: ");
    nb_html_text(out, r->text);
    nb_str_printf(out,
                  "; %u windows of %u tokens, each from an empty context, the second half scored: "
                  "%llu positions. "
                  "KL divergence of each model from the reference, in nats per token.<br>Machine: ",
                  r->chunks, r->ctx, (unsigned long long)r->tokens);
    nb_html_text(out, r->machine);
    nb_str_printf(out, "; nibble %s.</p>\n", nb_version());
    summary_table(out, r);
    size_plot(out, r);
    nb_str_puts(
        out,
        "<h2>Error per tensor</h2>\n<p class=\"note\">Signal-to-noise ratio of the stored weights "
        "against the reference's, by depth. 6 dB are one bit.</p>\n");
    for (size_t i = 0; i < r->n_models; i++) {
        depth_plot(out, &r->models[i]);
        worst_tensors(out, &r->models[i]);
    }
    speed_bars(out, r);
    nb_str_puts(out, "</body></html>\n");
    return nb_str_check(out, err);
}
