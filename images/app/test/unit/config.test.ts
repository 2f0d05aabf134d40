import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ConfigError, loadConfig } from '../../src/config.ts';

const good = {
  MONGODB_URI: 'mongodb://db.shop.svc:27017/techshop?replicaSet=rs0',
  REDIS_URL: 'redis://cache:6379',
  JWT_SECRET: 'x'.repeat(32),
};

test('the defaults are those of docs/architecture.md', () => {
  const config = loadConfig(good);
  assert.equal(config.port, 3000);
  assert.equal(config.logLevel, 'info');
  assert.equal(config.drainSeconds, 5);
  assert.equal(config.otlpEndpoint, undefined);
  assert.deepEqual(config.redis, {
    host: 'cache',
    port: 6379,
    tls: false,
    ca: undefined,
    username: undefined,
    password: undefined,
  });
});

test('all requests are traced unless a part of them is asked for', () => {
  assert.equal(loadConfig(good).traceRatio, 1);
  assert.equal(loadConfig({ ...good, OTEL_TRACES_SAMPLER_ARG: '0.25' }).traceRatio, 0.25);
  assert.equal(loadConfig({ ...good, OTEL_TRACES_SAMPLER_ARG: '0' }).traceRatio, 0);
});

test('an empty variable is one that is not set', () => {
  const config = loadConfig({ ...good, PORT: '', REDIS_PASSWORD: '', OTEL_EXPORTER_OTLP_ENDPOINT: '' });
  assert.equal(config.port, 3000);
  assert.equal(config.redis.password, undefined);
});

test('a password may hold any printable characters', () => {
  const password = 'p@ss:/w%rd#? "\'\\é';
  const config = loadConfig({
    ...good,
    MONGODB_USERNAME: 'app',
    MONGODB_PASSWORD: password,
    REDIS_PASSWORD: password,
  });
  assert.equal(config.mongo.password, password);
  assert.equal(config.redis.password, password);
});

test('rediss, IPv6 and the default port are understood', () => {
  const { redis } = loadConfig({ ...good, REDIS_URL: 'rediss://[::1]' });
  assert.deepEqual([redis.host, redis.port, redis.tls], ['::1', 6379, true]);
});

test('the certificates that Redis is to be trusted by are read', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'ca.crt');
  writeFileSync(file, 'a certificate');
  assert.equal(loadConfig({ ...good, REDIS_CA_FILE: file }).redis.ca, 'a certificate');
});

const bucket = {
  S3_ENDPOINT: 'http://s3:8333',
  S3_BUCKET: 'assets',
  S3_ACCESS_KEY: 'access',
  S3_SECRET_KEY: 'secret',
};

test('without a bucket there are no pictures, though keys and the name of a file be left', () => {
  const left = { S3_ACCESS_KEY: 'access', S3_SECRET_KEY: 'secret', S3_CA_FILE: '/none' };
  assert.equal(loadConfig({ ...good, ...left }).s3, undefined);
});

test('a bucket is trusted by certificates of its own, or by those that everyone trusts', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'ca.crt');
  writeFileSync(file, '');
  const read = () => loadConfig({ ...good, ...bucket, S3_CA_FILE: file }).s3;
  assert.deepEqual(read(), {
    endpoint: 'http://s3:8333',
    bucket: 'assets',
    pathStyle: true,
    region: 'us-east-1',
    keys: { accessKeyId: 'access', secretAccessKey: 'secret' },
    ca: undefined,
  });
  writeFileSync(file, 'a certificate');
  assert.equal(read()?.ca, 'a certificate');
});

test('the identity of the pod takes the place of keys, though some be left', () => {
  const identity = { ...good, ...bucket, S3_IDENTITY: 'serviceAccount' };
  for (const env of [identity, { ...identity, S3_ACCESS_KEY: '', S3_SECRET_KEY: '' }])
    assert.deepEqual([loadConfig(env).s3?.bucket, loadConfig(env).s3?.keys], ['assets', undefined]);
});

