// SPDX-License-Identifier: MIT
//
// BullMQ's side of bench.py: node bullmq.js MODE PORT JOBS SIZE
//
// add     JOBS awaited adds, 50 in flight on one connection
// drain   a preloaded queue through a processor that does nothing
// mixed   a second process adds while this one works
// produce that second process
"use strict";

const { Queue, Worker } = require("bullmq");
const { fork } = require("node:child_process");

const IN_FLIGHT = 50;
const BULK = 1000;
const [mode, port, jobs, size] = process.argv.slice(2).map(
  (a, i) => (i === 0 ? a : Number(a)));
const connection = { host: "127.0.0.1", port };
const options = { removeOnComplete: true, removeOnFail: true };
const data = { d: "x".repeat(Math.max(0, size - 8)) };

function seconds(start) {
  return Number(process.hrtime.bigint() - start) / 1e9;
}

function report(took) {
  console.log(`jobs=${jobs} seconds=${took.toFixed(4)} ` +
    `rate=${Math.round(jobs / took)}`);
}

async function addAll(queue) {
  let left = jobs;
  async function one() {
    while (left-- > 0) await queue.add("j", data, options);
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, one));
}

async function preload(queue) {
  for (let left = jobs; left > 0; left -= BULK) {
    await queue.addBulk(Array.from({ length: Math.min(BULK, left) },
      () => ({ name: "j", data, opts: options })));
  }
}

// Resolves when the worker has completed every job; the worker runs at once.
function work() {
  return new Promise((resolve) => {
    let done = 0;
    const worker = new Worker("bench", async () => {}, {
      connection, concurrency: IN_FLIGHT, autorun: false });
    worker.on("completed", () => {
      if (++done === jobs) resolve(worker);
    });
    worker.waitUntilReady().then(() => worker.run());
  });
}

async function main() {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  let start = process.hrtime.bigint();
  if (mode === "add") {
    await addAll(queue);
    report(seconds(start));
  } else if (mode === "produce") {
    process.send("ready");
    await new Promise((resolve) => process.once("message", resolve));
    await addAll(queue);
    process.disconnect();
  } else if (mode === "drain") {
    await preload(queue);
    start = process.hrtime.bigint();
    const worker = await work();
    report(seconds(start));
    await worker.close();
  } else if (mode === "mixed") {
    const working = work();
    const child = fork(__filename, ["produce", port, jobs, size]);
    await new Promise((resolve) => child.once("message", resolve));
    start = process.hrtime.bigint();
    child.send("go");
    const worker = await working;
    report(seconds(start));
    await worker.close();
  } else {
    throw new Error(`no such mode: ${mode}`);
  }
  await queue.close();
}

main().then(() => process.exit(0), (e) => {
  console.error(e);
  process.exit(1);
});
