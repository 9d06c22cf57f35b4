// Lag of each partition, beside that of the others.

import { byId, keyed, make, mark, place, set, span, text, track } from "./dom.js";
import { UNKNOWN, count, moment, rate, seconds } from "./format.js";

/** A few hundred records are what one epoch holds; that much never fills a bar. */
const LEAST_SCALE = 1000;
/** With more partitions the panel takes the whole width. */
const MANY = 16;
/** With so few there is room to say more of each. */
const FEW = 6;
/** A partition that is so far behind the others holds back what they have ready. */
const BEHIND_MS = 10_000;

/** One bar for each partition. */
export function showPartitions(partitions) {
  const scale = Math.max(LEAST_SCALE, ...partitions.map(({ lag }) => lag ?? 0));
  const slowest = holdsBack(partitions);
  mark(byId("lag"), "many", partitions.length > MANY);
  mark(byId("lag"), "few", partitions.length <= FEW);
  text(byId("lag-note"), note(partitions, slowest, scale));
  keyed(byId("partitions"), partitions, ({ partition }) => partition, createRow, (row, partition) => {
    const [, bar, number, more] = row.children;
    place(bar.firstElementChild, "width", partition.lag / scale);
    text(number, partition.lag == null ? UNKNOWN : count(partition.lag));
    mark(row, "idle", partition.idle);
    mark(row, "slowest", partition === slowest);
    text(more, about(partition));
    set(row, "title", `partition ${partition.partition}${partition.idle ? ", idle" : ""}: ${about(partition)}`);
  });
}

function createRow({ partition }) {
  return make("li", {}, span("name", String(partition)), track(), span("number"), span("quiet more"));
}

/** The partition that the pipeline's watermark waits for, if it is far behind the others. */
function holdsBack(partitions) {
  const known = partitions.filter(({ idle, watermark }) => !idle && watermark != null).sort((a, b) => a.watermark - b.watermark);
  return known.length > 1 && known.at(-1).watermark - known[0].watermark > BEHIND_MS ? known[0] : null;
}

function note(partitions, slowest, scale) {
  const idle = partitions.filter((partition) => partition.idle).length;
  const parts = [`full bar = ${count(scale)}`];
  if (idle) parts.push(idle === partitions.length ? "all idle" : `${idle} idle`);
  if (slowest) {
    const newest = Math.max(...partitions.map(({ watermark }) => watermark ?? 0));
    parts.push(`partition ${slowest.partition} holds the watermark back by ${seconds((newest - slowest.watermark) / 1000)}`);
  }
  return parts.join(", ");
}

function about({ position, rate: speed, watermark }) {
  return `${rate(speed)}, offset ${position?.toLocaleString("en") ?? UNKNOWN}, watermark ${moment(watermark)}`;
}
