// SPDX-License-Identifier: MIT
// What applications do with their Redis through ioredis, case by case:
// node keys_ioredis.js WHERE PREFIX; WHERE is a socket's path or a port.
const Redis = require('ioredis');
const assert = require('assert');
const [where, prefix] = process.argv.slice(2);
const options = /^[0-9]+$/.test(where) ? { port: +where } : { path: where };
const k = (name) => prefix + name;
const connect = () => new Redis(options);

const cases = {
  async cache(r) {
    assert.strictEqual(await r.set(k('a'), 'v', 'EX', 60), 'OK');
    assert.strictEqual(await r.get(k('a')), 'v');
    assert.strictEqual(await r.set(k('a'), 'w', 'NX'), null);
    assert.strictEqual(await r.set(k('a'), 'w', 'XX', 'GET'), 'v');
    assert.strictEqual(await r.ttl(k('a')), -1);
    await r.setex(k('b'), 60, Buffer.from([0, 255, 13, 10]));
    assert.deepStrictEqual(await r.getBuffer(k('b')),
      Buffer.from([0, 255, 13, 10]));
    assert.deepStrictEqual(await r.mget(k('a'), k('none')), ['w', null]);
    assert.strictEqual(await r.incrby(k('n'), 41), 41);
    assert.strictEqual(await r.incr(k('n')), 42);
    assert.strictEqual(await r.getdel(k('n')), '42');
    await r.mset({ [k('m1')]: '1', [k('m2')]: '2' });
    const seen = new Set();
    for await (const page of r.scanStream({ match: k('m*'), count: 2 }))
      page.forEach((name) => seen.add(name));
    assert.deepStrictEqual([...seen].sort(), [k('m1'), k('m2')]);
    assert.strictEqual(await r.unlink(k('m1'), k('m2'), k('m3')), 2);
    assert.strictEqual(await r.setbit(k('bits'), 7, 1), 0);
    assert.strictEqual(await r.bitcount(k('bits')), 1);
  },
  async session(r) {
    const id = k('session:1');
    assert.strictEqual(await r.hset(id, { user: 'ana', visits: 1 }), 2);
    assert.strictEqual(await r.expire(id, 3600), 1);
    assert.strictEqual(await r.hincrby(id, 'visits', 2), 3);
    assert.deepStrictEqual(await r.hgetall(id), { user: 'ana', visits: '3' });
    assert.deepStrictEqual(await r.hmget(id, 'user', 'none'), ['ana', null]);
    assert.deepStrictEqual(await r.hgetall(k('none')), {});
    const left = await r.pttl(id);
    assert.ok(left > 3500000 && left <= 3600000);
    assert.strictEqual(await r.hdel(id, 'user', 'visits'), 2);
    assert.strictEqual(await r.exists(id), 0);
    await assert.rejects(async () => {
      await r.set(k('text'), 'x');
      await r.hget(k('text'), 'f');
    }, /^ReplyError: WRONGTYPE Operation against a key/);
  },
  async limiter(r) {
    const take = async (now) => {
      const [[, gone], , [, count]] = await r.multi()
        .zremrangebyscore(k('window'), 0, now - 1000)
        .zadd(k('window'), now, 'hit:' + now)
        .zcard(k('window')).pexpire(k('window'), 1000).exec();
      return [gone, count];
    };
    assert.deepStrictEqual(await take(1000), [0, 1]);
    assert.deepStrictEqual(await take(1500), [0, 2]);
    assert.deepStrictEqual(await take(2100), [1, 2]);
    assert.deepStrictEqual(
      await r.zrangebyscore(k('window'), '-inf', '+inf', 'WITHSCORES'),
      ['hit:1500', '1500', 'hit:2100', '2100']);
    await r.zadd(k('board'), 1.5, 'b', 1, 'a', 3e20, 'c');
    assert.strictEqual(await r.zscore(k('board'), 'c'), '3e+20');
    assert.strictEqual(await r.zrank(k('board'), 'b'), 1);
    assert.deepStrictEqual(await r.zpopmin(k('board')), ['a', '1']);
  },
  async queue(r) {
    const worker = connect();
    const popped = worker.brpoplpush(k('todo'), k('doing'), 10);
    const late = worker.duplicate();
    assert.strictEqual(await late.blpop(k('never'), 0.05), null);
    await r.lpush(k('todo'), 'one');
    assert.strictEqual(await popped, 'one');
    assert.deepStrictEqual(await r.lrange(k('doing'), 0, -1), ['one']);
    assert.strictEqual(await r.lrem(k('doing'), 1, 'one'), 1);
    const first = worker.blpop(k('x'), k('y'), 10);
    const second = late.blpop(k('y'), 10);
    await r.call('PING');
    await r.rpush(k('y'), '1', '2');
    const got = await Promise.all([first, second]);
    assert.deepStrictEqual(got.map((g) => g[1]).sort(), ['1', '2']);
    assert.strictEqual(await r.sadd(k('seen'), 'a', 'b', 'a'), 2);
    assert.strictEqual(await r.sismember(k('seen'), 'a'), 1);
    assert.deepStrictEqual((await r.smembers(k('seen'))).sort(), ['a', 'b']);
    worker.disconnect();
    late.disconnect();
  },
  async pubsub(r) {
    const sub = connect();
    const got = [];
    const three = new Promise((resolve) => {
      const note = (...args) => {
        got.push(args.join(' '));
        if (got.length === 3) resolve();
      };
      sub.on('message', note);
      sub.on('pmessage', note);
    });
    assert.strictEqual(await sub.subscribe(k('c1'), k('c2')), 2);
    assert.strictEqual(await sub.psubscribe(k('c*')), 3);
    assert.strictEqual(await r.publish(k('c1'), 'hello'), 2);
    assert.strictEqual(await r.publish(k('c9'), 'you'), 1);
    await three;
    assert.deepStrictEqual(got.sort(), [k('c*') + ' ' + k('c1') + ' hello',
      k('c*') + ' ' + k('c9') + ' you', k('c1') + ' hello'].sort());
    assert.deepStrictEqual(await r.pubsub('NUMSUB', k('c1')), [k('c1'), 1]);
    assert.strictEqual(await sub.unsubscribe(k('c1')), 2);
    assert.strictEqual(await r.publish(k('c1'), 'x'), 1);
    await sub.quit();
  },
  async stream(r) {
    const s = k('stream');
    assert.strictEqual(await r.xgroup('CREATE', s, 'g', '$', 'MKSTREAM'), 'OK');
    await assert.rejects(r.xgroup('CREATE', s, 'g', '$'), /^ReplyError: BUSYGROUP/);
    const id = await r.xadd(s, '*', 'text', 'hi', 'from', '7');
    await r.xadd(s, 'MAXLEN', '~', 1000, '*', 'text', 'again');
    const other = connect();
    const [[name, entries]] = await other.xreadgroup('GROUP', 'g', 'w1',
      'COUNT', 10, 'BLOCK', 5000, 'STREAMS', s, '>');
    assert.strictEqual(name, s);
    assert.deepStrictEqual(entries[0], [id, ['text', 'hi', 'from', '7']]);
    assert.strictEqual(await r.xack(s, 'g', id), 1);
    const [count, , , consumers] = await r.xpending(s, 'g');
    assert.strictEqual(count, 1);
    assert.deepStrictEqual(consumers, [['w1', '1']]);
    const [, claimed] = await r.xautoclaim(s, 'g', 'w2', 0, '0');
    assert.strictEqual(claimed[0][0], entries[1][0]);
    assert.strictEqual(await r.xlen(s), 2);
    const waiting = other.xread('BLOCK', 10000, 'STREAMS', s, '$');
    setTimeout(() => r.xadd(s, '*', 'k', 'v'), 50);
    assert.deepStrictEqual((await waiting)[0][1][0][1], ['k', 'v']);
    assert.strictEqual((await r.xinfo('GROUPS', s))[0][1], 'g');
    other.disconnect();
  },
  async transaction(r) {
    assert.deepStrictEqual(await r.multi().set(k('t'), '1').incr(k('t'))
      .lpush(k('t'), 'x').get(k('t')).exec()
      .then((all) => all.map(([e, v]) => (e ? e.message.split(' ')[0] : v))),
    ['OK', 2, 'WRONGTYPE', '2']);
    const other = connect();
    await r.watch(k('t'));
    await other.set(k('t'), '10');
    assert.strictEqual(await r.multi().incr(k('t')).exec(), null);
    assert.strictEqual(await r.get(k('t')), '10');
    await r.watch(k('t'));
    assert.deepStrictEqual(await r.multi().incr(k('t')).exec(), [[null, 11]]);
    const all = await r.pipeline(Array.from({ length: 200 },
      (_, n) => ['set', k('p' + n), n])).exec();
    assert.ok(all.every(([e, v]) => !e && v === 'OK'));
    other.disconnect();
  },
  async script(r) {
    r.defineCommand('takeToken', {
      numberOfKeys: 1,
      lua: `local n = redis.call('INCR', KEYS[1])
        if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
        if n > tonumber(ARGV[1]) then return {0, n} end
        return {1, tonumber(ARGV[1]) - n}`,
    });
    assert.deepStrictEqual(await r.takeToken(k('tok'), 2, 60000), [1, 1]);
    assert.deepStrictEqual(await r.takeToken(k('tok'), 2, 60000), [1, 0]);
    assert.deepStrictEqual(await r.takeToken(k('tok'), 2, 60000), [0, 3]);
    const unlock = "if redis.call('get', KEYS[1]) == ARGV[1] then return " +
      "redis.call('del', KEYS[1]) else return 0 end";
    await r.set(k('lock'), 'me', 'PX', 60000, 'NX');
    assert.strictEqual(await r.eval(unlock, 1, k('lock'), 'you'), 0);
    assert.strictEqual(await r.eval(unlock, 1, k('lock'), 'me'), 1);
    assert.strictEqual(await r.eval(
      "return cjson.encode({a = 1, b = {1, 2}, s = 'x'})", 0).then(
      (text) => JSON.parse(text).b[1]), 2);
    await assert.rejects(r.evalsha('f'.repeat(40), 0), /^ReplyError: NOSCRIPT/);
    await assert.rejects(r.eval("return redis.call('nosuch')", 0),
      /Unknown Redis command called from script/);
  },
};

(async () => {
  const r = connect();
  for (const [name, run] of Object.entries(cases)) {
    await run(r);
    console.log(name);
  }
  r.disconnect();
})().catch((e) => { console.error(e); process.exit(1); });
