// k6 as a second opinion on one address: k6 run --env URL=... --env N=... --env WARM=... k6_cell.js
// One virtual user on one kept connection; prints the median of http_req_waiting in milliseconds.
import http from 'k6/http';
import { Trend } from 'k6/metrics';

const WARM = parseInt(__ENV.WARM, 10);
const waiting = new Trend('cell_waiting');

export const options = {
  vus: 1,
  iterations: parseInt(__ENV.N, 10) + WARM,
  summaryTrendStats: ['med', 'count'],
};

export default function () {
  const answer = http.get(__ENV.URL);
  if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  if (__ITER >= WARM) waiting.add(answer.timings.waiting);
}

export function handleSummary(data) {
  const { med, count } = data.metrics.cell_waiting.values;
  return { stdout: JSON.stringify({ p50_ms: med, n: count }) + '\n' };
}
