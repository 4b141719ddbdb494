/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as reports have them, and the levels of moeparity/picture.h. */

const LEVELS = ".ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw!";
const LAST = LEVELS.length - 1;

/* The largest value of a level. */
function levelTop(level) {
    if (level <= 0) return 0;
    if (level >= LAST) return Infinity;
    return 2 ** (-8 + Math.floor((level - 1) / 2)) * (level % 2 ? 1 : 1.5);
}
const ONE = LEVELS.indexOf("Q"); /* the level whose top is 1 */

/* JSON has no NaN: reports say it in words. What is not there is undefined. */
function real(value) {
    if (typeof value === "number") return value;
    return {nan: NaN, inf: Infinity, "-inf": -Infinity}[value];
}

function short(value, digits = 3) {
    if (value === undefined) return "–";
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "Inf" : "−Inf";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6) return value.toExponential(digits - 1).replace("-", "−");
    let rounded = Number(value.toPrecision(digits));
    if (size < 1 && Math.abs(rounded) === 1)
        rounded = Math.sign(value) * (1 - 10 ** -digits); /* not quite 1 must not read as 1 */
    return String(rounded).replace("-", "−");
}
const exact = (value) => (value === undefined ? "–" : Number.isFinite(value) ? String(value) : short(value));
const whole = (count) => Number(count || 0).toLocaleString("en").replaceAll(",", "\u202f");
const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;

/* "0.75 to 1" of a level of ratios and ulps; of whole numbers of steps "2" or "7 to 8". */
function levelText(level, wholes) {
    if (level === 0) return "0";
    if (level === LAST)
        return wholes ? `more than ${whole(levelTop(LAST - 1))}, or NaN` : `above ${whole(2 ** 16)}, or NaN`;
    const top = levelTop(level), below = levelTop(level - 1);
    if (!wholes) return level === 1 ? `up to ${short(top)}` : `${short(below)} to ${short(top)}`;
    const least = Math.floor(below) + 1, most = Math.floor(top);
    return least >= most ? whole(most) : `${whole(least)} to ${whole(most)}`;
}

/* The cells of a map: 0 where nothing was measured, else the level plus one. */
function mapCells(text, count) {
    const cells = new Uint8Array(count);
    let at = 0;
    for (const [, letter, run] of text.matchAll(/([-.A-Za-w!])([0-9]*)/g)) {
        const times = run === "" ? 1 : Number(run);
        cells.fill(letter === "-" ? 0 : LEVELS.indexOf(letter) + 1, at, at + times);
        at += times;
    }
    return cells;
}
