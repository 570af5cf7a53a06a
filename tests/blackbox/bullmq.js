// SPDX-License-Identifier: MIT
// An unmodified BullMQ at work on the server whose socket is the argument:
// prints one line of JSON with what has come out of it.
'use strict';
const { Queue, Worker, QueueEvents, FlowProducer } = require('bullmq');

const connection = { path: process.argv[2], maxRetriesPerRequest: null };
const out = { errors: [] };

const until = async (what, condition) => {
  const end = Date.now() + 40000;
  while (!await condition()) {
    if (Date.now() > end) throw new Error('waited in vain for ' + what);
    await new Promise(r => setTimeout(r, 10));
  }
};

(async () => {
  const note = who => e => out.errors.push(who + ': ' + e.message);
  const queue = new Queue('mail', { connection });
  const events = new QueueEvents('mail', { connection });
  const done = [];
  const worker = new Worker('mail', async job => {
    if (job.name === 'fails') throw new Error('no luck');
    await job.updateProgress(50);
    await job.log('a line');
    done.push(job.name);
    return { n: job.data.n };
  }, { connection, concurrency: 5 });
  queue.on('error', note('queue'));
  queue.setMaxListeners(100);
  worker.on('error', note('worker'));
  events.on('error', note('events'));
  events.setMaxListeners(200);
  await events.waitUntilReady();

  const one = await queue.add('one', { n: 1 });
  out.one = await one.waitUntilFinished(events, 40000);
  out.progress = (await queue.getJob(one.id)).progress;
  out.logs = (await queue.getJobLogs(one.id)).logs;

  const fails = await queue.add('fails', {},
    { attempts: 2, backoff: { type: 'fixed', delay: 10 } });
  out.failed = await fails.waitUntilFinished(events, 40000)
    .catch(e => e.message);
  out.tries = (await queue.getJob(fails.id)).attemptsMade;

  const later = await queue.add('later', { n: 2 },
    { delay: 50, priority: 3 });
  out.later = await later.waitUntilFinished(events, 40000);

  const many = await queue.addBulk([...Array(50).keys()].map(
    n => ({ name: 'many', data: { n } })));
  await Promise.all(many.map(j => j.waitUntilFinished(events, 40000)));
  out.counts = await queue.getJobCounts('completed', 'failed', 'waiting');

  await queue.upsertJobScheduler('tick', { every: 50 },
    { name: 'tick', data: { n: 9 } });
  await until('two ticks', () =>
    done.filter(x => x === 'tick').length >= 2);
  out.unscheduled = await queue.removeJobScheduler('tick');

  const flow = new FlowProducer({ connection });
  const tree = await flow.add({ name: 'parent', queueName: 'mail',
    data: { n: 100 }, children: [
      { name: 'child', queueName: 'mail', data: { n: 1 } },
      { name: 'child', queueName: 'mail', data: { n: 2 } }] });
  out.parent = await tree.job.waitUntilFinished(events, 40000);
  out.children = Object.values(await tree.job.getChildrenValues())
    .map(v => v.n).sort();

  await queue.pause();
  out.paused = await queue.isPaused();
  await queue.resume();
  out.cleaned = (await queue.clean(0, 1000, 'completed')).length > 50;
  await worker.close();
  await events.close();
  await queue.obliterate({ force: true });
  out.left = await queue.getJobCounts('completed', 'failed', 'waiting');
  await queue.close();
  await flow.close();
  console.log(JSON.stringify(out));
  process.exit(0);
})().catch(e => {
  console.log(JSON.stringify({ broken: e.stack, errors: out.errors }));
  process.exit(1);
});
