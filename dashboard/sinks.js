// Where records of the output topics are delivered, and what keeps them from it.

import { byId, keyed, make, mark, set, span, text } from "./dom.js";
import { count, rate } from "./format.js";

const GRADES = { running: "good", degraded: "warn", stopped: "bad" };
const FIGURES = [
  { name: "delivered", value: (sink) => count(sink.delivered) },
  { name: "rate", value: (sink) => rate(sink.rate) },
  { name: "lag", value: (sink) => count(sink.lag) },
  { name: "rejected", value: (sink) => count(sink.rejected), worry: (sink) => sink.rejected > 0 },
];

/** One row for each sink, in the order of the configuration; without any there is no panel. */
export function showSinks(sinks) {
  byId("sinks").hidden = sinks.length === 0;
  text(byId("sinks-note"), note(sinks));
  keyed(byId("sink-rows"), sinks, ({ name, type, topic }) => `${name}/${type}/${topic}`, createRow, updateRow);
}

function note(sinks) {
  const down = sinks.filter(({ state }) => state !== "running").length;
  return down ? `${down} of ${sinks.length} not running` : `all ${sinks.length} running`;
}

function createRow({ name, type, topic }) {
  const origin = `${type} from ${topic}`;
  const about = make("p", { className: "about-sink", title: origin }, span("name", name), span("quiet", origin));
  const cells = FIGURES.map((figure) => make("div", {}, make("dt", { textContent: figure.name }), make("dd")));
  return make("li", {}, about, make("p", { className: "badge" }), make("dl", {}, ...cells), make("p", { className: "cause" }));
}

function updateRow(row, sink) {
  const [, badge, figures, cause] = row.children;
  text(badge, sink.state);
  mark(badge, "grade", GRADES[sink.state]);
  FIGURES.forEach(({ value, worry }, index) => {
    const number = figures.children[index].lastElementChild;
    text(number, value(sink));
    mark(number, "worry", worry?.(sink));
  });
  const isOver = sink.state === "running";
  text(cause, sink.last_error ? `${isOver ? "before: " : ""}${sink.last_error}` : "");
  set(cause, "title", sink.last_error ?? "");
  mark(cause, "over", isOver);
}
