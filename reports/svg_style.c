/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/svg_style.h"

#include "moeparity/picture.h"

#include <math.h>

typedef struct rgb {
    int r, g, b;
} rgb;

static rgb between(rgb a, rgb b, double t) {
    return (rgb){(int)lround(a.r + (b.r - a.r) * t), (int)lround(a.g + (b.g - a.g) * t),
                 (int)lround(a.b + (b.b - a.b) * t)};
}

/* What keeps its bound is blue, what does not goes from amber to red, and what has no number is violet. Steps
 * are never wrong in part: one is beyond already. */
static rgb colour(int level, bool steps, bool dark) {
    const rgb zero = dark ? (rgb){31, 36, 42} : (rgb){240, 242, 245},
              least = dark ? (rgb){32, 48, 66} : (rgb){222, 232, 243},
              most = dark ? (rgb){74, 132, 190} : (rgb){92, 143, 199},
              amber = dark ? (rgb){255, 209, 102} : (rgb){246, 173, 60},
              red = dark ? (rgb){255, 51, 85} : (rgb){158, 0, 30},
              none = dark ? (rgb){200, 125, 255} : (rgb){123, 44, 191};
    const int good = steps ? MP_SVG_ONE - 1 : MP_SVG_ONE, last = MP_LEVELS - 1;
    if (level == 0) return zero;
    if (level == last) return none;
    if (level <= good) return between(least, most, (double)(level - 1) / (good - 1));
    return between(amber, red, sqrt((double)(level - good - 1) / (last - good - 2)));
}

static void put_colours(FILE *out, bool dark) {
    for (int steps = 0; steps < 2; steps++)
        for (int level = 0; level < MP_LEVELS; level++) {
            const rgb c = colour(level, steps != 0, dark);
            fprintf(out, ".%c%d{fill:#%02x%02x%02x}", steps ? 's' : 'r', level, (unsigned)c.r, (unsigned)c.g,
                    (unsigned)c.b);
        }
}

void mp_svg_put_style(FILE *out) {
    fputs("<style>svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#1b1f24}.d{fill:#5f6b7a}"
          ".f{fill:#b3001b;font-weight:600}.h{font-size:14px;font-weight:600}.e{stroke:#1b1f24}"
          ".t{stroke:#1b1f24;stroke-opacity:.22}.o{fill:none;stroke:#5f6b7a}.n{fill:url(#n)}"
          "path,line,rect{shape-rendering:crispEdges}line{stroke-width:1}",
          out);
    put_colours(out, false);
    fputs("@media(prefers-color-scheme:dark){svg{background:#14171a}text{fill:#e6e9ed}.d{fill:#97a3b3}"
          ".f{fill:#ff6b81}.e{stroke:#e6e9ed}.t{stroke:#e6e9ed}.o{stroke:#97a3b3}",
          out);
    put_colours(out, true);
    fputs("}</style>\n<defs><pattern id=\"n\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
          "patternTransform=\"rotate(45)\"><path class=\"d\" fill-opacity=\".35\" d=\"M0 0h2v6h-2z\"/>"
          "</pattern></defs>\n",
          out);
}
