/* eval/svg.c: see svg.h. Ticks: steps of 1, 2 or 5 times a power of ten. */
#include "eval/svg.h"

#include <math.h>

#include "math/math.h"

#define LEFT   64.0
#define RIGHT  16.0
#define TOP    52.0
#define BOTTOM 44.0

static double log10_of(double v)
{
    return nb_log(v) / nb_log(10);
}

static double ten_to(int e)
{
    double v = 1;
    for (int i = 0; i < (e < 0 ? -e : e); i++)
        v *= 10;
    return e < 0 ? 1 / v : v;
}

void nb_html_text(struct nb_str *out, const char *text)
{
    for (const char *c = text; c != NULL && *c != '\0'; c++) {
        switch (*c) {
        case '&':
            nb_str_puts(out, "&amp;");
            break;
        case '<':
            nb_str_puts(out, "&lt;");
            break;
        case '>':
            nb_str_puts(out, "&gt;");
            break;
        case '"':
            nb_str_puts(out, "&quot;");
            break;
        default:
            nb_str_append(out, c, 1);
        }
    }
}

/* The largest 1, 2 or 5 times a power of ten that is <= v (v > 0). */
static double round_step_down(double v)
{
    const double base = ten_to((int)floor(log10_of(v) + 1e-9));
    return v >= 5 * base ? 5 * base : v >= 2 * base ? 2 * base : base;
}

static double linear_step(const struct nb_axis *a)
{
    const double step = round_step_down((a->max - a->min) / 5);
    return step > 0 ? step : 1;
}

void nb_axis_round(struct nb_axis *a)
{
    if (a->log) {
        a->min = round_step_down(a->min);
        const double below = round_step_down(a->max);
        const double decade = ten_to((int)floor(log10_of(below) + 1e-9));
        const double next = below < 1.5 * decade ? 2 * decade
                            : below < 3 * decade ? 5 * decade
                                                 : 10 * decade;
        a->max = below >= a->max * (1 - 1e-9) ? below : next;
        if (a->max <= a->min)
            a->max = a->min * 10;
        return;
    }
    if (a->max <= a->min)
        a->max = a->min + 1;
    const double step = linear_step(a);
    a->min = floor(a->min / step + 1e-9) * step;
    a->max = ceil(a->max / step - 1e-9) * step;
}

static double fraction(const struct nb_axis *a, double v)
{
    if (a->log)
        return (log10_of(v) - log10_of(a->min)) / (log10_of(a->max) - log10_of(a->min));
    return (v - a->min) / (a->max - a->min);
}

static double px(const struct nb_plot *p, double x)
{
    return LEFT + fraction(&p->x, x) * (p->width - LEFT - RIGHT);
}

static double py(const struct nb_plot *p, double y)
{
    return p->height - BOTTOM - fraction(&p->y, y) * (p->height - TOP - BOTTOM);
}

static void tick(struct nb_plot *p, bool vertical, double v)
{
    if (vertical) {
        nb_str_printf(p->out,
                      "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
                      "<text class=\"tick\" text-anchor=\"end\" x=\"%.1f\" y=\"%.1f\">%g</text>\n",
                      LEFT, py(p, v), p->width - RIGHT, py(p, v), LEFT - 6, py(p, v) + 4, v);
        return;
    }
    nb_str_printf(p->out,
                  "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
                  "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">%g</text>\n",
                  px(p, v), TOP, px(p, v), p->height - BOTTOM, px(p, v), p->height - BOTTOM + 16,
                  v);
}

static void ticks(struct nb_plot *p, bool vertical)
{
    const struct nb_axis *a = vertical ? &p->y : &p->x;
    if (!a->log) {
        const double step = linear_step(a);
        for (int i = 0; i <= 50 && a->min + i * step <= a->max + step * 1e-6; i++)
            tick(p, vertical, a->min + i * step);
        return;
    }
    static const double marks[] = {1, 2, 5};
    for (int e = (int)floor(log10_of(a->min) + 1e-9); e <= (int)ceil(log10_of(a->max)); e++)
        for (size_t m = 0; m < NB_COUNTOF(marks); m++) {
            const double v = marks[m] * ten_to(e);
            if (v >= a->min * (1 - 1e-9) && v <= a->max * (1 + 1e-9))
                tick(p, vertical, v);
        }
}

void nb_plot_begin(struct nb_plot *p, const char *title)
{
    nb_str_printf(p->out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", p->width,
                  p->height);
    nb_html_text(p->out, title);
    nb_str_printf(p->out, "\">\n<text class=\"title\" x=\"%.0f\" y=\"18\">", LEFT);
    nb_html_text(p->out, title);
    nb_str_puts(p->out, "</text>\n");
    ticks(p, false);
    ticks(p, true);
    nb_str_printf(p->out, "<text class=\"label\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">",
                  (LEFT + p->width - RIGHT) / 2, p->height - 8);
    nb_html_text(p->out, p->x.label);
    nb_str_printf(p->out,
                  "</text>\n<text class=\"label\" text-anchor=\"middle\" "
                  "transform=\"translate(14 %.1f) rotate(-90)\">",
                  (TOP + p->height - BOTTOM) / 2);
    nb_html_text(p->out, p->y.label);
    nb_str_puts(p->out, "</text>\n");
}

void nb_plot_end(struct nb_plot *p)
{
    nb_str_puts(p->out, "</svg>\n");
}

void nb_plot_point(struct nb_plot *p, unsigned series, double x, double y, const char *label,
                   const char *tooltip)
{
    nb_str_printf(p->out, "<circle class=\"dot s%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>",
                  series % NB_SVG_SERIES, px(p, x), py(p, y));
    nb_html_text(p->out, tooltip);
    nb_str_puts(p->out, "</title></circle>\n");
    if (label == NULL)
        return;
    const bool left = px(p, x) > p->width - RIGHT - 90; /* keep the name inside the frame */
    nb_str_printf(p->out, "<text class=\"name\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">",
                  left ? "end" : "start", px(p, x) + (left ? -8 : 8), py(p, y) - 6);
    nb_html_text(p->out, label);
    nb_str_puts(p->out, "</text>\n");
}

void nb_plot_line(struct nb_plot *p, unsigned series, const double *x, const double *y, size_t n,
                  bool dashed)
{
    nb_str_printf(p->out, "<polyline class=\"line s%u%s\" points=\"", series % NB_SVG_SERIES,
                  dashed ? " dashed" : "");
    for (size_t i = 0; i < n; i++)
        nb_str_printf(p->out, "%s%.1f,%.1f", i > 0 ? " " : "", px(p, x[i]), py(p, y[i]));
    nb_str_puts(p->out, "\"/>\n");
}

void nb_plot_legend(struct nb_plot *p, unsigned i, unsigned series, const char *text)
{
    const double x = LEFT + 100.0 * i;
    nb_str_printf(p->out,
                  "<rect class=\"key s%u\" x=\"%.1f\" y=\"29\" width=\"10\" height=\"10\"/>",
                  series % NB_SVG_SERIES, x);
    nb_str_printf(p->out, "<text class=\"tick\" x=\"%.1f\" y=\"38\">", x + 14);
    nb_html_text(p->out, text);
    nb_str_puts(p->out, "</text>\n");
}
