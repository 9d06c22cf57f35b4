// One function for each panel: from what the API says to what the page shows.

import { byId, draw, fill, keyed, make, sparkline, text, track } from "./dom.js";
import { bytes, count, millis, moment, percent, rate, seconds } from "./format.js";

const PHASES = ["cut", "align", "flush", "offsets", "commit"];
const STAGES = {
  reader: "polls the log",
  filter: "parses, drops bots",
  enrich: "adds geo data",
  window: "counts, raises alerts",
  committer: "one transaction an epoch",
};
const SINKS = { processed: "processed", alerts: "alerts", dead_letters: "dead letters", state: "state" };

/** Seconds that sparklines show. */
export const HISTORY = 180;

// --- header and key figures

/** The phase, as one look should tell it. */
export function header(status, live) {
  const phase = byId("phase");
  const ready = live && status.ready;
  text(phase, live ? (status.ready ? "running" : status.phase === "running" ? "broker away" : status.phase) : "no contact");
  phase.className = `badge ${ready ? "good" : live && status.phase !== "stopped" ? "warn" : "bad"}`;
  text(byId("about"), `version ${status.version} · ${status.log} · up ${seconds(status.uptime_s)} · generation ${status.generation}`);
  const reason = byId("reason");
  reason.hidden = !live || status.ready || !status.reason;
  text(reason, status.reason ?? "");
  document.title = `${ready ? "" : "⚠ "}Tidegate`;
}

const FIGURES = [
  { name: "in", value: (s) => rate(s.rates.source), note: (s) => `${count(s.totals.source)} records`, spark: (s) => s.rates.source },
  { name: "out", value: (s) => rate(s.rates.processed), note: (s) => `${rate(s.rates.bots)} bots dropped` },
  { name: "lag", value: (s) => count(s.lag), note: (s) => catchingUp(s), spark: (s) => s.lag ?? 0 },
  { name: "checkpoint", value: (s, extra) => millis(extra.checkpoint), note: (s) => `every ${seconds(s.checkpoint.interval_s)}, last ${seconds(s.checkpoint.age_s)} ago`, spark: (s, extra) => extra.checkpoint ?? 0, worry: (s) => s.checkpoint.age_s > 10 },
  { name: "alerts", value: (s) => count(s.totals.alerts), note: (s) => (s.alert_latency_ms ? `visible after ${millis(s.alert_latency_ms.p50)}, p99 ${millis(s.alert_latency_ms.p99)}` : "") },
  { name: "watermark lag", value: (s) => seconds(s.watermark_lag_s), note: (s) => (s.totals.late ? `${count(s.totals.late)} late` : "none late") },
  { name: "dead letters", value: (s) => count(s.totals.dead_letters), note: (s) => rate(s.rates.dead_letters) },
  { name: "restarts", value: (s) => count(s.totals.restarts), note: () => "of actors", worry: (s) => s.totals.restarts > 0 },
  { name: "memory", value: (s) => bytes(s.resources.resident_bytes), note: (s) => `state ${bytes(s.resources.state_bytes)}` },
  { name: "CPU", value: (s) => (s.resources.cpu_cores == null ? "–" : `${s.resources.cpu_cores.toFixed(2)}`), note: () => "cores" },
];

function catchingUp({ lag, rates }) {
  if (!lag) return "all processed";
  return rates.source > 0 ? `${seconds(lag / rates.source)} of work` : "nothing is read";
}

/** The figures, with what became of some of them. */
export function figures(status, extra, history) {
  keyed(byId("figures"), FIGURES, (figure) => figure.name, createFigure, (element, figure) => {
    const [, value, note, spark] = element.children;
    text(value, figure.value(status, extra));
    value.className = `value ${figure.worry?.(status) ? "warn" : ""}`;
    text(note, figure.note(status));
    if (spark) draw(spark, history.map((past) => past[figure.name]));
  });
}

/** What to remember of this second for the sparklines. */
export function sample(status, extra) {
  const drawn = FIGURES.filter((figure) => figure.spark);
  return Object.fromEntries(drawn.map((figure) => [figure.name, figure.spark(status, extra)]));
}

