// The last epochs: how long the phases of their checkpoints took, and how much of the interval that is.

import { byId, keyed, make, mark, place, set, span, text } from "./dom.js";
import { count, millis, moment, percent, several } from "./format.js";

const PHASES = ["cut", "align", "flush", "offsets", "commit"];
const BAR_PX = 7;
const LEAST_SCALE_MS = 10;
/** Fewer bars are narrower than two times of day beside each other. */
const LABELLED = 24;

const chart = byId("epochs");
let list = [];
let intervalMs = 0;
/** The epoch that is pointed at; null: the newest is told of. */
let chosen = null;

/** Draws the last checkpoints, the newest at the right, each as high as it took. */
export function showCheckpoints(checkpoints, intervalS) {
  [list, intervalMs] = [checkpoints, intervalS * 1000];
  render();
}

function render() {
  const shown = shownOf(list);
  const longest = Math.max(0, ...shown.map(({ total_ms }) => total_ms));
  const scale = niceAbove(Math.max(LEAST_SCALE_MS, longest * 1.08));
  byId("epochs-empty").hidden = shown.length > 0;
  text(byId("epochs-note"), shown.length ? `mean ${millis(meanOf(shown, ({ total_ms }) => total_ms))}, longest ${millis(longest)}` : "");
  keyed(chart, shown, ({ epoch }) => epoch, createBar, (bar, checkpoint) => updateBar(bar, checkpoint, scale));
  showScale(scale, shown);
  showReadout(shown);
}

/** Those that there is room for. */
function shownOf(all) {
  return all.slice(-Math.max(1, Math.floor(chart.clientWidth / BAR_PX)));
}

/** The next of 1, 2, 3, 4, 6, 8, 10, 20, ..., whose halves are as short. */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 3, 4, 6, 8, 10].find((step) => step * power >= value);
}

function createBar(checkpoint) {
  const bar = make("div", { className: "epoch" }, ...PHASES.map((phase) => make("div", { className: phase })));
  return mark(bar, "alerts", checkpoint.alerts > 0);
}

function updateBar(bar, checkpoint, scale) {
  PHASES.forEach((phase, index) => place(bar.children[index], "height", checkpoint.phases_ms[phase] / scale));
  mark(bar, "chosen", checkpoint.epoch === chosen);
}

/** What stands around the bars: the scale, the interval where it is in sight, and from when to when they are. */
function showScale(scale, shown) {
  text(byId("scale-top"), millis(scale));
  text(byId("scale-middle"), millis(scale / 2));
  const line = byId("interval-line");
  line.hidden = intervalMs > scale;
  place(line, "bottom", intervalMs / scale);
  const free = Math.max(0, chart.clientWidth - shown.length * BAR_PX);
  place(byId("epochs-from"), "left", free / chart.clientWidth);
  text(byId("epochs-from"), shown.length >= LABELLED ? moment(shown[0].cut_at) : "");
  text(byId("epochs-to"), shown.length ? moment(shown.at(-1).cut_at) : "");
}

/** Tells of the chosen epoch, or of the newest and of the mean of all. */
function showReadout(shown) {
  const found = shown.find(({ epoch }) => epoch === chosen);
  const readout = byId("readout");
  // only somebody who chooses wants to hear it
  set(readout, "ariaLive", found ? "polite" : "off");
  text(readout, shown.length ? story(found ?? shown.at(-1)) : "");
  text(byId("shares-title"), found ? `Epoch ${number(found)} in its interval` : "Mean epoch in its interval");
  showShares(found ? [found] : shown);
}

const number = ({ epoch }) => epoch.toLocaleString("en");

function story(checkpoint) {
  const { total_ms, cut_at, records, written, alerts } = checkpoint;
  const raised = alerts ? `, ${several(alerts, "alert")}` : "";
  return `Epoch ${number(checkpoint)} at ${moment(cut_at)}: ${millis(total_ms)}, ${count(records)} records in, ${count(written)} out${raised}`;
}

/** The mean of these epochs as a part of the interval, phase by phase. */
function showShares(epochs) {
  const means = PHASES.map((phase) => [phase, meanOf(epochs, ({ phases_ms }) => phases_ms[phase])]);
  const total = means.reduce((sum, [, mean]) => sum + mean, 0);
  const whole = Math.max(intervalMs, total);
  const name = ([phase]) => phase;
  keyed(byId("shares"), means, name, ([phase]) => make("div", { className: phase }), (part, [, mean]) => place(part, "width", mean / whole));
  text(byId("shares-note"), epochs.length ? `${percent(total / intervalMs)} of ${millis(intervalMs)}` : "");
  const create = ([phase]) => make("li", {}, span(`swatch ${phase}`), phase, span("number"));
  keyed(byId("phases"), means, name, create, (entry, [, mean]) => text(entry.lastElementChild, epochs.length ? millis(mean) : ""));
}

function meanOf(items, value) {
  return items.reduce((sum, item) => sum + value(item), 0) / (items.length || 1);
}

function choose(epoch) {
  chosen = epoch;
  for (const bar of chart.children) mark(bar, "chosen", epoch !== null && bar.dataset.key === String(epoch));
  showReadout(shownOf(list));
}

function chooseByKey(event) {
  const keys = [...chart.children].map((bar) => Number(bar.dataset.key));
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -keys.length, End: keys.length }[event.key];
  if (event.key === "Escape") return choose(null);
  if (!step || !keys.length) return;
  event.preventDefault();
  const from = chosen === null ? keys.length - 1 : keys.indexOf(chosen);
  choose(keys[Math.max(0, Math.min(keys.length - 1, from + step))]);
}

chart.addEventListener("pointermove", ({ target }) => {
  const bar = target.closest(".epoch");
  if (bar) choose(Number(bar.dataset.key));
});
chart.addEventListener("pointerleave", () => choose(null));
chart.addEventListener("blur", () => choose(null));
chart.addEventListener("keydown", chooseByKey);
new ResizeObserver(render).observe(chart);
