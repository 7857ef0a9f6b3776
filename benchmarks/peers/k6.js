// k6 as a generator: k6 run --env URL=... --env RATE=... --env SECONDS=... --env USERS=... k6.js
// Prints one line of JSON.  The error is k6's own http_req_waiting (its time to first byte) minus the
// truth that the target sends along.
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

const rate = Number(__ENV.RATE);
const seconds = Number(__ENV.SECONDS);
const users = Number(__ENV.USERS);
const warmUp = 1;
const size = new Trend('size_us');
const bias = new Trend('bias_us');
const duration = new Trend('duration_us');
const asked = new Counter('asked');
const failed = new Counter('failed');

const open = {
  executor: 'constant-arrival-rate', rate: Math.max(1, Math.round(rate)), timeUnit: '1s',
  duration: `${seconds + warmUp}s`, preAllocatedVUs: users, maxVUs: users,
};
const closed = { executor: 'constant-vus', vus: users, duration: `${seconds + warmUp}s` };

export const options = {
  scenarios: { ask: rate ? open : closed },
  summaryTrendStats: ['p(50)', 'p(99)', 'p(99.9)', 'max'],
  discardResponseBodies: true,
  systemTags: [],
};

export function setup() { return Date.now() + warmUp * 1000; }

export default function (begin) {
  const answer = http.get(__ENV.URL);
  if (__ITER === 0 || Date.now() < begin) return;
  asked.add(1);
  if (answer.status !== 200) { failed.add(1); return; }
  if (!rate) return;
  const truth = Number(answer.headers['Server-Timing'].split('dur=')[1]);
  const error = (answer.timings.waiting - truth) * 1000;
  size.add(Math.abs(error));
  bias.add(error);
  duration.add(Math.abs(answer.timings.duration - truth) * 1000);
}

function ranks(metric) {
  if (!metric) return {};
  const v = metric.values;
  return { p50: v['p(50)'], p99: v['p(99)'], 'p99.9': v['p(99.9)'], p100: v.max };
}

export function handleSummary(data) {
  const m = data.metrics;
  const count = (name) => (m[name] ? m[name].values.count : 0);
  const result = {
    n: count('asked'), seconds, failed: count('failed'), dropped: count('dropped_iterations'),
    errors_us: ranks(m.size_us), duration_errors_us: ranks(m.duration_us),
  };
  if (m.bias_us) result.errors_us.bias = m.bias_us.values['p(50)'];
  return { stdout: JSON.stringify(result) + '\n' };
}