function createFigure(figure) {
  const element = make("div", { className: "figure" }, make("dt", { textContent: figure.name }), make("dd", { className: "value" }), make("dd", { className: "note" }));
  if (figure.spark) element.append(sparkline());
  return element;
}

// --- pipeline

/** The stages between source and sinks, with how busy each is. */
export function pipeline({ source, stages, sinks, partitions }) {
  const read = partitions.reduce((sum, partition) => sum + partition.rate, 0);
  const first = { stage: "source", title: source.topic, rate: read, detail: `${partitions.length} partitions` };
  const last = { stage: "sinks", title: "output topics", sinks };
  keyed(byId("stages"), [first, ...stages, last], (item) => item.stage, createStage, updateStage);
}

function createStage({ stage }) {
  const box = make("li", { className: `stage ${stage in STAGES ? "" : "end"}` }, make("h3"));
  if (stage === "sinks") return box;
  box.append(make("p", { className: "rate" }), make("p", { className: "detail" }));
  if (stage in STAGES) {
    box.title = STAGES[stage];
    box.append(meter("busy", ""), meter("back-pressure", "waiting"));
  }
  return box;
}

function meter(name, kind) {
  const output = make("output");
  output.setAttribute("aria-label", name);
  return make("div", { className: "meter" }, track(kind), output);
}

function updateStage(box, item) {
  text(box.firstElementChild, item.title ?? item.stage);
  if (item.sinks) return updateSinks(box, item.sinks);
  const [, speed, detail, busy, waiting] = box.children;
  text(speed, rate(item.rate));
  text(detail, item.detail ?? queued(item));
  if (busy) {
    setMeter(busy, item.busy);
    setMeter(waiting, item.backpressure);
  }
}

function queued({ workers, queue }) {
  const who = `${workers} ${workers === 1 ? "worker" : "workers"}`;
  return queue ? `${who}, ${count(queue)} waiting` : who;
}

function setMeter(meter, share) {
  const [bar, output] = meter.children;
  fill(bar.firstElementChild, share);
  text(output, percent(share));
}

function updateSinks(box, sinks) {
  const rows = box.querySelector("div") ?? box.appendChild(make("div"));
  const create = () => make("p", { className: "sink" }, make("span"), make("span"));
  keyed(rows, sinks, (sink) => sink.kind, create, (row, sink) => {
    row.title = sink.topic;
    text(row.firstElementChild, SINKS[sink.kind]);
    text(row.lastElementChild, rate(sink.rate));
  });
}

/** Lag of each partition, beside the largest. */
export function partitions(partitions) {
  const largest = Math.max(1000, ...partitions.map((partition) => partition.lag ?? 0));
  const idle = partitions.filter((partition) => partition.idle).length;
  text(byId("lag-note"), idle ? `${idle} of ${partitions.length} idle` : "");
  const create = () => make("li", {}, make("span", { className: "name" }), track(), make("span", { className: "number" }));
  keyed(byId("partitions"), partitions, (partition) => partition.partition, create, (row, partition) => {
    const [name, bar, number] = row.children;
    text(name, `${partition.partition}`);
    fill(bar.firstElementChild, partition.lag / largest);
    text(number, partition.lag == null ? "–" : `${count(partition.lag)}${partition.idle ? " idle" : ""}`);
    row.title = `partition ${partition.partition}: position ${partition.position ?? "unknown"}, ${rate(partition.rate)}, watermark ${moment(partition.watermark)}`;
  });
}

// --- checkpoints

