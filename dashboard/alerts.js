// Alerts as they come, each with what made it.

import { byId, keyed, make, mark, span, text } from "./dom.js";
import { UNKNOWN, count, millis, moment, several } from "./format.js";

const SYMBOLS = { crossed: "▲", closed: "■" };

/** All alerts that are known, the newest first; new ones are pointed out if `announce` says so. */
export function showAlerts(alerts, { announce }) {
  byId("alerts-empty").hidden = alerts.length > 0;
  text(byId("alerts-note"), alerts.length ? `last ${alerts.length}, newest first` : "");
  const create = (alert) => mark(createAlert(alert), "new", announce);
  keyed(byId("alerts"), alerts.toReversed(), ({ seq, alert }) => `${seq}/${alert.phase}/${alert.id}`, create);
}

function createAlert({ committed_at, latency_ms, alert }) {
  const when = span("when", moment(committed_at));
  if (latency_ms != null) when.append(span("quiet", ` after ${millis(latency_ms)}`));
  const tag = mark(span("tag", `${SYMBOLS[alert.phase] ?? ""} ${alert.phase}`), "phase", alert.phase);
  const summary = make("summary", {}, tag, span("name", alert.service), span("message", alert.message), when);
  return make("details", {}, summary, make("div", { className: "inside" }, facts(alert), evidence(alert.evidence)));
}

function facts(alert) {
  const rows = [
    ["rule", `${alert.rule}: ${several(alert.count, "event")}, threshold ${count(alert.threshold)}`],
    ["window", `${moment(alert.window_start)} to ${moment(alert.window_end)}`],
    ["events", `${moment(alert.first_event_at)} to ${moment(alert.last_event_at)}`],
    ["id", alert.id],
  ];
  const cells = ([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })];
  return make("dl", { className: "facts" }, ...rows.flatMap(cells));
}

function evidence(events) {
  if (!events.length) return make("p", { className: "quiet", textContent: "No evidence is kept: alerts.evidence is 0." });
  const row = (cell, values) => make("tr", {}, ...values.map((value) => make(cell, { textContent: value })));
  const rows = events.map((event) => row("td", [moment(event.timestamp), event.user_id ?? UNKNOWN, event.topic, event.partition, event.offset]));
  const head = row("th", ["event time", "user", "topic", "partition", "offset"]);
  return make("table", {}, make("caption", { textContent: "First events that were counted" }), head, ...rows);
}
