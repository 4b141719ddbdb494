/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/svg.h"

#include "base/file.h"
#include "reports/svg_style.h"
#include "reports/xml.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything is in pixels of a page that is WIDTH wide; cells are scaled into their panel. */
enum {
    WIDTH = 720,
    LEFT = 104,
    PLOT = 584,    /* widest panel */
    CELL = 9,      /* a cell, where there are few of them */
    HIGH = 320,    /* highest panel */
    LOW = 36,      /* lowest one */
    HEAD = 44,     /* above a panel */
    GAP = 34,      /* below it */
    LETTERS = 12,  /* one line of a label */
    LEAST_STEP = 5 /* lines of tiles that are closer are not drawn */
};

/* ---- one panel ---- */

typedef struct panel {
    const mp_picture *p;
    const mp_stage_figures *f;
    const char *name;
    mp_picture_map map;
    double top, width, height;
    bool first;
} panel;

static double size_of(int cells, double most) {
    const double size = (double)cells * CELL;
    return size > most ? most : size < LOW ? LOW : size;
}

static void level_text(int level, bool steps, char text[64]) {
    const double below = level > 0 ? mp_level_top(level - 1) : 0, top = mp_level_top(level);
    if (level == 0)
        snprintf(text, 64, "0");
    else if (level == MP_LEVELS - 1)
        snprintf(text, 64, "beyond %.6g, or NaN", below);
    else if (steps)
        snprintf(text, 64, "%.6g to %.6g ulp", floor(below) + 1, floor(top));
    else
        snprintf(text, 64, "%.3g to %.3g", below, top);
}

/* The cells of one level, a rectangle for each run of them in a row; in units of cells. */
static bool put_cells(FILE *out, const panel *n, int cell) {
    bool any = false;
    for (int i = 0; i < n->p->row_cells; i++)
        for (int k = 0; k < n->p->column_cells;) {
            int run = 0;
            while (k + run < n->p->column_cells && n->p->cell[n->map][i][k + run] == cell) run++;
            if (run > 0 && !any) {
                const int level = cell - 1;
                const char letter = n->map == MP_PICTURE_STEPS ? 's' : 'r';
                if (cell == 0)
                    fputs("<path class=\"n\" d=\"", out);
                else
                    fprintf(out, "<path class=\"%c%d\" d=\"", letter, level);
                any = true;
            }
            if (run > 0) fprintf(out, "M%d %dh%dv1h-%dz", k, i, run, run);
            k += run > 0 ? run : 1;
        }
    if (!any) return false;
    char text[64] = "not measured";
    if (cell > 0) level_text(cell - 1, n->map == MP_PICTURE_STEPS, text);
    fprintf(out, "\"><title>%s</title></path>\n", text);
    return true;
}

static void put_line(FILE *out, const char *class, double x1, double y1, double x2, double y2) {
    fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", class, x1, y1, x2,
            y2);
}

static double y_of(const panel *n, int64_t row) {
    return n->top + n->height * (double)row / (double)n->p->rows;
}

static bool tiles_are_drawn(const panel *n, bool rows) {
    const int64_t tile = rows ? n->p->tile_rows : n->p->tile_columns;
    const double step = rows ? n->height * (double)tile / (double)n->p->rows
                             : n->width * (double)tile / (double)n->p->columns;
    return tile > 0 && step >= LEAST_STEP;
}

/* The row blocks of one expert, whose rows begin at `row`. */
static void put_row_tiles(FILE *out, const panel *n, int64_t row, int64_t rows) {
    for (int64_t r = n->p->tile_rows; tiles_are_drawn(n, true) && r < rows; r += n->p->tile_rows)
        put_line(out, "t", LEFT, y_of(n, row + r), LEFT + n->width, y_of(n, row + r));
}

static void put_experts(FILE *out, const panel *n) {
    int64_t row = 0;
    double written = -LETTERS;
    if (n->p->expert_count == 0) put_row_tiles(out, n, 0, n->p->rows);
    for (int i = 0; i < n->p->expert_count; i++) {
        const mp_picture_expert *e = &n->p->experts[i];
        const double middle = (y_of(n, row) + y_of(n, row + e->rows)) / 2;
        put_row_tiles(out, n, row, e->rows);
        const bool narrow =
            y_of(n, row + e->rows) - y_of(n, row) < LEAST_STEP; /* lines would hide the cells */
        if (i > 0) put_line(out, "e", LEFT - 6, y_of(n, row), narrow ? LEFT : LEFT + n->width, y_of(n, row));
        if (middle - written >= LETTERS) {
            fprintf(out,
                    "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">expert %" PRId32
                    " <tspan class=\"d\">%" PRId64 "</tspan></text>",
                    LEFT - 10, middle + 4, e->expert, e->rows);
            written = middle;
        }
        row += e->rows;
    }
}