/** The last checkpoints, the newest at the right, each as high as it took. */
export function checkpoints(list, intervalS) {
  const shown = list.slice(-Math.max(20, Math.floor(byId("epochs").clientWidth / 7)));
  const longest = Math.max(0, ...shown.map((checkpoint) => checkpoint.total_ms));
  const scale = Math.max(10, longest);
  const mean = shown.reduce((sum, checkpoint) => sum + checkpoint.total_ms, 0) / shown.length;
  text(byId("epochs-note"), shown.length ? `mean ${millis(mean)}, longest ${millis(longest)}, interval ${seconds(intervalS)}` : "none yet");
  keyed(byId("epochs"), shown, (checkpoint) => checkpoint.epoch, createEpoch, (bar, checkpoint) => {
    PHASES.forEach((phase, index) => {
      const height = `${((88 * checkpoint.phases_ms[phase]) / scale).toFixed(2)}%`;
      if (bar.children[index].style.height !== height) bar.children[index].style.height = height;
    });
  });
  legend(shown);
}

function createEpoch(checkpoint) {
  const bar = make("div", { className: `epoch ${checkpoint.alerts ? "alerting" : ""}` }, ...PHASES.map((phase) => make("div", { className: phase })));
  const phases = PHASES.map((phase) => `${phase} ${millis(checkpoint.phases_ms[phase])}`).join(", ");
  const written = `${count(checkpoint.records)} records in, ${count(checkpoint.written)} out, ${count(checkpoint.alerts)} alerts`;
  bar.title = `epoch ${checkpoint.epoch} at ${moment(checkpoint.cut_at)}: ${millis(checkpoint.total_ms)}\n${phases}\n${written}`;
  return bar;
}

function legend(shown) {
  const mean = (phase) => shown.reduce((sum, checkpoint) => sum + checkpoint.phases_ms[phase], 0) / (shown.length || 1);
  const create = (phase) => make("span", {}, make("i", { className: `key ${phase}` }), make("span"));
  keyed(byId("epochs-legend"), PHASES, (phase) => phase, create, (entry, phase) => {
    text(entry.lastElementChild, `${phase} ${shown.length ? millis(mean(phase)) : ""}`);
  });
}

// --- windows, alerts, dead letters

/** Open windows, the fullest first; the mark is the threshold. */
export function windows({ open, windows }) {
  text(byId("windows-note"), open ? `${count(open)} open, the fullest first` : "");
  byId("windows-empty").hidden = open > 0;
  const create = () => {
    const bar = track();
    bar.append(make("div", { className: "mark" }));
    return make("li", {}, make("span", { className: "name" }), make("span", { className: "number" }), bar);
  };
  const key = (window) => `${window.rule}/${window.window_start}/${window.service}`;
  keyed(byId("windows"), windows.slice(0, 12), key, create, (row, window) => {
    const [name, number, bar] = row.children;
    const scale = Math.max(window.count, window.threshold * 1.25, 1);
    text(name, window.service);
    name.title = window.service;
    text(number, `${count(window.count)} of ${count(window.threshold)}${window.crossed ? " ▲" : ""}`);
    fill(bar.children[0], window.count / scale);
    bar.children[0].className = `fill ${window.count > window.threshold ? "over" : ""}`;
    bar.children[1].style.left = `${((100 * window.threshold) / scale).toFixed(1)}%`;
    row.title = `${window.rule}, ${moment(window.window_start)} to ${moment(window.window_end)}${window.crossed ? ", alert raised" : ""}`;
  });
}

/** Alerts, the newest first, each with what made it. */
export function alerts(list) {
  text(byId("alerts-note"), list.length ? `the last ${list.length}, newest first` : "");
  byId("alerts-empty").hidden = list.length > 0;
  keyed(byId("alerts"), list.toReversed(), (alert) => alert.seq, createAlert, () => {});
}

function createAlert({ committed_at, latency_ms, alert }) {
  const summary = make(
    "summary",
    {},
    make("span", { className: `tag ${alert.phase}`, textContent: alert.phase }),
    make("span", { className: "name", textContent: alert.service }),
    make("span", { className: "grow", textContent: alert.message }),
    make("span", { className: "quiet", textContent: `${moment(committed_at)}${latency_ms == null ? "" : ` · after ${millis(latency_ms)}`}` }),
  );
  const facts = [
    `rule ${alert.rule}: ${count(alert.count)} events, threshold ${count(alert.threshold)}`,
    `window ${moment(alert.window_start)} to ${moment(alert.window_end)}; events from ${moment(alert.first_event_at)} to ${moment(alert.last_event_at)}`,
    `id ${alert.id}`,
  ];
  const inside = make("div", { className: "inside" }, ...facts.map((fact) => make("p", { textContent: fact })), evidence(alert.evidence));
  return make("details", {}, summary, inside);
}

