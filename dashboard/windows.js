// Open windows, those nearest to an alert first.

import { byId, keyed, make, mark, place, set, span, text, track } from "./dom.js";
import { count, moment } from "./format.js";

const SHOWN = 12;
/** Where the threshold stands in a bar that has not passed it. */
const THRESHOLD_AT = 0.8;

/** One bar for each of the fullest windows; the mark in it is the threshold. */
export function showWindows({ open, windows }) {
  byId("windows-empty").hidden = open > 0;
  text(byId("windows-note"), open ? `${count(open)}, fullest first` : "");
  byId("windows-legend").hidden = open === 0;
  const oneRule = new Set(windows.map(({ rule }) => rule)).size === 1;
  keyed(byId("windows"), windows.slice(0, SHOWN), key, createRow, (row, window) => updateRow(row, window, oneRule));
}

const key = ({ rule, window_start, service }) => `${rule}/${window_start}/${service}`;

function createRow({ service, rule, window_start, window_end }) {
  const bar = track();
  bar.append(make("div", { className: "threshold" }));
  const title = `${service}\n${rule}, ${moment(window_start)} to ${moment(window_end)}`;
  return make("li", { title }, span("name", service), span("quiet"), span("number"), bar);
}

function updateRow(row, window, oneRule) {
  const [, about, number, bar] = row.children;
  const until = `to ${moment(window.window_end)}`;
  text(about, oneRule ? until : `${window.rule} ${until}`);
  text(number, `${count(window.count)} / ${count(window.threshold)}${window.crossed ? " ▲" : ""}`);
  set(number, "title", window.crossed ? "an alert was raised" : "");
  const scale = Math.max(window.count, window.threshold / THRESHOLD_AT, 1);
  place(bar.children[0], "width", window.count / scale);
  place(bar.children[1], "left", window.threshold / scale);
  mark(bar, "over", window.crossed || window.count > window.threshold);
}
