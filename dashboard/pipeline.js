// The picture of the pipeline: from the source through the stages to the outputs, and the sinks that read these.

import { byId, keyed, make, mark, place, set, span, text, track } from "./dom.js";
import { count, percent, rate, several } from "./format.js";

/** With more sinks of one topic they share a row. */
const FEW_SINKS = 3;

/** From here on a stage is held up by the next one, not by chance. */
const HELD_UP = 0.5;

const STAGES = {
  reader: "reads the log",
  filter: "parses, drops bots",
  enrich: "adds geo data",
  window: "counts, raises alerts",
  committer: "commits epochs",
};
/** Stands for the rate of a sink that does not run. */
const SYMBOLS = { starting: "○", degraded: "▲", stopped: "✕" };
const OUTPUTS = { processed: "processed", alerts: "alerts", dead_letters: "dead letters", state: "state" };

/** Source, stages and outputs with what flows; `status`, `windows` and `actors` add what is known of each. */
export function showPipeline({ source, stages, sinks, partitions }, known) {
  const read = partitions.reduce((sum, partition) => sum + partition.rate, 0);
  const narrow = bottleneck(stages);
  const items = [
    { key: "source", title: source.topic, rate: read, note: several(partitions.length, "partition") },
    ...stages.map((stage) => describe(stage, stage === narrow, known)),
    { key: "outputs", title: "outputs", rows: sinks.flatMap((output) => outputRows(output, known.status?.sinks ?? [])) },
  ];
  keyed(byId("stages"), items, ({ key }) => key, createStage, updateStage);
}

/** The stage that those before it wait for: the first after the last that is held up. */
function bottleneck(stages) {
  const last = stages.findLastIndex((stage) => stage.backpressure >= HELD_UP);
  return last < 0 ? null : stages[last + 1];
}

function describe(stage, isNarrow, known) {
  return { ...stage, key: stage.stage, title: stage.stage, isNarrow, ...stageNote(stage, isNarrow, known) };
}

function stageNote({ stage }, isNarrow, { status, windows, actors }) {
  const mates = actors.filter(({ actor }) => actor === stage);
  const down = mates.filter(({ state }) => state !== "running");
  if (down.length) return { isDown: true, note: `${down.length} of ${mates.length} ${down[0].state}` };
  if (isNarrow) return { note: "bottleneck" };
  if (stage === "filter" && status) return { note: `${rate(status.rates.bots)} bots out` };
  if (stage === "window" && windows) return { note: `${count(windows.open)} open` };
  if (stage === "committer" && status) return { note: `epoch ${status.epoch.toLocaleString("en")}` };
  return { note: STAGES[stage] ?? "" };
}

function createStage({ key, rows }) {
  const box = make("li", { className: "stage" }, make("h3", {}, span("title"), span("workers")));
  if (rows) {
    box.append(make("dl", { className: "outputs" }));
    return mark(box, "end", "out");
  }
  box.append(make("p", { className: "rate" }), make("p", { className: "note" }));
  if (key === "source") return mark(box, "end", "in");
  box.title = STAGES[key] ?? "";
  box.append(meter("busy", "busy"), meter("back-pressure", "pressure"), make("p", { className: "queue" }));
  return box;
}

function meter(name, kind) {
  return make("div", { className: "meter" }, span("", name), span("share"), track(kind));
}

function updateStage(box, item) {
  const [title, workers] = box.firstElementChild.children;
  text(title, item.title);
  set(title, "title", item.title);
  if (item.rows) return showRows(box.lastElementChild, item.rows);
  text(workers, item.workers > 1 ? `×${item.workers}` : "");
  const [, speed, note, busy, pressure, queue] = box.children;
  text(speed, rate(item.rate));
  text(note, item.note);
  mark(box, "flow", flow(item.rate));
  mark(box, "down", item.isDown);
  mark(box, "narrow", item.isNarrow);
  if (!busy) return;
  showMeter(busy, item.busy);
  showMeter(pressure, item.backpressure);
  mark(box, "held", item.backpressure >= HELD_UP);
  text(queue, `${count(item.queue)} queued`);
}

/** How strong the stream to the next stage is drawn; in steps, so that its motion does not start anew each second. */
function flow(perSecond) {
  if (!(perSecond > 0)) return 0;
  return perSecond < 100 ? 1 : perSecond < 10_000 ? 2 : 3;
}

function showMeter(meter, share) {
  const [, number, bar] = meter.children;
  text(number, percent(share));
  place(bar.firstElementChild, "width", share);
}

/** An output topic, and below it the sinks that read it. */
function outputRows({ topic, kind, records, rate: speed, read_by }, sinks) {
  const title = `${topic}: ${count(records)} records since the start`;
  const output = { key: kind, name: OUTPUTS[kind] ?? kind, value: rate(speed), title };
  const readers = sinks.filter(({ name }) => read_by.includes(name));
  return [output, ...(readers.length > FEW_SINKS ? [together(kind, readers)] : readers.map(sinkRow))];
}

function sinkRow({ name, type, state, rate: speed, delivered }) {
  const title = `${type} sink ${name}, ${state}: ${count(delivered)} records since the start`;
  return { key: `sink/${name}`, name: `→ ${name}`, value: SYMBOLS[state] ?? rate(speed), title, state };
}

function together(kind, sinks) {
  const down = sinks.filter(({ state }) => state === "degraded" || state === "stopped");
  const speed = rate(sinks.reduce((sum, sink) => sum + sink.rate, 0));
  const title = sinks.map(({ name, state }) => `${name}: ${state}`).join("\n");
  const [value, state] = down.length ? [`${down.length} ▲`, "degraded"] : [speed, "running"];
  return { key: `sinks/${kind}/${sinks.length}`, name: `→ ${sinks.length} sinks`, value, title, state };
}

function showRows(list, rows) {
  const create = ({ name }) => make("div", {}, make("dt", { textContent: name }), make("dd"));
  keyed(list, rows, ({ key }) => key, create, (row, { value, title, state }) => {
    set(row, "title", title);
    mark(row, "state", state);
    text(row.lastElementChild, value);
  });
}
