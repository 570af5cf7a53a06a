// SPDX-License-Identifier: MIT
// The same through node-redis:
// node keys_node_redis.js WHERE PREFIX RESP; WHERE is a socket's path or a
// port, RESP the version of the protocol.
const { createClient, defineScript, WatchError } = require('redis');
const assert = require('assert');
const [where, prefix, resp] = process.argv.slice(2);
const k = (name) => prefix + name;
const unlock = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: "if redis.call('get', KEYS[1]) == ARGV[1] then return " +
    "redis.call('del', KEYS[1]) else return 0 end",
  parseCommand(parser, key, value) {
    parser.pushKey(key);
    parser.push(value);
  },
  transformReply: (reply) => reply === 1,
});
const connect = () => createClient({
  RESP: +resp,
  unstableResp3: true,
  socket: /^[0-9]+$/.test(where) ? { host: '127.0.0.1', port: +where }
    : { path: where },
  scripts: { unlock },
}).on('error', (e) => { console.error(e); process.exit(1); }).connect();
const plain = (v) => JSON.parse(JSON.stringify(v));

const cases = {
  async cache(r) {
    assert.strictEqual(await r.set(k('a'), 'v',
      { expiration: { type: 'EX', value: 60 } }), 'OK');
    assert.strictEqual(await r.get(k('a')), 'v');
    assert.strictEqual(await r.set(k('a'), 'w', { condition: 'NX' }), null);
    assert.deepStrictEqual(await r.mGet([k('a'), k('none')]), ['v', null]);
    assert.strictEqual(await r.incrByFloat(k('f'), 0.5), '0.5');
    await r.mSet([[k('m1'), '1'], [k('m2'), '2']]);
    const seen = new Set();
    for await (const page of r.scanIterator({ MATCH: k('m*'), COUNT: 2 }))
      page.forEach((name) => seen.add(name));
    assert.deepStrictEqual([...seen].sort(), [k('m1'), k('m2')]);
    assert.strictEqual(await r.del([k('m1'), k('m2')]), 2);
  },
  async session(r) {
    const id = k('session:1');
    assert.strictEqual(await r.hSet(id, { user: 'ana', visits: 1 }), 2);
    assert.strictEqual(await r.expire(id, 3600), 1);
    assert.strictEqual(await r.hIncrBy(id, 'visits', 2), 3);
    assert.deepStrictEqual(plain(await r.hGetAll(id)),
      { user: 'ana', visits: '3' });
    assert.strictEqual(await r.hGet(id, 'none'), null);
    await r.set(k('text'), 'x');
    await assert.rejects(r.hGet(k('text'), 'f'), /^Error: WRONGTYPE/);
  },
  async limiter(r) {
    await r.zAdd(k('window'), [{ score: 1000, value: 'a' },
      { score: 1500.5, value: 'b' }, { score: Infinity, value: 'c' }]);
    assert.strictEqual(await r.zScore(k('window'), 'b'), 1500.5);
    assert.strictEqual(await r.zScore(k('window'), 'none'), null);
    assert.deepStrictEqual(plain(await r.zRangeWithScores(k('window'), 0, 1)),
      [{ value: 'a', score: 1000 }, { value: 'b', score: 1500.5 }]);
    assert.strictEqual(await r.zIncrBy(k('window'), 1, 'a'), 1001);
    assert.strictEqual(
      await r.zRemRangeByScore(k('window'), '-inf', 1200), 1);
    assert.strictEqual(await r.zCard(k('window')), 2);
    assert.deepStrictEqual(plain(await r.zPopMin(k('window'))),
      { value: 'b', score: 1500.5 });
  },
  async queue(r) {
    const worker = await connect();
    const moved = worker.blMove(k('todo'), k('doing'), 'RIGHT', 'LEFT', 10);
    await r.lPush(k('todo'), 'one');
    assert.strictEqual(await moved, 'one');
    assert.strictEqual(await r.lRem(k('doing'), 1, 'one'), 1);
    assert.strictEqual(await worker.blPop(k('never'), 0.05), null);
    const popped = worker.blPop([k('x'), k('y')], 10);
    await r.rPush(k('y'), '1');
    assert.deepStrictEqual(plain(await popped), { key: k('y'), element: '1' });
    await r.sAdd(k('seen'), ['a', 'b']);
    assert.deepStrictEqual([...await r.sMembers(k('seen'))].sort(), ['a', 'b']);
    assert.deepStrictEqual(await r.smIsMember(k('seen'), ['a', 'z']), [1, 0]);
    worker.destroy();
  },
  async pubsub(r) {
    const sub = await connect();
    const got = [];
    await new Promise((resolve, reject) => {
      const note = (message, channel) => {
        got.push(channel + ' ' + message);
        if (got.length === 3) resolve();
      };
      sub.subscribe(k('c1'), note)
        .then(() => sub.pSubscribe(k('c*'), note))
        .then(() => r.publish(k('c1'), 'hello'))
        .then((n) => assert.strictEqual(n, 2))
        .then(() => r.publish(k('c9'), 'you')).catch(reject);
    });
    assert.deepStrictEqual(got.sort(), [k('c1') + ' hello', k('c1') + ' hello',
      k('c9') + ' you']);
    await sub.unsubscribe(k('c1'));
    assert.strictEqual(await r.publish(k('c1'), 'x'), 1);
    await sub.pUnsubscribe(k('c*'));
    assert.strictEqual(String(await sub.ping()), 'PONG');
    sub.destroy();
  },
  async stream(r) {
    const s = k('stream');
    await r.xGroupCreate(s, 'g', '$', { MKSTREAM: true });
    const id = await r.xAdd(s, '*', { text: 'hi', from: '7' });
    await r.xAdd(s, '*', { text: 'again' });
    const other = await connect();
    const answer = await other.xReadGroup('g', 'w1',
      { key: s, id: '>' }, { COUNT: 10, BLOCK: 5000 });
    // With RESP3 it gives the server's map as it is.
    const ids = resp === '3' ? answer[s].map((m) => m[0])
      : answer[0].messages.map((m) => m.id);
    assert.strictEqual(ids[0], id);
    if (resp === '2')
      assert.strictEqual(answer[0].messages[0].message.text, 'hi');
    assert.strictEqual(await r.xAck(s, 'g', id), 1);
    assert.strictEqual((await r.xPending(s, 'g')).pending, 1);
    const claimed = await r.xAutoClaim(s, 'g', 'w2', 0, '0');
    assert.strictEqual(claimed.messages[0].id, ids[1]);
    assert.strictEqual((await r.xInfoStream(s)).length, 2);
    assert.strictEqual((await r.xInfoGroups(s))[0].name, 'g');
    other.destroy();
  },
  async transaction(r) {
    assert.deepStrictEqual(await r.multi().set(k('t'), '1').incr(k('t'))
      .get(k('t')).exec(), ['OK', 2, '2']);
    const other = await connect();
    await r.watch(k('t'));
    await other.set(k('t'), '10');
    await assert.rejects(r.multi().incr(k('t')).exec(), WatchError);
    await r.watch(k('t'));
    assert.deepStrictEqual(await r.multi().incr(k('t')).exec(), [11]);
    other.destroy();
  },
  async script(r) {
    await r.set(k('lock'), 'me');
    assert.strictEqual(await r.unlock(k('lock'), 'you'), false);
    assert.strictEqual(await r.unlock(k('lock'), 'me'), true);
    assert.deepStrictEqual(await r.eval(
      'return {1, 3.7, ARGV[1], KEYS[1], false, {ok = "fine"}}',
      { keys: [k('a')], arguments: ['x'] }), [1, 3, 'x', k('a'), null, 'fine']);
  },
};

(async () => {
  const r = await connect();
  for (const [name, run] of Object.entries(cases)) {
    await run(r);
    console.log(name);
  }
  r.destroy();
})().catch((e) => { console.error(e); process.exit(1); });
