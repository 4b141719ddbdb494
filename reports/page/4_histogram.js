/* SPDX-License-Identifier: Apache-2.0 */
/* How the elements of a stage are distributed over the levels. */

const HISTOGRAMS = {
    ratio: {
        title: "Error over bound",
        wholes: false,
        limit: ONE,
        ticks: [[1, "2⁻⁸"], [9, "1/16"], [13, "¼"], [ONE, "1"], [21, "4"], [29, "64"]]
    },
    ulps: {
        title: "Error in ulps",
        wholes: false,
        limit: null,
        ticks: [[1, "2⁻⁸"], [9, "1/16"], [15, "½"], [ONE, "1"], [21, "4"], [29, "64"]]
    },
    steps: {
        title: "Ulps to the predicted bits",
        wholes: true,
        limit: 0,
        ticks: [[0, "0"], [ONE, "1"], [21, "4"], [29, "64"], [37, "1024"]]
    },
};

/* Bars of the logarithm of the counts: one element of a million is seen. */
function histogram(kind, counts, label) {
    const {title, wholes, limit, ticks} = HISTOGRAMS[kind];
    const levels = Object.entries(counts)
                       .map(([letter, count]) => [LEVELS.indexOf(letter), count])
                       .sort((a, b) => a[0] - b[0]);
    const highest = levels[levels.length - 1][0];
    const from = wholes ? ONE - 1 : 0; /* steps are whole: between 0 and 1 there is nothing */
    const place = (level) => (wholes && level > 0 ? level - from : level);
    const end = Math.max(place(highest), place(ONE) + (wholes ? 4 : 2)), WIDTH = 10, TALL = 92;
    const largest = Math.log10(1 + Math.max(...levels.map(([, count]) => count)));
    const all = levels.reduce((sum, [, count]) => sum + count, 0);
    const beyond =
        limit === null ? 0 : levels.reduce((sum, [level, count]) => sum + (level > limit ? count : 0), 0);
    const told = limit === null ? ""
                 : wholes       ? `, ${whole(beyond)} of them not 0`
                                : `, ${whole(beyond)} of them above 1`;
    const readout = h("output", {}, `${plural(all, "element")}${told}`);
    const bars = levels.map(([level, count]) => {
        const height = Math.max(2, (TALL * Math.log10(1 + count)) / largest);
        return svg("rect", {
            class: limit !== null && level > limit ? "bar over" : "bar",
            x: place(level) * WIDTH + 1,
            y: TALL - height,
            width: WIDTH - 2,
            height
        });
    });
    const picture = svg("svg", {
        width: (end + 1) * WIDTH + 8,
        height: TALL + 18,
        tabindex: 0,
        role: "img",
        "aria-label": `${title} of ${label}: ${plural(all, "element")}${told}. Arrow keys read the bars.`
    },
                        ...bars);
    picture.append(svg("line", {class: "axis", x1: 0, x2: (end + 1) * WIDTH, y1: TALL + .5, y2: TALL + .5}));
    if (limit !== null && !wholes)
        picture.append(
            svg("line", {class: "limit", x1: (ONE + 1) * WIDTH, x2: (ONE + 1) * WIDTH, y1: 0, y2: TALL}));
    for (const [level, text] of ticks) {
        if (place(level) > end) continue;
        const tick = svg(
            "text",
            {x: place(level) * WIDTH + (wholes ? WIDTH / 2 : WIDTH), y: TALL + 14, "text-anchor": "middle"});
        tick.textContent = text;
        picture.append(tick);
    }
    let at = -1;
    const read = (i) => {
        if (at >= 0) bars[at].classList.remove("at");
        at = i;
        bars[at].classList.add("at");
        const [level, count] = levels[at];
        readout.textContent =
            `${levelText(level, wholes)}: ${plural(count, "element")}, ${short((100 * count) / all)} %`;
    };
    bars.forEach((bar, i) => bar.addEventListener("pointerenter", () => read(i)));
    picture.addEventListener("keydown", (event) => {
        const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (!step) return;
        event.preventDefault();
        read(Math.min(bars.length - 1, Math.max(0, at + step)));
    });
    return h("figure", {}, h("figcaption", {}, title), picture, readout);
}
