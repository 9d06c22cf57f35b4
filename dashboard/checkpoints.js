// The last epochs: how long the phases of their checkpoints took, and how much of the interval that is.

import { byId, keyed, make, mark, place, set, span, text } from "./dom.js";
import { count, millis, moment, percent, seconds, several } from "./format.js";

const PHASES = ["cut", "align", "flush", "offsets", "commit"];
const BAR_PX = 7;
const LEAST_SCALE_MS = 10;

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
  const shown = list.slice(-Math.max(20, Math.floor(chart.clientWidth / BAR_PX)));
  const longest = Math.max(0, ...shown.map(({ total_ms }) => total_ms));
  const scale = niceAbove(Math.max(LEAST_SCALE_MS, longest * 1.08));
  byId("epochs-empty").hidden = shown.length > 0;
  text(byId("epochs-note"), shown.length ? `mean ${millis(meanOf(shown, ({ total_ms }) => total_ms))}, longest ${millis(longest)}` : "");
  keyed(chart, shown, ({ epoch }) => epoch, createBar, (bar, checkpoint) => updateBar(bar, checkpoint, scale));
  showScale(scale, shown);
  showReadout(shown);
  showShares(shown);
}

/** The next of 1, 2, 5, 10, 20, ... */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function createBar(checkpoint) {
  const bar = make("div", { className: "epoch" }, ...PHASES.map((phase) => make("div", { className: phase })));
  return mark(bar, "alerts", checkpoint.alerts > 0);
}

function updateBar(bar, checkpoint, scale) {
  PHASES.forEach((phase, index) => place(bar.children[index], "height", checkpoint.phases_ms[phase] / scale));
  mark(bar, "chosen", checkpoint.epoch === chosen);
}

function showScale(scale, shown) {
  text(byId("scale-top"), millis(scale));
  text(byId("scale-middle"), millis(scale / 2));
  const line = byId("interval-line");
  line.hidden = intervalMs > scale;
  place(line, "bottom", intervalMs / scale);
  text(byId("epochs-from"), shown.length ? moment(shown[0].cut_at) : "");
  text(byId("epochs-to"), shown.length ? moment(shown.at(-1).cut_at) : "");
}

/** Tells of the chosen epoch, or of the newest. */
function showReadout(shown) {
  const checkpoint = shown.find(({ epoch }) => epoch === chosen) ?? shown.at(-1);
  const readout = byId("readout");
  // only somebody who chooses wants to hear it
  set(readout, "ariaLive", chosen === null ? "off" : "polite");
  if (!checkpoint) return text(readout, "");
  const { epoch, total_ms, cut_at, records, written, alerts } = checkpoint;
  const raised = alerts ? `, ${several(alerts, "alert")}` : "";
  text(readout, `Epoch ${epoch.toLocaleString("en")} at ${moment(cut_at)}: ${millis(total_ms)}, ${count(records)} records in, ${count(written)} out${raised}`);
}

/** The mean epoch as a part of its interval, phase by phase. */
function showShares(shown) {
  const means = PHASES.map((phase) => meanOf(shown, ({ phases_ms }) => phases_ms[phase]));
  const total = means.reduce((sum, mean) => sum + mean, 0);
  const whole = Math.max(intervalMs, total);
  keyed(byId("shares"), PHASES, (phase) => phase, (phase) => make("div", { className: phase }), (part, phase) => {
    place(part, "width", means[PHASES.indexOf(phase)] / whole);
  });
  text(byId("shares-note"), shown.length ? `${percent(total / intervalMs)} of the interval of ${seconds(intervalMs / 1000)}` : "");
  const create = (phase) => make("li", {}, span(`swatch ${phase}`), phase, span("number"));
  keyed(byId("phases"), PHASES, (phase) => phase, create, (entry, phase) => {
    text(entry.lastElementChild, shown.length ? millis(means[PHASES.indexOf(phase)]) : "");
  });
}

function meanOf(items, value) {
  return items.reduce((sum, item) => sum + value(item), 0) / (items.length || 1);
}

function choose(epoch) {
  chosen = epoch;
  for (const bar of chart.children) mark(bar, "chosen", epoch !== null && bar.dataset.key === String(epoch));
  showReadout(list);
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
