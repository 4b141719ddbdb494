/* SPDX-License-Identifier: Apache-2.0 */
/* The pictures of a verdict's stages, drawn. */
#ifndef MP_REPORTS_SVG_H
#define MP_REPORTS_SVG_H

#include "moeparity/verdict.h"

typedef struct mp_svg_style {
    int map;   /* mp_picture_map; -1: of each stage the steps, if its bits were compared, else the ratio */
    int first; /* the stage that is told to be the first that parts; -1: none */
    const char *heading; /* one line, or NULL */
    const char *other;   /* what bits were compared with: "predicted bits", "subject host" */
} mp_svg_style;

/* Writes an SVG: a panel for each stage that has a picture, rows grouped by expert in the order of align,
 * with the borders of experts and, where there is room, of tiles; a cell has the colour of its largest
 * element. It needs nothing beside it, and follows the reader's choice of light or dark. At most some 100 kB.
 * MP_EINPUT: the verdict has no picture; MP_EIO: the file, which is replaced in one step, could not be
 * written. */
mp_status mp_report_svg(const char *path, const mp_verdict *v, const mp_svg_style *style, mp_error *err);

#endif
