// A line of the last five minutes, without axes. Where seconds are missing, so is the line.

import { makeSvg } from "./dom.js";

const SPAN_MS = 300_000;
/** A line that has just begun does not hide in a corner. */
const LEAST_SPAN_MS = 30_000;
const GAP_MS = 3500;
const WIDTH = 300;
const HEIGHT = 32;

/** What was seen in the last five minutes: `values` by name, with when. */
export class History {
  #samples = [];

  add(at, values) {
    this.#samples.push({ at, values });
    while (this.#samples[0].at < at - SPAN_MS) this.#samples.shift();
  }

  clear() {
    this.#samples = [];
  }

  /** Known values of this name, oldest first, as [time, value]. */
  of(name) {
    return this.#samples.map(({ at, values }) => [at, values[name]]).filter(([, value]) => value != null);
  }
}

/** An empty line. */
export function sparkline() {
  const line = makeSvg("path", { class: "line" });
  const area = makeSvg("path", { class: "area" });
  return makeSvg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
}

/** Draws points of a [`History`], the newest at the right edge. */
export function draw(svg, points) {
  const last = points.at(-1)?.[0] ?? 0;
  const spanMs = Math.max(LEAST_SPAN_MS, last - (points[0]?.[0] ?? 0));
  const highest = Math.max(0, ...points.map(([, value]) => value)) || 1;
  const x = (at) => (WIDTH * (1 - (last - at) / spanMs)).toFixed(1);
  const y = (value) => (HEIGHT - 1 - ((HEIGHT - 3) * value) / highest).toFixed(1);
  const pieces = unbroken(points).map((piece) => ({
    line: piece.map(([at, value]) => `${x(at)} ${y(value)}`).join("L"),
    from: x(piece[0][0]),
    to: x(piece.at(-1)[0]),
  }));
  const [area, line] = svg.children;
  area.setAttribute("d", pieces.map((piece) => `M${piece.from} ${HEIGHT}L${piece.line}L${piece.to} ${HEIGHT}Z`).join(""));
  line.setAttribute("d", pieces.map((piece) => `M${piece.line}`).join(""));
}

/** Points that follow each other closely, together. */
function unbroken(points) {
  const pieces = [];
  points.forEach((point, index) => {
    if (index === 0 || point[0] - points[index - 1][0] > GAP_MS) pieces.push([]);
    pieces.at(-1).push(point);
  });
  return pieces;
}