const bad: [string, Record<string, string>, RegExp][] = [
  ['a port out of range', { PORT: '70000' }, /^PORT must be a whole number from 1 to 65535\.$/],
  ['a port that is no number', { PORT: 'http' }, /^PORT must be a whole number/],
  ['a log level that does not exist', { LOG_LEVEL: 'loud' }, /^LOG_LEVEL must be one of/],
  ['no MongoDB', { MONGODB_URI: '' }, /^MONGODB_URI is missing/],
  [
    'a MongoDB address without a database',
    { MONGODB_URI: 'mongodb://db:27017/' },
    /^MONGODB_URI must look like/,
  ],
  ['no Redis', { REDIS_URL: '' }, /^REDIS_URL is missing/],
  ['a Redis address of another kind', { REDIS_URL: 'http://cache:6379' }, /^REDIS_URL must look like/],
  ['a short secret', { JWT_SECRET: 'short' }, /^JWT_SECRET must have at least 32 characters\.$/],
  ['a negative drain', { DRAIN_SECONDS: '-1' }, /^DRAIN_SECONDS must be/],
  ['half of the MongoDB credentials', { MONGODB_USERNAME: 'app' }, /must be set together\.$/],
  ['a file of certificates that is not there', { REDIS_CA_FILE: '/none' }, /^REDIS_CA_FILE must name a file/],
  ['a Redis user without a password', { REDIS_USERNAME: 'app' }, /^REDIS_USERNAME needs REDIS_PASSWORD\.$/],
  ['a bucket without keys', { ...bucket, S3_SECRET_KEY: '' }, /^S3_ENDPOINT, .* must be set together\.$/],
  [
    'an identity that does not exist',
    { ...bucket, S3_IDENTITY: 'anonymous' },
    /^S3_IDENTITY must be keys or/,
  ],
  ['a bucket without an address', { ...bucket, S3_ENDPOINT: '' }, /must be set together\.$/],
  ['an address without a bucket', { ...bucket, S3_BUCKET: '' }, /must be set together\.$/],
  [
    'a bucket with an odd name',
    { ...bucket, S3_BUCKET: '../x' },
    /^S3_BUCKET must be the name of a bucket\.$/,
  ],
  ['an S3 address of another kind', { ...bucket, S3_ENDPOINT: 's3:8333' }, /^S3_ENDPOINT must look like/],
  ['another style of paths', { ...bucket, S3_PATH_STYLE: 'yes' }, /^S3_PATH_STYLE must be true or false\.$/],
  [
    'certificates of S3 that are not there',
    { ...bucket, S3_CA_FILE: '/none' },
    /^S3_CA_FILE must name a file/,
  ],
  ['a short upload token', { UPLOAD_TOKEN: 'short' }, /^UPLOAD_TOKEN must have at least 32 characters\.$/],
  [
    'a trace address that is none',
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'jaeger:4318' },
    /must be an http or https/,
  ],
  ['a part of the traces above all', { OTEL_TRACES_SAMPLER_ARG: '1.5' }, /must be a number from 0 to 1\.$/],
  ['a part of the traces in words', { OTEL_TRACES_SAMPLER_ARG: 'half' }, /must be a number from 0 to 1\.$/],
];
for (const [what, change, message] of bad)
  test(`refuses ${what}`, () => {
    assert.throws(
      () => loadConfig({ ...good, ...change }),
      (error) => error instanceof ConfigError && message.test(error.message),
    );
  });

test('credentials inside an address are refused, and not repeated in the message', () => {
  for (const change of [
    { MONGODB_URI: 'mongodb://app:hunter2@db:27017/techshop' },
    { REDIS_URL: 'redis://app:hunter2@cache:6379' },
    { ...bucket, S3_ENDPOINT: 'http://app:hunter2@s3:8333' },
  ])
    assert.throws(
      () => loadConfig({ ...good, ...change }),
      (error) => error instanceof ConfigError && !error.message.includes('hunter2'),
    );
});

test('the process says in one line what is wrong and exits 1', () => {
  const index = fileURLToPath(new URL('../../src/index.js', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [index], {
    env: { ...good, PORT: 'x' },
    encoding: 'utf8',
  });
  assert.equal(status, 1);
  assert.equal(stdout.trim().split('\n').length, 1);
  const line = JSON.parse(stdout);
  assert.equal(line.level, 'fatal');
  assert.match(line.msg, /^PORT must be/);
});
