/* SPDX-License-Identifier: Apache-2.0 */
/* Private to reports/: the colours of pictures. */
#ifndef MP_REPORTS_SVG_STYLE_H
#define MP_REPORTS_SVG_STYLE_H

#include <stdio.h>

enum { MP_SVG_ONE = 17 }; /* the level that ends at 1 */

/* The style sheet, light and dark. Levels are the classes r0, r1, ... of ratios and drift, and s0, ... of
 * steps; n is what was not measured, e and t the borders of experts and tiles, o the one around all; h, d
 * and f are headings, remarks and failures. */
void mp_svg_put_style(FILE *out);

#endif
