// The header, and the key figures below it.

import { byId, keyed, make, mark, set, span, text } from "./dom.js";
import { UNKNOWN, bytes, count, day, millis, rate, seconds } from "./format.js";
import { draw, sparkline } from "./spark.js";

/** A checkpoint should come every interval while there is work; one that took so many of them, and so long, is late. */
const LATE_INTERVALS = 3;
const LATE_CHECKPOINT_S = 10;

/** The phase, as one look should tell it, and what this process is. */
export function showHeader(status, live) {
  const [word, grade] = verdict(status, live);
  text(byId("phase"), word);
  mark(byId("phase"), "grade", grade);
  set(document, "title", `${grade === "good" ? "" : "⚠ "}Tidegate`);
  const reason = byId("reason");
  reason.hidden = !live || status.ready || !status.reason;
  text(byId("reason-text"), status?.reason ?? "");
  const create = () => span("");
  if (status) keyed(byId("about"), about(status), ([name]) => name, create, (fact, [, value]) => text(fact, value));
}

/** A word, and how good it is. */
function verdict(status, live) {
  if (!live) return ["no contact", "bad"];
  if (status.ready) return ["running", "good"];
  if (status.phase === "running") return ["broker away", "warn"];
  return [status.phase, status.phase === "stopped" ? "bad" : "warn"];
}

function about(status) {
  const geo = status.geo_database_built_at;
  return [
    ["uptime", `up ${seconds(status.uptime_s)}`],
    ["version", `version ${status.version}`],
    ["log", `${status.log} log`],
    ["generation", `generation ${status.generation}`],
    ["geo", geo ? `geo data of ${day(geo)}` : "no geo data"],
  ];
}

const FIGURES = [
  { name: "In", spark: (s) => s.rates.source, format: rate, value: (s) => rate(s.rates.source), note: (s) => `${count(s.totals.source)} records` },
  { name: "Out", spark: (s) => s.rates.processed, format: rate, value: (s) => rate(s.rates.processed), note: (s) => `${count(s.totals.processed)} records` },
  { name: "Lag", spark: (s) => s.lag, format: count, value: (s) => count(s.lag), note: catchingUp },
  { name: "Checkpoint", spark: (s, mean) => mean, format: millis, value: (s, mean) => millis(mean), note: checkpointAge, worry: isLate },
  { name: "Watermark lag", value: (s) => seconds(s.watermark_lag_s), note: (s) => (s.totals.late ? `${count(s.totals.late)} late` : "nothing late") },
  { name: "Alerts", value: (s) => count(s.totals.alerts), note: (s) => rate(s.rates.alerts) },
  { name: "Alert latency", value: (s) => millis(s.alert_latency_ms?.p50), note: tailLatency },
  { name: "Bots dropped", value: (s) => count(s.totals.bots), note: (s) => rate(s.rates.bots) },
  { name: "Dead letters", value: (s) => count(s.totals.dead_letters), note: (s) => rate(s.rates.dead_letters) },
  { name: "Restarts", value: (s) => count(s.totals.restarts), note: (s) => (s.totals.restarts ? "see the actors" : "of actors"), worry: (s) => s.totals.restarts },
  { name: "Memory", value: (s) => bytes(s.resources.resident_bytes), note: (s) => `state ${bytes(s.resources.state_bytes)}` },
  { name: "CPU", value: (s) => s.resources.cpu_cores?.toFixed(2) ?? UNKNOWN, note: () => "cores" },
];
const LARGE = FIGURES.filter((figure) => figure.spark);
const SMALL = FIGURES.filter((figure) => !figure.spark);

function catchingUp({ lag, rates }) {
  if (lag == null) return "not known yet";
  if (lag === 0) return "all processed";
  return rates.source > 0 ? `${seconds(lag / rates.source)} of work` : "nothing is read";
}

function checkpointAge({ checkpoint }) {
  return checkpoint.age_s == null ? "none yet" : `committed ${seconds(checkpoint.age_s)} ago`;
}

function isLate({ checkpoint, lag }) {
  return lag > 0 && checkpoint.age_s > Math.max(LATE_CHECKPOINT_S, LATE_INTERVALS * checkpoint.interval_s);
}

function tailLatency({ alert_latency_ms: latency }) {
  return latency ? `p99 ${millis(latency.p99)}` : "no alert yet";
}

/** The figures; the large ones with what became of them. */
export function showFigures(status, mean, history) {
  const update = (element, figure) => {
    const [, value, note] = element.children;
    text(value, figure.value(status, mean));
    text(note, figure.note(status));
    mark(note, "worry", Boolean(figure.worry?.(status)));
    if (figure.spark) showHistory(element, figure, history.of(figure.name));
  };
  keyed(byId("figures"), LARGE, (figure) => figure.name, createLarge, update);
  keyed(byId("details"), SMALL, (figure) => figure.name, createSmall, update);
}

function showHistory(element, figure, points) {
  const [, , , peak, svg] = element.children;
  text(peak, points.length ? `peak ${figure.format(Math.max(...points.map(([, value]) => value)))}` : "");
  draw(svg, points);
}

/** What to remember of this second for the lines. */
export function sampleOf(status, mean) {
  return Object.fromEntries(LARGE.map((figure) => [figure.name, figure.spark(status, mean)]));
}

function createSmall({ name }) {
  const cells = [make("dt", { textContent: name }), make("dd", { className: "value" }), make("dd", { className: "note" })];
  return make("div", { className: "figure" }, ...cells);
}

function createLarge(figure) {
  const element = createSmall(figure);
  element.append(make("dd", { className: "peak", title: "highest of the last 5 minutes" }), sparkline());
  return element;
}
