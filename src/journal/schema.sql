-- SPDX-License-Identifier: MIT
--
-- Bellhop's database, schema version 2 (PRAGMA user_version).
--
-- Each change of a job must touch as few pages as can be: a waiting job is
-- one row of `job` and nothing else, a claim is one narrow row of `lease`.
-- Order, uniqueness, groups and limits are decided in the daemon's memory, so
-- no index serves them; the two that exist cover finished jobs only.
--
-- Times are milliseconds since 1970 (UTC), NULL where there is none. Options
-- that the adder did not state are NULL: what holds is looked up at the start
-- of each try.
--
-- How to change it:
-- 1. Write the new shape here and raise SCHEMA_VERSION in schema.h
--    and DB_SCHEMA_VERSION in src/ctl/db.h.
-- 2. Add the step from the old version to the steps[] table of schema.c: the
--    SQL that turns an old file into the new shape. Steps run one by one, each
--    in a transaction of its own that also sets user_version.
-- 3. Columns that recovery reads stay in front of origin; payload stays last:
--    SQLite then never looks at the payload of a row it does not need.
-- 4. Views keep no data: a step drops and creates those that change.
-- 5. Add a test that opens a file of the old version.

CREATE TABLE meta (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	-- the first job id that was never given
	next_id INTEGER NOT NULL CHECK (next_id > 0),
	created_at INTEGER NOT NULL,
	-- commits that succeeded only after the disk had failed
	recovered INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO meta (one, next_id, created_at)
VALUES (1, 1, CAST(strftime('%s', 'now') AS INTEGER) * 1000);

CREATE TABLE queue (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	paused_at INTEGER,
	paused_by TEXT,
	held_until INTEGER,
	held_reason TEXT,
	-- since the queue exists: tries ended, jobs failed, leases lost
	processed INTEGER NOT NULL DEFAULT 0,
	failed INTEGER NOT NULL DEFAULT 0,
	stalled INTEGER NOT NULL DEFAULT 0,
	CHECK (paused_by IS NULL OR paused_at IS NOT NULL),
	CHECK (held_reason IS NULL OR held_until IS NOT NULL)
) STRICT;

-- A living job (state 0) is active while it has a lease, else delayed while
-- run_at is ahead, else waiting.
CREATE TABLE job (
	id INTEGER PRIMARY KEY CHECK (id > 0),
	queue INTEGER NOT NULL REFERENCES queue (id),
	state INTEGER NOT NULL DEFAULT 0, -- 0 living, 1 completed, 2 failed
	priority INTEGER CHECK (priority BETWEEN 0 AND 9),
	attempt INTEGER NOT NULL DEFAULT 0, -- a lease has the newer number
	error_count INTEGER NOT NULL DEFAULT 0,
	stalled INTEGER NOT NULL DEFAULT 0,
	wall INTEGER NOT NULL DEFAULT 0, -- 1: run_at follows the wall clock
	run_at INTEGER NOT NULL,
	line_at INTEGER, -- place in the group's line
	expires_at INTEGER,
	finished_at INTEGER,
	unique_until INTEGER, -- the key is free from then on
	follows INTEGER, -- waits until this job has ended
	retain_ms INTEGER,
	fingerprint INTEGER, -- of the error, failed jobs only
	group_key TEXT,
	unique_key TEXT,
	lease_ms INTEGER,
	max_stalled INTEGER,
	created_at INTEGER NOT NULL,
	started_at INTEGER, -- last start; a lease has the newer one
	attempts INTEGER,
	timeout_ms INTEGER,
	backoff_type INTEGER, -- 0 fixed, 1 exponential
	backoff_ms INTEGER,
	backoff_max_ms INTEGER,
	backoff_factor REAL,
	backoff_jitter REAL,
	unique_ttl_ms INTEGER,
	unique_mode INTEGER, -- 0 keep, 1 replace, 2 follow
	origin TEXT, -- of a dead letter: {"queue":…,"id":"…","error":…,"at":ms}
	progress BLOB,
	error TEXT,
	result BLOB,
	payload BLOB NOT NULL,
	CHECK (CASE state
		WHEN 0 THEN finished_at IS NULL AND error IS NULL
			AND result IS NULL AND fingerprint IS NULL
		WHEN 1 THEN finished_at IS NOT NULL AND error IS NULL
			AND fingerprint IS NULL
		WHEN 2 THEN finished_at IS NOT NULL AND error IS NOT NULL
			AND result IS NULL
		ELSE 0 END),
	CHECK (attempt >= 0 AND error_count >= 0 AND stalled >= 0),
	CHECK (unique_until IS NULL OR unique_key IS NOT NULL)
) STRICT;

CREATE INDEX job_finished ON job (queue, state, id) WHERE state <> 0;
CREATE INDEX job_fingerprint ON job (queue, fingerprint, id) WHERE state = 2;

-- That the row exists is the state "active".
CREATE TABLE lease (
	id INTEGER PRIMARY KEY REFERENCES job (id),
	attempt INTEGER NOT NULL CHECK (attempt > 0),
	token INTEGER NOT NULL,
	handler INTEGER NOT NULL, -- 1: one of the daemon's own Lua handlers
	started_at INTEGER NOT NULL,
	until INTEGER NOT NULL CHECK (until > 0),
	worker TEXT
) STRICT;

-- The first five and the last five errors of a job.
CREATE TABLE error (
	job INTEGER NOT NULL REFERENCES job (id),
	n INTEGER NOT NULL CHECK (n > 0),
	attempt INTEGER NOT NULL,
	at INTEGER NOT NULL,
	message TEXT NOT NULL,
	version TEXT, -- of the script
	PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;

-- What job:step() and job:sleep() (no value) of a living or failed job have
-- kept.
CREATE TABLE step (
	job INTEGER NOT NULL REFERENCES job (id),
	n INTEGER NOT NULL CHECK (n > 0),
	name TEXT NOT NULL CHECK (name <> ''),
	value BLOB, -- JSON
	PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;

-- A script's on_completed (0), on_failed (1) or on_stalled (2) that is owed.
CREATE TABLE callback (
	id INTEGER PRIMARY KEY,
	queue INTEGER NOT NULL REFERENCES queue (id),
	kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2),
	job INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	payload BLOB NOT NULL,
	result BLOB,
	error TEXT
) STRICT;

-- The durable keys of the keyspace. The daemon's memory knows each name once;
-- a row is found by its id, so that no index is kept.
CREATE TABLE key (
	id INTEGER PRIMARY KEY CHECK (id > 0),
	name BLOB NOT NULL,
	-- 0 string, 1 list, 2 set, 3 zset, 4 hash, 5 stream
	type INTEGER NOT NULL CHECK (type BETWEEN 0 AND 5),
	expires_at INTEGER,
	value BLOB NOT NULL -- of a string
) STRICT;

-- What the others consist of, by the bytes of a field, a member or an
-- element's place. Those of a big key that is gone go in slices.
CREATE TABLE key_part (
	key INTEGER NOT NULL,
	part BLOB NOT NULL,
	value BLOB,
	PRIMARY KEY (key, part)
) STRICT, WITHOUT ROWID;

-- Rate limiters that are to outlive a restart (limits_durable). windows: for
-- each one its length and when it is full again, both 8 bytes, big-endian;
-- until is the last of these times.
CREATE TABLE limiter (
	name BLOB PRIMARY KEY,
	until INTEGER NOT NULL,
	windows BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What adds jobs by the clock. owner: the file of the script that declares it,
-- NULL when a client has set it. zone NULL: UTC.
CREATE TABLE schedule (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	owner TEXT,
	queue TEXT NOT NULL,
	cron TEXT,
	zone TEXT,
	every_ms INTEGER CHECK (every_ms > 0),
	misfire INTEGER NOT NULL CHECK (misfire BETWEEN 0 AND 2),
	overlap INTEGER NOT NULL CHECK (overlap BETWEEN 0 AND 1),
	created_at INTEGER NOT NULL,
	-- of its jobs
	priority INTEGER CHECK (priority BETWEEN 0 AND 9),
	delay_ms INTEGER,
	expires_ms INTEGER,
	attempts INTEGER,
	timeout_ms INTEGER,
	backoff_type INTEGER,
	backoff_ms INTEGER,
	backoff_max_ms INTEGER,
	backoff_factor REAL,
	backoff_jitter REAL,
	group_key TEXT,
	unique_key TEXT,
	unique_ttl_ms INTEGER,
	unique_mode INTEGER,
	lease_ms INTEGER,
	max_stalled INTEGER,
	retain_ms INTEGER,
	payload BLOB NOT NULL,
	CHECK ((cron IS NULL) <> (every_ms IS NULL)),
	CHECK (zone IS NULL OR cron IS NOT NULL)
) STRICT;

-- Where a schedule stands: what each tick writes is narrow.
CREATE TABLE schedule_state (
	id INTEGER PRIMARY KEY REFERENCES schedule (id),
	next_at INTEGER, -- NULL: never
	after_at INTEGER NOT NULL, -- ticks up to here have been dealt with
	seen_at INTEGER NOT NULL, -- the latest after_at that there was
	job INTEGER -- that the last tick has added
) STRICT;

-- The last ten ticks: 0 ran, 1 ran late, 2 skipped.
CREATE TABLE tick (
	schedule INTEGER NOT NULL REFERENCES schedule (id),
	n INTEGER NOT NULL CHECK (n > 0),
	due INTEGER NOT NULL,
	at INTEGER NOT NULL,
	outcome INTEGER NOT NULL CHECK (outcome BETWEEN 0 AND 2),
	job INTEGER,
	PRIMARY KEY (schedule, n)
) STRICT, WITHOUT ROWID;

CREATE VIEW schedules_view AS
SELECT name, owner, queue, cron, zone, every_ms,
	CASE misfire WHEN 0 THEN 'skip' WHEN 1 THEN 'once' ELSE 'all' END
		AS misfire,
	CASE overlap WHEN 0 THEN 'skip' ELSE 'queue' END AS overlap,
	strftime('%Y-%m-%dT%H:%M:%fZ', next_at / 1000.0, 'unixepoch')
		AS next_at,
	(SELECT strftime('%Y-%m-%dT%H:%M:%fZ', due / 1000.0, 'unixepoch')
			|| CASE outcome WHEN 0 THEN ' ran' WHEN 1 THEN ' late'
			ELSE ' skipped' END
		FROM tick WHERE tick.schedule = schedule.id
		ORDER BY n DESC LIMIT 1) AS last_tick
FROM schedule JOIN schedule_state USING (id) ORDER BY name;

-- For people: sqlite3 bellhop.db 'select * from jobs_view'.
-- Bytes that are not text are shown as the start of their hexadecimal form.
CREATE VIEW jobs_view AS
WITH given (now, unprintable) AS (
	SELECT (julianday('now') - 2440587.5) * 86400000.0,
		'*[' || char(1) || '-' || char(8) || char(11) || '-' || char(12)
		|| char(14) || '-' || char(31) || char(127) || '-' || char(159)
		|| char(65533) || ']*'
)
SELECT job.id AS id,
	queue.name AS queue,
	CASE WHEN job.state = 1 THEN 'completed'
		WHEN job.state = 2 THEN 'failed'
		WHEN lease.id IS NOT NULL THEN 'active'
		WHEN job.run_at > now THEN 'delayed'
		ELSE 'waiting' END AS state,
	ifnull(job.priority, 5) AS priority,
	max(job.attempt, ifnull(lease.attempt, 0)) AS attempt,
	job.attempts AS attempts,
	job.error_count AS errors,
	job.stalled AS stalled,
	CASE WHEN instr(job.payload, x'00') = 0
			AND CAST(job.payload AS TEXT) NOT GLOB unprintable
		THEN CAST(job.payload AS TEXT)
		WHEN length(job.payload) <= 32
		THEN 'x''' || hex(job.payload) || ''''
		ELSE 'x''' || hex(substr(job.payload, 1, 32)) || '...'' ('
			|| length(job.payload) || ' bytes)' END AS payload,
	job.group_key AS group_key,
	job.unique_key AS unique_key,
	strftime('%Y-%m-%dT%H:%M:%fZ', job.created_at / 1000.0, 'unixepoch')
		AS created_at,
	strftime('%Y-%m-%dT%H:%M:%fZ', job.run_at / 1000.0, 'unixepoch')
		AS run_at,
	strftime('%Y-%m-%dT%H:%M:%fZ', job.expires_at / 1000.0, 'unixepoch')
		AS expires_at,
	strftime('%Y-%m-%dT%H:%M:%fZ',
		ifnull(lease.started_at, job.started_at) / 1000.0, 'unixepoch')
		AS started_at,
	strftime('%Y-%m-%dT%H:%M:%fZ', job.finished_at / 1000.0, 'unixepoch')
		AS finished_at,
	strftime('%Y-%m-%dT%H:%M:%fZ', lease.until / 1000.0, 'unixepoch')
		AS lease_until,
	lease.worker AS worker,
	CAST(job.progress AS TEXT) AS progress,
	CASE WHEN instr(job.result, x'00') = 0
			AND CAST(job.result AS TEXT) NOT GLOB unprintable
		THEN CAST(job.result AS TEXT)
		WHEN length(job.result) <= 32
		THEN 'x''' || hex(job.result) || ''''
		ELSE 'x''' || hex(substr(job.result, 1, 32)) || '...'' ('
			|| length(job.result) || ' bytes)' END AS result,
	job.error AS error,
	job.origin AS origin
FROM given, job
	LEFT JOIN queue ON queue.id = job.queue
	LEFT JOIN lease ON lease.id = job.id;

CREATE VIEW queues_view AS
WITH given (now) AS (
	SELECT (julianday('now') - 2440587.5) * 86400000.0
), counts AS (
	SELECT job.queue AS queue,
		sum(state = 0 AND lease.id IS NULL AND run_at <= now)
			AS waiting,
		sum(state = 0 AND lease.id IS NULL AND run_at > now) AS delayed,
		sum(state = 0 AND lease.id IS NOT NULL) AS active,
		sum(state = 1) AS completed,
		sum(state = 2) AS failed
	FROM given, job LEFT JOIN lease ON lease.id = job.id
	GROUP BY job.queue
)
SELECT queue.name AS queue,
	ifnull(counts.waiting, 0) AS waiting,
	ifnull(counts.delayed, 0) AS delayed,
	ifnull(counts.active, 0) AS active,
	ifnull(counts.completed, 0) AS completed,
	ifnull(counts.failed, 0) AS failed,
	strftime('%Y-%m-%dT%H:%M:%fZ', paused_at / 1000.0, 'unixepoch')
		AS paused_since,
	paused_by,
	strftime('%Y-%m-%dT%H:%M:%fZ', held_until / 1000.0, 'unixepoch')
		AS held_until,
	held_reason,
	queue.processed AS processed_total,
	queue.failed AS failed_total,
	queue.stalled AS stalled_total
FROM queue LEFT JOIN counts ON counts.queue = queue.id;

-- Failed jobs by what they died of, most frequent first.
CREATE VIEW errors_view AS
WITH groups AS (
	SELECT job.queue AS queue, fingerprint, count(*) AS count,
		min(finished_at) AS first_at, max(finished_at) AS last_at,
		max(job.id) AS sample_id
	FROM job WHERE state = 2 GROUP BY job.queue, fingerprint
)
SELECT queue.name AS queue,
	printf('%016x', groups.fingerprint) AS fingerprint,
	groups.count AS count,
	strftime('%Y-%m-%dT%H:%M:%fZ', groups.first_at / 1000.0, 'unixepoch')
		AS first_at,
	strftime('%Y-%m-%dT%H:%M:%fZ', groups.last_at / 1000.0, 'unixepoch')
		AS last_at,
	groups.sample_id AS sample_id,
	sample.error AS text
FROM groups
	JOIN job AS sample ON sample.id = groups.sample_id
	JOIN queue ON queue.id = groups.queue
ORDER BY groups.count DESC, queue.name, groups.fingerprint;

CREATE VIEW keys_view AS
SELECT CAST(name AS TEXT) AS name,
	CASE type WHEN 0 THEN 'string' WHEN 1 THEN 'list' WHEN 2 THEN 'set'
		WHEN 3 THEN 'zset' WHEN 4 THEN 'hash' ELSE 'stream' END
		AS type,
	strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch')
		AS expires_at,
	CASE type WHEN 0 THEN length(value) END AS bytes,
	CASE type WHEN 0 THEN CAST(substr(value, 1, 200) AS TEXT) END
		AS value,
	CASE type WHEN 0 THEN NULL ELSE
		(SELECT count(*) FROM key_part WHERE key_part.key = key.id)
		END AS parts
FROM key;
