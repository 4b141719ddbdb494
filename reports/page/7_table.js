/* SPDX-License-Identifier: Apache-2.0 */
/* The table of cases. Of many thousand rows only those are elements that can be seen; two empty ones stand
 * for the rest. When it is printed all are. */

const ROW = 30; /* pixels, as the style has it */

const bitsText = ({predicted, differ}) => (predicted === 0 ? "–" : differ === 0 ? "equal" : whole(differ));
const arrow = (row, show) =>
    (row.before && show(row.before) !== show(row.now) ? `${show(row.before)} → ${show(row.now)}`
                                                      : show(row.now));

/* Name, heading, width, what a cell shows, what rows are sorted by (undefined sorts last), its class. A
 * column that would be empty in all rows is left out: the names of cases need the room. */
function columnsOf(compares, timed, predicted) {
    return [
        {
            name: "outcome",
            head: "Outcome",
            width: compares ? "124px" : "106px",
            show: (r) => (r.only ? `only ${r.only}` : arrow(r, (s) => s.outcome)),
            by: (r) => SEVERITY[r.now.outcome],
            cell: (r) => `tag ${r.now.outcome}`
        },
        {
            name: "case",
            head: "Case",
            width: "auto",
            show: (r) => [r.now.verdict.name, h("span", {class: "soft"}, `  ${r.now.verdict.group || ""}`)],
            by: (r) => r.index,
            cell: () => "mono"
        },
        {
            name: "ratio",
            head: "Ratio",
            hint: "largest error over its bound",
            width: compares ? "122px" : "66px",
            number: true,
            show: (r) => arrow(r, (s) => short(s.ratio)),
            by: (r) => r.now.ratio,
            cell: (r) => (r.now.ratio === undefined || r.now.ratio <= 1 ? "" : "bad")
        },
        {
            name: "stage",
            head: "In",
            hint: "the stage with the largest error over its bound",
            width: "78px",
            show: (r) => r.now.ratioStage || "–",
            by: (r) => STAGES.indexOf(r.now.ratioStage),
            cell: () => "soft"
        },
        {
            name: "drift",
            head: "Drift",
            hint: "the least error before the last rounding, over its bound",
            width: compares ? "112px" : "66px",
            number: true,
            show: (r) => arrow(r, (s) => short(s.drift, 2)),
            by: (r) => r.now.drift
        },
        {
            name: "bits",
            head: "Bits",
            hint: "how many elements have other bits than predicted",
            width: "74px",
            number: true,
            show: (r) => arrow(r, (s) => bitsText(s.bits)),
            by: (r) => (r.now.bits.predicted ? r.now.bits.differ : undefined),
            cell: (r) => (r.now.bits.differ > 0 ? "bad" : "soft")
        },
        {
            name: "time",
            head: "Time",
            width: "70px",
            number: true,
            show: (r) => (r.now.seconds > 0 ? `${short(r.now.seconds, 2)} s` : "–"),
            by: (r) => r.now.seconds,
            cell: () => "soft"
        },
    ].filter((c) => (c.name !== "time" || (timed && !compares)) && /* no two runs share it */
                    (c.name !== "bits" || predicted));
}

/* By the column, NaN above all numbers, what is not there below; equal ones in the order of the file. */
function sorted(rows, column, down) {
    const rank = (value) => (value === undefined ? -Infinity : Number.isNaN(value) ? Infinity : value);
    const keys = new Map(rows.map((row) => [row, rank(column.by(row))]));
    return rows.slice().sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        return x === y ? a.index - b.index : (x < y) === down ? 1 : -1;
    });
}

/* on: { select(row), sort(name) }. Returns what changes it. */
function makeTable(columns, on) {
    const scroller = byId("scroller"), body = byId("body"), table = byId("table");
    let rows = [], selected = null, all = false, last = "";
    table.prepend(
        h("colgroup", {}, columns.map((c) => h("col", {class: `c-${c.name}`, style: `width:${c.width}`}))));
    const heads = columns.map(
        (c) => h("th", {scope: "col", class: `c-${c.name}${c.number ? " number" : ""}`},
                 h("button", {type: "button", title: c.hint, onclick: () => on.sort(c.name)}, c.head)));
    byId("head").append(...heads);

    const space = (count) =>
        h("tr", {class: "space", "aria-hidden": "true"}, h("td", {style: `height:${count * ROW}px`}));
    const element = (row, i) => h(
        "tr", {
            "aria-rowindex": i + 2,
            "aria-selected": String(row === selected),
            tabindex: row === selected || (!selected && i === 0) ? 0 : -1,
            "data-row": i,
            title: row.now.verdict.reason || null
        },
        columns.map(
            (c) => h("td", {
                class: [`c-${c.name}`, c.number ? "number" : "", c.cell ? c.cell(row) : ""].join(" ").trim(),
                title: c.name === "case" ? row.now.verdict.name : null
            },
                     c.show(row))));

    function draw(anew) {
        const seen = Math.ceil((scroller.clientHeight || 600) / ROW) + 10;
        const from =
                  all ? 0
                      : Math.max(0, Math.min(rows.length - seen, Math.floor(scroller.scrollTop / ROW) - 5)),
              to = all ? rows.length : Math.min(rows.length, from + seen);
        const now = `${from}-${to}`;
        if (!anew && now === last) return;
        last = now;
        const focused = body.contains(document.activeElement);
        body.replaceChildren(space(from), ...rows.slice(from, to).map((row, i) => element(row, from + i)),
                             space(rows.length - to));
        if (focused) body.querySelector('[aria-selected="true"]')?.focus({preventScroll: true});
    }

    function reveal() {
        const i = rows.indexOf(selected);
        if (i < 0) return;
        const head = table.tHead.offsetHeight, top = i * ROW, view = scroller.clientHeight - head;
        if (top < scroller.scrollTop)
            scroller.scrollTop = top;
        else if (top + ROW > scroller.scrollTop + view)
            scroller.scrollTop = top + ROW - view;
        draw(true);
    }

    scroller.addEventListener("scroll", () => draw(false));
    new ResizeObserver(() => draw(false)).observe(scroller);
    body.addEventListener("click", (event) => {
        const row = event.target.closest("[data-row]");
        if (row) on.select(rows[Number(row.dataset.row)]);
    });
    window.addEventListener("beforeprint", () => {
        all = true;
        draw(true);
    });
    window.addEventListener("afterprint", () => {
        all = false;
        draw(true);
    });

    return {
        show(list, sort, down) {
            rows = list;
            table.setAttribute("aria-rowcount", rows.length + 1);
            heads.forEach((head, i) => {
                if (columns[i].name === sort)
                    head.setAttribute("aria-sort", down ? "descending" : "ascending");
                else
                    head.removeAttribute("aria-sort");
            });
            draw(true);
        },
        select(row, focus) {
            selected = row;
            draw(true);
            reveal();
            if (focus) body.querySelector('[aria-selected="true"]')?.focus({preventScroll: true});
        },
    };
}
