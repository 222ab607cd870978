// Parser of Prometheus' text format, as far as the console requires it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Text → Map of name → [{labels, value}]. */
export function readMetrics(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value]));
    if (!metrics.has(found[1])) metrics.set(found[1], []);
    metrics.get(found[1]).push({ labels, value: Number(found[3]) });
  }
  return metrics;
}

/** Sums of a metric by one label's values, largest first. */
export function sumBy(metrics, name, label) {
  const sums = new Map();
  for (const { labels, value } of metrics.get(name) ?? [])
    sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
  return [...sums].filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]);
}

export const total = (metrics, name) => (metrics.get(name) ?? []).reduce((sum, { value }) => sum + value, 0);

/** A quantile in seconds from histogram buckets, like histogram_quantile; null without observations. */
export function quantile(metrics, name, label, value, q) {
  const buckets = new Map();
  for (const sample of metrics.get(`${name}_bucket`) ?? []) {
    if (sample.labels[label] !== value) continue;
    const bound = sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le);
    buckets.set(bound, (buckets.get(bound) ?? 0) + sample.value);
  }
  const sorted = [...buckets].sort((a, b) => a[0] - b[0]);
  const count = sorted.at(-1)?.[1] ?? 0;
  if (!count) return null;
  let [lower, below] = [0, 0];
  for (const [bound, upTo] of sorted) {
    if (upTo >= q * count)
      return bound === Infinity ? lower : lower + ((bound - lower) * (q * count - below)) / (upTo - below || 1);
    [lower, below] = [bound, upTo];
  }
  return lower;
}
