/* eval/svg.h: a small plot writer: axes, points, lines, bars as inline SVG.
 *
 * Colours are CSS classes (s0 .. s7 for series) that the page defines, so that a plot follows the
 * reader's light or dark setting. Internal to the room.
 */
#ifndef NB_EVAL_SVG_H
#define NB_EVAL_SVG_H

#include "base/base.h"

#define NB_SVG_SERIES 8

struct nb_axis {
    double min, max; /* data range; log: both > 0 */
    bool log;        /* decades */
    const char *label;
};

/* Borrows: out. All coordinates of the calls below are in data units. */
struct nb_plot {
    struct nb_str *out;
    double width, height; /* pixels of the whole figure */
    struct nb_axis x, y;
};

void nb_plot_begin(struct nb_plot *p, const char *title); /* frame, grid, ticks, labels */
void nb_plot_end(struct nb_plot *p);
/* A point with a tooltip and, if label is not NULL, a name beside it. */
void nb_plot_point(struct nb_plot *p, unsigned series, double x, double y, const char *label,
                   const char *tooltip);
void nb_plot_line(struct nb_plot *p, unsigned series, const double *x, const double *y, size_t n,
                  bool dashed);
/* A legend entry number i, below the title, left to right. */
void nb_plot_legend(struct nb_plot *p, unsigned i, unsigned series, const char *text);
/* Text for HTML: & < > " escaped; NULL prints nothing. */
void nb_html_text(struct nb_str *out, const char *text);
/* Widens min..max to round numbers (linear) or to enclosing decades' 1-2-5 steps (log). */
void nb_axis_round(struct nb_axis *axis);

#endif
