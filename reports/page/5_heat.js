/* SPDX-License-Identifier: Apache-2.0 */
/* The map of a stage: the largest of each cell over rows x columns, with experts and tiles. */

const MAPS = {
    ratio: {title: "Error over bound", wholes: false},
    drift: {title: "Drift", wholes: false},
    steps: {title: "Ulps", wholes: true},
};

function mixed(from, to, part) {
    const channels = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
    const a = channels(from), b = channels(to);
    return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * part)).join(",")})`;
}

/* A colour for each cell value: calm to 1, alarming above it; of steps any is. */
function palette(wholes) {
    const c = (name) => colour(`--heat-${name}`);
    return Array.from({length: LAST + 2}, (_, cell) => {
        const level = cell - 1;
        if (cell === 0) return c("none");
        if (level === 0) return c("zero");
        if (!wholes && level <= ONE) return mixed(c("low"), c("near"), ((level - 1) / (ONE - 1)) ** 1.5);
        const from = wholes ? ONE : ONE + 1;
        return mixed(c("over"), c("most"), Math.min(1, Math.max(0, (level - from) / 16)));
    });
}

/* The elements lo .. hi of `all` that lie in cell i of `cells`. */
const span = (i, all, cells) => [Math.ceil((i * all) / cells), Math.ceil(((i + 1) * all) / cells) - 1];
const rangeText = ([lo, hi], word) => (lo === hi ? `${word} ${lo}` : `${word}s ${lo}–${hi}`);

/* Where each expert begins. */
function expertsOf(picture) {
    let first = 0;
    return picture.experts.map(([expert, rows]) => {
        const one = {expert, rows, first};
        first += rows;
        return one;
    });
}

function placeText(picture, experts, row, column) {
    const rows = span(row, picture.shape[0], picture.cells[0]),
          columns = span(column, picture.shape[1], picture.cells[1]);
    const inside = experts.filter((e) => e.first <= rows[1] && e.first + e.rows > rows[0]);
    let text;
    if (experts.length === 0)
        text = rangeText(rows, "row");
    else if (inside.length > 1)
        text = `experts ${inside.map((e) => e.expert).join(", ")}`;
    else
        text = `expert ${inside[0].expert}, ${
            rangeText([rows[0] - inside[0].first, rows[1] - inside[0].first],
                      "row")} of its ${inside[0].rows}`;
    text += `, ${rangeText(columns, "column")}`;
    const [tall, wide] = picture.tile;
    if (tall > 0 && wide > 0 && inside.length === 1)
        text += `, tile ${Math.floor((rows[0] - inside[0].first) / tall)} × ${
            Math.floor(columns[0] / wide)} of the expert`;
    return text;
}

/* Lines where tiles and experts begin, as far as they are far enough apart to be seen. */
function drawBorders(context, picture, experts, left, top, wide, tall) {
    const perRow = tall / picture.shape[0], perColumn = wide / picture.shape[1];
    const line = (x1, y1, x2, y2, alpha) => {
        context.globalAlpha = alpha;
        context.beginPath();
        context.moveTo(Math.round(x1) + .5, Math.round(y1) + .5);
        context.lineTo(Math.round(x2) + .5, Math.round(y2) + .5);
        context.stroke();
    };
    context.strokeStyle = colour("--grid");
    context.lineWidth = 1;
    if (picture.tile[1] * perColumn >= 8)
        for (let n = picture.tile[1]; n < picture.shape[1]; n += picture.tile[1])
            line(left + n * perColumn, top, left + n * perColumn, top + tall, .14);
    const crowded =
        tall / experts.length < 5; /* lines would be all there is: marks beside the map are left */
    for (const e of experts) {
        if (picture.tile[0] * perRow >= 6)
            for (let row = picture.tile[0]; row < e.rows; row += picture.tile[0])
                line(left, top + (e.first + row) * perRow, left + wide, top + (e.first + row) * perRow, .14);
        if (e.first > 0)
            line(left - 5, top + e.first * perRow, crowded ? left : left + wide, top + e.first * perRow, .42);
    }
    context.globalAlpha = .3;
    context.strokeRect(left - .5, top - .5, wide + 1, tall + 1);
    context.globalAlpha = 1;
}

function drawLabels(context, picture, experts, left, top, wide, tall) {
    context.fillStyle = colour("--soft");
    context.font = "10.5px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "right";
    let free = -Infinity;
    for (const e of experts) {
        const y = top + ((e.first + e.rows / 2) * tall) / picture.shape[0];
        if (y - free < 12) continue;
        context.fillText(`expert ${e.expert}`, left - 8, y);
        free = y;
    }
    if (experts.length === 0) {
        context.fillText("row 0", left - 8, top + 5);
        if (tall > 30) context.fillText(whole(picture.shape[0] - 1), left - 8, top + tall - 5);
    }
    context.textAlign = "left";
    context.fillText("column 0", left, top - 8);
    context.textAlign = "right";
    context.fillText(whole(picture.shape[1] - 1), left + wide, top - 8);
}

/* A map with its choice of what is shown, and a readout. redraws: called again when the colours change. */
function heatMap(picture, label, redraws) {
    const kinds = Object.keys(MAPS).filter((kind) => picture.maps[kind]);
    const [rows, columns] = picture.cells, experts = expertsOf(picture), LEFT = 70, TOP = 17;
    const cellWide = Math.max(3, Math.min(24, Math.floor(448 / columns)));
    const cellTall = Math.max(3, Math.min(16, Math.floor(288 / rows)));
    const wide = cellWide * columns, tall = cellTall * rows;
    const canvas = h("canvas", {tabindex: 0, role: "img"}), readout = h("output", {}),
          legend = h("div", {class: "legend", "aria-hidden": "true"});
    let kind = kinds.includes("steps") && /[A-Za-w!]/.test(picture.maps.steps) &&
                       !/[R-Za-w!]/.test(picture.maps.ratio || "")
                   ? "steps"
                   : kinds[0];
    let at = null, cells;
    const buttons = kinds.map((one) => h("button", {
                                  type: "button",
                                  onclick: () => {
                                      kind = one;
                                      draw();
                                  }
                              },
                                         MAPS[one].title));

    function tell() {
        if (!at) {
            const of = experts.length ? `${plural(picture.shape[0], "row")} by expert`
                                      : plural(picture.shape[0], "row");
            const tile = picture.tile[0] > 0 ? `; tiles of ${picture.tile[0]} × ${picture.tile[1]}` : "";
            readout.textContent = `${of} × ${plural(picture.shape[1], "column")}, the largest of each cell${
                tile}. Point at a cell, or use the arrow keys.`;
            return;
        }
        const cell = cells[at[0] * columns + at[1]];
        const value = cell === 0
                          ? "nothing was measured"
                          : `${MAPS[kind].title.toLowerCase()} ${levelText(cell - 1, MAPS[kind].wholes)}`;
        readout.textContent = `${placeText(picture, experts, at[0], at[1])}: ${value}`;
    }

    function draw() {
        const scale = window.devicePixelRatio || 1, colours = palette(MAPS[kind].wholes);
        cells = mapCells(picture.maps[kind], rows * columns);
        canvas.width = Math.ceil((LEFT + wide + 2) * scale);
        canvas.height = Math.ceil((TOP + tall + 2) * scale);
        canvas.style.width = `${LEFT + wide + 2}px`;
        canvas.style.aspectRatio = `${LEFT + wide + 2} / ${TOP + tall + 2}`;
        const context = canvas.getContext("2d");
        context.scale(scale, scale);
        cells.forEach((cell, i) => {
            context.fillStyle = colours[cell];
            context.fillRect(LEFT + (i % columns) * cellWide, TOP + Math.floor(i / columns) * cellTall,
                             cellWide, cellTall);
        });
        drawBorders(context, picture, experts, LEFT, TOP, wide, tall);
        drawLabels(context, picture, experts, LEFT, TOP, wide, tall);
        if (at) {
            context.strokeStyle = colour("--text");
            context.lineWidth = 2;
            context.strokeRect(LEFT + at[1] * cellWide - 1, TOP + at[0] * cellTall - 1, cellWide + 2,
                               cellTall + 2);
        }
        buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(kinds[i] === kind)));
        canvas.setAttribute(
            "aria-label",
            `${MAPS[kind].title} of ${label}, ${rows} × ${columns} cells. Arrow keys read them.`);
        const first = MAPS[kind].wholes ? ONE : 1;
        const stops =
            [0, 1, 2, 3, 4, 5, 6].map((i) => colours[Math.round(first + (i / 6) * (LAST - 12 - first)) + 1]);
        legend.replaceChildren(
            "0", h("i", {style: `background:linear-gradient(90deg,${colours[1]},${stops.join(",")})`}),
            MAPS[kind].wholes ? "many ulps" : "above 1");
        tell();
    }

    const move = (cell) => {
        at = cell;
        draw();
    };
    const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));
    canvas.addEventListener("pointermove", (event) => {
        const box = canvas.getBoundingClientRect(), zoom = (LEFT + wide + 2) / box.width;
        const column = Math.floor(((event.clientX - box.left) * zoom - LEFT) / cellWide),
              row = Math.floor(((event.clientY - box.top) * zoom - TOP) / cellTall);
        const inside = row >= 0 && row < rows && column >= 0 && column < columns;
        if (inside ? !at || at[0] !== row || at[1] !== column : at) move(inside ? [row, column] : null);
    });
    canvas.addEventListener("pointerleave", () => {
        if (document.activeElement !== canvas) move(null);
    });
    canvas.addEventListener("keydown", (event) => {
        const step = {
            ArrowLeft: [0, -1],
            ArrowRight: [0, 1],
            ArrowUp: [-1, 0],
            ArrowDown: [1, 0],
            Home: [0, -columns],
            End: [0, columns]
        }[event.key];
        if (!step) return;
        event.preventDefault();
        move(at ? [clamp(at[0] + step[0], rows), clamp(at[1] + step[1], columns)] : [0, 0]);
    });
    canvas.addEventListener("blur", () => move(null));
    redraws.push(draw);
    draw();
    return h("figure", {}, h("figcaption", {}, kinds.length > 1 ? buttons : MAPS[kind].title), canvas, legend,
             readout);
}