static void put_column_tiles(FILE *out, const panel *n) {
    for (int64_t c = n->p->tile_columns; tiles_are_drawn(n, false) && c < n->p->columns;
         c += n->p->tile_columns) {
        const double x = LEFT + n->width * (double)c / (double)n->p->columns;
        put_line(out, "t", x, n->top, x, n->top + n->height);
    }
}

static void put_title(FILE *out, const panel *n, const char *other) {
    const mp_stage_figures *f = n->f;
    fprintf(out, "<text class=\"h\" x=\"%d\" y=\"%.1f\">%s", LEFT, n->top - 24, n->name);
    if (n->first) fputs(" <tspan class=\"f\">parts here first</tspan>", out);
    fprintf(out, "</text><text class=\"d\" x=\"%d\" y=\"%.1f\">", LEFT, n->top - 8);
    if (n->map == MP_PICTURE_STEPS) {
        fprintf(out, "ulps from ");
        mp_xml_text(out, other);
        fprintf(out, ": %" PRId64 " of %" PRId64 " elements differ", f->mispredicted, f->predicted);
        if (f->mispredicted > 0 && f->max_ulps < INT64_MAX)
            fprintf(out, ", by at most %" PRId64, f->max_ulps);
    } else if (n->map == MP_PICTURE_DRIFT) {
        fprintf(out, "drift before the last rounding: at most %.3g of its bound", f->max_drift);
    } else {
        fprintf(out, "error over bound: at most %.3g; %" PRId64 " of %" PRId64 " elements are beyond",
                f->max_ratio, f->failed, f->compared);
    }
    fputs("</text>\n", out);
}

/* "expert 3 ..." stands beside the rows; below them what a cell and a line are. */
static void put_caption(FILE *out, const panel *n) {
    const mp_picture *p = n->p;
    const int64_t rows = (p->rows + p->row_cells - 1) / p->row_cells,
                  columns = (p->columns + p->column_cells - 1) / p->column_cells;
    fprintf(out, "<text class=\"d\" x=\"%d\" y=\"%.1f\">%" PRId64 " row%s%s, columns 0 to %" PRId64, LEFT,
            n->top + n->height + 16, p->rows, p->rows == 1 ? "" : "s", p->expert_count ? " by expert" : "",
            p->columns - 1);
    if (rows * columns > 1)
        fprintf(out, "; a cell: the largest of up to %" PRId64 " x %" PRId64 " elements", rows, columns);
    if (p->tile_rows > 0) {
        const bool both = tiles_are_drawn(n, true) && tiles_are_drawn(n, false),
                   none = !tiles_are_drawn(n, true) && !tiles_are_drawn(n, false);
        fprintf(out, "; tiles of %" PRId64 " x %" PRId64 "%s", p->tile_rows, p->tile_columns,
                both   ? ""
                : none ? ", too small to draw"
                       : ", of which one side is too small to draw");
    }
    fputs("</text>\n", out);
}

static void put_panel(FILE *out, const panel *n, const char *other) {
    put_title(out, n, other);
    fprintf(out, "<g transform=\"translate(%d %.1f) scale(%.4f %.4f)\">\n", LEFT, n->top,
            n->width / n->p->column_cells, n->height / n->p->row_cells);
    for (int cell = 0; cell <= MP_LEVELS; cell++) put_cells(out, n, cell);
    fputs("</g>\n", out);
    put_column_tiles(out, n);
    put_experts(out, n);
    fprintf(out, "<rect class=\"o\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", LEFT, n->top,
            n->width, n->height);
    put_caption(out, n);
}

/* ---- the page ---- */

static mp_picture_map map_of(const mp_verdict *v, int stage, int wanted) {
    if (wanted >= 0) return (mp_picture_map)wanted;
    return v->stage[stage].predicted > 0 ? MP_PICTURE_STEPS : MP_PICTURE_RATIO;
}