function evidence(events) {
  if (!events.length) return make("p", { textContent: "No evidence is kept: alerts.evidence is 0." });
  const row = (cell, values) => make("tr", {}, ...values.map((value) => make(cell, { textContent: value })));
  const rows = events.map((event) => row("td", [event.topic, event.partition, event.offset, event.user_id ?? "–", moment(event.timestamp)]));
  return make("table", {}, make("caption", { className: "quiet", textContent: "First counted events" }), row("th", ["topic", "partition", "offset", "user", "event time"]), ...rows);
}

/** Dead letters by reason, each with its last few. */
export function deadLetters({ reasons }) {
  const some = reasons.filter((reason) => reason.total > 0).sort((a, b) => b.total - a.total);
  byId("dead-empty").hidden = some.length > 0;
  text(byId("dead-note"), some.length ? `${count(some.reduce((sum, reason) => sum + reason.total, 0))} in all` : "");
  const create = () => make("details", {}, make("summary", {}, make("span", { className: "name grow" }), make("span")), make("div", { className: "inside" }));
  keyed(byId("dead"), some, (reason) => reason.reason, create, (entry, reason) => {
    const [summary, inside] = entry.children;
    text(summary.firstElementChild, reason.reason);
    text(summary.lastElementChild, count(reason.total));
    keyed(inside, reason.samples, (sample) => `${sample.partition}/${sample.offset}`, createSample, () => {});
  });
}

function createSample(sample) {
  const where = `${moment(sample.at)} · partition ${sample.partition}, offset ${sample.offset}, ${bytes(sample.size)}`;
  return make("div", {}, make("p", { className: "quiet", textContent: where }), make("p", { textContent: sample.detail }), make("pre", { textContent: sample.value }));
}

// --- actors

/** All actors by kind, the last failure of each that had one. */
export function actors(list) {
  byId("actors-empty").hidden = list.length > 0;
  const down = list.filter((actor) => actor.state !== "running");
  text(byId("actors-note"), list.length ? (down.length ? `${down.length} of ${list.length} not running` : `all ${list.length} run`) : "");
  const kinds = Map.groupBy(list, (actor) => actor.actor);
  const create = ([kind]) => make("div", { className: "kind" }, make("span", { textContent: kind }));
  keyed(byId("actors"), [...kinds], ([kind]) => kind, create, (row, [kind, members]) => updateKind(row, kind, members));
  failures(list.filter((actor) => actor.last_failure));
}

function updateKind(row, kind, members) {
  const dots = [...row.querySelectorAll(".dot")];
  members.forEach((actor, index) => {
    const dot = dots[index] ?? row.appendChild(make("span"));
    dot.className = `dot ${actor.state} ${actor.state === "running" && actor.restarts ? "restarted" : ""}`;
    text(dot, actor.state === "running" ? `${actor.index}${actor.restarts ? ` ↻${actor.restarts}` : ""}` : `${actor.index} ✕`);
    dot.title = `${kind} ${actor.index}: ${actor.state}, ${actor.restarts} restarts`;
    dot.setAttribute("role", "img");
    dot.setAttribute("aria-label", dot.title);
  });
  dots.slice(members.length).forEach((dot) => dot.remove());
}

function failures(failed) {
  const newest = failed.sort((a, b) => b.last_failure.at - a.last_failure.at).slice(0, 5);
  keyed(byId("failures"), newest, (actor) => `${actor.actor}/${actor.index}`, () => make("li"), (row, actor) => {
    text(row, `${moment(actor.last_failure.at)} · ${actor.last_failure.cause} (${actor.restarts} so far)`);
  });
}