/* Steps begin with 1: the levels below are not drawn. */
static void put_legend(FILE *out, bool steps, double top) {
    static const struct {
        int level;
        const char *text;
    } marks[2][7] = {{{0, "0"},
                      {5, "1/64"},
                      {11, "1/8"},
                      {MP_SVG_ONE, "1"},
                      {25, "16"},
                      {37, "1024"},
                      {MP_LEVELS - 1, "NaN"}},
                     {{0, "0"},
                      {MP_SVG_ONE, "1"},
                      {21, "4"},
                      {27, "32"},
                      {33, "256"},
                      {41, "4096"},
                      {MP_LEVELS - 1, "NaN"}}};
    const int hidden = steps ? MP_SVG_ONE - 1 : 0;
    const double step = (double)PLOT / (MP_LEVELS - hidden);
    for (int level = 0; level < MP_LEVELS; level++)
        if (level == 0 || level > hidden)
            fprintf(out, "<rect class=\"%c%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"12\"/>",
                    steps ? 's' : 'r', level, LEFT + (level ? level - hidden : 0) * step, top, step + 0.3);
    fprintf(out, "<text class=\"d\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT - 10, top + 10,
            steps ? "ulps" : "error/bound");
    for (int i = 0; i < 7; i++) {
        const int level = marks[steps][i].level;
        fprintf(out, "<text class=\"d\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>",
                LEFT + ((level ? level - hidden : 0) + 0.5) * step, top + 26, marks[steps][i].text);
    }
    fputc('\n', out);
}

/* A text in lines of at most `most` bytes, broken at blanks; returns the height below it. */
static double put_lines(FILE *out, const char *class, const char *text, size_t most, double y) {
    while (*text) {
        char line[256];
        size_t length = strlen(text);
        if (length > most) {
            length = most;
            while (length > 0 && text[length] != ' ') length--;
            if (length == 0) length = strcspn(text, " ");
        }
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        fprintf(out, "<text class=\"%s\" x=\"16\" y=\"%.1f\">", class, y);
        mp_xml_text(out, line);
        fputs("</text>\n", out);
        text += length + (text[length] == ' ');
        y += 18;
    }
    return y;
}

/* The panels, one below the other from y on; returns where they end. */
static double place_panels(const mp_verdict *v, const mp_svg_style *style, double y, panel *panels,
                           int *count) {
    *count = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_picture *p = v->picture[s];
        if (!p || p->rows == 0 || p->columns == 0) continue;
        panel *n = &panels[(*count)++];
        *n = (panel){
            .p = p, .f = &v->stage[s], .name = mp_stage_name((mp_stage)s), .first = s == style->first};
        n->map = map_of(v, s, style->map);
        n->width = size_of(p->column_cells, PLOT);
        n->height = size_of(p->row_cells, HIGH);
        n->top = y + HEAD;
        y = n->top + n->height + GAP;
    }
    return y;
}

/* All but the frame, which has the height. */
static double put_page(FILE *out, const mp_verdict *v, const mp_svg_style *style) {
    panel panels[MP_STAGE_COUNT];
    bool legend[2] = {false, false};
    int count;
    mp_svg_put_style(out);
    double y = put_lines(out, "h", v->name, 84, 28);
    if (style->heading) y = put_lines(out, "b", style->heading, 104, y + 2);
    y = place_panels(v, style, y - 8, panels, &count);
    for (int i = 0; i < count; i++) {
        put_panel(out, &panels[i], style->other);
        legend[panels[i].map == MP_PICTURE_STEPS] = true;
    }
    for (int i = 0; i < 2; i++) {
        if (legend[i]) put_legend(out, i != 0, y + 4);
        if (legend[i]) y += 40;
    }
    return y + 8;
}

static void put_frame(FILE *out, const mp_verdict *v, double height) {
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" "
            "role=\"img\">\n<title>",
            WIDTH, height, WIDTH, height);
    mp_xml_text(out, v->name);
    fputs("</title>\n", out);
}

mp_status mp_report_svg(const char *path, const mp_verdict *v, const mp_svg_style *style, mp_error *err) {
    mp_part part[3] = {[2] = {"</svg>\n", 7}};
    char *text[2] = {NULL, NULL};
    double height = 0;
    bool any = false, written = true;
    for (int s = 0; s < MP_STAGE_COUNT; s++) any = any || v->picture[s];
    if (!any) return mp_fail(err, MP_EINPUT, "%s: no stage was measured: there is no picture", path);
    for (int i = 1; i >= 0 && written; i--) { /* the frame is told last, and stands first */
        FILE *out = open_memstream(&text[i], &part[i].size);
        written = out != NULL;
        if (out && i == 1) height = put_page(out, v, style);
        if (out && i == 0) put_frame(out, v, height);
        written = written && !ferror(out);
        if (out) written = fclose(out) == 0 && written;
        part[i].data = text[i];
    }
    const mp_status status = written ? mp_file_replace_parts(path, part, 3, err)
                                     : mp_fail(err, MP_EMEMORY, "no memory for the picture %s", path);
    free(text[0]);
    free(text[1]);
    return status;
}
